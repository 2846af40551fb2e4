//! The state of a live source's connection.

use crate::notebook::shorten;
use crate::task::locked;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::sync::{Arc, Mutex};

/// The maximum length of a reason, in characters. A server may have written it.
const MAX_REASON: usize = 300;

/// The state of a live source's connection.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Connection {
    /// The time of the last successful connect; `None` while not connected.
    pub since: Option<Timestamp>,
    /// The number of reconnects after a lost connection.
    pub reconnects: u64,
    /// Why the last connection was lost or could not be made.
    pub last_reason: Option<String>,
    /// The number of tweets that were passed on without the follower count of their author, because
    /// it was not available in time.
    pub without_followers: u64,
    /// The number of messages from the server that are valid and contain no tweet, such as the
    /// deletion of a post or a notice. Keep-alives are not counted.
    pub other_events: u64,
}

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
pub struct ConnectionWatch(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    connection: Connection,
    was_connected: bool,
}

impl ConnectionWatch {
    /// Returns the current state.
    pub fn now(&self) -> Connection {
        locked(&self.0).connection.clone()
    }

    /// Records a successful connect. From the second one on it counts as a reconnect.
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

    /// Records a reason and leaves the connection as it is.
    pub(super) fn note(&self, reason: &str) {
        let reason = shorten(reason, MAX_REASON);
        tracing::info!(reason, "connection of the source");
        locked(&self.0).connection.last_reason = Some(reason);
    }

    /// Counts tweets that were passed on without a follower count.
    pub fn add_without_followers(&self, tweets: u64) {
        locked(&self.0).connection.without_followers += tweets;
    }

    /// Counts a valid message that contains no tweet.
    pub fn add_other_event(&self) {
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
