//! Published test vectors (`jws.json`).

use serde_json::Value;

use super::super::jwks;
use super::AuthError::NoTenant;
use super::*;

/// Vectors with an intentionally different result.
const DIFFERENCES: &[(&str, &str)] = &[
    ("wyp-key-002", "a symmetric key in a JWK Set is ignored"),
    ("wyp-key-013", "the same"),
    ("wyp-key-007", "keys of the configured issuer are trusted; ROCA fingerprints are not checked"),
    ("wyp-crypto-046", "the same"),
];

#[tokio::test]
async fn published_vectors_have_the_expected_results() {
    let Some(text) = crate::domain::vectors::file("jws.json") else { return };
    let file: Value = serde_json::from_str(&text).expect("jws.json is JSON");
    let mut judged = 0;
    let mut different = Vec::new();
    for vector in file["vectors"].as_array().expect("vectors") {
        let text = |name: &str| vector[name].as_str().unwrap_or_default();
        let (expected, jwk) = (text("result"), &file["keys"][text("key")]);
        let supported = ["HS256", "RS256", "ES256", "EdDSA"].contains(&text("alg"));
        if !supported || expected == "acceptable" {
            continue;
        }
        let Some(accepted) = accepts(&file, vector, jwk).await else { continue };
        judged += 1;
        if accepted != (expected == "valid") {
            different.push(text("id"));
        }
    }
    let mut on_purpose: Vec<_> = DIFFERENCES.iter().map(|(id, _)| *id).collect();
    on_purpose.sort_unstable();
    different.sort_unstable();
    assert_eq!(different, on_purpose);
    assert!(judged > 300, "only {judged} vectors were judged");
}

/// Returns whether the token of a vector is accepted; `None` if its secret is too short to be configured.
async fn accepts(file: &Value, vector: &Value, jwk: &Value) -> Option<bool> {
    let token = vector["token"].as_str().expect("a token");
    let policy = match &vector["policy"] {
        Value::String(name) => &file["_header"]["policies"][name],
        policy => policy,
    };
    let rule = |name: &str| policy[name].as_str().unwrap_or_default().to_owned();
    let json = |value: &Value| Json::parse(value.to_string().as_bytes()).expect("JSON");
    let key = if vector["scope"] == "key-config" {
        let set = if jwk["keys"].is_array() { jwk.clone() } else { json!({"keys": [jwk]}) };
        let keys = jwks::key_set(set.to_string().as_bytes()).expect("a JWK Set");
        let Some(key) = keys.into_values().next() else { return Some(false) };
        key
    } else if jwk["kty"] == "oct" {
        Arc::new(Key::secret(&decode(jwk["k"].as_str().expect("a secret")).expect("base64url"))?)
    } else {
        Arc::new(Key::jwk(&json(jwk)).expect("a usable key"))
    };
    let (issuer, audience) = (rule("iss"), rule("aud"));
    let mut config =
        configure(&[("JWT_SECRET", SECRET), ("JWT_ISSUER", &issuer), ("JWT_AUDIENCE", &audience)]).expect("good");
    config.keys = KeySource::Fixed(key);
    let auth = Authenticator::new(config);
    Some(match vector["profile"].as_str() {
        Some("jws") => auth.verify(token, NOW).await.is_ok(),
        _ => {
            let outcome = auth.authenticate(Some(&format!("Bearer {token}")), || Access::Read).await;
            matches!(outcome, Ok(_) | Err(NoTenant))
        }
    })
}
