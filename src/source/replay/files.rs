//! Reads several files, one after the other, in the order of their names.

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
    /// The position of the current file.
    index: usize,
    /// The bytes of all files before each file, and at the end those of all files. A named pipe counts 0.
    starts: Vec<u64>,
    /// How many bytes of the current file were read.
    read: Arc<AtomicU64>,
    /// The bytes of all files before the next item.
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
    /// The position of the file.
    pub(super) file: usize,
    /// What a record of the file is called, such as `line`.
    pub(super) unit: &'static str,
    /// Whether the tweets may have times.
    pub(super) has_times: bool,
    /// The bytes of all files before the first item, and after the last one.
    bytes: Range<u64>,
    count: usize,
}

impl Items {
    /// Returns the bytes of all files before the next item. Within a batch, each item counts the same.
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

    /// Opens the first file that has tweets, and returns why the files before it have none. If no file has
    /// tweets, it returns the reasons of all files, and no file is open.
    pub(super) fn open(&mut self, names: Names) -> Vec<Failure> {
        self.names = names;
        if self.index == 0 && matches!(self.current, Some(Current::Pipe(_))) {
            // If the pipe was closed and opened again, its writer could end in between.
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

    /// Decodes the next items of what was read. Returns `None` if [`fill`](Files::fill) must read more.
    pub(super) fn decode(&mut self) -> Option<Items> {
        let Some(Current::File(reader)) = &mut self.current else {
            return None;
        };
        let items = reader.decode();
        let before = self.starts[self.index];
        let read = self.read.load(Ordering::Relaxed) as f64;
        // The share may become smaller, because a decoder may keep text of its own.
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
    /// file. It blocks.
    ///
    /// # Errors
    /// The rest of the current file is skipped. [`ErrorKind::File`] if it cannot be read, and
    /// [`ErrorKind::NotATweet`] if it has no tweets. [`ErrorKind::Source`] for a named pipe without tweets: the
    /// stream has not begun.
    pub(super) fn fill(&mut self) -> Result<bool> {
        let Some(path) = self.paths.get(self.index) else {
            return Ok(false);
        };
        let (opened, kind) = match self.current.take() {
            None => (self.open_current(), ErrorKind::NotATweet),
            Some(Current::Pipe(pipe)) => {
                let opened = Reader::open(pipe, &self.names, &self.read);
                // The stream ends with this error, so it must be the only file.
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
