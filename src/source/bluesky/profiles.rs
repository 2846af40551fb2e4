//! Adds follower counts. A post does not contain the follower count of its author, so this stage requests
//! it from the AppView (docs.bsky.app, `app.bsky.actor.getProfiles`: 25 authors per call, no account
//! needed).
//!
//! A post waits at most half a second for the response. Responses are cached for an hour, so most posts
//! do not wait. There is one call at a time. The calls stay below Bluesky's limit of 3,000 in 5 minutes
//! per address (docs.bsky.app, "Rate limits"): 25 authors in 110 ms, which is about 230 new authors per
//! second. Posts of further authors are passed on without a follower count. If the server reports that
//! the limit is reached, the stage pauses for as long as the server says.

use super::super::{connection::ConnectionWatch, feed::Outlet, http};
use crate::error::Result;
use crate::tweet::Tweet;
use lru::LruCache;
use reqwest::{Client, Url};
use serde::Deserialize;
use std::collections::{HashMap, VecDeque};
use std::num::NonZeroUsize;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior};

const AUTHORS_PER_CALL: usize = 25;
/// The minimum time between two calls, because 3,000 calls in 5 minutes are allowed. A call waits this
/// long for more authors.
const CALL_INTERVAL: Duration = Duration::from_millis(110);
/// How long a post waits for its author's profile. The wait is checked at each [`CALL_INTERVAL`].
const PROFILE_WAIT: Duration = Duration::from_millis(400);
/// The time limit of a call. It is longer than a post waits, because later posts use the response.
const CALL_LIMIT: Duration = Duration::from_secs(5);
/// The maximum number of posts that wait. When there are more, the oldest is passed on.
const MAX_WAITING: usize = 256;
/// The maximum number of cached profiles.
const CACHED_PROFILES: NonZeroUsize = NonZeroUsize::new(50_000).unwrap();
/// How long a cached profile is valid.
const CACHE_TIME: Duration = Duration::from_secs(60 * 60);
/// The pause after a failed call, unless the server says how long to wait.
const FAILURE_PAUSE: Duration = Duration::from_secs(5);
const MAX_PAUSE: Duration = Duration::from_secs(6 * 60);

pub(super) enum Item {
    /// An item that needs no follower count.
    Ready(Result<Tweet>),
    /// A tweet whose `user` is still the author's DID.
    WantsProfile(Tweet),
}

/// The stage between the reader and the streamer that adds follower counts.
pub(super) struct Profiles {
    client: Client,
    url: Url,
    watch: ConnectionWatch,
    /// The cached profiles by author, and until when each is valid. For an author without a profile, the
    /// cache has an empty one.
    cache: LruCache<String, (Profile, Instant)>,
    /// The posts that wait, and until when each waits, in the order in which they are passed on.
    waiting: VecDeque<(Tweet, Instant)>,
    /// The call that is under way, if any. Dropping the set aborts it.
    call: JoinSet<Response>,
    paused_until: Instant,
}

/// The authors of a call, and either their profiles or how long to pause.
type Response = (Vec<String>, Result<Vec<Profile>, Duration>);

/// The fields of `app.bsky.actor.defs#profileViewDetailed` that the source uses.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Profile {
    did: String,
    handle: String,
    #[serde(deserialize_with = "crate::tweet::count")]
    followers_count: Option<u64>,
}

impl Profiles {
    pub(super) fn new(appview: &Url, watch: ConnectionWatch) -> Result<Profiles> {
        let mut url = appview.clone();
        url.set_path("/xrpc/app.bsky.actor.getProfiles");
        Ok(Profiles {
            client: http::client(appview)?,
            url,
            watch,
            cache: LruCache::new(CACHED_PROFILES),
            waiting: VecDeque::new(),
            call: JoinSet::new(),
            paused_until: Instant::now(),
        })
    }

    /// Passes items on until the sender or the receiver is gone.
    pub(super) async fn run(mut self, mut items: mpsc::Receiver<Item>, outlet: &Outlet) {
        let mut ticks = tokio::time::interval(CALL_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                item = items.recv() => match item {
                    None => return,
                    Some(Item::Ready(item)) => {
                        if !outlet.send(item).await {
                            return;
                        }
                    }
                    Some(Item::WantsProfile(tweet)) => {
                        if self.waiting.is_empty() {
                            ticks.reset();
                        }
                        self.waiting.push_back((tweet, Instant::now() + PROFILE_WAIT));
                    }
                },
                Some(response) = self.call.join_next() => {
                    // A call is aborted only together with this stage, and does not panic.
                    match response {
                        Ok((authors, Ok(profiles))) => self.store(authors, profiles),
                        Ok((_, Err(pause))) => self.paused_until = Instant::now() + pause,
                        Err(_) => {}
                    }
                }
                _ = ticks.tick(), if !self.waiting.is_empty() => self.request(),
            }
            while let Some(tweet) = self.next_ready() {
                if !outlet.send(Ok(tweet)).await {
                    return;
                }
            }
        }
    }

    fn is_known(&self, author: &str) -> bool {
        let profile = self.cache.peek(author);
        profile.is_some_and(|(_, until)| *until > Instant::now())
    }

    /// Takes the first waiting post, and adds what is known about its author. Returns `None` if the
    /// post must still wait for the profile.
    fn next_ready(&mut self) -> Option<Tweet> {
        let (tweet, until) = self.waiting.front()?;
        let is_over = self.waiting.len() > MAX_WAITING || *until <= Instant::now();
        if !is_over && !self.is_known(&tweet.user) {
            return None;
        }
        let (mut tweet, _) = self.waiting.pop_front()?;
        // An outdated follower count is better than none.
        if let Some((profile, _)) = self.cache.get(&tweet.user) {
            tweet.followers = profile.followers_count;
            if !profile.handle.is_empty() {
                tweet.user.clone_from(&profile.handle);
            }
        }
        if tweet.followers.is_none() {
            self.watch.add_without_followers(1);
        }
        Some(tweet)
    }

    /// Requests the profiles of the newest unknown authors, whose posts can wait longest.
    fn request(&mut self) {
        if !self.call.is_empty() || Instant::now() < self.paused_until {
            return;
        }
        let mut authors: Vec<String> = Vec::new();
        for (tweet, _) in self.waiting.iter().rev() {
            if !self.is_known(&tweet.user) && !authors.contains(&tweet.user) {
                authors.push(tweet.user.clone());
            }
            if authors.len() == AUTHORS_PER_CALL {
                break;
            }
        }
        if authors.is_empty() {
            return;
        }
        let mut url = self.url.clone();
        url.query_pairs_mut()
            .extend_pairs(authors.iter().map(|author| ("actors", author)));
        let request = self.client.get(url).timeout(CALL_LIMIT);
        let call = async move { (authors, fetch(request).await) };
        self.call.spawn(call);
    }

    fn store(&mut self, authors: Vec<String>, profiles: Vec<Profile>) {
        let until = Instant::now() + CACHE_TIME;
        let mut profiles: HashMap<String, Profile> = profiles
            .into_iter()
            .map(|mut profile| (std::mem::take(&mut profile.did), profile))
            .collect();
        for author in authors {
            // An author who is not in the response has no profile. This is cached too.
            let profile = profiles.remove(&author).unwrap_or_default();
            self.cache.put(author, (profile, until));
        }
    }
}

/// Returns the profiles, or how long to pause.
async fn fetch(request: reqwest::RequestBuilder) -> Result<Vec<Profile>, Duration> {
    #[derive(Deserialize)]
    struct Body {
        profiles: Vec<Profile>,
    }
    let response = request.send().await.map_err(|_| FAILURE_PAUSE)?;
    if !response.status().is_success() {
        let wait = http::seconds(&response, "retry-after")
            .map(Duration::from_secs)
            .or_else(|| http::wait_until(&response, "ratelimit-reset"));
        return Err(wait.unwrap_or(FAILURE_PAUSE).min(MAX_PAUSE));
    }
    let body = http::body(response).await.map_err(|_| FAILURE_PAUSE)?;
    let body: Body = serde_json::from_slice(&body).map_err(|_| FAILURE_PAUSE)?;
    Ok(body.profiles)
}
