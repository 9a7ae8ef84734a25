//! Configuration from the environment, state built once per cold start, and the three ways in
//! which a function is run.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use aws_lambda_events::apigw::ApiGatewayV2httpRequest;
use aws_lambda_events::dynamodb;
use aws_lambda_events::sqs::{SqsBatchResponse, SqsEvent};
use aws_lambda_events::streams::DynamoDbEventResponse;
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::BehaviorVersion;
use aws_sdk_dynamodb::config::retry::RetryConfig;
use aws_sdk_dynamodb::config::timeout::TimeoutConfig;
use futures::future::BoxFuture;
use lambda_http::RequestExt;
use lambda_runtime::{Context, Error, LambdaEvent, service_fn};

use crate::auth::{Access, AuthConfig, Authenticator, Caller, Refusal};
use crate::domain::ids::Tenant;
use crate::domain::input::Faults;
use crate::domain::phone::Region;
use crate::http::{self, Handler};
use crate::store::{Meter, Scope, Store, StoreError};

/// Why a function cannot start; one line that says what to mend.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct ConfigError(String);

/// The settings of the functions; an empty variable counts as unset.
pub struct Config {
    /// `TABLE_NAME`.
    pub table: String,
    /// `DEFAULT_PHONE_REGION`: the region of a national number of a person without a country.
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

    /// The region of a national number of a person without a country.
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
    pub(crate) async fn authenticate(&self, authorization: Option<&str>, access: Access) -> Result<Caller, Refusal> {
        match &self.authenticator {
            Some(authenticator) => authenticator.authenticate(authorization, access).await,
            None => Err(Refusal::IssuerUnavailable),
        }
    }

    /// A tenant's part of the table for a function that events drive; they name the tenant.
    pub fn scope<'a>(&'a self, tenant: &Tenant, meter: &'a Meter, deadline: Instant) -> Scope<'a> {
        self.store.scope(tenant, meter, deadline)
    }
}

/// The clients' settings: a bounded number of attempts, each of bounded length, so that a request
/// has tries left before its deadline.
pub fn client(shared: &aws_config::SdkConfig) -> Client {
    let timeouts = TimeoutConfig::builder()
        .connect_timeout(Duration::from_secs(1))
        .operation_attempt_timeout(Duration::from_secs(3))
        .build();
    let retries = RetryConfig::standard()
        .with_max_attempts(4)
        .with_initial_backoff(Duration::from_millis(50))
        .with_max_backoff(Duration::from_secs(1));
    let config = aws_sdk_dynamodb::config::Builder::from(shared).timeout_config(timeouts).retry_config(retries);
    Client::from_conf(config.build())
}

/// When an invocation must be over.
pub fn deadline(context: &Context) -> Instant {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Instant::now() + Duration::from_millis(context.deadline).saturating_sub(now)
}

fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

async fn start(config: Config) -> Arc<App> {
    let shared = aws_config::load_defaults(BehaviorVersion::latest()).await;
    Arc::new(App::new(config, client(&shared)))
}

/// One JSON object per line, as CloudWatch reads it; `RUST_LOG` filters (default `info`).
fn log() {
    let filter = tracing_subscriber::EnvFilter::try_from_default_env();
    tracing_subscriber::fmt()
        .json()
        .flatten_event(true)
        .with_current_span(false)
        .with_target(false)
        .with_env_filter(filter.unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info")))
        .init();
}

/// Runs a function of the API.
pub async fn run_http(handler: Handler) -> Result<(), Error> {
    log();
    let app = start(Config::from_lookup(&environment)?.with_auth(&environment)?).await;
    lambda_runtime::run(service_fn(|event: LambdaEvent<ApiGatewayV2httpRequest>| {
        let app = app.clone();
        async move {
            let request = http::read_event(event.payload).with_lambda_context(event.context);
            Ok::<_, Error>(http::write_event(http::answer(&app, handler, request).await))
        }
    }))
    .await
}

/// What the indexing function does with a batch of the table's stream.
pub type StreamHandler = for<'a> fn(&'a App, dynamodb::Event, Instant) -> BoxFuture<'a, DynamoDbEventResponse>;

/// Runs a function that the table's stream drives.
pub async fn run_stream(handler: StreamHandler) -> Result<(), Error> {
    log();
    let app = start(Config::from_lookup(&environment)?).await;
    lambda_runtime::run(service_fn(|event: LambdaEvent<dynamodb::Event>| {
        let app = app.clone();
        async move { Ok::<_, Error>(handler(&app, event.payload, deadline(&event.context)).await) }
    }))
    .await
}

/// What the ingesting function does with a batch of a queue. Bodies are strings: each is read by
/// itself.
pub type QueueHandler = for<'a> fn(&'a App, SqsEvent, Instant) -> BoxFuture<'a, SqsBatchResponse>;

/// Runs a function that a queue drives.
pub async fn run_sqs(handler: QueueHandler) -> Result<(), Error> {
    log();
    let app = start(Config::from_lookup(&environment)?).await;
    lambda_runtime::run(service_fn(|event: LambdaEvent<SqsEvent>| {
        let app = app.clone();
        async move { Ok::<_, Error>(handler(&app, event.payload, deadline(&event.context)).await) }
    }))
    .await
}

/// Logs what taking in or indexing one record came to, and answers whether it went well.
pub fn log_event(act: &str, tenant: &Tenant, meter: &Meter, error: Option<&StoreError>) -> bool {
    let cost = meter.cost();
    let (trips, reads, writes) = (cost.round_trips, cost.read_units, cost.write_units);
    match error {
        None => tracing::info!(act, %tenant, roundTrips = trips, readUnits = reads, writeUnits = writes, "done"),
        Some(error) => {
            tracing::error!(act, %tenant, roundTrips = trips, readUnits = reads, writeUnits = writes, %error, "failed")
        }
    }
    error.is_none()
}

/// Logs at which members an event is bad; faults hold no values.
pub fn log_bad_event(faults: &Faults) {
    let members: Vec<_> = faults.as_map().keys().collect();
    tracing::warn!(?members, "bad event");
}
