//! Who asks: the bearer token of an app, or the key and secret from which one is fetched.
//!
//! Nothing here prints a secret: the type that holds one has no other way out than the header of a
//! request.

use super::CONSOLE;
use crate::secret::warn_if_others_can_read;
use crate::{Error, Result};
use base64::Engine;
use base64::prelude::BASE64_STANDARD as STANDARD;
use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

/// The file that is looked for, in the working directory and the folders above it.
pub const CREDENTIALS_FILE: &str = "credentials.toml";
/// What is shorter than this is no secret of anybody's, and stands in too many words.
const SHORTEST_HIDDEN: usize = 6;
/// How far up the file is looked for.
const FOLDERS: usize = 4;

/// What identifies an app to the X API (docs.x.com, "Authentication": OAuth 2.0 app-only).
///
/// `Debug` and `Display` show none of it.
///
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
    /// For the header of a request, and nothing else.
    pub(super) fn reveal(&self) -> &str {
        &self.0
    }

    /// The text without the secret, which a server may have put into it.
    pub(super) fn hide(&self, text: &str) -> String {
        if self.0.len() < SHORTEST_HIDDEN {
            return text.to_owned();
        }
        text.replace(&self.0, "…")
    }

    pub(super) fn new(value: &str) -> Result<Secret, &'static str> {
        let value = value.trim();
        if value.is_empty() {
            return Err("it is empty");
        }
        if value.len() > 4_096 {
            return Err("it is longer than any token");
        }
        let in_token = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~+/=%".contains(&byte);
        if !value.bytes().all(in_token) {
            return Err("it has characters that no token has (a blank, a line break, a quote?)");
        }
        Ok(Secret(value.to_owned()))
    }
}

impl Credentials {
    /// The text without any of these, whatever a server has put into it.
    pub(super) fn hide(&self, text: &str) -> String {
        match &self.0 {
            Kind::Bearer(token) => token.hide(text),
            Kind::Key { key, secret } => {
                // As the header of the request for a token holds the two.
                let both = STANDARD.encode(format!("{}:{}", key.0, secret.0));
                secret.hide(&key.hide(&Secret(both).hide(text)))
            }
        }
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

/// The names under which each credential is known: in the environment, in the file (there also in
/// small letters and without `X_`), and in the original notebooks.
const BEARER: &[&str] = &["X_BEARER_TOKEN"];
const KEY: &[&str] = &["X_API_KEY", "KEY"];
const SECRET: &[&str] = &["X_API_SECRET", "SECRET"];
impl Credentials {
    /// An app's bearer token.
    ///
    /// # Errors
    /// [`Error::Credentials`] if it cannot be one.
    pub fn bearer(token: &str) -> Result<Credentials> {
        let token = Secret::new(token).map_err(|reason| malformed("the bearer token", reason))?;
        Ok(Credentials(Kind::Bearer(token)))
    }

    /// An app's API key and its secret, from which a bearer token is fetched.
    ///
    /// # Errors
    /// [`Error::Credentials`] if they cannot be these.
    pub fn key(key: &str, secret: &str) -> Result<Credentials> {
        Ok(Credentials(Kind::Key {
            key: Secret::new(key).map_err(|reason| malformed("the API key", reason))?,
            secret: Secret::new(secret).map_err(|reason| malformed("the API secret", reason))?,
        }))
    }

    /// From the environment: `X_BEARER_TOKEN`, or `X_API_KEY` and `X_API_SECRET`; else from the
    /// file `credentials.toml` in the working directory or a folder above it. The original's
    /// names, `KEY` and `SECRET`, are understood in both; its `ACCESS_TOKEN` and
    /// `ACCESS_TOKEN_SECRET` belong to a user, and this stream, which is the app's own, needs none.
    ///
    /// # Errors
    /// [`Error::Credentials`] if there are none, or they cannot be such.
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
            None => Err(Error::Credentials {
                reason: format!(
                    "looked for X_BEARER_TOKEN (or X_API_KEY and X_API_SECRET) in the environment \
                     and for {CREDENTIALS_FILE} in {} and the folders above it: there is neither",
                    here.display()
                ),
                next: format!(
                    "Copy credentials.example.toml to {CREDENTIALS_FILE} and put in the token that \
                     {CONSOLE} shows for your app; or stream without an account from Bluesky::new()."
                ),
            }),
        }
    }

    /// From a file such as `credentials.example.toml`.
    ///
    /// # Errors
    /// [`Error::File`] if it cannot be read, [`Error::Credentials`] if it holds none.
    pub fn from_file(file: impl AsRef<Path>) -> Result<Credentials> {
        let path = file.as_ref();
        let text = std::fs::read_to_string(path).map_err(|source| Error::File {
            tried: "read the credentials file",
            path: path.to_path_buf(),
            source,
        })?;
        warn_if_others_can_read(path);
        let looked = path.display().to_string();
        // What the parser says may quote the file, so only the place is told.
        let values: BTreeMap<String, serde_json::Value> =
            basic_toml::from_str(&text).map_err(|error| Error::Credentials {
                reason: format!(
                    "read {looked}: it is not of the form name = \"value\"{}",
                    place(&error)
                ),
                next: "Compare it with credentials.example.toml.".into(),
            })?;
        let in_file = |name: &str| {
            let short = name.strip_prefix("X_").unwrap_or(name);
            let named =
                |given: &str| given.eq_ignore_ascii_case(name) || given.eq_ignore_ascii_case(short);
            let (_, value) = values.iter().find(|(given, _)| named(given))?;
            value.as_str().map(str::to_owned)
        };
        choose(&in_file, &looked)?.ok_or_else(|| Error::Credentials {
            reason: format!(
                "looked in {looked}: it holds no bearer_token, and no api_key with an api_secret, \
                 between quotes"
            ),
            next: format!("Put in the token that {CONSOLE} shows for your app."),
        })
    }
}

/// The credentials that `look` finds by their names; empty ones are not there.
fn choose(look: &dyn Fn(&str) -> Option<String>, place: &str) -> Result<Option<Credentials>> {
    let find = |names: &[&'static str]| {
        names.iter().find_map(|name| {
            let value = look(name).filter(|value| !value.trim().is_empty())?;
            Some((*name, value))
        })
    };
    let secret = |(name, value): (&str, String)| {
        Secret::new(&value).map_err(|reason| malformed(&format!("{name} from {place}"), reason))
    };
    if let Some(found) = find(BEARER) {
        return Ok(Some(Credentials(Kind::Bearer(secret(found)?))));
    }
    match (find(KEY), find(SECRET)) {
        (Some(key), Some(found)) => Ok(Some(Credentials(Kind::Key {
            key: secret(key)?,
            secret: secret(found)?,
        }))),
        // KEY or SECRET alone is the name of many things, and none of ours.
        (Some((there @ "X_API_KEY", _)), None) => Err(half(there, "X_API_SECRET", place)),
        (None, Some((there @ "X_API_SECRET", _))) => Err(half(there, "X_API_KEY", place)),
        _ => Ok(None),
    }
}

fn half(there: &str, missing: &str, place: &str) -> Error {
    Error::Credentials {
        reason: format!("found {there} in {place}, but no {missing}"),
        next: format!("Set both, or the bearer token alone; {CONSOLE} shows them."),
    }
}

fn malformed(what: &str, reason: &str) -> Error {
    Error::Credentials {
        reason: format!("read {what}: {reason}"),
        next: format!("Copy it once more from {CONSOLE}."),
    }
}

/// The line of a parser's error: its number, and nothing else of what it says.
fn place(error: &basic_toml::Error) -> String {
    let words = error.to_string();
    let line = words.rsplit_once("line ").map_or("", |(_, rest)| rest);
    let digits: String = line.chars().take_while(char::is_ascii_digit).collect();
    if digits.is_empty() {
        String::new()
    } else {
        format!(" (line {digits})")
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
    fn every_name_is_understood() {
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
    fn what_is_wrong_is_told_without_the_secret() {
        for (text, told) in [
            (format!("bearer_token = {TOKEN}"), "line 1"),
            (format!("\n{TOKEN}"), "line 2"),
            (format!("bearer_token = \"{TOKEN}"), "form name"),
            (
                format!("bearer_token = \"{TOKEN} {TOKEN}\""),
                "no token has",
            ),
            (format!("token = \"{TOKEN}\""), "no bearer_token"),
            (format!("api_key = \"{TOKEN}\""), "no X_API_SECRET"),
            ("bearer_token = 12345678".into(), "between quotes"),
            (String::new(), "no bearer_token"),
            (format!("a = \"{TOKEN}\"\na = \"{TOKEN}\""), "form name"),
        ] {
            let error = file(&text).unwrap_err().to_string();
            assert!(error.contains(told), "{text}: {error}");
            assert!(
                !error.contains("sEcReT") && !error.contains("12345678"),
                "{error}"
            );
        }
    }

    #[test]
    fn the_environment_is_read_by_its_names() {
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
