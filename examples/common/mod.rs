//! The common parts of the example programs: the log, the connection, and the progress line.
#![allow(dead_code, reason = "each program uses a part of it")]

use indicatif::{ProgressBar, ProgressDrawTarget};
use live_sentiment::prelude::*;
use std::fmt::{self, Display};
use std::io::IsTerminal;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::layer;
use tracing_subscriber::prelude::*;

/// The interval between two updates of the progress line.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(200);

/// Logs to standard error: the warnings of `live_sentiment`, or the events that `RUST_LOG` selects by target
/// and level.
pub fn log_to_stderr() {
    let ours = || Targets::new().with_target("live_sentiment", LevelFilter::WARN);
    let chosen = std::env::var("RUST_LOG").ok();
    let filter: Option<Targets> = chosen.and_then(|filter| filter.parse().ok());
    let events = layer().with_writer(std::io::stderr).with_ansi(false);
    tracing_subscriber::registry()
        .with(events.with_filter(filter.unwrap_or_else(ours)))
        .init();
}

/// The reason why a program has failed. `main` prints the `Debug` form of its error, so `Debug` shows the
/// plain text.
pub struct Failure(pub String);

impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Failure {}

/// Connects to the broker at `address`, or to the default one.
pub fn connect(address: Option<&str>) -> Result<Kafka> {
    match address {
        Some(address) => Kafka::at(address),
        None => Kafka::connect(),
    }
}

/// Shows `status` on a terminal until `wait` returns true.
pub fn show_progress<S: Display>(wait: impl Fn(Duration) -> bool, status: impl Fn() -> S) {
    let bar = ProgressBar::new_spinner();
    if !std::io::stderr().is_terminal() {
        bar.set_draw_target(ProgressDrawTarget::hidden());
    }
    while !wait(PROGRESS_INTERVAL) {
        bar.set_message(status().to_string());
        bar.tick();
    }
    bar.finish_and_clear();
}
