//! Answers to the questions of a reader: why the sum moved, which tweet a point is, why a text has its
//! score, and what was skipped. The page fetches them when the reader asks; updates do not contain them.
//!
//! A question contains the generation of its run, so a page that shows an earlier run does not get the
//! answer of a later one.

use super::Shown;
use super::update::{ShownTweet, TOPIC_LENGTH};
use crate::listener::{Progress, Subscription};
use crate::notebook::shorten;
use crate::sentiment::{Explanation, Scored};
use crate::trajectory::{Stretch, TEXT_LENGTH};
use reqwest::Url;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::str::FromStr;

/// Why there is no answer.
#[derive(Debug, PartialEq)]
pub(super) enum Refused {
    /// The question is malformed.
    Malformed(&'static str),
    /// It is about an earlier run, or a listener that is no longer shown.
    Stale,
    /// There are no tweets at this time or on this line.
    Nothing,
}

/// A question: the parameters of its address.
pub(super) struct Question(HashMap<String, String>);

impl Question {
    /// Reads the part of an address after the question mark.
    pub(super) fn new(query: &str) -> Question {
        let mut url = Url::parse("http://localhost/").expect("a constant address is valid");
        url.set_query(Some(query));
        let pairs = url.query_pairs();
        Question(
            pairs
                .map(|(name, value)| (name.into(), value.into()))
                .collect(),
        )
    }

    fn text(&self, name: &'static str) -> Result<&str, Refused> {
        let value = self.0.get(name);
        value.map(String::as_str).ok_or(Refused::Malformed(name))
    }

    fn number<T: FromStr>(&self, name: &'static str) -> Result<T, Refused> {
        let value = self.text(name)?;
        value.parse().map_err(|_| Refused::Malformed(name))
    }

    /// Reads the progress that the question is about, if its listener is shown and still has the same run.
    fn read<'s, T>(
        &self,
        shown: &'s [Shown],
        read: impl Fn(&Progress) -> T,
    ) -> Result<(&'s Subscription, T), Refused> {
        let generation: u64 = self.number("generation")?;
        let answer = |Shown { subscription, .. }: &'s Shown| {
            let value = subscription
                .read(|progress| (progress.generation == generation).then(|| read(progress)));
            value.map(|value| (subscription, value))
        };
        shown.iter().find_map(answer).ok_or(Refused::Stale)
    }
}

fn tweet(scored: &Scored) -> ShownTweet {
    ShownTweet::new(scored, TEXT_LENGTH)
}

/// What happened between the times `from` and `to`, in milliseconds since 1970.
pub(super) fn stretch(question: &Question, shown: &[Shown]) -> Result<Value, Refused> {
    let (from, to): (i64, i64) = (question.number("from")?, question.number("to")?);
    let (listener, (stretch, names)) = question.read(shown, |progress| {
        let trajectory = &progress.trajectory;
        let names: Vec<_> = trajectory
            .lines()
            .iter()
            .map(|line| shorten(line.name(), TOPIC_LENGTH))
            .collect();
        let stretch = trajectory.history().stretch(from.min(to), from.max(to));
        (stretch, names)
    })?;
    let stretch = stretch.ok_or(Refused::Nothing)?;
    Ok(stretch_json(&stretch, &names, listener))
}

fn stretch_json(stretch: &Stretch, names: &[String], listener: &Subscription) -> Value {
    let Stretch { segment, words } = stretch;
    let lines = names
        .iter()
        .zip(&segment.parts)
        .map(|(name, part)| json!({"name": name, "counted": part.counted, "change": part.change}));
    let movers = segment.movers.iter().map(|mover| tweet(&mover.scored));
    let indices: Vec<_> = words.iter().map(|(word, _)| *word).collect();
    let texts = listener.analyzer().words(&indices);
    let words = texts.iter().zip(words);
    json!({
        "from": segment.from,
        "to": segment.to,
        "lines": lines.collect::<Vec<_>>(),
        "movers": movers.collect::<Vec<_>>(),
        "words": words
            .map(|(word, (_, total))| json!({"word": word, "total": total}))
            .collect::<Vec<_>>(),
    })
}

/// The tweet at the point of `line` that is nearest to the time `at` and the sum `sum`.
pub(super) fn point(question: &Question, shown: &[Shown]) -> Result<Value, Refused> {
    let (line, at, sum) = (
        question.number("line")?,
        question.number("at")?,
        question.number("sum")?,
    );
    let (_, nearest) =
        question.read(shown, |progress| progress.trajectory.nearest(line, at, sum))?;
    let point = nearest.ok_or(Refused::Nothing)?;
    Ok(json!({"sum": point.sum, "tweet": tweet(&point.scored)}))
}

/// Why `text` has its score.
pub(super) fn explain(question: &Question, shown: &[Shown]) -> Result<Value, Refused> {
    let text = shorten(question.text("text")?, TEXT_LENGTH);
    let (listener, ()) = question.read(shown, |_| ())?;
    let explanation = listener.analyzer().explain(&text);
    let Explanation {
        sentiment,
        exclamation,
        question,
        sum,
        ..
    } = explanation;
    let words = explanation.rated().map(|word| {
        json!({"word": word.text, "contribution": word.contribution, "why": word.to_string()})
    });
    Ok(json!({
        "compound": sentiment.compound,
        "pieces": explanation.pieces(),
        "words": words.collect::<Vec<_>>(),
        "exclamation": exclamation,
        "question": question,
        "sum": sum,
    }))
}

/// The number of skipped messages and the first of them, for each reason.
pub(super) fn skipped(question: &Question, shown: &[Shown]) -> Result<Value, Refused> {
    let (_, reasons) = question.read(shown, |progress| {
        let reasons = progress.uncounted.skipped.iter().map(|(reason, count)| {
            json!({
                "reason": reason.to_string(),
                "count": count,
                "example": progress.examples.get(reason),
            })
        });
        Value::Array(reasons.collect())
    })?;
    Ok(reasons)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_malformed_question_is_refused() {
        let question = Question::new("from=5&to=x&text=a%20%26%20b");
        assert_eq!(question.number::<i64>("from"), Ok(5));
        assert_eq!(question.number::<i64>("to"), Err(Refused::Malformed("to")));
        assert_eq!(question.text("text"), Ok("a & b"));
        for ask in [stretch, point, explain, skipped] {
            assert!(matches!(ask(&question, &[]), Err(Refused::Malformed(_))));
        }
        let stale = Question::new("generation=1&from=0&to=1&line=0&at=0&sum=0&text=x");
        for ask in [stretch, point, explain, skipped] {
            assert_eq!(ask(&stale, &[]), Err(Refused::Stale));
        }
    }
}
