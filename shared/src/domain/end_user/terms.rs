//! The search terms of an end user (docs/api.md, Search).

use std::collections::BTreeSet;

use super::EndUser;
use crate::domain::profile::Field;
use crate::domain::search::{MAX_WORD_BYTES, MAX_WORDS, Term, spellings, value_words};
use crate::domain::text;
use crate::domain::uid::UidType;

/// Maximum number of distinct words of otherContactDetails that are searched.
const MAX_DETAIL_WORDS: usize = 100;

/// Distinct words in the order of insertion, limited in number and size to bound an end user's index entries.
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

impl EndUser {
    /// The terms that find the end user: every whole UID value, and at most [`MAX_WORDS`] distinct words of
    /// [`MAX_WORD_BYTES`] in all. Words come from the names, company, customerRef, the address, the UIDs by id, and
    /// otherContactDetails, in this order.
    pub fn terms(&self) -> BTreeSet<Term> {
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
        for value in SEARCHED.into_iter().filter_map(|field| self.profile.get(field)) {
            searched.extend(text::words(value));
        }
        for uid in &self.uids {
            if searched.full {
                break;
            }
            for spelling in spellings(&uid.value) {
                searched.extend(value_words(&spelling, matches!(uid.kind, UidType::Phone | UidType::WhatsApp)));
            }
        }
        let details = self.profile.get(Field::OtherContactDetails).unwrap_or_default();
        let mut distinct = BTreeSet::new();
        let new = |word: &String| distinct.len() < MAX_DETAIL_WORDS && distinct.insert(word.clone());
        searched.extend(text::words(details).filter(new));

        let wholes = self.uids.iter().flat_map(|uid| spellings(&uid.value)).filter_map(|value| Term::whole(&value));
        searched.words.into_iter().map(Term::Word).chain(wholes).collect()
    }
}
