//! Whether the index is what the documents say, and mending where it is not: for an operator, over a
//! table that goes on being written to.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use futures::StreamExt;
use serde_dynamo::aws_sdk_dynamodb_1::from_item;

use super::index::IndexStateItem;
use super::keys::{self, BlockSize, EntryReader, FIRST_BLOCK, Key};
use super::rank::{BuildState, RankBlock};
use super::{Entry, Item, Query, Scope, StoreError, entries, items, text, try_concurrently, unreadable};
use crate::domain::end_user::SortField;
use crate::domain::ids::EndUserId;

/// How many partitions are walked side by side.
const MAX_CONCURRENT_PARTITIONS: usize = 8;
/// Of how many suspects all entries are held in memory: some 300 MB of them.
const SUSPECTS: usize = 100_000;
/// How often at most what looks wrong is looked at.
pub(super) const MAX_RECHECKS: u32 = 5;

/// How a check is made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CheckOptions {
    /// Whether what is wrong is put right.
    pub repair: bool,
    /// How long what looks wrong is left alone before it is looked at again: longer than indexing a
    /// write takes, so that a write under way is not taken for a fault.
    pub recheck_after: Duration,
}

/// How far a check has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Progress {
    /// What is being done.
    pub stage: &'static str,
    /// Of how much.
    pub done: u64,
    /// How much there is, where that is known.
    pub of: Option<u64>,
}

/// What is wrong with the index of one end user.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct WrongEndUser {
    /// Whose it is.
    pub id: EndUserId,
    /// At which revision; `None` where the end user is deleted.
    rev: Option<u64>,
    /// How many entries are not there.
    pub missing: usize,
    /// The entries that should not be there.
    surplus: BTreeSet<Entry>,
    /// Whether what the index knows of itself is wrong too, or alone.
    pub record: bool,
}

impl WrongEndUser {
    /// How many entries should not be there.
    pub fn surplus(&self) -> usize {
        self.surplus.len()
    }
}

/// An end user whose index cannot be checked or repaired.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BrokenEndUser {
    /// The id of the end user.
    pub id: EndUserId,
    /// What failed; holds no personal data.
    pub reason: String,
}

/// A block whose number is wrong.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct WrongBlock {
    /// Of which order.
    pub field: SortField,
    /// Of which size.
    pub size: BlockSize,
    /// How many entries it is said to hold.
    pub held: u64,
    /// How many it holds.
    pub counted: u64,
    start: String,
}

/// What a check found.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Check {
    /// The documents read.
    pub end_users: u64,
    /// The end users counted by the writes.
    pub counted: u64,
    /// The entries read.
    pub entries: u64,
    /// The blocks read.
    pub blocks: u64,
    /// The orders that are being counted for the first time, and are not checked.
    pub building: Vec<SortField>,
    /// The orders of which the count was given up half-way; a repair finishes it.
    pub stalled: Vec<SortField>,
    /// End users whose index is wrong.
    pub wrong_end_users: Vec<WrongEndUser>,
    /// Blocks that are.
    pub wrong_blocks: Vec<WrongBlock>,
    /// End users whose stored look-up keys are wrong.
    pub wrong_pointers: Vec<EndUserId>,
    /// End users that could not be checked or repaired.
    pub broken: Vec<BrokenEndUser>,
}

impl Check {
    /// Whether nothing is wrong.
    pub fn is_clean(&self) -> bool {
        let is_right =
            self.wrong_end_users.is_empty() && self.wrong_blocks.is_empty() && self.wrong_pointers.is_empty();
        is_right && self.is_repaired()
    }

    /// Whether a repair leaves nothing wrong.
    pub fn is_repaired(&self) -> bool {
        self.stalled.is_empty() && self.broken.is_empty()
    }
}

/// Sums of hashes, of which equal ones stand for equal sets of entries.
#[derive(Default)]
struct Fingerprint {
    /// Of the entries that the document makes.
    document: u64,
    /// Of those in the index.
    index: u64,
    /// Of those that `Indexed` names; `None` while it is not settled.
    indexed: Option<u64>,
}

fn hash(key: &Key) -> u64 {
    let mut hasher = DefaultHasher::new();
    key.hash(&mut hasher);
    hasher.finish()
}

type Fingerprints = Mutex<HashMap<EndUserId, Fingerprint>>;

impl Scope<'_> {
    /// Compares the tenant's index with its documents, and may put right what is wrong, a bounded
    /// number of end users at a time, and the blocks of an order at once. An end user that cannot be read or repaired is
    /// named in the result, and all others are checked.
    ///
    /// Reads every document and entry of the tenant once, the entries of each counted order once more,
    /// and holds some 50 bytes per end user; for every 100,000 who look wrong all entries are read again,
    /// strongly.
    pub async fn check_index(
        &self,
        how: CheckOptions,
        on_progress: &(dyn Fn(Progress) + Sync),
    ) -> Result<Check, StoreError> {
        let mut check = Check::default();
        let suspects = self.suspects(&mut check, on_progress).await?;
        for some in suspects.chunks(SUSPECTS) {
            let mut wrong = self.look_closely(some.iter().copied().collect(), how, on_progress).await?;
            if how.repair {
                let broken = self.repair_end_users(&wrong, on_progress).await?;
                wrong.retain(|end_user| broken.iter().all(|broken| broken.id != end_user.id));
                check.broken.extend(broken);
            }
            check.wrong_end_users.extend(wrong);
        }
        for id in self.wrong_pointers(how, on_progress).await? {
            match if how.repair { self.repair_pointers(id).await } else { Ok(()) } {
                Ok(()) => check.wrong_pointers.push(id),
                Err(error @ StoreError::Unexpected(_)) => {
                    check.broken.push(BrokenEndUser { id, reason: error.to_string() });
                }
                Err(error) => return Err(error),
            }
        }
        for field in SortField::ALL {
            let mut state = self.build_state(field).await?;
            if how.repair && state == Some(BuildState::Stalled) {
                on_progress(Progress { stage: "counting an order", done: check.blocks, of: None });
                self.finish_build(field).await?;
                state = self.build_state(field).await?;
            }
            match state {
                None => continue,
                Some(BuildState::Running) => {
                    check.building.push(field);
                    continue;
                }
                Some(BuildState::Stalled) => {
                    check.stalled.push(field);
                    continue;
                }
                Some(BuildState::Ready) => {}
            }
            // Large blocks are made of small ones, which are to be right first.
            for size in [BlockSize::Small, BlockSize::Large] {
                on_progress(Progress { stage: "checking blocks", done: check.blocks, of: None });
                let wrong = self.wrong_blocks(field, size, how, &mut check.blocks).await?;
                if how.repair {
                    try_concurrently(wrong.iter().map(|block| self.refresh_block(field, size, &block.start))).await?;
                }
                check.wrong_blocks.extend(wrong);
            }
        }
        Ok(check)
    }

    /// The end users of whom document, index and `Indexed` do not say the same. Those of whom one cannot be read go to
    /// `check.broken`.
    async fn suspects(
        &self,
        check: &mut Check,
        on_progress: &(dyn Fn(Progress) + Sync),
    ) -> Result<Vec<EndUserId>, StoreError> {
        let all = Fingerprints::default();
        let of = |id, act: &dyn Fn(&mut Fingerprint)| {
            act(all.lock().unwrap_or_else(PoisonError::into_inner).entry(id).or_default());
        };
        let mut expected = 0;
        check.counted = self.count().await?;
        let documents = Query::table(keys::end_users(&self.tenant)).strong();
        let mut broken = BTreeMap::new();
        self.walk_all(&documents, None, |item| {
            check.end_users += 1;
            let id = items::read_id(&item, "sk")?;
            let Ok(end_user) = items::read_end_user(item) else {
                broken.insert(id, "its document cannot be read");
                return Ok(());
            };
            let entries = entries(&end_user);
            expected += entries.len() as u64;
            let sum = entries.iter().map(|entry| hash(&keys::entry(&self.tenant, entry, end_user.id)));
            let sum = sum.fold(0, u64::wrapping_add);
            of(end_user.id, &|fingerprint| fingerprint.document = sum);
            on_progress(Progress { stage: "reading people", done: check.end_users, of: Some(check.counted) });
            Ok(())
        })
        .await?;

        let read = Mutex::new(0);
        let walks = keys::entry_partitions(&self.tenant).map(|(partition, reader)| {
            let (of, read) = (&of, &read);
            async move {
                self.walk_entries(&partition, reader, |key, id, _| {
                    let hash = hash(&key);
                    of(id, &|fingerprint| fingerprint.index = fingerprint.index.wrapping_add(hash));
                    let mut read = read.lock().unwrap_or_else(PoisonError::into_inner);
                    *read += 1;
                    on_progress(Progress { stage: "reading the index", done: *read, of: Some(expected) });
                })
                .await
            }
        });
        walk_side_by_side(walks.collect()).await?;
        check.entries = read.into_inner().unwrap_or_else(PoisonError::into_inner);

        let indexed = Query::table(keys::index_states(&self.tenant));
        self.walk_all(&indexed, None, |item| {
            let id = items::read_id(&item, "sk")?;
            let Ok(item) = from_item::<IndexStateItem>(item) else {
                broken.entry(id).or_insert("its index state cannot be read");
                return Ok(());
            };
            let entries = item.is_exact().then(|| item.entries());
            let hashes = entries.map(|entries| entries.into_iter().map(|e| hash(&keys::entry(&self.tenant, &e, id))));
            let sum = hashes.map(|hashes| hashes.fold(0, u64::wrapping_add));
            of(id, &|fingerprint| fingerprint.indexed = sum);
            Ok(())
        })
        .await?;
        let all = all.into_inner().unwrap_or_else(PoisonError::into_inner);
        let unlike = |f: &Fingerprint| f.index != f.document || f.indexed.unwrap_or(!f.document) != f.document;
        let mut suspects: Vec<_> = all.into_iter().filter(|(_, f)| unlike(f)).map(|(id, _)| id).collect();
        suspects.retain(|id| !broken.contains_key(id));
        suspects.sort();
        check.broken.extend(broken.into_iter().map(|(id, reason)| BrokenEndUser { id, reason: reason.to_owned() }));
        Ok(suspects)
    }

    /// What is wrong with some end users at two looks, though they were not written to between them. Who is
    /// written to all the time is let alone: the index of a write is put right behind it.
    async fn look_closely(
        &self,
        mut suspects: BTreeSet<EndUserId>,
        how: CheckOptions,
        on_progress: &(dyn Fn(Progress) + Sync),
    ) -> Result<Vec<WrongEndUser>, StoreError> {
        let held = self.entries_of(&suspects).await?;
        let (mut confirmed, mut seen) = (Vec::new(), BTreeMap::new());
        for look in 0..MAX_RECHECKS {
            if suspects.is_empty() {
                break;
            }
            if look > 0 {
                tokio::time::sleep(how.recheck_after).await;
            }
            on_progress(Progress { stage: "looking closely", done: 0, of: Some(suspects.len() as u64) });
            let ids: Vec<_> = std::mem::take(&mut suspects).into_iter().collect();
            for end_user in try_concurrently(ids.chunks(25).map(|ids| self.wrong_end_users(ids, &held))).await?.concat()
            {
                if seen.insert(end_user.id, end_user.rev) == Some(end_user.rev) {
                    confirmed.push(end_user);
                } else {
                    suspects.insert(end_user.id);
                }
            }
        }
        Ok(confirmed)
    }

    /// The entries that the index has of some end users, whether they should be there or not.
    async fn entries_of(
        &self,
        end_users: &BTreeSet<EndUserId>,
    ) -> Result<HashMap<EndUserId, BTreeSet<Entry>>, StoreError> {
        let held: Mutex<HashMap<_, BTreeSet<_>>> = Mutex::default();
        let walks = keys::entry_partitions(&self.tenant).map(|(partition, reader)| {
            let held = &held;
            async move {
                self.walk_entries(&partition, reader, |_, id, entry| {
                    if end_users.contains(&id) {
                        held.lock().unwrap_or_else(PoisonError::into_inner).entry(id).or_default().insert(entry);
                    }
                })
                .await
            }
        });
        walk_side_by_side(walks.collect()).await?;
        Ok(held.into_inner().unwrap_or_else(PoisonError::into_inner))
    }

    async fn wrong_end_users(
        &self,
        ids: &[EndUserId],
        held: &HashMap<EndUserId, BTreeSet<Entry>>,
    ) -> Result<Vec<WrongEndUser>, StoreError> {
        let indexed = self.index_states(ids.iter().copied()).await?;
        let end_users = self.end_users(ids.iter().copied()).await?;
        let mut wrong = Vec::new();
        for id in ids {
            let wanted = end_users.get(id).map(entries).unwrap_or_default();
            let nothing = BTreeSet::new();
            let seen = held.get(id).unwrap_or(&nothing);
            let doubtful: Vec<_> = wanted.symmetric_difference(seen).cloned().collect();
            let there = self.existing_entries(*id, &doubtful).await?;
            let missing = doubtful.iter().filter(|entry| wanted.contains(*entry) && !there.contains(*entry)).count();
            let surplus: BTreeSet<_> = there.into_iter().filter(|entry| !wanted.contains(entry)).collect();
            let record = match indexed.get(id) {
                Some(indexed) => !indexed.is_exact() || indexed.entries() != wanted,
                None => !wanted.is_empty(),
            };
            if missing > 0 || !surplus.is_empty() || record {
                let rev = end_users.get(id).map(|end_user| end_user.rev);
                wrong.push(WrongEndUser { id: *id, rev, missing, surplus, record });
            }
        }
        Ok(wrong)
    }

    /// Those of some entries of an end user that are in the index, read strongly.
    async fn existing_entries(&self, id: EndUserId, entries: &[Entry]) -> Result<BTreeSet<Entry>, StoreError> {
        let by_key: BTreeMap<_, _> = entries.iter().map(|e| (keys::entry(&self.tenant, e, id), e.clone())).collect();
        let found = self.get_all(by_key.keys().cloned().collect()).await?;
        let key = |item: &Item| {
            let part = |name| text(item, name).map(str::to_owned);
            Ok::<_, StoreError>(Key { pk: part("pk")?, sk: part("sk")? })
        };
        found.iter().map(|item| Ok(by_key[&key(item)?].clone())).collect()
    }

    /// Repairs these end users, and returns those of them for which DynamoDB or the stored items leave no way.
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
                    broken.push(BrokenEndUser { id: end_user.id, reason })
                }
                // One that cannot be repaired stops no other.
                (Err(StoreError::Unexpected(_)), _) => {
                    groups.extend(group.chunks(1));
                    continue;
                }
                (Err(unavailable), _) => return Err(unavailable),
            }
            done += group.len() as u64;
            on_progress(Progress { stage: "mending people", done, of: Some(wrong.len() as u64) });
        }
        Ok(broken)
    }

    /// The blocks of an order that do not hold what they are said to.
    async fn wrong_blocks(
        &self,
        field: SortField,
        size: BlockSize,
        how: CheckOptions,
        read: &mut u64,
    ) -> Result<Vec<WrongBlock>, StoreError> {
        let held = self.rank_blocks(&Query::table(keys::rank_blocks(&self.tenant, field, size))).await?;
        *read += held.len() as u64;
        let mut made = BTreeSet::new();
        let mut next = Some(FIRST_BLOCK.to_owned());
        while let Some(start) = next {
            let (blocks, more) = self.cut_page(field, size, start).await?;
            made.extend(blocks);
            next = more;
        }
        let held: BTreeSet<RankBlock> = held.into_iter().collect();
        let starts: BTreeSet<_> = held.symmetric_difference(&made).map(|block| block.start.as_str()).collect();
        let looks = try_concurrently(starts.into_iter().map(|start| self.wrong_block(field, size, start, how))).await?;
        Ok(looks.into_iter().flatten().collect())
    }

    /// A block, where it is wrong at two looks, though nobody counted it between them.
    async fn wrong_block(
        &self,
        field: SortField,
        size: BlockSize,
        start: &str,
        how: CheckOptions,
    ) -> Result<Option<WrongBlock>, StoreError> {
        let mut seen = None;
        for look in 0..MAX_RECHECKS {
            if look > 0 {
                tokio::time::sleep(how.recheck_after).await;
            }
            let (rev, held) = self.rank_block(field, size, start).await?.unwrap_or_default();
            let counted = self.count_block(field, size, start).await?;
            if held == counted {
                return Ok(None);
            }
            if seen.replace(rev) == Some(rev) {
                return Ok(Some(WrongBlock { field, size, held, counted, start: start.to_owned() }));
            }
        }
        Ok(None)
    }

    async fn walk_entries(
        &self,
        partition: &str,
        reader: EntryReader,
        mut meet: impl FnMut(Key, EndUserId, Entry),
    ) -> Result<(), StoreError> {
        let query = Query { projection: Some("sk"), ..Query::table(partition.to_owned()) };
        self.walk_all(&query, None, |item| {
            let sk = text(&item, "sk")?;
            let (entry, id) = reader.read(sk).ok_or_else(|| unreadable("an entry without an id"))?;
            meet(Key { pk: partition.to_owned(), sk: sk.to_owned() }, id, entry);
            Ok(())
        })
        .await
    }
}

async fn walk_side_by_side<F: Future<Output = Result<(), StoreError>>>(walks: Vec<F>) -> Result<(), StoreError> {
    let mut walks = futures::stream::iter(walks).buffer_unordered(MAX_CONCURRENT_PARTITIONS);
    while let Some(walked) = walks.next().await {
        walked?;
    }
    Ok(())
}
