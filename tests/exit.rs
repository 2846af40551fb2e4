//! The exit status of the programs, on which a script must be able to rely, and their error messages.

use common::admin::{Operation, WITH_PERMISSIONS, deny};
use common::apache::Apache;
use common::*;
use live_sentiment::prelude::*;
use std::process::Output;

/// Runs a program to its end. Returns its exit status and its standard error, which is not a terminal.
fn run(name: &str, kafka: &Kafka, arguments: &[&str]) -> (Option<i32>, String) {
    let mut program = example(name);
    program
        .args(["--bootstrap", kafka.address()])
        .args(arguments);
    let Output { status, stderr, .. } = program.output().unwrap();
    (status.code(), String::from_utf8(stderr).unwrap())
}

#[test]
fn a_stream_that_succeeds_ends_with_status_0() {
    let kafka = broker();
    let demo = ["--rate", "0", "--count", "100"];
    assert_eq!(run("streamer", &kafka, &demo).0, Some(0));
    let all = ["--count", "100", "--figure-port", "0"];
    assert_eq!(run("listener", &kafka, &all).0, Some(0));
}

#[test]
fn a_file_without_tweets_ends_with_status_1() {
    let kafka = broker();
    let file = tempfile::NamedTempFile::new().unwrap();
    for (content, reason) in [
        ("", "the source had no tweet; 0 messages were skipped"),
        ("no tweet\n[1]\n", "failed to find a tweet at the start"),
        (
            "{\"delete\":{}}\nbad\n",
            "the source had no tweet; 1 messages were skipped",
        ),
    ] {
        std::fs::write(file.path(), content).unwrap();
        let replay = [
            "--source",
            "replay",
            "--file",
            file.path().to_str().unwrap(),
        ];
        let (status, said) = run("streamer", &kafka, &replay);
        assert_eq!(status, Some(1), "{said}");
        assert!(said.contains(reason), "{said}");
    }
}

#[test]
fn a_listener_of_a_missing_topic_names_it_once_and_ends_with_status_1() {
    let kafka = broker();
    let listen = [
        "--topic",
        "missing",
        "--time-span",
        "2",
        "--figure-port",
        "0",
    ];
    let (status, said) = run("listener", &kafka, &listen);
    assert_eq!(status, Some(1), "{said}");
    let missing = "topic \"missing\" does not exist";
    let warned = said.lines().filter(|line| line.contains("WARN"));
    assert_eq!(
        warned.filter(|line| line.contains("missing")).count(),
        1,
        "{said}"
    );
    assert!(said.contains(missing), "{said}");
}

#[test]
fn a_stream_whose_tweets_fail_ends_with_status_1_and_says_how_many() {
    let Some(apache) = Apache::start(&WITH_PERMISSIONS) else {
        return;
    };
    let kafka = apache.kafka();
    create_topic(&kafka);
    deny(&kafka, "tweets", Operation::Write);
    let folder = tempfile::tempdir().unwrap();
    let mut streamer = example("streamer");
    let arguments = ["--join", "--count", "50", "--rate", "0"];
    streamer
        .args(["--bootstrap", kafka.address()])
        .args(arguments);
    let ended = streamer.current_dir(&folder).output().unwrap();
    let said = String::from_utf8(ended.stderr).unwrap();
    assert_eq!(ended.status.code(), Some(1), "{said}");
    assert!(said.contains("50 tweets were not delivered"), "{said}");
    assert!(said.contains("dead-letter-tweets"), "{said}");
}
