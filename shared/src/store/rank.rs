//! Blocks: how many entries of an order stand before a place, so that any page of it is found at a
//! flat price.
//!
//! The entries of an order are cut into small blocks, of about 64 entries, and these into large
//! ones, of about 4,096: where, a pure function of the sort key says ([`keys::block_start`]), so that
//! no split has to be remembered. A block's number is never added to: it is counted anew, from what the
//! block holds, on the version that was read before the counting. So whoever counts last has seen
//! what all before him saw, and repeats, races and ends half-way leave nothing wrong behind.
//!
//! Only orders of which deep pages are asked for are counted: `RankState` names them. Its record in the
//! table's stream wakes the indexer, which counts one page of entries and moves the cursor on, and with
//! that wakes itself.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_dynamo::aws_sdk_dynamodb_1::{from_item, to_item};

use super::keys::{self, BlockSize, FIRST_BLOCK, Key};
use super::{Bound, Item, Query, Scope, StoreError, TOMBSTONE_TTL, expires_at, text, try_concurrently, unreadable};
use crate::domain::end_user::SortField;

/// How many entries or blocks are read at once when one block is counted: more than most hold.
const CHUNK: usize = 128;

/// An order whose blocks are kept.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct RankIndexItem {
    pk: String,
    sk: String,
    kind: String,
    v: u32,
    rev: u64,
    /// Whether all of it is counted.
    ready: bool,
    /// The start of the first small block that may not be; none: not one is.
    #[serde(skip_serializing_if = "Option::is_none")]
    cursor: Option<String>,
    /// When it was last written, in seconds since 1970.
    #[serde(default)]
    updated_at: u64,
}

impl RankIndexItem {
    /// Whether the count was given up: nobody has moved it on for longer than a page of entries takes.
    fn is_stalled(&self) -> bool {
        !self.ready && self.updated_at + STALLED_AFTER.as_secs() < expires_at(Duration::ZERO)
    }
}

/// After how long a count that is not moved on counts as given up: a page of entries takes seconds.
const STALLED_AFTER: Duration = Duration::from_secs(60);

/// How far the count of an order is, as a check sees it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum BuildState {
    /// All of it is counted.
    Ready,
    /// The indexer counts.
    Running,
    /// Nobody counts any more.
    Stalled,
}

/// One block. Without entries it stays as a tombstone: were it away, who counted it while it had some
/// could still put it.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct RankBlockItem {
    pk: String,
    sk: String,
    kind: String,
    v: u32,
    rev: u64,
    /// How many entries it holds.
    n: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<u64>,
}

/// Where a block starts, and how many entries it holds.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct RankBlock {
    pub start: String,
    pub n: u64,
}

/// How far an order is counted.
pub(super) enum RankState {
    /// Nobody asked for it.
    Not,
    /// It is being counted.
    Partly,
    /// Its count was given up half-way.
    Stalled,
    /// These are its large blocks.
    Wholly(Vec<RankBlock>),
}

/// From where in an order to read, and how many entries to pass over there.
#[derive(PartialEq, Eq, Debug)]
pub(super) struct Seek {
    pub bound: Bound,
    pub skip: u64,
}

/// The block that holds the entry behind `skip` others, the start of the one after it, and how many to
/// skip inside it; from the end where `descending`.
fn find(blocks: &[RankBlock], descending: bool, mut skip: u64) -> Option<(&RankBlock, Option<&str>, u64)> {
    let mut at = |i: usize| {
        let block = &blocks[i];
        if skip < block.n {
            return Some((block, blocks.get(i + 1).map(|next| next.start.as_str()), skip));
        }
        skip -= block.n;
        None
    };
    if descending { (0..blocks.len()).rev().find_map(&mut at) } else { (0..blocks.len()).find_map(&mut at) }
}

impl Scope<'_> {
    /// How far an order is counted.
    pub(super) async fn rank_state(&self, field: SortField) -> Result<RankState, StoreError> {
        let all = Query::table(keys::rank_blocks(&self.tenant, field, BlockSize::Large));
        let (state, large) = tokio::try_join!(self.build_state(field), self.rank_blocks(&all))?;
        Ok(match state {
            None => RankState::Not,
            Some(BuildState::Running) => RankState::Partly,
            Some(BuildState::Stalled) => RankState::Stalled,
            Some(BuildState::Ready) => RankState::Wholly(large),
        })
    }

    /// Asks that a count which was given up goes on: by a record in the stream, as at the first time.
    pub(super) async fn resume_build(&self, field: SortField) -> Result<(), StoreError> {
        match self.rank_index(field).await?.filter(RankIndexItem::is_stalled) {
            Some(RankIndexItem { rev, cursor, .. }) => self.put_rank_index(field, rev, cursor, false).await.map(drop),
            None => Ok(()),
        }
    }

    /// Counts an order to its end.
    pub(super) async fn finish_build(&self, field: SortField) -> Result<(), StoreError> {
        while matches!(self.build_state(field).await?, Some(BuildState::Running | BuildState::Stalled)) {
            self.build_next(field).await?;
        }
        Ok(())
    }

    /// Asks that an order is counted, where it is not.
    pub async fn start_build(&self, field: SortField) -> Result<(), StoreError> {
        self.put_rank_index(field, 0, None, false).await.map(drop)
    }

    /// Where the entry stands that `offset` others of the order stand before.
    pub(super) async fn seek_by_rank(
        &self,
        field: SortField,
        descending: bool,
        large: &[RankBlock],
        offset: u64,
    ) -> Result<Option<Seek>, StoreError> {
        let Some((block, after_large, skip)) = find(large, descending, offset) else { return Ok(None) };
        let bound = match after_large {
            Some(next) => Bound::Between(block.start.clone(), next.to_owned()),
            None => Bound::From(block.start.clone()),
        };
        let within = Query { bound, ..Query::table(keys::rank_blocks(&self.tenant, field, BlockSize::Small)) };
        let mut small = self.rank_blocks(&within).await?;
        small.retain(|block| Some(block.start.as_str()) != after_large);
        let Some((block, next, skip)) = find(&small, descending, skip) else { return Ok(None) };
        let bound = match (descending, next.or(after_large)) {
            (false, _) => Bound::From(block.start.clone()),
            (true, Some(next)) => Bound::Before(next.to_owned()),
            (true, None) => Bound::All,
        };
        Ok(Some(Seek { bound, skip }))
    }

    /// The blocks that hold something.
    pub(super) async fn rank_blocks(&self, query: &Query<'_>) -> Result<Vec<RankBlock>, StoreError> {
        let mut blocks = Vec::new();
        self.walk_all(query, None, |item| {
            let RankBlockItem { sk: start, n, .. } = from_item(item).map_err(unreadable)?;
            blocks.extend((n > 0).then_some(RankBlock { start, n }));
            Ok(())
        })
        .await?;
        Ok(blocks)
    }

    /// The orders that are counted.
    pub(super) async fn rank_indexes(&self) -> Result<Vec<SortField>, StoreError> {
        let query = Query::table(keys::rank_indexes(&self.tenant)).strong();
        let (items, _) = self.query(&query, SortField::ALL.len(), None).await?;
        items.iter().map(|item| Ok(SortField::parse(text(item, "sk")?))).filter_map(Result::transpose).collect()
    }

    /// Counts the blocks anew in which these entries were put or deleted, where their order is counted.
    ///
    /// Which orders are is read behind the writing: who counts an order for the first time then saw
    /// what was written, or is seen here.
    pub(super) async fn refresh(&self, touched: BTreeMap<SortField, BTreeSet<String>>) -> Result<(), StoreError> {
        if touched.is_empty() {
            return Ok(());
        }
        let mut counted = self.rank_indexes().await?;
        counted.retain(|field| touched.contains_key(field));
        try_concurrently(counted.iter().map(|field| self.recount_order(*field, touched[field].clone()))).await.map(drop)
    }

    async fn recount_order(&self, field: SortField, touched: BTreeSet<String>) -> Result<(), StoreError> {
        let small = self.recount_around(field, BlockSize::Small, touched).await?;
        self.recount_around(field, BlockSize::Large, small).await.map(drop)
    }

    /// Counts the blocks anew that hold, or held, these places; answers their starts.
    async fn recount_around(
        &self,
        field: SortField,
        size: BlockSize,
        mut places: BTreeSet<String>,
    ) -> Result<BTreeSet<String>, StoreError> {
        let mut groups = Vec::new();
        while let Some(last) = places.pop_last() {
            let own = keys::block_start(field, size, &last);
            // A block that came or went cut the one before it, or gave back to it.
            let cuts = keys::cut_at_entries(field) && own.as_ref() == Some(&last) && last != FIRST_BLOCK;
            let mut group = BTreeSet::from_iter(own.clone());
            if cuts || own.is_none() {
                let before = self.start_before(field, size, &last).await?;
                places.retain(|place| *place < before || keys::block_start(field, size, place).is_some());
                group.insert(before);
            }
            groups.push(group);
        }
        let groups = joined(groups);
        let parts: Vec<_> = groups.iter().flat_map(parts_of).collect();
        try_concurrently(parts.iter().map(|starts| self.refresh_together(field, size, starts))).await?;
        Ok(groups.into_iter().flatten().collect())
    }

    /// The start of the block that holds what stands right before `place`.
    async fn start_before(&self, field: SortField, size: BlockSize, place: &str) -> Result<String, StoreError> {
        let bound = Bound::Before(place.to_owned());
        let query = Query { bound, descending: true, ..self.parts(field, size) };
        let mut next = None;
        loop {
            let (items, more) = self.query_once(&query, CHUNK, next).await?;
            for part in items {
                let part = read_part(part, size)?;
                if part.n > 0
                    && let Some(start) = keys::block_start(field, size, &part.start)
                {
                    return Ok(start);
                }
            }
            if more.is_none() {
                return Ok(FIRST_BLOCK.to_owned());
            }
            next = more;
        }
    }

    /// What blocks of this size are made of, read strongly.
    fn parts(&self, field: SortField, size: BlockSize) -> Query<'static> {
        let partition = match size {
            BlockSize::Small => keys::sort_entries(&self.tenant, field),
            BlockSize::Large => keys::rank_blocks(&self.tenant, field, BlockSize::Small),
        };
        Query::table(partition).strong()
    }

    /// Counts the block that starts at `start`; without entries where none starts there any more.
    pub(super) async fn refresh_block(&self, field: SortField, size: BlockSize, start: &str) -> Result<(), StoreError> {
        self.refresh_together(field, size, &[start]).await
    }

    /// Counts some blocks, each on its version, and puts all of them or none: between a block that came or went and the one
    /// before it no reader sees entries twice or not at all.
    async fn refresh_together(&self, field: SortField, size: BlockSize, starts: &[&str]) -> Result<(), StoreError> {
        for tries in 1.. {
            let counted = starts.iter().map(async |start| {
                let rev = self.rank_block(field, size, start).await?.map_or(0, |(rev, _)| rev);
                let n = self.count_block(field, size, start).await?;
                Ok((self.block_item(field, size, &RankBlock { start: (*start).to_owned(), n }, rev)?, rev))
            });
            if self.put_versions(try_concurrently(counted).await?).await? {
                break;
            }
            self.back_off(tries, "block conflict").await?;
        }
        Ok(())
    }

    /// The version of a block, and how many entries it is said to hold.
    pub(super) async fn rank_block(
        &self,
        field: SortField,
        size: BlockSize,
        start: &str,
    ) -> Result<Option<(u64, u64)>, StoreError> {
        let key = keys::rank_block(&self.tenant, field, size, start);
        let held: Option<RankBlockItem> = self.get(key).await?.map(from_item).transpose().map_err(unreadable)?;
        Ok(held.map(|block| (block.rev, block.n)))
    }

    /// How many entries stand in the block that starts at `start`.
    pub(super) async fn count_block(&self, field: SortField, size: BlockSize, start: &str) -> Result<u64, StoreError> {
        let query = Query { bound: Bound::From(start.to_owned()), ..self.parts(field, size) };
        let stands_by_itself = start == FIRST_BLOCK || !keys::cut_at_entries(field);
        let (mut n, mut next) = (0, None);
        loop {
            let (items, more) = self.query_once(&query, CHUNK, next).await?;
            for part in items {
                let part = read_part(part, size)?;
                if part.n == 0 {
                    continue;
                }
                let other = keys::block_start(field, size, &part.start).is_some_and(|other| other != start);
                if other || (n == 0 && !stands_by_itself && part.start != start) {
                    return Ok(n);
                }
                n += part.n;
            }
            if more.is_none() {
                return Ok(n);
            }
            next = more;
        }
    }

    /// A block as it is put over its version `rev`.
    fn block_item(&self, field: SortField, size: BlockSize, block: &RankBlock, rev: u64) -> Result<Item, StoreError> {
        let Key { pk, sk } = keys::rank_block(&self.tenant, field, size, &block.start);
        let expires_at = (block.n == 0).then(|| expires_at(TOMBSTONE_TTL));
        let item = RankBlockItem { pk, sk, kind: "RankBlock".to_owned(), v: 1, rev: rev + 1, n: block.n, expires_at };
        to_item(item).map_err(unreadable)
    }

    async fn put_rank_index(
        &self,
        field: SortField,
        rev: u64,
        cursor: Option<String>,
        ready: bool,
    ) -> Result<bool, StoreError> {
        let Key { pk, sk } = keys::rank_index(&self.tenant, field);
        let updated_at = expires_at(Duration::ZERO);
        let item =
            RankIndexItem { pk, sk, kind: "RankIndex".to_owned(), v: 1, rev: rev + 1, ready, cursor, updated_at };
        self.put_version(to_item(item).map_err(unreadable)?, rev).await
    }

    /// How far the count of an order is; `None` where it is not to be.
    pub(super) async fn build_state(&self, field: SortField) -> Result<Option<BuildState>, StoreError> {
        let state = |counted: RankIndexItem| match counted.ready {
            true => BuildState::Ready,
            false if counted.is_stalled() => BuildState::Stalled,
            false => BuildState::Running,
        };
        Ok(self.rank_index(field).await?.map(state))
    }

    async fn rank_index(&self, field: SortField) -> Result<Option<RankIndexItem>, StoreError> {
        let item = self.get(keys::rank_index(&self.tenant, field)).await?;
        item.map(from_item).transpose().map_err(unreadable)
    }

    /// Goes on counting an order for the first time: one page of its entries, of 1 MB. May be repeated
    /// and raced without harm, and may end anywhere; while there is more to count, it leaves a
    /// record in the stream that asks for it.
    pub async fn build_next(&self, field: SortField) -> Result<(), StoreError> {
        let Some(counted) = self.rank_index(field).await?.filter(|counted| !counted.ready) else { return Ok(()) };
        let from = counted.cursor.unwrap_or_else(|| FIRST_BLOCK.to_owned());
        let (blocks, cursor) = self.cut_page(field, BlockSize::Small, from).await?;
        self.put_first(field, BlockSize::Small, &blocks).await?;
        if cursor.is_none() {
            let mut large = Some(FIRST_BLOCK.to_owned());
            while let Some(from) = large {
                let (blocks, next) = self.cut_page(field, BlockSize::Large, from).await?;
                self.put_first(field, BlockSize::Large, &blocks).await?;
                large = next;
            }
        }
        let ready = cursor.is_none();
        // Another may have counted on meanwhile, and then left its own record.
        self.put_rank_index(field, counted.rev, cursor, ready).await.map(drop)
    }

    /// The blocks from `start` on that one page of their parts holds wholly, and the start of the next.
    pub(super) async fn cut_page(
        &self,
        field: SortField,
        size: BlockSize,
        start: String,
    ) -> Result<(Vec<RankBlock>, Option<String>), StoreError> {
        let query = Query { bound: Bound::From(start.clone()), ..self.parts(field, size) };
        let (mut blocks, mut open, mut next) = (Vec::new(), RankBlock { start, n: 0 }, None);
        loop {
            let (items, more) = self.query_once(&query, usize::MAX, next).await?;
            for part in items {
                let part = read_part(part, size)?;
                let start = keys::block_start(field, size, &part.start).filter(|start| *start != open.start);
                if part.n > 0
                    && let Some(start) = start
                {
                    blocks.push(std::mem::replace(&mut open, RankBlock { start, n: 0 }));
                }
                open.n += part.n;
            }
            if more.is_none() {
                blocks.push(open);
                blocks.retain(|block| block.n > 0);
                return Ok((blocks, None));
            }
            if !blocks.is_empty() {
                blocks.retain(|block| block.n > 0);
                return Ok((blocks, Some(open.start)));
            }
            next = more;
        }
    }

    /// Puts blocks that nobody has counted yet; those that somebody has are counted anew.
    async fn put_first(&self, field: SortField, size: BlockSize, blocks: &[RankBlock]) -> Result<(), StoreError> {
        try_concurrently(blocks.iter().map(|block| self.put_first_block(field, size, block))).await.map(drop)
    }

    async fn put_first_block(&self, field: SortField, size: BlockSize, block: &RankBlock) -> Result<(), StoreError> {
        if self.put_version(self.block_item(field, size, block, 0)?, 0).await? {
            return Ok(());
        }
        self.refresh_block(field, size, &block.start).await
    }
}

/// The most blocks that are put together: the actions of a transaction.
const MAX_TOGETHER: usize = 100;

/// The groups, with those that have a block in common made one.
fn joined(groups: Vec<BTreeSet<String>>) -> Vec<BTreeSet<String>> {
    let mut joined: Vec<BTreeSet<String>> = Vec::new();
    for mut group in groups {
        let (common, mut others): (Vec<_>, Vec<_>) = joined.into_iter().partition(|other| !other.is_disjoint(&group));
        group.extend(common.into_iter().flatten());
        others.push(group);
        joined = others;
    }
    joined
}

/// A group, in parts that a transaction takes.
fn parts_of(group: &BTreeSet<String>) -> Vec<Vec<&str>> {
    let starts: Vec<_> = group.iter().map(String::as_str).collect();
    starts.chunks(MAX_TOGETHER).map(<[_]>::to_vec).collect()
}

/// A part of a block: an entry is one, and a small block has its number.
fn read_part(item: Item, size: BlockSize) -> Result<RankBlock, StoreError> {
    match size {
        BlockSize::Small => Ok(RankBlock { start: text(&item, "sk")?.to_owned(), n: 1 }),
        BlockSize::Large => {
            let item: RankBlockItem = from_item(item).map_err(unreadable)?;
            Ok(RankBlock { start: item.sk, n: item.n })
        }
    }
}
