//! The index over end users: an entry per order and per search term, written after the documents.

mod check;
mod rank;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_dynamo::aws_sdk_dynamodb_1::{from_item, to_item};

pub(super) use check::MAX_RECHECKS;
pub use check::{BrokenEndUser, Check, CheckOptions, Progress, WrongBlock, WrongEndUser};
pub(super) use rank::{RankBlock, RankState, Seek};

use super::Scope;
use super::entry::{Entry, entries};
use super::error::{StoreError, unreadable};
use super::items::{self, Item, TOMBSTONE_TTL, expires_at, primary_key};
use super::keys::{self, ENTRIES_VERSION, Key};
use super::table::{Write, number, string, try_concurrently};
use crate::domain::end_user::{EndUser, SortField};
use crate::domain::ids::{EndUserId, Tenant};

/// The index state of one end user: the entries that the index has of it.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct IndexStateItem {
    pk: String,
    sk: String,
    kind: String,
    v: u32,
    /// The number of writes of this item.
    rev: u64,
    /// Whether the index has exactly `entries`. Otherwise it has a subset of them.
    #[serde(default)]
    complete: bool,
    entries: Vec<String>,
    entries_version: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<u64>,
}

impl IndexStateItem {
    fn new(tenant: &Tenant, id: EndUserId, rev: u64, complete: bool, entries: &BTreeSet<Entry>) -> Self {
        let Key { pk, sk } = keys::index_state(tenant, id);
        Self {
            pk,
            sk,
            kind: "IndexState".to_owned(),
            v: 1,
            rev,
            complete,
            expires_at: entries.is_empty().then(|| expires_at(TOMBSTONE_TTL)),
            entries: entries.iter().map(Entry::to_text).collect(),
            entries_version: ENTRIES_VERSION,
        }
    }

    /// Whether the index has exactly [`Self::entries`]. Otherwise it has a subset of them.
    fn is_exact(&self) -> bool {
        self.complete && self.entries_version == ENTRIES_VERSION
    }

    /// The listed entries, if they are of the current version.
    fn entries(&self) -> BTreeSet<Entry> {
        let is_current = self.entries_version == ENTRIES_VERSION;
        self.entries.iter().filter(|_| is_current).filter_map(|text| Entry::parse(text)).collect()
    }
}

fn entry_item(key: &Key) -> Item {
    let mut item = primary_key(key);
    item.insert("kind".to_owned(), string("Entry"));
    item.insert("v".to_owned(), number(1));
    item
}

/// The items that indexing a new end user leaves, for bulk loading.
pub(super) fn index_items(tenant: &Tenant, end_user: &EndUser) -> Result<Vec<Item>, StoreError> {
    let entries = entries(end_user);
    let state = to_item(IndexStateItem::new(tenant, end_user.id, 2, true, &entries)).map_err(unreadable)?;
    let entry_items = entries.iter().map(|entry| entry_item(&keys::entry(tenant, entry, end_user.id)));
    Ok(entry_items.chain([state]).collect())
}

/// The end users to index. The value is `None` at the first attempt. After a conflict, or for a repair, it is the set
/// of entries that may be in the index although `IndexState` does not list them.
type Unrecorded = BTreeMap<EndUserId, Option<BTreeSet<Entry>>>;

/// The work of indexing one end user.
struct IndexTask {
    id: EndUserId,
    /// The version of `IndexState` that was read; 0 if there was none.
    rev: u64,
    /// The revision of the document that was read; `None` if there was none.
    document: Option<u64>,
    /// The entries of the document.
    wanted: BTreeSet<Entry>,
    /// The entries to put.
    put: Vec<Entry>,
    /// The entries to delete.
    delete: Vec<Entry>,
}

impl IndexTask {
    /// Compares `IndexState` with the document. Returns `None` if the index needs no change.
    fn new(
        id: EndUserId,
        state: Option<IndexStateItem>,
        end_user: Option<&EndUser>,
        unrecorded: Option<&BTreeSet<Entry>>,
    ) -> Option<Self> {
        let wanted = end_user.map(entries).unwrap_or_default();
        let rev = state.as_ref().map_or(0, |state| state.rev);
        // After a conflict, this run may have deleted entries that the other run lists in `IndexState`.
        let exact = unrecorded.is_none() && state.as_ref().is_some_and(IndexStateItem::is_exact);
        let recorded = state.map(|state| state.entries()).unwrap_or_default();
        if exact && recorded == wanted {
            return None;
        }
        let possible: BTreeSet<Entry> = recorded.iter().chain(unrecorded.into_iter().flatten()).cloned().collect();
        let put = wanted.iter().filter(|entry| !exact || !recorded.contains(*entry)).cloned().collect();
        let delete = possible.difference(&wanted).cloned().collect();
        Some(Self { id, rev, document: end_user.map(|end_user| end_user.rev), wanted, put, delete })
    }

    /// All entries that may exist until the task is complete.
    fn claim(&self) -> BTreeSet<Entry> {
        self.wanted.iter().chain(&self.delete).cloned().collect()
    }
}

impl Scope<'_> {
    /// Indexes end users as they are now. Indexing after a write, repair and rebuild are this one operation. It may be
    /// repeated, run concurrently, and end at any point. If it fails, it must be repeated for all of `ids`.
    ///
    /// `IndexState` is read before the documents: a run that read an older document also read an older `IndexState`,
    /// and loses its conditional write. `IndexState` is written twice. The first write claims all entries that may
    /// exist until the end, so that after a run that ended early the next run knows what to correct. Before the second
    /// write the document is read again, and a run that finds it changed starts over.
    pub async fn index_end_users(&self, ids: impl IntoIterator<Item = EndUserId>) -> Result<(), StoreError> {
        self.index(ids.into_iter().map(|id| (id, None)).collect()).await
    }

    async fn index(&self, mut left: Unrecorded) -> Result<(), StoreError> {
        let mut backoff = self.table.backoff("index conflict");
        loop {
            left = self.index_once(&left).await?;
            if left.is_empty() {
                return Ok(());
            }
            backoff.wait().await?;
        }
    }

    /// Returns the end users with a conflict. Each comes with the entries that this run put and that the `IndexState`
    /// of the other run may not list.
    async fn index_once(&self, end_users: &Unrecorded) -> Result<Unrecorded, StoreError> {
        let tasks = self.index_tasks(end_users).await?;
        let claims = tasks.iter().map(|task| self.put_index_state(task.id, task.rev, false, task.claim()));
        let claims = try_concurrently(claims).await?;
        let claimed: Vec<_> = tasks.iter().zip(&claims).filter_map(|(task, won)| won.then_some(task)).collect();
        self.write_entries(&claimed).await?;
        self.refresh(self.changed_sort_keys(&claimed)).await?;
        // A run with a newer document may have ended before this run's claim, and found nothing to do.
        let current = self.end_users(claimed.iter().map(|task| task.id)).await?;
        let completions = claimed.iter().map(async |task| {
            let is_current = current.get(&task.id).map(|end_user| end_user.rev) == task.document;
            Ok(is_current && self.put_index_state(task.id, task.rev + 1, true, task.wanted.clone()).await?)
        });
        let completed = try_concurrently(completions).await?;

        let unrecorded = |task: &IndexTask| end_users.get(&task.id).cloned().flatten().unwrap_or_default();
        let unclaimed = tasks.iter().zip(claims).filter(|(_, won)| !won);
        let unclaimed = unclaimed.map(|(task, _)| (task.id, Some(unrecorded(task))));
        let overtaken = claimed.iter().zip(completed).filter(|(_, won)| !won);
        let overtaken = overtaken.map(|(task, _)| {
            let put = task.put.iter().cloned();
            (task.id, Some(unrecorded(task).into_iter().chain(put).collect()))
        });
        Ok(unclaimed.chain(overtaken).collect())
    }

    async fn index_tasks(&self, end_users: &Unrecorded) -> Result<Vec<IndexTask>, StoreError> {
        let mut states = self.index_states(end_users.keys().copied()).await?;
        let current = self.end_users(end_users.keys().copied()).await?;
        let tasks = end_users.iter().filter_map(|(id, unrecorded)| {
            IndexTask::new(*id, states.remove(id), current.get(id), unrecorded.as_ref())
        });
        Ok(tasks.collect())
    }

    /// The index states of end users, without the missing ones.
    async fn index_states(
        &self,
        ids: impl IntoIterator<Item = EndUserId>,
    ) -> Result<BTreeMap<EndUserId, IndexStateItem>, StoreError> {
        let keys = ids.into_iter().map(|id| keys::index_state(&self.tenant, id)).collect();
        let items = self.table.get_all(keys).await?.into_iter();
        items.map(|item| Ok((items::read_id(&item, "sk")?, from_item(item).map_err(unreadable)?))).collect()
    }

    /// Puts `IndexState` on condition that its version is `rev`; 0 means that there is none. Returns whether the
    /// condition was met.
    async fn put_index_state(
        &self,
        id: EndUserId,
        rev: u64,
        complete: bool,
        entries: BTreeSet<Entry>,
    ) -> Result<bool, StoreError> {
        let item = to_item(IndexStateItem::new(&self.tenant, id, rev + 1, complete, &entries)).map_err(unreadable)?;
        self.table.put_version(item, rev).await
    }

    /// The sort keys that were put or deleted, by order.
    fn changed_sort_keys(&self, tasks: &[&IndexTask]) -> BTreeMap<SortField, BTreeSet<String>> {
        let mut changed: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
        for task in tasks {
            for entry in task.put.iter().chain(&task.delete) {
                if let Entry::Sort(field, _) = entry {
                    changed.entry(*field).or_default().insert(keys::entry(&self.tenant, entry, task.id).sk);
                }
            }
        }
        changed
    }

    async fn write_entries(&self, tasks: &[&IndexTask]) -> Result<(), StoreError> {
        let key = |task: &IndexTask, entry: &Entry| keys::entry(&self.tenant, entry, task.id);
        let mut writes = Vec::new();
        for task in tasks {
            writes.extend(task.put.iter().map(|entry| Write::Put(entry_item(&key(task, entry)))));
            writes.extend(task.delete.iter().map(|entry| Write::Delete(key(task, entry))));
        }
        self.table.write_all(writes).await
    }
}
