//! How a notebook and a terminal show the status of a stream.

use crate::notebook::{Card, shorten, thousands};
use crate::wire::{Connection, Counts, EndReason, FileProgress, StreamerStatus};
use std::time::Duration;

/// After this long without a tweet, the status says that the stream waits for its source.
const SILENT_WAIT: Duration = Duration::from_secs(10);
/// What the card and the programs say if no tweet has a follower count.
const NO_FOLLOWERS: &str = "no tweet has a follower count, so the default metric of a listener adds 0 for each; \
    use a metric without followers, such as `.metric(|_, sentiment| sentiment.compound)`";

impl Counts {
    /// Returns the rows of the card. A new count needs a field, a row here, and the statement that
    /// increments it.
    fn rows(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let rows = [
            ("read", self.read),
            ("filtered out", self.filtered),
            ("duplicates", self.duplicate),
            ("sent", self.sent),
        ];
        let errors = [
            ("failed", self.failed),
            ("unknown follower counts", self.without_followers),
            // The reasons follow it.
            ("skipped, not tweets", self.skipped),
        ];
        let errors = errors.into_iter().filter(|(_, count)| *count > 0);
        rows.into_iter().chain(errors)
    }
}

impl StreamerStatus {
    fn state(&self) -> String {
        let lost = |connection: &&Connection| connection.since.is_none();
        match (self.ended, self.connection.as_ref().filter(lost)) {
            (Some(EndReason::Source), _) => "the source has ended".into(),
            (Some(EndReason::Failed), _) => "failed".into(),
            (Some(EndReason::TimeSpan), _) => "the time span is over".into(),
            (Some(EndReason::Stopped), _) => "stopped".into(),
            (None, Some(connection)) => match &connection.last_reason {
                Some(reason) => format!("not connected, retrying: {reason}"),
                None => "connecting".into(),
            },
            (None, None) => match self.waiting {
                Some(waiting) if waiting > SILENT_WAIT => {
                    let seconds = waiting.as_secs();
                    format!("waiting for the next tweet of the source for {seconds} s")
                }
                _ => "streaming".into(),
            },
        }
    }

    /// Returns how much of the files was read, such as `40 % of the files read, 20 s left`.
    fn files_read(&self, files: &FileProgress) -> String {
        let Some(share) = files.share() else {
            return format!("{} records read", thousands(files.records));
        };
        // Round down: 100 % means that everything was read.
        let read = format!("{:.0} % of the files read", (share * 100.0).floor());
        match self.time_left() {
            Some(left) => format!("{read}, {} left", readable(left)),
            None => read,
        }
    }

    /// Displays a status card in a notebook.
    #[doc(hidden)]
    pub fn evcxr_display(&self) {
        let mut card = Card::new("Streamer")
            .row("state", &self.state())
            .row("source", &self.source);
        if let Some(connection) = &self.connection {
            card = connection_rows(card, connection);
        }
        if let Some(files) = &self.files {
            card = card
                .row("files read", &self.files_read(files))
                .row("records", &thousands(files.records));
            if files.other_events > 0 {
                card = card.row("other events", &thousands(files.other_events));
            }
        }
        for (name, count) in self.counts.rows() {
            card = card.row(name, &thousands(count));
        }
        for (reason, count) in &self.skip_reasons {
            card = card.row(&format!("… {reason}"), &thousands(*count));
        }
        for (topic, count) in &self.topics {
            card = card.row(&format!("… about {topic}"), &thousands(*count));
        }
        card = card.row("rate", &format!("{:.1} per second", self.rate));
        if let Some(age) = self.newest_age().filter(|_| self.ended.is_none()) {
            card = card.row("newest tweet", &format!("{:.1} s old", age.as_secs_f64()));
        }
        if let Some(file) = &self.dead_letter_file {
            card = card.row("dead-letter file", &file.display().to_string());
        }
        if let Some(error) = &self.last_error {
            card = card.row("last error", error);
        }
        if self.has_no_followers() {
            card = card.row("note", NO_FOLLOWERS);
        }
        if let (None, Some(remaining)) = (self.ended, self.remaining) {
            card = card.row("remaining", &format!("{:.0} s", remaining.as_secs_f64()));
        }
        card.data(self.to_json()).show();
    }
}

/// Formats a duration with at most two digits, up to 99 hours: `45 s`, `12 min`, `3 h`.
fn readable(duration: Duration) -> String {
    match duration.as_secs() {
        seconds @ 0..100 => format!("{seconds} s"),
        seconds @ 100..6_000 => format!("{} min", seconds / 60),
        seconds => format!("{} h", seconds / 3_600),
    }
}

fn connection_rows(mut card: Card, connection: &Connection) -> Card {
    if let Some(since) = connection.since {
        card = card.row("connected since", &format!("{since:.0}"));
    }
    card = card.row("reconnects", &thousands(connection.reconnects));
    if let Some(reason) = &connection.last_reason {
        card = card.row("last connection error", reason);
    }
    if connection.other_events > 0 {
        card = card.row("other events", &thousands(connection.other_events));
    }
    card
}

impl std::fmt::Display for StreamerStatus {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let seconds = self.elapsed.as_secs_f64();
        write!(f, "{seconds:>4.0} s: sent {}", thousands(self.counts.sent))?;
        for (topic, count) in &self.topics {
            write!(f, ", {topic} {}", thousands(*count))?;
        }
        write!(f, ", {:.1} per second", self.rate)?;
        if self.counts.skipped > 0 {
            write!(f, ", skipped {}", thousands(self.counts.skipped))?;
            let reasons = self.skip_reasons.iter();
            let reasons = reasons.map(|(reason, count)| format!("{reason}: {}", thousands(*count)));
            match reasons.collect::<Vec<_>>().join(", ").as_str() {
                "" => {}
                reasons => write!(f, " ({reasons})")?,
            }
        }
        if let Some(files) = &self.files {
            write!(f, ", {}", self.files_read(files))?;
            if files.other_events > 0 {
                write!(f, ", other events {}", thousands(files.other_events))?;
            }
        }
        if self.counts.failed > 0 {
            write!(f, ", FAILED {}", thousands(self.counts.failed))?;
        }
        if let Some(file) = &self.dead_letter_file {
            write!(f, " (saved to {})", file.display())?;
        }
        if self.ended.is_some() && self.has_no_followers() {
            write!(f, " ({NO_FOLLOWERS})")?;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_wait_for_the_source_is_shown() {
        let line = |seconds: u64, ended: Option<EndReason>| {
            let status = StreamerStatus {
                source: "replay".into(),
                ended,
                elapsed: Duration::from_secs(30),
                waiting: Some(Duration::from_secs(seconds)),
                ..StreamerStatus::default()
            };
            status.to_string()
        };
        assert_eq!(line(10, None), "  30 s: sent 0, 0.0 per second");
        assert_eq!(
            line(7_200, None),
            "  30 s: sent 0, 0.0 per second, waiting for the next tweet of the source for 7200 s"
        );
        assert!(line(7_200, Some(EndReason::Stopped)).ends_with("stopped"));
    }

    #[test]
    fn the_progress_of_files_is_shown_with_the_time_left() {
        let files = FileProgress {
            bytes: Some(1_000),
            bytes_read: 250,
            records: 7,
            other_events: 2,
        };
        let mut status = StreamerStatus {
            elapsed: Duration::from_secs(60),
            files: Some(files),
            ..StreamerStatus::default()
        };
        let line =
            "  60 s: sent 0, 0.0 per second, 25 % of the files read, 3 min left, other events 2";
        assert_eq!(status.to_string(), line);
        status.ended = Some(EndReason::Stopped);
        assert!(!status.to_string().contains("left"));
        status.files = Some(FileProgress {
            bytes: None,
            ..files
        });
        assert!(status.to_string().contains("7 records read"));
    }
}
