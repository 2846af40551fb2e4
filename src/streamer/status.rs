//! Where a stream stands: for a program as a struct, for a person as a line and as a card, and for
//! the page of the Listener as a message in a topic of its own.

use crate::notebook::{Card, shorten, thousands};
use crate::source::Connection;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

/// The largest report that is read, in bytes; a stranger may have written it.
const LARGEST_REPORT: usize = 16 * 1024;

/// Why a stream ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Ended {
    /// The source had no more tweets.
    Source,
    /// The source cannot be streamed from any longer; `last_trouble` says why.
    Failed,
    /// The time span was over.
    TimeSpan,
    /// It was stopped.
    Stopped,
}

/// Where a stream stands.
#[derive(Clone, Debug, PartialEq)]
pub struct StreamerStatus {
    /// What the source calls itself.
    pub source: String,
    /// How its connection stands; `None` for a source without one.
    pub connection: Option<Connection>,
    /// Why it ended; `None` while it runs.
    pub ended: Option<Ended>,
    /// For how long it has run.
    pub elapsed: Duration,
    /// How long it still has; `None` without a time span.
    pub remaining: Option<Duration>,
    /// Tweets a second that the broker took: in the last ten seconds while it runs, in all of its
    /// time once it has ended.
    pub rate: f64,
    /// Tweets that came from the source.
    pub read: u64,
    /// Of those, the ones that match no track or no language.
    pub filtered: u64,
    /// Of those, the ones whose id was seen before.
    pub duplicate: u64,
    /// Items of the source that were no tweets.
    pub skipped: u64,
    /// Tweets that the broker has.
    pub sent: u64,
    /// Tweets that the broker did not take.
    pub failed: u64,
    /// The file that they are in, for [`Replay`](crate::source::Replay); `None` if there are none.
    pub undelivered: Option<PathBuf>,
    /// Tweets on their way to the broker.
    pub in_flight: u64,
    /// When the newest tweet that passed was written.
    pub newest: Option<Timestamp>,
    /// How many were written to the broker of each topic; a tweet may have several.
    pub topics: BTreeMap<String, u64>,
    /// The newest thing that went wrong, if anything did.
    pub last_trouble: Option<String>,
}

impl StreamerStatus {
    /// How long ago the newest tweet that passed was written.
    pub fn newest_age(&self) -> Option<Duration> {
        let newest = self.newest?;
        Some(Duration::try_from(Timestamp::now().duration_since(newest)).unwrap_or_default())
    }

    /// The counts as JSON, as the example program ends with them.
    pub fn to_json(&self) -> serde_json::Value {
        serde_json::json!({
            "read": self.read,
            "filtered": self.filtered,
            "duplicate": self.duplicate,
            "skipped": self.skipped,
            "sent": self.sent,
            "failed": self.failed,
            "undelivered": self.undelivered,
            "topics": self.topics,
        })
    }

    fn state(&self) -> String {
        match (self.ended, &self.connection) {
            (Some(Ended::Source), _) => "the source has ended".into(),
            (Some(Ended::Failed), _) => "the source has failed".into(),
            (Some(Ended::TimeSpan), _) => "the time span is over".into(),
            (Some(Ended::Stopped), _) => "stopped".into(),
            (
                None,
                Some(Connection {
                    since: None,
                    last_reason,
                    ..
                }),
            ) => match last_reason {
                Some(reason) => format!("not connected, trying again: {reason}"),
                None => "connecting".into(),
            },
            (None, _) => "streaming".into(),
        }
    }

    /// Shows a card in a notebook.
    pub fn evcxr_display(&self) {
        let mut card = Card::new("Streamer")
            .row("state", &self.state())
            .row("source", &self.source);
        if let Some(connection) = &self.connection {
            card = connection_rows(card, connection);
        }
        card = card
            .row("read", &thousands(self.read))
            .row("filtered out", &thousands(self.filtered))
            .row("duplicates", &thousands(self.duplicate))
            .row(
                "sent",
                &format!("{} ({:.1} a second)", thousands(self.sent), self.rate),
            );
        for (topic, count) in &self.topics {
            card = card.row(&format!("… about {topic}"), &thousands(*count));
        }
        if let Some(age) = self.newest_age().filter(|_| self.ended.is_none()) {
            card = card.row("newest tweet", &format!("{:.1} s old", age.as_secs_f64()));
        }
        if self.skipped + self.failed > 0 {
            card = card
                .row("no tweets", &thousands(self.skipped))
                .row("failed", &thousands(self.failed));
        }
        if let Some(file) = &self.undelivered {
            card = card.row("the failed ones are in", &file.display().to_string());
        }
        if let Some(trouble) = &self.last_trouble {
            card = card.row("last trouble", trouble);
        }
        if let (None, Some(remaining)) = (self.ended, self.remaining) {
            card = card.row("remaining", &format!("{:.0} s", remaining.as_secs_f64()));
        }
        card.data(self.to_json()).show();
    }
}

fn connection_rows(mut card: Card, connection: &Connection) -> Card {
    if let Some(since) = connection.since {
        card = card.row("connected since", &format!("{since:.0}"));
    }
    card = card.row("reconnects", &thousands(connection.reconnects));
    if let Some(reason) = &connection.last_reason {
        card = card.row("last reason", reason);
    }
    if connection.without_followers > 0 {
        card = card.row(
            "followers not known",
            &thousands(connection.without_followers),
        );
    }
    card
}

impl std::fmt::Display for StreamerStatus {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{:>4.0} s: streamed {}",
            self.elapsed.as_secs_f64(),
            thousands(self.sent)
        )?;
        for (topic, count) in &self.topics {
            write!(f, ", {topic} {}", thousands(*count))?;
        }
        write!(f, ", {:.1} a second", self.rate)?;
        if self.failed > 0 {
            write!(f, ", FAILED {}", thousands(self.failed))?;
        }
        if let Some(file) = &self.undelivered {
            write!(f, " (kept in {})", file.display())?;
        }
        match self.state().as_str() {
            "streaming" => {}
            state => write!(f, ", {}", shorten(state, 160))?,
        }
        match (self.ended, self.remaining) {
            (None, Some(remaining)) => write!(f, ", {:.0} s remaining", remaining.as_secs_f64()),
            _ => Ok(()),
        }
    }
}

/// A status as it travels to the Listener's page: JSON in the topic that [`report_topic`] names, a
/// message a second. It has a topic of its own so that `tweets` holds tweets only.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Report {
    source: String,
    ended: Option<Ended>,
    connection: Option<Connection>,
    rate: f64,
    read: u64,
    filtered: u64,
    duplicate: u64,
    sent: u64,
    failed: u64,
    newest: Option<Timestamp>,
}

/// The topic beside `topic` in which its streamer reports.
pub(crate) fn report_topic(topic: &str) -> String {
    format!("{topic}-streamer")
}

impl Report {
    pub(super) fn new(status: &StreamerStatus) -> Report {
        Report {
            source: status.source.clone(),
            ended: status.ended,
            connection: status.connection.clone(),
            rate: status.rate,
            read: status.read,
            filtered: status.filtered,
            duplicate: status.duplicate,
            sent: status.sent,
            failed: status.failed,
            newest: status.newest,
        }
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        // Strings, numbers and times: all of it has a form in JSON.
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// Whether the stream has ended.
    pub(crate) fn has_ended(&self) -> bool {
        self.ended.is_some()
    }

    /// Reads a report; what is none, is not.
    pub(crate) fn decode(message: &[u8]) -> Option<Report> {
        if message.len() > LARGEST_REPORT {
            return None;
        }
        let mut report: Report = serde_json::from_slice(message).ok()?;
        report.source = shorten(&report.source, 60);
        if let Some(connection) = &mut report.connection {
            let reason = connection.last_reason.as_deref();
            connection.last_reason = reason.map(|reason| shorten(reason, 160));
        }
        Some(report)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_is_read_back_and_cut_to_size() {
        let report = Report {
            source: "S".repeat(100),
            ended: Some(Ended::TimeSpan),
            connection: Some(Connection {
                last_reason: Some("why".repeat(200)),
                ..Connection::default()
            }),
            rate: 1.5,
            read: 4,
            filtered: 1,
            duplicate: 1,
            sent: 2,
            failed: 0,
            newest: Some(Timestamp::UNIX_EPOCH),
        };
        let read = Report::decode(&report.encode()).unwrap();
        assert_eq!((read.sent, read.ended), (2, Some(Ended::TimeSpan)));
        assert!(read.source.chars().count() == 61);
        assert!(
            read.connection
                .unwrap()
                .last_reason
                .unwrap()
                .chars()
                .count()
                == 161
        );
        assert_eq!(Report::decode(b"{}"), None);
        assert_eq!(Report::decode(&vec![b' '; LARGEST_REPORT + 1]), None);
    }
}
