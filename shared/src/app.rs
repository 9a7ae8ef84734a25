//! The settings of a function, and the state that it holds between its invocations.

use std::time::Instant;

use aws_sdk_dynamodb::Client;

use crate::auth::{Access, AuthConfig, AuthError, Authenticator, Caller};
use crate::domain::ids::Tenant;
use crate::domain::phone::Region;
use crate::store::{Meter, Scope, Store};

/// Why a function cannot start; one line that says what to mend.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct ConfigError(String);

/// The settings of the functions; an empty variable counts as unset.
pub struct Config {
    /// `TABLE_NAME`.
    pub table: String,
    /// `DEFAULT_PHONE_REGION`: the region of a national number of an end user without a country.
    pub default_region: Option<Region>,
    /// `SERVER_TIMING=true`: answers say what they cost.
    pub server_timing: bool,
    /// The `JWT_…` variables; only the functions of the API have them.
    pub auth: Option<AuthConfig>,
}

impl Config {
    /// Reads the settings that every function has.
    pub fn from_lookup(variable: &dyn Fn(&str) -> Option<String>) -> Result<Self, ConfigError> {
        let variable = |name: &str| variable(name).filter(|value| !value.is_empty());
        let region = variable("DEFAULT_PHONE_REGION").map(|code| {
            Region::parse(&code)
                .ok_or_else(|| ConfigError(format!("DEFAULT_PHONE_REGION: no region has the code {code}")))
        });
        let flag = |name| match variable(name).as_deref() {
            None | Some("false") => Ok(false),
            Some("true") => Ok(true),
            Some(_) => Err(ConfigError(format!("{name} must be true or false"))),
        };
        Ok(Self {
            table: variable("TABLE_NAME").ok_or_else(|| ConfigError("TABLE_NAME must name the table".to_owned()))?,
            default_region: region.transpose()?,
            server_timing: flag("SERVER_TIMING")?,
            auth: None,
        })
    }

    /// Reads the settings of a function of the API: exactly one key source, or it does not start.
    pub fn with_auth(self, variable: &dyn Fn(&str) -> Option<String>) -> Result<Self, ConfigError> {
        let auth = AuthConfig::from_lookup(variable).map_err(|error| ConfigError(error.to_string()))?;
        Ok(Self { auth: Some(auth), ..self })
    }
}

/// What an instance of a function holds between its invocations.
pub struct App {
    store: Store,
    default_region: Option<Region>,
    server_timing: bool,
    authenticator: Option<Authenticator>,
}

impl App {
    /// Over a table that `client` reaches.
    pub fn new(config: Config, client: Client) -> Self {
        Self {
            store: Store::new(client, config.table),
            default_region: config.default_region,
            server_timing: config.server_timing,
            authenticator: config.auth.map(Authenticator::new),
        }
    }

    /// The region of a national number of an end user without a country.
    pub fn default_region(&self) -> Option<Region> {
        self.default_region
    }

    pub(crate) fn server_timing(&self) -> bool {
        self.server_timing
    }

    pub(crate) fn store(&self) -> &Store {
        &self.store
    }

    /// Without keys nobody is let in.
    pub(crate) async fn authenticate(&self, authorization: Option<&str>, access: Access) -> Result<Caller, AuthError> {
        match &self.authenticator {
            Some(authenticator) => authenticator.authenticate(authorization, access).await,
            None => Err(AuthError::IssuerUnavailable),
        }
    }

    /// A tenant's part of the table for a function that events drive; they name the tenant.
    pub fn scope<'a>(&'a self, tenant: &Tenant, meter: &'a Meter, deadline: Instant) -> Scope<'a> {
        self.store.scope(tenant, meter, deadline)
    }
}
