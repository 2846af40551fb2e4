//! Finds out which protocol the program at the address of a broker speaks.

use super::address::Address;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

const ANSWER_LIMIT: Duration = Duration::from_millis(500);
/// The maximum number of bytes that are read. No answer to [`API_VERSIONS`] is longer.
const MAX_ANSWER: usize = 16 * 1024;

/// The request `ApiVersions` of Kafka's protocol, version 0, without a client id. Every broker answers
/// it, even before the client has authenticated.
const API_VERSIONS: [u8; 14] = [0, 0, 0, 10, 0, 18, 0, 0, 0, 0, 0, 0, 0xff, 0xff];
/// The number of the request `Metadata`, which a controller does not serve.
const METADATA: u16 = 3;
/// A TLS record with an empty `ClientHello`, which a TLS server answers with an alert.
const CLIENT_HELLO: [u8; 9] = [22, 3, 1, 0, 4, 1, 0, 0, 0];
/// The first bytes of a TLS record: an alert or a handshake, of version 3.
const TLS: [[u8; 2]; 2] = [[21, 3], [22, 3]];
const HTTP: &[u8] = b"HEAD / HTTP/1.0\r\n\r\n";

/// The program that listens at an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Peer {
    /// A broker, without encryption.
    Broker,
    /// A controller of Kafka, which serves only brokers.
    Controller,
    /// A server that requires TLS.
    Tls,
    Http,
    Unknown,
}

/// Finds out what listens at the address, in little more than [`ANSWER_LIMIT`].
pub(super) async fn identify(address: &Address) -> Peer {
    let (kafka, tls, http) = tokio::join!(
        ask(address, &API_VERSIONS),
        ask(address, &CLIENT_HELLO),
        ask(address, HTTP)
    );
    match served_requests(&kafka) {
        Some(served) if served.contains(&METADATA) => Peer::Broker,
        Some(_) => Peer::Controller,
        None if http.starts_with(b"HTTP/") => Peer::Http,
        None if TLS.iter().any(|start| tls.starts_with(start)) => Peer::Tls,
        None => Peer::Unknown,
    }
}

/// Sends a request, and returns what the program answers until the connection closes or the time limit
/// is reached.
async fn ask(address: &Address, request: &[u8]) -> Vec<u8> {
    let mut answer = Vec::new();
    let asking = async {
        let Ok(mut stream) = address.connect_in_time().await else {
            return;
        };
        // An error ends the answer, like the end of the connection.
        let mut is_open = stream.write_all(request).await.is_ok();
        while is_open && answer.len() < MAX_ANSWER && !is_complete(&answer) {
            is_open = matches!(stream.read_buf(&mut answer).await, Ok(1..));
        }
    };
    // After the time limit, the answer is what has been received.
    let _ = timeout(ANSWER_LIMIT, asking).await;
    answer
}

/// Returns whether the bytes are a complete answer of Kafka's protocol. An answer begins with its length.
fn is_complete(answer: &[u8]) -> bool {
    answer
        .first_chunk()
        .is_some_and(|size| answer.len() - 4 >= u32::from_be_bytes(*size) as usize)
}

/// Returns the numbers of the requests that a broker or a controller serves, from its answer to
/// [`API_VERSIONS`]: length, number of the request, error, count, and for each request its number and
/// versions.
fn served_requests(answer: &[u8]) -> Option<Vec<u16>> {
    let (count, requests) = answer.get(10..)?.split_first_chunk()?;
    let count = usize::try_from(u32::from_be_bytes(*count)).ok()?;
    let is_whole = is_complete(answer) && Some(requests.len()) == count.checked_mul(6);
    if !is_whole || answer[4..10] != [0; 6] {
        return None;
    }
    let number = |request: &[u8]| u16::from_be_bytes([request[0], request[1]]);
    Some(requests.chunks_exact(6).map(number).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_that_is_not_kafkas_is_not_taken_for_one() {
        let answer = |served: &[u16]| {
            let count = u32::try_from(served.len()).unwrap();
            let mut answer = (10 + 6 * count).to_be_bytes().to_vec();
            answer.extend([0; 6]);
            answer.extend(count.to_be_bytes());
            for number in served {
                answer.extend(number.to_be_bytes());
                answer.extend([0, 0, 0, 9]);
            }
            answer
        };
        let broker = answer(&[0, 3, 18]);
        assert_eq!(served_requests(&broker), Some(vec![0, 3, 18]));
        for length in 0..broker.len() {
            assert_eq!(served_requests(&broker[..length]), None, "{length}");
        }
        assert_eq!(served_requests(b"HTTP/1.1 400 Bad Request\r\n\r\n"), None);
        assert_eq!(served_requests(&[0xff; 64]), None);
        let mut wrong_count = broker;
        wrong_count[10..14].copy_from_slice(&[0xff; 4]);
        assert_eq!(served_requests(&wrong_count), None);
    }
}
