//! Rates, time limits, and the intervals between progress lines.

use crate::error::{Error, Result};
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// The window over which a rate is measured, in seconds.
const SECONDS: u64 = 5;
/// The longest time limit, 100 years. An [`Instant`] cannot represent every later time.
const MAX_LIMIT: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);

/// Returns the time limit of a stream or a listener. A time span of more than 100 years is no limit.
///
/// # Errors
/// [`ErrorKind::InvalidArgument`](crate::ErrorKind::InvalidArgument) for a time span of zero.
pub(crate) fn time_limit(time_span: Option<Duration>) -> Result<Option<Duration>> {
    if time_span.is_some_and(|span| span.is_zero()) {
        return Err(Error::invalid_argument(
            "time span 0",
            "it ends before it starts",
            "give a time span such as `Duration::from_secs(300)`, or none to run until stopped",
        ));
    }
    Ok(time_span.filter(|span| *span <= MAX_LIMIT))
}

/// Returns how long to wait before the next progress line: 1 s in the first ten seconds, then 10 s.
pub(crate) fn progress_interval(start: Instant) -> Duration {
    let is_new = start.elapsed() < Duration::from_secs(10);
    Duration::from_secs(if is_new { 1 } else { 10 })
}

/// Counts events, and returns their rate.
#[derive(Debug)]
pub(crate) struct Rate {
    started: Instant,
    /// Pairs of a second and its number of events, oldest first. A second without events has no pair.
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
    fn elapsed(&self) -> Duration {
        self.elapsed_at(Instant::now())
    }

    /// Returns the time from the creation of the `Rate` until `now`.
    pub(crate) fn elapsed_at(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.started)
    }

    /// Counts events that happened now.
    pub(crate) fn add(&mut self, events: u64) {
        self.add_at(events, self.elapsed());
    }

    /// Counts events that happened when the `Rate` had existed for `elapsed`.
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

    /// Returns the mean number of events per second over the last five seconds.
    pub(crate) fn per_second(&self) -> f64 {
        self.per_second_at(self.elapsed())
    }

    fn per_second_at(&self, now: Duration) -> f64 {
        let window = now.min(Duration::from_secs(SECONDS));
        let since = now.as_secs().saturating_sub(SECONDS - 1);
        let recent = self.seconds.iter().filter(|(second, _)| *second >= since);
        let counts = recent.map(|(_, count)| *count);
        counts.fold(0, u64::saturating_add) as f64 / window.as_secs_f64().max(1.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_progress_line_comes_each_second_and_after_ten_seconds_every_ten() {
        let after = |seconds| {
            let start = Instant::now().checked_sub(Duration::from_secs(seconds));
            progress_interval(start.expect("the machine has run for a minute")).as_secs()
        };
        assert_eq!([0, 9, 11, 50].map(after), [1, 1, 10, 10]);
    }

    #[test]
    fn the_rate_is_the_mean_of_the_last_five_seconds() {
        let at = Duration::from_secs_f64;
        let mut rate = Rate::default();
        assert_eq!(rate.per_second_at(at(0.0)), 0.0);
        rate.add_at(10, at(0.2));
        rate.add_at(20, at(0.7));
        assert_eq!(
            rate.per_second_at(at(0.8)),
            30.0,
            "the first second is not over"
        );
        rate.add_at(10, at(3.5));
        assert_eq!(rate.per_second_at(at(4.0)), 10.0, "40 events in 4 s");
        assert_eq!(rate.per_second_at(at(5.0)), 2.0, "10 events in 5 s");
        assert_eq!(rate.per_second_at(at(7.9)), 2.0);
        assert_eq!(rate.per_second_at(at(8.0)), 0.0);
    }

    #[test]
    fn only_the_last_seconds_are_kept() {
        let mut rate = Rate::default();
        for second in 0..100 {
            rate.add_at(1, Duration::from_secs(second));
            rate.add_at(1, Duration::from_secs(second));
        }
        let kept: Vec<u64> = rate.seconds.iter().map(|(second, _)| *second).collect();
        assert_eq!(kept, [94, 95, 96, 97, 98, 99]);
    }

    #[test]
    fn events_are_counted_now_and_without_overflow() {
        let mut rate = Rate::default();
        let started = rate.started;
        assert_eq!(
            rate.elapsed_at(started + Duration::from_secs(3)).as_secs(),
            3
        );
        rate.started = started.checked_sub(Duration::from_secs(60)).unwrap();
        rate.add(u64::MAX);
        rate.add(1);
        assert!(rate.seconds.iter().all(|(second, _)| *second >= 60));
        assert_eq!(rate.per_second(), u64::MAX as f64 / 5.0);
    }

    #[test]
    fn a_time_span_that_no_clock_can_hold_is_no_limit() {
        let limit = |duration| time_limit(Some(duration));
        assert_eq!(limit(Duration::MAX).unwrap(), None);
        assert_eq!(limit(MAX_LIMIT).unwrap(), Some(MAX_LIMIT));
        assert!(limit(Duration::ZERO).is_err());
    }
}
