//! Text for people: escaped for HTML, short, and with readable numbers.

/// Escapes text for HTML.
pub(crate) fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
        .replace('\'', "&#39;")
}

/// Shortens a text to `limit` characters on one line. A `…` replaces the rest.
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
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
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
