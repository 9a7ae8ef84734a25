//! The commands `index check` and `index repair`, which work on the index of one tenant.

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
use crate::{Error, Storage};

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
}

/// Compares the index of a tenant with its documents, and corrects it if `repair` is set. Shows its progress on stderr
/// if that is a terminal.
pub async fn check(
    location: TableLocation,
    variables: &HashMap<String, String>,
    customer: &str,
    repair: bool,
) -> Result<Check, Error> {
    let tenant = Tenant::parse(customer);
    let tenant = tenant
        .ok_or_else(|| Error::Config(format!("{customer} is not a valid tenant; use the customerID of its tokens")))?;
    let mut variables = variables.clone();
    if !matches!(location, TableLocation::Aws) {
        variables.entry("TABLE_NAME".to_owned()).or_insert_with(|| crate::TABLE.to_owned());
    }
    let config = Config::from_lookup(&|name| variables.get(name).cloned());
    let config = config.map_err(|error| Error::Config(error.to_string()))?;
    let mut embedded = None;
    let client = match location {
        TableLocation::Aws => shared::bootstrap::client(&aws_config::load_defaults(BehaviorVersion::latest()).await),
        TableLocation::Endpoint(url) => crate::client(&url),
        TableLocation::Directory(data) if !data.exists() => {
            return Err(Error::Data(format!("{} does not exist; choose another one with --data", data.display())));
        }
        TableLocation::Directory(data) => {
            let storage = Storage::Directory(data);
            // Opening the queue takes the lock of the directory, which fails while a `local` runs on it.
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
    let scope = scope.scope(&tenant, &meter, Instant::now() + NO_DEADLINE);
    let checked = scope
        .check_index(CheckOptions { repair, recheck_after: RECHECK_AFTER }, &|progress| show_progress(&bar, progress))
        .await;
    bar.finish_and_clear();
    if let Some((engine, _)) = embedded {
        engine.stop().await;
    }
    checked
        .map_err(|error| Error::Engine(format!("failed: {error}; run the command again, completed repairs are kept")))
}

/// The command runs as long as necessary. Each call has its own time-out.
const NO_DEADLINE: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// The time after which a difference is checked again; far longer than indexing takes.
const RECHECK_AFTER: Duration = Duration::from_secs(2);

fn show_progress(bar: &ProgressBar, progress: Progress) {
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

/// Formats the result of a check or repair, one line per difference. End users appear by id only.
pub fn report(check: &Check, repaired: bool) -> String {
    /// The maximum number of lines per kind of difference.
    const MAX_LISTED: usize = 20;
    let Check { counted, entries, .. } = check;
    let (end_users, blocks) = (count(check.end_users, "end user"), count(check.blocks, "rank block"));
    let mut lines = vec![format!("{end_users} (counter: {counted}), {entries} index entries, {blocks}")];
    let building = check.building.iter();
    lines.extend(building.map(|field| format!("{}: its rank index is being built and was not checked", field.name())));
    let stalled = check.stalled.iter();
    lines.extend(stalled.map(|field| {
        format!("{}: the build of its rank index has stopped; `index repair` completes it", field.name())
    }));
    lines.extend(check.wrong_end_users.iter().take(MAX_LISTED).map(|wrong| {
        let missing = if wrong.missing == 1 { "1 entry".to_owned() } else { format!("{} entries", wrong.missing) };
        let record = if wrong.record { "; its IndexState is wrong" } else { "" };
        format!("end user {}: {missing} missing, {} too many{record}", wrong.id, wrong.surplus())
    }));
    let blocks = check.wrong_blocks.iter().take(MAX_LISTED);
    lines.extend(blocks.map(|wrong| {
        format!("{}: a rank block counts {} entries instead of {}", wrong.field.name(), wrong.held, wrong.counted)
    }));
    let pointers = check.wrong_pointers.iter().take(MAX_LISTED);
    lines.extend(pointers.map(|id| format!("end user {id}: its look-up keys are wrong")));
    lines.extend(
        check.broken.iter().take(MAX_LISTED).map(|broken| format!("end user {}: {}", broken.id, broken.reason)),
    );
    lines.push(if check.is_clean() { "nothing is wrong".to_owned() } else { summary(check, repaired) });
    lines.join("\n")
}

fn summary(check: &Check, repaired: bool) -> String {
    let end_users = |number: usize| count(number as u64, "end user");
    let kinds = [
        (check.wrong_end_users.len(), end_users(check.wrong_end_users.len())),
        (check.wrong_blocks.len(), count(check.wrong_blocks.len() as u64, "rank block")),
        (check.wrong_pointers.len(), format!("look-up keys of {}", end_users(check.wrong_pointers.len()))),
    ];
    let wrong: Vec<_> = kinds.into_iter().filter(|(number, _)| *number > 0).map(|(_, text)| text).collect();
    let clauses = [
        (wrong.len(), format!("{}: {}", if repaired { "repaired" } else { "wrong" }, wrong.join(", "))),
        (check.stalled.len(), format!("stopped: {}", count(check.stalled.len() as u64, "rank index build"))),
        (check.broken.len(), format!("cannot be repaired: {}", end_users(check.broken.len()))),
    ];
    let clauses: Vec<_> = clauses.into_iter().filter(|(number, _)| *number > 0).map(|(_, text)| text).collect();
    clauses.join("; ")
}

/// Formats a number with its noun, in the plural unless the number is 1.
fn count(number: u64, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}
