use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};

use super::keys::Key;

const MAX_LEEWAY_SECONDS: u32 = 3600;

/// Why the configuration of [`AuthConfig`] cannot be used. No message shows a value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// Nothing to verify tokens with.
    #[error("no key source: set exactly one of JWT_SECRET, JWT_PUBLIC_KEY and JWT_JWKS_URL")]
    NoKeySource,
    /// More than one of them: which one counts would be a guess.
    #[error("{0} are set: set exactly one of JWT_SECRET, JWT_PUBLIC_KEY and JWT_JWKS_URL")]
    SeveralKeySources(String),
    /// The secret is shorter than the hash (RFC 7518 §3.2).
    #[error("JWT_SECRET must be at least 32 bytes long")]
    ShortSecret,
    /// What follows `base64:` is not base64.
    #[error("JWT_SECRET begins with base64: but what follows is not base64")]
    SecretEncoding,
    /// Not a public key that we verify with.
    #[error("JWT_PUBLIC_KEY {0}")]
    PublicKey(&'static str),
    /// Not a place to fetch keys from.
    #[error("JWT_JWKS_URL must be an absolute http or https URL")]
    JwksUrl,
    /// Not a leeway.
    #[error("JWT_LEEWAY_SECONDS must be a whole number from 0 to {MAX_LEEWAY_SECONDS}")]
    Leeway,
}

pub(super) enum KeySource {
    Fixed(Arc<Key>),
    Jwks(http::Uri),
}

/// How tokens are verified and which claims count: read once, at start.
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
    /// Reads the `JWT_…` environment variables through `lookup`; an empty one counts as unset.
    pub fn from_lookup(lookup: &dyn Fn(&str) -> Option<String>) -> Result<Self, ConfigError> {
        let read = |name: &str| lookup(name).filter(|value| !value.is_empty());
        let leeway = match read("JWT_LEEWAY_SECONDS").map(|text| u32::from_str(&text)) {
            None => 30,
            Some(Ok(seconds)) if seconds <= MAX_LEEWAY_SECONDS => seconds,
            Some(_) => return Err(ConfigError::Leeway),
        };
        Ok(Self {
            keys: key_source(&read)?,
            leeway: leeway.into(),
            issuer: read("JWT_ISSUER"),
            audience: read("JWT_AUDIENCE"),
            customer_claim: read("JWT_CUSTOMER_CLAIM").unwrap_or_else(|| "customerID".to_owned()),
            read_scope: read("JWT_READ_SCOPE"),
            write_scope: read("JWT_WRITE_SCOPE"),
        })
    }

    /// The issuer that a token must name, if one is enforced.
    pub fn issuer(&self) -> Option<&str> {
        self.issuer.as_deref()
    }

    /// The audience that a token must name, if one is enforced.
    pub fn audience(&self) -> Option<&str> {
        self.audience.as_deref()
    }

    /// The name of the claim that holds the tenant.
    pub fn customer_claim(&self) -> &str {
        &self.customer_claim
    }

    /// The scope that admits to reading, if one is set.
    pub fn read_scope(&self) -> Option<&str> {
        self.read_scope.as_deref()
    }

    /// The scope that admits to everything, if one is set.
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

fn key_source(read: &dyn Fn(&str) -> Option<String>) -> Result<KeySource, ConfigError> {
    let names = ["JWT_SECRET", "JWT_PUBLIC_KEY", "JWT_JWKS_URL"];
    let fixed = |key| KeySource::Fixed(Arc::new(key));
    match names.map(read) {
        [None, None, None] => Err(ConfigError::NoKeySource),
        [Some(secret), None, None] => shared_secret(&secret).map(fixed),
        [None, Some(pem), None] => Key::pem(&pem).map(fixed).map_err(ConfigError::PublicKey),
        [None, None, Some(url)] => jwks_url(&url).map(KeySource::Jwks).ok_or(ConfigError::JwksUrl),
        _ => {
            let set: Vec<_> = names.into_iter().filter(|name| read(name).is_some()).collect();
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

/// Signs `claims` with the secret of `config`, for development and tests; `None` where the
/// configuration only verifies.
pub fn mint(config: &AuthConfig, claims: &Map<String, Value>) -> Option<String> {
    let KeySource::Fixed(key) = &config.keys else { return None };
    jsonwebtoken::encode(&jsonwebtoken::Header::default(), claims, &key.signing()?).ok()
}
