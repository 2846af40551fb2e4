//! The Kafka message of a scored tweet: the message of the tweet with one more field.
//!
//! ```json
//! {"id":"1", …, "score":{"compound":0.6369,"pos":1.0,"neu":0.0,"neg":0.0}}
//! ```

use super::Sentiment;
use crate::Tweet;
use crate::tweet::Skip;
use serde::Deserialize;

/// Encodes a tweet and its sentiment into `buffer`. The buffer is cleared first.
pub(crate) fn encode_into(tweet: &Tweet, sentiment: &Sentiment, buffer: &mut Vec<u8>) {
    tweet.encode_into(buffer);
    // The last byte is the closing brace. The additional field goes before it.
    buffer.pop();
    buffer.extend_from_slice(b",\"score\":");
    // Writing to a `Vec` cannot fail, and four numbers have a JSON form.
    serde_json::to_writer(&mut *buffer, sentiment).expect("a sentiment is always JSON");
    buffer.push(b'}');
}

/// Decodes a message of a topic of scores.
pub(crate) fn decode(message: &[u8]) -> Result<(Tweet, Sentiment), Skip> {
    #[derive(Deserialize)]
    struct Score {
        score: Option<Sentiment>,
    }
    let tweet = Tweet::decode(message)?;
    let score: Score = serde_json::from_slice(message).map_err(|_| Skip::WrongType)?;
    let sentiment = score.score.ok_or(Skip::NoScore)?;
    let Sentiment {
        compound,
        pos,
        neu,
        neg,
    } = sentiment;
    let shares = [pos, neu, neg]
        .into_iter()
        .all(|share| (0.0..=1.0).contains(&share));
    if shares && (-1.0..=1.0).contains(&compound) {
        Ok((tweet, sentiment))
    } else {
        Err(Skip::WrongType)
    }
}

#[cfg(test)]
mod tests {
    use super::super::Analyzer;
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_score_survives_encoding_and_decoding_and_an_invalid_one_is_rejected() {
        let tweet = Tweet::decode(br#"{"id":"1","text":"I love it","user":"u"}"#).unwrap();
        let sentiment = Analyzer::new().score(&tweet.text);
        let mut message = Vec::new();
        encode_into(&tweet, &sentiment, &mut message);
        assert_eq!(decode(&message), Ok((tweet, sentiment)));
        assert_eq!(decode(br#"{"text":"x"}"#), Err(Skip::NoScore));
        let absurd = br#"{"text":"x","score":{"compound":9.0,"pos":0,"neu":0,"neg":0}}"#;
        assert_eq!(decode(absurd), Err(Skip::WrongType));
    }

    proptest! {
        // A scorer of someone else may write numbers with any digits.
        #[test]
        fn every_digit_of_a_score_survives(
            compound in -1.0..=1.0_f64,
            [pos, neu, neg] in prop::array::uniform3(0.0..=1.0_f64),
        ) {
            let tweet = Tweet::decode(br#"{"id":"1","text":"I love it"}"#).unwrap();
            let sentiment = Sentiment { compound, pos, neu, neg };
            let mut message = Vec::new();
            encode_into(&tweet, &sentiment, &mut message);
            prop_assert_eq!(decode(&message), Ok((tweet, sentiment)));
        }
    }
}
