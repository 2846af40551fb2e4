//! A broker process that this process starts. The broker ends when this process ends.

use crate::error::{Error, ErrorKind, Result};
use crate::task::locked;
use crate::task::process::Process;
use std::borrow::Cow;
use std::fmt;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;

/// The number of bytes at the end of a broker's log that are searched for the exit reason.
const LOG_TAIL: u64 = 64 * 1024;

/// The broker programs that this crate can start. `docs/kafka.md` compares them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Engine {
    /// Tansu: starts at once, needs no Java, and keeps its topics in memory until it stops.
    Embedded,
    /// Apache Kafka: keeps its topics on disk, even after it stops. It needs Java 17 or newer, and
    /// Maven for the first start.
    Apache,
}

impl Engine {
    /// Creates the error for a broker that does not start.
    pub(super) fn failed(
        self,
        reason: impl fmt::Display,
        hint: impl Into<Cow<'static, str>>,
    ) -> Error {
        Error::failed(ErrorKind::Start, format!("start {self}"), reason, hint)
    }
}

impl fmt::Display for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Engine::Embedded => "the embedded broker",
            Engine::Apache => "Apache Kafka",
        })
    }
}

/// A broker process. Dropping it stops the process, and waits for its end.
pub(super) struct Broker {
    pub(super) command: Command,
    running: Mutex<Running>,
}

struct Running {
    process: Process,
    /// Why the process has exited, if this is known.
    exit_reason: Option<String>,
}

/// How to run a broker.
pub(super) struct Command {
    pub(super) engine: Engine,
    pub(super) address: String,
    pub(super) arguments: Vec<String>,
    /// How long the broker may take to shut down, in seconds; 0 if it has nothing to save.
    pub(super) shutdown_seconds: u8,
    /// How long the broker may take until it answers.
    pub(super) start_limit: Duration,
    /// The file for its output; `None` discards the output.
    pub(super) log: Option<PathBuf>,
}

impl Command {
    /// Returns the command line, for error messages.
    fn line(&self) -> String {
        self.arguments.join(" ")
    }

    fn spawn(&self) -> Result<Running> {
        let started = Process::start(&self.arguments, self.shutdown_seconds, self.log.as_deref());
        let process = started.map_err(|error| {
            let reason = format!("{}: {error}", self.line());
            self.engine.failed(reason, "run `make setup`")
        })?;
        Ok(Running {
            process,
            exit_reason: None,
        })
    }

    fn read_exit_reason(&self) -> String {
        let engine = self.engine;
        let Some(log) = &self.log else {
            return format!("{engine} has exited");
        };
        let tail = log_tail(log);
        let line = tail
            .lines()
            .rfind(|line| line.contains("Exception: ") || line.contains("Caused by: "))
            .or_else(|| tail.lines().rfind(|line| !line.trim().is_empty()));
        match line.map(|line| line.trim().trim_start_matches("Caused by: ")) {
            Some(line) => format!("{engine} has exited: {line} ({})", log.display()),
            None => format!("{engine} has exited"),
        }
    }
}

impl Broker {
    /// Starts the process. It does not wait until the broker answers.
    pub(super) fn start(command: Command) -> Result<Broker> {
        let running = Mutex::new(command.spawn()?);
        Ok(Broker { command, running })
    }

    /// Kills the process at once, as a crash would end it, and waits for its end.
    pub(super) fn kill(&self) {
        let mut running = locked(&self.running);
        running.process.kill();
        running.exit_reason = Some(format!("{} was killed", self.command.engine));
    }

    /// Starts the process again. If it still runs, it is killed first.
    pub(super) fn restart(&self) -> Result<()> {
        self.kill();
        *locked(&self.running) = self.command.spawn()?;
        Ok(())
    }

    /// Returns the exit reason if the broker has exited. It is the last error in the log, which is read once.
    pub(super) fn exit_reason(&self) -> Option<String> {
        let mut running = locked(&self.running);
        if running.exit_reason.is_none() && !running.process.is_running() {
            running.exit_reason = Some(self.command.read_exit_reason());
        }
        running.exit_reason.clone()
    }

    /// Returns the error for a broker that does not answer after its start.
    pub(super) fn start_error(&self, error: &Error) -> Error {
        let Command {
            engine, address, ..
        } = &self.command;
        let silent = || format!("it does not answer at {address} ({error})");
        let hint = format!("run `{}` in a terminal to see why", self.command.line());
        engine.failed(self.exit_reason().unwrap_or_else(silent), hint)
    }
}

fn log_tail(log: &Path) -> String {
    let mut tail = Vec::new();
    if let Ok(mut file) = File::open(log) {
        let size = file.metadata().map_or(0, |data| data.len());
        let _ = file.seek(SeekFrom::Start(size.saturating_sub(LOG_TAIL)));
        let _ = file.take(LOG_TAIL).read_to_end(&mut tail);
    }
    String::from_utf8_lossy(&tail).into_owned()
}
