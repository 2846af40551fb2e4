//! Sentiment: the rules of VADER, and the scored tweet.
//!
//! VADER (Hutto and Gilbert, "VADER: A Parsimonious Rule-based Model for Sentiment Analysis of
//! Social Media Text", ICWSM 2014) looks up each word in a lexicon that people rated from -4 to 4
//! (`lexicon.rs`), and adjusts each rating according to the words around it (`vader.rs`). It is made
//! for social media: it knows emoticons, emoji and slang, needs no training, and scores a tweet in less
//! than a microsecond. The rules:
//!
//! | rule | example |
//! | --- | --- |
//! | **Capitals**: a word in capitals counts 0.733 more, unless all words are in capitals | "this is GREAT" |
//! | **Boosters** before a word add 0.293 to it, dampeners subtract it; two and three words away, 95 % and 90 % of it | "very good", "slightly bad" |
//! | **Negation** in the three words before a word reverses its sign and reduces it to 74 % | "not good", "isn't very good" |
//! | "Never so" and "never this" increase a rating to 125 %; "without doubt" has no effect | "never so happy" |
//! | **"No"** before another rated word negates it, and does not count itself | "no fun" |
//! | **"Least"** negates, unless it is in "at least" or "very least" | "least happy" |
//! | **Idioms** have their own rating | "yeah right", "kiss of death" |
//! | **"But"**: what comes before it counts half, what comes after it one and a half times | "good, but slow" |
//!
//! The sum of the ratings is then increased in its own direction: by 0.292 for each of up to four
//! exclamation marks, and by 0.18 for each of two or three question marks, 0.96 for more. The result
//! x is mapped to (-1, 1) by `x / sqrt(x² + 15)`.
//!
//! # Today's texts
//!
//! VADER was made in 2014, with texts in ASCII. [`Analyzer::new`] replaces some characters of today's texts
//! before the rules see them (`typography.rs`). [`Analyzer::reference`] replaces none. The agreement is the
//! correlation with the ratings of people for the 4,200 tweets of VADER's authors. It is 0.8722 for the
//! original tweets. It was measured after each character in the tweets had been replaced by its typographic
//! form, once without and once with this reading. The interval of a difference contains 95 % of 400
//! bootstrap samples.
//!
//! | characters | read as | agreement without and with it, and other reasons |
//! | --- | --- | --- |
//! | apostrophes: ’ ‘ ‛ ʼ ´ ′ | `'` | 0.8664, 0.8722: "don’t" is a negation |
//! | dashes: – — ― | a space | 0.8701, 0.8722: they separate words |
//! | full-width ASCII, mathematical letters: ｇｏｏｄ, 𝗴𝗼𝗼𝗱 | ASCII | without it, such a text has no known word |
//! | joiners, variation selectors such as U+FE0F, soft hyphens, marks of the writing direction | nothing | inside of every tenth pair of letters: 0.8080, 0.8722 |
//! | the zero-width space, U+200B | a space | after each space: 0.3315, 0.8722. In Unicode, it separates words |
//! | the ellipsis: … | a space | 0.8731, 0.8725: no difference (-0.0018 to 0.0003). With it, "great…" is a known word |
//! | quotes: “ ” „ ‟ « » ″ | `"` | 0.8728, 0.8722: no difference (-0.0014 to 0.0002). With it, “great” is a known word |
//! | the hyphens U+2010 and U+2011, the minus sign | `-` | they look the same as `-`, as in "uh-uh" |
//!
//! Hashtags such as #ToTheMoon are *not* split: the agreement is 0.8722, and 0.8720 with split hashtags. Many
//! are names, such as #ModernFamily. The names of emoji, the skin tones and the letters of other
//! scripts do not change.
//!
//! # Limits
//!
//! Know where VADER fails when you look at the figure. *Sarcasm* is scored by its words: "great,
//! another crash" is positive. *Languages* other than English have no words in the lexicon and score
//! 0, or share a word by accident: German "die" means "the". *Slang* has its own meanings: "moon",
//! "hodl" and "rekt" mean nothing to VADER. [`Analyzer::with_words`] adds them.

mod explain;
mod lexicon;
mod own_words;
mod patterns;
mod typography;
mod vader;

pub use explain::{AppliedRule, ExplainedWord, Explanation};
pub use vader::Rule;

use crate::error::Result;
use crate::tweet::Tweet;
use lexicon::Lexicon;
use serde::{Deserialize, Serialize};
use smallvec::SmallVec;
use std::fmt;
use std::sync::{Arc, LazyLock};
use typography::Reading;

static LEXICON: LazyLock<Arc<Lexicon>> = LazyLock::new(|| Arc::new(Lexicon::new()));

/// The sentiment of one text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Sentiment {
    /// The overall score, from -1 (most negative) to 1 (most positive).
    pub compound: f64,
    /// The positive share of the text, from 0 to 1.
    pub pos: f64,
    /// The neutral share, from 0 to 1. The three shares add up to 1, apart from rounding.
    pub neu: f64,
    /// The negative share, from 0 to 1.
    pub neg: f64,
}

/// A text is positive if its compound is at least this value, and negative if it is at most the negative of
/// this value. VADER's authors recommend 0.05.
const POSITIVE_THRESHOLD: f64 = 0.05;

/// The class of a text. In JSON it is a word such as `"positive"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Polarity {
    /// The compound is 0.05 or more.
    Positive,
    /// The compound is between -0.05 and 0.05.
    Neutral,
    /// The compound is -0.05 or less.
    Negative,
}

impl Sentiment {
    /// Returns the share of the text that is not neutral, from 0 to 1; 0 for an empty text. It
    /// replaces the subjectivity of TextBlob, which the original notebooks use.
    pub fn subjectivity(&self) -> f64 {
        if self.pos + self.neu + self.neg == 0.0 {
            0.0
        } else {
            1.0 - self.neu
        }
    }

    /// Returns the class of the text, by the thresholds that VADER's authors recommend (±0.05).
    ///
    /// # Examples
    /// ```
    /// use live_sentiment::prelude::*;
    ///
    /// let analyzer = Analyzer::new();
    /// assert_eq!(analyzer.score("I love this!").polarity(), Polarity::Positive);
    /// assert_eq!(analyzer.score("It is a chair.").polarity(), Polarity::Neutral);
    /// ```
    pub fn polarity(&self) -> Polarity {
        match self.compound {
            c if c >= POSITIVE_THRESHOLD => Polarity::Positive,
            c if c <= -POSITIVE_THRESHOLD => Polarity::Negative,
            _ => Polarity::Neutral,
        }
    }
}

/// Scores texts. An analyzer is cheap to create and to clone: the lexicon is built once per process.
#[derive(Clone)]
pub struct Analyzer {
    lexicon: Arc<Lexicon>,
    reading: Reading,
}

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
    /// Creates an analyzer with VADER's lexicon. It reads typographic characters as ASCII: the
    /// documentation of the [module](self#todays-texts) lists them.
    pub fn new() -> Analyzer {
        Analyzer {
            lexicon: LEXICON.clone(),
            reading: Reading::Plain,
        }
    }

    /// Creates an analyzer with exactly the scores of the reference implementation, `vaderSentiment` 3.3.2.
    /// For a text without the characters of the [list](self#todays-texts), [`Analyzer::new`] has the same
    /// score.
    ///
    /// # Examples
    /// ```
    /// use live_sentiment::prelude::*;
    ///
    /// let text = "I don’t love this";
    /// assert_eq!(Analyzer::new().score(text).compound, -0.5216);
    /// assert_eq!(Analyzer::reference().score(text).compound, 0.6369);
    /// ```
    pub fn reference() -> Analyzer {
        Analyzer {
            lexicon: LEXICON.clone(),
            reading: Reading::Verbatim,
        }
    }

    /// Creates an analyzer with additional words, or with other ratings for known ones. A rating is
    /// from -4 (extremely negative) to 4 (extremely positive): "good" has 1.9, "disaster" -3.1.
    ///
    /// A word may be in any script. It may also be:
    ///
    /// - **An emoji** or another sign of several symbols, such as "🚀" or "💎🙌". It is found anywhere in a text,
    ///   and VADER's name of the emoji does not count. Of several signs at the same place, the longest
    ///   counts. A word of a script without spaces between words, such as "暴涨", is found anywhere too.
    /// - **An emoticon**, such as "o7" or ":-]".
    /// - **A phrase** of two to four words, such as "to the moon". Its rating replaces those of its words,
    ///   and its words are part of no rule: neither "not" nor "but" in a phrase has an effect. Of two
    ///   phrases that start with the same word, the longer one counts. Of two phrases that overlap, the
    ///   first in the text counts.
    ///
    /// Case and typography are ignored, and so is the punctuation around each word: "To the moon!" has the phrase
    /// "to the moon". The rules apply to a phrase as to a word: to negate it, put "not" before it. It is in
    /// capitals if each of its words is.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`](crate::ErrorKind::InvalidArgument) for more than 50,000 words, for a rating
    /// out of range, and for a string that cannot be in a text: a word with punctuation around it or of more
    /// than 64 bytes, or a phrase of more than four words. In a phrase, an emoji without its own rating is
    /// read as its name.
    ///
    /// # Examples
    /// ```
    /// use live_sentiment::prelude::*;
    ///
    /// let analyzer = Analyzer::with_words([("hodl", 1.5), ("🚀", 2.0), ("rug pull", -3.0)])?;
    /// assert!(analyzer.score("HODL!").compound > 0.3);
    /// assert!(analyzer.score("Bitcoin🚀").compound > 0.4);
    /// assert!(analyzer.score("It was a rug pull.").compound < -0.5);
    /// assert_eq!(Analyzer::new().score("It was a rug pull.").compound, 0.0);
    /// # Ok::<(), Error>(())
    /// ```
    pub fn with_words<W: AsRef<str>>(
        words: impl IntoIterator<Item = (W, f64)>,
    ) -> Result<Analyzer> {
        let words = words
            .into_iter()
            .map(|(word, rating)| (word.as_ref().to_owned(), rating));
        with_words(&words.collect::<Vec<_>>())
    }

    /// Scores a text of any length. It never panics.
    ///
    /// # Examples
    /// ```
    /// let sad = live_sentiment::sentiment::Analyzer::new().score("This is a disaster");
    /// assert!(sad.compound < -0.5 && sad.neg > 0.3 && sad.pos == 0.0);
    /// ```
    pub fn score(&self, text: &str) -> Sentiment {
        self.score_words(text).0
    }

    /// Explains the score of a text: what each word adds, and which rules act on it. It never panics.
    ///
    /// # Examples
    /// ```
    /// use live_sentiment::prelude::*;
    ///
    /// let explanation = Analyzer::new().explain("This is not good");
    /// let word = explanation.rated().next().unwrap();
    /// assert_eq!(word.text, "good");
    /// assert_eq!(word.rating, Some(1.9));
    /// assert_eq!(word.to_string(), "-1.41 (rated +1.9, negated by “not”)");
    /// ```
    pub fn explain(&self, text: &str) -> Explanation {
        Explanation::new(&self.lexicon, text, &self.reading.read(text))
    }

    /// Scores a text, and returns the share of each rated word in the score.
    pub(crate) fn score_words(&self, text: &str) -> (Sentiment, ScoredWords) {
        vader::score(&self.lexicon, &self.reading.read(text).text)
    }

    /// Returns the words of the lexicon with these ids.
    pub(crate) fn words(&self, ids: &[WordId]) -> Vec<String> {
        self.lexicon.words(ids)
    }
}

/// The part of [`Analyzer::with_words`] that is not generic. A notebook cell does not compile it.
fn with_words(words: &[(String, f64)]) -> Result<Analyzer> {
    let mut lexicon = Lexicon::clone(&LEXICON);
    own_words::add(&mut lexicon, words)?;
    Ok(Analyzer {
        lexicon: Arc::new(lexicon),
        reading: Reading::Plain,
    })
}

/// A tweet with its sentiment and its metric.
#[derive(Clone, Debug, PartialEq)]
pub struct Scored {
    /// The tweet.
    pub tweet: Tweet,
    /// Its sentiment.
    pub sentiment: Sentiment,
    /// What the tweet adds to the running sum, from -1e100 to 1e100. It is the value of [`weighted`], unless
    /// the listener has another metric.
    pub metric: f64,
    /// The partition of the topic that the message is in, from 0.
    pub partition: i32,
    /// The offset of the message: its number in the partition, from 0.
    pub offset: i64,
    /// Whether the tweet had an impossible time: later than its message in Kafka, or before the first tweet
    /// in
    /// 2006. Its `created_at` is then the time of the message.
    pub time_corrected: bool,
    /// The rated words of the text.
    pub(crate) words: ScoredWords,
}

/// The index of a word, an emoji or a phrase in the lexicon.
pub(crate) type WordId = u32;

/// The shares of the rated words of a text. Most texts have few, which need no allocation.
pub(crate) type ScoredWords = SmallVec<[WordShare; 4]>;

/// The share of a rated word in the score of a text. The shares of a text, and the share of its
/// exclamation and question marks, add up to 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct WordShare {
    pub(crate) word: WordId,
    pub(crate) share: f32,
}

/// Returns the metric of the original notebooks: `ln(followers + 1) * compound`. The metric weights the
/// sentiment of a tweet by its audience. Each tenfold increase in followers adds the same amount to the
/// weight. An unknown follower count counts as 0.
///
/// # Examples
/// ```
/// use live_sentiment::prelude::*;
/// use live_sentiment::sentiment::weighted;
///
/// let tweet = Tweet::new("ada", "I love it").followers(999);
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
    fn subjectivity_is_the_share_that_is_not_neutral() {
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
