//! The command `claims build`, which prepares the identifiers of existing end users for the exclusive policy.

use std::collections::HashMap;
use std::time::Instant;

use indicatif::ProgressBar;
use shared::store::{ClaimsBuild, Meter, SharedIdentifier};

use crate::Error;
use crate::index::{count, show_progress};
use crate::table::{NO_DEADLINE, TableLocation, read_tenant};

/// Claims every identifier of the tenants that one end user holds. Calls `on_shared` for every identifier that several
/// end users hold. Shows its progress on stderr if that is a terminal.
pub async fn build(
    location: TableLocation,
    variables: &HashMap<String, String>,
    customers: &[String],
    on_shared: &(dyn Fn(&str, &SharedIdentifier) + Sync),
) -> Result<ClaimsBuild, Error> {
    let tenants = customers.iter().map(|customer| read_tenant(customer)).collect::<Result<Vec<_>, _>>()?;
    let mut variables = variables.clone();
    variables.insert("UID_POLICY".to_owned(), "Exclusive".to_owned());
    let table = location.open(variables).await?;
    let bar = ProgressBar::new_spinner();
    let meter = Meter::default();
    let mut all = ClaimsBuild::default();
    let mut failed = None;
    for tenant in &tenants {
        let scope = table.app.scope(tenant, &meter, Instant::now() + NO_DEADLINE);
        let report = |shared: &SharedIdentifier| bar.suspend(|| on_shared(tenant.as_str(), shared));
        match scope.build_claims(&report, &|progress| show_progress(&bar, progress)).await {
            Ok(build) => all += build,
            Err(error) => {
                failed = Some(error);
                break;
            }
        }
    }
    bar.finish_and_clear();
    table.close().await;
    match failed {
        None => Ok(all),
        Some(error) => {
            Err(Error::Engine(format!("failed: {error}; run the command again, the claims that were built are kept")))
        }
    }
}

/// Formats the result of a build.
pub fn report(build: &ClaimsBuild) -> String {
    let ClaimsBuild { end_users, claimed, shared } = *build;
    let shared = match shared {
        0 => "none is held by several end users".to_owned(),
        _ => {
            format!("{} held by several end users: merge or change them, and run the command again", is_or_are(shared))
        }
    };
    format!("{}, {} claimed; {shared}", count(end_users, "end user"), count(claimed, "identifier"))
}

fn is_or_are(number: u64) -> String {
    format!("{} {}", count(number, "identifier"), if number == 1 { "is" } else { "are" })
}
