//! Start: the environment, the database client, the log, and the three ways in which a function is
//! run.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use aws_lambda_events::apigw::{ApiGatewayV2httpRequest, ApiGatewayV2httpResponse};
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

use crate::app::{App, Config};
use crate::domain::ids::Tenant;
use crate::domain::input::ValidationErrors;
use crate::domain::ticket;
use crate::http::{self, Handler};
use crate::log::JsonFormat;
use crate::store::{Meter, StoreError};

/// How long one try of a call may take.
pub fn timeouts() -> TimeoutConfig {
    let timeouts = TimeoutConfig::builder().connect_timeout(Duration::from_secs(1));
    timeouts.operation_attempt_timeout(Duration::from_secs(3)).build()
}

/// The clients' settings: each try of bounded length, so that a request has tries left before its
/// deadline. The tries themselves are the store's.
pub fn client(shared: &aws_config::SdkConfig) -> Client {
    let config = aws_sdk_dynamodb::config::Builder::from(shared);
    let config = config.timeout_config(timeouts()).retry_config(RetryConfig::disabled());
    Client::from_conf(config.build())
}

/// Until when a batch may be worked on, so that what was not done is still reported.
fn deadline(context: &Context) -> Instant {
    const DEFAULT_TIME_LEFT: Duration = Duration::from_secs(10);
    Instant::now()
        + http::time_left(context).map_or(DEFAULT_TIME_LEFT, |left| left.saturating_sub(http::RESPONSE_MARGIN))
}

fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// The state of an instance. The connection is opened here: on Lambda a start has a whole CPU, and the first
/// request behind it a share.
async fn start(config: Config) -> Arc<App> {
    let shared = aws_config::load_defaults(BehaviorVersion::latest()).await;
    let app = App::new(config, client(&shared));
    app.store().connect().await;
    Arc::new(app)
}

/// `RUST_LOG` filters (default `info`); `METRICS_NAMESPACE` asks for metrics.
fn log() {
    let filter = tracing_subscriber::EnvFilter::try_from_default_env();
    tracing_subscriber::fmt()
        .event_format(JsonFormat::new(environment("METRICS_NAMESPACE")))
        .with_env_filter(filter.unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info")))
        .init();
}

/// Runs a function of the API.
pub async fn run_http(handler: Handler) -> Result<(), Error> {
    log();
    let app = start(Config::from_lookup(&environment)?.with_auth(&environment)?).await;
    lambda_runtime::run(service_fn(|event| {
        let app = app.clone();
        async move { Ok::<_, Error>(on_request(&app, handler, event).await) }
    }))
    .await
}

/// What a function of the API answers to an invocation.
pub async fn on_request(
    app: &App,
    handler: Handler,
    event: LambdaEvent<ApiGatewayV2httpRequest>,
) -> ApiGatewayV2httpResponse {
    let request = http::read_event(event.payload).with_lambda_context(event.context);
    http::write_event(http::handle(app, handler, request).await)
}

/// What the indexing function does with a batch of the table's stream.
pub type StreamHandler = for<'a> fn(&'a App, dynamodb::Event, Instant) -> BoxFuture<'a, DynamoDbEventResponse>;

/// Runs a function that the table's stream drives.
pub async fn run_stream(handler: StreamHandler) -> Result<(), Error> {
    log();
    let app = start(Config::from_lookup(&environment)?).await;
    lambda_runtime::run(service_fn(|event| {
        let app = app.clone();
        async move { Ok::<_, Error>(on_records(&app, handler, event).await) }
    }))
    .await
}

/// What a function that the table's stream drives answers to an invocation.
pub async fn on_records(
    app: &App,
    handler: StreamHandler,
    event: LambdaEvent<dynamodb::Event>,
) -> DynamoDbEventResponse {
    handler(app, event.payload, deadline(&event.context)).await
}

/// What the ingesting function does with a batch of a queue. Bodies are strings: each is read by
/// itself.
pub type QueueHandler = for<'a> fn(&'a App, SqsEvent, Instant) -> BoxFuture<'a, SqsBatchResponse>;

/// Runs a function that a queue drives.
pub async fn run_sqs(handler: QueueHandler) -> Result<(), Error> {
    log();
    let app = start(Config::from_lookup(&environment)?).await;
    lambda_runtime::run(service_fn(|event| {
        let app = app.clone();
        async move { Ok::<_, Error>(on_messages(&app, handler, event).await) }
    }))
    .await
}

/// What a function that a queue drives answers to an invocation.
pub async fn on_messages(app: &App, handler: QueueHandler, event: LambdaEvent<SqsEvent>) -> SqsBatchResponse {
    handler(app, event.payload, deadline(&event.context)).await
}

/// What an event function does for one tenant, as its log lines and metrics name it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Operation {
    /// Updates the index of end users.
    Index,
    /// Builds one step of a rank index.
    Count,
    /// Erases the stored responses of a deleted end user.
    Erase,
    /// Ingests a ticket event.
    Ingest,
}

impl Operation {
    fn name(self) -> &'static str {
        match self {
            Self::Index => "index",
            Self::Count => "count",
            Self::Erase => "erase",
            Self::Ingest => "ingest",
        }
    }

    fn message(self) -> &'static str {
        match self {
            Self::Index => "index updated",
            Self::Count => "rank index updated",
            Self::Erase => "stored responses erased",
            Self::Ingest => "ticket event ingested",
        }
    }
}

/// Writes the log line of an operation, and returns whether it succeeded.
pub fn log_event(operation: Operation, tenant: &Tenant, meter: &Meter, error: Option<&StoreError>) -> bool {
    let cost = meter.cost();
    let (trips, reads, writes) = (cost.round_trips, cost.read_units, cost.write_units);
    let (operation, message) = (operation.name(), operation.message());
    match error {
        None => {
            tracing::info!(operation, %tenant, roundTrips = trips, readUnits = reads, writeUnits = writes, "{message}");
        }
        Some(error) => {
            tracing::error!(operation, %tenant, roundTrips = trips, readUnits = reads, writeUnits = writes, %error, "operation failed");
        }
    }
    error.is_none()
}

/// Logs at which members an event is bad. Messages hold no values; a member that is not of the contract is not named,
/// because its name may be personal data.
pub fn log_bad_event(errors: &ValidationErrors) {
    let members: BTreeSet<_> = errors.as_map().keys().map(|path| ticket::known_member(path)).collect();
    tracing::warn!(?members, "invalid ticket event");
}
