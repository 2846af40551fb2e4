//! Apache Kafka itself, from the folder `kafka/`: one broker for one person, on 127.0.0.1:9092,
//! whose topics are still there the next time. The first start fetches it by Maven.

use super::broker::{Broker, Recipe};
use super::{DEFAULT_ADDRESS, Engine};
use crate::Result;
use std::path::Path;
use std::time::Duration;

/// How long the first start may take, which fetches 44 MB; later ones take a few seconds.
pub(super) const PATIENCE: Duration = Duration::from_secs(120);
/// How long it has for its own end, in seconds. What it has taken is on disk all the same.
const GRACE: u8 = 5;

/// Starts it. It writes its log to `target/kafka/server.log`.
pub(super) fn start() -> Result<Broker> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    tracing::info!("starting Apache Kafka; the first time, it is fetched (20 seconds)");
    Broker::start(Recipe {
        engine: Engine::Apache,
        address: DEFAULT_ADDRESS.into(),
        command: vec![root.join("kafka/run").display().to_string()],
        grace: GRACE,
        log: Some(root.join("target/kafka/server.log")),
    })
}
