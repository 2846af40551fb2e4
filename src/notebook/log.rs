//! The log of the crate in a notebook.
//!
//! The crate logs structured events with `tracing`. A program chooses its own subscriber; a notebook
//! calls [`show_log`].

use crate::task::interrupt::handle_interrupts;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::layer;
use tracing_subscriber::prelude::*;

/// Prints the log events of this crate, from level INFO up, in the notebook's cells.
///
/// A second call, or a call in a program that has another subscriber, does nothing.
pub fn show_log() {
    handle_interrupts();
    // A notebook marks standard error as an error, so the log goes to standard output.
    let events = layer()
        .with_writer(std::io::stdout)
        .with_ansi(false)
        .with_target(false)
        .without_time();
    let ours = Targets::new().with_target(env!("CARGO_PKG_NAME"), LevelFilter::INFO);
    let subscriber = tracing_subscriber::registry().with(events.with_filter(ours));
    // An error means that another subscriber is already set.
    let _ = tracing::subscriber::set_global_default(subscriber);
}
