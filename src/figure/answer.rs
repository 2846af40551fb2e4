//! Answers to what a reader asks the page: why the sum moved, which tweet a point is, why a text has its
//! score, and what was skipped. They are fetched when the reader asks, and are not part of the updates.
//!
//! A question names the run that it is about by its generation, so a page with an earlier run does not
//! get the answer of another one.

use super::Shown;
use super::update::TOPIC_LENGTH;
use crate::listener::{Progress, Subscription};
use crate::notebook::shorten;
use crate::sentiment::{Explanation, Polarity, Sentiment};
use crate::trajectory::{Excerpt, Mover, Stretch};
use reqwest::Url;
use serde::Serialize;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::str::FromStr;

/// The longest text that is explained, in characters.
const TEXT_LENGTH: usize = 1_000;

/// Why there is no answer.
#[derive(Debug, PartialEq)]
pub(super) enum Refused {
    /// The question is malformed.
    Malformed(&'static str),
    /// It is about an earlier run, or a listener that is no longer shown.
    Stale,
    /// There is nothing at the place.
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

    /// Returns the listener that the question is about.
    fn listener<'s>(&self, shown: &'s [Shown]) -> Result<&'s Subscription, Refused> {
        let generation: u64 = self.number("generation")?;
        let is_meant = |shown: &&Shown| {
            shown
                .subscription
                .read(|progress| progress.generation == generation)
        };
        let found = shown.iter().find(is_meant).ok_or(Refused::Stale)?;
        Ok(&found.subscription)
    }
}

/// Reads the progress that the question is about, if it is still of the same run.
fn read<T>(
    question: &Question,
    listener: &Subscription,
    read: impl FnOnce(&Progress) -> T,
) -> Result<T, Refused> {
    let generation: u64 = question.number("generation")?;
    listener
        .read(|progress| (progress.generation == generation).then(|| read(progress)))
        .ok_or(Refused::Stale)
}

#[derive(Serialize)]
struct TweetAnswer<'e> {
    /// In milliseconds since 1970.
    at: i64,
    user: &'e str,
    followers: Option<u64>,
    compound: f64,
    polarity: Polarity,
    metric: f64,
    text: &'e str,
    is_shortened: bool,
}

impl<'e> TweetAnswer<'e> {
    fn new(excerpt: &'e Excerpt) -> TweetAnswer<'e> {
        let sentiment = Sentiment {
            compound: excerpt.compound,
            ..Sentiment::default()
        };
        TweetAnswer {
            at: excerpt.at,
            user: &excerpt.user,
            followers: excerpt.followers,
            compound: excerpt.compound,
            polarity: sentiment.polarity(),
            metric: excerpt.metric,
            text: &excerpt.text,
            is_shortened: excerpt.is_shortened,
        }
    }
}

/// What happened between the times `from` and `to`, in milliseconds since 1970.
pub(super) fn stretch(question: &Question, shown: &[Shown]) -> Result<Value, Refused> {
    let (from, to): (i64, i64) = (question.number("from")?, question.number("to")?);
    let listener = question.listener(shown)?;
    let (stretch, names) = read(question, listener, |progress| {
        let lines = progress.trajectory.lines().iter();
        let names: Vec<_> = lines
            .map(|line| shorten(line.name(), TOPIC_LENGTH))
            .collect();
        (
            progress.trajectory.stretch(from.min(to), from.max(to)),
            names,
        )
    })?;
    let stretch = stretch.ok_or(Refused::Nothing)?;
    Ok(stretch_json(&stretch, &names, listener))
}

fn stretch_json(stretch: &Stretch, names: &[String], listener: &Subscription) -> Value {
    let lines = names.iter().zip(&stretch.lines).map(
        |(name, (counted, change))| json!({"name": name, "counted": counted, "change": change}),
    );
    let movers = stretch.movers.iter();
    let indices: Vec<_> = stretch.words.iter().map(|(word, _)| *word).collect();
    let words = listener.analyzer().words(&indices);
    let words = words.iter().zip(&stretch.words);
    json!({
        "from": stretch.from,
        "to": stretch.to,
        "lines": lines.collect::<Vec<_>>(),
        "movers": movers.map(|Mover { tweet, .. }| TweetAnswer::new(tweet)).collect::<Vec<_>>(),
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
    let listener = question.listener(shown)?;
    let nearest = read(question, listener, |progress| {
        progress.trajectory.nearest(line, at, sum)
    })?;
    let point = nearest.ok_or(Refused::Nothing)?;
    Ok(json!({"sum": point.sum, "tweet": TweetAnswer::new(&point.tweet)}))
}

/// Why `text` has its score.
pub(super) fn explain(question: &Question, shown: &[Shown]) -> Result<Value, Refused> {
    let text = shorten(question.text("text")?, TEXT_LENGTH);
    let explanation = question.listener(shown)?.analyzer().explain(&text);
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
    let listener = question.listener(shown)?;
    read(question, listener, |progress| {
        let reasons = progress.uncounted.skipped.iter().map(|(reason, count)| {
            json!({
                "reason": reason.to_string(),
                "count": count,
                "example": progress.examples.get(reason),
            })
        });
        Value::Array(reasons.collect())
    })
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
