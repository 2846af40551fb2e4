//! Which runs are trusted. Any program may write any run identifier into its messages.

use super::consumer::Consumer;
use super::scoring::Content;
use crate::kafka::RunId;
use rdkafka::error::KafkaError;
use std::time::{Duration, Instant};

/// For how long a run that the topic cannot have is rejected without asking the broker again. So a
/// flood of such messages costs a request a second.
const REJECTED_FOR: Duration = Duration::from_secs(1);

/// Checks the runs of messages, see [`RunId::is_possible`].
pub(super) struct RunCheck {
    content: Content,
    /// The largest run that was found possible.
    accepted: Option<RunId>,
    /// The smallest run that was found impossible, and when.
    rejected: Option<(RunId, Instant)>,
}

impl RunCheck {
    pub(super) fn new(content: Content) -> RunCheck {
        RunCheck {
            content,
            accepted: None,
            rejected: None,
        }
    }

    /// Returns the run of a message, or `None` if the topic cannot have it. The message then counts as
    /// one of another program, which belongs to no run.
    ///
    /// The runs in a topic of scores are those of the topic of tweets, whose ends are not known here.
    /// The scorer has checked them.
    ///
    /// # Errors
    /// The error of the broker if it does not tell the ends of the topic.
    pub(super) fn trusted(
        &mut self,
        run: Option<RunId>,
        consumer: &Consumer,
    ) -> Result<Option<RunId>, KafkaError> {
        let Some(found) = run else { return Ok(None) };
        if self.content == Content::Scores || run <= self.accepted {
            return Ok(run);
        }
        let rejected = self.rejected.filter(|(_, at)| at.elapsed() < REJECTED_FOR);
        if rejected.is_some_and(|(least, _)| least <= found) {
            return Ok(None);
        }
        if consumer.is_possible(found)? {
            self.accepted = run;
            return Ok(run);
        }
        tracing::warn!(?found, "a message has a run that the topic cannot have");
        self.rejected = Some((found, Instant::now()));
        Ok(None)
    }
}
