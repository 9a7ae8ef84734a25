//! The tenants of the run, and requests to the API with their tokens.

use std::net::SocketAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client as HttpClient;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};
use shared::auth::{AuthConfig, mint};

use crate::system::SECRET;

/// The number of tenants; their customer ids start at 1.
pub(crate) const TENANTS: u64 = 3;

/// The tenants' tokens, and the HTTP client of all requests.
pub(crate) struct Tenants {
    base: String,
    tokens: Vec<String>,
    http: HttpClient<HttpConnector, Full<Bytes>>,
}

/// The status and the JSON body of a response.
pub(crate) type JsonResponse = (u16, Value);

impl Tenants {
    pub(crate) fn new(address: SocketAddr) -> Self {
        let lookup = |name: &str| (name == "JWT_SECRET").then(|| SECRET.to_owned());
        let config = AuthConfig::from_lookup(&lookup).expect("a key");
        let expires = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs() + 24 * 60 * 60;
        let token = |tenant: u64| {
            let claims = json!({ "customerID": tenant + 1, "exp": expires });
            mint(&config, claims.as_object().expect("claims")).expect("a token")
        };
        let http = HttpClient::builder(TokioExecutor::new()).build_http();
        Self { base: format!("http://{address}"), tokens: (0..TENANTS).map(token).collect(), http }
    }

    /// Sends a request. Returns `None` without a response within 40 s.
    pub(crate) async fn send(
        &self,
        tenant: u64,
        method: &str,
        path: &str,
        key: Option<&str>,
        body: Option<&Value>,
    ) -> Option<JsonResponse> {
        let mut request = http::Request::builder().method(method).uri(format!("{}{path}", self.base));
        request = request.header("authorization", format!("Bearer {}", self.tokens[tenant as usize]));
        if let Some(key) = key {
            request = request.header("idempotency-key", key);
        }
        if body.is_some() {
            request = request.header("content-type", "application/json");
        }
        let body = body.map(Value::to_string).unwrap_or_default();
        let request = request.body(Full::from(body)).ok()?;
        let response = tokio::time::timeout(Duration::from_secs(40), self.http.request(request)).await.ok()?.ok()?;
        let status = response.status().as_u16();
        let body = response.into_body().collect().await.ok()?.to_bytes();
        Some((status, serde_json::from_slice(&body).unwrap_or_default()))
    }

    /// Reads, and repeats the read until its response is not a 5xx.
    pub(crate) async fn read(&self, tenant: u64, path: &str) -> JsonResponse {
        loop {
            match self.send(tenant, "GET", path, None, None).await {
                Some(response) if response.0 < 500 => return response,
                _ => tokio::time::sleep(Duration::from_millis(100)).await,
            }
        }
    }
}
