//! Counting: a record counts if it belongs to the current run and its tweet was not counted before.

use super::merge::PendingRecord;
use super::progress::Progress;
use super::tweets::Output;
use super::watched::Watched;
use crate::deduplicator::Deduplicator;
use crate::kafka::RunId;
use std::time::Instant;

/// The state of counting.
#[derive(Default)]
pub(super) struct Counter {
    ids: Deduplicator,
    run: Option<RunId>,
    output: Output,
}

impl Counter {
    /// Creates a counter of the tweets of `run` and of later runs. Without a run, it starts with the
    /// first one that it meets.
    pub(super) fn new(run: Option<RunId>, output: Output) -> Counter {
        Counter {
            run,
            output,
            ..Counter::default()
        }
    }

    /// Returns whether the output queue has room.
    pub(super) fn has_room(&self) -> bool {
        self.output.has_room()
    }

    /// Counts a record. A record of an earlier run is skipped, and a record of a later run starts the
    /// count again. A record of another program has no run and counts in the current one. `now` is the
    /// time of the whole batch.
    pub(super) fn count(
        &mut self,
        record: PendingRecord,
        now: Instant,
        progress: &mut Progress,
        watched: &mut Watched,
    ) {
        if record.run.is_some() && record.run < self.run {
            progress.uncounted.earlier_runs += 1;
            return;
        }
        if record.run > self.run {
            // The first run after the start is not a restart.
            if self.run.is_some() || progress.trajectory.total().counted > 0 {
                tracing::info!("a new run has started in the topic; counting from zero");
                self.start_run(progress, watched);
            }
            self.run = record.run;
        }
        match record.outcome {
            Err(skipped) => progress.skip(skipped.reason, skipped.beginning),
            Ok(scored) if !self.ids.insert(&scored.tweet) => progress.uncounted.duplicate += 1,
            Ok(scored) => {
                progress.trajectory.add(&scored, now);
                progress.times_corrected += u64::from(scored.time_corrected);
                self.output.add(&scored);
                watched.add(scored);
            }
        }
    }

    /// Starts again for another log, in which no run is known yet.
    pub(super) fn reset(&mut self, progress: &mut Progress, watched: &mut Watched) {
        self.run = None;
        self.start_run(progress, watched);
    }

    fn start_run(&mut self, progress: &mut Progress, watched: &mut Watched) {
        self.ids.clear();
        progress.start_run();
        watched.start_run();
    }
}
