//! The commands `index check` and `index repair`, which work on the index of one tenant.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use shared::store::{Check, CheckOptions, Meter, Progress};

use crate::Error;
use crate::table::{NO_DEADLINE, TableLocation, read_tenant};

/// Compares the index of a tenant with its documents, and corrects it if `repair` is set. Shows its progress on stderr
/// if that is a terminal.
pub async fn check(
    location: TableLocation,
    variables: &HashMap<String, String>,
    customer: &str,
    repair: bool,
) -> Result<Check, Error> {
    let tenant = read_tenant(customer)?;
    let table = location.open(variables.clone()).await?;
    let bar = ProgressBar::new_spinner();
    let meter = Meter::default();
    let scope = table.app.scope(&tenant, &meter, Instant::now() + NO_DEADLINE);
    let checked = scope
        .check_index(CheckOptions { repair, recheck_after: RECHECK_AFTER }, &|progress| show_progress(&bar, progress))
        .await;
    bar.finish_and_clear();
    table.close().await;
    checked
        .map_err(|error| Error::Engine(format!("failed: {error}; run the command again, completed repairs are kept")))
}

/// The time after which a difference is checked again; far longer than indexing takes.
const RECHECK_AFTER: Duration = Duration::from_secs(2);

pub(crate) fn show_progress(bar: &ProgressBar, progress: Progress) {
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
pub(crate) fn count(number: u64, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}
