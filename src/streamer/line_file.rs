//! A file of lines that is only appended to. It contains whole lines only, also when the disk is
//! full.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;

pub(super) struct LineFile(File);

impl LineFile {
    /// Opens the file, and creates it if it does not exist. A last line without a line end, which a
    /// crash may leave, gets one, so that it does not merge with the next line.
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

    /// Appends whole lines. If that fails, it removes the part that was written.
    pub(super) fn append(&mut self, lines: &[u8]) -> io::Result<()> {
        let length = self.0.metadata()?.len();
        self.0.write_all(lines).inspect_err(|_| {
            // This fails for a device, which has no length.
            let _ = self.0.set_len(length);
        })
    }
}
