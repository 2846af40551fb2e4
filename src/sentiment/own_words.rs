//! Adds the caller's words to a lexicon. The documentation of [`Analyzer::with_words`] has the rules.
//!
//! [`Analyzer::with_words`]: super::Analyzer::with_words

use super::WordId;
use super::lexicon::{Lexicon, MAX_WORD, is_space, strip_punctuation};
use super::patterns::MAX_PHRASE;
use super::typography::Reading;
use super::vader::read;
use crate::error::{Error, Result};

/// The maximum rating of a word; -4 is the minimum.
const MAX_RATING: f64 = 4.0;
const MAX_WORDS: usize = 50_000;

/// Adds the words with their ratings.
///
/// # Errors
/// [`ErrorKind::InvalidArgument`](crate::ErrorKind::InvalidArgument) for too many words, for a rating out
/// of range, and for a string that cannot be in a text.
pub(super) fn add(lexicon: &mut Lexicon, words: &[(String, f64)]) -> Result<()> {
    if words.len() > MAX_WORDS {
        return Err(Error::invalid_argument(
            format!("{} words", words.len()),
            "the lexicon has no room for them",
            "give at most 50,000 words",
        ));
    }
    // Add the emoji first, because a phrase may contain them.
    let mut others = Vec::new();
    for (word, rating) in words {
        if !(-MAX_RATING..=MAX_RATING).contains(rating) {
            return Err(Error::invalid_argument(
                format!("word {word:?} with the rating {rating}"),
                "a rating is a number from -4 to 4",
                "give a rating such as 1.5; \"good\" has 1.9",
            ));
        }
        let plain = Reading::Plain.read(word).text;
        let parts: Vec<&str> = plain
            .split(is_space)
            .filter(|part| !part.is_empty())
            .collect();
        let is_valid = |part: &&str| part.len() <= MAX_WORD && strip_punctuation(part) == *part;
        if parts.is_empty() || !parts.iter().all(is_valid) {
            return Err(not_a_word(word));
        }
        match parts[..] {
            [sign] if lexicon.is_sign(sign) => lexicon.add_sign(sign, *rating),
            _ => others.push((word, parts.join(" "), *rating)),
        }
    }
    for (_, text, _) in &others {
        let mut words = Vec::new();
        read(lexicon, text, |_, origin| {
            words.push(strip_punctuation(origin.named.unwrap_or(origin.source)));
        });
        for word in words {
            lexicon.add(word);
        }
    }
    lexicon.read_names();
    for (word, text, rating) in others {
        let mut ids: Vec<WordId> = Vec::new();
        read(lexicon, &text, |token, _| ids.push(token.id));
        if ids.len() > MAX_PHRASE {
            return Err(Error::invalid_argument(
                format!("word {word:?}"),
                format!("it is read as {} words", ids.len()),
                "give at most four; an emoji without a rating of your own is read as its name",
            ));
        }
        if ids.contains(&Lexicon::UNKNOWN) {
            return Err(not_a_word(word));
        }
        lexicon.rate(&ids, &text, rating);
    }
    Ok(())
}

fn not_a_word(word: &str) -> Error {
    Error::invalid_argument(
        format!("word {word:?}"),
        "it cannot be one word of a text, or a phrase",
        "give a word, an emoji, an emoticon, or up to four words, each of at most 64 bytes and without \
         punctuation around it",
    )
}

#[cfg(test)]
mod tests {
    use super::super::{Analyzer, ExplainedWord, Rule};
    use super::*;
    use proptest::prelude::*;
    use std::sync::LazyLock;

    const WORDS: [(&str, f64); 19] = [
        ("Hodl", 1.5),
        ("good", -1.9),
        ("o7", 2.0),
        (":-]]", 1.2),
        ("don’t panic", 1.0),
        ("größe", 2.2),
        ("Дом", 1.1),
        ("ΣΊΣΥΦΟΣ", -1.3),
        ("暴涨", 3.0),
        ("🚀", 2.5),
        ("😂", -1.5),
        ("❤️", -2.0),
        ("💎🙌", 2.6),
        ("👨‍🚀", 1.6),
        ("to the moon", 2.4),
        ("the moon landing", -1.2),
        ("rug pull", -3.0),
        ("not great but fine", 0.5),
        ("🔥 sale", -0.7),
    ];

    static ANALYZER: LazyLock<Analyzer> = LazyLock::new(|| Analyzer::with_words(WORDS).unwrap());

    fn analyzer() -> &'static Analyzer {
        &ANALYZER
    }

    /// Returns the rated words of a text with their contributions.
    fn rated(text: &str) -> Vec<(String, f64)> {
        let explanation = analyzer().explain(text);
        assert_eq!(explanation.sentiment, analyzer().score(text));
        let words = explanation.words.into_iter();
        let rated = words.filter(|word| word.rating.is_some() && word.contribution != 0.0);
        rated.map(|word| (word.text, word.contribution)).collect()
    }

    fn word(text: &str) -> ExplainedWord {
        let explanation = analyzer().explain(text);
        explanation.rated().next().unwrap().clone()
    }

    #[test]
    fn words_emoticons_and_emoji_are_found() {
        for (text, expected) in [
            ("we Hodl.", ("Hodl", 1.5)),
            ("it is good", ("good", -1.9)),
            ("o7", ("o7", 2.0)),
            ("hello :-]]", (":-]]", 1.2)),
            ("GRÖSSE", ("GRÖSSE", 2.2)),
            ("gro\u{308}ße", ("gro\u{308}ße", 2.2)),
            ("(дом)", ("дом", 1.1)),
            ("σίσυφος", ("σίσυφος", -1.3)),
            ("比特币暴涨了", ("暴涨", 3.0)),
            ("Bitcoin🚀now", ("🚀", 2.5)),
            ("I ❤ it", ("❤", -2.0)),
            ("I ❤\u{fe0f}.", ("❤\u{fe0f}", -2.0)),
            ("💎🙌🏽", ("💎🙌", 2.6)),
            ("👨\u{200d}🚀", ("👨\u{200d}🚀", 1.6)),
        ] {
            assert_eq!(rated(text), [(expected.0.to_owned(), expected.1)], "{text}");
        }
        assert_eq!(rated("🚀🚀 🚀").len(), 3);
    }

    #[test]
    fn a_rating_replaces_the_name_of_an_emoji() {
        assert_eq!(rated("😂"), [("😂".to_owned(), -1.5)]);
        assert_eq!(word("so 😂").emoji, None);
        let name = |analyzer: &Analyzer| analyzer.explain("😂").words.len();
        assert_eq!((name(analyzer()), name(&Analyzer::new())), (1, 5));
        // The words of its name keep their ratings, and other emoji are still read by their names.
        assert_eq!(rated("joy")[0].0, "joy");
        assert_eq!(analyzer().score("😭"), Analyzer::new().score("😭"));
    }

    #[test]
    fn a_phrase_replaces_the_ratings_and_the_rules_of_its_words() {
        assert_eq!(
            rated("it was great but fine"),
            [
                ("great".to_owned(), 1.55),
                ("fine".to_owned(), 1.2000000000000002)
            ]
        );
        assert_eq!(
            rated("it was not great but fine"),
            [("not great but fine".to_owned(), 0.5)]
        );
        assert_eq!(rated("fire sale 🔥sale"), [("fire sale".to_owned(), -0.7)]);
    }

    #[test]
    fn of_overlapping_phrases_the_longest_at_the_first_word_counts() {
        let own = [
            ("to the", -1.0),
            ("to the moon", 2.0),
            ("the moon and back", 3.0),
            ("moon", -0.5),
        ];
        let own = Analyzer::with_words(own).unwrap();
        let rated = |text: &str| -> Vec<f64> {
            let words = own.explain(text).words;
            words
                .iter()
                .map(|word| word.contribution)
                .filter(|c| *c != 0.0)
                .collect()
        };
        assert_eq!(rated("to the moon and back"), [2.0]);
        assert_eq!(rated("to the stars"), [-1.0]);
        assert_eq!(rated("the moon and back"), [3.0]);
        assert_eq!(rated("to the moon to the moon the moon"), [2.0, 2.0, -0.5]);
    }

    #[test]
    fn the_rules_apply_to_phrases_and_emoji() {
        for (text, rule, by) in [
            ("it is not to the moon", Rule::Negation, "not"),
            ("it isn’t a rug pull", Rule::Negation, "isn’t"),
            ("very rug pull", Rule::Booster, "very"),
            ("slightly 🚀", Rule::Dampener, "slightly"),
            ("not 🚀", Rule::Negation, "not"),
            ("no rug pull", Rule::Negation, "no"),
            ("rug pull, but ok", Rule::But, "but"),
        ] {
            let word = analyzer().explain(text).words;
            let rules = word.iter().flat_map(|word| &word.rules);
            assert!(
                rules
                    .clone()
                    .any(|applied| applied.rule == rule && applied.by.as_deref() == Some(by)),
                "{text}: {rules:?}"
            );
        }
        let not = word("not to the moon").contribution;
        assert!((not - 2.4 * -0.74).abs() < 1e-9);
    }

    #[test]
    fn a_phrase_is_in_capitals_if_each_of_its_words_is() {
        assert_eq!(word("going TO THE MOON now").contribution, 2.4 + 0.733);
        assert_eq!(word("going TO the MOON now").contribution, 2.4);
        assert_eq!(word("GOING TO THE MOON").contribution, 2.4);
        assert_eq!(word("Rug Pull").contribution, -3.0);
    }

    #[test]
    fn punctuation_and_spaces_around_the_words_of_a_phrase_are_ignored() {
        let score = analyzer().score("rug pull").compound;
        for text in [
            "(rug pull)",
            "\"Rug\" pull,",
            "rug\n\u{3000}pull",
            "#rug #pull",
            "“rug pull”",
            "…rug—pull…",
        ] {
            assert_eq!(analyzer().score(text).compound, score, "{text}");
        }
        assert_eq!(word("so, rug  pull.").text, "rug  pull");
        for text in ["rugpull", "rug the pull", "pull rug", "#RugPull"] {
            assert_eq!(analyzer().score(text).compound, 0.0, "{text}");
        }
    }

    #[test]
    fn the_words_of_the_figure_are_the_given_ones() {
        let analyzer = analyzer();
        let (_, words) = analyzer.score_words("TO THE MOON 🚀 größe 暴涨 hodl");
        let ids: Vec<_> = words.iter().map(|share| share.word).collect();
        assert_eq!(
            analyzer.words(&ids),
            ["to the moon", "🚀", "größe", "暴涨", "hodl"]
        );
        let shares: f32 = words.iter().map(|share| share.share).sum();
        assert!((shares - 1.0).abs() < 1e-6);
    }

    #[test]
    fn a_string_that_cannot_be_in_a_text_is_refused() {
        for (word, reason) in [
            ("", "cannot be one word"),
            (" \u{fe0f}", "cannot be one word"),
            ("(word)", "cannot be one word"),
            ("to the moon!", "cannot be one word"),
            (&"x".repeat(65), "cannot be one word"),
            (&"漢".repeat(22), "cannot be one word"),
            ("🚀moon", "cannot be one word"),
            ("a b c d e", "read as 5 words"),
            ("😂 it", "read as 6 words"),
        ] {
            let error = Analyzer::with_words([(word, 1.0)]).unwrap_err().to_string();
            assert!(error.contains(reason), "{word}: {error}");
        }
        for rating in [4.5, f64::NAN, f64::NEG_INFINITY] {
            let error = Analyzer::with_words([("word", rating)]).unwrap_err();
            assert!(error.to_string().contains("from -4 to 4"));
        }
    }

    #[test]
    fn fifty_thousand_words_and_a_text_of_a_mebibyte_have_a_bounded_cost() {
        let words = |count: usize| {
            (0..count).map(|n| match n % 3 {
                0 => (format!("a a a{n}"), 1.0),
                1 => (format!("a b{n} c{n} d{n}"), -1.0),
                _ => (format!("🚀{}", "🔥💎".repeat(n % 7)), 1.0),
            })
        };
        let error = Analyzer::with_words(words(MAX_WORDS + 1)).unwrap_err();
        assert!(error.to_string().contains("50001 words"), "{error}");
        let analyzer = Analyzer::with_words(words(MAX_WORDS)).unwrap();
        // With quadratic cost, this would take hours.
        for piece in ["a ", "a a a0 ", "🚀", "🚀🔥💎", "ж ", "暴", "a\u{300}"] {
            let text = piece.repeat((1 << 20) / piece.len());
            let score = analyzer.score(&text);
            assert!((-1.0..=1.0).contains(&score.compound), "{piece}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1_000))]
        #[test]
        fn the_parts_add_up_to_the_score(
            parts in prop::collection::vec(
                prop::sample::select(vec![
                    "to", "the", "moon", "landing", "rug", "PULL", "not", "great", "but", "fine", "🚀", "😂", "❤️",
                    "🔥", "sale", "💎", "🙌", "暴涨", " ", " ", " ", "\u{200d}", "…", "!", "дом",
                ]),
                0..24,
            )
        ) {
            let text = parts.concat();
            let explanation = analyzer().explain(&text);
            prop_assert_eq!(explanation.sentiment, analyzer().score(&text));
            let words: f64 = explanation.words.iter().map(|word| word.contribution).sum();
            let sum = words + explanation.exclamation + explanation.question;
            prop_assert!((sum - explanation.sum).abs() < 1e-9);
            let pieces: String = explanation.pieces().iter().map(|piece| piece.text).collect();
            prop_assert_eq!(pieces, text);
        }
    }
}
