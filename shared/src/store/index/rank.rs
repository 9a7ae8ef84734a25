//! Rank indexes: the number of entries before a position of an order, so that a far page costs as much as a near one
//! (an order-statistic index).
//!
//! The entries of an order are cut into small blocks of about 64 entries, and these into large blocks of about 4,096. A
//! pure function of the sort key decides where ([`keys::block_start`]), so that no split has to be stored. A block's
//! number is never incremented. It is counted again from the entries, and put on condition of the version that was read
//! before them. So the last run to count has seen everything that earlier runs saw, and repeats, concurrent runs and
//! runs that end early leave no wrong number.
//!
//! An order gets a rank index when a far page of it is requested: a `RankIndex` item. Its stream record invokes
//! `index-end-users`, which counts one page of entries and moves the cursor of the item. The stream record of that
//! write invokes the next step.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures::TryStreamExt;
use serde::{Deserialize, Serialize};
use serde_dynamo::aws_sdk_dynamodb_1::{from_item, to_item};

use crate::domain::end_user::SortField;
use crate::store::error::{StoreError, unreadable};
use crate::store::items::{Item, TOMBSTONE_TTL, expires_at, now, text};
use crate::store::keys::{self, BlockSize, FIRST_BLOCK, Key};
use crate::store::query::{Bound, Query};
use crate::store::table::try_concurrently;
use crate::store::{ListOrder, Scope};

/// The page size for counting one block: more entries or small blocks than most blocks contain.
const BLOCK_PAGE_SIZE: usize = 128;

/// The most blocks that are put together, the limit of a transaction.
const MAX_BLOCKS_PER_TRANSACTION: usize = 100;

/// The time after which a build whose cursor does not move is stalled. A page of entries takes seconds.
const STALLED_AFTER: Duration = Duration::from_secs(60);

/// The rank index of an order, and the progress of its build.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct RankIndexItem {
    pk: String,
    sk: String,
    kind: String,
    v: u32,
    rev: u64,
    /// Whether all blocks are counted.
    ready: bool,
    /// The start of the first small block that may not be counted; `None` if none is counted.
    #[serde(skip_serializing_if = "Option::is_none")]
    cursor: Option<String>,
    /// The time of the last write, in seconds since 1970.
    #[serde(default)]
    updated_at: u64,
}

impl RankIndexItem {
    fn state(&self) -> RankState {
        match self.ready {
            true => RankState::Ready,
            false if self.updated_at + STALLED_AFTER.as_secs() < now() => RankState::Stalled,
            false => RankState::Building,
        }
    }
}

/// The state of an order's rank index.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::store) enum RankState {
    /// The order has no rank index.
    Absent,
    /// `index-end-users` counts the entries.
    Building,
    /// The build ended before all entries were counted.
    Stalled,
    /// All entries are counted.
    Ready,
}

/// A stored block. A block without entries stays as a tombstone: without it, a run that counted the block while it had
/// entries could still put it.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct RankBlockItem {
    pk: String,
    sk: String,
    kind: String,
    v: u32,
    rev: u64,
    /// The number of entries.
    n: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<u64>,
}

/// The start of a block, and the number of its entries.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(in crate::store) struct RankBlock {
    pub start: String,
    pub n: u64,
}

/// The blocks of one size of one order.
#[derive(Clone, Copy)]
pub(super) struct Level {
    pub field: SortField,
    pub size: BlockSize,
}

impl Level {
    pub(super) fn small(field: SortField) -> Self {
        Self { field, size: BlockSize::Small }
    }

    pub(super) fn large(field: SortField) -> Self {
        Self { field, size: BlockSize::Large }
    }

    /// The start of the block that contains an entry, if its sort key alone determines it.
    fn block_start(self, sk: &str) -> Option<String> {
        keys::block_start(self.field, self.size, sk)
    }

    /// Reads a part of a block of this level: an entry of a small block, or a small block of a large one.
    fn read_part(self, item: Item) -> Result<RankBlock, StoreError> {
        match self.size {
            BlockSize::Small => Ok(RankBlock { start: text(&item, "sk")?.to_owned(), n: 1 }),
            BlockSize::Large => read_block(item),
        }
    }
}

fn read_block(item: Item) -> Result<RankBlock, StoreError> {
    let RankBlockItem { sk: start, n, .. } = from_item(item).map_err(unreadable)?;
    Ok(RankBlock { start, n })
}

/// A position in an order: the range of sort keys to read, and the number of entries to skip there.
#[derive(PartialEq, Eq, Debug)]
pub(in crate::store) struct Seek {
    pub bound: Bound,
    pub skip: u64,
}

/// Finds the block that contains the entry after `skip` others, counted from the end if `descending`. Returns the
/// block, the start of the block after it, and the number of entries to skip in it.
fn locate(blocks: &[RankBlock], descending: bool, mut skip: u64) -> Option<(&RankBlock, Option<&str>, u64)> {
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

/// Reads for far pages.
impl Scope<'_> {
    /// The state of an order's rank index.
    pub(super) async fn rank_state(&self, field: SortField) -> Result<RankState, StoreError> {
        Ok(self.rank_index(field).await?.map_or(RankState::Absent, |index| index.state()))
    }

    /// The state of an order's rank index, and its large blocks.
    pub(in crate::store) async fn rank_state_and_blocks(
        &self,
        field: SortField,
    ) -> Result<(RankState, Vec<RankBlock>), StoreError> {
        tokio::try_join!(self.rank_state(field), self.rank_blocks(self.blocks_query(Level::large(field))))
    }

    /// Locates the entry of an order after `offset` others; `None` if the blocks end before it.
    pub(in crate::store) async fn seek_by_rank(
        &self,
        ListOrder { by: field, descending }: ListOrder,
        large: &[RankBlock],
        offset: u64,
    ) -> Result<Option<Seek>, StoreError> {
        let Some((block, after_large, skip)) = locate(large, descending, offset) else { return Ok(None) };
        let bound = match after_large {
            Some(next) => Bound::Between(block.start.clone(), next.to_owned()),
            None => Bound::From(block.start.clone()),
        };
        let mut small = self.rank_blocks(Query { bound, ..self.blocks_query(Level::small(field)) }).await?;
        small.retain(|block| Some(block.start.as_str()) != after_large);
        let Some((block, next, skip)) = locate(&small, descending, skip) else { return Ok(None) };
        let bound = match (descending, next.or(after_large)) {
            (false, _) => Bound::From(block.start.clone()),
            (true, Some(next)) => Bound::Before(next.to_owned()),
            (true, None) => Bound::All,
        };
        Ok(Some(Seek { bound, skip }))
    }

    /// The blocks of a query, without tombstones.
    pub(super) async fn rank_blocks(&self, query: Query) -> Result<Vec<RankBlock>, StoreError> {
        let mut blocks = Vec::new();
        let mut items = self.table.items(query);
        while let Some(item) = items.try_next().await? {
            blocks.push(read_block(item)?);
        }
        blocks.retain(|block| block.n > 0);
        Ok(blocks)
    }

    /// The query of all blocks of a level.
    pub(super) fn blocks_query(&self, level: Level) -> Query {
        Query::table(keys::rank_blocks(&self.tenant, level.field, level.size))
    }

    async fn rank_index(&self, field: SortField) -> Result<Option<RankIndexItem>, StoreError> {
        let item = self.table.get(keys::rank_index(&self.tenant, field)).await?;
        item.map(from_item).transpose().map_err(unreadable)
    }

    async fn put_rank_index(
        &self,
        field: SortField,
        rev: u64,
        cursor: Option<String>,
        ready: bool,
    ) -> Result<bool, StoreError> {
        let Key { pk, sk } = keys::rank_index(&self.tenant, field);
        let (kind, rev_after, updated_at) = ("RankIndex".to_owned(), rev + 1, now());
        let item = RankIndexItem { pk, sk, kind, v: 1, rev: rev_after, ready, cursor, updated_at };
        self.table.put_version(to_item(item).map_err(unreadable)?, rev).await
    }
}

/// The build of a rank index.
impl Scope<'_> {
    /// Starts the build of an order's rank index if the order has none.
    pub async fn start_build(&self, field: SortField) -> Result<(), StoreError> {
        self.put_rank_index(field, 0, None, false).await.map(drop)
    }

    /// Resumes a stalled build: writes the item again, and its stream record invokes `index-end-users`.
    pub(in crate::store) async fn resume_build(&self, field: SortField) -> Result<(), StoreError> {
        match self.rank_index(field).await?.filter(|index| index.state() == RankState::Stalled) {
            Some(RankIndexItem { rev, cursor, .. }) => self.put_rank_index(field, rev, cursor, false).await.map(drop),
            None => Ok(()),
        }
    }

    /// Builds the rest of a rank index.
    pub(super) async fn finish_build(&self, field: SortField) -> Result<(), StoreError> {
        while matches!(self.rank_state(field).await?, RankState::Building | RankState::Stalled) {
            self.build_next(field).await?;
        }
        Ok(())
    }

    /// Continues the build of a rank index by one page of entries, of 1 MB. May be repeated, run concurrently, and end
    /// at any point. While the build is not complete, it leaves a stream record that invokes the next step.
    pub async fn build_next(&self, field: SortField) -> Result<(), StoreError> {
        let Some(index) = self.rank_index(field).await?.filter(|index| !index.ready) else { return Ok(()) };
        let start = index.cursor.unwrap_or_else(|| FIRST_BLOCK.to_owned());
        let (blocks, cursor) = self.count_page(Level::small(field), start).await?;
        self.put_first_counts(Level::small(field), &blocks).await?;
        if cursor.is_none() {
            let mut next = Some(FIRST_BLOCK.to_owned());
            while let Some(start) = next {
                let (blocks, after) = self.count_page(Level::large(field), start).await?;
                self.put_first_counts(Level::large(field), &blocks).await?;
                next = after;
            }
        }
        let ready = cursor.is_none();
        // If the condition fails, a concurrent run moved the cursor, and left its own stream record.
        self.put_rank_index(field, index.rev, cursor, ready).await.map(drop)
    }

    /// Counts the blocks from `start` on that end within one page of their parts. Returns them, and the start of the
    /// block after them.
    pub(super) async fn count_page(
        &self,
        level: Level,
        start: String,
    ) -> Result<(Vec<RankBlock>, Option<String>), StoreError> {
        let query = Query { bound: Bound::From(start.clone()), ..self.parts_query(level) };
        let (mut blocks, mut open) = (Vec::new(), RankBlock { start, n: 0 });
        let mut pages = self.table.pages(query);
        while let Some(page) = pages.try_next().await? {
            for part in page.items {
                let part = level.read_part(part)?;
                let start = level.block_start(&part.start).filter(|start| *start != open.start);
                if part.n > 0
                    && let Some(start) = start
                {
                    blocks.push(std::mem::replace(&mut open, RankBlock { start, n: 0 }));
                }
                open.n += part.n;
            }
            if page.next.is_some() && !blocks.is_empty() {
                blocks.retain(|block| block.n > 0);
                return Ok((blocks, Some(open.start)));
            }
        }
        blocks.push(open);
        blocks.retain(|block| block.n > 0);
        Ok((blocks, None))
    }

    /// Puts blocks that are not stored yet. Stored blocks are counted again instead.
    async fn put_first_counts(&self, level: Level, blocks: &[RankBlock]) -> Result<(), StoreError> {
        let puts = blocks.iter().map(async |block| {
            if self.table.put_version(self.block_item(level, block, 0)?, 0).await? {
                return Ok(());
            }
            self.refresh_block(level, &block.start).await
        });
        try_concurrently(puts).await.map(drop)
    }
}

/// The refresh of a rank index after entries were put or deleted.
impl Scope<'_> {
    /// Counts the blocks of changed entries again, in the orders that have a rank index.
    ///
    /// Which orders have one is read after the entries are written: a build that starts later sees the entries, and a
    /// build that started earlier is seen here.
    pub(super) async fn refresh(&self, changed: BTreeMap<SortField, BTreeSet<String>>) -> Result<(), StoreError> {
        if changed.is_empty() {
            return Ok(());
        }
        let mut fields = self.rank_indexes().await?;
        fields.retain(|field| changed.contains_key(field));
        try_concurrently(fields.iter().map(|field| self.refresh_order(*field, changed[field].clone()))).await.map(drop)
    }

    /// The orders that have a rank index.
    async fn rank_indexes(&self) -> Result<Vec<SortField>, StoreError> {
        let limit = SortField::ALL.len();
        let query = Query { limit, ..Query::table(keys::rank_indexes(&self.tenant)).strong() };
        let items = self.table.query(query).await?;
        items.iter().map(|item| Ok(SortField::parse(text(item, "sk")?))).filter_map(Result::transpose).collect()
    }

    async fn refresh_order(&self, field: SortField, changed: BTreeSet<String>) -> Result<(), StoreError> {
        let small = self.refresh_around(Level::small(field), changed).await?;
        self.refresh_around(Level::large(field), small).await.map(drop)
    }

    /// Counts the blocks again that contain, or contained, the changed sort keys. Returns the starts of the blocks.
    async fn refresh_around(
        &self,
        level: Level,
        mut changed: BTreeSet<String>,
    ) -> Result<BTreeSet<String>, StoreError> {
        let mut groups = Vec::new();
        while let Some(last) = changed.pop_last() {
            let own = level.block_start(&last);
            // A block that appears splits the block before it, and a block that disappears is merged into it.
            let is_split = keys::cut_at_entries(level.field) && own.as_ref() == Some(&last) && last != FIRST_BLOCK;
            let mut group = BTreeSet::from_iter(own.clone());
            if is_split || own.is_none() {
                let before = self.start_before(level, &last).await?;
                changed.retain(|sk| *sk < before || level.block_start(sk).is_some());
                group.insert(before);
            }
            groups.push(group);
        }
        let groups = merge_overlapping(groups);
        let transactions: Vec<_> = groups.iter().flat_map(split_by_transaction).collect();
        try_concurrently(transactions.iter().map(|starts| self.refresh_blocks(level, starts))).await?;
        Ok(groups.into_iter().flatten().collect())
    }

    /// The start of the block that contains the last entry before `sk`.
    async fn start_before(&self, level: Level, sk: &str) -> Result<String, StoreError> {
        let (bound, page_size) = (Bound::Before(sk.to_owned()), BLOCK_PAGE_SIZE);
        let query = Query { bound, descending: true, page_size, ..self.parts_query(level) };
        let mut parts = self.table.items(query);
        while let Some(part) = parts.try_next().await? {
            let part = level.read_part(part)?;
            if part.n > 0
                && let Some(start) = level.block_start(&part.start)
            {
                return Ok(start);
            }
        }
        Ok(FIRST_BLOCK.to_owned())
    }

    /// The query of the parts of all blocks of a level, read strongly: entries or small blocks.
    fn parts_query(&self, level: Level) -> Query {
        match level.size {
            BlockSize::Small => Query::table(keys::sort_entries(&self.tenant, level.field)).strong(),
            BlockSize::Large => self.blocks_query(Level::small(level.field)).strong(),
        }
    }

    /// Counts the block that starts at `start` again. Its number is 0 if no block starts there any more.
    pub(super) async fn refresh_block(&self, level: Level, start: &str) -> Result<(), StoreError> {
        self.refresh_blocks(level, &[start]).await
    }

    /// Counts blocks again, each on condition of its version, and puts all or none of them. So no reader sees entries
    /// twice or not at all between a block that appears or disappears and the block before it.
    async fn refresh_blocks(&self, level: Level, starts: &[&str]) -> Result<(), StoreError> {
        let mut backoff = self.table.backoff("rank block conflict");
        loop {
            let counts = starts.iter().map(async |start| {
                let rev = self.stored_block(level, start).await?.map_or(0, |(rev, _)| rev);
                let n = self.count_block(level, start).await?;
                Ok((self.block_item(level, &RankBlock { start: (*start).to_owned(), n }, rev)?, rev))
            });
            if self.table.put_versions(try_concurrently(counts).await?).await? {
                return Ok(());
            }
            backoff.wait().await?;
        }
    }

    /// The version of a block, and its stored number of entries.
    pub(super) async fn stored_block(&self, level: Level, start: &str) -> Result<Option<(u64, u64)>, StoreError> {
        let key = keys::rank_block(&self.tenant, level.field, level.size, start);
        let block: Option<RankBlockItem> = self.table.get(key).await?.map(from_item).transpose().map_err(unreadable)?;
        Ok(block.map(|block| (block.rev, block.n)))
    }

    /// Counts the entries of the block that starts at `start`.
    pub(super) async fn count_block(&self, level: Level, start: &str) -> Result<u64, StoreError> {
        let bound = Bound::From(start.to_owned());
        let query = Query { bound, page_size: BLOCK_PAGE_SIZE, ..self.parts_query(level) };
        // Any other block exists only if an entry with its start as sort key exists.
        let exists_without_start = start == FIRST_BLOCK || !keys::cut_at_entries(level.field);
        let mut n = 0;
        let mut parts = self.table.items(query);
        while let Some(part) = parts.try_next().await? {
            let part = level.read_part(part)?;
            if part.n == 0 {
                continue;
            }
            let is_next_block = level.block_start(&part.start).is_some_and(|other| other != start);
            if is_next_block || (n == 0 && !exists_without_start && part.start != start) {
                break;
            }
            n += part.n;
        }
        Ok(n)
    }

    /// A block as it is put on condition that its version is `rev`.
    fn block_item(&self, level: Level, block: &RankBlock, rev: u64) -> Result<Item, StoreError> {
        let Key { pk, sk } = keys::rank_block(&self.tenant, level.field, level.size, &block.start);
        let expires_at = (block.n == 0).then(|| expires_at(TOMBSTONE_TTL));
        let item = RankBlockItem { pk, sk, kind: "RankBlock".to_owned(), v: 1, rev: rev + 1, n: block.n, expires_at };
        to_item(item).map_err(unreadable)
    }
}

/// Merges the groups that have a block in common.
fn merge_overlapping(groups: Vec<BTreeSet<String>>) -> Vec<BTreeSet<String>> {
    let mut merged: Vec<BTreeSet<String>> = Vec::new();
    for mut group in groups {
        let (common, mut others): (Vec<_>, Vec<_>) = merged.into_iter().partition(|other| !other.is_disjoint(&group));
        group.extend(common.into_iter().flatten());
        others.push(group);
        merged = others;
    }
    merged
}

/// Splits a group by the limit of a transaction.
fn split_by_transaction(group: &BTreeSet<String>) -> Vec<Vec<&str>> {
    let starts: Vec<_> = group.iter().map(String::as_str).collect();
    starts.chunks(MAX_BLOCKS_PER_TRANSACTION).map(<[_]>::to_vec).collect()
}
