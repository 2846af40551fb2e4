//! How much each word of the lexicon contributed to the sum.
//!
//! A word's contribution is its share of the text's score, times the metric of the tweet. So the words
//! of a tweet, and its exclamation and question marks, add up to what the tweet added to the sum.

use crate::sentiment::{Scored, WordId};

/// The total contribution of each word.
#[derive(Debug, Default)]
pub(super) struct WordTotals {
    /// The total of each word, at the index of its id.
    totals: Vec<f64>,
    /// The words that may have a total. A word is listed twice if its total was 0 in between.
    touched: Vec<WordId>,
}

impl WordTotals {
    /// Adds the words of a tweet.
    pub(super) fn add_tweet(&mut self, scored: &Scored) {
        for share in &scored.words {
            self.add(share.word, scored.metric * f64::from(share.share));
        }
    }

    pub(super) fn add_all(&mut self, words: &[(WordId, f64)]) {
        for (word, total) in words {
            self.add(*word, *total);
        }
    }

    fn add(&mut self, word: WordId, contribution: f64) {
        let index = word as usize;
        if self.totals.len() <= index {
            self.totals.resize(index + 1, 0.0);
        }
        let total = &mut self.totals[index];
        if *total == 0.0 && contribution != 0.0 {
            self.touched.push(word);
        }
        *total += contribution;
    }

    /// Returns up to `count` words with the largest totals, largest first. Words with a total of 0 are left
    /// out.
    pub(super) fn largest(&self, count: usize) -> Vec<(WordId, f64)> {
        let mut words: Vec<_> = self
            .touched
            .iter()
            .map(|word| (*word, self.totals[*word as usize]))
            .filter(|(_, total)| *total != 0.0)
            .collect();
        words.sort_by(|(a, total), (b, other)| {
            let largest_first = other.abs().total_cmp(&total.abs());
            largest_first.then(a.cmp(b))
        });
        words.dedup();
        words.truncate(count);
        words
    }

    pub(super) fn clear(&mut self) {
        for word in self.touched.drain(..) {
            self.totals[word as usize] = 0.0;
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
    fn totals(words: &[(WordId, f64)]) -> WordTotals {
        let mut totals = WordTotals::default();
        for (word, metric) in words {
            let mut scored = Arc::unwrap_or_clone(scored(0, *metric, &[]));
            let share = WordShare {
                word: *word,
                share: 1.0,
            };
            scored.words = [share].into_iter().collect();
            totals.add_tweet(&scored);
        }
        totals
    }

    #[test]
    fn contributions_of_a_word_add_up() {
        let mut words = totals(&[(7, 1.0), (3, 2.0), (7, -1.0), (7, 0.5), (5, 0.0)]);
        assert_eq!(words.largest(10), [(3, 2.0), (7, 0.5)]);
        words.add_all(&[(1, 1.0), (7, 4.0), (3, -2.0)]);
        assert_eq!(words.largest(10), [(7, 4.5), (1, 1.0)]);
        words.clear();
        assert_eq!(words.largest(10), []);
        words.add_all(&[(7, 1.0)]);
        assert_eq!(words.largest(10), [(7, 1.0)]);
    }

    #[test]
    fn the_words_with_the_largest_contributions_come_first() {
        let sign = |word: WordId| if word.is_multiple_of(2) { 1.0 } else { -1.0 };
        let words: Vec<_> = (0..20)
            .map(|word| (word, sign(word) * f64::from(word / 2)))
            .collect();
        let largest = totals(&words).largest(4);
        assert_eq!(largest, [(18, 9.0), (19, -9.0), (16, 8.0), (17, -8.0)]);
    }
}
