//! A list without an index: read all end users of a tenant, sort them in memory, and return a page.

use std::time::Instant;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::{AttributeValue, ReturnConsumedCapacity};
use indicatif::ProgressBar;
use serde::{Deserialize, Serialize};
use shared::domain::ids::Tenant;
use shared::store::keys;

use crate::Result;
use crate::http::Cost;
use crate::system::TABLE;

/// The cost of a page without an index.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Naive {
    pub(crate) cost: Cost,
    pub(crate) seconds: f64,
}

/// Reads the middle page by last name.
pub(crate) async fn page(client: &Client, tenant: &Tenant, end_users: u32, bar: &ProgressBar) -> Result<Naive> {
    let started = Instant::now();
    let mut cost = Cost::default();
    let (mut all, mut start) = (Vec::new(), None);
    loop {
        let result = client
            .query()
            .table_name(TABLE)
            .key_condition_expression("pk = :pk")
            .expression_attribute_values(":pk", AttributeValue::S(keys::end_users(tenant)))
            .set_exclusive_start_key(start)
            // More than the 1 MB of a response. Without a limit the embedded engine reads the whole partition for each
            // response.
            .limit(3_000)
            .return_consumed_capacity(ReturnConsumedCapacity::Total)
            .send()
            .await?;
        cost.round_trips += 1.0;
        cost.read += result.consumed_capacity.and_then(|spent| spent.capacity_units).unwrap_or_default();
        for item in result.items.unwrap_or_default() {
            let profile = item.get("profile").and_then(|profile| profile.as_m().ok());
            let name = profile.and_then(|profile| profile.get("lastname")?.as_s().ok()).map(|name| name.to_lowercase());
            all.push((name, item.get("sk").and_then(|id| id.as_s().ok()).cloned()));
        }
        bar.set_position(all.len() as u64);
        start = result.last_evaluated_key;
        if start.is_none() {
            break;
        }
    }
    all.sort();
    let page = all.iter().skip(end_users as usize / 2).take(10).count();
    if page != 10 || all.len() != end_users as usize {
        return Err(format!("{} end users were read, {page} are on the page", all.len()).into());
    }
    Ok(Naive { cost, seconds: started.elapsed().as_secs_f64() })
}
