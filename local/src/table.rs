//! The table that an operator's command works on.

use std::collections::HashMap;
use std::path::PathBuf;
use std::time::Duration;

use aws_config::BehaviorVersion;
use shared::app::{App, Config};
use shared::domain::ids::Tenant;

use crate::engine::{ENDPOINT, Engine};
use crate::queue::Queue;
use crate::template::Template;
use crate::{Error, Storage};

/// The command runs as long as necessary. Each call has its own time-out.
pub(crate) const NO_DEADLINE: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// The location of a table.
pub enum TableLocation {
    /// The data directory of a `local` that is not running.
    Directory(PathBuf),
    /// The DynamoDB at a URL.
    Endpoint(String),
    /// The AWS account in the environment.
    Aws,
}

impl TableLocation {
    /// Returns the AWS account if `aws` is set, else the endpoint in the environment, else the data directory.
    pub fn new(aws: bool, data: PathBuf, variables: &HashMap<String, String>) -> Self {
        match variables.get(ENDPOINT) {
            _ if aws => Self::Aws,
            Some(url) => Self::Endpoint(url.clone()),
            None => Self::Directory(data),
        }
    }

    /// Opens the table. The functions' settings come from `variables`.
    pub(crate) async fn open(self, mut variables: HashMap<String, String>) -> Result<OpenTable, Error> {
        if !matches!(self, Self::Aws) {
            variables.entry("TABLE_NAME".to_owned()).or_insert_with(|| crate::TABLE.to_owned());
        }
        let config = Config::from_lookup(&|name| variables.get(name).cloned());
        let config = config.map_err(|error| Error::Config(error.to_string()))?;
        let mut embedded = None;
        let client = match self {
            Self::Aws => shared::bootstrap::client(&aws_config::load_defaults(BehaviorVersion::latest()).await),
            Self::Endpoint(url) => crate::client(&url),
            Self::Directory(data) if !data.exists() => {
                return Err(Error::Data(format!("{} does not exist; choose another one with --data", data.display())));
            }
            Self::Directory(data) => {
                let storage = Storage::Directory(data);
                // Opening the queue takes the lock of the directory, which fails while a `local` runs on it.
                let lock = Queue::open(&storage)?;
                let engine = Engine::start(&storage, &variables, &Template::load()?.table, &config.table).await?;
                let client = shared::bootstrap::client(engine.sdk_config());
                embedded = Some((engine, lock));
                client
            }
        };
        Ok(OpenTable { app: App::new(config, client), embedded })
    }
}

/// A table that is open.
pub(crate) struct OpenTable {
    /// The state of a function over the table.
    pub app: App,
    embedded: Option<(Engine, Queue)>,
}

impl OpenTable {
    /// Closes the table.
    pub(crate) async fn close(self) {
        if let Some((engine, _lock)) = self.embedded {
            engine.stop().await;
        }
    }
}

/// Reads the tenant of a command line.
pub(crate) fn read_tenant(customer: &str) -> Result<Tenant, Error> {
    Tenant::parse(customer)
        .ok_or_else(|| Error::Config(format!("{customer} is not a valid tenant; use the customerID of its tokens")))
}
