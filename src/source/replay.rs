//! Tweets from a file with one JSON object per line, as the streamer's `save_to` writes it.
//!
//! The messages of the original notebooks are accepted too. A line that is not a tweet is skipped
//! and reported with its number. A line that is too long is skipped without being kept in memory,
//! so any file may be given, and a named pipe as well.

use super::lines::LineBuffer;
use super::{Source, async_trait, stream_prefix};
use crate::runtime::runtime;
use crate::{Error, Filter, Result, Tweet};
use jiff::Timestamp;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::net::unix::pipe;
use tokio::time::Instant;

/// How much of the file is read at once, in bytes.
const READ_BUFFER: usize = 256 * 1024;
/// How often a named pipe is checked for its first writer.
const WRITER_POLL: Duration = Duration::from_millis(50);

/// The replay source. It keeps the tweets' own pace unless another is set.
pub struct Replay {
    path: PathBuf,
    /// A regular file is read on tokio's threads for blocking calls.
    file: Box<dyn AsyncRead + Send + Unpin>,
    lines: LineBuffer,
    /// The number of the last line that was read.
    line: u64,
    /// Whether the file is a named pipe that nothing was written to yet.
    awaits_writer: bool,
    pace: Pace,
    /// The prefix of the ids of this stream, for tweets without an id.
    prefix: String,
    /// The time of the file's first tweet, and when it was replayed.
    start: Option<(Timestamp, Instant)>,
    /// A tweet that was read and is not due yet.
    waiting: Option<Tweet>,
    ended: bool,
}

#[derive(Debug, Clone, Copy)]
enum Pace {
    Times(f64),
    Unlimited,
}

impl Replay {
    /// Opens a file of tweets, or a named pipe.
    ///
    /// # Errors
    /// [`Error::File`] if it does not exist or cannot be read.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref().to_path_buf();
        let failed = |source| Error::File {
            action: "open the replay file",
            path: path.clone(),
            source,
        };
        let metadata = std::fs::metadata(&path).map_err(failed)?;
        if metadata.is_dir() {
            return Err(failed(io::Error::from(io::ErrorKind::IsADirectory)));
        }
        let is_pipe = metadata.file_type().is_fifo();
        let file: Box<dyn AsyncRead + Send + Unpin> = if is_pipe {
            // Opening and reading a pipe as a file would block until a program writes to it.
            let _context = runtime().enter();
            let pipe = pipe::OpenOptions::new().open_receiver(&path);
            Box::new(pipe.map_err(failed)?)
        } else {
            Box::new(tokio::fs::File::from_std(
                File::open(&path).map_err(failed)?,
            ))
        };
        Ok(Replay {
            path,
            file,
            lines: LineBuffer::new(),
            line: 0,
            awaits_writer: is_pipe,
            pace: Pace::Times(1.0),
            prefix: stream_prefix(),
            start: None,
            waiting: None,
            ended: false,
        })
    }

    /// Sets the speed: 1 is the tweets' own pace, 10 is ten times as fast.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for anything but a finite number above 0.
    pub fn speed(mut self, times: f64) -> Result<Self> {
        if !times.is_finite() || times <= 0.0 {
            return Err(Error::InvalidArgument {
                argument: format!("speed {times}"),
                reason: "a speed is a number above 0",
                hint: "give a speed such as 10.0, or `.as_fast_as_possible()`",
            });
        }
        self.pace = Pace::Times(times);
        Ok(self)
    }

    /// Removes the waits between tweets.
    pub fn as_fast_as_possible(mut self) -> Self {
        self.pace = Pace::Unlimited;
        self
    }

    /// Returns the next non-empty line as a tweet; `None` at the end of the file.
    async fn read(&mut self) -> Option<Result<Tweet>> {
        loop {
            let line = match self.lines.next() {
                Some(line) => line,
                None if self.ended => self.lines.last()?,
                None => match self.fill().await {
                    Ok(()) => continue,
                    Err(error) => return Some(Err(error)),
                },
            };
            self.line += 1;
            if line.as_ref().is_ok_and(|line| line.trim().is_empty()) {
                continue;
            }
            let tweet = line.and_then(|line| Tweet::decode(line.trim().as_bytes()));
            return Some(tweet.map_err(|reason| Error::InvalidLine {
                path: self.path.clone(),
                line: self.line,
                reason,
            }));
        }
    }

    /// Reads a part of the file into the buffer of lines.
    ///
    /// # Cancel safety
    /// Nothing is lost if the future is dropped.
    async fn fill(&mut self) -> Result<()> {
        let bytes = self.lines.bytes();
        bytes.reserve(READ_BUFFER);
        match self.file.read_buf(bytes).await {
            Ok(0) if self.awaits_writer => tokio::time::sleep(WRITER_POLL).await,
            Ok(0) => self.ended = true,
            Ok(_) => self.awaits_writer = false,
            Err(source) => {
                self.ended = true;
                return Err(Error::File {
                    action: "read the replay file",
                    path: self.path.clone(),
                    source,
                });
            }
        }
        Ok(())
    }

    /// Returns when the waiting tweet is due; `None` means at once.
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
        // A tweet that is older than the first is due at once.
        let offset = Duration::try_from_secs_f64(offset.max(0.0)).unwrap_or(Duration::MAX);
        started.checked_add(offset)
    }
}

#[async_trait]
impl Source for Replay {
    fn name(&self) -> String {
        format!("replay of {}", self.path.display())
    }

    async fn begin(&mut self, filter: Filter) -> Result<Filter> {
        self.prefix = stream_prefix();
        Ok(filter)
    }

    async fn next(&mut self) -> Option<Result<Tweet>> {
        if self.waiting.is_none() {
            match self.read().await? {
                Ok(tweet) => self.waiting = Some(tweet),
                Err(error) => return Some(Err(error)),
            }
        }
        if let Some(due) = self.due() {
            tokio::time::sleep_until(due).await;
        }
        let mut tweet = self.waiting.take()?;
        if tweet.id.is_empty() {
            tweet.id = format!("{}-line-{}", self.prefix, self.line);
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
    use crate::runtime::block_on;
    use crate::tweet::MAX_MESSAGE_BYTES;
    use std::collections::BTreeSet;
    use std::io::Write;

    fn file(lines: &[u8]) -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(lines).unwrap();
        file
    }

    fn all(mut replay: Replay) -> Vec<Result<Tweet>> {
        block_on(async {
            let mut all = Vec::new();
            while let Some(item) = replay.next().await {
                all.push(item);
            }
            all
        })
    }

    fn with_paused_clock<T>(work: impl Future<Output = T>) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build();
        runtime.unwrap().block_on(work)
    }

    #[test]
    fn invalid_lines_are_numbered_and_the_rest_is_read() {
        let mut lines = b"{\"text\":\"one\"}\n\nnot json\n{\"user\":\"x\"}\n".to_vec();
        lines.extend(vec![b'x'; MAX_MESSAGE_BYTES + 10]);
        lines.extend(b"\n\xff\xfe\n{\"text\":\"two\",\"id\":7}\n{\"text\":\"trunc");
        let file = file(&lines);
        let read = all(Replay::open(file.path()).unwrap().as_fast_as_possible());
        let shown: Vec<String> = read
            .iter()
            .map(|item| match item {
                Ok(tweet) => format!("{} {}", tweet.id.rsplit('-').next().unwrap(), tweet.text),
                Err(Error::InvalidLine { line, reason, .. }) => format!("{line}: {reason}"),
                Err(other) => panic!("{other}"),
            })
            .collect();
        let expected = [
            "1 one",
            "3: not JSON",
            "4: no text",
            "5: larger than 1 MiB",
            "6: not UTF-8",
            "7 two",
            "8: not JSON",
        ];
        assert_eq!(shown, expected);
    }

    #[test]
    fn two_replays_of_a_file_without_ids_share_no_id() {
        let file = file(b"{\"text\":\"a\"}\n{\"text\":\"a\"}\n");
        let ids = || all(Replay::open(file.path()).unwrap()).into_iter();
        let ids: BTreeSet<String> = ids().chain(ids()).map(|tweet| tweet.unwrap().id).collect();
        assert_eq!(ids.len(), 4);
    }

    #[test]
    fn a_missing_file_and_a_folder_are_rejected() {
        for path in ["/no/such/file.jsonl", "."] {
            let error = Replay::open(path).err().unwrap().to_string();
            assert!(
                error.contains(path) && error.contains("check the path"),
                "{error}"
            );
        }
    }

    #[test]
    fn a_named_pipe_is_read_from_its_first_writer_to_its_last() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pipe");
        let made = std::process::Command::new("mkfifo").arg(&path).status();
        assert!(made.unwrap().success());
        let mut replay = Replay::open(&path).unwrap().as_fast_as_possible();
        let early = block_on(async {
            tokio::time::timeout(Duration::from_millis(200), replay.next())
                .await
                .is_ok()
        });
        assert!(!early, "nothing was written, and the pipe has not ended");
        let writer = std::thread::spawn(move || std::fs::write(path, "{\"text\":\"piped\"}\n"));
        let read = all(replay);
        writer.join().unwrap().unwrap();
        assert_eq!(read.len(), 1);
        assert_eq!(read[0].as_ref().unwrap().text, "piped");
    }

    #[test]
    fn the_pace_is_the_tweets_own_times_the_speed() {
        let file = file(
            b"{\"text\":\"a\",\"created_at\":\"2026-01-01T00:00:00Z\"}\n\
              {\"text\":\"b\",\"created_at\":\"2026-01-01T00:01:00Z\"}\n\
              {\"text\":\"back\",\"created_at\":\"2025-01-01T00:00:00Z\"}\n\
              {\"text\":\"c\",\"created_at\":\"2026-01-01T00:10:00Z\"}\n",
        );
        with_paused_clock(async {
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
    fn dropping_a_wait_loses_no_tweet() {
        let file = file(
            b"{\"text\":\"a\",\"created_at\":\"2026-01-01T00:00:00Z\"}\n\
              {\"text\":\"b\",\"created_at\":\"2026-01-01T00:01:00Z\"}\n",
        );
        with_paused_clock(async {
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
