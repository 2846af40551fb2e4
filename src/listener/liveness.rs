//! Whether the streamer is running, as far as its status messages tell.

use crate::streamer::StreamerStatus;
use std::time::{Duration, Instant};

/// A streamer writes its status every second. After this long without one it counts as gone.
const STATUS_TIMEOUT: Duration = Duration::from_secs(5);

/// What the status messages of the streamer tell about it.
#[derive(Clone, Copy, Default)]
pub(super) enum StreamerLiveness {
    /// Nothing. The final status of a stream that ended before this listener started says nothing
    /// about the next stream.
    #[default]
    Unknown,
    /// It was running at this time.
    Running(Instant),
    /// It was running, and has ended.
    Ended,
}

impl StreamerLiveness {
    pub(super) fn update(&mut self, status: &StreamerStatus) {
        *self = match (*self, status.ended.is_some()) {
            (_, false) => StreamerLiveness::Running(Instant::now()),
            (StreamerLiveness::Unknown, true) => StreamerLiveness::Unknown,
            (_, true) => StreamerLiveness::Ended,
        };
    }

    pub(super) fn is_running(self) -> bool {
        matches!(self, StreamerLiveness::Running(at) if at.elapsed() < STATUS_TIMEOUT)
    }
}
