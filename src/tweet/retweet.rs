//! Recognises a retweet by its text. X writes `RT @name: ` before the text of the original tweet, in every
//! version of its API.

const START: &str = "RT @";

/// Returns the start of the text, such as `RT @ada: `, if it is the text of a retweet.
pub(crate) fn retweet_prefix(text: &str) -> Option<&str> {
    let (name, _) = text.strip_prefix(START)?.split_once(": ")?;
    let is_name = !name.is_empty() && !name.contains(char::is_whitespace);
    is_name.then(|| &text[..START.len() + name.len() + 2])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_retweet_begins_with_the_name_of_the_first_author() {
        for (text, prefix) in [
            ("RT @ada: I love it", "RT @ada: "),
            ("RT @a_1: RT @b: c: d", "RT @a_1: "),
            ("RT @ada.example.org: é", "RT @ada.example.org: "),
            ("RT @ada: ", "RT @ada: "),
        ] {
            assert_eq!(retweet_prefix(text), Some(prefix));
        }
        for text in [
            "",
            "RT",
            "RT @",
            "RT @: hi",
            "RT @ada",
            "RT @ada:hi",
            "RT @ada says: hi",
            "rt @ada: hi",
            "I said RT @ada: hi",
            " RT @ada: hi",
        ] {
            assert_eq!(retweet_prefix(text), None, "{text}");
        }
    }
}
