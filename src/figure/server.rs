//! The server of the page: five files and a stream of events, for this machine only.
//!
//! It listens on loopback, and a request must name loopback in its `Host` header: otherwise a page
//! of a stranger could make its own name mean 127.0.0.1 and read along (DNS rebinding). The page's
//! content security policy lets it load from here only. A page that does not read is dropped: when
//! it is too many updates behind, its stream ends, and when its socket takes nothing for ten
//! seconds, the connection does.

use super::{Shared, plot};
use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use futures_util::stream::{self, Stream};
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, LazyLock};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio_io_timeout::TimeoutWriter;

/// How many connections are open at once, at most; further ones wait.
const CONNECTIONS: usize = 64;
/// For how long a connection may take none of what is written to it.
const STALLED: Duration = Duration::from_secs(10);

/// `style-src` allows inline styles because plotly.js writes them; scripts come from here only.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; \
     img-src 'self' data: blob:; connect-src 'self'; base-uri 'none'; form-action 'none'; \
     frame-ancestors 'self' http://127.0.0.1:* http://localhost:*";

/// plotly.js as the plotly crate carries it. The crate gives it between script tags, before
/// another script that is not needed here.
static PLOTLY: LazyLock<String> = LazyLock::new(|| {
    let html = plotly::Plot::offline_js_sources();
    let script = html.split_once('>').map_or("", |(_, rest)| rest);
    let end = script.find("</script>").unwrap_or(script.len());
    script[..end].to_owned()
});

#[derive(Clone)]
struct App {
    shared: Arc<Shared>,
    stopped: watch::Receiver<bool>,
}

pub(super) async fn serve(
    listener: TcpListener,
    shared: Arc<Shared>,
    stopped: watch::Receiver<bool>,
) {
    let file = |kind: &'static str, body: &'static str| {
        get(move || async move { ([(header::CONTENT_TYPE, kind)], body) })
    };
    let plotly = get(|| async {
        let kind = (header::CONTENT_TYPE, "text/javascript; charset=utf-8");
        (
            [kind, (header::CACHE_CONTROL, "max-age=86400")],
            PLOTLY.as_str(),
        )
    });
    let figure = get(|| async {
        (
            [(header::CONTENT_TYPE, "application/json")],
            plot::template(),
        )
    });
    let app = Router::new()
        .route(
            "/",
            file("text/html; charset=utf-8", include_str!("page/index.html")),
        )
        .route(
            "/page.js",
            file(
                "text/javascript; charset=utf-8",
                include_str!("page/page.js"),
            ),
        )
        .route(
            "/page.css",
            file("text/css; charset=utf-8", include_str!("page/page.css")),
        )
        .route("/plotly.js", plotly)
        .route("/figure.json", figure)
        .route("/events", get(events))
        .layer(middleware::from_fn(guard))
        .with_state(App {
            shared,
            stopped: stopped.clone(),
        });
    let limit = Arc::new(Semaphore::new(CONNECTIONS));
    let mut told_to_stop = stopped;
    let result = axum::serve(Connections { listener, limit }, app)
        .with_graceful_shutdown(async move {
            let _ = told_to_stop.wait_for(|stop| *stop).await;
        })
        .await;
    if let Err(error) = result {
        tracing::error!("the figure's server has ended: {error}");
    }
}

async fn guard(request: Request, next: Next) -> Response {
    let host = request
        .headers()
        .get(header::HOST)
        .and_then(|host| host.to_str().ok());
    let name = host.map(|host| host.rsplit_once(':').map_or(host, |(name, _)| name));
    if !matches!(name, Some("127.0.0.1" | "localhost")) {
        let words = "This page is for the machine it runs on: open it by http://127.0.0.1.\n";
        return (StatusCode::MISDIRECTED_REQUEST, words).into_response();
    }
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (
            HeaderName::from_static("cross-origin-resource-policy"),
            "cross-origin",
        ),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers
        .entry(header::CACHE_CONTROL)
        .or_insert(HeaderValue::from_static("no-store"));
    response
}

/// Everything so far, then every update as it comes. It ends when the page is too far behind; the
/// browser then connects anew and gets everything so far.
async fn events(State(app): State<App>) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    let (everything, updates) = app.shared.join();
    let state = (everything, updates, app.stopped);
    let stream = stream::unfold(state, |(first, mut updates, mut stopped)| async move {
        let data = match first {
            Some(everything) => everything,
            None => tokio::select! {
                _ = stopped.wait_for(|stop| *stop) => return None,
                update = updates.recv() => update.ok()?,
            },
        };
        let event = Event::default()
            .retry(Duration::from_millis(1000))
            .data(data);
        Some((Ok(event), (None, updates, stopped)))
    });
    Sse::new(stream).keep_alive(KeepAlive::new().interval(Duration::from_secs(5)))
}

/// The accepted connections: limited in number, each given up when it stalls.
struct Connections {
    listener: TcpListener,
    limit: Arc<Semaphore>,
}

impl axum::serve::Listener for Connections {
    type Io = Connection;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Connection, SocketAddr) {
        loop {
            // The semaphore is never closed, so there is always a permit in the end.
            let Ok(permit) = self.limit.clone().acquire_owned().await else {
                continue;
            };
            match self.listener.accept().await {
                Ok((stream, address)) => {
                    let _ = stream.set_nodelay(true);
                    let mut stream = TimeoutWriter::new(stream);
                    stream.set_timeout(Some(STALLED));
                    return (
                        Connection {
                            stream: Box::pin(stream),
                            _permit: permit,
                        },
                        address,
                    );
                }
                Err(error) => {
                    tracing::warn!("a connection to the figure failed: {error}");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

struct Connection {
    stream: Pin<Box<TimeoutWriter<TcpStream>>>,
    _permit: OwnedSemaphorePermit,
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        to: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.stream.as_mut().poll_read(cx, to)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        from: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.stream.as_mut().poll_write(cx, from)
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream.as_mut().poll_flush(cx)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream.as_mut().poll_shutdown(cx)
    }
}
