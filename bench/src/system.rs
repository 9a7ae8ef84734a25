//! The measured system: all of `local`, or only its embedded engine.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use aws_sdk_dynamodb::Client;
use indicatif::{ProgressBar, ProgressStyle};
use local::template::Template;
use local::{Embedded, Local, Storage};
use shared::app::{App, Config};
use shared::domain::ids::Tenant;
use shared::store::{Meter, Scope};

use crate::Result;

/// The name of each table.
pub(crate) const TABLE: &str = "end-users";

/// The embedded engine without the gateway and the pollers. Benchmarks call the store directly.
pub(crate) struct Engine {
    embedded: Embedded,
    client: Client,
}

impl Engine {
    /// Starts the engine with an empty table, in a directory that is emptied first.
    pub(crate) async fn fresh(directory: &Path) -> Result<Self> {
        empty(directory)?;
        let engine = Self::open(directory)?;
        let table = Template::load()?.table.create(engine.client.create_table().table_name(TABLE))?;
        table.send().await?;
        Ok(engine)
    }

    /// Starts the engine on an existing directory.
    pub(crate) fn open(directory: &Path) -> Result<Self> {
        let embedded = Embedded::serve(local::open_engine(directory)?)?;
        Ok(Self { client: local::client(embedded.url()), embedded })
    }

    /// The URL of the engine.
    pub(crate) fn url(&self) -> &str {
        self.embedded.url()
    }

    /// The state of a function on the engine's table.
    pub(crate) fn app(&self) -> Result<App> {
        app(&self.client)
    }

    pub(crate) async fn stop(self) {
        self.embedded.stop().await;
    }
}

/// The state of a function on the table of a client.
pub(crate) fn app(client: &Client) -> Result<App> {
    let config = Config::from_lookup(&|name: &str| (name == "TABLE_NAME").then(|| TABLE.to_owned()))?;
    Ok(App::new(config, client.clone()))
}

/// The scope of a tenant, with a deadline of 60 s.
pub(crate) fn scope<'a>(app: &'a App, tenant: &Tenant, meter: &'a Meter) -> Scope<'a> {
    app.scope(tenant, meter, Instant::now() + Duration::from_secs(60))
}

/// The tenant with this number of end users. The number is also its name.
pub(crate) fn tenant(end_users: u32) -> Tenant {
    Tenant::from_number(end_users.into()).unwrap_or_else(|| unreachable!("a number names a tenant"))
}

/// Creates an empty directory, or empties an existing one.
pub(crate) fn empty(directory: &Path) -> Result<()> {
    if directory.exists() {
        std::fs::remove_dir_all(directory)?;
    }
    Ok(std::fs::create_dir_all(directory)?)
}

/// Starts the system on a data directory. With `functions`, the directory of built functions, they run as processes.
pub(crate) async fn start(directory: &Path, functions: Option<PathBuf>) -> Result<Local> {
    std::fs::create_dir_all(directory)?;
    let variables = HashMap::from([("TABLE_NAME".to_owned(), TABLE.to_owned())]);
    let storage = Storage::Directory(directory.to_owned());
    let options = local::Options { port: 0, storage, demo: false, functions, variables };
    Ok(Local::start(options).await?)
}

/// A progress bar up to `length`.
pub(crate) fn bar(name: &str, length: u64) -> ProgressBar {
    let style = ProgressStyle::with_template("{msg:50} {bar:30} {pos}/{len} {per_sec} {eta}");
    let bar = ProgressBar::new(length).with_message(name.to_owned());
    bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}
