use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures::FutureExt;
use jsonwebtoken::{Algorithm, EncodingKey};
use serde_json::{Value, json};

use super::AuthError::{Expired, Invalid, IssuerUnavailable, Missing, NoTenant, Scope};
use super::*;

const NOW: f64 = 1_800_000_000.0;
const SECRET: &str = "a secret of exactly thirty-two b";
const HS256: &str = r#"{"alg":"HS256"}"#;

/// The payload of RFC 7515 A.1 to A.3, by the three keys of that appendix; it expires at
/// 1300819380. `iss` serves as the tenant's claim.
const RFC7515_NOW: f64 = 1_300_819_379.0;
const RFC7515_PAYLOAD: &str =
    "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";
const RFC7515_HS256: (&str, &str) =
    ("eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9", "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk");
const RFC7515_SECRET: &str =
    "base64:AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ+EstJQLr/T+1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow==";
const RFC7515_RS256: (&str, &str) = (
    "eyJhbGciOiJSUzI1NiJ9",
    "cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dn\
     ZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwus\
     C-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw",
);
const RFC7515_RSA_SPKI: &str = "-----BEGIN PUBLIC KEY-----
MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEAofgWCuLjybRlzo0tZWJj
NiuSfb4p4fAkd/wWJcyQoTbji9k0l8W26mPddxHmfHQp+Vaw+4qPCJrcS2mJPMEz
P1Pt0Bm4d4QlL+yRT+SFd2lZS+pCgNMsD1W/YpRPEwOWvG6b32690r2jZ47soMZo
9wGzjb/7OMg0LOL+bSf63kpaSHSXndS5z5rexMdbBYUsLA9e+KXBdQOS+UTo7WTB
EMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6/I5IhlJH7aGhyxX
FvUK+DWNmoudF8NAco9/h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXp
oQIDAQAB
-----END PUBLIC KEY-----
";
const RFC7515_RSA_PKCS1: &str = "-----BEGIN RSA PUBLIC KEY-----
MIIBCgKCAQEAofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd/wWJcyQoTbji9k0l8W2
6mPddxHmfHQp+Vaw+4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL+yRT+SFd2lZS+pCgNMs
D1W/YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb/7OMg0LOL+bSf63kpaSHSXndS5
z5rexMdbBYUsLA9e+KXBdQOS+UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxv
b3qCo5ZwKh9kG4LT6/I5IhlJH7aGhyxXFvUK+DWNmoudF8NAco9/h9iaGNj8q2et
hFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQIDAQAB
-----END RSA PUBLIC KEY-----";
const RFC7515_ES256: (&str, &str) =
    ("eyJhbGciOiJFUzI1NiJ9", "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q");
const RFC7515_P256: &str = "-----BEGIN PUBLIC KEY-----
MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEf83OJ3D2xF1Bg8vub9tLe1gHMzV7
6e8Tus9uPHvRVEXH8UTNG72bfocs3+257rn0s2ldbqkLJK2KRiMohYjlrQ==
-----END PUBLIC KEY-----";

/// The Ed25519 key of RFC 8037 A.1, as PKCS #8, as SubjectPublicKeyInfo and as JWK.
const ED25519_PRIVATE: &str = "MC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g";
const ED25519_PUBLIC: &str = "-----BEGIN PUBLIC KEY-----
MCowBQYDK2VwAyEA11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=
-----END PUBLIC KEY-----";
const ED25519_X: &str = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";

const P384: &str = "-----BEGIN PUBLIC KEY-----
MHYwEAYHKoZIzj0CAQYFK4EEACIDYgAEW416hNQuycETD/eYpuF1MHShFkhlhcX9
w8gie9PTQ3w3phwoZXcpZ+rqP1eii6EPJ+6fquUmxs1y/yXg+/g4u/VXdTvsZScj
pcFk5l6nYngYDk4/hI+i62ncJjtxKbTc
-----END PUBLIC KEY-----";
const RSA1024: &str = "-----BEGIN PUBLIC KEY-----
MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDNAbH6+7S39jWIbjB+Di6AM8AH
h/2CIcKuD+NRsXi/ila3qn1E7GAzMAGiSeeLBRwhxhwEA0QbjoaVbKI2qfiDij27
1cMDjBRE9oaSSz4ggxIkuJq+wN98OaR9Zl6HWJRvBwKOtsaLrMOEf2yoxu1nnn3O
exUJWbf9OzBS7fIMKwIDAQAB
-----END PUBLIC KEY-----";

type Variables<'a> = &'a [(&'a str, &'a str)];

fn configure(variables: Variables) -> Result<AuthConfig, ConfigError> {
    let variables: BTreeMap<_, _> = variables.iter().copied().collect();
    AuthConfig::from_lookup(&|name| variables.get(name).map(|value| (*value).to_owned()))
}

fn authenticator(variables: Variables) -> Authenticator {
    Authenticator::new(configure(variables).expect("a good configuration"))
}

/// An authenticator by [`SECRET`] with further variables.
fn by_secret(variables: Variables) -> Authenticator {
    authenticator(&[&[("JWT_SECRET", SECRET)], variables].concat())
}

fn sign(header: &str, payload: &str, algorithm: Algorithm, key: &EncodingKey) -> String {
    let message = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(payload));
    let signature = jsonwebtoken::crypto::sign(message.as_bytes(), key, algorithm).expect("signs");
    format!("{message}.{signature}")
}

/// An HS256 token by [`SECRET`].
fn token(header: &str, payload: &str) -> String {
    sign(header, payload, Algorithm::HS256, &EncodingKey::from_secret(SECRET.as_bytes()))
}

/// An EdDSA token by the key of RFC 8037.
fn ed25519_token(kid: &str) -> String {
    let key = base64::engine::general_purpose::STANDARD.decode(ED25519_PRIVATE).expect("base64");
    let header = json!({"alg": "EdDSA", "kid": kid}).to_string();
    sign(&header, &claims(""), Algorithm::EdDSA, &EncodingKey::from_ed_der(&key))
}

/// Claims of tenant 7, good for a minute, followed by `more`.
fn claims(more: &str) -> String {
    format!(r#"{{"exp":1800000060,"customerID":7{more}}}"#)
}

async fn judge_at(authenticator: &Authenticator, token: &str, access: Access, now: f64) -> Result<String, AuthError> {
    let caller = authenticator.authenticate_at(Some(&format!("Bearer {token}")), access, now).await;
    caller.map(|caller| caller.tenant().to_string())
}

async fn judge(authenticator: &Authenticator, token: &str) -> Result<String, AuthError> {
    judge_at(authenticator, token, Access::Read, NOW).await
}

fn tenant_7() -> Result<String, AuthError> {
    Ok("7".to_owned())
}

#[test]
fn there_is_exactly_one_key_source_and_it_is_a_strong_one() {
    use ConfigError::*;
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
fn a_leeway_is_a_whole_number_of_seconds() {
    for leeway in ["-1", "1.5", "x", "3601", "99999999999", " 5"] {
        let error = configure(&[("JWT_SECRET", SECRET), ("JWT_LEEWAY_SECONDS", leeway)]).err();
        assert_eq!(error, Some(ConfigError::Leeway), "{leeway:?}");
    }
    assert_eq!(by_secret(&[]).config.leeway, 30.0);
    assert_eq!(by_secret(&[("JWT_LEEWAY_SECONDS", "0")]).config.leeway, 0.0);
}

#[test]
fn nothing_that_prints_shows_a_secret() {
    let printed = format!("{:?} {}", by_secret(&[]), configure(&[("JWT_SECRET", "hush")]).expect_err("short"));
    assert!(!printed.contains(SECRET) && !printed.contains("hush"), "{printed}");
}

#[tokio::test]
async fn the_scheme_is_bearer_in_any_case_and_comes_once() {
    let (auth, good) = (by_secret(&[]), token(HS256, &claims("")));
    let judge = async |header: Option<&str>| {
        let caller = auth.authenticate_at(header, Access::Read, NOW).await;
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
async fn a_token_has_at_most_8_kib() {
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
async fn the_key_and_not_the_token_says_the_algorithm() {
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
async fn a_header_demands_nothing_that_we_would_not_do() {
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
async fn a_key_that_came_with_the_token_is_never_trusted() {
    let auth = by_secret(&[]);
    let evil = b"the attacker's own key, and a long one";
    let header = json!({"alg": "HS256", "jwk": {"kty": "oct", "k": URL_SAFE_NO_PAD.encode(evil)}}).to_string();
    let token = sign(&header, &claims(""), Algorithm::HS256, &EncodingKey::from_secret(evil));
    assert_eq!(judge(&auth, &token).await, Err(Invalid));
}

#[tokio::test]
async fn a_token_is_three_segments_of_canonical_base64url() {
    let (auth, good) = (by_secret(&[]), token(HS256, &claims("")));
    let (message, signature) = good.rsplit_once('.').expect("three segments");
    let flipped = |text: &str| format!("{}{}", if text.starts_with('A') { 'B' } else { 'A' }, &text[1..]);
    // The last of 43 characters carries two bits that stand for nothing.
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

#[tokio::test]
async fn claims_are_one_object_whose_names_are_unique() {
    let auth = by_secret(&[]);
    for payload in [
        "",
        "7",
        "[]",
        "null",
        r#""exp""#,
        &claims(r#","customerID":8"#),
        &claims(r#","customer\u0049D":8"#),
        &claims(r#","a":[{"b":1,"b":1}]"#),
        &format!("{}{{}}", claims("")),
        &format!("\u{feff}{}", claims("")),
        &claims(r#","a":"\ud800""#),
    ] {
        assert_eq!(judge(&auth, &token(HS256, payload)).await, Err(Invalid), "{payload}");
    }
    assert_eq!(judge(&auth, &token(HS256, &claims(r#","CustomerID":8"#))).await, tenant_7());
}

#[tokio::test]
async fn times_are_numbers_in_range_and_exp_is_required() {
    let auth = by_secret(&[]);
    let with = |times: &str| token(HS256, &format!(r#"{{"customerID":7{times}}}"#));
    for (times, expected) in [
        (r#","exp":1800000060"#, tenant_7()),
        (r#","exp":1799999970.5"#, tenant_7()),
        (r#","exp":1.8e9"#, tenant_7()),
        (r#","exp":253402300799"#, tenant_7()),
        (r#","exp":1800000060,"nbf":1800000030,"iat":1800000000"#, tenant_7()),
        (r#","exp":1800000060,"nbf":0,"iat":1900000000"#, tenant_7()),
        (r#","exp":1799999970"#, Err(Expired)),
        (r#","exp":0"#, Err(Expired)),
        (r#","exp":1800000060,"nbf":1800000030.5"#, Err(Invalid)),
        (r#","exp":0,"nbf":1800000031"#, Err(Invalid)),
        ("", Err(Invalid)),
        (r#","Exp":1800000060"#, Err(Invalid)),
        (r#","exp":1e999"#, Err(Invalid)),
    ] {
        assert_eq!(judge(&auth, &with(times)).await, expected, "{times}");
    }
    for value in ["null", r#""1800000060""#, "true", "[1800000060]", "{}", "-1", "-0.5", "253402300800", "1e300"] {
        for name in ["exp", "nbf", "iat"] {
            let exp = if name == "exp" { "" } else { r#","exp":1800000060"# };
            let times = format!(r#"{exp},"{name}":{value}"#);
            assert_eq!(judge(&auth, &with(&times)).await, Err(Invalid), "{times}");
        }
    }
    let exact = by_secret(&[("JWT_LEEWAY_SECONDS", "0")]);
    assert_eq!(judge(&exact, &with(r#","exp":1800000000.5"#)).await, tenant_7());
    assert_eq!(judge(&exact, &with(r#","exp":1800000000"#)).await, Err(Expired));
}

#[tokio::test]
async fn issuer_and_audience_are_enforced_when_they_are_set() {
    let strict = by_secret(&[("JWT_ISSUER", "https://issuer.test"), ("JWT_AUDIENCE", "api")]);
    let lax = by_secret(&[]);
    for (more, expected) in [
        (r#","iss":"https://issuer.test","aud":"api""#, tenant_7()),
        (r#","iss":"https://issuer.test","aud":["x","api"]"#, tenant_7()),
        ("", Err(Invalid)),
        (r#","aud":"api""#, Err(Invalid)),
        (r#","iss":"https://issuer.test""#, Err(Invalid)),
        (r#","iss":"https://issuer.test/","aud":"api""#, Err(Invalid)),
        (r#","iss":["https://issuer.test"],"aud":"api""#, Err(Invalid)),
        (r#","iss":null,"aud":"api""#, Err(Invalid)),
        (r#","iss":"https://issuer.test","aud":"API""#, Err(Invalid)),
        (r#","iss":"https://issuer.test","aud":"x api""#, Err(Invalid)),
        (r#","iss":"https://issuer.test","aud":[]"#, Err(Invalid)),
        (r#","iss":"https://issuer.test","aud":["api",1]"#, Err(Invalid)),
        (r#","iss":"https://issuer.test","aud":[["api"]]"#, Err(Invalid)),
        (r#","iss":"https://issuer.test","aud":{"api":"api"}"#, Err(Invalid)),
    ] {
        let token = token(HS256, &claims(more));
        assert_eq!(judge(&strict, &token).await, expected, "{more}");
        assert_eq!(judge(&lax, &token).await, tenant_7(), "{more}");
    }
}

#[tokio::test]
async fn the_tenant_is_a_short_name_or_a_safe_integer() {
    let auth = by_secret(&[]);
    let long = format!(r#""{}""#, "a".repeat(64));
    let too_long = format!(r#""{}""#, "a".repeat(65));
    for (claim, expected) in [
        ("7", Ok("7")),
        (r#""7""#, Ok("7")),
        (r#""07""#, Ok("07")),
        (r#""Acme_eu-1""#, Ok("Acme_eu-1")),
        ("9007199254740991", Ok("9007199254740991")),
        (&long, Ok(&long[1..65])),
        ("9007199254740992", Err(NoTenant)),
        ("0", Err(NoTenant)),
        ("-7", Err(NoTenant)),
        ("7.5", Err(NoTenant)),
        ("null", Err(NoTenant)),
        ("true", Err(NoTenant)),
        ("[7]", Err(NoTenant)),
        (r#"{"id":7}"#, Err(NoTenant)),
        (r#""""#, Err(NoTenant)),
        (r#"" 7""#, Err(NoTenant)),
        (r#""a#b""#, Err(NoTenant)),
        (r#""é""#, Err(NoTenant)),
        (&too_long, Err(NoTenant)),
    ] {
        let payload = format!(r#"{{"exp":1800000060,"customerID":{claim}}}"#);
        assert_eq!(judge(&auth, &token(HS256, &payload)).await, expected.map(str::to_owned), "{claim}");
    }
    let none = token(HS256, r#"{"exp":1800000060,"customerid":7}"#);
    assert_eq!(judge(&auth, &none).await, Err(NoTenant));
    let expired = token(HS256, r#"{"exp":1}"#);
    assert_eq!(judge(&auth, &expired).await, Err(Expired), "a tenant is missed only in a good token");
    let renamed = by_secret(&[("JWT_CUSTOMER_CLAIM", "https://acme.test/tenant")]);
    let token = token(HS256, &claims(r#","https://acme.test/tenant":"acme""#));
    assert_eq!(judge(&renamed, &token).await, Ok("acme".to_owned()));
}

#[tokio::test]
async fn reading_takes_the_read_or_the_write_scope_and_writing_the_write_scope() {
    let both = by_secret(&[("JWT_READ_SCOPE", "r"), ("JWT_WRITE_SCOPE", "w")]);
    let read_only = by_secret(&[("JWT_READ_SCOPE", "r")]);
    let write_only = by_secret(&[("JWT_WRITE_SCOPE", "w")]);
    let (yes, no) = (tenant_7, || Err(Scope));
    // What is granted, then: read and write with both variables, with the read scope's alone, with
    // the write scope's alone.
    for (more, [both_read, both_write], [read_read, read_write], [write_read, write_write]) in [
        (r#","scope":"r""#, [yes(), no()], [yes(), yes()], [yes(), no()]),
        (r#","scope":"x w y""#, [yes(), yes()], [no(), no()], [yes(), yes()]),
        (r#","scope":["r","w"]"#, [yes(), yes()], [yes(), yes()], [yes(), yes()]),
        (r#","scp":"r""#, [yes(), no()], [yes(), yes()], [yes(), no()]),
        (r#","scp":["w"]"#, [yes(), yes()], [no(), no()], [yes(), yes()]),
        (r#","scope":"x","scp":"r w""#, [no(), no()], [no(), no()], [yes(), no()]),
        (r#","scope":"R W rw""#, [no(), no()], [no(), no()], [yes(), no()]),
        (r#","scope":["r w"]"#, [no(), no()], [no(), no()], [yes(), no()]),
        (r#","scope":["r","w",1]"#, [no(), no()], [no(), no()], [yes(), no()]),
        (r#","scope":{"r":"w"}"#, [no(), no()], [no(), no()], [yes(), no()]),
        ("", [no(), no()], [no(), no()], [yes(), no()]),
    ] {
        let token = token(HS256, &claims(more));
        for (auth, read, write) in [
            (&both, both_read, both_write),
            (&read_only, read_read, read_write),
            (&write_only, write_read, write_write),
            (&by_secret(&[]), yes(), yes()),
        ] {
            assert_eq!(
                judge_at(auth, &token, Access::Read, NOW).await,
                read,
                "read with {more} by {:?}",
                auth.config.read_scope()
            );
            assert_eq!(judge_at(auth, &token, Access::Write, NOW).await, write, "write with {more}");
        }
    }
    let nobody = token(HS256, r#"{"exp":1800000060}"#);
    assert_eq!(judge(&both, &nobody).await, Err(NoTenant));
}

#[tokio::test]
async fn what_is_minted_is_let_in() {
    let Value::Object(claims) = json!({"customerID": 7, "exp": 253_402_300_799_u64}) else { unreachable!() };
    let auth = by_secret(&[]);
    let token = mint(&auth.config, &claims).expect("a secret signs");
    let caller = auth.authenticate(Some(&format!("Bearer {token}")), Access::Write).await;
    assert_eq!(caller.map(|caller| caller.tenant().to_string()), tenant_7());
    let public = configure(&[("JWT_PUBLIC_KEY", RFC7515_P256)]).expect("a good configuration");
    assert_eq!(mint(&public, &claims), None);
}

/// An issuer on a port of its own that gives every request the same answer.
struct Issuer {
    url: String,
    answer: Arc<Mutex<Vec<u8>>>,
    requests: Arc<AtomicUsize>,
}

impl Issuer {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let url = format!("http://{}/jwks.json", listener.local_addr().expect("bound"));
        let issuer = Self { url, answer: Arc::default(), requests: Arc::default() };
        let (answer, requests) = (issuer.answer.clone(), issuer.requests.clone());
        std::thread::spawn(move || {
            for mut stream in listener.incoming().map_while(Result::ok) {
                requests.fetch_add(1, Ordering::SeqCst);
                let mut request = [0; 4096];
                let _ = stream.read(&mut request);
                std::thread::sleep(Duration::from_millis(30));
                let answer = answer.lock().expect("not poisoned").clone();
                let _ = stream.write_all(&answer);
            }
        });
        issuer
    }

    fn answers(&self, status: &str, body: impl AsRef<[u8]>) {
        let head = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n", body.as_ref().len());
        *self.answer.lock().expect("not poisoned") = [head.as_bytes(), body.as_ref()].concat();
    }

    fn publishes(&self, keys: &[Value]) {
        self.answers("200 OK", json!({ "keys": keys }).to_string());
    }

    /// From now on, connections end without an answer.
    fn goes_down(&self) {
        self.answer.lock().expect("not poisoned").clear();
    }

    fn requests(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }

    fn authenticator(&self) -> Authenticator {
        authenticator(&[("JWT_JWKS_URL", &self.url)])
    }
}

fn ed25519_jwk(kid: &str) -> Value {
    json!({"kty": "OKP", "crv": "Ed25519", "kid": kid, "x": ED25519_X})
}

/// The algorithm of the issuer's key of this name, at a time when no token is good any more.
async fn published_key(auth: &Authenticator, kid: &str, now: f64) -> Result<&'static str, AuthError> {
    match &auth.keys {
        Keys::Jwks(jwks) => jwks.key(kid, now).await.map(|key| key.algorithm()),
        Keys::Fixed(_) => unreachable!(),
    }
}

#[tokio::test]
async fn a_jwk_set_is_fetched_once_and_again_for_an_unknown_kid() {
    let issuer = Issuer::start();
    issuer.publishes(&[ed25519_jwk("a")]);
    let auth = issuer.authenticator();
    for _ in 0..3 {
        assert_eq!(judge(&auth, &ed25519_token("a")).await, tenant_7());
    }
    assert_eq!(issuer.requests(), 1);

    issuer.publishes(&[ed25519_jwk("b")]);
    assert_eq!(judge(&auth, &ed25519_token("b")).await, tenant_7(), "a rotation is seen at once");
    assert_eq!(judge(&auth, &ed25519_token("a")).await, Err(Invalid), "a withdrawn key has ended");
    assert_eq!(issuer.requests(), 2);

    issuer.publishes(&[ed25519_jwk("c")]);
    assert_eq!(judge_at(&auth, &ed25519_token("c"), Access::Read, NOW + 59.0).await, Err(Invalid));
    assert_eq!(issuer.requests(), 2);
    assert_eq!(judge_at(&auth, &ed25519_token("c"), Access::Read, NOW + 61.0).await, tenant_7());
    assert_eq!(issuer.requests(), 3);
}

#[tokio::test]
async fn a_flood_of_unknown_kids_is_one_fetch() {
    let issuer = Issuer::start();
    issuer.publishes(&[ed25519_jwk("a")]);
    let cold = issuer.authenticator();
    for n in 0..20 {
        assert_eq!(judge(&cold, &ed25519_token(&format!("x{n}"))).await, Err(Invalid));
    }
    assert_eq!(issuer.requests(), 1, "one after another, from a cold start");

    let warm = issuer.authenticator();
    assert_eq!(judge(&warm, &ed25519_token("a")).await, tenant_7());
    let before = issuer.requests();
    let tokens: Vec<_> = (0..20).map(|n| ed25519_token(&format!("x{n}"))).collect();
    let all = futures::future::join_all(tokens.iter().map(|token| judge(&warm, token))).await;
    assert!(all.iter().all(|outcome| *outcome == Err(Invalid)), "{all:?}");
    assert_eq!(issuer.requests() - before, 1, "all at once");
}

#[tokio::test]
async fn requests_of_a_cold_start_share_one_fetch() {
    let issuer = Issuer::start();
    issuer.publishes(&[ed25519_jwk("a")]);
    let (auth, token) = (issuer.authenticator(), ed25519_token("a"));
    let all = futures::future::join_all((0..20).map(|_| judge(&auth, &token))).await;
    assert!(all.iter().all(|outcome| *outcome == tenant_7()), "{all:?}");
    assert_eq!(issuer.requests(), 1);
}

#[tokio::test]
async fn the_last_good_set_is_kept_while_the_issuer_is_down() {
    let issuer = Issuer::start();
    issuer.publishes(&[ed25519_jwk("a")]);
    let auth = issuer.authenticator();
    assert_eq!(judge(&auth, &ed25519_token("a")).await, tenant_7());

    issuer.goes_down();
    assert_eq!(judge(&auth, &ed25519_token("b")).await, Err(Invalid));
    assert_eq!(judge(&auth, &ed25519_token("a")).await, tenant_7());
    let key = async |kid: &str, now| published_key(&auth, kid, now).await;
    assert_eq!(key("a", NOW + 7200.0).await, Ok("EdDSA"), "kept beyond its age");
    assert_eq!(issuer.requests(), 3);
    assert_eq!(key("a", NOW + 7201.0).await, Ok("EdDSA"));
    assert_eq!(issuer.requests(), 3, "at most one attempt a minute");

    issuer.answers("200 OK", "[]");
    assert_eq!(key("a", NOW + 7265.0).await, Ok("EdDSA"), "an answer that is no set is a failure too");
    issuer.publishes(&[ed25519_jwk("b")]);
    assert_eq!(key("a", NOW + 7330.0).await, Err(Invalid), "an aged set is fetched anew, and a withdrawn key ends");
}

#[tokio::test]
async fn a_key_that_was_replaced_under_its_kid_counts_after_an_hour_at_the_latest() {
    let issuer = Issuer::start();
    issuer.publishes(&[ed25519_jwk("a")]);
    let auth = issuer.authenticator();
    assert_eq!(published_key(&auth, "a", NOW).await, Ok("EdDSA"));

    // The key of RFC 7515 A.3.
    let other = json!({"kty": "EC", "crv": "P-256", "kid": "a", "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
        "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"});
    issuer.publishes(&[other]);
    assert_eq!(published_key(&auth, "a", NOW + 3599.0).await, Ok("EdDSA"));
    assert_eq!(issuer.requests(), 1);
    assert_eq!(published_key(&auth, "a", NOW + 3601.0).await, Ok("ES256"));
    assert_eq!(issuer.requests(), 2);
    assert_eq!(published_key(&auth, "a", NOW + 7200.0).await, Ok("ES256"));
    assert_eq!(issuer.requests(), 2);
}

#[tokio::test]
async fn an_hour_of_unknown_kids_is_a_fetch_a_minute() {
    let issuer = Issuer::start();
    issuer.publishes(&[ed25519_jwk("a")]);
    let auth = issuer.authenticator();
    assert_eq!(published_key(&auth, "a", NOW).await, Ok("EdDSA"));
    for second in 0..3600 {
        let now = NOW + f64::from(second);
        assert_eq!(published_key(&auth, &format!("x{second}"), now).await, Err(Invalid), "second {second}");
        assert_eq!(published_key(&auth, "a", now).await, Ok("EdDSA"), "second {second}");
    }
    assert_eq!(issuer.requests(), 1 + 60);
}

#[tokio::test]
async fn the_fetch_of_an_aged_set_holds_up_one_request_and_no_other() {
    let issuer = Issuer::start();
    issuer.publishes(&[ed25519_jwk("a")]);
    let auth = issuer.authenticator();
    assert_eq!(published_key(&auth, "a", NOW).await, Ok("EdDSA"));

    issuer.publishes(&[ed25519_jwk("b")]);
    let later = NOW + 3601.0;
    let mut fetching = std::pin::pin!(published_key(&auth, "a", later));
    assert!(futures::poll!(fetching.as_mut()).is_pending());
    assert_eq!(published_key(&auth, "a", later).now_or_never(), Some(Ok("EdDSA")), "the last good key counts");
    let (withdrawn, new) = futures::future::join(fetching, published_key(&auth, "b", later)).await;
    assert_eq!((withdrawn, new), (Err(Invalid), Ok("EdDSA")), "who asks for a new key waits for the new set");
    assert_eq!(issuer.requests(), 2);
}

#[tokio::test]
async fn an_issuer_that_was_never_reached_is_a_fault_and_not_a_bad_token() {
    let issuer = Issuer::start();
    let auth = issuer.authenticator();
    assert_eq!(judge(&auth, &ed25519_token("a")).await, Err(IssuerUnavailable));
    assert_eq!(judge(&auth, &ed25519_token("a")).await, Err(IssuerUnavailable));
    assert_eq!(issuer.requests(), 1);
    issuer.publishes(&[ed25519_jwk("a")]);
    assert_eq!(judge_at(&auth, &ed25519_token("a"), Access::Read, NOW + 2.0).await, tenant_7());
}

#[tokio::test]
async fn a_token_that_is_bad_in_itself_causes_no_fetch() {
    let issuer = Issuer::start();
    let auth = issuer.authenticator();
    let without_kid = token(r#"{"alg":"EdDSA"}"#, &claims(""));
    let critical = token(r#"{"alg":"EdDSA","kid":"a","crit":["x"]}"#, &claims(""));
    for bad in [without_kid, critical, "a.b.c".to_owned()] {
        assert_eq!(judge(&auth, &bad).await, Err(Invalid), "{bad}");
    }
    assert_eq!(issuer.requests(), 0);
}

#[tokio::test]
async fn a_hostile_issuer_does_no_harm() {
    let set = json!({"keys": [ed25519_jwk("a")]}).to_string();
    let huge = format!("{set}{}", " ".repeat(1 << 20));
    let elsewhere = Issuer::start();
    elsewhere.publishes(&[ed25519_jwk("a")]);
    let redirect = format!("302 Found\r\nlocation: {}", elsewhere.url);
    let deep = format!(r#"{{"keys":{}"#, "[".repeat(500_000));
    for (status, body) in [
        ("200 OK", huge.as_str()),
        ("200 OK", deep.as_str()),
        ("200 OK", ""),
        ("200 OK", "<html>"),
        ("200 OK", "[]"),
        ("200 OK", "{}"),
        ("200 OK", r#"{"keys":{"a":1}}"#),
        ("200 OK", r#"{"keys":null}"#),
        ("203 Non-Authoritative Information", &set),
        ("404 Not Found", &set),
        ("500 Internal Server Error", &set),
        (redirect.as_str(), &set),
    ] {
        let issuer = Issuer::start();
        issuer.answers(status, body);
        let outcome = judge(&issuer.authenticator(), &ed25519_token("a")).await;
        assert_eq!(outcome, Err(IssuerUnavailable), "{status}: {}", &body[..body.len().min(60)]);
    }
    assert_eq!(elsewhere.requests(), 0, "a redirect is not followed");
}

#[tokio::test]
async fn an_issuer_that_does_not_answer_is_given_up() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let url = format!("http://{}/", listener.local_addr().expect("bound"));
    let auth = authenticator(&[("JWT_JWKS_URL", &url)]);
    let start = std::time::Instant::now();
    assert_eq!(judge(&auth, &ed25519_token("a")).await, Err(IssuerUnavailable));
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
}

#[tokio::test]
async fn an_unusable_entry_of_a_set_is_passed_over_by_itself() {
    let issuer = Issuer::start();
    let with = |more: Value| {
        let mut jwk = ed25519_jwk("a");
        jwk.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        jwk
    };
    let unusable = [
        json!(null),
        json!("a"),
        json!({"kid": "a"}),
        json!({"kid": 1, "kty": "OKP", "crv": "Ed25519", "x": ED25519_X}),
        json!({"kid": "a", "kty": "oct", "k": URL_SAFE_NO_PAD.encode(SECRET)}),
        json!({"kid": "a", "kty": "EC", "crv": "P-384", "x": "AA", "y": "AA"}),
        json!({"kid": "a", "kty": "EC", "crv": "P-256", "x": ED25519_X}),
        json!({"kid": "a", "kty": "RSA", "n": ED25519_X, "e": "AQAB"}),
        json!({"kid": "a", "kty": "RSA", "n": "", "e": ""}),
        with(json!({"x": "AAAA"})),
        with(json!({"x": format!("{ED25519_X}=")})),
        with(json!({"crv": "Ed448"})),
        with(json!({"use": "enc"})),
        with(json!({"use": null})),
        with(json!({"key_ops": ["encrypt"]})),
        with(json!({"key_ops": "verify"})),
        with(json!({"alg": "HS256"})),
        with(json!({"alg": 1})),
    ];
    issuer.publishes(&unusable);
    assert_eq!(judge(&issuer.authenticator(), &ed25519_token("a")).await, Err(Invalid));
    let by_oct = token(r#"{"alg":"HS256","kid":"a"}"#, &claims(""));
    assert_eq!(judge(&issuer.authenticator(), &by_oct).await, Err(Invalid), "a symmetric key is never published");

    let other = json!({"kid": "a", "kty": "OKP", "crv": "Ed25519", "x": URL_SAFE_NO_PAD.encode([2; 32])});
    let usable = with(json!({"use": "sig", "key_ops": ["verify"], "alg": "EdDSA"}));
    issuer.publishes(&[&unusable[..], &[usable, other.clone()]].concat());
    assert_eq!(judge(&issuer.authenticator(), &ed25519_token("a")).await, tenant_7(), "the first usable one counts");
    issuer.publishes(&[other, ed25519_jwk("a")]);
    assert_eq!(judge(&issuer.authenticator(), &ed25519_token("a")).await, Err(Invalid), "and no later one");
}

/// Vectors that we judge differently on purpose.
const DIFFERENCES: &[(&str, &str)] = &[
    ("wyp-key-002", "a symmetric key in a JWK Set is ignored (contract §1)"),
    ("wyp-key-013", "the same"),
    ("wyp-key-007", "the operator vouches for the issuer; a ROCA key is not fingerprinted"),
    ("wyp-crypto-046", "the same"),
];

#[tokio::test]
async fn the_published_vectors_come_out_as_they_should() {
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

/// Whether the token of a vector is accepted; `None` where its key is a secret too short to be
/// configured.
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
            let outcome = auth.authenticate(Some(&format!("Bearer {token}")), Access::Read).await;
            matches!(outcome, Ok(_) | Err(NoTenant))
        }
    })
}
