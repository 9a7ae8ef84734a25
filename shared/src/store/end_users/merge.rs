//! Merging two end users into one, and undoing that (docs/api.md, Merging).

use std::collections::BTreeSet;
use std::time::Duration;

use aws_sdk_dynamodb::types::TransactWriteItem;
use futures::TryStreamExt;
use futures::future::BoxFuture;
use serde::{Deserialize, Serialize};
use serde_dynamo::aws_sdk_dynamodb_1::{from_item, to_item};

use crate::domain::end_user::{
    Conflict, ConflictKind, EndUser, EndUserMerge, MAX_MERGE_DEPTH, MergePlan, MergeRecord, MergeUndo, Merged,
    Precondition, Unmerged,
};
use crate::domain::idempotency::IdempotencyKey;
use crate::domain::ids::{EndUserId, UidId};
use crate::domain::input::ValidationErrors;
use crate::domain::time::Timestamp;
use crate::store::claims::{UidPolicy, check_free};
use crate::store::error::{ChangeError, StoreError, unreadable};
use crate::store::idempotency::RETENTION;
use crate::store::items::{self, Document, Item, Remains, StoredResponse};
use crate::store::keys::{self, Key};
use crate::store::query::Query;
use crate::store::redirects::Redirect;
use crate::store::sequence::TakenIds;
use crate::store::table::{Write, delete_action, put_action};
use crate::store::{Idempotent, Scope};

/// How long a merge can be undone.
const UNDO_TIME: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// The most merges that a list of them has.
const MAX_MERGES: usize = 100;

/// The reason for a retry, for the log.
const CONFLICT: &str = "merge conflict";

/// The stored shape of what is kept to undo a merge.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct UndoItem {
    pk: String,
    sk: String,
    kind: String,
    v: u32,
    /// The document of the merged end user.
    document: Document,
    undo: MergeUndo,
    /// The survivor's [`Document::depth`] before the merge.
    survivor_depth: u32,
    /// The time of the merge in milliseconds since 1970.
    merged_at: u64,
    /// The number of merges into the merged end user, whose undos are kept in another partition.
    merges: u32,
    /// DynamoDB's TTL deletes the item some time later. Readers compare `merged_at`.
    expires_at: u64,
}

/// The time until which a merge at `merged_at` can be undone, in milliseconds since 1970.
fn undo_until(merged_at: u64) -> u64 {
    merged_at + UNDO_TIME.as_millis() as u64
}

fn timestamp(milliseconds: u64) -> Result<Timestamp, StoreError> {
    Timestamp::from_milliseconds(milliseconds).ok_or_else(|| unreadable("a time after the year 9999"))
}

impl Scope<'_> {
    /// Makes one end user part of another one if the latter's revision meets `precondition`, and with `idempotency_key`
    /// at most once. A dry run returns the result without writing it.
    pub async fn merge_end_users(
        &self,
        merge: EndUserMerge,
        precondition: &Precondition,
        idempotency_key: Option<&IdempotencyKey>,
    ) -> Result<Idempotent<Merged>, ChangeError> {
        let result = self.try_merge(merge, precondition, idempotency_key).await;
        self.stored_or(idempotency_key, result).await
    }

    async fn try_merge(
        &self,
        merge: EndUserMerge,
        precondition: &Precondition,
        idempotency_key: Option<&IdempotencyKey>,
    ) -> Result<Idempotent<Merged>, ChangeError> {
        let mut taken = TakenIds::default();
        let mut backoff = self.table.backoff(CONFLICT);
        loop {
            let documents = async { Ok(self.documents([merge.survivor, merge.other]).await?) };
            let (stored, mut documents) = tokio::try_join!(self.stored_response(idempotency_key), documents)?;
            if let Some(value) = stored {
                return Ok(Idempotent { value, replayed: true });
            }
            let survivor = match documents.remove(&merge.survivor) {
                Some(survivor) => survivor,
                None => self.existing_document(merge.survivor).await?,
            };
            let other = match documents.remove(&merge.other) {
                Some(other) => other,
                None => self.survivor(merge.other).await?.ok_or(ChangeError::NotFound)?,
            };
            if !precondition.is_met_by(survivor.end_user.revision()) {
                return Err(ChangeError::Stale);
            }
            let (id, other_id) = (survivor.end_user.id, other.end_user.id);
            if id == other_id {
                return Err(ConflictKind::AlreadyMerged.into());
            }

            let plan = MergePlan::new(&survivor.end_user, &other.end_user)?;
            let depth = survivor.depth.max(other.depth + 1);
            if depth > MAX_MERGE_DEPTH {
                let message =
                    format!("is the end of a chain of {MAX_MERGE_DEPTH} merges, which is the longest possible");
                return Err(ValidationErrors::single("endUserID", message).into());
            }
            let uid_ids = match merge.dry_run {
                true => self.next_uid_id().await?.into_iter().collect(),
                false => self.take_ids(&mut taken, Some(id), &plan.pending).await?.1,
            };
            let end_user = plan.pending.save(id, survivor.end_user.rev + 1, uid_ids)?;
            let merged_at = items::now_in_milliseconds();
            let value = Merged {
                end_user: end_user.clone(),
                other: other_id,
                changes: plan.changes.clone(),
                undo_until: timestamp(undo_until(merged_at))?,
            };
            if merge.dry_run {
                return Ok(Idempotent { value, replayed: false });
            }

            let redirect = Redirect { into: id, merge: survivor.merges + 1 };
            let undo = MergeUndo::new(&survivor.end_user, &end_user, &plan.changes);
            let mut after = Document { merges: redirect.merge, depth, ..Document::after(Some(&survivor), end_user) };
            after.adopt_responses(&other);
            let mut more = self.redirect_writes(redirect, &survivor, &other, undo, merged_at)?;
            more.extend(self.store_response(idempotency_key, &value, &mut after)?);
            let changes =
                vec![self.record_change(Some(&survivor), Some(&after))?, self.record_change(Some(&other), None)?];
            if self.write_records(changes, more).await? {
                return Ok(Idempotent { value, replayed: false });
            }
            backoff.wait().await?;
        }
    }

    /// The writes of the redirect of `other` and of what is kept to undo its merge.
    fn redirect_writes(
        &self,
        redirect: Redirect,
        survivor: &Document,
        other: &Document,
        undo: MergeUndo,
        merged_at: u64,
    ) -> Result<Vec<TransactWriteItem>, StoreError> {
        let merged = other.end_user.id;
        let Key { pk, sk } = keys::undo(&self.tenant, redirect.into, redirect.merge, merged);
        let item = UndoItem {
            pk,
            sk,
            kind: "Undo".to_owned(),
            v: 1,
            document: other.clone(),
            undo,
            survivor_depth: survivor.depth,
            merged_at,
            merges: other.merges,
            expires_at: undo_until(merged_at) / 1_000,
        };
        let redirect = redirect.item(keys::redirect(&self.tenant, merged))?;
        let puts = [redirect, to_item(item).map_err(unreadable)?].map(|item| self.table.put(item));
        puts.into_iter().map(|put| put_action(put.condition_expression("attribute_not_exists(pk)"))).collect()
    }

    /// Takes an end user out of the one that it was merged into, and with `idempotency_key` at most once.
    pub async fn unmerge_end_user(
        &self,
        id: EndUserId,
        idempotency_key: Option<&IdempotencyKey>,
    ) -> Result<Idempotent<Unmerged>, ChangeError> {
        let result = self.try_unmerge(id, idempotency_key).await;
        self.stored_or(idempotency_key, result).await
    }

    async fn try_unmerge(
        &self,
        id: EndUserId,
        idempotency_key: Option<&IdempotencyKey>,
    ) -> Result<Idempotent<Unmerged>, ChangeError> {
        let mut taken = TakenIds::default();
        let mut backoff = self.table.backoff(CONFLICT);
        loop {
            let redirect = async { Ok(self.redirect(id).await?) };
            let (stored, redirect) = tokio::try_join!(self.stored_response(idempotency_key), redirect)?;
            if let Some(value) = stored {
                return Ok(Idempotent { value, replayed: true });
            }
            let Redirect { into, merge } = redirect.ok_or(ChangeError::NotFound)?;
            let undo_key = keys::undo(&self.tenant, into, merge, id);
            let (survivor, undo, latest) =
                tokio::try_join!(self.document(into), self.table.get(undo_key.clone()), self.latest_merge(into))?;
            let Some(survivor) = survivor else {
                match self.survivor(into).await? {
                    None => return Err(ChangeError::NotFound),
                    Some(document) if document.end_user.id != into => return Err(later_merge(into)),
                    // The survivor's own merge was undone meanwhile.
                    Some(_) => backoff.wait().await?,
                }
                continue;
            };
            let undo = undo.map(|item| from_item::<UndoItem>(item).map_err(unreadable)).transpose()?;
            let undo = undo.filter(|undo| items::now_in_milliseconds() < undo_until(undo.merged_at));
            let undo = undo.ok_or(ChangeError::NotFound)?;
            if let Some(latest) = latest.filter(|latest| *latest != id) {
                return Err(later_merge(latest));
            }

            let merged = undo.document;
            let (end_user, pending) = undo.undo.apply(&survivor.end_user, &merged.end_user);
            let (_, uid_ids) = self.take_ids(&mut taken, Some(id), &pending).await?;
            let restored = pending.save(id, merged.end_user.rev + 1, uid_ids)?;
            let rev = survivor.end_user.rev + u64::from(end_user != survivor.end_user);
            let mut after = Document::after(Some(&survivor), EndUser { rev, ..end_user });
            after.depth = undo.survivor_depth;
            let value = Unmerged { end_user: restored.clone(), survivor: into };
            let mut other = Document { end_user: restored, version: merged.version + 1, ..merged };
            after.return_responses(&mut other, undo.merged_at);
            let claims = self.restored_claims(&survivor.end_user, &after.end_user, &other.end_user).await?;
            let Some(mut more) = claims else {
                backoff.wait().await?;
                continue;
            };
            more.extend(self.store_response(idempotency_key, &value, &mut other)?);
            for key in [keys::redirect(&self.tenant, id), undo_key] {
                more.push(delete_action(self.table.delete(&key).condition_expression("attribute_exists(pk)"))?);
            }
            let changes =
                vec![self.record_change(Some(&survivor), Some(&after))?, self.record_change(None, Some(&other))?];
            if self.write_records(changes, more).await? {
                return Ok(Idempotent { value, replayed: false });
            }
            backoff.wait().await?;
        }
    }

    /// The claims that `restored` needs under the exclusive policy when it is taken out of a survivor that was `before`
    /// and will be `after`; `None` after a conflict with another writer of a claim. Fails if the survivor or another end
    /// user would hold a key of it too.
    ///
    /// A merge leaves claims as they are. So the claim of a key that the survivor holds names the one or the other, and
    /// both while the merge is being undone: it is void at no time.
    async fn restored_claims(
        &self,
        before: &EndUser,
        after: &EndUser,
        restored: &EndUser,
    ) -> Result<Option<Vec<TransactWriteItem>>, ChangeError> {
        if self.policy == UidPolicy::Shared {
            return Ok(Some(Vec::new()));
        }
        let (keys, kept, held) = (restored.keys(), after.keys(), before.keys());
        let known = self.known_claims(&keys).await?;
        check_free(
            &keys,
            |key| {
                let mut holders = known.other_holders(key, Some(before.id));
                holders.extend(kept.contains(key).then_some(after.id));
                holders
            },
            |_| Vec::new(),
        )?;
        let (moved, gained): (BTreeSet<_>, BTreeSet<_>) = keys.into_iter().partition(|key| held.contains(key));
        for key in moved {
            let names_restored = known.claims.get(&key).is_some_and(|claim| claim.owners.contains(&restored.id));
            if !names_restored && !self.add_owner(&key, &known, restored.id).await? {
                return Ok(None);
            }
        }
        Ok(Some(self.claim_puts(&gained, &known, restored.id, &[before.id])?))
    }

    /// The end user of the latest merge into `survivor` that is not undone.
    async fn latest_merge(&self, survivor: EndUserId) -> Result<Option<EndUserId>, StoreError> {
        let query = Query { descending: true, limit: 1, projection: Some("sk"), ..self.undo_query(survivor) };
        self.table.query(query).await?.first().map(|item| items::read_id(item, "sk")).transpose()
    }

    /// The newest 100 merges into an end user that can be undone, newest first.
    pub async fn merge_records(&self, id: EndUserId) -> Result<Vec<MergeRecord>, ChangeError> {
        let query =
            Query { descending: true, limit: MAX_MERGES, projection: Some("sk, mergedAt"), ..self.undo_query(id) };
        let items = async { Ok(self.table.query(query).await?) };
        let (_, items) = tokio::try_join!(self.existing_document(id), items)?;
        let record = |item: &Item| {
            let merged_at = item.get("mergedAt").and_then(|at| at.as_n().ok()?.parse().ok());
            let merged_at: u64 = merged_at.ok_or_else(|| unreadable("an undo without its time"))?;
            let other = items::read_id(item, "sk")?;
            let (merged_at, until) = (timestamp(merged_at)?, timestamp(undo_until(merged_at))?);
            Ok(MergeRecord { other, merged_at, undo_until: until })
        };
        let now = timestamp(items::now_in_milliseconds())?;
        let records = items.iter().map(record).collect::<Result<Vec<_>, StoreError>>()?;
        Ok(records.into_iter().filter(|record| now < record.undo_until).collect())
    }

    /// Erases what a deleted end user leaves behind: stored responses, and what is kept to undo merges into it. Does
    /// nothing for a document that a merge removed. Idempotent. `index-end-users` calls it after each removal.
    pub async fn erase_remains(&self, id: EndUserId, remains: &Remains) -> Result<(), StoreError> {
        if self.survivor(id).await?.is_some() {
            return Ok(());
        }
        self.erase_responses(id, &remains.responses).await?;
        if remains.merges > 0 {
            self.erase_undos(id).await?;
        }
        Ok(())
    }

    /// Erases what is kept to undo the merges into `id` and, before that, into each of those end users. Merge chains are
    /// bounded, and so is the recursion.
    fn erase_undos(&self, id: EndUserId) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(async move {
            let mut pages = self.table.pages(Query { projection: Some("pk, sk, merges"), ..self.undo_query(id) });
            while let Some(page) = pages.try_next().await? {
                for item in &page.items {
                    let merges = item.get("merges").and_then(|merges| merges.as_n().ok());
                    if merges.is_some_and(|merges| merges != "0") {
                        self.erase_undos(items::read_id(item, "sk")?).await?;
                    }
                }
                let deletes = page.items.iter().map(|item| Ok(Write::Delete(items::read_key(item)?)));
                self.table.write_all(deletes.collect::<Result<_, StoreError>>()?).await?;
            }
            Ok(())
        })
    }

    fn undo_query(&self, survivor: EndUserId) -> Query {
        Query::table(keys::undos(&self.tenant, survivor)).strong()
    }

    /// The id that the next new UID of the tenant gets, if nothing else takes it.
    async fn next_uid_id(&self) -> Result<Option<UidId>, StoreError> {
        let sequence = self.table.get(keys::sequence(&self.tenant)).await?;
        let last = sequence.and_then(|item| item.get("uids")?.as_n().ok()?.parse::<u64>().ok());
        Ok(UidId::new(last.unwrap_or_default() + 1))
    }
}

fn later_merge(id: EndUserId) -> ChangeError {
    ChangeError::Conflict(Conflict::with(ConflictKind::LaterMerge, id))
}

impl Document {
    /// Lists the stored responses of an end user that becomes part of this one: the newest ones, if there are more than
    /// a document lists.
    fn adopt_responses(&mut self, other: &Self) {
        let of = other.end_user.id;
        let adopted =
            other.responses.iter().map(|response| StoredResponse { of: response.of.or(Some(of)), ..response.clone() });
        self.responses.extend(adopted);
        self.responses.sort_by_key(|response| response.until);
        self.responses.drain(..self.responses.len().saturating_sub(items::MAX_STORED_RESPONSES));
    }

    /// Returns the responses that were adopted from `other` to it. Lists those since the merge for both end users, because
    /// they contain data of both.
    fn return_responses(&mut self, other: &mut Self, merged_at: u64) {
        let own = |response: &StoredResponse| (response.digest.clone(), response.item);
        other.responses.retain(|response| self.responses.iter().any(|adopted| own(adopted) == own(response)));
        self.responses.retain(|adopted| !other.responses.iter().any(|response| own(adopted) == own(response)));
        let id = self.end_user.id;
        let since = self.responses.iter().filter(|response| response.until >= merged_at / 1_000 + RETENTION.as_secs());
        other
            .responses
            .extend(since.map(|response| StoredResponse { of: response.of.or(Some(id)), ..response.clone() }));
        other.responses.sort_by_key(|response| response.until);
        other.responses.drain(..other.responses.len().saturating_sub(items::MAX_STORED_RESPONSES));
    }
}
