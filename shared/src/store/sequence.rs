//! The id sequence of each tenant. Every request that creates end users or UIDs increments it.
//!
//! Every id is greater than all ids that any instance used before. So ids are unique, never reused, and ascending for a
//! client that creates one after another (docs/api.md, Conventions). A request that fails leaves a gap. Blocks of ids
//! per instance would save a round trip, but ids would not ascend when two instances serve one client.

use aws_sdk_dynamodb::types::ReturnValue;

use super::error::{ChangeError, unreadable};
use super::items::primary_key;
use super::meter::CallKind;
use super::table::{number, string};
use super::{Scope, keys};
use crate::domain::ids::{EndUserId, UidId};

impl Scope<'_> {
    /// Takes an id for a new end user, and ids for `uids` of its UIDs.
    pub(super) async fn new_end_user_ids(&self, uids: usize) -> Result<(EndUserId, Vec<UidId>), ChangeError> {
        let (id, last_uid) = self.advance(1, uids as u32).await?;
        let id = EndUserId::new(id.into()).ok_or(ChangeError::IdsExhausted)?;
        Ok((id, uid_ids(last_uid, uids as u32)))
    }

    /// Takes ids for `uids` new UIDs of an end user.
    pub(super) async fn new_uid_ids(&self, uids: usize) -> Result<Vec<UidId>, ChangeError> {
        let (_, last) = self.advance(0, uids as u32).await?;
        Ok(uid_ids(last, uids as u32))
    }

    /// Advances the tenant's counters and returns the last ids taken. If a counter would pass 2³¹-1, the greatest id,
    /// both stay as they are and the result is [`ChangeError::IdsExhausted`].
    async fn advance(&self, end_users: u32, uids: u32) -> Result<(u32, u32), ChangeError> {
        let request = self
            .table
            .update(primary_key(&keys::sequence(&self.tenant)))
            .update_expression("SET #kind = :kind, v = :one ADD endUsers :endUsers, uids :uids")
            .condition_expression("attribute_not_exists(pk) OR (endUsers <= :lastEndUsers AND uids <= :lastUids)")
            .expression_attribute_names("#kind", "kind")
            .expression_attribute_values(":kind", string("Sequence"))
            .expression_attribute_values(":one", number(1))
            .expression_attribute_values(":endUsers", number(end_users))
            .expression_attribute_values(":uids", number(uids))
            .expression_attribute_values(":lastEndUsers", number(EndUserId::MAX.get() - end_users))
            .expression_attribute_values(":lastUids", number(UidId::MAX.get() - uids))
            .return_values(ReturnValue::AllNew);
        // Called as a read, because a lost response does not make the outcome unknown: it leaves a gap and nothing
        // else.
        let output = match self.table.call(CallKind::Read, || request.clone().send()).await {
            Ok(output) => output,
            Err(failure) if failure.is_condition_failed() => return Err(ChangeError::IdsExhausted),
            Err(failure) => return Err(ChangeError::Store(failure.into())),
        };
        self.table.meter.spend(CallKind::Write, &output.consumed_capacity);
        let item = output.attributes.unwrap_or_default();
        let counter = |name: &str| {
            let number = item.get(name).and_then(|value| value.as_n().ok()).and_then(|n| n.parse().ok());
            number.ok_or_else(|| unreadable("a sequence without its counters"))
        };
        Ok((counter("endUsers")?, counter("uids")?))
    }
}

/// The last `count` ids up to `last`.
fn uid_ids(last: u32, count: u32) -> Vec<UidId> {
    ((last - count)..last).filter_map(|id| UidId::new(u64::from(id) + 1)).collect()
}
