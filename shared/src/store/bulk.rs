//! Items for bulk loading, for benchmarks. They are equal to the items that creating and indexing end users one by one
//! leaves; a test compares the two.

use aws_sdk_dynamodb::types::AttributeValue;

use super::error::StoreError;
use super::items::{self, Document, Item, primary_key};
use super::keys::{self, Key};
use super::{index, table};
use crate::domain::end_user::EndUser;
use crate::domain::ids::Tenant;

/// Returns the items of an end user at its first revision: document, pointers, entries and `IndexState`.
pub fn end_user_items(tenant: &Tenant, end_user: &EndUser) -> Result<Vec<Item>, StoreError> {
    let mut all: Vec<_> = items::records(tenant, &Document::new(end_user.clone()))?.into_values().collect();
    all.extend(index::index_items(tenant, end_user)?);
    Ok(all)
}

/// Returns the items of a tenant that has used the ids up to `end_users` and `uids`, and deleted no end user.
pub fn tenant_items(tenant: &Tenant, end_users: u32, uids: u32) -> Vec<Item> {
    let item = |key: &Key, kind: &str, numbers: &[(&str, u32)]| {
        let mut item = primary_key(key);
        item.insert("kind".to_owned(), AttributeValue::S(kind.to_owned()));
        let numbers = numbers.iter().chain(&[("v", 1)]);
        item.extend(numbers.map(|(name, value)| ((*name).to_owned(), table::number(value))));
        item
    };
    vec![
        item(&keys::count(tenant, 0), "Count", &[("endUsers", end_users)]),
        item(&keys::sequence(tenant), "Sequence", &[("endUsers", end_users), ("uids", uids)]),
    ]
}
