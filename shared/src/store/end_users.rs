//! People: create, read, update, delete, find by UID, list and search.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::Ordering;

use aws_sdk_dynamodb::error::SdkError;
use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::types::{AttributeValue, Delete, Put, ReturnConsumedCapacity, TransactWriteItem, Update};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::blocks::{Counted, Place};
use super::call::Failure;
use super::items::Document;
use super::keys::{self, Key};
use super::{
    Answered, Bound, Item, Kind, Query, Scope, StoreError, any_shard, each, items, jitter, primary, unreadable,
};
use crate::domain::end_user::{self as domain, Assigned, Assignment, Draft, EndUser, Expected, SortField};
use crate::domain::ids::EndUserId;
use crate::domain::input::Faults;
use crate::domain::once::Once;
use crate::domain::search::{self, Search};
use crate::domain::uid::MatchKey;

/// The most people that one look-up by UID answers.
const MAX_FOUND: usize = 100;

/// How many rows may stand before a page that is found by walking them: at least the first thousand,
/// in which a page of the list by id starts where all writes put it.
const NEAR: u64 = 1_000;

/// A page of a list: `number` from 1 on, `size` 1 to 100.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Page {
    /// Which page, from 1 on.
    pub number: u32,
    /// How many rows a page has.
    pub size: u32,
}

impl Page {
    /// How many rows stand before it.
    pub fn offset(self) -> u64 {
        u64::from(self.number - 1) * u64::from(self.size)
    }

    /// The part of `rows` that stands on it.
    pub fn of<T>(self, rows: impl IntoIterator<Item = T>) -> Vec<T> {
        let offset = usize::try_from(self.offset()).unwrap_or(usize::MAX);
        rows.into_iter().skip(offset).take(self.size as usize).collect()
    }
}

/// In which order people are listed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ListOrder {
    /// By what; ties by id.
    pub by: SortField,
    /// The exact reverse of ascending.
    pub descending: bool,
}

/// A page of people, and how many there are on all pages.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Listed {
    /// The people of the page.
    pub people: Vec<EndUser>,
    /// The people of all pages.
    pub total: u64,
}

/// Why a person was not changed.
#[derive(Debug)]
pub enum ChangeError {
    /// No such person in this tenant.
    NotFound,
    /// The person is at another revision than the change is meant for.
    Stale,
    /// The idempotency key came with another request.
    KeyReused,
    /// The tenant has used up its ids, and the change needs new ones.
    IdsExhausted,
    /// The change does not fit the stored person.
    Invalid(Faults),
    /// The database.
    Store(StoreError),
}

impl From<StoreError> for ChangeError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

/// Why a change starts over, for the log.
const LOST: &str = "lost races";

/// What became of a transaction.
#[derive(PartialEq, Eq)]
pub(super) enum Commit {
    Done,
    /// The person is not, or no longer, as the change took it to be.
    Lost,
}

impl Scope<'_> {
    /// The person as it is now.
    pub async fn end_user(&self, id: EndUserId) -> Result<Option<EndUser>, StoreError> {
        self.get(keys::end_user(&self.tenant, id)).await?.map(items::read_end_user).transpose()
    }

    /// The end user and what is stored with it.
    async fn document(&self, id: EndUserId) -> Result<Option<Document>, StoreError> {
        self.get(keys::end_user(&self.tenant, id)).await?.map(items::read_document).transpose()
    }

    /// Creates a person, all or nothing, and with `once` at most once.
    pub async fn create_end_user(&self, draft: &Draft, once: Option<&Once>) -> Result<Answered<EndUser>, ChangeError> {
        let mut tries = 0;
        loop {
            let ids = self.new_end_user_ids(draft.missing_ids());
            let (first, (id, uid_ids)) = tokio::try_join!(self.first_answer(once), ids)?;
            if let Some(answer) = first {
                return Ok(Answered { answer, replayed: true });
            }
            let answer = draft.save(id, 1, uid_ids).map_err(ChangeError::Invalid)?;
            let mut document = Document::new(answer.clone());
            let kept = once.map(|once| self.keep_answer(once, &answer, &mut document)).transpose()?;
            // An id that is taken may be our own: a try that was given up for lost arrived after all.
            let done = self.commit(None, Some(&document), kept).await? == Commit::Done;
            if done || self.document(id).await?.as_ref() == Some(&document) {
                return Ok(Answered { answer, replayed: false });
            }
            tries += 1;
            self.back_off(tries, LOST).await?;
        }
    }

    /// Updates a person, all or nothing, on the person as it then is; only at a revision that is
    /// `expected`.
    pub async fn update_end_user(
        &self,
        id: EndUserId,
        update: &domain::Update,
        expected: &Expected,
    ) -> Result<(), ChangeError> {
        let apply = |person: &EndUser| match expected.admits(person.rev) {
            true => update.apply(person).map_err(ChangeError::Invalid),
            false => Err(ChangeError::Stale),
        };
        self.revise(id, None, apply, |_, _| Some(())).await.map(|_| ())
    }

    /// Links a UID to a person, and with `once` at most once.
    pub async fn assign_uid(
        &self,
        assignment: &Assignment,
        once: Option<&Once>,
    ) -> Result<Answered<Assigned>, ChangeError> {
        let apply = |person: &EndUser| assignment.apply(person).map_err(ChangeError::Invalid);
        self.revise(assignment.end_user, once, apply, |before, after| assignment.result(before, after)).await
    }

    /// Changes an end user, and retries on its new state after a conflict. UID ids are taken only for UIDs that the
    /// change adds. Returns `result` of the states before and after.
    async fn revise<T: Serialize + DeserializeOwned>(
        &self,
        id: EndUserId,
        once: Option<&Once>,
        change: impl Fn(&EndUser) -> Result<Draft, ChangeError>,
        result: impl Fn(&EndUser, &EndUser) -> Option<T>,
    ) -> Result<Answered<T>, ChangeError> {
        let (mut ids, mut tries) = (Vec::new(), 0);
        loop {
            let document = async { Ok(self.document(id).await?) };
            let (first, stored) = tokio::try_join!(self.first_answer(once), document)?;
            if let Some(answer) = first {
                return Ok(Answered { answer, replayed: true });
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
            } else if once.is_none() {
                return Ok(Answered { answer, replayed: false });
            }
            let mut new =
                Document { end_user: after, version: stored.version + 1, responses: stored.responses.clone() };
            let kept = once.map(|once| self.keep_answer(once, &answer, &mut new)).transpose()?;
            if self.commit(Some(&stored), Some(&new), kept).await? == Commit::Done {
                return Ok(Answered { answer, replayed: false });
            }
            tries += 1;
            self.back_off(tries, LOST).await?;
        }
    }

    /// Deletes a person; only at a revision that is `expected`.
    pub async fn delete_end_user(&self, id: EndUserId, expected: &Expected) -> Result<(), ChangeError> {
        let mut tries = 0;
        loop {
            let before = self.document(id).await?.ok_or(ChangeError::NotFound)?;
            if !expected.admits(before.end_user.rev) {
                return Err(ChangeError::Stale);
            }
            if self.commit(Some(&before), None, None).await? == Commit::Done {
                if let Err(error) = self.erase_responses(id, &before.responses).await {
                    tracing::warn!(%error, "the stream's follower erases the stored responses");
                }
                return Ok(());
            }
            tries += 1;
            self.back_off(tries, LOST).await?;
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
        let mut writes = vec![self.guarded(&document, &new, version)?];
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
                Some(Cancelled::Condition) => return Ok(Commit::Lost),
                // What is in the way of a repeat says nothing of the try that went unanswered.
                Some(_) if failure.unanswered => return Err(failure.unknown()),
                Some(Cancelled::Person) => return Ok(Commit::Lost),
                // At random: those who lost together go apart.
                Some(Cancelled::Count) => shard = any_shard(),
                Some(Cancelled::Throttled) => {}
                None => return Err(failure.into()),
            }
            self.back_off(tries, "transaction cancelled").await?;
        }
        Ok(Commit::Lost)
    }

    /// Writes or deletes a document, on condition that it is at `version`, or is not there.
    fn guarded(
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
            .client_request_token(format!("{:016x}{:016x}", jitter(), jitter()))
            .return_consumed_capacity(ReturnConsumedCapacity::Total);
        let answer = self.call(Kind::Write, || request.clone().send()).await?;
        self.meter.spend(Kind::Write, answer.consumed_capacity());
        Ok(())
    }

    /// The people of whom a UID or the customerRef is held under one of `asked`, by id, at most
    /// 100.
    pub async fn find_end_users(&self, asked: &BTreeSet<MatchKey>) -> Result<Vec<EndUser>, StoreError> {
        let by_uid = asked.iter().map(|key| (Query::by_uid(keys::uid_index(&self.tenant, key)), "uidSk"));
        let by_reference = asked.iter().filter(|key| matches!(key, MatchKey::Text(_)));
        let by_reference =
            by_reference.map(|key| (Query::by_customer_ref(keys::reference_index(&self.tenant, key)), "refSk"));
        let queries = by_uid.chain(by_reference).map(|(query, sort_name)| self.first_ids(query, sort_name));
        let found: BTreeSet<EndUserId> = futures::future::try_join_all(queries).await?.into_iter().flatten().collect();
        // Indexes lag behind: the document decides.
        let mut people = self.people(found.into_iter().take(MAX_FOUND)).await?;
        people.retain(|_, person| !person.keys().is_disjoint(asked));
        Ok(people.into_values().collect())
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
    pub(super) async fn people(
        &self,
        ids: impl IntoIterator<Item = EndUserId>,
    ) -> Result<BTreeMap<EndUserId, EndUser>, StoreError> {
        let keys = ids.into_iter().map(|id| keys::end_user(&self.tenant, id)).collect();
        let people = self.get_all(keys).await?.into_iter().map(items::read_end_user);
        people.map(|person| person.map(|person| (person.id, person))).collect()
    }

    /// How many people the tenant has.
    pub(super) async fn count(&self) -> Result<u64, StoreError> {
        let query = Query::table(keys::counts(&self.tenant)).strong();
        let (shards, _) = self.query(&query, keys::COUNT_SHARDS as usize, None).await?;
        let number = |item: &Item| item.get("people")?.as_n().ok()?.parse::<i64>().ok();
        // A person may be counted on one shard and uncounted on another: only the sum is meant.
        let sum: i64 = shards.iter().filter_map(number).sum();
        Ok(sum.max(0).unsigned_abs())
    }

    /// A page of all people of the tenant.
    pub async fn list_end_users(&self, order: ListOrder, page: Page) -> Result<Listed, StoreError> {
        let offset = page.offset();
        if offset > NEAR {
            let (total, counted) = tokio::try_join!(self.count(), self.counted(order.by))?;
            let people = match total.saturating_sub(offset) {
                0 => Vec::new(),
                left => self.deep_page(order, page, counted, left).await?,
            };
            return Ok(Listed { people, total });
        }
        let people = async {
            match order.by {
                SortField::EndUserId => self.near_page_by_id(order.descending, page).await,
                _ => self.page_by_entries(order, Place { bound: Bound::All, skip: offset }, page.size).await,
            }
        };
        let (total, people) = tokio::try_join!(self.count(), people)?;
        Ok(Listed { people, total })
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

    /// A page far from the start, with `left` people from there to the end. In the order of ids entries and blocks,
    /// which lag behind, only say where it starts; where they do not reach as far, that is counted off from the end.
    async fn deep_page(
        &self,
        order: ListOrder,
        page: Page,
        counted: Counted,
        left: u64,
    ) -> Result<Vec<EndUser>, StoreError> {
        let place = self.deep_place(order, page.offset(), counted).await?;
        let people = match (order.by, place) {
            (SortField::EndUserId, Some(place)) => {
                // A few people too many are cheaper than their entries and another round trip.
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
                let mut people = self.walk(&self.documents(!order.descending), left - take, take as usize).await?;
                people.reverse();
                people
            }
            (_, Some(place)) => return self.page_by_entries(order, place, page.size).await,
            (_, None) => Vec::new(),
        };
        people.into_iter().map(items::read_end_user).collect()
    }

    /// Where a page far from the start begins, by the blocks of its order; `None` where they do not reach as far.
    /// The first that is asked for starts their counting, a later one resumes it where it was given up, and until it is
    /// over all entries before the page are walked.
    async fn deep_place(&self, order: ListOrder, offset: u64, counted: Counted) -> Result<Option<Place>, StoreError> {
        match counted {
            Counted::Wholly(large) => return self.place(order.by, order.descending, &large, offset).await,
            Counted::Stalled => self.resume_count(order.by).await?,
            Counted::Partly => {}
            Counted::Not => self.count_order(order.by).await?,
        }
        match order.by {
            SortField::EndUserId => self.walked_place(order, offset).await,
            _ => Ok(Some(Place { bound: Bound::All, skip: offset })),
        }
    }

    /// The place behind the first `offset` entries of an order; `None` where it has no more than that.
    async fn walked_place(&self, order: ListOrder, offset: u64) -> Result<Option<Place>, StoreError> {
        let entries = Query { projection: Some("pk, sk"), ..self.entries(order) };
        let first = self.walk(&entries, offset, 1).await?;
        let Some(first) = first.first() else { return Ok(None) };
        let first = super::text(first, "sk")?.to_owned();
        // The first itself included, whichever way.
        let bound = if order.descending { Bound::Before(first + "~") } else { Bound::From(first) };
        Ok(Some(Place { bound, skip: 0 }))
    }

    fn documents(&self, descending: bool) -> Query<'static> {
        Query { descending, ..Query::table(keys::end_users(&self.tenant)).strong() }
    }

    fn entries(&self, order: ListOrder) -> Query<'static> {
        Query { descending: order.descending, ..Query::table(keys::sort_entries(&self.tenant, order.by)) }
    }

    async fn page_by_entries(&self, order: ListOrder, place: Place, size: u32) -> Result<Vec<EndUser>, StoreError> {
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

    /// The people of some entries of an order, as they are now. An entry that is no longer theirs
    /// is passed over: the index lags behind the documents.
    async fn rows(&self, order: ListOrder, entries: &[Item]) -> Result<Vec<EndUser>, StoreError> {
        let mut rows = Vec::with_capacity(entries.len());
        for entry in entries {
            rows.push((items::read_id(entry, "sk")?, super::text(entry, "sk")?));
        }
        let mut people = self.people(rows.iter().map(|(id, _)| *id).collect::<BTreeSet<_>>()).await?;
        let current = |person: &EndUser, sk: &str| {
            keys::sort_entry(&self.tenant, order.by, &order.by.key(person), person.id).sk == sk
        };
        rows.retain(|(id, sk)| people.get(id).is_some_and(|person| current(person, sk)));
        Ok(rows.into_iter().filter_map(|(id, _)| people.remove(&id)).collect())
    }

    /// A page of the people that a search finds.
    pub async fn search_end_users(&self, search: &Search, order: ListOrder, page: Page) -> Result<Listed, StoreError> {
        /// As many are read and sorted by what they are; more are found along the order's entries.
        const SORTED_IN_MEMORY: usize = 100;
        let mut found = BTreeSet::new();
        for alternative in search.alternatives() {
            found.append(&mut self.find_words(alternative).await?);
        }
        let matching = |person: &EndUser| search.matches(&search::person_terms(person));
        let total = found.len() as u64;
        if page.offset() >= total {
            return Ok(Listed { people: Vec::new(), total });
        }
        if order.by == SortField::EndUserId {
            let ids: Vec<_> = if order.descending { page.of(found.into_iter().rev()) } else { page.of(found) };
            let mut people: Vec<_> = self.people(ids).await?.into_values().filter(matching).collect();
            if order.descending {
                people.reverse();
            }
            return Ok(Listed { people, total });
        }
        if found.len() <= SORTED_IN_MEMORY {
            let mut people: Vec<_> = self.people(found).await?.into_values().filter(matching).collect();
            let total = people.len() as u64;
            people.sort_by_cached_key(|person| (order.by.key(person), person.id));
            if order.descending {
                people.reverse();
            }
            return Ok(Listed { people: page.of(people), total });
        }
        let entries = match self.walk_found(order, page, &found).await? {
            Some(entries) => entries,
            None => self.sort_found(order, page, found).await?,
        };
        let people = self.rows(order, &entries).await?.into_iter().filter(matching).collect();
        Ok(Listed { people, total })
    }

    /// The entries of a page of those among `found`, met along the order; `None` where reading all of
    /// them costs less than going on.
    async fn walk_found(
        &self,
        order: ListOrder,
        page: Page,
        found: &BTreeSet<EndUserId>,
    ) -> Result<Option<Vec<Item>>, StoreError> {
        /// As many entries, of about 100 bytes, are read for the price of one person.
        const ENTRIES_A_PERSON: usize = 80;
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
            if walked > found.len() * ENTRIES_A_PERSON {
                return Ok(None);
            }
            start = next;
        }
    }

    /// The entries of a page of `found`, made from the people themselves; of each only its place is
    /// kept in memory.
    async fn sort_found(
        &self,
        order: ListOrder,
        page: Page,
        found: BTreeSet<EndUserId>,
    ) -> Result<Vec<Item>, StoreError> {
        let found: Vec<_> = found.into_iter().collect();
        let places = each(found.chunks(100).map(|ids| self.places(order.by, ids)));
        let mut places = places.await?.concat();
        places.sort();
        if order.descending {
            places.reverse();
        }
        Ok(page.of(places.iter().map(primary)))
    }

    /// Where people stand in an order.
    async fn places(&self, field: SortField, ids: &[EndUserId]) -> Result<Vec<Key>, StoreError> {
        let people = self.people(ids.iter().copied()).await?;
        let place = |person: &EndUser| keys::sort_entry(&self.tenant, field, &field.key(person), person.id);
        Ok(people.values().map(place).collect())
    }
}

/// Why a transaction was cancelled.
enum Cancelled {
    /// The person, or the kept answer, is not as the conditions want it.
    Condition,
    /// Another transaction holds the person, or the kept answer.
    Person,
    /// Another transaction holds the counter.
    Count,
    Throttled,
}

/// The reason of a cancelled transaction whose actions are about a person, and from `count` on about
/// the counter; `None` where it was not cancelled or for a fault of ours.
fn cancelled(error: &SdkError<TransactWriteItemsError>, count: usize) -> Option<Cancelled> {
    let Some(TransactWriteItemsError::TransactionCanceledException(cancelled)) = error.as_service_error() else {
        return None;
    };
    let reasons: Vec<_> =
        cancelled.cancellation_reasons().iter().map(|reason| reason.code().unwrap_or("None")).collect();
    let (person, counter) = reasons.split_at(count.min(reasons.len()));
    let throttled = |code: &&str| matches!(*code, "ThrottlingError" | "ProvisionedThroughputExceeded");
    if person.contains(&"ConditionalCheckFailed") {
        return Some(Cancelled::Condition);
    }
    if person.contains(&"TransactionConflict") {
        return Some(Cancelled::Person);
    }
    if counter.contains(&"TransactionConflict") {
        return Some(Cancelled::Count);
    }
    reasons.iter().any(throttled).then_some(Cancelled::Throttled)
}
