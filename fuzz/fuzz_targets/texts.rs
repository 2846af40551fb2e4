//! Scores of texts: a score is in range, and the contributions of its explanation add up.

#![no_main]

use libfuzzer_sys::fuzz_target;
use live_sentiment::fuzzing;

fuzz_target!(|input: &[u8]| {
    fuzzing::text(&String::from_utf8_lossy(input));
});
