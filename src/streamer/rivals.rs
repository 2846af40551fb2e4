//! Other streamers that write to the same topic.
//!
//! A listener counts only the newest run of a topic. If two streamers write different runs, the tweets
//! of one streamer are not counted, and both streamers report this. Each streamer writes its status,
//! marked with its run, to the status topic once per second. A gap in the offsets of a streamer's own
//! status messages means that another streamer has written too. In this case, the streamer reads the
//! status topic.

use crate::error::{Error, ErrorKind, Result};
use crate::kafka::{Client, newest_status_runs};
use crate::task::locked;
use crate::wire::RunId;
use jiff::Timestamp;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::task::JoinHandle;

/// How often the status topic is read while another streamer writes to it.
const INTERVAL: Duration = Duration::from_secs(3);

/// The offsets of this streamer's messages in the status topic.
#[derive(Default)]
pub(super) struct StatusOffsets(Mutex<Offsets>);

#[derive(Default)]
struct Offsets {
    last: Option<i64>,
    /// Whether the status topic has other messages between those of this streamer.
    are_interleaved: bool,
}

impl StatusOffsets {
    /// Records the offset of this streamer's newest message.
    pub(super) fn add(&self, offset: i64) {
        let mut offsets = locked(&self.0);
        offsets.are_interleaved |= offsets.last.is_some_and(|last| offset > last + 1);
        offsets.last = Some(offset);
    }

    /// Returns whether another streamer has written since the last call.
    fn take_interleaved(&self) -> bool {
        std::mem::take(&mut locked(&self.0).are_interleaved)
    }
}

/// Another streamer that writes to the topic.
pub(super) enum Rival {
    /// It has begun a newer run, so the tweets of this streamer are no longer counted.
    Newer,
    /// It has written to an earlier run since this streamer started, so its tweets are not counted.
    Earlier,
}

/// Looks for other streamers.
pub(super) struct Rivals {
    client: Arc<Client>,
    topic: String,
    run: RunId,
    started: Timestamp,
    checked: Option<Instant>,
    check: Option<JoinHandle<Result<Option<Rival>>>>,
}

impl Rivals {
    pub(super) fn new(client: &Arc<Client>, topic: &str, run: RunId) -> Rivals {
        Rivals {
            client: client.clone(),
            topic: topic.into(),
            run,
            started: Timestamp::now(),
            checked: None,
            check: None,
        }
    }

    /// Returns the rival that the last check has found, with an error that describes it. If the offsets
    /// show that another streamer may write, starts a check in the background.
    pub(super) async fn look(&mut self, offsets: &StatusOffsets) -> Option<(Rival, Error)> {
        if let Some(check) = self.check.take_if(|check| check.is_finished()) {
            // A failed check is repeated after the next status message of the other streamer.
            let rival = check.await.ok()?.ok()??;
            let error = self.error(&rival);
            return Some((rival, error));
        }
        let is_due = self.checked.is_none_or(|at| at.elapsed() > INTERVAL);
        if self.check.is_none() && is_due && offsets.take_interleaved() {
            self.checked = Some(Instant::now());
            let (client, topic) = (self.client.clone(), self.topic.clone());
            let (run, started) = (self.run, self.started.as_millisecond());
            self.check = Some(tokio::task::spawn_blocking(move || {
                let runs = newest_status_runs(&client, &topic)?;
                let is_earlier =
                    |(other, written): &(RunId, i64)| *other < run && *written > started;
                Ok(if runs.iter().any(|(other, _)| *other > run) {
                    Some(Rival::Newer)
                } else {
                    runs.iter().any(is_earlier).then_some(Rival::Earlier)
                })
            }));
        }
        None
    }

    fn error(&self, rival: &Rival) -> Error {
        let reason = match rival {
            Rival::Newer => {
                "another streamer has begun a newer run, and only the newest is counted"
            }
            Rival::Earlier => "another streamer still writes an earlier run, which is not counted",
        };
        Error::failed(
            ErrorKind::Kafka,
            format!("be the only streamer of topic {:?}", self.topic),
            reason,
            "to write into one run, start the second streamer with `open_topic` instead of \
                   `create_topic` (the program's option --join), or use another topic",
        )
    }
}
