//! The progress of a stream. Its task and its delivery reports record the progress, and its owner reads it.

use super::delivery::Deliveries;
use crate::kafka::{Client, Topic};
use crate::source::{ConnectionWatch, FileWatch, Source};
use crate::task::locked;
use crate::wire::{EndReason, StreamerStatus};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// The rate is the mean over this many status messages, one per second.
const RATE_WINDOW: usize = 10;

/// The state that the task and the owner of a stream share.
pub(super) struct StreamerState {
    client: Arc<Client>,
    connection: Option<ConnectionWatch>,
    files: Option<FileWatch>,
    started: Instant,
    time_span: Option<Duration>,
    pub(super) deliveries: Arc<Deliveries>,
    progress: Mutex<StreamProgress>,
}

/// What the task records.
#[derive(Default)]
pub(super) struct StreamProgress {
    /// The status, without the counts of the deliveries and without times.
    pub(super) status: StreamerStatus,
    pub(super) ended_at: Option<Instant>,
    /// The number of sent tweets at the last status messages, oldest first.
    recent: VecDeque<(Instant, u64)>,
    /// The number of items from the source at the last status message, and the time of the first status
    /// message with this number.
    received: Option<(u64, Instant)>,
}

impl StreamProgress {
    /// Returns how many items have come from the source.
    fn items(&self) -> u64 {
        self.status.counts.read + self.status.counts.skipped
    }
}

impl StreamerState {
    pub(super) fn new(
        topic: &Topic,
        source: &dyn Source,
        time_span: Option<Duration>,
    ) -> StreamerState {
        let progress = StreamProgress {
            status: StreamerStatus {
                source: source.name(),
                ..StreamerStatus::default()
            },
            ..StreamProgress::default()
        };
        StreamerState {
            client: topic.client().clone(),
            connection: source.connection(),
            files: source.files(),
            started: Instant::now(),
            time_span,
            deliveries: Arc::new(Deliveries::new(topic)),
            progress: Mutex::new(progress),
        }
    }

    /// Changes the progress. The lock is held only for this call, and never across I/O.
    pub(super) fn record(&self, change: impl FnOnce(&mut StreamProgress)) {
        change(&mut locked(&self.progress));
    }

    /// Returns the status for the status topic, and takes a sample for the rate and for the wait. The
    /// task calls this function once per second.
    pub(super) fn status_message(&self) -> StreamerStatus {
        let (now, sent) = (Instant::now(), self.deliveries.sent());
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
        self.snapshot()
    }

    /// Returns the status for the owner. `panic` is the message of a panic of the task.
    pub(super) fn status(&self, panic: Option<String>) -> StreamerStatus {
        // Read this before a lock is taken, because the exit reason of a broker is in a file.
        let exit_reason = self.client.exit_reason();
        let mut status = self.snapshot();
        if panic.is_some() {
            status.ended = Some(EndReason::Failed);
        }
        status.last_error = panic.or(exit_reason).or(status.last_error);
        status
    }

    fn snapshot(&self) -> StreamerStatus {
        let connection = self.connection.as_ref().map(ConnectionWatch::now);
        let files = self.files.as_ref().map(FileWatch::now);
        let progress = locked(&self.progress);
        let mut status = progress.status.clone();
        (status.connection, status.files) = (connection, files);
        self.deliveries.add_to(&mut status);
        let now = Instant::now();
        status.elapsed = progress.ended_at.unwrap_or(now) - self.started;
        let is_running = status.ended.is_none();
        let (window, sent_before) = match progress.recent.front() {
            Some((at, sent)) if is_running => (now - *at, *sent),
            _ => (status.elapsed, 0),
        };
        status.rate = (status.counts.sent - sent_before) as f64 / window.as_secs_f64().max(1e-3);
        let received = progress.received.filter(|_| is_running);
        let received = received.filter(|(items, _)| *items == progress.items());
        status.waiting = received.map(|(_, since)| now - since);
        let over = status.ended.map_or(status.elapsed, |_| Duration::MAX);
        status.remaining = self.time_span.map(|span| span.saturating_sub(over));
        status
    }
}
