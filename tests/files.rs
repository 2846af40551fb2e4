//! Files of tweets in the shapes in which people have them, which a replay reads as they are.

use common::*;
use live_sentiment::prelude::*;
use std::io::Write;
use std::path::{Path, PathBuf};

/// The folder of the files, which is next to the checkout; `None` if it is not there.
fn shared(name: &str) -> Option<PathBuf> {
    let folder = root().join("../shared/data/files");
    if folder.is_dir() {
        return Some(folder.join(name));
    }
    eprintln!(
        "SKIPPED: the files of tweets are not here ({})",
        folder.display()
    );
    None
}

/// Returns what a source gives, and how many other events it has counted.
fn read(source: Replay) -> (Vec<Result<Tweet>>, u64) {
    let mut source = source.as_fast_as_possible();
    let files = source.files().unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let items = runtime.block_on(async {
        let mut items = Vec::new();
        while let Some(item) = source.next().await {
            items.push(item);
        }
        items
    });
    (items, files.now().other_events)
}

/// Reads a file, which must contain nothing but tweets, and returns them.
fn tweets(name: &str) -> Option<Vec<Tweet>> {
    let (items, events) = read(Replay::open(shared(name)?).unwrap());
    assert_eq!(events, 0, "{name}");
    Some(items.into_iter().map(|item| item.unwrap()).collect())
}

const TEXTS: [&str; 3] = [
    "Bitcoin isn\u{2019}t dead & I like it <3",
    "dogecoin: \"a sad joke\",\nsaid nobody",
    "Ethereum \u{2764}\u{fe0f} \u{1f680}",
];
const AUTHORS: [(&str, Option<u64>); 3] =
    [("ada", Some(1_200)), ("bob", Some(30)), ("eve", Some(0))];

fn check_texts(name: &str, tweets: &[Tweet]) {
    let texts: Vec<&str> = tweets.iter().map(|tweet| &*tweet.text).collect();
    assert_eq!(texts, TEXTS, "{name}");
}

fn check_authors(name: &str, tweets: &[Tweet]) {
    let authors: Vec<_> = tweets
        .iter()
        .map(|tweet| (&*tweet.user, tweet.followers))
        .collect();
    assert_eq!(authors, AUTHORS, "{name}");
}

fn check_times(name: &str, tweets: &[Tweet], times: [&str; 3]) {
    let found: Vec<String> = tweets
        .iter()
        .map(|tweet| tweet.created_at.to_string())
        .collect();
    assert_eq!(found, times, "{name}");
}

const TIMES: [&str; 3] = [
    "2021-01-05T09:30:10Z",
    "2021-01-05T09:30:11Z",
    "2021-01-05T09:30:12Z",
];

#[test]
fn objects_and_pages_of_x_are_read() {
    for name in [
        "x-v1.jsonl",
        "x-v1-extended.json",
        "x-v2-pages.jsonl",
        "x-v2-flat.jsonl.gz",
    ] {
        let Some(tweets) = tweets(name) else { return };
        check_texts(name, &tweets);
        check_authors(name, &tweets);
        check_times(name, &tweets, TIMES);
        assert!(
            tweets
                .iter()
                .all(|tweet| tweet.lang == "en" && tweet.id.starts_with("134600000000000000"))
        );
    }
}

#[test]
fn notices_of_x_are_other_events() {
    let full =
        "My first bitcoin cost me a pizza, and I would do it all again because it was lovely";
    let Some(path) = shared("x-v1-stream.jsonl") else {
        return;
    };
    let (items, events) = read(Replay::open(path).unwrap());
    assert_eq!((items.len(), events), (1, 2));
    assert_eq!(items[0].as_ref().unwrap().text, format!("RT @carl: {full}"));
    let (items, events) = read(Replay::open(shared("x-v2-stream.jsonl").unwrap()).unwrap());
    assert_eq!((items.len(), events), (4, 1));
    let tweets: Vec<Tweet> = items.into_iter().map(|item| item.unwrap()).collect();
    check_texts("x-v2-stream.jsonl", &tweets[..3]);
    check_authors("x-v2-stream.jsonl", &tweets[..3]);
    assert_eq!(tweets[3].text, format!("RT @carl: {full}"));
}

#[test]
fn the_table_of_bitcoin_tweets_is_read_and_its_broken_row_is_counted() {
    let Some(path) = shared("bitcoin-tweets.csv") else {
        return;
    };
    let (mut items, _) = read(Replay::open(&path).unwrap());
    let error = items.pop().unwrap().unwrap_err();
    let expected = format!(
        "row 5 of {} is not a tweet (another number of columns than the table); skipped",
        path.display()
    );
    assert_eq!(error.to_string(), expected);
    let tweets: Vec<Tweet> = items.into_iter().map(|item| item.unwrap()).collect();
    check_texts("bitcoin-tweets.csv", &tweets);
    check_authors("bitcoin-tweets.csv", &tweets);
    check_times("bitcoin-tweets.csv", &tweets, TIMES);
}

#[test]
fn sentiment140_is_read_without_a_header() {
    let Some(tweets) = tweets("sentiment140.csv") else {
        return;
    };
    let users: Vec<_> = tweets
        .iter()
        .map(|tweet| (&*tweet.user, tweet.followers))
        .collect();
    assert_eq!(users, [("ada", None), ("bob", None), ("eve", None)]);
    assert_eq!(tweets[0].text, "the caf\u{e9} is \"fine\" <3 0");
    assert_eq!(tweets[0].id, "1467810369");
    let times = [
        "2009-04-07T05:19:45Z",
        "2009-04-07T05:19:46Z",
        "2009-04-07T05:19:47Z",
    ];
    check_times("sentiment140.csv", &tweets, times);
}

#[test]
fn other_tables_are_read() {
    let first_lines: Vec<&str> = TEXTS
        .iter()
        .filter_map(|text| text.lines().next())
        .collect();
    let Some(labels) = tweets("labels.tsv") else {
        return;
    };
    let texts: Vec<&str> = labels.iter().map(|tweet| &*tweet.text).collect();
    assert_eq!(texts, first_lines);
    let tweets = tweets("other-names.csv").unwrap();
    // The file has commas in place of the semicolons of the character references.
    assert_eq!(
        tweets[0].text,
        "Bitcoin isn\u{2019}t dead &amp, I like it &lt,3"
    );
    assert_eq!(tweets[2].text, TEXTS[2]);
    check_authors("other-names.csv", &tweets);
    let times = [
        "2021-01-05T08:30:10Z",
        "2021-01-05T08:30:11Z",
        "2021-01-05T08:30:12Z",
    ];
    check_times("other-names.csv", &tweets, times);
}

#[test]
fn a_recording_of_a_jetstream_is_read() {
    let Some(path) = shared("jetstream.jsonl") else {
        return;
    };
    let (items, events) = read(Replay::open(path).unwrap());
    assert_eq!(events, 1);
    let tweets: Vec<Tweet> = items.into_iter().map(|item| item.unwrap()).collect();
    check_texts("jetstream.jsonl", &tweets);
    assert!(tweets.iter().all(|tweet| tweet.followers.is_none()));
}

#[test]
fn a_byte_order_mark_and_null_are_read() {
    let name = "bom-and-null.jsonl";
    let Some(tweets) = tweets(name) else { return };
    check_texts(name, &tweets);
    check_authors(name, &tweets);
    assert_eq!(tweets[2].id, "100000000000000000002");
}

#[test]
fn a_folder_of_all_files_is_read() {
    let Some(folder) = shared(".") else { return };
    let (items, events) = read(Replay::open(folder).unwrap());
    // The README and the table without tweets, and the broken row.
    let errors: Vec<String> = items
        .iter()
        .filter_map(|item| Some(item.as_ref().err()?.to_string()))
        .collect();
    assert_eq!(errors.len(), 3, "{errors:?}");
    assert!(
        errors[0].contains("README.md") && errors[2].contains("no-tweets.csv"),
        "{errors:?}"
    );
    assert_eq!((items.len() - errors.len(), events), (10 * 3 + 4 + 1, 4));
}

fn replaying(kafka: &Kafka, file: &Path) -> std::process::Command {
    let mut program = example("streamer");
    program.args(["--bootstrap", kafka.address(), "--source", "replay"]);
    program.args(["--rate", "0", "--file"]).arg(file);
    program
}

fn streamer(kafka: &Kafka, file: &Path, arguments: &[&str]) -> std::process::Output {
    let mut program = replaying(kafka, file);
    program.arg("--json").args(arguments).output().unwrap()
}

#[test]
fn a_file_without_tweets_is_one_error_that_says_what_it_looks_like() {
    let kafka = broker();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("prices.csv");
    std::fs::write(&file, "date,close,volume\n2021-01-05,1.5,7\n".repeat(1_000)).unwrap();
    let output = streamer(&kafka, &file, &[]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert_eq!(said.matches("failed").count(), 1, "{said}");
    for part in [
        "a table with commas and the columns date, close, volume",
        "--columns text=date",
    ] {
        assert!(said.contains(part), "{said}");
    }
    // A column that the caller names.
    let output = streamer(&kafka, &file, &["--columns", "text=date,user=volume"]);
    let status: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        status["sent"], 1_999,
        "the header comes again in the table, {status}"
    );
    let output = streamer(&kafka, &file, &["--columns", "text=missing"]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(
        output.status.code() == Some(1) && said.contains("date, close, volume"),
        "{said}"
    );
}

#[test]
fn skipped_records_are_counted_by_their_reasons() {
    let kafka = broker();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("tweets.jsonl");
    let lines = "{\"text\":\"a\"}\nbad\n{}\nworse\n";
    std::fs::write(&file, lines).unwrap();
    let output = streamer(&kafka, &file, &[]);
    let status: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        (&status["sent"], &status["skipped"]),
        (&1.into(), &3.into())
    );
    assert_eq!(
        status["skip_reasons"],
        serde_json::json!({"not_json": 2, "no_text": 1})
    );
}

#[test]
fn the_progress_through_several_files_grows_to_its_end() {
    let folder = tempfile::tempdir().unwrap();
    let tweet = r#"{"created_at":"Tue Jan 05 09:30:10 +0000 2021","text":"a","user":{}}"#;
    let lines = format!("{tweet}\nbad\n{{\"delete\":{{}}}}\n").repeat(5_000);
    std::fs::write(folder.path().join("1.jsonl"), &lines).unwrap();
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packed.write_all(lines.as_bytes()).unwrap();
    std::fs::write(folder.path().join("2.gz"), packed.finish().unwrap()).unwrap();
    let mut source = Replay::open(folder.path()).unwrap().as_fast_as_possible();
    let files = source.files().unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let mut last = files.now().share().unwrap();
    assert_eq!(last, 0.0);
    let mut steps = 0;
    runtime.block_on(async {
        while source.next().await.is_some() {
            let share = files.now().share().unwrap();
            assert!(share >= last, "{share} after {last}");
            steps += usize::from(share > last);
            last = share;
        }
    });
    assert!(steps > 1_000, "only {steps} steps");
    let progress = files.now();
    assert_eq!(progress.share(), Some(1.0));
    assert_eq!((progress.records, progress.other_events), (30_000, 10_000));
}

#[test]
fn a_file_without_follower_counts_is_named_with_what_to_do() {
    let kafka = broker();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("labels.tsv");
    std::fs::write(&file, "text\tlabel\nI love it\tpositive\n").unwrap();
    let said = || String::from_utf8(replaying(&kafka, &file).output().unwrap().stdout).unwrap();
    let none = said();
    assert!(none.contains("no tweet has a follower count"), "{none}");
    assert!(none.contains("100 % of the files read"), "{none}");
    std::fs::write(&file, "text\tfollowers\nI love it\t\nMe too\t7\n").unwrap();
    let some = said();
    assert!(!some.contains("no tweet has a follower count"), "{some}");
}
