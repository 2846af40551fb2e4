//! The streamer of this process for each topic. When a notebook cell is run again, its streamer replaces
//! the earlier one.

use super::client::Client;
use crate::task::background::Background;
use crate::task::locked;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, Weak};

/// By the address of the broker and the topic.
type Writers = BTreeMap<(String, String), Weak<Background>>;

static WRITERS: Mutex<Writers> = Mutex::new(Writers::new());

/// Stops the streamer of this process that writes to the topic, and blocks until everything is written.
pub(crate) fn stop_writer(client: &Client, topic: &str) {
    let writer = locked(&WRITERS).remove(&key(client, topic));
    // The lock is released by now, because this waits for the broker.
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
