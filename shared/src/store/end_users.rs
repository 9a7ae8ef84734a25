//! End users: create, read, update, delete, find by UID, list and search.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::Ordering;

use aws_sdk_dynamodb::error::SdkError;
use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::types::{AttributeValue, Delete, Put, ReturnConsumedCapacity, TransactWriteItem, Update};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::call::Failure;
use super::items::Document;
use super::keys::{self, Key};
use super::rank::{RankState, Seek};
use super::{
    Bound, Idempotent, Item, Kind, Query, Scope, StoreError, items, primary, random_shard, random_u64,
    try_concurrently, unreadable,
};
use crate::domain::end_user::{
    self as domain, AssignedUid, EndUser, PendingEndUser, Precondition, SortField, UidAssignment,
};
use crate::domain::idempotency::IdempotencyKey;
use crate::domain::ids::EndUserId;
use crate::domain::input::ValidationErrors;
use crate::domain::page::Page;
use crate::domain::search::Search;
use crate::domain::uid::MatchKey;

/// The most end users that one look-up by UID answers.
const MAX_FOUND: usize = 100;

/// How many rows may stand before a page that is found by walking them: at least the first thousand,
/// in which a page of the list by id starts where all writes put it.
const MAX_SCANNED_ROWS: u64 = 1_000;

/// In which order end users are listed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ListOrder {
    /// By what; ties by id.
    pub by: SortField,
    /// The exact reverse of ascending.
    pub descending: bool,
}

/// A page of end users, and how many there are on all pages.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Listed {
    /// The end users of the page.
    pub end_users: Vec<EndUser>,
    /// The end users of all pages.
    pub total: u64,
}

/// Why an end user was not changed.
#[derive(Debug)]
pub enum ChangeError {
    /// No such end user in this tenant.
    NotFound,
    /// The end user is at another revision than the change is meant for.
    Stale,
    /// The idempotency key came with another request.
    KeyReused,
    /// The tenant has used up its ids, and the change needs new ones.
    IdsExhausted,
    /// The change does not fit the stored end user.
    Invalid(ValidationErrors),
    /// The database.
    Store(StoreError),
}

impl From<StoreError> for ChangeError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

/// Why a change starts over, for the log.
const CONFLICT: &str = "lost races";

/// What became of a transaction.
#[derive(PartialEq, Eq)]
pub(super) enum Commit {
    Done,
    /// The end user is not, or no longer, as the change took it to be.
    Conflict,
}

impl Scope<'_> {
    /// The end user as it is now.
    pub async fn end_user(&self, id: EndUserId) -> Result<Option<EndUser>, StoreError> {
        self.get(keys::end_user(&self.tenant, id)).await?.map(items::read_end_user).transpose()
    }

    /// The end user and what is stored with it.
    async fn document(&self, id: EndUserId) -> Result<Option<Document>, StoreError> {
        self.get(keys::end_user(&self.tenant, id)).await?.map(items::read_document).transpose()
    }

    /// Creates an end user, all or nothing, and with `idempotency_key` at most once.
    pub async fn create_end_user(
        &self,
        draft: &PendingEndUser,
        idempotency_key: Option<&IdempotencyKey>,
    ) -> Result<Idempotent<EndUser>, ChangeError> {
        let mut tries = 0;
        loop {
            let ids = self.new_end_user_ids(draft.missing_ids());
            let (first, (id, uid_ids)) = tokio::try_join!(self.stored_response(idempotency_key), ids)?;
            if let Some(answer) = first {
                return Ok(Idempotent { answer, replayed: true });
            }
            let answer = draft.save(id, 1, uid_ids).map_err(ChangeError::Invalid)?;
            let mut document = Document::new(answer.clone());
            let kept = idempotency_key
                .map(|idempotency_key| self.store_response(idempotency_key, &answer, &mut document))
                .transpose()?;
            // An id that is taken may be our own: a try that was given up for lost arrived after all.
            let done = self.commit(None, Some(&document), kept).await? == Commit::Done;
            if done || self.document(id).await?.as_ref() == Some(&document) {
                return Ok(Idempotent { answer, replayed: false });
            }
            tries += 1;
            self.back_off(tries, CONFLICT).await?;
        }
    }

    /// Updates an end user, all or nothing, on the end user as it then is; only at a revision that is
    /// `expected`.
    pub async fn update_end_user(
        &self,
        id: EndUserId,
        update: &domain::EndUserUpdate,
        expected: &Precondition,
    ) -> Result<(), ChangeError> {
        let apply = |end_user: &EndUser| match expected.is_met_by(end_user.rev) {
            true => update.apply(end_user).map_err(ChangeError::Invalid),
            false => Err(ChangeError::Stale),
        };
        self.update_with_retry(id, None, apply, |_, _| Some(())).await.map(|_| ())
    }

    /// Links a UID to an end user, and with `idempotency_key` at most once.
    pub async fn assign_uid(
        &self,
        assignment: &UidAssignment,
        idempotency_key: Option<&IdempotencyKey>,
    ) -> Result<Idempotent<AssignedUid>, ChangeError> {
        let apply = |end_user: &EndUser| assignment.apply(end_user).map_err(ChangeError::Invalid);
        self.update_with_retry(assignment.end_user, idempotency_key, apply, |before, after| {
            assignment.result(before, after)
        })
        .await
    }

    /// Changes an end user, and retries on its new state after a conflict. UID ids are taken only for UIDs that the
    /// change adds. Returns `result` of the states before and after.
    async fn update_with_retry<T: Serialize + DeserializeOwned>(
        &self,
        id: EndUserId,
        idempotency_key: Option<&IdempotencyKey>,
        change: impl Fn(&EndUser) -> Result<PendingEndUser, ChangeError>,
        result: impl Fn(&EndUser, &EndUser) -> Option<T>,
    ) -> Result<Idempotent<T>, ChangeError> {
        let (mut ids, mut tries) = (Vec::new(), 0);
        loop {
            let document = async { Ok(self.document(id).await?) };
            let (first, stored) = tokio::try_join!(self.stored_response(idempotency_key), document)?;
            if let Some(answer) = first {
                return Ok(Idempotent { answer, replayed: true });
            }
            let stored = stored.ok_or(ChangeError::NotFound)?;
            let before = &stored.end_user;
            let draft = change(before)?;
            let missing = draft.missing_ids().saturating_sub(ids.len());
            if missing > 0 {
                draft.save_with_shortest_ids().map_err(ChangeError::Invalid)?;
                ids.extend(self.new_uid_ids(missing).await?);
            }
            let mut after = draft.save(id, before.rev, ids.iter().copied()).map_err(ChangeError::Invalid)?;
            let answer = result(before, &after).ok_or_else(|| unreadable("a change without its result"))?;
            if after != *before {
                after.rev += 1;
            } else if idempotency_key.is_none() {
                return Ok(Idempotent { answer, replayed: false });
            }
            let mut new =
                Document { end_user: after, version: stored.version + 1, responses: stored.responses.clone() };
            let kept = idempotency_key
                .map(|idempotency_key| self.store_response(idempotency_key, &answer, &mut new))
                .transpose()?;
            if self.commit(Some(&stored), Some(&new), kept).await? == Commit::Done {
                return Ok(Idempotent { answer, replayed: false });
            }
            tries += 1;
            self.back_off(tries, CONFLICT).await?;
        }
    }

    /// Deletes an end user; only at a revision that is `expected`.
    pub async fn delete_end_user(&self, id: EndUserId, expected: &Precondition) -> Result<(), ChangeError> {
        let mut tries = 0;
        loop {
            let before = self.document(id).await?.ok_or(ChangeError::NotFound)?;
            if !expected.is_met_by(before.end_user.rev) {
                return Err(ChangeError::Stale);
            }
            if self.commit(Some(&before), None, None).await? == Commit::Done {
                if let Err(error) = self.erase_responses(id, &before.responses).await {
                    tracing::warn!(%error, "the stream's follower erases the stored responses");
                }
                return Ok(());
            }
            tries += 1;
            self.back_off(tries, CONFLICT).await?;
        }
    }

    /// Writes the difference of two states of an end user, and of the number of end users, in one transaction that is
    /// guarded by the document's version; `kept` is written with it.
    async fn commit(
        &self,
        before: Option<&Document>,
        after: Option<&Document>,
        kept: Option<Vec<TransactWriteItem>>,
    ) -> Result<Commit, StoreError> {
        let old = before.map(|document| items::records(&self.tenant, document)).transpose()?.unwrap_or_default();
        let new = after.map(|document| items::records(&self.tenant, document)).transpose()?.unwrap_or_default();
        let document = before.or(after).map(|document| keys::end_user(&self.tenant, document.end_user.id));
        let document = document.ok_or_else(|| StoreError::Unexpected("a change of nobody".to_owned()))?;
        let version = before.map(|document| document.version);
        self.commit_records(document, old, new, version, kept.unwrap_or_default()).await
    }

    /// Writes the difference of two sets of records, as [`Self::commit`] does.
    pub(super) async fn commit_records(
        &self,
        document: Key,
        old: BTreeMap<Key, Item>,
        new: BTreeMap<Key, Item>,
        version: Option<u64>,
        kept: Vec<TransactWriteItem>,
    ) -> Result<Commit, StoreError> {
        let change = i64::from(!new.is_empty()) - i64::from(!old.is_empty());
        let mut writes = vec![self.conditional_write(&document, &new, version)?];
        for (_, item) in new.iter().filter(|(key, item)| **key != document && old.get(*key) != Some(*item)) {
            let put = Put::builder().table_name(self.table()).set_item(Some(item.clone())).build();
            writes.push(TransactWriteItem::builder().put(put.map_err(unreadable)?).build());
        }
        for key in old.keys().filter(|key| **key != document && !new.contains_key(*key)) {
            let delete = Delete::builder().table_name(self.table()).set_key(Some(primary(key))).build();
            writes.push(TransactWriteItem::builder().delete(delete.map_err(unreadable)?).build());
        }
        writes.extend(kept);
        let mut shard = self.store.shard.load(Ordering::Relaxed);
        for tries in 1.. {
            let count = (change != 0).then(|| self.count_change(shard, change)).transpose()?;
            let failure = match self.transact(writes.iter().cloned().chain(count).collect()).await {
                Ok(()) => {
                    self.store.shard.store(shard, Ordering::Relaxed);
                    return Ok(Commit::Done);
                }
                Err(failure) => failure,
            };
            match cancelled(&failure.error, writes.len()) {
                // Not written, by no try before either: they had the same token.
                Some(Cancelled::Condition) => return Ok(Commit::Conflict),
                // What is in the way of a repeat says nothing of the try that went unanswered.
                Some(_) if failure.unanswered => return Err(failure.unknown()),
                Some(Cancelled::EndUser) => return Ok(Commit::Conflict),
                // At random: those who lost together go apart.
                Some(Cancelled::Count) => shard = random_shard(),
                Some(Cancelled::Throttled) => {}
                None => return Err(failure.into()),
            }
            self.back_off(tries, "transaction cancelled").await?;
        }
        Ok(Commit::Conflict)
    }

    /// Writes or deletes a document, on condition that it is at `version`, or is not there.
    fn conditional_write(
        &self,
        document: &Key,
        new: &BTreeMap<Key, Item>,
        version: Option<u64>,
    ) -> Result<TransactWriteItem, StoreError> {
        let condition = if version.is_some() { "version = :version" } else { "attribute_not_exists(pk)" };
        let number = |version: u64| (":version".to_owned(), AttributeValue::N(version.to_string()));
        let values = version.map(|version| Item::from([number(version)]));
        let write = TransactWriteItem::builder();
        let write = match new.get(document) {
            Some(item) => write.put(
                Put::builder()
                    .table_name(self.table())
                    .set_item(Some(item.clone()))
                    .condition_expression(condition)
                    .set_expression_attribute_values(values)
                    .build()
                    .map_err(unreadable)?,
            ),
            None => write.delete(
                Delete::builder()
                    .table_name(self.table())
                    .set_key(Some(primary(document)))
                    .condition_expression(condition)
                    .set_expression_attribute_values(values)
                    .build()
                    .map_err(unreadable)?,
            ),
        };
        Ok(write.build())
    }

    fn count_change(&self, shard: u32, change: i64) -> Result<TransactWriteItem, StoreError> {
        let update = Update::builder()
            .table_name(self.table())
            .set_key(Some(primary(&keys::count(&self.tenant, shard))))
            .update_expression("SET #kind = :kind, v = :one ADD people :change")
            .expression_attribute_names("#kind", "kind")
            .expression_attribute_values(":kind", AttributeValue::S("Count".to_owned()))
            .expression_attribute_values(":one", AttributeValue::N("1".to_owned()))
            .expression_attribute_values(":change", AttributeValue::N(change.to_string()))
            .build()
            .map_err(unreadable)?;
        Ok(TransactWriteItem::builder().update(update).build())
    }

    /// One transaction. All tries of it have the same token, so it takes effect once (for ten minutes,
    /// far longer than a request goes on), also where an answer is lost.
    pub(super) async fn transact(
        &self,
        writes: Vec<TransactWriteItem>,
    ) -> Result<(), Failure<TransactWriteItemsError>> {
        let request = self
            .client()
            .transact_write_items()
            .set_transact_items(Some(writes))
            .client_request_token(format!("{:016x}{:016x}", random_u64(), random_u64()))
            .return_consumed_capacity(ReturnConsumedCapacity::Total);
        let answer = self.call(Kind::Write, || request.clone().send()).await?;
        self.meter.spend(Kind::Write, answer.consumed_capacity());
        Ok(())
    }

    /// The end users of whom a UID or the customerRef is held under one of `asked`, by id, at most
    /// 100.
    pub async fn find_end_users(&self, asked: &BTreeSet<MatchKey>) -> Result<Vec<EndUser>, StoreError> {
        let by_uid = asked.iter().map(|key| (Query::by_uid(keys::uid_index(&self.tenant, key)), "uidSk"));
        let by_reference = asked.iter().filter(|key| matches!(key, MatchKey::Text(_)));
        let by_reference =
            by_reference.map(|key| (Query::by_customer_ref(keys::reference_index(&self.tenant, key)), "refSk"));
        let queries = by_uid.chain(by_reference).map(|(query, sort_name)| self.first_ids(query, sort_name));
        let found: BTreeSet<EndUserId> = futures::future::try_join_all(queries).await?.into_iter().flatten().collect();
        // Indexes lag behind: the document decides.
        let mut end_users = self.end_users(found.into_iter().take(MAX_FOUND)).await?;
        end_users.retain(|_, end_user| !end_user.keys().is_disjoint(asked));
        Ok(end_users.into_values().collect())
    }

    /// The first 100 distinct ids of a partition of an index that is sorted by them.
    async fn first_ids(&self, query: Query<'_>, sort_name: &str) -> Result<BTreeSet<EndUserId>, StoreError> {
        let (mut ids, mut start) = (BTreeSet::new(), None);
        loop {
            let (items, next) = self.query(&query, MAX_FOUND, start).await?;
            for item in &items {
                ids.insert(items::read_id(item, sort_name)?);
            }
            if next.is_none() || ids.len() >= MAX_FOUND {
                return Ok(ids);
            }
            start = next;
        }
    }

    /// Those of `ids` who are there, as they are now.
    pub(super) async fn end_users(
        &self,
        ids: impl IntoIterator<Item = EndUserId>,
    ) -> Result<BTreeMap<EndUserId, EndUser>, StoreError> {
        let keys = ids.into_iter().map(|id| keys::end_user(&self.tenant, id)).collect();
        let end_users = self.get_all(keys).await?.into_iter().map(items::read_end_user);
        end_users.map(|end_user| end_user.map(|end_user| (end_user.id, end_user))).collect()
    }

    /// How many end users the tenant has.
    pub(super) async fn count(&self) -> Result<u64, StoreError> {
        let query = Query::table(keys::counts(&self.tenant)).strong();
        let (shards, _) = self.query(&query, keys::COUNT_SHARDS as usize, None).await?;
        let number = |item: &Item| item.get("people")?.as_n().ok()?.parse::<i64>().ok();
        // An end user may be counted on one shard and uncounted on another: only the sum is meant.
        let sum: i64 = shards.iter().filter_map(number).sum();
        Ok(sum.max(0).unsigned_abs())
    }

    /// A page of all end users of the tenant.
    pub async fn list_end_users(&self, order: ListOrder, page: Page) -> Result<Listed, StoreError> {
        let offset = page.offset();
        if offset > MAX_SCANNED_ROWS {
            let (total, counted) = tokio::try_join!(self.count(), self.rank_state(order.by))?;
            let end_users = match total.saturating_sub(offset) {
                0 => Vec::new(),
                left => self.deep_page(order, page, counted, left).await?,
            };
            return Ok(Listed { end_users, total });
        }
        let end_users = async {
            match order.by {
                SortField::EndUserId => self.near_page_by_id(order.descending, page).await,
                _ => self.page_by_entries(order, Seek { bound: Bound::All, skip: offset }, page.size).await,
            }
        };
        let (total, end_users) = tokio::try_join!(self.count(), end_users)?;
        Ok(Listed { end_users, total })
    }

    /// A page in the order of ids, content and place read strongly.
    async fn near_page_by_id(&self, descending: bool, page: Page) -> Result<Vec<EndUser>, StoreError> {
        let documents = self.documents(descending);
        let mut start = None;
        if page.offset() > 0 {
            let places = Query { projection: Some("pk, sk"), ..documents.clone() };
            start = self.query(&places, page.offset() as usize, None).await?.1;
            if start.is_none() {
                return Ok(Vec::new());
            }
        }
        let (items, _) = self.query(&documents, page.size as usize, start).await?;
        items.into_iter().map(items::read_end_user).collect()
    }

    /// A page far from the start, with `left` end users from there to the end. In the order of ids entries and blocks,
    /// which lag behind, only say where it starts; where they do not reach as far, that is counted off from the end.
    async fn deep_page(
        &self,
        order: ListOrder,
        page: Page,
        counted: RankState,
        left: u64,
    ) -> Result<Vec<EndUser>, StoreError> {
        let place = self.seek(order, page.offset(), counted).await?;
        let end_users = match (order.by, place) {
            (SortField::EndUserId, Some(place)) => {
                // A few end users too many are cheaper than their entries and another round trip.
                let id = |entry: String| entry.trim_start_matches('#').to_owned();
                let bound = match place.bound {
                    Bound::From(first) => Bound::From(id(first)),
                    Bound::Before(last) => Bound::Before(id(last)),
                    bound => bound,
                };
                let documents = Query { bound, ..self.documents(order.descending) };
                self.walk(&documents, place.skip, page.size as usize).await?
            }
            (SortField::EndUserId, None) => {
                let take = left.min(page.size.into());
                let mut end_users = self.walk(&self.documents(!order.descending), left - take, take as usize).await?;
                end_users.reverse();
                end_users
            }
            (_, Some(place)) => return self.page_by_entries(order, place, page.size).await,
            (_, None) => Vec::new(),
        };
        end_users.into_iter().map(items::read_end_user).collect()
    }

    /// Where a page far from the start begins, by the blocks of its order; `None` where they do not reach as far.
    /// The first that is asked for starts their counting, a later one resumes it where it was given up, and until it is
    /// over all entries before the page are walked.
    async fn seek(&self, order: ListOrder, offset: u64, counted: RankState) -> Result<Option<Seek>, StoreError> {
        match counted {
            RankState::Wholly(large) => return self.seek_by_rank(order.by, order.descending, &large, offset).await,
            RankState::Stalled => self.resume_build(order.by).await?,
            RankState::Partly => {}
            RankState::Not => self.start_build(order.by).await?,
        }
        match order.by {
            SortField::EndUserId => self.seek_by_scan(order, offset).await,
            _ => Ok(Some(Seek { bound: Bound::All, skip: offset })),
        }
    }

    /// The place behind the first `offset` entries of an order; `None` where it has no more than that.
    async fn seek_by_scan(&self, order: ListOrder, offset: u64) -> Result<Option<Seek>, StoreError> {
        let entries = Query { projection: Some("pk, sk"), ..self.entries(order) };
        let first = self.walk(&entries, offset, 1).await?;
        let Some(first) = first.first() else { return Ok(None) };
        let first = super::text(first, "sk")?.to_owned();
        // The first itself included, whichever way.
        let bound = if order.descending { Bound::Before(first + "~") } else { Bound::From(first) };
        Ok(Some(Seek { bound, skip: 0 }))
    }

    fn documents(&self, descending: bool) -> Query<'static> {
        Query { descending, ..Query::table(keys::end_users(&self.tenant)).strong() }
    }

    fn entries(&self, order: ListOrder) -> Query<'static> {
        Query { descending: order.descending, ..Query::table(keys::sort_entries(&self.tenant, order.by)) }
    }

    async fn page_by_entries(&self, order: ListOrder, place: Seek, size: u32) -> Result<Vec<EndUser>, StoreError> {
        let query = Query { bound: place.bound, ..self.entries(order) };
        let entries = self.walk(&query, place.skip, size as usize).await?;
        self.rows(order, &entries).await
    }

    /// `take` items behind the first `skip`.
    async fn walk(&self, query: &Query<'_>, mut skip: u64, take: usize) -> Result<Vec<Item>, StoreError> {
        let (mut rows, mut start) = (Vec::with_capacity(take), None);
        loop {
            let left = usize::try_from(skip).unwrap_or(usize::MAX).saturating_add(take - rows.len());
            let (items, next) = self.query_once(query, left, start).await?;
            let passed = skip.min(items.len() as u64);
            skip -= passed;
            rows.extend(items.into_iter().skip(passed as usize));
            if rows.len() == take || next.is_none() {
                return Ok(rows);
            }
            start = next;
        }
    }

    /// The end users of some entries of an order, as they are now. An entry that is no longer theirs
    /// is passed over: the index lags behind the documents.
    async fn rows(&self, order: ListOrder, entries: &[Item]) -> Result<Vec<EndUser>, StoreError> {
        let mut rows = Vec::with_capacity(entries.len());
        for entry in entries {
            rows.push((items::read_id(entry, "sk")?, super::text(entry, "sk")?));
        }
        let mut end_users = self.end_users(rows.iter().map(|(id, _)| *id).collect::<BTreeSet<_>>()).await?;
        let current = |end_user: &EndUser, sk: &str| {
            keys::sort_entry(&self.tenant, order.by, &order.by.key(end_user), end_user.id).sk == sk
        };
        rows.retain(|(id, sk)| end_users.get(id).is_some_and(|end_user| current(end_user, sk)));
        Ok(rows.into_iter().filter_map(|(id, _)| end_users.remove(&id)).collect())
    }

    /// A page of the end users that a search finds.
    pub async fn search_end_users(&self, search: &Search, order: ListOrder, page: Page) -> Result<Listed, StoreError> {
        /// As many are read and sorted by what they are; more are found along the order's entries.
        const SORTED_IN_MEMORY: usize = 100;
        let mut found = BTreeSet::new();
        for alternative in search.alternatives() {
            found.append(&mut self.find_words(alternative).await?);
        }
        let matching = |end_user: &EndUser| search.matches(&end_user.terms());
        let total = found.len() as u64;
        if page.offset() >= total {
            return Ok(Listed { end_users: Vec::new(), total });
        }
        if order.by == SortField::EndUserId {
            let ids: Vec<_> = if order.descending { page.of(found.into_iter().rev()) } else { page.of(found) };
            let mut end_users: Vec<_> = self.end_users(ids).await?.into_values().filter(matching).collect();
            if order.descending {
                end_users.reverse();
            }
            return Ok(Listed { end_users, total });
        }
        if found.len() <= SORTED_IN_MEMORY {
            let mut end_users: Vec<_> = self.end_users(found).await?.into_values().filter(matching).collect();
            let total = end_users.len() as u64;
            end_users.sort_by_cached_key(|end_user| (order.by.key(end_user), end_user.id));
            if order.descending {
                end_users.reverse();
            }
            return Ok(Listed { end_users: page.of(end_users), total });
        }
        let entries = match self.walk_found(order, page, &found).await? {
            Some(entries) => entries,
            None => self.sort_found(order, page, found).await?,
        };
        let end_users = self.rows(order, &entries).await?.into_iter().filter(matching).collect();
        Ok(Listed { end_users, total })
    }

    /// The entries of a page of those among `found`, met along the order; `None` where reading all of
    /// them costs less than going on.
    async fn walk_found(
        &self,
        order: ListOrder,
        page: Page,
        found: &BTreeSet<EndUserId>,
    ) -> Result<Option<Vec<Item>>, StoreError> {
        /// As many entries, of about 100 bytes, are read for the price of one end user.
        const ENTRIES_A_END_USER: usize = 80;
        let query = Query { projection: Some("sk"), ..self.entries(order) };
        let (mut skip, mut start, mut rows) = (page.offset(), None, Vec::new());
        let mut walked = 0;
        loop {
            let (entries, next) = self.query_once(&query, usize::MAX, start).await?;
            walked += entries.len();
            for entry in entries {
                if !found.contains(&items::read_id(&entry, "sk")?) {
                    continue;
                }
                match skip {
                    0 => rows.push(entry),
                    _ => skip -= 1,
                }
                if rows.len() == page.size as usize {
                    return Ok(Some(rows));
                }
            }
            if next.is_none() {
                return Ok(Some(rows));
            }
            if walked > found.len() * ENTRIES_A_END_USER {
                return Ok(None);
            }
            start = next;
        }
    }

    /// The entries of a page of `found`, made from the end users themselves; of each only its place is
    /// kept in memory.
    async fn sort_found(
        &self,
        order: ListOrder,
        page: Page,
        found: BTreeSet<EndUserId>,
    ) -> Result<Vec<Item>, StoreError> {
        let found: Vec<_> = found.into_iter().collect();
        let places = try_concurrently(found.chunks(100).map(|ids| self.places(order.by, ids)));
        let mut places = places.await?.concat();
        places.sort();
        if order.descending {
            places.reverse();
        }
        Ok(page.of(places.iter().map(primary)))
    }

    /// Where end users stand in an order.
    async fn places(&self, field: SortField, ids: &[EndUserId]) -> Result<Vec<Key>, StoreError> {
        let end_users = self.end_users(ids.iter().copied()).await?;
        let place = |end_user: &EndUser| keys::sort_entry(&self.tenant, field, &field.key(end_user), end_user.id);
        Ok(end_users.values().map(place).collect())
    }
}

/// Why a transaction was cancelled.
enum Cancelled {
    /// The end user, or the kept answer, is not as the conditions want it.
    Condition,
    /// Another transaction holds the end user, or the kept answer.
    EndUser,
    /// Another transaction holds the counter.
    Count,
    Throttled,
}

/// The reason of a cancelled transaction whose actions are about an end user, and from `count` on about
/// the counter; `None` where it was not cancelled or for a fault of ours.
fn cancelled(error: &SdkError<TransactWriteItemsError>, count: usize) -> Option<Cancelled> {
    let Some(TransactWriteItemsError::TransactionCanceledException(cancelled)) = error.as_service_error() else {
        return None;
    };
    let reasons: Vec<_> =
        cancelled.cancellation_reasons().iter().map(|reason| reason.code().unwrap_or("None")).collect();
    let (end_user, counter) = reasons.split_at(count.min(reasons.len()));
    let throttled = |code: &&str| matches!(*code, "ThrottlingError" | "ProvisionedThroughputExceeded");
    if end_user.contains(&"ConditionalCheckFailed") {
        return Some(Cancelled::Condition);
    }
    if end_user.contains(&"TransactionConflict") {
        return Some(Cancelled::EndUser);
    }
    if counter.contains(&"TransactionConflict") {
        return Some(Cancelled::Count);
    }
    reasons.iter().any(throttled).then_some(Cancelled::Throttled)
}
