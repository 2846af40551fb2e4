//! Reads times in the forms that are common in tables.

use jiff::civil::{Date, DateTime, Time};
use jiff::fmt::rfc2822;
use jiff::tz::Offset;
use jiff::{SignedDuration, Timestamp, Unit};
use std::collections::BTreeSet;

/// Abbreviations of time zones (RFC 2822, western and central Europe), and their hours from UTC.
const ZONES: [(&str, i8); 15] = [
    ("UTC", 0),
    ("GMT", 0),
    ("PDT", -7),
    ("PST", -8),
    ("MDT", -6),
    ("MST", -7),
    ("CDT", -5),
    ("CST", -6),
    ("EDT", -4),
    ("EST", -5),
    ("WET", 0),
    ("BST", 1),
    ("CET", 1),
    ("CEST", 2),
    ("Z", 0),
];
/// The format of a time in X's API v1.1.
const TWITTER: &str = "%a %b %d %H:%M:%S %z %Y";
/// A number of this size or more counts milliseconds since 1970, and a smaller one counts seconds. In
/// milliseconds, it is a day in 1973. In seconds, it is a day in the year 5138.
const MILLISECONDS: u64 = 100_000_000_000;
const NOON: i8 = 12;

/// The order of day and month in a date with slashes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum DateOrder {
    /// Only a clear date can be read: its day is greater than 12, or equal to its month.
    #[default]
    Unknown,
    DayFirst,
    MonthFirst,
}

/// Returns the order of day and month in the dates of a column. One date whose day is greater than 12
/// decides. Without such a date, the number that differs between the dates is the day, if the other number is
/// the same in all of them: a part of a table covers days rather than months. If the dates contradict each
/// other, the order is unknown.
pub(super) fn date_order<'a>(times: impl Iterator<Item = &'a str>) -> DateOrder {
    let mut order = DateOrder::Unknown;
    let (mut firsts, mut seconds) = (BTreeSet::new(), BTreeSet::new());
    for (first, second, _) in times.filter_map(|time| slashes(split(time.trim()).0)) {
        firsts.insert(first);
        seconds.insert(second);
        let found = match (first > NOON, second > NOON) {
            (true, false) => DateOrder::DayFirst,
            (false, true) => DateOrder::MonthFirst,
            _ => continue,
        };
        if order != DateOrder::Unknown && order != found {
            return DateOrder::Unknown;
        }
        order = found;
    }
    match (order, firsts.len() > 1, seconds.len() > 1) {
        (DateOrder::Unknown, true, false) => DateOrder::DayFirst,
        (DateOrder::Unknown, false, true) => DateOrder::MonthFirst,
        _ => order,
    }
}

/// Reads a time. A time without an offset is in UTC. Returns `None` if the text is ambiguous, or is not in
/// one of these forms:
///
/// - RFC 3339, with a space or a `T`, and with or without a time of day and an offset, which may be an
///   abbreviation such as `UTC`: `2021-02-10 23:59:04`
/// - X's API v1.1: `Tue Jan 05 09:30:10 +0000 2021`, or with an abbreviation such as `PDT` as the offset
/// - RFC 2822: `Tue, 05 Jan 2021 09:30:10 +0000`
/// - `31/12/2021 23:59`, if the order of day and month is known or clear; `31.12.2021`; `2021/12/31`
/// - the number of seconds or milliseconds since 1970
pub(super) fn parse(text: &str, order: DateOrder) -> Option<Timestamp> {
    let text = text.trim();
    if text.starts_with(|first: char| first.is_ascii_alphabetic()) {
        return named_day(text);
    }
    let utc = |time: DateTime| Offset::UTC.to_timestamp(time).ok();
    // Most times have no offset.
    if let Ok(time) = text.parse::<DateTime>()
        && !has_offset(text)
    {
        return utc(time);
    }
    if let Ok(time) = text.parse() {
        return Some(time);
    }
    if let Some((rest, zone)) = text.rsplit_once(' ')
        && let Some((_, hours)) = ZONES.iter().find(|(name, _)| *name == zone)
    {
        let time: DateTime = rest.parse().ok()?;
        return Offset::constant(*hours).to_timestamp(time).ok();
    }
    match numeric_date(text, order) {
        Some(time) => utc(time),
        None => since_1970(text),
    }
}

/// Returns whether a time of RFC 3339 ends with an offset such as `+01:00`.
fn has_offset(text: &str) -> bool {
    text.get("2021-02-10".len()..)
        .is_some_and(|time| time.contains(['+', '-', 'Z', 'z', '[']))
}

/// Reads a time that begins with the name of a day.
fn named_day(text: &str) -> Option<Timestamp> {
    if let Ok(time) = Timestamp::strptime(TWITTER, text) {
        return Some(time);
    }
    if let Ok(time) = rfc2822::DateTimeParser::new().parse_timestamp(text) {
        return Some(time);
    }
    let mut parts = text.split(' ');
    let (zone, year) = (parts.nth(4)?, parts.next()?);
    let (_, hours) = ZONES.iter().find(|(name, _)| *name == zone)?;
    let start = text.get(..text.len() - zone.len() - year.len() - 2)?;
    let time = DateTime::strptime("%a %b %d %H:%M:%S %Y", format!("{start} {year}")).ok()?;
    Offset::constant(*hours).to_timestamp(time).ok()
}

fn since_1970(text: &str) -> Option<Timestamp> {
    if let Ok(number) = text.parse::<i64>() {
        return match number.unsigned_abs() < MILLISECONDS {
            true => Timestamp::from_second(number).ok(),
            false => Timestamp::from_millisecond(number).ok(),
        };
    }
    let number: f64 = text.parse().ok()?;
    let is_seconds = number.abs() < MILLISECONDS as f64;
    let seconds = if is_seconds { number } else { number / 1_000.0 };
    let since = SignedDuration::try_from_secs_f64(seconds).ok()?;
    Timestamp::from_duration(since.round(Unit::Microsecond).ok()?).ok()
}

/// Reads the numbers of a date such as `31/12/2021`.
fn slashes(date: &str) -> Option<(i8, i8, i16)> {
    let mut numbers = date.split('/');
    let (first, second) = (numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?);
    let year = numbers.next()?;
    let is_date = year.len() == 4 && numbers.next().is_none();
    is_date.then_some((first, second, year.parse().ok()?))
}

/// Cuts a text into a date and a time of day, which may be empty.
fn split(text: &str) -> (&str, &str) {
    text.split_once([' ', 'T', ',']).unwrap_or((text, ""))
}

/// Reads a date with slashes or points, which may have a time of day.
fn numeric_date(text: &str, order: DateOrder) -> Option<DateTime> {
    let (date, time) = split(text);
    let date = match slashes(date) {
        Some((day, month, year)) if day == month => Date::new(year, month, day),
        Some((first, second, year)) => match order {
            DateOrder::DayFirst => Date::new(year, second, first),
            DateOrder::MonthFirst => Date::new(year, first, second),
            DateOrder::Unknown if first > NOON => Date::new(year, second, first),
            DateOrder::Unknown if second > NOON => Date::new(year, first, second),
            DateOrder::Unknown => return None,
        },
        None if date.contains('.') => Date::strptime("%d.%m.%Y", date),
        None if date.find('/') == Some(4) => Date::strptime("%Y/%m/%d", date),
        None => return None,
    };
    Some(date.ok()?.to_datetime(time_of_day(time.trim())?))
}

/// Reads a time of day such as `23:59`, `23:59:04` or `11:59 PM`. An empty text is midnight.
fn time_of_day(text: &str) -> Option<Time> {
    if text.is_empty() {
        return Some(Time::midnight());
    }
    let formats = ["%H:%M:%S", "%H:%M", "%I:%M:%S %p", "%I:%M %p"];
    formats
        .iter()
        .find_map(|format| Time::strptime(format, text).ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(text: &str) -> Option<String> {
        parse(text, DateOrder::Unknown).map(|time| time.to_string())
    }

    #[test]
    fn times_are_read_in_each_form() {
        for (text, expected) in [
            ("2021-02-10 23:59:04", "2021-02-10T23:59:04Z"),
            ("2021-02-10T23:59:04.5", "2021-02-10T23:59:04.5Z"),
            ("2021-02-10 23:59", "2021-02-10T23:59:00Z"),
            ("2021-02-10", "2021-02-10T00:00:00Z"),
            ("2021-02-10T23:59:04Z", "2021-02-10T23:59:04Z"),
            (
                "2021-02-10T23:59:04.123456789+01:00",
                "2021-02-10T22:59:04.123456789Z",
            ),
            ("2021-02-10 23:59:04+00:00", "2021-02-10T23:59:04Z"),
            ("2021-02-10 23:59:04-0800", "2021-02-11T07:59:04Z"),
            ("2021-02-10 23:59:04 UTC", "2021-02-10T23:59:04Z"),
            ("Mon Apr 06 22:19:45 PDT 2009", "2009-04-07T05:19:45Z"),
            ("Tue Jan 05 09:30:10 +0000 2021", "2021-01-05T09:30:10Z"),
            ("Tue, 05 Jan 2021 09:30:10 +0100", "2021-01-05T08:30:10Z"),
            ("31/12/2020 23:59", "2020-12-31T23:59:00Z"),
            ("12/31/2020 11:59:04 PM", "2020-12-31T23:59:04Z"),
            ("3/3/2021", "2021-03-03T00:00:00Z"),
            ("05.01.2021 09:30", "2021-01-05T09:30:00Z"),
            ("2021/01/05 09:30:10", "2021-01-05T09:30:10Z"),
            ("1609839010", "2021-01-05T09:30:10Z"),
            ("1609839010123", "2021-01-05T09:30:10.123Z"),
            ("1609839010.5", "2021-01-05T09:30:10.5Z"),
        ] {
            assert_eq!(read(text).as_deref(), Some(expected), "{text}");
        }
    }

    #[test]
    fn ambiguous_dates_and_other_texts_are_unknown() {
        for text in [
            "",
            " ",
            "now",
            "ada",
            "01/02/2021",
            "32/01/2021",
            "13/13/2021",
            "2021-02-30 00:00:00",
            "nan",
            "inf",
            "1e300",
            "-",
            "Mon Apr 06 22:19:45 XYZ 2009",
            "1/2",
            "31/12/20",
            "a/b/2021",
            "\u{1f680}",
        ] {
            assert_eq!(read(text), None, "{text}");
        }
    }

    #[test]
    fn one_clear_date_decides_the_order_of_a_column() {
        let order = |times: &[&str]| date_order(times.iter().copied());
        assert_eq!(
            order(&["01/02/2021 09:30", "13/02/2021 09:30"]),
            DateOrder::DayFirst
        );
        assert_eq!(order(&["01/02/2021", "02/13/2021"]), DateOrder::MonthFirst);
        assert_eq!(order(&[" 13/02/2021, 09:30"]), DateOrder::DayFirst);
        assert_eq!(order(&["13/02/2021", "02/13/2021"]), DateOrder::Unknown);
        assert_eq!(order(&["05/01/2021", "06/01/2021"]), DateOrder::DayFirst);
        assert_eq!(order(&["01/05/2021", "01/06/2021"]), DateOrder::MonthFirst);
        assert_eq!(order(&["01/02/2021", "01/02/2021"]), DateOrder::Unknown);
        assert_eq!(order(&["01/02/2021", "02/03/2021"]), DateOrder::Unknown);
        assert_eq!(order(&["2021-01-05", "01/02/2021"]), DateOrder::Unknown);
        let time = parse("01/02/2021", DateOrder::DayFirst).unwrap();
        assert_eq!(time.to_string(), "2021-02-01T00:00:00Z");
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "\\PC{0,40}", digits in "[0-9/.: +-]{0,40}") {
            for text in [&text, &digits] {
                let _ = parse(text, DateOrder::DayFirst);
                let _ = date_order([text.as_str()].into_iter());
            }
        }
    }
}
