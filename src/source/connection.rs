//! The live state of a source's connection.

use crate::notebook::shorten;
use crate::task::locked;
use crate::wire::Connection;
use jiff::Timestamp;
use std::sync::{Arc, Mutex};

/// The maximum length of a reason, in characters. A server may have written it.
const MAX_REASON: usize = 300;

/// A shared [`Connection`]: the source updates it, and the streamer reads it. Clones share the same
/// state.
///
/// # Examples
/// ```
/// use live_sentiment::source::ConnectionWatch;
///
/// let watch = ConnectionWatch::default();
/// watch.connected();
/// watch.lost("the server closed the connection");
/// assert_eq!(watch.now().since, None);
/// ```
#[derive(Clone, Debug, Default)]
pub struct ConnectionWatch(Arc<Mutex<WatchState>>);

#[derive(Debug, Default)]
struct WatchState {
    connection: Connection,
    was_connected: bool,
}

impl ConnectionWatch {
    /// Returns the current state.
    pub fn now(&self) -> Connection {
        locked(&self.0).connection.clone()
    }

    /// Records a new connection. Each connection after the first one counts as a reconnect.
    pub fn connected(&self) {
        let state = &mut *locked(&self.0);
        state.connection.since = Some(Timestamp::now());
        state.connection.reconnects += u64::from(state.was_connected);
        state.was_connected = true;
    }

    /// Records that the connection was lost or could not be made. The reason is cut to 300
    /// characters. It must not contain credentials.
    pub fn lost(&self, reason: &str) {
        self.note(reason);
        locked(&self.0).connection.since = None;
    }

    /// Records a reason without changing the state of the connection.
    pub(super) fn note(&self, reason: &str) {
        let reason = shorten(reason, MAX_REASON);
        tracing::info!(reason, "connection of the source");
        locked(&self.0).connection.last_reason = Some(reason);
    }

    /// Counts tweets without a follower count.
    pub(crate) fn add_without_followers(&self, tweets: u64) {
        locked(&self.0).connection.without_followers += tweets;
    }

    /// Counts a valid message that contains no tweet.
    pub(crate) fn add_other_event(&self) {
        locked(&self.0).connection.other_events += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reconnects_are_counted_from_the_second_connection_on() {
        let watch = ConnectionWatch::default();
        watch.lost("no network");
        assert_eq!(watch.now().last_reason.as_deref(), Some("no network"));
        watch.connected();
        assert_eq!(watch.now().reconnects, 0);
        watch.lost("cut");
        assert_eq!(watch.now().since, None);
        watch.connected();
        assert_eq!(watch.now().reconnects, 1);
    }
}
