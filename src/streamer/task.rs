//! The task of a stream: pull, filter, deduplicate, send.

use super::delivery::{self, TweetProducer};
use super::progress::StreamerState;
use super::rivals::{Rival, Rivals};
use crate::deduplicator::Deduplicator;
use crate::error::{Error, ErrorKind, Result};
use crate::files::LineWriter;
use crate::filter::Filter;
use crate::kafka::{Topic, status_topic, warm_metadata_cache};
use crate::source::Source;
use crate::task::background::{CancellationToken, catch_panic};
use crate::tweet::{MAX_MESSAGE_BYTES, Tweet, is_credible};
use crate::wire::{EndReason, StreamerStatus};
use jiff::Timestamp;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::OwnedHeaders;
use rdkafka::producer::{BaseRecord, Producer};
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::time::{MissedTickBehavior, Sleep};

/// How often the status is written to the status topic.
const STATUS_INTERVAL: Duration = Duration::from_secs(1);
/// The key of the messages in the status topic.
const STATUS_KEY: &str = "streamer";
/// How long to wait before a tweet is offered again to a full producer queue.
const QUEUE_FULL_PAUSE: Duration = Duration::from_millis(2);
/// The pause before refused tweets are sent again, and between two checks of whether the broker still
/// throttles this client.
const HELD_PAUSE: Duration = Duration::from_millis(500);
/// The number of items after which the task lets other tasks of its thread run.
const YIELD_INTERVAL: u32 = 512;

/// The state of the task.
pub(super) struct StreamerTask {
    source: Box<dyn Source>,
    filter: Filter,
    ids: Deduplicator,
    saver: Option<LineWriter>,
    producer: TweetProducer,
    topic: String,
    status_topic: String,
    rivals: Rivals,
    /// The headers of each message, which contain the run.
    headers: OwnedHeaders,
    shared: Arc<StreamerState>,
    /// A buffer for the encoded tweet.
    message: Vec<u8>,
}

/// An end of the stream that does not come from its source.
struct Ending {
    shutdown: CancellationToken,
    time_span: Pin<Box<Sleep>>,
    reason: Option<EndReason>,
}

impl Ending {
    fn new(shutdown: CancellationToken, time_span: Option<Duration>) -> Ending {
        let time_span = time_span.unwrap_or(Duration::MAX);
        Ending {
            shutdown,
            time_span: Box::pin(tokio::time::sleep(time_span)),
            reason: None,
        }
    }

    /// Waits for the end of the stream. Later calls return at once.
    ///
    /// # Cancel safety
    /// The future may be dropped at any time.
    async fn reached(&mut self) -> EndReason {
        if let Some(reason) = self.reason {
            return reason;
        }
        let reason = tokio::select! {
            biased;
            () = self.shutdown.cancelled() => EndReason::Stopped,
            () = &mut self.time_span => EndReason::TimeSpan,
        };
        *self.reason.insert(reason)
    }
}

impl StreamerTask {
    pub(super) fn new(
        topic: &Topic,
        source: Box<dyn Source>,
        filter: Filter,
        saver: Option<LineWriter>,
        shared: Arc<StreamerState>,
    ) -> Result<StreamerTask> {
        let producer = delivery::producer(topic.client(), shared.deliveries.clone())?;
        warm_metadata_cache(producer.client(), topic.name());
        Ok(StreamerTask {
            source,
            filter,
            ids: Deduplicator::default(),
            saver,
            producer,
            topic: topic.name().into(),
            status_topic: status_topic(topic.name()),
            rivals: Rivals::new(topic.client(), topic.name(), topic.run()),
            headers: topic.run().headers(),
            shared,
            message: Vec::new(),
        })
    }

    /// Streams until the end, and then waits for the delivery of the tweets in flight. If the source
    /// panics, the stream ends as after an error: the tweets before the panic are delivered.
    pub(super) async fn run(mut self, shutdown: CancellationToken, time_span: Option<Duration>) {
        let mut ending = Ending::new(shutdown, time_span);
        let reason = match catch_panic("streamer", self.stream(&mut ending)).await {
            Ok(reason) => reason,
            Err(panic) => self.fail(panic),
        };
        self.finish(reason, &mut ending).await;
    }

    async fn stream(&mut self, ending: &mut Ending) -> EndReason {
        let mut status = tokio::time::interval(STATUS_INTERVAL);
        status.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut items: u32 = 0;
        loop {
            let is_held_back = self.shared.deliveries.is_held_back();
            let item = tokio::select! {
                biased;
                reason = ending.reached() => return reason,
                _ = status.tick() => {
                    self.send_status();
                    if let Some(reason) = self.look_for_rivals().await {
                        return reason;
                    }
                    continue;
                }
                item = next_item(&mut self.source, is_held_back) => item,
            };
            let Some(item) = item else {
                self.send_held(ending).await;
                continue;
            };
            match item {
                None => return EndReason::Source,
                Some(Ok(tweet)) => {
                    if let Some(tweet) = self.select(tweet) {
                        self.send(tweet, ending).await;
                    }
                }
                Some(Err(error))
                    if matches!(error.kind(), ErrorKind::Source | ErrorKind::Panicked) =>
                {
                    return self.fail(error);
                }
                Some(Err(error)) => self.shared.record(|progress| {
                    progress.status.counts.skipped += 1;
                    if let Some(reason) = error.skip() {
                        *progress.status.skip_reasons.entry(reason).or_default() += 1;
                    }
                    progress.status.last_error = Some(error.to_string());
                }),
            }
            items = items.wrapping_add(1);
            if items.is_multiple_of(YIELD_INTERVAL) {
                // A source that is always ready would starve the other tasks of this thread.
                tokio::task::yield_now().await;
            }
        }
    }

    /// Returns the end of the stream if another streamer has begun a newer run.
    async fn look_for_rivals(&mut self) -> Option<EndReason> {
        let offsets = self.shared.deliveries.status_offsets();
        let (rival, error) = self.rivals.look(offsets).await?;
        match rival {
            Rival::Newer => Some(self.fail(error)),
            Rival::Earlier => {
                tracing::warn!(%error, "two streamers write to the topic");
                self.shared
                    .record(|progress| progress.status.last_error = Some(error.to_string()));
                None
            }
        }
    }

    fn fail(&self, error: Error) -> EndReason {
        tracing::warn!(%error, "the stream failed");
        self.shared
            .record(|progress| progress.status.last_error = Some(error.to_string()));
        EndReason::Failed
    }

    /// Filters and deduplicates. Returns `None` if the tweet is dropped.
    fn select(&mut self, mut tweet: Tweet) -> Option<Tweet> {
        let admitted = if self.source.sets_topics() && self.filter.tracks().next().is_some() {
            !tweet.topics.is_empty() && !self.filter.is_dropped_retweet(&tweet)
        } else {
            self.filter.admit(&mut tweet)
        };
        let is_new = admitted && self.ids.insert(&tweet);
        self.shared.record(|progress| {
            let status = &mut progress.status;
            let counts = &mut status.counts;
            counts.read += 1;
            counts.without_followers += u64::from(tweet.followers.is_none());
            counts.filtered += u64::from(!admitted);
            counts.duplicate += u64::from(admitted && !is_new);
            if is_new {
                // Ignore times that are not credible. The last one is checked again, because the clock may
                // have gone back since then.
                let now = Timestamp::now();
                let times = status.newest.into_iter().chain([tweet.created_at]);
                status.newest = times.filter(|time| is_credible(*time, now)).max();
            }
        });
        is_new.then_some(tweet)
    }

    /// Passes the tweet to the producer, and saves it.
    async fn send(&mut self, tweet: Tweet, ending: &mut Ending) {
        let mut message = std::mem::take(&mut self.message);
        tweet.encode_into(&mut message);
        // A tweet from a file may exceed the limit when the source adds an id and its name.
        let is_accepted = if message.len() > MAX_MESSAGE_BYTES {
            let reason = "a tweet is larger than the 1 MiB that listeners accept";
            self.shared.deliveries.fail(&message, reason.into());
            false
        } else {
            self.produce(tweet.user.as_bytes(), &message, ending).await
        };
        self.message = message;
        if !is_accepted {
            return;
        }
        let saved = self.saver.as_ref().map(|saver| saver.add(&self.message));
        let error = saved.and_then(Result::err);
        if error.is_some() {
            self.saver = None;
        }
        self.shared.record(|progress| {
            for topic in tweet.topics {
                *progress.status.topics.entry(topic).or_default() += 1;
            }
            if error.is_some() {
                progress.status.last_error = error;
            }
        });
    }

    /// Passes a message to the producer, and waits while the producer's queue is full. Returns whether
    /// the message is in the producer or held; otherwise it has failed.
    async fn produce(&mut self, key: &[u8], message: &[u8], ending: &mut Ending) -> bool {
        let mut record = BaseRecord::with_opaque_to(&self.topic, 1)
            .key(key)
            .payload(message)
            .headers(self.headers.clone());
        let mut last_try = false;
        loop {
            match self.producer.send(record) {
                Ok(()) => return true,
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), returned))
                    if !last_try =>
                {
                    record = returned;
                    // If the stream ends while the broker does not answer, the tweet is tried a last time.
                    // Otherwise the end would wait for the broker forever.
                    tokio::select! {
                        _ = ending.reached() => last_try = true,
                        () = tokio::time::sleep(QUEUE_FULL_PAUSE) => {}
                    }
                }
                Err((error, _)) => {
                    return self.shared.deliveries.refuse(key, message, &error);
                }
            }
        }
    }

    /// Sends the held tweets again.
    async fn send_held(&mut self, ending: &mut Ending) {
        for held in self.shared.deliveries.take_held() {
            self.produce(&held.key, &held.message, ending).await;
        }
    }

    /// Writes the status for the listener's page. If the producer has no room for the status, it is
    /// dropped, because the next one follows within a second.
    fn send_status(&self) {
        let status = self.shared.status_message();
        send_status(&self.producer, &self.status_topic, &self.headers, &status);
    }

    async fn finish(mut self, reason: EndReason, ending: &mut Ending) {
        // A held tweet is sent a last time. It fails if it is refused again.
        self.shared.deliveries.end();
        self.send_held(ending).await;
        let StreamerTask {
            source,
            saver,
            producer,
            status_topic,
            headers,
            shared,
            ..
        } = self;
        // Close the connection of the source first, because the broker may be slow.
        drop(source);
        shared.record(|progress| {
            progress.status.ended = Some(reason);
            progress.ended_at = Some(Instant::now());
        });
        let finishing = tokio::task::spawn_blocking(move || {
            let errors = [
                saver.and_then(|saver| saver.finish()),
                shared.deliveries.finish(&producer),
            ];
            for error in errors.into_iter().flatten() {
                shared.record(|progress| progress.status.last_error = Some(error));
            }
            send_status(&producer, &status_topic, &headers, &shared.status_message());
            let _ = producer.flush(Duration::from_millis(500));
        });
        if let Err(error) = finishing.await
            && let Ok(panic) = error.try_into_panic()
        {
            std::panic::resume_unwind(panic);
        }
    }
}

/// Returns the next item of the source. While the source must wait, returns `None` after a pause.
///
/// # Cancel safety
/// The same as for [`Source::next`].
async fn next_item(
    source: &mut Box<dyn Source>,
    is_held_back: bool,
) -> Option<Option<Result<Tweet>>> {
    if is_held_back {
        tokio::time::sleep(HELD_PAUSE).await;
        return None;
    }
    Some(source.next().await)
}

fn send_status(
    producer: &TweetProducer,
    topic: &str,
    headers: &OwnedHeaders,
    status: &StreamerStatus,
) {
    let message = status.encode();
    let record = BaseRecord::with_opaque_to(topic, 0).headers(headers.clone());
    let _ = producer.send(record.key(STATUS_KEY).payload(&message));
}
