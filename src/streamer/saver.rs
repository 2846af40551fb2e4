//! The file of streamed tweets, one JSON object per line, for [`Replay`](crate::source::Replay).
//!
//! A thread writes it, so that a slow disk does not slow the stream. After the first failure the
//! thread reports it and writes no more, and the stream continues.

use super::line_file::LineFile;
use crate::task::background::Background;
use crate::task::queue::{self, Receiver, Sender};
use crate::task::{block_on, locked};
use crate::{Error, Result};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// How many lines wait for the disk at most, and how many bytes.
const QUEUE_LINES: usize = 10_000;
const QUEUE_BYTES: usize = 16 * 1024 * 1024;
/// How much is written at once at most, in bytes.
const BLOCK: usize = 256 * 1024;
/// A disk that accepts nothing for this long has failed.
const DISK_LIMIT: Duration = Duration::from_secs(5);

pub(super) struct Saver {
    path: PathBuf,
    lines: Option<Sender<Vec<u8>>>,
    thread: Option<Background>,
    error: Arc<Mutex<Option<String>>>,
}

impl Saver {
    /// Opens the file for appending, and starts the thread.
    pub(super) fn open(path: PathBuf) -> Result<Saver> {
        let file = LineFile::open(&path).map_err(|source| Error::File {
            action: "open the file for streamed tweets",
            path: path.clone(),
            source,
        })?;
        let (sender, lines) = queue::bounded(QUEUE_LINES, QUEUE_BYTES);
        let error = Arc::new(Mutex::new(None));
        let writer = Writer {
            path: path.clone(),
            file,
            error: error.clone(),
        };
        Ok(Saver {
            path,
            lines: Some(sender),
            thread: Some(Background::spawn_blocking("saver", move |_| {
                writer.run(lines)
            })),
            error,
        })
    }

    /// Passes a line to the thread, without its line end. It waits while the disk is slower than the
    /// stream.
    pub(super) async fn save(&mut self, line: &[u8]) {
        let Some(lines) = &self.lines else { return };
        let sent = lines.send(line.to_vec(), line.len());
        let sent = tokio::time::timeout(DISK_LIMIT, sent).await;
        if !matches!(sent, Ok(Ok(()))) {
            self.lines = None;
            if sent.is_err() {
                let seconds = DISK_LIMIT.as_secs();
                let reason = format!("the disk accepted nothing for {seconds} s");
                locked(&self.error).get_or_insert(stopped(&self.path, &reason));
                // Do not wait for a thread that hangs in the disk.
                self.thread = None;
            }
        }
    }

    /// Returns why tweets are no longer saved, once.
    pub(super) fn take_error(&self) -> Option<String> {
        locked(&self.error).take()
    }

    /// Blocks until every line is in the file. Returns the error, if there was one.
    pub(super) fn close(mut self) -> Option<String> {
        self.lines = None;
        if let Some(thread) = self.thread.take() {
            block_on(thread.ended());
            if let Some(panic) = thread.panic() {
                return Some(stopped(&self.path, &panic.to_string()));
            }
        }
        self.take_error()
    }
}

fn stopped(path: &Path, reason: &str) -> String {
    format!("tweets are no longer saved to {}: {reason}", path.display())
}

struct Writer {
    path: PathBuf,
    file: LineFile,
    error: Arc<Mutex<Option<String>>>,
}

impl Writer {
    fn run(mut self, mut lines: Receiver<Vec<u8>>) {
        let mut block = Vec::new();
        while let Some(line) = lines.blocking_recv() {
            block.extend(line);
            block.push(b'\n');
            while block.len() < BLOCK
                && let Some(line) = lines.try_recv()
            {
                block.extend(line);
                block.push(b'\n');
            }
            if let Err(error) = self.file.append(&block) {
                *locked(&self.error) = Some(stopped(&self.path, &error.to_string()));
                return;
            }
            block.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn save(path: &Path, lines: &[&str]) -> Option<String> {
        let mut saver = Saver::open(path.to_path_buf()).unwrap();
        block_on(async {
            for line in lines {
                saver.save(line.as_bytes()).await;
            }
        });
        saver.close()
    }

    #[test]
    fn lines_are_appended_and_a_cut_line_gets_its_end() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "old\ncut").unwrap();
        assert_eq!(save(file.path(), &["one", "two"]), None);
        assert_eq!(save(file.path(), &["three"]), None);
        let text = std::fs::read_to_string(file.path()).unwrap();
        assert_eq!(text, "old\ncut\none\ntwo\nthree\n");
    }

    #[test]
    fn a_full_disk_is_reported() {
        let error = save(Path::new("/dev/full"), &["one", "two"]).unwrap();
        assert!(error.contains("no longer saved to /dev/full"), "{error}");
    }

    #[test]
    fn a_missing_folder_is_rejected() {
        let error = Saver::open("/no/such/folder/file".into())
            .err()
            .unwrap()
            .to_string();
        assert!(error.contains("/no/such/folder/file"), "{error}");
    }
}
