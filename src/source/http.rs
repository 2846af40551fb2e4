//! HTTP for the live sources: the client, the accepted addresses, and bounded response bodies.

use crate::error::{Error, ErrorKind, Result};
use reqwest::{Client, Response, Url};
use std::error::Error as _;
use std::iter::successors;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The time limit for connecting. It is shorter than the 5 s in which errors must appear.
const CONNECT_LIMIT: Duration = Duration::from_secs(4);
/// The maximum size of a response body that is not a stream.
const MAX_BODY: usize = 1024 * 1024;

/// Creates a client for the server at `base`. The client follows no redirects, because a redirect could
/// send credentials to another server.
///
/// # Errors
/// [`ErrorKind::Source`] if the client cannot be created, for example without the system's certificates.
pub(super) fn client(base: &Url) -> Result<Client> {
    // An error means that a provider is already installed.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut builder = Client::builder()
        .user_agent(concat!("live-sentiment/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(CONNECT_LIMIT)
        .redirect(reqwest::redirect::Policy::none())
        .http1_only();
    if is_loopback(base) {
        builder = builder.no_proxy();
    }
    builder.build().map_err(|error| {
        let message = format!("HTTP client: {}", describe(&error));
        Error::new(ErrorKind::Source, message).with_hint(
            "check that the system's certificates are installed (Debian: ca-certificates)",
        )
    })
}

/// Returns the address in an environment variable. An empty variable counts as not set.
pub(super) fn from_env(variable: &str) -> Option<String> {
    let address = std::env::var(variable).ok();
    address.filter(|address| !address.trim().is_empty())
}

/// Parses the address of a server. `setting` is the name of the setting that holds the address.
///
/// # Errors
/// [`ErrorKind::InvalidArgument`] if it is not the address of a web server or contains credentials, or if
/// the server is on another machine and the address is not encrypted.
pub(super) fn base(address: &str, setting: &str) -> Result<Url> {
    let invalid = |reason: &'static str| {
        Error::invalid_argument(
            format!("{setting} = {address:?}"),
            reason,
            "give an address such as \"https://example.org\"",
        )
    };
    let address = address.trim().trim_end_matches('/');
    let http = match address.split_once("://") {
        Some(("wss", rest)) => format!("https://{rest}"),
        Some(("ws", rest)) => format!("http://{rest}"),
        _ => address.to_owned(),
    };
    let url = Url::parse(&http).map_err(|_| invalid("it is not the address of a server"))?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err(Error::invalid_argument(
            setting.to_owned(),
            "an address must not contain credentials",
            "give the address without a user name and a password",
        ));
    }
    match url.scheme() {
        "https" => Ok(url),
        "http" if is_loopback(&url) => Ok(url),
        "http" => Err(invalid(
            "it is not encrypted, which is accepted for this machine only",
        )),
        _ => Err(invalid("it is not the address of a web server")),
    }
}

/// Returns the host and the port of a server, for messages. The rest of a URL may contain private data.
pub(super) fn host_and_port(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    let port = url.port_or_known_default().unwrap_or_default();
    format!("{host}:{port}")
}

fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost"
        || host
            .parse::<std::net::IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

/// Returns the number of seconds in a header of a response; `None` if the header has no such number.
pub(super) fn seconds(response: &Response, header: &str) -> Option<u64> {
    let value = response.headers().get(header)?;
    value.to_str().ok()?.trim().parse().ok()
}

/// Returns how long to wait until the time in a header, which is in seconds since 1970. The wait is at
/// least a second. Returns `None` if that time is past or missing.
pub(super) fn wait_until(response: &Response, header: &str) -> Option<Duration> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).ok()?;
    let wait = seconds(response, header)?.checked_sub(now.as_secs())?;
    Some(Duration::from_secs(wait.max(1)))
}

/// Reads the body of a response, up to 1 MiB.
pub(super) async fn body(mut response: Response) -> Result<Vec<u8>, reqwest::Error> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        let room = MAX_BODY - body.len();
        body.extend_from_slice(&chunk[..chunk.len().min(room)]);
        if body.len() == MAX_BODY {
            break;
        }
    }
    Ok(body)
}

/// Describes an error of the client with its innermost cause, and without the URL, whose query may
/// contain private data.
pub(super) fn describe(error: &reqwest::Error) -> String {
    let failure = if error.is_timeout() {
        "no response in time"
    } else if error.is_connect() {
        "no connection"
    } else if error.is_body() || error.is_decode() {
        "the connection broke"
    } else {
        "the request failed"
    };
    match successors(error.source(), |cause| (*cause).source()).last() {
        Some(cause) => format!("{failure}: {cause}"),
        None => failure.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_encrypted_or_on_this_machine() {
        for good in [
            "https://api.x.com",
            "https://api.x.com/",
            "http://127.0.0.1:8000",
            "http://localhost:8000/",
            "http://[::1]:8000",
            "ws://127.0.0.1:1",
            "wss://jetstream.example",
        ] {
            assert!(base(good, "X").is_ok(), "{good}");
        }
        for bad in [
            "http://api.x.com",
            "ws://example.org",
            "http://127.0.0.1.example.org",
            "http://localhost.example.org",
            "ftp://127.0.0.1",
            "api.x.com",
            "",
            "https://user:pass@example.org",
        ] {
            let error = base(bad, "X_API_BASE_URL").unwrap_err().to_string();
            assert!(error.contains("X_API_BASE_URL"), "{error}");
            assert!(!error.contains("pass@"), "{error}");
        }
    }
}
