//! The id sequence of each tenant. Every request that creates end users or UIDs increments it.
//!
//! Every id is greater than all ids that any instance used before. So ids are unique, never reused, and ascending for a
//! client that creates one after another (docs/api.md, Conventions). A request that fails leaves a gap. Blocks of ids
//! per instance would save a round trip, but ids would not ascend when two instances serve one client.

use aws_sdk_dynamodb::types::ReturnValue;

use super::error::{ChangeError, StoreError, unreadable};
use super::items::{Document, primary_key};
use super::meter::CallKind;
use super::table::{number, string};
use super::{Scope, keys};
use crate::domain::end_user::{ConflictKind, PendingEndUser};
use crate::domain::ids::{EndUserId, UidId};

/// The ids that a request has taken. They are kept between its attempts.
#[derive(Default)]
pub(super) struct TakenIds {
    end_user: Option<EndUserId>,
    uids: Vec<UidId>,
}

impl Scope<'_> {
    /// Returns the id of the end user, and ids for its UIDs that have none. `id` is `None` for a new end user. Takes
    /// only ids that are not in `taken`, and none for an end user that is too large to be written.
    pub(super) async fn take_ids(
        &self,
        taken: &mut TakenIds,
        id: Option<EndUserId>,
        pending: &PendingEndUser,
    ) -> Result<(EndUserId, Vec<UidId>), ChangeError> {
        let end_users = u32::from(id.is_none() && taken.end_user.is_none());
        let uids = pending.missing_ids().saturating_sub(taken.uids.len()) as u32;
        if end_users + uids > 0 {
            pending.save_with_shortest_ids().map_err(ChangeError::Invalid)?;
            let (last_end_user, last_uid) = self.advance(end_users, uids).await?;
            if end_users > 0 {
                taken.end_user = EndUserId::new(last_end_user.into());
            }
            taken.uids.extend(((last_uid - uids)..last_uid).filter_map(|id| UidId::new(u64::from(id) + 1)));
        }
        let id = id.or(taken.end_user).ok_or(ConflictKind::IdsExhausted)?;
        Ok((id, taken.uids.clone()))
    }

    /// Whether `document`, which a transaction failed to create, exists: an attempt whose response was lost may have
    /// created it. If another end user has its id, forgets that the id was taken.
    pub(super) async fn is_created(&self, document: &Document, taken: &mut TakenIds) -> Result<bool, StoreError> {
        let stored = self.document(document.end_user.id).await?;
        if stored.is_some() {
            taken.end_user = None;
        }
        Ok(stored.as_ref() == Some(document))
    }

    /// Advances the tenant's counters and returns the last ids taken. If a counter would pass 2³¹-1, the greatest id,
    /// both stay as they are and the result is [`ConflictKind::IdsExhausted`].
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
            Err(failure) if failure.is_condition_failed() => return Err(ConflictKind::IdsExhausted.into()),
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
