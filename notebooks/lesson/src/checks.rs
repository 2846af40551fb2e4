//! Checks the answers of the Lesson's exercises. A check knows the usual mistakes, and has a hint for each.

use super::{Check, Checks};
use live_sentiment::Tweet;
use live_sentiment::listener::ListenerStatus;
use live_sentiment::scorer::SESSION_LIMIT;
use live_sentiment::sentiment::{Analyzer, Polarity, Sentiment};
use live_sentiment::streamer::StreamerStatus;

/// The maximum difference between a number that was computed by hand and the exact number.
const ROUNDING: f64 = 0.01;

impl Check {
    /// Checks a number. If the number is wrong, returns the hint of the mistake that leads to this number. If
    /// no known mistake does, returns the hint `otherwise`.
    fn number(
        answer: f64,
        truth: f64,
        reason: impl Into<String>,
        mistakes: &[(f64, &str)],
        otherwise: &str,
    ) -> Check {
        let is = |value: f64| (answer - value).abs() <= ROUNDING;
        if is(truth) {
            return Check::right(reason);
        }
        let mistake = mistakes.iter().find(|(wrong, _)| is(*wrong));
        Check::hint(mistake.map_or(otherwise, |(_, hint)| hint))
    }
}

/// Checks the order in which a tweet passes the five parts of the pipeline.
///
/// # Examples
/// ```
/// use live_sentiment_lesson::check_order;
///
/// let check = check_order(["topic", "source", "streamer", "listener", "figure"]);
/// assert!(!check.is_right);
/// assert!(check.message.contains("topic"));
/// ```
pub fn check_order(order: [&str; 5]) -> Check {
    const PARTS: [&str; 5] = ["source", "streamer", "topic", "listener", "figure"];
    if let Some(unknown) = order.iter().find(|part| !PARTS.contains(part)) {
        return Check::hint(format!(
            "{unknown:?} is not a part: the parts are figure, listener, source, streamer and topic"
        ));
    }
    match order.iter().zip(PARTS).find(|(given, part)| *given != part) {
        None => Check::right(
            "each part talks to its neighbours only; the streamer and the listener do not know each other",
        ),
        Some((given, _)) => Check::hint(format!(
            "follow one tweet through the boxes at the top of the figure: where was it just before the {given}?"
        )),
    }
}

/// Checks what a tweet with this many followers and this compound adds to the running sum.
pub fn check_metric(followers: u64, compound: f64, answer: f64) -> Check {
    let audience = followers as f64 + 1.0;
    let truth = audience.ln() * compound;
    Check::number(
        answer,
        truth,
        format!("ln({followers} + 1) × {compound} = {truth:.2}"),
        &[
            (
                audience.log10() * compound,
                "this is the logarithm to the base 10; `.ln()` is the natural one",
            ),
            (
                (followers as f64).ln() * compound,
                "add 1 to the followers first, so that an author without followers has a logarithm",
            ),
            (
                audience.ln() + compound,
                "the compound multiplies the logarithm",
            ),
            (-truth, "look at the sign of the compound"),
        ],
        "the metric is `(followers + 1.0).ln() * compound`; Rust computes it in a cell",
    )
}

/// Checks which offset the next tweet of a partition will have. The stream must have ended.
pub fn check_next_offset(status: &ListenerStatus, partition: i32, answer: i64) -> Check {
    let Some(lag) = status.lag.iter().find(|lag| lag.partition == partition) else {
        return Check::hint(format!(
            "the listener knows no partition {partition}; partitions count from 0"
        ));
    };
    let (last, end) = (lag.end - 1, lag.end);
    let reason = match end {
        0 => format!("partition {partition} is empty: the next tweet has the first offset, 0"),
        _ => format!("partition {partition} has the offsets 0 to {last}: the next one is {end}"),
    };
    let mistakes = [
        (last as f64, "the last tweet already has this offset"),
        (
            status.total.counted as f64,
            "this is the count of all partitions together; each partition counts its own offsets",
        ),
    ];
    let otherwise = "the card above shows the end of each partition";
    Check::number(answer as f64, end as f64, reason, &mistakes, otherwise)
}

/// Checks how many tweets the listener `late` counts. It starts after the tweets were sent, and after the
/// listener `first` has read them.
pub fn check_late_listener(first: &ListenerStatus, late: &ListenerStatus, answer: u64) -> Check {
    let (all, counted, sum) = (first.total.counted, late.total.counted, late.total.sum);
    if counted != all {
        return Check::hint(format!(
            "the late listener has counted {counted} of {all} tweets: wait for it, and run the cell again"
        ));
    }
    Check::number(
        answer as f64,
        counted as f64,
        format!(
            "both have counted {counted} tweets, and both have the sum {sum:+.2}: reading leaves the log as it is"
        ),
        &[(
            0.0,
            "a queue would be empty now. Is a topic a queue? Look at the late listener's card",
        )],
        "compare the two cards: what has the first listener taken away from the second?",
    )
}

/// Checks a metric that ignores the followers and depends on the sentiment.
pub fn check_metric_without_followers(metric: impl Fn(&Tweet, &Sentiment) -> f64) -> Check {
    let analyzer = Analyzer::new();
    let value = |followers: u64, text: &str| {
        let tweet = Tweet::new("student", text).followers(followers);
        metric(&tweet, &analyzer.score(text))
    };
    let (few, many) = (value(9, "I love it"), value(1_000_000, "I love it"));
    if few != many {
        return Check::hint(format!(
            "the same text adds {few:.2} with 9 followers and {many:.2} with a million; leave the followers out"
        ));
    }
    let hate = value(9, "I hate it");
    match few > 0.0 && hate < 0.0 {
        true => Check::right("every author counts the same, and the sentiment decides the sign"),
        false => Check::hint(format!(
            "\"I love it\" adds {few:.2} and \"I hate it\" {hate:.2}; one should be above zero, the other below"
        )),
    }
}

/// Checks an analyzer that knows trading slang.
pub fn check_words(analyzer: &Analyzer) -> Check {
    use Polarity::{Negative, Neutral, Positive};
    let texts = [
        (
            "bitcoin goes to the moon",
            Positive,
            "rate \"to the moon\" above zero",
        ),
        (
            "got rekt by bitcoin again",
            Negative,
            "rate \"rekt\" below zero",
        ),
        (
            "not bullish on bitcoin",
            Negative,
            "rate \"bullish\" above zero: \"not\" negates it by itself",
        ),
        ("bitcoin 🚀", Positive, "rate \"🚀\" above zero"),
        (
            "bitcoin is a chair",
            Neutral,
            "rate words with an opinion only",
        ),
    ];
    for (text, expected, hint) in texts {
        let sentiment = analyzer.score(text);
        if sentiment.polarity() != expected {
            let compound = sentiment.compound;
            return Check::hint(format!("{text:?} has the compound {compound:+.2}; {hint}"));
        }
    }
    Check::right(
        "the lexicon decides what VADER understands, and its rules apply to your words too",
    )
}

/// Checks how many tweets were lost while the broker was down. The stream must have ended.
pub fn check_lost(sent: &StreamerStatus, counted: &ListenerStatus, answer: u64) -> Check {
    let duplicate = counted.uncounted.duplicate;
    let (sent, counted) = (sent.counts.sent + sent.counts.failed, counted.total.counted);
    let lost = sent.saturating_sub(counted);
    let otherwise = match lost {
        0 => "subtract what the listener has counted from what the streamer has sent",
        _ => &format!(
            "{sent} were sent and {counted} counted: wait until the lag is zero, and run the cell again"
        ),
    };
    let reason = format!(
        "{sent} were sent, {counted} counted, {duplicate} came twice and counted once: the streamer \
         waited with its tweets, and the listener went on where it had stopped"
    );
    Check::number(answer as f64, lost as f64, reason, &[], otherwise)
}

/// Checks the maximum number of seconds after which the group notices a killed scorer.
pub fn check_takeover(seconds: u64) -> Check {
    let limit = SESSION_LIMIT.as_secs();
    Check::number(
        seconds as f64,
        limit as f64,
        format!(
            "a scorer that sends no heartbeat for {limit} s is out of the group, and the others get its partitions"
        ),
        &[(
            0.0,
            "a killed process says nothing. How can the group tell it from a slow one?",
        )],
        "count the lines above from the kill to the third partition",
    )
}

/// Checks the answers to the last questions of the Lesson.
pub fn check_answers(answers: [f64; 6]) -> Checks {
    let not_good = Analyzer::new().score("not good").compound;
    let truth = [
        (
            500.0,
            "reading leaves the topic as it is",
            "who would remove a tweet that was read?",
        ),
        (
            499.0,
            "offsets count from 0",
            "which offset does the first tweet have?",
        ),
        (
            0.0,
            "ln(0 + 1) is 0",
            "compute `(0.0_f64 + 1.0).ln() * 0.5`",
        ),
        (
            0.0,
            "the streamer waits, and sends when the broker is back",
            "what did the streamer do while the broker was away?",
        ),
        (
            3.0,
            "a partition belongs to one member of the group, so the fourth scorer waits",
            "how many scorers can share one partition?",
        ),
        (
            not_good,
            "\"not\" reverses the sign of \"good\" and reduces it",
            "run `analyzer.score(\"not good\").compound`, and round to two digits",
        ),
    ];
    let check = |(answer, (truth, reason, hint))| Check::number(answer, truth, reason, &[], hint);
    Checks(answers.into_iter().zip(truth).map(check).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hint_is_about_the_mistake() {
        assert!(check_metric(999, 0.5, 3.45).is_right);
        for (answer, hint) in [
            (1.5, "base 10"),
            (-3.45, "sign"),
            (7.41, "multiplies"),
            (0.0, "computes it"),
            (f64::NAN, "computes it"),
        ] {
            let check = check_metric(999, 0.5, answer);
            assert!(!check.is_right && check.message.contains(hint), "{check}");
        }
        let few = check_metric(1, 1.0, 0.0);
        assert!(few.message.contains("add 1"), "{few}");
    }

    #[test]
    fn a_metric_and_words_are_tried_on_texts() {
        assert!(check_metric_without_followers(|_, sentiment| sentiment.compound).is_right);
        let weighted = live_sentiment::sentiment::weighted;
        let check = check_metric_without_followers(weighted);
        assert!(check.message.contains("followers out"), "{check}");
        let check = check_metric_without_followers(|_, _| 1.0);
        assert!(check.message.contains("hate"), "{check}");

        let check = check_words(&Analyzer::new());
        assert!(check.message.contains("moon"), "{check}");
        let words = [("to the moon", 2.0), ("rekt", -2.5), ("bullish", 2.0)];
        let check = check_words(&Analyzer::with_words(words).unwrap());
        assert!(check.message.contains("🚀"), "{check}");
        let words = words.into_iter().chain([("🚀", 1.5)]);
        assert!(check_words(&Analyzer::with_words(words).unwrap()).is_right);
    }

    #[test]
    fn the_parts_have_one_order() {
        assert!(check_order(["source", "streamer", "topic", "listener", "figure"]).is_right);
        let check = check_order(["source", "kafka", "topic", "listener", "figure"]);
        assert!(check.message.contains("\"kafka\" is not a part"), "{check}");
    }

    #[test]
    fn each_question_has_one_answer() {
        let wrong = check_answers([1.0; 6]);
        assert!(wrong.0.iter().all(|check| !check.is_right));
        let right = check_answers([500.0, 499.0, 0.0, 0.0, 3.0, -0.34]);
        assert!(right.0.iter().all(|check| check.is_right), "{right}");
    }
}
