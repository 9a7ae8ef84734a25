//! The `JWT_…` variables.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};

use super::keys::Key;
use crate::config::{ConfigError, MAX_LEEWAY_SECONDS, Variables};

/// The source of the keys that verify tokens.
pub(super) enum KeySource {
    Fixed(Arc<Key>),
    Jwks(http::Uri),
}

/// The settings of token verification.
pub struct AuthConfig {
    pub(super) keys: KeySource,
    pub(super) leeway: f64,
    issuer: Option<String>,
    audience: Option<String>,
    customer_claim: String,
    read_scope: Option<String>,
    write_scope: Option<String>,
}

impl AuthConfig {
    /// Reads the settings from the `JWT_…` environment variables. An empty variable counts as unset.
    pub fn from_lookup(lookup: &dyn Fn(&str) -> Option<String>) -> Result<Self, ConfigError> {
        let variables = Variables(lookup);
        let leeway = match variables.get("JWT_LEEWAY_SECONDS").map(|text| u32::from_str(&text)) {
            None => 30,
            Some(Ok(seconds)) if seconds <= MAX_LEEWAY_SECONDS => seconds,
            Some(_) => return Err(ConfigError::Leeway),
        };
        Ok(Self {
            keys: key_source(variables)?,
            leeway: leeway.into(),
            issuer: variables.get("JWT_ISSUER"),
            audience: variables.get("JWT_AUDIENCE"),
            customer_claim: variables.get("JWT_CUSTOMER_CLAIM").unwrap_or_else(|| "customerID".to_owned()),
            read_scope: variables.get("JWT_READ_SCOPE"),
            write_scope: variables.get("JWT_WRITE_SCOPE"),
        })
    }

    /// The issuer that a token must name, if it is enforced.
    pub fn issuer(&self) -> Option<&str> {
        self.issuer.as_deref()
    }

    /// The audience that a token must name, if it is enforced.
    pub fn audience(&self) -> Option<&str> {
        self.audience.as_deref()
    }

    /// The name of the claim that holds the tenant.
    pub fn customer_claim(&self) -> &str {
        &self.customer_claim
    }

    /// The scope for reading, if it is enforced.
    pub fn read_scope(&self) -> Option<&str> {
        self.read_scope.as_deref()
    }

    /// The scope for writing and reading, if it is enforced.
    pub fn write_scope(&self) -> Option<&str> {
        self.write_scope.as_deref()
    }
}

impl fmt::Debug for AuthConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let keys = match &self.keys {
            KeySource::Fixed(key) => key.algorithm(),
            KeySource::Jwks(_) => "JWKS",
        };
        f.debug_struct("AuthConfig").field("keys", &keys).finish_non_exhaustive()
    }
}

fn key_source(variables: Variables) -> Result<KeySource, ConfigError> {
    let names = ["JWT_SECRET", "JWT_PUBLIC_KEY", "JWT_JWKS_URL"];
    let fixed = |key| KeySource::Fixed(Arc::new(key));
    match names.map(|name| variables.get(name)) {
        [None, None, None] => Err(ConfigError::NoKeySource),
        [Some(secret), None, None] => shared_secret(&secret).map(fixed),
        [None, Some(pem), None] => Key::pem(&pem).map(fixed).map_err(ConfigError::PublicKey),
        [None, None, Some(url)] => jwks_url(&url).map(KeySource::Jwks).ok_or(ConfigError::JwksUrl),
        _ => {
            let set: Vec<_> = names.into_iter().filter(|name| variables.get(name).is_some()).collect();
            Err(ConfigError::SeveralKeySources(set.join(" and ")))
        }
    }
}

fn shared_secret(text: &str) -> Result<Key, ConfigError> {
    let key = match text.strip_prefix("base64:") {
        Some(encoded) => Key::secret(&STANDARD.decode(encoded).map_err(|_| ConfigError::SecretEncoding)?),
        None => Key::secret(text.as_bytes()),
    };
    key.ok_or(ConfigError::ShortSecret)
}

fn jwks_url(text: &str) -> Option<http::Uri> {
    let url: http::Uri = text.parse().ok()?;
    let fetchable = matches!(url.scheme_str(), Some("http" | "https")) && url.host().is_some_and(|h| !h.is_empty());
    fetchable.then_some(url)
}

/// Signs `claims` with the secret of `config`, for development and tests; `None` if the configuration has no secret.
pub fn mint(config: &AuthConfig, claims: &Map<String, Value>) -> Option<String> {
    let KeySource::Fixed(key) = &config.keys else { return None };
    jsonwebtoken::encode(&jsonwebtoken::Header::default(), claims, &key.signing()?).ok()
}
