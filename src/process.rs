//! A child process that ends with this process.
//!
//! The child runs below a shell that waits on a pipe from this process. When this process ends, in
//! whatever way, the pipe closes and the shell stops the child. Neither a signal handler nor a
//! destructor has to run for that.

use std::fs::File;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// `cat` ends when the pipe closes. The child then has some seconds to shut down. Finally the whole
/// process group is killed, the shell included, so that nothing of the child is left.
const SUPERVISOR: &str = r#"seconds=$1; shift
exec 3<&0
"$@" </dev/null 3<&- & child=$!
{ cat <&3 >/dev/null
  [ "$seconds" = 0 ] || { kill -TERM $child; sleep "$seconds"; }
  kill -KILL $child; } 2>/dev/null &
wait $child
kill -KILL 0"#;

/// A running child process. Dropping it stops the process, and waits for its end.
pub(crate) struct Process(Child);

impl Process {
    /// Starts a program with its arguments. It has `shutdown_seconds` to end after SIGTERM; 0 is for one
    /// that has nothing to save, and gets none. Its output goes to the file `log`, or is discarded.
    pub(crate) fn start(
        arguments: &[String],
        shutdown_seconds: u8,
        log: Option<&Path>,
    ) -> io::Result<Process> {
        let [stdout, stderr] = match log {
            None => [Stdio::null(), Stdio::null()],
            Some(path) => {
                if let Some(folder) = path.parent() {
                    std::fs::create_dir_all(folder)?;
                }
                let file = File::create(path)?;
                [file.try_clone()?.into(), file.into()]
            }
        };
        let supervisor = Command::new("sh")
            .args(["-c", SUPERVISOR, "sh", &shutdown_seconds.to_string()])
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(stdout)
            .stderr(stderr)
            // A Ctrl-C in the terminal reaches this process only; the child stops by its pipe.
            .process_group(0)
            .spawn()?;
        Ok(Process(supervisor))
    }

    /// Returns whether the process runs.
    pub(crate) fn is_running(&mut self) -> bool {
        // An error means that there is no such process.
        matches!(self.0.try_wait(), Ok(None))
    }

    /// Kills the process at once, as a crash would end it, and waits for its end.
    pub(crate) fn kill(&mut self) {
        if self.is_running() {
            // The supervisor is the leader of the process group. It is not waited for yet, so no other
            // process has its id.
            let group = format!("-{}", self.0.id());
            let _ = Command::new("sh")
                .args(["-c", "kill -KILL $0", &group])
                .status();
            // This closes the pipe first, so the child ends in any case.
            let _ = self.0.wait();
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}
