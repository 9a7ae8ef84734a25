//! Tokens that are valid under the current configuration.

use std::collections::HashMap;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Map, Value, json};
use shared::auth::{AuthConfig, mint};

use crate::Error;

/// The secret that `local` uses if no key source is configured. No deployment uses it.
const DEVELOPMENT_SECRET: &str = "end-users-development-secret-not-for-production";

/// The environment variables of key sources, of which a deployment sets exactly one.
const KEY_SOURCES: [&str; 3] = ["JWT_SECRET", "JWT_PUBLIC_KEY", "JWT_JWKS_URL"];

/// Whether no key source is configured, so that the development secret is used.
pub fn needs_development_secret(variables: &HashMap<String, String>) -> bool {
    KEY_SOURCES.iter().all(|name| variables.get(*name).is_none_or(String::is_empty))
}

/// Adds the development secret if no key source is configured.
pub fn use_development_secret(variables: &mut HashMap<String, String>) {
    if needs_development_secret(variables) {
        variables.insert("JWT_SECRET".to_owned(), DEVELOPMENT_SECRET.to_owned());
    }
}

/// Returns a token for the tenant `customer` that expires after `ttl` seconds, with additional `claims`. The tenant is
/// a JSON number if it is written as one. The token has the configured issuer and audience and both scopes.
pub fn make(
    variables: &HashMap<String, String>,
    customer: &str,
    ttl: u64,
    claims: Map<String, Value>,
) -> Result<String, Error> {
    let mut variables = variables.clone();
    use_development_secret(&mut variables);
    let config = AuthConfig::from_lookup(&|name| variables.get(name).cloned());
    let config = config.map_err(|error| Error::Config(error.to_string()))?;

    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let number = customer.parse::<u64>().ok().filter(|number| number.to_string() == customer);
    let tenant = number.map_or_else(|| json!(customer), |number| json!(number));
    let scopes: Vec<_> = [config.read_scope(), config.write_scope()].into_iter().flatten().collect();
    let mut all = Map::from_iter([
        (config.customer_claim().to_owned(), tenant),
        ("iat".to_owned(), json!(now)),
        ("exp".to_owned(), json!(now.saturating_add(ttl))),
    ]);
    let optional = [
        ("iss", config.issuer().map(str::to_owned)),
        ("aud", config.audience().map(str::to_owned)),
        ("scope", (!scopes.is_empty()).then(|| scopes.join(" "))),
    ];
    all.extend(optional.into_iter().filter_map(|(name, value)| Some((name.to_owned(), json!(value?)))));
    all.extend(claims);
    let message =
        "tokens cannot be signed without JWT_SECRET; with JWT_PUBLIC_KEY or JWT_JWKS_URL, get them from the issuer";
    mint(&config, &all).ok_or_else(|| Error::Config(message.to_owned()))
}
