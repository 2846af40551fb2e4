//! Apache Kafka for the tests. The brokers use free ports and their own data. They end when the process of
//! the test ends for any reason.

use super::{LIMIT, root, until};
use live_sentiment::prelude::*;
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{LazyLock, Mutex};

/// A shell script that runs a broker. It prints the process id of the broker first, and kills the broker
/// when the pipe to its standard input closes.
const SUPERVISE: &str = r#"exec 3<&0
"$@" </dev/null 3<&- & broker=$!
echo $broker
{ cat <&3 >/dev/null; kill -KILL 0; } >/dev/null 2>&1 &
wait $broker"#;

/// Returns whether Apache Kafka can run on this machine. If it cannot, `make test` reports this at its end,
/// and CI fails.
pub fn is_there() -> bool {
    static THERE: LazyLock<bool> = LazyLock::new(|| {
        let prepared = Command::new(root().join("kafka/prepare")).output().unwrap();
        if !prepared.status.success() {
            let why = String::from_utf8_lossy(&prepared.stdout);
            super::not_run("tests on Apache Kafka", why.trim());
        }
        prepared.status.success()
    });
    *THERE
}

/// Returns the broker that the tests of a file share. Each test has its own topic.
pub fn shared() -> Option<&'static Apache> {
    static SHARED: LazyLock<Option<Apache>> =
        LazyLock::new(|| Apache::start(&[("message.max.bytes", "4000000")]));
    SHARED.as_ref()
}

pub fn free_port() -> u16 {
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    free.local_addr().unwrap().port()
}

/// One broker, or several that form a cluster.
pub struct Apache {
    brokers: Vec<Broker>,
    pub folder: tempfile::TempDir,
}

struct Broker {
    port: u16,
    controller: u16,
    properties: PathBuf,
    log: PathBuf,
    process: Mutex<Option<(Child, String)>>,
}

impl Apache {
    /// Starts one broker, with settings that differ from `kafka/server.properties`. Returns `None` if
    /// Java is missing.
    pub fn start(settings: &[(&str, &str)]) -> Option<Apache> {
        Apache::cluster(1, settings)
    }

    pub fn cluster(count: usize, settings: &[(&str, &str)]) -> Option<Apache> {
        let apache = Apache::made(count, settings)?;
        (0..count).for_each(|broker| apache.begin(broker));
        (0..count).for_each(|broker| apache.until_started(broker));
        Some(apache)
    }

    fn made(count: usize, settings: &[(&str, &str)]) -> Option<Apache> {
        if !is_there() {
            return None;
        }
        let folder = tempfile::tempdir().unwrap();
        let ports: Vec<(u16, u16)> = (0..count).map(|_| (free_port(), free_port())).collect();
        let voters: Vec<String> = (1..)
            .zip(&ports)
            .map(|(id, (_, controller))| format!("{id}@127.0.0.1:{controller}"))
            .collect();
        let base = std::fs::read_to_string(root().join("kafka/server.properties")).unwrap();
        let brokers = (1..).zip(&ports).map(|(id, (port, controller))| {
            let mut properties: BTreeMap<String, String> = base
                .lines()
                .filter(|line| !line.starts_with('#'))
                .filter_map(|line| line.split_once('='))
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .collect();
            let mut set = |name: &str, value: String| properties.insert(name.into(), value);
            set("node.id", id.to_string());
            set("controller.quorum.voters", voters.join(","));
            set(
                "listeners",
                format!("PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}"),
            );
            set(
                "advertised.listeners",
                format!("PLAINTEXT://127.0.0.1:{port}"),
            );
            let data = folder.path().join(format!("data-{id}"));
            set("log.dirs", data.display().to_string());
            for (name, value) in settings {
                let value = value.replace("{port}", &port.to_string());
                set(name, value.replace("{controller}", &controller.to_string()));
            }
            let lines: String = properties
                .iter()
                .map(|(name, value)| format!("{name}={value}\n"))
                .collect();
            let file = folder.path().join(format!("{id}.properties"));
            std::fs::write(&file, lines).unwrap();
            Broker {
                port: *port,
                controller: *controller,
                properties: file,
                log: folder.path().join(format!("{id}.log")),
                process: Mutex::new(None),
            }
        });
        let brokers = brokers.collect();
        Some(Apache { brokers, folder })
    }

    pub fn address(&self) -> String {
        let all = self.brokers.iter();
        let all: Vec<_> = all.map(|one| format!("127.0.0.1:{}", one.port)).collect();
        all.join(",")
    }

    /// Returns the address of the first broker's controller, which serves no clients.
    pub fn controller(&self) -> String {
        format!("127.0.0.1:{}", self.brokers[0].controller)
    }

    pub fn kafka(&self) -> Kafka {
        Kafka::at(&self.address()).unwrap()
    }

    /// Starts a broker without waiting for it.
    pub fn begin(&self, broker: usize) {
        let Broker {
            properties,
            log,
            process,
            ..
        } = &self.brokers[broker];
        let log = std::fs::File::create(log).unwrap();
        let mut supervisor = Command::new("sh")
            .args(["-c", SUPERVISE, "sh"])
            .arg("sh")
            .args(["-c", "exec \"$@\" 1>&2", "sh"])
            .arg(root().join("kafka/run"))
            .arg(properties)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log)
            .process_group(0)
            .spawn()
            .unwrap();
        let mut id = String::new();
        let mut said = BufReader::new(supervisor.stdout.take().unwrap());
        said.read_line(&mut id).unwrap();
        *process.lock().unwrap() = Some((supervisor, id.trim().to_owned()));
    }

    pub fn log(&self, broker: usize) -> String {
        std::fs::read_to_string(&self.brokers[broker].log).unwrap_or_default()
    }

    pub fn until_started(&self, broker: usize) {
        until(&format!("Apache Kafka: {}", self.log(broker)), || {
            assert!(self.runs(broker), "{}", self.log(broker));
            self.log(broker).contains("Kafka Server started")
        });
    }

    pub fn runs(&self, broker: usize) -> bool {
        let mut process = self.brokers[broker].process.lock().unwrap();
        let running = process.as_mut();
        running.is_some_and(|(supervisor, _)| supervisor.try_wait().unwrap().is_none())
    }

    /// Sends a signal to the broker. After SIGKILL, waits until the broker has ended.
    pub fn signal(&self, broker: usize, name: &str) {
        let mut process = self.brokers[broker].process.lock().unwrap();
        let (supervisor, id) = process.as_mut().unwrap();
        super::signal(id, name);
        if name == "-KILL" {
            drop(supervisor.stdin.take());
            supervisor.wait().unwrap();
            *process = None;
        }
    }

    /// Returns the broker that is the leader of the topic's first partition.
    pub fn leader(&self, topic: &str) -> usize {
        use rdkafka::consumer::{BaseConsumer, Consumer};
        let consumer: BaseConsumer = rdkafka::ClientConfig::new()
            .set("bootstrap.servers", self.address())
            .create()
            .unwrap();
        let metadata = consumer.fetch_metadata(Some(topic), LIMIT).unwrap();
        let leader = metadata.topics()[0].partitions()[0].leader();
        usize::try_from(leader - 1).unwrap()
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        if let Some((supervisor, _)) = self.process.lock().unwrap().as_mut() {
            drop(supervisor.stdin.take());
            let _ = supervisor.wait();
        }
    }
}
