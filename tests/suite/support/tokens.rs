//! Tokens with any header, claims and key, and the assertion that a request is rejected.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey};
use serde_json::json;

use super::app::{Response, SECRET, now};

/// A token with this unchanged header and claims, signed with a secret.
pub fn signed_with<T: AsRef<[u8]> + ?Sized>(secret: &str, algorithm: Algorithm, header: &T, claims: &T) -> String {
    let message = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
    let key = EncodingKey::from_secret(secret.as_bytes());
    let signature = jsonwebtoken::crypto::sign(message.as_bytes(), &key, algorithm).unwrap();
    format!("{message}.{signature}")
}

pub const HEADER: &str = r#"{"alg":"HS256","typ":"JWT"}"#;

/// A token of tenant 7 with this header.
pub fn headed(header: &str) -> String {
    signed_with(SECRET, Algorithm::HS256, header, &good_claims())
}

/// Claims of tenant 7.
pub fn good_claims() -> String {
    json!({ "customerID": 7, "exp": now() + 600 }).to_string()
}

/// The reasons for a rejection. Missing, invalid and expired are 401; forbidden is 403.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Rejection {
    Missing,
    Invalid,
    Expired,
    Forbidden,
}

use Rejection::{Expired, Forbidden, Invalid, Missing};

#[track_caller]
pub fn assert_rejected(response: Response, expected: Rejection, case: &str) {
    let id = response.header("x-request-id").unwrap_or_else(|| panic!("{case}: no x-request-id")).to_owned();
    let challenge = response.header("www-authenticate").map(str::to_owned);
    assert_eq!(response.header("content-type"), Some("application/problem+json"), "{case}: {}", response.text());
    assert_eq!(response.header("cache-control"), Some("no-store"), "{case}");
    assert_eq!(response.header("x-content-type-options"), Some("nosniff"), "{case}");
    let status = if expected == Forbidden { 403 } else { 401 };
    assert_eq!(response.status, status, "{case}: {}", response.text());
    let body = response.json();
    let detail = body["detail"].as_str().unwrap_or_else(|| panic!("{case}: no detail in {body}")).to_owned();
    let title = if expected == Forbidden { "Forbidden" } else { "Unauthorized" };
    let problem = json!({ "type": "about:blank", "title": title, "status": status, "detail": detail, "instance": id });
    assert_eq!(body, problem, "{case}");
    let reasons = [(Missing, "missing"), (Invalid, "invalid"), (Expired, "expired")]
        .into_iter()
        .filter(|(_, word)| detail.contains(word));
    match expected {
        Forbidden => assert_eq!(reasons.count(), 0, "{case}: {detail}"),
        expected => {
            assert_eq!(reasons.map(|(expected, _)| expected).collect::<Vec<_>>(), [expected], "{case}: {detail}")
        }
    }
    match expected {
        Missing => assert_eq!(challenge.as_deref(), Some("Bearer"), "{case}"),
        Invalid | Expired => assert_eq!(challenge.as_deref(), Some(r#"Bearer error="invalid_token""#), "{case}"),
        Forbidden => {}
    }
}

/// An Ed25519 key pair, named as in a JWK.
pub struct KeyPair {
    pub d: &'static str,
    pub x: &'static str,
}

/// The key pair of RFC 8037, appendix A.
pub const ED25519: KeyPair =
    KeyPair { d: "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A", x: "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo" };

impl KeyPair {
    /// A token with this unchanged header and claims.
    pub fn signed(&self, header: &str, claims: &str) -> String {
        let prefix = [0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20];
        let der = [&prefix[..], &URL_SAFE_NO_PAD.decode(self.d).unwrap()].concat();
        let message = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
        let key = EncodingKey::from_ed_der(&der);
        format!("{message}.{}", jsonwebtoken::crypto::sign(message.as_bytes(), &key, Algorithm::EdDSA).unwrap())
    }
}
