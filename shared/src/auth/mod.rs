//! Who calls: from a bearer token to a [`Caller`], the only maker of a tenant from an HTTP request.
//!
//! Every check is our own and strict, by RFC 7515 (JWS), RFC 7519 (JWT) and RFC 8725 (best
//! practice); `jsonwebtoken` lends its signature primitives alone.

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
pub use self::config::{AuthConfig, ConfigError, mint};
use self::jwks::Jwks;
use self::keys::Key;
use crate::domain::ids::Tenant;
use crate::domain::input::Json;

/// The longest token that is looked at, in bytes.
const MAX_TOKEN: usize = 8 * 1024;

/// The greatest time of a claim: the last second of the year 9999.
const MAX_TIME: f64 = 253_402_300_799.0;

/// What a request is about to do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Access {
    /// It only reads.
    Read,
    /// Anything else.
    Write,
}

/// A caller whose token was verified.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Caller {
    tenant: Tenant,
}

impl Caller {
    /// The tenant that every read and write of this caller is limited to.
    pub fn tenant(&self) -> &Tenant {
        &self.tenant
    }
}

/// Why a request has no [`Caller`]. The messages are fixed: they may be shown to anyone.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum AuthError {
    /// No bearer token came with the request.
    #[error("the bearer token is missing")]
    Missing,
    /// The token is malformed, not signed by our key, not yet valid or meant for another service.
    #[error("the bearer token is invalid")]
    Invalid,
    /// The token was good once.
    #[error("the bearer token has expired")]
    Expired,
    /// The token is good but names no tenant.
    #[error("the token names no customer")]
    NoTenant,
    /// The token is good but does not extend to this request.
    #[error("the token's scope does not allow this")]
    Scope,
    /// The token cannot be judged: the issuer's keys were never fetched and cannot be. Not the
    /// caller's fault.
    #[error("the token cannot be verified at the moment")]
    IssuerUnavailable,
}

/// Turns the `Authorization` header of a request into a [`Caller`].
pub struct Authenticator {
    config: AuthConfig,
    keys: Keys,
}

enum Keys {
    Fixed(Arc<Key>),
    Jwks(Jwks),
}

impl Authenticator {
    /// An authenticator; a JWK Set is fetched when the first token asks for it.
    pub fn new(config: AuthConfig) -> Self {
        let keys = match &config.keys {
            KeySource::Fixed(key) => Keys::Fixed(key.clone()),
            KeySource::Jwks(url) => Keys::Jwks(Jwks::new(url)),
        };
        Self { config, keys }
    }

    /// The caller that `authorization` (the header's value; several values joined by commas are
    /// none) vouches for, provided that it extends to `access`.
    ///
    /// A token without a usable tenant or scope is refused for that only when all else is well.
    pub async fn authenticate(&self, authorization: Option<&str>, access: Access) -> Result<Caller, AuthError> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        self.authenticate_at(authorization, access, now.as_secs_f64()).await
    }

    async fn authenticate_at(
        &self,
        authorization: Option<&str>,
        access: Access,
        now: f64,
    ) -> Result<Caller, AuthError> {
        let payload = self.verify(bearer(authorization)?, now).await?;
        let claims = object(&payload)?;
        self.check_claims(&claims, now)?;
        let tenant = claims.member(self.config.customer_claim()).and_then(Tenant::read).ok_or(AuthError::NoTenant)?;
        self.check_scope(&claims, access)?;
        Ok(Caller { tenant })
    }

    /// The payload of a token that our key signed (RFC 7515 §5.2).
    async fn verify(&self, token: &str, now: f64) -> Result<Vec<u8>, AuthError> {
        let [header, payload, signature] = segments(token).ok_or(AuthError::Invalid)?;
        let header = object(&decode(header)?)?;
        let kid = check_header(&header)?;
        let key = match &self.keys {
            Keys::Fixed(key) => key.clone(),
            Keys::Jwks(jwks) => jwks.key(kid.ok_or(AuthError::Invalid)?, now).await?,
        };
        let message = &token[..token.len() - signature.len() - 1];
        let ours = header.member("alg").and_then(Json::as_str) == Some(key.algorithm());
        if ours && key.verifies(message, signature) { decode(payload) } else { Err(AuthError::Invalid) }
    }

    /// RFC 7519 §4.1: the times, and the issuer and audience where they are enforced.
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
        let admitted = self.config.issuer().is_none_or(issued_by) && self.config.audience().is_none_or(meant_for);
        if !admitted || begins > now + self.config.leeway {
            return Err(AuthError::Invalid);
        }
        if now >= expires + self.config.leeway { Err(AuthError::Expired) } else { Ok(()) }
    }

    /// The write scope admits to everything, the read scope to reading. With only a read scope
    /// configured, writing needs it too; with only a write scope, reading needs none.
    fn check_scope(&self, claims: &Json, access: Access) -> Result<(), AuthError> {
        let (read, write) = (self.config.read_scope(), self.config.write_scope());
        let needed = match access {
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

/// Header, payload and signature: the compact serialization has exactly three (RFC 7515 §7.1).
fn segments(token: &str) -> Option<[&str; 3]> {
    let mut segments = token.split('.');
    let all = [segments.next()?, segments.next()?, segments.next()?];
    segments.next().is_none().then_some(all)
}

/// Base64url in its one canonical form: no padding, no stray bits (RFC 7515 §2, RFC 4648 §3.5).
fn decode(segment: &str) -> Result<Vec<u8>, AuthError> {
    URL_SAFE_NO_PAD.decode(segment).map_err(|_| AuthError::Invalid)
}

/// A JSON object whose names are unique (RFC 7515 §4, RFC 7519 §4).
fn object(bytes: &[u8]) -> Result<Json, AuthError> {
    let json = Json::parse(bytes).map_err(|_| AuthError::Invalid)?;
    let unique = matches!(json, Json::Object(_)) && json.duplicate_names().is_empty();
    if unique { Ok(json) } else { Err(AuthError::Invalid) }
}

/// The `kid` of a header that holds nothing we would have to obey and do not: no `crit` (RFC 7515
/// §4.1.11), no unencoded payload (RFC 7797 §7), no type but an access token's (RFC 8725 §3.11,
/// RFC 9068 §2.1). Keys in it (`jwk`, `jku`, `x5c`, `x5u`) are never looked at.
fn check_header(header: &Json) -> Result<Option<&str>, AuthError> {
    let obeyed = header.member("crit").is_none() && header.member("b64").is_none_or(|b64| *b64 == Json::Bool(true));
    let typed = header.member("typ").is_none_or(|typ| typ.as_str().is_some_and(access_token));
    let kid = header.member("kid").map(|kid| kid.as_str().ok_or(AuthError::Invalid)).transpose()?;
    if obeyed && typed { Ok(kid) } else { Err(AuthError::Invalid) }
}

fn access_token(typ: &str) -> bool {
    let typ = typ.to_ascii_lowercase();
    matches!(typ.strip_prefix("application/").unwrap_or(&typ), "jwt" | "at+jwt")
}

/// A NumericDate, fractions included (RFC 7519 §2). One of another type or out of range is a
/// refusal, not an absence (CVE-2026-25537).
fn time(claims: &Json, name: &str) -> Result<Option<f64>, AuthError> {
    let seconds = |value: &Json| match value {
        Json::Number(number) => number.as_f64().filter(|seconds| (0.0..=MAX_TIME).contains(seconds)),
        _ => None,
    };
    claims.member(name).map(|value| seconds(value).ok_or(AuthError::Invalid)).transpose()
}

/// The elements of a list that holds nothing but strings.
fn strings(list: &Json) -> Option<Vec<&str>> {
    match list {
        Json::Array(items) => items.iter().map(Json::as_str).collect(),
        _ => None,
    }
}
