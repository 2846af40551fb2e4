//! The example program that writes scored tweets to a file.

use common::*;
use live_sentiment::prelude::*;
use live_sentiment::sentiment::weighted;

#[test]
fn scored_tweets_are_written_to_a_csv_file() {
    let (kafka, topic) = broker_with_topic();
    let sent = Streamer::new(&topic)
        .start(Demo::default().as_fast_as_possible().count(300))
        .unwrap()
        .wait();
    assert_eq!(sent.counts.sent, 300);
    let awkward = r#"{"id":"1","user":"a,b","text":"I \"love\" it,\n=really"}"#;
    write(&kafka, "tweets", &[awkward.as_bytes()]);
    let file = tempfile::NamedTempFile::new().unwrap();
    let path = file.path().to_str().unwrap();
    let export = example("export")
        .args([
            "--bootstrap",
            kafka.address(),
            "--count",
            "301",
            "--to",
            path,
        ])
        .output()
        .unwrap();
    let output = String::from_utf8_lossy(&export.stdout);
    assert!(
        export.status.success() && output.contains("counted 301"),
        "{export:?}"
    );

    let mut rows = csv::Reader::from_path(path).unwrap();
    let header = ["time", "author", "followers", "compound", "metric", "text"];
    assert_eq!(rows.headers().unwrap(), &header[..]);
    let rows: Vec<csv::StringRecord> = rows.records().map(Result::unwrap).collect();
    assert_eq!(rows.len(), 301);
    for row in &rows {
        let tweet = Tweet::new(&row[1], &row[5]).followers(row[2].parse().ok());
        let sentiment = Analyzer::new().score(&row[5]);
        assert_eq!(row[3], sentiment.compound.to_string());
        assert_eq!(row[4], weighted(&tweet, &sentiment).to_string());
    }
    let last = &rows[300];
    assert_eq!(
        (&last[1], &last[2], &last[5]),
        ("a,b", "", "I \"love\" it,\n=really")
    );

    // A replay reads the file.
    let again = kafka.create_topic("again", TopicConfig::default()).unwrap();
    let replay = Replay::open(path).unwrap().as_fast_as_possible();
    let replayed = Streamer::new(&again).start(replay).unwrap().wait();
    assert_eq!((replayed.counts.sent, replayed.counts.skipped), (301, 0));
    let scored = Listener::new(&kafka, "again").count(301).tweets().unwrap();
    for (scored, row) in scored.zip(&rows) {
        let tweet = &scored.tweet;
        assert_eq!((&*tweet.user, &*tweet.text), (&row[1], &row[5]));
        assert_eq!(tweet.followers, row[2].parse().ok());
        assert_eq!(tweet.created_at.to_string(), row[0]);
    }
}
