//! Claims: the end users that hold a match key, in an item that a transaction can depend on.
//!
//! The indexes say who holds a key, but a transaction cannot have the condition that nobody does. An upsert therefore
//! writes a claim for each key that it links, on condition that the claim is as it was when the upsert looked for
//! holders. Of two upserts that would both create a holder of a key, one fails and finds the other's end user.
//!
//! A claim only names candidates. The document of an end user decides whether it holds the key.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use aws_sdk_dynamodb::types::TransactWriteItem;
use serde::{Deserialize, Serialize};
use serde_dynamo::aws_sdk_dynamodb_1::{from_item, to_item};

use super::Scope;
use super::error::{StoreError, unreadable};
use super::items::{expires_at, text};
use super::keys::{self, Key};
use super::table::{number, put_action};
use crate::domain::ids::EndUserId;
use crate::domain::uid::MatchKey;

/// The lifetime of a claim: far longer than the indexes can be behind.
const TTL: Duration = Duration::from_secs(24 * 60 * 60);

/// The most owners that a claim names. A further one replaces the oldest.
const MAX_OWNERS: usize = 100;

/// The stored shape of a claim.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ClaimItem {
    pk: String,
    sk: String,
    kind: String,
    v: u32,
    owners: Vec<EndUserId>,
    /// Random, so that no version of a key's claims returns.
    version: u64,
    expires_at: u64,
}

/// A claim as it was read.
#[derive(Clone, Debug)]
pub(super) struct Claim {
    /// The end users that linked the key, newest last.
    pub owners: Vec<EndUserId>,
    version: u64,
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
            let ClaimItem { owners, version, .. } = from_item(item).map_err(unreadable)?;
            claims.extend(match_key.map(|match_key| (match_key, Claim { owners, version })));
        }
        Ok(claims)
    }

    /// The write that adds `owner` to the claim of a key and drops the owners in `void`, on condition that the claim is
    /// still `read`.
    pub(super) fn claim_write(
        &self,
        match_key: &MatchKey,
        read: Option<&Claim>,
        owner: EndUserId,
        void: &BTreeSet<EndUserId>,
    ) -> Result<TransactWriteItem, StoreError> {
        let Key { pk, sk } = keys::claim(&self.tenant, match_key);
        let others =
            read.iter().flat_map(|claim| &claim.owners).filter(|other| !void.contains(other) && **other != owner);
        let mut owners: Vec<EndUserId> = others.copied().chain([owner]).collect();
        owners.drain(..owners.len().saturating_sub(MAX_OWNERS));
        let version = fastrand::u64(..);
        let item = ClaimItem { pk, sk, kind: "Claim".to_owned(), v: 1, owners, version, expires_at: expires_at(TTL) };
        let put = self.table.put(to_item(item).map_err(unreadable)?);
        put_action(match read {
            None => put.condition_expression("attribute_not_exists(pk)"),
            Some(claim) => put
                .condition_expression("version = :version")
                .expression_attribute_values(":version", number(claim.version)),
        })
    }
}
