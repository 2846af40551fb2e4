//! The task of the source: fetch the token, set the rules, read the stream, and reconnect.

use super::super::{
    connection::ConnectionWatch, feed::Outlet, http, lines::LineBuffer, record::Record,
};
use super::credentials::{Credentials, Kind, Secret};
use super::end::{Cause, End, Waits};
use super::problem::Problem;
use super::rules::{self, Listed, StreamRule};
use super::{NAME, X, v2};
use crate::error::{Error, ErrorKind, Result};
use crate::filter::Filter;
use crate::notebook::shorten;
use crate::tweet::{Skip, Tweet};
use jiff::Timestamp;
use reqwest::{Client, RequestBuilder, Response, StatusCode, Url, header};
use serde::Deserialize;
use serde_json::{Value, json};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;

/// A stream that sends nothing for this long, not even a keep-alive, is dead.
const SILENCE_LIMIT: Duration = Duration::from_secs(20);
/// The time limit of a request that is not the stream.
const REQUEST_LIMIT: Duration = Duration::from_secs(10);
/// The wait before the first retry if another connection holds the stream. That connection may belong to
/// the previous stream of this notebook, which stops as soon as the new stream starts.
const HANDOVER_WAIT: Duration = Duration::from_secs(2);
/// The requested fields. They include the original of a retweet, because only the original has the full
/// text. X then returns the tweets to which replies and quotes refer, too.
const FIELDS: &str = "tweet.fields=created_at,lang,note_tweet,referenced_tweets\
                      &expansions=author_id,referenced_tweets.id\
                      &user.fields=username,public_metrics";
/// The requested fields if retweets are left out.
const FIELDS_WITHOUT_RETWEETS: &str = "tweet.fields=created_at,lang,note_tweet\
                                       &expansions=author_id\
                                       &user.fields=username,public_metrics";

/// The source's task: its settings, and the state that the connections of its stream share.
pub(super) struct XTask {
    client: Client,
    base: Url,
    credentials: Credentials,
    rules: Vec<StreamRule>,
    fields: &'static str,
    watch: ConnectionWatch,
    token: Option<Secret>,
    rules_are_set: bool,
    /// Whether the stream has connected, or has waited for [`HANDOVER_WAIT`].
    is_past_handover: bool,
}

impl XTask {
    /// Creates the task of a stream with this filter.
    ///
    /// # Errors
    /// The errors of [`rules::wanted`] and of [`http::client`].
    pub(super) fn new(x: &X, filter: &Filter) -> Result<XTask> {
        Ok(XTask {
            client: http::client(&x.base)?,
            base: x.base.clone(),
            credentials: x.credentials.clone(),
            rules: rules::wanted(filter)?,
            fields: if filter.drops_retweets() {
                FIELDS_WITHOUT_RETWEETS
            } else {
                FIELDS
            },
            watch: x.connection.clone(),
            token: None,
            rules_are_set: false,
            is_past_handover: false,
        })
    }

    /// Runs until the receiver of the tweets is gone, or the server rejects the stream.
    pub(super) async fn run(mut self, outlet: Arc<Outlet>) {
        let mut waits = Waits::new();
        loop {
            let Err(end) = self.stream(&outlet, &mut waits).await;
            match end {
                End::Retry { cause, reason } => {
                    self.watch.lost(&self.message(&reason));
                    let wait = match cause {
                        Cause::TooManyConnections(_) if !self.is_past_handover => {
                            self.is_past_handover = true;
                            outlet.started();
                            HANDOVER_WAIT
                        }
                        cause => waits.after(cause),
                    };
                    tokio::time::sleep(wait).await;
                }
                End::Rejected { reason, hint } => {
                    let reason = self.message(&reason);
                    self.watch.lost(&reason);
                    let message = format!("{NAME}: {}", shorten(&reason, 400));
                    let error = Error::new(ErrorKind::Source, message).with_hint(hint);
                    outlet.send(Err(error)).await;
                    return;
                }
                End::Unread => return,
            }
        }
    }

    /// Connects to the stream and reads it to its end. Only a tweet resets the waits. Otherwise a server
    /// that sends a keep-alive and closes the stream would be asked again and again without a pause.
    async fn stream(&mut self, outlet: &Outlet, waits: &mut Waits) -> Result<Infallible, End> {
        let mut stream = self.connect().await?;
        self.is_past_handover = true;
        self.watch.connected();
        outlet.started();
        let closed = || End::retry(Cause::Network, "the server closed the stream");
        let mut lines = LineBuffer::new();
        loop {
            let chunk = timeout(SILENCE_LIMIT, stream.chunk()).await;
            let chunk = chunk.map_err(|_| End::retry(Cause::Network, "no data for 20 s"))??;
            lines.bytes().extend_from_slice(&chunk.ok_or_else(closed)?);
            while let Some(line) = lines.next() {
                if line.as_ref().is_ok_and(|line| line.trim().is_empty()) {
                    // A keep-alive.
                    continue;
                }
                for tweet in tweets(line)? {
                    let item = tweet.map_err(|reason| {
                        Error::not_a_tweet(format!("a message of {NAME}"), reason)
                    });
                    if item.is_ok() {
                        *waits = Waits::new();
                    }
                    if !outlet.send(item).await {
                        return Err(End::Unread);
                    }
                }
            }
        }
    }

    /// Returns a reason with the server's host and port, and with credentials redacted: the server
    /// may have written it.
    fn message(&self, reason: &str) -> String {
        let server = http::host_and_port(&self.base);
        let reason = self.credentials.redact(reason);
        match &self.token {
            Some(token) => format!("{server}: {}", token.redact(&reason)),
            None => format!("{server}: {reason}"),
        }
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base.as_str().trim_end_matches('/'))
    }

    /// Connects to the stream. The first connection also fetches the token and sets the rules.
    async fn connect(&mut self) -> Result<Response, End> {
        let token = match &self.token {
            Some(token) => token.clone(),
            None => {
                let token = self.fetch_token().await?;
                self.token.insert(token).clone()
            }
        };
        if !self.rules_are_set {
            self.set_rules(&token).await?;
            self.rules_are_set = true;
        }
        let url = self.url(&format!("/2/tweets/search/stream?{}", self.fields));
        // `bearer_auth` marks the header as sensitive, so no log contains it.
        let request = self.client.get(url).bearer_auth(token.reveal());
        let response = timeout(SILENCE_LIMIT, request.send())
            .await
            .map_err(|_| End::retry(Cause::Network, "no response within 20 s"))??;
        match response.status() {
            StatusCode::OK => Ok(response),
            _ => Err(End::rejection("connect to the stream", response).await),
        }
    }

    /// Returns the bearer token. With a key and a secret it is fetched (docs.x.com, "OAuth 2.0
    /// app-only bearer token": `POST /oauth2/token`).
    async fn fetch_token(&self) -> Result<Secret, End> {
        #[derive(Deserialize)]
        struct TokenResponse {
            access_token: String,
        }
        let (key, secret) = match &self.credentials.0 {
            Kind::Bearer(token) => return Ok(token.clone()),
            Kind::Key { key, secret } => (key, secret),
        };
        let form = "application/x-www-form-urlencoded;charset=UTF-8";
        let request = self
            .client
            .post(self.url("/oauth2/token"))
            .basic_auth(key.reveal(), Some(secret.reveal()))
            .header(header::CONTENT_TYPE, form)
            .body("grant_type=client_credentials");
        let body = request_body("fetch a bearer token", request).await?;
        serde_json::from_slice::<TokenResponse>(&body)
            .ok()
            .and_then(|token| Secret::new("the bearer token", &token.access_token).ok())
            .ok_or_else(|| {
                let reason = "the response to the token request contains no token";
                End::retry(Cause::Server, reason)
            })
    }

    /// Replaces the rules of this crate with the wanted ones. New rules are added before old ones are
    /// deleted. So if X rejects a rule, an earlier stream continues with its rules.
    async fn set_rules(&self, token: &Secret) -> Result<(), End> {
        let url = self.url("/2/tweets/search/stream/rules");
        let request = self.client.get(&url).bearer_auth(token.reveal());
        let body = request_body("list the rules", request).await?;
        let listed: Listed = serde_json::from_slice(&body)
            .map_err(|_| End::retry(Cause::Server, "the list of rules has an undocumented form"))?;
        let changes = rules::compare(&listed.data, &self.rules);
        let change = |body: Value| {
            let request = self.client.post(&url).bearer_auth(token.reveal());
            let request = request.header(header::CONTENT_TYPE, "application/json");
            request.body(body.to_string())
        };
        if !changes.add.is_empty() {
            let request = change(json!({ "add": changes.add }));
            let body = request_body("add rules", request).await?;
            if let Some(problem) = Problem::in_response(&body) {
                return Err(End::Rejected {
                    reason: format!("X rejected a rule: {}", problem.description()),
                    hint: "change the track, or delete rules of the app that are no longer needed",
                });
            }
        }
        if !changes.delete.is_empty() {
            let request = change(json!({ "delete": { "ids": changes.delete } }));
            let failure = match request_body("delete old rules", request).await {
                Ok(body) => Problem::in_response(&body).map(|problem| problem.description()),
                Err(End::Retry { reason, .. } | End::Rejected { reason, .. }) => Some(reason),
                Err(End::Unread) => None,
            };
            if let Some(reason) = failure {
                let reason = self.message(&reason);
                self.watch.note(&format!(
                    "failed to delete rules of an earlier run ({reason}); their tweets are \
                     filtered out"
                ));
            }
        }
        Ok(())
    }
}

/// Returns the tweets of a line of the stream. A tweet without a time gets the current time.
///
/// # Errors
/// Returns the end of the stream if the line is a problem that X reports.
fn tweets(line: Result<String, Skip>) -> Result<Vec<Result<Tweet, Skip>>, End> {
    let line = match line {
        Ok(line) => line,
        Err(reason) => return Ok(vec![Err(reason)]),
    };
    let mut tweets = match v2::decode(&line) {
        Ok(Record::Tweets(tweets)) if tweets.len() == 1 => tweets,
        // A line of the stream has one tweet. Only a file has pages.
        Ok(Record::Tweets(_)) => vec![Err(Skip::WrongType)],
        Ok(Record::Event) => {
            let problem = Problem::in_line(line.as_bytes()).unwrap_or_default();
            return Err(End::in_stream(&problem));
        }
        Err(reason) => vec![Err(reason)],
    };
    for tweet in tweets.iter_mut().flatten() {
        if tweet.has_no_time() {
            tweet.created_at = Timestamp::now();
        }
    }
    Ok(tweets)
}

/// Sends a request that is not the stream, and returns the body of the response.
async fn request_body(action: &str, request: RequestBuilder) -> Result<Vec<u8>, End> {
    let response = request.timeout(REQUEST_LIMIT).send().await?;
    if response.status().is_success() {
        return Ok(http::body(response).await?);
    }
    Err(End::rejection(action, response).await)
}
