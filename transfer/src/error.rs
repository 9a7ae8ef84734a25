//! Why a command stops.

use std::path::Path;

/// Why a command stopped; one line that says what to mend. Never with a token or a value of a row.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// A file.
    #[error("{path}: {reason}")]
    File {
        /// Which.
        path: String,
        /// What is wrong with it.
        reason: String,
    },
    /// What was asked for, before anything is sent.
    #[error("{0}")]
    Usage(String),
    /// The token is not accepted (401 or 403).
    #[error("the token is refused ({status}: {detail})")]
    Auth {
        /// Of the answer.
        status: u16,
        /// What the API says.
        detail: String,
    },
    /// The API does not answer, or only that it cannot now.
    #[error("{reason}, {tries} times in a row")]
    Unanswered {
        /// Of one request.
        tries: u32,
        /// Why the last one failed.
        reason: String,
    },
    /// By the user or the system, in the middle.
    #[error("interrupted")]
    Interrupted,
    /// An export that would not be whole.
    #[error("the API counts {total} people and lists {listed}: its index is behind; export again in a moment")]
    Incomplete {
        /// How many there are.
        total: u64,
        /// How many were seen.
        listed: u64,
    },
    /// An answer that the contract does not have here.
    #[error("the API answered {status} ({detail}), request id {request_id}")]
    Unexpected {
        /// Of the answer.
        status: u16,
        /// What the API says.
        detail: String,
        /// By which the API's log knows the request.
        request_id: String,
    },
}

impl Error {
    /// A file that cannot be used.
    pub(crate) fn file(path: &Path, reason: impl ToString) -> Self {
        Self::File { path: path.display().to_string(), reason: reason.to_string() }
    }
}
