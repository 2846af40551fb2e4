//! Finds out what a file contains, from its first part.
//!
//! JSON is tried before tables. A file has a format if one of its first records is a tweet or another
//! event, or if it has no records: an empty file, or a table that has only a header.

use super::columns::{Columns, Names};
use super::format::{Content, Format};
use super::input;
use super::json::{MAX_PAGE_BYTES, SHAPES};
use super::table::{Rows, Table, Taken};
use super::times::{self, DateOrder};
use super::values::{Cuts, Values, first_values};
use crate::error::{Error, ErrorKind};
use crate::notebook::shorten;
use crate::tweet::MAX_MESSAGE_BYTES;
use serde::de::IgnoredAny;
use std::collections::BTreeMap;
use std::path::Path;

/// The delimiters of tables, and their names.
const DELIMITERS: [(u8, &str); 3] = [(b',', "commas"), (b';', "semicolons"), (b'\t', "tabs")];
/// How many names an error lists.
const LISTED_NAMES: usize = 12;
/// The maximum length of a name in an error, in characters.
const NAME_LENGTH: usize = 40;
/// How many bytes of the file are searched for a NUL, which only binary data has.
const BINARY_SEARCH: usize = 1024;

/// The first part of a file.
#[derive(Clone, Copy)]
pub(super) struct Sample<'a> {
    pub(super) text: &'a [u8],
    /// Whether this is the whole file.
    pub(super) is_end: bool,
}

/// A file without a format, and what it looks like.
#[derive(Debug)]
pub(super) struct NoTweets {
    looks: String,
    /// The name of the first column; `None` if the file is not a table.
    column: Option<String>,
}

impl Sample<'_> {
    /// Finds the format of the file. An empty file is read as JSON lines.
    pub(super) fn format(self, names: &Names) -> Option<Box<dyn Format>> {
        if self.is_end && self.text.is_empty() {
            return SHAPES
                .last()
                .map(|shape| Box::new(Values::new(Cuts::Lines, shape, 0)) as _);
        }
        let json = self.cuts().iter().find_map(|cuts| self.values(*cuts));
        json.or_else(|| self.table(names).map(|table| Box::new(table) as _))
    }

    /// Returns whether the sample has no complete record, so that a longer sample may have a format.
    pub(super) fn has_no_record(self) -> bool {
        let limit = match self.cuts() {
            [Cuts::Lines] => MAX_MESSAGE_BYTES,
            _ => MAX_PAGE_BYTES,
        };
        let mut cuts = self.cuts().iter();
        self.text.len() < limit
            && cuts.all(|cuts| first_values(*cuts, limit, self.text, false).is_empty())
    }

    /// Returns the ways to cut the text into JSON values, in the order in which they are tried. Some lines
    /// of an array may be values too, so an array is not tried as lines first.
    fn cuts(self) -> &'static [Cuts] {
        match self.text.trim_ascii_start().first() {
            Some(b'[') => &[Cuts::Objects, Cuts::Lines],
            Some(b'{') => &[Cuts::Lines, Cuts::Objects],
            _ => &[Cuts::Lines],
        }
    }

    fn values(self, cuts: Cuts) -> Option<Box<dyn Format>> {
        let values = first_values(cuts, MAX_PAGE_BYTES, self.text, self.is_end);
        let length: usize = values.iter().map(|value| value.len()).sum();
        let average = length / values.len().max(1);
        let shape = values.into_iter().find_map(|value| {
            let json = input::text(value);
            SHAPES.iter().find(|shape| {
                let mut items = Vec::new();
                if (shape.is_shape)(&json) {
                    shape.decode(value, 1, &mut items);
                }
                items
                    .iter()
                    .any(|item| !matches!(item.content, Content::Skipped(_)))
            })
        })?;
        Some(Box::new(Values::new(cuts, shape, average)))
    }

    fn table(self, names: &Names) -> Option<Table> {
        let tables = DELIMITERS.iter().filter_map(|(delimiter, _)| {
            let first = self.rows(*delimiter).next()?;
            let first: Vec<&str> = first.iter().map(String::as_str).collect();
            let known = || sentiment140(&first).filter(|_| names.are_none());
            let columns = names.find(&first).or_else(known)?;
            Some((*delimiter, columns))
        });
        let (delimiter, mut columns) = tables.max_by_key(|(_, columns)| columns.count)?;
        let rows = self.rows(delimiter).skip(usize::from(columns.has_header));
        let rows: Vec<Vec<String>> = rows.filter(|row| row.len() == columns.count).collect();
        let column = columns.time;
        let times = || rows.iter().filter_map(|row| Some(row[column?].as_str()));
        let order = times::date_order(times());
        let has_times = rows.is_empty() || times().any(|time| times::parse(time, order).is_some());
        columns.time = column.filter(|_| has_times);
        if column.is_some() && !has_times {
            tracing::warn!(
                first = times().next(),
                "cannot read the times of the table, or its dates do not show whether the day or the month comes \
                 first; the table is replayed like one without times; hint: write dates such as 2021-02-01"
            );
        }

        let mut items = Vec::new();
        let (mut table, mut text) = (Table::new(delimiter, columns, order), self.text);
        loop {
            let end = table.take_row(text, self.is_end, &mut items);
            text = &text[end..];
            let is_tweet = items
                .iter()
                .any(|item| matches!(item.content, Content::Tweet(_)));
            if is_tweet || end == 0 && items.is_empty() {
                return Some(Table::new(delimiter, columns, order));
            }
            if end == 0 {
                return None;
            }
            items.truncate(1);
        }
    }

    /// Returns the rows of the sample.
    fn rows(self, delimiter: u8) -> impl Iterator<Item = Vec<String>> {
        let (mut rows, mut text) = (Rows::new(delimiter), self.text);
        std::iter::from_fn(move || {
            loop {
                let (taken, end) = rows.take(text, self.is_end)?;
                text = &text[end..];
                if taken == Taken::Row {
                    return Some(rows.columns());
                }
            }
        })
    }

    /// Describes a file without a format.
    pub(super) fn no_tweets(self) -> NoTweets {
        let plain = |looks: &str| NoTweets {
            looks: looks.into(),
            column: None,
        };
        let is_binary = self.text.iter().take(BINARY_SEARCH).any(|byte| *byte == 0);
        match self.text {
            [b'P', b'K', 3, 4, ..] => return plain("a zip archive or a spreadsheet"),
            [b'P', b'A', b'R', b'1', ..] => return plain("a Parquet file"),
            _ if is_binary => return plain("binary data"),
            _ => {}
        }
        for cuts in self.cuts() {
            for value in first_values(*cuts, MAX_PAGE_BYTES, self.text, self.is_end) {
                let fields = serde_json::from_slice::<BTreeMap<String, IgnoredAny>>(value);
                if let Ok(fields) = fields {
                    let names = list(fields.keys().map(String::as_str));
                    return plain(&format!("JSON with the fields {names}"));
                }
            }
        }
        for (delimiter, name) in DELIMITERS {
            let mut rows = self.rows(delimiter);
            if let (Some(first), second) = (rows.next(), rows.next())
                && first.len() > 1
                && second.is_none_or(|second| second.len() == first.len())
            {
                let columns = list(first.iter().map(String::as_str));
                return NoTweets {
                    looks: format!("a table with {name} and the columns {columns}"),
                    column: first.into_iter().next(),
                };
            }
        }
        let text = input::text(self.text.trim_ascii());
        let line = text.lines().next().unwrap_or_default();
        plain(&format!(
            "text that begins with {:?}",
            shorten(line, NAME_LENGTH)
        ))
    }
}

impl NoTweets {
    /// Returns whether the file is a table. Then it may help to name the columns.
    pub(super) fn is_table(&self) -> bool {
        self.column.is_some()
    }

    pub(super) fn error(&self, kind: ErrorKind, path: &Path) -> Error {
        let message = format!(
            "failed to find a tweet at the start of {}: it looks like {}; expected tweets as JSON, or a table \
             with a column of texts",
            path.display(),
            self.looks
        );
        Error::new(kind, message).with_hint(match &self.column {
            None => "give a file in one of the formats that docs/sources.md lists".into(),
            Some(column) => {
                let column = shorten(column, NAME_LENGTH);
                format!(
                    "name the column of the texts: `--columns text={column}` of the program, or \
                     `.columns(\"text={column}\")?` of the source"
                )
            }
        })
    }
}

fn list<'a>(names: impl Iterator<Item = &'a str> + Clone) -> String {
    let more = if names.clone().nth(LISTED_NAMES).is_some() {
        ", …"
    } else {
        ""
    };
    let names = names
        .take(LISTED_NAMES)
        .map(|name| shorten(name, NAME_LENGTH));
    names.collect::<Vec<_>>().join(", ") + more
}

/// Returns the columns of Sentiment140, which has no header: the label, the id, the time, the query, the
/// author and the text (cs.stanford.edu/people/alecmgo, "Twitter sentiment classification").
fn sentiment140(first: &[&str]) -> Option<Columns> {
    let [label, _, time, _, _, _] = first else {
        return None;
    };
    times::parse(time, DateOrder::Unknown)?;
    label.parse::<u8>().ok()?;
    Some(Columns {
        text: 5,
        id: Some(1),
        user: Some(4),
        followers: None,
        time: Some(2),
        lang: None,
        count: 6,
        is_escaped: true,
        has_header: false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::replay::format::Item;

    /// Reads a whole file. Returns what a record is called and the number of tweets, or what it looks like.
    fn read(text: impl AsRef<[u8]>) -> String {
        let text = text.as_ref();
        let sample = Sample { text, is_end: true };
        let Some(mut format) = sample.format(&Names::default()) else {
            return sample.no_tweets().looks;
        };
        let (mut items, mut rest) = (Vec::new(), text);
        while let end @ 1.. = format.take(rest, true, usize::MAX, &mut items) {
            rest = &rest[end..];
        }
        let is_tweet = |item: &&Item| matches!(item.content, Content::Tweet(_));
        format!(
            "{} {}",
            format.unit(),
            items.iter().filter(is_tweet).count()
        )
    }

    #[test]
    fn the_format_is_told_by_the_content() {
        let tweet = "{\"text\": \"a\"}";
        for (text, expected) in [
            (String::new(), "line 0"),
            (format!("{tweet}\n{tweet}\n"), "line 2"),
            (format!("connected\n\n{tweet}\n{tweet}"), "line 2"),
            (format!("{{\"text\n{tweet}\n"), "line 1"),
            (format!("[{tweet},{tweet}]"), "value 2"),
            (format!("[\n{tweet},\n{tweet}\n]\n"), "value 2"),
            (
                "{\n\"text\": \"a\"\n}\n{\n\"text\":\n\"b\"}\n".into(),
                "value 2",
            ),
            ("text,user\n".into(), "row 0"),
            ("text\na\nb\n".into(), "row 2"),
            (
                "a;b,Text;user\nc;d;e\n".into(),
                "a table with semicolons and the columns a, b,Text, user",
            ),
            ("a,b;Text;user\nc;d;e\n".into(), "row 1"),
            ("no\ttweet\n1\tI, or you\n".into(), "row 1"),
            ("1,2,2021-01-05,,ada,hi\n".into(), "row 1"),
        ] {
            assert_eq!(read(&text), expected, "{text:?}");
        }
    }

    #[test]
    fn a_file_without_tweets_is_described() {
        let columns: Vec<String> = (1..=20).map(|number| format!("c{number}")).collect();
        for (text, expected) in [
            (
                "date,close\n2021-01-05,1\n".to_owned(),
                "a table with commas and the columns date, close",
            ),
            (
                columns.join("\t"),
                "a table with tabs and the columns c1, c2, c3, c4, c5, c6, c7, c8, c9, c10, c11, c12, …",
            ),
            ("{\"b\":1,\"a\":{}}\n".into(), "JSON with the fields a, b"),
            ("[\n{\"b\": 1}\n]\n".into(), "JSON with the fields b"),
            (
                "Dear diary,\nhello\n".into(),
                "text that begins with \"Dear diary,\"",
            ),
            ("PK\u{3}\u{4}\0".into(), "a zip archive or a spreadsheet"),
            ("GIF\0".into(), "binary data"),
            (" ".into(), "text that begins with \"\""),
        ] {
            assert_eq!(read(&text), expected, "{text:?}");
        }
    }

    #[test]
    fn a_column_without_times_gives_no_pace() {
        let has_times = |text: &str| {
            let sample = Sample {
                text: text.as_bytes(),
                is_end: true,
            };
            sample.format(&Names::default()).unwrap().has_times()
        };
        assert!(has_times("text,date\na,2021-01-05\n"));
        assert!(has_times("text,date\n"));
        assert!(!has_times("text,date\na,soon\n"));
        assert!(!has_times("text\na\n"));
    }
}
