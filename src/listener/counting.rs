//! Counting: a record counts if it belongs to the current run and its tweet has not been counted before.

use super::merge::PendingRecord;
use super::progress::Progress;
use super::tweets::Output;
use super::watched::Watched;
use crate::deduplicator::Deduplicator;
use crate::wire::RunId;
use std::time::Instant;

/// Counts records. It remembers the current run and the ids of the counted tweets.
#[derive(Default)]
pub(super) struct Counter {
    ids: Deduplicator,
    run: Option<RunId>,
    output: Output,
}

impl Counter {
    /// Creates a counter of the tweets of `run` and of later runs. Without a run, the counter starts with
    /// the run of the first record that has one.
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

#[cfg(test)]
mod tests {
    use super::super::merge::{Position, Skipped};
    use super::*;
    use crate::trajectory::scored;
    use crate::tweet::Skip;
    use std::sync::Arc;

    fn run_of(messages: i64) -> RunId {
        RunId::next(std::slice::from_ref(&(0..messages)))
    }

    /// Counts records that are given as the identifier of the run and of the tweet.
    #[derive(Default)]
    struct Counted {
        counter: Counter,
        progress: Progress,
        watched: Watched,
    }

    impl Counted {
        fn count(&mut self, run: Option<i64>, id: Option<u64>) {
            let outcome = match id {
                Some(id) => {
                    let mut scored = Arc::unwrap_or_clone(scored(id, 1.0, &[]));
                    scored.tweet.id = id.to_string();
                    scored.time_corrected = true;
                    Ok(Arc::new(scored))
                }
                None => Err(Skipped {
                    reason: Skip::NoText,
                    beginning: "{}".into(),
                }),
            };
            let record = PendingRecord {
                position: Position {
                    offset: 0,
                    written: None,
                },
                run: run.map(run_of),
                outcome,
                size: 10,
            };
            let Counted {
                counter,
                progress,
                watched,
            } = self;
            counter.count(record, Instant::now(), progress, watched);
        }

        /// Returns how many tweets are counted, and how many are of earlier runs.
        fn counts(&self) -> (u64, u64) {
            let uncounted = &self.progress.uncounted;
            (
                self.progress.trajectory.total().counted,
                uncounted.earlier_runs,
            )
        }
    }

    #[test]
    fn a_later_run_starts_again_and_an_earlier_one_is_not_counted() {
        let mut counted = Counted::default();
        counted.count(Some(5), Some(1));
        counted.count(Some(5), Some(2));
        assert_eq!(counted.counts(), (2, 0));
        counted.count(Some(4), Some(3));
        counted.count(Some(4), Some(4));
        assert_eq!(counted.counts(), (2, 2));
        counted.count(Some(6), Some(1));
        assert_eq!(
            counted.counts(),
            (1, 4),
            "the first two are of an earlier run"
        );
        assert!(counted.watched.take().is_some() && counted.watched.take().is_none());
        counted.count(Some(6), Some(2));
        assert_eq!(counted.counts(), (2, 4));
    }

    #[test]
    fn the_first_run_replaces_only_what_was_counted_before_it() {
        let mut counted = Counted::default();
        let generation = counted.progress.generation;
        counted.count(Some(5), Some(1));
        assert_eq!(counted.progress.generation, generation);
        // Tweets of other programs have no run. They are counted before and after the first run.
        let mut counted = Counted::default();
        counted.count(None, Some(1));
        assert_eq!(counted.counts(), (1, 0));
        counted.count(Some(5), Some(2));
        assert_eq!(counted.counts(), (1, 1));
        counted.count(None, Some(3));
        assert_eq!(counted.counts(), (2, 1));
    }

    #[test]
    fn a_listener_of_one_run_counts_no_earlier_run() {
        let mut counted = Counted {
            counter: Counter::new(Some(run_of(5)), Output::default()),
            ..Counted::default()
        };
        let generation = counted.progress.generation;
        counted.count(Some(4), Some(1));
        counted.count(Some(5), Some(2));
        assert_eq!(counted.counts(), (1, 1));
        assert_eq!(counted.progress.generation, generation);
        counted.count(Some(6), Some(3));
        assert_eq!(counted.counts(), (1, 2));
    }

    #[test]
    fn duplicates_and_skipped_messages_are_counted_apart() {
        let mut counted = Counted::default();
        for id in [Some(1), Some(1), Some(2), None, Some(1), None] {
            counted.count(None, id);
        }
        assert_eq!(counted.counts(), (2, 0));
        assert_eq!(counted.progress.uncounted.duplicate, 2);
        assert_eq!(counted.progress.uncounted.skipped_total(), 2);
        assert_eq!(counted.progress.times_corrected, 2);
    }

    #[test]
    fn another_log_starts_again_with_any_run_and_any_tweet() {
        let mut counted = Counted::default();
        counted.count(Some(5), Some(1));
        let Counted {
            counter,
            progress,
            watched,
        } = &mut counted;
        counter.reset(progress, watched);
        assert_eq!(counted.counts(), (0, 1));
        counted.count(Some(3), Some(1));
        assert_eq!(counted.counts(), (1, 1));
    }
}
