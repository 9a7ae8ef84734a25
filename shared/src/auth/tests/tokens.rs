//! The `Authorization` header, the header of a token, and its signature.

use jsonwebtoken::{Algorithm, EncodingKey};
use serde_json::json;

use super::AuthError::{Invalid, Missing};
use super::*;

#[tokio::test]
async fn scheme_is_one_bearer_in_any_case() {
    let (auth, good) = (by_secret(&[]), token(HS256, &claims("")));
    let judge = async |header: Option<&str>| {
        let caller = auth.authenticate_at(header, || Access::Read, NOW).await;
        caller.map(|caller| caller.tenant().to_string())
    };
    for header in [format!("Bearer {good}"), format!("bEARER  {good}"), format!(" BEARER {good} ")] {
        assert_eq!(judge(Some(&header)).await, tenant_7(), "{header}");
    }
    assert_eq!(judge(None).await, Err(Missing));
    for header in ["", " ", "Bearer", "Bearer ", "Basic dTpw", "Bearerx y", &good, &format!("Bearer\t{good}")] {
        assert_eq!(judge(Some(header)).await, Err(Missing), "{header}");
    }
    for tail in
        [format!(", Bearer {good}"), format!(",Bearer {good}"), format!(" {good}"), ",".into(), ", Basic x".into()]
    {
        assert_eq!(judge(Some(&format!("Bearer {good}{tail}"))).await, Err(Invalid), "{tail}");
    }
}

#[tokio::test]
async fn token_has_at_most_8_kib() {
    let auth = by_secret(&[]);
    let mut filled = (5900..).map(|n| token(HS256, &claims(&format!(r#","f":"{}""#, "f".repeat(n)))));
    let mut last = String::new();
    let first_oversized = loop {
        let next = filled.next().expect("endless");
        if next.len() > 8192 {
            break next;
        }
        last = next;
    };
    assert!(last.len() > 8188, "{}", last.len());
    assert_eq!(judge(&auth, &last).await, tenant_7());
    assert_eq!(judge(&auth, &first_oversized).await, Err(Invalid));
}

#[tokio::test]
async fn key_determines_the_algorithm() {
    for (source, value, (header, signature)) in [
        ("JWT_SECRET", RFC7515_SECRET, RFC7515_HS256),
        ("JWT_PUBLIC_KEY", RFC7515_RSA_SPKI, RFC7515_RS256),
        ("JWT_PUBLIC_KEY", RFC7515_RSA_PKCS1, RFC7515_RS256),
        ("JWT_PUBLIC_KEY", RFC7515_P256, RFC7515_ES256),
    ] {
        let auth = authenticator(&[(source, value), ("JWT_CUSTOMER_CLAIM", "iss")]);
        let judge = async |token: &str| judge_at(&auth, token, Access::Read, RFC7515_NOW).await;
        let good = format!("{header}.{RFC7515_PAYLOAD}.{signature}");
        assert_eq!(judge(&good).await, Ok("joe".to_owned()));
        for (header, signature) in [RFC7515_HS256, RFC7515_RS256, RFC7515_ES256] {
            let token = format!("{header}.{RFC7515_PAYLOAD}.{signature}");
            if token != good {
                assert_eq!(judge(&token).await, Err(Invalid), "{value}: {header}");
            }
        }
        let payload = r#"{"iss":"joe","exp":1300819380}"#;
        let confused = EncodingKey::from_secret(value.as_bytes());
        for header in [HS256, r#"{"alg":"RS256"}"#, r#"{"alg":"ES256"}"#, r#"{"alg":"none"}"#, "{}"] {
            let by_key_text = sign(header, payload, Algorithm::HS256, &confused);
            assert_eq!(judge(&by_key_text).await, Err(Invalid), "{value}: {header}");
            let (unsigned, _) = by_key_text.rsplit_once('.').expect("a signature");
            assert_eq!(judge(&format!("{unsigned}.")).await, Err(Invalid), "{value}: {header} unsigned");
        }
    }
    let auth = authenticator(&[("JWT_PUBLIC_KEY", ED25519_PUBLIC)]);
    assert_eq!(judge(&auth, &ed25519_token("any")).await, tenant_7());
}

#[tokio::test]
async fn unsupported_headers_are_refused() {
    let auth = by_secret(&[]);
    for more in [
        r#""typ":"JWT""#,
        r#""typ":"at+jwt""#,
        r#""typ":"Application/AT+JWT""#,
        r#""kid":"anything""#,
        r#""b64":true"#,
        r#""n":1,"list":[{"a":null}],"object":{"a":{}},"x5t":false"#,
        r#""jwk":{"kty":"oct","k":"AAAA"},"jku":"https://evil.test/","x5u":"https://evil.test/","x5c":[]"#,
    ] {
        assert_eq!(
            judge(&auth, &token(&format!(r#"{{"alg":"HS256",{more}}}"#), &claims(""))).await,
            tenant_7(),
            "{more}"
        );
    }
    for header in [
        r#"{"alg":"HS256","crit":["exp"]}"#,
        r#"{"alg":"HS256","crit":[]}"#,
        r#"{"alg":"HS256","crit":null}"#,
        r#"{"alg":"HS256","b64":false}"#,
        r#"{"alg":"HS256","kid":1}"#,
        r#"{"alg":"HS256","kid":null}"#,
        r#"{"alg":"HS256","typ":1}"#,
        r#"{"alg":"HS256","typ":""}"#,
        r#"{"alg":"HS256","typ":"JWS"}"#,
        r#"{"alg":"HS256","typ":"id+jwt"}"#,
        r#"{"alg":"HS256","alg":"HS256"}"#,
        r#"{"alg":"HS256","x":{"y":1,"y":1}}"#,
        r#"{"alg":"hs256"}"#,
        r#"{"alg":"HS512"}"#,
        r#"{"alg":["HS256"]}"#,
        r#"{"alg":null}"#,
        r#"{"Alg":"HS256"}"#,
        r#"["HS256"]"#,
        r#"{"alg":"HS256"} x"#,
        "",
    ] {
        assert_eq!(judge(&auth, &token(header, &claims(""))).await, Err(Invalid), "{header}");
    }
}

#[tokio::test]
async fn key_inside_the_token_is_ignored() {
    let auth = by_secret(&[]);
    let evil = b"the attacker's own key, and a long one";
    let header = json!({"alg": "HS256", "jwk": {"kty": "oct", "k": URL_SAFE_NO_PAD.encode(evil)}}).to_string();
    let token = sign(&header, &claims(""), Algorithm::HS256, &EncodingKey::from_secret(evil));
    assert_eq!(judge(&auth, &token).await, Err(Invalid));
}

#[tokio::test]
async fn token_is_three_segments_of_canonical_base64url() {
    let (auth, good) = (by_secret(&[]), token(HS256, &claims("")));
    let (message, signature) = good.rsplit_once('.').expect("three segments");
    let flipped = |text: &str| format!("{}{}", if text.starts_with('A') { 'B' } else { 'A' }, &text[1..]);
    // The last of 43 characters has two unused bits.
    let alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let last = alphabet.find(&signature[42..]).expect("base64url");
    let stray_bit = format!("{}{}", &signature[..42], &alphabet[last + 1..last + 2]);
    for bad in [
        format!("{message}.{}", flipped(signature)),
        format!("{message}.{stray_bit}"),
        format!("{message}.{signature}="),
        format!("{message}.{}", &signature[1..]),
        format!("{message}."),
        format!(".{good}"),
        format!("{good}."),
        format!("{good}.{signature}"),
        message.to_owned(),
        "a".to_owned(),
        "..".to_owned(),
        "é.é.é".to_owned(),
        ".".repeat(8192),
    ] {
        assert_eq!(judge(&auth, &bad).await, Err(Invalid), "{bad}");
    }
}
