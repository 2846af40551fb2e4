//! The progress of a stream: what its task and its delivery reports record, and its owner reads.

use super::delivery::Deliveries;
use super::status::{Counts, EndReason, StreamerStatus};
use super::status_message::StatusMessage;
use crate::Result;
use crate::kafka::{Client, Topic};
use crate::source::{ConnectionWatch, Source};
use crate::task::locked;
use jiff::Timestamp;
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// The rate is the mean over this many status messages, one per second.
const RATE_WINDOW: usize = 10;

/// What the task and the owner of a stream share.
pub(super) struct Shared {
    client: Arc<Client>,
    connection: Option<ConnectionWatch>,
    source: String,
    started: Instant,
    time_span: Option<Duration>,
    pub(super) deliveries: Arc<Deliveries>,
    progress: Mutex<Progress>,
}

/// What the task records. `counts.sent` and `counts.failed` stay 0 here: the delivery reports have
/// them.
#[derive(Default)]
pub(super) struct Progress {
    pub(super) counts: Counts,
    pub(super) newest: Option<Timestamp>,
    pub(super) topics: BTreeMap<String, u64>,
    pub(super) last_error: Option<String>,
    pub(super) ended: Option<(Instant, EndReason)>,
    /// The number of sent tweets at the last status messages, oldest first.
    recent: VecDeque<(Instant, u64)>,
    /// How many items had come from the source at the last status message, and when a status message
    /// first had this number.
    received: Option<(u64, Instant)>,
}

impl Progress {
    /// Returns how many items have come from the source.
    fn items(&self) -> u64 {
        self.counts.read + self.counts.skipped
    }
}

impl Shared {
    pub(super) fn new(
        topic: &Topic,
        source: &dyn Source,
        time_span: Option<Duration>,
    ) -> Result<Shared> {
        Ok(Shared {
            client: topic.client().clone(),
            connection: source.connection(),
            source: source.name(),
            started: Instant::now(),
            time_span,
            deliveries: Arc::new(Deliveries::new(topic)?),
            progress: Mutex::default(),
        })
    }

    /// Changes the progress. The lock is held for the call only, and never across I/O.
    pub(super) fn record(&self, change: impl FnOnce(&mut Progress)) {
        change(&mut locked(&self.progress));
    }

    /// Returns the message for the status topic, and takes a sample for the rate and for the wait. The
    /// task calls it each second while it waits for its source.
    pub(super) fn status_message(&self) -> StatusMessage {
        let (now, sent) = (Instant::now(), self.deliveries.report().sent);
        self.record(|progress| {
            progress.recent.push_back((now, sent));
            if progress.recent.len() > RATE_WINDOW {
                progress.recent.pop_front();
            }
            let items = progress.items();
            if progress.received.is_none_or(|(before, _)| before != items) {
                progress.received = Some((items, now));
            }
        });
        StatusMessage::new(&self.snapshot())
    }

    /// Returns the status for the owner. `panic` is the message of a panic of the task.
    pub(super) fn status(&self, panic: Option<String>) -> StreamerStatus {
        // Read before any lock is taken: the exit reason of a broker is in a file.
        let exit_reason = self.client.exit_reason();
        let mut status = self.snapshot();
        if panic.is_some() {
            status.ended = Some(EndReason::Failed);
        }
        status.last_error = panic.or(exit_reason).or(status.last_error);
        status
    }

    fn snapshot(&self) -> StreamerStatus {
        let report = self.deliveries.report();
        let connection = self.connection.as_ref().map(ConnectionWatch::now);
        let progress = locked(&self.progress);
        let now = Instant::now();
        let end = progress.ended.map_or(now, |(at, _)| at);
        let elapsed = end - self.started;
        let ended = progress.ended.map(|(_, reason)| reason);
        let (window, sent_before) = match (ended, progress.recent.front()) {
            (None, Some((at, sent))) => (now - *at, *sent),
            _ => (elapsed, 0),
        };
        let counts = Counts {
            sent: report.sent,
            failed: report.failed,
            ..progress.counts
        };
        let received = progress.received.filter(|_| ended.is_none());
        let received = received.filter(|(items, _)| *items == progress.items());
        let remaining = |span: Duration| match ended {
            Some(_) => Duration::ZERO,
            None => span.saturating_sub(elapsed),
        };
        StreamerStatus {
            source: self.source.clone(),
            connection,
            ended,
            elapsed,
            waiting: received.map(|(_, since)| now - since),
            remaining: self.time_span.map(remaining),
            rate: (report.sent - sent_before) as f64 / window.as_secs_f64().max(1e-3),
            counts,
            dead_letter_file: report.dead_letter_file,
            newest: progress.newest,
            topics: progress.topics.clone(),
            last_error: report
                .connection_error
                .filter(|_| ended.is_none())
                .or(progress.last_error.clone())
                .or(report.last_error),
        }
    }
}
