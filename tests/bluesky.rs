//! Bluesky, against a Jetstream and an AppView that simulate faults.

use common::jetstream::{Event, Jetstream, ProfilesAre, Shared, Speaks, serve};
use common::*;
use live_sentiment::prelude::*;
use live_sentiment::{Filter, Tweet};
use std::sync::{Arc, Mutex};
use std::time::Instant;
use tokio::runtime::Runtime;

/// Starts a server on its own runtime, separate from the streamer's.
fn server(jetstream: Jetstream) -> (Runtime, Shared, String) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let jetstream = Arc::new(Mutex::new(jetstream));
    let base = runtime.block_on(serve(jetstream.clone()));
    (runtime, jetstream, base)
}

fn bluesky(base: &str) -> Bluesky {
    Bluesky::at(base).profiles_at(base)
}

fn posts(count: u64, authors: u64) -> Vec<Event> {
    let text = |number: u64| match number % 3 {
        0 => format!("I love bitcoin, says {number}"),
        _ => format!("cats, says {number}"),
    };
    (0..count)
        .map(|number| Event::Post(number % authors, text(number)))
        .collect()
}

/// Returns the next tweets to which the source gives a topic.
async fn chosen(source: &mut Bluesky, count: usize) -> Vec<Tweet> {
    let mut chosen = Vec::new();
    while chosen.len() < count {
        let tweet = source.next().await.unwrap().unwrap();
        if !tweet.topics.is_empty() {
            chosen.push(tweet);
        }
    }
    chosen
}

fn filter() -> Filter {
    Filter::new(["bitcoin"], ["en"]).unwrap()
}

#[test]
fn posts_have_the_follower_count_of_their_author_in_every_version() {
    for speaks in [Speaks::V2, Speaks::V2Unnamed, Speaks::V1] {
        with_paused_clock(async {
            let jetstream = Arc::new(Mutex::new(Jetstream {
                speaks,
                log: posts(300, 40),
                ..Jetstream::default()
            }));
            let mut source = bluesky(&serve(jetstream.clone()).await);
            source.begin(filter()).await.unwrap();
            let tweets = chosen(&mut source, 100).await;
            for tweet in &tweets {
                let (_, index) = tweet.id.rsplit_once("/rkey").unwrap();
                let index: u64 = index.parse().unwrap();
                let author = index % 40;
                assert_eq!(tweet.user, format!("author{author}.bsky.social"));
                assert_eq!(tweet.followers, Some(author));
                assert_eq!(tweet.topics, ["bitcoin"]);
                let uri = format!(
                    "at://{}/app.bsky.feed.post/rkey{index}",
                    jetstream::did(author)
                );
                assert_eq!(tweet.id, uri);
                assert_eq!(tweet.created_at.to_string(), "2026-01-01T00:00:00Z");
            }
            // Each profile is requested once, up to 25 at a time.
            let calls = jetstream.lock().unwrap().profile_calls.clone();
            assert_eq!(calls.iter().sum::<usize>(), 40, "{calls:?}");
            assert_eq!(calls.len(), 2, "{calls:?}");
        });
    }
}

#[test]
fn every_post_arrives_once_although_the_stream_breaks_again_and_again() {
    const POSTS: u64 = 600;
    for speaks in [Speaks::V2, Speaks::V1] {
        let (_runtime, jetstream, base) = server(Jetstream {
            speaks,
            log: posts(POSTS, 50),
            cut_after: Some(100),
            ..Jetstream::default()
        });
        let (kafka, topic) = broker_with_topic();
        let streaming = Streamer::new(&topic)
            .track(["bitcoin"])
            .languages(["en"])
            .start(bluesky(&base))
            .unwrap();
        let listening = Listener::new(&kafka, "tweets").start().unwrap();
        until_counted(&listening, POSTS / 3);
        let status = streaming.stop();
        assert_eq!((status.counts.sent, status.counts.failed), (POSTS / 3, 0));
        assert_eq!(status.topics["bitcoin"], POSTS / 3);
        let connection = status.connection.unwrap();
        assert!(connection.reconnects >= POSTS / 100 - 1);
        assert_eq!(connection.without_followers, 0);
        let cursors: Vec<Option<u64>> = jetstream
            .lock()
            .unwrap()
            .connections
            .iter()
            .map(|(_, cursor)| *cursor)
            .collect();
        assert_eq!(cursors[0], None);
        assert!(cursors[1..].iter().all(Option::is_some));
        assert_eq!(listening.status().total.counted, POSTS / 3);
    }
}

#[test]
fn a_fast_stream_keeps_the_limit_of_profile_calls() {
    const POSTS: u64 = 50_000;
    let (_runtime, jetstream, base) = server(Jetstream {
        log: posts(POSTS, 2_000),
        ..Jetstream::default()
    });
    let (_kafka, topic) = broker_with_topic();
    let start = Instant::now();
    // Without a track, every post passes and needs the profile of its author.
    let streaming = Streamer::new(&topic).start(bluesky(&base)).unwrap();
    until("all posts", || streaming.status().counts.sent == POSTS);
    let status = streaming.stop();
    assert_eq!(
        (
            status.counts.read,
            status.counts.filtered,
            status.counts.skipped
        ),
        (POSTS, 0, 0)
    );
    // Bluesky's limit is 10 calls per second, whatever the number of posts.
    let calls = jetstream.lock().unwrap().profile_calls.len() as f64;
    assert!(
        calls <= 1.0 + 10.0 * start.elapsed().as_secs_f64(),
        "{calls}"
    );
}

#[test]
fn posts_may_arrive_in_pieces() {
    let (runtime, _jetstream, base) = server(Jetstream {
        log: posts(300, 40),
        ..Jetstream::default()
    });
    let (base, split) = runtime.block_on(splitting(&base));
    let (_kafka, topic) = broker_with_topic();
    let streaming = Streamer::new(&topic)
        .track(["bitcoin"])
        .start(Bluesky::at(&split).profiles_at(&base))
        .unwrap();
    until("the posts", || streaming.status().counts.sent == 100);
    assert_eq!(streaming.stop().counts.skipped, 0);
}

#[test]
fn missing_profiles_do_not_delay_posts() {
    for (profiles, calls) in [
        (ProfilesAre::Missing, 1),
        (ProfilesAre::Refused(500), 1),
        (ProfilesAre::Refused(429), 1),
        (ProfilesAre::Hanging, 1),
    ] {
        with_paused_clock(async {
            let jetstream = Arc::new(Mutex::new(Jetstream {
                profiles,
                log: posts(30, 5),
                ..Jetstream::default()
            }));
            let mut source = bluesky(&serve(jetstream.clone()).await);
            source.begin(filter()).await.unwrap();
            let start = tokio::time::Instant::now();
            let tweets = chosen(&mut source, 10).await;
            assert!(
                start.elapsed() < Duration::from_secs(1),
                "{:?}",
                start.elapsed()
            );
            assert!(tweets.iter().all(|tweet| tweet.followers.is_none()));
            assert!(
                tweets
                    .iter()
                    .all(|tweet| tweet.user.starts_with("did:plc:author"))
            );
            assert_eq!(source.connection().unwrap().now().without_followers, 10);
            assert_eq!(jetstream.lock().unwrap().profile_calls.len(), calls);
        });
    }
}

#[test]
fn refused_profiles_are_requested_again() {
    with_paused_clock(async {
        let jetstream = Arc::new(Mutex::new(Jetstream {
            profiles: ProfilesAre::Refused(429),
            log: posts(1, 1),
            ..Jetstream::default()
        }));
        let mut source = bluesky(&serve(jetstream.clone()).await);
        source.begin(filter()).await.unwrap();
        assert_eq!(chosen(&mut source, 1).await[0].followers, None);
        tokio::time::sleep(Duration::from_secs(10)).await;
        {
            let mut jetstream = jetstream.lock().unwrap();
            jetstream.profiles = ProfilesAre::There;
            jetstream.log.push(Event::Post(0, "bitcoin again".into()));
        }
        assert_eq!(chosen(&mut source, 1).await[0].followers, Some(0));
    });
}

#[test]
fn every_frame_is_counted_as_a_post_as_invalid_or_as_another_event() {
    let raw = |text: &str| Event::Raw(text.to_owned());
    let commit = |more: &str| {
        raw(&format!(
            r#"{{"$type":"message","payload":{{"$type":"network.bsky.jetstream.subscribeEvents#commit",
            "seq":1,"did":"did:plc:author1","time":"2026-01-01T00:00:00Z","rev":"1","rkey":"r1",{more}}}}}"#
        ))
    };
    let log = vec![
        commit(r#""operation":"delete","collection":"app.bsky.feed.post""#),
        commit(
            r#""operation":"update","collection":"app.bsky.feed.post","record":{"text":"bitcoin"}"#,
        ),
        commit(
            r#""operation":"create","collection":"app.bsky.feed.like","record":{"text":"bitcoin"}"#,
        ),
        raw(
            r#"{"$type":"message","payload":{"$type":"network.bsky.jetstream.subscribeEvents#info","name":"OutdatedCursor","message":"x"}}"#,
        ),
        raw(
            r#"{"$type":"message","payload":{"$type":"network.bsky.jetstream.subscribeEvents#later","seq":3}}"#,
        ),
        raw(r#"{"$type":"later"}"#),
        // The next four are invalid.
        raw("not json"),
        raw("{}"),
        commit(r#""operation":"create","collection":"app.bsky.feed.post","record":{"text":5}"#),
        commit(r#""operation":"create","collection":"app.bsky.feed.post""#),
        // This post mentions bitcoin only in a link.
        commit(
            r#""operation":"create","collection":"app.bsky.feed.post","record":{"text":"see exam…","langs":["de","en"],
            "createdAt":"2999-01-01T00:00:00Z","facets":[{"index":{"byteStart":0,"byteEnd":3},"features":
            [{"$type":"app.bsky.richtext.facet#link","uri":"https://example.org/bitcoin"}]}]}"#,
        ),
    ];
    let (_runtime, _jetstream, base) = server(Jetstream {
        log,
        ..Jetstream::default()
    });
    let (_kafka, topic) = broker_with_topic();
    let streaming = Streamer::new(&topic)
        .track(["bitcoin"])
        .languages(["en"])
        .start(bluesky(&base))
        .unwrap();
    until("the post", || streaming.status().counts.sent == 1);
    let status = streaming.stop();
    assert_eq!(
        (
            status.counts.read,
            status.counts.filtered,
            status.counts.skipped
        ),
        (1, 0, 4)
    );
    assert_eq!(status.connection.unwrap().other_events, 6);
    assert_eq!(
        status.newest.unwrap().to_string(),
        "2026-01-01T00:00:00Z",
        "not the future"
    );
}

#[test]
fn errors_silence_and_rejections_lead_to_a_reconnect() {
    with_paused_clock(async {
        let error = r#"{"$type":"error","error":"ConsumerTooSlow","message":"too slow"}"#;
        let mut log = posts(9, 3);
        log.push(Event::Raw(error.into()));
        let jetstream = Arc::new(Mutex::new(Jetstream {
            log,
            silent: true,
            ..Jetstream::default()
        }));
        let mut source = bluesky(&serve(jetstream.clone()).await);
        source.begin(filter()).await.unwrap();
        let watch = source.connection().unwrap();
        chosen(&mut source, 3).await;
        // After the error frame, the next connection starts before the newest post. The streamer drops
        // the posts that come again.
        chosen(&mut source, 1).await;
        let reason = watch.now().last_reason.unwrap();
        assert!(reason.contains("ConsumerTooSlow"), "{reason}");

        // Now the stream is silent: nothing for 30 s, and no answer to a ping.
        {
            let mut jetstream = jetstream.lock().unwrap();
            jetstream.log.truncate(9);
            jetstream.connections.clear();
            jetstream.answers = vec![503, 503, 503];
        }
        while jetstream.lock().unwrap().connections.len() < 6 {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        let connections = jetstream.lock().unwrap().connections.clone();
        let waits: Vec<f64> = connections
            .windows(2)
            .map(|pair| (pair[1].0 - pair[0].0).as_secs_f64())
            .collect();
        // Each rejection doubles the wait, except for jitter. After that, the server is silent for 30 s
        // before the next wait.
        for pair in waits[..3].windows(2) {
            assert!((1.8..=2.3).contains(&(pair[1] / pair[0])), "{waits:?}");
        }
        assert!(
            (30.0..=30.0 + 2.3 * waits[2] * 2.0).contains(&waits[3]),
            "{waits:?}"
        );
        let reason = watch.now().last_reason.unwrap();
        assert!(reason.contains("no data for 30 s"), "{reason}");
    });
}

#[test]
fn connections_that_soon_break_are_reconnected_after_growing_pauses() {
    with_paused_clock(async {
        let jetstream = Arc::new(Mutex::new(Jetstream {
            log: posts(600, 5),
            cut_after: Some(20),
            ..Jetstream::default()
        }));
        let mut source = bluesky(&serve(jetstream.clone()).await);
        source.begin(filter()).await.unwrap();
        let connected = async |count: usize| {
            while jetstream.lock().unwrap().connections.len() < count {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            let connections = jetstream.lock().unwrap().connections.clone();
            let pairs = connections.windows(2);
            pairs
                .map(|pair| (pair[1].0 - pair[0].0).as_secs_f64())
                .collect::<Vec<f64>>()
        };
        let waits = connected(12).await;
        for (number, wait) in (1..).zip(&waits) {
            let least = 0.1 * f64::from(number);
            assert!((least..1.1 * least + 0.1).contains(wait), "{waits:?}");
        }

        // After a long connection, the source reconnects soon.
        jetstream.lock().unwrap().cut_after = None;
        connected(13).await;
        tokio::time::sleep(Duration::from_secs(20)).await;
        jetstream.lock().unwrap().generation += 1;
        let waits = connected(14).await;
        assert!((20.0..20.2).contains(&waits[12]), "{waits:?}");
    });
}

#[test]
fn a_quiet_stream_that_answers_pings_is_kept() {
    with_paused_clock(async {
        let jetstream = Arc::new(Mutex::new(Jetstream {
            log: posts(1, 1),
            ..Jetstream::default()
        }));
        let mut source = bluesky(&serve(jetstream.clone()).await);
        source.begin(filter()).await.unwrap();
        chosen(&mut source, 1).await;
        tokio::time::sleep(Duration::from_secs(300)).await;
        assert_eq!(jetstream.lock().unwrap().connections.len(), 1);
        jetstream
            .lock()
            .unwrap()
            .log
            .push(Event::Post(0, "bitcoin again".into()));
        chosen(&mut source, 1).await;
    });
}

#[test]
fn a_stop_is_immediate_also_while_the_source_waits_to_reconnect() {
    let (_kafka, topic) = broker_with_topic();
    for answers in [vec![503; 100], vec![]] {
        let (_runtime, _jetstream, base) = server(Jetstream {
            answers,
            ..Jetstream::default()
        });
        let streaming = Streamer::new(&topic).start(bluesky(&base)).unwrap();
        let start = Instant::now();
        streaming.stop();
        assert!(
            start.elapsed() < Duration::from_secs(2),
            "{:?}",
            start.elapsed()
        );
    }
}

#[test]
fn an_invalid_address_is_rejected() {
    let (_kafka, topic) = broker_with_topic();
    for address in [
        "http://jetstream.example",
        "jetstream",
        "https://me:secret@example.org",
    ] {
        let error = Streamer::new(&topic)
            .start(Bluesky::at(address))
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("BLUESKY_JETSTREAM_URL") && !error.contains("secret"),
            "{error}"
        );
    }
}
