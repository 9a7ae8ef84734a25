//! The index over end users: an entry per order and per word, written behind the documents.

use std::collections::{BTreeMap, BTreeSet};

use aws_sdk_dynamodb::types::{AttributeValue, DeleteRequest, PutRequest, ReturnConsumedCapacity, WriteRequest};
use serde::{Deserialize, Serialize};
use serde_dynamo::aws_sdk_dynamodb_1::{from_item, to_item};

use super::keys::{self, ENTRIES_VERSION, Key};
use super::{
    Bound, Item, Kind, Query, Scope, StoreError, TOMBSTONE_TTL, expires_at, items, primary, try_concurrently,
    unreadable,
};
use crate::domain::end_user::{EndUser, SortField};
use crate::domain::ids::{EndUserId, Tenant};
use crate::domain::search::{Search, Term};

/// How many found end users are rather read and tested than that the rest of a long word is walked.
const FEW: usize = 100;

/// A place of an end user in the index. Its text form is what `Indexed` keeps of it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Entry {
    /// Its place in an order.
    Sort(SortField, String),
    /// A word under which it is found.
    Word(Term),
}

impl Entry {
    fn write(&self) -> String {
        match self {
            Self::Sort(field, collation) => format!("{}#{collation}", field.name()),
            Self::Word(Term::Word(text)) => format!("#{text}"),
            Self::Word(Term::Whole(text)) => format!("@{text}"),
        }
    }

    fn read(text: &str) -> Option<Self> {
        if let Some(text) = text.strip_prefix('#') {
            return Some(Self::Word(Term::Word(text.to_owned())));
        }
        if let Some(text) = text.strip_prefix('@') {
            return Some(Self::Word(Term::Whole(text.to_owned())));
        }
        let (name, collation) = text.split_once('#')?;
        Some(Self::Sort(SortField::parse(name)?, collation.to_owned()))
    }
}

/// The entries of an end user.
pub fn entries(end_user: &EndUser) -> BTreeSet<Entry> {
    let orders = SortField::ALL.into_iter().map(|field| Entry::Sort(field, field.key(end_user)));
    orders.chain(end_user.terms().into_iter().map(Entry::Word)).collect()
}

/// What the index holds of an end user.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct IndexStateItem {
    pk: String,
    sk: String,
    kind: String,
    v: u32,
    /// How often it was written.
    rev: u64,
    /// Whether the index holds exactly `entries`; else at most them.
    #[serde(default)]
    settled: bool,
    entries: Vec<String>,
    entries_version: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<u64>,
}

impl IndexStateItem {
    fn new(tenant: &Tenant, id: EndUserId, rev: u64, settled: bool, entries: &BTreeSet<Entry>) -> Self {
        let Key { pk, sk } = keys::index_state(tenant, id);
        Self {
            pk,
            sk,
            kind: "IndexState".to_owned(),
            v: 1,
            rev,
            settled,
            expires_at: entries.is_empty().then(|| expires_at(TOMBSTONE_TTL)),
            entries: entries.iter().map(Entry::write).collect(),
            entries_version: ENTRIES_VERSION,
        }
    }
    /// Whether the index holds exactly [`Self::entries`]; else at most them.
    pub(super) fn is_exact(&self) -> bool {
        self.settled && self.entries_version == ENTRIES_VERSION
    }

    /// The entries that it names, as far as they are of this version.
    pub(super) fn entries(&self) -> BTreeSet<Entry> {
        let of_this_version = self.entries_version == ENTRIES_VERSION;
        self.entries.iter().filter(|_| of_this_version).filter_map(|text| Entry::read(text)).collect()
    }
}

fn entry_item(key: &Key) -> Item {
    let mut item = primary(key);
    item.insert("kind".to_owned(), AttributeValue::S("Entry".to_owned()));
    item.insert("v".to_owned(), AttributeValue::N("1".to_owned()));
    item
}

/// The items that indexing a new end user leaves; for loading in bulk.
pub(super) fn index_items(tenant: &Tenant, end_user: &EndUser) -> Result<Vec<Item>, StoreError> {
    let entries = entries(end_user);
    let indexed = to_item(IndexStateItem::new(tenant, end_user.id, 2, true, &entries)).map_err(unreadable)?;
    let places = entries.iter().map(|entry| entry_item(&keys::entry(tenant, entry, end_user.id)));
    Ok(places.chain([indexed]).collect())
}

/// One end user who is being indexed.
struct IndexTask {
    id: EndUserId,
    /// The version of `Indexed` that was read; 0: none.
    rev: u64,
    /// The revision of the document that was read; `None`: there was none.
    document: Option<u64>,
    /// The entries as they shall be.
    wanted: BTreeSet<Entry>,
    put: Vec<Entry>,
    gone: Vec<Entry>,
}

impl IndexTask {
    /// What there is to do, if anything, where `mine` may be there besides what `indexed` names.
    fn new(
        id: EndUserId,
        indexed: Option<IndexStateItem>,
        end_user: Option<&EndUser>,
        mine: Option<&BTreeSet<Entry>>,
    ) -> Option<Self> {
        let wanted = end_user.map(entries).unwrap_or_default();
        let rev = indexed.as_ref().map_or(0, |indexed| indexed.rev);
        // Having lost once, this run may have taken away what the winner counts on.
        let exact = mine.is_none() && indexed.as_ref().is_some_and(IndexStateItem::is_exact);
        let held = indexed.map(|indexed| indexed.entries()).unwrap_or_default();
        if exact && held == wanted {
            return None;
        }
        let there: BTreeSet<Entry> = held.iter().chain(mine.into_iter().flatten()).cloned().collect();
        let put = wanted.iter().filter(|entry| !exact || !held.contains(*entry)).cloned().collect();
        let gone = there.difference(&wanted).cloned().collect();
        Some(Self { id, rev, document: end_user.map(|end_user| end_user.rev), wanted, put, gone })
    }

    /// All entries that may be there until the end.
    fn claim(&self) -> BTreeSet<Entry> {
        self.wanted.iter().chain(&self.gone).cloned().collect()
    }
}

impl Scope<'_> {
    /// Brings the index in line with these end users as they are now: the one act of indexing, repairing
    /// and rebuilding. May be repeated and raced without harm, and may end anywhere; where it fails, it
    /// is to be done again for all of them.
    ///
    /// `Indexed` is read before the end users: who reads the older end user also read the older
    /// `Indexed`, and loses. It is written twice: first it claims all entries that may be there until
    /// the end, so that after a run that ended half-way the next one knows what to put right. Before the second write
    /// the document is read once more: who finds it changed starts over.
    pub async fn index_end_users(&self, ids: impl IntoIterator<Item = EndUserId>) -> Result<(), StoreError> {
        self.index(ids.into_iter().map(|id| (id, None)).collect()).await
    }

    /// With each end user come the entries that may be there and that `Indexed` may not know of.
    pub(super) async fn index(&self, mut left: BTreeMap<EndUserId, Option<BTreeSet<Entry>>>) -> Result<(), StoreError> {
        for tries in 1.. {
            left = self.index_once(&left).await?;
            if left.is_empty() {
                break;
            }
            self.back_off(tries, "index conflict").await?;
        }
        Ok(())
    }

    /// Answers those who lost a race, each with what was put in place here, of which the winner may
    /// know nothing.
    async fn index_once(
        &self,
        end_users: &BTreeMap<EndUserId, Option<BTreeSet<Entry>>>,
    ) -> Result<BTreeMap<EndUserId, Option<BTreeSet<Entry>>>, StoreError> {
        let works = self.work(end_users).await?;
        let claims = works.iter().map(|work| self.put_index_state(work.id, work.rev, false, work.claim()));
        let claims = try_concurrently(claims).await?;
        let claimed: Vec<_> = works.iter().zip(&claims).filter_map(|(work, won)| won.then_some(work)).collect();
        self.write_entries(&claimed).await?;
        self.refresh(self.changed_places(&claimed)).await?;
        // An indexing of a newer document may have ended before the claim, where it found nothing to do.
        let now = self.end_users(claimed.iter().map(|work| work.id)).await?;
        let settled = claimed.iter().map(async |work| {
            let current = now.get(&work.id).map(|end_user| end_user.rev) == work.document;
            Ok(current && self.put_index_state(work.id, work.rev + 1, true, work.wanted.clone()).await?)
        });
        let settled = try_concurrently(settled).await?;

        let mine = |work: &IndexTask| end_users.get(&work.id).cloned().flatten().unwrap_or_default();
        let turned_away = works.iter().zip(claims).filter(|(_, won)| !won).map(|(work, _)| (work.id, Some(mine(work))));
        let overtaken = claimed.iter().zip(settled).filter(|(_, won)| !won);
        let overtaken = overtaken.map(|(work, _)| {
            let put = work.put.iter().cloned();
            (work.id, Some(mine(work).into_iter().chain(put).collect()))
        });
        Ok(turned_away.chain(overtaken).collect())
    }

    async fn work(
        &self,
        end_users: &BTreeMap<EndUserId, Option<BTreeSet<Entry>>>,
    ) -> Result<Vec<IndexTask>, StoreError> {
        let mut indexed = self.index_states(end_users.keys().copied()).await?;
        let now = self.end_users(end_users.keys().copied()).await?;
        let work = end_users
            .iter()
            .filter_map(|(id, mine)| IndexTask::new(*id, indexed.remove(id), now.get(id), mine.as_ref()));
        Ok(work.collect())
    }

    /// What the index says of itself.
    pub(super) async fn index_states(
        &self,
        ids: impl IntoIterator<Item = EndUserId>,
    ) -> Result<BTreeMap<EndUserId, IndexStateItem>, StoreError> {
        let items = self.get_all(ids.into_iter().map(|id| keys::index_state(&self.tenant, id)).collect()).await?;
        items.into_iter().map(|item| Ok((items::read_id(&item, "sk")?, from_item(item).map_err(unreadable)?))).collect()
    }

    /// Whether `Indexed` could be put over its version `rev`; over none where that is 0.
    async fn put_index_state(
        &self,
        id: EndUserId,
        rev: u64,
        settled: bool,
        entries: BTreeSet<Entry>,
    ) -> Result<bool, StoreError> {
        let item = to_item(IndexStateItem::new(&self.tenant, id, rev + 1, settled, &entries)).map_err(unreadable)?;
        self.put_version(item, rev).await
    }

    /// The places in orders at which something was put or deleted.
    fn changed_places(&self, works: &[&IndexTask]) -> BTreeMap<SortField, BTreeSet<String>> {
        let mut touched: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
        for work in works {
            for entry in work.put.iter().chain(&work.gone) {
                if let Entry::Sort(field, _) = entry {
                    touched.entry(*field).or_default().insert(keys::entry(&self.tenant, entry, work.id).sk);
                }
            }
        }
        touched
    }

    async fn write_entries(&self, works: &[&IndexTask]) -> Result<(), StoreError> {
        let mut writes = Vec::new();
        for work in works {
            for entry in &work.put {
                let item = entry_item(&keys::entry(&self.tenant, entry, work.id));
                let put = PutRequest::builder().set_item(Some(item)).build().map_err(unreadable)?;
                writes.push(WriteRequest::builder().put_request(put).build());
            }
            for entry in &work.gone {
                let key = primary(&keys::entry(&self.tenant, entry, work.id));
                let delete = DeleteRequest::builder().set_key(Some(key)).build().map_err(unreadable)?;
                writes.push(WriteRequest::builder().delete_request(delete).build());
            }
        }
        // DynamoDB takes 25 writes a call.
        try_concurrently(writes.chunks(25).map(|chunk| self.write_chunk(chunk.to_vec()))).await.map(drop)
    }

    async fn write_chunk(&self, mut writes: Vec<WriteRequest>) -> Result<(), StoreError> {
        for tries in 1.. {
            let request = self
                .client()
                .batch_write_item()
                .request_items(self.table(), writes)
                .return_consumed_capacity(ReturnConsumedCapacity::Total);
            let answer = self.call(Kind::Write, || request.clone().send()).await?;
            self.meter.spend(Kind::Write, answer.consumed_capacity());
            writes = answer.unprocessed_items.into_iter().flatten().flat_map(|(_, left)| left).collect();
            if writes.is_empty() {
                break;
            }
            self.back_off(tries, "unprocessed items").await?;
        }
        Ok(())
    }

    /// The end users who have all of `terms`, as the index knows them. The terms are looked up side by
    /// side; when one is short and another long, the few are read and tested instead.
    pub(super) async fn find_words(&self, terms: &BTreeSet<Term>) -> Result<BTreeSet<EndUserId>, StoreError> {
        let queries: Vec<_> = terms.iter().map(|term| self.word_query(term)).collect();
        let first = queries.iter().map(|query| self.query_once(query, usize::MAX, None));
        let mut sets = Vec::with_capacity(terms.len());
        let mut unfinished = Vec::new();
        for (query, (items, next)) in queries.iter().zip(futures::future::try_join_all(first).await?) {
            match next {
                None => sets.push(ids(&items)?),
                Some(next) => unfinished.push((query, ids(&items)?, next)),
            }
        }
        sets.sort_by_key(BTreeSet::len);
        if let Some(few) = sets.first().filter(|set| !unfinished.is_empty() && set.len() <= FEW) {
            let end_users = self.end_users(few.iter().copied()).await?;
            let asked = Search::all_of(terms);
            return Ok(end_users.into_values().filter(|p| asked.matches(&p.terms())).map(|p| p.id).collect());
        }
        let rest = unfinished.into_iter().map(|(query, found, next)| self.rest_of_word(query, found, next));
        sets.extend(futures::future::try_join_all(rest).await?);
        sets.sort_by_key(BTreeSet::len);
        let mut sets = sets.into_iter();
        let smallest = sets.next().unwrap_or_default();
        Ok(sets.fold(smallest, |all, set| all.into_iter().filter(|id| set.contains(id)).collect()))
    }

    fn word_query(&self, term: &Term) -> Query<'static> {
        let Key { pk, sk } = keys::word_entries(&self.tenant, term);
        Query { bound: Bound::Prefix(sk), projection: Some("sk"), ..Query::table(pk) }
    }

    async fn rest_of_word(
        &self,
        query: &Query<'_>,
        mut found: BTreeSet<EndUserId>,
        start: Item,
    ) -> Result<BTreeSet<EndUserId>, StoreError> {
        self.walk_all(query, Some(start), |entry| {
            found.insert(items::read_id(&entry, "sk")?);
            Ok(())
        })
        .await?;
        Ok(found)
    }
}

fn ids(entries: &[Item]) -> Result<BTreeSet<EndUserId>, StoreError> {
    entries.iter().map(|entry| items::read_id(entry, "sk")).collect()
}
