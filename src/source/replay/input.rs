//! Reads a file or a named pipe as text: decompresses it, decodes UTF-16, and removes a byte order mark.
//!
//! The content decides, not the name. The first bytes show whether the data is compressed: gzip (RFC
//! 1952), Zstandard (RFC 8878), or bzip2. The first bytes of the decompressed data show whether it is
//! UTF-16, which becomes UTF-8. Any other text is passed on as it is. Each of its records is decoded
//! separately ([`text`]), because the first part of a long file in Latin-1 is often ASCII.

use crate::task::runtime;
use bzip2::bufread::MultiBzDecoder;
use encoding_rs::{Decoder, UTF_16BE, UTF_16LE, WINDOWS_1252};
use flate2::bufread::MultiGzDecoder;
use std::borrow::Cow;
use std::fs::File;
use std::io::{self, BufRead, Cursor, Read};
use std::os::unix::fs::FileTypeExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::net::unix::pipe;
use tokio_util::sync::CancellationToken;

/// How much of a file is read at once, in bytes.
pub(super) const READ_BUFFER: usize = 1024 * 1024;

type Bytes = Box<dyn Read + Send>;

/// A file or a named pipe. Opening it does not read from it.
pub(super) enum Source {
    File(File),
    Pipe(Pipe),
}

impl Source {
    /// Opens a file or a named pipe. `stop` ends the reads of a pipe.
    pub(super) fn open(path: &Path, stop: &CancellationToken) -> io::Result<Source> {
        if !std::fs::metadata(path)?.file_type().is_fifo() {
            return File::open(path).map(Source::File);
        }
        // Opening and reading a pipe as a file would block until a program writes to it.
        let _context = runtime().enter();
        Ok(Source::Pipe(Pipe {
            receiver: pipe::OpenOptions::new().open_receiver(path)?,
            stop: stop.clone(),
        }))
    }

    pub(super) fn is_pipe(&self) -> bool {
        matches!(self, Source::Pipe(_))
    }

    /// Reads the first bytes, and returns the text. `taken` counts the bytes of the source that became text.
    pub(super) fn text(self, taken: &Arc<AtomicU64>) -> io::Result<Bytes> {
        match self {
            Source::File(file) => decode(Box::new(file), taken),
            Source::Pipe(pipe) => decode(Box::new(pipe), taken),
        }
    }
}

/// A named pipe. Its data comes from its first writer to its last.
pub(super) struct Pipe {
    receiver: pipe::Receiver,
    stop: CancellationToken,
}

impl Read for Pipe {
    /// Reads data, and blocks until data comes. After a stop, the pipe is at its end.
    ///
    /// # Panics
    /// If it is called from async code.
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        use tokio::io::AsyncReadExt;

        let received = async {
            // A pipe is readable when its first writer has written or has closed it. Before that, a read
            // would return the end of the file.
            self.receiver.readable().await?;
            self.receiver.read(buffer).await
        };
        runtime().block_on(async {
            tokio::select! {
                () = self.stop.cancelled() => Ok(0),
                count = received => count,
            }
        })
    }
}

/// Counts the bytes that are taken from a reader. The bytes that wait in the buffer of a buffered reader
/// do not count yet, because the buffer may hold a whole compressed file.
struct Counted<R> {
    inner: R,
    taken: Arc<AtomicU64>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.taken.fetch_add(count as u64, Ordering::Relaxed);
        Ok(count)
    }
}

impl<R: BufRead> BufRead for Counted<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.inner.fill_buf()
    }

    fn consume(&mut self, count: usize) {
        self.taken.fetch_add(count as u64, Ordering::Relaxed);
        self.inner.consume(count);
    }
}

/// Decompresses the bytes of a file, and decodes UTF-16.
pub(super) fn decode(bytes: Bytes, taken: &Arc<AtomicU64>) -> io::Result<Bytes> {
    let counted = |bytes| Counted {
        inner: io::BufReader::with_capacity(READ_BUFFER, bytes),
        taken: taken.clone(),
    };
    let (start, bytes) = peek::<4>(bytes)?;
    let bytes: Bytes = match start.as_slice() {
        [0x1f, 0x8b, ..] => Box::new(MultiGzDecoder::new(counted(bytes))),
        // The second pattern is a skippable frame. Some programs begin a file with one.
        [0x28, 0xb5, 0x2f, 0xfd] | [0x50..=0x5f, 0x2a, 0x4d, 0x18] => {
            Box::new(zstd::Decoder::with_buffer(counted(bytes))?)
        }
        [b'B', b'Z', b'h', b'1'..=b'9'] => Box::new(MultiBzDecoder::new(counted(bytes))),
        _ => Box::new(Counted {
            inner: bytes,
            taken: taken.clone(),
        }),
    };
    let (start, bytes) = peek::<3>(bytes)?;
    let encoding = match start.as_slice() {
        [0xff, 0xfe, ..] => UTF_16LE,
        [0xfe, 0xff, ..] => UTF_16BE,
        [0xef, 0xbb, 0xbf] => {
            let mut bytes = bytes;
            bytes.read_exact(&mut [0; 3])?;
            return Ok(bytes);
        }
        // No text begins with a NUL, so these are the halves of an ASCII character.
        [1..=255, 0, ..] => UTF_16LE,
        [0, 1..=255, ..] => UTF_16BE,
        _ => return Ok(bytes),
    };
    Ok(Box::new(Utf16 {
        bytes,
        decoder: encoding.new_decoder(),
        raw: vec![0; READ_BUFFER],
        text: Cursor::default(),
        is_end: false,
    }))
}

/// Returns the first `N` bytes, or all if there are fewer, and a reader of all bytes from the start.
fn peek<const N: usize>(mut bytes: Bytes) -> io::Result<(Vec<u8>, Bytes)> {
    let mut start = Vec::with_capacity(N);
    bytes.by_ref().take(N as u64).read_to_end(&mut start)?;
    let all = Cursor::new(start.clone()).chain(bytes);
    Ok((start, Box::new(all)))
}

/// Text in UTF-16, which is read as UTF-8. An unpaired surrogate becomes U+FFFD.
struct Utf16 {
    bytes: Bytes,
    decoder: Decoder,
    raw: Vec<u8>,
    /// The decoded text that was not read yet.
    text: Cursor<Vec<u8>>,
    is_end: bool,
}

impl Read for Utf16 {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let count = self.text.read(buffer)?;
            if count > 0 || self.is_end || buffer.is_empty() {
                return Ok(count);
            }
            let count = self.bytes.read(&mut self.raw)?;
            self.is_end = count == 0;
            let raw = &self.raw[..count];
            let text = self.text.get_mut();
            // `None` is impossible here: the length fits into a `usize`, because `count` is small.
            text.resize(self.decoder.max_utf8_buffer_length(count).unwrap_or(0), 0);
            let (_, _, written, _) = self.decoder.decode_to_utf8(raw, text, self.is_end);
            text.truncate(written);
            self.text.set_position(0);
        }
    }
}

/// Returns a record as text. A record that is not UTF-8 is read as Windows-1252, which contains Latin-1.
pub(super) fn text(record: &[u8]) -> Cow<'_, str> {
    match std::str::from_utf8(record) {
        Ok(text) => text.into(),
        Err(_) => WINDOWS_1252.decode_without_bom_handling(record).0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::io::Write;

    const TEXT: &str = "{\"text\":\"caf\u{e9} \u{2764}\u{fe0f} \u{1f680}\"}\n";

    fn read(bytes: Vec<u8>) -> io::Result<Vec<u8>> {
        let mut text = Vec::new();
        decode(Box::new(Cursor::new(bytes)), &Arc::default())?.read_to_end(&mut text)?;
        Ok(text)
    }

    fn gzip(text: &[u8]) -> Vec<u8> {
        let mut writer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        writer.write_all(text).unwrap();
        writer.finish().unwrap()
    }

    fn bzip2(text: &[u8]) -> Vec<u8> {
        let mut writer = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
        writer.write_all(text).unwrap();
        writer.finish().unwrap()
    }

    fn utf16(text: &str, bytes: fn(u16) -> [u8; 2]) -> Vec<u8> {
        text.encode_utf16().flat_map(bytes).collect()
    }

    #[test]
    fn each_compression_is_told_by_its_first_bytes() {
        let text = TEXT.repeat(100_000);
        let zstd = zstd::encode_all(text.as_bytes(), 1).unwrap();
        for compressed in [gzip(text.as_bytes()), bzip2(text.as_bytes()), zstd] {
            assert!(compressed.len() < text.len() / 10);
            // A file may consist of several compressed parts.
            let twice = compressed.repeat(2);
            assert!(read(twice).unwrap() == text.repeat(2).as_bytes());
            // The text before the end of a truncated file is read.
            let cut = compressed[..compressed.len() - 5].to_vec();
            let mut start = vec![0; TEXT.len()];
            let mut bytes = decode(Box::new(Cursor::new(cut)), &Arc::default()).unwrap();
            bytes.read_exact(&mut start).unwrap();
            assert_eq!(start, TEXT.as_bytes());
            assert!(bytes.read_to_end(&mut Vec::new()).is_err());
        }
    }

    #[test]
    fn each_encoding_gives_the_same_text() {
        let marked = format!("\u{feff}{TEXT}");
        for bytes in [
            TEXT.into(),
            marked.clone().into_bytes(),
            utf16(&marked, u16::to_le_bytes),
            utf16(&marked, u16::to_be_bytes),
            utf16(TEXT, u16::to_le_bytes),
            utf16(TEXT, u16::to_be_bytes),
            gzip(&utf16(&marked, u16::to_le_bytes)),
        ] {
            assert_eq!(read(bytes).unwrap(), TEXT.as_bytes());
        }
        for short in ["", "a", "ab", "\u{feff}"] {
            assert_eq!(
                read(short.into()).unwrap(),
                short.trim_start_matches('\u{feff}').as_bytes()
            );
        }
        // Half a character at the end.
        assert_eq!(
            read(vec![0xff, 0xfe, b'a', 0, b'b']).unwrap(),
            "a\u{fffd}".as_bytes()
        );
    }

    #[test]
    fn a_record_that_is_not_utf8_is_latin1() {
        assert_eq!(text("caf\u{e9}".as_bytes()), "caf\u{e9}");
        assert_eq!(
            text(b"caf\xe9 \x93fine\x94"),
            "caf\u{e9} \u{201c}fine\u{201d}"
        );
    }

    proptest! {
        #[test]
        fn no_input_panics(start in 0_usize..5, bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let starts: [&[u8]; 5] = [b"", b"\x1f\x8b\x08", b"\x28\xb5\x2f\xfd", b"BZh9", b"\xff\xfe"];
            let _ = read([starts[start], &bytes].concat());
        }

        #[test]
        fn utf16_is_decoded_in_pieces_of_any_size(text in "\\PC{1,40}", size in 4_usize..20) {
            let marked = utf16(&format!("\u{feff}{text}"), u16::to_le_bytes);
            let mut bytes = decode(Box::new(Cursor::new(marked)), &Arc::default()).unwrap();
            let (mut all, mut piece) = (Vec::new(), vec![0; size]);
            loop {
                match bytes.read(&mut piece).unwrap() {
                    0 => break,
                    count => all.extend_from_slice(&piece[..count]),
                }
            }
            prop_assert_eq!(all, text.as_bytes());
        }
    }
}
