//! Every way in which a request can fail, and its one conversion to HTTP (RFC 9457).

use std::collections::BTreeMap;

use lambda_http::http::{StatusCode, header};
use serde::Serialize;

use super::response::Response;
use crate::auth::AuthError;
use crate::domain::input::ValidationErrors;
use crate::store::{ChangeError, Outcome, StoreError};

/// Why a request was not carried out.
#[derive(Debug)]
pub enum Error {
    /// No caller, or one who may not.
    Auth(AuthError),
    /// The request is at fault.
    Invalid(ValidationErrors),
    /// The end user is not there, for this caller.
    NotFound,
    /// The end user is at another revision than the request is meant for.
    Stale,
    /// The Idempotency-Key came with another request.
    KeyReused,
    /// The tenant has used up its ids.
    IdsExhausted,
    /// The body is of a kind that is not read.
    UnsupportedMedia(&'static str),
    /// The body is over 1 MiB.
    TooLarge,
    /// The database.
    Store(StoreError),
}

impl From<ValidationErrors> for Error {
    fn from(errors: ValidationErrors) -> Self {
        Self::Invalid(errors)
    }
}

impl From<StoreError> for Error {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<ChangeError> for Error {
    fn from(error: ChangeError) -> Self {
        match error {
            ChangeError::NotFound => Self::NotFound,
            ChangeError::Invalid(errors) => Self::Invalid(errors),
            ChangeError::Stale => Self::Stale,
            ChangeError::KeyReused => Self::KeyReused,
            ChangeError::IdsExhausted => Self::IdsExhausted,
            ChangeError::Store(error) => Self::Store(error),
        }
    }
}

/// A problem document of RFC 9457.
#[derive(Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub(super) struct Problem<'a> {
    /// Always `about:blank`: the status says it all.
    r#type: &'static str,
    /// The status in words.
    title: &'static str,
    /// The HTTP status.
    #[cfg_attr(feature = "openapi", schema(minimum = 400, maximum = 599))]
    status: u16,
    /// What is wrong; empty for an unexpected fault.
    detail: &'a str,
    /// The id of the request, as in `x-request-id`.
    instance: &'a str,
    /// For 400: messages by the path of the field (`uids[1].uid`, `pageSize`; `body` for faults without a field).
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(nullable = false))]
    errors: Option<&'a BTreeMap<String, Vec<String>>>,
    /// For 409: the kind of conflict.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(nullable = false))]
    code: Option<&'static str>,
}

impl Error {
    /// Logs what the caller is not told: faults below, by kind and never with a value.
    pub(super) fn log(&self, request_id: &str) {
        if let Self::Store(error) = self {
            tracing::error!(requestId = request_id, %error, "request failed");
        }
    }

    fn status(&self) -> StatusCode {
        match self {
            Self::Auth(AuthError::Missing | AuthError::Invalid | AuthError::Expired) => StatusCode::UNAUTHORIZED,
            Self::Auth(AuthError::NoTenant | AuthError::Scope) => StatusCode::FORBIDDEN,
            Self::Auth(AuthError::IssuerUnavailable) => StatusCode::SERVICE_UNAVAILABLE,
            Self::Invalid(_) => StatusCode::BAD_REQUEST,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::Stale => StatusCode::PRECONDITION_FAILED,
            Self::KeyReused => StatusCode::UNPROCESSABLE_ENTITY,
            Self::IdsExhausted => StatusCode::CONFLICT,
            Self::UnsupportedMedia(_) => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Store(StoreError::Unavailable { .. }) => StatusCode::SERVICE_UNAVAILABLE,
            Self::Store(StoreError::Unexpected(_)) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    fn detail(&self) -> String {
        match self {
            Self::Auth(refusal) => refusal.to_string(),
            Self::Invalid(_) => "the request is at fault; errors says where".to_owned(),
            Self::NotFound => "there is no such end user".to_owned(),
            Self::Stale => "the end user is at another revision than the request is meant for".to_owned(),
            Self::KeyReused => "this Idempotency-Key came with another request before".to_owned(),
            Self::IdsExhausted => "this tenant has used all its ids; nothing was written".to_owned(),
            Self::UnsupportedMedia(detail) => (*detail).to_owned(),
            Self::TooLarge => "the body must be at most 1 MiB".to_owned(),
            Self::Store(StoreError::Unavailable { outcome: Outcome::NothingWritten, .. }) => {
                "the database is busy or out of reach; nothing was written, the request may be sent again".to_owned()
            }
            Self::Store(StoreError::Unavailable { outcome: Outcome::Unknown, .. }) => {
                "the database did not answer; whether the change was written is unknown".to_owned()
            }
            Self::Store(StoreError::Unexpected(_)) => String::new(),
        }
    }
}

/// The problem document of an error.
pub(super) fn response(error: &Error, request_id: &str) -> Response {
    let status = error.status();
    let errors = match error {
        Error::Invalid(errors) => Some(errors.as_map()),
        _ => None,
    };
    let code = match error {
        Error::IdsExhausted => Some("ids_exhausted"),
        _ => None,
    };
    let title = status.canonical_reason().unwrap_or_default();
    let detail = error.detail();
    let problem = Problem {
        r#type: "about:blank",
        title,
        status: status.as_u16(),
        detail: &detail,
        instance: request_id,
        errors,
        code,
    };
    let response =
        Response::new(status, "application/problem+json", &problem).unwrap_or_else(|_| Response::no_content());
    match error {
        Error::Auth(AuthError::Missing) => response.with_header(header::WWW_AUTHENTICATE, "Bearer"),
        Error::Auth(AuthError::Invalid | AuthError::Expired) => {
            response.with_header(header::WWW_AUTHENTICATE, r#"Bearer error="invalid_token""#)
        }
        Error::Auth(AuthError::Scope) => {
            response.with_header(header::WWW_AUTHENTICATE, r#"Bearer error="insufficient_scope""#)
        }
        _ if status == StatusCode::SERVICE_UNAVAILABLE => response.with_header(header::RETRY_AFTER, "1"),
        _ => response,
    }
}
