//! Reads a table: rows of columns with commas, semicolons or tabs between them, as RFC 4180 describes and
//! spreadsheets write them.
//!
//! If a row is broken, for example because a quote is missing, only its first line is skipped. The next
//! line begins a new row. Otherwise the rest of the file could be lost after a single quote.
//!
//! If the closing quote is not found within the maximum length of a row, the lines that were searched are
//! read without quotes. Otherwise each of these lines could start another search of the same length. This
//! happens in a file whose outer quotes were removed, and the time would be quadratic.

use super::columns::Columns;
use super::format::{Format, Item};
use super::input;
use super::times::{self, DateOrder};
use crate::source::unescape::unescape;
use crate::tweet::{MAX_MESSAGE_BYTES, Skip, Tweet, whole};
use csv_core::{ReadRecordResult, Reader, ReaderBuilder};
use memchr::memchr;

/// The size of the buffer for the columns of a row, in bytes. A larger row makes it grow.
const ROW_BUFFER: usize = 8 * 1024;

/// Cuts a text into rows. It remembers how far it has read, so a row that comes in many parts is read once.
pub(super) struct Rows {
    csv: Reader,
    /// Reads a row without quotes: a quote is a character like any other. Creating a reader takes as long as
    /// decoding a small file, so this one is created when it is needed.
    unquoted: Option<Reader>,
    /// The number of bytes, from the next byte on, that are read without quotes.
    plain: usize,
    delimiter: u8,
    /// How many bytes of the text were read.
    read: usize,
    /// The columns of the row, one after the other, and the end of each.
    content: Vec<u8>,
    ends: Vec<usize>,
    /// How many bytes of `content` and how many elements of `ends` belong to the row.
    filled: (usize, usize),
    /// Whether the start of a line was dropped, because it is too long.
    is_dropping: bool,
}

/// What was taken from the start of a text.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Taken {
    Row,
    /// The first line of a broken row.
    Broken(Skip),
    /// Empty lines, or the rest of a line that is too long.
    Nothing,
}

impl Rows {
    pub(super) fn new(delimiter: u8) -> Rows {
        Rows {
            csv: ReaderBuilder::new().delimiter(delimiter).build(),
            unquoted: None,
            plain: 0,
            delimiter,
            read: 0,
            content: vec![0; ROW_BUFFER],
            ends: vec![0; 64],
            filled: (0, 0),
            is_dropping: false,
        }
    }

    /// Takes a row from the start of the text, and returns how many bytes it took. Returns `None` if the row
    /// is not complete and may become so.
    pub(super) fn take(&mut self, text: &[u8], is_end: bool) -> Option<(Taken, usize)> {
        if self.is_dropping {
            let end = memchr(b'\n', text).map(|at| at + 1);
            self.is_dropping = end.is_none();
            let end = end.unwrap_or(text.len());
            return (end > 0).then_some((Taken::Nothing, end));
        }
        if self.read == 0 {
            self.filled = (0, 0);
        }
        loop {
            // The CSV reader takes an empty text as the end of the file.
            if self.read == text.len() && !is_end {
                return None;
            }
            let (bytes, columns) = self.filled;
            let delimiter = self.delimiter;
            let csv = match self.plain {
                0 => &mut self.csv,
                _ => self.unquoted.get_or_insert_with(|| {
                    let mut builder = ReaderBuilder::new();
                    builder.delimiter(delimiter).quoting(false).build()
                }),
            };
            let (result, read, written, ended) = csv.read_record(
                &text[self.read..],
                &mut self.content[bytes..],
                &mut self.ends[columns..],
            );
            self.read += read;
            self.filled = (bytes + written, columns + ended);
            match result {
                ReadRecordResult::OutputFull => self.content.resize(2 * self.content.len(), 0),
                ReadRecordResult::OutputEndsFull => self.ends.resize(2 * self.ends.len(), 0),
                _ if self.read > MAX_MESSAGE_BYTES => {
                    let read = std::mem::take(&mut self.read);
                    let end = first_line(&text[..read]);
                    self.reset();
                    self.plain = read - end.unwrap_or(read);
                    self.is_dropping = end.is_none();
                    return Some((Taken::Broken(Skip::TooLarge), end.unwrap_or(text.len())));
                }
                ReadRecordResult::Record => {
                    let row = &text[..std::mem::take(&mut self.read)];
                    let is_plain = self.plain > 0;
                    self.plain = self.plain.saturating_sub(row.len());
                    return Some(match first_line(row).filter(|_| !is_plain) {
                        Some(end) if end < row.len() && !is_quoted_well(row, self.delimiter) => {
                            self.reset();
                            (Taken::Broken(Skip::WrongColumns), end)
                        }
                        _ => (Taken::Row, row.len()),
                    });
                }
                ReadRecordResult::End => {
                    let read = std::mem::take(&mut self.read);
                    return (read > 0).then_some((Taken::Nothing, read));
                }
                // At the end of the text, the next call completes the row.
                ReadRecordResult::InputEmpty if is_end => {}
                ReadRecordResult::InputEmpty => return None,
            }
        }
    }

    /// Discards the row that was read in part.
    fn reset(&mut self) {
        self.csv.reset();
        self.unquoted = None;
    }

    /// Returns the number of columns of the row.
    fn len(&self) -> usize {
        self.filled.1
    }

    /// Returns a column of the row that was taken last.
    fn column(&self, index: usize) -> &[u8] {
        let start = index.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.content[start..self.ends[index]]
    }

    /// Returns the columns of the row that was taken last as text.
    pub(super) fn columns(&self) -> Vec<String> {
        let columns = (0..self.len()).map(|index| input::text(self.column(index)).into_owned());
        columns.collect()
    }
}

/// A table of tweets.
pub(super) struct Table {
    rows: Rows,
    columns: Columns,
    order: DateOrder,
    /// The number of the last row, as in a spreadsheet: the header is row 1, and empty lines are rows too.
    number: u64,
    /// Whether the last row has ended with a carriage return, so a line feed after it is no empty line.
    ends_with_return: bool,
}

impl Table {
    pub(super) fn new(delimiter: u8, columns: Columns, order: DateOrder) -> Table {
        Table {
            rows: Rows::new(delimiter),
            columns,
            order,
            number: 0,
            ends_with_return: false,
        }
    }

    /// Counts the empty lines before a row, and notes how the row ends.
    fn count_empty_lines(&mut self, row: &[u8]) {
        let line_ends = row.iter().take_while(|byte| matches!(byte, b'\r' | b'\n'));
        let lines = line_ends.filter(|byte| **byte == b'\n').count() as u64;
        let is_rest = self.ends_with_return && row.starts_with(b"\n");
        self.number += lines - u64::from(is_rest);
        self.ends_with_return = row.ends_with(b"\r");
    }

    /// Returns the row that was taken last as a tweet.
    ///
    /// # Errors
    /// [`Skip::NoText`] if the column of the text is empty.
    fn tweet(&self) -> Result<Tweet, Skip> {
        let columns = &self.columns;
        let text = |column: Option<usize>| {
            let value = column.map_or(&b""[..], |column| self.rows.column(column));
            input::text(value.trim_ascii())
        };
        let body = input::text(self.rows.column(columns.text)).into_owned();
        if body.trim().is_empty() {
            return Err(Skip::NoText);
        }
        let unescaped = |body| {
            if columns.is_escaped {
                unescape(body)
            } else {
                body
            }
        };
        let mut tweet = Tweet::new(text(columns.user), unescaped(body));
        tweet.id = id(&text(columns.id)).into();
        tweet.followers = count(&text(columns.followers));
        tweet.lang = text(columns.lang).into();
        if let Some(time) = times::parse(&text(columns.time), self.order) {
            tweet.created_at = time;
        }
        Ok(tweet)
    }

    /// Takes a row from the start of the text, and appends its item. Returns how many bytes it took.
    pub(super) fn take_row(&mut self, text: &[u8], is_end: bool, items: &mut Vec<Item>) -> usize {
        let Some((taken, end)) = self.rows.take(text, is_end) else {
            return 0;
        };
        let is_header = self.number == 0 && self.columns.has_header;
        if taken != Taken::Nothing {
            self.count_empty_lines(&text[..end]);
            self.number += 1;
        }
        let (tweet, end) = match taken {
            Taken::Nothing => return end,
            Taken::Row if is_header => return end,
            Taken::Row if self.rows.len() == self.columns.count => (self.tweet(), end),
            Taken::Row => {
                let line = first_line(&text[..end]).unwrap_or(end);
                if line < end {
                    self.rows.reset();
                    self.ends_with_return = false;
                }
                (Err(Skip::WrongColumns), line)
            }
            Taken::Broken(reason) => (Err(reason), end),
        };
        items.push(Item::only(self.number, tweet));
        end
    }
}

impl Format for Table {
    fn unit(&self) -> &'static str {
        "row"
    }

    fn has_times(&self) -> bool {
        self.columns.time.is_some()
    }

    fn take(&mut self, text: &[u8], is_end: bool, limit: usize, items: &mut Vec<Item>) -> usize {
        let mut taken = 0;
        for _ in 0..limit {
            match self.take_row(&text[taken..], is_end, items) {
                0 => break,
                end => taken += end,
            }
        }
        taken
    }
}

/// Returns the end of the first line of a row, after empty lines; `None` if the row has no line end.
fn first_line(row: &[u8]) -> Option<usize> {
    let start = row.iter().position(|byte| !matches!(byte, b'\r' | b'\n'))?;
    Some(start + memchr(b'\n', &row[start..])? + 1)
}

/// Returns whether each quoted column ends right after its closing quote. If not, an unpaired quote has
/// joined the lines of the row.
fn is_quoted_well(row: &[u8], delimiter: u8) -> bool {
    let start = row.iter().position(|byte| !matches!(byte, b'\r' | b'\n'));
    let mut rest = &row[start.unwrap_or(row.len())..];
    loop {
        if let Some(quoted) = rest.strip_prefix(b"\"") {
            let Some(end) = memchr(b'"', quoted) else {
                return false;
            };
            rest = &quoted[end + 1..];
            match rest.first() {
                // Two quotes are a quote within the column.
                Some(b'"') => continue,
                Some(byte) if *byte != delimiter && !matches!(byte, b'\r' | b'\n') => return false,
                _ => {}
            }
        }
        match memchr(delimiter, rest) {
            Some(at) => rest = &rest[at + 1..],
            None => return true,
        }
    }
}

/// Returns the id of a tweet. A number with a decimal point or an exponent is not an id: a spreadsheet has
/// rounded it, so several tweets may have the same number.
fn id(text: &str) -> &str {
    let is_rounded = text.contains(['.', 'e', 'E']) && text.parse::<f64>().is_ok();
    if is_rounded { "" } else { text }
}

/// Reads a count such as `1200` or `1200.0`. Programs that allow missing numbers write the latter.
fn count(text: &str) -> Option<u64> {
    text.parse().ok().or_else(|| whole(text.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::replay::columns::Names;
    use crate::source::replay::format::Content;
    use proptest::prelude::*;

    #[test]
    fn a_table_without_its_outer_quotes_is_read_in_linear_time() {
        // Each line would begin a search of 1 MiB for the end of its quote.
        let lines = 200_000;
        let table = format!("text,user\n{}", "a\",\"b\n".repeat(lines));
        let rows = read(&[table.as_bytes()]);
        assert_eq!(rows.len(), lines);
        let is_read = |row: &&(u64, String)| row.1 == "\"b: a\"";
        let read = rows.iter().filter(is_read).count();
        assert!(read > lines - 10, "only {read}");
    }

    /// Reads a table that comes in parts. Returns the number of each row, and its text or why it is skipped.
    fn read(parts: &[&[u8]]) -> Vec<(u64, String)> {
        let header = Names::default().find(&["text", "user"]).unwrap();
        let mut table = Table::new(b',', header, DateOrder::Unknown);
        let (mut text, mut items) = (Vec::new(), Vec::new());
        for (index, part) in parts.iter().enumerate() {
            text.extend_from_slice(part);
            loop {
                let end = table.take_row(&text, index + 1 == parts.len(), &mut items);
                if end == 0 {
                    break;
                }
                text.drain(..end);
            }
            assert!(text.len() <= MAX_MESSAGE_BYTES, "bounded memory");
        }
        assert!(text.is_empty(), "the end of the table is read");
        let shown = items.into_iter().map(|item| match item.content {
            Content::Tweet(tweet) => (item.number, format!("{}: {}", tweet.user, tweet.text)),
            Content::Skipped(reason) => (item.number, reason.to_string()),
            Content::Event => panic!("a table has no events"),
        });
        shown.collect()
    }

    fn rows(expected: &[(u64, &str)]) -> Vec<(u64, String)> {
        expected
            .iter()
            .map(|(number, row)| (*number, (*row).into()))
            .collect()
    }

    #[test]
    fn quotes_line_breaks_and_references_are_read() {
        let table = b"text,user\r\n\"a \"\"b\"\",\r\nc &amp; &lt;3\", ada \r\n\r\n5\" screen,bob\r\n,eve\r\nlast,\"x\"";
        let expected = rows(&[
            (2, "ada: a \"b\",\r\nc & <3"),
            (4, "bob: 5\" screen"),
            (5, "no text"),
            (6, "x: last"),
        ]);
        assert_eq!(read(&[table]), expected);
    }

    #[test]
    fn only_the_first_line_of_a_broken_row_is_skipped() {
        let broken = "another number of columns than the table";
        let table = b"text,user\na\n\"b,ada\nc,bob\n\"d\",eve\ne,f,g\r\nh,i\n\"j,k\nl,m\n";
        let expected = rows(&[
            (2, broken),
            (3, broken),
            (4, "bob: c"),
            (5, "eve: d"),
            (6, broken),
            (7, "i: h"),
            (8, broken),
            (9, "m: l"),
        ]);
        assert_eq!(read(&[table]), expected);
    }

    #[test]
    fn a_row_that_is_too_long_costs_no_memory() {
        let part = vec![b'x'; 256 * 1024];
        let large = "larger than 1 MiB";
        let mut parts: Vec<&[u8]> = vec![b"text,user\n"];
        parts.extend([part.as_slice(); 12]);
        parts.push(b",ada\na,b\n");
        assert_eq!(read(&parts), rows(&[(2, large), (3, "b: a")]));
        // A quote that is never closed.
        let lines = "ccccccccccccccccccccccccccc,d\n".repeat(50_000);
        let mut parts: Vec<&[u8]> = vec![b"text,user\n\"a,b\n"];
        parts.extend(lines.as_bytes().chunks(256 * 1024));
        let all = read(&parts);
        assert_eq!(
            all[..2],
            rows(&[(2, large), (3, "d: ccccccccccccccccccccccccccc")])
        );
        assert_eq!(all.len(), 50_001);
    }

    #[test]
    fn counts_and_ids_of_spreadsheets_are_read() {
        assert_eq!(count("1200.0"), Some(1_200));
        assert_eq!(count("18446744073709551615"), Some(u64::MAX));
        for unknown in ["", "-1", "0.5", "nan", "inf", "1e300", "many"] {
            assert_eq!(count(unknown), None, "{unknown}");
        }
        assert_eq!(
            (id("12"), id("1.346E+18"), id("12.0"), id("v1.5e")),
            ("12", "", "", "v1.5e")
        );
    }

    proptest! {
        #[test]
        fn any_split_of_the_table_gives_the_same_rows(
            table in "[a,\"\r\n ]{0,80}",
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..8),
        ) {
            let table = format!("text,user\n{table}");
            let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(table.len() + 1)).collect();
            cuts.extend([0, table.len()]);
            cuts.sort_unstable();
            let parts: Vec<&[u8]> = cuts.windows(2).map(|pair| &table.as_bytes()[pair[0]..pair[1]]).collect();
            prop_assert_eq!(read(&parts), read(&[table.as_bytes()]));
        }
    }
}
