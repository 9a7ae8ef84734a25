//! The problem document of an error (RFC 9457).

use std::collections::BTreeMap;

use lambda_http::http::{StatusCode, header};
use serde::Serialize;

use super::error::Error;
use super::response::Response;
use crate::auth::AuthError;
use crate::domain::end_user::ConflictingEndUser;
use crate::domain::ids::EndUserId;
use crate::store::ChangeError;

/// A problem document (RFC 9457).
#[derive(Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub(super) struct Problem<'a> {
    /// Always `about:blank`: the status identifies the problem.
    r#type: &'static str,
    /// The reason phrase of the status.
    title: &'static str,
    /// The HTTP status.
    #[cfg_attr(feature = "openapi", schema(minimum = 300, maximum = 599))]
    status: u16,
    /// What is wrong and what to do; empty for an unexpected error.
    detail: &'a str,
    /// The id of the request, as in `x-request-id`.
    instance: &'a str,
    /// For 400: messages by the path of the field (`uids[1].uid`, `pageSize`; `body` for an error without a field).
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(nullable = false))]
    errors: Option<&'a BTreeMap<String, Vec<String>>>,
    /// For 308: the end user that the one in the path is part of now.
    #[serde(rename = "endUserID", skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = i32, minimum = 1, nullable = false))]
    end_user_id: Option<EndUserId>,
    /// For 409: the kind of conflict.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(nullable = false))]
    code: Option<&'static str>,
    /// For 409: the end users that the request conflicts with, by ascending id, at most 100.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(nullable = false))]
    conflicts: Option<&'a [ConflictingEndUser]>,
}

/// The response to a request that failed with `error`.
pub(super) fn response(error: &Error, request_id: &str) -> Response {
    let status = error.status();
    let errors = match error {
        Error::Change(ChangeError::Invalid(errors)) => Some(errors.as_map()),
        _ => None,
    };
    let end_user_id = match error {
        Error::Change(ChangeError::Merged(id)) => Some(*id),
        _ => None,
    };
    let conflict = match error {
        Error::Change(ChangeError::Conflict(conflict)) => Some(conflict),
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
        end_user_id,
        code: conflict.map(|conflict| conflict.kind.code()),
        conflicts: conflict.map(|conflict| conflict.end_users.as_slice()).filter(|end_users| !end_users.is_empty()),
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
