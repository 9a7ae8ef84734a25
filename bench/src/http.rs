//! A caller of the API who notes what each answer cost and how long it took.

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

use crate::Outcome;

/// One tenant's caller.
#[derive(Clone)]
pub(crate) struct Caller {
    http: Http<HttpConnector, Full<Bytes>>,
    base: String,
    token: String,
}

/// What came back.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Value,
    pub(crate) cost: Cost,
    pub(crate) took: Duration,
}

/// What an answer says that it cost: round trips in sequence, read units, write units.
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
    /// Reads a `Server-Timing` header.
    fn parse(timing: &str) -> Self {
        let number = |name| timing.split([' ', '"']).find_map(|part| part.strip_prefix(name)?.parse().ok());
        let number = |name| number(name).unwrap_or_default();
        Self { round_trips: number("rtt="), read: number("rru="), write: number("wru=") }
    }

    /// The greater of each.
    pub(crate) fn max(self, other: Self) -> Self {
        Self {
            round_trips: self.round_trips.max(other.round_trips),
            read: self.read.max(other.read),
            write: self.write.max(other.write),
        }
    }
}

impl Answer {
    /// The answer, where it has this status.
    pub(crate) fn expect(self, status: u16) -> Outcome<Self> {
        if self.status == status {
            return Ok(self);
        }
        Err(format!("{} instead of {status}: {}", self.status, self.body).into())
    }

    /// The ids of the end users on a page.
    pub(crate) fn ids(&self) -> Vec<u32> {
        let items = self.body["items"].as_array().into_iter().flatten();
        items.filter_map(|end_user| end_user["endUserID"].as_u64()?.try_into().ok()).collect()
    }

    /// The id of one end user.
    pub(crate) fn id(&self) -> Outcome<u32> {
        let id = self.body["endUserID"].as_u64().ok_or("an answer without an id")?;
        Ok(id.try_into()?)
    }
}

impl Caller {
    /// A caller whose token outlives every run.
    pub(crate) fn new(local: &Local, tenant: &Tenant) -> Outcome<Self> {
        let token = local::token::make(&HashMap::new(), tenant.as_str(), 7 * 24 * 60 * 60, Map::new())?;
        let http = Http::builder(TokioExecutor::new()).build_http();
        Ok(Self { http, base: format!("http://{}", local.address()), token })
    }

    /// The variables by which `transfer` asks in the same name.
    pub(crate) fn environment(&self) -> [(&'static str, String); 2] {
        [("END_USERS_URL", self.base.clone()), ("END_USERS_TOKEN", self.token.clone())]
    }

    pub(crate) async fn get(&self, path: &str) -> Outcome<Answer> {
        self.send("GET", path, None).await
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Outcome<Answer> {
        self.send("POST", path, Some(body)).await
    }

    pub(crate) async fn send(&self, method: &str, path: &str, body: Option<&Value>) -> Outcome<Answer> {
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
        Ok(Answer { status: head.status.as_u16(), body, cost: Cost::parse(timing), took })
    }

    /// Waits until all that was written is indexed and all orders asked for are counted.
    pub(crate) async fn settle(&self) -> Outcome<()> {
        while self.post("/local/settle", &Value::Null).await?.status != 204 {}
        Ok(())
    }
}

/// The path of a page of ten end users.
pub(crate) fn list(search: &str, by: &str, descending: bool, page: u32) -> String {
    let order = if descending { "desc" } else { "asc" };
    format!("/api/EndUsers?search={search}&sortBy={by}&sortOrder={order}&pageSize=10&pageNumber={page}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_timing_header_is_read() {
        let cost = Cost::parse(r#"db;dur=0.84;desc="rtt=2 rru=2.5 wru=0""#);
        assert_eq!(cost, Cost { round_trips: 2.0, read: 2.5, write: 0.0 });
        assert_eq!(Cost::parse(""), Cost::default());
    }
}
