//! What the live sources share: how a connection stands, how long to wait for the next one, and
//! the task that feeds a source.
//!
//! A connection must be read whether or not the Streamer asks just then: keep-alives are to be
//! heard, silence is to be noticed. So each live source reads in a task of its own, and hands over
//! tweets through a short queue. When that is full the task waits, the server is read no further,
//! and so back-pressure reaches all the way to the network.

use crate::runtime::locked;
use crate::{Error, Result, Tweet};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

/// How many tweets wait for the Streamer, at most.
const QUEUE: usize = 1_024;
/// How long the start of a stream waits for the first connection, or for a reason against it.
const FIRST_OUTCOME: Duration = Duration::from_secs(4);
/// How much of a reason is kept; it may be a server's.
const REASON: usize = 300;

/// How a live source's connection stands.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Connection {
    /// Since when it is connected; `None` while it is not.
    pub since: Option<Timestamp>,
    /// How many times it was connected again after a break.
    pub reconnects: u64,
    /// Why the last connection broke or could not be made.
    pub last_reason: Option<String>,
    /// Tweets that were sent on without their author's followers, which could not be had in time.
    pub without_followers: u64,
}

/// A [`Connection`] that its source's task changes and the Streamer reads.
#[derive(Clone, Debug, Default)]
pub struct ConnectionWatch(Arc<Mutex<(Connection, bool)>>);

impl ConnectionWatch {
    /// How it stands now.
    pub fn now(&self) -> Connection {
        locked(&self.0).0.clone()
    }

    pub(super) fn connected(&self) {
        let (connection, before) = &mut *locked(&self.0);
        connection.since = Some(Timestamp::now());
        connection.reconnects += u64::from(*before);
        *before = true;
    }

    pub(super) fn lost(&self, reason: &str) {
        let reason = crate::notebook::shorten(reason, REASON);
        tracing::info!("{reason}");
        let (connection, _) = &mut *locked(&self.0);
        connection.since = None;
        connection.last_reason = Some(reason);
    }

    pub(super) fn without_followers(&self, tweets: u64) {
        locked(&self.0).0.without_followers += tweets;
    }
}

/// Grows the wait from one failure to the next.
///
/// Up to a tenth is added by chance, so that the many programs that one fault has cut off do not
/// all come back at the same moment. Nothing is ever taken off: a provider's shortest wait holds.
#[derive(Clone, Debug)]
pub(super) struct Backoff {
    growth: Growth,
    most: Duration,
    failures: u32,
}

#[derive(Clone, Copy, Debug)]
enum Growth {
    /// By the same step each time.
    Linear(Duration),
    /// To twice as much each time, from here on.
    Doubling(Duration),
}

impl Backoff {
    pub(super) const fn linear(step: Duration, most: Duration) -> Backoff {
        Backoff {
            growth: Growth::Linear(step),
            most,
            failures: 0,
        }
    }

    pub(super) const fn doubling(first: Duration, most: Duration) -> Backoff {
        Backoff {
            growth: Growth::Doubling(first),
            most,
            failures: 0,
        }
    }

    /// The wait after one more failure.
    pub(super) fn next(&mut self) -> Duration {
        let wait = match self.growth {
            Growth::Linear(step) => step.saturating_mul(self.failures.saturating_add(1)),
            Growth::Doubling(first) => {
                first.saturating_mul(1_u32.checked_shl(self.failures).unwrap_or(u32::MAX))
            }
        };
        self.failures = self.failures.saturating_add(1);
        jittered(wait.min(self.most))
    }

    pub(super) fn reset(&mut self) {
        self.failures = 0;
    }
}

/// The wait, and up to a tenth of it more.
pub(super) fn jittered(wait: Duration) -> Duration {
    // Each of them has other keys, which is chance enough for this.
    let chance = RandomState::new().hash_one(wait);
    wait + wait.mul_f64(0.1 * (chance as f64 / u64::MAX as f64))
}

/// A live source's task, and the queue that it fills. Dropping it ends the task, and with it the
/// connection, at once.
pub(super) struct Feed {
    items: mpsc::Receiver<Result<Tweet>>,
    task: JoinHandle<()>,
}

/// The task's end of a [`Feed`].
pub(super) struct Outlet {
    items: mpsc::Sender<Result<Tweet>>,
    started: Mutex<Option<oneshot::Sender<Result<()>>>>,
}

impl Feed {
    /// Starts the task and waits until it has connected; an error that it ends with before that is
    /// returned. A task that is still trying after 4 seconds goes on trying.
    pub(super) async fn start<F>(task: impl FnOnce(Outlet) -> F) -> Result<Feed>
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let (sender, items) = mpsc::channel(QUEUE);
        let (started, outcome) = oneshot::channel();
        let feed = Feed {
            items,
            task: tokio::spawn(task(Outlet {
                items: sender,
                started: Mutex::new(Some(started)),
            })),
        };
        match tokio::time::timeout(FIRST_OUTCOME, outcome).await {
            Ok(Ok(Err(error))) => Err(error),
            _ => Ok(feed),
        }
    }

    pub(super) async fn next(&mut self) -> Option<Result<Tweet>> {
        self.items.recv().await
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Outlet {
    /// Tells the one who waits for the start that there is a connection.
    pub(super) fn connected(&self) {
        if let Some(started) = locked(&self.started).take() {
            // An error means that nobody waits any more.
            let _ = started.send(Ok(()));
        }
    }

    /// Waits for room. False once nobody reads any more.
    pub(super) async fn put(&self, item: Result<Tweet>) -> bool {
        self.items.send(item).await.is_ok()
    }

    /// Ends the source with an error: of the start if that is still waited for, else as its last
    /// item.
    pub(super) async fn fail(self, error: Error) {
        let started = locked(&self.started).take();
        match started {
            Some(started) => drop(started.send(Err(error))),
            None => drop(self.items.send(Err(error)).await),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waits(mut backoff: Backoff, count: usize) -> Vec<f64> {
        let bases: Vec<f64> = (0..count).map(|_| backoff.next().as_secs_f64()).collect();
        backoff.reset();
        assert!(
            backoff.next().as_secs_f64() <= bases[0] * 1.1 + 1e-9,
            "a reset begins anew"
        );
        bases
    }

    fn are(waits: &[f64], expected: &[f64]) {
        assert_eq!(waits.len(), expected.len());
        for (wait, least) in waits.iter().zip(expected) {
            assert!(
                (*least..=least * 1.1).contains(wait),
                "{wait} where {least} was due"
            );
        }
    }

    #[test]
    fn waits_grow_by_steps_or_double_up_to_the_most() {
        let linear = Backoff::linear(Duration::from_millis(250), Duration::from_secs(16));
        let linear = waits(linear, 100);
        are(&linear[..4], &[0.25, 0.5, 0.75, 1.0]);
        are(&linear[62..66], &[15.75, 16.0, 16.0, 16.0]);
        let doubling = Backoff::doubling(Duration::from_secs(5), Duration::from_secs(320));
        let doubling = waits(doubling, 80);
        are(
            &doubling[..8],
            &[5.0, 10.0, 20.0, 40.0, 80.0, 160.0, 320.0, 320.0],
        );
        are(&doubling[78..], &[320.0, 320.0]);
    }

    #[test]
    fn chance_spreads_the_waits() {
        let waits: std::collections::BTreeSet<Duration> =
            (0..50).map(|_| jittered(Duration::from_secs(1))).collect();
        assert!(waits.len() > 10);
    }

    #[test]
    fn a_reconnect_is_counted_from_the_second_connection_on() {
        let watch = ConnectionWatch::default();
        watch.lost("no network");
        assert_eq!(watch.now().last_reason.as_deref(), Some("no network"));
        watch.connected();
        assert_eq!(watch.now().reconnects, 0);
        watch.lost("cut");
        assert_eq!(watch.now().since, None);
        watch.connected();
        assert_eq!(watch.now().reconnects, 1);
    }
}
