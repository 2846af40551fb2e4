//! Panics of a cell: their message and place, without the frames of evcxr.

use std::panic::{set_hook, take_hook};
use std::thread;

/// The variable with the random text at the start of the lines for `kernel/front.py`, which reads the output of
/// the cells. `kernel/start.py` sets it.
const FRONT: &str = "LIVE_SENTIMENT_FRONT";

/// Reports the panics of this thread, which runs the cells, to `kernel/front.py`: as a line on standard
/// output, which the notebook does not show. The panics of other threads, and those in a kernel without this
/// program, are printed as usual.
pub(super) fn report_panics() {
    let Ok(mark) = std::env::var(FRONT) else {
        return;
    };
    let cells = thread::current().id();
    let default = take_hook();
    set_hook(Box::new(move |panic| {
        if thread::current().id() != cells {
            return default(panic);
        }
        let (file, line) = panic
            .location()
            .map_or(("", 0), |place| (place.file(), place.line()));
        let message = panic
            .payload_as_str()
            .unwrap_or("a panic without a message");
        let message = message.replace('\n', "\u{2}");
        println!("\u{1}{mark}:panicked:{file}:{line}:{message}");
    }));
}
