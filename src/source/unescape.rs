//! Replaces HTML's character references in a text with their characters.
//!
//! X escapes `&`, `<` and `>` in the texts that its API returns ("Counting characters", docs.x.com).
//! Tables that other programs have written contain escaped quotes too. The texts of Bluesky and of this
//! project's files are not escaped, so this function must not be applied to them.

/// The references and their characters.
const REFERENCES: [(&str, char); 6] = [
    ("&amp;", '&'),
    ("&lt;", '<'),
    ("&gt;", '>'),
    ("&quot;", '"'),
    ("&#39;", '\''),
    ("&#039;", '\''),
];

/// Returns the text with each character reference replaced once: `&amp;lt;` becomes `&lt;`. Any other `&`
/// stays. A text without `&` is returned without a copy.
pub(super) fn unescape(text: String) -> String {
    if !text.contains('&') {
        return text;
    }
    let mut unescaped = String::with_capacity(text.len());
    let mut rest = &*text;
    while let Some(at) = rest.find('&') {
        unescaped.push_str(&rest[..at]);
        rest = &rest[at..];
        let reference = REFERENCES.iter().find(|(name, _)| rest.starts_with(name));
        let (name, character) = reference.unwrap_or(&("&", '&'));
        unescaped.push(*character);
        rest = &rest[name.len()..];
    }
    unescaped.push_str(rest);
    unescaped
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn each_reference_is_replaced_once() {
        for (text, expected) in [
            ("", ""),
            ("no reference", "no reference"),
            ("cats &amp; dogs &lt;3", "cats & dogs <3"),
            ("&lt;b&gt;&quot;&#39;&#039;", "<b>\"''"),
            ("&amp;lt;", "&lt;"),
            ("&amp;amp;amp;", "&amp;amp;"),
            ("&&amp;&", "&&&"),
            ("AT&T &amp", "AT&T &amp"),
            ("&AMP; &nbsp; &#38; &é;", "&AMP; &nbsp; &#38; &é;"),
        ] {
            assert_eq!(unescape(text.into()), expected, "{text}");
        }
    }

    proptest! {
        #[test]
        fn an_escaped_text_is_restored(text in "([&<>a;é]|&amp;|&lt;|\\PC){0,20}") {
            let escaped = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
            prop_assert_eq!(unescape(escaped), text);
        }
    }
}
