//! How a tweet feels: the VADER rules, and what a scored tweet is.
//!
//! VADER (Hutto and Gilbert, "VADER: A Parsimonious Rule-based Model for Sentiment Analysis of
//! Social Media Text", ICWSM 2014) looks each word up in a lexicon that people rated, and corrects
//! the sum for what stands around it: negations, boosters such as "very", capitals, exclamation
//! marks, "but". Scores are those of the `vader_sentiment` crate.

use crate::Tweet;
use crate::notebook::Card;
use serde::{Deserialize, Serialize};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::LazyLock;
use vader_sentiment::SentimentIntensityAnalyzer;

/// The longest text that is scored, in bytes; of a longer one, its beginning is. A post has a few
/// hundred; the analyzer's work grows with the square of the length.
pub const MAX_SCORED_BYTES: usize = 4096;

static VADER: LazyLock<SentimentIntensityAnalyzer<'static>> =
    LazyLock::new(SentimentIntensityAnalyzer::new);

/// The sentiment of one text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Sentiment {
    /// The overall score, from -1 (most negative) to 1 (most positive).
    pub compound: f64,
    /// The share of the text that is positive, from 0 to 1.
    pub pos: f64,
    /// The share that is neutral, from 0 to 1. The three shares add up to 1, but for rounding.
    pub neu: f64,
    /// The share that is negative, from 0 to 1.
    pub neg: f64,
}

/// On which side of zero a text stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Polarity {
    /// A compound of 0.05 or more.
    Positive,
    /// Between the two.
    Neutral,
    /// A compound of -0.05 or less.
    Negative,
}

impl Sentiment {
    /// How much of the text is opinion, from 0 to 1: all that is not neutral. It stands in for
    /// the subjectivity of the original's TextBlob; an empty text has none.
    pub fn subjectivity(&self) -> f64 {
        if self.pos + self.neu + self.neg == 0.0 {
            0.0
        } else {
            1.0 - self.neu
        }
    }

    /// The class of the text, at the limits that VADER's authors recommend (±0.05).
    ///
    /// ```
    /// use live_sentiment::prelude::*;
    ///
    /// let analyzer = Analyzer::new();
    /// assert_eq!(analyzer.score("I love this!").polarity(), Polarity::Positive);
    /// assert_eq!(analyzer.score("It is a chair.").polarity(), Polarity::Neutral);
    /// ```
    pub fn polarity(&self) -> Polarity {
        match self.compound {
            c if c >= 0.05 => Polarity::Positive,
            c if c <= -0.05 => Polarity::Negative,
            _ => Polarity::Neutral,
        }
    }

    /// Shows a card in a notebook.
    pub fn evcxr_display(&self) {
        let number = |value: f64| format!("{value:.3}");
        Card::new("Sentiment")
            .row("compound", &format!("{:+.3}", self.compound))
            .row("pos", &number(self.pos))
            .row("neu", &number(self.neu))
            .row("neg", &number(self.neg))
            .show();
    }
}

/// Scores texts. Cheap to make: the lexicon is read once a process.
#[derive(Clone, Copy, Debug, Default)]
pub struct Analyzer(());

impl Analyzer {
    /// An analyzer with VADER's own lexicon.
    pub fn new() -> Analyzer {
        LazyLock::force(&VADER);
        Analyzer(())
    }

    /// Scores a text. Never panics; of a text longer than [`MAX_SCORED_BYTES`], the beginning is
    /// scored.
    ///
    /// ```
    /// let sad = live_sentiment::sentiment::Analyzer::new().score("This is a disaster");
    /// assert!(sad.compound < -0.5 && sad.neg > 0.3 && sad.pos == 0.0);
    /// ```
    pub fn score(&self, text: &str) -> Sentiment {
        let text = &text[..text.floor_char_boundary(MAX_SCORED_BYTES)];
        // A rule of the library that fails on some text costs that text its score, no more.
        let Ok(scores) = catch_unwind(AssertUnwindSafe(|| VADER.polarity_scores(text))) else {
            return Sentiment {
                neu: 1.0,
                ..Sentiment::default()
            };
        };
        let score = |name| {
            scores
                .get(name)
                .copied()
                .filter(|s: &f64| s.is_finite())
                .unwrap_or(0.0)
        };
        Sentiment {
            compound: score("compound"),
            pos: score("pos"),
            neu: score("neu"),
            neg: score("neg"),
        }
    }
}

/// A tweet with its score and with what it adds to the trajectory.
#[derive(Clone, Debug, PartialEq)]
pub struct Scored {
    /// The tweet.
    pub tweet: Tweet,
    /// Its sentiment.
    pub sentiment: Sentiment,
    /// What it adds: [`weighted`] unless the listener was given a metric of one's own. Finite.
    pub metric: f64,
}

/// The original notebooks' metric: `ln(followers + 1) * compound`. A tweet moves the sum by how it
/// feels and by how many may read it, with each tenfold audience counting the same step more. An
/// unknown number of followers counts as none.
///
/// ```
/// use live_sentiment::prelude::*;
/// use live_sentiment::sentiment::weighted;
///
/// let tweet = Tweet::decode(br#"{"text":"I love it","followers":999}"#).unwrap();
/// let sentiment = Analyzer::new().score(&tweet.text);
/// assert_eq!(weighted(&tweet, &sentiment), 1000f64.ln() * sentiment.compound);
/// ```
pub fn weighted(tweet: &Tweet, sentiment: &Sentiment) -> f64 {
    (tweet.followers.unwrap_or(0) as f64 + 1.0).ln() * sentiment.compound
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn subjectivity_is_what_is_not_neutral() {
        let analyzer = Analyzer::new();
        let text = analyzer.score("good good bad table");
        assert!(
            (text.subjectivity() - (1.0 - text.neu)).abs() < 1e-12 && text.subjectivity() > 0.5
        );
        assert_eq!(analyzer.score("").subjectivity(), 0.0);
    }

    #[test]
    fn a_text_of_a_mebibyte_is_scored() {
        for piece in ["a", "🚀", "!", "good ", "\u{300}"] {
            let score = Analyzer::new().score(&piece.repeat(1 << 20));
            assert!((-1.0..=1.0).contains(&score.compound), "{piece}");
        }
    }

    proptest! {
        #[test]
        fn every_text_has_a_score_in_range(text in "\\PC{0,200}|[ !?A-Za-z:)('\u{2019}]{0,80}") {
            let score = Analyzer::new().score(&text);
            prop_assert!((-1.0..=1.0).contains(&score.compound));
            for share in [score.pos, score.neu, score.neg] {
                prop_assert!((0.0..=1.0).contains(&share));
            }
        }
    }
}
