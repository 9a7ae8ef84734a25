//! Errors that stop a command or end the reading of a file.

use std::io;
use std::path::Path;

use crate::decode::DecodeError;
use crate::limits::MAX_ROW_BYTES;

/// The error that stopped a command: one line that says how to solve it, without a token or a value of a row.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// A file cannot be used.
    #[error("{path}: {reason}")]
    File { path: String, reason: String },
    /// The arguments are invalid. Nothing was sent.
    #[error("{0}")]
    Usage(String),
    /// The API rejected the token: 401 or 403.
    #[error("the token was rejected ({status}: {detail})")]
    Auth { status: u16, detail: String },
    /// All attempts of one request failed.
    #[error("{reason}; gave up after {attempts} attempts")]
    Unavailable {
        attempts: u32,
        /// The failure of the last attempt.
        reason: String,
    },
    /// The user or the system ended the command.
    #[error("interrupted")]
    Interrupted,
    /// The list of end users stayed shorter than its total, so the export would be incomplete.
    #[error(
        "the API counts {total} end users but lists only {listed}, because its index is behind; try again in a moment"
    )]
    Incomplete { total: u64, listed: u64 },
    /// The API responded with a status that docs/api.md does not have for this request.
    #[error("unexpected response {status} of the API ({detail}), request id {request_id}")]
    Unexpected { status: u16, detail: String, request_id: String },
}

impl Error {
    /// The error of a file that cannot be used.
    pub(crate) fn file(path: &Path, reason: impl ToString) -> Self {
        Self::File { path: path.display().to_string(), reason: reason.to_string() }
    }
}

/// The error that ends the reading of a file.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReadError {
    #[error("{0}")]
    Read(#[from] io::Error),
    #[error("{0}")]
    Decode(#[from] DecodeError),
    #[error("the file is empty")]
    Empty,
    #[error("the file looks like JSON; use --format ndjson")]
    NotCsv,
    #[error("the file does not look like JSON; use --format csv if it is CSV")]
    NotJson,
    #[error("the header {0}")]
    Header(String),
    #[error("line {line}: {reason}")]
    Json { line: u64, reason: &'static str },
    #[error("line {0}: the row is longer than {max} MiB", max = MAX_ROW_BYTES >> 20)]
    TooLong(u64),
}
