//! Requests: the id, conditions, body and query that a handler reads.

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use lambda_http::request::RequestContext;
use lambda_http::{Body, Context, RequestExt, http::Method, http::header};
use percent_encoding::{CONTROLS, percent_decode_str, utf8_percent_encode};

use super::conditions;
use super::error::Error;
use crate::domain::end_user::{MAX_UID_LENGTH, Precondition, SortField};
use crate::domain::idempotency::IdempotencyKey;
use crate::domain::ids::EndUserId;
use crate::domain::input::{Json, ValidationErrors, choose};
use crate::domain::page::Page;
use crate::domain::search::{MAX_SEARCH_LENGTH, Search};
use crate::domain::text::{self, Limit};
use crate::store::ChangeError;

/// Maximum size of a body, in bytes.
const MAX_BODY: usize = 1024 * 1024;

/// Maximum number of rows of a page.
pub(super) const MAX_PAGE_SIZE: u64 = 100;
/// Default number of rows of a page.
pub(super) const DEFAULT_PAGE_SIZE: u64 = 10;
/// Maximum number of a page.
pub(super) const MAX_PAGE_NUMBER: u64 = i32::MAX as u64;

/// The query of a request as it was sent. A URI cannot hold every byte and length.
#[derive(Clone)]
pub(super) struct RawQuery(pub String);

/// A request to a route.
pub struct Request {
    inner: lambda_http::Request,
    /// `METHOD /path`, as in the gateway's routes.
    route: String,
    id: String,
}

impl Request {
    pub(super) fn new(inner: lambda_http::Request, route: String) -> Self {
        let id = match inner.request_context_ref() {
            Some(RequestContext::ApiGatewayV2(context)) => context.request_id.clone().unwrap_or_default(),
            _ => String::new(),
        };
        Self { inner, route, id }
    }

    /// The id that the gateway gave the request.
    pub fn id(&self) -> &str {
        &self.id
    }

    pub(super) fn is_get(&self) -> bool {
        self.inner.method() == Method::GET
    }

    /// The Authorization header. A value that is not ASCII becomes an invalid token.
    pub(super) fn authorization(&self) -> Option<&str> {
        self.inner.headers().get(header::AUTHORIZATION).map(|value| value.to_str().unwrap_or("Bearer \u{fffd}"))
    }

    /// The remaining time of the invocation; `None` if it is unknown.
    pub(super) fn time_left(&self) -> Option<Duration> {
        time_left(self.inner.lambda_context_ref()?)
    }

    /// The `{id}` of the path.
    pub fn end_user_id(&self) -> Result<EndUserId, Error> {
        let id = self.inner.path_parameters_ref().and_then(|path| path.first("id")).and_then(EndUserId::parse);
        id.ok_or_else(|| ValidationErrors::single("id", "must be an integer from 1 to 2147483647").into())
    }

    /// The address of the same resource of end user `id`, with the same query, relative to this request's path
    /// (RFC 3986 §4.2): a gateway may serve the API below a path of its own.
    pub(super) fn location_of(&self, id: EndUserId) -> String {
        let rest = self.route.split_once("{id}").map_or("", |(_, rest)| rest);
        let up = "../".repeat(rest.matches('/').count());
        let query = self.inner.extensions().get().map_or("", |RawQuery(query)| query);
        // A raw query can hold characters that a header must not have.
        let query = utf8_percent_encode(query, CONTROLS).to_string();
        let query = if query.is_empty() { query } else { format!("?{query}") };
        format!("{up}{id}{rest}{query}")
    }

    /// The JSON of the body.
    pub fn json(&self) -> Result<Json, Error> {
        self.check_content()?;
        let bytes = self.body();
        if bytes.is_empty() {
            return Err(ValidationErrors::single("body", "is required").into());
        }
        Ok(Json::parse(bytes).map_err(|error| ValidationErrors::single("body", error))?)
    }

    fn body(&self) -> &[u8] {
        match self.inner.body() {
            Body::Text(text) => text.as_bytes(),
            Body::Binary(bytes) => bytes,
            _ => &[],
        }
    }

    /// Reads the body with `read`, and the `Idempotency-Key`. Returns the errors of both at once.
    pub fn idempotent<T>(
        &self,
        read: impl FnOnce(&Json) -> Result<T, ValidationErrors>,
    ) -> Result<(T, Option<IdempotencyKey>), Error> {
        Ok(ValidationErrors::zip(self.read_body(read)?, self.idempotency_key())?)
    }

    /// Reads the body with `read`, the precondition and the `Idempotency-Key`. Returns the errors of all at once.
    pub fn conditional_idempotent<T>(
        &self,
        read: impl FnOnce(&Json) -> Result<T, ValidationErrors>,
    ) -> Result<(T, Precondition, Option<IdempotencyKey>), Error> {
        let headers = ValidationErrors::zip(self.precondition(), self.idempotency_key());
        let (body, (precondition, idempotency_key)) = ValidationErrors::zip(self.read_body(read)?, headers)?;
        Ok((body, precondition, idempotency_key))
    }

    /// Reads the body with `read`. The outer error is one that hides all validation errors.
    fn read_body<T>(
        &self,
        read: impl FnOnce(&Json) -> Result<T, ValidationErrors>,
    ) -> Result<Result<T, ValidationErrors>, Error> {
        match self.json() {
            Ok(json) => Ok(read(&json)),
            Err(Error::Change(ChangeError::Invalid(errors))) => Ok(Err(errors)),
            Err(error) => Err(error),
        }
    }

    /// The `Idempotency-Key` of a request whose body is ignored, if it is one that the API accepts.
    pub fn idempotency_key_without_body(&self) -> Result<Option<IdempotencyKey>, Error> {
        self.check_content()?;
        Ok(self.idempotency_key()?)
    }

    /// The `Idempotency-Key` with the fingerprint of this request; `None` without the header.
    fn idempotency_key(&self) -> Result<Option<IdempotencyKey>, ValidationErrors> {
        const NAME: &str = "Idempotency-Key";
        let Some(value) = self.inner.headers().get(NAME) else { return Ok(None) };
        // With the id of the path, because the same body means something else for another end user.
        let route = self.end_user_id().map_or(self.route.clone(), |id| self.route.replace("{id}", &id.to_string()));
        let idempotency_key = IdempotencyKey::parse(value.to_str().unwrap_or_default(), &route, self.body());
        idempotency_key.map(Some).map_err(|error| ValidationErrors::single(NAME, error))
    }

    /// The precondition of `If-Match` and `If-None-Match`.
    pub fn precondition(&self) -> Result<Precondition, ValidationErrors> {
        conditions::precondition(self.inner.headers())
    }

    /// Reads the body with `read`, and the precondition. Returns the errors of both at once.
    pub fn conditional<T>(
        &self,
        read: impl FnOnce(&Json) -> Result<T, ValidationErrors>,
    ) -> Result<(T, Precondition), Error> {
        Ok(ValidationErrors::zip(self.read_body(read)?, self.precondition())?)
    }

    /// Checks the type, the encoding and the size of the body.
    fn check_content(&self) -> Result<(), Error> {
        let value = |name| self.inner.headers().get(name).map(|value| value.to_str().unwrap_or("?"));
        if value(header::CONTENT_TYPE).is_some_and(|kind| !is_json(kind)) {
            return Err(Error::UnsupportedMedia("the Content-Type must be application/json"));
        }
        if value(header::CONTENT_ENCODING).is_some_and(|coding| !coding.trim().eq_ignore_ascii_case("identity")) {
            return Err(Error::UnsupportedMedia("the Content-Encoding must be identity"));
        }
        if self.body().len() > MAX_BODY {
            return Err(Error::TooLarge);
        }
        Ok(())
    }

    /// The parameters of the query.
    pub fn query(&self) -> Query {
        Query::parse(self.inner.extensions().get().map_or("", |RawQuery(query)| query))
    }
}

/// The remaining time of an invocation; `None` if its deadline is in the past (`cargo lambda watch` sets one of 1970).
pub(crate) fn time_left(context: &Context) -> Option<Duration> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).ok()?;
    Duration::from_millis(context.deadline).checked_sub(now)
}

/// Returns whether a media type is `application/json`, `text/json` or `…+json`, with a UTF-8 charset if it has one
/// (RFC 8259 §8.1).
fn is_json(kind: &str) -> bool {
    let mut parts = kind.split(';').map(str::trim);
    let essence = parts.next().unwrap_or_default().to_ascii_lowercase();
    let json = matches!(essence.as_str(), "application/json" | "text/json")
        || essence.split_once('/').is_some_and(|(_, subtype)| subtype.ends_with("+json") && !subtype.contains(','));
    let utf8 = |parameter: &str| match parameter.split_once('=') {
        Some((name, charset)) if name.trim().eq_ignore_ascii_case("charset") => {
            ["utf-8", "utf8", "us-ascii"].contains(&charset.trim().trim_matches('"').to_ascii_lowercase().as_str())
        }
        _ => true,
    };
    json && parts.all(utf8)
}

/// The parameters of a query, with case-insensitive names. It records the errors of the parameters that are read.
pub struct Query {
    pairs: Vec<(String, Result<String, &'static str>)>,
    errors: ValidationErrors,
}

impl Query {
    fn parse(raw: &str) -> Self {
        let decode = |part: &str| {
            let spaced = part.replace('+', " ");
            percent_decode_str(&spaced).decode_utf8().map(String::from).map_err(|_| "must be UTF-8")
        };
        let pairs = raw.split('&').filter(|pair| !pair.is_empty()).filter_map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            Some((decode(name).ok()?, decode(value)))
        });
        Self { pairs: pairs.collect(), errors: ValidationErrors::default() }
    }

    /// Returns `value`, or the errors of the parameters that were read.
    pub fn or<T>(self, value: T) -> Result<T, Error> {
        Ok(self.errors.into_result(value)?)
    }

    /// Every value of a parameter that is not blank, as sent and cleaned.
    fn values(&mut self, name: &str, max: usize) -> Vec<(String, String)> {
        let mut values = Vec::new();
        for (_, value) in self.pairs.iter().filter(|(n, _)| n.eq_ignore_ascii_case(name)) {
            let cleaned = match value {
                Ok(raw) => {
                    text::clean(raw, Limit::Chars(max)).map(|clean| (raw.clone(), clean)).map_err(|e| e.to_string())
                }
                Err(error) => Err((*error).to_owned()),
            };
            if let Some((raw, clean)) = self.errors.record(name, cleaned)
                && !clean.is_empty()
            {
                values.push((raw, clean));
            }
        }
        values
    }

    fn single(&mut self, name: &str, max: usize) -> Option<(String, String)> {
        if self.pairs.iter().filter(|(n, _)| n.eq_ignore_ascii_case(name)).count() > 1 {
            self.errors.add(name, "is given more than once");
            return None;
        }
        self.values(name, max).pop()
    }

    /// A text of at most `max` characters; a blank one counts as absent.
    pub fn text(&mut self, name: &str, max: usize) -> Option<String> {
        self.single(name, max).map(|(_, clean)| clean)
    }

    /// The readings of a value to look up: the value, and the value with a `+` that decoding may have turned into a
    /// space (before digits, or in a value with an `@`).
    pub fn identifier(&mut self, name: &str) -> Option<BTreeSet<String>> {
        let (raw, clean) = self.single(name, MAX_UID_LENGTH)?;
        let mut readings = BTreeSet::from([clean.clone()]);
        if clean.contains('@') {
            readings.extend([&clean, raw.trim_end()].map(|text| text.replace(' ', "+")));
        } else if raw.starts_with(' ') && clean.starts_with(|c: char| c.is_numeric() || c == '(') {
            readings.insert(format!("+{clean}"));
        } else {
            // `whatsapp:+32…`, `(+32)…`
            readings.extend([": ", "( "].map(|lost| clean.replacen(lost, &lost.replace(' ', "+"), 1)));
        }
        Some(readings)
    }

    /// Records that a parameter is required, unless it has an error already.
    pub fn require(&mut self, name: &str) {
        if self.errors.as_map().get(name).is_none() {
            self.errors.add(name, "is required");
        }
    }

    /// An integer from 1 to `max`.
    pub fn positive(&mut self, name: &str, max: u64) -> Option<u64> {
        let text = self.text(name, MAX_SEARCH_LENGTH)?;
        self.read_positive(name, &text, max)
    }

    fn read_positive(&mut self, name: &str, text: &str, max: u64) -> Option<u64> {
        let digits = text.bytes().all(|b| b.is_ascii_digit());
        let number = digits.then(|| text.parse().ok()).flatten().filter(|n| (1..=max).contains(n));
        if number.is_none() {
            self.errors.add(name, format!("must be an integer from 1 to {max}"));
        }
        number
    }

    /// Positive integers of at most `max`: repeated, separated by commas, or both.
    pub fn positives(&mut self, name: &str, max: u64) -> Vec<u64> {
        let values = self.values(name, usize::MAX);
        let parts =
            values.iter().flat_map(|(_, value)| value.split(',')).map(str::trim).filter(|part| !part.is_empty());
        parts.filter_map(|part| self.read_positive(name, part, max)).collect()
    }

    /// `true` or `false` in any case.
    pub fn boolean(&mut self, name: &str) -> Option<bool> {
        self.choice(name, &[("true", true), ("false", false)])
    }

    /// The value of the name in `choices` that the parameter has in any case.
    pub fn choice<T: Copy>(&mut self, name: &str, choices: &[(&str, T)]) -> Option<T> {
        let text = self.text(name, MAX_SEARCH_LENGTH)?;
        self.errors.record(name, choose(&text, choices))
    }

    /// `pageNumber` (default 1) and `pageSize` (default 10, at most 100).
    pub fn page(&mut self) -> Page {
        let number = self.positive("pageNumber", MAX_PAGE_NUMBER).unwrap_or(1) as u32;
        Page { number, size: self.positive("pageSize", MAX_PAGE_SIZE).unwrap_or(DEFAULT_PAGE_SIZE) as u32 }
    }

    /// Whether `sortOrder` is `desc`; `None` without it.
    pub fn descending(&mut self) -> Option<bool> {
        self.choice("sortOrder", &[("asc", false), ("desc", true)])
    }

    /// `sortBy` of the list of end users.
    pub fn sort_field(&mut self) -> Option<SortField> {
        self.choice("sortBy", &SortField::ALL.map(|field| (field.name(), field)))
    }

    /// `search`.
    pub fn search(&mut self) -> Option<Search> {
        let (raw, clean) = self.single("search", MAX_SEARCH_LENGTH)?;
        // A leading space can be a `+` that was not percent-encoded.
        let text = if raw.starts_with(' ') { format!(" {clean}") } else { clean };
        self.errors.record("search", Search::parse(&text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn left(deadline: u64) -> Option<Duration> {
        let mut context = Context::default();
        context.deadline = deadline;
        time_left(&context)
    }

    #[test]
    fn deadline_in_the_past_is_ignored() {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_millis() as u64;
        assert!(left(now + 5_000).is_some_and(|left| left > Duration::from_secs(4)));
        // `cargo lambda watch` sets 600.
        for deadline in [0, 600, now - 1] {
            assert_eq!(left(deadline), None, "{deadline}");
        }
    }
}
