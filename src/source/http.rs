//! How the live sources speak HTTP: the client, which addresses are accepted, and how much of an
//! answer is read.

use crate::{Error, Result};
use reqwest::{Client, Response, Url};
use std::sync::Once;
use std::time::Duration;

/// How long connecting may take; shorter than the 5 s within which an error is due.
const CONNECT: Duration = Duration::from_secs(4);
/// How much of an answer that is no stream is read.
const ANSWER_BYTES: usize = 1024 * 1024;

/// A client for servers below `base`. It follows no redirect: credentials go where they were meant
/// to go, or nowhere.
pub(super) fn client(base: &Url) -> Result<Client> {
    static PROVIDER: Once = Once::new();
    PROVIDER.call_once(|| {
        // An error means that the program has chosen a provider of its own.
        let _ = rustls::crypto::ring::default_provider().install_default();
    });
    let mut builder = Client::builder()
        .user_agent(concat!("live-sentiment/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(CONNECT)
        .redirect(reqwest::redirect::Policy::none())
        .http1_only();
    if is_loopback(base) {
        builder = builder.no_proxy();
    }
    builder.build().map_err(|error| Error::Source {
        source_name: "HTTP".into(),
        reason: words(&error),
        next: "Check that the system's certificates are installed (Debian: ca-certificates)."
            .into(),
    })
}

/// The address as a base for paths. Encrypted, unless it is on this machine.
pub(super) fn base(address: &str, said_by: &str) -> Result<Url> {
    let refused = |reason: &'static str| Error::Invalid {
        what: format!("{said_by} = {address:?}"),
        reason,
        next: "Give an address such as \"https://example.org\".",
    };
    let address = address.trim().trim_end_matches('/');
    let http = match address.split_once("://") {
        Some(("wss", rest)) => format!("https://{rest}"),
        Some(("ws", rest)) => format!("http://{rest}"),
        _ => address.to_owned(),
    };
    let url = Url::parse(&http).map_err(|_| refused("it is no address of a server"))?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err(Error::Invalid {
            what: said_by.to_owned(),
            reason: "an address must not carry credentials",
            next: "Give the address without a user and a password.",
        });
    }
    match url.scheme() {
        "https" => Ok(url),
        "http" if is_loopback(&url) => Ok(url),
        "http" => Err(refused(
            "it is not encrypted, which is accepted on this machine only",
        )),
        _ => Err(refused("it is no address of a web server")),
    }
}

fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost"
        || host
            .parse::<std::net::IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

/// The whole body of an answer, up to 1 MiB.
pub(super) async fn body(mut response: Response) -> Result<Vec<u8>, reqwest::Error> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        let room = ANSWER_BYTES - body.len();
        body.extend_from_slice(&chunk[..chunk.len().min(room)]);
        if body.len() == ANSWER_BYTES {
            break;
        }
    }
    Ok(body)
}

/// What an error of the client says, with its causes, and without the address: that may carry
/// what is nobody's business.
pub(super) fn words(error: &reqwest::Error) -> String {
    let mut words = if error.is_timeout() {
        "no answer in time".to_owned()
    } else if error.is_connect() {
        "no connection".to_owned()
    } else if error.is_body() || error.is_decode() {
        "the connection broke".to_owned()
    } else {
        "the request failed".to_owned()
    };
    let mut cause = std::error::Error::source(error);
    let mut last = None;
    while let Some(error) = cause {
        last = Some(error.to_string());
        cause = error.source();
    }
    if let Some(last) = last {
        words.push_str(": ");
        words.push_str(&last);
    }
    words
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
