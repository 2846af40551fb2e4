//! Starts the parts that the steps of the Lesson use: a broker, a source, and a scorer in a separate process.

use live_sentiment::kafka::{Engine, Kafka};
use live_sentiment::source::{Demo, Replay, Source};
use live_sentiment::{Error, ErrorKind, Result};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};

/// The environment variable with the source of the lesson: `demo`, or `replay:FILE`.
const SOURCE_VARIABLE: &str = "SOURCE";
/// The environment variable with the broker of the lesson: `apache`, or `embedded`.
const ENGINE_VARIABLE: &str = "KAFKA";

/// Starts the broker of the lesson, or connects to a broker that is already running.
///
/// The broker is Apache Kafka. If Apache Kafka cannot start, the function prints the reason and starts the
/// embedded broker. If the variable `KAFKA` is `embedded`, it starts the embedded broker at once.
///
/// # Errors
/// Those of [`Kafka::start`].
pub fn start_broker() -> Result<Kafka> {
    if std::env::var(ENGINE_VARIABLE).is_ok_and(|engine| engine == "embedded") {
        return Kafka::start();
    }
    match Kafka::start_with(Engine::Apache) {
        Err(error) if error.kind() == ErrorKind::Start => {
            println!(
                "{error}\nThe lesson continues with the embedded broker. It says so where a step needs \
                 Apache Kafka."
            );
            Kafka::start()
        }
        started => started,
    }
}

/// Returns a source with this many tweets per second. The tweets are generated, and each call generates
/// different ones. If the variable `SOURCE` is `replay:FILE`, the tweets come from the file, which is repeated
/// endlessly.
///
/// # Errors
/// [`ErrorKind::InvalidArgument`] for a rate below 0.1 and for another value of the variable,
/// [`ErrorKind::File`] if the file cannot be read.
pub fn source(per_second: f64) -> Result<Box<dyn Source>> {
    let choice = std::env::var(SOURCE_VARIABLE).unwrap_or_default();
    match choice.split_once(':') {
        Some(("replay", file)) if !file.is_empty() => {
            Ok(Box::new(Replay::open(file)?.rate(per_second)?.repeat()))
        }
        None if choice.is_empty() || choice == "demo" => {
            static CALLS: AtomicU64 = AtomicU64::new(1);
            let seed = CALLS.fetch_add(1, Ordering::Relaxed);
            Ok(Box::new(Demo::default().seed(seed).rate(per_second)?))
        }
        _ => {
            let message =
                format!("invalid {SOURCE_VARIABLE}={choice:?}: the lesson has two sources");
            Err(Error::new(ErrorKind::InvalidArgument, message)
                .with_hint("set it to `demo`, or to `replay:` and the path of a file"))
        }
    }
}

/// Returns whether the step that kills the broker can run. If not, prints the reason. The step needs an
/// Apache Kafka that this notebook has started.
pub fn can_kill(kafka: &Kafka) -> bool {
    let reason = match kafka.engine() {
        Some(Engine::Apache) => return true,
        Some(_) => {
            "the embedded broker keeps its topics in memory, so a crash loses them. Apache Kafka keeps \
             them on disk; it needs Java 17 and Maven"
        }
        None => "another program started this broker, so it is not killed from here",
    };
    println!("This step does not run here: {reason}. Read on; the step after it does not need it.");
    false
}

/// Returns whether the step with two scorers can run. If not, prints the reason. The step needs the
/// transactions of Apache Kafka, and the program `scorer`.
pub fn can_scale(kafka: &Kafka) -> bool {
    let reason = if kafka.engine() == Some(Engine::Embedded) {
        "the embedded broker has no transactions, which a scorer needs".to_owned()
    } else if !scorer_program().is_file() {
        format!(
            "the program {} does not exist; `make lesson` builds it",
            scorer_program().display()
        )
    } else {
        return true;
    };
    println!("This step does not run here: {reason}. Read on; the step after it does not need it.");
    false
}

/// A scorer in a separate process, which can be killed. Dropping the value kills the process.
pub struct ScorerProcess(Child);

/// A shell script that runs the scorer and kills it when its standard input closes. This happens when the
/// handle is dropped, and when this process ends for any reason.
const SUPERVISOR: &str = r#""$@" </dev/null & cat >/dev/null; kill -KILL $!"#;

fn scorer_program() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/release/examples/scorer")
}

/// Starts the program `examples/scorer.rs`, which scores the topic `from` into the topic `to`. It joins the
/// default consumer group of [`Scorer`](live_sentiment::scorer::Scorer). This function returns before the
/// scorer has joined the group.
///
/// # Errors
/// [`ErrorKind::Start`] if the program does not exist or does not start.
pub fn start_scorer(kafka: &Kafka, from: &str, to: &str) -> Result<ScorerProcess> {
    let program = scorer_program();
    let failed = |reason: &str| {
        let message = format!("failed to start {}: {reason}", program.display());
        Error::new(ErrorKind::Start, message)
            .with_hint("run `make lesson`, or `cargo build --release --example scorer`")
    };
    if !program.is_file() {
        return Err(failed("it does not exist"));
    }
    let supervisor = Command::new("sh")
        .args(["-c", SUPERVISOR, "sh"])
        .arg(&program)
        .args(["--bootstrap", kafka.address(), "--topic", from, "--to", to])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        // Without its own process group, the scorer would receive the interrupts of the notebook.
        .process_group(0)
        .spawn();
    supervisor
        .map(ScorerProcess)
        .map_err(|error| failed(&error.to_string()))
}

impl ScorerProcess {
    /// Kills the process immediately, which has the effect of a crash. Its consumer group notices this after
    /// the session timeout.
    pub fn kill(&mut self) {
        drop(self.0.stdin.take());
        // The shell has killed the scorer when it exits.
        let _ = self.0.wait();
    }
}

impl Drop for ScorerProcess {
    fn drop(&mut self) {
        self.kill();
    }
}
