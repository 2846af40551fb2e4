//! The rules of VADER, which the documentation of the parent module describes.
//!
//! This is the algorithm of the reference implementation, `vaderSentiment` 3.3.2, with equal results to
//! the last digit. Where the reference does something unexpected, this code does it too, and a comment
//! says so.

use super::Sentiment;
use super::lexicon::{
    BOOST, Entry, Lexicon, MAX_WORD, Name, Token, Word, is_space, lower, marks, strip_punctuation,
    words,
};
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::io::Write;
use std::ops::Range;

const CAPITALS: f64 = 0.733;
const NEGATION: f64 = -0.74;
const EXCLAMATION: f64 = 0.292;
const MOST_EXCLAMATIONS: usize = 4;
const QUESTION: f64 = 0.18;
const MANY_QUESTIONS: f64 = 0.96;
/// The constant of the normalisation: about the largest sum that a text is expected to have.
const NORMALIZATION: f64 = 15.0;
/// The maximum number of values that are compared with each other; more are sorted.
const MAX_COMPARED: usize = 64;
/// The maximum memory that a thread keeps for the next text, in bytes.
const MAX_KEPT: usize = 64 * 1024;

/// The buffers of a thread, which are reused for the next text.
#[derive(Default)]
struct Scratch {
    tokens: Vec<Token>,
    valences: Vec<f64>,
    /// A word that starts with the name of an emoji.
    glued: String,
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

pub(super) fn score(lexicon: &Lexicon, text: &str) -> Sentiment {
    SCRATCH.with_borrow_mut(|scratch| {
        let sentiment = scratch.score(lexicon, text);
        if scratch.size() > MAX_KEPT {
            *scratch = Scratch::default();
        }
        sentiment
    })
}

impl Scratch {
    /// Returns the size of the buffers, in bytes.
    fn size(&self) -> usize {
        self.tokens.capacity() * size_of::<Token>()
            + self.valences.capacity() * size_of::<f64>()
            + self.glued.capacity()
    }

    fn score(&mut self, lexicon: &Lexicon, text: &str) -> Sentiment {
        self.tokens.clear();
        let mut marks = marks(text);
        if text.is_ascii() {
            self.tokens
                .extend(words(text).map(|word| lexicon.token(word)));
        } else {
            let (exclamations, questions) = self.read_with_emoji(lexicon, text);
            marks.0 += exclamations;
            marks.1 += questions;
        }
        let capitals = self.tokens.iter().filter(|token| token.upper).count();
        let mixed = (1..self.tokens.len()).contains(&capitals);
        let sentence = Sentence {
            lexicon,
            tokens: &self.tokens,
            mixed,
        };
        let valences = (0..self.tokens.len()).map(|index| sentence.valence(index));
        let but = (0..self.tokens.len()).find(|index| sentence.word(*index) == Word::But);
        let Some(but) = but else {
            return add_up(valences, emphasis(marks));
        };
        self.valences.clear();
        self.valences.extend(valences);
        weigh_but(&mut self.valences, but);
        add_up(self.valences.iter().copied(), emphasis(marks))
    }

    /// Reads a text, with the names of emoji in place of the emoji. A name is separated from the text
    /// before it, but the text right after it belongs to its last word: "joy" with "!" is "joy!".
    /// Returns the exclamation and question marks in the names.
    fn read_with_emoji(&mut self, lexicon: &Lexicon, text: &str) -> (usize, usize) {
        let mut marks = (0, 0);
        // Where the current word starts, and the last word of the emoji before it.
        let mut start = 0;
        let mut named: Option<&Name> = None;
        for (at, character) in text.char_indices() {
            let name = match character.is_ascii() {
                true => None,
                false => lexicon.name(character),
            };
            if name.is_none() && !is_space(character) {
                continue;
            }
            self.end_word(lexicon, named.take(), &text[start..at]);
            start = at + character.len_utf8();
            if let Some(name) = name {
                self.tokens.extend_from_slice(&name.words);
                marks.0 += name.marks.0;
                marks.1 += name.marks.1;
                named = Some(name);
            }
        }
        self.end_word(lexicon, named, &text[start..]);
        marks
    }

    fn end_word(&mut self, lexicon: &Lexicon, named: Option<&Name>, rest: &str) {
        let token = match named {
            None if rest.is_empty() => return,
            None => lexicon.token(strip_punctuation(rest)),
            Some(name) if rest.is_empty() => name.last,
            Some(name) => {
                self.glued.clear();
                self.glued.push_str(name.last_text);
                self.glued.push_str(rest);
                lexicon.token(strip_punctuation(&self.glued))
            }
        };
        self.tokens.push(token);
    }
}

/// Returns whether the lexicon can contain this as a word.
pub(super) fn is_word(word: &str) -> bool {
    words(word).eq([word]) && lower(word, &mut [0; MAX_WORD]).is_some()
}

/// The words of a text.
struct Sentence<'t> {
    lexicon: &'t Lexicon,
    tokens: &'t [Token],
    /// Whether some of the words are in capitals, but not all.
    mixed: bool,
}

impl Sentence<'_> {
    fn entry(&self, index: usize) -> Option<&Entry> {
        Some(self.lexicon.get(*self.tokens.get(index)?))
    }

    fn word(&self, index: usize) -> Word {
        self.entry(index).map_or(Word::Other, |entry| entry.word)
    }

    fn is_rated(&self, index: usize) -> bool {
        self.entry(index)
            .is_some_and(|entry| entry.valence.is_some())
    }

    fn negates(&self, index: usize) -> bool {
        self.tokens[index].nt || self.entry(index).is_some_and(|entry| entry.negates)
    }

    /// Returns what the word adds to the sum.
    fn valence(&self, index: usize) -> f64 {
        let entry = self.lexicon.get(self.tokens[index]);
        let Some(rated) = entry.valence else {
            return 0.0;
        };
        let kind_of = entry.word == Word::Kind && self.word(index + 1) == Word::Of;
        if entry.boost != 0.0 || kind_of {
            return 0.0;
        }
        let mut valence = self.after_no(index, rated);
        if self.tokens[index].upper && self.mixed {
            valence += if valence > 0.0 { CAPITALS } else { -CAPITALS };
        }
        // This is true for most words, which then need none of the rules below.
        let before = &self.tokens[index.saturating_sub(3)..index];
        if !entry.word.starts_idiom() && !before.iter().any(|token| token.alters) {
            return valence;
        }
        for distance in 1..=3.min(index) {
            if self.is_rated(index - distance) {
                continue;
            }
            let weight = [1.0, 0.95, 0.9][distance - 1];
            valence += self.boost(index - distance, valence) * weight;
            valence = self.negate(index, distance, valence);
            if distance == 3 {
                valence = self.idiom(index, valence);
            }
        }
        self.least(index, valence)
    }

    /// Applies the rule for "no": before a rated word it negates that word, and does not count itself.
    fn after_no(&self, index: usize, rated: f64) -> f64 {
        let no = |distance| index >= distance && self.word(index - distance) == Word::No;
        let or = || matches!(self.word(index - 1), Word::Or | Word::Nor);
        if no(1) || no(2) || (no(3) && or()) {
            return rated * NEGATION;
        }
        if self.word(index) == Word::No && self.is_rated(index + 1) {
            return 0.0;
        }
        rated
    }

    /// Returns what a booster or dampener adds, in the direction of the word after it.
    fn boost(&self, index: usize, valence: f64) -> f64 {
        let token = &self.tokens[index];
        let mut boost = self.lexicon.get(*token).boost;
        if boost == 0.0 {
            return 0.0;
        }
        if valence < 0.0 {
            boost = -boost;
        }
        if token.upper && self.mixed {
            boost += if valence > 0.0 { CAPITALS } else { -CAPITALS };
        }
        boost
    }

    /// Applies a negation at this distance before the word to its valence.
    fn negate(&self, index: usize, distance: usize, valence: f64) -> f64 {
        let before = |distance: usize| self.word(index - distance);
        let so = |distance| matches!(before(distance), Word::So | Word::This);
        let never = |distance| before(distance) == Word::Never;
        let without = |distance| before(distance) == Word::Without;
        let doubt = |distance| before(distance) == Word::Doubt;
        let (strengthened, doubtless) = match distance {
            2 => (never(2) && so(1), without(2) && doubt(1)),
            // The operator precedence of the reference: if three words precede, "so" or "this" just
            // before a word increases it, with or without "never".
            3 => (
                (never(3) && so(2)) || so(1),
                without(3) && (doubt(2) || doubt(1)),
            ),
            _ => (false, false),
        };
        if strengthened {
            valence * 1.25
        } else if !doubtless && self.negates(index - distance) {
            valence * NEGATION
        } else {
            valence
        }
    }

    /// Applies idioms around the word, which has three words before it.
    fn idiom(&self, index: usize, mut valence: f64) -> f64 {
        let find = |range: Range<usize>| {
            let third = (range.len() > 2).then(|| self.word(range.start + 2));
            idiom(self.word(range.start), self.word(range.start + 1), third)
        };
        let before = [
            index - 1..index + 1,
            index - 2..index + 1,
            index - 2..index,
            index - 3..index,
            index - 3..index - 1,
        ];
        if let Some(rated) = before.into_iter().find_map(find) {
            valence = rated;
        }
        for after in [index..index + 2, index..index + 3] {
            if let Some(rated) = find(after) {
                valence = rated;
            }
        }
        for pair in [index - 3, index - 2] {
            let pair = (self.word(pair), self.word(pair + 1));
            if let (Word::Just, Word::Enough) | (Word::Kind | Word::Sort, Word::Of) = pair {
                valence += -BOOST;
            }
        }
        valence
    }

    fn least(&self, index: usize, valence: f64) -> f64 {
        if index == 0 || self.is_rated(index - 1) || self.word(index - 1) != Word::Least {
            return valence;
        }
        if index > 1 && matches!(self.word(index - 2), Word::At | Word::Very) {
            return valence;
        }
        valence * NEGATION
    }
}

/// Returns the rating of an idiom of two or three words.
fn idiom(first: Word, second: Word, third: Option<Word>) -> Option<f64> {
    Some(match (first, second, third) {
        (Word::The, Word::Shit | Word::Bomb, None) => 3.0,
        (Word::Bad, Word::Ass, None) => 1.5,
        (Word::Bus, Word::Stop, None) => 0.0,
        (Word::Yeah, Word::Right, None) => -2.0,
        (Word::Beating, Word::Heart, None) => 3.5,
        (Word::Kiss, Word::Of, Some(Word::Death)) => -1.5,
        (Word::To, Word::Die, Some(Word::For)) => 3.0,
        _ => return None,
    })
}

/// Applies the rule for "but": the values before it count half, those after it one and a half times.
///
/// The reference iterates over the values, and changes for each the *first* value that is equal to it.
/// Of two equal values, the first is changed twice. (A changed value may be equal to another one.)
fn weigh_but(valences: &mut [f64], but: usize) {
    let weigh = |index: usize, value: f64| match index.cmp(&but) {
        std::cmp::Ordering::Less => value * 0.5,
        std::cmp::Ordering::Equal => value,
        std::cmp::Ordering::Greater => value * 1.5,
    };
    // Zeros do not change.
    let rated = valences.iter().filter(|value| **value != 0.0).count();
    if rated <= MAX_COMPARED {
        for index in 0..valences.len() {
            let value = valences[index];
            if value != 0.0
                && let Some(first) = valences.iter().position(|other| *other == value)
            {
                valences[first] = weigh(first, value);
            }
        }
        return;
    }
    let mut positions: BTreeSet<(u64, usize)> = (0..)
        .zip(valences.iter())
        .map(|(index, value)| (value.to_bits(), index))
        .collect();
    for index in 0..valences.len() {
        let value = valences[index];
        if value == 0.0 {
            continue;
        }
        let bits = value.to_bits();
        if let Some(&(_, first)) = positions.range((bits, 0)..=(bits, index)).next() {
            positions.remove(&(bits, first));
            valences[first] = weigh(first, value);
            positions.insert((valences[first].to_bits(), first));
        }
    }
}

/// Returns what the exclamation and question marks add to the sum.
fn emphasis((exclamations, questions): (usize, usize)) -> f64 {
    let exclamation = exclamations.min(MOST_EXCLAMATIONS) as f64 * EXCLAMATION;
    let question = match questions {
        0 | 1 => 0.0,
        2 | 3 => questions as f64 * QUESTION,
        _ => MANY_QUESTIONS,
    };
    exclamation + question
}

fn add_up(valences: impl ExactSizeIterator<Item = f64>, emphasis: f64) -> Sentiment {
    if valences.len() == 0 {
        return Sentiment::default();
    }
    let (mut sum, mut pos, mut neg, mut neu) = (0.0, 0.0, 0.0, 0.0);
    for valence in valences {
        sum += valence;
        // Plus one, because each neutral word counts one.
        if valence > 0.0 {
            pos += valence + 1.0;
        } else if valence < 0.0 {
            neg += valence - 1.0;
        } else {
            neu += 1.0;
        }
    }
    if sum > 0.0 {
        sum += emphasis;
    } else if sum < 0.0 {
        sum -= emphasis;
    }
    if pos > -neg {
        pos += emphasis;
    } else if pos < -neg {
        neg -= emphasis;
    }
    // Not `-neg`, so that no share is minus zero.
    let neg = neg.abs();
    let total = pos + neg + neu;
    Sentiment {
        compound: rounded(sum / (sum * sum + NORMALIZATION).sqrt(), 4),
        pos: rounded(pos / total, 3),
        neu: rounded(neu / total, 3),
        neg: rounded(neg / total, 3),
    }
}

/// Rounds like Python: by the exact value of the number, half to even.
fn rounded(value: f64, digits: usize) -> f64 {
    let scale = [1.0, 10.0, 100.0, 1_000.0, 10_000.0][digits];
    let scaled = value * scale;
    if (scaled.abs().fract() - 0.5).abs() < 1e-9 {
        // The multiplication may have moved the value across the middle.
        let mut text = [0; 16];
        let mut left = &mut text[..];
        let written = write!(left, "{value:.digits$}").map(|()| left.len());
        let exact = written.ok().and_then(|left| {
            let text = std::str::from_utf8(&text[..text.len() - left]).ok()?;
            text.parse().ok()
        });
        return exact.unwrap_or(value);
    }
    scaled.round() / scale
}
