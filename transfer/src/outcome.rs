//! The outcome of importing a row.

use shared::domain::input::ValidationErrors;

/// The outcome of a row.
pub(crate) enum RowOutcome {
    Created {
        replayed: bool,
    },
    Updated,
    Unchanged,
    Rejected(ValidationErrors),
    /// Rejected because of other end users, which the errors name.
    Conflict(ValidationErrors),
}
