//! The rules by which X chooses tweets for us (docs.x.com, "Build a rule" and "Update stream
//! rules"): one a track, known as ours by its tag.
//!
//! Rules belong to the app and stay when a stream ends. So they are compared at every start: what
//! is missing is added, what is ours and no longer wanted is deleted, and other people's rules are
//! not touched.

use super::decode::Problem;
use crate::{Error, Filter, Result};
use serde::{Deserialize, Serialize};

/// What the tag of a rule of ours begins with; the track comes after it.
const TAG: &str = "live-sentiment: ";
/// The longest rule of a pay-per-use account, in characters (docs.x.com, "Filtered stream").
const LONGEST: usize = 1_024;

/// A rule to be added.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Rule {
    value: String,
    tag: String,
}

/// A rule as the account has it.
#[derive(Debug, Deserialize)]
pub(super) struct Active {
    id: String,
    #[serde(default)]
    value: String,
    #[serde(default)]
    tag: Option<String>,
}

/// The account's answer to a listing or a change.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Answer {
    pub(super) data: Vec<Active>,
    pub(super) errors: Vec<Problem>,
}

/// What has to change so that the wanted rules, and no other of ours, are there.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Changes {
    pub(super) delete: Vec<String>,
    pub(super) add: Vec<Rule>,
}

/// The track that a rule's tag names, if the rule is ours.
pub(super) fn track(tag: &str) -> Option<&str> {
    tag.strip_prefix(TAG)
}

/// One rule for each track of the filter.
///
/// # Errors
/// [`Error::Invalid`] without a track, or with one that makes too long a rule.
pub(super) fn wanted(filter: &Filter) -> Result<Vec<Rule>> {
    let languages: Vec<String> = filter
        .languages()
        .iter()
        .map(|language| format!("lang:{language}"))
        .collect();
    let rules: Vec<Rule> = filter
        .tracks()
        .map(|track| {
            let words: Vec<String> = track.split_whitespace().map(word).collect();
            let language = match &languages[..] {
                [] => String::new(),
                [one] => format!(" {one}"),
                several => format!(" ({})", several.join(" OR ")),
            };
            Rule {
                value: format!("{}{language}", words.join(" ")),
                tag: format!("{TAG}{track}"),
            }
        })
        .collect();
    if rules.is_empty() {
        return Err(Error::Invalid {
            what: "a stream from X without a track".into(),
            reason: "X streams only what a rule asks for",
            next: "Give the words to look for: `.track([\"bitcoin\"])`.",
        });
    }
    match rules
        .iter()
        .find(|rule| rule.value.chars().count() > LONGEST)
    {
        Some(rule) => Err(Error::Invalid {
            what: format!("track {:?}", crate::notebook::shorten(&rule.value, 60)),
            reason: "it makes a rule of more than 1,024 characters, which X does not take",
            next: "Give fewer words or languages.",
        }),
        None => Ok(rules),
    }
}

/// A word as an operand of a rule. What could be read as an operator stands between quotes.
fn word(word: &str) -> String {
    let body = word.strip_prefix(['#', '$', '@']).unwrap_or(word);
    let plain = !body.is_empty() && body.chars().all(|c| c.is_alphanumeric() || c == '_');
    let operator = matches!(word.to_ascii_uppercase().as_str(), "OR" | "AND" | "NOT");
    if plain && !operator {
        word.to_owned()
    } else {
        format!("\"{}\"", word.replace('"', ""))
    }
}

/// What to change where the account has `active`.
pub(super) fn compare(active: &[Active], wanted: &[Rule]) -> Changes {
    let same = |active: &Active, rule: &Rule| {
        active.value == rule.value && active.tag.as_deref() == Some(&rule.tag)
    };
    let ours = |active: &&Active| active.tag.as_deref().and_then(track).is_some();
    Changes {
        delete: active
            .iter()
            .filter(ours)
            .filter(|active| !wanted.iter().any(|rule| same(active, rule)))
            .map(|active| active.id.clone())
            .collect(),
        add: wanted
            .iter()
            .filter(|rule| !active.iter().any(|active| same(active, rule)))
            .cloned()
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(tracks: &[&str], languages: &[&str]) -> Vec<String> {
        let filter = Filter::new(tracks.to_vec(), languages.to_vec()).unwrap();
        let rules = wanted(&filter).unwrap();
        rules.into_iter().map(|rule| rule.value).collect()
    }

    #[test]
    fn a_track_becomes_a_rule() {
        assert_eq!(values(&["bitcoin"], &["en"]), ["bitcoin lang:en"]);
        assert_eq!(
            values(&["doge moon", "$eth"], &["en", "de"]),
            [
                "doge moon (lang:en OR lang:de)",
                "$eth (lang:en OR lang:de)"
            ]
        );
        assert_eq!(values(&["биткоин"], &[]), ["биткоин"]);
    }

    #[test]
    fn what_could_be_an_operator_is_quoted() {
        let tracks = [
            "bitcoin-cash",
            "or",
            "-scam",
            "from:elon",
            "(x)",
            "say \"hi\"",
            "🚀",
        ];
        assert_eq!(
            values(&tracks, &[]),
            [
                "\"bitcoin-cash\"",
                "\"or\"",
                "\"-scam\"",
                "\"from:elon\"",
                "\"(x)\"",
                "say \"hi\"",
                "\"🚀\""
            ]
        );
    }

    #[test]
    fn no_track_and_too_long_a_track_are_refused() {
        let none = Filter::new([] as [&str; 0], ["en"]).unwrap();
        assert!(wanted(&none).unwrap_err().to_string().contains("track"));
        let long = Filter::new(["word ".repeat(300)], ["en"]).unwrap();
        assert!(wanted(&long).unwrap_err().to_string().contains("1,024"));
    }

    #[test]
    fn only_what_differs_is_changed_and_strangers_rules_stay() {
        let filter = Filter::new(["bitcoin", "dogecoin"], ["en"]).unwrap();
        let rules = wanted(&filter).unwrap();
        let active: Vec<Active> = serde_json::from_value(serde_json::json!([
            {"id": "1", "value": "bitcoin lang:en", "tag": "live-sentiment: bitcoin"},
            {"id": "2", "value": "ethereum lang:en", "tag": "live-sentiment: ethereum"},
            {"id": "3", "value": "cats", "tag": "cats"},
            {"id": "4", "value": "dogs"},
            {"id": "5", "value": "dogecoin lang:de", "tag": "live-sentiment: dogecoin"}
        ]))
        .unwrap();
        let changes = compare(&active, &rules);
        assert_eq!(changes.delete, ["2", "5"]);
        assert_eq!(changes.add, rules[1..]);
        assert_eq!(track("live-sentiment: bitcoin"), Some("bitcoin"));
        assert_eq!(track("cats"), None);
    }
}
