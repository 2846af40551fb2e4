//! The lexicon of VADER: words, emoticons and emoji.
//!
//! One table has everything about a word, so each word of a text is looked up once. The ratings are
//! those of the `vader_sentiment` crate, which contains VADER's lexicons: 7,500 words and emoticons, each
//! rated by ten people from -4 (extremely negative) to 4 (extremely positive), and 3,570 emoji with
//! their names.

use super::WordId;
use super::patterns::{MAX_PHRASE, Patterns, starts_sign};
use rustc_hash::FxHashMap;
use smallvec::SmallVec;
use vader_sentiment::{EMOJI_LEXICON, LEXICON};

/// What a booster such as "very" adds. A dampener such as "slightly" subtracts it.
pub(super) const BOOST: f64 = 0.293;

/// The maximum length of a word, in bytes. The longest word of the lexicon has 19.
pub(super) const MAX_WORD: usize = 64;

/// The words that the crate's lexicon lacks. `heart` and `hearts` are new in `vader_lexicon.txt` of VADER
/// 3.3.2, and the crate is based on an earlier release. The crate's table ignores case, so its `:P`
/// replaces `:p`.
const ADDED: [(&str, f64); 3] = [("heart", 3.2), ("hearts", 3.3), (":p", 1.0)];

const BOOSTERS: &str = "absolutely amazingly awfully completely considerable considerably \
    decidedly deeply effing enormous enormously entirely especially exceptional exceptionally \
    extreme extremely fabulously flipping flippin frackin fracking fricking frickin frigging \
    friggin fully fuckin fucking fuggin fugging greatly hella highly hugely incredible incredibly \
    intensely major majorly more most particularly purely quite really remarkably so \
    substantially thoroughly total totally tremendous tremendously uber unbelievably unusually \
    utter utterly very";
const DAMPENERS: &str = "almost barely hardly kinda kindof kind-of less little marginal \
    marginally occasional occasionally partly scarce scarcely slight slightly somewhat sorta \
    sortof sort-of";
/// Every word that contains `n't` negates too.
const NEGATIONS: &str = "aint arent cannot cant couldnt darent didnt doesnt dont hadnt hasnt \
    havent isnt mightnt mustnt neither neednt never none nope nor not nothing nowhere oughtnt \
    shant shouldnt uhuh uh-uh wasnt werent without wont wouldnt rarely seldom despite";

macro_rules! rule_words {
    ($($word:ident)*) => {
        /// A word that occurs in a rule.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub(super) enum RuleWord {
            #[default]
            Other,
            $($word,)*
        }

        /// The words with their names, such as `Ass`.
        const RULE_WORDS: &[(&str, RuleWord)] = &[$((stringify!($word), RuleWord::$word)),*];
    };
}

rule_words! {
    Ass At Bad Beating Bomb Bus But Death Die Doubt Enough For Heart Just Kind Kiss Least Never No
    Nor Of Or Right Shit So Sort Stop The This To Very Without Yeah
}

impl RuleWord {
    /// Returns whether an idiom may start with the word.
    pub(super) fn starts_idiom(self) -> bool {
        use RuleWord::{Bad, Beating, Bus, Just, Kind, Kiss, Sort, The, To, Yeah};
        matches!(
            self,
            The | Bad | Bus | Yeah | Beating | Kiss | To | Just | Kind | Sort
        )
    }
}

/// Everything about a word.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Entry {
    /// The rating.
    pub(super) valence: Option<f64>,
    /// What the word adds to the word after it: [`BOOST`], its opposite, or nothing.
    pub(super) boost: f64,
    pub(super) negates: bool,
    pub(super) word: RuleWord,
}

impl Entry {
    /// Returns whether the word can change the value of one of the three words after it, alone or with
    /// others.
    fn alters(&self) -> bool {
        use RuleWord::{Least, Never, No, So, This, Without};
        self.boost != 0.0
            || self.negates
            || self.word.starts_idiom()
            || matches!(self.word, Least | Never | No | So | This | Without)
    }
}

/// A word, emoticon or number of a text, or a phrase of one's own.
#[derive(Clone, Copy)]
pub(super) struct Token {
    pub(super) id: WordId,
    /// Whether it is in capitals.
    pub(super) upper: bool,
    /// Whether it contains "n't", which negates.
    pub(super) nt: bool,
    /// Whether it can change the value of one of the three words after it.
    pub(super) alters: bool,
}

/// The name of an emoji, such as "face with tears of joy", already split into words.
#[derive(Clone)]
pub(super) struct Name {
    /// All words except the last, each as a token and as text.
    pub(super) words: Box<[(Token, &'static str)]>,
    pub(super) last: Token,
    /// The last word with its punctuation. The text right after an emoji belongs to it.
    pub(super) last_text: &'static str,
    /// The number of exclamation and question marks: "ON! arrow" has one.
    pub(super) marks: (usize, usize),
}

/// Words in lower case, and emoji. The hash function is fast and not random. Only the program and
/// its user add words, never a text, so nobody else can choose them to cause collisions.
#[derive(Clone)]
pub(super) struct Lexicon {
    entries: Vec<Entry>,
    ids: FxHashMap<Box<[u8]>, WordId>,
    names: FxHashMap<char, Name>,
    patterns: Patterns,
}

/// A sign in a text that is read as one or more words.
pub(super) enum Sign<'l> {
    /// A sign of one's own, with its length in bytes.
    Own(Token, usize),
    /// An emoji, which is read as its name.
    Named(&'l Name),
}

impl Lexicon {
    /// The id of every unknown word.
    pub(super) const UNKNOWN: WordId = 0;

    pub(super) fn new() -> Lexicon {
        let mut lexicon = Lexicon {
            entries: vec![Entry::default()],
            ids: FxHashMap::default(),
            names: FxHashMap::default(),
            patterns: Patterns::default(),
        };
        for (word, valence) in LEXICON.iter() {
            // Texts are looked up in lower case, so an entry in upper case would never be found.
            if word.to_lowercase() == **word {
                lexicon.entry(word).valence = Some(*valence);
            }
        }
        for (word, valence) in ADDED {
            lexicon.entry(word).valence = Some(valence);
        }
        for word in BOOSTERS.split_whitespace() {
            lexicon.entry(word).boost = BOOST;
        }
        for word in DAMPENERS.split_whitespace() {
            lexicon.entry(word).boost = -BOOST;
        }
        for word in NEGATIONS.split_whitespace() {
            lexicon.entry(word).negates = true;
        }
        for (name, word) in RULE_WORDS {
            lexicon.entry(&name.to_lowercase()).word = *word;
        }
        lexicon.read_names();
        lexicon
    }

    fn entry(&mut self, word: &str) -> &mut Entry {
        let id = self.id(word);
        &mut self.entries[id as usize]
    }

    /// Returns the id of a word or another text, known or new.
    fn id(&mut self, word: &str) -> WordId {
        // There are 7,600 words, and a user adds at most 50,000 with four words each.
        let new = self.entries.len() as WordId;
        *self.ids.entry(word.as_bytes().into()).or_insert_with(|| {
            self.entries.push(Entry::default());
            new
        })
    }

    /// Adds a word without a rating, if it is new.
    pub(super) fn add(&mut self, word: &str) {
        let id = self.id(&word.to_lowercase());
        if !word.is_ascii() {
            self.patterns.add_word(word, id);
        }
    }

    /// Returns whether the word is found anywhere in a text, even between letters.
    pub(super) fn is_sign(&self, word: &str) -> bool {
        let starts = |c| starts_sign(c) || self.name(c).is_some();
        word.starts_with(starts) && !word.contains(|c: char| c.is_ascii_alphanumeric())
    }

    pub(super) fn add_sign(&mut self, sign: &str, rating: f64) {
        let id = self.id(sign);
        self.entries[id as usize].valence = Some(rating);
        self.patterns.add_sign(sign, id);
    }

    /// Sets the rating of a word, or of the phrase of several words that is written as `text`.
    pub(super) fn rate(&mut self, words: &[WordId], text: &str, rating: f64) {
        let id = match words {
            [word] => *word,
            // No word has a space, so the text of a phrase is the text of no word.
            _ => self.id(&text.to_lowercase()),
        };
        self.entries[id as usize].valence = Some(rating);
        if words.len() > 1 {
            self.patterns.add_phrase(words, id);
        }
    }

    /// Reads the names of the emoji. This must be repeated after words have been added.
    pub(super) fn read_names(&mut self) {
        let mut names = FxHashMap::default();
        for (emoji, name) in EMOJI_LEXICON.iter() {
            // A sequence of several characters is read as its parts.
            let mut characters = emoji.chars();
            let (Some(character), None) = (characters.next(), characters.next()) else {
                continue;
            };
            let tokens: Vec<_> = words(name).map(|word| (self.token(word), word)).collect();
            if let Some(((last, _), rest)) = tokens.split_last() {
                let name = Name {
                    words: rest.into(),
                    last: *last,
                    last_text: name.rsplit(is_space).next().unwrap_or(name),
                    marks: marks(name),
                };
                names.insert(character, name);
            }
        }
        self.names = names;
    }

    /// Looks up a word of a text.
    pub(super) fn token(&self, word: &str) -> Token {
        let mut buffer = [0; MAX_WORD];
        let id = match lower(word, &mut buffer) {
            Some(lower) => self.ids.get(lower).copied(),
            None => self.patterns.word(word),
        };
        let id = id.unwrap_or(Self::UNKNOWN);
        let nt = has_nt(word.as_bytes());
        Token {
            id,
            upper: is_upper(word),
            nt,
            alters: nt || self.entries[id as usize].alters(),
        }
    }

    /// Returns the longest phrase at the start of the tokens as one token, and its number of words. It is
    /// in capitals if each of its words is.
    pub(super) fn phrase(&self, tokens: &[Token]) -> Option<(Token, usize)> {
        let words: SmallVec<[WordId; MAX_PHRASE]> = tokens
            .iter()
            .take(MAX_PHRASE)
            .map(|token| token.id)
            .collect();
        let (id, length) = self.patterns.phrase(&words)?;
        let upper = tokens[..length].iter().all(|token| token.upper);
        Some((
            Token {
                id,
                upper,
                nt: false,
                alters: false,
            },
            length,
        ))
    }

    pub(super) fn has_no_phrases(&self) -> bool {
        self.patterns.has_no_phrases()
    }

    pub(super) fn get(&self, token: Token) -> &Entry {
        &self.entries[token.id as usize]
    }

    /// Returns the words with these ids, in the order of the ids. It searches the whole lexicon, which
    /// takes about 50 µs. A second table would be faster, but would store each word twice.
    pub(super) fn words(&self, ids: &[WordId]) -> Vec<String> {
        let mut words = vec![String::new(); ids.len()];
        for (word, id) in &self.ids {
            if let Some(at) = ids.iter().position(|wanted| wanted == id) {
                words[at] = String::from_utf8_lossy(word).into_owned();
            }
        }
        words
    }

    /// Returns the sign at the start of a text, whose first character is given.
    pub(super) fn sign(&self, text: &str, first: char) -> Option<Sign<'_>> {
        if first.is_ascii() {
            return None;
        }
        if let Some((id, length)) = self.patterns.sign(text, first) {
            let token = Token {
                id,
                upper: false,
                nt: false,
                alters: false,
            };
            return Some(Sign::Own(token, length));
        }
        self.name(first).map(Sign::Named)
    }

    /// Returns the name of an emoji.
    pub(super) fn name(&self, character: char) -> Option<&Name> {
        self.names.get(&character)
    }
}

/// Counts the exclamation and question marks in a text.
pub(super) fn marks(text: &str) -> (usize, usize) {
    let mut marks = (0, 0);
    for byte in text.bytes() {
        marks.0 += usize::from(byte == b'!');
        marks.1 += usize::from(byte == b'?');
    }
    marks
}

/// Returns whether Python treats the character as white space. Unlike Unicode, Python includes the four ASCII
/// separators.
pub(super) fn is_space(c: char) -> bool {
    c.is_whitespace() || ('\x1c'..='\x1f').contains(&c)
}

/// Returns the words of a text, without punctuation around them.
pub(super) fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(is_space)
        .filter(|word| !word.is_empty())
        .map(strip_punctuation)
}

/// Removes the punctuation around a word. If two characters or fewer would be left, the word is likely an
/// emoticon, and is returned unchanged.
pub(super) fn strip_punctuation(word: &str) -> &str {
    let bare = word.trim_matches(|c: char| c.is_ascii_punctuation());
    if bare.chars().nth(2).is_some() {
        bare
    } else {
        word
    }
}

/// Returns the word in lower case, or `None` if it cannot be in the lexicon, whose words are short and ASCII.
pub(super) fn lower<'b>(word: &str, buffer: &'b mut [u8; MAX_WORD]) -> Option<&'b [u8]> {
    let mut length = 0;
    for character in word.chars() {
        // The Kelvin sign is the only other character whose lower case is ASCII.
        let character = if character == '\u{212a}' {
            'k'
        } else {
            character
        };
        if !character.is_ascii() || length == buffer.len() {
            return None;
        }
        buffer[length] = character.to_ascii_lowercase() as u8;
        length += 1;
    }
    Some(&buffer[..length])
}

/// Returns whether the word contains "n't", as "isn't" does.
fn has_nt(word: &[u8]) -> bool {
    word.windows(3)
        .any(|part| part[1] == b'\'' && part.eq_ignore_ascii_case(b"n't"))
}

/// Returns whether Python treats the word as upper case. Such a word has an upper case letter, and no letter
/// in lower or title case.
fn is_upper(word: &str) -> bool {
    let title = |c: char| {
        matches!(c, '\u{1c5}' | '\u{1c8}' | '\u{1cb}' | '\u{1f2}' | '\u{1f88}'..='\u{1f8f}'
            | '\u{1f98}'..='\u{1f9f}' | '\u{1fa8}'..='\u{1faf}' | '\u{1fbc}' | '\u{1fcc}' | '\u{1ffc}')
    };
    let mut upper = false;
    for character in word.chars() {
        if character.is_lowercase() || title(character) {
            return false;
        }
        upper |= character.is_uppercase();
    }
    upper
}
