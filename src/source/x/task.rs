//! The task of the source: fetch the token, set the rules, read the stream, and reconnect.

use super::super::connection::ConnectionWatch;
use super::super::feed::Outlet;
use super::super::http;
use super::super::lines::LineBuffer;
use super::NAME;
use super::credentials::{Credentials, Kind, Secret};
use super::decode::{self, Message};
use super::end::{Cause, End, Waits, first_problem, in_stream, rejection};
use super::rules::{self, Answer, Rule};
use crate::error::{Error, ErrorKind, Result};
use crate::notebook::shorten;
use reqwest::{Client, RequestBuilder, Response, StatusCode, Url, header};
use std::sync::Arc;
use std::time::Duration;

/// A stream that sends nothing for this long, not even a keep-alive, is dead.
const SILENCE_LIMIT: Duration = Duration::from_secs(20);
/// The time limit of a request that is not the stream.
const REQUEST_LIMIT: Duration = Duration::from_secs(10);
/// The wait before the first retry if another connection holds the stream. That connection may be
/// the previous stream of this notebook, which stops once the new source has connected.
const HANDOVER_WAIT: Duration = Duration::from_secs(2);
/// The requested fields.
const PARAMETERS: &str = "tweet.fields=created_at,lang,note_tweet&expansions=author_id\
                          &user.fields=username,public_metrics";

/// The state of the source's task.
pub(super) struct Task {
    client: Client,
    base: Url,
    /// Host and port, for messages.
    server: String,
    credentials: Credentials,
    rules: Vec<Rule>,
    watch: ConnectionWatch,
}

/// What the connections of one stream have in common.
#[derive(Default)]
struct Session {
    token: Option<Secret>,
    rules_are_set: bool,
    /// Whether the stream has connected, or has waited for [`HANDOVER_WAIT`].
    is_past_handover: bool,
}

impl Task {
    pub(super) fn new(
        base: &Url,
        credentials: &Credentials,
        rules: Vec<Rule>,
        watch: &ConnectionWatch,
    ) -> Result<Task> {
        Ok(Task {
            client: http::client(base)?,
            base: base.clone(),
            credentials: credentials.clone(),
            server: http::host_and_port(base),
            rules,
            watch: watch.clone(),
        })
    }

    /// Runs until the receiver of the tweets is gone, or the server rejects the stream.
    pub(super) async fn run(self, outlet: Arc<Outlet>) {
        let mut waits = Waits::new();
        let mut session = Session::default();
        loop {
            let end = match self.connect(&mut session).await {
                Ok(stream) => {
                    session.is_past_handover = true;
                    self.watch.connected();
                    outlet.started();
                    self.read(stream, &outlet, &mut waits).await
                }
                Err(end) => end,
            };
            match end {
                End::Retry { cause, reason } => {
                    self.watch.lost(&self.message(&reason, &session));
                    let wait = match cause {
                        Cause::TooManyConnections(_) if !session.is_past_handover => {
                            session.is_past_handover = true;
                            outlet.started();
                            HANDOVER_WAIT
                        }
                        cause => waits.after(cause),
                    };
                    tokio::time::sleep(wait).await;
                }
                End::Rejected { reason, hint } => {
                    let reason = self.message(&reason, &session);
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
            .map_err(|_| End::network("no response within 20 s"))??;
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
            .ok_or_else(|| End::server("the response to the token request contains no token"))
    }

    /// Changes the account's rules of this crate to the wanted ones. Rules are added before others
    /// are deleted, so that a rejected rule leaves a stream with the earlier rules as it is.
    async fn set_rules(&self, token: &Secret, session: &Session) -> Result<(), End> {
        let url = self.url("/2/tweets/search/stream/rules");
        let request = self.authorized(self.client.get(&url), token);
        let request = request.timeout(REQUEST_LIMIT);
        let body = self.request("list the rules", request).await?;
        let listed: Answer = serde_json::from_slice(&body)
            .map_err(|_| End::server("the list of rules has an undocumented form"))?;
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
            let failure = match self.request("delete old rules", change(body)).await {
                Ok(body) => first_problem(&body).map(|problem| problem.description()),
                Err(End::Retry { reason, .. } | End::Rejected { reason, .. }) => Some(reason),
                Err(End::Unread) => None,
            };
            if let Some(reason) = failure {
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
                Err(_) => return End::network("no data for 20 s"),
                Ok(Err(error)) => return error.into(),
                Ok(Ok(None)) => return End::network("the server closed the stream"),
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
                    Err(reason) => Err(Error::not_a_tweet(format!("a message of {NAME}"), reason)),
                };
                if !outlet.send(item).await {
                    return End::Unread;
                }
            }
        }
    }
}
