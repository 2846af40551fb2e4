//! The status card, and the protocol between a cell and the kernel.

use super::text::escape;

/// Prints one block of content for the kernel. Several blocks are alternative forms of the same
/// value; the notebook shows the richest form that it supports.
pub(crate) fn show(media_type: &str, content: &str) {
    println!("EVCXR_BEGIN_CONTENT {media_type}\n{content}\nEVCXR_END_CONTENT");
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

    /// Adds a text in parts. A part is green if its number is above zero and red if it is below. A larger
    /// number has a stronger colour.
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

    /// Adds the same values for programs that read the notebook. A notebook does not show them.
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
