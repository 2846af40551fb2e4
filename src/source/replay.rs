//! Tweets from a file, one JSON object a line, as the Streamer's `save_to` writes them.
//!
//! The messages of the original notebooks are read too. A line that is no tweet is skipped with
//! its number, and one that is too long is skipped without being held in memory, so any file can
//! be given.

use super::{BoxedSource, Source};
use crate::tweet::{MAX_MESSAGE_BYTES, Skip};
use crate::{Error, Result, Tweet};
use jiff::Timestamp;
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::time::Instant;

/// The replay source: at the tweets' own pace, unless told otherwise.
#[derive(Debug)]
pub struct Replay {
    path: PathBuf,
    lines: BufReader<File>,
    line: u64,
    buffer: Vec<u8>,
    pace: Pace,
    /// When the file's first tweet was sent, and when it was replayed.
    start: Option<(Timestamp, Instant)>,
    waiting: Option<Tweet>,
    ended: bool,
}

#[derive(Debug, Clone, Copy)]
enum Pace {
    Times(f64),
    Unlimited,
}

impl Replay {
    /// Opens a file of tweets.
    ///
    /// # Errors
    /// [`Error::File`] if it is not there or cannot be read.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref().to_path_buf();
        let failed = |source| Error::File {
            tried: "opened the replay file",
            path: path.clone(),
            source,
        };
        let file = File::open(&path).map_err(failed)?;
        if file.metadata().map_err(failed)?.is_dir() {
            return Err(failed(io::Error::from(io::ErrorKind::IsADirectory)));
        }
        Ok(Replay {
            path,
            lines: BufReader::with_capacity(1 << 16, file),
            line: 0,
            buffer: Vec::new(),
            pace: Pace::Times(1.0),
            start: None,
            waiting: None,
            ended: false,
        })
    }

    /// `times` as fast as the tweets were sent: 1 is their own pace.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a speed that is no number above 0.
    pub fn speed(mut self, times: f64) -> Result<Self> {
        if !times.is_finite() || times <= 0.0 {
            return Err(Error::Invalid {
                what: format!("speed {times}"),
                reason: "a speed is a number above 0",
                next: "Give a speed such as 10.0, or `.as_fast_as_possible()`.",
            });
        }
        self.pace = Pace::Times(times);
        Ok(self)
    }

    /// No waiting between tweets.
    pub fn as_fast_as_possible(mut self) -> Self {
        self.pace = Pace::Unlimited;
        self
    }

    /// The next line that is not empty, as a tweet; `None` at the end of the file.
    fn read(&mut self) -> Option<Result<Tweet>> {
        while !self.ended {
            match self.read_line() {
                Err(source) => {
                    self.ended = true;
                    return Some(Err(Error::File {
                        tried: "read the replay file",
                        path: self.path.clone(),
                        source,
                    }));
                }
                Ok(0) => self.ended = true,
                Ok(_) if self.buffer.trim_ascii().is_empty() => {}
                Ok(_) => {
                    let tweet = Tweet::decode(self.buffer.trim_ascii());
                    return Some(tweet.map_err(|reason| self.bad(reason)));
                }
            }
        }
        None
    }

    fn bad(&self, reason: Skip) -> Error {
        Error::Line {
            path: self.path.clone(),
            line: self.line,
            reason,
        }
    }

    /// Reads a line into the buffer and returns its length; of a line that is too long, the buffer
    /// holds just enough to see that it is.
    fn read_line(&mut self) -> io::Result<usize> {
        self.buffer.clear();
        self.line += 1;
        let mut length = 0;
        loop {
            let chunk = match self.lines.fill_buf() {
                Ok(chunk) => chunk,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            let end = chunk
                .iter()
                .position(|byte| *byte == b'\n')
                .map(|at| at + 1);
            let taken = end.unwrap_or(chunk.len());
            let room = (MAX_MESSAGE_BYTES + 1).saturating_sub(self.buffer.len());
            self.buffer.extend_from_slice(&chunk[..taken.min(room)]);
            length += taken;
            self.lines.consume(taken);
            if end.is_some() || taken == 0 {
                return Ok(length);
            }
        }
    }

    /// When the waiting tweet is to go out; `None` for at once.
    fn due(&mut self) -> Option<Instant> {
        let Pace::Times(times) = self.pace else {
            return None;
        };
        let sent = self
            .waiting
            .as_ref()
            .filter(|tweet| !tweet.has_no_time())?
            .created_at;
        let (first, started) = *self.start.get_or_insert_with(|| (sent, Instant::now()));
        let offset = sent.duration_since(first).as_secs_f64() / times;
        // A tweet out of order goes out at once; one of another century does not wait for it.
        let offset = Duration::try_from_secs_f64(offset.max(0.0)).unwrap_or(Duration::MAX);
        started.checked_add(offset)
    }
}

impl Source for Replay {
    fn name(&self) -> String {
        format!("replay of {}", self.path.display())
    }

    fn boxed(self) -> BoxedSource {
        BoxedSource::new(self)
    }

    async fn next(&mut self) -> Option<Result<Tweet>> {
        if self.waiting.is_none() {
            match self.read()? {
                Ok(tweet) => self.waiting = Some(tweet),
                Err(error) => return Some(Err(error)),
            }
        }
        if let Some(due) = self.due() {
            tokio::time::sleep_until(due).await;
        }
        let mut tweet = self.waiting.take()?;
        if tweet.id.is_empty() {
            tweet.id = format!("line-{}", self.line);
        }
        if tweet.has_no_time() {
            tweet.created_at = Timestamp::now();
        }
        if tweet.source.is_empty() {
            tweet.source = "replay".into();
        }
        Some(Ok(tweet))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::runtime;
    use std::io::Write;

    fn file(lines: &[u8]) -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(lines).unwrap();
        file
    }

    fn all(mut replay: Replay) -> Vec<Result<Tweet>> {
        let mut all = Vec::new();
        runtime().block_on(async {
            while let Some(item) = replay.next().await {
                all.push(item);
            }
        });
        all
    }

    #[test]
    fn bad_lines_are_named_and_the_rest_is_read() {
        let mut lines = b"{\"text\":\"one\"}\n\nnot json\n{\"user\":\"x\"}\n".to_vec();
        lines.extend(vec![b'x'; MAX_MESSAGE_BYTES + 10]);
        lines.extend(b"\n{\"text\":\"two\",\"id\":7}\n{\"text\":\"trunc");
        let file = file(&lines);
        let read = all(Replay::open(file.path()).unwrap().as_fast_as_possible());
        let told: Vec<String> = read
            .iter()
            .map(|item| match item {
                Ok(tweet) => format!("{} {}", tweet.id, tweet.text),
                Err(Error::Line { line, reason, .. }) => format!("{line}: {reason}"),
                Err(other) => panic!("{other}"),
            })
            .collect();
        let expected = [
            "line-1 one",
            "3: not JSON",
            "4: no text",
            "5: larger than 1 MiB",
            "7 two",
            "7: not JSON",
        ];
        assert_eq!(told, expected);
    }

    #[test]
    fn a_missing_file_and_a_folder_are_refused() {
        for path in ["/no/such/file.jsonl", "."] {
            let error = Replay::open(path).unwrap_err().to_string();
            assert!(
                error.contains(path) && error.contains("Check the path"),
                "{error}"
            );
        }
    }

    #[test]
    fn the_pace_is_the_tweets_own_times_the_speed() {
        let clock = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        let file = file(
            b"{\"text\":\"a\",\"created_at\":\"2026-01-01T00:00:00Z\"}\n\
              {\"text\":\"b\",\"created_at\":\"2026-01-01T00:01:00Z\"}\n\
              {\"text\":\"back\",\"created_at\":\"2025-01-01T00:00:00Z\"}\n\
              {\"text\":\"c\",\"created_at\":\"2026-01-01T00:10:00Z\"}\n",
        );
        clock.block_on(async {
            let mut replay = Replay::open(file.path()).unwrap().speed(10.0).unwrap();
            let start = Instant::now();
            let mut at = Vec::new();
            while let Some(tweet) = replay.next().await {
                tweet.unwrap();
                at.push(start.elapsed().as_secs_f64().round());
            }
            assert_eq!(at, [0.0, 6.0, 6.0, 60.0]);
        });
    }

    #[test]
    fn a_dropped_wait_loses_no_tweet() {
        let clock = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        let file = file(
            b"{\"text\":\"a\",\"created_at\":\"2026-01-01T00:00:00Z\"}\n\
              {\"text\":\"b\",\"created_at\":\"2026-01-01T00:01:00Z\"}\n",
        );
        clock.block_on(async {
            let mut replay = Replay::open(file.path()).unwrap();
            replay.next().await;
            assert!(
                tokio::time::timeout(Duration::from_secs(1), replay.next())
                    .await
                    .is_err()
            );
            assert_eq!(replay.next().await.unwrap().unwrap().text, "b");
        });
    }
}
