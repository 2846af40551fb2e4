//! The functions that the fuzz targets in `fuzz/` call. Each function passes its input to code that reads
//! data from the network, and checks properties that hold for every input. The module is compiled only
//! with `--cfg fuzzing`.

use crate::sentiment::{Analyzer, Sentiment};
use crate::source::fuzz;
use crate::tweet::{Tweet, is_credible};
use crate::wire::score;
use jiff::Timestamp;
use std::str;

/// Decodes a message of a topic of tweets. The tweet does not change when it is encoded and decoded again,
/// with or without a score. Its corrected time is credible.
pub fn tweet(bytes: &[u8]) {
    if let Ok(mut tweet) = Tweet::decode(bytes) {
        let mut buffer = Vec::new();
        tweet.encode_into(&mut buffer);
        assert_eq!(Tweet::decode(&buffer).as_ref(), Ok(&tweet));
        let sentiment = Sentiment::default();
        score::encode_into(&tweet, &sentiment, &mut buffer);
        assert_eq!(score::decode(&buffer), Ok((tweet.clone(), sentiment)));
        let now = Timestamp::now();
        tweet.correct_time(None, now);
        assert!(is_credible(tweet.created_at, now));
    }
}

/// Decodes a message of a topic of scores. The tweet and the score do not change when they are encoded and
/// decoded again.
pub fn score(bytes: &[u8]) {
    if let Ok((tweet, sentiment)) = score::decode(bytes) {
        let mut buffer = Vec::new();
        score::encode_into(&tweet, &sentiment, &mut buffer);
        assert_eq!(score::decode(&buffer), Ok((tweet, sentiment)));
    }
}

/// Reads a value of X, with both versions of the API.
pub fn x(bytes: &[u8]) {
    if let Ok(line) = str::from_utf8(bytes) {
        fuzz::x(line);
    }
}

/// Reads a frame of a Jetstream, with both versions of the protocol.
pub fn jetstream(bytes: &[u8]) {
    fuzz::jetstream(bytes);
}

/// Reads the content of a replay file. The records are numbered in their order.
pub fn replay(bytes: &[u8]) {
    fuzz::replay(bytes);
}

/// Answers a question of the page.
pub fn question(bytes: &[u8]) {
    if let Ok(query) = str::from_utf8(bytes) {
        crate::figure::fuzz(query);
    }
}

/// Scores a text and explains the score. The score is in range, and the parts of the explanation add up to
/// its sum.
pub fn text(text: &str) {
    let analyzer = Analyzer::new();
    let score = analyzer.score(text);
    assert!((-1.0..=1.0).contains(&score.compound));
    for share in [score.pos, score.neu, score.neg] {
        assert!((0.0..=1.0).contains(&share));
    }
    let explanation = analyzer.explain(text);
    assert_eq!(explanation.sentiment, score);
    let words: f64 = explanation.words.iter().map(|word| word.contribution).sum();
    let parts = words + explanation.exclamation + explanation.question;
    assert!((parts - explanation.sum).abs() < 1e-6 * explanation.sum.abs().max(1.0));
}
