//! Cuts a text into JSON values: one value per line, or the values of an array or of a sequence, each of
//! any number of lines.
//!
//! A value that is too long is skipped, and needs only a bounded amount of memory.

use super::format::{Format, Item};
use super::json::Shape;
use crate::tweet::Skip;
use memchr::{memchr, memchr2};
use std::panic::resume_unwind;
use tokio::runtime::Handle;
use tokio::task::JoinHandle;

/// The average length from which values are decoded ahead, in bytes. Shorter values take 15 % more processor
/// time then, because one thread allocates the strings of a tweet and another one frees them.
const LONG_VALUE: usize = 1_024;
/// The size from which two threads decode a text, in bytes.
const LONG_TEXT: usize = 64 * 1024;

/// Where a text is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cuts {
    /// At the end of each line.
    Lines,
    /// At the end of each outermost object. Spaces, commas and brackets between two objects are ignored,
    /// so the objects of one array or of several arrays are found.
    Objects,
}

/// Cuts a text. The cutter remembers how far it has searched, so it searches each byte only once, even if
/// a value comes in many parts.
#[derive(Debug)]
struct Cutter {
    cuts: Cuts,
    /// The maximum length of a value, in bytes.
    limit: usize,
    /// How many bytes of the text were searched.
    searched: usize,
    /// The number of objects and arrays of the value that are open.
    depth: usize,
    is_in_string: bool,
    /// Whether the start of the value was dropped, because it is too long.
    is_dropping: bool,
}

/// What was taken from the start of a text.
#[derive(Debug, PartialEq, Eq)]
enum Cut<'a> {
    Value(&'a [u8]),
    /// The start of a value that is too long.
    TooLarge,
    /// The rest of a value that is too long, or the characters between two values.
    Nothing,
}

impl Cutter {
    fn new(cuts: Cuts, limit: usize) -> Cutter {
        Cutter {
            cuts,
            limit,
            searched: 0,
            depth: 0,
            is_in_string: false,
            is_dropping: false,
        }
    }

    /// Takes a value from the start of the text, and returns how many bytes it took. Returns `None` if the
    /// value is not complete and may become so.
    fn take<'a>(&mut self, text: &'a [u8], is_end: bool) -> Option<(Cut<'a>, usize)> {
        let end = match self.cuts {
            Cuts::Lines => self.line_end(text),
            Cuts::Objects => self.object_end(text),
        };
        let is_complete = end.is_some() || is_end;
        let end = end.unwrap_or(if is_end { text.len() } else { self.searched });
        // The line end, of up to two bytes, does not count towards the limit.
        if end == 0 || !is_complete && !self.is_dropping && text.len() <= self.limit + 2 {
            return None;
        }
        let value = match self.cuts {
            Cuts::Lines => text[..end].trim_ascii(),
            Cuts::Objects => trim_separators(&text[..end]),
        };
        let is_between = self.cuts == Cuts::Objects && self.depth == 0;
        let cut = match value {
            _ if self.is_dropping => Cut::Nothing,
            [] if is_between => Cut::Nothing,
            _ if value.len() > self.limit || !is_complete => Cut::TooLarge,
            [] => Cut::Nothing,
            value => Cut::Value(value),
        };
        self.searched = 0;
        // Any number of characters may separate two objects. Such a text needs no dropping, because it
        // ends where the next object starts.
        self.is_dropping = !is_complete && !is_between;
        Some((cut, end))
    }

    /// Returns the end of the line, with its line end.
    fn line_end(&mut self, text: &[u8]) -> Option<usize> {
        let end = memchr(b'\n', &text[self.searched..]).map(|at| self.searched + at + 1);
        self.searched = text.len();
        end
    }

    /// Returns the end of the outermost object, or of the characters before it.
    fn object_end(&mut self, text: &[u8]) -> Option<usize> {
        while let Some(rest) = text.get(self.searched..).filter(|rest| !rest.is_empty()) {
            if self.depth == 0 {
                match memchr(b'{', rest).map(|at| self.searched + at) {
                    Some(0) => (self.depth, self.searched) = (1, 1),
                    Some(at) => return Some(at),
                    None => self.searched = text.len(),
                }
            } else if self.is_in_string {
                let found = memchr2(b'"', b'\\', rest);
                let Some(at) = found else {
                    self.searched = text.len();
                    continue;
                };
                if rest[at] == b'"' {
                    self.is_in_string = false;
                    self.searched += at + 1;
                } else if at + 1 < rest.len() {
                    self.searched += at + 2;
                } else {
                    // The character after the backslash has not been read yet.
                    self.searched += at;
                    return None;
                }
            } else {
                let is_mark = |byte: &u8| matches!(byte, b'"' | b'{' | b'}' | b'[' | b']');
                let Some(at) = rest.iter().position(is_mark) else {
                    self.searched = text.len();
                    continue;
                };
                self.searched += at + 1;
                match rest[at] {
                    b'"' => self.is_in_string = true,
                    b'{' | b'[' => self.depth += 1,
                    _ => self.depth -= 1,
                }
                if self.depth == 0 {
                    return Some(self.searched);
                }
            }
        }
        None
    }
}

/// Removes spaces, commas and square brackets from the start and the end of a text.
fn trim_separators(mut text: &[u8]) -> &[u8] {
    let is_separator = |byte: &u8| byte.is_ascii_whitespace() || matches!(byte, b',' | b'[' | b']');
    while let [first, rest @ ..] = text
        && is_separator(first)
    {
        text = rest;
    }
    while let [rest @ .., last] = text
        && is_separator(last)
    {
        text = rest;
    }
    text
}

/// A value with its number, and `None` in place of a value that is too long.
type Numbered<'t> = (u64, Option<&'t [u8]>);

/// A text of JSON values of one shape.
pub(super) struct Values {
    cutter: Cutter,
    shape: &'static Shape,
    /// The average length of the first values, in bytes.
    average: usize,
    /// The number of the last value.
    number: u64,
}

impl Values {
    pub(super) fn new(cuts: Cuts, shape: &'static Shape, average: usize) -> Values {
        Values {
            cutter: Cutter::new(cuts, shape.limit),
            shape,
            average,
            number: 0,
        }
    }

    /// Cuts up to `limit` values from the start of the text, and returns how many bytes they took.
    fn cut<'t>(
        &mut self,
        text: &'t [u8],
        is_end: bool,
        limit: usize,
    ) -> (Vec<Numbered<'t>>, usize) {
        let (mut values, mut taken) = (Vec::new(), 0);
        for _ in 0..limit {
            let was_dropping = self.cutter.is_dropping;
            let Some((cut, end)) = self.cutter.take(&text[taken..], is_end) else {
                break;
            };
            taken += end;
            // Empty lines count as lines, but the characters between two objects do not count as a value.
            let is_new = cut != Cut::Nothing || self.cutter.cuts == Cuts::Lines && !was_dropping;
            self.number += u64::from(is_new);
            match cut {
                Cut::Value(value) => values.push((self.number, Some(value))),
                Cut::TooLarge => values.push((self.number, None)),
                Cut::Nothing => {}
            }
        }
        (values, taken)
    }
}

/// Decodes values, and appends their items.
fn decode<'t>(shape: &Shape, values: impl Iterator<Item = Numbered<'t>>, items: &mut Vec<Item>) {
    for (number, value) in values {
        match value {
            Some(value) => shape.decode(value, number, items),
            None => items.push(Item::only(number, Err(Skip::TooLarge))),
        }
    }
}

/// Decodes values in another thread. They are copied, because a thread of tokio cannot borrow them. A new
/// thread could, but Linux often starts it on the same core: in half of the runs, nothing was gained.
fn decode_elsewhere(
    runtime: &Handle,
    shape: &'static Shape,
    values: &[Numbered],
) -> JoinHandle<Vec<Item>> {
    let mut text = Vec::new();
    let copy = |&(number, value): &Numbered| {
        let start = text.len();
        text.extend_from_slice(value.unwrap_or_default());
        (number, value.map(|_| start..text.len()))
    };
    let copies: Vec<_> = values.iter().map(copy).collect();
    runtime.spawn_blocking(move || {
        let mut items = Vec::with_capacity(copies.len());
        let values = copies.into_iter();
        let values = values.map(|(number, at)| (number, at.map(|at| &text[at])));
        decode(shape, values, &mut items);
        items
    })
}

impl Format for Values {
    fn unit(&self) -> &'static str {
        match self.cutter.cuts {
            Cuts::Lines => "line",
            Cuts::Objects => "value",
        }
    }

    fn is_decoded_ahead(&self) -> bool {
        self.average >= LONG_VALUE
    }

    /// Decodes the second half of a text with long values in another thread. Decoding takes most of the time
    /// of reading a file: with one thread, tweets of X's API v1.1 were read 3.3 times as fast as with Python's
    /// json, and with two, 5.8 times.
    fn take(&mut self, text: &[u8], is_end: bool, limit: usize, items: &mut Vec<Item>) -> usize {
        let shape = self.shape;
        let (values, taken) = self.cut(text, is_end, limit);
        let (first, second) = values.split_at(values.len() / 2);
        let is_long = self.is_decoded_ahead() && taken >= LONG_TEXT;
        let runtime = Handle::try_current().ok().filter(|_| is_long);
        let other = runtime.map(|runtime| (decode_elsewhere(&runtime, shape, second), runtime));
        decode(shape, first.iter().copied(), items);
        let decoded = other.map(|(other, runtime)| {
            // If all threads of tokio are busy, `other` may not have started. They could wait for each other.
            other.abort();
            runtime.block_on(other)
        });
        match decoded {
            Some(Ok(decoded)) => items.extend(decoded),
            Some(Err(error)) if error.is_panic() => resume_unwind(error.into_panic()),
            _ => decode(shape, second.iter().copied(), items),
        }
        taken
    }
}

/// Returns the complete values in the first part of a file.
pub(super) fn first_values(cuts: Cuts, limit: usize, mut text: &[u8], is_end: bool) -> Vec<&[u8]> {
    let (mut cutter, mut values) = (Cutter::new(cuts, limit), Vec::new());
    while let Some((cut, end)) = cutter.take(text, is_end) {
        if let Cut::Value(value) = cut {
            values.push(value);
        }
        text = &text[end..];
    }
    values
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Cuts a text that comes in parts. Returns the values; `None` stands for one that is too long.
    fn cut(cuts: Cuts, limit: usize, parts: &[&[u8]]) -> Vec<Option<String>> {
        let (mut cutter, mut text, mut values) = (Cutter::new(cuts, limit), Vec::new(), Vec::new());
        for (index, part) in parts.iter().enumerate() {
            text.extend_from_slice(part);
            while let Some((cut, end)) = cutter.take(&text, index + 1 == parts.len()) {
                match cut {
                    Cut::Value(value) => values.push(Some(String::from_utf8_lossy(value).into())),
                    Cut::TooLarge => values.push(None),
                    Cut::Nothing => {}
                }
                text.drain(..end);
            }
            assert!(text.len() <= limit + 2, "bounded memory");
        }
        assert!(text.is_empty(), "the end of the text is read");
        values
    }

    fn some(values: &[&str]) -> Vec<Option<String>> {
        values.iter().map(|value| Some((*value).into())).collect()
    }

    #[test]
    fn lines_are_cut_at_their_ends() {
        let lines = b"{\"a\":1}\r\n\r\n  {\"b\":2} \nlast";
        let expected = some(&["{\"a\":1}", "{\"b\":2}", "last"]);
        assert_eq!(cut(Cuts::Lines, 100, &[lines]), expected);
        let mut expected = some(&["12345678", "9"]);
        expected.insert(1, None);
        let parts: [&[u8]; 3] = [b"12345678\r\n123456789", b"0123456789", b"01\n9"];
        assert_eq!(cut(Cuts::Lines, 8, &parts), expected);
    }

    #[test]
    fn objects_are_cut_from_arrays_and_sequences() {
        let first = r#"{"a": "}{\"\\", "b": [{"c": [1, 2]}]}"#;
        let second = "{\n  \"text\": \"two\nlines\"\n}";
        for text in [
            format!("[\n{first},\n{second}\n]"),
            format!("{first}{second}"),
            format!("[{first}]\n[{second},]"),
            format!("{first}\n\n{second}\n"),
        ] {
            assert_eq!(
                cut(Cuts::Objects, 100, &[text.as_bytes()]),
                some(&[first, second])
            );
        }
        // A value that is not an object is reported.
        assert_eq!(
            cut(Cuts::Objects, 100, &[b"[1, {}, null, {\"a\": "]),
            some(&["1", "{}", "null", "{\"a\":"])
        );
    }

    #[test]
    fn an_object_that_is_too_long_is_skipped_once() {
        let long = format!("{{\"a\": \"{}\\\"{{\"}}", "x".repeat(50));
        let text = format!("[{{}},{long},{long},{{\"b\":1}}]");
        let expected = [Some("{}".into()), None, None, Some("{\"b\":1}".into())];
        let parts: Vec<&[u8]> = text.as_bytes().chunks(7).collect();
        assert_eq!(cut(Cuts::Objects, 20, &parts), expected);
    }

    #[test]
    fn the_space_between_two_objects_may_be_long() {
        let text = format!("{{}}{}{{}}", " ,\n".repeat(50));
        let parts: Vec<&[u8]> = text.as_bytes().chunks(7).collect();
        assert_eq!(cut(Cuts::Objects, 20, &parts), some(&["{}", "{}"]));
    }

    #[test]
    fn a_deep_nesting_needs_no_stack() {
        let deep = "{\"a\":".repeat(100_000);
        assert_eq!(cut(Cuts::Objects, 1_000_000, &[deep.as_bytes()]).len(), 1);
    }

    proptest! {
        #[test]
        fn any_split_of_the_text_gives_the_same_values(
            text in r#"[\[\]{},"\\a\n ]{0,120}"#,
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..8),
            is_lines in any::<bool>(),
        ) {
            let kind = if is_lines { Cuts::Lines } else { Cuts::Objects };
            let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(text.len() + 1)).collect();
            cuts.extend([0, text.len()]);
            cuts.sort_unstable();
            let parts: Vec<&[u8]> = cuts.windows(2).map(|pair| &text.as_bytes()[pair[0]..pair[1]]).collect();
            prop_assert_eq!(cut(kind, 200, &parts), cut(kind, 200, &[text.as_bytes()]));
        }
    }
}
