//! Sixteen writers creating end users in one tenant at once, on a database whose transactions get in each
//! other's way as DynamoDB's do; the embedded engine's never do.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, Instant};

use indicatif::ProgressBar;
use serde::{Deserialize, Serialize};
use shared::app::App;
use shared::domain::end_user::SortField;
use shared::domain::ids::{EndUserId, Tenant};
use shared::store::{ListOrder, Meter, Page};
use tests::proxy::{Fault, Proxy};

use crate::Outcome;
use crate::end_users;
use crate::system::{self, Engine, app, scope};

const WRITERS: u32 = 16;
/// How many end users each creates.
const EACH: u32 = 200;
/// How long a transaction takes at least, and keeps others from its items: about what one of DynamoDB's takes.
const LASTING: Duration = Duration::from_millis(8);

/// How it went.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Hot {
    /// How many instances of the function the writers are spread over.
    pub(crate) instances: u32,
    pub(crate) created: usize,
    /// Creates that were given up, with nothing written.
    pub(crate) refused: usize,
    pub(crate) conflicts: u64,
    pub(crate) seconds: f64,
    /// Ids given twice, and end users created who are not there.
    pub(crate) doubled: usize,
    pub(crate) lost: usize,
    /// The number of end users that the tenant says it has.
    pub(crate) counted: u64,
}

/// With the writers spread over so many instances, each with a store of its own.
pub(crate) async fn measure(directory: &Path, instances: u32, bar: &ProgressBar) -> Outcome<Hot> {
    let engine = Engine::fresh(directory).await?;
    let proxy = Proxy::start(engine.url(), 1).await?;
    proxy.enforce_conflicts(LASTING);
    bar.set_length((WRITERS * EACH).into());
    let tenant = system::tenant(WRITERS * EACH);
    let apps = (0..instances).map(|_| app(&local::client(proxy.url()))).collect::<Outcome<Vec<_>>>()?;
    let started = Instant::now();
    let writers = (0..WRITERS).map(|writer| write(&apps[(writer % instances) as usize], &tenant, writer, bar));
    let ids = futures::future::try_join_all(writers).await?.concat();
    let seconds = started.elapsed().as_secs_f64();
    let conflicts = proxy.injected().1.get(&Fault::Conflict).copied().unwrap_or_default();

    let distinct: BTreeSet<EndUserId> = ids.iter().copied().collect();
    let (lost, counted) = audit(&engine.app()?, &tenant, &distinct).await?;
    engine.stop().await;
    let refused = (WRITERS * EACH) as usize - ids.len();
    let doubled = ids.len() - distinct.len();
    Ok(Hot { instances, created: ids.len(), refused, conflicts, seconds, doubled, lost, counted })
}

/// One writer; answers the ids of whom it created.
async fn write(app: &App, tenant: &Tenant, writer: u32, bar: &ProgressBar) -> Outcome<Vec<EndUserId>> {
    let mut ids = Vec::new();
    for number in writer * EACH + 1..=(writer + 1) * EACH {
        let draft = end_users::draft(&end_users::body(number))?;
        let meter = Meter::default();
        if let Ok(created) = scope(app, tenant, &meter).create_end_user(&draft, None).await {
            ids.push(created.answer.id);
        }
        bar.inc(1);
    }
    Ok(ids)
}

/// How many of those created are not there, and how many end users the tenant says it has.
async fn audit(app: &App, tenant: &Tenant, created: &BTreeSet<EndUserId>) -> Outcome<(usize, u64)> {
    let meter = Meter::default();
    let scope = scope(app, tenant, &meter);
    let mut lost = 0;
    for id in created {
        lost += usize::from(scope.end_user(*id).await?.is_none());
    }
    let order = ListOrder { by: SortField::EndUserId, descending: false };
    Ok((lost, scope.list_end_users(order, Page { number: 1, size: 1 }).await?.total))
}
