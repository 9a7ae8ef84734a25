//! The search for end users by words (docs/api.md, Search).

use std::collections::BTreeSet;

use futures::TryStreamExt;
use futures::future::try_join_all;

use super::{ListOrder, Listed};
use crate::domain::end_user::{EndUser, SortField};
use crate::domain::ids::EndUserId;
use crate::domain::page::Page;
use crate::domain::search::{Search, Term};
use crate::store::Scope;
use crate::store::error::StoreError;
use crate::store::items::{self, Item, primary_key};
use crate::store::keys::{self, Key};
use crate::store::query::{Bound, Query};
use crate::store::table::try_concurrently;

/// The most end users that are read and sorted in memory. If a search finds more, entries of the order are read
/// instead.
const MAX_SORTED_IN_MEMORY: usize = 100;

/// The most end users of one term that are read and tested so that the remaining entries of another term are not read.
const MAX_TESTED: usize = 100;

/// The number of entries, of about 100 bytes, that cost as much to read as one end user.
const ENTRIES_PER_END_USER: usize = 80;

impl Scope<'_> {
    /// Returns a page of the end users that a search finds.
    pub async fn search_end_users(&self, search: &Search, order: ListOrder, page: Page) -> Result<Listed, StoreError> {
        let mut found = BTreeSet::new();
        for alternative in search.alternatives() {
            found.append(&mut self.find_by_terms(alternative).await?);
        }
        let is_match = |end_user: &EndUser| search.matches(&end_user.terms());
        let total = found.len() as u64;
        if page.offset() >= total {
            return Ok(Listed { end_users: Vec::new(), total });
        }
        if order.by == SortField::EndUserId {
            let ids: Vec<_> = if order.descending { page.of(found.into_iter().rev()) } else { page.of(found) };
            let mut end_users: Vec<_> = self.end_users(ids).await?.into_values().filter(is_match).collect();
            if order.descending {
                end_users.reverse();
            }
            return Ok(Listed { end_users, total });
        }
        if found.len() <= MAX_SORTED_IN_MEMORY {
            let mut end_users: Vec<_> = self.end_users(found).await?.into_values().collect();
            let total = end_users.len() as u64;
            end_users.sort_by_cached_key(|end_user| (order.by.key(end_user), end_user.id));
            if order.descending {
                end_users.reverse();
            }
            // Only the page is tested: the terms of a large end user take milliseconds to compute.
            let end_users = page.of(end_users).into_iter().filter(is_match).collect();
            return Ok(Listed { end_users, total });
        }
        let entries = match self.page_by_scan(order, page, &found).await? {
            Some(entries) => entries,
            None => self.page_by_sorting(order, page, found).await?,
        };
        let end_users = self.rows(order, &entries).await?.into_iter().filter(is_match).collect();
        Ok(Listed { end_users, total })
    }

    /// The entries of a page of `found`, by reading the entries of the order from its start; `None` once that has cost
    /// more than reading all of `found`.
    async fn page_by_scan(
        &self,
        order: ListOrder,
        page: Page,
        found: &BTreeSet<EndUserId>,
    ) -> Result<Option<Vec<Item>>, StoreError> {
        let query = Query { projection: Some("sk"), ..self.entries_query(order) };
        let (mut skip, mut scanned, mut rows) = (page.offset(), 0, Vec::new());
        let mut pages = self.table.pages(query);
        while let Some(entries) = pages.try_next().await? {
            scanned += entries.items.len();
            for entry in entries.items {
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
            if entries.next.is_some() && scanned > found.len() * ENTRIES_PER_END_USER {
                return Ok(None);
            }
        }
        Ok(Some(rows))
    }

    /// The entries of a page of `found`, by reading and sorting all of `found`. Only their keys are kept in memory.
    async fn page_by_sorting(
        &self,
        order: ListOrder,
        page: Page,
        found: BTreeSet<EndUserId>,
    ) -> Result<Vec<Item>, StoreError> {
        let found: Vec<_> = found.into_iter().collect();
        let entry_keys = try_concurrently(found.chunks(100).map(|ids| self.sort_entry_keys(order.by, ids)));
        let mut entry_keys = entry_keys.await?.concat();
        entry_keys.sort();
        if order.descending {
            entry_keys.reverse();
        }
        Ok(page.of(entry_keys.iter().map(primary_key)))
    }

    /// The keys of the entries of end users in an order, computed from their documents.
    async fn sort_entry_keys(&self, field: SortField, ids: &[EndUserId]) -> Result<Vec<Key>, StoreError> {
        let end_users = self.end_users(ids.iter().copied()).await?;
        let key = |end_user: &EndUser| keys::sort_entry(&self.tenant, field, &field.key(end_user), end_user.id);
        Ok(end_users.values().map(key).collect())
    }

    /// The end users that match all of `terms` according to the index. The terms are queried concurrently. If one term
    /// has few end users and another does not fit one page, the few end users are read and tested instead.
    async fn find_by_terms(&self, terms: &BTreeSet<Term>) -> Result<BTreeSet<EndUserId>, StoreError> {
        let queries: Vec<_> = terms.iter().map(|term| self.term_query(term)).collect();
        let pages = try_join_all(queries.iter().map(|query| self.table.query_page(query))).await?;
        let (mut sets, mut unfinished) = (Vec::with_capacity(terms.len()), Vec::new());
        for (query, page) in queries.into_iter().zip(pages) {
            let ids = page.items.iter().map(|entry| items::read_id(entry, "sk")).collect::<Result<BTreeSet<_>, _>>()?;
            match page.next {
                None => sets.push(ids),
                start => unfinished.push((Query { start, ..query }, ids)),
            }
        }
        sets.sort_by_key(BTreeSet::len);
        if let Some(few) = sets.first().filter(|set| !unfinished.is_empty() && set.len() <= MAX_TESTED) {
            let end_users = self.end_users(few.iter().copied()).await?;
            let search = Search::all_of(terms);
            let is_match = |end_user: &&EndUser| search.matches(&end_user.terms());
            return Ok(end_users.values().filter(is_match).map(|end_user| end_user.id).collect());
        }
        let rest = unfinished.into_iter().map(|(query, ids)| self.remaining_ids(query, ids));
        sets.extend(try_join_all(rest).await?);
        sets.sort_by_key(BTreeSet::len);
        let mut sets = sets.into_iter();
        let smallest = sets.next().unwrap_or_default();
        Ok(sets.fold(smallest, |all, set| all.into_iter().filter(|id| set.contains(id)).collect()))
    }

    /// Adds the end users of the remaining entries of a term.
    async fn remaining_ids(
        &self,
        query: Query,
        mut ids: BTreeSet<EndUserId>,
    ) -> Result<BTreeSet<EndUserId>, StoreError> {
        let mut entries = self.table.items(query);
        while let Some(entry) = entries.try_next().await? {
            ids.insert(items::read_id(&entry, "sk")?);
        }
        Ok(ids)
    }

    fn term_query(&self, term: &Term) -> Query {
        let Key { pk, sk } = keys::word_entries(&self.tenant, term);
        Query { bound: Bound::Prefix(sk), projection: Some("sk"), ..Query::table(pk) }
    }
}
