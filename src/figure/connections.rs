//! The connections to the figure. Their number and the time of each wait are bounded.
//!
//! The server closes a connection when the head of its next request is not complete within ten seconds,
//! or when it accepts no bytes for ten seconds. When too many connections are open, a new connection
//! replaces the one with the oldest request. So idle and slow connections cannot block the figure. The
//! connection of an open page is never replaced. There may be more connections than pages, so a new
//! connection never waits.

use crate::task::locked;
use axum::Router;
use axum::extract::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::{AbortHandle, JoinError, JoinSet};
use tokio::time::sleep;
use tokio_io_timeout::TimeoutWriter;

/// The maximum number of open connections.
const MAX_CONNECTIONS: usize = 64;
/// The maximum number of open pages. The other connections are for files and questions.
const MAX_PAGES: usize = 48;
/// The time limit for the head of the next request of a connection, and for each write.
const LIMIT: Duration = Duration::from_secs(10);

/// A connection, as its requests see it.
#[derive(Clone)]
pub(super) struct OpenConnection {
    /// When the last request began. `None` while the connection belongs to an open page.
    last_request: Arc<Mutex<Option<Instant>>>,
    pages: Arc<Semaphore>,
}

impl OpenConnection {
    fn begin_request(&self) {
        *locked(&self.last_request) = Some(Instant::now());
    }

    /// Keeps the connection open as long as the returned value exists. Returns `None` if too many
    /// pages are open.
    pub(super) fn open_page(&self) -> Option<OpenPage> {
        let permit = self.pages.clone().try_acquire_owned().ok()?;
        *locked(&self.last_request) = None;
        Some(OpenPage {
            connection: self.clone(),
            _permit: permit,
        })
    }
}

/// An open page. No new connection replaces its connection.
pub(super) struct OpenPage {
    connection: OpenConnection,
    _permit: OwnedSemaphorePermit,
}

impl Drop for OpenPage {
    fn drop(&mut self) {
        self.connection.begin_request();
    }
}

/// Serves until the future is dropped, which closes all connections. A handler gets its [`OpenConnection`] as
/// an extension of the request.
pub(super) async fn serve(listener: TcpListener, router: Router) {
    let pages = Arc::new(Semaphore::new(MAX_PAGES));
    // The set owns the tasks: it aborts them when it is dropped.
    let mut tasks = JoinSet::new();
    let mut open = Vec::new();
    loop {
        let accepted = tokio::select! {
            biased;
            Some(ended) = tasks.join_next() => {
                report(ended);
                continue;
            }
            accepted = listener.accept() => accepted,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "failed to accept a connection to the figure");
                sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        open.retain(|(_, task): &(OpenConnection, AbortHandle)| !task.is_finished());
        if tasks.len() == MAX_CONNECTIONS {
            abort_oldest(&open);
            if let Some(ended) = tasks.join_next().await {
                report(ended);
            }
        }
        let connection = OpenConnection {
            last_request: Arc::new(Mutex::new(Some(Instant::now()))),
            pages: pages.clone(),
        };
        let task = answer_requests(stream, router.clone(), connection.clone());
        open.push((connection, tasks.spawn(task)));
    }
}

/// Ends the task of the connection whose last request is the oldest.
fn abort_oldest(open: &[(OpenConnection, AbortHandle)]) {
    let idle = open.iter().filter_map(|(connection, task)| {
        let last_request = *locked(&connection.last_request);
        Some((last_request?, task))
    });
    if let Some((_, task)) = idle.min_by_key(|(last_request, _)| *last_request) {
        task.abort();
    }
}

fn report(ended: Result<(), JoinError>) {
    match ended {
        Ok(()) => {}
        Err(error) if error.is_panic() => {
            tracing::error!(%error, "a connection to the figure failed");
        }
        Err(_) => tracing::debug!("closed the oldest of too many connections to the figure"),
    }
}

/// Answers the requests of a connection.
async fn answer_requests(stream: TcpStream, router: Router, connection: OpenConnection) {
    let _ = stream.set_nodelay(true);
    let mut stream = TimeoutWriter::new(stream);
    stream.set_timeout(Some(LIMIT));
    let router = TowerToHyperService::new(router);
    let service = service_fn(move |mut request: Request<Incoming>| {
        connection.begin_request();
        request.extensions_mut().insert(connection.clone());
        router.call(request)
    });
    let result = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(LIMIT)
        .serve_connection(TokioIo::new(Box::pin(stream)), service)
        .await;
    if let Err(error) = result {
        tracing::debug!(%error, "a connection to the figure was closed");
    }
}
