//! Ids: a sequence per tenant, moved on by each request that creates.
//!
//! Every id is above all that were given out before it, by whatever instance: unique, never reused,
//! and ascending for a client that creates one after another. A request that fails leaves a gap.
//! Blocks of ids held by instances would save a round trip, and break just that promise as soon as
//! two instances serve one client.

use aws_sdk_dynamodb::types::{AttributeValue, ReturnConsumedCapacity, ReturnValue};

use super::{Item, Kind, Scope, StoreError, keys, primary};
use crate::domain::ids::{EndUserId, UidId};

impl Scope<'_> {
    /// An id for a new person, and ids for `uids` of its UIDs.
    pub(super) async fn new_end_user_ids(&self, uids: usize) -> Result<(EndUserId, Vec<UidId>), StoreError> {
        let (id, last_uid) = self.advance(1, uids as u32).await?;
        let id = EndUserId::new(id.into()).ok_or_else(exhausted)?;
        Ok((id, uid_ids(last_uid, uids as u32)?))
    }

    /// Ids for `uids` UIDs that join a person.
    pub(super) async fn new_uid_ids(&self, uids: usize) -> Result<Vec<UidId>, StoreError> {
        if uids == 0 {
            return Ok(Vec::new());
        }
        uid_ids(self.advance(0, uids as u32).await?.1, uids as u32)
    }

    /// Moves the tenant's counters on; answers the last ids given out.
    async fn advance(&self, end_users: u32, uids: u32) -> Result<(u32, u32), StoreError> {
        let number = |n: u32| AttributeValue::N(n.to_string());
        let request = self
            .client()
            .update_item()
            .table_name(self.table())
            .set_key(Some(primary(&keys::sequence(&self.tenant))))
            .update_expression("SET #kind = :kind, v = :one ADD endUsers :endUsers, uids :uids")
            .expression_attribute_names("#kind", "kind")
            .expression_attribute_values(":kind", AttributeValue::S("Sequence".to_owned()))
            .expression_attribute_values(":one", number(1))
            .expression_attribute_values(":endUsers", number(end_users))
            .expression_attribute_values(":uids", number(uids))
            .return_values(ReturnValue::AllNew)
            .return_consumed_capacity(ReturnConsumedCapacity::Total);
        // A reservation whose answer is lost is only a gap: nothing that a caller sees was written.
        let answer = self.call(Kind::Read, || request.clone().send()).await?;
        self.meter.spend(Kind::Write, &answer.consumed_capacity);
        let item = answer.attributes.unwrap_or_default();
        Ok((counter(&item, "endUsers")?, counter(&item, "uids")?))
    }
}

/// The ids up to `last`, `count` of them.
fn uid_ids(last: u32, count: u32) -> Result<Vec<UidId>, StoreError> {
    (last - count + 1..=last).map(|id| UidId::new(id.into()).ok_or_else(exhausted)).collect()
}

/// A counter of the sequence; it may reach 2³¹-1, the greatest id.
fn counter(item: &Item, name: &str) -> Result<u32, StoreError> {
    let number = item.get(name).and_then(|value| value.as_n().ok()).and_then(|n| n.parse().ok());
    number.filter(|n| *n <= i32::MAX as u32).ok_or_else(exhausted)
}

fn exhausted() -> StoreError {
    StoreError::Unexpected("a tenant has used up its ids".to_owned())
}
