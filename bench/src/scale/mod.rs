//! Tenants of growing size in one database, and what each request costs in each of them.

mod counting;
mod freshness;
mod hot;
mod measure;
mod memory;
mod naive;
mod orders;
mod report;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use clap::Args;
use shared::domain::end_user::SortField;

use crate::http::Caller;
use crate::stages::Stages;
use crate::system::{Engine, TABLE, bar, start, tenant};
use crate::{Outcome, load};
use report::{Report, TenantReport};

/// What is measured, and where data is kept.
#[derive(Args)]
pub(crate) struct Options {
    /// How many end users the tenants have, ascending.
    #[arg(long, value_delimiter = ',', default_value = "1000,10000,100000,1000000")]
    end_users: Vec<u32>,
    /// Where data and results are kept; what is there is not done again.
    #[arg(long, default_value = "target/bench/scale")]
    data: PathBuf,
    /// Starts over.
    #[arg(long)]
    fresh: bool,
    /// The built functions (cargo-lambda's target/lambda): measures also what the largest search takes
    /// of a process.
    #[arg(long, value_name = "DIR")]
    functions: Option<PathBuf>,
    /// How many creates a second are under way while freshness is measured under load; 0: only idle.
    #[arg(long, default_value_t = 50)]
    load: u32,
    /// Writes docs/benchmarks/scale.md and docs/benchmarks/scale.svg.
    #[arg(long)]
    write: bool,
}

/// Measures all, or what is left of it.
pub(crate) async fn run(options: Options) -> Outcome<()> {
    let stages = Stages::open(&options.data, options.fresh)?;
    let tenants = options.data.join("tenants");
    let report = Report {
        loads: load_all(&stages, &tenants, &options.end_users).await?,
        tenants: measure_all(&stages, &tenants, &options.end_users).await?,
        memory: measure_memory(&stages, &tenants, &options).await?,
        freshness: measure_freshness(&stages, &tenants, &options).await?,
        counted: measure_counting(&stages, &options.data).await?,
        hot: {
            let directory = options.data.join("hot");
            let mut all = Vec::new();
            for instances in [16, 1] {
                let measure = async || hot::measure(&directory, instances, &bar("hot", 0)).await;
                all.push(stages.run(&format!("hot-{instances}"), measure).await?);
            }
            all
        },
    };
    report.publish(options.write)
}

async fn load_all(stages: &Stages, directory: &Path, tenants: &[u32]) -> Outcome<Vec<load::Loaded>> {
    // The table is made as everywhere.
    start(directory, None).await?.stop().await;
    let mut loads = Vec::new();
    for &end_users in tenants {
        let load = async || {
            let (bar, directory) = (bar("load", end_users.into()), directory.to_owned());
            let load = move || load::load(&directory, TABLE, &tenant(end_users), end_users, &bar);
            tokio::task::spawn_blocking(load).await?
        };
        loads.push(stages.run(&format!("load-{end_users}"), load).await?);
    }
    Ok(loads)
}

async fn measure_all(stages: &Stages, directory: &Path, tenants: &[u32]) -> Outcome<Vec<TenantReport>> {
    // What indexing costs is measured before any order is counted.
    let mut behind = Vec::new();
    let engine = Engine::open(directory)?;
    for &end_users in tenants {
        let bar = bar("index", 0);
        let index = async || measure::index(&engine, &tenant(end_users), &bar).await;
        let mut rows = stages.run(&format!("index-{end_users}"), index).await?;
        let events = async || measure::events(&engine, end_users, &bar).await;
        rows.extend(stages.run(&format!("events-{end_users}"), events).await?);
        behind.push(rows);
    }
    engine.stop().await;

    let local = start(directory, None).await?;
    let mut all = Vec::new();
    for (&end_users, behind) in tenants.iter().zip(behind) {
        let caller = Caller::new(&local, &tenant(end_users))?;
        caller.settle().await?;
        let bar = bar(&end_users.to_string(), end_users.into());
        let naive = async || naive::page(local.client(), &tenant(end_users), end_users, &bar).await;
        let naive = stages.run(&format!("naive-{end_users}"), naive).await?;
        let mut counting = Vec::new();
        for order in measure::ORDERS.into_iter().filter(|_| measure::is_deep(end_users)) {
            let count = async || measure::count(&caller, end_users, order, &bar).await;
            counting.push(stages.run(&format!("count-{end_users}-{order}"), count).await?);
        }
        bar.set_length(0);
        let reads = async || measure::reads(&caller, end_users, &bar).await;
        let mut rows = stages.run(&format!("reads-{end_users}"), reads).await?;
        let writes = async || measure::writes(&caller, end_users, &bar).await;
        rows.extend(stages.run(&format!("writes-{end_users}"), writes).await?);
        rows.extend(behind);
        all.push(TenantReport { end_users, rows, counting, naive });
    }
    local.stop().await;
    Ok(all)
}

async fn measure_memory(
    stages: &Stages,
    directory: &Path,
    options: &Options,
) -> Outcome<Option<Vec<memory::Footprint>>> {
    let (Some(functions), Some(&end_users)) = (&options.functions, options.end_users.last()) else { return Ok(None) };
    let memory = async || {
        let local = start(directory, Some(functions.clone())).await?;
        let footprints = memory::measure(&Caller::new(&local, &tenant(end_users))?, end_users / 10 * 3).await;
        local.stop().await;
        footprints
    };
    Ok(Some(stages.run(&format!("memory-{end_users}"), memory).await?))
}

async fn measure_freshness(stages: &Stages, directory: &Path, options: &Options) -> Outcome<Vec<freshness::Freshness>> {
    let Some(&end_users) = options.end_users.last() else { return Ok(Vec::new()) };
    let mut all = Vec::new();
    for load in BTreeSet::from([0, options.load]) {
        let freshness = async || {
            let local = start(directory, None).await?;
            let caller = Caller::new(&local, &tenant(end_users))?;
            measure::clean(&caller, end_users).await?;
            let freshness = freshness::measure(&caller, load, &bar("freshness", 0)).await;
            measure::clean(&caller, end_users).await?;
            local.stop().await;
            freshness
        };
        all.push(stages.run(&format!("freshness-{end_users}-{load}"), freshness).await?);
    }
    Ok(all)
}

async fn measure_counting(stages: &Stages, data: &Path) -> Outcome<Vec<counting::Counted>> {
    let mut all = Vec::new();
    for orders in [0, 1, SortField::ALL.len()] {
        let directory = data.join("counting");
        let measure = async || counting::measure(&directory, orders, &bar("write cost", 0)).await;
        all.push(stages.run(&format!("counting-{orders}"), measure).await?);
    }
    Ok(all)
}
