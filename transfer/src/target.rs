//! The deployment that a command uses: its URL, the token, and the tenant that the token names.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::Uri;
use serde::{Deserialize, Serialize};
use shared::domain::input::Json;

use crate::error::Error;

/// The deployment and tenant that an import writes to.
#[derive(Clone, Default, PartialEq, Debug, Serialize, Deserialize)]
pub(crate) struct Destination {
    /// The deployment's URL, without `/api`.
    pub(crate) url: String,
    /// The tenant, if the token names it.
    #[serde(rename = "customer")]
    pub(crate) tenant: Option<String>,
}

/// A deployment, and a token for one of its tenants.
pub(crate) struct Target {
    pub(crate) destination: Destination,
    /// The value of the `Authorization` header.
    pub(crate) authorization: String,
}

impl Target {
    /// Validates a URL, with or without `/api`, and a token.
    pub(crate) fn new(url: &str, token: &str) -> Result<Self, Error> {
        let url = normal_url(url)?;
        let token = token.trim();
        if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(Error::Usage(
                "the token is empty or contains characters that no HTTP header allows".to_owned(),
            ));
        }
        let destination = Destination { url, tenant: tenant(token) };
        Ok(Self { destination, authorization: format!("Bearer {token}") })
    }
}

/// The tenant in a token's `customerID` claim, unverified. A deployment can configure another claim; then the tenant is
/// unknown.
///
/// It keeps an import from being resumed with the token of another tenant.
fn tenant(token: &str) -> Option<String> {
    let payload = URL_SAFE_NO_PAD.decode(token.split('.').nth(1)?).ok()?;
    match Json::parse(&payload).ok()?.member("customerID")? {
        Json::String(name) => Some(name.clone()),
        number => number.as_u64().map(|number| number.to_string()),
    }
}

fn normal_url(url: &str) -> Result<String, Error> {
    let parsed: Option<Uri> = url.trim().parse().ok();
    let is_http = |uri: &Uri| matches!(uri.scheme_str(), Some("http" | "https"));
    // A URL with a password would be printed in messages.
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
    fn url_and_token_are_validated() {
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
            let error = Target::new("http://x", token).err().expect("no token").to_string();
            assert_eq!(error, "the token is empty or contains characters that no HTTP header allows");
        }
    }
}
