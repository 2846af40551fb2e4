//! The output of a notebook cell: cards, texts and the log.
//!
//! The Rust kernel displays a value by calling its `evcxr_display` method. The method prints blocks of
//! content, each with a media type, between two markers. Every card escapes its input, because data from
//! the network is text, never HTML.

mod card;
mod cards;
mod log;
mod text;

pub(crate) use card::{Card, show};
pub use log::show_log;
pub(crate) use text::{escape, shorten, thousands};
