//! Preconditions of a request on the revision of an end user (RFC 9110 §13).

/// A set of revisions of an end user.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum RevisionSet {
    /// Every revision.
    Any,
    /// The listed revisions.
    Only(Vec<u64>),
}

impl RevisionSet {
    /// Returns whether the set contains `rev`.
    pub fn contains(&self, rev: u64) -> bool {
        match self {
            Self::Any => true,
            Self::Only(revs) => revs.contains(&rev),
        }
    }
}

/// The revisions of an end user that a request applies to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Precondition {
    /// The revision must be in this set.
    pub if_match: RevisionSet,
    /// The revision must not be in this set.
    pub if_none_match: RevisionSet,
}

impl Default for Precondition {
    /// A precondition that every revision meets.
    fn default() -> Self {
        Self { if_match: RevisionSet::Any, if_none_match: RevisionSet::Only(Vec::new()) }
    }
}

impl Precondition {
    /// Returns whether revision `rev` meets the precondition.
    pub fn is_met_by(&self, rev: u64) -> bool {
        self.if_match.contains(rev) && !self.if_none_match.contains(rev)
    }
}
