//! Sixteen instances creating people in one tenant at once, on a database whose transactions get in each
//! other's way as DynamoDB's do; the embedded engine's never do.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, Instant};

use indicatif::ProgressBar;
use serde::{Deserialize, Serialize};
use shared::domain::end_user::SortField;
use shared::domain::ids::Tenant;
use shared::store::{ListOrder, Meter, Page};
use tests::proxy::{Fault, Proxy};

use super::engine::{Engine, app, scope};
use super::people;
use crate::Outcome;

const WRITERS: u32 = 16;
/// How many people each creates.
const EACH: u32 = 200;
/// How long a transaction takes at least, and keeps others from its items: about what one of DynamoDB's takes.
const LASTING: Duration = Duration::from_millis(8);

/// How it went.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Hot {
    pub(crate) created: usize,
    /// Creates that were given up, with nothing written.
    pub(crate) refused: usize,
    pub(crate) conflicts: u64,
    pub(crate) seconds: f64,
    /// Ids given twice, people created who are not listed, and listed who were not created.
    pub(crate) doubled: usize,
    pub(crate) lost: usize,
    pub(crate) strange: usize,
    /// The number of people that the tenant says it has.
    pub(crate) counted: u64,
}

pub(crate) async fn measure(directory: &Path, bar: &ProgressBar) -> Outcome<Hot> {
    let engine = Engine::fresh(directory).await?;
    let proxy = Proxy::start(engine.url(), 1).await?;
    proxy.conflicts_last(LASTING);
    bar.set_length((WRITERS * EACH).into());
    let tenant = super::tenant(WRITERS * EACH);
    let started = Instant::now();
    let writers = (0..WRITERS).map(|writer| write(&proxy, &tenant, writer, bar));
    let ids = futures::future::try_join_all(writers).await?.concat();
    let seconds = started.elapsed().as_secs_f64();
    let conflicts = proxy.injected().1.get(&Fault::Conflict).copied().unwrap_or_default();

    let created: BTreeSet<u32> = ids.iter().copied().collect();
    let (listed, counted) = list(&engine, &tenant).await?;
    engine.stop().await?;
    Ok(Hot {
        created: ids.len(),
        refused: (WRITERS * EACH) as usize - ids.len(),
        conflicts,
        seconds,
        doubled: ids.len() - created.len(),
        lost: created.difference(&listed).count(),
        strange: listed.difference(&created).count(),
        counted,
    })
}

/// One instance, with a store of its own; answers the ids of whom it created.
async fn write(proxy: &Proxy, tenant: &Tenant, writer: u32, bar: &ProgressBar) -> Outcome<Vec<u32>> {
    let app = app(&local::client(proxy.url()))?;
    let mut ids = Vec::new();
    for number in writer * EACH + 1..=(writer + 1) * EACH {
        let draft = people::draft(&people::body(number))?;
        let meter = Meter::default();
        if let Ok(created) = scope(&app, tenant, &meter).create_end_user(&draft, None).await {
            ids.push(created.answer.id.get());
        }
        bar.inc(1);
    }
    Ok(ids)
}

/// The ids of everybody, and how many people the tenant says it has.
async fn list(engine: &Engine, tenant: &Tenant) -> Outcome<(BTreeSet<u32>, u64)> {
    let (app, meter) = (engine.app()?, Meter::default());
    let scope = scope(&app, tenant, &meter);
    let order = ListOrder { by: SortField::EndUserId, descending: false };
    let mut all = BTreeSet::new();
    for number in 1.. {
        let listed = scope.list_end_users(order, Page { number, size: 100 }).await?;
        if listed.people.is_empty() {
            return Ok((all, listed.total));
        }
        all.extend(listed.people.iter().map(|person| person.id.get()));
    }
    Err("a list without an end".into())
}
