//! The time span after which a stream or a listener ends by itself.

use crate::{Error, Result};
use std::time::Duration;

/// A duration above zero.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct TimeSpan(Duration);

impl TimeSpan {
    /// # Errors
    /// [`Error::InvalidArgument`] for a duration of zero.
    pub(crate) fn new(duration: Duration) -> Result<TimeSpan> {
        if duration.is_zero() {
            return Err(Error::InvalidArgument {
                argument: "time span 0".into(),
                reason: "it ends before it starts",
                hint: "give a time span such as `Duration::from_secs(300)`, or none to run until stopped",
            });
        }
        Ok(TimeSpan(duration))
    }

    pub(crate) fn duration(self) -> Duration {
        self.0
    }
}
