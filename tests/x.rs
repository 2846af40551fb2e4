//! X's filtered stream, against a server that speaks its API and misbehaves.

mod common;
#[path = "common/x_api.rs"]
mod x_api;

use axum::body::Bytes;
use common::*;
use live_sentiment::prelude::*;
use live_sentiment::streamer::Ended;
use live_sentiment::{Error, Filter};
use serde_json::json;
use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::Instant;
use tokio::runtime::Runtime;
use x_api::{End, Plan, Shared, line, serve};

const TOKEN: &str = "AAAA-test-token-AAAA";

fn x(base: &str) -> X {
    X::at(base, Credentials::bearer(TOKEN).unwrap()).unwrap()
}

fn filter() -> Filter {
    Filter::new(["bitcoin"], ["en"]).unwrap()
}

fn chunk(text: impl Into<String>) -> Bytes {
    Bytes::from(text.into())
}

/// A server on threads of its own, for the Streamer's.
fn server(plans: impl IntoIterator<Item = Plan>) -> (Runtime, Shared, String) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let api: Shared = Arc::new(Mutex::default());
    api.lock().unwrap().plans.extend(plans);
    let base = runtime.block_on(serve(api.clone()));
    (runtime, api, base)
}

/// Runs on one thread and with a clock that jumps to whatever is waited for.
fn with_paused_clock<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()
        .unwrap()
        .block_on(work)
}

/// The waits between the requests for the stream, in seconds, until the source ends.
fn waits(plans: Vec<Plan>) -> Vec<f64> {
    with_paused_clock(async {
        let api: Shared = Arc::new(Mutex::default());
        let refused = Plan::Answer(401, Vec::new(), String::new());
        api.lock()
            .unwrap()
            .plans
            .extend(plans.into_iter().chain([refused]));
        let mut source = x(&serve(api.clone()).await);
        if source.begin(filter()).await.is_ok() {
            while !matches!(source.next().await, None | Some(Err(Error::Source { .. }))) {}
        }
        let connections = &api.lock().unwrap().connections;
        connections
            .windows(2)
            .map(|pair| (pair[1] - pair[0]).as_secs_f64())
            .collect()
    })
}

fn are(waits: &[f64], least: &[f64]) {
    assert_eq!(waits.len(), least.len(), "{waits:?}");
    for (wait, least) in waits.iter().zip(least) {
        let most = least * 1.1 + 0.1;
        assert!(
            (*least..=most).contains(wait),
            "{waits:?} where {least} was due"
        );
    }
}

fn answer(status: u16) -> Plan {
    Plan::Answer(status, Vec::new(), String::new())
}

fn tweets(ids: std::ops::Range<u64>, end: End) -> Plan {
    let lines = ids.map(|id| chunk(line(id, "I love bitcoin", "bitcoin")));
    Plan::Stream(lines.collect(), end)
}

#[test]
fn the_server_s_faults_are_waited_out_ever_longer() {
    let plans = [500, 502, 503, 504, 500, 500, 500, 500].map(answer);
    are(
        &waits(plans.into()),
        &[5.0, 10.0, 20.0, 40.0, 80.0, 160.0, 320.0, 320.0],
    );
}

#[test]
fn a_limit_is_waited_out_as_long_as_the_server_says() {
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap();
    let reset = (now.as_secs() + 100).to_string();
    let told = Plan::Answer(429, vec![("x-rate-limit-reset", reset)], String::new());
    let past = Plan::Answer(429, vec![("x-rate-limit-reset", "5".into())], String::new());
    let waits = waits(vec![answer(429), answer(429), past, told]);
    are(&waits[..3], &[60.0, 120.0, 240.0]);
    assert!((95.0..=111.0).contains(&waits[3]), "{waits:?}");
}

#[test]
fn a_stream_that_ends_is_asked_for_again_at_once_and_one_that_breaks_soon() {
    let waits = waits(vec![
        tweets(0..2, End::Clean),
        tweets(2..4, End::Cut),
        tweets(4..6, End::Cut),
        Plan::Stream(Vec::new(), End::Cut),
        Plan::Stream(Vec::new(), End::Clean),
        tweets(6..8, End::Clean),
    ]);
    // What a stream brings resets the wait; one that brings nothing lets it grow.
    are(&waits, &[0.0, 0.25, 0.25, 0.5, 0.75, 0.0]);
}

#[test]
fn silence_is_noticed_and_keep_alives_are_no_silence() {
    let waits = waits(vec![
        Plan::Stream(vec![chunk("\r\n")], End::Silence),
        Plan::Stream(vec![chunk("\r\n"), chunk("\r\n")], End::Silence),
    ]);
    are(&waits, &[20.25, 20.25]);
}

#[test]
fn what_the_stream_says_of_its_end_is_understood() {
    let disconnect = json!({"errors": [{
        "title": "operational-disconnect", "disconnect_type": "UpstreamOperationalDisconnect",
        "detail": "This stream has been disconnected upstream for operational reasons.",
        "type": "https://api.twitter.com/2/problems/operational-disconnect"
    }]});
    let too_many = json!({
        "title": "ConnectionException", "connection_issue": "TooManyConnections",
        "detail": "This stream is currently at the maximum allowed connection limit.",
        "type": "https://api.twitter.com/2/problems/streaming-connection"
    });
    let waits = waits(vec![
        Plan::Stream(vec![chunk(format!("{disconnect}\r\n"))], End::Silence),
        Plan::Stream(vec![chunk(format!("{too_many}\r\n"))], End::Silence),
        Plan::Answer(429, Vec::new(), too_many.to_string()),
    ]);
    are(&waits, &[0.25, 60.0, 120.0]);
}

#[test]
fn every_tweet_arrives_once_however_often_the_stream_is_cut() {
    const TWEETS: u64 = 4_000;
    let mut plans = Vec::new();
    for begin in (0..TWEETS).step_by(200) {
        // A reconnect brings some tweets again, and cuts one in two.
        let mut lines: Vec<Bytes> = (begin.saturating_sub(3)..begin + 200)
            .map(|id| chunk(line(id, "I love bitcoin", "bitcoin")))
            .collect();
        let half = line(begin + 200, "I love bitcoin", "bitcoin");
        lines.push(chunk(&half[..half.len() / 2]));
        let end = if begin % 400 == 0 {
            End::Cut
        } else {
            End::Clean
        };
        plans.push(Plan::Stream(lines, end));
    }
    plans.push(tweets(TWEETS..TWEETS + 1, End::Silence));
    let (_runtime, _api, base) = server(plans);

    let kafka = broker_with_topic();
    let saved = tempfile::NamedTempFile::new().unwrap();
    let streaming = Streamer::new(&kafka, "tweets")
        .track(["bitcoin"])
        .languages(["en"])
        .save_to(saved.path())
        .start(x(&base))
        .unwrap();
    let listening = Listener::new(&kafka, "tweets").start(None).unwrap();
    until_heard(&listening, TWEETS + 1);
    let connection = streaming.status().connection.unwrap();
    assert!(connection.since.is_some() && connection.last_reason.is_some());
    assert_eq!(connection.reconnects, TWEETS / 200);
    let begun = Instant::now();
    let status = streaming.stop();
    assert!(begun.elapsed() < Duration::from_secs(10));
    assert_eq!((status.sent, status.failed), (TWEETS + 1, 0));
    assert_eq!(status.duplicate, (TWEETS / 200 - 1) * 3);
    assert_eq!(status.topics["bitcoin"], TWEETS + 1);
    let heard = listening.summary().total;

    // What was saved gives the same sum once more.
    kafka.create_topic("again", TopicConfig::default()).unwrap();
    let replay = Replay::open(saved.path()).unwrap().as_fast_as_possible();
    Streamer::new(&kafka, "again").start(replay).unwrap().wait();
    let again = Listener::new(&kafka, "again")
        .count(TWEETS + 1)
        .start(None)
        .unwrap();
    assert!(again.wait_for(LIMIT));
    assert_eq!(again.summary().total, heard);
}

#[test]
fn junk_is_counted_and_strangers_rules_tweets_are_filtered_out() {
    let mut other = line(2, "cats", "x");
    other = other.replace("live-sentiment: x", "cats");
    let chunks = [
        "not json\r\n",
        "{}\r\n",
        "{\"data\":{\"id\":\"9\"}}\r\n",
        &other,
    ];
    let mut chunks: Vec<Bytes> = chunks.map(chunk).into();
    chunks.push(Bytes::from_static(b"\xff\xfe\r\n"));
    chunks.push(chunk(line(1, "I love bitcoin", "bitcoin")));
    let (_runtime, _api, base) = server([Plan::Stream(chunks, End::Silence)]);
    let kafka = broker_with_topic();
    let streaming = Streamer::new(&kafka, "tweets")
        .track(["bitcoin"])
        .start(x(&base))
        .unwrap();
    until("the tweet", || streaming.status().sent == 1);
    let status = streaming.stop();
    assert_eq!((status.read, status.filtered, status.skipped), (2, 1, 4));
    assert_eq!(status.ended, Some(Ended::Stopped));
}

#[test]
fn a_compressed_stream_is_read_as_it_comes() {
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    for id in 0..3 {
        packed
            .write_all(line(id, "I love bitcoin", "bitcoin").as_bytes())
            .unwrap();
        packed.flush().unwrap();
    }
    // The stream does not end; what has been flushed must come all the same.
    let chunks = vec![Bytes::from(packed.get_ref().clone())];
    let (_runtime, api, base) = server([Plan::Stream(chunks, End::Silence)]);
    api.lock().unwrap().encoding = Some("gzip");
    let kafka = broker_with_topic();
    let streaming = Streamer::new(&kafka, "tweets")
        .track(["bitcoin"])
        .start(x(&base))
        .unwrap();
    until("the tweets", || streaming.status().sent == 3);
}

#[test]
fn it_does_not_matter_how_the_network_cuts_the_bytes() {
    let (runtime, _api, base) = server([tweets(0..100, End::Silence)]);
    let (_, split) = runtime.block_on(splitting(&base));
    let kafka = broker_with_topic();
    let streaming = Streamer::new(&kafka, "tweets")
        .track(["bitcoin"])
        .start(x(&split))
        .unwrap();
    until("the tweets", || streaming.status().sent == 100);
    assert_eq!(streaming.stop().skipped, 0);
}

#[test]
fn our_rules_are_made_the_ones_that_are_wanted() {
    let (_runtime, api, base) = server([]);
    api.lock().unwrap().rules = vec![
        json!({"id": "1", "value": "bitcoin lang:en", "tag": "live-sentiment: bitcoin"}),
        json!({"id": "2", "value": "old lang:en", "tag": "live-sentiment: old"}),
        json!({"id": "3", "value": "cats", "tag": "cats"}),
    ];
    let kafka = broker_with_topic();
    let start = || {
        Streamer::new(&kafka, "tweets")
            .track(["bitcoin", "doge moon"])
            .languages(["en"])
            .start(x(&base))
            .unwrap()
            .stop()
    };
    start();
    let values = |api: &Shared| -> Vec<String> {
        let api = api.lock().unwrap();
        let value = |rule: &serde_json::Value| rule["value"].as_str().unwrap().to_owned();
        api.rules.iter().map(value).collect()
    };
    assert_eq!(
        values(&api),
        ["bitcoin lang:en", "cats", "doge moon lang:en"]
    );
    api.lock().unwrap().asked.clear();
    start();
    let asked = api.lock().unwrap().asked.clone();
    assert!(
        asked.iter().all(|asked| asked.method == "GET"),
        "nothing to change: {asked:?}"
    );
    let stream = asked
        .iter()
        .find(|asked| asked.path.contains("/stream?"))
        .unwrap();
    assert_eq!(stream.authorization, format!("Bearer {TOKEN}"));
    for parameter in [
        "tweet.fields=",
        "expansions=author_id",
        "user.fields=username,public_metrics",
    ] {
        assert!(stream.path.contains(parameter), "{}", stream.path);
    }

    // A rule that cannot be deleted is told, and the stream begins all the same.
    api.lock().unwrap().refuses_deletion = true;
    let status = Streamer::new(&kafka, "tweets")
        .track(["bitcoin"])
        .start(x(&base))
        .unwrap()
        .stop();
    let reason = status.connection.unwrap().last_reason.unwrap();
    assert!(reason.contains("could not be deleted"), "{reason}");
}

#[test]
fn what_cannot_be_is_refused_with_what_to_check_and_without_the_secret() {
    let kafka = broker_with_topic();
    let error = |api: &Shared, base: &str, plan: Option<Plan>| {
        api.lock().unwrap().plans = plan.into_iter().collect();
        let begun = Instant::now();
        let error = Streamer::new(&kafka, "tweets")
            .track(["bitcoin"])
            .start(x(base))
            .err()
            .unwrap();
        assert!(begun.elapsed() < Duration::from_secs(5));
        let told = format!("{error}\n{error:?}");
        assert!(!told.contains(TOKEN), "{told}");
        told
    };
    let (_runtime, api, base) = server([]);
    for (status, told) in [
        (401, "Check the token"),
        (402, "no credit"),
        (403, "plan has the filtered stream"),
        (404, "X_API_BASE_URL"),
    ] {
        // A server that sends the secret back.
        let body = json!({"title": "Refused", "detail": format!("you sent {TOKEN}")}).to_string();
        let error = error(&api, &base, Some(Plan::Answer(status, Vec::new(), body)));
        assert!(
            error.contains(told) && error.contains(&status.to_string()),
            "{error}"
        );
        assert!(error.contains("Refused"), "{error}");
    }
    api.lock().unwrap().rules.clear();
    api.lock().unwrap().refuses_rules = Some("Rule exceeds the limit".into());
    let error = error(&api, &base, None);
    assert!(
        error.contains("Rule exceeds the limit") && error.contains("bitcoin"),
        "{error}"
    );
}

#[test]
fn a_refusal_in_the_middle_ends_the_stream_and_says_why() {
    let (_runtime, _api, base) = server([tweets(0..5, End::Clean), answer(403)]);
    let kafka = broker_with_topic();
    let streaming = Streamer::new(&kafka, "tweets")
        .track(["bitcoin"])
        .start(x(&base))
        .unwrap();
    assert!(streaming.wait_for(LIMIT));
    let status = streaming.status();
    assert_eq!((status.ended, status.sent), (Some(Ended::Failed), 5));
    assert!(status.last_trouble.unwrap().contains("403"));
}

#[test]
fn a_key_and_its_secret_fetch_the_token() {
    let (_runtime, api, base) = server([]);
    let kafka = broker_with_topic();
    let source = X::at(&base, Credentials::key("the-key", "the-secret").unwrap()).unwrap();
    Streamer::new(&kafka, "tweets")
        .track(["bitcoin"])
        .start(source)
        .unwrap()
        .stop();
    let asked = api.lock().unwrap().asked.clone();
    assert_eq!(asked[0].path, "/oauth2/token");
    assert_eq!(asked[0].body, "grant_type=client_credentials");
    // the-key:the-secret
    assert_eq!(asked[0].authorization, "Basic dGhlLWtleTp0aGUtc2VjcmV0");
    assert!(
        asked[1..]
            .iter()
            .all(|asked| asked.authorization == "Bearer fetched-token")
    );
}

#[test]
fn stopping_closes_the_connection_also_while_waiting_to_reconnect() {
    let kafka = broker_with_topic();
    for plan in [answer(503), tweets(0..1, End::Silence)] {
        let (_runtime, _api, base) = server([plan]);
        let streaming = Streamer::new(&kafka, "tweets")
            .track(["bitcoin"])
            .start(x(&base))
            .unwrap();
        let begun = Instant::now();
        streaming.stop();
        assert!(
            begun.elapsed() < Duration::from_secs(2),
            "{:?}",
            begun.elapsed()
        );
    }
}

#[test]
fn nobody_there_is_told_while_it_is_tried_again() {
    let kafka = broker_with_topic();
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let base = format!("http://{}", closed.local_addr().unwrap());
    drop(closed);
    let begun = Instant::now();
    let streaming = Streamer::new(&kafka, "tweets")
        .track(["bitcoin"])
        .start(x(&base))
        .unwrap();
    assert!(begun.elapsed() < Duration::from_secs(5));
    let told = streaming.status().to_string();
    assert!(
        told.contains("not connected, trying again: no connection"),
        "{told}"
    );
}
