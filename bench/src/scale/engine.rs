//! The embedded engine by itself: no gateway, and no pump that follows its stream. The store is called
//! directly.

use std::path::Path;
use std::time::{Duration, Instant};

use aws_sdk_dynamodb::Client;
use local::template::Template;
use shared::app::{App, Config};
use shared::domain::ids::Tenant;
use shared::store::{Meter, Scope};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::TABLE;
use crate::Outcome;

pub(crate) struct Engine {
    url: String,
    client: Client,
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Engine {
    /// With an empty table, in a directory that is emptied.
    pub(crate) async fn fresh(directory: &Path) -> Outcome<Self> {
        super::empty(directory)?;
        let engine = Self::open(directory).await?;
        let table = Template::load()?.table.create(engine.client.create_table().table_name(TABLE))?;
        table.send().await?;
        Ok(engine)
    }

    /// On what is there.
    pub(crate) async fn open(directory: &Path) -> Outcome<Self> {
        let database = local::open_engine(directory)?;
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let url = format!("http://{}", listener.local_addr()?);
        let (stop, stopped) = oneshot::channel::<()>();
        let task = tokio::spawn(async move {
            let stopped = async { drop(stopped.await) };
            // What it fails to serve fails at the caller.
            let _ = dynoxide::server::serve_with_shutdown(listener, database, stopped).await;
        });
        Ok(Self { client: local::client(&url), url, stop, task })
    }

    /// Where it answers.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// The functions' state over its table.
    pub(crate) fn app(&self) -> Outcome<App> {
        app(&self.client)
    }

    pub(crate) async fn stop(self) -> Outcome<()> {
        let _ = self.stop.send(());
        Ok(self.task.await?)
    }
}

/// The functions' state over the table that a client reaches.
pub(crate) fn app(client: &Client) -> Outcome<App> {
    let config = Config::from_lookup(&|name: &str| (name == "TABLE_NAME").then(|| TABLE.to_owned()))?;
    Ok(App::new(config, client.clone()))
}

/// One tenant's part of the table, for as long as any act here takes.
pub(crate) fn scope<'a>(app: &'a App, tenant: &Tenant, meter: &'a Meter) -> Scope<'a> {
    app.scope(tenant, meter, Instant::now() + Duration::from_secs(60))
}
