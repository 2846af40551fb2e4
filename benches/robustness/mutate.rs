//! Mutations that use the structure of a message. A mutated message stays nearly valid, so it gets further
//! into a parser than random bytes.

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use serde_json::{Map, Value, json};

pub struct Mutator(SmallRng);

/// Strings that have caused errors in parsers.
const AWKWARD: [&str; 14] = [
    "",
    " ",
    "\0",
    "\u{feff}",
    "\u{202e}abc",
    "🚀🚀🚀",
    "e\u{301}\u{301}\u{301}",
    "<script>alert(1)</script>",
    "2026-13-45T99:99:99Z",
    "9999-12-31T23:59:60.999999999Z",
    "-1",
    "NaN",
    "{\"text\":1}",
    "\u{1F468}\u{200D}\u{1F469}",
];

impl Mutator {
    pub fn new(seed: u64) -> Mutator {
        Mutator(SmallRng::seed_from_u64(seed))
    }

    pub fn below(&mut self, limit: usize) -> usize {
        self.0.random_range(0..limit)
    }

    pub fn one_of<T: Clone>(&mut self, among: &[T]) -> T {
        among[self.below(among.len())].clone()
    }

    /// Returns a mutated message: up to two changes of its values, and sometimes of its bytes.
    pub fn message(&mut self, seed: &Value) -> Vec<u8> {
        let mut value = seed.clone();
        for _ in 0..self.below(3) {
            self.change(&mut value, 0);
        }
        let mut bytes = serde_json::to_vec(&value).unwrap();
        if self.below(4) == 0 {
            self.bytes(&mut bytes);
        }
        bytes
    }

    /// Changes one value somewhere in the tree.
    fn change(&mut self, value: &mut Value, depth: usize) {
        let is_here = depth > 0 && self.below(3) == 0;
        match value {
            Value::Object(fields) if !is_here && !fields.is_empty() => {
                let keys: Vec<String> = fields.keys().cloned().collect();
                let key = self.one_of(&keys);
                match self.below(6) {
                    0 => drop(fields.remove(&key)),
                    1 => {
                        let other = self.one_of(&keys);
                        let moved = fields.get(&key).cloned().unwrap_or(Value::Null);
                        fields.insert(other, moved);
                    }
                    2 => drop(fields.insert(self.one_of(&AWKWARD).to_string(), self.value())),
                    _ => self.change(&mut fields[&key], depth + 1),
                }
            }
            Value::Array(items) if !is_here && !items.is_empty() => {
                let index = self.below(items.len());
                match self.below(4) {
                    0 => drop(items.remove(index)),
                    1 => items.push(items[index].clone()),
                    _ => self.change(&mut items[index], depth + 1),
                }
            }
            Value::String(text) if self.below(2) == 0 => match self.below(3) {
                0 => text.push_str(self.one_of(&AWKWARD)),
                1 => *text = text.repeat(self.below(50)),
                _ => *text = text.chars().rev().collect(),
            },
            _ => *value = self.value(),
        }
    }

    fn value(&mut self) -> Value {
        match self.below(11) {
            0 => Value::Null,
            1 => json!(true),
            2 => json!(u64::MAX),
            3 => json!(i64::MIN),
            4 => json!(1e308),
            5 => json!(-0.0),
            6 => json!([]),
            7 => Value::Object(Map::new()),
            8 => (0..self.below(150)).fold(Value::Null, |inner, _| json!([inner])),
            9 => json!("x".repeat(self.below(5_000))),
            _ => json!(self.one_of(&AWKWARD)),
        }
    }

    /// Changes the bytes at up to four places.
    pub fn bytes(&mut self, bytes: &mut Vec<u8>) {
        for _ in 0..=self.below(4) {
            if bytes.is_empty() {
                return;
            }
            let at = self.below(bytes.len());
            match self.below(5) {
                0 => bytes[at] ^= 1 << self.below(8),
                1 => bytes.insert(at, self.0.random()),
                2 => drop(bytes.remove(at)),
                3 => bytes.truncate(at),
                _ => {
                    let end = at + self.below(bytes.len() - at).min(200);
                    let part = bytes[at..end].to_vec();
                    bytes.splice(at..at, part);
                }
            }
        }
    }

    /// Returns a text of words, signs and characters of all kinds.
    pub fn text(&mut self) -> String {
        const WORDS: [&str; 24] = [
            "good", "NOT", "isn't", "very", "but", "great", "sad", "no", "kind", "of", "the",
            "bomb", "yeah", "right", "least", "at", "never", "so", "this", "without", "doubt",
            ":)", ":-(", "n't",
        ];
        let mut text = String::new();
        for _ in 0..self.below(40) {
            match self.below(8) {
                0..5 => text.push_str(self.one_of(&WORDS)),
                5 => text.push_str(
                    &"!?.…'-"
                        .chars()
                        .cycle()
                        .skip(self.below(6))
                        .take(self.below(6))
                        .collect::<String>(),
                ),
                6 => text.extend(char::from_u32(self.0.random_range(0..0x11_0000))),
                _ => text.push_str(self.one_of(&AWKWARD)),
            }
            if self.below(4) > 0 {
                text.push(' ');
            }
        }
        text
    }
}
