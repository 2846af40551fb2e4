//! The state of a live source's connection, and the waits between two attempts to connect.

use crate::display::shorten;
use crate::random::random_number;
use crate::runtime::locked;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// The maximum length of a reason, in characters. A server may have written it.
const MAX_REASON: usize = 300;

/// The state of a live source's connection.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Connection {
    /// The time of the last successful connect; `None` while not connected.
    pub since: Option<Timestamp>,
    /// The number of reconnects after a lost connection.
    pub reconnects: u64,
    /// Why the last connection was lost or could not be made.
    pub last_reason: Option<String>,
    /// The number of tweets that were passed on without the follower count of their author, because
    /// it was not available in time.
    pub without_followers: u64,
    /// The number of messages from the server that are valid and contain no tweet, such as the
    /// deletion of a post or a notice. Keep-alives are not counted.
    pub other_events: u64,
}

/// A shared [`Connection`]: the source updates it, and the streamer reads it. Clones share the same
/// state.
///
/// # Examples
/// ```
/// use live_sentiment::source::ConnectionWatch;
///
/// let watch = ConnectionWatch::default();
/// watch.connected();
/// watch.lost("the server closed the connection");
/// assert_eq!(watch.now().since, None);
/// ```
#[derive(Clone, Debug, Default)]
pub struct ConnectionWatch(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    connection: Connection,
    was_connected: bool,
}

impl ConnectionWatch {
    /// Returns the current state.
    pub fn now(&self) -> Connection {
        locked(&self.0).connection.clone()
    }

    /// Records a successful connect. From the second one on it counts as a reconnect.
    pub fn connected(&self) {
        let state = &mut *locked(&self.0);
        state.connection.since = Some(Timestamp::now());
        state.connection.reconnects += u64::from(state.was_connected);
        state.was_connected = true;
    }

    /// Records that the connection was lost or could not be made. The reason is cut to 300
    /// characters. It must not contain credentials.
    pub fn lost(&self, reason: &str) {
        self.note(reason);
        locked(&self.0).connection.since = None;
    }

    /// Records a reason and leaves the connection as it is.
    pub(super) fn note(&self, reason: &str) {
        let reason = shorten(reason, MAX_REASON);
        tracing::info!(reason, "connection of the source");
        locked(&self.0).connection.last_reason = Some(reason);
    }

    /// Counts tweets that were passed on without a follower count.
    pub fn add_without_followers(&self, tweets: u64) {
        locked(&self.0).connection.without_followers += tweets;
    }

    /// Counts a valid message that contains no tweet.
    pub fn add_other_event(&self) {
        locked(&self.0).connection.other_events += 1;
    }
}

/// Increases the wait from one failure to the next.
///
/// Up to a tenth of the wait is added at random, so that programs which were disconnected by the
/// same fault do not all reconnect at the same moment. The wait is never shorter than a provider
/// asks for.
#[derive(Clone, Debug)]
pub(super) struct Backoff {
    growth: Growth,
    max: Duration,
    failures: u32,
}

#[derive(Clone, Copy, Debug)]
enum Growth {
    /// Each wait is one step longer.
    Linear(Duration),
    /// Each wait is twice as long, starting with this one.
    Doubling(Duration),
}

impl Backoff {
    pub(super) const fn linear(step: Duration, max: Duration) -> Backoff {
        Backoff {
            growth: Growth::Linear(step),
            max,
            failures: 0,
        }
    }

    pub(super) const fn doubling(first: Duration, max: Duration) -> Backoff {
        Backoff {
            growth: Growth::Doubling(first),
            max,
            failures: 0,
        }
    }

    /// Counts one more failure, and returns the wait after it.
    pub(super) fn next(&mut self) -> Duration {
        let wait = match self.growth {
            Growth::Linear(step) => step.saturating_mul(self.failures.saturating_add(1)),
            Growth::Doubling(first) => {
                first.saturating_mul(1_u32.checked_shl(self.failures).unwrap_or(u32::MAX))
            }
        };
        self.failures = self.failures.saturating_add(1);
        jittered(wait.min(self.max))
    }

    pub(super) fn reset(&mut self) {
        self.failures = 0;
    }
}

/// Returns the wait plus a random part of up to a tenth.
pub(super) fn jittered(wait: Duration) -> Duration {
    let fraction = random_number() as f64 / u64::MAX as f64;
    wait + wait.mul_f64(0.1 * fraction)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waits(mut backoff: Backoff, count: usize) -> Vec<f64> {
        let waits: Vec<f64> = (0..count).map(|_| backoff.next().as_secs_f64()).collect();
        backoff.reset();
        assert!(
            backoff.next().as_secs_f64() <= waits[0] * 1.1 + 1e-9,
            "a reset starts again with the shortest wait"
        );
        waits
    }

    fn assert_waits(waits: &[f64], expected: &[f64]) {
        assert_eq!(waits.len(), expected.len());
        for (wait, least) in waits.iter().zip(expected) {
            assert!(
                (*least..=least * 1.1).contains(wait),
                "{wait} instead of {least}"
            );
        }
    }

    #[test]
    fn waits_grow_linearly_or_double_up_to_the_maximum() {
        let linear = Backoff::linear(Duration::from_millis(250), Duration::from_secs(16));
        let linear = waits(linear, 100);
        assert_waits(&linear[..4], &[0.25, 0.5, 0.75, 1.0]);
        assert_waits(&linear[62..66], &[15.75, 16.0, 16.0, 16.0]);
        let doubling = Backoff::doubling(Duration::from_secs(5), Duration::from_secs(320));
        let doubling = waits(doubling, 80);
        assert_waits(
            &doubling[..8],
            &[5.0, 10.0, 20.0, 40.0, 80.0, 160.0, 320.0, 320.0],
        );
        assert_waits(&doubling[78..], &[320.0, 320.0]);
    }

    #[test]
    fn jitter_spreads_the_waits() {
        let waits: std::collections::BTreeSet<Duration> =
            (0..50).map(|_| jittered(Duration::from_secs(1))).collect();
        assert!(waits.len() > 10);
    }

    #[test]
    fn reconnects_are_counted_from_the_second_connection_on() {
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
