//! Random texts for the scorer.

use crate::mutate::Mutator;
use crate::{Finding, Size, thousands};
use live_sentiment::prelude::*;

pub fn run(size: Size) -> Vec<Finding> {
    let (analyzer, mut mutator) = (Analyzer::new(), Mutator::new(4));
    let mut explained = 0;
    for number in 0..size.texts {
        let text = mutator.text();
        let score = analyzer.score(&text);
        assert!((-1.0..=1.0).contains(&score.compound), "{text:?}");
        let shares = [score.pos, score.neu, score.neg];
        assert!(
            shares.iter().all(|share| (0.0..=1.0).contains(share)),
            "{text:?}"
        );
        if number % 10 == 0 {
            let explanation = analyzer.explain(&text);
            let words: f64 = explanation.words.iter().map(|word| word.contribution).sum();
            let parts = words + explanation.exclamation + explanation.question;
            assert!((parts - explanation.sum).abs() < 1e-9, "{text:?}");
            assert_eq!(explanation.sentiment, score, "{text:?}");
            explained += 1;
        }
    }
    vec![Finding {
        what: format!("{} random texts to the scorer", thousands(size.texts)),
        outcome: format!(
            "every score in range; {} of them explained, and the parts add up to the score",
            thousands(explained)
        ),
    }]
}
