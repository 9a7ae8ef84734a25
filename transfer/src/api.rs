//! A client of the API that retries failed requests.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use aws_smithy_http_client::Connector;
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};
use aws_smithy_runtime_api::client::http::HttpConnector;
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use aws_smithy_types::body::SdkBody;
use aws_smithy_types::byte_stream::ByteStream;
use shared::domain::input::{Json, ValidationErrors};

use crate::error::Error;
use crate::target::{Destination, Target};

/// The time limit of one attempt.
const TIMEOUT: Duration = Duration::from_secs(30);
/// The most attempts of one request.
const MAX_ATTEMPTS: u32 = 10;
/// The longest delay before the second attempt. It doubles with each further attempt, up to [`MAX_BACKOFF`].
const FIRST_BACKOFF: Duration = Duration::from_millis(250);
const MAX_BACKOFF: Duration = Duration::from_secs(20);
/// The longest `Retry-After` that is respected.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(300);

/// The path of the list of end users, and of creating one.
pub(crate) const END_USERS: &str = "/api/EndUsers";
const UPSERT_MANY: &str = "/api/EndUsers/upsertMany";

/// A client of one deployment.
pub(crate) struct Api {
    connector: Connector,
    target: Target,
    /// Whether a retry was reported.
    reported: AtomicBool,
}

/// An HTTP response.
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) body: Vec<u8>,
    /// Whether it replays the response of an earlier request with the same idempotency key.
    pub(crate) replayed: bool,
    request_id: String,
    retry_after: Option<Duration>,
}

/// The error of one attempt.
pub(crate) enum AttemptError {
    /// Another attempt would fail too.
    Final(Error),
    /// Another attempt can succeed.
    Transient { reason: String, retry_after: Option<Duration> },
}

impl Response {
    /// The `detail` or `title` of a problem document (RFC 9457), or the `message` of the gateway.
    pub(crate) fn detail(&self) -> String {
        let body = Json::parse(&self.body).ok();
        let text = |name| body.as_ref()?.member(name)?.as_str().filter(|text| !text.is_empty()).map(str::to_owned);
        text("detail").or_else(|| text("message")).or_else(|| text("title")).unwrap_or_else(|| "no detail".to_owned())
    }

    /// The validation errors of a problem document; empty for another body.
    pub(crate) fn errors(&self) -> ValidationErrors {
        let mut errors = ValidationErrors::default();
        let body = Json::parse(&self.body).unwrap_or(Json::Null);
        let Some(Json::Object(by_path)) = body.member("errors") else { return errors };
        for (path, messages) in by_path {
            let Json::Array(messages) = messages else { continue };
            messages.iter().filter_map(Json::as_str).for_each(|message| errors.add(path, message));
        }
        errors
    }

    /// The validation errors of a response that rejects the request, at least one.
    pub(crate) fn rejection(&self) -> ValidationErrors {
        let mut errors = self.errors();
        if errors.is_empty() {
            errors.add("body", format!("{} ({})", self.detail(), self.status));
        }
        errors
    }

    /// The id of the created end user.
    pub(crate) fn end_user_id(&self) -> Option<u64> {
        Json::parse(&self.body).ok()?.member("endUserID")?.as_u64()
    }

    /// The error for a status that the command cannot handle.
    pub(crate) fn unexpected(&self) -> Error {
        Error::Unexpected { status: self.status, detail: self.detail(), request_id: self.request_id.clone() }
    }
}

impl Api {
    pub(crate) fn new(target: Target) -> Self {
        let connector = Connector::builder().tls_provider(Provider::Rustls(CryptoMode::AwsLc)).build();
        Self { connector, target, reported: AtomicBool::new(false) }
    }

    /// The deployment and tenant.
    pub(crate) fn destination(&self) -> &Destination {
        &self.target.destination
    }

    /// Sends a GET request to `path`, a path with a query.
    pub(crate) async fn get(&self, path: &str, on_retry: impl Fn(&str)) -> Result<Response, Error> {
        self.send("GET", path, None, &[], on_retry).await
    }

    /// Creates an end user. All requests with the same `key` create one end user within 24 hours.
    pub(crate) async fn create(&self, key: &str, body: &[u8], on_retry: impl Fn(&str)) -> Result<Response, Error> {
        self.send("POST", END_USERS, Some(key), body, on_retry).await
    }

    /// Whether an end user with this id exists.
    pub(crate) async fn has_end_user(&self, id: u64, on_retry: impl Fn(&str)) -> Result<bool, Error> {
        let response = self.get(&format!("{END_USERS}/{id}"), on_retry).await?;
        match response.status {
            200 => Ok(true),
            404 => Ok(false),
            _ => Err(response.unexpected()),
        }
    }

    /// Sends a request, and retries it as [`Api::retry`] does.
    async fn send(
        &self,
        method: &str,
        path: &str,
        key: Option<&str>,
        body: &[u8],
        on_retry: impl Fn(&str),
    ) -> Result<Response, Error> {
        self.retry(on_retry, async || self.attempt(method, path, key, body).await).await
    }

    /// Upserts end users: one attempt of [`Api::retry`].
    pub(crate) async fn upsert_many(&self, body: &[u8]) -> Result<Response, AttemptError> {
        self.attempt("POST", UPSERT_MANY, None, body).await
    }

    /// Calls `attempt` until it succeeds or fails for good, at most [`MAX_ATTEMPTS`] times. Calls `on_retry` once in the
    /// client's lifetime, with the first failure.
    pub(crate) async fn retry<T>(
        &self,
        on_retry: impl Fn(&str),
        mut attempt: impl AsyncFnMut() -> Result<T, AttemptError>,
    ) -> Result<T, Error> {
        let mut last_reason = String::new();
        for number in 0..MAX_ATTEMPTS {
            let (reason, retry_after) = match attempt().await {
                Ok(value) => return Ok(value),
                Err(AttemptError::Final(error)) => return Err(error),
                Err(AttemptError::Transient { reason, retry_after }) => (reason, retry_after),
            };
            if !self.reported.swap(true, Ordering::Relaxed) {
                on_retry(&format!("{}: {reason}; failed requests are retried", self.destination().url));
            }
            last_reason = reason;
            if number + 1 < MAX_ATTEMPTS {
                tokio::time::sleep(backoff(number, retry_after)).await;
            }
        }
        Err(Error::Unavailable { attempts: MAX_ATTEMPTS, reason: format!("{}: {last_reason}", self.destination().url) })
    }

    /// Sends a request once. A network error, a time-out, 429, 500, 502, 503 and 504 are transient. 401 and 403 are
    /// [`Error::Auth`].
    async fn attempt(
        &self,
        method: &str,
        path: &str,
        key: Option<&str>,
        body: &[u8],
    ) -> Result<Response, AttemptError> {
        let transient = |reason| AttemptError::Transient { reason, retry_after: None };
        let response = match tokio::time::timeout(TIMEOUT, self.send_once(method, path, key, body)).await {
            Err(_) => return Err(transient(format!("no response within {} s", TIMEOUT.as_secs()))),
            Ok(response) => response.map_err(transient)?,
        };
        let (status, detail) = (response.status, response.detail());
        match status {
            401 | 403 => Err(AttemptError::Final(Error::Auth { status, detail })),
            _ if is_transient(status) => {
                let reason = format!("{status} ({detail})");
                Err(AttemptError::Transient { reason, retry_after: response.retry_after })
            }
            _ => Ok(response),
        }
    }

    async fn send_once(&self, method: &str, path: &str, key: Option<&str>, body: &[u8]) -> Result<Response, String> {
        let request = self.request(method, path, key, body).ok_or("the request cannot be built")?;
        let received = self.connector.call(request).await.map_err(|error| chain(&error))?;
        let header = |name: &str| received.headers().get(name).map(str::to_owned);
        let mut response = Response {
            status: received.status().as_u16(),
            body: Vec::new(),
            replayed: header("idempotency-replayed").as_deref() == Some("true"),
            request_id: header("x-request-id")
                .or_else(|| header("apigw-requestid"))
                .unwrap_or_else(|| "unknown".to_owned()),
            retry_after: header("retry-after").and_then(|seconds| seconds.parse().ok()).map(Duration::from_secs),
        };
        let body = ByteStream::new(received.into_body()).collect().await;
        response.body = body.map_err(|error| chain(&error))?.to_vec();
        Ok(response)
    }

    fn request(&self, method: &str, path: &str, key: Option<&str>, body: &[u8]) -> Option<HttpRequest> {
        let mut request = HttpRequest::new(SdkBody::from(body.to_vec()));
        request.set_method(method).ok()?;
        request.set_uri(format!("{}{path}", self.destination().url)).ok()?;
        let headers = request.headers_mut();
        headers.try_insert("authorization", self.target.authorization.clone()).ok()?;
        if let Some(key) = key {
            headers.try_insert("idempotency-key", key.to_owned()).ok()?;
        }
        if !body.is_empty() {
            headers.try_insert("content-type", "application/json").ok()?;
        }
        Some(request)
    }
}

/// Whether a request or an item with this status can succeed when it is repeated.
pub(crate) fn is_transient(status: u16) -> bool {
    matches!(status, 429 | 500 | 502 | 503 | 504)
}

/// The delay after attempt number `attempt`, counted from 0: the API's `Retry-After` plus exponential backoff with
/// jitter, so that requests that failed together are not retried together.
fn backoff(attempt: u32, retry_after: Option<Duration>) -> Duration {
    let longest = MAX_BACKOFF.min(FIRST_BACKOFF * 2_u32.pow(attempt));
    retry_after.unwrap_or_default().min(MAX_RETRY_AFTER) + longest.mul_f64((1.0 + fastrand::f64()) / 2.0)
}

/// An error and its sources, in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let cause = error.source().map(|cause| format!(": {}", chain(cause)));
    format!("{error}{}", cause.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backoff_is_bounded_and_respects_retry_after() {
        for attempt in 0..MAX_ATTEMPTS {
            let longest = MAX_BACKOFF.min(FIRST_BACKOFF * 2_u32.pow(attempt));
            for _ in 0..100 {
                let delay = backoff(attempt, None);
                assert!(delay >= longest / 2 && delay <= longest, "{attempt}: {delay:?}");
            }
        }
        assert!(backoff(0, Some(Duration::from_secs(7))) >= Duration::from_secs(7));
        assert!(backoff(0, Some(Duration::from_secs(1 << 40))) <= MAX_RETRY_AFTER + FIRST_BACKOFF);
    }
}
