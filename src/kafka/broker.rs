//! A broker that this process has started, and that ends with it.
//!
//! It runs as a process of its own, below a shell that waits on a pipe from us. When this process
//! ends, in whatever way, the pipe closes and the shell stops the broker: no signal handler and no
//! clean-up code has to run for that.

use super::Engine;
use crate::runtime::locked;
use crate::{Error, Result};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;

/// `cat` ends when the pipe does; then the broker has some seconds. At last the whole group goes,
/// with the shell, so that nothing which the broker's own script has started is left.
const SUPERVISE: &str = r#"grace=$1; shift
exec 3<&0
"$@" </dev/null 3<&- & broker=$!
{ cat <&3 >/dev/null
  [ "$grace" = 0 ] || { kill -TERM $broker; sleep "$grace"; }
  kill -KILL $broker; } 2>/dev/null &
wait $broker
kill -KILL 0"#;

/// How much of a broker's log is looked at for why it has ended, in bytes.
const LAST_WORDS: u64 = 64 * 1024;

pub(super) struct Broker {
    pub(super) engine: Engine,
    pub(super) address: String,
    supervisor: Mutex<Child>,
    /// What a person can type to see what happens.
    command: String,
    log: Option<PathBuf>,
}

/// How a broker is run.
pub(super) struct Recipe {
    pub(super) engine: Engine,
    pub(super) address: String,
    pub(super) command: Vec<String>,
    /// How many seconds it has for its own end; one that keeps nothing needs none.
    pub(super) grace: u8,
    /// Where its words go; without, they are lost.
    pub(super) log: Option<PathBuf>,
}

impl Broker {
    pub(super) fn start(recipe: Recipe) -> Result<Broker> {
        let Recipe {
            engine,
            address,
            command,
            grace,
            log,
        } = recipe;
        let spoken = command.join(" ");
        let failed = |error: std::io::Error| Error::Broker {
            engine,
            reason: format!("{spoken}: {error}"),
            next: "Run `make setup`.".into(),
        };
        let words = match &log {
            None => [Stdio::null(), Stdio::null()],
            Some(path) => {
                if let Some(folder) = path.parent() {
                    std::fs::create_dir_all(folder).map_err(failed)?;
                }
                let file = File::create(path).map_err(failed)?;
                [file.try_clone().map_err(failed)?.into(), file.into()]
            }
        };
        let [out, err] = words;
        let supervisor = Command::new("sh")
            .args(["-c", SUPERVISE, "sh", &grace.to_string()])
            .args(&command)
            .stdin(Stdio::piped())
            .stdout(out)
            .stderr(err)
            // A Ctrl-C in the terminal is for us; the broker ends by its pipe.
            .process_group(0)
            .spawn()
            .map_err(failed)?;
        Ok(Broker {
            engine,
            address,
            supervisor: Mutex::new(supervisor),
            command: spoken,
            log,
        })
    }

    /// Why it has ended, if it has: the newest error in its log.
    pub(super) fn obituary(&self) -> Option<String> {
        // An error would be that there is no such process.
        if let Ok(None) = locked(&self.supervisor).try_wait() {
            return None;
        }
        let said = self.log.as_ref().map(last_words).unwrap_or_default();
        let line = said
            .lines()
            .rev()
            .find(|line| line.contains("Exception: ") || line.contains("Caused by: "))
            .or_else(|| said.lines().rev().find(|line| !line.trim().is_empty()))
            .map(|line| line.trim().trim_start_matches("Caused by: "));
        Some(match (line, &self.log) {
            (Some(line), Some(log)) => {
                format!("{} has ended: {line} ({})", self.engine, log.display())
            }
            _ => format!("{} has ended", self.engine),
        })
    }

    /// The error for a broker that does not answer.
    pub(super) fn failed(&self, error: &Error) -> Error {
        Error::Broker {
            engine: self.engine,
            reason: match self.obituary() {
                Some(obituary) => obituary,
                None => format!("it does not answer at {} ({error})", self.address),
            },
            next: format!("Run `{}` in a terminal to see why.", self.command),
        }
    }
}

fn last_words(log: &PathBuf) -> String {
    let mut said = Vec::new();
    if let Ok(mut file) = File::open(log) {
        let size = file.metadata().map_or(0, |data| data.len());
        let _ = file.seek(SeekFrom::Start(size.saturating_sub(LAST_WORDS)));
        let _ = file.take(LAST_WORDS).read_to_end(&mut said);
    }
    String::from_utf8_lossy(&said).into_owned()
}

impl Drop for Broker {
    fn drop(&mut self) {
        let mut supervisor = locked(&self.supervisor);
        drop(supervisor.stdin.take());
        let _ = supervisor.wait();
    }
}
