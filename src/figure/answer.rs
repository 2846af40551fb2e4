//! Answers to the questions of a reader: why the sum moved, which tweet a point is, why a text has its
//! score, and what was skipped. The page fetches an answer when the reader asks. Updates do not contain
//! answers.
//!
//! A question contains the generation of its run, so a page that shows an earlier run does not get the
//! answer of a later run.

use super::Shown;
use super::update::{TOPIC_LENGTH, tweet};
use crate::listener::{Progress, Subscription};
use crate::notebook::shorten;
use crate::trajectory::{Stretch, TEXT_LENGTH, Trajectory};
use axum::http::StatusCode;
use reqwest::Url;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::str::FromStr;

/// Why there is no answer.
#[derive(Debug, PartialEq)]
pub(super) enum Refused {
    Malformed(&'static str),
    Stale,
    Nothing,
}

impl Refused {
    /// Returns the status and the text of the response.
    pub(super) fn response(&self) -> (StatusCode, String) {
        match self {
            Refused::Malformed(name) => (
                StatusCode::BAD_REQUEST,
                format!("the parameter {name:?} is missing or malformed"),
            ),
            Refused::Stale => (
                StatusCode::GONE,
                "this belongs to an earlier run, or to a listener that is no longer shown".into(),
            ),
            Refused::Nothing => (StatusCode::NOT_FOUND, "there are no tweets here".into()),
        }
    }
}

/// A question: the parameters of its address.
pub(super) struct Question(HashMap<String, String>);

impl Question {
    /// Parses the part of an address after the question mark.
    pub(super) fn new(query: &str) -> Question {
        let mut url = Url::parse("http://localhost/").expect("a constant address is valid");
        url.set_query(Some(query));
        Question(url.query_pairs().into_owned().collect())
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
            subscription.read(|progress| {
                (progress.generation == generation).then(|| (subscription, read(progress)))
            })
        };
        shown.iter().find_map(answer).ok_or(Refused::Stale)
    }
}

fn list(values: impl Iterator<Item = Value>) -> Value {
    values.collect()
}

/// Answers what happened between the times `from` and `to`, in milliseconds since 1970.
pub(super) fn stretch(question: &Question, shown: &[Shown]) -> Result<Value, Refused> {
    let (from, to): (i64, i64) = (question.number("from")?, question.number("to")?);
    let (listener, (stretch, names)) = question.read(shown, |progress| {
        let Trajectory { lines, history, .. } = &progress.trajectory;
        let names = lines.iter().map(|line| shorten(&line.name, TOPIC_LENGTH));
        let stretch = history.stretch(from.min(to), from.max(to));
        (stretch, names.collect::<Vec<_>>())
    })?;
    let Stretch { segment, words } = stretch.ok_or(Refused::Nothing)?;
    let lines = names
        .iter()
        .zip(&segment.parts)
        .map(|(name, part)| json!({"name": name, "counted": part.counted, "change": part.change}));
    let (ids, totals): (Vec<_>, Vec<_>) = words.into_iter().unzip();
    let words = listener.analyzer().words(&ids).into_iter().zip(totals);
    Ok(json!({
        "from": segment.from,
        "to": segment.to,
        "lines": list(lines),
        "movers": list(segment.movers.iter().map(|(_, mover)| tweet(mover, TEXT_LENGTH))),
        "words": list(words.map(|(word, total)| json!({"word": word, "total": total}))),
    }))
}

/// Answers which tweet is at the point of `line` that is nearest to the time `at` and the sum `sum`.
pub(super) fn point(question: &Question, shown: &[Shown]) -> Result<Value, Refused> {
    let (line, at, sum) = (
        question.number("line")?,
        question.number("at")?,
        question.number("sum")?,
    );
    let nearest = |progress: &Progress| progress.trajectory.nearest(line, at, sum);
    let point = question.read(shown, nearest)?.1.ok_or(Refused::Nothing)?;
    Ok(json!({"sum": point.sum, "tweet": tweet(&point.scored, TEXT_LENGTH)}))
}

/// Answers why `text` has its score.
pub(super) fn explain(question: &Question, shown: &[Shown]) -> Result<Value, Refused> {
    let text = shorten(question.text("text")?, TEXT_LENGTH);
    let (listener, ()) = question.read(shown, |_| ())?;
    let explanation = listener.analyzer().explain(&text);
    let words = explanation.rated().map(|word| {
        json!({"word": word.text, "contribution": word.contribution, "why": word.to_string()})
    });
    Ok(json!({
        "compound": explanation.sentiment.compound,
        "pieces": explanation.pieces(),
        "words": list(words),
        "exclamation": explanation.exclamation,
        "question": explanation.question,
        "sum": explanation.sum,
    }))
}

/// Answers how many messages were skipped for each reason, with the first message of each reason.
pub(super) fn skipped(question: &Question, shown: &[Shown]) -> Result<Value, Refused> {
    let reasons = |progress: &Progress| {
        list(progress.uncounted.skipped.iter().map(|(reason, count)| {
            let example = progress.examples.get(reason);
            json!({"reason": reason.to_string(), "count": count, "example": example})
        }))
    };
    Ok(question.read(shown, reasons)?.1)
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
