//! Search: the words of a person or a ticket, and which of them a search asks for.

use std::collections::BTreeSet;

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
    pub fn asks_for(&self, found: &Self) -> bool {
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
            return Ok(Self { alternatives: vec![BTreeSet::from([whole])] });
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
        let found = |asked: &Term| terms.iter().any(|term| asked.asks_for(term));
        self.alternatives.iter().any(|alternative| alternative.iter().all(found))
    }
}

/// The terms under which a person is found.
pub fn person_terms(person: &EndUser) -> BTreeSet<Term> {
    const SEARCHED: [Field; 8] = [
        Field::Firstname,
        Field::Lastname,
        Field::Company,
        Field::Street,
        Field::HouseNumber,
        Field::PostalCode,
        Field::City,
        Field::CustomerRef,
    ];
    let mut terms: BTreeSet<Term> = SEARCHED
        .into_iter()
        .filter_map(|field| person.profile.get(field))
        .flat_map(|value| text::words(value).map(Term::Word))
        .collect();

    let mut details = BTreeSet::new();
    for word in text::words(person.profile.get(Field::OtherContactDetails).unwrap_or_default()) {
        if details.len() == MAX_DETAIL_WORDS {
            break;
        }
        details.insert(Term::Word(word));
    }
    terms.append(&mut details);

    for uid in &person.uids {
        let number = matches!(uid.kind, UidType::Phone | UidType::WhatsApp);
        terms.extend(value_terms(&uid.value, number));
    }
    terms
}

/// The terms under which a ticket is found: subject, uid, topics.
pub fn ticket_terms<'a>(ticket: &'a Ticket, topics: impl IntoIterator<Item = &'a String>) -> BTreeSet<Term> {
    let texts = ticket.subject.iter().chain(topics);
    let words = texts.flat_map(|value| text::words(value).map(Term::Word));
    words.chain(value_terms(&ticket.uid, true)).collect()
}

/// The words of a UID value, the value as a whole, and the forms of a phone `number`.
fn value_terms(value: &str, number: bool) -> BTreeSet<Term> {
    let phone = number.then(|| Phone::international(value)).flatten();
    let numbers = phone.into_iter().flat_map(|phone| phone.words());
    text::words(value).chain(numbers).map(Term::Word).chain(Term::whole(value)).collect()
}
