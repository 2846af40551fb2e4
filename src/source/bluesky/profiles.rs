//! Follower counts: a post does not contain that of its author, so this stage asks the AppView
//! (docs.bsky.app, `app.bsky.actor.getProfiles`: 25 authors per call, no account needed).
//!
//! A post waits half a second at most for the response. Responses are cached for an hour, so most
//! posts do not wait at all. The calls stay below Bluesky's limit of 3,000 in 5 minutes per address
//! (docs.bsky.app, "Rate limits"). If the server reports that the limit is reached, the stage pauses
//! for as long as the server says.

use super::super::connection::ConnectionWatch;
use super::super::feed::Outlet;
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

/// The maximum number of authors in a call.
const AUTHORS_PER_CALL: usize = 25;
/// How long a call waits for more authors.
const LINGER: Duration = Duration::from_millis(100);
/// How long a post waits for its author's profile at most.
const PROFILE_WAIT: Duration = Duration::from_millis(500);
/// The time limit of a call. It is longer than a post waits, because later posts use the response.
const CALL_LIMIT: Duration = Duration::from_secs(5);
/// The minimum time between two calls: 3,000 in 5 minutes are allowed.
const CALL_INTERVAL: Duration = Duration::from_millis(110);
/// The maximum number of concurrent calls.
const MAX_CALLS: usize = 8;
/// How many posts wait at most, and how many bytes of text. When there are more, the oldest is
/// passed on.
const MAX_WAITING: usize = 4_096;
const MAX_WAITING_BYTES: usize = 8 * 1024 * 1024;
/// How many profiles are cached, and for how long.
const CACHED_PROFILES: NonZeroUsize = NonZeroUsize::new(50_000).unwrap();
const CACHE_TIME: Duration = Duration::from_secs(60 * 60);
/// The pause after a failed call, unless the server says how long to wait.
const FAILURE_PAUSE: Duration = Duration::from_secs(5);
/// The longest pause.
const MAX_PAUSE: Duration = Duration::from_secs(6 * 60);

/// An item from the reader of posts.
pub(super) enum Item {
    /// An item that needs no follower count.
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

/// The stage between the reader and the streamer that adds follower counts.
pub(super) struct Profiles {
    client: Client,
    url: Url,
    watch: ConnectionWatch,
    known: LruCache<String, Profile>,
    waiting: VecDeque<Waiting>,
    /// The bytes of text in `waiting`.
    waiting_bytes: usize,
    /// Authors for which there was no call yet.
    wanted: Vec<String>,
    wanted_since: Instant,
    /// Authors in the calls that are under way.
    requested: Vec<String>,
    calls: JoinSet<Response>,
    next_call: Instant,
}

/// The response to a call.
struct Response {
    authors: Vec<String>,
    profiles: Result<Vec<ProfileView>, Duration>,
}

/// The used fields of `app.bsky.actor.defs#profileViewDetailed`.
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
            .map_err(|_| Error::InvalidArgument {
                argument: appview.to_string(),
                reason: "it is not the address of a server",
                hint: "give an address such as \"https://public.api.bsky.app\"",
            })?;
        let now = Instant::now();
        Ok(Profiles {
            client,
            url,
            watch,
            known: LruCache::new(CACHED_PROFILES),
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            wanted: Vec::new(),
            wanted_since: now,
            requested: Vec::new(),
            calls: JoinSet::new(),
            next_call: now,
        })
    }

    /// Passes items on until there are no more, or until the receiver is gone.
    pub(super) async fn run(mut self, mut items: mpsc::Receiver<Item>, outlet: &Outlet) {
        loop {
            let call_due = self.call_due();
            let first_over = self.waiting.front().map(|waiting| waiting.until);
            let taken = tokio::select! {
                item = items.recv() => match item {
                    None => break,
                    Some(Item::Ready(item)) => outlet.send(item).await,
                    Some(Item::WantsProfile(tweet)) => self.take(tweet, outlet).await,
                },
                Some(response) = self.calls.join_next() => {
                    // A call is aborted only together with this stage, and does not panic.
                    if let Ok(response) = response {
                        self.store(response);
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
        // The reader has ended: pass on the posts that wait, without their follower count.
        for waiting in self.take_waiting() {
            self.send(waiting.tweet, outlet).await;
        }
    }

    /// Returns when the next call is due; `None` while no profile is wanted.
    fn call_due(&self) -> Option<Instant> {
        if self.wanted.is_empty() || self.calls.len() >= MAX_CALLS {
            return None;
        }
        let due = if self.wanted.len() >= AUTHORS_PER_CALL {
            self.wanted_since
        } else {
            self.wanted_since + LINGER
        };
        Some(due.max(self.next_call))
    }

    async fn take(&mut self, tweet: Tweet, outlet: &Outlet) -> bool {
        let now = Instant::now();
        if self.fresh(&tweet.user, now) {
            return self.send(tweet, outlet).await;
        }
        if !self.wanted.contains(&tweet.user) && !self.requested.contains(&tweet.user) {
            if self.wanted.is_empty() {
                self.wanted_since = now;
            }
            // During a pause only the newest authors stay wanted.
            if self.wanted.len() >= AUTHORS_PER_CALL * MAX_CALLS {
                self.wanted.remove(0);
            }
            self.wanted.push(tweet.user.clone());
        }
        self.push_waiting(Waiting {
            tweet,
            until: now + PROFILE_WAIT,
        });
        while self.waiting.len() > MAX_WAITING || self.waiting_bytes > MAX_WAITING_BYTES {
            let Some(oldest) = self.waiting.pop_front() else {
                break;
            };
            self.waiting_bytes -= oldest.tweet.text.len();
            if !self.send(oldest.tweet, outlet).await {
                return false;
            }
        }
        true
    }

    fn push_waiting(&mut self, waiting: Waiting) {
        self.waiting_bytes += waiting.tweet.text.len();
        self.waiting.push_back(waiting);
    }

    fn take_waiting(&mut self) -> VecDeque<Waiting> {
        self.waiting_bytes = 0;
        std::mem::take(&mut self.waiting)
    }

    fn fresh(&mut self, did: &str, now: Instant) -> bool {
        self.known
            .get(did)
            .is_some_and(|profile| profile.until > now)
    }

    /// Passes on the posts that have waited long enough, or whose profile has come.
    async fn release(&mut self, outlet: &Outlet) -> bool {
        let now = Instant::now();
        for waiting in self.take_waiting() {
            if waiting.until <= now || self.fresh(&waiting.tweet.user, now) {
                if !self.send(waiting.tweet, outlet).await {
                    return false;
                }
            } else {
                self.push_waiting(waiting);
            }
        }
        true
    }

    /// Passes on a tweet with what is known about its author.
    async fn send(&mut self, mut tweet: Tweet, outlet: &Outlet) -> bool {
        // An outdated follower count is better than none.
        if let Some(profile) = self.known.get(&tweet.user) {
            tweet.followers = profile.followers;
            if !profile.handle.is_empty() {
                tweet.user.clone_from(&profile.handle);
            }
        }
        if tweet.followers.is_none() {
            self.watch.add_without_followers(1);
        }
        outlet.send(Ok(tweet)).await
    }

    fn call(&mut self) {
        let now = Instant::now();
        let count = self.wanted.len().min(AUTHORS_PER_CALL);
        let authors: Vec<String> = self.wanted.drain(..count).collect();
        self.wanted_since = now;
        self.next_call = now + CALL_INTERVAL;
        self.requested.extend(authors.iter().cloned());
        let mut url = self.url.clone();
        url.query_pairs_mut()
            .extend_pairs(authors.iter().map(|author| ("actors", author)));
        let request = self.client.get(url).timeout(CALL_LIMIT);
        self.calls.spawn(async move {
            let profiles = fetch(request).await;
            Response { authors, profiles }
        });
    }

    fn store(&mut self, response: Response) {
        self.requested.retain(|did| !response.authors.contains(did));
        let now = Instant::now();
        match response.profiles {
            Err(pause) => self.next_call = self.next_call.max(now + pause),
            Ok(profiles) => {
                for view in profiles {
                    // Ignore profiles that were not requested.
                    if response.authors.contains(&view.did) {
                        let profile = Profile {
                            handle: view.handle,
                            followers: view.followers_count,
                            until: now + CACHE_TIME,
                        };
                        self.known.put(view.did, profile);
                    }
                }
                // An author who is not in the response has no profile. Cache that too.
                for did in response.authors {
                    let until = now + CACHE_TIME;
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

/// Returns the profiles, or how long to pause.
async fn fetch(request: reqwest::RequestBuilder) -> Result<Vec<ProfileView>, Duration> {
    #[derive(Deserialize)]
    struct Body {
        profiles: Vec<ProfileView>,
    }
    let response = request.send().await.map_err(|_| FAILURE_PAUSE)?;
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
        let now = jiff::Timestamp::now().as_second();
        let reset = header("ratelimit-reset").map(|at| at.saturating_sub(now));
        let wait = header("retry-after")
            .or(reset)
            .and_then(|s| u64::try_from(s).ok());
        return Err(wait
            .map_or(FAILURE_PAUSE, Duration::from_secs)
            .min(MAX_PAUSE));
    }
    let body = http::body(response).await.map_err(|_| FAILURE_PAUSE)?;
    let body: Body = serde_json::from_slice(&body).map_err(|_| FAILURE_PAUSE)?;
    Ok(body.profiles)
}
