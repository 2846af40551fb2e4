//! Settings for a broker that requires encryption or a password, at a provider or in a company.
//!
//! The settings have librdkafka's names
//! (<https://github.com/confluentinc/librdkafka/blob/master/CONFIGURATION.md>). Each is read from the
//! environment, where `sasl.password` is `KAFKA_SASL_PASSWORD`, or from the file that
//! `KAFKA_PROPERTIES` names, with lines such as `sasl.password=…`. The environment takes precedence.
//! Encryption and passwords need the cargo feature `tls`, so that a notebook with its own broker
//! does not have to compile OpenSSL.
//!
//! Passwords stay in a type that has no `Debug` and is never displayed.

use crate::permissions::warn_if_others_can_read;
use crate::{Error, Result};
use rdkafka::ClientConfig;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The environment variable with the path of a file of settings.
pub const PROPERTIES_VARIABLE: &str = "KAFKA_PROPERTIES";
const BOOTSTRAP: &str = "bootstrap.servers";
const PROTOCOL: &str = "security.protocol";
/// The settings that are read from the environment.
const NAMES: [&str; 13] = [
    BOOTSTRAP,
    PROTOCOL,
    "sasl.mechanism",
    "sasl.username",
    "sasl.password",
    "ssl.ca.location",
    "ssl.ca.pem",
    "ssl.certificate.location",
    "ssl.key.location",
    "ssl.key.password",
    "ssl.endpoint.identification.algorithm",
    "enable.ssl.certificate.verification",
    "client.id",
];

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
            if let Ok(value) = std::env::var(variable)
                && !value.trim().is_empty()
            {
                settings.0.insert(name.into(), value);
            }
        }
        settings.check()
    }

    fn read(path: &Path) -> Result<Settings> {
        let text = std::fs::read_to_string(path).map_err(|source| Error::File {
            action: "read Kafka's settings from",
            path: path.into(),
            source,
        })?;
        let mut settings = BTreeMap::new();
        for (number, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with(['#', '!']) {
                continue;
            }
            // The message does not contain the line, which may be a password.
            let (name, value) = line.split_once('=').ok_or_else(|| Error::InvalidArgument {
                argument: format!("line {} of {}", number + 1, path.display()),
                reason: "it is not a setting",
                hint: "write each line as `name=value`, with librdkafka's names",
            })?;
            settings.insert(name.trim().to_owned(), value.trim().to_owned());
        }
        if settings.keys().any(|name| name.ends_with("password")) {
            warn_if_others_can_read(path);
        }
        Ok(Settings(settings))
    }

    fn check(self) -> Result<Settings> {
        let protocol = self.0.get(PROTOCOL).map_or("plaintext", String::as_str);
        if !cfg!(feature = "tls") && !protocol.eq_ignore_ascii_case("plaintext") {
            return Err(Error::InvalidArgument {
                argument: format!("{PROTOCOL} {protocol:?}"),
                reason: "this build supports neither encryption nor passwords",
                hint: "enable the cargo feature: `--features tls`, or in a notebook `:dep \
                       live_sentiment = { path = \"..\", features = [\"tls\"] }`",
            });
        }
        Ok(self)
    }

    /// Returns the address of the broker, if it is set.
    pub(super) fn address(&self) -> Option<&str> {
        self.0.get(BOOTSTRAP).map(|address| address.trim())
    }

    /// Returns the security protocol: `plaintext`, `sasl_ssl`, …
    pub(super) fn protocol(&self) -> &str {
        self.0.get(PROTOCOL).map_or("plaintext", String::as_str)
    }

    pub(super) fn apply(&self, config: &mut ClientConfig) {
        for (name, value) in &self.0 {
            config.set(name, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Settings> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        Settings::read(file.path())
    }

    #[test]
    fn an_error_in_a_settings_file_names_the_line_and_not_its_content() {
        let settings =
            read("# a cluster\nbootstrap.servers = a:1,b:2\nsasl.password=p=w\n\n").unwrap();
        assert_eq!(settings.address(), Some("a:1,b:2"));
        assert_eq!(settings.0["sasl.password"], "p=w");
        let error = read("a=b\nhunter2\n").err().unwrap().to_string();
        assert!(
            error.contains("line 2") && !error.contains("hunter2"),
            "{error}"
        );
    }
}
