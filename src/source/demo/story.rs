//! A story: the planned mood of the topics over time, for example for a lecture.

use super::TOPICS;
use crate::error::{Error, Result};

/// The moods of each topic, in the order of their times. A topic without moods has its usual waves.
#[derive(Debug, Clone, Default)]
pub(super) struct Story([Vec<(f64, f64)>; TOPICS.len()]);

impl Story {
    /// Sets the moods of the topic at `index`. `topic` is its name, for error messages.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`](crate::ErrorKind::InvalidArgument) if `index` is `None`, or if the
    /// times or moods are invalid.
    pub(super) fn set(
        &mut self,
        index: Option<usize>,
        topic: &str,
        moods: &[(f64, f64)],
    ) -> Result<()> {
        let invalid = |reason| {
            Error::invalid_argument(
                format!("the story of {topic:?}"),
                reason,
                "give times and moods such as `(\"bitcoin\", &[(0.0, 0.5), (60.0, -1.0)])`",
            )
        };
        let index = index.ok_or_else(|| {
            invalid("the demo source tweets about bitcoin, ethereum and dogecoin only")
        })?;
        let mut times = moods.iter().map(|(time, _)| *time);
        let are_increasing = times.clone().is_sorted_by(|a, b| a < b);
        if moods.is_empty() || !are_increasing || !times.all(|t| t.is_finite() && t >= 0.0) {
            return Err(invalid("its times do not increase from 0 up"));
        }
        if !moods.iter().all(|(_, mood)| (-1.0..=1.0).contains(mood)) {
            return Err(invalid("a mood is outside [-1, 1]"));
        }
        self.0[index] = moods.to_vec();
        Ok(())
    }

    /// Returns the mood of a topic at a time in seconds; `None` if the story does not name the topic.
    pub(super) fn mood(&self, topic: usize, time: f64) -> Option<f64> {
        let moods = &self.0[topic];
        let (past, future) = moods.split_at(moods.partition_point(|(at, _)| *at <= time));
        match (past.last(), future.first()) {
            (Some((from, a)), Some((to, b))) => Some(a + (b - a) * (time - from) / (to - from)),
            (Some((_, mood)), None) | (None, Some((_, mood))) => Some(*mood),
            (None, None) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mood_changes_evenly_between_two_times() {
        let mut story = Story::default();
        story
            .set(Some(0), "bitcoin", &[(10.0, -1.0), (20.0, 1.0)])
            .unwrap();
        let at = |time| story.mood(0, time).unwrap();
        assert_eq!(
            [at(0.0), at(10.0), at(15.0), at(20.0), at(99.0)],
            [-1.0, -1.0, 0.0, 1.0, 1.0]
        );
        assert_eq!(story.mood(1, 5.0), None);
    }

    #[test]
    fn a_story_that_cannot_be_told_is_refused() {
        let mut story = Story::default();
        for (index, moods) in [
            (None, &[(0.0, 0.0)][..]),
            (Some(0), &[]),
            (Some(0), &[(5.0, 0.0), (5.0, 0.1)]),
            (Some(0), &[(-1.0, 0.0)]),
            (Some(0), &[(f64::NAN, 0.0)]),
            (Some(0), &[(0.0, 1.5)]),
            (Some(0), &[(0.0, f64::NAN)]),
        ] {
            assert!(story.set(index, "bitcoin", moods).is_err(), "{moods:?}");
        }
        assert_eq!(story.mood(0, 1.0), None);
    }
}
