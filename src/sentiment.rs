//! How a tweet feels: the VADER rules, and what a scored tweet is.
//!
//! VADER (Hutto and Gilbert, "VADER: A Parsimonious Rule-based Model for Sentiment Analysis of
//! Social Media Text", ICWSM 2014) looks each word up in a lexicon that people rated
//! (`lexicon.rs`), from -4 to 4, and corrects each rating for what stands around the word
//! (`vader.rs`). It is written for posts: it knows emoticons, emoji, slang and shouting, and needs
//! no training and no more than a microsecond. The rules:
//!
//! | rule | example |
//! | --- | --- |
//! | **capitals**: a word in capitals counts 0.733 more, if not all are | "this is GREAT" |
//! | **boosters** before it count 0.293 more, dampeners less; 95 % and 90 % of it from two and three words away | "very good", "slightly bad" |
//! | **negation** in the three words before it turns it round, to 74 % | "not good", "isn't very good" |
//! | "never so" and "never this" strengthen instead, to 125 %; "without doubt" does nothing | "never so happy" |
//! | **"no"** before another rated word negates that, and counts nothing itself | "no fun" |
//! | **"least"** negates, unless it is "at least" or "very least" | "least happy" |
//! | **idioms** have a rating of their own | "yeah right", "kiss of death" |
//! | **"but"**: what is before it counts half, what is after it half as much again | "good, but slow" |
//!
//! The sum gets 0.292 for each of up to four exclamation marks and 0.18 for each of two or three
//! question marks (0.96 for more), in its own direction, and is mapped to (-1, 1) by
//! `x / sqrt(x² + 15)`.
//!
//! Where it fails, and one should know when looking at the figure: *sarcasm* is scored by its words
//! ("great, another crash" is positive); *other languages* than English have no words in the
//! lexicon and score 0, or worse, share a word ("die" is German's "the"); *words of a trade* mean
//! other things there ("moon", "hodl" and "rekt" mean nothing to it, "short" and "crash" what they
//! mean elsewhere). For the last there is [`Analyzer::with_words`].

mod lexicon;
mod vader;

use crate::notebook::Card;
use crate::{Error, Result, Tweet};
use lexicon::Lexicon;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::sync::{Arc, LazyLock};

/// The furthest from zero that a word may be rated.
pub const STRONGEST: f64 = 4.0;

static LEXICON: LazyLock<Arc<Lexicon>> = LazyLock::new(|| Arc::new(Lexicon::new()));

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

/// Scores texts. Cheap to make and to clone: the lexicon is read once a process.
#[derive(Clone)]
pub struct Analyzer(Arc<Lexicon>);

impl Default for Analyzer {
    fn default() -> Self {
        Analyzer::new()
    }
}

impl fmt::Debug for Analyzer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Analyzer")
    }
}

impl Analyzer {
    /// An analyzer with VADER's own lexicon.
    pub fn new() -> Analyzer {
        Analyzer(LEXICON.clone())
    }

    /// An analyzer that also knows these words, or knows them better: each with how it feels, from
    /// -4 (extremely negative) to 4 (extremely positive). "good" has 1.9, "disaster" -3.1. Case does
    /// not matter.
    ///
    /// ```
    /// use live_sentiment::prelude::*;
    ///
    /// let analyzer = Analyzer::with_words([("hodl", 1.5), ("rekt", -2.5)])?;
    /// assert!(analyzer.score("HODL!").compound > 0.4);
    /// assert_eq!(Analyzer::new().score("HODL!").compound, 0.0);
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Invalid`] for what cannot be one word of a text, and for a rating that is out of
    /// range.
    pub fn with_words<W: AsRef<str>>(
        words: impl IntoIterator<Item = (W, f64)>,
    ) -> Result<Analyzer> {
        let words = words
            .into_iter()
            .map(|(word, valence)| (word.as_ref().to_lowercase(), valence));
        with_words(words.collect())
    }

    /// Scores a text of any length. Never panics.
    ///
    /// ```
    /// let sad = live_sentiment::sentiment::Analyzer::new().score("This is a disaster");
    /// assert!(sad.compound < -0.5 && sad.neg > 0.3 && sad.pos == 0.0);
    /// ```
    pub fn score(&self, text: &str) -> Sentiment {
        vader::score(&self.0, text)
    }
}

/// Apart from [`Analyzer::with_words`], so that a notebook's cell need not compile it.
fn with_words(words: Vec<(String, f64)>) -> Result<Analyzer> {
    let mut lexicon = Lexicon::clone(&LEXICON);
    for (word, valence) in words {
        let refused = |reason, next| Error::Invalid {
            what: format!("the word {word:?} with {valence}"),
            reason,
            next,
        };
        if !(-STRONGEST..=STRONGEST).contains(&valence) {
            return Err(refused(
                "a rating is a number from -4 to 4",
                "Give one such as 1.5; \"good\" has 1.9.",
            ));
        }
        if !vader::is_word(&word) {
            return Err(refused(
                "no text has it as one word",
                "Give a single word of ASCII, without punctuation around it, or an emoticon.",
            ));
        }
        if !lexicon.has_room() {
            return Err(refused("the lexicon is full", "Give 50,000 words at most."));
        }
        lexicon.rate(&word, valence);
    }
    lexicon.read_names();
    Ok(Analyzer(Arc::new(lexicon)))
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
        assert!(analyzer.score("good").neg.is_sign_positive());
    }

    #[test]
    fn a_text_of_a_mebibyte_is_scored() {
        let many = |piece: &str| piece.repeat((1 << 20) / piece.len());
        for piece in [
            "a",
            "🚀",
            "!",
            "good ",
            "good but bad ",
            "\u{300}",
            "n't",
            " ",
        ] {
            let score = Analyzer::new().score(&many(piece));
            assert!((-1.0..=1.0).contains(&score.compound), "{piece}");
        }
    }

    #[test]
    fn words_of_ones_own_are_known_and_what_is_none_is_refused() {
        let analyzer = Analyzer::with_words([("Hodl", 1.5), ("good", -1.9), ("o7", 2.0)]).unwrap();
        assert!(analyzer.score("we HODL.").compound > 0.0);
        assert!(analyzer.score("not hodl").compound < 0.0);
        assert!(analyzer.score("good").compound < 0.0);
        assert!(analyzer.score("o7").compound > 0.0);
        for word in ["two words", "", "(word)", "größe", &"x".repeat(65)] {
            let error = Analyzer::with_words([(word, 1.0)]).unwrap_err().to_string();
            assert!(error.contains("no text has it as one word"), "{error}");
        }
        for valence in [4.5, f64::NAN, f64::NEG_INFINITY] {
            assert!(Analyzer::with_words([("word", valence)]).is_err());
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
