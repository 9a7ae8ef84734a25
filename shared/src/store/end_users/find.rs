//! The look-up of end users by identifier (docs/api.md, GET /api/EndUsers/byUid).

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use futures::TryStreamExt;
use futures::future::try_join_all;

use crate::domain::end_user::{Duplicate, EndUser, MAX_LOOK_UP_IDS};
use crate::domain::ids::EndUserId;
use crate::domain::uid::MatchKey;
use crate::store::error::{ChangeError, StoreError};
use crate::store::query::Query;
use crate::store::table::try_concurrently;
use crate::store::{Scope, items, keys};

/// The most end users that share identifiers with another one in a response.
const MAX_DUPLICATES: usize = 50;

/// The most end users that one look-up returns.
const MAX_FOUND: usize = 100;

impl Scope<'_> {
    /// Returns the end users with a UID or customerRef that is stored under any of `match_keys`: by ascending id, at
    /// most 100.
    pub async fn find_end_users(&self, match_keys: &BTreeSet<MatchKey>) -> Result<Vec<EndUser>, StoreError> {
        let found = self.indexed_ids(match_keys).await?;
        // The indexes are eventually consistent, so the document decides.
        let mut end_users = self.end_users(found.into_iter().take(MAX_FOUND)).await?;
        end_users.retain(|_, end_user| !end_user.keys().is_disjoint(match_keys));
        Ok(end_users.into_values().collect())
    }

    /// Returns the end users that hold any of each set of keys: by ascending id, at most [`MAX_LOOK_UP_IDS`] and one
    /// more. Queries each distinct set and reads each end user once.
    pub async fn look_up_end_users(&self, key_sets: &[&BTreeSet<MatchKey>]) -> Result<Vec<Vec<EndUserId>>, StoreError> {
        const MAX: usize = MAX_LOOK_UP_IDS + 1;
        let distinct: BTreeSet<_> = key_sets.iter().copied().collect();
        let candidates = try_concurrently(distinct.iter().map(|keys| self.indexed_ids(keys))).await?;
        let mut open: BTreeMap<_, _> = distinct.into_iter().zip(candidates).collect();
        let mut found: BTreeMap<&BTreeSet<MatchKey>, Vec<EndUserId>> = BTreeMap::new();
        let mut held_keys: BTreeMap<EndUserId, BTreeSet<MatchKey>> = BTreeMap::new();
        while !open.is_empty() {
            let next: BTreeSet<_> = open.values().flat_map(|ids| ids.iter().take(MAX).copied()).collect();
            let unread = next.into_iter().filter(|id| !held_keys.contains_key(id)).collect::<Vec<_>>();
            // Only keys are kept in memory: 100 values can have 1,100 large end users.
            for ids in unread.chunks(MAX_FOUND) {
                let end_users = self.end_users(ids.iter().copied()).await?;
                held_keys.extend(ids.iter().map(|id| (*id, end_users.get(id).map(EndUser::keys).unwrap_or_default())));
            }
            for (keys, ids) in &mut open {
                let first = ids.iter().nth(MAX).copied();
                let rest = first.map_or_else(BTreeSet::new, |first| ids.split_off(&first));
                let holders = std::mem::replace(ids, rest).into_iter().filter(|id| !held_keys[id].is_disjoint(keys));
                found.entry(*keys).or_default().extend(holders);
            }
            open.retain(|keys, ids| !ids.is_empty() && found.get(keys).is_none_or(|holders| holders.len() < MAX));
        }
        let holders = |keys: &&BTreeSet<MatchKey>| found.get(keys).into_iter().flatten().take(MAX).copied().collect();
        Ok(key_sets.iter().map(holders).collect())
    }

    /// Returns the other end users that share identifiers with an end user: those with the most shared match keys first,
    /// then by id, at most [`MAX_DUPLICATES`]. Of a key that more than 100 end users hold, the first 100 are considered.
    pub async fn duplicates(&self, id: EndUserId) -> Result<Vec<Duplicate>, ChangeError> {
        let end_user = self.end_user(id).await?;
        let keys = end_user.keys();
        let mut shared: BTreeMap<EndUserId, usize> = BTreeMap::new();
        for ids in self.indexed_ids_by_key(&keys).await? {
            ids.into_iter().filter(|other| *other != id).for_each(|other| *shared.entry(other).or_default() += 1);
        }
        let mut candidates: Vec<_> = shared.into_iter().collect();
        candidates.sort_by_key(|(other, keys)| (Reverse(*keys), *other));
        // The indexes are eventually consistent, so the documents decide.
        let mut duplicates = Vec::new();
        for candidates in candidates.chunks(MAX_FOUND) {
            let others = self.end_users(candidates.iter().map(|(other, _)| *other)).await?;
            duplicates.extend(others.into_values().filter_map(|other| Duplicate::of(&end_user, other)));
            if duplicates.len() >= MAX_DUPLICATES {
                break;
            }
        }
        duplicates.sort_by_cached_key(|duplicate| {
            (Reverse(duplicate.end_user.keys().intersection(&keys).count()), duplicate.end_user.id)
        });
        duplicates.truncate(MAX_DUPLICATES);
        Ok(duplicates)
    }

    /// The end users that hold any of `match_keys` according to the indexes, which are eventually consistent: the first
    /// 100 of each key.
    pub(super) async fn indexed_ids(&self, match_keys: &BTreeSet<MatchKey>) -> Result<BTreeSet<EndUserId>, StoreError> {
        Ok(self.indexed_ids_by_key(match_keys).await?.into_iter().flatten().collect())
    }

    /// The end users that hold each of `match_keys`, in order, as [`Self::indexed_ids`] finds them.
    async fn indexed_ids_by_key(
        &self,
        match_keys: &BTreeSet<MatchKey>,
    ) -> Result<Vec<BTreeSet<EndUserId>>, StoreError> {
        let holders = match_keys.iter().map(async |key| {
            let by_uid = self.first_ids(Query::by_uid(keys::uid_index(&self.tenant, key)));
            let MatchKey::Text(_) = key else { return by_uid.await };
            let by_reference = self.first_ids(Query::by_customer_ref(keys::reference_index(&self.tenant, key)));
            let (mut ids, mut more) = tokio::try_join!(by_uid, by_reference)?;
            ids.append(&mut more);
            Ok(ids)
        });
        try_join_all(holders).await
    }

    /// The first 100 distinct ids in a partition of an index that is sorted by them. One end user may have several
    /// items there.
    async fn first_ids(&self, query: Query) -> Result<BTreeSet<EndUserId>, StoreError> {
        let (sort_name, mut ids) = (query.key_names.1, BTreeSet::new());
        let mut items = self.table.items(Query { page_size: MAX_FOUND, ..query });
        while ids.len() < MAX_FOUND
            && let Some(item) = items.try_next().await?
        {
            ids.insert(items::read_id(&item, sort_name)?);
        }
        Ok(ids)
    }
}
