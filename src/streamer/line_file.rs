//! A file of JSON lines that is only ever added to, and in which only whole lines are left, also
//! when the disk is full.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;

pub(super) struct LineFile(File);

impl LineFile {
    /// Opens the file, which is made if it is not there. A last line without an end, which a crash
    /// may leave, gets one: it spoils itself only, and not the tweet that comes after it.
    pub(super) fn open(path: &Path) -> io::Result<LineFile> {
        let mut file = OpenOptions::new()
            .create(true)
            .append(true)
            .read(true)
            .open(path)?;
        if file.metadata()?.is_file() && file.metadata()?.len() > 0 {
            let mut last = [0];
            file.seek(SeekFrom::End(-1))?;
            file.read_exact(&mut last)?;
            if last != *b"\n" {
                file.write_all(b"\n")?;
            }
        }
        Ok(LineFile(file))
    }

    /// Adds whole lines, each with its end; what could not be written is taken back.
    pub(super) fn append(&mut self, lines: &[u8]) -> io::Result<()> {
        let whole = self.0.metadata()?.len();
        self.0.write_all(lines).inspect_err(|_| {
            // Where this fails too, the file is no file but a device.
            let _ = self.0.set_len(whole);
        })
    }
}
