//! What is measured: the whole system, or its embedded engine alone.

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

use crate::Outcome;

/// The name of every table.
pub(crate) const TABLE: &str = "end-users";

/// The embedded engine by itself: no gateway, and no pump that follows its stream. The store is called
/// directly.
pub(crate) struct Engine {
    embedded: Embedded,
    client: Client,
}

impl Engine {
    /// With an empty table, in a directory that is emptied.
    pub(crate) async fn fresh(directory: &Path) -> Outcome<Self> {
        empty(directory)?;
        let engine = Self::open(directory)?;
        let table = Template::load()?.table.create(engine.client.create_table().table_name(TABLE))?;
        table.send().await?;
        Ok(engine)
    }

    /// On what is there.
    pub(crate) fn open(directory: &Path) -> Outcome<Self> {
        let embedded = Embedded::serve(local::open_engine(directory)?)?;
        Ok(Self { client: local::client(embedded.url()), embedded })
    }

    /// Where it answers.
    pub(crate) fn url(&self) -> &str {
        self.embedded.url()
    }

    /// The functions' state over its table.
    pub(crate) fn app(&self) -> Outcome<App> {
        app(&self.client)
    }

    pub(crate) async fn stop(self) {
        self.embedded.stop().await;
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

/// The tenant of so many end users; its name is their number.
pub(crate) fn tenant(end_users: u32) -> Tenant {
    Tenant::from_number(end_users.into()).unwrap_or_else(|| unreachable!("a number names a tenant"))
}

/// A directory with nothing in it.
pub(crate) fn empty(directory: &Path) -> Outcome<()> {
    if directory.exists() {
        std::fs::remove_dir_all(directory)?;
    }
    Ok(std::fs::create_dir_all(directory)?)
}

/// Starts the system on a data directory; the functions run as processes where built ones are given.
pub(crate) async fn start(directory: &Path, functions: Option<PathBuf>) -> Outcome<Local> {
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
