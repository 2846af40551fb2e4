//! What a notebook cell shows.
//!
//! The Rust kernel shows a value by its `evcxr_display` method, which prints blocks of content,
//! each with its media type, between two marks. Everything here escapes what it is given: what
//! came from the network is text, never HTML.

use std::borrow::Cow;

/// Prints one block of content for the kernel; several blocks of one cell are forms of the same
/// thing, of which the notebook shows the best that it can.
pub(crate) fn show(media_type: &str, content: &str) {
    println!("EVCXR_BEGIN_CONTENT {media_type}\n{content}\nEVCXR_END_CONTENT");
}

/// Text as HTML that shows it.
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

/// At most `limit` characters of `text`, on one line, with `…` where something was cut.
pub(crate) fn shorten(text: &str, limit: usize) -> String {
    // Nearly every tweet stays as it is, and a listener shortens each: a control character is a low
    // byte, or two bytes that begin so.
    let is_special = |byte: u8| (byte < b' ') | (byte == 0x7f) | (byte == 0xc2);
    // Without an early end the compiler looks at many bytes at once.
    let looked_at = |found, byte| found | is_special(byte);
    if text.len() <= limit && !text.bytes().fold(false, looked_at) {
        return text.to_owned();
    }
    let plain = |c: char| if c.is_control() { ' ' } else { c };
    let mut short: String = text.chars().take(limit).map(plain).collect();
    if text.chars().nth(limit).is_some() {
        short.push('…');
    }
    short
}

/// A number with its thousands apart: `12,345`.
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

/// A small table of names and values under a title.
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

    /// The same for programs that read the notebook: a form that no notebook shows.
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

/// Prints the crate's log, from `info` up, in the notebook: what it waits for, what it found.
///
/// The crate prints nothing on its own; it logs with `tracing`. Other programs choose their own
/// subscriber. A second call does nothing.
pub fn show_log() {
    let _ = tracing::subscriber::set_global_default(Log);
}

/// The smallest subscriber that will do: a line per event of this crate, and no spans.
struct Log;

impl tracing::Subscriber for Log {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        *metadata.level() <= tracing::Level::INFO
            && metadata.target().starts_with(env!("CARGO_PKG_NAME"))
    }
    fn event(&self, event: &tracing::Event<'_>) {
        struct Message(String);
        impl tracing::field::Visit for Message {
            fn record_debug(&mut self, field: &tracing::field::Field, value: &dyn std::fmt::Debug) {
                if field.name() == "message" {
                    self.0 = format!("{value:?}");
                }
            }
        }
        let mut message = Message(String::new());
        event.record(&mut message);
        println!("{}", message.0);
    }
    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }
    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}
    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}
    fn enter(&self, _: &tracing::span::Id) {}
    fn exit(&self, _: &tracing::span::Id) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strangers_text_becomes_text() {
        assert_eq!(escape("<b>'&\"</b>"), "&lt;b&gt;&#39;&amp;&quot;&lt;/b&gt;");
        assert_eq!(escape("plain 🚀"), "plain 🚀");
        assert_eq!(shorten("a\nb🚀c", 3), "a b…");
        assert_eq!(shorten("🚀🚀", 2), "🚀🚀");
    }

    #[test]
    fn thousands_stand_apart() {
        let shown = [0, 999, 1_000, 1_234_567].map(thousands);
        assert_eq!(shown, ["0", "999", "1,000", "1,234,567"]);
    }
}
