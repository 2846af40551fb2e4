//! The embedded broker: Tansu, a broker in Rust that speaks Kafka's protocol and keeps its topics
//! in memory. It starts in a blink and needs no Java, which is what a first look wants; see
//! `docs/kafka.md` for what it does not do.

use super::Engine;
use super::broker::{Broker, Recipe};
use crate::{Error, Result};
use std::net::TcpListener;
use std::path::{Path, PathBuf};

const PROGRAM: &str = "tansu";
/// What it calls its cluster, if it is told no other name.
pub(super) const CLUSTER: &str = "tansu_cluster";

/// Starts it on `port` of 127.0.0.1; port 0 takes a free one.
pub(super) fn start(port: u16) -> Result<Broker> {
    let failed = |reason: String, next: &str| Error::Broker {
        engine: Engine::Embedded,
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
    let program = program.display().to_string();
    Broker::start(Recipe {
        engine: Engine::Embedded,
        address: address.to_string(),
        command: [
            &program,
            "broker",
            "--listener-url",
            &url,
            "--advertised-listener-url",
            &url,
        ]
        .map(String::from)
        .to_vec(),
        grace: 0,
        log: None,
    })
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
