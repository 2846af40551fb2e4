//! The cards for the types of [`sentiment`](crate::sentiment). They are here because that module does not
//! depend on notebooks.

use super::{Card, shorten};
use crate::sentiment::{Explanation, Sentiment};

/// The maximum number of characters of a text that a card shows.
const TEXT_LENGTH: usize = 1_000;
/// The maximum number of words that a card shows.
const MAX_WORDS: usize = 100;
/// The maximum number of characters of a word that a card shows.
const WORD_LENGTH: usize = 48;

impl Sentiment {
    /// Displays a status card in a notebook.
    #[doc(hidden)]
    pub fn evcxr_display(&self) {
        Card::new("Sentiment")
            .row("compound", &format!("{:+.3}", self.compound))
            .row("pos", &format!("{:.3}", self.pos))
            .row("neu", &format!("{:.3}", self.neu))
            .row("neg", &format!("{:.3}", self.neg))
            .show();
    }
}

impl Explanation {
    /// Displays a card in a notebook: the text with its words coloured, and a row for each word that
    /// counts.
    #[doc(hidden)]
    pub fn evcxr_display(&self) {
        let mut left = TEXT_LENGTH;
        let pieces = self.pieces().into_iter().map_while(|piece| {
            let shown = shorten(piece.text, left);
            left = left.saturating_sub(piece.text.chars().count());
            (!shown.is_empty()).then_some((shown, piece.contribution))
        });
        let mut card = Card::new("Explanation")
            .coloured(pieces)
            .row("compound", &format!("{:+.4}", self.sentiment.compound));
        for word in self.rated().take(MAX_WORDS) {
            card = card.row(&shorten(&word.text, WORD_LENGTH), &word.to_string());
        }
        for (name, value) in [
            ("exclamation marks", self.exclamation),
            ("question marks", self.question),
        ] {
            if value != 0.0 {
                card = card.row(name, &format!("{value:+.2}"));
            }
        }
        card.row("sum", &format!("{:+.2}", self.sum))
            .data(serde_json::json!(self))
            .show();
    }
}
