//! The Kafka message of a scored tweet: the message of the tweet with the additional field `score`.
//!
//! ```json
//! {"id":"1", …, "score":{"compound":0.6369,"pos":1.0,"neu":0.0,"neg":0.0}}
//! ```

use crate::sentiment::Sentiment;
use crate::tweet::{MAX_MESSAGE_BYTES, Object, Skip, Tweet};
use serde::Deserialize;

/// The largest accepted message, in bytes. It leaves room for a tweet whose message had
/// [`MAX_MESSAGE_BYTES`], after the tweet was encoded again, and for its score.
///
/// A string never becomes longer when it is encoded again: only the characters that JSON requires are
/// escaped, each in its shortest form. The other parts grow by less than 300 bytes. These are the fields that
/// the original message lacked, the time and the follower count in their full form, and the quotes of an id.
/// A score has at most 150 bytes.
const MAX_SCORE_BYTES: usize = MAX_MESSAGE_BYTES + 1024;

/// Replaces the content of `buffer` with the message of a tweet and its sentiment.
pub(crate) fn encode_into(tweet: &Tweet, sentiment: &Sentiment, buffer: &mut Vec<u8>) {
    tweet.encode_into(buffer);
    // Remove the closing brace, so that the additional field can follow.
    buffer.pop();
    buffer.extend_from_slice(b",\"score\":");
    // Writing to a `Vec` cannot fail, and four numbers have a JSON form.
    serde_json::to_writer(&mut *buffer, sentiment).expect("a sentiment is always JSON");
    buffer.push(b'}');
}

/// Decodes a message of a topic of scores. It accepts every tweet that [`Tweet::decode`] accepts, so a
/// listener of scores counts the same tweets as a listener of tweets.
pub(crate) fn decode(message: &[u8]) -> Result<(Tweet, Sentiment), Skip> {
    #[derive(Deserialize)]
    struct Score {
        score: Option<Object<Sentiment>>,
    }
    let tweet = Tweet::decode_up_to(MAX_SCORE_BYTES, message)?;
    let score: Score = serde_json::from_slice(message).map_err(|_| Skip::WrongType)?;
    let Object(sentiment) = score.score.ok_or(Skip::NoScore)?;
    let shares = [sentiment.pos, sentiment.neu, sentiment.neg];
    let is_valid = (-1.0..=1.0).contains(&sentiment.compound)
        && shares.iter().all(|share| (0.0..=1.0).contains(share));
    is_valid
        .then_some((tweet, sentiment))
        .ok_or(Skip::WrongType)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sentiment::Analyzer;
    use proptest::prelude::*;

    #[test]
    fn a_score_survives_encoding_and_decoding_and_an_invalid_one_is_rejected() {
        let tweet = Tweet::new("u", "I love it").id("1");
        let sentiment = Analyzer::new().score(&tweet.text);
        let mut message = Vec::new();
        encode_into(&tweet, &sentiment, &mut message);
        assert_eq!(decode(&message), Ok((tweet, sentiment)));
        assert_eq!(decode(br#"{"text":"x"}"#), Err(Skip::NoScore));
        let absurd = br#"{"text":"x","score":{"compound":9.0,"pos":0,"neu":0,"neg":0}}"#;
        assert_eq!(decode(absurd), Err(Skip::WrongType));
        let array = br#"{"text":"x","score":[0.5,1,0,0]}"#;
        assert_eq!(decode(array), Err(Skip::WrongType));
    }

    /// Checks that a listener counts the same tweet, or skips it for the same reason, with and without a
    /// scorer between the topic and the listener. Returns the result without a scorer.
    fn both_paths_agree(message: &[u8]) -> Result<Result<Tweet, Skip>, TestCaseError> {
        let direct = Tweet::decode(message);
        match direct.clone() {
            Ok(tweet) => {
                // Each number has the maximum number of characters.
                let sentiment = Sentiment {
                    compound: -1.234_567_890_123_456_7e-100,
                    pos: 1.234_567_890_123_456_7e-100,
                    neu: 1.234_567_890_123_456_7e-100,
                    neg: 1.234_567_890_123_456_7e-100,
                };
                let mut score = Vec::new();
                encode_into(&tweet, &sentiment, &mut score);
                prop_assert_eq!(decode(&score), Ok((tweet, sentiment)));
            }
            Err(Skip::TooLarge) => prop_assert!(decode(message).is_err()),
            Err(reason) => prop_assert_eq!(decode(message), Err(reason)),
        }
        Ok(direct)
    }

    #[test]
    fn the_limit_is_on_the_tweet_with_and_without_a_score() {
        let frames = [
            (r#"{"text":""#, r#""}"#),
            // Each of these fields is longer when it is encoded again.
            (
                r#"{"id":1,"followers":9e15,"created_at":"20260101T00Z","text":""#,
                r#""}"#,
            ),
            (r#"{"text":"","topics":[""#, r#""]}"#),
        ];
        let pieces = [
            "x",
            "é",
            r#"\""#,
            r"\\",
            r"\n",
            r"\/",
            r"\u0001",
            r"\u00e9",
            r"\ud83d\ude00",
        ];
        for (beginning, end) in frames {
            for piece in pieces {
                let room = MAX_MESSAGE_BYTES - beginning.len() - end.len();
                let content = piece.repeat(room / piece.len());
                for size in [MAX_MESSAGE_BYTES, MAX_MESSAGE_BYTES + 1] {
                    let mut message = format!("{beginning}{content}{end}").into_bytes();
                    message.resize(size, b' ');
                    let direct = both_paths_agree(&message).unwrap();
                    assert_eq!(
                        direct.is_ok(),
                        size == MAX_MESSAGE_BYTES,
                        "{beginning}{piece}"
                    );
                }
            }
        }
    }

    /// A JSON value, or a text that resembles one.
    fn value() -> impl Strategy<Value = String> {
        let texts = any::<String>().prop_map(|text| serde_json::to_string(&text).unwrap());
        let escapes = prop::sample::select(vec![
            r#""\u0000\b\f\n\r\t\/\\\"""#,
            r#""\ud83d\ude00""#,
            r#""\ud800""#,
            r#""\x""#,
            "\"\n\"",
            r#""12""#,
        ]);
        let times = prop::sample::select(vec![
            r#""2026-01-01T12:00:00.123456789Z""#,
            r#""20260101T00+23:59""#,
            r#""-009999-01-02T01:59:59Z""#,
            r#""9999-12-31T23:59:59Z""#,
            r#""1970-01-01T00:00:00Z""#,
        ]);
        let numbers = prop::sample::select(vec![
            "0",
            "-0",
            "-1",
            "1.5",
            "9e15",
            "1e30",
            "1e400",
            "18446744073709551615",
            "123456789012345678901",
            "01",
            ".5",
        ]);
        let others = prop::sample::select(vec![
            "null",
            "true",
            "nul",
            "",
            "[]",
            "{}",
            "[[[{}]]]",
            r#"["a","a","b"]"#,
            r#"["a",null]"#,
            r#"[1e400]"#,
            r#"{"compound":0.5,"pos":1,"neu":0,"neg":0}"#,
            "[0.5,1,0,0]",
        ]);
        let deep = (1..300_usize).prop_map(|depth| "[".repeat(depth) + &"]".repeat(depth));
        prop_oneof![
            4 => texts,
            1 => escapes.prop_map(String::from),
            1 => times.prop_map(String::from),
            2 => numbers.prop_map(String::from),
            2 => others.prop_map(String::from),
            1 => deep,
        ]
    }

    /// A field of a message. Its name may be escaped.
    fn field() -> impl Strategy<Value = String> {
        let name = prop::sample::select(vec![
            "id",
            "created_at",
            "user",
            "followers",
            "text",
            "lang",
            "topics",
            "source",
            "score",
            "other",
            r"\u0069d",
            "",
        ]);
        (name, value()).prop_map(|(name, value)| format!(r#""{name}": {value}"#))
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4_000))]

        #[test]
        fn hostile_messages_are_the_same_tweets_with_and_without_a_score(
            text in any::<String>(),
            fields in prop::collection::vec(field(), 0..6),
            mutation in prop::option::weighted(0.2, (any::<prop::sample::Index>(), any::<u8>())),
        ) {
            let text = serde_json::to_string(&text).unwrap();
            let fields: String = fields.iter().map(|field| format!(",{field}")).collect();
            let mut message = format!(r#"{{"text":{text}{fields}}}"#).into_bytes();
            if let Some((place, byte)) = mutation {
                let place = place.index(message.len());
                message[place] = byte;
            }
            both_paths_agree(&message)?.ok();
        }
    }

    proptest! {
        // Another program that writes scores may use any number of digits.
        #[test]
        fn every_digit_of_a_score_survives(
            compound in -1.0..=1.0_f64,
            [pos, neu, neg] in prop::array::uniform3(0.0..=1.0_f64),
        ) {
            let tweet = Tweet::new("", "I love it").id("1");
            let sentiment = Sentiment { compound, pos, neu, neg };
            let mut message = Vec::new();
            encode_into(&tweet, &sentiment, &mut message);
            prop_assert_eq!(decode(&message), Ok((tweet, sentiment)));
        }
    }
}
