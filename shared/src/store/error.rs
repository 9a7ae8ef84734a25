//! The errors of the store.

use crate::domain::end_user::{Conflict, ConflictKind};
use crate::domain::ids::EndUserId;
use crate::domain::input::ValidationErrors;

/// An error of the database.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database throttled the call, could not be reached, or did not respond in time, after bounded retries.
    #[error("the database is unavailable ({outcome:?}): {reason}")]
    Unavailable {
        /// What is known about the write.
        outcome: Outcome,
        /// An error code or a kind of error for the log, never a value.
        reason: String,
    },
    /// A bug, or an error of the deployment: DynamoDB rejects the request, or a stored item cannot be read.
    #[error("unexpected: {0}")]
    Unexpected(String),
}

/// What is known about a write that was not acknowledged.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// Nothing was written.
    NothingWritten,
    /// The response was lost: the write was applied completely or not at all.
    Unknown,
}

/// The reason why an end user was not changed.
#[derive(Debug)]
pub enum ChangeError {
    /// The tenant has no such end user.
    NotFound,
    /// The end user is part of another one, with this id.
    Merged(EndUserId),
    /// The end user's revision does not meet the precondition.
    Stale,
    /// The idempotency key was already used with a different request.
    KeyReused,
    /// Stored end users do not allow the change.
    Conflict(Conflict),
    /// The result of the change would be an invalid end user.
    Invalid(ValidationErrors),
    /// The database failed.
    Store(StoreError),
}

impl From<ValidationErrors> for ChangeError {
    fn from(errors: ValidationErrors) -> Self {
        Self::Invalid(errors)
    }
}

impl From<ConflictKind> for ChangeError {
    fn from(kind: ConflictKind) -> Self {
        Self::Conflict(Conflict::of(kind))
    }
}

impl From<StoreError> for ChangeError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

/// An item that cannot be converted from or to its stored shape.
pub(super) fn unreadable(error: impl std::fmt::Display) -> StoreError {
    StoreError::Unexpected(format!("an item cannot be read or written: {error}"))
}
