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
use std::sync::Mutex;
use std::time::Duration;

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

/// A broker process. Dropping it stops the process, and waits for its end.
pub(super) struct Broker {
    command: Command,
    process: Mutex<Process>,
}

struct Process {
    supervisor: Child,
    /// Why it has exited, once that is known.
    exit_reason: Option<String>,
}

/// How to run a broker.
pub(super) struct Command {
    pub(super) engine: Engine,
    pub(super) address: String,
    pub(super) arguments: Vec<String>,
    /// How long the broker may take to shut down, in seconds; 0 for one that has nothing to save.
    pub(super) shutdown_seconds: u8,
    /// How long it may take until it answers.
    pub(super) start_limit: Duration,
    /// The file for its output; `None` discards the output.
    pub(super) log: Option<PathBuf>,
}

impl Command {
    /// Returns the command line, for a person who wants to see why it fails.
    fn line(&self) -> String {
        self.arguments.join(" ")
    }

    fn spawn(&self) -> Result<Process> {
        let failed = |error: std::io::Error| Error::BrokerStart {
            broker: self.engine.to_string(),
            reason: format!("{}: {error}", self.line()),
            hint: "run `make setup`".into(),
        };
        let [stdout, stderr] = match &self.log {
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
            .args(["-c", SUPERVISOR, "sh", &self.shutdown_seconds.to_string()])
            .args(&self.arguments)
            .stdin(Stdio::piped())
            .stdout(stdout)
            .stderr(stderr)
            // A Ctrl-C in the terminal reaches this process only; the broker stops by its pipe.
            .process_group(0)
            .spawn()
            .map_err(failed)?;
        Ok(Process {
            supervisor,
            exit_reason: None,
        })
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
}

impl Broker {
    /// Starts the process. It does not wait until the broker answers.
    pub(super) fn start(command: Command) -> Result<Broker> {
        let process = Mutex::new(command.spawn()?);
        Ok(Broker { command, process })
    }

    pub(super) fn engine(&self) -> Engine {
        self.command.engine
    }

    pub(super) fn address(&self) -> &str {
        &self.command.address
    }

    pub(super) fn start_limit(&self) -> Duration {
        self.command.start_limit
    }

    /// Kills the process at once, as a crash would end it, and waits for its end.
    pub(super) fn kill(&self) {
        let mut process = locked(&self.process);
        if let Ok(None) = process.supervisor.try_wait() {
            // The supervisor is the leader of the process group. It is not waited for yet, so no other
            // process has its id.
            let group = format!("-{}", process.supervisor.id());
            let _ = std::process::Command::new("sh")
                .args(["-c", "kill -KILL $0", &group])
                .status();
            // This closes the pipe first, so the broker ends in any case.
            let _ = process.supervisor.wait();
        }
        process.exit_reason = Some(format!("{} was killed", self.command.engine));
    }

    /// Starts the process again. If it still runs, it is killed first.
    pub(super) fn restart(&self) -> Result<()> {
        self.kill();
        *locked(&self.process) = self.command.spawn()?;
        Ok(())
    }

    /// Returns the exit reason if the broker has exited: the last error in its log, which is read once.
    pub(super) fn exit_reason(&self) -> Option<String> {
        let mut process = locked(&self.process);
        if process.exit_reason.is_none()
            // An error means that there is no such process.
            && !matches!(process.supervisor.try_wait(), Ok(None))
        {
            process.exit_reason = Some(self.command.read_exit_reason());
        }
        process.exit_reason.clone()
    }

    /// Returns the error for a broker that does not answer after its start.
    pub(super) fn start_error(&self, error: &Error) -> Error {
        Error::BrokerStart {
            broker: self.engine().to_string(),
            reason: match self.exit_reason() {
                Some(reason) => reason,
                None => format!("it does not answer at {} ({error})", self.address()),
            },
            hint: format!("run `{}` in a terminal to see why", self.command.line()),
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
        let mut process = locked(&self.process);
        drop(process.supervisor.stdin.take());
        let _ = process.supervisor.wait();
    }
}
