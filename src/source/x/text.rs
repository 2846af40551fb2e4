//! Restores the full text of a tweet. X shortens the text of a retweet to 140 characters, and returns the
//! original tweet with it. X also escapes every text.

use crate::source::unescape::unescape;
use crate::tweet::retweet_prefix;

/// Returns the unescaped text of a tweet. `original` is the text of the tweet that it retweets. The full
/// text of a retweet is `RT @name: `, followed by the original text.
pub(super) fn full_text(text: String, original: Option<&str>) -> String {
    let retweet = original.and_then(|original| Some([retweet_prefix(&text)?, original].concat()));
    unescape(retweet.unwrap_or(text))
}

#[cfg(test)]
mod tests {
    use super::full_text;

    #[test]
    fn a_retweet_has_the_text_of_its_original() {
        for (text, original, expected) in [
            ("a &amp; b", None, "a & b"),
            (
                "RT @ada: a &amp; …",
                Some("a &amp;lt; b"),
                "RT @ada: a &lt; b",
            ),
            ("RT @ada: a…", None, "RT @ada: a…"),
            ("no retweet", Some("another text"), "no retweet"),
        ] {
            assert_eq!(full_text(text.into(), original), expected);
        }
    }
}
