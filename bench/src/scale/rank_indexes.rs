//! The cost of indexing with no, one and all rank indexes.

use std::path::Path;

use indicatif::ProgressBar;
use serde::{Deserialize, Serialize};
use serde_json::json;
use shared::app::App;
use shared::domain::end_user::{EndUserUpdate, Precondition, SortField};
use shared::domain::ids::{EndUserId, Tenant};
use shared::domain::input::Json;
use shared::store::Meter;

use crate::Result;
use crate::end_users;
use crate::http::Cost;
use crate::system::{self, Engine, scope};

/// The number of end users before the measurement.
const END_USERS: u32 = 1_000;
/// The end users per batch of the stream, and the repetitions of each measurement.
const BATCH: usize = 100;

/// The average cost of indexing one end user.
#[derive(Serialize, Deserialize, Clone)]
pub(crate) struct IndexingCost {
    /// The number of orders with a rank index.
    pub(crate) orders: usize,
    pub(crate) create_alone: Cost,
    pub(crate) create_in_batch: Cost,
    pub(crate) update_alone: Cost,
    pub(crate) update_in_batch: Cost,
}

/// Measures with rank indexes of this number of orders.
pub(crate) async fn measure(directory: &Path, orders: usize, bar: &ProgressBar) -> Result<IndexingCost> {
    let engine = Engine::fresh(directory).await?;
    let app = engine.app()?;
    let tenant = system::tenant(END_USERS);
    create(&app, &tenant, 1, END_USERS, bar).await.map(drop)?;
    // Starts with the last name, the order that an update of one name changes.
    let mut fields = SortField::ALL;
    fields.sort_by_key(|field| field.name() != "lastname");
    for field in fields.into_iter().take(orders) {
        build(&app, &tenant, field).await?;
    }
    let alone = create(&app, &tenant, END_USERS + 1, BATCH as u32, bar).await?;
    let create_alone = index(&app, &tenant, alone.iter().map(std::slice::from_ref)).await?;
    rename(&app, &tenant, &alone).await?;
    let update_alone = index(&app, &tenant, alone.iter().map(std::slice::from_ref)).await?;
    let batch = create(&app, &tenant, END_USERS + 1 + BATCH as u32, BATCH as u32, bar).await?;
    let create_in_batch = index(&app, &tenant, [&batch[..]]).await?;
    rename(&app, &tenant, &batch).await?;
    let update_in_batch = index(&app, &tenant, [&batch[..]]).await?;
    engine.stop().await;
    Ok(IndexingCost { orders, create_alone, create_in_batch, update_alone, update_in_batch })
}

/// Builds the rank index of an order.
async fn build(app: &App, tenant: &Tenant, field: SortField) -> Result<()> {
    let meter = Meter::default();
    let scope = scope(app, tenant, &meter);
    scope.start_build(field).await?;
    // One call reads one page of entries, which is enough for a tenant of this size.
    scope.build_next(field).await?;
    Ok(())
}

/// Creates end users from the number `first` on. The initial ones are indexed too.
async fn create(app: &App, tenant: &Tenant, first: u32, count: u32, bar: &ProgressBar) -> Result<Vec<EndUserId>> {
    let meter = Meter::default();
    let mut ids = Vec::new();
    for number in first..first + count {
        let new = end_users::parse(&end_users::body(number))?;
        let created = scope(app, tenant, &meter).create_end_user(&new, None).await;
        ids.push(created.map_err(|error| format!("{error:?}"))?.value.id);
        bar.inc(1);
    }
    if first == 1 {
        index(app, tenant, ids.chunks(BATCH)).await?;
    }
    Ok(ids)
}

/// Changes the last name of all end users.
async fn rename(app: &App, tenant: &Tenant, end_users: &[EndUserId]) -> Result<()> {
    let meter = Meter::default();
    for id in end_users {
        let body = json!({ "lastname": format!("Renamed{id}") }).to_string();
        let body = Json::parse(body.as_bytes()).map_err(|_| "not JSON")?;
        let update = EndUserUpdate::read(&body, None).map_err(|errors| format!("{errors:?}"))?;
        let updated = scope(app, tenant, &meter).update_end_user(*id, &update, &Precondition::default()).await;
        updated.map_err(|error| format!("{error:?}"))?;
    }
    Ok(())
}

/// Indexes each batch. Returns the average cost per end user, with the most round trips of a batch.
async fn index<'a>(app: &App, tenant: &Tenant, batches: impl IntoIterator<Item = &'a [EndUserId]>) -> Result<Cost> {
    let (mut sum, mut end_users) = (Cost::default(), 0.0);
    for batch in batches {
        let meter = Meter::default();
        scope(app, tenant, &meter).index_end_users(batch.iter().copied()).await?;
        let cost = Cost::from(meter.cost());
        sum.round_trips = sum.round_trips.max(cost.round_trips);
        sum.read += cost.read;
        sum.write += cost.write;
        end_users += batch.len() as f64;
    }
    Ok(Cost { read: sum.read / end_users, write: sum.write / end_users, ..sum })
}
