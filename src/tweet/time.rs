//! Checks and corrects the time of a tweet. Any program may write any time, and clocks may be wrong. A single
//! wrong time would stretch the figure over centuries, or leave its newest minute empty.

use super::Tweet;
use jiff::{SignedDuration, Timestamp};

/// The day of the first tweet, 2006-03-21 (<https://x.com/jack/status/20>).
const FIRST_TWEET: Timestamp = Timestamp::constant(1_142_899_200, 0);
/// The maximum accepted difference between the clocks of two machines.
const CLOCK_DIFFERENCE: SignedDuration = SignedDuration::from_secs(10);

/// Returns whether a tweet or a message that existed at `latest` can have been written at `time`.
pub(crate) fn is_credible(time: Timestamp, latest: Timestamp) -> bool {
    time >= FIRST_TWEET && time.duration_since(latest) <= CLOCK_DIFFERENCE
}

impl Tweet {
    /// Returns whether the time of the tweet is unknown.
    pub(crate) fn has_no_time(&self) -> bool {
        self.created_at == super::unknown_time()
    }

    /// Replaces a time that is unknown or not credible with the time when the message was written. That time
    /// is `stamp`, or `now` if the stamp is missing or not credible. Returns whether the tweet had a time
    /// that is not credible. An unknown time does not count.
    pub(crate) fn correct_time(&mut self, stamp: Option<Timestamp>, now: Timestamp) -> bool {
        let written = stamp
            .filter(|stamp| is_credible(*stamp, now))
            .unwrap_or(now);
        if is_credible(self.created_at, written) {
            return false;
        }
        let had_time = !self.has_no_time();
        self.created_at = written;
        had_time
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAMP: &str = "2026-01-01T12:00:00Z";
    const NOW: &str = "2026-01-01T18:00:00Z";

    fn at(time: &str) -> Timestamp {
        time.parse().unwrap()
    }

    /// Returns the time of a tweet after the correction, and whether its time was wrong before.
    fn corrected(created_at: &str, stamp: Option<Timestamp>) -> (String, bool) {
        let mut tweet = Tweet::new("ada", "").created_at(at(created_at));
        let was_wrong = tweet.correct_time(stamp, at(NOW));
        (tweet.created_at.to_string(), was_wrong)
    }

    #[test]
    fn a_time_that_cannot_be_true_becomes_that_of_the_message() {
        for (time, expected, was_wrong) in [
            (STAMP, STAMP, false),
            ("2021-05-01T00:00:00Z", "2021-05-01T00:00:00Z", false),
            ("2006-03-21T20:50:14Z", "2006-03-21T20:50:14Z", false),
            // The clocks of the author and of the broker differ.
            ("2026-01-01T12:00:10Z", "2026-01-01T12:00:10Z", false),
            ("2026-01-01T12:00:10.001Z", STAMP, true),
            ("2026-01-01T13:00:00Z", STAMP, true),
            ("9999-12-30T22:00:00Z", STAMP, true),
            ("2006-03-20T23:59:59Z", STAMP, true),
            ("1970-01-01T00:00:01Z", STAMP, true),
            ("-009999-01-02T01:59:59Z", STAMP, true),
            // This time means "unknown".
            ("1970-01-01T00:00:00Z", STAMP, false),
        ] {
            let result = corrected(time, Some(at(STAMP)));
            assert_eq!(result, (expected.into(), was_wrong), "{time}");
        }
    }

    #[test]
    fn a_stamp_that_cannot_be_true_is_replaced_with_now() {
        for stamp in [
            "1969-12-31T23:59:59Z",
            "1970-01-01T00:00:00Z",
            "2026-01-01T19:00:00Z",
            "9999-12-30T22:00:00Z",
        ] {
            let time = corrected("9999-12-30T22:00:00Z", Some(at(stamp)));
            assert_eq!(time, (NOW.into(), true), "{stamp}");
            // The time of this tweet is credible.
            let own = "2026-01-01T17:00:00Z";
            assert_eq!(
                corrected(own, Some(at(stamp))),
                (own.into(), false),
                "{stamp}"
            );
        }
        assert_eq!(corrected("9999-12-30T22:00:00Z", None), (NOW.into(), true));
    }
}
