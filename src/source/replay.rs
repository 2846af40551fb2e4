//! Tweets from a file with one JSON object per line, as the streamer's `save_to` writes it.
//!
//! The messages of the original notebooks are accepted too. A line that is not a tweet is skipped
//! and reported with its number. A line that is too long is not kept in memory, so any file and any
//! named pipe can be read.

use super::lines::LineBuffer;
use super::{Source, async_trait, check_rate, stream_prefix};
use crate::error::{Error, Result};
use crate::filter::Filter;
use crate::task::runtime;
use crate::tweet::Tweet;
use jiff::Timestamp;
use std::fmt;
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
/// The longest wait for a tweet at the tweets' own pace.
const MAX_WAIT: Duration = Duration::from_secs(24 * 60 * 60);
/// A wait that is longer than this is logged.
const LONG_WAIT: Duration = Duration::from_secs(60);
/// How often a named pipe is checked for its first writer.
const WRITER_POLL: Duration = Duration::from_millis(50);

/// The replay source. It keeps the tweets' own pace unless another pace is set.
///
/// At the tweets' own pace, or a multiple of it, no wait is longer than a day. A tweet whose time is
/// further away, in either direction, is sent at once, and the tweets after it keep their distance from
/// it. A single wrong date therefore delays nothing, and a file may contain several recordings.
#[must_use = "a source does nothing until a streamer starts with it"]
pub struct Replay {
    path: PathBuf,
    /// tokio reads a regular file on its threads for blocking calls.
    file: Box<dyn AsyncRead + Send + Unpin>,
    is_pipe: bool,
    lines: LineBuffer,
    /// The number of the last line that was read.
    line: u64,
    /// Whether the file is a named pipe to which nothing was written yet.
    awaits_writer: bool,
    pace: Pace,
    /// The prefix of the ids of this stream, for tweets without an id.
    prefix: String,
    /// The time of a reference tweet, and when it was replayed. The reference is the first tweet, or the
    /// last one that was more than [`MAX_WAIT`] away.
    start: Option<(Timestamp, Instant)>,
    /// When the last tweet was due.
    last: Option<Instant>,
    /// The time when the tweet that was read last is due (`None` means at once), and the tweet.
    waiting: Option<(Option<Instant>, Tweet)>,
    ended: bool,
    /// The number of finished passes over the file; `None` if there is only one pass.
    repeats: Option<u64>,
}

impl fmt::Debug for Replay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Replay")
            .field("path", &self.path)
            .field("line", &self.line)
            .finish_non_exhaustive()
    }
}

#[derive(Debug, Clone, Copy)]
enum Pace {
    Times(f64),
    /// The time between two tweets.
    Every(Duration),
    Unlimited,
}

impl Replay {
    /// Opens a file of tweets, or a named pipe.
    ///
    /// # Errors
    /// [`ErrorKind::File`](crate::ErrorKind::File) if the file does not exist or cannot be read.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref().to_path_buf();
        let (file, is_pipe) = open(&path)?;
        Ok(Replay {
            path,
            file,
            is_pipe,
            lines: LineBuffer::new(),
            line: 0,
            awaits_writer: is_pipe,
            pace: Pace::Times(1.0),
            prefix: stream_prefix(),
            start: None,
            last: None,
            waiting: None,
            ended: false,
            repeats: None,
        })
    }

    /// Sets the number of tweets per second, 0.1 or more. It replaces the tweets' own pace.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`](crate::ErrorKind::InvalidArgument) for less than 0.1, infinity and NaN.
    pub fn rate(mut self, per_second: f64) -> Result<Self> {
        check_rate(per_second)?;
        self.pace = Pace::Every(Duration::from_secs_f64(1.0 / per_second));
        Ok(self)
    }

    /// Replays the file again and again. In each pass, every tweet gets the current time and a new id, so
    /// it counts again. A file without tweets and a named pipe are replayed only once.
    pub fn repeat(mut self) -> Self {
        self.repeats = Some(0);
        self
    }

    /// Sets the speed: 1 is the tweets' own pace, 10 is ten times as fast.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`](crate::ErrorKind::InvalidArgument) for anything but a finite number
    /// above 0.
    pub fn speed(mut self, times: f64) -> Result<Self> {
        if !times.is_finite() || times <= 0.0 {
            return Err(Error::invalid_argument(
                format!("speed {times}"),
                "a speed is a number above 0",
                "give a speed such as 10.0, or `.as_fast_as_possible()`",
            ));
        }
        self.pace = Pace::Times(times);
        Ok(self)
    }

    /// Removes the waits between tweets.
    pub fn as_fast_as_possible(mut self) -> Self {
        self.pace = Pace::Unlimited;
        self
    }

    /// Waits until the next tweet is due; `None` at the end of the file.
    ///
    /// # Cancel safety
    /// Nothing is lost if the future is dropped.
    async fn next_due(&mut self) -> Result<Option<Tweet>> {
        while self.waiting.is_none() {
            match self.read().await? {
                Some(tweet) => self.waiting = Some((self.due(&tweet), tweet)),
                None if self.start_again()? => {}
                None => return Ok(None),
            }
        }
        if let Some((Some(due), _)) = self.waiting {
            tokio::time::sleep_until(due).await;
        }
        Ok(self.waiting.take().map(|(due, tweet)| {
            self.last = Some(due.unwrap_or_else(Instant::now));
            tweet
        }))
    }

    /// Returns the next non-empty line as a tweet; `None` at the end of the file.
    async fn read(&mut self) -> Result<Option<Tweet>> {
        loop {
            let line = match self.lines.next() {
                Some(line) => line,
                None if !self.ended => {
                    self.fill().await?;
                    continue;
                }
                None => match self.lines.last() {
                    Some(line) => line,
                    None => return Ok(None),
                },
            };
            self.line += 1;
            if line.as_ref().is_ok_and(|line| line.trim().is_empty()) {
                continue;
            }
            let tweet = line.and_then(|line| Tweet::decode(line.trim().as_bytes()));
            return tweet.map(Some).map_err(|reason| {
                let line = format!("line {} of {}", self.line, self.path.display());
                Error::not_a_tweet(line, reason)
            });
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
                // Another pass over the file would fail again, without end.
                self.repeats = None;
                return Err(Error::file("read the replay file", &self.path, &source));
            }
        }
        Ok(())
    }

    /// Prepares another pass over the file. Returns false if there is no other pass.
    fn start_again(&mut self) -> Result<bool> {
        // Without `last`, the file has no tweets, and would be read again and again without a pause.
        let (Some(repeats), false, Some(_)) = (self.repeats, self.is_pipe, self.last) else {
            return Ok(false);
        };
        (self.file, self.is_pipe) = open(&self.path)?;
        self.lines = LineBuffer::new();
        (self.line, self.start, self.ended) = (0, None, false);
        self.repeats = Some(repeats + 1);
        Ok(true)
    }

    /// Returns when a tweet that was just read is due; `None` means at once.
    fn due(&mut self, tweet: &Tweet) -> Option<Instant> {
        let times = match self.pace {
            Pace::Times(times) => times,
            Pace::Every(gap) => return self.last.map(|last| last + gap),
            Pace::Unlimited => return None,
        };
        if tweet.has_no_time() {
            return None;
        }
        let (sent, now) = (tweet.created_at, Instant::now());
        let (first, started) = *self.start.get_or_insert((sent, now));
        let offset = sent.duration_since(first).as_secs_f64() / times;
        let wait = offset - (now - started).as_secs_f64();
        if wait.abs() > MAX_WAIT.as_secs_f64() {
            tracing::debug!(line = self.line, time = %sent, "a tweet is more than a day away");
            self.start = Some((sent, now));
            return None;
        }
        if wait > LONG_WAIT.as_secs_f64() {
            tracing::info!(
                seconds = wait.round(),
                "waiting for the time of the next tweet"
            );
        }
        // A tweet that is older than the first tweet is due at once.
        Some(started + Duration::from_secs_f64(offset.max(0.0)))
    }
}

/// Opens a file or a named pipe. Returns whether it is a pipe.
fn open(path: &Path) -> Result<(Box<dyn AsyncRead + Send + Unpin>, bool)> {
    let failed = |source| Error::file("open the replay file", path, &source);
    let metadata = std::fs::metadata(path).map_err(failed)?;
    if metadata.is_dir() {
        return Err(failed(io::Error::from(io::ErrorKind::IsADirectory)));
    }
    if metadata.file_type().is_fifo() {
        // Opening and reading a pipe as a file would block until a program writes to it.
        let _context = runtime().enter();
        let pipe = pipe::OpenOptions::new().open_receiver(path);
        return Ok((Box::new(pipe.map_err(failed)?), true));
    }
    let file = tokio::fs::File::from_std(File::open(path).map_err(failed)?);
    Ok((Box::new(file), false))
}

#[async_trait]
impl Source for Replay {
    fn name(&self) -> String {
        format!("replay of {}", self.path.display())
    }

    async fn begin(&mut self, _filter: Filter) -> Result<()> {
        self.prefix = stream_prefix();
        Ok(())
    }

    async fn next(&mut self) -> Option<Result<Tweet>> {
        let mut tweet = match self.next_due().await.transpose()? {
            Ok(tweet) => tweet,
            Err(error) => return Some(Err(error)),
        };
        let line = self.line;
        match self.repeats {
            Some(repeats) => tweet.id = format!("{}-{repeats}-line-{line}", self.prefix),
            None if tweet.id.is_empty() => tweet.id = format!("{}-line-{line}", self.prefix),
            None => {}
        }
        if tweet.has_no_time() || self.repeats.is_some() {
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
    use crate::task::block_on;
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

    #[test]
    fn invalid_lines_are_numbered_and_the_rest_is_read() {
        let mut lines = b"{\"text\":\"one\"}\n\nnot json\n{\"user\":\"x\"}\n".to_vec();
        lines.extend(vec![b'x'; MAX_MESSAGE_BYTES + 10]);
        lines.extend(b"\n\xff\xfe\n{\"text\":\"two\",\"id\":7}\n{\"text\":\"trunc");
        let file = file(&lines);
        let path = file.path().display().to_string();
        let read = all(Replay::open(&path).unwrap().as_fast_as_possible());
        let shown: Vec<String> = read
            .iter()
            .map(|item| match item {
                Ok(tweet) => format!("{} {}", tweet.id.rsplit('-').next().unwrap(), tweet.text),
                Err(error) => error.to_string().replace(&path, "the file"),
            })
            .collect();
        let expected = [
            "1 one",
            "line 3 of the file is not a tweet (not JSON); skipped",
            "line 4 of the file is not a tweet (no text); skipped",
            "line 5 of the file is not a tweet (larger than 1 MiB); skipped",
            "line 6 of the file is not a tweet (not UTF-8); skipped",
            "7 two",
            "line 8 of the file is not a tweet (not JSON); skipped",
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
        use crate::error::ErrorKind;
        use std::error::Error;

        for path in ["/no/such/file.jsonl", "."] {
            let error = Replay::open(path).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::File);
            assert!(error.io_kind().is_some() && error.source().is_none());
            let error = error.to_string();
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
}
