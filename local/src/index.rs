//! The operator's commands over a tenant's index: `index check` and `index repair`.

use std::collections::HashMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use aws_config::BehaviorVersion;
use indicatif::{ProgressBar, ProgressStyle};
use shared::app::{App, Config};
use shared::domain::ids::Tenant;
use shared::store::{Check, CheckOptions, Meter, Progress};

use crate::engine::{ENDPOINT, Engine};
use crate::queue::Queue;
use crate::template::Template;
use crate::{StartError, Storage};

/// Where the table is.
pub enum Place {
    /// In the data directory of a `local` that is not running.
    Directory(PathBuf),
    /// Where `AWS_ENDPOINT_URL_DYNAMODB` says.
    Endpoint(String),
    /// In the AWS account of the environment.
    Aws,
}

impl Place {
    /// The account where `aws`, else the engine that the environment names, else the directory.
    pub fn of(aws: bool, data: PathBuf, variables: &HashMap<String, String>) -> Self {
        match variables.get(ENDPOINT) {
            _ if aws => Self::Aws,
            Some(url) => Self::Endpoint(url.clone()),
            None => Self::Directory(data),
        }
    }
}

/// Checks the index of a tenant against its documents, and where `repair`, puts it right. Shows on
/// stderr how far it has come, where that is a terminal.
pub async fn check(
    place: Place,
    variables: &HashMap<String, String>,
    customer: &str,
    repair: bool,
) -> Result<Check, StartError> {
    let tenant = Tenant::parse(customer);
    let tenant = tenant.ok_or_else(|| StartError::Config(format!("{customer} is no tenant: see customerID")))?;
    let mut variables = variables.clone();
    if !matches!(place, Place::Aws) {
        variables.entry("TABLE_NAME".to_owned()).or_insert_with(|| crate::TABLE.to_owned());
    }
    let config = Config::from_lookup(&|name| variables.get(name).cloned());
    let config = config.map_err(|error| StartError::Config(error.to_string()))?;
    let mut embedded = None;
    let client = match place {
        Place::Aws => shared::bootstrap::client(&aws_config::load_defaults(BehaviorVersion::latest()).await),
        Place::Endpoint(url) => crate::client(&url),
        Place::Directory(data) if !data.exists() => {
            return Err(StartError::Data(format!("{} is not there", data.display())));
        }
        Place::Directory(data) => {
            let storage = Storage::Directory(data);
            // Its lock says whether a `local` is running on the directory.
            let lock = Queue::open(&storage)?;
            let engine = Engine::start(&storage, &variables, &Template::load()?.table, &config.table).await?;
            let client = shared::bootstrap::client(engine.sdk_config());
            embedded = Some((engine, lock));
            client
        }
    };
    let bar = ProgressBar::new_spinner();
    let meter = Meter::default();
    let scope = App::new(config, client);
    let scope = scope.scope(&tenant, &meter, Instant::now() + FOR_EVER);
    let checked = scope
        .check_index(CheckOptions { repair, recheck_after: RECHECK_AFTER }, &|progress| show(&bar, progress))
        .await;
    bar.finish_and_clear();
    if let Some((engine, _)) = embedded {
        engine.stop().await;
    }
    checked.map_err(|error| StartError::Engine(format!("failed: {error}; what was mended is mended: run it again")))
}

/// An operator waits as long as it takes, or ends it; each call has its own time-out.
const FOR_EVER: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// Far longer than indexing takes.
const RECHECK_AFTER: Duration = Duration::from_secs(2);

fn show(bar: &ProgressBar, progress: Progress) {
    if bar.message() != progress.stage {
        let style = match progress.of {
            Some(_) => "{msg} {wide_bar} {human_pos} of {human_len}, {per_sec}, {eta} left",
            None => "{spinner} {msg}, {human_pos}",
        };
        if let Ok(style) = ProgressStyle::with_template(style) {
            bar.set_style(style);
        }
        bar.reset();
        bar.set_message(progress.stage);
    }
    if let Some(of) = progress.of {
        bar.set_length(of);
    }
    bar.set_position(progress.done);
}

/// What a check came to, in lines; end users by id alone.
pub fn report(check: &Check, repaired: bool) -> String {
    /// How many are named.
    const NAMED: usize = 20;
    let Check { end_users, counted, entries, blocks, .. } = check;
    let mut lines = vec![format!("{end_users} people ({counted} counted), {entries} index entries, {blocks} blocks")];
    lines.extend(check.building.iter().map(|field| format!("{}: is being counted, not checked", field.name())));
    lines.extend(
        check
            .stalled
            .iter()
            .map(|field| format!("{}: its count was given up half-way; index repair finishes it", field.name())),
    );
    lines.extend(check.wrong_end_users.iter().take(NAMED).map(|wrong| {
        let record = if wrong.record { "; Indexed says otherwise" } else { "" };
        format!("person {}: {} entries missing, {} too many{record}", wrong.id, wrong.missing, wrong.surplus())
    }));
    lines.extend(check.wrong_blocks.iter().take(NAMED).map(|wrong| {
        format!("{}: a block is said to hold {} entries and holds {}", wrong.field.name(), wrong.held, wrong.counted)
    }));
    let pointers = check.wrong_pointers.iter().take(NAMED);
    lines.extend(pointers.map(|id| format!("end user {id}: its stored look-up keys are wrong")));
    lines.extend(check.broken.iter().take(NAMED).map(|broken| format!("end user {}: {}", broken.id, broken.reason)));
    let wrong = (check.wrong_end_users.len(), check.wrong_blocks.len());
    let what = if repaired { "mended" } else { "wrong" };
    let pointers = match check.wrong_pointers.len() {
        0 => String::new(),
        count => format!(", look-up keys of {count} end users"),
    };
    let broken = match check.broken.len() {
        0 => String::new(),
        count => format!("; cannot be repaired: {count} end users"),
    };
    lines.push(match wrong {
        (0, 0) if check.is_clean() => "nothing is wrong".to_owned(),
        (end_users, blocks) => format!("{what}: {end_users} people, {blocks} blocks{pointers}{broken}"),
    });
    lines.join("\n")
}
