//! Searches and the terms that they match (docs/api.md, Search).

use std::collections::BTreeSet;

use icu_properties::props::GeneralCategoryGroup;

use super::email;
use super::phone::Phone;
use super::text;

/// Maximum length of a search, in characters.
pub const MAX_SEARCH_LENGTH: usize = 320;
/// Maximum number of words of a search.
pub const MAX_SEARCH_WORDS: usize = 20;
/// Maximum number of distinct words of an end user that are searched.
pub const MAX_WORDS: usize = 500;
/// Maximum size of the words of an end user that are searched, in bytes of folded UTF-8.
pub const MAX_WORD_BYTES: usize = 16 * 1024;

/// A folded term of an end user, a ticket or a search.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Term {
    /// A run of letters and digits.
    Word(String),
    /// A whole UID value with an `@` after its first character.
    Whole(String),
}

impl Term {
    /// The whole value as a term; `None` without an `@` after the first character.
    pub(super) fn whole(value: &str) -> Option<Self> {
        // Folding a long value is expensive. These are the characters that fold to `@`.
        if !value.chars().skip(1).any(|c| matches!(c, '@' | '\u{fe6b}' | '\u{ff20}')) {
            return None;
        }
        let folded = text::fold(value);
        let at = folded.chars().skip(1).any(|c| c == '@');
        at.then(|| Self::Whole(folded.chars().take(text::WORD_LENGTH).collect()))
    }

    /// Returns whether this term of a search matches `found`: a term of the same kind that begins with it.
    pub fn is_prefix_of(&self, found: &Self) -> bool {
        match (self, found) {
            (Self::Word(prefix), Self::Word(text)) | (Self::Whole(prefix), Self::Whole(text)) => {
                text.starts_with(prefix)
            }
            _ => false,
        }
    }
}

/// A search: alternative sets of terms. It matches if every term of one alternative matches.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Search {
    alternatives: Vec<BTreeSet<Term>>,
}

impl Search {
    /// Reads a cleaned search text, of which white space and invisible format characters at the ends do not count. A
    /// search of punctuation matches nothing.
    pub fn parse(text: &str) -> Result<Self, String> {
        let search = email::trim(text);
        if let Some(whole) = Term::whole(search) {
            // A `+` that was not percent-encoded arrives as a space, also at the start.
            let raw_plus = text.trim_end().replace(' ', "+");
            let unicode = [search, &raw_plus].into_iter().filter_map(email::unicode_form);
            let readings = unicode.chain([raw_plus.clone()]).filter_map(|reading| Term::whole(&reading));
            let readings: BTreeSet<Term> = readings.chain([whole]).collect();
            return Ok(Self { alternatives: readings.into_iter().map(|term| BTreeSet::from([term])).collect() });
        }
        let words: Vec<_> = text::words(search).collect();
        if words.len() > MAX_SEARCH_WORDS {
            return Err(format!("must have at most {MAX_SEARCH_WORDS} words"));
        }
        let mut alternatives = Vec::new();
        if !words.is_empty() {
            alternatives.push(words.into_iter().map(Term::Word).collect());
        }
        // Folding turns full-width digits and spaces into ASCII.
        let mut folded = text::fold(search);
        folded.retain(|c| !text::is_of(c, GeneralCategoryGroup::Format));
        let digits: String = folded.chars().filter(char::is_ascii_digit).collect();
        if !digits.is_empty() && folded.chars().all(|c| c.is_ascii_digit() || " +-./()".contains(c)) {
            let joined = BTreeSet::from([Term::Word(digits.chars().take(text::WORD_LENGTH).collect())]);
            if !alternatives.contains(&joined) {
                alternatives.push(joined);
            }
        }
        Ok(Self { alternatives })
    }

    /// A search that matches if all of `terms` match.
    pub fn all_of(terms: &BTreeSet<Term>) -> Self {
        Self { alternatives: vec![terms.clone()] }
    }

    /// The alternatives: sets of terms that must all match.
    pub fn alternatives(&self) -> &[BTreeSet<Term>] {
        &self.alternatives
    }

    /// Returns whether the search matches something with these terms.
    pub fn matches(&self, terms: &BTreeSet<Term>) -> bool {
        let found = |prefix: &Term| terms.iter().any(|term| prefix.is_prefix_of(term));
        self.alternatives.iter().any(|alternative| alternative.iter().all(found))
    }
}

/// The searched spellings of a UID value: the value, and the value with the `xn--` labels of its domain in Unicode.
pub(super) fn spellings(value: &str) -> BTreeSet<String> {
    email::unicode_form(value).into_iter().chain([value.to_owned()]).collect()
}

/// The words of a UID value. With `number`, a value that reads as an international phone number also has its dialled
/// forms as words.
pub(super) fn value_words(value: &str, number: bool) -> impl Iterator<Item = String> {
    let phone = number.then(|| Phone::international(value)).flatten();
    text::words(value).chain(phone.into_iter().flat_map(|phone| phone.words()))
}
