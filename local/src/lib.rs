//! The whole End Users API on one machine: the gateway, the functions, an embedded DynamoDB, and pollers for the
//! table's stream and the queue of ticket events. It takes all of them from template.yaml, which also deploys the API.
//! The pages, a console and an API reference, exist only here.

pub mod claims;
pub mod demo;
mod embedded;
mod engine;
mod events;
mod functions;
mod gateway;
pub mod index;
mod invocation;
mod pages;
mod pollers;
mod queue;
pub mod runtime;
pub mod table;
pub mod template;
pub mod token;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use aws_sdk_dynamodb::Client;
use serde_json::Value;
use shared::app::{HttpApp, HttpConfig};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

pub use embedded::{Embedded, open_engine};
use engine::Engine;
pub use engine::{ENDPOINT, client, endpoint_variables};
use functions::Functions;
use gateway::Gateway;
use pages::Pages;
use pollers::Pollers;
use queue::Queue;
use template::Template;

/// The default of `TABLE_NAME`.
const TABLE: &str = "end-users";

/// The options of [`Local::start`].
pub struct Options {
    /// The port on 127.0.0.1; 0 for any free port.
    pub port: u16,
    /// The storage of the database and the queue.
    pub storage: Storage,
    /// Whether an empty database is filled with the demo.
    pub demo: bool,
    /// The folder of the built functions (`<name>/bootstrap`), which run as processes; `None` runs the functions
    /// in-process.
    pub functions: Option<PathBuf>,
    /// The environment variables of the functions (docs/configuration.md), `AWS_ENDPOINT_URL_DYNAMODB` and
    /// `CORS_ALLOWED_ORIGINS`.
    pub variables: HashMap<String, String>,
}

/// The storage of the database and the queue.
pub enum Storage {
    /// Memory, which is lost when the process ends.
    Memory,
    /// A directory, which one process at a time can use.
    Directory(PathBuf),
}

/// The reason why a command failed, as one line that says what to do.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The port cannot be bound.
    #[error("port {port} cannot be used ({reason}); choose another one with --port, or 0 for any free port")]
    Port {
        /// The requested port.
        port: u16,
        /// The error of the operating system.
        reason: std::io::Error,
    },
    /// The data directory, its queue or its lock cannot be used.
    #[error("the data directory {0}")]
    Data(String),
    /// The database cannot be used.
    #[error("the database engine {0}")]
    Engine(String),
    /// A built function cannot be used.
    #[error("{0}")]
    Function(String),
    /// A setting is invalid.
    #[error("{0}")]
    Config(String),
    /// The template is not supported.
    #[error("template.yaml: {0}")]
    Template(#[from] template::TemplateError),
}

impl Error {
    /// Creates the error of an embedded engine that cannot be started.
    fn engine(error: impl std::fmt::Display) -> Self {
        Self::Engine(format!("cannot be started: {error}"))
    }
}

/// A running system.
pub struct Local {
    address: SocketAddr,
    gateway: Arc<Gateway>,
    functions: Arc<Functions>,
    queue: Arc<Queue>,
    client: Client,
    stop: watch::Sender<bool>,
    tasks: Vec<JoinHandle<()>>,
    engine: Engine,
}

impl Local {
    /// Starts a system. When this returns, the gateway accepts requests and the demo is loaded.
    pub async fn start(options: Options) -> Result<Self, Error> {
        let Options { port, storage, demo, functions, mut variables } = options;
        let template = Template::load()?;
        variables.entry("TABLE_NAME".to_owned()).or_insert_with(|| TABLE.to_owned());
        variables.entry("RUST_LOG".to_owned()).or_insert_with(|| "warn".to_owned());
        variables.insert("SERVER_TIMING".to_owned(), "true".to_owned());
        // Demo tokens are only served if they are signed with the development secret, which no deployment trusts.
        let serves_tokens = demo && token::needs_development_secret(&variables);
        token::use_development_secret(&mut variables);
        let lookup = |name: &str| variables.get(name).cloned();
        let config = HttpConfig::from_lookup(&lookup).map_err(|error| Error::Config(error.to_string()))?;

        let listener = TcpListener::bind(("127.0.0.1", port)).await;
        let listener = listener.map_err(|reason| Error::Port { port, reason })?;
        let address = listener.local_addr().map_err(|reason| Error::Port { port, reason })?;
        // The queue is opened first, because its lock keeps other processes out of the directory.
        let queue = Arc::new(Queue::open(&storage)?);
        let engine = Engine::start(&storage, &variables, &template.table, &config.common.table).await?;
        let client = shared::bootstrap::client(engine.sdk_config());
        let functions = Arc::new(match functions {
            None => Functions::in_process(&template, HttpApp::new(config, client.clone()))?,
            Some(built) => Functions::processes(&template, &built, engine.variables())?,
        });

        let (stop, stopped) = watch::channel(false);
        let config = engine.sdk_config();
        let pollers = Pollers::new(functions.clone(), queue.clone(), &template, config, engine.stream_arn());
        let pages = Pages::new(serves_tokens, &variables);
        let gateway = Gateway::new(functions.clone(), &template, &variables, pollers.clone(), queue.clone(), pages)?;
        let gateway = Arc::new(gateway);
        let mut tasks = pollers.run(&stopped);
        tasks.push(tokio::spawn(gateway::serve(listener, gateway.clone(), stopped)));
        let local = Self { address, gateway, functions, queue, client, stop, tasks, engine };
        if demo {
            demo::load(&local, &variables).await?;
        }
        Ok(local)
    }

    /// The address of the gateway.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// A client of the database.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// The URL of the database.
    pub fn engine_url(&self) -> &str {
        self.engine.url()
    }

    /// The name of the table.
    pub fn table(&self) -> &str {
        self.engine.table()
    }

    /// The ticket events that became dead letters, oldest first.
    pub fn dead_letters(&self) -> Vec<String> {
        self.queue.dead_letters().unwrap_or_default()
    }

    /// Invokes a function with an event. Returns `None` if it crashes or exceeds its time-out.
    pub async fn invoke(&self, function: &str, event: &Value) -> Option<Value> {
        serde_json::from_slice(&self.functions.invoke(function, event).await.ok()?).ok()
    }

    /// Sends a request to the gateway without a network.
    pub async fn call(&self, request: axum::extract::Request) -> axum::response::Response {
        self.gateway.clone().handle(request).await
    }

    /// Stops the system after the requests and batches in progress.
    pub async fn stop(self) {
        // An error means that every task has already ended.
        let _ = self.stop.send(true);
        for task in self.tasks {
            if let Err(error) = task.await {
                tracing::error!(%error, "task failed");
            }
        }
        self.engine.stop().await;
    }
}
