//! Reads several files, one after the other, in the order of their paths.

use super::columns::Names;
use super::format::Item;
use super::input::Source;
use super::reader::{Failure, Reader};
use crate::error::{Error, ErrorKind, Result};
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::vec;
use tokio_util::sync::CancellationToken;

/// The files of a replay.
pub(super) struct Files {
    paths: Vec<PathBuf>,
    names: Names,
    /// Ends the reads of named pipes.
    stop: CancellationToken,
    /// The index of the current file in `paths`.
    index: usize,
    /// The number of bytes in the files before each file, and at the end the number in all files. A named
    /// pipe counts as 0 bytes.
    starts: Vec<u64>,
    /// The number of bytes that were read from the current file.
    read: Arc<AtomicU64>,
    /// The number of bytes before the next item, counted over all files.
    position: u64,
    /// The current file, if it is open.
    current: Option<Current>,
}

enum Current {
    /// A named pipe from which nothing was read. It may have no writer yet.
    Pipe(Source),
    File(Reader),
}

/// Items of one file.
#[derive(Default)]
pub(super) struct Items {
    pub(super) items: vec::IntoIter<Item>,
    /// The index of the file.
    pub(super) file: usize,
    /// The name of a record of the file, such as `line`.
    pub(super) unit: &'static str,
    /// Whether the tweets may have times.
    pub(super) has_times: bool,
    /// The positions of the first item and of the end of the last item, in bytes over all files.
    bytes: Range<u64>,
    /// The number of items at first.
    count: usize,
}

impl Items {
    /// Returns the number of bytes before the next item, counted over all files. The items of a batch have
    /// equal shares of its bytes.
    pub(super) fn bytes_read(&self) -> u64 {
        let taken = (self.count - self.items.len()) as f64;
        let length = (self.bytes.end - self.bytes.start) as f64;
        self.bytes.start + (length * taken / self.count.max(1) as f64) as u64
    }
}

impl Files {
    /// Lists the files. A folder stands for the files in it.
    ///
    /// # Errors
    /// [`ErrorKind::File`] if a path does not exist, or if there is no file.
    pub(super) fn list(paths: &[PathBuf], stop: &CancellationToken) -> Result<Files> {
        let mut all = Vec::new();
        for path in paths {
            let failed = |error| Error::file("open the replay file", path, &error);
            if std::fs::metadata(path).map_err(failed)?.is_dir() {
                all.extend(files_in(path).map_err(failed)?);
            } else {
                all.push(path.clone());
            }
        }
        all.sort();
        if all.is_empty() {
            let error = Error::new(
                ErrorKind::File,
                "failed to open the replay files: no file found",
            );
            return Err(error.with_hint("give a file of tweets, or a folder with such files"));
        }
        let size = |path: &PathBuf| match std::fs::metadata(path) {
            Ok(file) if file.is_file() => file.len(),
            _ => 0,
        };
        let mut starts = vec![0];
        for path in &all {
            starts.push(starts[starts.len() - 1] + size(path));
        }
        Ok(Files {
            starts,
            read: Arc::default(),
            position: 0,
            paths: all,
            names: Names::default(),
            stop: stop.clone(),
            index: 0,
            current: None,
        })
    }

    /// Opens the first file that has tweets, and returns why each file before it was skipped. If no file
    /// has tweets, this call returns the reason for each file, and no file is open.
    pub(super) fn open(&mut self, names: Names) -> Vec<Failure> {
        self.names = names;
        if self.index == 0 && matches!(self.current, Some(Current::Pipe(_))) {
            // Keep the pipe open. Otherwise its writer could end before the pipe is opened again.
            return Vec::new();
        }
        self.rewind();
        let mut failures = Vec::new();
        while self.index < self.paths.len() {
            match self.open_current() {
                Ok(current) => {
                    self.current = Some(current);
                    break;
                }
                Err(failure) => failures.push(failure),
            }
            self.index += 1;
        }
        failures
    }

    /// Returns whether a file is open.
    pub(super) fn is_open(&self) -> bool {
        self.current.is_some()
    }

    /// Returns the paths, in the order in which the files are read.
    pub(super) fn paths(&self) -> &[PathBuf] {
        &self.paths
    }

    /// Returns the size of all files, in bytes; `None` if one of them is a named pipe.
    pub(super) fn size(&self) -> Option<u64> {
        self.are_regular().then(|| self.starts[self.paths.len()])
    }

    fn open_current(&self) -> Result<Current, Failure> {
        self.read.store(0, Ordering::Relaxed);
        let source = Source::open(&self.paths[self.index], &self.stop)?;
        if source.is_pipe() {
            return Ok(Current::Pipe(source));
        }
        Reader::open(source, &self.names, &self.read).map(Current::File)
    }

    /// Reads the next part of the files, and decodes it if its format is decoded ahead. Otherwise the items are
    /// empty, and [`decode`](Files::decode) returns those of this part. Returns `None` at the end of the last
    /// file. This call blocks.
    ///
    /// # Errors
    /// After an error, the rest of the current file is skipped. The error is [`ErrorKind::NotATweet`] if
    /// the file has no tweets, and otherwise [`ErrorKind::File`]. If the only file is a named pipe without
    /// tweets, the error is [`ErrorKind::Source`], which ends the stream.
    pub(super) fn read(&mut self) -> Result<Option<Items>> {
        loop {
            if let Some(items) = self.decode() {
                return Ok(Some(items));
            }
            if !self.fill()? {
                return Ok(None);
            }
            if !self.is_decoded_ahead() {
                return Ok(Some(Items::default()));
            }
        }
    }

    /// Returns whether [`read`](Files::read) decodes the current file.
    pub(super) fn is_decoded_ahead(&self) -> bool {
        match &self.current {
            Some(Current::File(reader)) => reader.format().is_decoded_ahead(),
            _ => false,
        }
    }

    /// Decodes the next items of what was read. Returns `None` if more must be read.
    pub(super) fn decode(&mut self) -> Option<Items> {
        let Some(Current::File(reader)) = &mut self.current else {
            return None;
        };
        let items = reader.decode();
        let before = self.starts[self.index];
        let read = self.read.load(Ordering::Relaxed) as f64;
        // The estimate may decrease, because a decompressor buffers data. The position must not.
        let end = self
            .position
            .max(before + (read * reader.taken_share()) as u64);
        let start = std::mem::replace(&mut self.position, end);
        (!items.is_empty()).then(|| Items {
            bytes: start..end,
            count: items.len(),
            items: items.into_iter(),
            file: self.index,
            unit: reader.format().unit(),
            has_times: reader.format().has_times(),
        })
    }

    /// Reads the next part of the current file, or opens the next file. Returns false at the end of the last
    /// file.
    fn fill(&mut self) -> Result<bool> {
        let Some(path) = self.paths.get(self.index) else {
            return Ok(false);
        };
        let (opened, kind) = match self.current.take() {
            None => (self.open_current(), ErrorKind::NotATweet),
            Some(Current::Pipe(pipe)) => {
                let opened = Reader::open(pipe, &self.names, &self.read);
                // `Source` ends the stream, so other files could not be read after it.
                let kind = match self.paths.len() {
                    1 => ErrorKind::Source,
                    _ => ErrorKind::NotATweet,
                };
                (opened.map(Current::File), kind)
            }
            Some(Current::File(mut reader)) => match reader.fill() {
                Ok(true) => (Ok(Current::File(reader)), ErrorKind::File),
                Ok(false) => {
                    self.index += 1;
                    return Ok(true);
                }
                Err(error) => (Err(error.into()), ErrorKind::File),
            },
        };
        match opened {
            Ok(current) => self.current = Some(current),
            Err(failure) => {
                let error = failure.error(kind, path);
                self.index += 1;
                return Err(error);
            }
        }
        Ok(true)
    }

    /// Starts again with the first file. Returns false if a named pipe is among the files, because it can be
    /// read only once.
    pub(super) fn rewind(&mut self) -> bool {
        (self.index, self.position, self.current) = (0, 0, None);
        self.are_regular()
    }

    fn are_regular(&self) -> bool {
        let is_file = |path: &PathBuf| std::fs::metadata(path).is_ok_and(|data| data.is_file());
        self.paths.iter().all(is_file)
    }
}

/// Returns the files in a folder, without hidden ones and subfolders.
fn files_in(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let is_hidden = entry.file_name().as_encoded_bytes().starts_with(b".");
        if !is_hidden && std::fs::metadata(entry.path())?.is_file() {
            files.push(entry.path());
        }
    }
    Ok(files)
}
