//! Replaces the characters of today's texts that VADER does not know.
//!
//! VADER was developed with texts in ASCII. Today, phones and editors write "don’t" with a typographic
//! apostrophe, and put invisible characters after an emoji. VADER then misses the negation and the word.
//! This module replaces such characters with ASCII before the rules see the text. The documentation of
//! [`sentiment`](super) lists the replacements.

use std::borrow::Cow;
use unicode_normalization::char::decompose_compatible;

/// How the characters of a text are read.
#[derive(Clone, Copy)]
pub(super) enum Reading {
    /// Typographic characters are read as ASCII.
    Plain,
    /// Each character is read as it is, as in the reference implementation.
    Verbatim,
}

/// A text as the rules read it.
pub(super) struct ReadText<'t> {
    pub(super) text: Cow<'t, str>,
    /// The ends of the replaced characters in this text and in the original, in bytes. Both increase.
    ends: Vec<(usize, usize)>,
}

impl Reading {
    /// Returns the text as the rules read it.
    pub(super) fn read(self, text: &str) -> ReadText<'_> {
        let (mut plain, mut ends) = (String::new(), Vec::new());
        let mut copied = 0;
        if matches!(self, Reading::Plain) && may_change(text) {
            for (at, c) in text.char_indices().filter(|(_, c)| !c.is_ascii()) {
                let replacement = replacement(c);
                if replacement != Some(c) {
                    plain.push_str(&text[copied..at]);
                    plain.extend(replacement);
                    copied = at + c.len_utf8();
                    ends.push((plain.len(), copied));
                }
            }
        }
        let text = if ends.is_empty() {
            Cow::Borrowed(text)
        } else {
            plain.push_str(&text[copied..]);
            Cow::Owned(plain)
        };
        ReadText { text, ends }
    }
}

impl ReadText<'_> {
    /// Converts a position in this text to the position in the original text, in bytes. The invisible
    /// characters after a word belong to the word.
    pub(super) fn original(&self, at: usize) -> usize {
        let before = self.ends.partition_point(|(end, _)| *end <= at);
        match before.checked_sub(1).map(|last| self.ends[last]) {
            Some((end, original)) => original + (at - end),
            None => at,
        }
    }
}

/// Returns whether the text may contain a character to replace. The function compares single bytes, so it
/// may return true for a text without such a character. Most texts do not change, so the check must be
/// fast: without branches, the loop is several times as fast as decoding.
fn may_change(text: &str) -> bool {
    let lead = |byte| matches!(byte, 0xc2 | 0xca | 0xe2 | 0xef | 0x9d);
    text.bytes().fold(false, |any, byte| any | lead(byte))
}

/// Returns the character that replaces `c`, which may be `c` itself, or `None` if it is removed.
fn replacement(c: char) -> Option<char> {
    match c {
        '‘' | '’' | '‛' | 'ʼ' | '´' | '′' => Some('\''),
        '“' | '”' | '„' | '‟' | '«' | '»' | '″' => Some('"'),
        // The hyphen, the non-breaking hyphen, and the minus sign.
        '\u{2010}' | '\u{2011}' | '−' => Some('-'),
        // The dashes, the ellipsis, and the zero-width space.
        '–' | '—' | '―' | '…' | '\u{200b}' => Some(' '),
        // Full-width characters, and mathematical letters such as 𝗯𝗼𝗹𝗱 letters.
        '\u{ff01}'..='\u{ff5e}' | '\u{1d400}'..='\u{1d7ff}' => {
            let mut ascii = None;
            decompose_compatible(c, |part| ascii = Some(part));
            ascii
        }
        // The soft hyphen, joiners, marks of the writing direction, variation selectors, and the byte order
        // mark.
        '\u{ad}'
        | '\u{200c}'..='\u{200f}'
        | '\u{202a}'..='\u{202e}'
        | '\u{2060}'..='\u{2069}'
        | '\u{fe00}'..='\u{fe0f}'
        | '\u{feff}' => None,
        _ => Some(c),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Analyzer;
    use super::super::lexicon::Lexicon;
    use super::*;
    use proptest::prelude::*;

    fn plain(text: &str) -> String {
        Reading::Plain.read(text).text.into_owned()
    }

    #[test]
    fn typographic_characters_are_read_as_ascii() {
        for (text, expected) in [
            (
                "I don’t, don‘t, donʼt, don´t",
                "I don't, don't, don't, don't",
            ),
            ("“good” «bad» „fun“", "\"good\" \"bad\" \"fun\""),
            ("love it—great – so…", "love it great   so "),
            ("uh\u{2011}uh, kind\u{2010}of", "uh-uh, kind-of"),
            ("ＬＯＶＥ it！ 𝗴𝗿𝗲𝗮𝘁 𝓯𝓾𝓷", "LOVE it! great fun"),
            ("❤\u{fe0f}\u{200d}🔥 lo\u{ad}ve\u{200b}it", "❤🔥 love it"),
            ("größe дом 漢字 👍🏽", "größe дом 漢字 👍🏽"),
        ] {
            assert_eq!(plain(text), expected);
            assert_eq!(Reading::Verbatim.read(text).text, text);
        }
    }

    #[test]
    fn each_replaced_character_is_noticed_and_none_is_an_emoji() {
        let lexicon = Lexicon::new();
        for c in '\0'..=char::MAX {
            if replacement(c) != Some(c) {
                assert!(may_change(&c.to_string()), "{c:?}");
                assert!(lexicon.name(c).is_none(), "{c:?}");
            }
        }
    }

    #[test]
    fn positions_lead_back_to_the_original_text() {
        let read = Reading::Plain.read("a ’b❤\u{fe0f}\u{200d} …c");
        assert_eq!(read.text, "a 'b❤  c");
        let original: Vec<_> = [0, 2, 3, 4, 7, 8, 9, 10].map(|at| read.original(at)).into();
        assert_eq!(original, [0, 2, 5, 6, 15, 16, 19, 20]);
    }

    #[test]
    fn a_typographic_text_has_the_score_of_the_same_text_in_ascii() {
        let (analyzer, reference) = (Analyzer::new(), Analyzer::reference());
        let compound = |text: &str| analyzer.score(text).compound;
        assert_eq!(compound("I don’t love this"), -0.5216);
        assert_eq!(reference.score("I don’t love this").compound, 0.6369);
        for (text, ascii) in [
            ("I don’t love this", "I don't love this"),
            ("I ISN’T “good”", "I ISN'T \"good\""),
            ("I \u{2764}\u{fe0f} it", "I \u{2764} it"),
            ("great—not bad…", "great not bad"),
            ("ＳＯ ｇｏｏｄ！！", "SO good!!"),
        ] {
            assert_eq!(analyzer.score(text), reference.score(ascii), "{text}");
            assert_ne!(analyzer.score(text), reference.score(text), "{text}");
        }
    }

    proptest! {
        #[test]
        fn a_text_is_scored_as_its_plain_form(text in "\\PC{0,80}|[’“…—\u{fe0f}\u{200d}ｇood not!❤]{0,40}") {
            let plain = plain(&text);
            prop_assert_eq!(Analyzer::new().score(&text), Analyzer::reference().score(&plain));
            prop_assert_eq!(Analyzer::new().score(&plain), Analyzer::reference().score(&plain));
        }
    }
}
