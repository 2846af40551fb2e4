//! Changes of the code that evcxr adds to a cell.
//!
//! A line that begins with U+0001 is for `kernel/front.py`, which does not show it. In such a line, U+0002 stands
//! for a line end.

/// The prelude contains this text.
const PRELUDE: &str = "live_sentiment::interrupt::handle_interrupts();";
/// The line before the code of a cell with variables.
const BEGIN: &str = "match std::panic::catch_unwind(\n";
/// Parts of evcxr's code, and what replaces them. The number of lines stays the same, because evcxr finds the
/// cell's code by the numbers of the lines.
///
/// A cell begins and ends with a line. All of its output comes between them.
const MARKS: [(&str, &str); 2] = [
    (
        BEGIN,
        "println!(\"\\u{1}live_sentiment:begin:\"); match std::panic::catch_unwind(\n",
    ),
    (
        "\nevcxr_variable_store\n}\n",
        "\nprintln!(\"\\u{1}live_sentiment:end:\"); eprintln!(\"\\u{1}live_sentiment:end:\"); evcxr_variable_store\n}\n",
    ),
];
const PATCHES: [(&str, &str); 3] = [
    // The value `()`, which a `println!` without a semicolon has, is not displayed.
    (
        "} if let Err(error) = try_send_text(text)\n",
        "} if text != \"()\" && let Err(error) = try_send_text(text)\n",
    ),
    // A cell was left by `?`.
    (
        "eprintln!(\"{}\", error);\n",
        "println!(\"\\u{1}live_sentiment:error:{}\", error.to_string().replace('\\n', \"\\u{2}\"));\n",
    ),
    // A cell has panicked.
    (
        "println!(\"EVCXR_PANIC_NOTIFICATION\");",
        "println!(\"\\u{1}live_sentiment:failed:\"); println!(\"EVCXR_PANIC_NOTIFICATION\");",
    ),
];

pub(crate) fn apply(source: &str) -> String {
    // evcxr reads no output before its first cell, which has no variables, and the prelude have ended. If they
    // printed, the kernel would wait for ever.
    let has_marks = source.contains(BEGIN) && !source.contains(PRELUDE);
    let marks = if has_marks { &MARKS[..] } else { &[] };
    let patches = marks.iter().chain(&PATCHES);
    patches.fold(source.to_owned(), |source, (from, to)| {
        source.replace(from, to)
    })
}
