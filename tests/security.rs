//! A broker that requires encryption and a password, with the feature `tls`.
//!
//! The programs read their settings from the environment. Their output must not contain a password.
#![cfg(feature = "tls")]

use common::apache::{Apache, free_port};
use common::*;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

const PASSWORD: &str = "tHe-PaSsWoRd-Of-AdA";
const WRONG: &str = "nOt-ThE-PaSsWoRd";

/// Creates a certificate authority and a server certificate. Returns the files of both.
fn certificates(folder: &Path, name: &str) -> (PathBuf, PathBuf) {
    let mut authority = rcgen::CertificateParams::new(Vec::new()).unwrap();
    authority.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    authority
        .distinguished_name
        .push(rcgen::DnType::CommonName, format!("{name} authority"));
    let authority_key = rcgen::KeyPair::generate().unwrap();
    let authority = rcgen::CertifiedIssuer::self_signed(authority, authority_key).unwrap();
    let server_key = rcgen::KeyPair::generate().unwrap();
    let names = vec!["localhost".into(), "127.0.0.1".into()];
    let server = rcgen::CertificateParams::new(names).unwrap();
    let server = server.signed_by(&server_key, &authority).unwrap();
    let (ca, keystore) = (
        folder.join(format!("{name}-ca.pem")),
        folder.join(format!("{name}-server.pem")),
    );
    std::fs::write(&ca, authority.pem()).unwrap();
    let chain = server_key.serialize_pem() + &server.pem() + &authority.pem();
    std::fs::write(&keystore, chain).unwrap();
    (ca, keystore)
}

struct Secured {
    apache: Apache,
    /// Two ports without encryption. Only the second one requires a password.
    open: u16,
    password: u16,
    authority: PathBuf,
    other_authority: PathBuf,
    _folder: tempfile::TempDir,
}

impl Secured {
    fn start() -> Option<Secured> {
        let folder = tempfile::tempdir().unwrap();
        let (authority, keystore) = certificates(folder.path(), "our");
        let (other_authority, _) = certificates(folder.path(), "other");
        let (open, password) = (free_port(), free_port());
        let advertised = format!(
            "SASL_SSL://127.0.0.1:{{port}},INTERNAL://127.0.0.1:{open},PASSWORD://127.0.0.1:{password}"
        );
        let listeners = format!("{advertised},CONTROLLER://127.0.0.1:{{controller}}");
        let plain = format!(
            "org.apache.kafka.common.security.plain.PlainLoginModule required user_ada=\"{PASSWORD}\";"
        );
        let apache = Apache::start(&[
            ("listeners", &listeners),
            ("advertised.listeners", &advertised),
            ("inter.broker.listener.name", "INTERNAL"),
            (
                "listener.security.protocol.map",
                "SASL_SSL:SASL_SSL,CONTROLLER:PLAINTEXT,INTERNAL:PLAINTEXT,PASSWORD:SASL_PLAINTEXT",
            ),
            ("ssl.keystore.type", "PEM"),
            ("ssl.keystore.location", &keystore.display().to_string()),
            ("sasl.enabled.mechanisms", "PLAIN,SCRAM-SHA-512"),
            ("listener.name.sasl_ssl.plain.sasl.jaas.config", &plain),
            ("listener.name.password.sasl.enabled.mechanisms", "PLAIN"),
            ("listener.name.password.plain.sasl.jaas.config", &plain),
            (
                "listener.name.sasl_ssl.scram-sha-512.sasl.jaas.config",
                "org.apache.kafka.common.security.scram.ScramLoginModule required;",
            ),
        ])?;
        let user = Command::new("java")
            .current_dir(root())
            .args(["-cp", "target/kafka/libs/*", "kafka.admin.ConfigCommand"])
            .args([
                "--bootstrap-server",
                &format!("127.0.0.1:{open}"),
                "--alter",
            ])
            .args([
                "--add-config",
                &format!("SCRAM-SHA-512=[password={PASSWORD}]"),
            ])
            .args(["--entity-type", "users", "--entity-name", "ada"])
            .output()
            .unwrap();
        assert!(user.status.success(), "{user:?}");
        Some(Secured {
            apache,
            open,
            password,
            authority,
            other_authority,
            _folder: folder,
        })
    }

    /// Streams ten tweets with these settings. Returns whether the program succeeded, and its output.
    fn stream(&self, settings: &[(&str, &str)]) -> (bool, String) {
        self.stream_to(&self.apache.address(), settings)
    }

    fn stream_to(&self, address: &str, settings: &[(&str, &str)]) -> (bool, String) {
        let mut command = example("streamer");
        command.args(["--bootstrap", address, "--count", "10", "--rate", "0"]);
        command.envs(settings.iter().copied());
        let start = Instant::now();
        let ended = command.output().unwrap();
        let output = [ended.stdout, ended.stderr].concat();
        let output = String::from_utf8_lossy(&output).into_owned();
        if !ended.status.success() {
            // Twice the documented limit, for slow machines.
            assert!(start.elapsed() < Duration::from_secs(10), "{output}");
        }
        for secret in [PASSWORD, WRONG] {
            assert!(!output.contains(secret), "{output}");
        }
        (ended.status.success(), output)
    }
}

#[test]
fn the_right_password_is_accepted_and_each_error_names_its_setting() {
    let Some(secured) = Secured::start() else {
        return;
    };
    let ours = secured.authority.display().to_string();
    let others = secured.other_authority.display().to_string();
    let settings = |mechanism, password, authority| {
        [
            ("KAFKA_SECURITY_PROTOCOL", "sasl_ssl"),
            ("KAFKA_SASL_MECHANISM", mechanism),
            ("KAFKA_SASL_USERNAME", "ada"),
            ("KAFKA_SASL_PASSWORD", password),
            ("KAFKA_SSL_CA_LOCATION", authority),
        ]
    };
    for mechanism in ["PLAIN", "SCRAM-SHA-512"] {
        let (done, output) = secured.stream(&settings(mechanism, PASSWORD, &ours));
        assert!(done && output.contains("sent"), "{output}");
        let (done, output) = secured.stream(&settings(mechanism, WRONG, &ours));
        assert!(!done && output.contains("KAFKA_SASL_PASSWORD"), "{output}");
        assert!(output.contains("access denied"), "{output}");
    }
    let (done, output) = secured.stream(&settings("PLAIN", PASSWORD, &others));
    assert!(
        !done && output.contains("KAFKA_SSL_CA_LOCATION"),
        "{output}"
    );
    let (done, output) = secured.stream(&[]);
    assert!(
        !done && output.contains("KAFKA_SECURITY_PROTOCOL"),
        "{output}"
    );
    assert!(output.contains("the port requires encryption"), "{output}");
    let open = format!("127.0.0.1:{}", secured.open);
    let (done, output) = secured.stream_to(&open, &settings("PLAIN", PASSWORD, &ours));
    assert!(
        !done && output.contains("the port has no encryption"),
        "{output}"
    );
    let with_password = format!("127.0.0.1:{}", secured.password);
    let (done, output) = secured.stream_to(&with_password, &[]);
    assert!(
        !done && output.contains("KAFKA_SECURITY_PROTOCOL=sasl_plaintext"),
        "{output}"
    );
    let (done, output) = secured.stream(&[("KAFKA_SECURITY_PROTOCOL", "sasl_ssl")]);
    assert!(
        !done && output.contains("set KAFKA_SASL_MECHANISM"),
        "{output}"
    );

    // Now the same settings are in a file that other users can read.
    let file = secured.apache.folder.path().join("client.properties");
    let lines = format!(
        "security.protocol=sasl_ssl\nsasl.mechanism=PLAIN\nsasl.username=ada\n\
         sasl.password={PASSWORD}\nssl.ca.location={ours}\n"
    );
    std::fs::write(&file, lines).unwrap();
    let file = file.display().to_string();
    let (done, output) = secured.stream(&[("KAFKA_PROPERTIES", &file)]);
    assert!(done && output.contains("chmod 600"), "{output}");
}
