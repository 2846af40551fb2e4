//! The patterns that the lexicon finds besides words in ASCII: words in other scripts, signs and phrases.
//! Only the caller's words can be such patterns. In VADER's lexicon, the maps are empty and cost no time.

use super::WordId;
use rustc_hash::FxHashMap;
use unicase::UniCase;
use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;

/// The maximum length of a word in another script, in bytes. It is larger than the limit for a word of the
/// lexicon, because a decomposed letter has more bytes.
const MAX_BYTES: usize = 256;

/// The maximum number of words of a phrase.
pub(super) const MAX_PHRASE: usize = 4;

/// The patterns, with their ids in the lexicon.
#[derive(Clone, Default)]
pub(super) struct Patterns {
    /// The words with characters outside ASCII, in normal form.
    words: FxHashMap<Box<str>, WordId>,
    signs: FxHashMap<Box<str>, WordId>,
    /// For each first character, the length of the longest sign in bytes.
    longest_signs: FxHashMap<char, usize>,
    phrases: FxHashMap<Box<[WordId]>, WordId>,
    /// For each first word, the number of words of the longest phrase.
    longest_phrases: FxHashMap<WordId, usize>,
}

impl Patterns {
    pub(super) fn add_word(&mut self, word: &str, id: WordId) {
        self.words.insert(normal_form(word).into(), id);
    }

    pub(super) fn add_sign(&mut self, sign: &str, id: WordId) {
        if let Some(first) = sign.chars().next() {
            let longest = self.longest_signs.entry(first).or_default();
            *longest = sign.len().max(*longest);
            self.signs.insert(sign.into(), id);
        }
    }

    pub(super) fn add_phrase(&mut self, words: &[WordId], id: WordId) {
        if let Some(first) = words.first() {
            let longest = self.longest_phrases.entry(*first).or_default();
            *longest = words.len().max(*longest);
            self.phrases.insert(words.into(), id);
        }
    }

    pub(super) fn word(&self, word: &str) -> Option<WordId> {
        if self.words.is_empty() || word.len() > MAX_BYTES {
            return None;
        }
        self.words.get(normal_form(word).as_str()).copied()
    }

    /// Returns the longest sign at the start of the text, and its length in bytes.
    pub(super) fn sign(&self, text: &str, first: char) -> Option<(WordId, usize)> {
        let longest = *self.longest_signs.get(&first)?;
        let sign = |length| Some((*self.signs.get(text.get(..length)?)?, length));
        (1..=longest).rev().find_map(sign)
    }

    /// Returns whether no phrase has been added.
    pub(super) fn has_no_phrases(&self) -> bool {
        self.phrases.is_empty()
    }

    /// Returns the longest phrase at the start of the words, and its number of words.
    pub(super) fn phrase(&self, words: &[WordId]) -> Option<(WordId, usize)> {
        let longest = *self.longest_phrases.get(words.first()?)?;
        let phrase = |length| Some((*self.phrases.get(words.get(..length)?)?, length));
        (1..=longest).rev().find_map(phrase)
    }
}

/// Returns whether a word that starts with the character is a sign. A sign is an emoji or another symbol,
/// or a word of a script without spaces between words. It is found anywhere in a text.
pub(super) fn starts_sign(c: char) -> bool {
    let letter = c.is_ascii() || c.is_alphanumeric() || is_combining_mark(c);
    !letter || is_written_without_spaces(c)
}

/// Returns whether the character belongs to the script of Thai, Lao, Burmese, Khmer, Japanese or Chinese.
fn is_written_without_spaces(c: char) -> bool {
    matches!(c, '\u{e00}'..='\u{eff}' | '\u{1000}'..='\u{109f}' | '\u{1780}'..='\u{17ff}'
        | '\u{3005}'..='\u{3007}' | '\u{3040}'..='\u{30ff}' | '\u{3400}'..='\u{9fff}'
        | '\u{f900}'..='\u{faff}' | '\u{20000}'..='\u{3ffff}')
}

/// Returns a form that is the same for composed and decomposed letters, and for upper and lower case.
fn normal_form(word: &str) -> String {
    let composed: String = word.nfc().collect();
    UniCase::unicode(composed).to_folded_case()
}
