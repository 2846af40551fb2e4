//! How many follow an author: a post does not say, so the AppView is asked
//! (docs.bsky.app, `app.bsky.actor.getProfiles`: 25 authors a call, no account needed).
//!
//! A post waits for the answer half a second at most. Answers are kept for an hour, so that most
//! posts need no wait at all. Bluesky's limit of 3,000 calls in 5 minutes for an address
//! (docs.bsky.app, "Rate limits") is not reached, and when the server says that it is, it is not
//! asked until it has said it may be.

use super::super::connection::{ConnectionWatch, Outlet};
use super::super::http;
use crate::{Error, Result, Tweet};
use lru::LruCache;
use reqwest::{Client, Url};
use serde::Deserialize;
use std::collections::VecDeque;
use std::num::NonZeroUsize;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;

/// How many authors a call may ask for.
const AUTHORS_A_CALL: usize = 25;
/// How long a call waits for more authors.
const COMPANY: Duration = Duration::from_millis(100);
/// How long a post waits for its author's profile, at most.
const PATIENCE: Duration = Duration::from_millis(500);
/// How long a call may take; its answer is of use to later posts too.
const ANSWER: Duration = Duration::from_secs(5);
/// The shortest time between two calls: 3,000 in 5 minutes are allowed.
const BETWEEN_CALLS: Duration = Duration::from_millis(110);
/// How many calls are under way at once, at most.
const CALLS: usize = 8;
/// How many posts wait at once, at most; the oldest does not wait any longer then.
const WAITING: usize = 4_096;
/// How many authors are remembered, and for how long.
const KNOWN: NonZeroUsize = NonZeroUsize::new(50_000).unwrap();
const FRESH: Duration = Duration::from_secs(60 * 60);
/// After a failed call, and where the server does not say how long: how long none is made.
const AFTER_FAILURE: Duration = Duration::from_secs(5);
const LONGEST_LIMIT: Duration = Duration::from_secs(6 * 60);

/// What the post's reader hands over.
pub(super) enum Item {
    /// To be sent as it is: its followers do not matter.
    Ready(Result<Tweet>),
    /// A tweet whose `user` is still the author's DID.
    WantsProfile(Tweet),
}

struct Profile {
    handle: String,
    followers: Option<u64>,
    until: Instant,
}

struct Waiting {
    tweet: Tweet,
    until: Instant,
}

/// The stage between the reader and the Streamer that puts in the followers.
pub(super) struct Profiles {
    client: Client,
    url: Url,
    watch: ConnectionWatch,
    known: LruCache<String, Profile>,
    waiting: VecDeque<Waiting>,
    /// Authors that no call has asked for yet.
    wanted: Vec<String>,
    wanted_since: Instant,
    /// Authors that a call under way asks for.
    asked: Vec<String>,
    calls: JoinSet<Answer>,
    next_call: Instant,
}

struct Answer {
    authors: Vec<String>,
    profiles: Result<Vec<ProfileView>, Duration>,
}

/// `app.bsky.actor.defs#profileViewDetailed`, as far as it is needed.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ProfileView {
    did: String,
    #[serde(default)]
    handle: String,
    #[serde(default, deserialize_with = "crate::tweet::count")]
    followers_count: Option<u64>,
}

impl Profiles {
    pub(super) fn new(appview: &Url, watch: ConnectionWatch) -> Result<Profiles> {
        let client = http::client(appview)?;
        let url = appview
            .join("/xrpc/app.bsky.actor.getProfiles")
            .map_err(|_| Error::Invalid {
                what: appview.to_string(),
                reason: "it is no address of a server",
                next: "Give an address such as \"https://public.api.bsky.app\".",
            })?;
        let now = Instant::now();
        Ok(Profiles {
            client,
            url,
            watch,
            known: LruCache::new(KNOWN),
            waiting: VecDeque::new(),
            wanted: Vec::new(),
            wanted_since: now,
            asked: Vec::new(),
            calls: JoinSet::new(),
            next_call: now,
        })
    }

    /// Passes items on until there are no more, or nobody takes them.
    pub(super) async fn run(mut self, mut items: mpsc::Receiver<Item>, outlet: &Outlet) {
        loop {
            let call_due = self.call_due();
            let first_over = self.waiting.front().map(|waiting| waiting.until);
            let taken = tokio::select! {
                item = items.recv() => match item {
                    None => break,
                    Some(Item::Ready(item)) => outlet.put(item).await,
                    Some(Item::WantsProfile(tweet)) => self.take(tweet, outlet).await,
                },
                Some(answer) = self.calls.join_next() => {
                    // A call does not panic, and is aborted only together with all of this.
                    if let Ok(answer) = answer {
                        self.learn(answer);
                    }
                    self.release(outlet).await
                }
                () = sleep_until(call_due) => {
                    self.call();
                    true
                }
                () = sleep_until(first_over) => self.release(outlet).await,
            };
            if !taken {
                return;
            }
        }
        // The reader has ended, and what waits is sent as it is.
        for waiting in std::mem::take(&mut self.waiting) {
            self.send(waiting.tweet, outlet).await;
        }
    }

    /// When the next call is to be made; `None` while there is nobody to ask for.
    fn call_due(&self) -> Option<Instant> {
        if self.wanted.is_empty() || self.calls.len() >= CALLS {
            return None;
        }
        let in_company = if self.wanted.len() >= AUTHORS_A_CALL {
            self.wanted_since
        } else {
            self.wanted_since + COMPANY
        };
        Some(in_company.max(self.next_call))
    }

    async fn take(&mut self, tweet: Tweet, outlet: &Outlet) -> bool {
        let now = Instant::now();
        if self.fresh(&tweet.user, now) {
            return self.send(tweet, outlet).await;
        }
        if !self.wanted.contains(&tweet.user) && !self.asked.contains(&tweet.user) {
            if self.wanted.is_empty() {
                self.wanted_since = now;
            }
            // While the server is not to be asked, only the newest authors are worth a question.
            if self.wanted.len() >= AUTHORS_A_CALL * CALLS {
                self.wanted.remove(0);
            }
            self.wanted.push(tweet.user.clone());
        }
        self.waiting.push_back(Waiting {
            tweet,
            until: now + PATIENCE,
        });
        if self.waiting.len() <= WAITING {
            return true;
        }
        match self.waiting.pop_front() {
            Some(oldest) => self.send(oldest.tweet, outlet).await,
            None => true,
        }
    }

    fn fresh(&mut self, did: &str, now: Instant) -> bool {
        self.known
            .get(did)
            .is_some_and(|profile| profile.until > now)
    }

    /// Sends what has waited long enough, or has its answer.
    async fn release(&mut self, outlet: &Outlet) -> bool {
        let now = Instant::now();
        for waiting in std::mem::take(&mut self.waiting) {
            if waiting.until <= now || self.fresh(&waiting.tweet.user, now) {
                if !self.send(waiting.tweet, outlet).await {
                    return false;
                }
            } else {
                self.waiting.push_back(waiting);
            }
        }
        true
    }

    /// Sends a tweet with what is known of its author.
    async fn send(&mut self, mut tweet: Tweet, outlet: &Outlet) -> bool {
        // An old answer is better than none.
        if let Some(profile) = self.known.get(&tweet.user) {
            tweet.followers = profile.followers;
            if !profile.handle.is_empty() {
                tweet.user.clone_from(&profile.handle);
            }
        }
        if tweet.followers.is_none() {
            self.watch.without_followers(1);
        }
        outlet.put(Ok(tweet)).await
    }

    fn call(&mut self) {
        let now = Instant::now();
        let count = self.wanted.len().min(AUTHORS_A_CALL);
        let authors: Vec<String> = self.wanted.drain(..count).collect();
        self.wanted_since = now;
        self.next_call = now + BETWEEN_CALLS;
        self.asked.extend(authors.iter().cloned());
        let mut url = self.url.clone();
        url.query_pairs_mut()
            .extend_pairs(authors.iter().map(|author| ("actors", author)));
        let request = self.client.get(url).timeout(ANSWER);
        self.calls.spawn(async move {
            let profiles = ask(request).await;
            Answer { authors, profiles }
        });
    }

    fn learn(&mut self, answer: Answer) {
        self.asked.retain(|did| !answer.authors.contains(did));
        let now = Instant::now();
        match answer.profiles {
            Err(pause) => self.next_call = self.next_call.max(now + pause),
            Ok(profiles) => {
                for view in profiles {
                    // Only what was asked for is kept.
                    if answer.authors.contains(&view.did) {
                        let profile = Profile {
                            handle: view.handle,
                            followers: view.followers_count,
                            until: now + FRESH,
                        };
                        self.known.put(view.did, profile);
                    }
                }
                // Who is not in the answer has no profile, and is not asked for again so soon.
                for did in answer.authors {
                    let until = now + FRESH;
                    let gone = || Profile {
                        handle: String::new(),
                        followers: None,
                        until,
                    };
                    self.known.get_or_insert_mut(did, gone).until = until;
                }
            }
        }
    }
}

async fn sleep_until(when: Option<Instant>) {
    match when {
        Some(when) => tokio::time::sleep_until(when).await,
        None => std::future::pending().await,
    }
}

/// The profiles, or for how long not to ask again.
async fn ask(request: reqwest::RequestBuilder) -> Result<Vec<ProfileView>, Duration> {
    #[derive(Deserialize)]
    struct Body {
        profiles: Vec<ProfileView>,
    }
    let response = request.send().await.map_err(|_| AFTER_FAILURE)?;
    if !response.status().is_success() {
        let header = |name: &str| -> Option<i64> {
            response
                .headers()
                .get(name)?
                .to_str()
                .ok()?
                .trim()
                .parse()
                .ok()
        };
        let reset = header("ratelimit-reset").map(|at| at - jiff::Timestamp::now().as_second());
        let wait = header("retry-after")
            .or(reset)
            .and_then(|s| u64::try_from(s).ok());
        return Err(wait
            .map_or(AFTER_FAILURE, Duration::from_secs)
            .min(LONGEST_LIMIT));
    }
    let body = http::body(response).await.map_err(|_| AFTER_FAILURE)?;
    let body: Body = serde_json::from_slice(&body).map_err(|_| AFTER_FAILURE)?;
    Ok(body.profiles)
}
