//! A file of lines that is only appended to. It contains whole lines only, even when the disk is full
//! or several programs append to it.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, Instant};

/// How long to wait for another program that has locked the file. It locks it for one write, unless it
/// is stopped.
const LOCK_LIMIT: Duration = Duration::from_secs(5);
const LOCK_PAUSE: Duration = Duration::from_millis(2);

pub(super) struct LineFile(File);

impl LineFile {
    /// Opens the file, and creates it if it does not exist.
    pub(super) fn open(path: &Path) -> io::Result<LineFile> {
        let mut options = OpenOptions::new();
        let file = options.create(true).append(true).read(true).open(path)?;
        Ok(LineFile(file))
    }

    /// Appends whole lines. If that fails, it removes the part that was written. The file is locked
    /// meanwhile, so that this does not remove lines of another program.
    ///
    /// # Errors
    /// [`TimedOut`](io::ErrorKind::TimedOut) if another program has locked the file for 5 seconds.
    pub(super) fn append(&mut self, lines: &[u8]) -> io::Result<()> {
        self.lock()?;
        let appended = self.append_locked(lines);
        // It fails for a file that cannot be locked.
        let _ = self.0.unlock();
        appended
    }

    fn lock(&self) -> io::Result<()> {
        let deadline = Instant::now() + LOCK_LIMIT;
        loop {
            match self.0.try_lock() {
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
        let length = self.0.metadata()?.len();
        self.end_line(length)
            .and_then(|()| self.0.write_all(lines))
            .inspect_err(|_| {
                // This fails for a device, which has no length.
                let _ = self.0.set_len(length);
            })
    }

    /// Ends a last line without a line end, which a crash may leave, so that it does not merge with the
    /// next line. A device and a pipe have the length 0.
    fn end_line(&mut self, length: u64) -> io::Result<()> {
        let Some(end) = length.checked_sub(1) else {
            return Ok(());
        };
        let mut last = [0];
        self.0.read_exact_at(&mut last, end)?;
        match last {
            [b'\n'] => Ok(()),
            _ => self.0.write_all(b"\n"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
