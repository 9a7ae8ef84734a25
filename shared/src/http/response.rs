//! Responses of a handler.

use lambda_http::http::{self, HeaderName, HeaderValue, StatusCode, header};
use serde::Serialize;

use super::conditions;
use super::error::Error;
use crate::domain::end_user::{Precondition, Revision};
use crate::domain::page::Page;
use crate::store::{ChangeError, StoreError};

/// A response: a status, an optional JSON body, and headers.
#[derive(Debug)]
pub struct Response {
    status: StatusCode,
    content_type: &'static str,
    body: String,
    headers: Vec<(HeaderName, String)>,
}

impl Response {
    /// 200 with `body`.
    pub fn ok(body: &impl Serialize) -> Result<Self, Error> {
        Self::json(StatusCode::OK, body)
    }

    /// 201 with `body`.
    pub fn created(body: &impl Serialize) -> Result<Self, Error> {
        Self::json(StatusCode::CREATED, body)
    }

    /// 204.
    pub fn no_content() -> Self {
        Self { status: StatusCode::NO_CONTENT, content_type: "", body: String::new(), headers: Vec::new() }
    }

    /// Applies the request's precondition to a response that shows an end user at `revision` (RFC 9110 §13.2.2): the
    /// response with its entity tag, 304 if `If-None-Match` has the revision, or 412.
    pub fn conditional(self, precondition: &Precondition, revision: Revision) -> Result<Self, Error> {
        if !precondition.if_match.contains(revision) {
            return Err(ChangeError::Stale.into());
        }
        let response = self.with_revision(revision);
        if !precondition.if_none_match.contains(revision) {
            return Ok(response);
        }
        Ok(Self { status: StatusCode::NOT_MODIFIED, content_type: "", body: String::new(), ..response })
    }

    fn json(status: StatusCode, body: &impl Serialize) -> Result<Self, Error> {
        Self::new(status, "application/json", body)
    }

    pub(super) fn new(status: StatusCode, content_type: &'static str, body: &impl Serialize) -> Result<Self, Error> {
        let body = serde_json::to_string(body).map_err(|e| StoreError::Unexpected(e.to_string()))?;
        Ok(Self { status, content_type, body, headers: Vec::new() })
    }

    /// Adds a header.
    pub fn with_header(mut self, name: HeaderName, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// Adds the entity tag of an end user at `revision`.
    pub fn with_revision(self, revision: Revision) -> Self {
        self.with_header(header::ETAG, conditions::etag(revision))
    }

    /// Adds `Idempotency-Replayed: true` if the response is that of an earlier request.
    pub fn replayed(self, replayed: bool) -> Self {
        if replayed { self.with_header(HeaderName::from_static("idempotency-replayed"), "true") } else { self }
    }

    pub(super) fn status(&self) -> u16 {
        self.status.as_u16()
    }

    /// Builds the HTTP response with the headers that every response has.
    pub(super) fn finish(self, request_id: &str, timing: Option<String>) -> http::Response<String> {
        let mut response = http::Response::new(self.body);
        *response.status_mut() = self.status;
        let fixed = [
            (header::CACHE_CONTROL, "no-store".to_owned()),
            (header::X_CONTENT_TYPE_OPTIONS, "nosniff".to_owned()),
            (HeaderName::from_static("x-request-id"), request_id.to_owned()),
        ];
        let content_type =
            (!self.content_type.is_empty()).then(|| (header::CONTENT_TYPE, self.content_type.to_owned()));
        let timing = timing.map(|timing| (HeaderName::from_static("server-timing"), timing));
        for (name, value) in fixed.into_iter().chain(content_type).chain(timing).chain(self.headers) {
            if let Ok(value) = HeaderValue::try_from(value) {
                response.headers_mut().insert(name, value);
            }
        }
        response
    }
}

/// A page of a list (PaginatedResult of the public reference).
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Paginated<T> {
    /// The rows of the page.
    pub items: Vec<T>,
    /// The number of rows of all pages.
    pub total_count: u64,
    /// The number of pages; 0 if there are no rows.
    pub total_pages: u64,
}

impl<T> Paginated<T> {
    /// Builds page `page` of `total` rows.
    pub fn new(items: Vec<T>, total: u64, page: Page) -> Self {
        Self { items, total_count: total, total_pages: total.div_ceil(page.size.into()) }
    }
}
