//! The settings of the connection. A broker at a provider or in a company often requires encryption or a
//! password.
//!
//! The settings have librdkafka's names
//! (<https://github.com/confluentinc/librdkafka/blob/master/CONFIGURATION.md>). Each is read from the
//! environment, where `sasl.password` is `KAFKA_SASL_PASSWORD`, or from the file that
//! `KAFKA_PROPERTIES` names, with lines such as `sasl.password=…`. The environment takes precedence. An
//! empty variable counts as not set. Encryption and passwords need the cargo feature `tls`. The feature is
//! optional because it needs OpenSSL, which takes long to compile. A notebook with its own broker does not
//! need it.
//!
//! A setting that does not belong to the connection, such as `acks` or `isolation.level`, is refused,
//! because the counts depend on it. A setting that librdkafka does not know is refused too.
//!
//! Passwords are in a type that has no `Debug` and is never displayed.

use crate::error::{Error, Result};
use crate::files::warn_if_others_can_read;
use rdkafka::ClientConfig;
use rdkafka::error::KafkaError;
use rdkafka::types::RDKafkaConfRes;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The environment variable with the path of a file of settings.
const PROPERTIES_VARIABLE: &str = "KAFKA_PROPERTIES";
const BOOTSTRAP: &str = "bootstrap.servers";
const PROTOCOL: &str = "security.protocol";
const MECHANISM: &str = "sasl.mechanism";
const CLIENT_ID: &str = "client.id";
/// The settings that are read from the environment.
const NAMES: [&str; 14] = [
    BOOTSTRAP,
    PROTOCOL,
    MECHANISM,
    "sasl.username",
    "sasl.password",
    "ssl.ca.location",
    "ssl.ca.pem",
    "ssl.certificate.location",
    "ssl.key.location",
    "ssl.key.password",
    "ssl.endpoint.identification.algorithm",
    "enable.ssl.certificate.verification",
    "broker.address.family",
    CLIENT_ID,
];
/// The settings of the connection, which a file may contain. A name that ends with a dot stands for all
/// names that begin with it.
const CONNECTION: [&str; 14] = [
    BOOTSTRAP,
    PROTOCOL,
    "sasl.",
    "ssl.",
    "enable.ssl.certificate.verification",
    "enable.sasl.oauthbearer.unsecure.jwt",
    "https.ca.",
    CLIENT_ID,
    "client.rack",
    "client.dns.lookup",
    "broker.address.",
    "connections.max.idle.ms",
    "enable.metrics.push",
    "socket.",
];

/// The reasons and hints for a setting that needs the feature `tls`, and for a protocol that needs another
/// setting.
const NEEDS_TLS: (&str, &str) = (
    "this build supports neither encryption nor passwords",
    "enable the cargo feature: `--features tls`, or in a notebook `:dep live_sentiment = { \
     path = \"..\", features = [\"tls\"] }`",
);
const NEEDS_MECHANISM: (&str, &str) = (
    "it needs a SASL mechanism, and none is set",
    "set KAFKA_SASL_MECHANISM to that of the broker: PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512",
);

/// What a client is for. Each role has its own `client.id`, by which the log and the quotas of a broker
/// distinguish the clients.
#[derive(Clone, Copy)]
pub(crate) enum Role {
    Admin,
    Streamer,
    Listener,
    Scorer,
}

impl Role {
    fn client_id(self) -> &'static str {
        match self {
            Role::Admin => "live-sentiment-admin",
            Role::Streamer => "live-sentiment-streamer",
            Role::Listener => "live-sentiment-listener",
            Role::Scorer => "live-sentiment-scorer",
        }
    }
}

/// The settings, by librdkafka's names.
#[derive(Clone, Default)]
pub(super) struct Settings(BTreeMap<String, String>);

impl Settings {
    pub(super) fn from_env() -> Result<Settings> {
        let mut settings = match std::env::var_os(PROPERTIES_VARIABLE) {
            Some(path) if !path.is_empty() => Settings::read(&PathBuf::from(path))?,
            _ => Settings::default(),
        };
        for name in NAMES {
            let variable = format!("KAFKA_{}", name.replace('.', "_").to_uppercase());
            if let Ok(value) = std::env::var(&variable)
                && !value.trim().is_empty()
            {
                settings.insert(name, value, &variable)?;
            }
        }
        settings.check()
    }

    fn read(path: &Path) -> Result<Settings> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| Error::file("read Kafka's settings from", path, &source))?;
        let mut settings = Settings::default();
        for (number, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with(['#', '!']) {
                continue;
            }
            let origin = format!("line {} of {}", number + 1, path.display());
            // The message does not contain the line, because the line may contain a password.
            let (name, value) = line.split_once('=').ok_or_else(|| {
                Error::invalid_argument(
                    origin.clone(),
                    "it is not a setting",
                    "write each line as `name=value`, with librdkafka's names",
                )
            })?;
            settings.insert(name.trim(), value.trim().to_owned(), &origin)?;
        }
        if settings.0.keys().any(|name| name.ends_with("password")) {
            warn_if_others_can_read(path);
        }
        Ok(settings)
    }

    /// Adds a setting. `origin` says where the setting comes from. An error names the origin, but not the
    /// value, because the value may be a password.
    fn insert(&mut self, name: &str, value: String, origin: &str) -> Result<()> {
        let argument = format!("setting {name:?} in {origin}");
        // librdkafka has two names for this setting.
        let name = match name {
            "sasl.mechanisms" => MECHANISM,
            name => name,
        };
        let is_of_connection = is_of_connection(name);
        // A setting that will be refused is tried without its value, because the value could have an
        // effect, such as loading a plugin.
        let value_to_try = if is_of_connection { &value } else { "" };
        let tried = ClientConfig::new()
            .set(name, value_to_try)
            .create_native_config();
        let (reason, hint) = match tried.err() {
            Some(KafkaError::ClientConfig(RDKafkaConfRes::RD_KAFKA_CONF_UNKNOWN, ..)) => (
                "librdkafka has no such setting",
                "use librdkafka's names, such as `sasl.username`, and not Java's; docs/kafka.md \
                 has an example",
            ),
            _ if !is_of_connection => (
                "it is not a setting of the connection, and the numbers of the programs depend \
                 on the others",
                "remove it; docs/kafka.md lists the settings of the connection",
            ),
            None => {
                self.0.insert(name.to_owned(), value);
                return Ok(());
            }
            // Without OpenSSL, librdkafka refuses every setting that needs it.
            Some(_) if !cfg!(feature = "tls") && (name == PROTOCOL || name.contains("ssl.")) => {
                NEEDS_TLS
            }
            Some(_) => (
                "librdkafka does not accept it, or not with this value",
                "use librdkafka's names and values, and not Java's; docs/kafka.md has an example",
            ),
        };
        Err(Error::invalid_argument(argument, reason, hint))
    }

    fn check(self) -> Result<Settings> {
        let protocol = self.protocol();
        let needs_feature = !protocol.eq_ignore_ascii_case("plaintext");
        let (reason, hint) = if needs_feature && !cfg!(feature = "tls") {
            NEEDS_TLS
        } else if self.needs_password() && !self.0.contains_key(MECHANISM) {
            NEEDS_MECHANISM
        } else {
            return Ok(self);
        };
        Err(Error::invalid_argument(
            format!("{PROTOCOL} {protocol:?}"),
            reason,
            hint,
        ))
    }

    /// Returns the address of the broker; `None` if it is not set.
    pub(super) fn address(&self) -> Option<&str> {
        self.0.get(BOOTSTRAP).map(|address| address.trim())
    }

    /// Returns the security protocol: `plaintext`, `sasl_ssl`, …
    pub(super) fn protocol(&self) -> &str {
        self.0.get(PROTOCOL).map_or("plaintext", String::as_str)
    }

    pub(super) fn is_encrypted(&self) -> bool {
        self.protocol().to_ascii_lowercase().ends_with("ssl")
    }

    pub(super) fn needs_password(&self) -> bool {
        self.protocol().to_ascii_lowercase().starts_with("sasl")
    }

    pub(super) fn apply(&self, role: Role, config: &mut ClientConfig) {
        config.set(CLIENT_ID, role.client_id());
        for (name, value) in &self.0 {
            config.set(name, value);
        }
    }
}

fn is_of_connection(name: &str) -> bool {
    let is_it = |known: &&str| name == *known || (known.ends_with('.') && name.starts_with(*known));
    CONNECTION.iter().any(is_it)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Settings> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        Settings::read(file.path())
    }

    fn refused(text: &str) -> String {
        read(text).err().unwrap().to_string()
    }

    fn config(settings: &Settings, role: Role, name: &str) -> Option<String> {
        let mut config = ClientConfig::new();
        settings.apply(role, &mut config);
        config.get(name).map(String::from)
    }

    #[test]
    fn an_error_in_a_settings_file_names_the_line_and_not_its_content() {
        let settings =
            read("# a cluster\nbootstrap.servers = a:1,b:2\nsasl.password=p=w\n\n").unwrap();
        assert_eq!(settings.address(), Some("a:1,b:2"));
        assert_eq!(settings.0["sasl.password"], "p=w");
        let error = refused("client.id=b\nhunter2\n");
        assert!(
            error.contains("line 2") && !error.contains("hunter2"),
            "{error}"
        );
    }

    #[test]
    fn a_setting_that_the_counts_depend_on_is_refused() {
        for name in [
            "acks",
            "allow.auto.create.topics",
            "auto.offset.reset",
            "compression.type",
            "delivery.report.only.error",
            "enable.auto.commit",
            "enable.auto.offset.store",
            "enable.idempotence",
            "enable.partition.eof",
            "group.id",
            "group.instance.id",
            "isolation.level",
            "log_level",
            "max.in.flight",
            "message.timeout.ms",
            "metadata.broker.list",
            "partitioner",
            "plugin.library.paths",
            "request.required.acks",
            "retries",
            "statistics.interval.ms",
            "transactional.id",
        ] {
            let error = refused(&format!("client.id=x\n{name}=1\n"));
            let setting = format!("setting {name:?} in line 2 of");
            assert!(error.contains(&setting), "{error}");
            assert!(error.contains("not a setting of the connection"), "{error}");
        }
    }

    #[test]
    fn an_unknown_setting_and_an_impossible_value_are_named_without_the_value() {
        for (line, name) in [
            ("sasl.pasword=hunter2", "sasl.pasword"),
            ("hunter=hunter2", "hunter"),
            ("sasl.jaas.config=hunter2", "sasl.jaas.config"),
            ("broker.address.family=hunter2", "broker.address.family"),
        ] {
            let error = refused(line);
            assert!(error.contains(&format!("{name:?} in line 1")), "{error}");
            assert!(error.contains("not Java's"), "{error}");
            assert!(!error.contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn every_setting_of_the_environment_is_one_of_the_connection() {
        assert!(NAMES.into_iter().all(is_of_connection));
    }

    #[test]
    fn both_names_of_the_sasl_mechanism_are_the_same_setting() {
        let settings = read("sasl.mechanisms=PLAIN\n").unwrap();
        assert_eq!(settings.0[MECHANISM], "PLAIN");
    }

    #[test]
    fn each_role_has_a_client_id_unless_one_is_set() {
        let unset = Settings::default();
        for (role, id) in [
            (Role::Admin, "live-sentiment-admin"),
            (Role::Streamer, "live-sentiment-streamer"),
            (Role::Listener, "live-sentiment-listener"),
            (Role::Scorer, "live-sentiment-scorer"),
        ] {
            assert_eq!(config(&unset, role, CLIENT_ID).as_deref(), Some(id));
        }
        let set = read("client.id=ada").unwrap();
        let id = config(&set, Role::Streamer, CLIENT_ID);
        assert_eq!(id.as_deref(), Some("ada"));
    }

    #[cfg(feature = "tls")]
    #[test]
    fn a_protocol_with_a_password_needs_a_mechanism() {
        let without = read("security.protocol=SASL_SSL").unwrap().check();
        let error = without.err().unwrap().to_string();
        assert!(error.contains("set KAFKA_SASL_MECHANISM"), "{error}");
        let with = read("security.protocol=SASL_SSL\nsasl.mechanism=PLAIN").unwrap();
        assert!(with.check().is_ok());
    }

    #[cfg(not(feature = "tls"))]
    #[test]
    fn a_build_without_encryption_names_the_feature() {
        let protocol = refused("security.protocol=sasl_ssl");
        let certificate = refused("ssl.ca.location=ca.pem");
        let password = read("security.protocol=sasl_plaintext").unwrap().check();
        let password = password.err().unwrap().to_string();
        for error in [protocol, certificate, password] {
            assert!(error.contains("--features tls"), "{error}");
        }
    }
}
