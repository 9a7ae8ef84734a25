//! The API of a deployment, asked until it answers.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use aws_smithy_http_client::Connector;
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};
use aws_smithy_runtime_api::client::http::HttpConnector;
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use aws_smithy_types::body::SdkBody;
use aws_smithy_types::byte_stream::ByteStream;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::Uri;
use shared::domain::input::{Json, ValidationErrors};

use crate::error::Error;
use crate::journal::Destination;

/// How long one try may take.
const TIMEOUT: Duration = Duration::from_secs(30);
/// How often a request is sent until it is given up.
const TRIES: u32 = 10;
/// The longest wait before the second try, doubled for each further one, up to the longest of all.
const FIRST_WAIT: Duration = Duration::from_millis(250);
const LONGEST_WAIT: Duration = Duration::from_secs(20);
/// The longest wait that a `Retry-After` is granted.
const LONGEST_ASKED: Duration = Duration::from_secs(300);

/// The route of the list, and of a create.
pub(crate) const END_USERS: &str = "/api/EndUsers";

/// A deployment and a token for it.
pub(crate) struct Api {
    connector: Connector,
    whose: Destination,
    authorization: String,
    /// Whether somebody was told that requests fail and are sent again.
    told: AtomicBool,
}

/// What came back.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Vec<u8>,
    /// Whether it is that to an earlier request with the same key.
    pub(crate) replayed: bool,
    request_id: String,
    /// How long to wait before the next try.
    retry_after: Option<Duration>,
}

impl Answer {
    /// What the API says of it: the detail of a problem (RFC 9457), or the gateway's message.
    pub(crate) fn detail(&self) -> String {
        let body = Json::parse(&self.body).ok();
        let text = |name| body.as_ref()?.member(name)?.as_str().filter(|text| !text.is_empty()).map(str::to_owned);
        text("detail").or_else(|| text("message")).or_else(|| text("title")).unwrap_or_else(|| "no detail".to_owned())
    }

    /// What a problem says is wrong with the request, by path.
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

    /// The id of the end user that was created.
    pub(crate) fn end_user_id(&self) -> Option<u64> {
        Json::parse(&self.body).ok()?.member("endUserID")?.as_u64()
    }

    /// That nobody expected it.
    pub(crate) fn unexpected(&self) -> Error {
        Error::Unexpected { status: self.status, detail: self.detail(), request_id: self.request_id.clone() }
    }
}

impl Api {
    /// The API at `url`, with or without `/api`.
    pub(crate) fn new(url: &str, token: &str) -> Result<Self, Error> {
        let url = normal_url(url)?;
        let token = token.trim();
        if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(Error::Usage("the token is empty or holds what no header can".to_owned()));
        }
        let authorization = format!("Bearer {token}");
        let connector = Connector::builder().tls_provider(Provider::Rustls(CryptoMode::AwsLc)).build();
        let whose = Destination { url, customer: customer(token) };
        Ok(Self { connector, whose, authorization, told: AtomicBool::new(false) })
    }

    /// Where it is, and whose token this is.
    pub(crate) fn whose(&self) -> &Destination {
        &self.whose
    }

    /// Reads what is at `path`.
    pub(crate) async fn get(&self, path: &str, on_retry: impl Fn(&str)) -> Result<Answer, Error> {
        self.send("GET", path, None, &[], on_retry).await
    }

    /// Creates an end user; sent again with the same `key`, it is not created again.
    pub(crate) async fn create(&self, key: &str, body: &[u8], on_retry: impl Fn(&str)) -> Result<Answer, Error> {
        self.send("POST", END_USERS, Some(key), body, on_retry).await
    }

    /// Whether there is an end user with this id.
    pub(crate) async fn has_end_user(&self, id: u64, on_retry: impl Fn(&str)) -> Result<bool, Error> {
        let answer = self.get(&format!("{END_USERS}/{id}"), on_retry).await?;
        match answer.status {
            200 => Ok(true),
            404 => Ok(false),
            _ => Err(answer.unexpected()),
        }
    }

    /// Sends until there is an answer that a further try would not change. `on_retry` is told of the first of
    /// all failures.
    async fn send(
        &self,
        method: &str,
        path: &str,
        key: Option<&str>,
        body: &[u8],
        on_retry: impl Fn(&str),
    ) -> Result<Answer, Error> {
        let mut reason = String::new();
        for tried in 0..TRIES {
            let answer = tokio::time::timeout(TIMEOUT, self.try_once(method, path, key, body)).await;
            let mut asked = None;
            reason = match answer {
                Err(_) => format!("no answer in {} s", TIMEOUT.as_secs()),
                Ok(Err(error)) => error,
                Ok(Ok(answer)) if matches!(answer.status, 401 | 403) => {
                    return Err(Error::Auth { status: answer.status, detail: answer.detail() });
                }
                Ok(Ok(answer)) if !matches!(answer.status, 429 | 500 | 502 | 503 | 504) => return Ok(answer),
                Ok(Ok(answer)) => {
                    asked = answer.retry_after;
                    format!("{} ({})", answer.status, answer.detail())
                }
            };
            if !self.told.swap(true, Ordering::Relaxed) {
                on_retry(&format!("{}: {reason}; requests that fail are sent again", self.whose.url));
            }
            if tried + 1 < TRIES {
                tokio::time::sleep(wait(tried, asked)).await;
            }
        }
        Err(Error::Unanswered { tries: TRIES, reason: format!("{}: {reason}", self.whose.url) })
    }

    async fn try_once(&self, method: &str, path: &str, key: Option<&str>, body: &[u8]) -> Result<Answer, String> {
        let request = self.request(method, path, key, body).ok_or("the request cannot be written")?;
        let response = self.connector.call(request).await.map_err(|error| chain(&error))?;
        let header = |name: &str| response.headers().get(name).map(str::to_owned);
        let mut answer = Answer {
            status: response.status().as_u16(),
            body: Vec::new(),
            replayed: header("idempotency-replayed").as_deref() == Some("true"),
            request_id: header("x-request-id")
                .or_else(|| header("apigw-requestid"))
                .unwrap_or_else(|| "unknown".to_owned()),
            retry_after: header("retry-after").and_then(|seconds| seconds.parse().ok()).map(Duration::from_secs),
        };
        let body = ByteStream::new(response.into_body()).collect().await;
        answer.body = body.map_err(|error| chain(&error))?.to_vec();
        Ok(answer)
    }

    fn request(&self, method: &str, path: &str, key: Option<&str>, body: &[u8]) -> Option<HttpRequest> {
        let mut request = HttpRequest::new(SdkBody::from(body.to_vec()));
        request.set_method(method).ok()?;
        request.set_uri(format!("{}{path}", self.whose.url)).ok()?;
        let headers = request.headers_mut();
        headers.try_insert("authorization", self.authorization.clone()).ok()?;
        if let Some(key) = key {
            headers.try_insert("idempotency-key", key.to_owned()).ok()?;
            headers.try_insert("content-type", "application/json").ok()?;
        }
        Some(request)
    }
}

/// How long to wait before the next try: as long as the API asks for, or longer the more were in vain; with
/// jitter, so that those who failed together do not come back together.
fn wait(tried: u32, asked: Option<Duration>) -> Duration {
    let longest = LONGEST_WAIT.min(FIRST_WAIT * 2_u32.pow(tried));
    asked.unwrap_or_default().min(LONGEST_ASKED) + longest.mul_f64((1.0 + fastrand::f64()) / 2.0)
}

/// An error and what it comes from, in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let cause = error.source().map(|cause| format!(": {}", chain(cause)));
    format!("{error}{}", cause.unwrap_or_default())
}

/// The tenant that a token names by the claim that has its name unless a deployment chose another: so that one
/// tenant's import is not taken up with the token of another.
fn customer(token: &str) -> Option<String> {
    let payload = URL_SAFE_NO_PAD.decode(token.split('.').nth(1)?).ok()?;
    match Json::parse(&payload).ok()?.member("customerID")? {
        Json::String(name) => Some(name.clone()),
        number => number.as_u64().map(|number| number.to_string()),
    }
}

fn normal_url(url: &str) -> Result<String, Error> {
    let parsed: Option<Uri> = url.trim().parse().ok();
    let is_http = |uri: &Uri| matches!(uri.scheme_str(), Some("http" | "https"));
    // Not with a password, which would be printed.
    let is_plain = |uri: &Uri| uri.query().is_none() && uri.authority().is_some_and(|at| !at.as_str().contains('@'));
    match parsed.filter(|uri| is_http(uri) && is_plain(uri)) {
        Some(_) => {
            let url = url.trim().trim_end_matches('/');
            Ok(url.strip_suffix("/api").unwrap_or(url).to_owned())
        }
        None => Err(Error::Usage("--url must be like https://api.example.com or http://127.0.0.1:3000".to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_and_a_token_are_checked_before_anything_is_sent() {
        for (url, normal) in [
            ("http://127.0.0.1:3000", "http://127.0.0.1:3000"),
            (" https://api.example.com/stage/ ", "https://api.example.com/stage"),
            ("HTTPS://api.example.com/api/", "HTTPS://api.example.com"),
        ] {
            assert_eq!(normal_url(url).expect("a URL"), normal);
        }
        for url in ["", "localhost:3000", "ftp://x", "https://", "/api", "http://x?y", "http://a:b@x"] {
            assert!(normal_url(url).is_err(), "{url}");
        }
        for token in ["", " ", "a\nb", "é"] {
            let error = Api::new("http://x", token).err().expect("no token").to_string();
            assert_eq!(error, "the token is empty or holds what no header can");
        }
    }

    #[test]
    fn waits_grow_up_to_a_bound_and_are_never_shorter_than_asked() {
        for tried in 0..TRIES {
            let longest = LONGEST_WAIT.min(FIRST_WAIT * 2_u32.pow(tried));
            for _ in 0..100 {
                let waited = wait(tried, None);
                assert!(waited >= longest / 2 && waited <= longest, "{tried}: {waited:?}");
            }
        }
        assert!(wait(0, Some(Duration::from_secs(7))) >= Duration::from_secs(7));
        assert!(wait(0, Some(Duration::from_secs(1 << 40))) <= LONGEST_ASKED + FIRST_WAIT);
    }
}
