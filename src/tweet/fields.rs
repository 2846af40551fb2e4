//! Decodes the fields of a tweet. Programs in several languages write tweets, and they write the same value
//! in different forms. So a field accepts several forms.

use super::unknown_time;
use jiff::Timestamp;
use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, Error, MapAccess, Visitor};
use serde_json::value::RawValue;
use std::collections::BTreeSet;
use std::fmt;
use std::marker::PhantomData;

/// Up to this many topics, each pair is compared, which needs no allocation. More topics are put into a set.
const FEW_TOPICS: usize = 8;

/// A value that is decoded only from a JSON object. Without this type, the code that serde derives would also
/// accept an array of the field values.
pub(crate) struct Object<T>(pub(crate) T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Fields<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Fields<T> {
            type Value = T;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, fields: A) -> Result<T, A::Error> {
                T::deserialize(MapAccessDeserializer::new(fields))
            }
        }
        let fields = deserializer.deserialize_map(Fields(PhantomData))?;
        Ok(Object(fields))
    }
}

/// Deserializes a value. `null` becomes the empty value.
pub(crate) fn or_empty<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// Deserializes an id from a string or a number. The characters of the number are the id, because a parsed
/// number above 2^64 would lose digits.
pub(crate) fn id<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let json = <&RawValue>::deserialize(deserializer)?.get();
    match json.as_bytes().first() {
        Some(b'"') => serde_json::from_str(json).map_err(D::Error::custom),
        Some(b'-' | b'0'..=b'9') => Ok(json.to_owned()),
        _ if json == "null" => Ok(String::new()),
        _ => Err(D::Error::custom("an id is a string or a number")),
    }
}

/// Deserializes a time of RFC 3339, see [`time_in`].
pub(crate) fn time<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Timestamp, D::Error> {
    time_in(deserializer, |text| text.parse().ok())
}

/// Deserializes a time in the format that `parse` reads. The time is unknown if the string is not a time that
/// a [`Timestamp`] can hold. A number is unknown too, because it may count seconds or milliseconds.
pub(crate) fn time_in<'de, D: Deserializer<'de>>(
    deserializer: D,
    parse: fn(&str) -> Option<Timestamp>,
) -> Result<Timestamp, D::Error> {
    struct Time(fn(&str) -> Option<Timestamp>);
    impl Visitor<'_> for Time {
        type Value = Timestamp;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a string, a number or null")
        }
        fn visit_str<E>(self, text: &str) -> Result<Timestamp, E> {
            Ok((self.0)(text).unwrap_or_else(unknown_time))
        }
        fn visit_u64<E>(self, _: u64) -> Result<Timestamp, E> {
            Ok(unknown_time())
        }
        fn visit_i64<E>(self, _: i64) -> Result<Timestamp, E> {
            Ok(unknown_time())
        }
        fn visit_f64<E>(self, _: f64) -> Result<Timestamp, E> {
            Ok(unknown_time())
        }
        fn visit_unit<E>(self) -> Result<Timestamp, E> {
            Ok(unknown_time())
        }
    }
    deserializer.deserialize_any(Time(parse))
}

/// Deserializes a count from a number, or from a string that contains a number. The count is unknown if it is
/// not a whole number from 0 to 2^64 - 1. A number with a decimal point or an exponent must be less than
/// 2^53, because an `f64` is exact only up to there.
pub(crate) fn count<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    struct Count;
    impl Visitor<'_> for Count {
        type Value = Option<u64>;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a number, a string or null")
        }
        fn visit_u64<E>(self, n: u64) -> Result<Self::Value, E> {
            Ok(Some(n))
        }
        fn visit_i64<E>(self, n: i64) -> Result<Self::Value, E> {
            Ok(u64::try_from(n).ok())
        }
        fn visit_f64<E>(self, n: f64) -> Result<Self::Value, E> {
            Ok(whole(n))
        }
        fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
            Ok(text.trim().parse().ok())
        }
        fn visit_unit<E>(self) -> Result<Self::Value, E> {
            Ok(None)
        }
    }
    deserializer.deserialize_any(Count)
}

/// Returns a whole number from 0 to less than 2^53 as an integer; `None` for any other number. An `f64` is exact
/// only up to there.
pub(crate) fn whole(number: f64) -> Option<u64> {
    const LIMIT: f64 = (1u64 << 53) as f64;
    (number.fract() == 0.0 && (0.0..LIMIT).contains(&number)).then_some(number as u64)
}

/// Deserializes the topics, and keeps a repeated name once. A message of 1 MiB may contain a name 250,000
/// times.
pub(super) fn topics<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    let mut topics: Vec<String> = or_empty(deserializer)?;
    let is_repeated = |index: usize| topics[..index].contains(&topics[index]);
    if topics.len() > FEW_TOPICS || (1..topics.len()).any(is_repeated) {
        let mut known = BTreeSet::new();
        let is_new: Vec<bool> = topics.iter().map(|topic| known.insert(topic)).collect();
        let mut is_new = is_new.into_iter();
        topics.retain(|_| is_new.next() == Some(true));
    }
    Ok(topics)
}
