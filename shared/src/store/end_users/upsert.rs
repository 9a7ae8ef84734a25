//! Find-or-create by identifiers (docs/api.md, POST /api/EndUsers/upsert).

use std::collections::{BTreeMap, BTreeSet};

use aws_sdk_dynamodb::types::TransactWriteItem;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::domain::end_user::{
    Conflict, ConflictKind, ConflictingEndUser, EndUserUpsert, MAX_CONFLICTS, UpsertOutcome, Upserted,
};
use crate::domain::idempotency::IdempotencyKey;
use crate::domain::ids::EndUserId;
use crate::domain::uid::MatchKey;
use crate::store::claims::Claim;
use crate::store::error::{ChangeError, StoreError};
use crate::store::items::Document;
use crate::store::sequence::TakenIds;
use crate::store::{Idempotent, Scope, keys};

/// The most conditions on owners of void claims in one transaction. With the largest upsert of 84 actions they fit
/// DynamoDB's limit of 100.
const MAX_OWNER_CHECKS: usize = 16;

/// What an upsert found.
struct Matches {
    /// The end users that hold a deciding key, or the first [`MAX_CONFLICTS`] of them.
    holders: BTreeMap<EndUserId, Document>,
    /// The claims of all keys in the body.
    claims: BTreeMap<MatchKey, Claim>,
    /// The owners in claims of deciding keys that hold no deciding key, also not as part of another end user.
    void: BTreeSet<EndUserId>,
    /// Those owners and the end users that they are part of, with the version of their document, or `None` if they are
    /// merged. While all of that stays, none of the owners comes to hold a key by an unmerge.
    void_versions: BTreeMap<EndUserId, Option<u64>>,
}

impl Scope<'_> {
    /// Changes the end user that a body identifies, or creates one. With `idempotency_key`, `result` of what was done
    /// is stored, and a repetition returns it.
    ///
    /// Upserts are linearizable with respect to each other: of two that race for a key that decides in both, the later
    /// one finds the end user of the earlier one.
    pub async fn upsert_end_user<T: Serialize + DeserializeOwned>(
        &self,
        upsert: &EndUserUpsert,
        idempotency_key: Option<&IdempotencyKey>,
        result: impl Fn(Upserted) -> T,
    ) -> Result<Idempotent<T>, ChangeError> {
        let mut taken = TakenIds::default();
        let mut backoff = self.table.backoff("upsert conflict");
        loop {
            let matches = async { Ok(self.find_matches(upsert).await?) };
            let (stored, matches) = tokio::try_join!(self.stored_response(idempotency_key), matches)?;
            if let Some(value) = stored {
                return Ok(Idempotent { value, replayed: true });
            }
            if matches.holders.len() > 1 {
                return Err(conflict(ConflictKind::AmbiguousMatch, &matches, |holder| {
                    upsert.matched_paths(&holder.end_user)
                }));
            }
            let before = matches.holders.values().next();
            if before.is_some_and(|before| upsert.replaces_reference(&before.end_user)) {
                return Err(conflict(ConflictKind::DifferentReference, &matches, |_| vec!["customerRef".to_owned()]));
            }

            let pending = match before {
                Some(before) => upsert.apply(&before.end_user).map_err(ChangeError::Invalid)?,
                None => upsert.new_end_user().clone(),
            };
            let id = before.map(|before| before.end_user.id);
            let (id, uid_ids) = self.take_ids(&mut taken, id, &pending).await?;
            let mut after =
                pending.save(id, before.map_or(1, |b| b.end_user.rev), uid_ids).map_err(ChangeError::Invalid)?;
            let outcome = match before {
                None => UpsertOutcome::Created,
                Some(before) if before.end_user == after => UpsertOutcome::Unchanged,
                Some(_) => UpsertOutcome::Updated,
            };
            after.rev += u64::from(outcome == UpsertOutcome::Updated);
            let value = result(Upserted { outcome, end_user: after.clone() });
            if outcome == UpsertOutcome::Unchanged && idempotency_key.is_none() {
                return Ok(Idempotent { value, replayed: false });
            }

            let mut document = Document::after(before, after);
            let mut writes = self.claim_writes(&upsert.deciding_keys(), &matches, before, &document)?;
            writes.extend(self.store_response(idempotency_key, &value, &mut document)?);
            let is_written = self.write_document(before, Some(&document), writes).await?;
            if is_written || before.is_none() && self.is_created(&document, &mut taken).await? {
                return Ok(Idempotent { value, replayed: false });
            }
            backoff.wait().await?;
        }
    }

    /// Finds the end users that hold a deciding key of a body: according to the claims, which have every upsert, and
    /// the indexes, which have every other write after some time. The documents decide.
    async fn find_matches(&self, upsert: &EndUserUpsert) -> Result<Matches, StoreError> {
        let (keys, deciding) = (upsert.keys(), upsert.deciding_keys());
        let (claims, indexed) = tokio::try_join!(self.claims(&keys), self.indexed_ids(&deciding))?;
        let deciding_claims = claims.iter().filter(|(key, _)| deciding.contains(key));
        let owners: BTreeSet<EndUserId> = deciding_claims.flat_map(|(_, claim)| claim.owners.clone()).collect();
        let candidates: Vec<_> = indexed.union(&owners).copied().collect();

        let mut matches =
            Matches { holders: BTreeMap::new(), claims, void: BTreeSet::new(), void_versions: BTreeMap::new() };
        for candidates in candidates.chunks(MAX_CONFLICTS) {
            let resolved = self.resolve(candidates.iter().copied().collect()).await?;
            let is_holder = |document: &Document| !document.end_user.keys().is_disjoint(&deciding);
            for owner in candidates.iter().filter(|id| owners.contains(id)) {
                let end = resolved.end(*owner);
                if end.is_some_and(is_holder) {
                    continue;
                }
                matches.void.insert(*owner);
                if let Some(end) = end {
                    matches.void_versions.extend(resolved.merged(*owner).map(|merged| (merged, None)));
                    matches.void_versions.insert(end.end_user.id, Some(end.version));
                }
            }
            matches.holders.extend(resolved.documents.into_iter().filter(|(_, document)| is_holder(document)));
            if matches.holders.len() >= MAX_CONFLICTS {
                break;
            }
        }
        while matches.holders.len() > MAX_CONFLICTS {
            matches.holders.pop_last();
        }
        Ok(matches)
    }

    /// The claims of the keys that an upsert links, and the conditions that the owners of void claims still hold none
    /// of them.
    fn claim_writes(
        &self,
        deciding: &BTreeSet<MatchKey>,
        matches: &Matches,
        before: Option<&Document>,
        after: &Document,
    ) -> Result<Vec<TransactWriteItem>, StoreError> {
        let held = before.map(|before| before.end_user.keys()).unwrap_or_default();
        let linked: BTreeSet<_> = after.end_user.keys().difference(&held).cloned().collect();
        let (mut writes, none) = (Vec::new(), BTreeSet::new());
        for key in &linked {
            // An owner that holds no deciding key may hold another one.
            let void = if deciding.contains(key) { &matches.void } else { &none };
            writes.push(self.claim_write(key, matches.claims.get(key), after.end_user.id, void)?);
        }
        if !linked.is_empty() {
            // A holder was read as merged before it was restored. Its own write has a condition.
            let checked = matches.void_versions.iter().filter(|(id, _)| !matches.holders.contains_key(id));
            for (id, version) in checked.take(MAX_OWNER_CHECKS) {
                writes.push(self.version_check(&keys::end_user(&self.tenant, *id), *version)?);
            }
        }
        Ok(writes)
    }
}

fn conflict(kind: ConflictKind, matches: &Matches, fields: impl Fn(&Document) -> Vec<String>) -> ChangeError {
    let end_users = matches.holders.iter().map(|(id, holder)| ConflictingEndUser { id: *id, fields: fields(holder) });
    ChangeError::Conflict(Conflict { kind, end_users: end_users.collect() })
}
