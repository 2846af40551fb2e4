//! What a listener has heard: for a program as a struct, for a person as a line and as a card.

use crate::notebook::{Card, shorten, thousands};
use crate::sentiment::Scored;
use crate::trajectory::{State, Sum};
use crate::tweet::Skip;
use std::collections::BTreeMap;

/// What a listener has heard.
#[derive(Clone, Debug, PartialEq)]
pub struct Summary {
    /// How many tweets, and the sum of their metric.
    pub total: Sum,
    /// The same for each topic, in the order in which the topics appeared.
    pub topics: Vec<(String, Sum)>,
    /// Messages that were not counted, by reason.
    pub skipped: BTreeMap<Skip, u64>,
    /// Tweets that were in the topic more than once; each was counted once.
    pub duplicate: u64,
    /// Messages that the broker had removed before they could be read, by its retention.
    pub missed: u64,
    /// The mean compound, in [-1, 1].
    pub mean: f64,
    /// The tweet with the highest compound.
    pub most_positive: Option<Scored>,
    /// The tweet with the lowest compound.
    pub most_negative: Option<Scored>,
    /// What the listener is doing.
    pub state: State,
}

impl Summary {
    /// The counts and sums as JSON, as the example program ends with them.
    pub fn to_json(&self) -> serde_json::Value {
        let skipped: BTreeMap<&str, u64> = self
            .skipped
            .iter()
            .map(|(reason, count)| (reason.name(), *count))
            .collect();
        let topics: BTreeMap<&str, Sum> = self
            .topics
            .iter()
            .map(|(name, sum)| (name.as_str(), *sum))
            .collect();
        serde_json::json!({
            "heard": self.total.heard,
            "skipped": skipped,
            "duplicate": self.duplicate,
            "missed": self.missed,
            "sum": self.total.sum,
            "topics": topics,
        })
    }
}

impl std::fmt::Display for Summary {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.state {
            State::Waiting(why) => return write!(f, "waiting: {}", shorten(why, 120)),
            State::Reconnecting(why) => write!(f, "reconnecting ({}): ", shorten(why, 60))?,
            State::Connected | State::Ended => {}
        }
        write!(
            f,
            "heard {}, sentiment {:+.2}",
            thousands(self.total.heard),
            self.total.sum
        )?;
        for (topic, sum) in &self.topics {
            write!(f, ", {} {:+.2}", shorten(topic, 32), sum.sum)?;
        }
        let skipped: u64 = self.skipped.values().sum();
        if skipped > 0 {
            write!(f, ", skipped {}", thousands(skipped))?;
        }
        if self.missed > 0 {
            write!(f, ", MISSED {}", thousands(self.missed))?;
        }
        Ok(())
    }
}

impl Summary {
    /// Shows a card in a notebook.
    pub fn evcxr_display(&self) {
        let state = match &self.state {
            State::Waiting(why) => format!("waiting: {why}"),
            State::Connected => "listening".into(),
            State::Reconnecting(why) => format!("reconnecting: {why}"),
            State::Ended => "ended".into(),
        };
        let mut card = Card::new("Listener")
            .row("state", &state)
            .row("tweets", &thousands(self.total.heard))
            .row("sentiment", &format!("{:+.2}", self.total.sum));
        for (topic, sum) in &self.topics {
            let value = format!("{:+.2} from {} tweets", sum.sum, thousands(sum.heard));
            card = card.row(&format!("… about {topic}"), &value);
        }
        card = card.row("mean compound", &format!("{:+.3}", self.mean));
        for (name, most) in [
            ("most positive", &self.most_positive),
            ("most negative", &self.most_negative),
        ] {
            if let Some(most) = most {
                let compound = most.sentiment.compound;
                let text = shorten(&most.tweet.text, 200);
                card = card.row(
                    name,
                    &format!("{compound:+.2} @{}: {text}", shorten(&most.tweet.user, 24)),
                );
            }
        }
        for (reason, count) in &self.skipped {
            card = card.row(&format!("skipped: {reason}"), &thousands(*count));
        }
        if self.duplicate > 0 {
            card = card.row("duplicates, counted once", &thousands(self.duplicate));
        }
        if self.missed > 0 {
            let gone = format!(
                "{}: the broker removed them before they were read",
                thousands(self.missed)
            );
            card = card.row("missed", &gone);
        }
        card.data(self.to_json()).show();
    }
}
