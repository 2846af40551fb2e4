//! The streamers of this process, by topic: a notebook cell that runs twice must not leave its
//! first streamer writing beside the second.

use super::client::Client;
use crate::task::locked;
use std::sync::{Arc, Mutex, Weak};

/// Something that writes to a topic until it is stopped.
pub(crate) trait Writer: Send + Sync {
    /// Stops writing, and blocks until everything is written.
    fn stop_writing(&self);
}

struct Entry {
    address: String,
    topic: String,
    writer: Weak<dyn Writer>,
}

static WRITERS: Mutex<Vec<Entry>> = Mutex::new(Vec::new());

/// Stops the writers of this process to the topic.
pub(super) fn stop_writers(client: &Client, topic: &str) {
    let mut stopping = Vec::new();
    locked(&WRITERS).retain(|entry| {
        let writer = entry.writer.upgrade();
        let same = entry.address == client.address() && entry.topic == topic;
        let running = writer.is_some();
        if same {
            stopping.extend(writer);
        }
        running && !same
    });
    // Outside of the lock, because this waits for the broker.
    for writer in stopping {
        writer.stop_writing();
    }
}

/// Stops the writers of this process to the topic, then starts and registers their successor.
pub(crate) fn replace_writer<W: Writer + 'static>(
    client: &Client,
    topic: &str,
    start: impl FnOnce() -> Arc<W>,
) -> Arc<W> {
    stop_writers(client, topic);
    let started = start();
    let writer: Weak<dyn Writer> = Arc::downgrade(&started) as Weak<dyn Writer>;
    locked(&WRITERS).push(Entry {
        address: client.address().into(),
        topic: topic.into(),
        writer,
    });
    started
}
