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
use crate::store::claims::{KnownClaims, UidPolicy, check_free};
use crate::store::error::{ChangeError, StoreError};
use crate::store::items::Document;
use crate::store::redirects::Resolved;
use crate::store::sequence::TakenIds;
use crate::store::{Idempotent, Scope};

/// What an upsert found.
struct Matches {
    /// The end users that hold a deciding key, or the first [`MAX_CONFLICTS`] of them.
    holders: BTreeMap<EndUserId, Document>,
    /// The claims of all keys in the body. Owners are known of the deciding keys, under the exclusive policy of all.
    known: KnownClaims,
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
        let result = self.try_upsert(upsert, idempotency_key, result).await;
        self.stored_or(idempotency_key, result).await
    }

    async fn try_upsert<T: Serialize + DeserializeOwned>(
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
                // The holders were read one after another. One that changed meanwhile may have passed its identifier on.
                let again = self.documents(matches.holders.keys().copied()).await?;
                let held = |documents: &BTreeMap<EndUserId, Document>| -> Vec<_> {
                    documents.values().map(|document| (document.end_user.id, document.end_user.keys())).collect()
                };
                if held(&again) != held(&matches.holders) {
                    backoff.wait().await?;
                    continue;
                }
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
            let mut writes = self.claim_writes(upsert, &matches, before, &document).await?;
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
        let looked_up = |key: &MatchKey| self.policy == UidPolicy::Exclusive || deciding.contains(key);
        let owners = claims.iter().filter(|(key, _)| looked_up(key)).flat_map(|(_, claim)| claim.owners.clone());
        let candidates: Vec<_> = owners.chain(indexed).collect::<BTreeSet<_>>().into_iter().collect();

        let mut matches =
            Matches { holders: BTreeMap::new(), known: KnownClaims { claims, owners: Resolved::default() } };
        for candidates in candidates.chunks(MAX_CONFLICTS) {
            let resolved = self.resolve(candidates.iter().copied().collect()).await?;
            let is_holder = |(id, _): &(&EndUserId, &Document)| !resolved.held[id].is_disjoint(&deciding);
            let holders = resolved.documents.iter().filter(is_holder);
            matches.holders.extend(holders.map(|(id, holder)| (*id, holder.clone())));
            matches.known.owners.extend(resolved);
            if matches.holders.len() >= MAX_CONFLICTS {
                break;
            }
        }
        while matches.holders.len() > MAX_CONFLICTS {
            matches.holders.pop_last();
        }
        Ok(matches)
    }

    /// The writes of claims for the keys that an upsert links and, under the exclusive policy, of those that it clears.
    async fn claim_writes(
        &self,
        upsert: &EndUserUpsert,
        matches: &Matches,
        before: Option<&Document>,
        after: &Document,
    ) -> Result<Vec<TransactWriteItem>, ChangeError> {
        let held = before.map(|before| before.end_user.keys()).unwrap_or_default();
        let keys = after.end_user.keys();
        let gained = keys.difference(&held).cloned().collect();
        let mut writes = self.claim_puts(&gained, &matches.known, after.end_user.id, &[])?;
        if self.policy == UidPolicy::Exclusive {
            let id = before.map(|before| before.end_user.id);
            let holders = |key: &MatchKey| matches.known.other_holders(key, id);
            check_free(&gained, holders, |key| upsert.new_end_user().paths(key))?;
            let lost: BTreeSet<_> = held.difference(&keys).cloned().collect();
            if !lost.is_empty() {
                writes.extend(self.releases(&lost, &self.known_claims(&lost).await?, after.end_user.id)?);
            }
        }
        Ok(writes)
    }
}

fn conflict(kind: ConflictKind, matches: &Matches, fields: impl Fn(&Document) -> Vec<String>) -> ChangeError {
    let end_users = matches.holders.iter().map(|(id, holder)| ConflictingEndUser { id: *id, fields: fields(holder) });
    ChangeError::Conflict(Conflict { kind, end_users: end_users.collect() })
}
