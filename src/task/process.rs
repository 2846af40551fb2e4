//! A child process that ends with this process.
//!
//! The child runs under a shell that reads a pipe from this process. However this process ends, the
//! operating system closes the pipe, and the shell stops the child. This needs no signal handler and no
//! destructor.

use std::fs::File;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// `cat` ends when the pipe closes. The child then has some seconds to shut down. Finally the shell
/// kills its process group, which includes the shell and every process that the child has started.
const SUPERVISOR: &str = r#"seconds=$1; shift
exec 3<&0
"$@" </dev/null 3<&- & child=$!
{ cat <&3 >/dev/null
  [ "$seconds" = 0 ] || { kill -TERM $child; sleep "$seconds"; }
  kill -KILL $child; } 2>/dev/null &
wait $child
kill -KILL 0"#;

/// A child process. Dropping it stops the process and waits for its end.
pub(crate) struct Process(Child);

impl Process {
    /// Starts a program with its arguments. To stop the program, the shell sends SIGTERM, and SIGKILL
    /// after `shutdown_seconds`. With 0 seconds, it sends only SIGKILL. The output of the program goes to
    /// the file `log`, or is discarded.
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
            // Ctrl-C in a terminal then reaches only this process. The pipe stops the child.
            .process_group(0)
            .spawn()?;
        Ok(Process(supervisor))
    }

    /// Returns whether the process is still running.
    pub(crate) fn is_running(&mut self) -> bool {
        // An error means that there is no such process.
        matches!(self.0.try_wait(), Ok(None))
    }

    /// Kills the process at once, like a crash, and waits for its end.
    pub(crate) fn kill(&mut self) {
        if self.is_running() {
            // The supervisor leads the process group. No other process can have its id before `wait`.
            let group = format!("-{}", self.0.id());
            let _ = Command::new("sh")
                .args(["-c", "kill -KILL $0", &group])
                .status();
            // `wait` closes the pipe first, so the child ends even if the command above failed.
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
