//! Claims: the end users that hold a match key, in an item that a transaction can depend on.
//!
//! The indexes say who holds a key, but a transaction cannot have the condition that nobody does. Two writers use claims
//! for that:
//!
//! - Under either policy, an upsert writes a claim for each key that it links, on condition that the claim is as it was
//!   when the upsert looked for holders. Of two upserts that would both create a holder of a key, one fails and finds
//!   the other's end user. Under the shared policy such a claim expires after a day, when the indexes have long caught
//!   up.
//! - Under the exclusive policy, every write puts the claims of the keys that an end user gains and deletes those of the
//!   keys that it loses.
//!
//! A claim only names candidates. The document of an end user decides whether it holds the key, and a merged end user
//! stands for the one that it is part of. A claim whose owners do not hold the key is void and can be taken over.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use aws_sdk_dynamodb::types::{AttributeValue, TransactWriteItem};
use futures::TryStreamExt;
use serde::{Deserialize, Serialize};
use serde_dynamo::aws_sdk_dynamodb_1::{from_item, to_item};

use super::Scope;
use super::error::{ChangeError, StoreError, unreadable};
use super::index::Progress;
use super::items::{self, Document, Item, expires_at, text};
use super::keys::{self, Key};
use super::query::Query;
use super::redirects::Resolved;
use super::table::{at_version, delete_action, number, put_action};
use crate::domain::end_user::{Conflict, ConflictKind, ConflictingEndUser, EndUser, MAX_CONFLICTS, PendingEndUser};
use crate::domain::ids::{EndUserId, UidId};
use crate::domain::input::ValidationErrors;
use crate::domain::uid::MatchKey;

/// Whether several end users of a tenant can hold the same match key.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum UidPolicy {
    /// They can.
    #[default]
    Shared,
    /// At most one can.
    Exclusive,
}

impl UidPolicy {
    /// Reads the value of `UID_POLICY`.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "Shared" => Some(Self::Shared),
            "Exclusive" => Some(Self::Exclusive),
            _ => None,
        }
    }
}

/// The lifetime of a claim under the shared policy: far longer than the indexes can be behind.
const TTL: Duration = Duration::from_secs(24 * 60 * 60);

/// The most owners that a claim names. A further one replaces the oldest.
const MAX_OWNERS: usize = 100;

/// The most conditions on the owners of void claims in one transaction. With the 84 other actions of the largest upsert
/// they fit DynamoDB's limit of 100.
const MAX_OWNER_CHECKS: usize = 16;

/// The most pointers and claims that a change puts and deletes under the exclusive policy. With the document, the
/// counter and a stored response they fit DynamoDB's limit of 100 actions.
const MAX_EXCLUSIVE_ACTIONS: usize = 97;

/// The stored shape of a claim.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ClaimItem {
    pk: String,
    sk: String,
    kind: String,
    v: u32,
    owners: Vec<EndUserId>,
    /// The version: random, at least 1, so that no version of a key's claims returns.
    rev: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    expires_at: Option<u64>,
}

/// A claim as it was read.
#[derive(Clone, Debug)]
pub(super) struct Claim {
    /// The end users that linked the key, newest last.
    pub owners: Vec<EndUserId>,
    pub rev: u64,
    /// Whether it is one of the shared policy.
    pub expires: bool,
}

/// Claims as they were read, with what is known of their owners.
#[derive(Default, Debug)]
pub(super) struct KnownClaims {
    /// The claims by key. A key without a claim is left out.
    pub claims: BTreeMap<MatchKey, Claim>,
    /// The owners that were looked up.
    pub owners: Resolved,
}

impl KnownClaims {
    /// The end users that hold `key` according to their documents, other than `except`.
    pub(super) fn other_holders(&self, key: &MatchKey, except: Option<EndUserId>) -> BTreeSet<EndUserId> {
        let holding = self.owners_of(key).filter(|owner| self.owners.holds(*owner, key));
        let holders = holding.filter_map(|owner| self.owners.end(owner)).map(|end| end.end_user.id);
        holders.filter(|id| Some(*id) != except).collect()
    }

    /// The owners in the claim of `key` that are known not to hold it.
    fn void_owners(&self, key: &MatchKey) -> BTreeSet<EndUserId> {
        let is_void = |owner: &EndUserId| self.owners.ends.contains_key(owner) && !self.owners.holds(*owner, key);
        self.owners_of(key).filter(is_void).collect()
    }

    /// The owners in the claim of `key`.
    fn owners_of(&self, key: &MatchKey) -> impl Iterator<Item = EndUserId> {
        self.claims.get(key).into_iter().flat_map(|claim| claim.owners.iter().copied())
    }
}

impl Scope<'_> {
    /// The claims of `match_keys`, read strongly. Keys without a claim are left out.
    pub(super) async fn claims(
        &self,
        match_keys: &BTreeSet<MatchKey>,
    ) -> Result<BTreeMap<MatchKey, Claim>, StoreError> {
        let by_partition: BTreeMap<String, &MatchKey> =
            match_keys.iter().map(|match_key| (keys::claim(&self.tenant, match_key).pk, match_key)).collect();
        let keys = match_keys.iter().map(|match_key| keys::claim(&self.tenant, match_key)).collect();
        let mut claims = BTreeMap::new();
        for item in self.table.get_all(keys).await? {
            let match_key = by_partition.get(text(&item, "pk")?).map(|key| (*key).clone());
            let ClaimItem { owners, rev, expires_at, .. } = from_item(item).map_err(unreadable)?;
            let claim = Claim { owners, rev, expires: expires_at.is_some() };
            claims.extend(match_key.map(|match_key| (match_key, claim)));
        }
        Ok(claims)
    }

    /// The claims of `match_keys` and their owners, read strongly.
    pub(super) async fn known_claims(&self, match_keys: &BTreeSet<MatchKey>) -> Result<KnownClaims, StoreError> {
        let claims = self.claims(match_keys).await?;
        let owners = claims.values().flat_map(|claim| claim.owners.iter().copied()).collect();
        Ok(KnownClaims { claims, owners: self.resolve(owners).await? })
    }

    /// The put of a claim that adds `owner`, on condition that the stored claim is still the known one. Under the
    /// exclusive policy `owner` becomes the only owner.
    fn claim_put(
        &self,
        match_key: &MatchKey,
        known: &KnownClaims,
        owner: EndUserId,
    ) -> Result<TransactWriteItem, StoreError> {
        let read = known.claims.get(match_key);
        let mut owners = match self.policy {
            UidPolicy::Exclusive => Vec::new(),
            UidPolicy::Shared => {
                let void = known.void_owners(match_key);
                let is_kept = |other: &EndUserId| !void.contains(other) && *other != owner;
                read.iter().flat_map(|claim| claim.owners.clone()).filter(is_kept).collect()
            }
        };
        owners.push(owner);
        owners.drain(..owners.len().saturating_sub(MAX_OWNERS));
        let (condition, values) = at_version(read.map_or(0, |claim| claim.rev));
        let put = self.table.put(self.claim_item(match_key, owners)?).condition_expression(condition);
        put_action(put.set_expression_attribute_values(values))
    }

    /// Adds an owner to a claim by itself, if the stored claim is still the known one. Returns whether it is.
    pub(super) async fn add_owner(
        &self,
        match_key: &MatchKey,
        known: &KnownClaims,
        owner: EndUserId,
    ) -> Result<bool, StoreError> {
        let read = known.claims.get(match_key);
        let owners = read.iter().flat_map(|claim| claim.owners.clone()).chain([owner]).collect();
        self.table.put_version(self.claim_item(match_key, owners)?, read.map_or(0, |claim| claim.rev)).await
    }

    /// The item of a claim. It expires only under the shared policy.
    fn claim_item(&self, match_key: &MatchKey, owners: Vec<EndUserId>) -> Result<Item, StoreError> {
        let Key { pk, sk } = keys::claim(&self.tenant, match_key);
        let (kind, rev) = ("Claim".to_owned(), fastrand::u64(1..));
        let expires_at = (self.policy == UidPolicy::Shared).then(|| expires_at(TTL));
        to_item(ClaimItem { pk, sk, kind, v: 1, owners, rev, expires_at }).map_err(unreadable)
    }

    /// The puts of the claims of the keys that `owner` gains, and the conditions that the owners of void claims stay as
    /// they were read. Without them, undoing a merge could give a key back to an owner unnoticed. The transaction writes
    /// the documents of `owner` and `others`, so it has other conditions on them.
    pub(super) fn claim_puts(
        &self,
        gained: &BTreeSet<MatchKey>,
        known: &KnownClaims,
        owner: EndUserId,
        others: &[EndUserId],
    ) -> Result<Vec<TransactWriteItem>, StoreError> {
        let mut writes = Vec::new();
        let (mut merged, mut documents) = (BTreeSet::new(), BTreeMap::new());
        for key in gained {
            writes.push(self.claim_put(key, known, owner)?);
            for void in known.void_owners(key).into_iter().filter(|void| *void != owner) {
                merged.extend(known.owners.redirected(void));
                let is_written = |id: EndUserId| id == owner || others.contains(&id);
                let end = known.owners.end(void).filter(|end| !is_written(end.end_user.id));
                documents.extend(end.map(|end| (end.end_user.id, end.version)));
            }
        }
        let redirects = merged.into_iter().map(|id| (keys::redirect(&self.tenant, id), None));
        let documents = documents.into_iter().map(|(id, version)| (keys::end_user(&self.tenant, id), Some(version)));
        for (key, version) in redirects.chain(documents).take(MAX_OWNER_CHECKS) {
            writes.push(self.unchanged_check(&key, version)?);
        }
        Ok(writes)
    }

    /// The writes of claims that belong to a change of an end user, under the exclusive policy; none under the shared
    /// one. `pending` is the request that makes `after`.
    ///
    /// The first attempt reads no claims. Its transaction fails if a claim is not as expected. A retry reads them, takes
    /// over void ones, and fails with the conflicts if another end user holds a key.
    pub(super) async fn exclusive_claims(
        &self,
        is_retry: bool,
        before: Option<&EndUser>,
        after: Option<&EndUser>,
        pending: Option<&PendingEndUser>,
    ) -> Result<Vec<TransactWriteItem>, ChangeError> {
        let Some(id) = after.or(before).map(|end_user| end_user.id).filter(|_| self.policy == UidPolicy::Exclusive)
        else {
            return Ok(Vec::new());
        };
        let (old, new) = [before, after].map(|end_user| end_user.map(EndUser::keys).unwrap_or_default()).into();
        let gained: BTreeSet<_> = new.difference(&old).cloned().collect();
        let lost: BTreeSet<_> = old.difference(&new).cloned().collect();
        if gained.len() + lost.len() + changed_pointers(before, after) > MAX_EXCLUSIVE_ACTIONS && after.is_some() {
            let message = format!(
                "under the exclusive policy a request can put and remove at most {MAX_EXCLUSIVE_ACTIONS} UID records and \
                 keys: an added or removed UID counts as 2, a changed one as 3"
            );
            return Err(ValidationErrors::single("uids", message).into());
        }
        if !is_retry {
            let claims = gained.iter().map(|key| self.first_claim(key, id));
            let releases = lost.iter().map(|key| self.first_release(key, id));
            return Ok(claims.chain(releases).collect::<Result<_, _>>()?);
        }
        let known = self.known_claims(&gained.union(&lost).cloned().collect()).await?;
        let paths = |key: &MatchKey| pending.map(|pending| pending.paths(key)).unwrap_or_default();
        check_free(&gained, |key| known.other_holders(key, Some(id)), paths)?;
        let mut writes = self.claim_puts(&gained, &known, id, &[])?;
        writes.extend(self.releases(&lost, &known, id)?);
        Ok(writes)
    }

    /// The deletions of the claims of the keys that `id` loses, on condition that they are still the known ones. The claim
    /// of a key that another end user holds is left alone.
    pub(super) fn releases(
        &self,
        lost: &BTreeSet<MatchKey>,
        known: &KnownClaims,
        id: EndUserId,
    ) -> Result<Vec<TransactWriteItem>, StoreError> {
        let claims = lost.iter().filter_map(|key| Some((key, known.claims.get(key)?)));
        let ours = claims.filter(|(key, _)| known.other_holders(key, Some(id)).is_empty());
        let delete = |(key, claim): (&MatchKey, &Claim)| {
            let (condition, values) = at_version(claim.rev);
            let delete = self.table.delete(&keys::claim(&self.tenant, key)).condition_expression(condition);
            delete_action(delete.set_expression_attribute_values(values))
        };
        ours.map(delete).collect()
    }

    /// The put of a claim on condition that no other end user has one.
    fn first_claim(&self, match_key: &MatchKey, owner: EndUserId) -> Result<TransactWriteItem, StoreError> {
        let put = self.table.put(self.claim_item(match_key, vec![owner])?).condition_expression(NONE_OR_OURS);
        put_action(put.expression_attribute_values(":ours", owners(owner)))
    }

    /// The deletion of a claim on condition that no other end user has one.
    fn first_release(&self, match_key: &MatchKey, owner: EndUserId) -> Result<TransactWriteItem, StoreError> {
        let delete = self.table.delete(&keys::claim(&self.tenant, match_key)).condition_expression(NONE_OR_OURS);
        delete_action(delete.expression_attribute_values(":ours", owners(owner)))
    }
}

/// The result of building claims.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct ClaimsBuild {
    /// The number of end users.
    pub end_users: u64,
    /// The number of claims that were missing and put.
    pub claimed: u64,
    /// The number of identifiers, of all end users but one, that several end users hold.
    pub shared: u64,
}

impl std::ops::AddAssign for ClaimsBuild {
    fn add_assign(&mut self, other: Self) {
        self.end_users += other.end_users;
        self.claimed += other.claimed;
        self.shared += other.shared;
    }
}

/// An identifier that several end users hold.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SharedIdentifier {
    /// The identifier, as one of them has it.
    pub value: String,
    /// The end users by ascending id: two or more.
    pub end_users: BTreeSet<EndUserId>,
}

impl Scope<'_> {
    /// Claims every match key that one end user holds, for the exclusive policy. Calls `on_shared` for each key of an
    /// end user that others hold too. Can be stopped and repeated at any time, while the tenant is written to.
    pub async fn build_claims(
        &self,
        on_shared: &(dyn Fn(&SharedIdentifier) + Sync),
        on_progress: &(dyn Fn(Progress) + Sync),
    ) -> Result<ClaimsBuild, StoreError> {
        let mut all = ClaimsBuild::default();
        let mut pages = self.table.pages(Query::table(keys::end_users(&self.tenant)));
        while let Some(page) = pages.try_next().await? {
            // One after another: the first end user of a page that holds a key claims it before the next one looks.
            for document in page.items {
                let Document { end_user, .. } = items::read_document(document)?;
                all += self.build_claims_of(end_user.id, on_shared).await?;
            }
            on_progress(Progress { stage: "building claims", done: all.end_users, of: None });
        }
        Ok(all)
    }

    /// Claims the keys of one end user that nobody else holds, in one transaction on condition of its document.
    async fn build_claims_of(
        &self,
        id: EndUserId,
        on_shared: &(dyn Fn(&SharedIdentifier) + Sync),
    ) -> Result<ClaimsBuild, StoreError> {
        let mut backoff = self.table.backoff("claim conflict");
        loop {
            let Some(document) = self.document(id).await? else { return Ok(ClaimsBuild::default()) };
            let known = self.known_claims(&document.end_user.keys()).await?;
            let mut missing = BTreeSet::new();
            let mut shared = Vec::new();
            for (key, value) in document.end_user.identifiers() {
                let mut end_users = known.other_holders(&key, Some(id));
                if !end_users.is_empty() {
                    end_users.insert(id);
                    shared.push(SharedIdentifier { value, end_users });
                } else if !known.claims.get(&key).is_some_and(|claim| claim.is_built_for(id, &known)) {
                    missing.insert(key);
                }
            }
            let mut writes = self.claim_puts(&missing, &known, id, &[])?;
            writes.push(self.unchanged_check(&keys::end_user(&self.tenant, id), Some(document.version))?);
            if !missing.is_empty() {
                match self.table.transact(writes).await {
                    Ok(()) => {}
                    Err(failure) if failure.is_cancelled() => {
                        backoff.wait().await?;
                        continue;
                    }
                    Err(failure) => return Err(failure.into()),
                }
            }
            shared.iter().for_each(on_shared);
            return Ok(ClaimsBuild { end_users: 1, claimed: missing.len() as u64, shared: shared.len() as u64 });
        }
    }
}

impl Claim {
    /// Whether the claim protects `id`'s hold of its key: it does not expire, and its owners are `id` or part of it.
    fn is_built_for(&self, id: EndUserId, known: &KnownClaims) -> bool {
        let is_part = |owner: &EndUserId| known.owners.end(*owner).is_some_and(|end| end.end_user.id == id);
        !self.expires && self.owners.iter().any(is_part)
    }
}

/// The condition that a key has no claim, or one with only the owner `:ours`.
const NONE_OR_OURS: &str = "attribute_not_exists(pk) OR owners = :ours";

fn owners(owner: EndUserId) -> AttributeValue {
    AttributeValue::L(vec![number(owner)])
}

/// Fails if other end users, `holders`, hold keys that an end user would gain, and names all of them with the paths of the
/// keys in the request.
pub(super) fn check_free(
    gained: &BTreeSet<MatchKey>,
    holders: impl Fn(&MatchKey) -> BTreeSet<EndUserId>,
    paths: impl Fn(&MatchKey) -> Vec<String>,
) -> Result<(), ChangeError> {
    let mut taken: BTreeMap<EndUserId, Vec<String>> = BTreeMap::new();
    for key in gained {
        for holder in holders(key) {
            taken.entry(holder).or_default().extend(paths(key));
        }
    }
    if taken.is_empty() {
        return Ok(());
    }
    let end_users = taken.into_iter().take(MAX_CONFLICTS).map(|(id, mut fields)| {
        fields.sort_by(|a, b| path_order(a).cmp(&path_order(b)));
        ConflictingEndUser { id, fields }
    });
    Err(ChangeError::Conflict(Conflict { kind: ConflictKind::IdentifierTaken, end_users: end_users.collect() }))
}

/// The order of paths in a body: elements of `uids` by number, then others.
fn path_order(path: &str) -> (usize, &str) {
    let number = path.strip_prefix("uids[").and_then(|rest| rest.split(']').next()?.parse().ok());
    (number.unwrap_or(usize::MAX), path)
}

/// The number of pointers that a change puts and deletes.
fn changed_pointers(before: Option<&EndUser>, after: Option<&EndUser>) -> usize {
    let pointers = |end_user: Option<&EndUser>| -> BTreeMap<UidId, MatchKey> {
        end_user.into_iter().flat_map(|end_user| &end_user.uids).map(|uid| (uid.id, uid.key())).collect()
    };
    let (old, new) = (pointers(before), pointers(after));
    let put = new.iter().filter(|(id, key)| old.get(id) != Some(*key)).count();
    put + old.keys().filter(|id| !new.contains_key(id)).count()
}
