//! Parsers of data from the network. The first byte selects the parser, and the rest is its input.

#![no_main]

use libfuzzer_sys::fuzz_target;
use live_sentiment::fuzzing;

fuzz_target!(|input: &[u8]| {
    let Some((kind, rest)) = input.split_first() else {
        return;
    };
    match kind {
        b't' => fuzzing::tweet(rest),
        b's' => fuzzing::score(rest),
        b'x' => fuzzing::x(rest),
        b'j' => fuzzing::jetstream(rest),
        b'q' => fuzzing::question(rest),
        _ => {}
    }
});
