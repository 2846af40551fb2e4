//! The credentials of an app: its bearer token, or the key and secret with which a token is fetched.
//!
//! No secret is printed. The type that holds a secret reveals it only for the header of a request.

use super::CONSOLE;
use crate::error::{Error, ErrorKind, Result};
use crate::files::warn_if_others_can_read;
use base64::Engine;
use base64::prelude::BASE64_STANDARD as STANDARD;
use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

/// The name of the file with the credentials for X, in the working directory or a folder above it.
const CREDENTIALS_FILE: &str = "credentials.toml";
/// The minimum length of a string that is redacted, in bytes. A shorter string is not a real secret, and
/// it could be part of ordinary words.
const MIN_REDACTED: usize = 6;
/// How many folders are searched: the working directory and those above it.
const FOLDERS: usize = 4;

/// The credentials of an app for the X API (docs.x.com, "Authentication": OAuth 2.0 app-only).
/// `Debug` shows only their kind.
///
/// # Examples
/// ```
/// use live_sentiment::source::Credentials;
///
/// let credentials = Credentials::bearer("AAAAAAAAAAAAAAAAAAAAA-the-token")?;
/// assert_eq!(format!("{credentials:?}"), "Credentials(a bearer token)");
/// # Ok::<(), live_sentiment::Error>(())
/// ```
#[derive(Clone)]
pub struct Credentials(pub(super) Kind);

#[derive(Clone)]
pub(super) enum Kind {
    Bearer(Secret),
    Key { key: Secret, secret: Secret },
}

/// A string that is never printed.
#[derive(Clone)]
pub(super) struct Secret(String);

impl Secret {
    /// Creates a secret. `name` is its name in error messages.
    pub(super) fn new(name: &str, value: &str) -> Result<Secret> {
        let value = value.trim();
        let in_token = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~+/=%".contains(&byte);
        let reason = if value.is_empty() {
            "it is empty"
        } else if value.len() > 4_096 {
            "it is longer than any token"
        } else if !value.bytes().all(in_token) {
            "it contains characters that no token has (a space, a line break, a quote?)"
        } else {
            return Ok(Secret(value.to_owned()));
        };
        Err(failed(
            format!("invalid {name}: {reason}"),
            format!("copy it again from {CONSOLE}"),
        ))
    }

    /// Returns the secret. Use it only for the header of a request.
    pub(super) fn reveal(&self) -> &str {
        &self.0
    }

    /// Returns the text with the secret redacted. A server may repeat the secret in its messages.
    pub(super) fn redact(&self, text: &str) -> String {
        if self.0.len() < MIN_REDACTED {
            return text.to_owned();
        }
        text.replace(&self.0, "…")
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Kind::Bearer(_) => "Credentials(a bearer token)",
            Kind::Key { .. } => "Credentials(an API key and its secret)",
        })
    }
}

impl Credentials {
    /// Creates credentials from an app's bearer token.
    ///
    /// # Errors
    /// [`ErrorKind::Credentials`] if the token is malformed.
    pub fn bearer(token: &str) -> Result<Credentials> {
        Secret::new("the bearer token", token).map(|token| Credentials(Kind::Bearer(token)))
    }

    /// Creates credentials from an app's API key and secret. The bearer token is fetched with them.
    ///
    /// # Errors
    /// [`ErrorKind::Credentials`] if one of them is malformed.
    pub fn key(key: &str, secret: &str) -> Result<Credentials> {
        let key = Secret::new("the API key", key)?;
        let secret = Secret::new("the API secret", secret)?;
        Ok(Credentials(Kind::Key { key, secret }))
    }

    /// Reads credentials from the environment (`X_BEARER_TOKEN`, or `X_API_KEY` and
    /// `X_API_SECRET`), or from the file `credentials.toml` in the working directory or one of the three
    /// folders above it. Both accept the names of the original notebooks, `KEY` and `SECRET`. The
    /// `ACCESS_TOKEN` and `ACCESS_TOKEN_SECRET` of these notebooks belong to a user. This stream belongs
    /// to the app and needs neither.
    ///
    /// # Errors
    /// [`ErrorKind::Credentials`] if there are no credentials, or if they are malformed;
    /// [`ErrorKind::File`] if the file cannot be read.
    pub fn from_env() -> Result<Credentials> {
        let environment = |name: &str| std::env::var(name).ok();
        if let Some(found) = choose(&environment, "the environment")? {
            return Ok(found);
        }
        let here = std::env::current_dir().unwrap_or_else(|_| PathBuf::from("."));
        let file = here
            .ancestors()
            .take(FOLDERS)
            .map(|folder| folder.join(CREDENTIALS_FILE))
            .find(|file| file.is_file());
        match file {
            Some(file) => Credentials::from_file(file),
            None => Err(failed(
                format!(
                    "no credentials for X: neither X_BEARER_TOKEN (or X_API_KEY and X_API_SECRET) in \
                     the environment, nor {CREDENTIALS_FILE} in {} or a folder above it",
                    here.display()
                ),
                format!(
                    "copy credentials.example.toml to {CREDENTIALS_FILE} and enter the token that \
                     {CONSOLE} shows for your app; or stream from Bluesky::new(), which needs no account"
                ),
            )),
        }
    }

    /// Reads credentials from a file such as `credentials.example.toml`.
    ///
    /// # Errors
    /// [`ErrorKind::File`] if the file cannot be read, [`ErrorKind::Credentials`] if it contains no
    /// credentials or malformed ones.
    pub fn from_file(file: impl AsRef<Path>) -> Result<Credentials> {
        let path = file.as_ref();
        let text = std::fs::read_to_string(path)
            .map_err(|source| Error::file("read the credentials file", path, &source))?;
        warn_if_others_can_read(path);
        let location = path.display().to_string();
        // The parser's message may quote the file, so only its line number is shown.
        let values: BTreeMap<String, serde_json::Value> =
            basic_toml::from_str(&text).map_err(|error| {
                let line = line_number(&error);
                failed(
                    format!(
                        "failed to parse {location}: it does not have the form name = \"value\"{line}"
                    ),
                    "compare it with credentials.example.toml".into(),
                )
            })?;
        // In the file, a name may also be in lower case and without `X_`.
        let in_file = |name: &str| {
            let names = [name, name.strip_prefix("X_").unwrap_or(name)];
            let is_it = |given: &str| names.iter().any(|name| given.eq_ignore_ascii_case(name));
            let (_, value) = values.iter().find(|(given, _)| is_it(given))?;
            value.as_str().map(str::to_owned)
        };
        choose(&in_file, &location)?.ok_or_else(|| {
            failed(
                format!(
                    "{location} contains no bearer_token, and no api_key with an api_secret, in quotes"
                ),
                format!("enter the token that {CONSOLE} shows for your app"),
            )
        })
    }

    /// Returns the text with all credentials redacted.
    pub(super) fn redact(&self, text: &str) -> String {
        match &self.0 {
            Kind::Bearer(token) => token.redact(text),
            Kind::Key { key, secret } => {
                // The header of the token request contains the key and the secret in this form.
                let encoded = STANDARD.encode(format!("{}:{}", key.0, secret.0));
                secret.redact(&key.redact(&Secret(encoded).redact(text)))
            }
        }
    }
}

/// Returns the credentials that `look_up` finds by their names, which may be those of the original
/// notebooks. An empty value counts as missing.
fn choose(look_up: &dyn Fn(&str) -> Option<String>, location: &str) -> Result<Option<Credentials>> {
    let find = |names: &[&'static str]| {
        let is_set = |value: &String| !value.trim().is_empty();
        let value = |name: &&'static str| Some((*name, look_up(name).filter(is_set)?));
        names.iter().find_map(value)
    };
    let secret =
        |(name, value): (&str, String)| Secret::new(&format!("{name} from {location}"), &value);
    let half = |found, missing| {
        failed(
            format!("{location} contains {found}, but no {missing}"),
            format!("set both, or the bearer token alone; {CONSOLE} shows them"),
        )
    };
    if let Some(token) = find(&["X_BEARER_TOKEN"]) {
        return Ok(Some(Credentials(Kind::Bearer(secret(token)?))));
    }
    let key = find(&["X_API_KEY", "KEY"]);
    match (key, find(&["X_API_SECRET", "SECRET"])) {
        (Some(key), Some(found)) => Ok(Some(Credentials(Kind::Key {
            key: secret(key)?,
            secret: secret(found)?,
        }))),
        // KEY or SECRET alone may belong to another program.
        (Some((found @ "X_API_KEY", _)), None) => Err(half(found, "X_API_SECRET")),
        (None, Some((found @ "X_API_SECRET", _))) => Err(half(found, "X_API_KEY")),
        _ => Ok(None),
    }
}

fn failed(message: String, hint: String) -> Error {
    Error::new(ErrorKind::Credentials, message).with_hint(hint)
}

/// Returns the line number in a parser's message, and nothing else of the message.
fn line_number(error: &basic_toml::Error) -> String {
    let message = error.to_string();
    let (_, line) = message.rsplit_once("line ").unwrap_or_default();
    let digits = line.bytes().take_while(u8::is_ascii_digit).count();
    match &line[..digits] {
        "" => String::new(),
        number => format!(" (line {number})"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    const TOKEN: &str = "AAAAAAAAAA-sEcReT-0123456789%2Fabc";

    fn file(text: &str) -> Result<Credentials> {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        Credentials::from_file(file.path())
    }

    #[test]
    fn every_name_is_accepted() {
        for text in [
            format!("bearer_token = \"{TOKEN}\""),
            format!("# mine\nX_BEARER_TOKEN = '{TOKEN}'\nother = 1\n"),
            format!("bearer_token = \"\"\napi_key = \"k\"\napi_secret = \"{TOKEN}\""),
            format!("X_API_KEY = \"k\"\nX_API_SECRET = \"{TOKEN}\""),
            format!("KEY=\"k\"\nSECRET=\"{TOKEN}\"\nACCESS_TOKEN=\"a\"\nACCESS_TOKEN_SECRET=\"s\""),
        ] {
            let shown = format!("{:?}", file(&text).unwrap());
            assert!(
                shown.starts_with("Credentials(") && !shown.contains("sEcReT"),
                "{shown}"
            );
        }
    }

    #[test]
    fn errors_name_the_problem_without_the_secret() {
        for (text, expected) in [
            (format!("bearer_token = {TOKEN}"), "line 1"),
            (format!("\n{TOKEN}"), "line 2"),
            (format!("bearer_token = \"{TOKEN}"), "the form name"),
            (
                format!("bearer_token = \"{TOKEN} {TOKEN}\""),
                "no token has",
            ),
            (format!("token = \"{TOKEN}\""), "no bearer_token"),
            (format!("api_key = \"{TOKEN}\""), "no X_API_SECRET"),
            ("bearer_token = 12345678".into(), "in quotes"),
            (String::new(), "no bearer_token"),
            (format!("a = \"{TOKEN}\"\na = \"{TOKEN}\""), "the form name"),
        ] {
            let error = file(&text).unwrap_err().to_string();
            assert!(error.contains(expected), "{text}: {error}");
            assert!(
                !error.contains("sEcReT") && !error.contains("12345678"),
                "{error}"
            );
        }
    }

    #[test]
    fn the_environment_is_read_by_name() {
        let given = |pairs: &'static [(&str, &str)]| {
            let look = move |name: &str| {
                let found = pairs.iter().find(|(given, _)| *given == name);
                found.map(|(_, value)| (*value).to_owned())
            };
            choose(&look, "the environment")
        };
        assert!(given(&[("X_BEARER_TOKEN", "t")]).unwrap().is_some());
        assert!(given(&[("KEY", "k"), ("SECRET", "s")]).unwrap().is_some());
        assert!(
            given(&[("KEY", "k")]).unwrap().is_none(),
            "another program's KEY"
        );
        assert!(given(&[("X_BEARER_TOKEN", " ")]).unwrap().is_none());
        let error = given(&[("X_API_SECRET", "s")]).unwrap_err().to_string();
        assert!(error.contains("no X_API_KEY"), "{error}");
    }
}
