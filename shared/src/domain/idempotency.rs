//! A request that is carried out once, however often it is sent (draft-ietf-httpapi-idempotency-key-header).

use sha2::{Digest, Sha256};

/// The longest key, in characters.
pub const MAX_KEY_LENGTH: usize = 255;

/// The caller's name for a request, and what tells that request from another under the same name.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct IdempotencyKey {
    /// 1 to 255 visible ASCII characters.
    pub key: String,
    /// SHA-256, in hexadecimal, of the route and the body.
    pub fingerprint: String,
}

impl IdempotencyKey {
    /// The request of `route` with `body` under the name `key`; a message where that is no key.
    pub fn parse(key: &str, route: &str, body: &[u8]) -> Result<Self, String> {
        let visible = key.bytes().all(|byte| byte.is_ascii_graphic());
        if key.is_empty() || key.len() > MAX_KEY_LENGTH || !visible {
            return Err(format!("must be 1 to {MAX_KEY_LENGTH} visible ASCII characters"));
        }
        // A route has no line break in it, so the two parts cannot flow into each other.
        let digest = Sha256::new().chain_update(route).chain_update("\n").chain_update(body).finalize();
        let fingerprint = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(Self { key: key.to_owned(), fingerprint })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_has_1_to_255_visible_characters() {
        for key in ["k", "\"8e03978e-40d5-43dd-bc93-6894a57f9324\"", &"~".repeat(255)] {
            assert_eq!(IdempotencyKey::parse(key, "", b"").expect("a key").key, key);
        }
        for key in ["", " ", "a b", "a\tb", "é", "\u{7f}", &"k".repeat(256)] {
            assert!(IdempotencyKey::parse(key, "", b"").is_err(), "{key:?}");
        }
    }

    #[test]
    fn another_route_or_body_is_another_request() {
        let of = |route, body: &[u8]| IdempotencyKey::parse("k", route, body).expect("a key").fingerprint;
        assert_eq!(of("POST /a", b"{}"), of("POST /a", b"{}"));
        assert_ne!(of("POST /a", b"{}"), of("POST /b", b"{}"));
        assert_ne!(of("POST /a", b"{}"), of("POST /a", b"{ }"));
    }
}
