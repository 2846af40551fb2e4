//! The server of the page: static files and a stream of events, for this machine only.
//!
//! The server listens on loopback, and the `Host` header of a request must be a loopback name.
//! Otherwise another site could resolve its own name to 127.0.0.1 and read the events (DNS rebinding). A
//! proxy sends its own name as the `Host`, so a request with any other name must contain the random path of
//! this server, see [`address`](super::address). The content security policy of the page allows only this
//! server. The stream of a page that does not read ends when the page is too many updates behind.
//! `connections.rs` bounds the connections.

use super::answer::{self, Question, Refused};
use super::connections::{self, OpenConnection};
use super::{FigureState, Shown, plot};
use crate::task::background::CancellationToken;
use axum::extract::{Request, State};
use axum::http::uri::Authority;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get};
use axum::{Extension, Router};
use futures_util::stream;
use serde_json::{Value, json};
use std::convert::Infallible;
use std::sync::{Arc, LazyLock};
use std::time::Duration;
use tokio::net::TcpListener;

/// `style-src` allows inline styles, because plotly.js writes them. Scripts come from this server only.
/// The page may be framed by a Jupyter server on this machine, by the server of a proxy ('self'), and by
/// VS Code, which shows the output of cells in a webview.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; \
     img-src 'self' data: blob:; connect-src 'self'; base-uri 'none'; form-action 'none'; \
     frame-ancestors 'self' http://127.0.0.1:* http://localhost:* vscode-webview: vscode-file:";

const HTML: &str = "text/html; charset=utf-8";
const STYLE: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const JSON: [(HeaderName, &str); 1] = [(header::CONTENT_TYPE, "application/json")];

macro_rules! scripts {
    ($($name:literal)*) => { [$(($name, include_str!(concat!("page/", $name)))),*] };
}

/// The script of the page, as modules that the browser loads.
const SCRIPTS: [(&str, &str); 13] = scripts! {
    "chart.js" "controls.js" "download.js" "format.js" "gestures.js" "model.js" "notebook.js"
    "numbers.js" "page.js" "panel.js" "pipeline.js" "tweets.js" "view.js"
};

/// The plotly.js of the plotly crate. The crate provides it between script tags, followed by another
/// script that is not needed here.
static PLOTLY: LazyLock<String> = LazyLock::new(|| {
    let html = plotly::Plot::offline_js_sources();
    let script = html.split_once('>').map_or("", |(_, rest)| rest);
    let end = script.find("</script>").unwrap_or(script.len());
    script[..end].to_owned()
});

/// Serves until the shutdown is requested.
pub(super) async fn serve(
    listener: TcpListener,
    shared: Arc<FigureState>,
    secret: String,
    shutdown: CancellationToken,
) {
    let router = files("")
        .layer(middleware::from_fn(require_loopback))
        .merge(files(&format!("/{secret}")))
        .layer(middleware::map_response(add_headers))
        .with_state(shared);
    tokio::select! {
        () = connections::serve(listener, router) => {}
        () = shutdown.cancelled() => {}
    }
}

/// Returns the routes below a path.
fn files(path: &str) -> Router<Arc<FigureState>> {
    let at = |name: &str| format!("{path}/{name}");
    let file =
        |kind: &'static str, content: &'static str| get(([(header::CONTENT_TYPE, kind)], content));
    let mut router = Router::new();
    for (name, script) in SCRIPTS {
        router = router.route(&at(name), file(SCRIPT, script));
    }
    let plotly = get(|| async {
        let cache = [(header::CACHE_CONTROL, "max-age=86400")];
        ([(header::CONTENT_TYPE, SCRIPT)], cache, PLOTLY.as_str())
    });
    router
        .route(&at(""), file(HTML, include_str!("page/index.html")))
        .route(&at("page.css"), file(STYLE, include_str!("page/page.css")))
        .route(&at("plotly.js"), plotly)
        // Made at a request, because plotly's `Plot` contains ten megabytes of scripts.
        .route(
            &at("figure.json"),
            get(|| async { (JSON, plot::template()) }),
        )
        .route(&at("events"), get(events))
        .route(&at("stretch"), ask(answer::stretch))
        .route(&at("point"), ask(answer::point))
        .route(&at("explain"), ask(answer::explain))
        .route(&at("skipped"), ask(answer::skipped))
}

/// Returns the handler of a question of the page.
fn ask(
    answer: fn(&Question, &[Shown]) -> Result<Value, Refused>,
) -> MethodRouter<Arc<FigureState>> {
    get(
        move |State(shared): State<Arc<FigureState>>, request: Request| async move {
            let question = Question::new(request.uri().query().unwrap_or_default());
            let shown = shared.shown.borrow().clone();
            let (status, answer) = match answer(&question, &shown) {
                Ok(answer) => (StatusCode::OK, answer),
                Err(refused) => {
                    let (status, error) = refused.response();
                    (status, json!({ "error": error }))
                }
            };
            (status, JSON, answer.to_string())
        },
    )
}

/// Rejects requests whose `Host` header is not loopback.
async fn require_loopback(request: Request, next: Next) -> Response {
    let mut hosts = request.headers().get_all(header::HOST).iter();
    let host = hosts.next().and_then(|host| host.to_str().ok());
    if hosts.next().is_some() {
        let reason = "A request has one Host header.\n";
        return (StatusCode::BAD_REQUEST, reason).into_response();
    }
    let target = request.uri().authority().map(Authority::as_str);
    if host.is_some_and(is_loopback) && target.is_none_or(is_loopback) {
        return next.run(request).await;
    }
    let hint = "This page is for the machine on which it runs: open it as http://127.0.0.1, or at \
                the address below the notebook's cell.\n";
    (StatusCode::MISDIRECTED_REQUEST, hint).into_response()
}

/// Returns whether this is a loopback name, with a port or without.
fn is_loopback(authority: &str) -> bool {
    let (name, port) = authority.split_once(':').unwrap_or((authority, ""));
    (name == "127.0.0.1" || name.eq_ignore_ascii_case("localhost"))
        && port.bytes().all(|byte| byte.is_ascii_digit())
}

/// Adds the security headers.
async fn add_headers(mut response: Response) -> Response {
    let no_store = HeaderValue::from_static("no-store");
    let headers = response.headers_mut();
    headers.entry(header::CACHE_CONTROL).or_insert(no_store);
    let security = [
        ("content-security-policy", POLICY),
        ("x-content-type-options", "nosniff"),
        ("referrer-policy", "no-referrer"),
        ("cross-origin-resource-policy", "cross-origin"),
    ];
    (security, response).into_response()
}

/// Streams everything so far, then each update. The stream ends when the page is too far behind; the
/// browser then reconnects and gets everything so far.
async fn events(
    State(shared): State<Arc<FigureState>>,
    Extension(connection): Extension<OpenConnection>,
) -> Response {
    let Some(page) = connection.open_page() else {
        let hint = "Too many pages of this figure are open: close one.\n";
        return (StatusCode::SERVICE_UNAVAILABLE, hint).into_response();
    };
    let (everything, updates) = shared.join();
    let state = (everything, updates, page);
    let stream = stream::unfold(state, |(first, mut updates, page)| async move {
        let data = match first {
            Some(everything) => everything,
            None => updates.recv().await.ok()?,
        };
        let event = Event::default()
            .retry(Duration::from_millis(1000))
            .data(data);
        Some((Ok::<_, Infallible>(event), (None, updates, page)))
    });
    let keep_alive = KeepAlive::new().interval(Duration::from_secs(5));
    Sse::new(stream).keep_alive(keep_alive).into_response()
}
