//! Explanations: which words gave a text its score, and which rules acted on them.

use super::Sentiment;
use super::lexicon::Lexicon;
use super::typography::ReadText;
use super::vader::{self, Origin, Rule};
use serde::Serialize;
use std::fmt;
use std::ops::Range;

/// The maximum number of characters of another word that the description of a rule shows.
const BY_LENGTH: usize = 24;

/// A rule that acted on a word.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct AppliedRule {
    /// The rule.
    pub rule: Rule,
    /// The other word that the rule is about, such as "not"; `None` if there is none.
    pub by: Option<String>,
}

/// A word of an explained text.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct ExplainedWord {
    /// The word or phrase as in the text, or the word of an emoji's name.
    pub text: String,
    /// The emoji, if the word is from its name.
    pub emoji: Option<String>,
    /// The position of the word or the emoji in the text, in bytes. All words of an emoji's name start at
    /// the emoji. The range of the last one includes the text right after the emoji.
    #[serde(skip)]
    pub range: Range<usize>,
    /// The rating in the lexicon, from -4 to 4; `None` if the lexicon does not contain the word.
    pub rating: Option<f64>,
    /// What the word adds to the sum, after all rules; 0 for a word without a rating.
    pub contribution: f64,
    /// The rules that acted on the word, in the order in which they acted.
    pub rules: Vec<AppliedRule>,
}

/// The explanation of a score. It displays as a card in a notebook.
///
/// The contributions of the words, [`exclamation`](Explanation::exclamation) and
/// [`question`](Explanation::question) add up to [`sum`](Explanation::sum), and the compound is
/// `sum / sqrt(sum² + 15)`, rounded to four digits.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Explanation {
    /// The text.
    pub text: String,
    /// The score, as [`Analyzer::score`](super::Analyzer::score) returns it.
    pub sentiment: Sentiment,
    /// The words, in the order of the text.
    pub words: Vec<ExplainedWord>,
    /// What the exclamation marks add to the sum.
    pub exclamation: f64,
    /// What the question marks add to the sum.
    pub question: f64,
    /// The sum.
    pub sum: f64,
}

/// A part of an explained text: a word, or the text between two words.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Piece<'e> {
    pub(crate) text: &'e str,
    /// What it adds to the sum.
    pub(crate) contribution: f64,
}

impl Explanation {
    /// Explains the score of a text, which the rules read as `read`.
    pub(super) fn new(lexicon: &Lexicon, text: &str, read: &ReadText<'_>) -> Explanation {
        let (mut tokens, mut origins) = (Vec::new(), Vec::new());
        let marks = vader::read(lexicon, &read.text, |token, origin| {
            tokens.push(token);
            origins.push(origin);
        });
        let plain_range = |source: &str| {
            let start = source.as_ptr() as usize - read.text.as_ptr() as usize;
            start..start + source.len()
        };
        let count = vader::merge_phrases(lexicon, &mut tokens, |to, from| {
            let (first, last) = (origins[from.start], origins[from.end - 1]);
            origins[to] = if from.len() == 1 {
                first
            } else {
                let range = plain_range(first.source).start..plain_range(last.source).end;
                let source = &read.text[range];
                Origin {
                    source,
                    named: None,
                }
            };
        });
        tokens.truncate(count);
        let range = |index: usize| {
            let plain = plain_range(origins[index].source);
            read.original(plain.start)..read.original(plain.end)
        };
        let name = |index: usize| origins[index].named.unwrap_or(&text[range(index)]);
        let mut rules = vec![Vec::new(); tokens.len()];
        let valences = vader::rate(lexicon, &tokens, |rule, on, by| {
            let by = by.map(|by| name(by).to_owned());
            rules[on].push(AppliedRule { rule, by });
        });
        let (exclamation, question) = vader::emphasis(marks);
        let (sentiment, sum) = vader::add_up(&valences, exclamation + question);
        // The emphasis moves the sum away from zero. It does not change a sum of zero.
        let words_only: f64 = valences.iter().sum();
        let direction = if words_only == 0.0 {
            0.0
        } else {
            words_only.signum()
        };
        let words = rules.into_iter().enumerate().map(|(index, rules)| {
            let Origin { source, named } = origins[index];
            ExplainedWord {
                text: name(index).to_owned(),
                emoji: named.and_then(|_| source.chars().next()).map(String::from),
                range: range(index),
                rating: lexicon.get(tokens[index]).valence,
                contribution: valences[index],
                rules,
            }
        });
        Explanation {
            text: text.to_owned(),
            sentiment,
            words: words.collect(),
            exclamation: direction * exclamation,
            question: direction * question,
            sum,
        }
    }

    /// Returns the words that add to the sum, and the words whose contribution a rule has changed to 0.
    pub fn rated(&self) -> impl Iterator<Item = &ExplainedWord> {
        self.words
            .iter()
            .filter(|word| word.contribution != 0.0 || !word.rules.is_empty())
    }

    /// Returns the whole text in parts. An emoji is one part, even if its name has several words.
    pub(crate) fn pieces(&self) -> Vec<Piece<'_>> {
        let mut pieces: Vec<(Range<usize>, f64)> = Vec::new();
        let mut end = 0;
        for word in &self.words {
            let range = word.range.clone();
            match pieces.last_mut() {
                // This is another word of the same emoji. Its range may be longer.
                Some((last, contribution)) if range.start < end => {
                    last.end = end.max(range.end);
                    *contribution += word.contribution;
                }
                _ => {
                    if range.start > end {
                        pieces.push((end..range.start, 0.0));
                    }
                    pieces.push((range.clone(), word.contribution));
                }
            }
            end = end.max(range.end);
        }
        if end < self.text.len() {
            pieces.push((end..self.text.len(), 0.0));
        }
        let piece = |(range, contribution)| Piece {
            text: &self.text[range],
            contribution,
        };
        pieces.into_iter().map(piece).collect()
    }
}

impl fmt::Display for ExplainedWord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:+.2}", self.contribution)?;
        match self.rating {
            Some(rating) if (rating - self.contribution).abs() > 1e-9 => {
                write!(f, " (rated {rating:+.1}")?;
                for rule in &self.rules {
                    write!(f, ", {rule}")?;
                }
                f.write_str(")")?;
            }
            _ => {}
        }
        match &self.emoji {
            Some(emoji) => write!(f, ", from {emoji}"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for AppliedRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let by = self.by.as_deref().unwrap_or("?");
        match self.rule {
            Rule::Capitals => f.write_str("in capitals"),
            Rule::Booster => write!(f, "boosted by “{by:.BY_LENGTH$}”"),
            Rule::Dampener => write!(f, "dampened by “{by:.BY_LENGTH$}”"),
            Rule::Negation => write!(f, "negated by “{by:.BY_LENGTH$}”"),
            Rule::Strengthened => write!(f, "strengthened by “{by:.BY_LENGTH$}”"),
            Rule::No => write!(f, "negates “{by:.BY_LENGTH$}” instead"),
            Rule::Idiom => f.write_str("part of an idiom"),
            Rule::But => write!(f, "weighed by “{by:.BY_LENGTH$}”"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Analyzer;
    use super::*;
    use proptest::prelude::*;

    fn rules(text: &str, of: &str) -> Vec<(Rule, Option<String>)> {
        let explanation = Analyzer::new().explain(text);
        let word = explanation.words.iter().find(|word| word.text == of);
        let rules = word.unwrap().rules.iter();
        rules.map(|rule| (rule.rule, rule.by.clone())).collect()
    }

    #[test]
    fn each_rule_names_the_word_that_it_is_about() {
        let by = |word: &str| Some(word.to_owned());
        for (text, of, rule) in [
            ("this is GREAT", "GREAT", (Rule::Capitals, None)),
            ("a very good day", "good", (Rule::Booster, by("very"))),
            (
                "a slightly bad day",
                "bad",
                (Rule::Dampener, by("slightly")),
            ),
            ("it isn't good", "good", (Rule::Negation, by("isn't"))),
            ("it isn’t good", "good", (Rule::Negation, by("isn’t"))),
            ("it is no fun", "fun", (Rule::Negation, by("no"))),
            ("it is no fun", "no", (Rule::No, by("fun"))),
            ("the least happy", "happy", (Rule::Negation, by("least"))),
            ("never so happy", "happy", (Rule::Strengthened, by("never"))),
            ("it is the kiss of death", "death", (Rule::Idiom, None)),
            ("good, but slow and bad", "bad", (Rule::But, by("but"))),
        ] {
            let found = rules(text, of);
            assert!(found.contains(&rule), "{text}: {found:?}");
        }
        assert_eq!(rules("a good day", "good"), []);
    }

    #[test]
    fn an_emoji_is_one_piece_of_the_text() {
        let explanation = Analyzer::new().explain("I \u{2764}!! it, not bad");
        let pieces = explanation.pieces();
        let text: String = pieces.iter().map(|piece| piece.text).collect();
        assert_eq!(text, explanation.text);
        let heart = pieces.iter().find(|piece| piece.text.contains('\u{2764}'));
        assert!(heart.unwrap().contribution > 3.0, "{pieces:?}");
        let emoji = explanation.words.iter().find(|word| word.text == "heart");
        assert_eq!(emoji.unwrap().emoji.as_deref(), Some("\u{2764}"));
    }

    /// Returns texts of words that occur in rules, with capitals, marks and emoji.
    fn texts() -> impl Strategy<Value = String> {
        let words = "good bad GREAT awful love no not never so this without doubt least at very \
            kind of just enough slightly but BUT the shit bomb yeah right kiss death to die for isn't \
            \u{2764} \u{1f602} \u{1f680} :) :( ! !!! ?? table Bitcoin nor or heart beating isn’t “fun” … \u{fe0f}";
        let words: Vec<_> = words.split_whitespace().collect();
        let word = prop::sample::select(words);
        let texts = prop::collection::vec(
            (word, prop::sample::select(vec!["", " ", " ", ", "])),
            0..24,
        );
        prop_oneof![
            4 => texts.prop_map(|words| words.into_iter().map(|(word, gap)| format!("{word}{gap}")).collect()),
            1 => "\\PC{0,120}",
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]
        #[test]
        fn the_parts_add_up_to_the_score(text in texts()) {
            let analyzer = Analyzer::new();
            let explanation = analyzer.explain(&text);
            prop_assert_eq!(explanation.sentiment, analyzer.score(&text));
            let words: f64 = explanation.words.iter().map(|word| word.contribution).sum();
            let sum = words + explanation.exclamation + explanation.question;
            prop_assert!((sum - explanation.sum).abs() < 1e-9);
            let compound = sum / (sum * sum + 15.0).sqrt();
            prop_assert!((compound - explanation.sentiment.compound).abs() < 0.000_051);
            let pieces: String = explanation.pieces().iter().map(|piece| piece.text).collect();
            prop_assert_eq!(pieces, text);
        }
    }
}
