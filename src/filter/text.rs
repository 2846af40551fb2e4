//! The normal form in which texts and tracks are compared, and the words of a text in that form.

use std::iter;
use unicase::UniCase;
use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::{decompose_compatible, is_combining_mark};

/// A word of a text, and the gap before it.
#[derive(Debug, PartialEq)]
pub(super) struct TextSegment<'a> {
    /// The characters between the previous word and this one.
    pub(super) gap: &'a str,
    /// Empty at the end of a text that does not end with a word.
    pub(super) word: &'a str,
    /// The word with the sign in front of it, such as `#bitcoin`.
    pub(super) signed: Option<&'a str>,
}

/// Writes the normal form of `text` into `buffer`: Unicode's compatibility decomposition (NFKD) and full
/// case folding, without the default-ignorable characters of words.
pub(super) fn normalize(text: &str, buffer: &mut String) {
    buffer.clear();
    let mut rest = text;
    while !rest.is_empty() {
        // ASCII characters need no table, and do not depend on the characters around them.
        let (ascii, others) = rest.split_at(ascii_length(rest));
        let start = buffer.len();
        buffer.push_str(ascii);
        buffer[start..].make_ascii_lowercase();
        let length = others.bytes().position(|b| b.is_ascii());
        let (others, next) = others.split_at(length.unwrap_or(others.len()));
        if !others.is_empty() {
            normalize_unicode(others, buffer);
        }
        rest = next;
    }
}

/// Appends the normal form of a text without ASCII characters.
fn normalize_unicode(text: &str, buffer: &mut String) {
    let start = buffer.len();
    for c in text.nfd() {
        let last = buffer.chars().next_back().unwrap_or(' ');
        // Between two symbols, a joiner or a tag belongs to an emoji.
        let ignored = is_default_ignorable(c) && (in_word(c) || in_word(last));
        // Turkish İ is an I with a dot. Lower case i already has the dot.
        let dot = c == '\u{307}' && matches!(last, 'i' | 'I');
        if ignored || dot {
            continue;
        }
        let end = buffer.len();
        decompose_compatible(c, |c| buffer.push(if c == 'ı' { 'i' } else { c }));
        // A symbol must not become letters: "Bitcoin™" is not the word "bitcointm".
        if buffer[end..].chars().ne([c]) && !in_word(c) && !is_full_width_ascii(c) {
            buffer.truncate(end);
            buffer.push(c);
        }
    }
    let folded = UniCase::unicode(&buffer[start..]).to_folded_case();
    buffer.truncate(start);
    buffer.push_str(&folded);
}

/// Returns the length of the ASCII characters at the start of the text.
fn ascii_length(text: &str) -> usize {
    // Most texts are ASCII. `is_ascii` checks eight bytes at a time.
    if text.is_ascii() {
        return text.len();
    }
    let other = text.bytes().position(|b| !b.is_ascii());
    other.unwrap_or(text.len())
}

/// Splits a normalized text into its words and the gaps between them.
pub(super) fn segments(text: &str) -> impl Iterator<Item = TextSegment<'_>> {
    let mut rest = text;
    iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let start = find(rest, starts_word);
        let end = start + find(&rest[start..], |c| !in_word(c));
        let gap = &rest[..start];
        let segment = TextSegment {
            gap,
            word: &rest[start..end],
            signed: matches!(gap.as_bytes(), [.., b'#' | b'$' | b'@'])
                .then(|| &rest[start - 1..end]),
        };
        rest = &rest[end..];
        Some(segment)
    })
}

/// Returns the index of the first wanted character, or the length of the text if there is none.
#[inline]
fn find(text: &str, is_wanted: impl Fn(char) -> bool) -> usize {
    for (index, byte) in text.bytes().enumerate() {
        if !byte.is_ascii() {
            let found = text[index..].find(&is_wanted);
            return found.map_or(text.len(), |found| index + found);
        }
        if is_wanted(char::from(byte)) {
            return index;
        }
    }
    text.len()
}

/// Returns whether `text` consists of characters that no screen shows.
pub(super) fn is_invisible(text: &str) -> bool {
    text.chars().all(is_default_ignorable)
}

fn starts_word(c: char) -> bool {
    // A mark belongs to the character before it: the stroke of "≠" does not start a word.
    in_word(c) && (c.is_ascii() || !is_combining_mark(c))
}

/// Returns whether `c` is a letter, a digit, a mark or `_`.
fn in_word(c: char) -> bool {
    if c.is_ascii() {
        c.is_ascii_alphanumeric() || c == '_'
    } else {
        c.is_alphanumeric() || is_combining_mark(c)
    }
}

fn is_full_width_ascii(c: char) -> bool {
    matches!(c, '\u{ff01}'..='\u{ff5e}')
}

/// Returns whether `c` has Unicode's property Default_Ignorable_Code_Point. Our Unicode crates do
/// not have the property. The zero-width space (U+200B) is not included, because it separates words.
fn is_default_ignorable(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}'..='\u{1160}'
        | '\u{17b4}'..='\u{17b5}' | '\u{180b}'..='\u{180f}' | '\u{200c}'..='\u{200f}'
        | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}'
        | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fff8}'
        | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn normalized(text: &str) -> String {
        let mut buffer = String::new();
        normalize(text, &mut buffer);
        buffer
    }

    fn words(text: &str) -> Vec<String> {
        let text = normalized(text);
        let words = segments(&text).map(|segment| segment.word.to_owned());
        words.filter(|word| !word.is_empty()).collect()
    }

    #[test]
    fn a_text_is_split_at_everything_but_letters_digits_marks_and_underscores() {
        assert_eq!(
            words("Don't: x.com/bitcoin_news?a=1 ビットコインは"),
            [
                "don",
                "t",
                "x",
                "com",
                "bitcoin_news",
                "a",
                "1",
                "ヒ\u{3099}ットコインは"
            ]
        );
        assert_eq!(words("a\u{200b}b a≠b ㈱ ™ \u{301}"), ["a", "b", "a", "b"]);
    }

    #[test]
    fn a_word_has_a_sign_only_directly_before_it() {
        let signed = |text: &str| -> Vec<Option<String>> {
            let text = normalized(text);
            let signed = segments(&text).map(|segment| segment.signed.map(str::to_owned));
            signed.collect()
        };
        assert_eq!(
            signed("#a @ b ＄c #️⃣d"),
            [Some("#a".into()), None, Some("$c".into()), None]
        );
    }

    #[test]
    fn normalizing_twice_changes_nothing() {
        for c in '\0'..=char::MAX {
            let once = normalized(&format!("a{c}"));
            assert_eq!(normalized(&once), once, "{c:?}");
        }
    }

    proptest! {
        #[test]
        fn canonically_equivalent_texts_are_equal_in_normal_form(text in any::<String>()) {
            let composed: String = text.nfc().collect();
            let decomposed: String = text.nfd().collect();
            prop_assert_eq!(normalized(&text), normalized(&composed));
            prop_assert_eq!(normalized(&composed), normalized(&decomposed));
        }
    }
}
