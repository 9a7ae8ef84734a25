//! A model of upserts, merges and their undo: the effect of each on the end users that it is about (docs/api.md).

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::end_user::{ModelEndUser, ModelUid};
use super::request::{ModelUpsert, OnMatch};
use super::words::{FIELD_COUNT, FIELDS, REFERENCE, REFERENCE_KEYS, REFERENCE_UIDS};

const TYPE: &str = "customerType";

/// What a merge does.
pub struct ModelMerge {
    /// The survivor afterwards.
    pub survivor: ModelEndUser,
    /// The indexes of the fields that are taken from the other end user.
    filled: Vec<usize>,
    is_type_filled: bool,
    discarded: Value,
    moved: Vec<ModelUid>,
    dropped: Vec<ModelUid>,
    /// The customerRef that becomes a UID, as an index of its value.
    reference: Option<usize>,
}

/// A merged end user, and what its undo needs.
#[derive(Clone, PartialEq, Debug)]
pub struct MergedEndUser {
    pub into: u64,
    /// The number of the merge among the merges into that end user.
    pub number: usize,
    before: ModelEndUser,
    filled: Vec<usize>,
    is_type_filled: bool,
    /// The UIDs that the survivor got.
    moved: Vec<ModelUid>,
}

impl ModelMerge {
    pub fn new(survivor: &ModelEndUser, other: &ModelEndUser) -> Self {
        let mut after = survivor.clone();
        let (mut filled, mut discarded, mut reference) = (Vec::new(), json!({}), None);
        for at in 0..FIELD_COUNT {
            match (survivor.profile[at], other.profile[at]) {
                (None, Some(value)) => {
                    after.profile[at] = Some(value);
                    filled.push(at);
                }
                (Some(ours), Some(theirs)) if ours != theirs => match at {
                    REFERENCE if REFERENCE_KEYS[ours] != REFERENCE_KEYS[theirs] => reference = Some(theirs),
                    _ => discarded[FIELDS[at].name] = json!(FIELDS[at].values[theirs].0),
                },
                _ => {}
            }
        }
        let is_type_filled = survivor.customer_type == "Lead" && other.customer_type != "Lead";
        if is_type_filled {
            after.customer_type = other.customer_type;
        } else if other.customer_type != "Lead" && other.customer_type != survivor.customer_type {
            discarded[TYPE] = json!(other.customer_type);
        }
        let (mut moved, mut dropped) = (Vec::new(), Vec::new());
        let keeps_primary = survivor.uids.iter().any(|uid| uid.primary);
        for uid in &other.uids {
            let primary = uid.primary && !keeps_primary;
            match after.uids.iter_mut().find(|held| held.is_same(uid)) {
                Some(held) => {
                    held.primary |= primary;
                    dropped.push(uid.clone());
                }
                None => {
                    after.uids.push(ModelUid { primary, ..uid.clone() });
                    moved.push(uid.clone());
                }
            }
        }
        let held = |value: &usize| after.uids.iter().any(|uid| uid.matches(&REFERENCE_UIDS[*value]));
        let reference = reference.filter(|value| !held(value));
        after.uids.extend(reference.map(|value| ModelUid::new(&REFERENCE_UIDS[value])));
        // A merge is a new revision, also if it changes nothing.
        after.etag = None;
        Self { survivor: after, filled, is_type_filled, discarded, moved, dropped, reference }
    }

    /// The body of the response without `endUser`; `"?"` stands for an unknown value.
    pub fn body(&self, other: u64) -> Value {
        let ids = |uids: &[ModelUid]| -> Vec<Value> {
            uids.iter().map(|uid| uid.id.map_or(json!("?"), Value::from)).collect()
        };
        let filled: Vec<_> =
            self.filled.iter().map(|at| FIELDS[*at].name).chain(self.is_type_filled.then_some(TYPE)).collect();
        json!({ "mergedEndUserID": other, "filledFields": filled, "discardedFields": self.discarded,
            "movedUids": ids(&self.moved), "droppedUids": ids(&self.dropped),
            "movedCustomerRef": self.reference.map(|value| FIELDS[REFERENCE].values[value].0), "undoUntil": "?" })
    }

    /// What is kept of `other`, as it was before its merge into `into`.
    pub fn record(&self, other: &ModelEndUser, into: u64, number: usize) -> MergedEndUser {
        let before = ModelEndUser { etag: None, ..other.clone() };
        let mut moved = self.moved.clone();
        moved.extend(self.reference.map(|value| ModelUid::new(&REFERENCE_UIDS[value])));
        MergedEndUser { into, number, before, filled: self.filled.clone(), is_type_filled: self.is_type_filled, moved }
    }
}

impl MergedEndUser {
    /// Takes over the ids of moved UIDs that were unknown at the merge from the survivor.
    pub fn learn_uid_ids(&mut self, survivor: &ModelEndUser) {
        for moved in self.moved.iter_mut().filter(|uid| uid.id.is_none()) {
            let held = survivor.uids.iter().find(|held| (held.kind, held.value) == (moved.kind, moved.value));
            moved.id = held.and_then(|held| held.id);
            if let Some(uid) = self.before.uids.iter_mut().find(|uid| uid.is_same(moved)) {
                uid.id = moved.id;
            }
        }
    }

    /// Undoes the merge: the survivor and the other end user afterwards.
    pub fn undo(&self, survivor: &ModelEndUser) -> (ModelEndUser, ModelEndUser) {
        let mut after = survivor.clone();
        for at in &self.filled {
            if after.profile[*at] == self.before.profile[*at] {
                after.profile[*at] = None;
            }
        }
        if self.is_type_filled && after.customer_type == self.before.customer_type {
            after.customer_type = "Lead";
        }
        let is_unchanged = |uid: &ModelUid| {
            self.moved.iter().any(|moved| (moved.id, moved.kind, moved.value) == (uid.id, uid.kind, uid.value))
        };
        after.uids.retain(|uid| !is_unchanged(uid));
        let stays: BTreeSet<_> = after.uids.iter().filter_map(|uid| uid.id).collect();
        let mut other = self.before.clone();
        // The id of a UID that was changed stays with the survivor.
        other.uids.iter_mut().for_each(|uid| uid.id = uid.id.filter(|id| !stays.contains(id)));
        (after, other)
    }
}

impl ModelUpsert {
    /// The end user that the body creates if none matches.
    pub fn created(&self) -> Option<ModelEndUser> {
        ModelEndUser::empty().changed(&self.patch, self.customer_type, &self.entries)
    }

    /// Whether the body would replace a customerRef by another one.
    pub fn replaces_reference(&self, end_user: &ModelEndUser) -> bool {
        let references = (self.patch[REFERENCE].flatten(), end_user.profile[REFERENCE]);
        self.on_match != OnMatch::None
            && matches!(references, (Some(new), Some(old)) if REFERENCE_KEYS[new] != REFERENCE_KEYS[old])
    }

    /// The match afterwards.
    pub fn applied_to(&self, end_user: &ModelEndUser) -> Option<ModelEndUser> {
        let mut after = end_user.clone();
        for (value, change) in after.profile.iter_mut().zip(self.patch) {
            *value = match self.on_match {
                OnMatch::Update => change.unwrap_or(*value),
                OnMatch::Fill => value.or(change.flatten()),
                OnMatch::None => *value,
            };
        }
        let sets_type = match self.on_match {
            OnMatch::Update => true,
            OnMatch::Fill => end_user.customer_type == "Lead",
            OnMatch::None => false,
        };
        after.customer_type = self.customer_type.filter(|_| sets_type).unwrap_or(end_user.customer_type);
        let sets_primary = self.on_match == OnMatch::Update || !end_user.uids.iter().any(|uid| uid.primary);
        for uid in self.created()?.uids {
            let linked = end_user.uids.iter().position(|held| held.is_same(&uid));
            let at = linked.unwrap_or_else(|| {
                after.uids.push(ModelUid { primary: false, ..uid.clone() });
                after.uids.len() - 1
            });
            if uid.primary && sets_primary {
                after.set_primary(at);
            }
        }
        Some(after)
    }
}
