//! The embedded broker: Tansu, a broker in Rust that speaks Kafka's protocol and keeps its topics
//! in memory. It starts in a blink and needs no Java, which is what a first look wants; see
//! `docs/kafka.md` for what it does not do.
//!
//! It runs as a process of its own, below a shell that waits on a pipe from us. When this process
//! ends, in whatever way, the pipe closes and the shell stops the broker: no signal handler and no
//! clean-up code has to run for that.

use crate::{Error, Result};
use std::net::TcpListener;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// `cat` ends when the pipe on standard input does.
const SUPERVISE: &str = r#""$@" </dev/null & broker=$!
cat >/dev/null
kill -KILL $broker; wait $broker"#;

const PROGRAM: &str = "tansu";

pub(super) struct Embedded {
    address: String,
    supervisor: Child,
    command: String,
}

impl Embedded {
    pub(super) fn start(port: u16) -> Result<Embedded> {
        let failed = |reason: String, next: &str| Error::Broker {
            reason,
            next: next.into(),
        };
        let program = find_program().ok_or_else(|| {
            failed(
                format!("its program {PROGRAM:?} is neither in .venv/bin nor on the PATH"),
                "Run `make setup`, which installs it.",
            )
        })?;
        // The port is bound and let go: that tells a free one, and a taken one by its reason.
        let bound = TcpListener::bind(("127.0.0.1", port)).and_then(|socket| socket.local_addr());
        let address = bound.map_err(|error| {
            failed(
                format!("port {port} of 127.0.0.1: {error}"),
                "Stop the program that uses the port, or `make stop` for a broker left running.",
            )
        })?;
        let url = format!("tcp://{address}");
        let supervisor = Command::new("sh")
            .args(["-c", SUPERVISE, "sh"])
            .arg(&program)
            .args([
                "broker",
                "--listener-url",
                &url,
                "--advertised-listener-url",
                &url,
            ])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // A Ctrl-C in the terminal is for us; the broker ends by its pipe.
            .process_group(0)
            .spawn()
            .map_err(|error| {
                failed(
                    format!("{}: {error}", program.display()),
                    "Run `make setup`.",
                )
            })?;
        let command = format!("{} broker --listener-url {url}", program.display());
        Ok(Embedded {
            address: address.to_string(),
            supervisor,
            command,
        })
    }

    pub(super) fn address(&self) -> &str {
        &self.address
    }

    /// The error for a broker that does not answer.
    pub(super) fn failed(&self, error: &Error) -> Error {
        Error::Broker {
            reason: format!("it does not answer at {} ({error})", self.address),
            next: format!("Run `{}` in a terminal to see why.", self.command),
        }
    }
}

impl Drop for Embedded {
    fn drop(&mut self) {
        drop(self.supervisor.stdin.take());
        let _ = self.supervisor.wait();
    }
}

fn find_program() -> Option<PathBuf> {
    let ours = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join(".venv/bin")
        .join(PROGRAM);
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::iter::once(ours)
        .chain(std::env::split_paths(&path).map(|folder| folder.join(PROGRAM)))
        .find(|program| program.is_file())
}
