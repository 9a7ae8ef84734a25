//! The stored shapes. Every item has `kind` and `v`, the version of its shape.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_sdk_dynamodb::types::AttributeValue;
use serde::{Deserialize, Serialize};
use serde_dynamo::aws_sdk_dynamodb_1::{from_item, to_item};

use super::error::{StoreError, unreadable};
use super::keys::{self, Key};
use crate::domain::end_user::EndUser;
use crate::domain::ids::{EndUserId, Tenant};
use crate::domain::profile::{Field, Profile};
use crate::domain::uid::{self, Uid};

/// A stored item.
pub type Item = HashMap<String, AttributeValue>;

/// The version of every item's shape.
const VERSION: u32 = 1;

/// The lifetime of tombstones, and of the messages of a deleted ticket: far longer than an event or a stream record can
/// be delayed.
pub(super) const TOMBSTONE_TTL: Duration = Duration::from_secs(35 * 24 * 60 * 60);

/// The most stored responses that a document lists. A further one erases the oldest. With
/// [`crate::domain::end_user::MAX_ESCAPED_BYTES`] a document stays below 100 KB.
pub(super) const MAX_STORED_RESPONSES: usize = 500;

/// An end user, with the data that is stored beside it in one item.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Document {
    /// The end user as callers see it; `rev` counts its changes.
    pub end_user: EndUser,
    /// The number of writes. Every write has the condition that it is unchanged.
    pub(super) version: u64,
    /// The responses about the end user that are stored for idempotency keys, oldest first. Deleting the end user
    /// erases them.
    pub(super) responses: Vec<StoredResponse>,
    /// The number of merges into the end user, for the order of what is kept to undo them.
    pub(super) merges: u32,
    /// The number of merges between the end user and the farthest one that is part of it, at most
    /// [`MAX_MERGE_DEPTH`](crate::domain::end_user::MAX_MERGE_DEPTH).
    pub(super) depth: u32,
}

/// A reference from a document to a response that is stored for an idempotency key.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub(super) struct StoredResponse {
    /// The [`keys::idempotency_digest`] of the idempotency key.
    pub(super) digest: String,
    /// The number of the item of the request's body that the response is about; `None` for the whole request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) item: Option<u32>,
    /// The end user that the response is about, if it became part of the one that lists the response.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) of: Option<EndUserId>,
    /// The expiry in seconds since 1970.
    pub(super) until: u64,
}

/// The data that a deleted document leaves behind, from its last image in the table's stream.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Default, Deserialize)]
pub struct Remains {
    #[serde(default)]
    pub(super) responses: Vec<StoredResponse>,
    #[serde(default)]
    pub(super) merges: u32,
}

impl Remains {
    /// Reads the last image of a document. `None` if the document leaves nothing behind.
    pub fn read(image: serde_dynamo::Item) -> Option<Self> {
        let remains: Self = serde_dynamo::from_item(image).unwrap_or_default();
        (remains != Self::default()).then_some(remains)
    }
}

impl Document {
    /// A new end user without stored responses.
    pub fn new(end_user: EndUser) -> Self {
        Self { end_user, version: 1, responses: Vec::new(), merges: 0, depth: 0 }
    }

    /// The document that replaces `before`, or a new one.
    pub(super) fn after(before: Option<&Self>, end_user: EndUser) -> Self {
        match before {
            None => Self::new(end_user),
            Some(before) => Self { end_user, version: before.version + 1, ..before.clone() },
        }
    }

    /// Adds a response and drops expired ones. Returns the oldest response, which the caller erases, if there are more
    /// than [`MAX_STORED_RESPONSES`].
    pub(super) fn add_response(&mut self, response: StoredResponse) -> Option<StoredResponse> {
        let now = now();
        let is_same = |stored: &StoredResponse| (&stored.digest, stored.item) == (&response.digest, response.item);
        self.responses.retain(|stored| stored.until > now && !is_same(stored));
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
    #[serde(default, skip_serializing_if = "is_zero")]
    merges: u32,
    #[serde(default, skip_serializing_if = "is_zero")]
    depth: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    ref_pk: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ref_sk: Option<String>,
}

/// Whether a number is left out of an item.
#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(number: &u32) -> bool {
    *number == 0
}

/// A pointer: one UID in the index `byUid`, with the id of its end user.
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

/// Returns the items of an end user: the document, and a pointer per UID. A write applies the difference of two such
/// sets.
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
        merges: document.merges,
        depth: document.depth,
        ref_pk: reference.as_ref().map(|key| keys::reference_index(tenant, key)),
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
    let EndUserItem { sk, rev, version, profile, uids, responses, merges, depth, .. } =
        from_item(item).map_err(unreadable)?;
    let id = keys::id_of(&sk).ok_or_else(|| unreadable("a document without an id"))?;
    Ok(Document { end_user: EndUser { id, rev, profile, uids }, version, responses, merges, depth })
}

pub(super) fn read_end_user(item: Item) -> Result<EndUser, StoreError> {
    read_document(item).map(|document| document.end_user)
}

/// The id of the end user that an index entry or a pointer refers to, from the sort key in attribute `sort_name`.
pub(super) fn read_id(item: &Item, sort_name: &str) -> Result<EndUserId, StoreError> {
    keys::id_of(text(item, sort_name)?).ok_or_else(|| unreadable("a key without an id"))
}

/// The primary key of an item that was read.
pub(super) fn read_key(item: &Item) -> Result<Key, StoreError> {
    Ok(Key { pk: text(item, "pk")?.to_owned(), sk: text(item, "sk")?.to_owned() })
}

/// The attributes of a primary key.
pub(super) fn primary_key(key: &Key) -> Item {
    let text = |text: &String| AttributeValue::S(text.clone());
    HashMap::from([("pk".to_owned(), text(&key.pk)), ("sk".to_owned(), text(&key.sk))])
}

/// A string attribute of an item.
pub(super) fn text<'i>(item: &'i Item, name: &str) -> Result<&'i str, StoreError> {
    let value = item.get(name).and_then(|value| value.as_s().ok());
    value.map(String::as_str).ok_or_else(|| StoreError::Unexpected(format!("an item without {name}")))
}

/// The current time in milliseconds since 1970.
pub(super) fn now_in_milliseconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as u64
}

/// The current time in seconds since 1970, the unit of DynamoDB's TTL.
pub(super) fn now() -> u64 {
    now_in_milliseconds() / 1_000
}

/// The time `ttl` from now, in seconds since 1970.
pub(super) fn expires_at(ttl: Duration) -> u64 {
    now() + ttl.as_secs()
}
