//! The addresses of brokers: `host:port`, or several of them separated by commas.

use crate::error::{Error, Result};
use std::fmt;
use std::io;
use std::net::{Ipv6Addr, SocketAddr};
use std::time::Duration;
use tokio::net::{TcpStream, lookup_host};
use tokio::task::JoinSet;
use tokio::time::timeout;

/// The time limit for a connection.
const CONNECT_LIMIT: Duration = Duration::from_secs(1);

/// The address of a broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Address {
    /// A name, or an IP address without brackets.
    host: String,
    port: u16,
}

impl Address {
    /// Returns an address that a broker advertises; `None` if its port is impossible.
    pub(super) fn new(host: &str, port: i32) -> Option<Address> {
        Some(Address {
            host: host.into(),
            port: u16::try_from(port).ok()?,
        })
    }

    /// Parses `host:port,host:port`.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`](crate::ErrorKind::InvalidArgument) names the first malformed address.
    pub(super) fn parse_list(list: &str) -> Result<Vec<Address>> {
        let addresses = list.split(',').map(|address| {
            Address::parse(address.trim()).map_err(|reason| {
                Error::invalid_argument(
                    format!("Kafka address {list:?}"),
                    reason,
                    "write `host:port`, such as `127.0.0.1:9092`, without `http://`; separate \
                       several brokers by commas",
                )
            })
        });
        addresses.collect()
    }

    fn parse(text: &str) -> Result<Address, &'static str> {
        if text.is_empty() {
            return Err("an address is empty");
        }
        if text.contains("://") {
            return Err("it is a URL");
        }
        let (host, port) = text.rsplit_once(':').ok_or("the port is missing")?;
        let is_name = |c: char| c.is_alphanumeric() || matches!(c, '.' | '-' | '_');
        let host = match host.strip_prefix('[') {
            Some(rest) => rest
                .strip_suffix(']')
                .filter(|host| is_ipv6(host))
                .ok_or("it has no IPv6 address in its brackets")?,
            None if host.is_empty() => return Err("the host is missing"),
            None if is_ipv6(text) || is_ipv6(host) => {
                return Err("an IPv6 address needs brackets, as in `[::1]:9092`");
            }
            None if host.chars().all(is_name) => host,
            None => return Err("the host has a character that no name of a host has"),
        };
        match port.parse() {
            Ok(port @ 1..) => Ok(Address {
                host: host.into(),
                port,
            }),
            _ => Err("the port is not a number from 1 to 65535"),
        }
    }

    /// Connects to all socket addresses of the host at once, and returns the first connection.
    async fn connect(&self) -> io::Result<TcpStream> {
        let sockets = lookup_host((self.host.as_str(), self.port)).await?;
        let mut attempts: JoinSet<_> = sockets.map(TcpStream::connect::<SocketAddr>).collect();
        let mut refused = io::Error::from(io::ErrorKind::AddrNotAvailable);
        while let Some(attempt) = attempts.join_next().await {
            match attempt? {
                Ok(stream) => return Ok(stream),
                Err(error) => refused = error,
            }
        }
        Err(refused)
    }

    /// Connects within [`CONNECT_LIMIT`].
    pub(super) async fn connect_in_time(&self) -> Result<TcpStream, String> {
        match timeout(CONNECT_LIMIT, self.connect()).await {
            Ok(connected) => connected.map_err(|error| error.to_string()),
            Err(_) => Err(format!("no answer within {} s", CONNECT_LIMIT.as_secs())),
        }
    }
}

/// An IPv6 address may have a zone, as in `fe80::1%eth0`.
fn is_ipv6(host: &str) -> bool {
    let address = host.split_once('%').map_or(host, |(address, _)| address);
    address.parse::<Ipv6Addr>().is_ok()
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Address { host, port } = self;
        match host.contains(':') {
            true => write!(f, "[{host}]:{port}"),
            false => write!(f, "{host}:{port}"),
        }
    }
}

/// Returns the addresses as a list that [`Address::parse_list`] reads.
pub(super) fn list(addresses: &[Address]) -> String {
    let addresses: Vec<String> = addresses.iter().map(Address::to_string).collect();
    addresses.join(",")
}

/// Connects to all addresses at once, and returns the first that accepts. If none accepts, it returns the
/// reason of each, after little more than [`CONNECT_LIMIT`].
pub(super) async fn first_reachable(addresses: &[Address]) -> Result<Address, String> {
    let is_only_one = addresses.len() == 1;
    let attempt = |address: Address| async move {
        match address.connect_in_time().await {
            Ok(_) => Ok(address),
            Err(reason) if is_only_one => Err(reason),
            Err(reason) => Err(format!("{address}: {reason}")),
        }
    };
    let mut attempts: JoinSet<_> = addresses.iter().cloned().map(attempt).collect();
    let mut reasons = Vec::new();
    while let Some(attempt) = attempts.join_next().await {
        match attempt.map_err(|error| error.to_string())? {
            Ok(address) => return Ok(address),
            Err(reason) => reasons.push(reason),
        }
    }
    Err(reasons.join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::task::block_on;

    #[test]
    fn an_address_is_a_host_and_a_port() {
        for list in [
            "127.0.0.1:9092",
            "localhost:1",
            "a_b.c-d:65535",
            "[::1]:9092",
            "[fe80::1%eth0]:9092",
            "a:1,b:2,c:3",
        ] {
            assert_eq!(super::list(&Address::parse_list(list).unwrap()), list);
        }
        let spaced = Address::parse_list(" a:1 , b:2").unwrap();
        assert_eq!(super::list(&spaced), "a:1,b:2");
    }

    #[test]
    fn a_malformed_address_is_refused_with_a_reason() {
        for (list, reason) in [
            ("", "empty"),
            (" ", "empty"),
            ("a:1,", "empty"),
            ("127.0.0.1", "port is missing"),
            (":9092", "host is missing"),
            ("127.0.0.1:", "not a number"),
            ("127.0.0.1:abc", "not a number"),
            ("127.0.0.1:0", "not a number"),
            ("127.0.0.1:70000", "not a number"),
            ("127.0.0.1:-1", "not a number"),
            ("http://127.0.0.1:9092", "URL"),
            ("PLAINTEXT://127.0.0.1:9092", "URL"),
            ("127.0.0.1:9092/tweets", "not a number"),
            ("a b:9092", "character"),
            ("a:1 b:2", "character"),
            ("::1", "brackets"),
            ("::1:9092", "brackets"),
            ("[::1]", "brackets"),
            ("[localhost]:9092", "brackets"),
            ("[::1:9092", "brackets"),
        ] {
            let error = Address::parse_list(list).unwrap_err().to_string();
            assert!(error.contains(reason), "{list:?}: {error}");
            assert!(error.contains("hint: write `host:port`"), "{error}");
        }
    }

    #[test]
    fn one_reachable_address_is_enough_and_otherwise_each_has_a_reason() {
        let listening = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let open = Address::new("127.0.0.1", listening.local_addr().unwrap().port().into());
        let refusing = Address::new("127.0.0.1", 1).unwrap();
        let unknown = Address::new("no-such-host.invalid", 9092).unwrap();
        let (refusing, unknown) = (&refusing, &unknown);
        let open = open.unwrap();
        let all = [unknown.clone(), refusing.clone(), open.clone()];
        assert_eq!(block_on(first_reachable(&all)), Ok(open));
        let error = block_on(first_reachable(&all[..2])).unwrap_err();
        assert!(error.contains("127.0.0.1:1: Connection refused"), "{error}");
        assert!(error.contains("no-such-host.invalid:9092: "), "{error}");
    }
}
