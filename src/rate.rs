//! The rate of events over the last seconds.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// The time over which a rate is measured, in seconds.
const SECONDS: u64 = 5;

/// Counts events, and returns their rate.
#[derive(Debug)]
pub(crate) struct Rate {
    started: Instant,
    /// The number of events in each of the last seconds that had any.
    seconds: VecDeque<(u64, u64)>,
}

impl Default for Rate {
    fn default() -> Self {
        Rate {
            started: Instant::now(),
            seconds: VecDeque::new(),
        }
    }
}

impl Rate {
    /// Returns the time since the first event could come.
    fn elapsed(&self) -> Duration {
        self.elapsed_at(Instant::now())
    }

    /// Returns the time from when the first event could come until `now`.
    pub(crate) fn elapsed_at(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.started)
    }

    /// Counts events that happened now.
    pub(crate) fn add(&mut self, events: u64) {
        self.add_at(events, self.elapsed());
    }

    /// Counts events that happened after this time.
    pub(crate) fn add_at(&mut self, events: u64, elapsed: Duration) {
        let second = elapsed.as_secs();
        match self.seconds.back_mut() {
            Some((last, count)) if *last == second => *count = count.saturating_add(events),
            _ => self.seconds.push_back((second, events)),
        }
        let is_old = |(first, _): &(u64, u64)| first + SECONDS < second;
        while self.seconds.front().is_some_and(is_old) {
            self.seconds.pop_front();
        }
    }

    /// Returns the number of events per second over the last seconds.
    pub(crate) fn per_second(&self) -> f64 {
        let now = self.elapsed();
        let window = now.min(Duration::from_secs(SECONDS));
        let since = now.as_secs().saturating_sub(SECONDS - 1);
        let recent = self.seconds.iter().filter(|(second, _)| *second >= since);
        let counts = recent.map(|(_, count)| *count);
        counts.fold(0, u64::saturating_add) as f64 / window.as_secs_f64().max(1.0)
    }
}
