//! The tracked phrases and their index. The time to match a text does not depend on the number of phrases.

use super::text::{TextSegment, is_invisible, normalize, segments};
use crate::error::{Error, Result};
use std::collections::{BTreeSet, HashMap, HashSet};
use unicode_segmentation::UnicodeSegmentation;

/// The tracks, and an index of their terms.
#[derive(Clone, Debug, Default)]
pub(super) struct Tracks {
    tracks: Vec<Track>,
    /// The number of each term, by its normal form.
    terms: HashMap<String, usize>,
    /// For each term, the tracks to check when a text contains the term. A track is listed only under
    /// its rarest term, so a word that all tracks share does not cause a check of all tracks.
    listed: Vec<Vec<usize>>,
    /// True in the slot of each term, see [`Tracks::slot`].
    slots: Vec<bool>,
    /// The lengths of the terms without letters, in grapheme clusters.
    clusters: BTreeSet<usize>,
    /// A buffer for the normal form of the text that is searched.
    text: String,
}

#[derive(Clone, Debug)]
struct Track {
    name: String,
    /// The terms that a text must contain: words, words with a sign, and sequences of symbols.
    terms: Vec<usize>,
}

impl Tracks {
    /// Creates the index. A repeated track counts once.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`](crate::ErrorKind::InvalidArgument) for a track that contains no word.
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
                terms.push(self.term(&text));
            }
        }
        if terms.is_empty() {
            return Err(Error::invalid_argument(
                format!("track {name:?}"),
                "it contains no word",
                "give a word such as \"bitcoin\", or no track to pass every tweet",
            ));
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
        self.listed = vec![Vec::new(); self.terms.len()];
        for (index, track) in self.tracks.iter().enumerate() {
            if let Some(rarest) = track.terms.iter().min_by_key(|term| uses[**term]) {
                self.listed[*rarest].push(index);
            }
        }
    }

    /// Returns the names of the tracks that `text` matches, in the order of the tracks.
    pub(super) fn matching(&mut self, text: &str) -> Vec<String> {
        normalize(text, &mut self.text);
        let mut found = Vec::new();
        for TextSegment { gap, word, signed } in segments(&self.text) {
            found.extend(self.find_term(word));
            found.extend(signed.and_then(|signed| self.find_term(signed)));
            if !self.clusters.is_empty() {
                for symbols in gap.split_whitespace() {
                    self.find_symbols(symbols, &mut found);
                }
            }
        }
        found.sort_unstable();
        found.dedup();
        let is_found = |term: &usize| found.binary_search(term).is_ok();
        let is_match = |track: &&usize| self.tracks[**track].terms.iter().all(is_found);
        let listed = found.iter().flat_map(|term| &self.listed[*term]);
        let mut matching: Vec<&usize> = listed.filter(is_match).collect();
        matching.sort_unstable();
        let name = |track: &usize| self.tracks[*track].name.clone();
        matching.into_iter().map(name).collect()
    }

    /// Appends the terms without letters that `text` contains.
    fn find_symbols(&self, text: &str, found: &mut Vec<usize>) {
        let starts = text.grapheme_indices(true).map(|(start, _)| start);
        let bounds: Vec<usize> = starts.chain([text.len()]).collect();
        for length in &self.clusters {
            let windows = bounds.windows(length + 1);
            found.extend(windows.filter_map(|w| self.find_term(&text[w[0]..w[*length]])));
        }
    }

    fn find_term(&self, text: &str) -> Option<usize> {
        self.slots[self.slot(text)].then(|| self.terms.get(text).copied())?
    }

    /// Returns the slot of a term. Most words of a text have a slot without a term, so they need no
    /// lookup in the map, which would be slower.
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
