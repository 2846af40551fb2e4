//! The Lesson notebook's own functions: they check the answers of its exercises, and start the broker, the
//! source and the scorer of its steps.
//!
//! A check compares the student's answer with the correct one. For a correct answer, it shows a tick and the
//! reason. For a wrong answer, it shows a hint that helps to find the answer without giving it.
//! `docs/lesson.md` is the teacher's sheet.

#![warn(missing_docs, clippy::unwrap_used)]

mod checks;
mod stage;

pub use checks::{
    check_answers, check_late_listener, check_lost, check_metric, check_metric_without_followers,
    check_next_offset, check_order, check_takeover, check_words,
};
pub use stage::{ScorerProcess, can_kill, can_scale, source, start_broker, start_scorer};

use std::fmt;

/// The outcome of an exercise. It displays as a tick with the reason, or as a hint.
#[derive(Clone, Debug, PartialEq)]
pub struct Check {
    /// Whether the answer is right.
    pub is_right: bool,
    /// Why the answer is right, or a hint.
    pub message: String,
}

impl Check {
    fn right(reason: impl Into<String>) -> Check {
        Check {
            is_right: true,
            message: reason.into(),
        }
    }

    fn hint(hint: impl Into<String>) -> Check {
        Check {
            is_right: false,
            message: hint.into(),
        }
    }

    fn html(&self) -> String {
        let (colour, mark) = match self.is_right {
            true => ("#1a7f4b", "✔"),
            false => ("#9a6700", "hint:"),
        };
        let message = self.message.replace('&', "&amp;").replace('<', "&lt;");
        format!("<div><b style=\"color:{colour}\">{mark}</b> {message}</div>")
    }

    /// Displays the outcome in a notebook.
    #[doc(hidden)]
    pub fn evcxr_display(&self) {
        show(&self.html(), &self.to_string());
    }
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mark = if self.is_right { "✔" } else { "hint:" };
        write!(f, "{mark} {}", self.message)
    }
}

/// The outcomes of several questions, in the order of the questions.
#[derive(Clone, Debug, PartialEq)]
pub struct Checks(pub Vec<Check>);

impl Checks {
    /// Displays a line for each question in a notebook.
    #[doc(hidden)]
    pub fn evcxr_display(&self) {
        let lines: Vec<String> = self.0.iter().map(Check::html).collect();
        show(&lines.concat(), &self.to_string());
    }
}

impl fmt::Display for Checks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, check) in (1..).zip(&self.0) {
            writeln!(f, "{number}. {check}")?;
        }
        Ok(())
    }
}

/// Prints the same value as HTML and as text. The notebook shows HTML if it supports it.
fn show(html: &str, text: &str) {
    for (media_type, content) in [("text/html", html), ("text/plain", text)] {
        println!("EVCXR_BEGIN_CONTENT {media_type}\n{content}\nEVCXR_END_CONTENT");
    }
}
