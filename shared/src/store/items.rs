//! The stored shapes. Every item carries `kind` and `v`, the version of its shape.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_dynamo::aws_sdk_dynamodb_1::{from_item, to_item};

use super::keys::{self, Key};
use super::{Item, StoreError, expires_at, unreadable};
use crate::domain::end_user::EndUser;
use crate::domain::ids::{EndUserId, Tenant};
use crate::domain::profile::{Field, Profile};
use crate::domain::uid::{self, Uid};

const VERSION: u32 = 1;

/// The most stored responses that a document remembers; a further one erases the oldest. With
/// [`crate::domain::end_user::MAX_ESCAPED_BYTES`] a document stays below 100 KB.
pub(super) const MAX_STORED_RESPONSES: usize = 500;

/// An end user, and what the table keeps with it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Document {
    /// What callers see; `rev` counts its changes.
    pub end_user: EndUser,
    /// The number of writes; guards each of them.
    pub(super) version: u64,
    /// The responses about the end user that are stored for idempotency keys, the oldest first. A deletion of the end
    /// user erases them.
    pub(super) responses: Vec<StoredResponse>,
}

/// A response stored for an idempotency key, as the document remembers it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub struct StoredResponse {
    /// [`keys::idempotency_digest`].
    pub(super) digest: String,
    /// Seconds since 1970.
    pub(super) until: u64,
}

/// The responses that a deleted document remembered, by its last image in the table's stream.
pub fn stored_responses(image: serde_dynamo::Item) -> Vec<StoredResponse> {
    #[derive(Deserialize)]
    struct Image {
        #[serde(default)]
        responses: Vec<StoredResponse>,
    }
    serde_dynamo::from_item(image).map_or(Vec::new(), |image: Image| image.responses)
}

impl Document {
    /// A new end user that no response is stored for.
    pub fn new(end_user: EndUser) -> Self {
        Self { end_user, version: 1, responses: Vec::new() }
    }

    /// Remembers a response, forgets expired ones, and returns one that is to be erased because there are too many.
    pub(super) fn remember(&mut self, response: StoredResponse) -> Option<StoredResponse> {
        let now = expires_at(Duration::ZERO);
        self.responses.retain(|stored| stored.until > now && stored.digest != response.digest);
        self.responses.push(response);
        (self.responses.len() > MAX_STORED_RESPONSES).then(|| self.responses.remove(0))
    }
}

/// The stored shape of a [`Document`].
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct EndUserItem {
    pk: String,
    sk: String,
    kind: String,
    v: u32,
    rev: u64,
    version: u64,
    profile: Profile,
    uids: Vec<Uid>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    responses: Vec<StoredResponse>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ref_pk: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ref_sk: Option<String>,
}

/// From a key of index `byUid` to the end user who holds it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct PointerItem {
    pk: String,
    sk: String,
    kind: &'static str,
    v: u32,
    uid_pk: String,
    uid_sk: String,
}

/// The items that an end user is stored as: the document and a pointer per UID. A write is the
/// difference of two such sets.
pub fn records(tenant: &Tenant, document: &Document) -> Result<BTreeMap<Key, Item>, StoreError> {
    let end_user = &document.end_user;
    let key = keys::end_user(tenant, end_user.id);
    let reference = end_user.profile.get(Field::CustomerRef).map(uid::reference_key);
    let item = EndUserItem {
        pk: key.pk.clone(),
        sk: key.sk.clone(),
        kind: "EndUser".to_owned(),
        v: VERSION,
        rev: end_user.rev,
        version: document.version,
        profile: end_user.profile.clone(),
        uids: end_user.uids.clone(),
        responses: document.responses.clone(),
        ref_pk: reference.as_ref().map(|held| keys::reference_index(tenant, held)),
        ref_sk: reference.as_ref().map(|_| keys::padded(end_user.id)),
    };
    let mut records = BTreeMap::from([(key, to_item(item).map_err(unreadable)?)]);
    for uid in &end_user.uids {
        let key = keys::uid(tenant, end_user.id, uid.id);
        let pointer = PointerItem {
            pk: key.pk.clone(),
            sk: key.sk.clone(),
            kind: "Uid",
            v: VERSION,
            uid_pk: keys::uid_index(tenant, &uid.key()),
            uid_sk: keys::padded(end_user.id),
        };
        records.insert(key, to_item(pointer).map_err(unreadable)?);
    }
    Ok(records)
}

pub(super) fn read_document(item: Item) -> Result<Document, StoreError> {
    let EndUserItem { sk, rev, version, profile, uids, responses, .. } = from_item(item).map_err(unreadable)?;
    let id = keys::id_of(&sk).ok_or_else(|| unreadable("a document without an id"))?;
    Ok(Document { end_user: EndUser { id, rev, profile, uids }, version, responses })
}

pub(super) fn read_end_user(item: Item) -> Result<EndUser, StoreError> {
    read_document(item).map(|document| document.end_user)
}

/// The end user that an index entry or a pointer leads to.
pub(super) fn read_id(item: &Item, sort_name: &str) -> Result<EndUserId, StoreError> {
    keys::id_of(super::text(item, sort_name)?).ok_or_else(|| unreadable("a key without an id"))
}
