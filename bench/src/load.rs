//! Loads end users into the embedded engine's file without the API. The items are the same as after creating and
//! indexing the end users one by one.

use std::path::Path;
use std::sync::mpsc::sync_channel;
use std::time::Instant;

use aws_sdk_dynamodb::types::AttributeValue as Value;
use dynoxide::types::AttributeValue;
use dynoxide::{Database, ImportOptions};
use indicatif::ProgressBar;
use serde::{Deserialize, Serialize};
use serde_json::json;
use shared::domain::ids::Tenant;
use shared::store::{Item, end_user_items, keys, tenant_items};

use crate::end_users;
use crate::{Error, Result};

/// The end users per transaction of the engine: the most that a kill undoes.
const BATCH: u32 = 5_000;

/// The result of loading a tenant.
#[derive(Serialize, Deserialize, Clone)]
pub(crate) struct Loaded {
    pub(crate) end_users: u32,
    /// End users per second since the last start.
    pub(crate) rate: f64,
    /// The size of the database file afterwards, with all tenants.
    pub(crate) file_bytes: u64,
}

type StoredItem = dynoxide::types::Item;

/// Loads the end users of a tenant that are not loaded yet, up to the number `all`.
pub(crate) fn load(directory: &Path, table: &str, tenant: &Tenant, all: u32, bar: &ProgressBar) -> Result<Loaded> {
    let database = local::open_engine(directory)?;
    database.enable_bulk_loading()?;
    let first = highest(&database, table, tenant)? + 1;
    bar.set_position(u64::from(first - 1));
    bar.reset_eta();
    let started = Instant::now();
    // Items are built while others are written.
    let (batches, made) = sync_channel::<Result<(u32, Vec<StoredItem>)>>(1);
    let owner = tenant.clone();
    let maker = std::thread::spawn(move || {
        for start in (first..=all).step_by(BATCH as usize) {
            let end = all.min(start + BATCH - 1);
            // The receiver is dropped if an import failed.
            if batches.send(make(&owner, start, end).map(|items| (end, items))).is_err() {
                return;
            }
        }
    });
    for batch in made {
        let (end, items) = batch?;
        import(&database, table, items, false)?;
        bar.set_position(u64::from(end));
    }
    maker.join().map_err(|_| "the thread that builds items panicked")?;
    let items = tenant_items(tenant, all, 2 * all).into_iter().map(stored).collect::<Result<_>>()?;
    import(&database, table, items, false)?;
    database.disable_bulk_loading()?;
    let rate = f64::from(all + 1 - first) / started.elapsed().as_secs_f64();
    Ok(Loaded { end_users: all, rate, file_bytes: database.db_size_bytes()? })
}

/// Writes items in one transaction. With `records`, each also adds a record to the table's stream.
pub(crate) fn import(database: &Database, table: &str, items: Vec<StoredItem>, records: bool) -> Result<()> {
    database.import_items(table, items, ImportOptions { record_streams: records, ..ImportOptions::default() })?;
    Ok(())
}

/// The items of end users, sorted by key, so that neighbours in the file are written together.
fn make(tenant: &Tenant, start: u32, end: u32) -> Result<Vec<StoredItem>> {
    let mut items = Vec::new();
    for number in start..=end {
        items.extend(end_user_items(tenant, &end_users::end_user(number)?)?);
    }
    items.sort_by_cached_key(|item| (key(item, "pk"), key(item, "sk")));
    items.into_iter().map(stored).collect()
}

fn key(item: &Item, name: &str) -> Option<String> {
    item.get(name).and_then(|value| value.as_s().ok()).cloned()
}

/// Converts an item to the type of the engine's library.
pub(crate) fn stored(item: Item) -> Result<StoredItem> {
    item.into_iter().map(|(name, value)| Ok((name, convert(value)?))).collect()
}

fn convert(value: Value) -> Result<AttributeValue> {
    Ok(match value {
        Value::S(text) => AttributeValue::S(text),
        Value::N(number) => AttributeValue::N(number),
        Value::Bool(truth) => AttributeValue::BOOL(truth),
        Value::Null(null) => AttributeValue::NULL(null),
        Value::L(list) => AttributeValue::L(list.into_iter().map(convert).collect::<Result<_>>()?),
        Value::M(map) => AttributeValue::M(stored(map)?),
        value => return Err(Error::from(format!("unexpected attribute value: {value:?}"))),
    })
}

/// The highest id of a tenant's documents; 0 if there are none.
fn highest(database: &Database, table: &str, tenant: &Tenant) -> Result<u32> {
    let query = json!({
        "TableName": table, "KeyConditionExpression": "pk = :pk", "ScanIndexForward": false, "Limit": 1,
        "ExpressionAttributeValues": { ":pk": { "S": keys::end_users(tenant) } },
    });
    let result = database.query(serde_json::from_value(query)?)?;
    let last = result.items.unwrap_or_default().pop().unwrap_or_default();
    match last.get("sk") {
        Some(AttributeValue::S(id)) => Ok(id.parse()?),
        _ => Ok(0),
    }
}
