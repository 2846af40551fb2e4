//! The rules of VADER, which the documentation of the parent module describes.
//!
//! The same code scores and explains: each rule that changes a valence is passed to an observer. The
//! observer of [`score`] does nothing and costs no time.
//!
//! This is the algorithm of the reference implementation, `vaderSentiment` 3.3.2, with equal results to
//! the last digit. Where the reference does something unexpected, this code does it too, and a comment
//! says so.

use super::lexicon::{
    BOOST, Entry, Lexicon, Name, RuleWord, Sign, Token, is_space, marks, strip_punctuation,
};
use super::{ScoredWords, Sentiment, WordShare};
use serde::Serialize;
use smallvec::SmallVec;
use std::collections::BTreeSet;
use std::ops::Range;

const CAPITALS: f64 = 0.733;
const NEGATION: f64 = -0.74;
const EXCLAMATION: f64 = 0.292;
const MOST_EXCLAMATIONS: usize = 4;
const QUESTION: f64 = 0.18;
const MANY_QUESTIONS: f64 = 0.96;
/// The constant of the normalisation: about the largest sum that a text is expected to have.
const NORMALIZATION: f64 = 15.0;
/// Up to this many rated words, a linear search finds equal values. With more, a sorted set does.
const MAX_SEARCHED: usize = 64;
/// A text with up to this many words is scored without an allocation.
const FEW_WORDS: usize = 64;

/// What each word of a text adds to the sum.
pub(super) type Valences = SmallVec<[f64; FEW_WORDS]>;

/// Scores a text, and returns the share of each rated word in the score.
pub(super) fn score(lexicon: &Lexicon, text: &str) -> (Sentiment, ScoredWords) {
    let mut tokens: SmallVec<[Token; FEW_WORDS]> = SmallVec::new();
    let marks = read(lexicon, text, |token, _| tokens.push(token));
    let count = merge_phrases(lexicon, &mut tokens, |_, _| {});
    tokens.truncate(count);
    let valences = rate(lexicon, &tokens, |_, _, _| {});
    let (exclamation, question) = emphasis(marks);
    let (sentiment, sum) = add_up(&valences, exclamation + question);
    if sentiment.compound == 0.0 {
        return (sentiment, ScoredWords::new());
    }
    let rated = tokens
        .iter()
        .zip(&valences)
        .filter(|(_, valence)| **valence != 0.0);
    let shares = rated.map(|(token, valence)| WordShare {
        word: token.id,
        share: (valence / sum) as f32,
    });
    (sentiment, shares.collect())
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
///
/// A sign of one's own is one word. Another emoji is read as its name. The name is separated from the text before it, but the text right
/// after it belongs to its last word: "joy" with "!" is "joy!". The marks in names count too.
pub(super) fn read<'t>(
    lexicon: &Lexicon,
    text: &'t str,
    mut sink: impl FnMut(Token, Origin<'t>),
) -> (usize, usize) {
    let mut marks = marks(text);
    // Where the current word starts, and the emoji before it.
    let mut start = 0;
    let mut emoji = None;
    for (at, character) in text.char_indices() {
        // Most characters are letters, and this is the fastest test for them.
        if character.is_ascii_graphic() || at < start {
            continue;
        }
        let sign = lexicon.sign(&text[at..], character);
        if sign.is_none() && !is_space(character) {
            continue;
        }
        read_word(lexicon, emoji.take(), text, start..at, &mut sink);
        start = at + character.len_utf8();
        match sign {
            None => {}
            Some(Sign::Own(token, length)) => {
                start = at + length;
                let (source, named) = (&text[at..start], None);
                sink(token, Origin { source, named });
            }
            Some(Sign::Named(name)) => {
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
    }
    read_word(lexicon, emoji, text, start..text.len(), &mut sink);
    marks
}

/// Reads the word in a range of the text that follows white space or an emoji.
fn read_word<'t>(
    lexicon: &Lexicon,
    emoji: Option<(&'t str, &Name)>,
    text: &'t str,
    range: Range<usize>,
    sink: &mut impl FnMut(Token, Origin<'t>),
) {
    let rest = &text[range.clone()];
    let (token, source, named) = match emoji {
        None if rest.is_empty() => return,
        None => {
            let source = strip_punctuation(rest);
            (lexicon.token(source), source, None)
        }
        Some((emoji, name)) => {
            let token = if rest.is_empty() {
                name.last
            } else {
                lexicon.token(strip_punctuation(&format!("{}{rest}", name.last_text)))
            };
            let source = &text[range.start - emoji.len()..range.end];
            (token, source, Some(name.last_text))
        }
    };
    sink(token, Origin { source, named });
}

/// Replaces each phrase of one's own by one token, and returns the new number of tokens. Of two overlapping
/// phrases, the first counts; of two that start with the same word, the longer one. For each token, `moved`
/// is called with its new index and the range of indices that it had.
pub(super) fn merge_phrases(
    lexicon: &Lexicon,
    tokens: &mut [Token],
    mut moved: impl FnMut(usize, Range<usize>),
) -> usize {
    if lexicon.has_no_phrases() {
        return tokens.len();
    }
    let (mut from, mut to) = (0, 0);
    while from < tokens.len() {
        let (token, length) = lexicon.phrase(&tokens[from..]).unwrap_or((tokens[from], 1));
        tokens[to] = token;
        moved(to, from..from + length);
        from += length;
        to += 1;
    }
    to
}

/// A rule of VADER that changes the contribution of a word. The documentation of [`sentiment`](super) says by
/// how much.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Rule {
    /// The word is in capitals, and other words are not.
    Capitals,
    /// The word follows a booster such as "very".
    Booster,
    /// The word follows a dampener such as "slightly".
    Dampener,
    /// The word follows a negation such as "not".
    Negation,
    /// The word follows "never so" or "never this".
    Strengthened,
    /// The word is "no" before a rated word: it negates that word and does not count itself.
    No,
    /// The word is part of an idiom, which has its own rating.
    Idiom,
    /// The text has a "but" before or after it.
    But,
}

/// Returns what each word adds to the sum. When a rule acts, `acts` is called with the rule, the index of the
/// word that it changes, and the index of the other word that the rule is about.
pub(super) fn rate(
    lexicon: &Lexicon,
    tokens: &[Token],
    acts: impl FnMut(Rule, usize, Option<usize>),
) -> Valences {
    let capitals = tokens.iter().filter(|token| token.upper).count();
    let mut sentence = Sentence {
        lexicon,
        tokens,
        mixed: (1..tokens.len()).contains(&capitals),
        acts,
    };
    let valences = (0..tokens.len()).map(|index| sentence.valence(index));
    let mut valences: Valences = valences.collect();
    if let Some(but) = (0..tokens.len()).find(|index| sentence.word(*index) == RuleWord::But) {
        weigh_but(&mut valences, but, sentence.acts);
    }
    valences
}

/// The words of a text.
struct Sentence<'t, A> {
    lexicon: &'t Lexicon,
    tokens: &'t [Token],
    /// Whether some of the words are in capitals, but not all.
    mixed: bool,
    /// The observer of the rules.
    acts: A,
}

impl<A: FnMut(Rule, usize, Option<usize>)> Sentence<'_, A> {
    fn entry(&self, index: usize) -> Option<&Entry> {
        Some(self.lexicon.get(*self.tokens.get(index)?))
    }

    fn word(&self, index: usize) -> RuleWord {
        self.entry(index)
            .map_or(RuleWord::Other, |entry| entry.word)
    }

    fn is_rated(&self, index: usize) -> bool {
        self.entry(index)
            .is_some_and(|entry| entry.valence.is_some())
    }

    fn negates(&self, index: usize) -> bool {
        self.tokens[index].nt || self.entry(index).is_some_and(|entry| entry.negates)
    }

    /// Returns what the word adds to the sum.
    fn valence(&mut self, index: usize) -> f64 {
        let entry = self.lexicon.get(self.tokens[index]);
        let Some(rated) = entry.valence else {
            return 0.0;
        };
        let kind_of = entry.word == RuleWord::Kind && self.word(index + 1) == RuleWord::Of;
        if entry.boost != 0.0 || kind_of {
            return 0.0;
        }
        let mut valence = self.after_no(index, rated);
        if self.tokens[index].upper && self.mixed {
            (self.acts)(Rule::Capitals, index, None);
            valence += if valence > 0.0 { CAPITALS } else { -CAPITALS };
        }
        // This returns early for most words, because none of the rules below concerns them.
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
                let rule = if self.lexicon.get(self.tokens[index - distance]).boost > 0.0 {
                    Rule::Booster
                } else {
                    Rule::Dampener
                };
                (self.acts)(rule, index, Some(index - distance));
            }
            valence += boost * weight;
            valence = self.negate(index, distance, valence);
            if distance == 3 {
                valence = self.idiom(index, valence);
            }
        }
        self.least(index, valence)
    }

    /// Applies the rule for "no": before a rated word it negates that word, and does not count itself.
    fn after_no(&mut self, index: usize, rated: f64) -> f64 {
        let no = (1..=3.min(index)).find(|distance| self.word(index - distance) == RuleWord::No);
        let or = || matches!(self.word(index - 1), RuleWord::Or | RuleWord::Nor);
        if let Some(distance) = no
            && (distance < 3 || or())
        {
            (self.acts)(Rule::Negation, index, Some(index - distance));
            return rated * NEGATION;
        }
        if self.word(index) == RuleWord::No && self.is_rated(index + 1) {
            (self.acts)(Rule::No, index, Some(index + 1));
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
    fn negate(&mut self, index: usize, distance: usize, valence: f64) -> f64 {
        let before = |distance| self.word(index - distance);
        let so = |distance| matches!(before(distance), RuleWord::So | RuleWord::This);
        let never = before(distance) == RuleWord::Never;
        let strengthened = match distance {
            2 => never && so(1),
            // This is the operator precedence of the reference: at a distance of three words, "so" or
            // "this" right before the word is sufficient, even without "never".
            3 => (never && so(2)) || so(1),
            _ => false,
        };
        let doubtless = before(distance) == RuleWord::Without
            && (1..distance).any(|nearer| before(nearer) == RuleWord::Doubt);
        if strengthened {
            (self.acts)(Rule::Strengthened, index, Some(index - distance));
            valence * 1.25
        } else if !doubtless && self.negates(index - distance) {
            (self.acts)(Rule::Negation, index, Some(index - distance));
            valence * NEGATION
        } else {
            valence
        }
    }

    /// Applies idioms around the word, which has three words before it.
    fn idiom(&mut self, index: usize, mut valence: f64) -> f64 {
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
        let after = [index..index + 2, index..index + 3];
        let found = [before.into_iter().find_map(find)]
            .into_iter()
            .chain(after.map(find));
        for rated in found.flatten() {
            (self.acts)(Rule::Idiom, index, None);
            valence = rated;
        }
        for first in [index - 3, index - 2] {
            let pair = (self.word(first), self.word(first + 1));
            if let (RuleWord::Just, RuleWord::Enough)
            | (RuleWord::Kind | RuleWord::Sort, RuleWord::Of) = pair
            {
                (self.acts)(Rule::Dampener, index, Some(first));
                valence += -BOOST;
            }
        }
        valence
    }

    fn least(&mut self, index: usize, valence: f64) -> f64 {
        if index == 0 || self.is_rated(index - 1) || self.word(index - 1) != RuleWord::Least {
            return valence;
        }
        if index > 1 && matches!(self.word(index - 2), RuleWord::At | RuleWord::Very) {
            return valence;
        }
        (self.acts)(Rule::Negation, index, Some(index - 1));
        valence * NEGATION
    }
}

/// Returns the rating of an idiom of two or three words.
fn idiom(first: RuleWord, second: RuleWord, third: Option<RuleWord>) -> Option<f64> {
    Some(match (first, second, third) {
        (RuleWord::The, RuleWord::Shit | RuleWord::Bomb, None) => 3.0,
        (RuleWord::Bad, RuleWord::Ass, None) => 1.5,
        (RuleWord::Bus, RuleWord::Stop, None) => 0.0,
        (RuleWord::Yeah, RuleWord::Right, None) => -2.0,
        (RuleWord::Beating, RuleWord::Heart, None) => 3.5,
        (RuleWord::Kiss, RuleWord::Of, Some(RuleWord::Death)) => -1.5,
        (RuleWord::To, RuleWord::Die, Some(RuleWord::For)) => 3.0,
        _ => return None,
    })
}

/// Applies the rule for "but": the values before it count half, those after it one and a half times.
///
/// The reference iterates over the values. For each value, it changes the *first* value that is equal to it.
/// If a changed value equals a later one, it is therefore changed again, and the later one stays.
fn weigh_but(valences: &mut [f64], but: usize, mut acts: impl FnMut(Rule, usize, Option<usize>)) {
    let mut weigh = |index: usize, value: f64| {
        let weight = match index.cmp(&but) {
            std::cmp::Ordering::Less => 0.5,
            std::cmp::Ordering::Equal => return value,
            std::cmp::Ordering::Greater => 1.5,
        };
        acts(Rule::But, index, Some(but));
        value * weight
    };
    let rated = valences.iter().filter(|value| **value != 0.0).count();
    let mut sorted: Option<BTreeSet<(u64, usize)>> = (rated > MAX_SEARCHED).then(|| {
        let bits = valences.iter().map(|value| value.to_bits());
        bits.zip(0..).collect()
    });
    for index in 0..valences.len() {
        let value = valences[index];
        // A zero does not change.
        if value == 0.0 {
            continue;
        }
        let bits = value.to_bits();
        let first = match &sorted {
            Some(sorted) => sorted.range((bits, 0)..).next().map(|(_, first)| *first),
            None => valences.iter().position(|other| *other == value),
        };
        let first = first.unwrap_or(index);
        valences[first] = weigh(first, value);
        if let Some(sorted) = &mut sorted {
            sorted.remove(&(bits, first));
            sorted.insert((valences[first].to_bits(), first));
        }
    }
}

/// Returns how far the exclamation marks and the question marks move the sum away from zero.
pub(super) fn emphasis((exclamations, questions): (usize, usize)) -> (f64, f64) {
    let exclamation = exclamations.min(MOST_EXCLAMATIONS) as f64 * EXCLAMATION;
    let question = match questions {
        0 | 1 => 0.0,
        2 | 3 => questions as f64 * QUESTION,
        _ => MANY_QUESTIONS,
    };
    (exclamation, question)
}

/// Returns the sentiment of a text, and the sum that its compound is calculated from.
pub(super) fn add_up(valences: &[f64], emphasis: f64) -> (Sentiment, f64) {
    if valences.is_empty() {
        return (Sentiment::default(), 0.0);
    }
    let (mut sum, mut pos, mut neg, mut neu) = (0.0, 0.0, 0.0, 0.0);
    for valence in valences {
        sum += valence;
        // Add one, because each neutral word counts as one.
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
    // Without negative words, `-neg` would be minus zero.
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
        // The multiplication may have moved the value across the middle. Formatting is exact.
        return format!("{value:.digits$}").parse().unwrap_or(value);
    }
    scaled.round() / scale
}
