//! How much each word of the lexicon contributed to the sum.
//!
//! A word's contribution is its share of the text's score, times the metric of the tweet. So the words
//! of a tweet, and its exclamation and question marks, add up to what the tweet added to the sum.

use crate::sentiment::{Scored, Word};

/// How many words a closed segment keeps: those with the largest total contribution.
const MAX_WORDS: usize = 500;

/// The contributions in a closed segment, by word.
#[derive(Clone, Debug, Default)]
pub(super) struct Words(Vec<(Word, f64)>);

impl Words {
    pub(super) fn iter(&self) -> impl Iterator<Item = (Word, f64)> + '_ {
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
    touched: Vec<Word>,
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

#[cfg(test)]
mod tests {
    use super::super::scored;
    use super::*;
    use crate::sentiment::WordShare;
    use std::sync::Arc;

    /// Counts tweets with one word each, given as the word and its contribution.
    fn open(words: &[(Word, f64)]) -> OpenWords {
        let mut open = OpenWords::default();
        for (word, metric) in words {
            let mut scored = Arc::unwrap_or_clone(scored(0, *metric, &[]));
            let share = WordShare {
                word: *word,
                share: 1.0,
            };
            scored.words = [share].into_iter().collect();
            open.add(&scored);
        }
        open
    }

    fn list(words: &Words) -> Vec<(Word, f64)> {
        words.iter().collect()
    }

    #[test]
    fn contributions_of_a_word_add_up() {
        let mut counted = open(&[(7, 1.0), (3, 2.0), (7, -1.0), (7, 0.5)]);
        let mut words = counted.snapshot();
        assert_eq!(list(&words), [(3, 2.0), (7, 0.5)]);
        words.merge(&open(&[(1, 1.0), (7, 4.0)]).snapshot());
        assert_eq!(list(&words), [(1, 1.0), (3, 2.0), (7, 4.5)]);
        counted.clear();
        assert_eq!(list(&counted.snapshot()), []);
    }

    #[test]
    fn the_words_with_the_largest_contributions_are_kept() {
        let limit = MAX_WORDS as Word;
        let sign = |word: Word| if word % 2 == 0 { 1.0 } else { -1.0 };
        let many: Vec<_> = (0..limit + 3)
            .map(|word| (word, sign(word) * f64::from(word + 1)))
            .collect();
        let full = open(&many[..MAX_WORDS]).snapshot();
        assert_eq!(list(&full), many[..MAX_WORDS]);
        let shortened = open(&many).snapshot();
        assert_eq!(list(&shortened), many[3..]);
        let mut merged = full;
        merged.merge(&open(&many[MAX_WORDS..]).snapshot());
        assert_eq!(list(&merged), many[3..]);
    }
}
