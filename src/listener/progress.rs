//! The progress of a listener. Its thread records the progress, and its owner and the figure read it.

use super::watched::Watched;
use crate::backoff::random_number;
use crate::kafka::LagMeter;
use crate::sentiment::Analyzer;
use crate::task::locked;
use crate::trajectory::Trajectory;
use crate::tweet::{Skip, SkipCounts};
use crate::wire::StreamerStatus;
use jiff::Timestamp;
use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, OnceLock};
use std::thread::Thread;
use std::time::Instant;
use tokio::sync::{Notify, watch};

/// The state of a listener.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "is", content = "reason", rename_all = "lowercase")]
#[non_exhaustive]
pub enum State {
    /// The listener waits for the broker or the topic, for this reason.
    Waiting(String),
    /// The listener is connected and reads.
    Connected,
    /// The listener has lost the broker, for this reason, and reconnects.
    Reconnecting(String),
    /// The listener is connected, but cannot read a part of the topic, for this reason. It tries again.
    Blocked(String),
    /// The listener has ended: it was stopped, or has reached its time span or count.
    Ended,
    /// The listener has failed with this error.
    Failed(String),
}

impl Default for State {
    fn default() -> Self {
        State::Waiting("connecting to Kafka".into())
    }
}

/// The messages that a listener did not count, by reason.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Uncounted {
    /// Messages that are not tweets, and tweets without a valid metric.
    pub skipped: SkipCounts,
    /// Tweets that were in the topic more than once. Each was counted once.
    pub duplicate: u64,
    /// Messages that the broker removed before they were read, by retention or by compaction. In a
    /// compacted topic with transactions, the count includes the markers of the transactions.
    pub missed: u64,
    /// Tweets of earlier runs.
    pub earlier_runs: u64,
}

impl Uncounted {
    /// Returns the total of [`skipped`](Uncounted::skipped).
    pub fn skipped_total(&self) -> u64 {
        self.skipped.values().sum()
    }

    /// Returns the other counts with their names, without those that are zero.
    pub(super) fn counts(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let counts = [
            ("duplicates", self.duplicate),
            ("missed (removed by the broker)", self.missed),
            ("tweets of earlier runs", self.earlier_runs),
        ];
        counts.into_iter().filter(|(_, count)| *count > 0)
    }
}

/// The progress of a listener: its trajectory, counts and state.
pub(crate) struct Progress {
    pub(crate) trajectory: Trajectory,
    pub(crate) uncounted: Uncounted,
    /// The number of counted tweets that had an impossible time.
    pub(crate) times_corrected: u64,
    /// The first message that was skipped for each reason, shortened.
    pub(crate) examples: BTreeMap<Skip, String>,
    pub(crate) state: State,
    /// Whether Kafka removes all but the newest tweet of each author from the topic.
    pub(crate) is_compacted: bool,
    /// Why the listener was not reading when it ended; `None` if it was reading, and while it runs.
    pub(crate) unread: Option<String>,
    /// Since when the broker has been unreachable; `None` while the listener is connected.
    pub(crate) unreachable_since: Option<Timestamp>,
    pub(crate) lag: LagMeter,
    /// The last status of the streamer, and when the status came.
    pub(crate) streamer: Option<(StreamerStatus, Instant)>,
    /// A random number that changes when the trajectory starts again.
    pub(crate) generation: u64,
}

impl Default for Progress {
    fn default() -> Self {
        Progress {
            trajectory: Trajectory::default(),
            uncounted: Uncounted::default(),
            times_corrected: 0,
            examples: BTreeMap::new(),
            state: State::default(),
            is_compacted: false,
            unread: None,
            unreachable_since: Some(Timestamp::now()),
            lag: LagMeter::default(),
            streamer: None,
            // 32 bits, which JavaScript represents exactly.
            generation: random_number() >> 32,
        }
    }
}

impl Progress {
    /// Counts a message that is not a tweet. `beginning` is its text, shortened.
    pub(super) fn skip(&mut self, reason: Skip, beginning: String) {
        *self.uncounted.skipped.entry(reason).or_default() += 1;
        self.examples.entry(reason).or_insert(beginning);
    }

    /// Starts again for a new run. The tweets that were counted so far belong to an earlier run.
    pub(crate) fn start_run(&mut self) {
        let earlier_runs = self.uncounted.earlier_runs + self.trajectory.total().counted;
        *self = Progress {
            uncounted: Uncounted {
                earlier_runs,
                ..Uncounted::default()
            },
            state: self.state.clone(),
            is_compacted: self.is_compacted,
            unreachable_since: self.unreachable_since,
            lag: std::mem::take(&mut self.lag),
            streamer: self.streamer.take(),
            ..Progress::default()
        };
    }
}

/// The state that the thread of a listener shares with its owner and with figures. To take both locks,
/// take `progress` first.
#[derive(Default)]
pub(super) struct ListenerState {
    pub(super) progress: Mutex<Progress>,
    pub(super) watched: Mutex<Watched>,
    /// Notified after each batch and each poll without a message.
    pub(super) news: Notify,
    /// Notifies the subscribers.
    pub(super) changes: watch::Sender<()>,
    /// The analyzer that scores the tweets.
    pub(super) analyzer: Analyzer,
    pub(super) name: Option<String>,
    /// The reading thread, once it runs.
    pub(super) reader: OnceLock<Thread>,
}

impl ListenerState {
    pub(super) fn set_state(&self, state: State) {
        let mut progress = locked(&self.progress);
        if progress.state == state {
            return;
        }
        match &state {
            State::Connected | State::Blocked(_) => progress.unreachable_since = None,
            State::Waiting(_) | State::Reconnecting(_) => {
                let now = Timestamp::now();
                progress.unreachable_since.get_or_insert(now);
            }
            State::Ended | State::Failed(_) => {}
        }
        let before = std::mem::replace(&mut progress.state, state);
        if let State::Waiting(reason) | State::Reconnecting(reason) | State::Blocked(reason) =
            before
            && progress.state == State::Ended
        {
            progress.unread = Some(reason);
        }
        drop(progress);
        self.notify_subscribers();
    }

    pub(super) fn notify_subscribers(&self) {
        self.changes.send_replace(());
    }

    pub(super) fn subscribe(self: &Arc<ListenerState>) -> Subscription {
        Subscription {
            shared: self.clone(),
            changes: self.changes.subscribe(),
        }
    }
}

/// A subscription to a listener. The listener does not wait for its subscribers. Each subscriber reads
/// the current progress when it is ready.
#[derive(Clone)]
pub(crate) struct Subscription {
    shared: Arc<ListenerState>,
    changes: watch::Receiver<()>,
}

impl Subscription {
    /// Reads the progress. `read` must be short, because it blocks the listener.
    pub(crate) fn read<T>(&self, read: impl FnOnce(&Progress) -> T) -> T {
        read(&locked(&self.shared.progress))
    }

    /// Returns the analyzer that scores the tweets.
    pub(crate) fn analyzer(&self) -> &Analyzer {
        &self.shared.analyzer
    }

    /// Waits until the progress has changed since the last call.
    ///
    /// # Cancel safety
    /// No change is lost if the future is dropped.
    pub(crate) async fn changed(&mut self) {
        // The sender lives as long as `shared`.
        let _ = self.changes.changed().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trajectory::{Sum, scored};

    #[test]
    fn a_new_run_starts_again_and_counts_the_earlier_tweets() {
        let mut progress = Progress::default();
        let tweet = scored(1, 0.5, &["a"]);
        progress.trajectory.add(&tweet, Instant::now());
        progress.uncounted.duplicate = 3;
        let generation = progress.generation;
        progress.start_run();
        assert_eq!(progress.trajectory.total(), Sum::default());
        assert_eq!(
            (
                progress.uncounted.earlier_runs,
                progress.uncounted.duplicate
            ),
            (1, 0)
        );
        assert_ne!(progress.generation, generation);
    }
}
