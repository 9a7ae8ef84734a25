//! The Idempotency-Key of a request (draft-ietf-httpapi-idempotency-key-header; docs/api.md, Idempotency).

use sha2::{Digest, Sha256};

/// Maximum length of a key, in characters.
pub const MAX_KEY_LENGTH: usize = 255;

/// An idempotency key with the fingerprint of its request, which detects a different request with the same key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct IdempotencyKey {
    /// 1 to 255 visible ASCII characters.
    pub key: String,
    /// SHA-256, in hexadecimal, of the route and the body.
    pub fingerprint: String,
    /// The number of the item of the body that is applied; `None` for the whole request.
    pub item: Option<u32>,
}

impl IdempotencyKey {
    /// Reads `key` of a request to `route` with `body`. The error is a message for the caller.
    pub fn parse(key: &str, route: &str, body: &[u8]) -> Result<Self, String> {
        let visible = key.bytes().all(|byte| byte.is_ascii_graphic());
        if key.is_empty() || key.len() > MAX_KEY_LENGTH || !visible {
            return Err(format!("must be 1 to {MAX_KEY_LENGTH} visible ASCII characters"));
        }
        // A route contains no line break, so the boundary between route and body is unambiguous.
        let digest = Sha256::new().chain_update(route).chain_update("\n").chain_update(body).finalize();
        let fingerprint = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(Self { key: key.to_owned(), fingerprint, item: None })
    }

    /// The key of one item of the request's body, which is applied by itself.
    pub fn item(&self, item: u32) -> Self {
        Self { item: Some(item), ..self.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn key_has_1_to_255_visible_characters() {
        for key in ["k", "\"8e03978e-40d5-43dd-bc93-6894a57f9324\"", &"~".repeat(255)] {
            assert_eq!(IdempotencyKey::parse(key, "", b"").expect("a key").key, key);
        }
        for key in ["", " ", "a b", "a\tb", "é", "\u{7f}", &"k".repeat(256)] {
            assert!(IdempotencyKey::parse(key, "", b"").is_err(), "{key:?}");
        }
    }

    #[test]
    fn fingerprint_depends_on_route_and_body() {
        let of = |route, body: &[u8]| IdempotencyKey::parse("k", route, body).expect("a key").fingerprint;
        assert_eq!(of("POST /a", b"{}"), of("POST /a", b"{}"));
        assert_ne!(of("POST /a", b"{}"), of("POST /b", b"{}"));
        assert_ne!(of("POST /a", b"{}"), of("POST /a", b"{ }"));
    }
}
