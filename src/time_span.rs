//! The time span after which a stream or a listener ends by itself.

use crate::{Error, Result};
use std::time::Duration;

/// A longer time span is none: 100 years. A clock cannot represent every duration.
const MAX: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);

/// A duration above zero, of at most 100 years.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct TimeSpan(Duration);

impl TimeSpan {
    /// Returns the time span, if there is one.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for a duration of zero.
    pub(crate) fn new(duration: Option<Duration>) -> Result<Option<TimeSpan>> {
        if duration.is_some_and(|duration| duration.is_zero()) {
            return Err(Error::InvalidArgument {
                argument: "time span 0".into(),
                reason: "it ends before it starts",
                hint: "give a time span such as `Duration::from_secs(300)`, or none to run until stopped",
            });
        }
        Ok(duration.filter(|duration| *duration <= MAX).map(TimeSpan))
    }

    pub(crate) fn duration(self) -> Duration {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_span_that_no_clock_can_hold_is_no_limit() {
        let span = |duration| TimeSpan::new(Some(duration));
        assert_eq!(span(Duration::MAX).unwrap(), None);
        assert_eq!(span(MAX).unwrap(), Some(TimeSpan(MAX)));
        assert!(span(Duration::ZERO).is_err());
    }
}
