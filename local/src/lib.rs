//! The whole End Users API on one machine: the gateway, the functions, an embedded DynamoDB, and
//! the pumps that stand in for the table's stream and the queue. Everything that deploys from
//! template.yaml is built from template.yaml here; the pages beside it, a console and a reference, deploy nowhere.

pub mod demo;
mod embedded;
mod engine;
mod events;
mod functions;
mod gateway;
pub mod index;
mod lanes;
mod pages;
mod pollers;
mod queue;
pub mod runtime;
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

/// The name of the table, unless `TABLE_NAME` says otherwise.
const TABLE: &str = "end-users";

/// How a system is started.
pub struct Options {
    /// The port on 127.0.0.1; 0: any that is free.
    pub port: u16,
    /// Where data is kept.
    pub storage: Storage,
    /// Whether an empty database is given a demo.
    pub demo: bool,
    /// Where the built functions are, as `<name>/bootstrap`, to be run as processes; without one,
    /// the functions that this program was built with run inside it.
    pub functions: Option<PathBuf>,
    /// The environment variables of the functions (contract §1), `TABLE_NAME`,
    /// `AWS_ENDPOINT_URL_DYNAMODB` and `CORS_ALLOWED_ORIGINS`.
    pub variables: HashMap<String, String>,
}

/// Where data is kept.
pub enum Storage {
    /// Nowhere: it ends with the process.
    Memory,
    /// In a directory, which one process at a time may use.
    Directory(PathBuf),
}

/// Why a system did not start; one line that says what to mend.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The port.
    #[error("port {port} cannot be used ({reason}); choose another with --port, 0 for any")]
    Port {
        /// The port asked for.
        port: u16,
        /// What the operating system says.
        reason: std::io::Error,
    },
    /// The data directory, the queue in it or its lock.
    #[error("the data directory {0}")]
    Data(String),
    /// The database.
    #[error("the database engine {0}")]
    Engine(String),
    /// The built functions.
    #[error("{0}")]
    Function(String),
    /// The settings.
    #[error("{0}")]
    Config(String),
    /// The template.
    #[error("template.yaml: {0}")]
    Template(#[from] template::TemplateError),
}

impl StartError {
    /// Why the engine does not start.
    fn engine(error: impl std::fmt::Display) -> Self {
        Self::Engine(format!("does not start: {error}"))
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
    /// Starts a system; when this returns, it answers and the demo is in place.
    pub async fn start(options: Options) -> Result<Self, StartError> {
        let Options { port, storage, demo, functions, mut variables } = options;
        let template = Template::load()?;
        variables.entry("TABLE_NAME".to_owned()).or_insert_with(|| TABLE.to_owned());
        variables.entry("RUST_LOG".to_owned()).or_insert_with(|| "warn".to_owned());
        variables.insert("SERVER_TIMING".to_owned(), "true".to_owned());
        // Tokens under a secret that others trust are not handed out.
        let hands_out_tokens = demo && token::needs_development_secret(&variables);
        token::use_development_secret(&mut variables);
        let lookup = |name: &str| variables.get(name).cloned();
        let config = HttpConfig::from_lookup(&lookup).map_err(|error| StartError::Config(error.to_string()))?;

        let listener = TcpListener::bind(("127.0.0.1", port)).await;
        let listener = listener.map_err(|reason| StartError::Port { port, reason })?;
        let address = listener.local_addr().map_err(|reason| StartError::Port { port, reason })?;
        // The queue's lock keeps other processes out of the directory, so it comes first.
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
        let pages = Pages::new(hands_out_tokens, &variables);
        let gateway = Gateway::new(functions.clone(), &template, &variables, pollers.clone(), queue.clone(), pages);
        let gateway = Arc::new(gateway);
        let mut tasks = pollers.run(&stopped);
        tasks.push(tokio::spawn(gateway::serve(listener, gateway.clone(), stopped)));
        let local = Self { address, gateway, functions, queue, client, stop, tasks, engine };
        if demo {
            demo::load(&local, &variables).await?;
        }
        Ok(local)
    }

    /// Where it answers.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// A client of the database.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Where the database answers.
    pub fn engine_url(&self) -> &str {
        self.engine.url()
    }

    /// The name of the table.
    pub fn table(&self) -> &str {
        self.engine.table()
    }

    /// The ticket events that every delivery failed for.
    pub fn dead_letters(&self) -> Vec<String> {
        self.queue.dead_letters().unwrap_or_default()
    }

    /// What a function answers to an event; `None` where it crashes or overruns its time.
    pub async fn invoke(&self, function: &str, event: &Value) -> Option<Value> {
        serde_json::from_slice(&self.functions.invoke(function, event).await.ok()?).ok()
    }

    /// Answers a request without a network between.
    pub async fn call(&self, request: axum::extract::Request) -> axum::response::Response {
        self.gateway.clone().answer(request).await
    }

    /// Ends: no new requests, those under way are answered, the pumps finish their batches.
    pub async fn stop(self) {
        // Nobody listens only where all has ended already.
        let _ = self.stop.send(true);
        for task in self.tasks {
            if let Err(error) = task.await {
                tracing::error!(%error, "a task of local failed");
            }
        }
        self.engine.stop().await;
    }
}
