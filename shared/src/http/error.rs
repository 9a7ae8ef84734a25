//! The errors of a request, and their status codes.

use lambda_http::http::StatusCode;

use crate::auth::AuthError;
use crate::domain::input::ValidationErrors;
use crate::store::{ChangeError, Outcome, StoreError};

/// The error of a request.
#[derive(Debug)]
pub enum Error {
    /// The request has no authorized caller.
    Auth(AuthError),
    /// The request is invalid, conflicts with stored data, or the database failed.
    Change(ChangeError),
    /// The body is not JSON, or it is compressed.
    UnsupportedMedia(&'static str),
    /// The body is larger than 1 MiB.
    TooLarge,
}

impl Error {
    /// The tenant has no such end user.
    pub const NOT_FOUND: Self = Self::Change(ChangeError::NotFound);
}

impl From<AuthError> for Error {
    fn from(error: AuthError) -> Self {
        Self::Auth(error)
    }
}

impl From<ValidationErrors> for Error {
    fn from(errors: ValidationErrors) -> Self {
        Self::Change(ChangeError::Invalid(errors))
    }
}

impl From<StoreError> for Error {
    fn from(error: StoreError) -> Self {
        Self::Change(ChangeError::Store(error))
    }
}

impl From<ChangeError> for Error {
    fn from(error: ChangeError) -> Self {
        Self::Change(error)
    }
}

impl Error {
    /// Logs an error of the database. The log has its kind but no values; the response has neither.
    pub(super) fn log(&self, request_id: &str) {
        if let Self::Change(ChangeError::Store(error)) = self {
            tracing::error!(requestId = request_id, %error, "request failed");
        }
    }

    pub(super) fn status(&self) -> StatusCode {
        match self {
            Self::Auth(AuthError::Missing | AuthError::Invalid | AuthError::Expired) => StatusCode::UNAUTHORIZED,
            Self::Auth(AuthError::NoTenant | AuthError::Scope) => StatusCode::FORBIDDEN,
            Self::Auth(AuthError::IssuerUnavailable) => StatusCode::SERVICE_UNAVAILABLE,
            Self::UnsupportedMedia(_) => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Change(error) => match error {
                ChangeError::Invalid(_) => StatusCode::BAD_REQUEST,
                ChangeError::NotFound => StatusCode::NOT_FOUND,
                ChangeError::Merged(_) => StatusCode::PERMANENT_REDIRECT,
                ChangeError::Stale => StatusCode::PRECONDITION_FAILED,
                ChangeError::KeyReused => StatusCode::UNPROCESSABLE_ENTITY,
                ChangeError::Conflict(_) => StatusCode::CONFLICT,
                ChangeError::Store(StoreError::Unavailable { .. }) => StatusCode::SERVICE_UNAVAILABLE,
                ChangeError::Store(StoreError::Unexpected(_)) => StatusCode::INTERNAL_SERVER_ERROR,
            },
        }
    }

    /// The message for the caller; empty for an unexpected error.
    pub(super) fn detail(&self) -> String {
        let text = match self {
            Self::Auth(error) => return error.to_string(),
            Self::UnsupportedMedia(detail) => detail,
            Self::TooLarge => "the body must be at most 1 MiB",
            Self::Change(error) => match error {
                ChangeError::Invalid(_) => "the request is invalid; see `errors`",
                ChangeError::NotFound => "the end user does not exist",
                ChangeError::Merged(_) => "the end user is part of another one, see `endUserID` and Location",
                ChangeError::Stale => {
                    "the end user was modified: If-Match or If-None-Match does not allow its current ETag"
                }
                ChangeError::KeyReused => "this Idempotency-Key was already used with a different request",
                ChangeError::Conflict(conflict) => conflict.kind.detail(),
                ChangeError::Store(StoreError::Unavailable { outcome: Outcome::NothingWritten, .. }) => {
                    "the database is unavailable; nothing was written, retry the request"
                }
                ChangeError::Store(StoreError::Unavailable { outcome: Outcome::Unknown, .. }) => {
                    "the database did not respond; it is unknown whether the change was written"
                }
                ChangeError::Store(StoreError::Unexpected(_)) => "",
            },
        };
        text.to_owned()
    }
}
