//! The rules of VADER, which the documentation of the parent module describes.
//!
//! The same code scores and explains: each rule that changes a valence tells an [`Observer`]. The observer
//! of [`score`] does nothing, so it costs nothing.
//!
//! This is the algorithm of the reference implementation, `vaderSentiment` 3.3.2, with equal results to
//! the last digit. Where the reference does something unexpected, this code does it too, and a comment
//! says so.

use super::lexicon::{
    BOOST, Entry, Lexicon, MAX_WORD, Name, Token, Word, is_space, lower, marks, strip_punctuation,
    words,
};
use super::{Rule, ScoredWords, Sentiment, WordShare};
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
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

/// Scores a text.
pub(super) fn score(lexicon: &Lexicon, text: &str) -> Sentiment {
    with_scratch(|scratch| scratch.score(lexicon, text).0)
}

/// Scores a text, and returns the share of each rated word in the score.
pub(super) fn score_words(lexicon: &Lexicon, text: &str) -> (Sentiment, ScoredWords) {
    with_scratch(|scratch| {
        let (sentiment, sum) = scratch.score(lexicon, text);
        if sentiment.compound == 0.0 {
            return (sentiment, ScoredWords::new());
        }
        let valences = scratch.tokens.iter().zip(&scratch.valences);
        let rated = valences.filter(|(_, valence)| **valence != 0.0);
        let shares = rated.map(|(token, valence)| WordShare {
            word: token.index(),
            share: (valence / sum) as f32,
        });
        (sentiment, shares.collect())
    })
}

fn with_scratch<T>(work: impl FnOnce(&mut Scratch) -> T) -> T {
    SCRATCH.with_borrow_mut(|scratch| {
        let result = work(scratch);
        if scratch.size() > MAX_KEPT {
            *scratch = Scratch::default();
        }
        result
    })
}

impl Scratch {
    /// Returns the size of the buffers, in bytes.
    fn size(&self) -> usize {
        self.tokens.capacity() * size_of::<Token>() + self.valences.capacity() * size_of::<f64>()
    }

    /// Scores a text, and returns the sum of the valences and the emphasis as well.
    fn score(&mut self, lexicon: &Lexicon, text: &str) -> (Sentiment, f64) {
        self.tokens.clear();
        let marks = read(lexicon, text, |token, _| self.tokens.push(token));
        rate(lexicon, &self.tokens, &mut self.valences, &mut ());
        add_up(&self.valences, emphasis(marks))
    }
}

/// Where a token comes from.
#[derive(Clone, Copy)]
pub(super) struct Origin<'t> {
    /// The part of the text: a word without the punctuation around it; or an emoji, with the text right
    /// after it if this token is the last word of the emoji's name.
    pub(super) source: &'t str,
    /// The word of the emoji's name.
    pub(super) named: Option<&'static str>,
}

/// Reads the words of a text into `sink`, and returns the number of its exclamation and question marks.
pub(super) fn read<'t>(
    lexicon: &Lexicon,
    text: &'t str,
    mut sink: impl FnMut(Token, Origin<'t>),
) -> (usize, usize) {
    let mut marks = marks(text);
    if text.is_ascii() {
        for word in words(text) {
            let origin = Origin {
                source: word,
                named: None,
            };
            sink(lexicon.token(word), origin);
        }
    } else {
        let (exclamations, questions) = read_with_emoji(lexicon, text, sink);
        marks.0 += exclamations;
        marks.1 += questions;
    }
    marks
}

/// Reads a text, with the names of emoji in place of the emoji. A name is separated from the text
/// before it, but the text right after it belongs to its last word: "joy" with "!" is "joy!".
/// Returns the exclamation and question marks in the names.
fn read_with_emoji<'t>(
    lexicon: &Lexicon,
    text: &'t str,
    mut sink: impl FnMut(Token, Origin<'t>),
) -> (usize, usize) {
    let mut marks = (0, 0);
    // Where the current word starts, and the emoji before it.
    let mut start = 0;
    let mut emoji: Option<(&'t str, &Name)> = None;
    for (at, character) in text.char_indices() {
        let name = match character.is_ascii() {
            true => None,
            false => lexicon.name(character),
        };
        if name.is_none() && !is_space(character) {
            continue;
        }
        if let Some((token, origin)) = word(lexicon, emoji.take(), text, start..at) {
            sink(token, origin);
        }
        start = at + character.len_utf8();
        if let Some(name) = name {
            let source = &text[at..start];
            for &(token, named) in &name.words {
                let named = Some(named);
                sink(token, Origin { source, named });
            }
            marks.0 += name.marks.0;
            marks.1 += name.marks.1;
            emoji = Some((source, name));
        }
    }
    if let Some((token, origin)) = word(lexicon, emoji, text, start..text.len()) {
        sink(token, origin);
    }
    marks
}

/// Returns the word in a range of the text that follows white space, or an emoji.
fn word<'t>(
    lexicon: &Lexicon,
    emoji: Option<(&'t str, &Name)>,
    text: &'t str,
    range: Range<usize>,
) -> Option<(Token, Origin<'t>)> {
    let rest = &text[range.clone()];
    let Some((emoji, name)) = emoji else {
        let source = strip_punctuation(rest);
        let origin = Origin {
            source,
            named: None,
        };
        return (!rest.is_empty()).then(|| (lexicon.token(source), origin));
    };
    let named = name.last_text;
    let token = match rest.is_empty() {
        true => name.last,
        false => lexicon.token(strip_punctuation(&format!("{named}{rest}"))),
    };
    let origin = Origin {
        source: &text[range.start - emoji.len()..range.end],
        named: Some(named),
    };
    Some((token, origin))
}

/// Learns which rule changes the valence of a word.
pub(super) trait Observer {
    /// Called when `rule` acts on the word at the index `on`, because of the word at the index `by`.
    fn acts(&mut self, rule: Rule, on: usize, by: Option<usize>);
}

impl Observer for () {
    fn acts(&mut self, _: Rule, _: usize, _: Option<usize>) {}
}

/// Fills `valences` with what each word adds to the sum.
pub(super) fn rate(
    lexicon: &Lexicon,
    tokens: &[Token],
    valences: &mut Vec<f64>,
    observer: &mut impl Observer,
) {
    let capitals = tokens.iter().filter(|token| token.upper).count();
    let sentence = Sentence {
        lexicon,
        tokens,
        mixed: (1..tokens.len()).contains(&capitals),
    };
    valences.clear();
    valences.extend((0..tokens.len()).map(|index| sentence.valence(index, observer)));
    let but = (0..tokens.len()).find(|index| sentence.word(*index) == Word::But);
    if let Some(but) = but {
        weigh_but(valences, but, observer);
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
    fn valence(&self, index: usize, observer: &mut impl Observer) -> f64 {
        let entry = self.lexicon.get(self.tokens[index]);
        let Some(rated) = entry.valence else {
            return 0.0;
        };
        let kind_of = entry.word == Word::Kind && self.word(index + 1) == Word::Of;
        if entry.boost != 0.0 || kind_of {
            return 0.0;
        }
        let mut valence = self.after_no(index, rated, observer);
        if self.tokens[index].upper && self.mixed {
            observer.acts(Rule::Capitals, index, None);
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
            let boost = self.boost(index - distance, valence);
            if boost != 0.0 {
                let rule = match self.lexicon.get(self.tokens[index - distance]).boost > 0.0 {
                    true => Rule::Booster,
                    false => Rule::Dampener,
                };
                observer.acts(rule, index, Some(index - distance));
            }
            valence += boost * weight;
            valence = self.negate(index, distance, valence, observer);
            if distance == 3 {
                valence = self.idiom(index, valence, observer);
            }
        }
        self.least(index, valence, observer)
    }

    /// Applies the rule for "no": before a rated word it negates that word, and does not count itself.
    fn after_no(&self, index: usize, rated: f64, observer: &mut impl Observer) -> f64 {
        let no = |distance| index >= distance && self.word(index - distance) == Word::No;
        let or = || matches!(self.word(index - 1), Word::Or | Word::Nor);
        if no(1) || no(2) || (no(3) && or()) {
            let by = (1..=3).find(|distance| no(*distance));
            observer.acts(Rule::Negation, index, by.map(|distance| index - distance));
            return rated * NEGATION;
        }
        if self.word(index) == Word::No && self.is_rated(index + 1) {
            observer.acts(Rule::No, index, Some(index + 1));
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
    fn negate(
        &self,
        index: usize,
        distance: usize,
        valence: f64,
        observer: &mut impl Observer,
    ) -> f64 {
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
            observer.acts(Rule::Strengthened, index, Some(index - distance));
            valence * 1.25
        } else if !doubtless && self.negates(index - distance) {
            observer.acts(Rule::Negation, index, Some(index - distance));
            valence * NEGATION
        } else {
            valence
        }
    }

    /// Applies idioms around the word, which has three words before it.
    fn idiom(&self, index: usize, mut valence: f64, observer: &mut impl Observer) -> f64 {
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
            observer.acts(Rule::Idiom, index, None);
            valence = rated;
        }
        for after in [index..index + 2, index..index + 3] {
            if let Some(rated) = find(after) {
                observer.acts(Rule::Idiom, index, None);
                valence = rated;
            }
        }
        for first in [index - 3, index - 2] {
            let pair = (self.word(first), self.word(first + 1));
            if let (Word::Just, Word::Enough) | (Word::Kind | Word::Sort, Word::Of) = pair {
                observer.acts(Rule::Dampener, index, Some(first));
                valence += -BOOST;
            }
        }
        valence
    }

    fn least(&self, index: usize, valence: f64, observer: &mut impl Observer) -> f64 {
        if index == 0 || self.is_rated(index - 1) || self.word(index - 1) != Word::Least {
            return valence;
        }
        if index > 1 && matches!(self.word(index - 2), Word::At | Word::Very) {
            return valence;
        }
        observer.acts(Rule::Negation, index, Some(index - 1));
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
fn weigh_but(valences: &mut [f64], but: usize, observer: &mut impl Observer) {
    let mut weigh = |index: usize, value: f64| {
        let weight = match index.cmp(&but) {
            std::cmp::Ordering::Less => 0.5,
            std::cmp::Ordering::Equal => return value,
            std::cmp::Ordering::Greater => 1.5,
        };
        observer.acts(Rule::But, index, Some(but));
        value * weight
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

/// Returns what the exclamation marks and the question marks add to the sum, in its direction.
pub(super) fn emphasis((exclamations, questions): (usize, usize)) -> (f64, f64) {
    let exclamation = exclamations.min(MOST_EXCLAMATIONS) as f64 * EXCLAMATION;
    let question = match questions {
        0 | 1 => 0.0,
        2 | 3 => questions as f64 * QUESTION,
        _ => MANY_QUESTIONS,
    };
    (exclamation, question)
}

/// Returns the sentiment of a text, and the sum that its compound is made from.
pub(super) fn add_up(valences: &[f64], (exclamation, question): (f64, f64)) -> (Sentiment, f64) {
    if valences.is_empty() {
        return (Sentiment::default(), 0.0);
    }
    let emphasis = exclamation + question;
    let (mut sum, mut pos, mut neg, mut neu) = (0.0, 0.0, 0.0, 0.0);
    for valence in valences {
        sum += valence;
        // Plus one, because each neutral word counts one.
        if *valence > 0.0 {
            pos += valence + 1.0;
        } else if *valence < 0.0 {
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
    let sentiment = Sentiment {
        compound: rounded(sum / (sum * sum + NORMALIZATION).sqrt(), 4),
        pos: rounded(pos / total, 3),
        neu: rounded(neu / total, 3),
        neg: rounded(neg / total, 3),
    };
    (sentiment, sum)
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
