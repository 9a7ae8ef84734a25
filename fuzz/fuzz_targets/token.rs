//! Tokens, genuine and forged. Lines: the algorithm; `raw`, or the range of bytes of the signed token to replace. After
//! `raw` the rest is the token itself; otherwise the lines are the header and claims to sign, and the replacement.
#![no_main]

use std::str::FromStr;
use std::sync::LazyLock;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use futures::FutureExt;
use fuzz::{SECRET, lines};
use jsonwebtoken::{Algorithm, EncodingKey};
use libfuzzer_sys::fuzz_target;
use serde_json::Value;
use shared::auth::{Access, AuthConfig, Authenticator, Caller};

/// The key of RFC 7515, appendix A.3.
const P256: &str = "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgjpsQnnGQmL+YBIffH1136cspYG6+0iY7X1fCE9+E9LKhRANCAAR/zc4ncPbEXUGDy+5v20t7WAczNXvp7xO6z248e9FURcfxRM0bvZt+hyzf7bnuufSzaV1uqQskrYpGIyiFiOWt";
const P256_PUBLIC: &str = "-----BEGIN PUBLIC KEY-----
MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEf83OJ3D2xF1Bg8vub9tLe1gHMzV7
6e8Tus9uPHvRVEXH8UTNG72bfocs3+257rn0s2ldbqkLJK2KRiMohYjlrQ==
-----END PUBLIC KEY-----";

/// The key of RFC 8037, appendix A.1.
const ED25519: &str = "MC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g";
const ED25519_PUBLIC: &str = "-----BEGIN PUBLIC KEY-----
MCowBQYDK2VwAyEA11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=
-----END PUBLIC KEY-----";

/// A signing key, and an authenticator that accepts its tokens.
struct TokenIssuer {
    algorithm: Algorithm,
    key: EncodingKey,
    authenticator: Authenticator,
}

impl TokenIssuer {
    fn new(algorithm: &str, key: EncodingKey, variable: &str, value: &str) -> Self {
        let lookup = |name: &str| (name == variable).then(|| value.to_owned());
        let authenticator = Authenticator::new(AuthConfig::from_lookup(&lookup).expect("a configuration"));
        Self { algorithm: Algorithm::from_str(algorithm).expect("an algorithm"), key, authenticator }
    }

    fn sign(&self, message: &str) -> String {
        let signature = jsonwebtoken::crypto::sign(message.as_bytes(), &self.key, self.algorithm).expect("signs");
        format!("{message}.{signature}")
    }

    /// The caller of an accepted token.
    fn authenticate(&self, token: &str) -> Option<Caller> {
        let header = format!("Bearer {token}");
        let result = self.authenticator.authenticate(Some(&header), || Access::Write).now_or_never();
        result.expect("a local key").ok()
    }
}

static ISSUERS: LazyLock<[TokenIssuer; 3]> = LazyLock::new(|| {
    let der = |text| STANDARD.decode(text).expect("base64");
    [
        TokenIssuer::new("HS256", EncodingKey::from_secret(SECRET.as_bytes()), "JWT_SECRET", SECRET),
        TokenIssuer::new("ES256", EncodingKey::from_ec_der(&der(P256)), "JWT_PUBLIC_KEY", P256_PUBLIC),
        TokenIssuer::new("EdDSA", EncodingKey::from_ed_der(&der(ED25519)), "JWT_PUBLIC_KEY", ED25519_PUBLIC),
    ]
});

/// Asserts the claims of an accepted token, read with an independent JSON parser.
fn assert_acceptable(issuer: &TokenIssuer, header: &str, claims: &str, caller: &Caller) {
    let header: Value = serde_json::from_str(header).expect("a header of JSON");
    let claims: Value = serde_json::from_str(claims).expect("claims of JSON");
    assert_eq!(header["alg"], format!("{:?}", issuer.algorithm));
    assert!(header.get("crit").is_none(), "{header}");
    assert!(claims["exp"].as_f64().is_some_and(|exp| exp > 1.7e9), "{claims}");
    let tenant = match &claims["customerID"] {
        Value::String(name) => name.clone(),
        number => number.as_u64().expect("an integer").to_string(),
    };
    assert_eq!(caller.tenant().as_str(), tenant);
}

fuzz_target!(|input: &[u8]| {
    let input = String::from_utf8_lossy(input);
    let [algorithm, cut, header, claims, more] = lines(&input);
    let issuer = match algorithm {
        "ES256" => &ISSUERS[1],
        "EdDSA" => &ISSUERS[2],
        _ => &ISSUERS[0],
    };
    if cut == "raw" {
        let token = [header, claims, more].join("\n");
        assert_eq!(issuer.authenticate(&token), None, "a token that is not signed");
        return;
    }
    let message = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
    let signed = issuer.sign(&message);
    if let Some(caller) = issuer.authenticate(&signed) {
        assert_acceptable(issuer, header, claims, &caller);
    }

    // `from-to` is the range of bytes that the last line replaces.
    let (from, to) = cut.split_once('-').unwrap_or((cut, cut));
    let at = |text: &str| text.parse().unwrap_or(signed.len()).min(signed.len());
    let (from, to) = (at(from).min(at(to)), at(from).max(at(to)));
    let forged = format!("{}{more}{}", &signed[..from], &signed[to..]);
    // Spaces around a token are part of the header, not of the token.
    if forged.trim_matches([' ', '\t']) != signed {
        assert_eq!(issuer.authenticate(&forged), None, "{forged} is not what was signed");
    }
});
