//! Index entries of end users, and their text form.

use std::collections::BTreeSet;

use crate::domain::end_user::{EndUser, SortField};
use crate::domain::search::Term;

/// One entry of an end user in the index. `IndexState` lists entries in their text form.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Entry {
    /// The position in an order: the field and the value's [`SortField::key`].
    Sort(SortField, String),
    /// A word or a whole value that a search matches by prefix.
    Word(Term),
}

impl Entry {
    /// The text form: `<field>#<sort key>`, `#<word>` or `@<whole value>`.
    pub(super) fn to_text(&self) -> String {
        match self {
            Self::Sort(field, collation) => format!("{}#{collation}", field.name()),
            Self::Word(Term::Word(text)) => format!("#{text}"),
            Self::Word(Term::Whole(text)) => format!("@{text}"),
        }
    }

    /// Parses the text form.
    pub(super) fn parse(text: &str) -> Option<Self> {
        if let Some(text) = text.strip_prefix('#') {
            return Some(Self::Word(Term::Word(text.to_owned())));
        }
        if let Some(text) = text.strip_prefix('@') {
            return Some(Self::Word(Term::Whole(text.to_owned())));
        }
        let (name, collation) = text.split_once('#')?;
        Some(Self::Sort(SortField::parse(name)?, collation.to_owned()))
    }
}

/// Returns all entries of an end user: one per sort field and one per search term.
pub fn entries(end_user: &EndUser) -> BTreeSet<Entry> {
    let orders = SortField::ALL.into_iter().map(|field| Entry::Sort(field, field.key(end_user)));
    orders.chain(end_user.terms().into_iter().map(Entry::Word)).collect()
}
