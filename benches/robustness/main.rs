//! Robustness tests: mutated messages, requests, texts and files, a day of tweets, killed processes, and a Kafka
//! cluster that other programs use too. Each part checks its claim and fails if the claim does not hold.
//!
//! `cargo bench --workspace --bench robustness -- quick` is a part of `make test`. `make robustness` takes 15 minutes and
//! writes docs/robustness.md. `-- messages` or another name runs one part. `-- report` writes the file from
//! the results of the last run of each part.

mod day;
mod files;
mod kills;
mod load;
mod messages;
mod mutate;
mod others;
mod requests;
mod texts;

use std::fmt::Write;
use std::path::PathBuf;
use std::time::Instant;

/// A line of the report.
pub struct Finding {
    pub what: String,
    pub outcome: String,
}

/// The size of a run: full for the report, or small.
#[derive(Clone, Copy)]
pub struct Size {
    pub messages: usize,
    pub requests: usize,
    pub texts: usize,
    pub files: usize,
    pub hours: f64,
    pub kills: usize,
}

const FULL: Size = Size {
    messages: 1_000_000,
    requests: 100_000,
    texts: 1_000_000,
    files: 1_000_000,
    hours: 24.0,
    kills: 50,
};
const QUICK: Size = Size {
    messages: 20_000,
    requests: 2_000,
    texts: 50_000,
    files: 5_000,
    hours: 0.0,
    kills: 0,
};

type Part = (&'static str, fn(Size) -> Vec<Finding>);

const PARTS: [Part; 7] = [
    ("messages", messages::run),
    ("requests", requests::run),
    ("texts", texts::run),
    ("files", files::run),
    ("day", day::run),
    ("kills", kills::run),
    ("others", others::run),
];

const REPORT: &str = "docs/robustness.md";
const INTRODUCTION: &str = "# Robustness

`make robustness` measures this page and fails if a claim does not hold. Each row is a run on a machine with \
{cores} cores, in {date}. `make test` contains smaller runs of the first parts, and runs the fuzz targets for a \
minute: see [Contributing](../CONTRIBUTING.md#fuzzing).

| what | outcome |
| --- | --- |
";
const MEANING: &str = "
*Mutated* means: values of a valid message, frame or request are replaced, moved, removed, repeated or made \
extreme, and bytes are changed. One message in a hundred is intact, and each of these must arrive. *Accounted for* \
means: the counts of counted, skipped and duplicate messages, and of a Jetstream's events that are not new posts, \
add up to what was sent. *Exact count and sum* means: \
the count and the sum are those that the source has computed. The processes are real. They are killed with SIGKILL \
at random times, while 500 tweets per second are streamed (up to 20,000 in the replay of the killed streamer). Not \
covered: a scorer and the only broker killed in the same second, see [Kafka](kafka.md#several-machines).
";

fn main() {
    let mut arguments = std::env::args()
        .skip(1)
        .filter(|argument| argument != "--bench");
    match arguments.next().as_deref() {
        None => {
            println!("robustness: skipped; give `quick`, `all` or a part, such as `-- messages`")
        }
        Some("all") => all(),
        Some("report") => report(),
        Some("quick") => PARTS.iter().for_each(|part| run(part, QUICK)),
        Some(name) => {
            let part = PARTS.iter().find(|(known, _)| *known == name);
            run(
                part.expect("a part: messages, requests, texts, files, day, kills or others"),
                FULL,
            );
        }
    }
}

fn row_file(name: &str) -> PathBuf {
    common::root().join(format!("target/robustness-{name}.md"))
}

fn run((name, run): &Part, size: Size) {
    let start = Instant::now();
    let mut rows = String::new();
    for Finding { what, outcome } in run(size) {
        println!("robustness: {what}: {outcome}");
        let _ = writeln!(rows, "| {what} | {outcome} |");
    }
    let seconds = start.elapsed().as_secs_f64();
    println!("robustness: {name} took {seconds:.0} s");
    std::fs::write(row_file(name), rows).unwrap();
}

/// Runs each part in a separate process, so that the memory of each part can be measured.
fn all() {
    for (name, _) in PARTS {
        let program = std::env::current_exe().unwrap();
        let ended = std::process::Command::new(program).arg(name).status();
        assert!(ended.unwrap().success(), "{name} has failed");
    }
    report();
}

/// Writes the report from the last run of each part.
fn report() {
    let cores = std::thread::available_parallelism().unwrap();
    let date = live_sentiment::Timestamp::now()
        .strftime("%B %Y")
        .to_string();
    let mut report = INTRODUCTION
        .replace("{cores}", &cores.to_string())
        .replace("{date}", &date);
    for (name, _) in PARTS {
        report += &std::fs::read_to_string(row_file(name)).unwrap();
    }
    report += MEANING;
    std::fs::write(common::root().join(REPORT), report).unwrap();
    println!("robustness: wrote {REPORT}");
}

/// Returns the resident memory of this process, in MB.
pub fn memory() -> u64 {
    common::memory(std::process::id())
}

/// Formats a number with thousands separators.
pub fn thousands(number: usize) -> String {
    let digits = number.to_string();
    let groups: Vec<_> = digits
        .as_bytes()
        .rchunks(3)
        .rev()
        .map(String::from_utf8_lossy)
        .collect();
    groups.join(",")
}
