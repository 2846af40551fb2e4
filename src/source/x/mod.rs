//! X, by the filtered stream of its API v2: `GET /2/tweets/search/stream`.
//!
//! The original notebooks read Twitter's v1.1 stream, which is gone. Its heir works the other way
//! round: what to look for is not said when connecting, but is kept on the server as rules. See
//! docs.x.com, "Filtered stream", "Build a rule" and "Handling disconnections"; the waits between
//! two connections are that last page's.
//!
//! It needs a paid account. `docs/sources.md` tells how to get one and what it may be used for.

mod credentials;
mod decode;
mod rules;

pub use credentials::{CREDENTIALS_FILE, Credentials};

use super::connection::{Backoff, ConnectionWatch, Feed, Outlet, jittered};
use super::{BoxedSource, Source, http};
use crate::notebook::shorten;
use crate::{Error, Filter, Result, Tweet};
use credentials::{Kind, Secret};
use decode::{Lines, Message, Problem};
use reqwest::{Client, RequestBuilder, Response, StatusCode, Url, header};
use rules::{Answer, Rule};
use std::time::Duration;

/// The environment variable that names another server than X's own, such as a simulator of it.
pub const API_VARIABLE: &str = "X_API_BASE_URL";
const API: &str = "https://api.x.com";
const CONSOLE: &str = "https://console.x.com";
const NAME: &str = "X";
const SOURCE: &str = "x";
/// A stream that says nothing for so long, not even a keep-alive, is dead.
const SILENCE: Duration = Duration::from_secs(20);
/// How long the answer to anything but the stream may take.
const ANSWER: Duration = Duration::from_secs(10);
/// The longest wait that a server's clock can ask for; the limits are counted over 15 minutes.
const LONGEST_LIMIT: Duration = Duration::from_secs(16 * 60);
/// Only what the API documents.
const PARAMETERS: &str = "tweet.fields=created_at,lang,note_tweet&expansions=author_id\
                          &user.fields=username,public_metrics";

/// The X source. Its tracks become rules of the account, see [`Filter`]; which tweets match them
/// is X's judgement.
///
/// ```no_run
/// # use live_sentiment::prelude::*;
/// # fn main() -> Result<()> {
/// # let kafka = Kafka::start()?;
/// let streaming = Streamer::new(&kafka, "tweets")
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
    /// X with the credentials of the environment or of `credentials.toml`, see
    /// [`Credentials::from_env`].
    ///
    /// # Errors
    /// [`Error::Credentials`] if there are none; [`Error::Invalid`] if `X_API_BASE_URL` names
    /// something else than a server that can be trusted with them.
    pub fn from_env() -> Result<X> {
        X::new(Credentials::from_env()?)
    }

    /// X with these credentials.
    ///
    /// # Errors
    /// [`Error::Invalid`] if `X_API_BASE_URL` names something else than a server that can be
    /// trusted with them: plain http is accepted for this machine only.
    pub fn new(credentials: Credentials) -> Result<X> {
        let base = match std::env::var(API_VARIABLE) {
            Ok(address) if !address.trim().is_empty() => address,
            _ => API.into(),
        };
        X::at(&base, credentials)
    }

    /// Another server of the same API.
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

impl Source for X {
    fn name(&self) -> String {
        NAME.into()
    }

    async fn begin(&mut self, filter: Filter) -> Result<Filter> {
        let task = Task {
            client: http::client(&self.base)?,
            base: self.base.clone(),
            credentials: self.credentials.clone(),
            rules: rules::wanted(&filter)?,
            watch: self.connection.clone(),
        };
        self.feed = Some(Feed::start(|outlet| task.run(outlet)).await?);
        Ok(Filter::by_source())
    }

    async fn next(&mut self) -> Option<Result<Tweet>> {
        self.feed.as_mut()?.next().await
    }

    fn connection(&self) -> Option<ConnectionWatch> {
        Some(self.connection.clone())
    }

    fn boxed(self) -> BoxedSource {
        BoxedSource::new(self)
    }
}

/// What the source's task owns.
struct Task {
    client: Client,
    base: Url,
    credentials: Credentials,
    rules: Vec<Rule>,
    watch: ConnectionWatch,
}

/// Why a connection is over, or never was.
enum End {
    /// The server ended a stream that had brought something.
    Clean,
    /// The network, or a stream that broke.
    Network(String),
    /// The server has a fault of its own.
    Server(String),
    /// Too much was asked for; when that is over, if the server said so.
    Limited(String, Option<Duration>),
    /// It is of no use to try again before something has been checked.
    Refused { reason: String, next: &'static str },
    /// Nobody reads any more.
    Unread,
}

impl From<reqwest::Error> for End {
    fn from(error: reqwest::Error) -> End {
        End::Network(http::words(&error))
    }
}

/// What comes after a connection.
enum After {
    /// Another one, after a wait and for a reason.
    Wait(Duration, String),
    Refused {
        reason: String,
        next: &'static str,
    },
    Unread,
}

/// The waits of docs.x.com, "Handling disconnections".
struct Waits {
    network: Backoff,
    server: Backoff,
    limited: Backoff,
}

impl Waits {
    fn new() -> Waits {
        Waits {
            network: Backoff::linear(Duration::from_millis(250), Duration::from_secs(16)),
            server: Backoff::doubling(Duration::from_secs(5), Duration::from_secs(320)),
            limited: Backoff::doubling(Duration::from_secs(60), LONGEST_LIMIT),
        }
    }

    fn reset(&mut self) {
        *self = Waits::new();
    }

    fn after(&mut self, end: End) -> After {
        match end {
            End::Clean => After::Wait(Duration::ZERO, "X ended the stream".into()),
            End::Network(reason) => After::Wait(self.network.next(), reason),
            End::Server(reason) => After::Wait(self.server.next(), reason),
            End::Limited(reason, Some(wait)) => {
                After::Wait(jittered(wait.min(LONGEST_LIMIT)), reason)
            }
            End::Limited(reason, None) => After::Wait(self.limited.next(), reason),
            End::Refused { reason, next } => After::Refused { reason, next },
            End::Unread => After::Unread,
        }
    }
}

impl Task {
    async fn run(self, outlet: Outlet) {
        let mut waits = Waits::new();
        let mut token: Option<Secret> = None;
        let mut rules_are_set = false;
        loop {
            let end = match self.connect(&mut token, &mut rules_are_set).await {
                Ok(stream) => {
                    self.watch.connected();
                    outlet.connected();
                    self.read(stream, &outlet, &mut waits).await
                }
                Err(end) => end,
            };
            match waits.after(end) {
                After::Wait(wait, reason) => {
                    self.watch.lost(&self.hide(&reason, token.as_ref()));
                    tokio::time::sleep(wait).await;
                }
                After::Refused { reason, next } => {
                    let reason = self.hide(&reason, token.as_ref());
                    self.watch.lost(&reason);
                    let error = Error::Source {
                        source_name: NAME.into(),
                        reason: shorten(&reason, 400),
                        next: next.into(),
                    };
                    return outlet.fail(error).await;
                }
                After::Unread => return,
            }
        }
    }

    /// A reason, which may be a server's text, without what is nobody's business.
    fn hide(&self, reason: &str, token: Option<&Secret>) -> String {
        let reason = self.credentials.hide(reason);
        token.map_or_else(|| reason.clone(), |token| token.hide(&reason))
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base.as_str().trim_end_matches('/'))
    }

    /// Token, rules, stream: whatever of it is still missing.
    async fn connect(
        &self,
        token: &mut Option<Secret>,
        rules_are_set: &mut bool,
    ) -> Result<Response, End> {
        if token.is_none() {
            *token = Some(self.token().await?);
        }
        let Some(token) = token.as_ref() else {
            return Err(End::Unread);
        };
        if !*rules_are_set {
            self.set_rules(token).await?;
            *rules_are_set = true;
        }
        let url = self.url(&format!("/2/tweets/search/stream?{PARAMETERS}"));
        let request = self.authorized(self.client.get(url), token);
        let response = tokio::time::timeout(SILENCE, request.send())
            .await
            .map_err(|_| End::Network("X did not answer within 20 s".into()))??;
        match response.status() {
            StatusCode::OK => Ok(response),
            _ => Err(refusal("connect to the stream", response).await),
        }
    }

    fn authorized(&self, request: RequestBuilder, token: &Secret) -> RequestBuilder {
        // `bearer_auth` marks the header as sensitive, so that no log shows it.
        request.bearer_auth(token.reveal())
    }

    /// docs.x.com, "OAuth 2.0 app-only bearer token": `POST /oauth2/token`.
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
            .timeout(ANSWER);
        let body = self.ask("fetch a bearer token", request).await?;
        #[derive(serde::Deserialize)]
        struct Token {
            access_token: String,
        }
        serde_json::from_slice::<Token>(&body)
            .ok()
            .and_then(|token| Secret::new(&token.access_token).ok())
            .ok_or_else(|| {
                End::Server("X answered the request for a bearer token without one".into())
            })
    }

    /// Makes the account's rules of ours the ones that are wanted.
    async fn set_rules(&self, token: &Secret) -> Result<(), End> {
        let url = self.url("/2/tweets/search/stream/rules");
        let request = self.authorized(self.client.get(&url), token);
        let body = self.ask("list the rules", request.timeout(ANSWER)).await?;
        let listed: Answer = serde_json::from_slice(&body).map_err(|_| {
            End::Server("X listed the rules in a form that is not documented".into())
        })?;
        let changes = rules::compare(&listed.data, &self.rules);
        let change = |body: serde_json::Value| {
            self.authorized(self.client.post(&url), token)
                .header(header::CONTENT_TYPE, "application/json")
                .body(body.to_string())
                .timeout(ANSWER)
        };
        if !changes.delete.is_empty() {
            let body = serde_json::json!({ "delete": { "ids": changes.delete } });
            let done = self
                .ask("delete rules of an earlier run", change(body))
                .await;
            if let Err(end) = done.and_then(|body| {
                problem_of(&body).map_or(Ok(()), |problem| Err(End::Server(problem.words())))
            }) {
                let reason = match end {
                    End::Network(reason)
                    | End::Server(reason)
                    | End::Limited(reason, _)
                    | End::Refused { reason, .. } => reason,
                    End::Clean | End::Unread => String::new(),
                };
                let reason = self.hide(&reason, Some(token));
                self.watch.lost(&format!(
                    "rules of an earlier run could not be deleted ({reason}); their tweets come \
                     too, and are filtered out"
                ));
            }
        }
        if !changes.add.is_empty() {
            let body = serde_json::json!({ "add": changes.add });
            let body = self.ask("add rules", change(body)).await?;
            if let Some(problem) = problem_of(&body) {
                return Err(End::Refused {
                    reason: format!("X refused a rule: {}", problem.words()),
                    next: "Change the track, or delete rules of the account that are no longer needed.",
                });
            }
        }
        Ok(())
    }

    /// The body of the answer to a request that is not the stream.
    async fn ask(&self, what: &str, request: RequestBuilder) -> Result<Vec<u8>, End> {
        let response = request.send().await?;
        if response.status().is_success() {
            return Ok(http::body(response).await?);
        }
        Err(refusal(what, response).await)
    }

    /// Reads the stream to its end.
    async fn read(&self, mut stream: Response, outlet: &Outlet, waits: &mut Waits) -> End {
        let mut lines = Lines::default();
        let mut brought_something = false;
        loop {
            let chunk = match tokio::time::timeout(SILENCE, stream.chunk()).await {
                Err(_) => return End::Network("X said nothing for 20 s".into()),
                Ok(Err(error)) => return error.into(),
                Ok(Ok(None)) if brought_something => return End::Clean,
                Ok(Ok(None)) => return End::Network("X ended the stream at once".into()),
                Ok(Ok(Some(chunk))) => chunk,
            };
            if !brought_something {
                brought_something = true;
                waits.reset();
            }
            let mut messages = Vec::new();
            lines.push(&chunk, |line| messages.push(line.and_then(decode::decode)));
            for message in messages {
                let item = match message {
                    Ok(Message::Tweet(tweet)) => Ok(tweet),
                    Ok(Message::Problem(problem)) => return in_stream(&problem),
                    Err(reason) => Err(Error::Post {
                        source_name: NAME.into(),
                        reason,
                    }),
                };
                if !outlet.put(item).await {
                    return End::Unread;
                }
            }
        }
    }
}

/// A problem that the stream itself tells.
fn in_stream(problem: &Problem) -> End {
    let reason = format!("X ended the stream: {}", problem.words());
    if problem.is_too_many_connections() {
        End::Limited(too_many(&reason), None)
    } else {
        End::Network(reason)
    }
}

fn too_many(reason: &str) -> String {
    format!("{reason}. Another program streams with the same account: stop that one")
}

/// The first problem of an answer that is otherwise a success.
fn problem_of(body: &[u8]) -> Option<Problem> {
    let answer: Answer = serde_json::from_slice(body).unwrap_or_default();
    answer.errors.into_iter().next()
}

/// What an answer that is no success means.
async fn refusal(what: &str, response: Response) -> End {
    let status = response.status();
    let reset = response
        .headers()
        .get("x-rate-limit-reset")
        .and_then(|value| value.to_str().ok()?.trim().parse::<i64>().ok());
    let body = http::body(response).await.unwrap_or_default();
    let problem: Problem = serde_json::from_slice(&body).unwrap_or_default();
    let problem = match problem_of(&body) {
        Some(first) if problem.title.is_none() => first,
        _ => problem,
    };
    let words = problem.words();
    let colon = if words.is_empty() { "" } else { ": " };
    let reason = format!("tried to {what}: X answered {status}{colon}{words}");
    match status.as_u16() {
        420 | 429 => {
            let now = jiff::Timestamp::now().as_second();
            let wait = reset
                .and_then(|reset| u64::try_from(reset - now).ok())
                .map(|s| s.max(1));
            if problem.is_too_many_connections() {
                End::Limited(too_many(&reason), wait.map(Duration::from_secs))
            } else {
                End::Limited(reason, wait.map(Duration::from_secs))
            }
        }
        408 | 500..=599 => End::Server(reason),
        401 => End::Refused {
            reason,
            next: "Check the token or the key and secret: copied whole, not revoked, of an app \
                   that is in a project. https://console.x.com shows them.",
        },
        402 => End::Refused {
            reason,
            next: "The account has no credit for this: see https://console.x.com, or stream \
                   without an account from Bluesky::new().",
        },
        403 => End::Refused {
            reason,
            next: "Check that the account's plan has the filtered stream and that the app is in \
                   a project; or stream without an account from Bluesky::new().",
        },
        _ => End::Refused {
            reason,
            next: "Check the tracks, and X_API_BASE_URL if it is set.",
        },
    }
}
