//! Authentication: from a bearer token to a [`Caller`], the only source of a tenant from an HTTP request.
//!
//! This module parses and checks tokens itself, strictly by RFC 7515 (JWS), RFC 7519 (JWT) and RFC 8725 (best
//! practice). `jsonwebtoken` only verifies signatures.

mod config;
mod jwks;
mod keys;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use self::config::KeySource;
pub use self::config::{AuthConfig, mint};
use self::jwks::Jwks;
use self::keys::Key;
use crate::domain::ids::Tenant;
use crate::domain::input::Json;

/// Maximum length of a token, in bytes.
const MAX_TOKEN: usize = 8 * 1024;

/// Maximum time of a claim: the last second of the year 9999.
const MAX_TIME: f64 = 253_402_300_799.0;

/// The access that a request needs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Access {
    /// Reading.
    Read,
    /// Writing.
    Write,
}

/// A caller with a verified token.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Caller {
    tenant: Tenant,
}

impl Caller {
    /// The tenant that all reads and writes of the caller are limited to.
    pub fn tenant(&self) -> &Tenant {
        &self.tenant
    }
}

/// An authentication error. The messages contain nothing secret.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum AuthError {
    /// The request has no bearer token.
    #[error("the bearer token is missing")]
    Missing,
    /// The token is malformed, signed by an unknown key, not yet valid, or for another issuer or audience.
    #[error("the bearer token is invalid")]
    Invalid,
    /// The token has expired.
    #[error("the bearer token has expired")]
    Expired,
    /// The token is valid but has no usable tenant.
    #[error("the token does not name a valid customer")]
    NoTenant,
    /// The token is valid but lacks the required scope.
    #[error("the token's scope does not allow this request")]
    Scope,
    /// The token cannot be verified, because the issuer's keys were never fetched and are unavailable.
    #[error("the token cannot be verified because its issuer is unavailable; retry the request")]
    IssuerUnavailable,
}

/// Authenticates requests by their `Authorization` header.
pub struct Authenticator {
    config: AuthConfig,
    keys: Keys,
}

enum Keys {
    Fixed(Arc<Key>),
    Jwks(Jwks),
}

impl Authenticator {
    /// Creates an authenticator. A JWK Set is fetched when the first token needs it.
    pub fn new(config: AuthConfig) -> Self {
        let keys = match &config.keys {
            KeySource::Fixed(key) => Keys::Fixed(key.clone()),
            KeySource::Jwks(url) => Keys::Jwks(Jwks::new(url)),
        };
        Self { config, keys }
    }

    /// Returns the caller of a request with the header value `authorization` that needs `access`. Several values joined
    /// by commas are invalid. `access` is called only for a valid token.
    ///
    /// Tenant and scope are checked after everything else.
    pub async fn authenticate(
        &self,
        authorization: Option<&str>,
        access: impl FnOnce() -> Access,
    ) -> Result<Caller, AuthError> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        self.authenticate_at(authorization, access, now.as_secs_f64()).await
    }

    async fn authenticate_at(
        &self,
        authorization: Option<&str>,
        access: impl FnOnce() -> Access,
        now: f64,
    ) -> Result<Caller, AuthError> {
        let payload = self.verify(bearer(authorization)?, now).await?;
        let claims = object(&payload)?;
        self.check_claims(&claims, now)?;
        let tenant = claims.member(self.config.customer_claim()).and_then(Tenant::read).ok_or(AuthError::NoTenant)?;
        self.check_scope(&claims, access)?;
        Ok(Caller { tenant })
    }

    /// Verifies a token's header and signature (RFC 7515 §5.2). Returns its payload.
    async fn verify(&self, token: &str, now: f64) -> Result<Vec<u8>, AuthError> {
        let [header, payload, signature] = segments(token).ok_or(AuthError::Invalid)?;
        let header = object(&decode(header)?)?;
        let kid = check_header(&header)?;
        let key = match &self.keys {
            Keys::Fixed(key) => key.clone(),
            Keys::Jwks(jwks) => jwks.key(kid.ok_or(AuthError::Invalid)?, now).await?,
        };
        let message = &token[..token.len() - signature.len() - 1];
        let is_our_algorithm = header.member("alg").and_then(Json::as_str) == Some(key.algorithm());
        if is_our_algorithm && key.verifies(message, signature) { decode(payload) } else { Err(AuthError::Invalid) }
    }

    /// Checks the times, and the issuer and audience if they are enforced (RFC 7519 §4.1).
    fn check_claims(&self, claims: &Json, now: f64) -> Result<(), AuthError> {
        let expires = time(claims, "exp")?.ok_or(AuthError::Invalid)?;
        let begins = time(claims, "nbf")?.unwrap_or_default();
        time(claims, "iat")?;

        let issued_by = |issuer| claims.member("iss").and_then(Json::as_str) == Some(issuer);
        let meant_for = |audience| match claims.member("aud") {
            Some(Json::String(only)) => only == audience,
            Some(aud) => strings(aud).is_some_and(|listed| listed.contains(&audience)),
            None => false,
        };
        let is_for_us = self.config.issuer().is_none_or(issued_by) && self.config.audience().is_none_or(meant_for);
        if !is_for_us || begins > now + self.config.leeway {
            return Err(AuthError::Invalid);
        }
        if now >= expires + self.config.leeway { Err(AuthError::Expired) } else { Ok(()) }
    }

    /// Checks the scope. The write scope allows everything, the read scope reading. With only a read scope configured,
    /// writing needs it too; with only a write scope, reading needs none.
    fn check_scope(&self, claims: &Json, access: impl FnOnce() -> Access) -> Result<(), AuthError> {
        let (read, write) = (self.config.read_scope(), self.config.write_scope());
        if (read, write) == (None, None) {
            return Ok(());
        }
        let needed = match access() {
            Access::Read => read,
            Access::Write => write.or(read),
        };
        let Some(needed) = needed else { return Ok(()) };
        let granted = match claims.member("scope").or_else(|| claims.member("scp")) {
            Some(Json::String(scopes)) => scopes.split(' ').collect(),
            Some(scopes) => strings(scopes).unwrap_or_default(),
            None => Vec::new(),
        };
        let holds = |scope| granted.contains(&scope);
        if holds(needed) || write.is_some_and(holds) { Ok(()) } else { Err(AuthError::Scope) }
    }
}

impl fmt::Debug for Authenticator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authenticator").field("config", &self.config).finish_non_exhaustive()
    }
}

/// The token of `Bearer <token>` (RFC 6750 §2.1), the scheme in any case (RFC 9110 §11.1).
fn bearer(authorization: Option<&str>) -> Result<&str, AuthError> {
    let value = authorization.unwrap_or_default().trim_matches([' ', '\t']);
    match value.split_once(' ') {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("Bearer") => {
            let token = token.trim_start_matches(' ');
            if token.len() <= MAX_TOKEN { Ok(token) } else { Err(AuthError::Invalid) }
        }
        _ => Err(AuthError::Missing),
    }
}

/// Splits a token into its three segments: header, payload and signature (RFC 7515 §7.1).
fn segments(token: &str) -> Option<[&str; 3]> {
    let mut segments = token.split('.');
    let all = [segments.next()?, segments.next()?, segments.next()?];
    segments.next().is_none().then_some(all)
}

/// Decodes canonical base64url, without padding and with zero trailing bits (RFC 7515 §2, RFC 4648 §3.5).
fn decode(segment: &str) -> Result<Vec<u8>, AuthError> {
    URL_SAFE_NO_PAD.decode(segment).map_err(|_| AuthError::Invalid)
}

/// Parses a JSON object with unique names (RFC 7515 §4, RFC 7519 §4).
fn object(bytes: &[u8]) -> Result<Json, AuthError> {
    let json = Json::parse(bytes).map_err(|_| AuthError::Invalid)?;
    let unique = matches!(json, Json::Object(_)) && json.duplicate_names().is_empty();
    if unique { Ok(json) } else { Err(AuthError::Invalid) }
}

/// Checks a token's header and returns its `kid`. A header with `crit` (RFC 7515 §4.1.11), an unencoded payload (RFC
/// 7797 §7) or a type other than an access token's (RFC 8725 §3.11, RFC 9068 §2.1) is invalid. Keys in the header
/// (`jwk`, `jku`, `x5c`, `x5u`) are ignored.
fn check_header(header: &Json) -> Result<Option<&str>, AuthError> {
    let is_supported =
        header.member("crit").is_none() && header.member("b64").is_none_or(|b64| *b64 == Json::Bool(true));
    let is_access_token_type = header.member("typ").is_none_or(|typ| typ.as_str().is_some_and(is_access_token));
    let kid = header.member("kid").map(|kid| kid.as_str().ok_or(AuthError::Invalid)).transpose()?;
    if is_supported && is_access_token_type { Ok(kid) } else { Err(AuthError::Invalid) }
}

fn is_access_token(typ: &str) -> bool {
    let typ = typ.to_ascii_lowercase();
    matches!(typ.strip_prefix("application/").unwrap_or(&typ), "jwt" | "at+jwt")
}

/// Reads a NumericDate, with fractions (RFC 7519 §2). A value of another type or out of range is invalid, not absent
/// (CVE-2026-25537).
fn time(claims: &Json, name: &str) -> Result<Option<f64>, AuthError> {
    let seconds = |value: &Json| match value {
        Json::Number(number) => number.as_f64().filter(|seconds| (0.0..=MAX_TIME).contains(seconds)),
        _ => None,
    };
    claims.member(name).map(|value| seconds(value).ok_or(AuthError::Invalid)).transpose()
}

/// The elements of an array of strings; `None` for any other value.
fn strings(list: &Json) -> Option<Vec<&str>> {
    match list {
        Json::Array(items) => items.iter().map(Json::as_str).collect(),
        _ => None,
    }
}
