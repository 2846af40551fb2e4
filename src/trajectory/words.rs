//! How much each word of the lexicon contributed to the sum.
//!
//! A word's contribution is its share of the text's score, times the metric of the tweet. So the words
//! of a tweet, and its exclamation and question marks, add up to what the tweet added to the sum.

use crate::sentiment::{Scored, WordId};

/// How many words a closed segment keeps: those with the largest total contribution.
const MAX_WORDS: usize = 500;

/// The contributions in a closed segment, by word.
#[derive(Clone, Debug, Default)]
pub(super) struct Words(Vec<(WordId, f64)>);

impl Words {
    pub(super) fn iter(&self) -> impl Iterator<Item = (WordId, f64)> + '_ {
        self.0.iter().copied()
    }

    pub(super) fn merge(&mut self, next: &Words) {
        self.0.extend(&next.0);
        self.0.sort_by_key(|(word, _)| *word);
        self.0.dedup_by(|(next, more), (word, total)| {
            let is_same = next == word;
            if is_same {
                *total += *more;
            }
            is_same
        });
        self.shorten();
    }

    fn shorten(&mut self) {
        if self.0.len() > MAX_WORDS {
            self.0.sort_by(|(_, a), (_, b)| b.abs().total_cmp(&a.abs()));
            self.0.truncate(MAX_WORDS);
            self.0.sort_by_key(|(word, _)| *word);
        }
    }
}

/// The contributions in the open segment. Each word has its place, so that counting a tweet is an
/// addition for each of its words.
#[derive(Debug, Default)]
pub(super) struct OpenWords {
    totals: Vec<f64>,
    /// The words that may have a total. A word is there twice if its total was 0 in between.
    touched: Vec<WordId>,
}

impl OpenWords {
    pub(super) fn add(&mut self, scored: &Scored) {
        for share in &scored.words {
            let index = usize::from(share.word);
            if self.totals.len() <= index {
                self.totals.resize(index + 1, 0.0);
            }
            let total = &mut self.totals[index];
            if *total == 0.0 {
                self.touched.push(share.word);
            }
            *total += scored.metric * f64::from(share.share);
        }
    }

    /// Returns the contributions so far.
    pub(super) fn snapshot(&self) -> Words {
        let totals = self.touched.iter();
        let mut words: Vec<_> = totals
            .map(|word| (*word, self.totals[usize::from(*word)]))
            .collect();
        words.sort_by_key(|(word, _)| *word);
        words.dedup_by_key(|(word, _)| *word);
        let mut words = Words(words);
        words.shorten();
        words
    }

    pub(super) fn clear(&mut self) {
        for word in self.touched.drain(..) {
            self.totals[usize::from(word)] = 0.0;
        }
    }
}
