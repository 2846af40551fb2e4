//! The status of a listener, which is shown as a line and as a card.

use super::progress::{Progress, State, Uncounted};
use crate::kafka::{COMPACTED, PartitionLag};
use crate::notebook::{Card, shorten, thousands};
use crate::sentiment::Scored;
use crate::trajectory::Sum;
use jiff::Timestamp;
use serde::{Serialize, Serializer};
use serde_json::{Value, json};

/// The status of a listener: its state, and the numbers so far. Its serde form has all fields except
/// [`most_positive`](ListenerStatus::most_positive) and [`most_negative`](ListenerStatus::most_negative).
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct ListenerStatus {
    /// The name of the listener, if it has one.
    pub name: Option<String>,
    /// The sum of all tweets.
    #[serde(flatten)]
    pub total: Sum,
    /// The sum of each topic, in the order in which the topics appeared.
    #[serde(serialize_with = "as_map")]
    pub topics: Vec<(String, Sum)>,
    /// The messages that were not counted.
    #[serde(flatten)]
    pub uncounted: Uncounted,
    /// The number of counted tweets with an impossible time, see [`Scored::time_corrected`].
    pub times_corrected: u64,
    /// The mean compound, in \[-1, 1\].
    pub mean: f64,
    /// The tweet with the highest compound.
    #[serde(skip)]
    pub most_positive: Option<Scored>,
    /// The tweet with the lowest compound.
    #[serde(skip)]
    pub most_negative: Option<Scored>,
    /// The state of the listener.
    pub state: State,
    /// Why the listener was not reading when it ended; `None` if it was reading, and while it runs.
    pub unread: Option<String>,
    /// Whether the topic is compacted, that is, Kafka keeps only the newest tweet of each author.
    pub is_compacted: bool,
    /// Since when the broker has been unreachable; `None` while the listener is connected.
    pub unreachable_since: Option<Timestamp>,
    /// The lag of the listener in each partition.
    pub lag: Vec<PartitionLag>,
}

impl ListenerStatus {
    pub(super) fn of(progress: &Progress) -> ListenerStatus {
        let trajectory = &progress.trajectory;
        let extremes = trajectory.extremes();
        ListenerStatus {
            name: None,
            total: trajectory.total(),
            topics: trajectory
                .topics()
                .map(|(name, sum)| (name.to_owned(), sum))
                .collect(),
            uncounted: progress.uncounted.clone(),
            times_corrected: progress.times_corrected,
            mean: trajectory.mean(),
            most_positive: extremes.map(|(most, _)| most.clone()),
            most_negative: extremes.map(|(_, most)| most.clone()),
            state: progress.state.clone(),
            unread: progress.unread.clone(),
            is_compacted: progress.is_compacted,
            unreachable_since: progress.unreachable_since,
            lag: progress.lag.read(),
        }
    }

    /// Returns the status as JSON. The example program prints it with `--json`. For programs that know an
    /// older version, `heard` is an alias of `counted`, and `away_since` is an alias of
    /// `unreachable_since`.
    pub fn to_json(&self) -> Value {
        let mut json = json!(self);
        json["heard"] = json!(self.total.counted);
        for (name, sum) in &self.topics {
            json["topics"][name]["heard"] = json!(sum.counted);
        }
        json["away_since"] = json!(self.unreachable_since);
        json
    }

    /// Displays a status card in a notebook.
    #[doc(hidden)]
    pub fn evcxr_display(&self) {
        let state = match &self.state {
            State::Waiting(reason) => format!("waiting: {reason}"),
            State::Connected => "listening".into(),
            State::Reconnecting(reason) => format!("reconnecting: {reason}"),
            State::Blocked(reason) => format!("cannot read on: {reason}"),
            State::Ended => "ended".into(),
            State::Failed(error) => format!("failed: {error}"),
        };
        let title = match &self.name {
            Some(name) => format!("Listener: {name}"),
            None => "Listener".into(),
        };
        let mut card = Card::new(&title).row("state", &state);
        if let Some(since) = self.unreachable_since {
            card = card.row("broker unreachable since", &format!("{since:.0}"));
        }
        if self.is_compacted {
            card = card.row("warning", COMPACTED);
        }
        for lag in &self.lag {
            card = card.row(&format!("partition {}", lag.partition), &lag.to_string());
        }
        card = card
            .row("tweets", &thousands(self.total.counted))
            .row("sentiment", &format!("{:+.2}", self.total.sum));
        for (topic, sum) in &self.topics {
            let value = format!("{:+.2} from {} tweets", sum.sum, thousands(sum.counted));
            card = card.row(&format!("… about {}", shorten(topic, 48)), &value);
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
        for (reason, count) in &self.uncounted.skipped {
            card = card.row(&format!("skipped: {reason}"), &thousands(*count));
        }
        for (name, count) in self.uncounted.counts() {
            card = card.row(name, &thousands(count));
        }
        if self.times_corrected > 0 {
            card = card.row("times corrected", &thousands(self.times_corrected));
        }
        card.data(self.to_json()).show();
    }
}

fn as_map<S: Serializer>(topics: &[(String, Sum)], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(topics.iter().map(|(name, sum)| (name, sum)))
}

impl std::fmt::Display for ListenerStatus {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if let Some(name) = &self.name {
            write!(f, "{name}: ")?;
        }
        match &self.state {
            State::Waiting(reason) => return write!(f, "waiting: {}", shorten(reason, 120)),
            State::Reconnecting(reason) => write!(f, "reconnecting ({}): ", shorten(reason, 60))?,
            State::Blocked(reason) => write!(f, "cannot read on ({}): ", shorten(reason, 120))?,
            State::Failed(error) => write!(f, "FAILED ({}): ", shorten(error, 120))?,
            State::Connected | State::Ended => {}
        }
        let Sum { counted, sum } = self.total;
        write!(f, "counted {}, sentiment {sum:+.2}", thousands(counted))?;
        for (topic, sum) in &self.topics {
            write!(f, ", {} {:+.2}", shorten(topic, 32), sum.sum)?;
        }
        let skipped = self.uncounted.skipped_total();
        if skipped > 0 {
            write!(f, ", skipped {}", thousands(skipped))?;
        }
        for (name, count) in self.uncounted.counts() {
            write!(f, ", {name} {}", thousands(count))?;
        }
        if self.times_corrected > 0 {
            write!(f, ", times corrected {}", thousands(self.times_corrected))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trajectory::scored;
    use std::time::Instant;

    #[test]
    fn the_json_has_the_keys_of_earlier_versions() {
        let mut progress = Progress::default();
        let tweet = scored(1, 0.5, &["bitcoin"]);
        progress.trajectory.add(&tweet, Instant::now());
        progress.uncounted.duplicate = 2;
        let json = ListenerStatus::of(&progress).to_json();
        let sum = json!({"counted": 1, "heard": 1, "sum": 0.5});
        assert_eq!(json["topics"], json!({"bitcoin": sum}));
        for (key, value) in sum.as_object().unwrap() {
            assert_eq!(&json[key], value);
        }
        let state = json!({"is": "waiting", "reason": "connecting to Kafka"});
        assert_eq!((&json["state"], &json["unread"]), (&state, &Value::Null));
        assert_eq!(
            (&json["duplicate"], &json["missed"]),
            (&json!(2), &json!(0))
        );
        assert_eq!((&json["skipped"], &json["lag"]), (&json!({}), &json!([])));
        assert_eq!(
            (&json["earlier_runs"], &json["times_corrected"]),
            (&json!(0), &json!(0))
        );
        assert!(json["away_since"].is_string());
    }
}
