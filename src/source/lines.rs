//! Line framing: cuts a stream of bytes into lines of bounded length.

use crate::tweet::{MAX_MESSAGE_BYTES, Skip};
use bytes::BytesMut;
use tokio_util::codec::{Decoder, LinesCodec, LinesCodecError};

/// The received bytes that are not a complete line yet. If a line is too long, only a part of it is kept in
/// memory.
pub(super) struct LineBuffer {
    codec: LinesCodec,
    bytes: BytesMut,
}

impl LineBuffer {
    pub(super) fn new() -> LineBuffer {
        LineBuffer {
            codec: LinesCodec::new_with_max_length(MAX_MESSAGE_BYTES),
            bytes: BytesMut::new(),
        }
    }

    /// Returns the buffer to which received bytes are appended.
    pub(super) fn bytes(&mut self) -> &mut BytesMut {
        &mut self.bytes
    }

    /// Returns the next line without its line end, or why it is skipped; `None` if no line is complete.
    pub(super) fn next(&mut self) -> Option<Result<String, Skip>> {
        match self.codec.decode(&mut self.bytes) {
            Ok(line) => line.map(Ok),
            Err(LinesCodecError::MaxLineLengthExceeded) => Some(Err(Skip::TooLarge)),
            // The bytes are in memory, so the only possible error is that they are not UTF-8.
            Err(LinesCodecError::Io(_)) => Some(Err(Skip::NotUtf8)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn lines(chunks: &[&[u8]]) -> Vec<Result<String, Skip>> {
        let (mut buffer, mut all) = (LineBuffer::new(), Vec::new());
        for chunk in chunks {
            buffer.bytes().extend_from_slice(chunk);
            all.extend(std::iter::from_fn(|| buffer.next()));
            assert!(
                buffer.bytes.len() <= MAX_MESSAGE_BYTES + 1,
                "bounded memory"
            );
        }
        all
    }

    #[test]
    fn a_line_that_is_too_long_is_skipped_once() {
        let long = vec![b'x'; MAX_MESSAGE_BYTES + 10];
        let read = lines(&[b"a\r\n\r\n", &long, &long, b"\nb\n\xff\nlast\n"]);
        let text = |text: &str| Ok(text.to_owned());
        let expected = [
            text("a"),
            text(""),
            Err(Skip::TooLarge),
            text("b"),
            Err(Skip::NotUtf8),
            text("last"),
        ];
        assert_eq!(read, expected);
    }

    proptest! {
        #[test]
        fn any_split_of_the_bytes_gives_the_same_lines(
            bytes in prop::collection::vec(prop_oneof![Just(b'\n'), Just(b'\r'), any::<u8>()], 0..200),
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..8),
        ) {
            let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
            cuts.extend([0, bytes.len()]);
            cuts.sort_unstable();
            let chunks: Vec<&[u8]> = cuts.windows(2).map(|pair| &bytes[pair[0]..pair[1]]).collect();
            prop_assert_eq!(lines(&chunks), lines(&[&bytes]));
        }
    }
}
