//! The tracked phrases and their index. The cost of a text does not depend on the number of phrases.

use super::text::{Segment, is_invisible, normalize, segments};
use crate::{Error, Result};
use std::collections::{BTreeSet, HashMap, HashSet};
use std::mem;
use unicode_segmentation::UnicodeSegmentation;

/// The tracks, and buffers to match a text with them.
#[derive(Clone, Debug, Default)]
pub(super) struct Tracks {
    tracks: Vec<Track>,
    /// The number of each term, by its normal form.
    terms: HashMap<String, usize>,
    /// For each term, the tracks to check if a text contains it. A track is listed under its rarest
    /// term only: a word that all tracks share does not cause a check of all tracks.
    listed: Vec<Vec<usize>>,
    /// True in the slot of each term, see [`Tracks::slot`].
    slots: Vec<bool>,
    /// The bits of the first bytes of the terms without letters, see [`byte_bit`].
    symbol_bits: u64,
    /// The lengths of the terms without letters, in grapheme clusters.
    clusters: BTreeSet<usize>,
    /// The buffer of the text that is searched.
    text: String,
    /// The terms found since the last match, and whether each term is one of them.
    found: Vec<usize>,
    is_found: Vec<bool>,
}

#[derive(Clone, Debug)]
struct Track {
    name: String,
    /// The terms that a text must contain: words, words with a sign, and sequences of symbols.
    terms: Vec<usize>,
}

impl Tracks {
    /// Creates the index. A track that is given twice is one track.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for a track that contains no word.
    pub(super) fn new(names: impl IntoIterator<Item = impl Into<String>>) -> Result<Tracks> {
        let mut tracks = Tracks::default();
        let mut known = HashSet::new();
        for name in names {
            let name = name.into();
            if known.insert(name.trim().to_owned()) {
                tracks.add(&name)?;
            }
        }
        tracks.list();
        Ok(tracks)
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.tracks.iter().map(|track| track.name.as_str())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.tracks.is_empty()
    }

    fn add(&mut self, name: &str) -> Result<()> {
        let mut terms = Vec::new();
        let mut text = String::new();
        for part in name.split_whitespace() {
            normalize(part, &mut text);
            // "bitcoin-cash" in a text is two words, so it is two words in a track too.
            let mut words = segments(&text).filter(|segment| !segment.word.is_empty());
            if let Some(first) = words.next() {
                terms.push(self.term(first.signed.unwrap_or(first.word)));
                terms.extend(words.map(|segment| self.term(segment.word)));
            } else if !is_invisible(&text) {
                self.clusters.insert(text.graphemes(true).count());
                self.symbol_bits |= text.bytes().next().map_or(0, byte_bit);
                terms.push(self.term(&text));
            }
        }
        if terms.is_empty() {
            return Err(Error::InvalidArgument {
                argument: format!("track {name:?}"),
                reason: "it contains no word",
                hint: "give a word such as \"bitcoin\", or no track to pass every tweet",
            });
        }
        self.tracks.push(Track {
            name: name.trim().to_owned(),
            terms,
        });
        Ok(())
    }

    fn term(&mut self, text: &str) -> usize {
        let next = self.terms.len();
        *self.terms.entry(text.to_owned()).or_insert(next)
    }

    /// Lists each track under its rarest term.
    fn list(&mut self) {
        let mut uses = vec![0_usize; self.terms.len()];
        for term in self.tracks.iter().flat_map(|track| &track.terms) {
            uses[*term] += 1;
        }
        self.slots = vec![false; (8 * self.terms.len()).next_power_of_two().max(1024)];
        for term in self.terms.keys() {
            let slot = self.slot(term);
            self.slots[slot] = true;
        }
        self.is_found = vec![false; self.terms.len()];
        self.listed = vec![Vec::new(); self.terms.len()];
        for (index, track) in self.tracks.iter().enumerate() {
            if let Some(rarest) = track.terms.iter().min_by_key(|term| uses[**term]) {
                self.listed[*rarest].push(index);
            }
        }
    }

    /// Finds the terms that `text` contains. Several texts count as one.
    pub(super) fn find(&mut self, text: &str) {
        let mut normal = mem::take(&mut self.text);
        normalize(text, &mut normal);
        for Segment { gap, word, signed } in segments(&normal) {
            self.find_term(word);
            if let Some(signed) = signed {
                self.find_term(signed);
            }
            if gap.bytes().any(|b| self.symbol_bits & byte_bit(b) != 0) {
                let symbols = gap.split_whitespace();
                symbols.for_each(|symbols| self.find_symbols(symbols));
            }
        }
        self.text = normal;
    }

    /// Returns the names of the tracks whose terms were all found, in the order of the tracks, and
    /// forgets what was found.
    pub(super) fn take_matching(&mut self) -> Vec<String> {
        let complete = |track: &&usize| {
            let terms = &self.tracks[**track].terms;
            terms.iter().all(|term| self.is_found[*term])
        };
        let listed = self.found.iter().flat_map(|term| &self.listed[*term]);
        let mut matching: Vec<usize> = listed.filter(complete).copied().collect();
        matching.sort_unstable();
        for term in self.found.drain(..) {
            self.is_found[term] = false;
        }
        let name = |track: usize| self.tracks[track].name.clone();
        matching.into_iter().map(name).collect()
    }

    fn find_symbols(&mut self, text: &str) {
        let starts = text.grapheme_indices(true).map(|(start, _)| start);
        let bounds: Vec<usize> = starts.chain([text.len()]).collect();
        let lengths = mem::take(&mut self.clusters);
        for length in &lengths {
            for window in bounds.windows(length + 1) {
                self.find_term(&text[window[0]..window[*length]]);
            }
        }
        self.clusters = lengths;
    }

    fn find_term(&mut self, text: &str) {
        if self.slots[self.slot(text)]
            && let Some(&term) = self.terms.get(text)
            && !mem::replace(&mut self.is_found[term], true)
        {
            self.found.push(term);
        }
    }

    /// Returns the slot of a term. Most words of a text have the slot of no term, and are not looked
    /// up, which costs more than the slot.
    fn slot(&self, text: &str) -> usize {
        let bytes = text.as_bytes();
        let [first, .., last] = bytes else {
            return bytes.len();
        };
        let middle = bytes[bytes.len() / 2];
        let sample = u32::from_le_bytes([bytes.len() as u8, *first, middle, *last]);
        (sample.wrapping_mul(0x9e37_79b9) >> 8) as usize & (self.slots.len() - 1)
    }
}

/// Returns one of 64 bits. A text without the bit of any symbol has no symbol.
fn byte_bit(byte: u8) -> u64 {
    1 << (byte % 64)
}
