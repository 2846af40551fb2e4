//! The filter: which tweets pass, by tracked phrases, by language, and by whether they are retweets.

mod text;
mod tracks;

use self::tracks::Tracks;
use crate::error::{Error, Result};
use crate::tweet::{Tweet, retweet_prefix};

/// Decides which tweets pass, and sets their topics. Matching needs `&mut`, because the filter
/// reuses its buffers. The time of a match does not depend on the number of tracks.
///
/// # Tracks
/// The rules are those of Twitter's streaming API, which the original notebooks used
/// (developer.x.com, "Standard stream parameters", `track`):
///
/// - A tweet matches if it matches any of the phrases. It matches a phrase if it contains all words
///   of the phrase, in any order.
/// - A word matches only whole words, which may be a `#hashtag`, a `$cashtag`, a `@mention` or a part of
///   a URL. A word with a sign, such as `#bitcoin`, matches only with that sign.
/// - A word is a run of Unicode letters, digits, marks and `_`. Japanese and other languages without
///   spaces therefore have long words. A zero-width space separates words.
/// - A part of a phrase without letters or digits, such as an emoji, matches anywhere in the text,
///   but only whole characters as a reader sees them: 🇺🇸 is not in 🇦🇺🇸🇪, 👩 is not in 👩‍🚀, and 👍 is
///   not in 👍🏽.
///
/// Characters are compared by Unicode's rules, each by a crate that follows the standard:
///
/// | what is equal | example | rule | crate |
/// | --- | --- | --- | --- |
/// | upper and lower case | ΝΟΜΟΣ, νομος; STRASSE, straße | full case folding | `unicase` |
/// | all kinds of i | İ, I, ı, i | İ and ı are folded to i | none |
/// | composed and decomposed accents | é as one and as two characters | canonical decomposition | `unicode-normalization` |
/// | widths and styles of letters, digits and signs | ＃ｂｉｔｃｏｉｎ, #bitcoin | compatibility decomposition | `unicode-normalization` |
/// | with and without invisible characters | a soft hyphen or a joiner in a word; ❤️, ❤ | Default_Ignorable_Code_Point | none |
///
/// A character as a reader sees it is an extended grapheme cluster of `unicode-segmentation`. The word
/// boundaries of that crate are not used, because they differ from Twitter's: `x.com` would be one word,
/// and each character of a Japanese word would be a word.
///
/// # Examples
/// ```
/// use live_sentiment::{Filter, Tweet};
///
/// let mut filter = Filter::new(["bitcoin", "doge moon"], ["en"])?;
/// let mut tweet = Tweet::new("ada", "To the MOON, #doge! $Bitcoin").lang("en");
/// assert!(filter.admit(&mut tweet));
/// assert_eq!(tweet.topics, ["bitcoin", "doge moon"]);
/// # Ok::<(), live_sentiment::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct Filter {
    tracks: Tracks,
    languages: Vec<String>,
    drops_retweets: bool,
}

impl Filter {
    /// Creates a filter that passes tweets which match one of `tracks` and are in one of
    /// `languages`. Without tracks, every tweet passes and keeps its topics. Without languages,
    /// every language passes. A repeated track counts once.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`](crate::ErrorKind::InvalidArgument) for a track that contains neither
    /// a word nor a symbol, and for an empty language.
    pub fn new<T, L>(
        tracks: impl IntoIterator<Item = T>,
        languages: impl IntoIterator<Item = L>,
    ) -> Result<Filter>
    where
        T: Into<String>,
        L: Into<String>,
    {
        let tracks = Tracks::new(tracks)?;
        let languages: Vec<String> = languages
            .into_iter()
            .map(|tag| tag.into().trim().to_lowercase())
            .collect();
        if languages.iter().any(String::is_empty) {
            return Err(Error::invalid_argument(
                "language \"\"",
                "the tag is empty",
                "give a tag such as \"en\", or no language to pass all of them",
            ));
        }
        Ok(Filter {
            tracks,
            languages,
            drops_retweets: false,
        })
    }

    /// Makes the filter drop retweets. A tweet is a retweet if its text begins with `RT @name: `, which X
    /// writes before the text of the original tweet.
    ///
    /// # Examples
    /// ```
    /// use live_sentiment::{Filter, Tweet};
    ///
    /// let mut filter = Filter::new(["moon"], ["en"])?.without_retweets();
    /// assert!(filter.admit(&mut Tweet::new("ada", "To the moon")));
    /// assert!(!filter.admit(&mut Tweet::new("bob", "RT @ada: To the moon")));
    /// # Ok::<(), live_sentiment::Error>(())
    /// ```
    pub fn without_retweets(mut self) -> Filter {
        self.drops_retweets = true;
        self
    }

    /// Returns the tracked phrases.
    pub fn tracks(&self) -> impl Iterator<Item = &str> {
        self.tracks.names()
    }

    /// Returns the languages that pass, in lower case. An empty list means all languages.
    pub fn languages(&self) -> &[String] {
        &self.languages
    }

    /// Returns whether the filter drops retweets.
    pub fn drops_retweets(&self) -> bool {
        self.drops_retweets
    }

    /// Returns whether the tweet is a retweet that the filter drops.
    pub(crate) fn is_dropped_retweet(&self, tweet: &Tweet) -> bool {
        self.drops_retweets && retweet_prefix(&tweet.text).is_some()
    }

    /// Returns whether `tweet` passes. If the filter has tracks, it sets the tweet's `topics` to the
    /// tracks that matched.
    ///
    /// A tweet without a language tag passes, whatever the languages of the filter.
    pub fn admit(&mut self, tweet: &mut Tweet) -> bool {
        if !self.admits_language(&tweet.lang) || self.is_dropped_retweet(tweet) {
            return false;
        }
        if self.tracks.is_empty() {
            return true;
        }
        let topics = self.tracks.matching(&tweet.text);
        if topics.is_empty() {
            return false;
        }
        tweet.topics = topics;
        true
    }

    fn admits_language(&self, tag: &str) -> bool {
        let primary = tag.split(['-', '_']).next().unwrap_or(tag);
        tag.is_empty()
            || self.languages.is_empty()
            || self.languages.iter().any(|wanted| {
                wanted.eq_ignore_ascii_case(primary) || wanted.eq_ignore_ascii_case(tag)
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use proptest::sample::select;
    use unicode_normalization::UnicodeNormalization;

    fn topics(tracks: &[&str], text: &str) -> Vec<String> {
        let mut filter = Filter::new(tracks.iter().copied(), [] as [&str; 0]).unwrap();
        let mut tweet = Tweet::new("ada", text);
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
    fn equal_words_in_other_characters_match() {
        for (track, text) in [
            ("ΝΟΜΟΣ", "ΝΟΜΟΣ"),
            ("ΝΟΜΟΣ", "ο νομος"),
            ("νομος", "Ο ΝΟΜΟΣ"),
            ("éther", "e\u{301}ther"),
            ("e\u{301}ther", "ÉTHER"),
            ("bitcoin", "ｂｉｔｃｏｉｎ"),
            ("ＢＩＴＣＯＩＮ", "bitcoin"),
            ("#bitcoin", "\u{ff03}ｂｉｔｃｏｉｎ"),
            ("\u{ff20}ada", "@ada"),
            ("ﾋﾞｯﾄｺｲﾝ", "ビットコイン"),
            ("straße", "STRASSE"),
            ("STRASSE", "straße"),
            ("istanbul", "İSTANBUL"),
            ("İstanbul", "istanbul"),
            ("ısparta", "ISPARTA"),
            ("isparta", "ısparta"),
            ("bitcoin", "bit\u{200d}coin"),
            ("bitcoin", "bit\u{ad}coin"),
            ("bit\u{ad}coin", "bitcoin"),
            ("bitcoin", "ＢＩＴ\u{200d}ＣＯＩＮ"),
            ("bitcoin", "ＢＩＴ\u{200d}🚀coin 🚀bitcoin"),
            ("می\u{200c}خواهم", "میخواهم"),
            ("bitcoin", "Bitcoin™"),
            ("பிட்காயின்", "இன்று பிட்காயின் உயர்ந்தது"),
            ("ক্রিপ্টো", "আজ ক্রিপ্টো"),
            ("\u{9af}\u{9bc}", "\u{9df}"),
        ] {
            assert_eq!(topics(&[track], text), [track], "{text}");
        }
    }

    #[test]
    fn a_part_of_a_word_does_not_match() {
        for (track, text) in [
            ("காயின்", "பிட்காயின்"),
            ("টো", "ক্রিপ্টো"),
            ("bit", "bit\u{200d}coin"),
            ("bit", "bit\u{ad}coin"),
            ("bitcoin", "bit\u{200b}coin"),
            ("bitcoin", "ｂｉｔｃｏｉｎ\u{ff3f}ｎｅｗｓ"),
            ("ether", "e\u{301}ther"),
            ("tm", "Bitcoin™"),
            ("1", "1\u{fe0f}\u{20e3}"),
            ("#bitcoin", "#\u{fe0f}\u{20e3}bitcoin"),
        ] {
            assert!(topics(&[track], text).is_empty(), "{track} in {text}");
        }
    }

    #[test]
    fn symbols_match_as_a_reader_sees_them() {
        for (track, text) in [
            ("❤\u{fe0f}", "I ❤ bitcoin"),
            ("❤", "bitcoin❤\u{fe0f}!"),
            ("🇺🇸", "🇦🇺🇺🇸"),
            ("👩\u{200d}🚀", "🚀👩\u{200d}🚀👩"),
            ("🚀🌕", "to the🚀🚀🌕"),
            ("🌕 🚀", "🚀 and 🌕"),
            ("a\u{338} =\u{338}", "\u{2260} a\u{338}"),
            ("!?", "what!?"),
        ] {
            assert_eq!(topics(&[track], text), [track], "{text}");
        }
        for (track, text) in [
            ("🇺🇸", "🇦🇺🇸🇪"),
            ("👩", "👩\u{200d}🚀"),
            ("🚀", "👩\u{200d}🚀"),
            ("👍", "👍🏽"),
            (
                "🏴",
                "🏴\u{e0067}\u{e0062}\u{e0065}\u{e006e}\u{e0067}\u{e007f}",
            ),
            ("🚀🌕", "🚀 🌕"),
            ("🚀🌕", "🌕🚀"),
        ] {
            assert!(topics(&[track], text).is_empty(), "{track} in {text}");
        }
    }

    #[test]
    fn a_track_that_is_given_twice_is_one_topic() {
        let tracks = ["moon", "bitcoin", "moon ", "Moon"];
        assert_eq!(topics(&tracks, "moon"), ["moon", "Moon"]);
    }

    /// Returns texts that mix characters with special rules and arbitrary characters.
    fn texts() -> impl Strategy<Value = String> {
        let special = "aI iıİ ßẞΣςǅŉᾳﬃ한ヾ#＠$_-.…½☆™≠❤🚀👩🇺🇸🏽\u{20e3}\u{fe0f}\u{200d}\u{ad}\u{301}\u{307}\u{bcd}";
        let c = prop_oneof![
            3 => select(special.chars().collect::<Vec<_>>()),
            1 => any::<char>(),
        ];
        // An iota below a symbol becomes a letter in upper case.
        let c = c.prop_filter("iota subscript", |c| *c != '\u{345}');
        prop::collection::vec(c, 0..20).prop_map(String::from_iter)
    }

    proptest! {
        #[test]
        fn a_text_matches_each_of_its_words_in_each_case_and_form(text in texts()) {
            for word in text.split_whitespace() {
                let word: String = word.nfd().collect();
                for word in [word.to_uppercase(), word.to_lowercase(), word] {
                    for track in [word.nfc().collect::<String>(), word.nfd().collect()] {
                        // A track is rejected if it consists of characters that no screen shows.
                        if Filter::new([&track], [] as [&str; 0]).is_ok() {
                            prop_assert_eq!(topics(&[&track], &text), [track.trim()]);
                        }
                    }
                }
            }
        }

        #[test]
        fn more_tracks_do_not_change_the_topics_of_the_others(
            tracks in prop::collection::hash_set("[#]?[ab🚀]{1,2}( [ab🚀]{1,2})?", 1..5),
            others in prop::collection::vec("[#]?[abc🚀]{1,2}( [abc🚀]{1,2})?", 0..50),
            text in "[#ab 🚀]{0,12}",
        ) {
            let tracks: Vec<&str> = tracks.iter().map(String::as_str).collect();
            let mut all = tracks.clone();
            all.extend(others.iter().map(String::as_str));
            let mut found = topics(&all, &text);
            found.retain(|topic| tracks.contains(&topic.as_str()));
            prop_assert_eq!(found, topics(&tracks, &text));
        }

        #[test]
        fn any_track_and_any_text_are_handled(track in texts(), text in any::<String>()) {
            if let Ok(mut filter) = Filter::new([track], [] as [&str; 0]) {
                filter.admit(&mut Tweet::new("ada", text));
            }
        }
    }

    #[test]
    fn languages_match_by_primary_tag_and_unknown_passes() {
        let mut filter = Filter::new([] as [&str; 0], ["en"]).unwrap();
        let mut passes = |lang: &str| filter.admit(&mut Tweet::new("ada", "hi").lang(lang));
        assert!(passes("en") && passes("EN") && passes("en-GB") && passes(""));
        assert!(!passes("es") && !passes("eng"));
    }

    #[test]
    fn retweets_pass_unless_they_are_left_out() {
        let retweet = || Tweet::new("bob", "RT @ada: bitcoin");
        for tracks in [&[][..], &["bitcoin"]] {
            let mut filter = Filter::new(tracks.to_vec(), [] as [&str; 0]).unwrap();
            assert!(filter.admit(&mut retweet()));
            let mut filter = filter.without_retweets();
            assert!(!filter.admit(&mut retweet()));
            assert!(filter.admit(&mut Tweet::new("bob", "bitcoin RT @ada: bitcoin")));
        }
    }

    #[test]
    fn an_empty_track_is_rejected() {
        for track in ["", "   ", "\u{fe0f}", "\u{200d} \u{ad}"] {
            let error = Filter::new([track], [] as [&str; 0])
                .unwrap_err()
                .to_string();
            assert!(error.contains("no word"), "{error}");
        }
    }
}
