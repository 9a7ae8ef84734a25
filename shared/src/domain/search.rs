//! Search: the words of an end user or a ticket, and which of them a search asks for.

use std::collections::BTreeSet;

use super::email;
use super::end_user::EndUser;
use super::phone::Phone;
use super::profile::Field;
use super::text;
use super::ticket::Ticket;
use super::uid::UidType;

/// The longest search, in characters.
pub const MAX_SEARCH_LENGTH: usize = 320;
/// The most words of a search.
pub const MAX_SEARCH_WORDS: usize = 20;
/// How many distinct words of otherContactDetails are searched.
const MAX_DETAIL_WORDS: usize = 100;
/// How many distinct words of an end user are searched.
pub const MAX_WORDS: usize = 500;
/// How many bytes of words of an end user are searched, folded, in UTF-8.
pub const MAX_WORD_BYTES: usize = 16 * 1024;

/// What a search is compared with, folded.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Term {
    /// A run of letters and digits.
    Word(String),
    /// A UID value as a whole, one with an `@` after its first character.
    Whole(String),
}

impl Term {
    fn whole(value: &str) -> Option<Self> {
        let folded = text::fold(value);
        let at = folded.chars().skip(1).any(|c| c == '@');
        at.then(|| Self::Whole(folded.chars().take(text::WORD_LENGTH).collect()))
    }

    /// Whether this term of a search asks for `found`: the same kind, and a prefix.
    pub fn is_prefix_of(&self, found: &Self) -> bool {
        match (self, found) {
            (Self::Word(prefix), Self::Word(text)) | (Self::Whole(prefix), Self::Whole(text)) => {
                text.starts_with(prefix)
            }
            _ => false,
        }
    }
}

/// A search that was asked for: it matches where every term of one alternative does.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Search {
    alternatives: Vec<BTreeSet<Term>>,
}

impl Search {
    /// Reads a cleaned search text; punctuation alone gives a search that matches nobody.
    pub fn parse(search: &str) -> Result<Self, String> {
        if let Some(whole) = Term::whole(search) {
            // A `+` of an address may have been sent raw, and a query string reads it as a space.
            let raw_plus = search.replace(' ', "+");
            let unicode = [search, &raw_plus].into_iter().filter_map(email::unicode_form);
            let readings = unicode.chain([raw_plus.clone()]).filter_map(|reading| Term::whole(&reading));
            let readings: BTreeSet<Term> = readings.chain([whole]).collect();
            return Ok(Self { alternatives: readings.into_iter().map(|term| BTreeSet::from([term])).collect() });
        }
        let words: Vec<_> = text::words(search).collect();
        if words.len() > MAX_SEARCH_WORDS {
            return Err(format!("must be at most {MAX_SEARCH_WORDS} words"));
        }
        let mut alternatives = Vec::new();
        if !words.is_empty() {
            alternatives.push(words.into_iter().map(Term::Word).collect());
        }
        // Folded, for digits and spaces of other widths.
        let folded = text::fold(search);
        let digits: String = folded.chars().filter(char::is_ascii_digit).collect();
        if !digits.is_empty() && folded.chars().all(|c| c.is_ascii_digit() || " +-./()".contains(c)) {
            let joined = BTreeSet::from([Term::Word(digits.chars().take(text::WORD_LENGTH).collect())]);
            if !alternatives.contains(&joined) {
                alternatives.push(joined);
            }
        }
        Ok(Self { alternatives })
    }

    /// A search for all of `terms`.
    pub fn all_of(terms: &BTreeSet<Term>) -> Self {
        Self { alternatives: vec![terms.clone()] }
    }

    /// The alternatives, each a set of terms that must all be found.
    pub fn alternatives(&self) -> &[BTreeSet<Term>] {
        &self.alternatives
    }

    /// Whether something with these terms is found.
    pub fn matches(&self, terms: &BTreeSet<Term>) -> bool {
        let found = |asked: &Term| terms.iter().any(|term| asked.is_prefix_of(term));
        self.alternatives.iter().any(|alternative| alternative.iter().all(found))
    }
}

/// The distinct words of an end user, as far as they are searched: in the order in which they are added, up to a number and
/// a size that bound what the index holds of one end user.
#[derive(Default)]
struct SearchedWords {
    words: BTreeSet<String>,
    bytes: usize,
    full: bool,
}

impl SearchedWords {
    fn extend(&mut self, words: impl IntoIterator<Item = String>) {
        for word in words {
            if self.full {
                return;
            }
            if self.words.contains(&word) {
                continue;
            }
            self.full = self.words.len() == MAX_WORDS || self.bytes + word.len() > MAX_WORD_BYTES;
            if !self.full {
                self.bytes += word.len();
                self.words.insert(word);
            }
        }
    }
}

/// The terms under which an end user is found: at most [`MAX_WORDS`] distinct words of [`MAX_WORD_BYTES`] in all, taken from
/// the names, company, customerRef, the address, UIDs by id and otherContactDetails, in this order, and every whole UID
/// value.
pub fn end_user_terms(end_user: &EndUser) -> BTreeSet<Term> {
    const SEARCHED: [Field; 8] = [
        Field::Firstname,
        Field::Lastname,
        Field::Company,
        Field::CustomerRef,
        Field::Street,
        Field::HouseNumber,
        Field::PostalCode,
        Field::City,
    ];
    let mut searched = SearchedWords::default();
    for value in SEARCHED.into_iter().filter_map(|field| end_user.profile.get(field)) {
        searched.extend(text::words(value));
    }
    for uid in &end_user.uids {
        for spelling in spellings(&uid.value) {
            searched.extend(value_words(&spelling, matches!(uid.kind, UidType::Phone | UidType::WhatsApp)));
        }
    }
    let details = end_user.profile.get(Field::OtherContactDetails).unwrap_or_default();
    let mut distinct = BTreeSet::new();
    let new = |word: &String| distinct.len() < MAX_DETAIL_WORDS && distinct.insert(word.clone());
    searched.extend(text::words(details).filter(new));

    let wholes =
        end_user.uids.iter().flat_map(|uid| spellings(&uid.value)).filter_map(|spelling| Term::whole(&spelling));
    searched.words.into_iter().map(Term::Word).chain(wholes).collect()
}

/// The terms under which a ticket is found: subject, uid, topics.
pub fn ticket_terms<'a>(ticket: &'a Ticket, topics: impl IntoIterator<Item = &'a String>) -> BTreeSet<Term> {
    let texts = ticket.subject.iter().chain(topics);
    let words = texts.flat_map(|value| text::words(value).map(Term::Word));
    let of_uid = spellings(&ticket.uid).into_iter().flat_map(|spelling| {
        let whole = Term::whole(&spelling);
        value_words(&spelling, true).map(Term::Word).chain(whole).collect::<Vec<_>>()
    });
    words.chain(of_uid).collect()
}

/// The spellings under which a UID value is searched: the value itself, and with the `xn--` labels of its domain in
/// Unicode.
fn spellings(value: &str) -> BTreeSet<String> {
    email::unicode_form(value).into_iter().chain([value.to_owned()]).collect()
}

/// The words of a UID value, and the forms of a phone `number`.
fn value_words(value: &str, number: bool) -> impl Iterator<Item = String> {
    let phone = number.then(|| Phone::international(value)).flatten();
    text::words(value).chain(phone.into_iter().flat_map(|phone| phone.words()))
}
