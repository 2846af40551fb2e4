//! The rules by which X selects tweets (docs.x.com, "Build a rule" and "Update stream rules"): one
//! rule per track. A tag identifies the rules of this crate.
//!
//! Rules belong to the app and stay after a stream has ended. Each start therefore compares them with the
//! wanted rules: it adds missing rules, deletes old rules of this crate, and leaves other rules alone.

use crate::error::{Error, Result};
use crate::filter::Filter;
use serde::{Deserialize, Serialize};

/// The prefix of the tag of a rule of this crate. The track follows it.
const TAG: &str = "live-sentiment: ";
/// The maximum length of a rule of a pay-per-use account, in characters (docs.x.com, "Filtered
/// stream").
const MAX_LENGTH: usize = 1_024;

/// A rule to add.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct StreamRule {
    value: String,
    tag: String,
}

/// A rule that the app has.
#[derive(Debug, Deserialize)]
pub(super) struct Active {
    id: String,
    #[serde(default)]
    value: String,
    tag: Option<String>,
}

/// The response to a request that lists the rules. Without a rule it has no `data`.
#[derive(Debug, Deserialize)]
pub(super) struct Listed {
    #[serde(default)]
    pub(super) data: Vec<Active>,
}

/// The changes after which the app has the wanted rules, and no other rules of this crate.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Changes {
    pub(super) delete: Vec<String>,
    pub(super) add: Vec<StreamRule>,
}

/// Returns the track in the tag of a rule, if the rule belongs to this crate.
pub(super) fn track(tag: &str) -> Option<&str> {
    tag.strip_prefix(TAG)
}

/// Returns the rule for each track of the filter.
///
/// # Errors
/// [`ErrorKind::InvalidArgument`](crate::ErrorKind::InvalidArgument) if the filter has no track, or if the
/// rule of a track is too long.
pub(super) fn wanted(filter: &Filter) -> Result<Vec<StreamRule>> {
    let languages = filter.languages().iter();
    let languages: Vec<String> = languages.map(|tag| format!("lang:{tag}")).collect();
    let language = match &languages[..] {
        [] => String::new(),
        [one] => format!(" {one}"),
        several => format!(" ({})", several.join(" OR ")),
    };
    let retweets = if filter.drops_retweets() {
        " -is:retweet"
    } else {
        ""
    };
    let rule = |track: &str| {
        let words: Vec<String> = track.split_whitespace().map(word).collect();
        StreamRule {
            value: format!("{}{language}{retweets}", words.join(" ")),
            tag: format!("{TAG}{track}"),
        }
    };
    let rules: Vec<StreamRule> = filter.tracks().map(rule).collect();
    if rules.is_empty() {
        return Err(Error::invalid_argument(
            "stream from X without a track",
            "X streams only tweets that match a rule",
            "give a track: `.track([\"bitcoin\"])`",
        ));
    }
    let is_too_long = |rule: &&StreamRule| rule.value.chars().count() > MAX_LENGTH;
    match rules.iter().find(is_too_long) {
        Some(rule) => Err(Error::invalid_argument(
            format!("track {:?}", crate::notebook::shorten(&rule.value, 60)),
            "its rule has more than 1,024 characters, which X rejects",
            "give fewer words or languages",
        )),
        None => Ok(rules),
    }
}

/// Returns a word as an operand of a rule, in quotes if it could be parsed as an operator.
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

/// Compares the rules of the app with the wanted ones.
pub(super) fn compare(active: &[Active], wanted: &[StreamRule]) -> Changes {
    let is_same = |active: &Active, rule: &StreamRule| {
        active.value == rule.value && active.tag.as_deref() == Some(&rule.tag)
    };
    let is_old = |active: &&Active| {
        active.tag.as_deref().and_then(track).is_some()
            && !wanted.iter().any(|rule| is_same(active, rule))
    };
    let is_missing = |rule: &&StreamRule| !active.iter().any(|active| is_same(active, rule));
    let old = active.iter().filter(is_old);
    Changes {
        delete: old.map(|active| active.id.clone()).collect(),
        add: wanted.iter().filter(is_missing).cloned().collect(),
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
    fn retweets_are_left_out_by_the_rule() {
        let filter = Filter::new(["bitcoin"], ["en"]).unwrap();
        let rules = wanted(&filter.without_retweets()).unwrap();
        assert_eq!(rules[0].value, "bitcoin lang:en -is:retweet");
        assert_eq!(rules[0].tag, "live-sentiment: bitcoin");
    }

    #[test]
    fn possible_operators_are_quoted() {
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
    fn a_missing_track_and_a_long_track_are_rejected() {
        let none = Filter::new([] as [&str; 0], ["en"]).unwrap();
        assert!(wanted(&none).unwrap_err().to_string().contains("track"));
        let long = Filter::new(["word ".repeat(300)], ["en"]).unwrap();
        assert!(wanted(&long).unwrap_err().to_string().contains("1,024"));
    }

    #[test]
    fn only_differences_are_changed_and_other_rules_stay() {
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
