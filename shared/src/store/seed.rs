//! What loading in bulk writes past the API, for benchmarks: the very items that creating and indexing
//! end users one by one leaves. A test holds the two together.

use aws_sdk_dynamodb::types::AttributeValue;

use super::items::Document;
use super::keys::{self, Key};
use super::{Item, StoreError, index, items, primary};
use crate::domain::end_user::EndUser;
use crate::domain::ids::Tenant;

/// The items of an end user at its first revision: document, pointers, entries, `Indexed`.
pub fn end_user_items(tenant: &Tenant, end_user: &EndUser) -> Result<Vec<Item>, StoreError> {
    let mut all: Vec<_> = items::records(tenant, &Document::new(end_user.clone()))?.into_values().collect();
    all.extend(index::index_items(tenant, end_user)?);
    Ok(all)
}

/// The items of a tenant who has given out the ids up to `end_users` and `uids`, and deleted nobody.
pub fn tenant_items(tenant: &Tenant, end_users: u32, uids: u32) -> Vec<Item> {
    let item = |key: &Key, kind: &str, numbers: &[(&str, u32)]| {
        let mut item = primary(key);
        item.insert("kind".to_owned(), AttributeValue::S(kind.to_owned()));
        let numbers = numbers.iter().chain(&[("v", 1)]);
        item.extend(numbers.map(|(name, n)| ((*name).to_owned(), AttributeValue::N(n.to_string()))));
        item
    };
    vec![
        item(&keys::count(tenant, 0), "Count", &[("people", end_users)]),
        item(&keys::sequence(tenant), "Sequence", &[("endUsers", end_users), ("uids", uids)]),
    ]
}
