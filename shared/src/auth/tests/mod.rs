//! Tests of authentication. This module has the keys, and the helpers that make and check tokens.

mod claims;
mod config;
mod jwks;
mod tokens;
mod vectors;

use std::collections::BTreeMap;

use jsonwebtoken::{Algorithm, EncodingKey};
use serde_json::json;

use super::*;
use crate::config::ConfigError;

const NOW: f64 = 1_800_000_000.0;
const SECRET: &str = "a secret of exactly thirty-two b";
const HS256: &str = r#"{"alg":"HS256"}"#;

/// The payload of RFC 7515 A.1 to A.3, with its signatures by the three keys of that appendix. It expires at
/// 1300819380. The tests use `iss` as the tenant's claim.
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

/// The Ed25519 key of RFC 8037 A.1 as PKCS #8, as SubjectPublicKeyInfo and as JWK.
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

/// An authenticator with [`SECRET`] and further variables.
fn by_secret(variables: Variables) -> Authenticator {
    authenticator(&[&[("JWT_SECRET", SECRET)], variables].concat())
}

fn sign(header: &str, payload: &str, algorithm: Algorithm, key: &EncodingKey) -> String {
    let message = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(payload));
    let signature = jsonwebtoken::crypto::sign(message.as_bytes(), key, algorithm).expect("signs");
    format!("{message}.{signature}")
}

/// An HS256 token signed with [`SECRET`].
fn token(header: &str, payload: &str) -> String {
    sign(header, payload, Algorithm::HS256, &EncodingKey::from_secret(SECRET.as_bytes()))
}

/// An EdDSA token signed with the key of RFC 8037.
fn ed25519_token(kid: &str) -> String {
    let key = base64::engine::general_purpose::STANDARD.decode(ED25519_PRIVATE).expect("base64");
    let header = json!({"alg": "EdDSA", "kid": kid}).to_string();
    sign(&header, &claims(""), Algorithm::EdDSA, &EncodingKey::from_ed_der(&key))
}

/// Claims of tenant 7, valid for a minute, followed by `more`.
fn claims(more: &str) -> String {
    format!(r#"{{"exp":1800000060,"customerID":7{more}}}"#)
}

/// The tenant that `authenticator` returns for a token at the time `now`.
async fn judge_at(authenticator: &Authenticator, token: &str, access: Access, now: f64) -> Result<String, AuthError> {
    let caller = authenticator.authenticate_at(Some(&format!("Bearer {token}")), || access, now).await;
    caller.map(|caller| caller.tenant().to_string())
}

/// The tenant that `authenticator` returns for a token at [`NOW`].
async fn judge(authenticator: &Authenticator, token: &str) -> Result<String, AuthError> {
    judge_at(authenticator, token, Access::Read, NOW).await
}

fn tenant_7() -> Result<String, AuthError> {
    Ok("7".to_owned())
}
