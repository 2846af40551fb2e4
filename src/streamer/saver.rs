//! The file of streamed tweets, one JSON object a line, for [`Replay`](crate::source::Replay).
//!
//! A thread of its own writes it, so that a slow disk is not in the stream's way. At the first
//! failure it says so and writes no more, and the stream goes on.

use super::line_file::LineFile;
use crate::runtime::locked;
use crate::{Error, Result};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::sync::mpsc;

/// How many lines wait for the disk, at most.
const QUEUE: usize = 10_000;
/// How much is written at once, at most, in bytes.
const BLOCK: usize = 256 * 1024;
/// A disk that takes nothing for so long has failed.
const PATIENCE: Duration = Duration::from_secs(5);

pub(super) struct Saver {
    path: PathBuf,
    lines: Option<mpsc::Sender<Vec<u8>>>,
    thread: Option<JoinHandle<()>>,
    trouble: Arc<Mutex<Option<String>>>,
}

impl Saver {
    /// Opens the file for appending and starts its thread.
    pub(super) fn open(path: PathBuf) -> Result<Saver> {
        let failed = |source| Error::File {
            tried: "opened the file for streamed tweets",
            path: path.clone(),
            source,
        };
        let file = LineFile::open(&path).map_err(failed)?;
        let (sender, lines) = mpsc::channel(QUEUE);
        let trouble = Arc::new(Mutex::new(None));
        let writer = Writer {
            path: path.clone(),
            file,
            trouble: trouble.clone(),
        };
        let thread = std::thread::Builder::new()
            .name("saver".into())
            .spawn(move || writer.run(lines))
            .map_err(failed)?;
        Ok(Saver {
            path,
            lines: Some(sender),
            thread: Some(thread),
            trouble,
        })
    }

    /// Hands a line over, without its end. It waits only where the disk is slower than the stream.
    pub(super) async fn save(&mut self, line: &[u8]) {
        let Some(lines) = &self.lines else { return };
        let handed = tokio::time::timeout(PATIENCE, lines.send(line.to_vec())).await;
        if !matches!(handed, Ok(Ok(()))) {
            self.lines = None;
            if handed.is_err() {
                let seconds = PATIENCE.as_secs();
                let reason = format!("the disk took nothing for {seconds} s");
                locked(&self.trouble).get_or_insert(stopped(&self.path, &reason));
                // A thread that hangs in the disk must not hold the stream's end up.
                self.thread = None;
            }
        }
    }

    /// Why tweets are no longer saved, if that is so and was not asked for before.
    pub(super) fn trouble(&self) -> Option<String> {
        locked(&self.trouble).take()
    }

    /// Waits until all that was handed over is in the file; returns what went wrong, if anything
    /// did.
    pub(super) fn close(mut self) -> Option<String> {
        self.lines = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        self.trouble()
    }
}

fn stopped(path: &Path, reason: &str) -> String {
    format!("tweets are no longer saved to {}: {reason}", path.display())
}

struct Writer {
    path: PathBuf,
    file: LineFile,
    trouble: Arc<Mutex<Option<String>>>,
}

impl Writer {
    fn run(mut self, mut lines: mpsc::Receiver<Vec<u8>>) {
        let mut block = Vec::new();
        while let Some(line) = lines.blocking_recv() {
            block.extend(line);
            block.push(b'\n');
            while block.len() < BLOCK
                && let Ok(line) = lines.try_recv()
            {
                block.extend(line);
                block.push(b'\n');
            }
            if let Err(error) = self.file.append(&block) {
                *locked(&self.trouble) = Some(stopped(&self.path, &error.to_string()));
                return;
            }
            block.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::runtime;

    fn save(path: &Path, lines: &[&str]) -> Option<String> {
        let mut saver = Saver::open(path.to_path_buf()).unwrap();
        runtime().block_on(async {
            for line in lines {
                saver.save(line.as_bytes()).await;
            }
        });
        saver.close()
    }

    #[test]
    fn a_file_is_appended_to_and_a_cut_line_gets_its_end() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "old\ncut").unwrap();
        assert_eq!(save(file.path(), &["one", "two"]), None);
        assert_eq!(save(file.path(), &["three"]), None);
        let text = std::fs::read_to_string(file.path()).unwrap();
        assert_eq!(text, "old\ncut\none\ntwo\nthree\n");
    }

    #[test]
    fn a_full_disk_is_told() {
        let trouble = save(Path::new("/dev/full"), &["one", "two"]).unwrap();
        assert!(
            trouble.contains("no longer saved to /dev/full"),
            "{trouble}"
        );
    }

    #[test]
    fn a_folder_that_is_not_there_is_refused() {
        let error = Saver::open("/no/such/folder/file".into())
            .err()
            .unwrap()
            .to_string();
        assert!(error.contains("/no/such/folder/file"), "{error}");
    }
}
