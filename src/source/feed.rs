//! The task of a live source, and the queue through which it feeds the streamer.
//!
//! A connection must be read even while the streamer does not ask for a tweet: keep-alives must be
//! received, and silence must be noticed. So each live source reads in its own task and passes tweets
//! on through a short queue. When the queue is full, the task waits and stops reading from the server.
//! In this way backpressure reaches the network.

use crate::error::Result;
use crate::task::background::catch_panic;
use crate::task::queue;
use crate::tweet::Tweet;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;
use tokio::task::JoinSet;

/// The maximum number of tweets that wait for the streamer.
const QUEUE_TWEETS: usize = 1_024;
/// The maximum size of the texts of these tweets, in bytes.
const QUEUE_BYTES: usize = 8 * 1024 * 1024;
/// How long the start of a stream waits for the first connection, or for the error that prevents it.
const START_LIMIT: Duration = Duration::from_secs(4);

/// A live source's task, and the receiving end of its queue. Dropping the feed ends the task and its
/// connection at once.
pub(super) struct Feed {
    items: queue::Receiver<Result<Tweet>>,
    /// Aborts the task when it is dropped.
    _task: JoinSet<()>,
}

/// The task's end of a [`Feed`].
pub(super) struct Outlet {
    items: queue::Sender<Result<Tweet>>,
    started: Notify,
}

impl Feed {
    /// Starts the task `name` and waits until it has connected. If the task fails before that, this
    /// call returns its error. If it is still trying after 4 seconds, this call returns and the task
    /// continues to try.
    pub(super) async fn start<F>(
        name: &'static str,
        task: impl FnOnce(Arc<Outlet>) -> F,
    ) -> Result<Feed>
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let (sender, items) = queue::bounded(QUEUE_TWEETS, QUEUE_BYTES);
        let outlet = Arc::new(Outlet {
            items: sender,
            started: Notify::new(),
        });
        let work = catch_panic(name, task(outlet.clone()));
        let panics = outlet.clone();
        let mut task = JoinSet::new();
        task.spawn(async move {
            if let Err(panic) = work.await {
                panics.send(Err(panic)).await;
            }
        });
        let mut feed = Feed { items, _task: task };
        // The task sends no tweet before it has connected. An item before that is an error.
        tokio::select! {
            biased;
            () = outlet.started.notified() => Ok(feed),
            Some(Err(error)) = feed.next() => Err(error),
            () = tokio::time::sleep(START_LIMIT) => Ok(feed),
        }
    }

    /// Waits for the next tweet. A panic of the task is the last item.
    ///
    /// # Cancel safety
    /// No tweet is lost if the future is dropped.
    pub(super) async fn next(&mut self) -> Option<Result<Tweet>> {
        self.items.recv().await
    }
}

impl Outlet {
    /// Signals that the first connection is up, or that the task will keep trying.
    pub(super) fn started(&self) {
        self.started.notify_one();
    }

    /// Passes an item on, and waits while the queue is full. Returns false if the receiver is gone.
    /// If an error is sent before [`started`](Outlet::started), the start of the stream returns it.
    pub(super) async fn send(&self, item: Result<Tweet>) -> bool {
        let size = item.as_ref().map_or(1, |tweet| tweet.text.len() + 1);
        self.items.send(item, size).await.is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::task::block_on;

    #[test]
    fn a_panic_of_the_task_is_the_last_item() {
        block_on(async {
            let mut feed = Feed::start("test source", |outlet| async move {
                outlet.started();
                outlet.send(Ok(Tweet::new("ada", "one"))).await;
                panic!("a defect of the source");
            })
            .await
            .unwrap();
            assert_eq!(feed.next().await.unwrap().unwrap().text, "one");
            let error = feed.next().await.unwrap().unwrap_err().to_string();
            assert!(
                error.contains("the test source panicked: a defect"),
                "{error}"
            );
            assert!(feed.next().await.is_none());
        });
    }
}
