//! A queue between two tasks, bounded by the number of its items and by their bytes.
//!
//! tokio's channel bounds only the number. But a tweet may have a mebibyte, so a thousand tweets may have
//! a gibibyte. Therefore a semaphore bounds the bytes. When the queue is full, the sender waits.

use std::sync::Arc;
use tokio::sync::mpsc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The sending end.
pub(crate) struct Sender<T> {
    items: mpsc::Sender<(T, OwnedSemaphorePermit)>,
    room: Arc<Semaphore>,
    bytes: usize,
}

/// The receiving end.
pub(crate) struct Receiver<T>(mpsc::Receiver<(T, OwnedSemaphorePermit)>);

/// The receiver is gone. The item was dropped.
#[derive(Debug, PartialEq)]
pub(crate) struct QueueClosed;

/// Creates a queue of at most `items` items, which have at most `bytes` bytes in total. `bytes` is from 1
/// to 2³² - 1.
pub(crate) fn bounded<T>(items: usize, bytes: usize) -> (Sender<T>, Receiver<T>) {
    let (sender, receiver) = mpsc::channel(items);
    let sender = Sender {
        items: sender,
        room: Arc::new(Semaphore::new(bytes)),
        bytes,
    };
    (sender, Receiver(receiver))
}

impl<T> Sender<T> {
    /// Sends an item of `size` bytes, and waits while the queue has no room for it. An item larger
    /// than the whole queue waits until the queue is empty.
    ///
    /// # Errors
    /// [`QueueClosed`] if the receiver has been dropped.
    ///
    /// # Cancel safety
    /// If the future is dropped, the item is dropped too, and the queue is unchanged.
    pub(crate) async fn send(&self, item: T, size: usize) -> Result<(), QueueClosed> {
        let room = self.room.clone().acquire_many_owned(self.permits(size));
        // The semaphore is never closed.
        let room = room.await.map_err(|_| QueueClosed)?;
        self.items.send((item, room)).await.map_err(|_| QueueClosed)
    }

    /// Sends an item if the queue has room for it. Returns whether it was sent.
    pub(crate) fn try_send(&self, item: T, size: usize) -> bool {
        let room = self.room.clone().try_acquire_many_owned(self.permits(size));
        room.is_ok_and(|room| self.items.try_send((item, room)).is_ok())
    }

    /// Returns whether the queue has room for an item of `size` bytes. A result of true stays valid until
    /// the sender sends an item.
    pub(crate) fn has_room(&self, size: usize) -> bool {
        let bytes = self.room.available_permits();
        self.items.capacity() > 0 && bytes >= self.permits(size) as usize
    }

    /// Returns how many permits of the semaphore an item of `size` bytes takes.
    fn permits(&self, size: usize) -> u32 {
        u32::try_from(size.min(self.bytes)).unwrap_or(u32::MAX)
    }
}

impl<T> Receiver<T> {
    /// Waits for the next item. Returns `None` when the sender is gone and the queue is empty.
    ///
    /// # Cancel safety
    /// No item is lost if the future is dropped.
    pub(crate) async fn recv(&mut self) -> Option<T> {
        self.0.recv().await.map(|(item, _)| item)
    }

    /// Returns the next item if the queue is not empty.
    pub(crate) fn try_recv(&mut self) -> Option<T> {
        self.0.try_recv().ok().map(|(item, _)| item)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::task::block_on;
    use std::time::Duration;

    #[test]
    fn the_queue_is_bounded_by_items_and_by_bytes() {
        let sent = |items, bytes, size| {
            block_on(async {
                let (sender, _receiver) = bounded(items, bytes);
                let mut sent = 0;
                let send_all = async {
                    loop {
                        sender.send(sent, size).await.unwrap();
                        sent += 1;
                    }
                };
                let ended = tokio::time::timeout(Duration::from_millis(50), send_all).await;
                assert!(ended.is_err());
                sent
            })
        };
        assert_eq!(sent(5, 1_000, 10), 5);
        assert_eq!(sent(5, 1_000, 400), 2);
        assert_eq!(sent(5, 1_000, 5_000), 1);
    }

    #[test]
    fn a_sender_that_waits_learns_that_the_receiver_is_gone() {
        block_on(async {
            let (sender, receiver) = bounded(10, 100);
            sender.send((), 100).await.unwrap();
            let waiting = sender.send((), 100);
            drop(receiver);
            assert_eq!(waiting.await, Err(QueueClosed));
        });
    }
}
