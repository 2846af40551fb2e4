//! The counted tweets as an iterator, for programs that use the tweets themselves.
//!
//! The listener puts each tweet that it counts into a queue of 1,000 tweets and 8 MiB. While the queue
//! is full, the listener counts nothing: its lag grows, and the tweets stay in the topic. A slow program
//! therefore loses no tweets, and its memory is bounded (backpressure).

use super::Listening;
use crate::sentiment::Scored;
use crate::task::interrupt;
use crate::task::queue::{self, Receiver, Sender};
use crate::tweet::MAX_MESSAGE_BYTES;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

const QUEUE_TWEETS: usize = 1_000;
const QUEUE_BYTES: usize = 8 * MAX_MESSAGE_BYTES;

/// An iterator over the tweets that a listener counts, in the order of the topic. Dropping it stops the
/// listener.
///
/// The iterator ends when the listener has ended, by its time span, its count,
/// [`stop`](Listening::stop) or a panic, and all tweets have been taken. Until then,
/// [`next`](Iterator::next) blocks if no tweet is available. An interrupt in a notebook ends the wait with
/// `None`, and the next call waits again.
///
/// The listener pauses while 1,000 tweets, or 8 MiB of text, wait in the queue. It counts a tweet and puts
/// it into the queue in one step, so its sum is the sum of the tweets that the iterator returns. A new run
/// in the topic resets the sum, and the iterator continues with the tweets of the new run.
#[must_use = "dropping it stops the listener"]
pub struct Tweets {
    pub(super) listening: Listening,
    pub(super) queue: Receiver<Arc<Scored>>,
}

impl fmt::Debug for Tweets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tweets")
            .field("listening", &self.listening)
            .finish_non_exhaustive()
    }
}

impl Tweets {
    /// Returns the listener, for its status and for a figure. Its methods that wait for tweets wait
    /// longer while the queue is full.
    pub fn listening(&self) -> &Listening {
        &self.listening
    }
}

impl Iterator for Tweets {
    type Item = Arc<Scored>;

    fn next(&mut self) -> Option<Arc<Scored>> {
        let next = self.queue.try_recv().or_else(|| {
            let received = interrupt::block_on(Duration::MAX, self.queue.recv());
            received.ok().flatten()
        });
        // The reading thread checks whether the queue has room.
        if let Some(reader) = self.listening.shared.reader.get() {
            reader.unpark();
        }
        next
    }
}

/// The listener's end of the queue; `None` if the listener has no iterator.
#[derive(Default)]
pub(super) struct Output(Option<Sender<Arc<Scored>>>);

impl Output {
    /// Creates the queue.
    pub(super) fn queue() -> (Output, Receiver<Arc<Scored>>) {
        let (sender, receiver) = queue::bounded(QUEUE_TWEETS, QUEUE_BYTES);
        (Output(Some(sender)), receiver)
    }

    /// Returns whether the queue has room for another tweet of any size.
    pub(super) fn has_room(&self) -> bool {
        let queue = self.0.as_ref();
        queue.is_none_or(|queue| queue.has_room(MAX_MESSAGE_BYTES))
    }

    /// Adds a tweet. The queue must have room.
    pub(super) fn add(&self, scored: &Arc<Scored>) {
        if let Some(queue) = &self.0 {
            // An error means that the iterator was dropped, which stops the listener.
            let _ = queue.try_send(scored.clone(), scored.tweet.text.len());
        }
    }
}
