//! Lists of end users in any order (docs/api.md, Paging and sorting).

use std::collections::BTreeSet;
use std::future::ready;

use futures::TryStreamExt;

use crate::domain::end_user::{EndUser, SortField};
use crate::domain::page::Page;
use crate::store::error::StoreError;
use crate::store::index::{RankBlock, RankState, Seek};
use crate::store::items::{self, Item, text};
use crate::store::query::{Bound, Query};
use crate::store::{Scope, keys};

/// The most rows before a page that is found by reading them. A page of the list by id whose position must reflect all
/// writes starts within the first 1,000 rows.
const MAX_SCANNED_ROWS: u64 = 1_000;

/// The order of a list of end users.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ListOrder {
    /// The field. Ties are sorted by id.
    pub by: SortField,
    /// Whether the order is the exact reverse of ascending.
    pub descending: bool,
}

/// A page of end users.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Listed {
    /// The end users of the page.
    pub end_users: Vec<EndUser>,
    /// The number of end users on all pages.
    pub total: u64,
}

impl Scope<'_> {
    /// Returns a page of all end users of the tenant.
    pub async fn list_end_users(&self, order: ListOrder, page: Page) -> Result<Listed, StoreError> {
        let offset = page.offset();
        if offset > MAX_SCANNED_ROWS {
            let (total, rank_index) = tokio::try_join!(self.count(), self.rank_state_and_blocks(order.by))?;
            let end_users = match total.saturating_sub(offset) {
                0 => Vec::new(),
                left => self.deep_page(order, page, rank_index, left).await?,
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

    /// A page in the order of ids. Its content and position are read strongly.
    async fn near_page_by_id(&self, descending: bool, page: Page) -> Result<Vec<EndUser>, StoreError> {
        let mut documents = self.documents_query(descending);
        if page.offset() > 0 {
            let limit = page.offset() as usize;
            let before = Query { projection: Some("pk, sk"), limit, ..documents.clone() };
            documents.start = self.table.pages(before).try_fold(None, |_, page| ready(Ok(page.next))).await?;
            if documents.start.is_none() {
                return Ok(Vec::new());
            }
        }
        documents.limit = page.size as usize;
        self.table.query(documents).await?.into_iter().map(items::read_end_user).collect()
    }

    /// A page far from the start, with `left` end users from its first row to the end of the list.
    ///
    /// In the order of ids, entries and blocks only locate the start of the page, because they lag behind the
    /// documents. If they end before it, its position is counted from the end of the list.
    async fn deep_page(
        &self,
        order: ListOrder,
        page: Page,
        rank_index: (RankState, Vec<RankBlock>),
        left: u64,
    ) -> Result<Vec<EndUser>, StoreError> {
        let seek = self.seek(order, page.offset(), rank_index).await?;
        let documents = match (order.by, seek) {
            (SortField::EndUserId, Some(seek)) => {
                // Reading a few end users too many costs less than reading their entries in another round trip.
                let id = |entry: String| entry.trim_start_matches('#').to_owned();
                let bound = match seek.bound {
                    Bound::From(first) => Bound::From(id(first)),
                    Bound::Before(last) => Bound::Before(id(last)),
                    bound => bound,
                };
                let documents = Query { bound, ..self.documents_query(order.descending) };
                self.skip_and_take(documents, seek.skip, page.size as usize).await?
            }
            (SortField::EndUserId, None) => {
                let take = left.min(page.size.into());
                let reversed = self.documents_query(!order.descending);
                let mut documents = self.skip_and_take(reversed, left - take, take as usize).await?;
                documents.reverse();
                documents
            }
            (_, Some(seek)) => return self.page_by_entries(order, seek, page.size).await,
            (_, None) => Vec::new(),
        };
        documents.into_iter().map(items::read_end_user).collect()
    }

    /// Locates the start of a page far from the start of the list by the rank index; `None` if the index ends before
    /// it.
    ///
    /// The first such page of an order starts the build of the rank index, and a later one resumes a stalled build.
    /// Until the build is complete, all entries before the page are read.
    async fn seek(
        &self,
        order: ListOrder,
        offset: u64,
        (state, large_blocks): (RankState, Vec<RankBlock>),
    ) -> Result<Option<Seek>, StoreError> {
        match state {
            RankState::Ready => return self.seek_by_rank(order, &large_blocks, offset).await,
            RankState::Stalled => self.resume_build(order.by).await?,
            RankState::Building => {}
            RankState::Absent => self.start_build(order.by).await?,
        }
        match order.by {
            SortField::EndUserId => self.seek_by_scan(order, offset).await,
            _ => Ok(Some(Seek { bound: Bound::All, skip: offset })),
        }
    }

    /// Locates the entry after the first `offset` entries of an order; `None` if there is none.
    async fn seek_by_scan(&self, order: ListOrder, offset: u64) -> Result<Option<Seek>, StoreError> {
        let entries = Query { projection: Some("pk, sk"), ..self.entries_query(order) };
        let first = self.skip_and_take(entries, offset, 1).await?;
        let Some(first) = first.first() else { return Ok(None) };
        let first = text(first, "sk")?.to_owned();
        // Both bounds include the entry itself: `~` sorts after the digits of its id.
        let bound = if order.descending { Bound::Before(first + "~") } else { Bound::From(first) };
        Ok(Some(Seek { bound, skip: 0 }))
    }

    fn documents_query(&self, descending: bool) -> Query {
        Query { descending, ..Query::table(keys::end_users(&self.tenant)).strong() }
    }

    /// The query of an order's entries.
    pub(super) fn entries_query(&self, order: ListOrder) -> Query {
        Query { descending: order.descending, ..Query::table(keys::sort_entries(&self.tenant, order.by)) }
    }

    async fn page_by_entries(&self, order: ListOrder, seek: Seek, size: u32) -> Result<Vec<EndUser>, StoreError> {
        let query = Query { bound: seek.bound, ..self.entries_query(order) };
        let entries = self.skip_and_take(query, seek.skip, size as usize).await?;
        self.rows(order, &entries).await
    }

    /// Skips `skip` items of a query and returns the next `take`. Skipped items are not kept in memory.
    async fn skip_and_take(&self, query: Query, mut skip: u64, take: usize) -> Result<Vec<Item>, StoreError> {
        let limit = usize::try_from(skip).unwrap_or(usize::MAX).saturating_add(take);
        let mut rows = Vec::with_capacity(take);
        let mut items = self.table.items(Query { limit, ..query });
        while let Some(item) = items.try_next().await? {
            match skip {
                0 => rows.push(item),
                _ => skip -= 1,
            }
        }
        Ok(rows)
    }

    /// The end users of some entries of an order as they are now, in the order of the entries. Stale entries are left
    /// out, because the index lags behind the documents.
    pub(super) async fn rows(&self, order: ListOrder, entries: &[Item]) -> Result<Vec<EndUser>, StoreError> {
        let mut rows = Vec::with_capacity(entries.len());
        for entry in entries {
            rows.push((items::read_id(entry, "sk")?, text(entry, "sk")?));
        }
        let mut end_users = self.end_users(rows.iter().map(|(id, _)| *id).collect::<BTreeSet<_>>()).await?;
        let is_current = |end_user: &EndUser, sk: &str| {
            keys::sort_entry(&self.tenant, order.by, &order.by.key(end_user), end_user.id).sk == sk
        };
        rows.retain(|(id, sk)| end_users.get(id).is_some_and(|end_user| is_current(end_user, sk)));
        Ok(rows.into_iter().filter_map(|(id, _)| end_users.remove(&id)).collect())
    }
}
