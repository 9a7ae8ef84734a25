//! The start of a function: environment, database client, log, and the Lambda runtime.

use std::sync::Arc;
use std::time::Duration;

use aws_lambda_events::apigw::{ApiGatewayV2httpRequest, ApiGatewayV2httpResponse};
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::BehaviorVersion;
use aws_sdk_dynamodb::config::retry::RetryConfig;
use aws_sdk_dynamodb::config::timeout::TimeoutConfig;
use lambda_http::RequestExt;
use lambda_runtime::{Error, LambdaEvent, service_fn};

use crate::app::{App, Config, HttpApp, HttpConfig};
use crate::events::queue::{QueueHandler, on_messages};
use crate::events::stream::{StreamHandler, on_records};
use crate::http;
use crate::log::JsonFormat;

/// A Lambda function. Each package in `functions/` exports one as `FUNCTION`.
#[derive(Clone, Copy)]
pub struct Function {
    /// The name of its package and binary, and the key in `template.yaml`.
    pub name: &'static str,
    /// The handler.
    pub code: Code,
}

/// The handler of a function, by the events that invoke it.
#[derive(Clone, Copy)]
pub enum Code {
    /// HTTP requests from API Gateway. A GET needs read access, any other request write access.
    Http(http::Handler),
    /// HTTP requests from API Gateway, with the access that each of them needs.
    HttpWithAccess(http::RequiredAccess, http::Handler),
    /// Records of the table's stream.
    Stream(StreamHandler),
    /// Messages of a queue.
    Queue(QueueHandler),
}

/// Runs a function on the Lambda runtime.
pub async fn run(function: Function) -> Result<(), Error> {
    init_log();
    match function.code {
        Code::Http(handler) => run_http(http::access_by_method, handler).await,
        Code::HttpWithAccess(access, handler) => run_http(access, handler).await,
        Code::Stream(handler) => {
            let app = start().await?;
            lambda_runtime::run(service_fn(|event| {
                let app = app.clone();
                async move { Ok::<_, Error>(on_records(&app, handler, event).await) }
            }))
            .await
        }
        Code::Queue(handler) => {
            let app = start().await?;
            lambda_runtime::run(service_fn(|event| {
                let app = app.clone();
                async move { Ok::<_, Error>(on_messages(&app, handler, event).await) }
            }))
            .await
        }
    }
}
/// Runs an HTTP function on the Lambda runtime.
async fn run_http(access: http::RequiredAccess, handler: http::Handler) -> Result<(), Error> {
    let app = HttpApp::new(HttpConfig::from_lookup(&environment)?, load_client().await);
    app.app().store().connect().await;
    let app = Arc::new(app);
    lambda_runtime::run(service_fn(|event| {
        let app = app.clone();
        async move { Ok::<_, Error>(on_request(&app, access, handler, event).await) }
    }))
    .await
}

/// Handles one invocation of an HTTP function.
pub async fn on_request(
    app: &HttpApp,
    access: http::RequiredAccess,
    handler: http::Handler,
    event: LambdaEvent<ApiGatewayV2httpRequest>,
) -> ApiGatewayV2httpResponse {
    let request = http::read_event(event.payload).with_lambda_context(event.context);
    http::write_event(http::handle(app, access, handler, request).await)
}

/// The time limits of one attempt of a call: 1 s to connect, 3 s in all.
pub fn timeouts() -> TimeoutConfig {
    let timeouts = TimeoutConfig::builder().connect_timeout(Duration::from_secs(1));
    timeouts.operation_attempt_timeout(Duration::from_secs(3)).build()
}

/// Creates a database client. Each attempt has a time limit, so that a request can retry before its deadline. The SDK
/// does not retry; the store does.
pub fn client(shared: &aws_config::SdkConfig) -> Client {
    let config = aws_sdk_dynamodb::config::Builder::from(shared);
    let config = config.timeout_config(timeouts()).retry_config(RetryConfig::disabled());
    Client::from_conf(config.build())
}

fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

async fn load_client() -> Client {
    client(&aws_config::load_defaults(BehaviorVersion::latest()).await)
}

/// Creates the state of an event function, with an open connection: Lambda gives a start a whole CPU, and the first
/// invocation only a share.
async fn start() -> Result<Arc<App>, Error> {
    let app = App::new(Config::from_lookup(&environment)?, load_client().await);
    app.store().connect().await;
    Ok(Arc::new(app))
}

/// Starts the log. `RUST_LOG` is the filter (default `info`); `METRICS_NAMESPACE` turns on metrics.
fn init_log() {
    let filter = tracing_subscriber::EnvFilter::try_from_default_env();
    tracing_subscriber::fmt()
        .event_format(JsonFormat::new(environment("METRICS_NAMESPACE")))
        .with_env_filter(filter.unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info")))
        .init();
}
