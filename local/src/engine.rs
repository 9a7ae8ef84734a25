//! The database: the embedded engine, or the one that `AWS_ENDPOINT_URL_DYNAMODB` names.

use std::collections::HashMap;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use aws_config::SdkConfig;
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::{BehaviorVersion, Credentials, Region, SharedCredentialsProvider};
use aws_sdk_dynamodb::error::{DisplayErrorContext, SdkError};
use aws_sdk_dynamodb::types::TimeToLiveSpecification;
use dynoxide::Database;
use dynoxide::actions::list_streams::ListStreamsRequest;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::template::TableSpec;
use crate::{StartError, Storage};

/// The variable that names another engine.
pub(crate) const ENDPOINT: &str = "AWS_ENDPOINT_URL_DYNAMODB";
/// What a client signs with where nothing is configured; an engine on this machine takes anything.
const DEFAULTS: [(&str, &str); 3] =
    [("AWS_ACCESS_KEY_ID", "local"), ("AWS_SECRET_ACCESS_KEY", "local"), ("AWS_REGION", "eu-central-1")];

/// A database with our table.
pub(crate) struct Engine {
    variables: HashMap<String, String>,
    config: SdkConfig,
    table: String,
    stream_arn: String,
    embedded: Option<(oneshot::Sender<()>, JoinHandle<()>)>,
}

impl Engine {
    /// Starts or reaches the engine and makes sure of the table.
    pub(crate) async fn start(
        storage: &Storage,
        variables: &HashMap<String, String>,
        spec: &TableSpec,
        table: &str,
    ) -> Result<Self, StartError> {
        let endpoint = variables.get(ENDPOINT).filter(|url| !url.is_empty());
        let (url, embedded, known) = match endpoint {
            Some(url) => (url.clone(), None, None),
            None => {
                let database = open(storage)?;
                let known = known_stream(&database, table)?;
                let (url, task) = embed(database).await?;
                (url, Some(task), known)
            }
        };
        let variables = reaching(&url, variables);
        let config = sdk_config(&variables);
        let stream_arn = match known {
            Some(arn) => arn,
            None => ensure_table(&shared::bootstrap::client(&config), &url, spec, table).await?,
        };
        Ok(Self { variables, config, table: table.to_owned(), stream_arn, embedded })
    }

    /// The variables that it was started with, and those by which another process reaches it.
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
        if let Some((stop, task)) = self.embedded {
            let _ = stop.send(());
            let _ = task.await;
        }
    }
}

/// A client of the engine at `url` that shares no connection with any other, for use on a runtime of
/// its own.
pub fn client(url: &str) -> Client {
    shared::bootstrap::client(&sdk_config(&reaching(url, &HashMap::new())))
}

/// `variables`, and those by which the engine at `url` is reached.
fn reaching(url: &str, variables: &HashMap<String, String>) -> HashMap<String, String> {
    let mut all: HashMap<_, _> = DEFAULTS.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    all.extend(variables.clone());
    all.insert(ENDPOINT.to_owned(), url.to_owned());
    all
}

/// The settings of a client with variables of [`reaching`].
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

fn open(storage: &Storage) -> Result<Database, StartError> {
    match storage {
        Storage::Memory => memory(),
        Storage::Directory(directory) => open_engine(directory),
    }
}

/// The ARN of the stream of a table that is there. DescribeTable says it too, but the embedded engine
/// counts all items for that: minutes where there are millions.
fn known_stream(database: &Database, table: &str) -> Result<Option<String>, StartError> {
    let request = ListStreamsRequest { table_name: Some(table.to_owned()), ..ListStreamsRequest::default() };
    let streams = database.list_streams(request).map_err(failed)?.streams;
    Ok(streams.into_iter().next().map(|stream| stream.stream_arn))
}

async fn embed(database: Database) -> Result<(String, (oneshot::Sender<()>, JoinHandle<()>)), StartError> {
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.map_err(failed)?;
    let url = format!("http://{}", listener.local_addr().map_err(failed)?);
    let (stop, stopped) = oneshot::channel::<()>();
    let task = tokio::spawn(async move {
        let stopped = async {
            let _ = stopped.await;
        };
        if let Err(error) = dynoxide::server::serve_with_shutdown(listener, database, stopped).await {
            tracing::error!(%error, "the embedded engine failed");
        }
    });
    Ok((url, (stop, task)))
}

fn failed(error: impl std::fmt::Display) -> StartError {
    StartError::Engine(format!("does not start: {error}"))
}

/// An engine in memory. Its tables come from a file that has the index: in memory nobody else can
/// make one.
fn memory() -> Result<Database, StartError> {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let name = format!("end-users-{}-{}.sqlite", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
    let template = std::env::temp_dir().join(name);
    drop(file(&template)?);
    let database = Database::memory().map_err(failed)?;
    let restored = database.restore_from(&template.to_string_lossy()).map_err(failed);
    for suffix in ["", "-wal", "-shm"] {
        let _ = std::fs::remove_file(format!("{}{suffix}", template.display()));
    }
    restored.map(|()| database)
}

/// The embedded engine's file in a data directory, for programs that load it while no system runs on it.
pub fn open_engine(directory: &Path) -> Result<Database, StartError> {
    file(&directory.join("dynamodb.sqlite"))
}

/// An engine on a file. Reading its stream takes time in the square of its length without an index
/// of our own, which dynoxide-rs 3.2.0 does not make.
fn file(path: &Path) -> Result<Database, StartError> {
    let database = Database::new(&path.to_string_lossy()).map_err(failed)?;
    let connection = rusqlite::Connection::open(path).map_err(failed)?;
    connection.busy_timeout(std::time::Duration::from_secs(5)).map_err(failed)?;
    let index = "CREATE INDEX IF NOT EXISTS end_users_stream \
                 ON _stream_records(table_name, CAST(sequence_number AS INTEGER))";
    connection.execute_batch(index).map_err(failed)?;
    Ok(database)
}

/// Creates the table where it is missing; answers the ARN of its stream.
async fn ensure_table(client: &Client, url: &str, spec: &TableSpec, table: &str) -> Result<String, StartError> {
    let described = client.describe_table().table_name(table).send().await;
    let arn = match described {
        Ok(found) => found.table.and_then(|table| table.latest_stream_arn),
        Err(error) if error.as_service_error().is_some_and(|e| e.is_resource_not_found_exception()) => {
            let request = spec.create(client.create_table().table_name(table))?;
            let created = request.send().await.map_err(|error| unusable(url, error))?;
            let ttl = TimeToLiveSpecification::builder().enabled(true).attribute_name(spec.ttl_attribute()?).build();
            let ttl = ttl.map_err(failed)?;
            let request = client.update_time_to_live().table_name(table).time_to_live_specification(ttl);
            if let Err(error) = request.send().await {
                tracing::warn!(%error, "the engine does not let items expire");
            }
            created.table_description.and_then(|table| table.latest_stream_arn)
        }
        Err(error) => return Err(unusable(url, error)),
    };
    arn.ok_or_else(|| StartError::Engine(format!("has a table {table} without a stream")))
}

/// What a call that failed says of the engine at `url`.
fn unusable<E: std::error::Error + Send + Sync + 'static>(url: &str, error: SdkError<E>) -> StartError {
    StartError::Engine(match &error {
        SdkError::DispatchFailure(_) | SdkError::TimeoutError(_) => {
            format!("does not answer at {url}; start it, or unset {ENDPOINT} for the embedded one")
        }
        _ => format!("at {url} cannot be used: {}", DisplayErrorContext(error)),
    })
}
