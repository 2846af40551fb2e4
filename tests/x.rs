//! X's filtered stream, against a server that implements its API and simulates faults.

use axum::body::Bytes;
use common::x_api::{End, Plan, Shared, line, serve};
use common::*;
use live_sentiment::prelude::*;
use live_sentiment::streamer::EndReason;
use live_sentiment::{Error, Filter};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::sync::{Arc, Mutex};
use std::time::Instant;
use tokio::runtime::Runtime;

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

/// Starts a server on its own runtime, separate from the streamer's.
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

/// Returns the waits between the requests for the stream, in seconds, until the source ends.
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
            let is_last = |error: Error| error.kind() == ErrorKind::Source;
            while source
                .next()
                .await
                .is_some_and(|item| !item.is_err_and(is_last))
            {}
        }
        let connections = &api.lock().unwrap().connections;
        connections
            .windows(2)
            .map(|pair| (pair[1] - pair[0]).as_secs_f64())
            .collect()
    })
}

fn assert_waits(waits: &[f64], least: &[f64]) {
    assert_eq!(waits.len(), least.len(), "{waits:?}");
    for (wait, least) in waits.iter().zip(least) {
        let most = least * 1.1 + 0.1;
        assert!(
            (*least..=most).contains(wait),
            "{waits:?} instead of {least}"
        );
    }
}

fn response(status: u16) -> Plan {
    Plan::Answer(status, Vec::new(), String::new())
}

fn tweets(ids: std::ops::Range<u64>, end: End) -> Plan {
    let lines = ids.map(|id| chunk(line(id, "I love bitcoin", "bitcoin")));
    Plan::Stream(lines.collect(), end)
}

#[test]
fn waits_for_server_errors_double() {
    let plans = [500, 502, 503, 504, 500, 500, 500, 500].map(response);
    assert_waits(
        &waits(plans.into()),
        &[5.0, 10.0, 20.0, 40.0, 80.0, 160.0, 320.0, 320.0],
    );
}

#[test]
fn a_rate_limit_is_waited_for_as_long_as_the_server_says() {
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap();
    let reset = (now.as_secs() + 100).to_string();
    let told = Plan::Answer(429, vec![("x-rate-limit-reset", reset)], String::new());
    let past = Plan::Answer(429, vec![("x-rate-limit-reset", "5".into())], String::new());
    let lowest = vec![("x-rate-limit-reset", i64::MIN.to_string())];
    let lowest = Plan::Answer(429, lowest, String::new());
    let waits = waits(vec![response(429), response(429), past, lowest, told]);
    assert_waits(&waits[..4], &[60.0, 120.0, 240.0, 480.0]);
    assert!((95.0..=111.0).contains(&waits[4]), "{waits:?}");
}

#[test]
fn a_closed_stream_is_reconnected_soon_and_an_empty_one_later() {
    let waits = waits(vec![
        tweets(0..2, End::Clean),
        tweets(2..4, End::Cut),
        tweets(4..6, End::Cut),
        Plan::Stream(Vec::new(), End::Cut),
        Plan::Stream(Vec::new(), End::Clean),
        tweets(6..8, End::Clean),
    ]);
    // A tweet resets the wait. A connection without a tweet increases it.
    assert_waits(&waits, &[0.25, 0.25, 0.25, 0.5, 0.75, 0.25]);
}

#[test]
fn silence_ends_a_stream_and_a_keep_alive_does_not() {
    let waits = waits(vec![
        Plan::Stream(vec![chunk("\r\n")], End::Silence),
        Plan::Stream(vec![chunk("\r\n"), chunk("\r\n")], End::Silence),
    ]);
    assert_waits(&waits, &[20.25, 20.25]);
}

#[test]
fn problems_in_the_stream_end_it() {
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
    assert_waits(&waits, &[0.25, 60.0, 120.0]);
}

#[test]
fn every_tweet_arrives_once_although_the_stream_breaks_again_and_again() {
    const TWEETS: u64 = 4_000;
    let mut plans = Vec::new();
    for begin in (0..TWEETS).step_by(200) {
        // A reconnect repeats some tweets. The stream breaks in the middle of a tweet.
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

    let (kafka, topic) = broker_with_topic();
    let saved = tempfile::NamedTempFile::new().unwrap();
    let streaming = Streamer::new(&topic)
        .track(["bitcoin"])
        .languages(["en"])
        .save_to(saved.path())
        .start(x(&base))
        .unwrap();
    let listening = Listener::new(&kafka, "tweets").start().unwrap();
    until_counted(&listening, TWEETS + 1);
    let connection = streaming.status().connection.unwrap();
    assert!(connection.since.is_some() && connection.last_reason.is_some());
    assert_eq!(connection.reconnects, TWEETS / 200);
    let begin = Instant::now();
    let status = streaming.stop();
    assert!(begin.elapsed() < Duration::from_secs(10));
    assert_eq!((status.counts.sent, status.counts.failed), (TWEETS + 1, 0));
    assert_eq!(status.counts.duplicate, (TWEETS / 200 - 1) * 3);
    assert_eq!(status.topics["bitcoin"], TWEETS + 1);
    let total = listening.status().total;

    // The saved file has the same sum.
    let again = kafka.create_topic("again", TopicConfig::default()).unwrap();
    let replay = Replay::open(saved.path()).unwrap().as_fast_as_possible();
    Streamer::new(&again).start(replay).unwrap().wait();
    let again = Listener::new(&kafka, "again")
        .count(TWEETS + 1)
        .start()
        .unwrap();
    assert!(again.wait_for(LIMIT));
    assert_eq!(again.status().total, total);
}

#[test]
fn invalid_lines_are_counted_and_tweets_of_other_rules_are_filtered_out() {
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
    let (_kafka, topic) = broker_with_topic();
    let streaming = Streamer::new(&topic)
        .track(["bitcoin"])
        .start(x(&base))
        .unwrap();
    until("the tweet", || streaming.status().counts.sent == 1);
    let status = streaming.stop();
    assert_eq!(
        (
            status.counts.read,
            status.counts.filtered,
            status.counts.skipped
        ),
        (2, 1, 4)
    );
    assert_eq!(status.ended, Some(EndReason::Stopped));
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
    // The stream does not end, so the flushed part must arrive before the end.
    let chunks = vec![Bytes::from(packed.get_ref().clone())];
    let (_runtime, api, base) = server([Plan::Stream(chunks, End::Silence)]);
    api.lock().unwrap().encoding = Some("gzip");
    let (_kafka, topic) = broker_with_topic();
    let streaming = Streamer::new(&topic)
        .track(["bitcoin"])
        .start(x(&base))
        .unwrap();
    until("the tweets", || streaming.status().counts.sent == 3);
}

#[test]
fn tweets_may_arrive_in_pieces() {
    let (runtime, _api, base) = server([tweets(0..100, End::Silence)]);
    let (_, split) = runtime.block_on(splitting(&base));
    let (_kafka, topic) = broker_with_topic();
    let streaming = Streamer::new(&topic)
        .track(["bitcoin"])
        .start(x(&split))
        .unwrap();
    until("the tweets", || streaming.status().counts.sent == 100);
    assert_eq!(streaming.stop().counts.skipped, 0);
}

#[test]
fn missing_rules_are_added_and_old_ones_deleted() {
    let (_runtime, api, base) = server([]);
    api.lock().unwrap().rules = vec![
        json!({"id": "1", "value": "bitcoin lang:en", "tag": "live-sentiment: bitcoin"}),
        json!({"id": "2", "value": "old lang:en", "tag": "live-sentiment: old"}),
        json!({"id": "3", "value": "cats", "tag": "cats"}),
    ];
    let (_kafka, topic) = broker_with_topic();
    let start = || {
        Streamer::new(&topic)
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
    api.lock().unwrap().received.clear();
    start();
    let received = api.lock().unwrap().received.clone();
    assert!(
        received.iter().all(|received| received.method == "GET"),
        "nothing to change: {received:?}"
    );
    let stream = received
        .iter()
        .find(|received| received.path.contains("/stream?"))
        .unwrap();
    assert_eq!(stream.authorization, format!("Bearer {TOKEN}"));
    for parameter in [
        "tweet.fields=",
        "expansions=author_id",
        "user.fields=username,public_metrics",
    ] {
        assert!(stream.path.contains(parameter), "{}", stream.path);
    }

    // If an old rule cannot be deleted, the status says so and the stream starts.
    api.lock().unwrap().rejects_deletion = true;
    let status = Streamer::new(&topic)
        .track(["bitcoin"])
        .start(x(&base))
        .unwrap()
        .stop();
    let reason = status.connection.unwrap().last_reason.unwrap();
    assert!(reason.contains("failed to delete rules"), "{reason}");
}

/// A retweet as a line of the stream, which contains the full text of the original tweet.
fn retweet(id: u64, original: &str) -> String {
    let line = line(id, "RT @carl: the beginning of…", "bitcoin");
    let mut retweet: Value = serde_json::from_str(&line).unwrap();
    retweet["data"]["referenced_tweets"] = json!([{"type": "retweeted", "id": "1000"}]);
    retweet["includes"]["tweets"] = json!([{
        "id": "1000", "author_id": "9", "text": "the beginning of…", "note_tweet": {"text": original}
    }]);
    format!("{retweet}\r\n")
}

/// Returns the paths of the requests for the stream.
fn stream_requests(api: &Shared) -> Vec<String> {
    let received = &api.lock().unwrap().received;
    let paths = received.iter().map(|received| received.path.clone());
    paths.filter(|path| path.contains("/stream?")).collect()
}

#[test]
fn the_page_receives_the_full_text_of_a_retweet_unescaped() {
    let line = retweet(1, "I &lt;3 bitcoin &amp; &amp;lt;b&amp;gt;");
    let (_runtime, api, base) = server([Plan::Stream(vec![chunk(line)], End::Silence)]);
    let (kafka, topic) = broker_with_topic();
    let _streaming = Streamer::new(&topic)
        .track(["bitcoin"])
        .start(x(&base))
        .unwrap();
    assert!(stream_requests(&api)[0].contains("expansions=author_id,referenced_tweets.id"));
    let listening = Listener::new(&kafka, "tweets").start().unwrap();
    let figure = LiveFigure::serve_on(0).unwrap();
    figure.show("audience", &listening).unwrap();
    let address = figure.url().replace("http://", "").replace('/', "");
    let mut page = TcpStream::connect(&address).unwrap();
    page.set_read_timeout(Some(LIMIT)).unwrap();
    write!(page, "GET /events HTTP/1.1\r\nHost: {address}\r\n\r\n").unwrap();
    let mut lines = BufReader::new(page).lines().map(Result::unwrap);
    let update = lines.find(|line| line.contains("RT @carl")).unwrap();
    let text = "\"RT @carl: I <3 bitcoin & &lt;b&gt;\"";
    assert!(update.contains(text), "{update}");
}

#[test]
fn retweets_are_left_out_by_the_rules_and_by_their_texts() {
    // The retweet matches a rule of an earlier run that could not be deleted.
    let lines = [
        retweet(1, "I love bitcoin"),
        line(2, "I love bitcoin", "bitcoin"),
    ];
    let plan = Plan::Stream(lines.map(chunk).into(), End::Silence);
    let (_runtime, api, base) = server([plan]);
    let (_kafka, topic) = broker_with_topic();
    let streaming = Streamer::new(&topic)
        .track(["bitcoin"])
        .without_retweets()
        .start(x(&base))
        .unwrap();
    until("the tweet", || streaming.status().counts.sent == 1);
    let counts = streaming.stop().counts;
    assert_eq!((counts.read, counts.filtered, counts.sent), (2, 1, 1));
    assert_eq!(api.lock().unwrap().rules[0]["value"], "bitcoin -is:retweet");
    // Without retweets, X need not return the tweets that replies and quotes refer to.
    let request = &stream_requests(&api)[0];
    assert!(!request.contains("referenced_tweets"), "{request}");
}

#[test]
fn rejections_have_a_hint_and_not_the_secret() {
    let (_kafka, topic) = broker_with_topic();
    let error = |api: &Shared, base: &str, plan: Option<Plan>| {
        api.lock().unwrap().plans = plan.into_iter().collect();
        let (begin, source) = (Instant::now(), x(base));
        let source_shown = format!("{source:?}");
        let error = Streamer::new(&topic)
            .track(["bitcoin"])
            .start(source)
            .unwrap_err();
        assert!(begin.elapsed() < Duration::from_secs(5));
        let shown = format!("{source_shown}\n{error}\n{error:?}");
        assert!(!shown.contains(TOKEN), "{shown}");
        shown
    };
    let (_runtime, api, base) = server([]);
    for (status, hint) in [
        (401, "check the token"),
        (402, "no credit"),
        (403, "plan includes the filtered stream"),
        (404, "X_API_BASE_URL"),
    ] {
        // This server repeats the secret.
        let body = json!({"title": "Refused", "detail": format!("you sent {TOKEN}")}).to_string();
        let error = error(&api, &base, Some(Plan::Answer(status, Vec::new(), body)));
        assert!(
            error.contains(hint) && error.contains(&status.to_string()),
            "{error}"
        );
        assert!(error.contains("Refused"), "{error}");
    }
    api.lock().unwrap().rules.clear();
    api.lock().unwrap().rejects_rules = Some("Rule exceeds the limit".into());
    let error = error(&api, &base, None);
    assert!(
        error.contains("Rule exceeds the limit") && error.contains("bitcoin"),
        "{error}"
    );
}

#[test]
fn a_rejection_after_a_reconnect_ends_the_stream_as_failed() {
    let (_runtime, _api, base) = server([tweets(0..5, End::Clean), response(403)]);
    let (_kafka, topic) = broker_with_topic();
    let streaming = Streamer::new(&topic)
        .track(["bitcoin"])
        .start(x(&base))
        .unwrap();
    assert!(streaming.wait_for(LIMIT));
    let status = streaming.status();
    assert_eq!(
        (status.ended, status.counts.sent),
        (Some(EndReason::Failed), 5)
    );
    assert!(status.last_error.unwrap().contains("403"));
}

#[test]
fn the_token_is_fetched_with_the_key_and_the_secret() {
    let (_runtime, api, base) = server([]);
    let (_kafka, topic) = broker_with_topic();
    let source = X::at(&base, Credentials::key("the-key", "the-secret").unwrap()).unwrap();
    Streamer::new(&topic)
        .track(["bitcoin"])
        .start(source)
        .unwrap()
        .stop();
    let received = api.lock().unwrap().received.clone();
    assert_eq!(received[0].path, "/oauth2/token");
    assert_eq!(received[0].body, "grant_type=client_credentials");
    // The base64 form of the-key:the-secret.
    assert_eq!(received[0].authorization, "Basic dGhlLWtleTp0aGUtc2VjcmV0");
    assert!(
        received[1..]
            .iter()
            .all(|received| received.authorization == "Bearer fetched-token")
    );
}

#[test]
fn a_stop_is_immediate_also_while_the_source_waits_to_reconnect() {
    let (_kafka, topic) = broker_with_topic();
    for plan in [response(503), tweets(0..1, End::Silence)] {
        let (_runtime, _api, base) = server([plan]);
        let streaming = Streamer::new(&topic)
            .track(["bitcoin"])
            .start(x(&base))
            .unwrap();
        let begin = Instant::now();
        streaming.stop();
        assert!(
            begin.elapsed() < Duration::from_secs(2),
            "{:?}",
            begin.elapsed()
        );
    }
}

#[test]
fn an_unreachable_server_is_named_while_the_source_retries() {
    let (_kafka, topic) = broker_with_topic();
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let base = format!("http://{}", closed.local_addr().unwrap());
    drop(closed);
    let begin = Instant::now();
    let streaming = Streamer::new(&topic)
        .track(["bitcoin"])
        .start(x(&base))
        .unwrap();
    assert!(begin.elapsed() < Duration::from_secs(5));
    let shown = streaming.status().to_string();
    let server = base.trim_start_matches("http://");
    let expected = format!("not connected, retrying: {server}: no connection");
    assert!(shown.contains(&expected), "{shown}");
}

#[test]
fn a_keep_alive_and_a_clean_close_are_not_followed_by_a_request_without_a_wait() {
    let keep_alive = || Plan::Stream(vec![chunk("\r\n")], End::Clean);
    let waits = waits((0..4).map(|_| keep_alive()).collect());
    assert_waits(&waits, &[0.25, 0.5, 0.75, 1.0]);
}

#[test]
fn a_source_that_is_rejected_leaves_the_earlier_stream_running() {
    let (_kafka, topic) = broker_with_topic();
    let (_runtime, api, base) = server([response(401)]);
    let first = Streamer::new(&topic).start(Demo::default()).unwrap();
    let start = || Streamer::new(&topic).track(["bitcoin"]).start(x(&base));
    let error = start().unwrap_err().to_string();
    assert!(error.contains("401"), "{error}");
    let sent = first.status().counts.sent;
    until("the first stream to continue", || {
        first.status().counts.sent > sent
    });
    assert_eq!(first.status().ended, None);
    api.lock().unwrap().plans.clear();
    let second = start().unwrap();
    assert_eq!(first.status().ended, Some(EndReason::Stopped));
    assert_eq!(second.status().ended, None);
}

#[test]
fn a_second_stream_of_the_account_takes_over_the_connection() {
    let (_kafka, topic) = broker_with_topic();
    let too_many =
        json!({"title": "ConnectionException", "connection_issue": "TooManyConnections"});
    let (_runtime, _api, base) = server([
        tweets(0..5, End::Silence),
        Plan::Answer(429, Vec::new(), too_many.to_string()),
        tweets(5..9, End::Silence),
    ]);
    let start = || {
        Streamer::new(&topic)
            .track(["bitcoin"])
            .start(x(&base))
            .unwrap()
    };
    let first = start();
    until("the first tweets", || first.status().counts.sent == 5);
    let begin = Instant::now();
    let second = start();
    assert_eq!(first.status().ended, Some(EndReason::Stopped));
    until("the next tweets", || second.status().counts.sent == 4);
    assert!(
        begin.elapsed() < Duration::from_secs(30),
        "not a minute later"
    );
}
