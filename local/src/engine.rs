//! The database: the embedded engine, or the DynamoDB at `AWS_ENDPOINT_URL_DYNAMODB`.

use std::collections::HashMap;

use aws_config::SdkConfig;
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::{BehaviorVersion, Credentials, Region, SharedCredentialsProvider};
use aws_sdk_dynamodb::error::{DisplayErrorContext, SdkError};
use aws_sdk_dynamodb::types::TimeToLiveSpecification;

use crate::embedded::{self, Embedded};
use crate::template::TableSpec;
use crate::{Error, Storage};

/// The environment variable with the URL of another engine than the embedded one.
pub const ENDPOINT: &str = "AWS_ENDPOINT_URL_DYNAMODB";
/// The default credentials and region. A local engine accepts any.
const DEFAULTS: [(&str, &str); 3] =
    [("AWS_ACCESS_KEY_ID", "local"), ("AWS_SECRET_ACCESS_KEY", "local"), ("AWS_REGION", "eu-central-1")];

/// A database that has the table.
pub(crate) struct Engine {
    variables: HashMap<String, String>,
    config: SdkConfig,
    table: String,
    stream_arn: String,
    embedded: Option<Embedded>,
}

impl Engine {
    /// Starts the embedded engine or connects to another one, and creates the table if it is missing.
    pub(crate) async fn start(
        storage: &Storage,
        variables: &HashMap<String, String>,
        spec: &TableSpec,
        table: &str,
    ) -> Result<Self, Error> {
        let endpoint = variables.get(ENDPOINT).filter(|url| !url.is_empty());
        let (url, embedded, existing) = match endpoint {
            Some(url) => (url.clone(), None, None),
            None => {
                let database = embedded::open(storage)?;
                let existing = embedded::existing_stream(&database, table)?;
                let embedded = Embedded::serve(database)?;
                (embedded.url().to_owned(), Some(embedded), existing)
            }
        };
        let variables = endpoint_variables(&url, variables);
        let config = sdk_config(&variables);
        let stream_arn = match existing {
            Some(arn) => arn,
            None => ensure_table(&shared::bootstrap::client(&config), &url, spec, table).await?,
        };
        Ok(Self { variables, config, table: table.to_owned(), stream_arn, embedded })
    }

    /// The environment variables of the functions, with those that a process needs to connect to the engine.
    pub(crate) fn variables(&self) -> &HashMap<String, String> {
        &self.variables
    }

    pub(crate) fn url(&self) -> &str {
        self.variables.get(ENDPOINT).map_or("", String::as_str)
    }

    pub(crate) fn sdk_config(&self) -> &SdkConfig {
        &self.config
    }

    pub(crate) fn table(&self) -> &str {
        &self.table
    }

    pub(crate) fn stream_arn(&self) -> &str {
        &self.stream_arn
    }

    pub(crate) async fn stop(self) {
        if let Some(embedded) = self.embedded {
            embedded.stop().await;
        }
    }
}

/// Creates a client of the engine at `url`. It shares no connection with another client, so it can be used on a runtime
/// of its own.
pub fn client(url: &str) -> Client {
    shared::bootstrap::client(&sdk_config(&endpoint_variables(url, &HashMap::new())))
}

/// Returns `variables` with those that a process needs to connect to the engine at `url`.
pub fn endpoint_variables(url: &str, variables: &HashMap<String, String>) -> HashMap<String, String> {
    let mut all: HashMap<_, _> = DEFAULTS.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    all.extend(variables.clone());
    all.insert(ENDPOINT.to_owned(), url.to_owned());
    all
}

/// Returns the SDK settings for the variables of [`endpoint_variables`].
fn sdk_config(variables: &HashMap<String, String>) -> SdkConfig {
    let variable = |name: &str| variables.get(name).cloned().unwrap_or_default();
    let [key, secret, region] = DEFAULTS.map(|(name, _)| variable(name));
    let credentials = Credentials::new(key, secret, variables.get("AWS_SESSION_TOKEN").cloned(), None, "local");
    SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new(region))
        .credentials_provider(SharedCredentialsProvider::new(credentials))
        .endpoint_url(variable(ENDPOINT))
        .timeout_config(shared::bootstrap::timeouts())
        .build()
}

/// Creates the table if it is missing. Returns the ARN of its stream.
async fn ensure_table(client: &Client, url: &str, spec: &TableSpec, table: &str) -> Result<String, Error> {
    let described = client.describe_table().table_name(table).send().await;
    let arn = match described {
        Ok(found) => found.table.and_then(|table| table.latest_stream_arn),
        Err(error) if error.as_service_error().is_some_and(|e| e.is_resource_not_found_exception()) => {
            let request = spec.create(client.create_table().table_name(table))?;
            let created = request.send().await.map_err(|error| unusable(url, error))?;
            let ttl = TimeToLiveSpecification::builder().enabled(true).attribute_name(spec.ttl_attribute()?).build();
            let ttl = ttl.map_err(Error::engine)?;
            let request = client.update_time_to_live().table_name(table).time_to_live_specification(ttl);
            if let Err(error) = request.send().await {
                tracing::warn!(%error, "TTL cannot be enabled");
            }
            created.table_description.and_then(|table| table.latest_stream_arn)
        }
        Err(error) => return Err(unusable(url, error)),
    };
    arn.ok_or_else(|| Error::Engine(format!("has no stream on the table {table}")))
}

/// Creates the error of a failed call to the engine at `url`.
fn unusable<E: std::error::Error + Send + Sync + 'static>(url: &str, error: SdkError<E>) -> Error {
    Error::Engine(match &error {
        SdkError::DispatchFailure(_) | SdkError::TimeoutError(_) => {
            format!("is not reachable at {url}; start it, or unset {ENDPOINT} to use the embedded engine")
        }
        _ => format!("at {url} cannot be used: {}", DisplayErrorContext(error)),
    })
}
