//! Ids: a sequence per tenant, moved on by each request that creates.
//!
//! Every id is above all that were given out before it, by whatever instance: unique, never reused,
//! and ascending for a client that creates one after another. A request that fails leaves a gap.
//! Blocks of ids held by instances would save a round trip, and break just that promise as soon as
//! two instances serve one client.

use aws_sdk_dynamodb::types::{AttributeValue, ReturnConsumedCapacity, ReturnValue};

use super::{ChangeError, Kind, Scope, keys, primary, unreadable};
use crate::domain::ids::{EndUserId, UidId};

impl Scope<'_> {
    /// An id for a new end user, and ids for `uids` of its UIDs.
    pub(super) async fn new_end_user_ids(&self, uids: usize) -> Result<(EndUserId, Vec<UidId>), ChangeError> {
        let (id, last_uid) = self.advance(1, uids as u32).await?;
        let id = EndUserId::new(id.into()).ok_or(ChangeError::IdsExhausted)?;
        Ok((id, uid_ids(last_uid, uids as u32)))
    }

    /// Ids for `uids` new UIDs of an end user.
    pub(super) async fn new_uid_ids(&self, uids: usize) -> Result<Vec<UidId>, ChangeError> {
        let (_, last) = self.advance(0, uids as u32).await?;
        Ok(uid_ids(last, uids as u32))
    }

    /// Advances the tenant's counters and returns the last ids taken. A counter that would pass 2³¹-1, the greatest id,
    /// stays as it is: [`ChangeError::IdsExhausted`].
    async fn advance(&self, end_users: u32, uids: u32) -> Result<(u32, u32), ChangeError> {
        let number = |n: u32| AttributeValue::N(n.to_string());
        let request = self
            .client()
            .update_item()
            .table_name(self.table())
            .set_key(Some(primary(&keys::sequence(&self.tenant))))
            .update_expression("SET #kind = :kind, v = :one ADD endUsers :endUsers, uids :uids")
            .condition_expression("attribute_not_exists(pk) OR (endUsers <= :lastEndUsers AND uids <= :lastUids)")
            .expression_attribute_names("#kind", "kind")
            .expression_attribute_values(":kind", AttributeValue::S("Sequence".to_owned()))
            .expression_attribute_values(":one", number(1))
            .expression_attribute_values(":endUsers", number(end_users))
            .expression_attribute_values(":uids", number(uids))
            .expression_attribute_values(":lastEndUsers", number(EndUserId::MAX.get() - end_users))
            .expression_attribute_values(":lastUids", number(UidId::MAX.get() - uids))
            .return_values(ReturnValue::AllNew)
            .return_consumed_capacity(ReturnConsumedCapacity::Total);
        // A reservation whose response is lost leaves a gap and nothing else.
        let answer = match self.call(Kind::Read, || request.clone().send()).await {
            Ok(answer) => answer,
            Err(failure) if failure.is_condition_failed() => return Err(ChangeError::IdsExhausted),
            Err(failure) => return Err(ChangeError::Store(failure.into())),
        };
        self.meter.spend(Kind::Write, &answer.consumed_capacity);
        let item = answer.attributes.unwrap_or_default();
        let counter = |name: &str| {
            let number = item.get(name).and_then(|value| value.as_n().ok()).and_then(|n| n.parse().ok());
            number.ok_or_else(|| unreadable("a sequence without its counters"))
        };
        Ok((counter("endUsers")?, counter("uids")?))
    }
}

/// The ids up to `last`, `count` of them.
fn uid_ids(last: u32, count: u32) -> Vec<UidId> {
    ((last - count)..last).filter_map(|id| UidId::new(u64::from(id) + 1)).collect()
}
