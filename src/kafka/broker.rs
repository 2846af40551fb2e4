//! A broker process that this process starts, and that ends with it.
//!
//! The broker runs below a shell that waits on a pipe from this process. When this process ends, in
//! whatever way, the pipe closes and the shell stops the broker. Neither a signal handler nor a
//! destructor has to run for that.

use crate::runtime::locked;
use crate::{Error, Result};
use std::fmt;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::sync::{Mutex, OnceLock};

/// `cat` ends when the pipe closes. The broker then has some seconds to shut down. Finally the whole
/// process group is killed, the shell included, so that nothing of the broker is left.
const SUPERVISOR: &str = r#"seconds=$1; shift
exec 3<&0
"$@" </dev/null 3<&- & broker=$!
{ cat <&3 >/dev/null
  [ "$seconds" = 0 ] || { kill -TERM $broker; sleep "$seconds"; }
  kill -KILL $broker; } 2>/dev/null &
wait $broker
kill -KILL 0"#;

/// How much of the end of a broker's log is searched for the exit reason, in bytes.
const LOG_TAIL: u64 = 64 * 1024;

/// The broker programs that this crate can start. `docs/kafka.md` compares them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engine {
    /// Tansu: starts at once, needs no Java, and keeps its topics in memory until it stops.
    Embedded,
    /// Apache Kafka: keeps its topics on disk, also after it stops. It needs Java 17 or newer, and
    /// Maven for the first start.
    Apache,
}

impl fmt::Display for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Engine::Embedded => "the embedded broker",
            Engine::Apache => "Apache Kafka",
        })
    }
}

/// A running broker process. Dropping it stops the process, and waits for its end.
pub(super) struct Broker {
    engine: Engine,
    address: String,
    supervisor: Mutex<Child>,
    /// The command line, for a person who wants to see why it fails.
    command: String,
    log: Option<PathBuf>,
    exit_reason: OnceLock<String>,
}

/// How to run a broker.
pub(super) struct Command {
    pub(super) engine: Engine,
    pub(super) address: String,
    pub(super) arguments: Vec<String>,
    /// How long the broker may take to shut down, in seconds; 0 for one that has nothing to save.
    pub(super) shutdown_seconds: u8,
    /// The file for its output; `None` discards the output.
    pub(super) log: Option<PathBuf>,
}

impl Broker {
    /// Starts the process. It does not wait until the broker answers.
    pub(super) fn start(command: Command) -> Result<Broker> {
        let Command {
            engine,
            address,
            arguments,
            shutdown_seconds,
            log,
        } = command;
        let command = arguments.join(" ");
        let failed = |error: std::io::Error| Error::BrokerStart {
            broker: engine.to_string(),
            reason: format!("{command}: {error}"),
            hint: "run `make setup`".into(),
        };
        let [stdout, stderr] = match &log {
            None => [Stdio::null(), Stdio::null()],
            Some(path) => {
                if let Some(folder) = path.parent() {
                    std::fs::create_dir_all(folder).map_err(failed)?;
                }
                let file = File::create(path).map_err(failed)?;
                [file.try_clone().map_err(failed)?.into(), file.into()]
            }
        };
        let supervisor = std::process::Command::new("sh")
            .args(["-c", SUPERVISOR, "sh", &shutdown_seconds.to_string()])
            .args(&arguments)
            .stdin(Stdio::piped())
            .stdout(stdout)
            .stderr(stderr)
            // A Ctrl-C in the terminal reaches this process only; the broker stops by its pipe.
            .process_group(0)
            .spawn()
            .map_err(failed)?;
        Ok(Broker {
            engine,
            address,
            supervisor: Mutex::new(supervisor),
            command,
            log,
            exit_reason: OnceLock::new(),
        })
    }

    pub(super) fn engine(&self) -> Engine {
        self.engine
    }

    pub(super) fn address(&self) -> &str {
        &self.address
    }

    /// Returns the exit reason if the broker has exited: the last error in its log. The log is read
    /// once, and without a lock.
    pub(super) fn exit_reason(&self) -> Option<&str> {
        if self.exit_reason.get().is_none()
            // An error means that there is no such process.
            && let Ok(None) = locked(&self.supervisor).try_wait()
        {
            return None;
        }
        Some(self.exit_reason.get_or_init(|| self.read_exit_reason()))
    }

    fn read_exit_reason(&self) -> String {
        let tail = self.log.as_ref().map(log_tail).unwrap_or_default();
        let line = tail
            .lines()
            .rev()
            .find(|line| line.contains("Exception: ") || line.contains("Caused by: "))
            .or_else(|| tail.lines().rev().find(|line| !line.trim().is_empty()))
            .map(|line| line.trim().trim_start_matches("Caused by: "));
        match (line, &self.log) {
            (Some(line), Some(log)) => {
                format!("{} has exited: {line} ({})", self.engine, log.display())
            }
            _ => format!("{} has exited", self.engine),
        }
    }

    /// Returns the error for a broker that does not answer after its start.
    pub(super) fn start_error(&self, error: &Error) -> Error {
        Error::BrokerStart {
            broker: self.engine.to_string(),
            reason: match self.exit_reason() {
                Some(reason) => reason.to_owned(),
                None => format!("it does not answer at {} ({error})", self.address),
            },
            hint: format!("run `{}` in a terminal to see why", self.command),
        }
    }
}

fn log_tail(log: &PathBuf) -> String {
    let mut tail = Vec::new();
    if let Ok(mut file) = File::open(log) {
        let size = file.metadata().map_or(0, |data| data.len());
        let _ = file.seek(SeekFrom::Start(size.saturating_sub(LOG_TAIL)));
        let _ = file.take(LOG_TAIL).read_to_end(&mut tail);
    }
    String::from_utf8_lossy(&tail).into_owned()
}

impl Drop for Broker {
    fn drop(&mut self) {
        let mut supervisor = locked(&self.supervisor);
        drop(supervisor.stdin.take());
        let _ = supervisor.wait();
    }
}
