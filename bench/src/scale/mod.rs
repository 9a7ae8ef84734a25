//! The cost and latency of each request in tenants of increasing size, which share one database.

mod contention;
mod freshness;
mod measure;
mod memory;
mod naive;
mod orders;
mod rank_indexes;
mod report;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use clap::Args;
use shared::domain::end_user::SortField;

use crate::http::ApiClient;
use crate::stages::Stages;
use crate::system::{Engine, TABLE, bar, start, tenant};
use crate::{Result, load};
use report::{Report, TenantReport};

/// The options of the benchmark.
#[derive(Args)]
pub(crate) struct Options {
    /// The numbers of end users of the tenants, ascending.
    #[arg(long, value_delimiter = ',', default_value = "1000,10000,100000,1000000")]
    end_users: Vec<u32>,
    /// The directory of data and results. Stages with a result are skipped.
    #[arg(long, default_value = "target/bench/scale")]
    data: PathBuf,
    /// Starts over: empties the directory first.
    #[arg(long)]
    fresh: bool,
    /// The built functions (cargo-lambda's target/lambda). With them the memory of the largest search is measured too.
    #[arg(long, value_name = "DIR")]
    functions: Option<PathBuf>,
    /// The creates per second while freshness is measured under load. With 0 it is measured idle only.
    #[arg(long, default_value_t = 50)]
    load: u32,
    /// Writes docs/benchmarks/scale.md and docs/benchmarks/scale.svg.
    #[arg(long)]
    write: bool,
}

/// Runs all stages that have no result yet.
pub(crate) async fn run(options: Options) -> Result<()> {
    let stages = Stages::open(&options.data, options.fresh)?;
    let tenants = options.data.join("tenants");
    let report = Report {
        loads: load_all(&stages, &tenants, &options.end_users).await?,
        tenants: measure_all(&stages, &tenants, &options.end_users).await?,
        memory: measure_memory(&stages, &tenants, &options).await?,
        freshness: measure_freshness(&stages, &tenants, &options).await?,
        rank_indexes: measure_rank_indexes(&stages, &options.data).await?,
        contention: {
            let directory = options.data.join("contention");
            let mut all = Vec::new();
            for instances in [16, 1] {
                let measure = async || contention::measure(&directory, instances, &bar("contention", 0)).await;
                all.push(stages.run(&format!("contention-{instances}"), measure).await?);
            }
            all
        },
    };
    report.publish(options.write)
}

async fn load_all(stages: &Stages, directory: &Path, tenants: &[u32]) -> Result<Vec<load::Loaded>> {
    // A start creates the table.
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

async fn measure_all(stages: &Stages, directory: &Path, tenants: &[u32]) -> Result<Vec<TenantReport>> {
    // The cost of indexing is measured before any rank index exists.
    let mut index_rows = Vec::new();
    let engine = Engine::open(directory)?;
    for &end_users in tenants {
        let bar = bar("index", 0);
        let index = async || measure::index(&engine, &tenant(end_users), &bar).await;
        let mut rows = stages.run(&format!("index-{end_users}"), index).await?;
        let events = async || measure::events(&engine, end_users, &bar).await;
        rows.extend(stages.run(&format!("events-{end_users}"), events).await?);
        index_rows.push(rows);
    }
    engine.stop().await;

    let local = start(directory, None).await?;
    let mut all = Vec::new();
    for (&end_users, index_rows) in tenants.iter().zip(index_rows) {
        let api = ApiClient::new(&local, &tenant(end_users))?;
        api.settle().await?;
        let bar = bar(&end_users.to_string(), end_users.into());
        let naive = async || naive::page(local.client(), &tenant(end_users), end_users, &bar).await;
        let naive = stages.run(&format!("naive-{end_users}"), naive).await?;
        let mut builds = Vec::new();
        for order in measure::ORDERS.into_iter().filter(|_| measure::is_deep(end_users)) {
            let build = async || measure::build(&api, end_users, order, &bar).await;
            builds.push(stages.run(&format!("count-{end_users}-{order}"), build).await?);
        }
        bar.set_length(0);
        let reads = async || measure::reads(&api, end_users, &bar).await;
        let mut rows = stages.run(&format!("reads-{end_users}"), reads).await?;
        let writes = async || measure::writes(&api, end_users, &bar).await;
        rows.extend(stages.run(&format!("writes-{end_users}"), writes).await?);
        rows.extend(index_rows);
        all.push(TenantReport { end_users, rows, builds, naive });
    }
    local.stop().await;
    Ok(all)
}

async fn measure_memory(
    stages: &Stages,
    directory: &Path,
    options: &Options,
) -> Result<Option<Vec<memory::Footprint>>> {
    let (Some(functions), Some(&end_users)) = (&options.functions, options.end_users.last()) else { return Ok(None) };
    let memory = async || {
        let local = start(directory, Some(functions.clone())).await?;
        let footprints = memory::measure(&ApiClient::new(&local, &tenant(end_users))?, end_users / 10 * 3).await;
        local.stop().await;
        footprints
    };
    Ok(Some(stages.run(&format!("memory-{end_users}"), memory).await?))
}

async fn measure_freshness(stages: &Stages, directory: &Path, options: &Options) -> Result<Vec<freshness::Freshness>> {
    let Some(&end_users) = options.end_users.last() else { return Ok(Vec::new()) };
    let mut all = Vec::new();
    for load in BTreeSet::from([0, options.load]) {
        let freshness = async || {
            let local = start(directory, None).await?;
            let api = ApiClient::new(&local, &tenant(end_users))?;
            measure::clean(&api, end_users).await?;
            let freshness = freshness::measure(&api, load, &bar("freshness", 0)).await;
            measure::clean(&api, end_users).await?;
            local.stop().await;
            freshness
        };
        all.push(stages.run(&format!("freshness-{end_users}-{load}"), freshness).await?);
    }
    Ok(all)
}

async fn measure_rank_indexes(stages: &Stages, data: &Path) -> Result<Vec<rank_indexes::IndexingCost>> {
    let mut all = Vec::new();
    for orders in [0, 1, SortField::ALL.len()] {
        let directory = data.join("rank-indexes");
        let measure = async || rank_indexes::measure(&directory, orders, &bar("write cost", 0)).await;
        all.push(stages.run(&format!("rank-indexes-{orders}"), measure).await?);
    }
    Ok(all)
}
