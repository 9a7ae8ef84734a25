//! Index check and repair: compares a tenant's index with its documents, for an operator. The table may be written to
//! meanwhile.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use futures::stream::{self, BoxStream};
use futures::{StreamExt, TryStreamExt};
use serde_dynamo::aws_sdk_dynamodb_1::from_item;

use super::IndexStateItem;
use super::rank::{Level, RankBlock, RankState};
use crate::domain::end_user::SortField;
use crate::domain::ids::EndUserId;
use crate::store::Scope;
use crate::store::entry::{Entry, entries};
use crate::store::error::{StoreError, unreadable};
use crate::store::items::{self, text};
use crate::store::keys::{self, BlockSize, FIRST_BLOCK, Key};
use crate::store::query::Query;
use crate::store::table::try_concurrently;

/// The most partitions of entries that are read concurrently.
const MAX_CONCURRENT_PARTITIONS: usize = 8;
/// The most suspects of which all entries are in memory at a time; they take some 300 MB.
const MAX_SUSPECTS: usize = 100_000;
/// The most times that a suspect is checked.
pub(in crate::store) const MAX_RECHECKS: u32 = 5;

/// The options of a check.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CheckOptions {
    /// Whether errors are repaired.
    pub repair: bool,
    /// The time between two checks of a suspect: longer than indexing a write takes, so that a write that is being
    /// indexed does not count as an error.
    pub recheck_after: Duration,
}

/// The progress of a check.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Progress {
    /// The current stage.
    pub stage: &'static str,
    /// The amount that is done in this stage.
    pub done: u64,
    /// The whole amount, if it is known.
    pub of: Option<u64>,
}

/// The errors in the index of one end user.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct WrongEndUser {
    /// The id of the end user.
    pub id: EndUserId,
    /// The revision of the document; `None` if the end user is deleted.
    rev: Option<u64>,
    /// The number of missing entries.
    pub missing: usize,
    /// The entries that should not exist.
    surplus: BTreeSet<Entry>,
    /// Whether `IndexState` is wrong.
    pub record: bool,
}

impl WrongEndUser {
    /// The number of entries that should not exist.
    pub fn surplus(&self) -> usize {
        self.surplus.len()
    }
}

/// An end user whose index cannot be checked or repaired.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BrokenEndUser {
    /// The id of the end user.
    pub id: EndUserId,
    /// The error, without personal data.
    pub reason: String,
}

/// A rank block with a wrong number of entries.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct WrongBlock {
    /// The field of the order.
    pub field: SortField,
    /// The size of the block.
    pub size: BlockSize,
    /// The stored number of entries.
    pub held: u64,
    /// The counted number of entries.
    pub counted: u64,
    start: String,
}

/// The result of a check.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Check {
    /// The number of documents.
    pub end_users: u64,
    /// The number of end users according to the counter shards.
    pub counted: u64,
    /// The number of index entries.
    pub entries: u64,
    /// The number of rank blocks.
    pub blocks: u64,
    /// The orders whose rank index is being built, and was not checked.
    pub building: Vec<SortField>,
    /// The orders whose build is stalled. A repair finishes it.
    pub stalled: Vec<SortField>,
    /// The end users with errors in their index.
    pub wrong_end_users: Vec<WrongEndUser>,
    /// The rank blocks with a wrong number of entries.
    pub wrong_blocks: Vec<WrongBlock>,
    /// The end users whose stored look-up keys are wrong.
    pub wrong_pointers: Vec<EndUserId>,
    /// The end users that could not be checked or repaired.
    pub broken: Vec<BrokenEndUser>,
}

impl Check {
    /// Whether the check found no error.
    pub fn is_clean(&self) -> bool {
        let is_right =
            self.wrong_end_users.is_empty() && self.wrong_blocks.is_empty() && self.wrong_pointers.is_empty();
        is_right && self.is_repaired()
    }

    /// Whether a repair left no error.
    pub fn is_repaired(&self) -> bool {
        self.stalled.is_empty() && self.broken.is_empty()
    }
}

/// Sums of hashes of an end user's entries. Equal sums count as equal sets of entries.
#[derive(Default)]
struct Fingerprint {
    /// The sum of the document's entries.
    document: u64,
    /// The sum of the entries in the index.
    index: u64,
    /// The sum of the entries that `IndexState` lists; `None` without a complete `IndexState`.
    state: Option<u64>,
}

impl Fingerprint {
    fn is_suspect(&self) -> bool {
        self.index != self.document || self.state != Some(self.document)
    }
}

fn hash(key: &Key) -> u64 {
    let mut hasher = DefaultHasher::new();
    key.hash(&mut hasher);
    hasher.finish()
}

/// A page of index entries: their keys, end users and contents.
type EntryPage = Vec<(Key, EndUserId, Entry)>;

impl Scope<'_> {
    /// Compares the tenant's index with its documents, and with [`CheckOptions::repair`] repairs it: end users in
    /// bounded groups, and the blocks of one order at a time. An end user that cannot be read or repaired is listed in
    /// the result, and the check goes on with the others.
    ///
    /// Reads every document and entry of the tenant once, and the entries of each order with a rank index once more.
    /// Needs some 50 bytes of memory per end user. For every 100,000 suspects it reads all entries again.
    pub async fn check_index(
        &self,
        options: CheckOptions,
        on_progress: &(dyn Fn(Progress) + Sync),
    ) -> Result<Check, StoreError> {
        let mut check = Check::default();
        let suspects = self.suspects(&mut check, on_progress).await?;
        for suspects in suspects.chunks(MAX_SUSPECTS) {
            let mut wrong = self.confirm(suspects.iter().copied().collect(), options, on_progress).await?;
            if options.repair {
                let broken = self.repair_end_users(&wrong, on_progress).await?;
                wrong.retain(|end_user| broken.iter().all(|broken| broken.id != end_user.id));
                check.broken.extend(broken);
            }
            check.wrong_end_users.extend(wrong);
        }
        for id in self.wrong_pointers(options, on_progress).await? {
            match if options.repair { self.repair_pointers(id).await } else { Ok(()) } {
                Ok(()) => check.wrong_pointers.push(id),
                Err(error @ StoreError::Unexpected(_)) => {
                    check.broken.push(BrokenEndUser { id, reason: error.to_string() });
                }
                Err(error) => return Err(error),
            }
        }
        for field in SortField::ALL {
            self.check_rank_index(field, options, &mut check, on_progress).await?;
        }
        Ok(check)
    }

    async fn check_rank_index(
        &self,
        field: SortField,
        options: CheckOptions,
        check: &mut Check,
        on_progress: &(dyn Fn(Progress) + Sync),
    ) -> Result<(), StoreError> {
        let mut state = self.rank_state(field).await?;
        if options.repair && state == RankState::Stalled {
            on_progress(Progress { stage: "building a rank index", done: check.blocks, of: None });
            self.finish_build(field).await?;
            state = self.rank_state(field).await?;
        }
        match state {
            RankState::Absent => return Ok(()),
            RankState::Building => {
                check.building.push(field);
                return Ok(());
            }
            RankState::Stalled => {
                check.stalled.push(field);
                return Ok(());
            }
            RankState::Ready => {}
        }
        // Small blocks come first, because large blocks are counted from them.
        for level in [Level::small(field), Level::large(field)] {
            on_progress(Progress { stage: "checking rank blocks", done: check.blocks, of: None });
            let wrong = self.wrong_blocks(level, options, &mut check.blocks).await?;
            if options.repair {
                try_concurrently(wrong.iter().map(|block| self.refresh_block(level, &block.start))).await?;
            }
            check.wrong_blocks.extend(wrong);
        }
        Ok(())
    }

    /// The end users of which document, entries and `IndexState` differ. If one of them cannot be read, the end user is
    /// added to `check.broken` instead.
    async fn suspects(
        &self,
        check: &mut Check,
        on_progress: &(dyn Fn(Progress) + Sync),
    ) -> Result<Vec<EndUserId>, StoreError> {
        let mut fingerprints: HashMap<EndUserId, Fingerprint> = HashMap::new();
        let mut broken = BTreeMap::new();
        let sum = |entries: BTreeSet<Entry>, id| {
            let hashes = entries.iter().map(|entry| hash(&keys::entry(&self.tenant, entry, id)));
            hashes.fold(0, u64::wrapping_add)
        };

        let mut expected = 0;
        check.counted = self.count().await?;
        let mut documents = self.table.items(Query::table(keys::end_users(&self.tenant)).strong());
        while let Some(item) = documents.try_next().await? {
            check.end_users += 1;
            let id = items::read_id(&item, "sk")?;
            let Ok(end_user) = items::read_end_user(item) else {
                broken.insert(id, "its document cannot be read");
                continue;
            };
            let entries = entries(&end_user);
            expected += entries.len() as u64;
            fingerprints.entry(id).or_default().document = sum(entries, id);
            on_progress(Progress { stage: "reading documents", done: check.end_users, of: Some(check.counted) });
        }

        let mut pages = self.all_entries();
        while let Some(page) = pages.try_next().await? {
            check.entries += page.len() as u64;
            for (key, id, _) in page {
                let index = &mut fingerprints.entry(id).or_default().index;
                *index = index.wrapping_add(hash(&key));
            }
            on_progress(Progress { stage: "reading the index", done: check.entries, of: Some(expected) });
        }

        let mut states = self.table.items(Query::table(keys::index_states(&self.tenant)));
        while let Some(item) = states.try_next().await? {
            let id = items::read_id(&item, "sk")?;
            let Ok(state) = from_item::<IndexStateItem>(item) else {
                broken.entry(id).or_insert("its index state cannot be read");
                continue;
            };
            fingerprints.entry(id).or_default().state = state.is_exact().then(|| sum(state.entries(), id));
        }

        fingerprints.retain(|id, fingerprint| fingerprint.is_suspect() && !broken.contains_key(id));
        let mut suspects: Vec<_> = fingerprints.into_keys().collect();
        suspects.sort();
        check.broken.extend(broken.into_iter().map(|(id, reason)| BrokenEndUser { id, reason: reason.to_owned() }));
        Ok(suspects)
    }

    /// All entries of the tenant, a page at a time. Reads several partitions concurrently.
    fn all_entries(&self) -> BoxStream<'_, Result<EntryPage, StoreError>> {
        let partitions: Vec<_> = keys::entry_partitions(&self.tenant).collect();
        let entries = stream::iter(partitions).flat_map_unordered(MAX_CONCURRENT_PARTITIONS, |(partition, reader)| {
            let query = Query { projection: Some("sk"), ..Query::table(partition.clone()) };
            let pages = self.table.pages(query).map(move |page| {
                let entries = page?.items.into_iter().map(|item| {
                    let sk = text(&item, "sk")?;
                    let (entry, id) = reader.read(sk).ok_or_else(|| unreadable("an entry without an id"))?;
                    Ok((Key { pk: partition.clone(), sk: sk.to_owned() }, id, entry))
                });
                entries.collect()
            });
            pages.boxed()
        });
        entries.boxed()
    }

    /// Confirms suspects: returns those with errors at two checks, without a write between them. An end user that is
    /// written to all the time is left out, because each of its writes is indexed again.
    async fn confirm(
        &self,
        mut suspects: BTreeSet<EndUserId>,
        options: CheckOptions,
        on_progress: &(dyn Fn(Progress) + Sync),
    ) -> Result<Vec<WrongEndUser>, StoreError> {
        let indexed = self.entries_of(&suspects).await?;
        let (mut confirmed, mut revisions) = (Vec::new(), BTreeMap::new());
        for recheck in 0..MAX_RECHECKS {
            if suspects.is_empty() {
                break;
            }
            if recheck > 0 {
                tokio::time::sleep(options.recheck_after).await;
            }
            on_progress(Progress { stage: "checking suspects again", done: 0, of: Some(suspects.len() as u64) });
            let ids: Vec<_> = std::mem::take(&mut suspects).into_iter().collect();
            let wrong = try_concurrently(ids.chunks(25).map(|ids| self.wrong_end_users(ids, &indexed))).await?;
            for end_user in wrong.concat() {
                if revisions.insert(end_user.id, end_user.rev) == Some(end_user.rev) {
                    confirmed.push(end_user);
                } else {
                    suspects.insert(end_user.id);
                }
            }
        }
        Ok(confirmed)
    }

    /// All entries of some end users in the index, by end user.
    async fn entries_of(
        &self,
        end_users: &BTreeSet<EndUserId>,
    ) -> Result<HashMap<EndUserId, BTreeSet<Entry>>, StoreError> {
        let mut indexed: HashMap<_, BTreeSet<_>> = HashMap::new();
        let mut pages = self.all_entries();
        while let Some(page) = pages.try_next().await? {
            for (_, id, entry) in page.into_iter().filter(|(_, id, _)| end_users.contains(id)) {
                indexed.entry(id).or_default().insert(entry);
            }
        }
        Ok(indexed)
    }

    /// Compares end users with their entries. Reads the entries that differ strongly.
    async fn wrong_end_users(
        &self,
        ids: &[EndUserId],
        indexed: &HashMap<EndUserId, BTreeSet<Entry>>,
    ) -> Result<Vec<WrongEndUser>, StoreError> {
        let states = self.index_states(ids.iter().copied()).await?;
        let end_users = self.end_users(ids.iter().copied()).await?;
        let mut wrong = Vec::new();
        for id in ids {
            let wanted = end_users.get(id).map(entries).unwrap_or_default();
            let none = BTreeSet::new();
            let differing: Vec<_> = wanted.symmetric_difference(indexed.get(id).unwrap_or(&none)).cloned().collect();
            let existing = self.existing_entries(*id, &differing).await?;
            let missing =
                differing.iter().filter(|entry| wanted.contains(*entry) && !existing.contains(*entry)).count();
            let surplus: BTreeSet<_> = existing.into_iter().filter(|entry| !wanted.contains(entry)).collect();
            let record = match states.get(id) {
                Some(state) => !state.is_exact() || state.entries() != wanted,
                None => !wanted.is_empty(),
            };
            if missing > 0 || !surplus.is_empty() || record {
                let rev = end_users.get(id).map(|end_user| end_user.rev);
                wrong.push(WrongEndUser { id: *id, rev, missing, surplus, record });
            }
        }
        Ok(wrong)
    }

    /// The entries of an end user among `entries` that are in the index, read strongly.
    async fn existing_entries(&self, id: EndUserId, entries: &[Entry]) -> Result<BTreeSet<Entry>, StoreError> {
        let by_key: BTreeMap<_, _> = entries.iter().map(|e| (keys::entry(&self.tenant, e, id), e.clone())).collect();
        let found = self.table.get_all(by_key.keys().cloned().collect()).await?;
        found.iter().map(|item| Ok(by_key[&items::read_key(item)?].clone())).collect()
    }

    /// Repairs end users. Returns those that DynamoDB or a stored item does not allow to repair.
    async fn repair_end_users(
        &self,
        wrong: &[WrongEndUser],
        on_progress: &(dyn Fn(Progress) + Sync),
    ) -> Result<Vec<BrokenEndUser>, StoreError> {
        let (mut broken, mut done) = (Vec::new(), 0);
        let mut groups: Vec<&[WrongEndUser]> = wrong.chunks(25).rev().collect();
        while let Some(group) = groups.pop() {
            let end_users = group.iter().map(|end_user| (end_user.id, Some(end_user.surplus.clone())));
            match (self.index(end_users.collect()).await, group) {
                (Ok(()), _) => {}
                (Err(StoreError::Unexpected(reason)), [end_user]) => {
                    broken.push(BrokenEndUser { id: end_user.id, reason });
                }
                // The others of the group are repaired one by one.
                (Err(StoreError::Unexpected(_)), _) => {
                    groups.extend(group.chunks(1));
                    continue;
                }
                (Err(unavailable), _) => return Err(unavailable),
            }
            done += group.len() as u64;
            on_progress(Progress { stage: "repairing end users", done, of: Some(wrong.len() as u64) });
        }
        Ok(broken)
    }

    /// The blocks of a level with a wrong number of entries. Adds the number of stored blocks to `read`.
    async fn wrong_blocks(
        &self,
        level: Level,
        options: CheckOptions,
        read: &mut u64,
    ) -> Result<Vec<WrongBlock>, StoreError> {
        let stored: BTreeSet<RankBlock> = self.rank_blocks(self.blocks_query(level)).await?.into_iter().collect();
        *read += stored.len() as u64;
        let mut counted = BTreeSet::new();
        let mut next = Some(FIRST_BLOCK.to_owned());
        while let Some(start) = next {
            let (blocks, after) = self.count_page(level, start).await?;
            counted.extend(blocks);
            next = after;
        }
        let starts: BTreeSet<_> = stored.symmetric_difference(&counted).map(|block| block.start.as_str()).collect();
        let checks = starts.into_iter().map(|start| self.wrong_block(level, start, options));
        Ok(try_concurrently(checks).await?.into_iter().flatten().collect())
    }

    /// A block, if its number is wrong at two checks without a write between them.
    async fn wrong_block(
        &self,
        level: Level,
        start: &str,
        options: CheckOptions,
    ) -> Result<Option<WrongBlock>, StoreError> {
        let mut last_rev = None;
        for recheck in 0..MAX_RECHECKS {
            if recheck > 0 {
                tokio::time::sleep(options.recheck_after).await;
            }
            let (rev, held) = self.stored_block(level, start).await?.unwrap_or_default();
            let counted = self.count_block(level, start).await?;
            if held == counted {
                return Ok(None);
            }
            if last_rev.replace(rev) == Some(rev) {
                let Level { field, size } = level;
                return Ok(Some(WrongBlock { field, size, held, counted, start: start.to_owned() }));
            }
        }
        Ok(None)
    }
}
