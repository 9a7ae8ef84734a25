//! Concurrent creates of sixteen writers in one tenant, behind a proxy that makes transactions conflict as in DynamoDB.
//! Transactions of the embedded engine never conflict.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, Instant};

use indicatif::ProgressBar;
use serde::{Deserialize, Serialize};
use shared::app::App;
use shared::domain::end_user::SortField;
use shared::domain::ids::{EndUserId, Tenant};
use shared::domain::page::Page;
use shared::store::{ChangeError, ListOrder, Meter};
use tests::proxy::{Fault, Proxy};

use crate::Result;
use crate::end_users;
use crate::system::{self, Engine, app, scope};

const WRITERS: u32 = 16;
/// The number of end users that each writer creates.
const CREATES: u32 = 200;
/// The duration of a transaction, during which others on the same items conflict: about that of DynamoDB.
const TRANSACTION_TIME: Duration = Duration::from_millis(8);

/// The result of a run.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Contention {
    /// The number of function instances that share the writers.
    pub(crate) instances: u32,
    pub(crate) created: usize,
    /// The creates that failed without writing anything.
    pub(crate) failed: usize,
    pub(crate) conflicts: u64,
    pub(crate) seconds: f64,
    /// The number of ids that were assigned twice.
    pub(crate) duplicates: usize,
    /// The number of created end users that do not exist.
    pub(crate) lost: usize,
    /// The number of end users in the tenant's counter.
    pub(crate) counted: u64,
}

/// Measures with this number of instances, each with its own store.
pub(crate) async fn measure(directory: &Path, instances: u32, bar: &ProgressBar) -> Result<Contention> {
    let engine = Engine::fresh(directory).await?;
    let proxy = Proxy::start(engine.url(), 1).await?;
    proxy.enforce_conflicts(TRANSACTION_TIME);
    bar.set_length((WRITERS * CREATES).into());
    let tenant = system::tenant(WRITERS * CREATES);
    let apps = (0..instances).map(|_| app(&local::client(proxy.url()))).collect::<Result<Vec<_>>>()?;
    let started = Instant::now();
    let writers = (0..WRITERS).map(|writer| write(&apps[(writer % instances) as usize], &tenant, writer, bar));
    let ids = futures::future::try_join_all(writers).await?.concat();
    let seconds = started.elapsed().as_secs_f64();
    let conflicts = proxy.injected().1.get(&Fault::Conflict).copied().unwrap_or_default();

    let distinct: BTreeSet<EndUserId> = ids.iter().copied().collect();
    let (lost, counted) = audit(&engine.app()?, &tenant, &distinct).await?;
    engine.stop().await;
    let failed = (WRITERS * CREATES) as usize - ids.len();
    let duplicates = ids.len() - distinct.len();
    Ok(Contention { instances, created: ids.len(), failed, conflicts, seconds, duplicates, lost, counted })
}

/// Creates the end users of one writer. Returns their ids.
async fn write(app: &App, tenant: &Tenant, writer: u32, bar: &ProgressBar) -> Result<Vec<EndUserId>> {
    let mut ids = Vec::new();
    for number in writer * CREATES + 1..=(writer + 1) * CREATES {
        let new = end_users::parse(&end_users::body(number))?;
        let meter = Meter::default();
        if let Ok(created) = scope(app, tenant, &meter).create_end_user(&new, None).await {
            ids.push(created.value.id);
        }
        bar.inc(1);
    }
    Ok(ids)
}

/// The number of created end users that do not exist, and the tenant's counter.
async fn audit(app: &App, tenant: &Tenant, created: &BTreeSet<EndUserId>) -> Result<(usize, u64)> {
    let meter = Meter::default();
    let scope = scope(app, tenant, &meter);
    let mut lost = 0;
    for id in created {
        lost += match scope.end_user(*id).await {
            Ok(_) => 0,
            Err(ChangeError::NotFound) => 1,
            Err(error) => return Err(format!("{error:?}").into()),
        };
    }
    let order = ListOrder { by: SortField::EndUserId, descending: false };
    Ok((lost, scope.list_end_users(order, Page { number: 1, size: 1 }).await?.total))
}
