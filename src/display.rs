//! The output of a notebook cell.
//!
//! The Rust kernel displays a value by calling its `evcxr_display` method. The method prints blocks
//! of content, each with a media type, between two markers. Every function here escapes its input:
//! data from the network is text, never HTML.

use std::borrow::Cow;

/// Prints one block of content for the kernel. Several blocks are alternative forms of the same
/// value; the notebook shows the richest form that it supports.
pub(crate) fn show(media_type: &str, content: &str) {
    println!("EVCXR_BEGIN_CONTENT {media_type}\n{content}\nEVCXR_END_CONTENT");
}

/// Escapes text for HTML.
pub(crate) fn escape(text: &str) -> Cow<'_, str> {
    if !text.contains(['&', '<', '>', '"', '\'']) {
        return Cow::Borrowed(text);
    }
    let mut html = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match c {
            '&' => html.push_str("&amp;"),
            '<' => html.push_str("&lt;"),
            '>' => html.push_str("&gt;"),
            '"' => html.push_str("&quot;"),
            '\'' => html.push_str("&#39;"),
            c => html.push(c),
        }
    }
    Cow::Owned(html)
}

/// Shortens `text` to at most `limit` characters on one line, with `…` in place of the rest.
pub(crate) fn shorten(text: &str, limit: usize) -> String {
    // Nearly every tweet is short enough and has no control character, and a listener shortens each
    // tweet. A control character is a low byte, or a pair of bytes that starts with 0xc2.
    let is_special = |byte: u8| (byte < b' ') | (byte == 0x7f) | (byte == 0xc2);
    // A fold has no early exit, so the compiler can vectorise it.
    let any_special = |found, byte| found | is_special(byte);
    if text.len() <= limit && !text.bytes().fold(false, any_special) {
        return text.to_owned();
    }
    let plain = |c: char| if c.is_control() { ' ' } else { c };
    let mut short: String = text.chars().take(limit).map(plain).collect();
    if text.chars().nth(limit).is_some() {
        short.push('…');
    }
    short
}

/// Formats a number with thousands separators: `12,345`.
pub(crate) fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A status card: a table of names and values under a title.
pub(crate) struct Card {
    html: String,
    text: String,
    data: Option<serde_json::Value>,
}

impl Card {
    pub(crate) fn new(title: &str) -> Card {
        Card {
            html: format!(
                "<table><caption style=\"text-align:left\"><b>{}</b></caption>",
                escape(title)
            ),
            text: title.to_owned(),
            data: None,
        }
    }

    pub(crate) fn row(mut self, name: &str, value: &str) -> Card {
        self.html.push_str(&format!(
            "<tr><td style=\"text-align:left\">{}</td><td style=\"text-align:left\">{}</td></tr>",
            escape(name),
            escape(value)
        ));
        self.text.push_str(&format!("\n  {name}: {value}"));
        self
    }

    /// Adds a text, of which each part is coloured by its sign: green above zero, red below. A stronger
    /// colour is a larger number.
    pub(crate) fn coloured(mut self, parts: impl Iterator<Item = (String, f64)>) -> Card {
        self.html
            .push_str("<tr><td colspan=\"2\" style=\"text-align:left;white-space:pre-wrap\">");
        self.text.push_str("\n  ");
        for (part, value) in parts {
            self.text.push_str(&part);
            let part = escape(&part);
            if value == 0.0 {
                self.html.push_str(&part);
                continue;
            }
            let colour = if value > 0.0 {
                "26,127,75"
            } else {
                "194,55,31"
            };
            let strength = (0.15 + value.abs() / 8.0).min(0.6);
            self.html.push_str(&format!(
                "<span style=\"background:rgba({colour},{strength:.2});border-radius:3px\">{part}</span>"
            ));
        }
        self.html.push_str("</td></tr>");
        self
    }

    /// Adds the same values for programs that read the notebook, in a form that no notebook shows.
    pub(crate) fn data(mut self, data: serde_json::Value) -> Card {
        self.data = Some(data);
        self
    }

    pub(crate) fn show(self) {
        show("text/html", &format!("{}</table>", self.html));
        show("text/plain", &self.text);
        if let Some(data) = self.data {
            show("application/vnd.live-sentiment+json", &data.to_string());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn html_in_text_is_escaped() {
        assert_eq!(escape("<b>'&\"</b>"), "&lt;b&gt;&#39;&amp;&quot;&lt;/b&gt;");
        assert_eq!(escape("plain 🚀"), "plain 🚀");
        assert_eq!(shorten("a\nb🚀c", 3), "a b…");
        assert_eq!(shorten("🚀🚀", 2), "🚀🚀");
    }

    #[test]
    fn thousands_are_separated() {
        let shown = [0, 999, 1_000, 1_234_567].map(thousands);
        assert_eq!(shown, ["0", "999", "1,000", "1,234,567"]);
    }
}
