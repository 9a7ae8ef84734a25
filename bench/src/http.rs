//! An HTTP client of the API that records the cost and duration of each response.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client as Http;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use local::Local;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use shared::domain::ids::Tenant;

use crate::Result;

/// A client with a token of one tenant.
#[derive(Clone)]
pub(crate) struct ApiClient {
    http: Http<HttpConnector, Full<Bytes>>,
    base: String,
    token: String,
}

/// An HTTP response.
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) body: Value,
    pub(crate) cost: Cost,
    pub(crate) took: Duration,
}

/// The cost in a response's `Server-Timing` header: sequential round trips, read units and write units.
#[derive(Clone, Copy, Default, PartialEq, Debug, Serialize, Deserialize)]
pub(crate) struct Cost {
    pub(crate) round_trips: f64,
    pub(crate) read: f64,
    pub(crate) write: f64,
}

impl From<shared::store::Cost> for Cost {
    fn from(spent: shared::store::Cost) -> Self {
        Self { round_trips: spent.round_trips.into(), read: spent.read_units, write: spent.write_units }
    }
}

impl Cost {
    /// Parses a `Server-Timing` header. Missing numbers are 0.
    fn parse(timing: &str) -> Self {
        let number = |name| timing.split([' ', '"']).find_map(|part| part.strip_prefix(name)?.parse().ok());
        let number = |name| number(name).unwrap_or_default();
        Self { round_trips: number("rtt="), read: number("rru="), write: number("wru=") }
    }

    /// The maximum of each number.
    pub(crate) fn max(self, other: Self) -> Self {
        Self {
            round_trips: self.round_trips.max(other.round_trips),
            read: self.read.max(other.read),
            write: self.write.max(other.write),
        }
    }
}

impl Response {
    /// The response if it has this status, otherwise an error.
    pub(crate) fn expect(self, status: u16) -> Result<Self> {
        if self.status == status {
            return Ok(self);
        }
        Err(format!("status {} instead of {status}: {}", self.status, self.body).into())
    }

    /// The ids of the end users on a page.
    pub(crate) fn ids(&self) -> Vec<u32> {
        let items = self.body["items"].as_array().into_iter().flatten();
        items.filter_map(|end_user| end_user["endUserID"].as_u64()?.try_into().ok()).collect()
    }

    /// The id of one end user.
    pub(crate) fn id(&self) -> Result<u32> {
        let id = self.body["endUserID"].as_u64().ok_or("a response without an id")?;
        Ok(id.try_into()?)
    }
}

impl ApiClient {
    /// A client with a token that is valid for seven days.
    pub(crate) fn new(local: &Local, tenant: &Tenant) -> Result<Self> {
        let token = local::token::make(&HashMap::new(), tenant.as_str(), 7 * 24 * 60 * 60, Map::new())?;
        let http = Http::builder(TokioExecutor::new()).build_http();
        Ok(Self { http, base: format!("http://{}", local.address()), token })
    }

    /// The environment variables that give `transfer` the same URL and token.
    pub(crate) fn environment(&self) -> [(&'static str, String); 2] {
        [("END_USERS_URL", self.base.clone()), ("END_USERS_TOKEN", self.token.clone())]
    }

    pub(crate) async fn get(&self, path: &str) -> Result<Response> {
        self.send("GET", path, None).await
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Result<Response> {
        self.send("POST", path, Some(body)).await
    }

    pub(crate) async fn send(&self, method: &str, path: &str, body: Option<&Value>) -> Result<Response> {
        let request = http::Request::builder().method(method).uri(format!("{}{path}", self.base));
        let request = request.header("authorization", format!("Bearer {}", self.token));
        let request = request.header("content-type", "application/json");
        let request = request.body(Full::from(body.map(Value::to_string).unwrap_or_default()))?;
        let started = Instant::now();
        let (head, body) = self.http.request(request).await?.into_parts();
        let body = body.collect().await?.to_bytes();
        let took = started.elapsed();
        let timing = head.headers.get("server-timing").and_then(|value| value.to_str().ok()).unwrap_or_default();
        let body = if body.is_empty() { Value::Null } else { serde_json::from_slice(&body)? };
        Ok(Response { status: head.status.as_u16(), body, cost: Cost::parse(timing), took })
    }

    /// Waits until all writes are indexed and all requested rank indexes are built.
    pub(crate) async fn settle(&self) -> Result<()> {
        while self.post("/local/settle", &Value::Null).await?.status != 204 {}
        Ok(())
    }
}

/// The path of a list request for a page of ten end users.
pub(crate) fn list(search: &str, by: &str, descending: bool, page: u32) -> String {
    let order = if descending { "desc" } else { "asc" };
    format!("/api/EndUsers?search={search}&sortBy={by}&sortOrder={order}&pageSize=10&pageNumber={page}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn server_timing_header_is_parsed() {
        let cost = Cost::parse(r#"db;dur=0.84;desc="rtt=2 rru=2.5 wru=0""#);
        assert_eq!(cost, Cost { round_trips: 2.0, read: 2.5, write: 0.0 });
        assert_eq!(Cost::parse(""), Cost::default());
    }
}
