//! X, by the filtered stream of its API v2: `GET /2/tweets/search/stream`.
//!
//! The original notebooks read Twitter's v1.1 stream, which no longer exists. In its successor the
//! tracks are not part of the request: they are stored on the server as rules. See docs.x.com,
//! "Filtered stream", "Build a rule" and "Handling disconnections". The waits between two
//! connections are those of the last page.
//!
//! The API needs a paid account. `docs/sources.md` describes how to get one, and its terms of use.

mod credentials;
mod decode;
mod problem;
mod rules;

pub use credentials::{CREDENTIALS_FILE, Credentials};

use super::connection::{Backoff, ConnectionWatch, jittered};
use super::feed::{Feed, Outlet};
use super::lines::LineBuffer;
use super::{Source, async_trait, http};
use crate::display::shorten;
use crate::{Error, Filter, Result, Tweet};
use credentials::{Kind, Secret};
use decode::Message;
use problem::Problem;
use reqwest::{Client, RequestBuilder, Response, StatusCode, Url, header};
use rules::{Answer, Rule};
use std::time::Duration;

/// The environment variable with the address of another server of the API, such as a simulator.
pub const API_VARIABLE: &str = "X_API_BASE_URL";
const API: &str = "https://api.x.com";
const CONSOLE: &str = "https://console.x.com";
const NAME: &str = "X";
const SOURCE: &str = "x";
/// A stream that sends nothing for this long, not even a keep-alive, is dead.
const SILENCE_LIMIT: Duration = Duration::from_secs(20);
/// The time limit of a request that is not the stream.
const REQUEST_LIMIT: Duration = Duration::from_secs(10);
/// The longest wait for a rate limit. X counts its limits over 15 minutes.
const MAX_LIMIT_WAIT: Duration = Duration::from_secs(16 * 60);
/// The wait before the first retry if another connection holds the stream. That connection may be
/// the previous stream of this notebook, which stops once the new source has begun.
const HANDOVER_WAIT: Duration = Duration::from_secs(2);
/// The requested fields.
const PARAMETERS: &str = "tweet.fields=created_at,lang,note_tweet&expansions=author_id\
                          &user.fields=username,public_metrics";

/// The X source. The tracks of the stream become rules of the account, see [`Filter`]; X decides
/// which tweets match them.
///
/// # Examples
/// ```no_run
/// # use live_sentiment::prelude::*;
/// # fn main() -> Result<()> {
/// # let topic = Kafka::start()?.create_topic("tweets", TopicConfig::default())?;
/// let streaming = Streamer::new(&topic)
///     .track(["bitcoin", "ethereum", "dogecoin"])
///     .languages(["en"])
///     .start(X::from_env()?)?;
/// # Ok(())
/// # }
/// ```
pub struct X {
    credentials: Credentials,
    base: Url,
    feed: Option<Feed>,
    connection: ConnectionWatch,
}

impl X {
    /// Creates the source with the credentials of the environment or of `credentials.toml`, see
    /// [`Credentials::from_env`].
    ///
    /// # Errors
    /// [`Error::Credentials`] if there are none; [`Error::InvalidArgument`] if `X_API_BASE_URL` is
    /// not the address of a server, or of a remote one without encryption.
    pub fn from_env() -> Result<X> {
        X::new(Credentials::from_env()?)
    }

    /// Creates the source with these credentials.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] if `X_API_BASE_URL` is not the address of a server, or of a remote
    /// one without encryption.
    pub fn new(credentials: Credentials) -> Result<X> {
        let base = match std::env::var(API_VARIABLE) {
            Ok(address) if !address.trim().is_empty() => address,
            _ => API.into(),
        };
        X::at(&base, credentials)
    }

    /// Creates the source for another server of the same API.
    ///
    /// # Errors
    /// As for [`X::new`].
    pub fn at(base: &str, credentials: Credentials) -> Result<X> {
        Ok(X {
            credentials,
            base: http::base(base, API_VARIABLE)?,
            feed: None,
            connection: ConnectionWatch::default(),
        })
    }
}

#[async_trait]
impl Source for X {
    fn name(&self) -> String {
        NAME.into()
    }

    async fn begin(&mut self, filter: Filter) -> Result<Filter> {
        let task = Task {
            client: http::client(&self.base)?,
            base: self.base.clone(),
            credentials: self.credentials.clone(),
            server: http::host_and_port(&self.base),
            rules: rules::wanted(&filter)?,
            watch: self.connection.clone(),
        };
        self.feed = Some(Feed::start("X source", |outlet| task.run(outlet)).await?);
        Ok(Filter::by_source())
    }

    async fn next(&mut self) -> Option<Result<Tweet>> {
        self.feed.as_mut()?.next().await
    }

    fn connection(&self) -> Option<ConnectionWatch> {
        Some(self.connection.clone())
    }
}

/// The state of the source's task.
struct Task {
    client: Client,
    base: Url,
    /// Host and port, for messages.
    server: String,
    credentials: Credentials,
    rules: Vec<Rule>,
    watch: ConnectionWatch,
}

/// Why a connection ended, or could not be made.
enum End {
    /// The server closed the stream.
    Closed(String),
    /// The network failed, or the stream broke.
    Network(String),
    /// The server has an internal error.
    Server(String),
    /// A rate limit is reached, for as long as the server says.
    RateLimit(String, Option<Duration>),
    /// Another connection holds the account's only stream.
    TooManyConnections(String, Option<Duration>),
    /// A retry cannot succeed before something is changed.
    Rejected { reason: String, hint: &'static str },
    /// The receiver of the tweets is gone.
    Unread,
}

impl From<reqwest::Error> for End {
    fn from(error: reqwest::Error) -> End {
        End::Network(http::describe(&error))
    }
}

/// What follows a connection.
enum Next {
    /// A retry after a wait.
    Retry(Duration, String),
    Fail {
        reason: String,
        hint: &'static str,
    },
    End,
}

/// The waits of docs.x.com, "Handling disconnections".
struct Waits {
    network: Backoff,
    server: Backoff,
    limit: Backoff,
}

impl Waits {
    fn new() -> Waits {
        Waits {
            network: Backoff::linear(Duration::from_millis(250), Duration::from_secs(16)),
            server: Backoff::doubling(Duration::from_secs(5), Duration::from_secs(320)),
            limit: Backoff::doubling(Duration::from_secs(60), MAX_LIMIT_WAIT),
        }
    }

    fn reset(&mut self) {
        *self = Waits::new();
    }

    fn after(&mut self, end: End) -> Next {
        match end {
            End::Closed(reason) | End::Network(reason) => Next::Retry(self.network.next(), reason),
            End::Server(reason) => Next::Retry(self.server.next(), reason),
            End::RateLimit(reason, wait) | End::TooManyConnections(reason, wait) => {
                let wait = match wait {
                    Some(wait) => jittered(wait.min(MAX_LIMIT_WAIT)),
                    None => self.limit.next(),
                };
                Next::Retry(wait, reason)
            }
            End::Rejected { reason, hint } => Next::Fail { reason, hint },
            End::Unread => Next::End,
        }
    }
}

/// What the connections of one stream have in common.
#[derive(Default)]
struct Session {
    token: Option<Secret>,
    rules_are_set: bool,
    was_connected: bool,
    handed_over: bool,
}

impl Task {
    async fn run(self, outlet: Outlet) {
        let mut waits = Waits::new();
        let mut session = Session::default();
        loop {
            let end = match self.connect(&mut session).await {
                Ok(stream) => {
                    session.was_connected = true;
                    self.watch.connected();
                    outlet.started();
                    self.read(stream, &outlet, &mut waits).await
                }
                Err(end) => end,
            };
            let is_handover = matches!(end, End::TooManyConnections(..))
                && !session.was_connected
                && !session.handed_over;
            let next = match end {
                End::TooManyConnections(reason, _) if is_handover => {
                    session.handed_over = true;
                    outlet.started();
                    Next::Retry(HANDOVER_WAIT, reason)
                }
                end => waits.after(end),
            };
            match next {
                Next::Retry(wait, reason) => {
                    self.watch.lost(&self.message(&reason, &session));
                    tokio::time::sleep(wait).await;
                }
                Next::Fail { reason, hint } => {
                    let reason = self.message(&reason, &session);
                    self.watch.lost(&reason);
                    let error = Error::Source {
                        name: NAME.into(),
                        reason: shorten(&reason, 400),
                        hint: hint.into(),
                    };
                    return outlet.fail(error).await;
                }
                Next::End => return,
            }
        }
    }

    /// Returns a reason with the server's name, and with credentials redacted: the server may have
    /// written it.
    fn message(&self, reason: &str, session: &Session) -> String {
        let reason = self.credentials.redact(reason);
        let reason = match &session.token {
            Some(token) => token.redact(&reason),
            None => reason,
        };
        format!("{}: {reason}", self.server)
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base.as_str().trim_end_matches('/'))
    }

    /// Connects to the stream. Before that it fetches the token and sets the rules, unless an
    /// earlier connection has.
    async fn connect(&self, session: &mut Session) -> Result<Response, End> {
        let token = match &session.token {
            Some(token) => token.clone(),
            None => session.token.insert(self.token().await?).clone(),
        };
        if !session.rules_are_set {
            self.set_rules(&token, session).await?;
            session.rules_are_set = true;
        }
        let url = self.url(&format!("/2/tweets/search/stream?{PARAMETERS}"));
        let request = self.authorized(self.client.get(url), &token);
        let response = tokio::time::timeout(SILENCE_LIMIT, request.send())
            .await
            .map_err(|_| End::Network("no response within 20 s".into()))??;
        match response.status() {
            StatusCode::OK => Ok(response),
            _ => Err(rejection("connect to the stream", response).await),
        }
    }

    fn authorized(&self, request: RequestBuilder, token: &Secret) -> RequestBuilder {
        // `bearer_auth` marks the header as sensitive, so that no log contains it.
        request.bearer_auth(token.reveal())
    }

    /// Returns the bearer token. With a key and a secret it is fetched (docs.x.com, "OAuth 2.0
    /// app-only bearer token": `POST /oauth2/token`).
    async fn token(&self) -> Result<Secret, End> {
        let (key, secret) = match &self.credentials.0 {
            Kind::Bearer(token) => return Ok(token.clone()),
            Kind::Key { key, secret } => (key, secret),
        };
        let request = self
            .client
            .post(self.url("/oauth2/token"))
            .basic_auth(key.reveal(), Some(secret.reveal()))
            .header(
                header::CONTENT_TYPE,
                "application/x-www-form-urlencoded;charset=UTF-8",
            )
            .body("grant_type=client_credentials")
            .timeout(REQUEST_LIMIT);
        let body = self.request("fetch a bearer token", request).await?;
        #[derive(serde::Deserialize)]
        struct Token {
            access_token: String,
        }
        serde_json::from_slice::<Token>(&body)
            .ok()
            .and_then(|token| Secret::new(&token.access_token).ok())
            .ok_or_else(|| {
                End::Server("the response to the token request contains no token".into())
            })
    }

    /// Changes the account's rules of this crate to the wanted ones. Rules are added before others
    /// are deleted, so that a rejected rule leaves a stream with the earlier rules as it is.
    async fn set_rules(&self, token: &Secret, session: &Session) -> Result<(), End> {
        let url = self.url("/2/tweets/search/stream/rules");
        let request = self.authorized(self.client.get(&url), token);
        let request = request.timeout(REQUEST_LIMIT);
        let body = self.request("list the rules", request).await?;
        let listed: Answer = serde_json::from_slice(&body)
            .map_err(|_| End::Server("the list of rules has an undocumented form".into()))?;
        let changes = rules::compare(&listed.data, &self.rules);
        let change = |body: serde_json::Value| {
            self.authorized(self.client.post(&url), token)
                .header(header::CONTENT_TYPE, "application/json")
                .body(body.to_string())
                .timeout(REQUEST_LIMIT)
        };
        if !changes.add.is_empty() {
            let body = serde_json::json!({ "add": changes.add });
            let body = self.request("add rules", change(body)).await?;
            if let Some(problem) = first_problem(&body) {
                return Err(End::Rejected {
                    reason: format!("X rejected a rule: {}", problem.description()),
                    hint: "change the track, or delete rules of the account that are no longer needed",
                });
            }
        }
        if !changes.delete.is_empty() {
            let body = serde_json::json!({ "delete": { "ids": changes.delete } });
            let deleted = self.request("delete old rules", change(body)).await;
            if let Err(end) = deleted.and_then(|body| {
                first_problem(&body)
                    .map_or(Ok(()), |problem| Err(End::Server(problem.description())))
            }) {
                let reason = match end {
                    End::Closed(reason)
                    | End::Network(reason)
                    | End::Server(reason)
                    | End::RateLimit(reason, _)
                    | End::TooManyConnections(reason, _)
                    | End::Rejected { reason, .. } => reason,
                    End::Unread => String::new(),
                };
                let reason = self.message(&reason, session);
                self.watch.note(&format!(
                    "failed to delete rules of an earlier run ({reason}); their tweets are \
                     filtered out"
                ));
            }
        }
        Ok(())
    }

    /// Sends a request that is not the stream, and returns the body of the response.
    async fn request(&self, action: &str, request: RequestBuilder) -> Result<Vec<u8>, End> {
        let response = request.send().await?;
        if response.status().is_success() {
            return Ok(http::body(response).await?);
        }
        Err(rejection(action, response).await)
    }

    /// Reads the stream to its end. Only a tweet resets the waits: a server that sends a keep-alive
    /// and closes the stream must not be asked again and again without a pause.
    async fn read(&self, mut stream: Response, outlet: &Outlet, waits: &mut Waits) -> End {
        let mut lines = LineBuffer::new();
        loop {
            let chunk = match tokio::time::timeout(SILENCE_LIMIT, stream.chunk()).await {
                Err(_) => return End::Network("no data for 20 s".into()),
                Ok(Err(error)) => return error.into(),
                Ok(Ok(None)) => return End::Closed("the server closed the stream".into()),
                Ok(Ok(Some(chunk))) => chunk,
            };
            lines.bytes().extend_from_slice(&chunk);
            while let Some(line) = lines.next() {
                if line.as_ref().is_ok_and(|line| line.trim().is_empty()) {
                    // A keep-alive.
                    continue;
                }
                let item = match line.and_then(|line| decode::decode(&line)) {
                    Ok(Message::Tweet(tweet)) => {
                        waits.reset();
                        Ok(tweet)
                    }
                    Ok(Message::Problem(problem)) => return in_stream(&problem),
                    Err(reason) => Err(Error::InvalidMessage {
                        source_name: NAME.into(),
                        reason,
                    }),
                };
                if !outlet.send(item).await {
                    return End::Unread;
                }
            }
        }
    }
}

/// Returns the end of a stream that reports a problem.
fn in_stream(problem: &Problem) -> End {
    let reason = format!("the server ended the stream: {}", problem.description());
    if problem.is_too_many_connections() {
        End::TooManyConnections(too_many(&reason), None)
    } else {
        End::Network(reason)
    }
}

fn too_many(reason: &str) -> String {
    format!("{reason}. Another program streams with the same account: stop that one")
}

/// Returns the first problem in a successful response.
fn first_problem(body: &[u8]) -> Option<Problem> {
    let answer: Answer = serde_json::from_slice(body).unwrap_or_default();
    answer.errors.into_iter().next()
}

/// Returns what an unsuccessful response means.
async fn rejection(action: &str, response: Response) -> End {
    let status = response.status();
    let reset = response
        .headers()
        .get("x-rate-limit-reset")
        .and_then(|value| value.to_str().ok()?.trim().parse::<i64>().ok());
    let body = http::body(response).await.unwrap_or_default();
    let problem: Problem = serde_json::from_slice(&body).unwrap_or_default();
    let problem = match first_problem(&body) {
        Some(first) if problem.title.is_none() => first,
        _ => problem,
    };
    let description = problem.description();
    let colon = if description.is_empty() { "" } else { ": " };
    let reason = format!("failed to {action}: X answered {status}{colon}{description}");
    match status.as_u16() {
        420 | 429 => {
            let now = jiff::Timestamp::now().as_second();
            let wait = reset
                .and_then(|reset| u64::try_from(reset - now).ok())
                .map(|seconds| Duration::from_secs(seconds.max(1)));
            if problem.is_too_many_connections() {
                End::TooManyConnections(too_many(&reason), wait)
            } else {
                End::RateLimit(reason, wait)
            }
        }
        408 | 500..=599 => End::Server(reason),
        401 => End::Rejected {
            reason,
            hint: "check the token, or the key and the secret: complete, not revoked, and of an \
                   app that belongs to a project. https://console.x.com shows them",
        },
        402 => End::Rejected {
            reason,
            hint: "the account has no credit for this: see https://console.x.com, or stream from \
                   Bluesky::new(), which needs no account",
        },
        403 => End::Rejected {
            reason,
            hint: "check that the account's plan includes the filtered stream and that the app \
                   belongs to a project; or stream from Bluesky::new(), which needs no account",
        },
        _ => End::Rejected {
            reason,
            hint: "check the tracks, and X_API_BASE_URL if it is set",
        },
    }
}
