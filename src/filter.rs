//! The filter: which tweets pass, by tracked phrases and by language.
//!
//! The rules are those of Twitter's streaming API, which the original notebooks used
//! (developer.x.com, "Standard stream parameters", `track`):
//!
//! - A tweet matches if it matches any of the phrases. It matches a phrase if it contains all words
//!   of the phrase, in any order.
//! - Case is ignored. A word matches whole words only, also as `#hashtag`, `$cashtag`, `@mention` or
//!   as part of a URL. A word with a sign, such as `#bitcoin`, matches only with that sign.
//! - A word is a run of Unicode letters, digits, marks and `_`. A phrase without any of these, such
//!   as an emoji, matches anywhere in the text.

use crate::{Error, Result, Tweet};

/// Decides which tweets pass, and sets their topics. Matching needs `&mut`, because the filter
/// reuses a buffer.
///
/// # Examples
/// ```
/// use live_sentiment::{Filter, Tweet};
///
/// let mut filter = Filter::new(["bitcoin", "doge moon"], ["en"])?;
/// let mut tweet = Tweet::decode(br#"{"text":"To the MOON, #doge! $Bitcoin","lang":"en"}"#).unwrap();
/// assert!(filter.admit(&mut tweet));
/// assert_eq!(tweet.topics, ["bitcoin", "doge moon"]);
/// # Ok::<(), live_sentiment::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct Filter {
    owner: FilterOwner,
    tracks: Vec<Track>,
    words: Vec<Word>,
    languages: Vec<String>,
    /// Bit n is set where some word is n bytes long (the last bit: 63 or longer).
    lengths: u64,
    lower: String,
    found: Vec<bool>,
}

/// Who filters.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
enum FilterOwner {
    /// The streamer, by the tracks and languages of this filter.
    #[default]
    Streamer,
    /// The source, which has set the topics.
    Source,
}

#[derive(Clone, Debug)]
struct Track {
    name: String,
    words: Vec<usize>,
}

#[derive(Clone, Debug, PartialEq)]
struct Word {
    sign: Option<char>,
    text: String,
    kind: WordKind,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum WordKind {
    Whole,
    Anywhere,
}

impl Filter {
    /// Creates a filter that passes tweets which match one of `tracks` and are in one of
    /// `languages`. Without tracks, every tweet passes and keeps its topics. Without languages,
    /// every language passes.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for a track or a language that contains no word.
    pub fn new<T, L>(
        tracks: impl IntoIterator<Item = T>,
        languages: impl IntoIterator<Item = L>,
    ) -> Result<Filter>
    where
        T: Into<String>,
        L: Into<String>,
    {
        let mut filter = Filter::default();
        for name in tracks {
            filter.add_track(name.into())?;
        }
        for language in languages {
            let language = language.into().trim().to_lowercase();
            if language.is_empty() {
                return Err(Error::InvalidArgument {
                    argument: "language \"\"".into(),
                    reason: "the tag is empty",
                    hint: "give a tag such as \"en\", or no language to pass all of them",
                });
            }
            filter.languages.push(language);
        }
        filter.found = vec![false; filter.words.len()];
        Ok(filter)
    }

    /// Creates a filter for a source that filters by itself: it passes the tweets that have a topic.
    pub fn by_source() -> Filter {
        Filter {
            owner: FilterOwner::Source,
            ..Filter::default()
        }
    }

    /// Returns the tracked phrases.
    pub fn tracks(&self) -> impl Iterator<Item = &str> {
        self.tracks.iter().map(|track| track.name.as_str())
    }

    /// Returns the languages that pass, in lower case. An empty list means all languages.
    pub fn languages(&self) -> &[String] {
        &self.languages
    }

    fn add_track(&mut self, name: String) -> Result<()> {
        let mut words = Vec::new();
        for word in name.split_whitespace() {
            // "bitcoin-cash" in a text is two words, so it is two words in a track too.
            let parts: Vec<&str> = word
                .split(|c| !in_word(c))
                .filter(|p| !p.is_empty())
                .collect();
            match parts[..] {
                [] => words.push(self.word(None, word, WordKind::Anywhere)),
                [first, ..] => {
                    let sign = word[..word.find(first).unwrap_or(0)].chars().next_back();
                    let sign = sign.filter(|c| is_sign(*c));
                    for (i, part) in parts.iter().enumerate() {
                        let sign = if i == 0 { sign } else { None };
                        words.push(self.word(sign, part, WordKind::Whole));
                    }
                }
            }
        }
        if words.is_empty() {
            return Err(Error::InvalidArgument {
                argument: format!("track {name:?}"),
                reason: "it contains no word",
                hint: "give a word such as \"bitcoin\", or no track to pass every tweet",
            });
        }
        self.tracks.push(Track {
            name: name.trim().to_owned(),
            words,
        });
        Ok(())
    }

    fn word(&mut self, sign: Option<char>, text: &str, kind: WordKind) -> usize {
        let word = Word {
            sign,
            text: text.to_lowercase(),
            kind,
        };
        if kind == WordKind::Whole {
            self.lengths |= length_bit(&word.text);
        }
        self.words
            .iter()
            .position(|known| *known == word)
            .unwrap_or_else(|| {
                self.words.push(word);
                self.words.len() - 1
            })
    }

    /// Returns whether `tweet` passes. If the filter has tracks, it sets the tweet's `topics` to the
    /// tracks that matched.
    ///
    /// A tweet without a language tag passes every choice of languages.
    pub fn admit(&mut self, tweet: &mut Tweet) -> bool {
        self.admit_with_links(tweet, [])
    }

    /// Like [`Filter::admit`], for a source that delivers the targets of links apart from the text.
    /// The words of the links count as words of the text.
    pub fn admit_with_links<'a>(
        &mut self,
        tweet: &mut Tweet,
        links: impl IntoIterator<Item = &'a str>,
    ) -> bool {
        if self.owner == FilterOwner::Source {
            return !tweet.topics.is_empty();
        }
        self.admits_language(&tweet.lang) && (self.tracks.is_empty() || self.matches(tweet, links))
    }

    /// Returns whether tweets with this language tag pass. The empty tag passes.
    pub fn admits_language(&self, tag: &str) -> bool {
        let primary = tag.split(['-', '_']).next().unwrap_or(tag);
        tag.is_empty()
            || self.languages.is_empty()
            || self.languages.iter().any(|wanted| {
                wanted.eq_ignore_ascii_case(primary) || wanted.eq_ignore_ascii_case(tag)
            })
    }

    fn matches<'a>(&mut self, tweet: &mut Tweet, links: impl IntoIterator<Item = &'a str>) -> bool {
        self.found.fill(false);
        self.find_words(&tweet.text);
        for link in links {
            self.find_words(link);
        }
        let found = &self.found;
        let matched = |track: &&Track| track.words.iter().all(|word| found[*word]);
        let topics: Vec<String> = self
            .tracks
            .iter()
            .filter(matched)
            .map(|track| track.name.clone())
            .collect();
        let any = !topics.is_empty();
        if any {
            tweet.topics = topics;
        }
        any
    }

    fn find_words(&mut self, text: &str) {
        self.lower.clear();
        if text.is_ascii() {
            self.lower.push_str(text);
            self.lower.make_ascii_lowercase();
        } else {
            self.lower.extend(text.chars().flat_map(char::to_lowercase));
        }
        let lower = self.lower.as_str();
        let mut rest = lower;
        while let Some(start) = rest.find(in_word) {
            let sign = rest[..start].chars().next_back().filter(|c| is_sign(*c));
            let tail = &rest[start..];
            let end = tail.find(|c| !in_word(c)).unwrap_or(tail.len());
            let token = &tail[..end];
            if self.lengths & length_bit(token) != 0 {
                for (word, found) in self.words.iter().zip(&mut self.found) {
                    *found |= word.kind == WordKind::Whole
                        && word.text == token
                        && (word.sign.is_none() || word.sign == sign);
                }
            }
            rest = &tail[end..];
        }
        for (word, found) in self.words.iter().zip(&mut self.found) {
            *found |= word.kind == WordKind::Anywhere && lower.contains(&word.text);
        }
    }
}

fn length_bit(word: &str) -> u64 {
    1 << word.len().min(63)
}

fn is_sign(c: char) -> bool {
    matches!(c, '#' | '$' | '@' | '\u{ff03}' | '\u{ff20}')
}

/// Returns true for letters, digits, `_`, and marks that are part of letters in many scripts:
/// combining marks and the vowel signs of Indic and other scripts, which `is_alphanumeric` excludes.
fn in_word(c: char) -> bool {
    c.is_alphanumeric()
        || c == '_'
        || matches!(c, '\u{300}'..='\u{36f}' | '\u{483}'..='\u{489}' | '\u{591}'..='\u{5c7}'
            | '\u{610}'..='\u{61a}' | '\u{64b}'..='\u{65f}' | '\u{900}'..='\u{94f}'
            | '\u{e31}'..='\u{e4e}' | '\u{20d0}'..='\u{20dc}')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topics(tracks: &[&str], text: &str) -> Vec<String> {
        let mut filter = Filter::new(tracks.iter().copied(), [] as [&str; 0]).unwrap();
        let json = serde_json::json!({ "text": text }).to_string();
        let mut tweet = Tweet::decode(json.as_bytes()).unwrap();
        let admitted = filter.admit(&mut tweet);
        assert_eq!(admitted, !tweet.topics.is_empty(), "{text}");
        tweet.topics
    }

    #[test]
    fn a_word_matches_whole_words_with_any_sign() {
        for text in [
            "Bitcoin",
            "BITCOIN!",
            "\"bitcoin\"",
            "#Bitcoin",
            "$bitcoin",
            "@bitcoin",
            "see https://bitcoin.org/x",
            "x.com/a?q=bitcoin&b=1",
            "¿bitcoin?",
            "(bitcoin)",
        ] {
            assert_eq!(topics(&["bitcoin"], text), ["bitcoin"], "{text}");
        }
        for text in [
            "bitcoiner",
            "#newbitcoin",
            "bit coin",
            "bitcoin_news",
            "",
            "bitcöin",
        ] {
            assert!(topics(&["bitcoin"], text).is_empty(), "{text}");
        }
    }

    #[test]
    fn any_phrase_matches_by_all_of_its_words_in_any_order() {
        let tracks = ["doge moon", "ethereum"];
        assert_eq!(topics(&tracks, "moon? doge!"), ["doge moon"]);
        assert_eq!(
            topics(&tracks, "Ethereum, doge and the moon"),
            ["doge moon", "ethereum"]
        );
        assert!(topics(&tracks, "doge only").is_empty());
    }

    #[test]
    fn a_track_with_a_sign_matches_only_that_sign() {
        assert_eq!(topics(&["$eth"], "buy $ETH now"), ["$eth"]);
        assert!(topics(&["$eth"], "buy #eth and eth").is_empty());
        assert_eq!(
            topics(&["#bitcoin"], "\u{ff03}bitcoin #bitcoin"),
            ["#bitcoin"]
        );
    }

    #[test]
    fn other_scripts_and_emoji_match() {
        assert_eq!(topics(&["ÉTHER"], "l'éther monte"), ["ÉTHER"]);
        assert_eq!(topics(&["биткоин"], "Биткоин растёт"), ["биткоин"]);
        assert_eq!(topics(&["बिटकॉइन"], "आज बिटकॉइन ऊपर"), ["बिटकॉइन"]);
        assert_eq!(topics(&["🚀"], "to the moon🚀🚀"), ["🚀"]);
        assert_eq!(
            topics(&["bitcoin-cash"], "cash, not bitcoin"),
            ["bitcoin-cash"]
        );
    }

    #[test]
    fn languages_match_by_primary_tag_and_unknown_passes() {
        let mut filter = Filter::new([] as [&str; 0], ["en"]).unwrap();
        let mut passes = |lang: &str| {
            let json = serde_json::json!({ "text": "hi", "lang": lang }).to_string();
            filter.admit(&mut Tweet::decode(json.as_bytes()).unwrap())
        };
        assert!(passes("en") && passes("EN") && passes("en-GB") && passes(""));
        assert!(!passes("es") && !passes("eng"));
    }

    #[test]
    fn an_empty_track_is_rejected() {
        for track in ["", "   "] {
            let error = Filter::new([track], [] as [&str; 0])
                .unwrap_err()
                .to_string();
            assert!(error.contains("no word"), "{error}");
        }
    }
}
