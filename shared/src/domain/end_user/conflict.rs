//! Conflicts of a request with stored end users (docs/api.md, Conflicts).

use serde::Serialize;

use crate::domain::ids::EndUserId;

/// Maximum number of end users that a [`Conflict`] names.
pub const MAX_CONFLICTS: usize = 100;

/// The kind of a [`Conflict`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ConflictKind {
    /// The identifiers of an upsert belong to several end users.
    AmbiguousMatch,
    /// An upsert would replace the customerRef of its match.
    DifferentReference,
    /// The other end user of a merge is already part of this one.
    AlreadyMerged,
    /// A later merge must be undone before this one.
    LaterMerge,
    /// Other end users hold identifiers that the request adds, under the exclusive policy.
    IdentifierTaken,
    /// The request needs new ids, and the tenant has used all of its ids.
    IdsExhausted,
}

impl ConflictKind {
    /// The stable name of the kind.
    pub fn code(self) -> &'static str {
        match self {
            Self::AmbiguousMatch => "ambiguous_match",
            Self::DifferentReference => "different_reference",
            Self::AlreadyMerged => "already_merged",
            Self::LaterMerge => "later_merge",
            Self::IdentifierTaken => "identifier_taken",
            Self::IdsExhausted => "ids_exhausted",
        }
    }

    /// The message for the caller.
    pub fn detail(self) -> &'static str {
        match self {
            Self::AmbiguousMatch => "the identifiers belong to several end users, see `conflicts`; nothing was written",
            Self::DifferentReference => {
                "the end user that matches has another customerRef, see `conflicts`; nothing was written"
            }
            Self::AlreadyMerged => "the end user is already part of this one; nothing was written",
            Self::LaterMerge => "a later merge must be undone first, see `conflicts`; nothing was written",
            Self::IdentifierTaken => "other end users hold these identifiers, see `conflicts`; nothing was written",
            Self::IdsExhausted => "the tenant has no ids left; nothing was written",
        }
    }
}

/// The reason why a valid request was not applied: stored end users do not allow it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Conflict {
    /// The kind.
    pub kind: ConflictKind,
    /// The end users, by ascending id: at most [`MAX_CONFLICTS`].
    pub end_users: Vec<ConflictingEndUser>,
}

/// An end user of a [`Conflict`].
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ConflictingEndUser {
    /// The end user.
    #[serde(rename = "endUserID")]
    #[cfg_attr(feature = "openapi", schema(value_type = i32, minimum = 1))]
    pub id: EndUserId,
    /// The paths of the members of the request that conflict with it.
    pub fields: Vec<String>,
}

impl Conflict {
    /// A conflict that no end user is part of.
    pub fn of(kind: ConflictKind) -> Self {
        Self { kind, end_users: Vec::new() }
    }

    /// A conflict with one end user, and not with a member of the request.
    pub fn with(kind: ConflictKind, id: EndUserId) -> Self {
        Self { kind, end_users: vec![ConflictingEndUser { id, fields: Vec::new() }] }
    }
}
