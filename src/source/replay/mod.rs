//! Replays tweets from files in common formats.
//!
//! The content of a file decides how it is read, not its name. A file may be compressed, and its text may
//! be UTF-8, UTF-16 or Windows-1252, which contains Latin-1 (`input.rs`). It contains JSON values
//! (`values.rs`) of one of several shapes (`json.rs`), or it is a table (`table.rs`). The first part of
//! the file shows its format (`sample.rs`). `docs/sources.md` lists the formats.
//!
//! A record that is not a tweet is skipped and reported with its number. Files are read part by part, and
//! a record that is too long is dropped. So a file or a named pipe of any length needs a bounded amount of
//! memory. Reading and decompressing block, so they run on tokio's threads for blocking calls.

mod columns;
mod files;
mod format;
mod input;
mod json;
mod reader;
mod sample;
mod table;
mod times;
mod values;

use super::{FileProgress, FileWatch, Source, async_trait, check_rate, stream_prefix};
use crate::error::{Error, ErrorKind, Result};
use crate::filter::Filter;
use crate::tweet::Tweet;
use columns::Names;
use files::{Files, Items};
use format::{Content, Item};
use jiff::Timestamp;
use reader::Failure;
use std::collections::VecDeque;
use std::fmt;
use std::panic::resume_unwind;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};

/// The longest wait for a tweet at the original pace, or a multiple of it.
const MAX_WAIT: Duration = Duration::from_secs(24 * 60 * 60);
/// A wait that is longer than this is logged.
const LONG_WAIT: Duration = Duration::from_secs(60);
/// The time between two tweets of a table without times, at a speed of 1.
const DEFAULT_GAP: Duration = Duration::from_millis(50);

/// The replay source. It keeps the original pace, which is the differences between the times of the
/// tweets, unless another pace is set. The original pace of a table without times is 20 tweets per second.
///
/// At the original pace, or a multiple of it, no wait is longer than a day. A tweet whose time is further
/// away, in either direction, is sent at once, and the tweets after it keep their distance from it. A
/// single wrong date therefore delays nothing, and a file may contain several recordings.
#[must_use = "a source does nothing until a streamer starts with it"]
pub struct Replay {
    name: String,
    paths: Vec<PathBuf>,
    /// The files; `None` while a job reads from them.
    files: Option<Files>,
    /// Reads the next part of the files.
    job: Option<JoinHandle<(Files, Result<Option<Items>>)>>,
    /// The items that were decoded and not returned yet.
    items: Items,
    /// Errors that were not returned yet.
    errors: VecDeque<Error>,
    /// The error that no file has tweets. It is returned when the stream starts, unless the caller names
    /// the columns before.
    no_tweets: Option<Error>,
    progress: FileProgress,
    watch: FileWatch,
    pace: Pace,
    /// The prefix of the ids of this stream, for tweets without an id.
    prefix: String,
    /// The time of a reference tweet, and when it was replayed. The reference is the first tweet, or the
    /// last tweet whose time was more than [`MAX_WAIT`] away.
    start: Option<(Timestamp, Instant)>,
    /// When the last tweet was due.
    last: Option<Instant>,
    /// The tweet that was read last, and when it is due (`None` means at once).
    waiting: Option<(Option<Instant>, Tweet)>,
    /// Whether this pass over the files has had a tweet.
    has_tweets: bool,
    /// The number of finished passes over the files; `None` if there is only one pass.
    repeats: Option<u64>,
    /// Whether a file could not be read in this pass. Every further pass would fail again.
    is_last_pass: bool,
    /// Ends a read from a named pipe when the source is dropped.
    _stop: DropGuard,
}

impl fmt::Debug for Replay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Replay")
            .field("name", &self.name)
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
    /// Opens a file of tweets, a named pipe, or a folder of files, and finds its format. Nothing is read
    /// from a named pipe before the stream starts.
    ///
    /// # Errors
    /// [`ErrorKind::File`] if the file does not exist, cannot be read, or has no tweet in its first part.
    /// A table without a tweet is an error only when the stream starts, because
    /// [`columns`](Replay::columns) may still name the column of the texts.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        Replay::open_all([path])
    }

    /// Opens several files, named pipes and folders. They are read one after the other, in the order of
    /// their paths. A file without tweets is skipped and reported, unless no file has tweets.
    ///
    /// # Errors
    /// The errors of [`open`](Replay::open), and [`ErrorKind::File`] if there is no file.
    pub fn open_all<P: AsRef<Path>>(paths: impl IntoIterator<Item = P>) -> Result<Self> {
        let paths = paths.into_iter().map(|path| path.as_ref().to_path_buf());
        let paths: Vec<PathBuf> = paths.collect();
        let stop = CancellationToken::new();
        let files = Files::list(&paths, &stop)?;
        let mut replay = Replay {
            name: match paths.as_slice() {
                [path] => format!("replay of {}", path.display()),
                paths => format!("replay of {} files", paths.len()),
            },
            paths: files.paths().to_vec(),
            files: Some(files),
            job: None,
            items: Items::default(),
            errors: VecDeque::new(),
            no_tweets: None,
            progress: FileProgress::default(),
            watch: FileWatch::default(),
            pace: Pace::Times(1.0),
            prefix: stream_prefix(),
            start: None,
            last: None,
            waiting: None,
            has_tweets: false,
            repeats: None,
            is_last_pass: false,
            _stop: stop.drop_guard(),
        };
        replay.examine(Names::default())?;
        Ok(replay)
    }

    /// Names the columns of tables. The list has fields, each with the name of its column, such as
    /// `text=Tweet,user=Author`. The fields are `text`, `id`, `created_at`, `user`, `followers` and
    /// `lang`. A field that is not in the list is found by the common names of its column. For a table
    /// without a header, give the number of each column, from 1 on: `text=6,user=5`. Case makes no
    /// difference.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`] if the list is malformed, and the errors of [`open`](Replay::open).
    /// If no table has the columns, the error comes when the stream starts.
    pub fn columns(mut self, list: &str) -> Result<Self> {
        self.examine(Names::parse(list)?)?;
        Ok(self)
    }

    /// Opens the first file that has tweets.
    fn examine(&mut self, names: Names) -> Result<()> {
        let Some(files) = &mut self.files else {
            return Ok(());
        };
        self.progress.bytes = files.size().filter(|_| self.repeats.is_none());
        self.watch.set(self.progress);
        (self.errors, self.no_tweets) = (VecDeque::new(), None);
        let failures = files.open(names);
        let kind = if files.is_open() {
            ErrorKind::NotATweet
        } else {
            ErrorKind::File
        };
        let failures: Vec<_> = failures.iter().zip(&self.paths).collect();
        let error = |(failure, path): &(&Failure, &PathBuf)| failure.error(kind, path);
        if files.is_open() {
            self.errors = failures.iter().map(error).collect();
            return Ok(());
        }
        let table = failures.iter().find(|(failure, _)| failure.is_table());
        match table.map(error) {
            None => failures.first().map_or(Ok(()), |first| Err(error(first))),
            no_tweets => {
                self.no_tweets = no_tweets;
                Ok(())
            }
        }
    }

    /// Sets the number of tweets per second, 0.1 or more. It replaces the original pace.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`] for less than 0.1, infinity and NaN.
    pub fn rate(mut self, per_second: f64) -> Result<Self> {
        check_rate(per_second)?;
        self.pace = Pace::Every(Duration::from_secs_f64(1.0 / per_second));
        Ok(self)
    }

    /// Replays the files again and again. In each pass, every tweet gets the current time and a new id, so
    /// it counts again. If a named pipe is among the files, there is only one pass. The stream also ends
    /// after a pass in which a file could not be read, or in which no file had a tweet.
    pub fn repeat(mut self) -> Self {
        self.repeats = Some(0);
        // A stream that repeats has no end.
        self.progress.bytes = None;
        self.watch.set(self.progress);
        self
    }

    /// Sets the speed: 1 is the original pace, 10 is ten times as fast. For a table without times, 1 is 20
    /// tweets per second.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`] for anything but a finite number above 0.
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

    /// Waits until the next tweet is due, and returns it; `None` at the end of the files.
    ///
    /// # Cancel safety
    /// Nothing is lost if the future is dropped.
    async fn next_due(&mut self) -> Result<Option<Tweet>> {
        while self.waiting.is_none() {
            match self.read().await? {
                Some(tweet) => self.waiting = Some((self.due(&tweet), tweet)),
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

    /// Returns the next tweet with its id; `None` at the end of the files.
    ///
    /// # Cancel safety
    /// Nothing is lost if the future is dropped.
    async fn read(&mut self) -> Result<Option<Tweet>> {
        loop {
            let error = self.errors.pop_front().or_else(|| self.no_tweets.take());
            if let Some(error) = error {
                return Err(error);
            }
            let Some(item) = self.items.items.next() else {
                if self.more().await? {
                    continue;
                }
                // The last file may end with bytes that belong to no record.
                if let Some(bytes) = self.progress.bytes {
                    self.progress.bytes_read = bytes;
                    self.watch.set(self.progress);
                }
                return Ok(None);
            };
            let Item {
                number,
                part,
                content,
            } = item;
            let unit = self.items.unit;
            self.progress.records += 1;
            self.progress.bytes_read = self.items.bytes_read();
            self.progress.other_events += u64::from(matches!(content, Content::Event));
            self.watch.set(self.progress);
            match content {
                Content::Event => {}
                Content::Skipped(reason) => {
                    let path = self.paths[self.items.file].display();
                    let record = format!("{unit} {number} of {path}");
                    return Err(Error::not_a_tweet(record, reason));
                }
                Content::Tweet(mut tweet) => {
                    self.has_tweets = true;
                    if self.repeats.is_some() || tweet.id.is_empty() {
                        tweet.id = self.id(number, part);
                    }
                    return Ok(Some(tweet));
                }
            }
        }
    }

    /// Returns a unique id for a tweet.
    fn id(&self, number: u64, part: usize) -> String {
        let (prefix, unit) = (&self.prefix, self.items.unit);
        let pass = self.repeats.map(|pass| format!("-{pass}"));
        let file = self.items.file;
        let file = (file > 0).then(|| format!("-file-{}", file + 1));
        let part = (part > 1).then(|| format!("-{part}"));
        let [pass, file, part] = [pass, file, part].map(Option::unwrap_or_default);
        format!("{prefix}{pass}{file}-{unit}-{number}{part}")
    }

    /// Decodes the next items, or reads the next part of the files. If the format is decoded ahead, the part
    /// after it is read while the stream uses this one. Returns false at the end of the files.
    ///
    /// # Cancel safety
    /// Nothing is lost if the future is dropped: the job continues.
    async fn more(&mut self) -> Result<bool> {
        if let Some(files) = &mut self.files
            && !files.is_decoded_ahead()
            && let Some(items) = files.decode()
        {
            self.items = items;
            return Ok(true);
        }
        if let Some(files) = self.files.take() {
            self.start_job(files);
        }
        let Some(job) = &mut self.job else {
            return Ok(false);
        };
        let ended = job.await;
        self.job = None;
        let (mut files, read) = match ended {
            Ok(read) => read,
            Err(error) => match error.try_into_panic() {
                Ok(panic) => resume_unwind(panic),
                // The runtime is shutting down.
                Err(_) => return Ok(false),
            },
        };
        match read {
            Ok(Some(items)) => {
                self.items = items;
                match files.is_decoded_ahead() {
                    true => self.start_job(files),
                    false => self.files = Some(files),
                }
                Ok(true)
            }
            Ok(None) => {
                // Do not repeat files without tweets: they would be read again and again without a pause.
                let is_repeated = self.has_tweets && !self.is_last_pass && files.rewind();
                self.repeats = self
                    .repeats
                    .filter(|_| is_repeated)
                    .map(|passes| passes + 1);
                (self.start, self.has_tweets) = (None, false);
                self.files = Some(files);
                Ok(self.repeats.is_some())
            }
            Err(error) => {
                self.is_last_pass |= error.kind() == ErrorKind::File;
                self.files = Some(files);
                Err(error)
            }
        }
    }

    /// Starts a job that reads the next part.
    fn start_job(&mut self, mut files: Files) {
        self.job = Some(spawn_blocking(move || {
            let read = files.read();
            (files, read)
        }));
    }

    /// Returns when a tweet that was just read is due; `None` means at once.
    fn due(&mut self, tweet: &Tweet) -> Option<Instant> {
        let times = match self.pace {
            Pace::Times(times) if !self.items.has_times => {
                let gap = Duration::try_from_secs_f64(DEFAULT_GAP.as_secs_f64() / times);
                return self
                    .last
                    .map(|last| last + gap.map_or(MAX_WAIT, |gap| gap.min(MAX_WAIT)));
            }
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
            tracing::debug!(id = tweet.id, time = %sent, "a tweet is more than a day away");
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

#[async_trait]
impl Source for Replay {
    fn name(&self) -> String {
        self.name.clone()
    }

    async fn begin(&mut self, _filter: Filter) -> Result<()> {
        self.prefix = stream_prefix();
        self.no_tweets.take().map_or(Ok(()), Err)
    }

    fn files(&self) -> Option<FileWatch> {
        Some(self.watch.clone())
    }

    async fn next(&mut self) -> Option<Result<Tweet>> {
        let mut tweet = match self.next_due().await.transpose()? {
            Ok(tweet) => tweet,
            Err(error) => return Some(Err(error)),
        };
        if tweet.has_no_time() || self.repeats.is_some() {
            tweet.created_at = Timestamp::now();
        }
        if tweet.source.is_empty() {
            tweet.source = "replay".into();
        }
        Some(Ok(tweet))
    }
}

/// Reads the content of a file, for a fuzz target.
#[cfg(fuzzing)]
pub(crate) fn fuzz(content: &[u8]) {
    let content = Box::new(std::io::Cursor::new(content.to_vec()));
    let text = input::decode(content, &Default::default());
    let reader = text.map_err(Failure::from);
    let Ok(mut reader) =
        reader.and_then(|text| reader::Reader::new(text, false, &Names::default()))
    else {
        return;
    };
    let mut last = (0, 0);
    loop {
        let items = reader.decode();
        if items.is_empty() && !reader.fill().unwrap_or(false) {
            return;
        }
        for Item { number, part, .. } in items {
            assert!((number, part) > last);
            last = (number, part);
        }
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
    fn a_missing_file_and_an_empty_folder_are_rejected() {
        use std::error::Error;

        let error = Replay::open("/no/such/file.jsonl").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::File);
        assert!(error.io_kind().is_some() && error.source().is_none());
        let error = error.to_string();
        assert!(
            error.contains("/no/such/file.jsonl") && error.contains("check the path"),
            "{error}"
        );
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(".hidden"), "{\"text\":\"a\"}").unwrap();
        let error = Replay::open(folder.path()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::File);
        assert!(error.to_string().contains("no file found"), "{error}");
    }

    fn named_pipe(path: PathBuf) -> PathBuf {
        let made = std::process::Command::new("mkfifo").arg(&path).status();
        assert!(made.unwrap().success());
        path
    }

    #[test]
    fn a_named_pipe_is_read_from_its_first_writer_to_its_last() {
        let folder = tempfile::tempdir().unwrap();
        let path = named_pipe(folder.path().join("pipe"));
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

    /// Returns the text of each tweet, and each error, without the folder.
    fn shown(replay: Replay, folder: &Path) -> Vec<String> {
        let folder = format!("{}/", folder.display());
        let shown = all(replay).into_iter().map(|item| match item {
            Ok(tweet) => tweet.text,
            Err(error) => error.to_string().replace(&folder, ""),
        });
        shown.collect()
    }

    fn write(folder: &Path, name: &str, content: &[u8]) -> PathBuf {
        let path = folder.join(name);
        std::fs::write(&path, content).unwrap();
        path
    }

    #[test]
    fn files_of_several_shapes_are_read_in_the_order_of_their_names() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        write(folder, "a", b"notes\n");
        let b = write(folder, "b", b"text\none\ntwo\n");
        write(folder, "c", b"[]\n");
        let d = write(
            folder,
            "d",
            b"{\"text\":\"three\"}\nbad\n{\"text\":\"four\"}\n",
        );
        std::fs::create_dir(folder.join("e")).unwrap();
        let no_tweets = |name: &str, looks: &str| {
            format!(
                "failed to find a tweet at the start of {name}: it looks like {looks}; expected tweets as JSON, or \
                 a table with a column of texts\nhint: give a file in one of the formats that docs/sources.md lists"
            )
        };
        let expected = [
            no_tweets("a", "text that begins with \"notes\""),
            "one".into(),
            "two".into(),
            no_tweets("c", "text that begins with \"[]\""),
            "three".into(),
            "line 2 of d is not a tweet (not JSON); skipped".into(),
            "four".into(),
        ];
        let open = || Replay::open(folder).unwrap().as_fast_as_possible();
        assert_eq!(shown(open(), folder), expected);
        let two = Replay::open_all([&d, &b]).unwrap().as_fast_as_possible();
        assert_eq!(two.name(), "replay of 2 files");
        let tweets: Vec<Tweet> = all(two).into_iter().flatten().collect();
        let ids: Vec<&str> = tweets.iter().map(|tweet| &tweet.id[8..]).collect();
        let expected = ["-row-2", "-row-3", "-file-2-line-1", "-file-2-line-3"];
        assert_eq!(ids, expected);
        let texts: Vec<&str> = tweets.iter().map(|tweet| &*tweet.text).collect();
        assert_eq!(texts, ["one", "two", "three", "four"]);
        let nothing = Replay::open_all([folder.join("a"), folder.join("c")]).unwrap_err();
        assert_eq!(nothing.kind(), ErrorKind::File);
    }

    #[test]
    fn long_values_are_read_in_their_order() {
        let line = |number: usize| match number {
            700 => "no JSON\n".to_owned(),
            number => format!("{{\"text\":\"{number} {}\"}}\n", "x".repeat(2_000)),
        };
        let lines: String = (1..=1_500).map(line).collect();
        let file = file(lines.as_bytes());
        let read = all(Replay::open(file.path()).unwrap().as_fast_as_possible());
        let start = |item: &Result<Tweet>| match item {
            Ok(tweet) => {
                let number = tweet.text.split(' ').next().unwrap();
                assert!(tweet.id.ends_with(&format!("-line-{number}")));
                number.to_owned()
            }
            Err(error) => error.to_string().split(" of ").next().unwrap().into(),
        };
        let mut expected: Vec<String> = (1..=1_500).map(|number| number.to_string()).collect();
        expected[699] = "line 700".into();
        assert_eq!(read.iter().map(start).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn several_files_are_repeated_with_new_ids() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        let page = br#"{"data":[{"id":"1","text":"a"},{"id":"1","text":"b"}],"meta":{}}"#;
        write(folder, "a", page);
        write(folder, "b", b"text\nc\n");
        let mut replay = Replay::open(folder).unwrap().as_fast_as_possible().repeat();
        let (texts, ids): (String, BTreeSet<String>) = block_on(async {
            let mut tweets = Vec::new();
            while tweets.len() < 9 {
                tweets.push(replay.next().await.unwrap().unwrap());
            }
            tweets
                .into_iter()
                .map(|tweet| (tweet.text, tweet.id))
                .unzip()
        });
        assert_eq!(texts, "abcabcabc");
        assert_eq!(ids.len(), 9, "{ids:?}");
    }

    #[test]
    fn a_damaged_file_ends_the_repeats_after_its_pass() {
        use flate2::{Compression, write::GzEncoder};

        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        let mut packed = GzEncoder::new(Vec::new(), Compression::none());
        packed
            .write_all(&b"{\"text\":\"b\"}\n".repeat(50_000))
            .unwrap();
        let packed = packed.finish().unwrap();
        write(folder, "a", b"{\"text\":\"a\",\"id\":\"7\"}\n");
        write(folder, "b", &packed[..packed.len() - 9]);
        write(folder, "c", b"{\"text\":\"c\",\"id\":\"7\"}\n");
        let read = all(Replay::open(folder).unwrap().as_fast_as_possible().repeat());
        let kinds = read.iter().filter_map(|item| item.as_ref().err());
        assert!(kinds.map(Error::kind).eq([ErrorKind::File]));
        let last = read.last().unwrap().as_ref().unwrap();
        assert_eq!((&*last.text, &*last.id == "7"), ("c", false));
    }

    #[test]
    fn the_tweets_before_the_damage_of_a_small_file_are_read() {
        use flate2::{Compression, write::GzEncoder};

        let folder = tempfile::tempdir().unwrap();
        let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
        packed.write_all(&b"{\"text\":\"a\"}\n".repeat(3)).unwrap();
        let packed = packed.finish().unwrap();
        let path = write(folder.path(), "a.gz", &packed[..packed.len() - 5]);
        let read = all(Replay::open(&path).unwrap().as_fast_as_possible());
        let is_tweet: Vec<bool> = read.iter().map(Result::is_ok).collect();
        assert_eq!(is_tweet, [true, true, true, false]);
        let error = read[3].as_ref().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::File);
    }

    #[test]
    fn a_pipe_without_tweets_among_other_files_is_skipped() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = named_pipe(folder.path().join("b"));
        let first = write(folder.path(), "a", b"{\"text\":\"a\"}\n");
        let last = write(folder.path(), "c", b"{\"text\":\"c\"}\n");
        let replay = Replay::open_all([&first, &pipe, &last]).unwrap();
        let writer = std::thread::spawn(move || std::fs::write(pipe, "a,b\n1,2\n"));
        let read = shown(replay.as_fast_as_possible(), folder.path());
        writer.join().unwrap().unwrap();
        assert_eq!(read.len(), 3, "{read:?}");
        assert_eq!((&*read[0], &*read[2]), ("a", "c"));
    }

    #[test]
    fn the_error_is_about_the_table_whose_columns_may_be_named() {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), "a.txt", b"notes\n");
        write(folder.path(), "b.csv", &b"date,close\n1,2\n".repeat(10));
        let replay = Replay::open(folder.path()).unwrap();
        let read = shown(replay, folder.path());
        assert!(
            read[0].contains("b.csv") && read[0].contains("date, close"),
            "{read:?}"
        );
    }

    #[test]
    fn an_extreme_speed_of_a_table_without_times_does_not_panic() {
        let table = file(b"text\na\nb\n");
        let mut replay = Replay::open(table.path()).unwrap().speed(1e-21).unwrap();
        assert!(block_on(replay.next()).unwrap().is_ok());
        let second = async {
            let limit = Duration::from_millis(200);
            tokio::time::timeout(limit, replay.next()).await.is_err()
        };
        assert!(block_on(second), "it waits");
    }

    #[test]
    fn a_table_of_unknown_columns_is_an_error_until_they_are_named() {
        let file = file(b"when,what,who\n2021-01-05,I love it,ada\n");
        let mut replay = Replay::open(file.path()).unwrap();
        let error = block_on(replay.begin(Filter::default())).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::File);
        let error = error.to_string();
        assert!(
            error.contains("a table with commas and the columns when, what, who")
                && error.contains("--columns text=when"),
            "{error}"
        );
        let named = replay
            .columns("text=what,user=WHO,created_at=when")
            .unwrap();
        let tweet = all(named).remove(0).unwrap();
        assert_eq!((&*tweet.text, &*tweet.user), ("I love it", "ada"));
        assert_eq!(tweet.created_at.to_string(), "2021-01-05T00:00:00Z");
    }

    #[test]
    fn a_pipe_without_tweets_ends_the_stream_with_an_error() {
        // A pipe without data is read as an empty file.
        for (content, errors) in [("a,b\n1,2\n", vec![ErrorKind::Source]), ("", vec![])] {
            let folder = tempfile::tempdir().unwrap();
            let path = named_pipe(folder.path().join("pipe"));
            let replay = Replay::open(&path).unwrap();
            let writer = std::thread::spawn(move || std::fs::write(path, content));
            let read = all(replay);
            writer.join().unwrap().unwrap();
            let kinds = read.iter().map(|item| item.as_ref().unwrap_err().kind());
            assert_eq!(kinds.collect::<Vec<_>>(), errors);
        }
    }
}
