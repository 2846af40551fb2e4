//! Readers of files: the input is the content of a replay file, in any format.

#![no_main]

use libfuzzer_sys::fuzz_target;
use live_sentiment::fuzzing;

fuzz_target!(|input: &[u8]| {
    fuzzing::replay(input);
});
