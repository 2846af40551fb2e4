//! Reads the items of a file: finds the format, and then decodes the text part by part.

use super::columns::Names;
use super::format::{Format, Item};
use super::input::{READ_BUFFER, Source};
use super::sample::{NoTweets, Sample};
use crate::error::{Error, ErrorKind};
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

/// The minimum size of the part that is examined, in bytes of text. Without a complete record in it, a
/// larger part is examined.
const SAMPLE: usize = 64 * 1024;
/// The number of records that the stream decodes at once. With a small batch, the allocator reuses the memory
/// of the last strings.
const SMALL_BATCH: usize = 4;
/// The number of records that are decoded ahead at once. It bounds the memory for the items of short records.
const LARGE_BATCH: usize = 4_096;

/// The text of a file, and its format.
pub(super) struct Reader {
    input: Box<dyn Read + Send>,
    format: Box<dyn Format>,
    /// The text that was read. The part that is not decoded yet begins at `taken`.
    text: Vec<u8>,
    taken: usize,
    /// The size of all text that was read so far, in bytes.
    read: u64,
    is_end: bool,
    /// The error that came after the first part. The part before it is still decoded.
    failure: Option<io::Error>,
}

/// Why a file cannot be read.
#[derive(Debug)]
pub(super) enum Failure {
    Io(io::Error),
    NoTweets(NoTweets),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Failure {
        Failure::Io(error)
    }
}

impl Failure {
    /// Returns whether it may help to name the columns.
    pub(super) fn is_table(&self) -> bool {
        matches!(self, Failure::NoTweets(file) if file.is_table())
    }

    /// Returns the error for a file. `kind` is the kind of the error if the file has no tweets.
    pub(super) fn error(&self, kind: ErrorKind, path: &Path) -> Error {
        match self {
            Failure::Io(error) => Error::file("read the replay file", path, error),
            Failure::NoTweets(file) => file.error(kind, path),
        }
    }
}

impl Reader {
    /// Reads the first part of a file, and finds its format. This call blocks. It reads from a named pipe
    /// only until it has found a tweet.
    pub(super) fn open(
        source: Source,
        names: &Names,
        taken: &Arc<AtomicU64>,
    ) -> Result<Reader, Failure> {
        let is_pipe = source.is_pipe();
        Reader::new(source.text(taken)?, is_pipe, names)
    }

    /// Reads the first part of a decoded text, and finds its format. `is_live` says that the text comes
    /// from a named pipe.
    pub(super) fn new(
        mut input: Box<dyn Read + Send>,
        is_live: bool,
        names: &Names,
    ) -> Result<Reader, Failure> {
        let (mut text, mut is_end, mut size) = (Vec::new(), false, SAMPLE);
        let (mut failure, mut examined) = (None, 0);
        loop {
            while !is_end && failure.is_none() && text.len() < size {
                match read(&mut input, &mut text) {
                    Ok(more) => is_end = !more,
                    Err(error) => failure = Some(error),
                }
                if is_live {
                    break;
                }
            }
            // A long record of a named pipe comes in hundreds of parts. Do not examine it after each part.
            let is_complete = is_end || failure.is_some() || text[examined..].contains(&b'\n');
            if is_live && !is_complete && text.len() < 2 * examined {
                continue;
            }
            examined = text.len();
            let text_so_far = Sample {
                text: &text,
                is_end,
            };
            if let Some(format) = text_so_far.format(names) {
                return Ok(Reader {
                    input,
                    format,
                    read: text.len() as u64,
                    text,
                    taken: 0,
                    is_end,
                    failure,
                });
            }
            if let Some(error) = failure {
                return Err(error.into());
            }
            if is_end || text.len() >= size && !text_so_far.has_no_record() {
                return Err(Failure::NoTweets(text_so_far.no_tweets()));
            }
            if text.len() >= size {
                size *= 2;
            }
        }
    }

    pub(super) fn format(&self) -> &dyn Format {
        &*self.format
    }

    /// Returns the part of the text so far that the items have taken, from 0 to 1.
    pub(super) fn taken_share(&self) -> f64 {
        let left = (self.text.len() - self.taken) as f64;
        1.0 - left / self.read.max(1) as f64
    }

    /// Decodes the next records of what was read. The list is empty if more of the file must be read, and at
    /// the end of the file.
    pub(super) fn decode(&mut self) -> Vec<Item> {
        let mut items = Vec::new();
        let limit = match self.format.is_decoded_ahead() {
            true => LARGE_BATCH,
            false => SMALL_BATCH,
        };
        loop {
            let text = &self.text[self.taken..];
            let taken = self.format.take(text, self.is_end, limit, &mut items);
            self.taken += taken;
            // Not every record has an item: a line may be empty.
            if taken == 0 || !items.is_empty() {
                return items;
            }
        }
    }

    /// Reads the next part of the file. Returns false at its end. This call blocks. Do not call it again
    /// after an error.
    pub(super) fn fill(&mut self) -> io::Result<bool> {
        if let Some(error) = self.failure.take() {
            return Err(error);
        }
        if !self.is_end {
            self.text.drain(..std::mem::take(&mut self.taken));
            let kept = self.text.len();
            self.is_end = !read(&mut self.input, &mut self.text)?;
            self.read += (self.text.len() - kept) as u64;
            return Ok(true);
        }
        Ok(false)
    }
}

/// Appends a part of a text. Returns false at its end.
fn read(input: &mut impl Read, text: &mut Vec<u8>) -> io::Result<bool> {
    let before = text.len();
    text.resize(before + READ_BUFFER, 0);
    let count = loop {
        match input.read(&mut text[before..]) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => break result,
        }
    };
    text.truncate(before + *count.as_ref().unwrap_or(&0));
    Ok(count? > 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::replay::format::Content;
    use crate::tweet::Skip;
    use std::io::Cursor;

    fn open(text: Vec<u8>) -> Result<Reader, Failure> {
        Reader::new(Box::new(Cursor::new(text)), false, &Names::default())
    }

    fn read(mut reader: Reader) -> Vec<Content> {
        let mut all = Vec::new();
        loop {
            let items = reader.decode();
            if items.is_empty() && !reader.fill().unwrap() {
                return all;
            }
            assert!(reader.text.capacity() <= 4 * READ_BUFFER, "bounded memory");
            all.extend(items.into_iter().map(|item| item.content));
        }
    }

    #[test]
    fn a_long_first_record_is_examined_in_full() {
        let post = |id: usize| format!("{{\"id\":\"{id}\",\"text\":\"{}\"}}", "x".repeat(2_000));
        let posts: Vec<String> = (0..500).map(post).collect();
        let page = format!("{{\"data\":[{}],\"meta\":{{}}}}\n", posts.join(","));
        assert!(page.len() > SAMPLE);
        let mut reader = open(page.into_bytes()).unwrap();
        assert_eq!(reader.decode().len(), 500);
    }

    #[test]
    fn only_the_first_part_of_a_file_without_tweets_is_read() {
        struct Endless(&'static [u8], usize);
        impl Read for Endless {
            fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                self.1 += buffer.len();
                assert!(self.1 < 64 << 20, "too much is read");
                buffer
                    .iter_mut()
                    .zip(self.0.iter().cycle())
                    .for_each(|(to, from)| *to = *from);
                Ok(buffer.len())
            }
        }
        for pattern in [
            &b"a,b\n"[..],
            b"x",
            b"[1,",
            b"{\"a\":",
            b"{\"a\":1}\n",
            b"\"",
            b"[[[[",
        ] {
            let endless = Box::new(Endless(pattern, 0));
            let failure = Reader::new(endless, false, &Names::default()).err();
            assert!(matches!(failure, Some(Failure::NoTweets(_))), "{pattern:?}");
        }
    }

    #[test]
    fn every_record_of_a_long_file_is_read_in_bounded_memory() {
        let line = "{\"text\":\"a\"}\nbad\n";
        let items = read(open(line.repeat(100_000).into_bytes()).unwrap());
        assert_eq!(items.len(), 200_000);
        let bad = items
            .iter()
            .filter(|item| **item == Content::Skipped(Skip::NotJson));
        assert_eq!(bad.count(), 100_000);
        let array = format!("[{}]", vec!["{\"text\":\n\"a\"}"; 100_000].join(",\n"));
        assert_eq!(read(open(array.into_bytes()).unwrap()).len(), 100_000);
        let table = format!("text,user\n{}", "\"a\nb\",ada\n".repeat(100_000));
        assert_eq!(read(open(table.into_bytes()).unwrap()).len(), 100_000);
    }
}
