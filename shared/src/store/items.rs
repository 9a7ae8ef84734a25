//! The stored shapes. Every item carries `kind` and `v`, the version of its shape.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_dynamo::aws_sdk_dynamodb_1::{from_item, to_item};

use super::keys::{self, Key};
use super::{Item, StoreError, unreadable};
use crate::domain::end_user::EndUser;
use crate::domain::ids::{EndUserId, Tenant};
use crate::domain::profile::{Field, Profile};
use crate::domain::uid::{self, Uid};

const VERSION: u32 = 1;

/// A person's document: all there is to know, UIDs included.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct EndUserItem {
    pk: String,
    sk: String,
    kind: String,
    v: u32,
    rev: u64,
    profile: Profile,
    uids: Vec<Uid>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ref_pk: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ref_sk: Option<String>,
}

/// From a key of index `byUid` to the person who holds it.
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

/// The items that a person is stored as: the document and a pointer per UID. A write is the
/// difference of two such sets.
pub fn records(tenant: &Tenant, person: &EndUser) -> Result<BTreeMap<Key, Item>, StoreError> {
    let key = keys::end_user(tenant, person.id);
    let reference = person.profile.get(Field::CustomerRef).map(uid::reference_key);
    let document = EndUserItem {
        pk: key.pk.clone(),
        sk: key.sk.clone(),
        kind: "EndUser".to_owned(),
        v: VERSION,
        rev: person.rev,
        profile: person.profile.clone(),
        uids: person.uids.clone(),
        ref_pk: reference.as_ref().map(|held| keys::reference_index(tenant, held)),
        ref_sk: reference.as_ref().map(|_| keys::padded(person.id)),
    };
    let mut records = BTreeMap::from([(key, to_item(document).map_err(unreadable)?)]);
    for uid in &person.uids {
        let key = keys::uid(tenant, person.id, uid.id);
        let pointer = PointerItem {
            pk: key.pk.clone(),
            sk: key.sk.clone(),
            kind: "Uid",
            v: VERSION,
            uid_pk: keys::uid_index(tenant, &uid.key()),
            uid_sk: keys::padded(person.id),
        };
        records.insert(key, to_item(pointer).map_err(unreadable)?);
    }
    Ok(records)
}

/// The person of a document.
pub(super) fn read_end_user(item: Item) -> Result<EndUser, StoreError> {
    let item: EndUserItem = from_item(item).map_err(unreadable)?;
    let id = keys::id_of(&item.sk).ok_or_else(|| unreadable("a document without an id"))?;
    Ok(EndUser { id, rev: item.rev, profile: item.profile, uids: item.uids })
}

/// The person that an index entry or a pointer leads to.
pub(super) fn read_id(item: &Item, sort_name: &str) -> Result<EndUserId, StoreError> {
    keys::id_of(super::text(item, sort_name)?).ok_or_else(|| unreadable("a key without an id"))
}
