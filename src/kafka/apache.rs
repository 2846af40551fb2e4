//! Apache Kafka, from the folder `kafka/`: one broker on 127.0.0.1:9092 that keeps its topics on
//! disk. The first start downloads it with Maven.

use super::broker::{Broker, Command, Engine};
use super::connect::DEFAULT_ADDRESS;
use crate::error::Result;
use std::path::Path;
use std::time::Duration;

/// The time limit of the first start, which downloads 44 MB and prepares later starts. Later starts take
/// a few seconds.
const START_LIMIT: Duration = Duration::from_secs(120);
/// How long the broker may take to shut down, in seconds. Its messages are on disk in any case.
const SHUTDOWN_SECONDS: u8 = 5;

/// Starts the broker. It logs to `target/kafka/server.log`.
pub(super) fn start() -> Result<Broker> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let script = root.join("kafka/run");
    if !script.is_file() {
        return Err(Engine::Apache.failed(
            "its script kafka/run is in a checkout of the repository, not in the crate",
            "use a checkout, or start Apache Kafka yourself and call `Kafka::connect()`",
        ));
    }
    tracing::info!(
        address = DEFAULT_ADDRESS,
        "starting Apache Kafka; the first start downloads it"
    );
    Broker::start(Command {
        engine: Engine::Apache,
        address: DEFAULT_ADDRESS.into(),
        arguments: vec![script.display().to_string()],
        shutdown_seconds: SHUTDOWN_SECONDS,
        start_limit: START_LIMIT,
        log: Some(root.join("target/kafka/server.log")),
    })
}
