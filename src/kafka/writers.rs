//! The streamer of each topic in this process. When a notebook cell runs again, its new streamer replaces
//! the old one.

use super::client::Client;
use crate::task::background::Background;
use crate::task::locked;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, Weak};

/// The streamers, by the address of the broker and the name of the topic.
type Writers = BTreeMap<(String, String), Weak<Background>>;

static WRITERS: Mutex<Writers> = Mutex::new(Writers::new());

/// Stops the streamer of this process that writes to the topic, and blocks until everything is written.
pub(crate) fn stop_writer(client: &Client, topic: &str) {
    let writer = locked(&WRITERS).remove(&key(client, topic));
    // Stopping waits for the broker, so the lock must not be held here.
    if let Some(writer) = writer.and_then(|writer| writer.upgrade()) {
        writer.stop();
    }
}

/// Records the streamer that now writes to the topic.
pub(crate) fn register_writer(client: &Client, topic: &str, writer: &Arc<Background>) {
    locked(&WRITERS).insert(key(client, topic), Arc::downgrade(writer));
}

fn key(client: &Client, topic: &str) -> (String, String) {
    (client.address().into(), topic.into())
}
