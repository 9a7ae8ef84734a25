//! Writes of end users: create, update, assign and delete, each in one transaction.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use aws_sdk_dynamodb::error::SdkError;
use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::types::{ConditionCheck, TransactWriteItem, Update};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::domain::end_user::{AssignedUid, EndUser, EndUserUpdate, PendingEndUser, Precondition, UidAssignment};
use crate::domain::idempotency::IdempotencyKey;
use crate::domain::ids::EndUserId;
use crate::store::error::{ChangeError, StoreError, unreadable};
use crate::store::items::{self, Document, Item, primary_key};
use crate::store::keys::{self, Key};
use crate::store::sequence::TakenIds;
use crate::store::table::{delete_action, number, put_action, string};
use crate::store::{Idempotent, Scope};

/// What a change does with the id of an end user that was merged into another one.
#[derive(Clone, Copy)]
enum OnMerged {
    /// Fails with [`ChangeError::Merged`].
    Fail,
    /// Changes the end user that it is part of.
    Follow,
}

/// The reason for a retry of a whole change, for the log.
const CONFLICT: &str = "end user conflict";

impl Scope<'_> {
    /// Creates an end user, and with `idempotency_key` at most once.
    pub async fn create_end_user(
        &self,
        new: &PendingEndUser,
        idempotency_key: Option<&IdempotencyKey>,
    ) -> Result<Idempotent<EndUser>, ChangeError> {
        let mut taken = TakenIds::default();
        let mut backoff = self.table.backoff(CONFLICT);
        loop {
            let ids = self.take_ids(&mut taken, None, new);
            let (stored, (id, uid_ids)) = tokio::try_join!(self.stored_response(idempotency_key), ids)?;
            if let Some(value) = stored {
                return Ok(Idempotent { value, replayed: true });
            }
            let end_user = new.save(id, 1, uid_ids).map_err(ChangeError::Invalid)?;
            let mut document = Document::new(end_user.clone());
            let mut more = self.exclusive_claims(backoff.is_retry(), None, Some(&end_user), Some(new)).await?;
            more.extend(self.store_response(idempotency_key, &end_user, &mut document)?);
            let is_written = self.write_document(None, Some(&document), more).await?;
            if is_written || self.is_created(&document, &mut taken).await? {
                return Ok(Idempotent { value: end_user, replayed: false });
            }
            backoff.wait().await?;
        }
    }

    /// Updates an end user if its revision meets `precondition`.
    pub async fn update_end_user(
        &self,
        id: EndUserId,
        update: &EndUserUpdate,
        precondition: &Precondition,
    ) -> Result<(), ChangeError> {
        let apply = |end_user: &EndUser| match precondition.is_met_by(end_user.revision()) {
            true => update.apply(end_user).map_err(ChangeError::Invalid),
            false => Err(ChangeError::Stale),
        };
        self.update_with_retry(id, None, OnMerged::Fail, apply, |_, _| Some(())).await.map(|_| ())
    }

    /// Links a UID to an end user, and with `idempotency_key` at most once.
    pub async fn assign_uid(
        &self,
        assignment: &UidAssignment,
        idempotency_key: Option<&IdempotencyKey>,
    ) -> Result<Idempotent<AssignedUid>, ChangeError> {
        let apply = |end_user: &EndUser| assignment.apply(end_user).map_err(ChangeError::Invalid);
        let result = |before: &EndUser, after: &EndUser| assignment.result(before, after);
        let result =
            self.update_with_retry(assignment.end_user, idempotency_key, OnMerged::Follow, apply, result).await;
        self.stored_or(idempotency_key, result).await
    }

    /// Changes an end user, and after a conflict changes its new state again. Takes UID ids only for UIDs that the
    /// change adds. Returns `result` of the states before and after.
    async fn update_with_retry<T: Serialize + DeserializeOwned>(
        &self,
        id: EndUserId,
        idempotency_key: Option<&IdempotencyKey>,
        on_merged: OnMerged,
        change: impl Fn(&EndUser) -> Result<PendingEndUser, ChangeError>,
        result: impl Fn(&EndUser, &EndUser) -> Option<T>,
    ) -> Result<Idempotent<T>, ChangeError> {
        let mut taken = TakenIds::default();
        let mut backoff = self.table.backoff(CONFLICT);
        loop {
            let document = async { Ok(self.document(id).await?) };
            let (stored, document) = tokio::try_join!(self.stored_response(idempotency_key), document)?;
            if let Some(value) = stored {
                return Ok(Idempotent { value, replayed: true });
            }
            let document = match (document, on_merged) {
                (Some(document), _) => document,
                (None, OnMerged::Fail) => self.existing_document(id).await?,
                (None, OnMerged::Follow) => self.survivor(id).await?.ok_or(ChangeError::NotFound)?,
            };
            let before = &document.end_user;
            let changed = change(before)?;
            let (id, uid_ids) = self.take_ids(&mut taken, Some(before.id), &changed).await?;
            let mut after = changed.save(id, before.rev, uid_ids).map_err(ChangeError::Invalid)?;
            let is_changed = after != *before;
            after.rev += u64::from(is_changed);
            let value = result(before, &after).ok_or_else(|| unreadable("a change without its result"))?;
            if !is_changed && idempotency_key.is_none() {
                return Ok(Idempotent { value, replayed: false });
            }
            let is_retry = backoff.is_retry();
            let mut more = self.exclusive_claims(is_retry, Some(before), Some(&after), Some(&changed)).await?;
            let mut new = Document::after(Some(&document), after);
            more.extend(self.store_response(idempotency_key, &value, &mut new)?);
            if self.write_document(Some(&document), Some(&new), more).await? {
                return Ok(Idempotent { value, replayed: false });
            }
            backoff.wait().await?;
        }
    }

    /// Deletes an end user if its revision meets `precondition`.
    pub async fn delete_end_user(&self, id: EndUserId, precondition: &Precondition) -> Result<(), ChangeError> {
        let mut backoff = self.table.backoff(CONFLICT);
        loop {
            let before = self.document(id).await?.ok_or(ChangeError::NotFound)?;
            if !precondition.is_met_by(before.end_user.revision()) {
                return Err(ChangeError::Stale);
            }
            let claims = self.exclusive_claims(backoff.is_retry(), Some(&before.end_user), None, None).await?;
            if self.write_document(Some(&before), None, claims).await? {
                if let Err(error) = self.erase_responses(id, &before.responses).await {
                    tracing::warn!(%error, "stored responses are left to index-end-users");
                }
                return Ok(());
            }
            backoff.wait().await?;
        }
    }

    /// Writes the difference of two states of an end user, and `more`; see [`Self::write_records`].
    pub(in crate::store) async fn write_document(
        &self,
        before: Option<&Document>,
        after: Option<&Document>,
        more: Vec<TransactWriteItem>,
    ) -> Result<bool, StoreError> {
        self.write_records(vec![self.record_change(before, after)?], more).await
    }

    /// The difference of two states of an end user.
    pub(in crate::store) fn record_change(
        &self,
        before: Option<&Document>,
        after: Option<&Document>,
    ) -> Result<RecordChange, StoreError> {
        let records = |document: Option<&Document>| match document {
            Some(document) => items::records(&self.tenant, document),
            None => Ok(BTreeMap::new()),
        };
        let document = before.or(after).map(|document| keys::end_user(&self.tenant, document.end_user.id));
        Ok(RecordChange {
            document: document.ok_or_else(|| StoreError::Unexpected("a write without a document".to_owned()))?,
            version: before.map(|document| document.version),
            old: records(before)?,
            new: records(after)?,
        })
    }

    /// Writes changes of end users and of the number of end users, together with `more`, in one transaction on condition
    /// of each document's version. Returns `false` after a conflict: a stored document has another version, or a
    /// condition of `more` is not met.
    pub(in crate::store) async fn write_records(
        &self,
        changes: Vec<RecordChange>,
        more: Vec<TransactWriteItem>,
    ) -> Result<bool, StoreError> {
        let change =
            changes.iter().map(|change| i64::from(!change.new.is_empty()) - i64::from(!change.old.is_empty())).sum();
        let mut writes = Vec::new();
        for RecordChange { document, version, old, new } in &changes {
            writes.push(self.conditional_write(document, new, *version)?);
            for (_, item) in new.iter().filter(|(key, item)| *key != document && old.get(*key) != Some(*item)) {
                writes.push(put_action(self.table.put(item.clone()))?);
            }
            for key in old.keys().filter(|key| *key != document && !new.contains_key(*key)) {
                writes.push(delete_action(self.table.delete(key))?);
            }
        }
        writes.extend(more);
        let mut shard = self.count_shard.load(Ordering::Relaxed);
        let mut backoff = self.table.backoff("transaction cancelled");
        loop {
            let count = (change != 0_i64).then(|| self.count_change(shard, change)).transpose()?;
            let failure = match self.table.transact(writes.iter().cloned().chain(count).collect()).await {
                Ok(()) => {
                    self.count_shard.store(shard, Ordering::Relaxed);
                    return Ok(true);
                }
                Err(failure) => failure,
            };
            match cancellation(&failure.error, writes.len()) {
                // Not applied by an earlier attempt either, because all attempts have the same token.
                Some(Cancellation::Condition) => return Ok(false),
                // A conflict of the last attempt says nothing about an earlier one that got no response.
                Some(_) if failure.unanswered => return Err(failure.unknown()),
                Some(Cancellation::EndUser) => return Ok(false),
                // A random shard separates the writers that were in conflict.
                Some(Cancellation::Count) => shard = keys::random_count_shard(),
                Some(Cancellation::Throttled) => {}
                None => return Err(failure.into()),
            }
            backoff.wait().await?;
        }
    }

    /// The put or delete of a document, on condition that its version is `version`, or that it does not exist.
    fn conditional_write(
        &self,
        document: &Key,
        new: &BTreeMap<Key, Item>,
        version: Option<u64>,
    ) -> Result<TransactWriteItem, StoreError> {
        let condition = if version.is_some() { "version = :version" } else { "attribute_not_exists(pk)" };
        let values = version.map(version_value);
        match new.get(document) {
            Some(item) => {
                let put = self.table.put(item.clone()).condition_expression(condition);
                put_action(put.set_expression_attribute_values(values))
            }
            None => {
                let delete = self.table.delete(document).condition_expression(condition);
                delete_action(delete.set_expression_attribute_values(values))
            }
        }
    }

    /// The condition that an item is unchanged, as an action of a transaction: a document has this `version`, or any other
    /// item exists.
    pub(in crate::store) fn unchanged_check(
        &self,
        key: &Key,
        version: Option<u64>,
    ) -> Result<TransactWriteItem, StoreError> {
        let condition = if version.is_some() { "version = :version" } else { "attribute_exists(pk)" };
        let check = ConditionCheck::builder()
            .table_name(self.table.name)
            .set_key(Some(primary_key(key)))
            .condition_expression(condition)
            .set_expression_attribute_values(version.map(version_value))
            .build()
            .map_err(unreadable)?;
        Ok(TransactWriteItem::builder().condition_check(check).build())
    }

    /// The update of a counter shard as an action of a transaction.
    fn count_change(&self, shard: u32, change: i64) -> Result<TransactWriteItem, StoreError> {
        let update = Update::builder()
            .table_name(self.table.name)
            .set_key(Some(primary_key(&keys::count(&self.tenant, shard))))
            .update_expression("SET #kind = :kind, v = :one ADD endUsers :change")
            .expression_attribute_names("#kind", "kind")
            .expression_attribute_values(":kind", string("Count"))
            .expression_attribute_values(":one", number(1))
            .expression_attribute_values(":change", number(change))
            .build()
            .map_err(unreadable)?;
        Ok(TransactWriteItem::builder().update(update).build())
    }
}

/// A change of the stored records of one end user.
pub(in crate::store) struct RecordChange {
    /// The key of the document.
    pub document: Key,
    /// The version of the stored document; `None` if there is none.
    pub version: Option<u64>,
    /// The stored records; empty for a new end user.
    pub old: BTreeMap<Key, Item>,
    /// The records after the change; empty if the end user is removed.
    pub new: BTreeMap<Key, Item>,
}

fn version_value(version: u64) -> Item {
    Item::from([(":version".to_owned(), number(version))])
}

/// The reason why DynamoDB cancelled a transaction.
enum Cancellation {
    /// The end user or the stored response does not meet its condition.
    Condition,
    /// A concurrent transaction writes the end user or the stored response.
    EndUser,
    /// A concurrent transaction writes the counter shard.
    Count,
    Throttled,
}

/// The reason why a transaction was cancelled. Its first `count` actions are those of the end user, and the next one is
/// the counter's. `None` for any other error.
fn cancellation(error: &SdkError<TransactWriteItemsError>, count: usize) -> Option<Cancellation> {
    let Some(TransactWriteItemsError::TransactionCanceledException(cancelled)) = error.as_service_error() else {
        return None;
    };
    let reasons: Vec<_> =
        cancelled.cancellation_reasons().iter().map(|reason| reason.code().unwrap_or("None")).collect();
    let (end_user, counter) = reasons.split_at(count.min(reasons.len()));
    let throttled = |code: &&str| matches!(*code, "ThrottlingError" | "ProvisionedThroughputExceeded");
    if end_user.contains(&"ConditionalCheckFailed") {
        return Some(Cancellation::Condition);
    }
    if end_user.contains(&"TransactionConflict") {
        return Some(Cancellation::EndUser);
    }
    if counter.contains(&"TransactionConflict") {
        return Some(Cancellation::Count);
    }
    reasons.iter().any(throttled).then_some(Cancellation::Throttled)
}
