//! The `JWT_…` variables, and `mint`.

use serde_json::{Value, json};

use super::*;

#[test]
fn exactly_one_strong_key_source_is_required() {
    use crate::config::ConfigError::*;
    let outcome =
        |variables: Variables| configure(variables).map(|config| format!("{config:?}")).map_err(|e| e.to_string());
    let keys = |name: &str| Ok(format!("AuthConfig {{ keys: \"{name}\", .. }}"));
    let one_line = RFC7515_P256.replace('\n', "\\n");
    let folded = RFC7515_P256.replace('\n', " ");
    let binary = format!("base64:{}", base64::engine::general_purpose::STANDARD.encode([0; 32]));
    for (name, value, expected) in [
        ("JWT_SECRET", SECRET, keys("HS256")),
        ("JWT_SECRET", &binary, keys("HS256")),
        ("JWT_SECRET", &SECRET[1..], Err(ShortSecret.to_string())),
        ("JWT_SECRET", "base64:AAAA", Err(ShortSecret.to_string())),
        ("JWT_SECRET", "base64:***********************************", Err(SecretEncoding.to_string())),
        ("JWT_PUBLIC_KEY", RFC7515_RSA_SPKI, keys("RS256")),
        ("JWT_PUBLIC_KEY", RFC7515_RSA_PKCS1, keys("RS256")),
        ("JWT_PUBLIC_KEY", RFC7515_P256, keys("ES256")),
        ("JWT_PUBLIC_KEY", &one_line, keys("ES256")),
        ("JWT_PUBLIC_KEY", &folded, keys("ES256")),
        ("JWT_PUBLIC_KEY", ED25519_PUBLIC, keys("EdDSA")),
        ("JWT_PUBLIC_KEY", P384, Err(PublicKey("is on a curve other than P-256").to_string())),
        (
            "JWT_PUBLIC_KEY",
            RSA1024,
            Err(PublicKey("must be an RSA key of 2,048 to 8,192 bits with an odd exponent from 3").to_string()),
        ),
        ("JWT_PUBLIC_KEY", "nonsense", Err(PublicKey("is not a PEM public key").to_string())),
        ("JWT_PUBLIC_KEY", &RFC7515_P256[..100], Err(PublicKey("is not a PEM public key").to_string())),
        ("JWT_JWKS_URL", "https://issuer.test/.well-known/jwks.json", keys("JWKS")),
        ("JWT_JWKS_URL", "/jwks.json", Err(JwksUrl.to_string())),
        ("JWT_JWKS_URL", "file:///etc/passwd", Err(JwksUrl.to_string())),
        ("JWT_JWKS_URL", "issuer.test", Err(JwksUrl.to_string())),
    ] {
        assert_eq!(outcome(&[(name, value), ("JWT_ISSUER", "")]), expected, "{name}={value}");
    }
    assert_eq!(configure(&[]).err(), Some(NoKeySource));
    assert_eq!(configure(&[("JWT_SECRET", ""), ("JWT_JWKS_URL", "")]).err(), Some(NoKeySource));
    assert_eq!(outcome(&[("JWT_SECRET", SECRET), ("JWT_PUBLIC_KEY", "")]), keys("HS256"));
    let two = configure(&[("JWT_SECRET", SECRET), ("JWT_JWKS_URL", "https://issuer.test/")]).err();
    assert_eq!(two, Some(SeveralKeySources("JWT_SECRET and JWT_JWKS_URL".to_owned())));
}

#[test]
fn leeway_is_a_whole_number_of_seconds() {
    for leeway in ["-1", "1.5", "x", "3601", "99999999999", " 5"] {
        let error = configure(&[("JWT_SECRET", SECRET), ("JWT_LEEWAY_SECONDS", leeway)]).err();
        assert_eq!(error, Some(ConfigError::Leeway), "{leeway:?}");
    }
    assert_eq!(by_secret(&[]).config.leeway, 30.0);
    assert_eq!(by_secret(&[("JWT_LEEWAY_SECONDS", "0")]).config.leeway, 0.0);
}

#[test]
fn debug_and_error_texts_contain_no_secret() {
    let printed = format!("{:?} {}", by_secret(&[]), configure(&[("JWT_SECRET", "hush")]).expect_err("short"));
    assert!(!printed.contains(SECRET) && !printed.contains("hush"), "{printed}");
}

#[tokio::test]
async fn minted_token_is_accepted() {
    let Value::Object(claims) = json!({"customerID": 7, "exp": 253_402_300_799_u64}) else { unreachable!() };
    let auth = by_secret(&[]);
    let token = mint(&auth.config, &claims).expect("a secret signs");
    let caller = auth.authenticate(Some(&format!("Bearer {token}")), || Access::Write).await;
    assert_eq!(caller.map(|caller| caller.tenant().to_string()), tenant_7());
    let public = configure(&[("JWT_PUBLIC_KEY", RFC7515_P256)]).expect("a good configuration");
    assert_eq!(mint(&public, &claims), None);
}
