//! Append-only files of lines, and a check of the permissions of files that contain secrets.

use crate::error::Result;
use crate::task::background::Background;
use crate::task::locked;
use std::collections::VecDeque;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::task::block_in_place;

/// The maximum number of blocks that wait for the disk.
const QUEUE_BLOCKS: usize = 16;
/// The maximum size of a block of lines, in bytes. A line that is longer is a block alone.
const BLOCK: usize = 256 * 1024;
/// How long to wait for another program that has locked the file. A program locks the file only while it
/// writes a block.
const LOCK_LIMIT: Duration = Duration::from_secs(5);
const LOCK_PAUSE: Duration = Duration::from_millis(2);

/// Appends lines to a file on its own thread. The lines reach the thread through a short queue. Adding a
/// line waits for the disk only when the queue is full. After the first error, no lines are added.
pub(crate) struct LineWriter {
    shared: Arc<WriterShared>,
    thread: Background,
}

struct WriterShared {
    state: Mutex<WriterState>,
    /// Notified when a block is added or written, and when `is_closed` or `error` is set.
    changed: Condvar,
    limit: Duration,
    failure: String,
}

#[derive(Default)]
struct WriterState {
    waiting: VecDeque<Vec<u8>>,
    is_writing: bool,
    /// How often the thread has asked for a block. If this number grows, the disk makes progress.
    requests: u64,
    path: Option<PathBuf>,
    error: Option<String>,
    is_closed: bool,
}

impl LineWriter {
    /// Starts the thread, which calls `open` when the first line is added. If the disk makes no progress for
    /// `limit`, the file has failed. Every error message begins with `failure`.
    pub(crate) fn new(
        failure: String,
        limit: Duration,
        open: impl FnOnce() -> io::Result<LineFile> + Send + 'static,
    ) -> LineWriter {
        let shared = Arc::new(WriterShared {
            state: Mutex::default(),
            changed: Condvar::new(),
            limit,
            failure,
        });
        let writing = shared.clone();
        let thread = Background::spawn_blocking("file writer", move |_| {
            if let Err(error) = writing.write_all(open) {
                writing.fail(&mut locked(&writing.state), &error.to_string());
            }
        });
        LineWriter { shared, thread }
    }

    /// Adds a line, which is given without its line end. Blocks while the queue is full.
    ///
    /// # Errors
    /// The error message if the file has failed. The line is then not added.
    pub(crate) fn add(&self, line: &[u8]) -> Result<(), String> {
        let mut state = self
            .shared
            .wait_until(|state| state.waiting.len() < QUEUE_BLOCKS);
        if let Some(error) = &state.error {
            return Err(error.clone());
        }
        let last = state.waiting.back_mut();
        match last.filter(|block| block.len() + line.len() < BLOCK) {
            Some(block) => {
                block.extend(line);
                block.push(b'\n');
            }
            None => {
                state.waiting.push_back([line, b"\n"].concat());
                self.shared.changed.notify_all();
            }
        }
        Ok(())
    }

    /// Returns the path of the file if it is open, and the error message if the file has failed.
    pub(crate) fn status(&self) -> (Option<PathBuf>, Option<String>) {
        let state = locked(&self.shared.state);
        (state.path.clone(), state.error.clone())
    }

    /// Blocks until every line is written or the file has failed. Returns the error message in the second
    /// case.
    pub(crate) fn finish(&self) -> Option<String> {
        let is_done = |state: &WriterState| state.waiting.is_empty() && !state.is_writing;
        let error = self.shared.wait_until(is_done).error.clone();
        self.thread.panic().map(|panic| panic.to_string()).or(error)
    }
}

impl Drop for LineWriter {
    fn drop(&mut self) {
        locked(&self.shared.state).is_closed = true;
        self.shared.changed.notify_all();
    }
}

impl WriterShared {
    /// Blocks until the condition is met or the file has failed.
    fn wait_until(&self, is_met: impl Fn(&WriterState) -> bool) -> MutexGuard<'_, WriterState> {
        let state = locked(&self.state);
        if is_met(&state) {
            return state;
        }
        drop(state);
        // tokio moves the other tasks of this thread to another thread.
        block_in_place(|| {
            let mut state = locked(&self.state);
            while !is_met(&state) && state.error.is_none() {
                let before = state.requests;
                let is_same =
                    |state: &mut WriterState| state.requests == before && state.error.is_none();
                let waited = self
                    .changed
                    .wait_timeout_while(state, self.limit, is_same)
                    .unwrap_or_else(PoisonError::into_inner);
                state = waited.0;
                if waited.1.timed_out() {
                    let seconds = self.limit.as_secs();
                    self.fail(
                        &mut state,
                        &format!("the disk wrote nothing for {seconds} s"),
                    );
                }
            }
            state
        })
    }

    fn fail(&self, state: &mut WriterState, reason: &str) {
        let failure = &self.failure;
        state
            .error
            .get_or_insert_with(|| format!("{failure}: {reason}"));
        self.changed.notify_all();
    }

    /// Writes blocks until the writer is dropped and the queue is empty.
    fn write_all(&self, open: impl FnOnce() -> io::Result<LineFile>) -> io::Result<()> {
        let mut next = self.next_block();
        if next.is_none() {
            return Ok(());
        }
        let mut file = open()?;
        locked(&self.state).path = Some(file.path.clone());
        while let Some(block) = next {
            file.append(&block)?;
            next = self.next_block();
        }
        Ok(())
    }

    /// Waits for the next block. Returns `None` after the last one.
    fn next_block(&self) -> Option<Vec<u8>> {
        let mut state = locked(&self.state);
        state.is_writing = false;
        state.requests += 1;
        self.changed.notify_all();
        let is_idle = |state: &mut WriterState| state.waiting.is_empty() && !state.is_closed;
        let waited = self.changed.wait_while(state, is_idle);
        let mut state = waited.unwrap_or_else(PoisonError::into_inner);
        let block = state.waiting.pop_front();
        state.is_writing = block.is_some();
        block
    }
}

/// A file of lines. It contains only complete lines, even if the disk is full or several programs append to
/// it.
pub(crate) struct LineFile {
    file: File,
    path: PathBuf,
}

impl LineFile {
    /// Opens the file, and creates it if it does not exist.
    pub(crate) fn open(path: &Path) -> io::Result<LineFile> {
        let mut options = OpenOptions::new();
        let file = options.create(true).append(true).read(true).open(path)?;
        let path = path.to_path_buf();
        Ok(LineFile { file, path })
    }

    /// Appends complete lines. If this fails, it removes the part that was written. A lock on the file
    /// prevents it from removing lines of another program.
    ///
    /// # Errors
    /// [`TimedOut`](io::ErrorKind::TimedOut) if another program has locked the file for 5 seconds.
    fn append(&mut self, lines: &[u8]) -> io::Result<()> {
        self.lock()?;
        let appended = self.append_locked(lines);
        // Unlocking fails for a file that cannot be locked.
        let _ = self.file.unlock();
        appended
    }

    fn lock(&self) -> io::Result<()> {
        let deadline = Instant::now() + LOCK_LIMIT;
        loop {
            match self.file.try_lock() {
                Ok(()) => return Ok(()),
                // Some devices, pipes and file systems have no locks.
                Err(TryLockError::Error(_)) => return Ok(()),
                Err(TryLockError::WouldBlock) if Instant::now() < deadline => {
                    std::thread::sleep(LOCK_PAUSE);
                }
                Err(TryLockError::WouldBlock) => {
                    let seconds = LOCK_LIMIT.as_secs();
                    let reason = format!("another program has locked the file for {seconds} s");
                    return Err(io::Error::new(io::ErrorKind::TimedOut, reason));
                }
            }
        }
    }

    fn append_locked(&mut self, lines: &[u8]) -> io::Result<()> {
        let length = self.file.metadata()?.len();
        self.end_line(length)
            .and_then(|()| self.file.write_all(lines))
            .inspect_err(|_| {
                // Truncating fails for a device, which has no length.
                let _ = self.file.set_len(length);
            })
    }

    /// Adds a line end if the last line has none. A crash may leave such a line, and the next line would
    /// become a part of it. The length of a device or a pipe is 0.
    fn end_line(&mut self, length: u64) -> io::Result<()> {
        let mut last = [b'\n'];
        if let Some(end) = length.checked_sub(1) {
            self.file.read_exact_at(&mut last, end)?;
        }
        if last != [b'\n'] {
            self.file.write_all(b"\n")?;
        }
        Ok(())
    }
}

/// Logs a warning if users other than the owner can read the file.
pub(crate) fn warn_if_others_can_read(path: &Path) {
    let others = std::fs::metadata(path).is_ok_and(|data| data.permissions().mode() & 0o077 != 0);
    if others {
        let path = path.display();
        tracing::warn!(%path, "other users can read the file: run chmod 600 {path}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{BufRead, BufReader};

    const LIMIT: Duration = Duration::from_secs(30);

    fn save(path: &Path, lines: &[&str]) -> Option<String> {
        let file = LineFile::open(path).unwrap();
        let writer = LineWriter::new("not saved".into(), LIMIT, || Ok(file));
        for line in lines {
            writer.add(line.as_bytes()).unwrap();
        }
        writer.finish()
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
        let error = save(Path::new("/dev/full"), &["one"]).unwrap();
        assert!(error.starts_with("not saved: "), "{error}");
    }

    #[test]
    fn a_slow_disk_delays_lines_and_loses_none() {
        // A named pipe with a slow reader represents the disk. It blocks the writer when it is full.
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pipe");
        let made = std::process::Command::new("mkfifo").arg(&path).status();
        assert!(made.unwrap().success());
        const LINES: usize = 1_000;
        let pipe = path.clone();
        let reader = std::thread::spawn(move || {
            let mut lines = BufReader::new(std::fs::File::open(pipe).unwrap()).lines();
            let mut number = 0;
            while number < LINES {
                lines.next().unwrap().unwrap();
                number += 1;
                if number % 10 == 0 {
                    std::thread::sleep(Duration::from_millis(20));
                }
            }
            number
        });
        let open = move || LineFile::open(&path);
        let writer = LineWriter::new("not saved".into(), LIMIT, open);
        // The lines are larger than the queue.
        let line = "x".repeat(20_000);
        for _ in 0..LINES {
            writer.add(line.as_bytes()).unwrap();
            // Reading the status does not wait for the disk.
            writer.status();
        }
        assert_eq!(writer.finish(), None);
        assert_eq!(reader.join().unwrap(), LINES);
    }

    #[test]
    fn a_disk_that_writes_nothing_is_given_up() {
        let hanging = Arc::new(Mutex::new(()));
        let disk = locked(&hanging);
        let open = {
            let hanging = hanging.clone();
            move || {
                drop(locked(&hanging));
                Err(io::ErrorKind::NotFound.into())
            }
        };
        let limit = Duration::from_millis(50);
        let writer = LineWriter::new("not saved".into(), limit, open);
        writer.add(b"one").unwrap();
        let error = writer.finish().unwrap();
        assert!(
            error.starts_with("not saved: the disk wrote nothing"),
            "{error}"
        );
        assert_eq!(writer.add(b"two"), Err(error));
        drop(disk);
    }

    #[test]
    fn nothing_is_appended_while_another_program_has_locked_the_file() {
        let path = tempfile::NamedTempFile::new().unwrap().into_temp_path();
        let mut lines = LineFile::open(&path).unwrap();
        let mut other = OpenOptions::new().append(true).open(&path).unwrap();
        other.lock().unwrap();
        other.write_all(b"the half of").unwrap();
        let error = lines.append(b"one\n").unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        other.write_all(b" a line\n").unwrap();
        other.unlock().unwrap();
        lines.append(b"two\n").unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(text, "the half of a line\ntwo\n");
    }

    #[test]
    fn a_cut_line_of_another_program_gets_its_end() {
        let path = tempfile::NamedTempFile::new().unwrap().into_temp_path();
        let mut lines = LineFile::open(&path).unwrap();
        lines.append(b"one\n").unwrap();
        let mut other = OpenOptions::new().append(true).open(&path).unwrap();
        other.write_all(b"cut").unwrap();
        lines.append(b"two\n").unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(text, "one\ncut\ntwo\n");
    }
}
