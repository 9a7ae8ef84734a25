//! The cache of an issuer's JWK Set (RFC 7517 §5).

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aws_smithy_http_client::Connector;
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};
use aws_smithy_runtime_api::client::http::HttpConnector;
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use aws_smithy_types::byte_stream::ByteStream;
use aws_smithy_types::error::display::DisplayErrorContext;

use super::AuthError;
use super::keys::Key;
use crate::domain::input::Json;

const TIMEOUT: Duration = Duration::from_secs(3);
const MAX_BYTES: usize = 1 << 20;

/// Minimum seconds between two fetches for unknown kids.
const REFETCH_INTERVAL: f64 = 60.0;
/// Minimum seconds between two attempts of the first fetch.
const FIRST_LOAD_INTERVAL: f64 = 1.0;
/// Maximum age of a set in seconds, so that removed keys become invalid.
const MAX_AGE: f64 = 3600.0;

type KeySet = HashMap<String, Arc<Key>>;

/// The cache of one issuer's set. Concurrent requests share a fetch. If a fetch fails, the last good set is kept.
pub(super) struct Jwks {
    url: String,
    connector: Connector,
    state: Mutex<State>,
    fetching: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct State {
    keys: Option<KeySet>,
    loaded_at: f64,
    /// The time of the last fetch. `None` after a first fetch that returned the requested key, so that a key rotation
    /// right after it can still be fetched.
    attempted_at: Option<f64>,
    fetches: u64,
}

impl State {
    fn find(&self, kid: &str) -> Option<Arc<Key>> {
        self.keys.as_ref()?.get(kid).cloned()
    }

    /// Returns whether a request for a key must fetch; `known` tells whether the set has the key.
    fn due(&self, known: bool, now: f64) -> bool {
        let within = |then: f64, seconds| (now - then).abs() < seconds;
        let interval = if self.keys.is_some() { REFETCH_INTERVAL } else { FIRST_LOAD_INTERVAL };
        let attempted = self.attempted_at.is_some_and(|then| within(then, interval));
        let fresh = known && within(self.loaded_at, MAX_AGE);
        !attempted && !fresh
    }
}

impl Jwks {
    pub(super) fn new(url: &http::Uri) -> Self {
        let tls = Provider::Rustls(CryptoMode::AwsLc);
        // An idle connection does not survive the freeze between two invocations.
        let connector = Connector::builder().pool_max_idle_per_host(0).tls_provider(tls).build();
        Self { url: url.to_string(), connector, state: Mutex::default(), fetching: tokio::sync::Mutex::default() }
    }

    /// The key `kid` at the time `now` (seconds since 1970).
    pub(super) async fn key(&self, kid: &str, now: f64) -> Result<Arc<Key>, AuthError> {
        let (known, due, fetches) = {
            let state = self.state();
            let known = state.find(kid);
            let due = state.due(known.is_some(), now);
            (known, due, state.fetches)
        };
        if due {
            let turn = match known {
                Some(_) => self.fetching.try_lock().ok(),
                None => Some(self.fetching.lock().await),
            };
            if turn.is_some() && self.state().fetches == fetches {
                self.refresh(kid, now).await;
            }
        }
        let state = self.state();
        let absent = if state.keys.is_some() { AuthError::Invalid } else { AuthError::IssuerUnavailable };
        state.find(kid).ok_or(absent)
    }

    async fn refresh(&self, kid: &str, now: f64) {
        let fetched = self.fetch().await;
        let mut state = self.state();
        let first = state.keys.is_none();
        match fetched {
            Ok(keys) => (state.keys, state.loaded_at) = (Some(keys), now),
            Err(error) => tracing::warn!(error, "JWK Set fetch failed"),
        }
        state.fetches += 1;
        state.attempted_at = (!first || state.find(kid).is_none()).then_some(now);
    }

    async fn fetch(&self) -> Result<KeySet, String> {
        let body = tokio::time::timeout(TIMEOUT, self.download()).await.map_err(|_| "timed out")??;
        key_set(&body).ok_or_else(|| "not a JWK Set".to_owned())
    }

    /// Downloads the set. Any status but 200 is an error; redirects are not followed.
    async fn download(&self) -> Result<Vec<u8>, String> {
        let request = HttpRequest::get(&self.url).map_err(|e| e.to_string())?;
        let response = self.connector.call(request).await.map_err(|e| DisplayErrorContext(e).to_string())?;
        if response.status().as_u16() != 200 {
            return Err(format!("status {}", response.status().as_u16()));
        }
        let mut stream = ByteStream::new(response.into_body());
        let mut body = Vec::new();
        while let Some(chunk) = stream.try_next().await.map_err(|e| e.to_string())? {
            if body.len() + chunk.len() > MAX_BYTES {
                return Err(format!("more than {MAX_BYTES} bytes"));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Jwks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Jwks").finish_non_exhaustive()
    }
}

/// The usable keys of a JWK Set by `kid`. Unusable entries are skipped. The first usable entry of a `kid` counts.
pub(super) fn key_set(body: &[u8]) -> Option<KeySet> {
    let json = Json::parse(body).ok()?;
    let Some(Json::Array(entries)) = json.member("keys") else { return None };
    let mut keys = KeySet::new();
    for entry in entries {
        if let Some(kid) = entry.member("kid").and_then(Json::as_str)
            && !keys.contains_key(kid)
            && let Some(key) = Key::jwk(entry)
        {
            keys.insert(kid.to_owned(), Arc::new(key));
        }
    }
    Some(keys)
}
