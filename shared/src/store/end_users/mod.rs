//! End users: reading one, writing, finding by UID, listing and searching.

mod find;
mod list;
mod merge;
mod search;
mod upsert;
mod write;

use std::collections::BTreeMap;

pub use list::{ListOrder, Listed};
pub(super) use write::RecordChange;

use super::Scope;
use super::error::StoreError;
use super::items::{self, Document, Item};
use super::keys;
use super::query::Query;
use crate::domain::end_user::EndUser;
use crate::domain::ids::EndUserId;

impl Scope<'_> {
    /// The document of an end user as it is now.
    pub(super) async fn document(&self, id: EndUserId) -> Result<Option<Document>, StoreError> {
        self.table.get(keys::end_user(&self.tenant, id)).await?.map(items::read_document).transpose()
    }

    /// The end users with these ids as they are now, without the missing ones.
    pub(super) async fn end_users(
        &self,
        ids: impl IntoIterator<Item = EndUserId>,
    ) -> Result<BTreeMap<EndUserId, EndUser>, StoreError> {
        let documents = self.documents(ids).await?.into_iter();
        Ok(documents.map(|(id, document)| (id, document.end_user)).collect())
    }

    /// The number of the tenant's end users.
    pub(super) async fn count(&self) -> Result<u64, StoreError> {
        let limit = keys::COUNT_SHARDS as usize;
        let shards = self.table.query(Query { limit, ..Query::table(keys::counts(&self.tenant)).strong() }).await?;
        let number = |item: &Item| item.get("endUsers")?.as_n().ok()?.parse::<i64>().ok();
        // A shard can be negative, because an end user's creation and deletion may be counted on different shards. Only
        // the sum is meaningful.
        let sum: i64 = shards.iter().filter_map(number).sum();
        Ok(sum.max(0).unsigned_abs())
    }
}
