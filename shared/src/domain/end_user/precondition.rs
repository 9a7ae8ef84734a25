//! Preconditions of a request on the revision of an end user (RFC 9110 §13).

use serde::{Deserialize, Serialize};

use crate::domain::ids::EndUserId;

/// One state of one end user.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Revision {
    /// The end user.
    pub id: EndUserId,
    /// The number of the end user's changes.
    pub rev: u64,
}

/// A set of revisions.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum RevisionSet {
    /// Every revision.
    Any,
    /// The listed revisions.
    Only(Vec<Revision>),
}

impl RevisionSet {
    /// Returns whether the set contains `revision`.
    pub fn contains(&self, revision: Revision) -> bool {
        match self {
            Self::Any => true,
            Self::Only(revisions) => revisions.contains(&revision),
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
    /// Returns whether `revision` meets the precondition.
    pub fn is_met_by(&self, revision: Revision) -> bool {
        self.if_match.contains(revision) && !self.if_none_match.contains(revision)
    }
}
