//! The settings of a function, and the state that an instance keeps between invocations.

use std::time::Instant;

use aws_sdk_dynamodb::Client;

use crate::auth::{AuthConfig, Authenticator};
use crate::config::{ConfigError, Variables};
use crate::domain::ids::Tenant;
use crate::domain::phone::Region;
use crate::store::{Meter, Scope, Store, UidPolicy};

/// The settings of every function.
pub struct Config {
    /// `TABLE_NAME`: the DynamoDB table.
    pub table: String,
    /// `DEFAULT_PHONE_REGION`: the region for national phone numbers of end users without a country.
    pub default_region: Option<Region>,
    /// `UID_POLICY`: whether several end users of a tenant can hold the same identifier.
    pub policy: UidPolicy,
}

impl Config {
    /// Reads the settings from environment variables. An empty variable counts as unset.
    pub fn from_lookup(lookup: &dyn Fn(&str) -> Option<String>) -> Result<Self, ConfigError> {
        let variables = Variables(lookup);
        let region = variables.get("DEFAULT_PHONE_REGION");
        let region = region.map(|code| Region::parse(&code).ok_or(ConfigError::Region(code)));
        let policy =
            variables.get("UID_POLICY").map(|name| UidPolicy::parse(&name).ok_or(ConfigError::UidPolicy(name)));
        Ok(Self {
            table: variables.require("TABLE_NAME")?,
            default_region: region.transpose()?,
            policy: policy.transpose()?.unwrap_or_default(),
        })
    }
}

/// The settings of an HTTP function.
pub struct HttpConfig {
    /// The settings of every function.
    pub common: Config,
    /// The `JWT_…` variables.
    pub auth: AuthConfig,
    /// `SERVER_TIMING=true`: responses have a `Server-Timing` header with the cost of the request.
    pub server_timing: bool,
}

impl HttpConfig {
    /// Reads the settings from environment variables. Fails unless there is exactly one key source.
    pub fn from_lookup(lookup: &dyn Fn(&str) -> Option<String>) -> Result<Self, ConfigError> {
        let common = Config::from_lookup(lookup)?;
        let server_timing = Variables(lookup).flag("SERVER_TIMING")?;
        Ok(Self { common, auth: AuthConfig::from_lookup(lookup)?, server_timing })
    }
}

/// The state that an instance of any function keeps between invocations.
pub struct App {
    store: Store,
    default_region: Option<Region>,
}

impl App {
    /// Creates the state for the table of `config`.
    pub fn new(config: Config, client: Client) -> Self {
        Self { store: Store::new(client, config.table, config.policy), default_region: config.default_region }
    }

    /// The region for national phone numbers of end users without a country.
    pub fn default_region(&self) -> Option<Region> {
        self.default_region
    }

    pub(crate) fn store(&self) -> &Store {
        &self.store
    }

    /// One tenant's part of the table until `deadline`. Costs are added to `meter`.
    pub fn scope<'a>(&'a self, tenant: &Tenant, meter: &'a Meter, deadline: Instant) -> Scope<'a> {
        self.store.scope(tenant, meter, deadline)
    }
}

/// The state that an instance of an HTTP function keeps between invocations.
pub struct HttpApp {
    app: App,
    authenticator: Authenticator,
    server_timing: bool,
}

impl HttpApp {
    /// Creates the state for the table of `config`.
    pub fn new(config: HttpConfig, client: Client) -> Self {
        Self {
            app: App::new(config.common, client),
            authenticator: Authenticator::new(config.auth),
            server_timing: config.server_timing,
        }
    }

    /// The state that every function has.
    pub fn app(&self) -> &App {
        &self.app
    }

    pub(crate) fn authenticator(&self) -> &Authenticator {
        &self.authenticator
    }

    pub(crate) fn server_timing(&self) -> bool {
        self.server_timing
    }
}
