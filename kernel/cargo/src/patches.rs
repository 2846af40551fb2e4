//! Changes of the code that evcxr adds to a cell.
//!
//! The added lines print lines for `kernel/front.py`, which does not show them. Such a line begins with U+0001
//! and the random text in the variable `LIVE_SENTIMENT_FRONT`, so that no tweet can contain one. In it, U+0002
//! stands for a line end.

/// The prelude contains this text.
const PRELUDE: &str = "live_sentiment::interrupt::handle_interrupts();";
/// The line before the code of a cell with variables.
const BEGIN: &str = "match std::panic::catch_unwind(\n";
/// The last lines of a cell.
const END: &str = "\nevcxr_variable_store\n}\n";
/// A line of the function that displays a value.
const DISPLAY: &str = "} if let Err(error) = try_send_text(text)\n";
/// The lines that run when an error leaves a cell through `?`.
const ERROR: &str = "eprintln!(\"{}\", error);
                    println!(\"{}\", evcxr_internal_runtime::USER_ERROR_OCCURRED);";
/// The line that runs when a cell has panicked.
const PANIC: &str = "println!(\"EVCXR_PANIC_NOTIFICATION\");";

/// Returns the text of a cell with the changes. The number of lines stays the same, because evcxr finds the
/// cell's code by the numbers of the lines.
pub(crate) fn apply(source: &str) -> String {
    // The value `()`, which a `println!` without a semicolon has, is not displayed.
    let display = DISPLAY.replace("if let", "if text != \"()\" && let");
    let error = mark(
        "println",
        "error:{}",
        ", error.to_string().replace('\\n', \"\\u{2}\")",
    );
    let error = format!("{error}\n{}", ERROR.lines().last().unwrap_or_default());
    let panic = mark("println", "failed:", "") + PANIC;
    let mut patched = source
        .replace(DISPLAY, &display)
        .replace(ERROR, &error)
        .replace(PANIC, &panic);
    // All output of a cell comes between these two lines. evcxr reads no output before its first cell, which has
    // no variables, and the prelude have ended. If they printed, the kernel would wait for ever.
    if source.contains(BEGIN) && !source.contains(PRELUDE) {
        let end = mark("println", "end:", "") + &mark("eprintln", "end:", "");
        patched = patched
            .replace(BEGIN, &(mark("println", "begin:", "") + BEGIN))
            .replace(END, &format!("\n{end}{}", END.trim_start()));
    }
    patched
}

/// Returns the code that prints a line for `kernel/front.py`.
fn mark(print: &str, text: &str, argument: &str) -> String {
    format!(
        "{print}!(\"\\u{{1}}{{}}:{text}\", std::env::var(\"LIVE_SENTIMENT_FRONT\").unwrap_or_default(){argument}); "
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_of_lines_stays_the_same_and_the_own_code_of_a_cell_too() {
        let own = "eprintln!(\"{}\", error);\n";
        let source = format!("{BEGIN}{own}{DISPLAY}{ERROR}\n{PANIC}{END}");
        let patched = apply(&source);
        assert_eq!(patched.lines().count(), source.lines().count());
        assert!(patched.contains(own) && !patched.contains(ERROR));
        for kind in ["begin:", "error:{}", "failed:", "end:"] {
            assert!(patched.contains(kind), "{kind} is missing in:\n{patched}");
        }
        let first = format!("{BEGIN}{PRELUDE}{END}");
        assert_eq!(apply(&first), first);
    }
}
