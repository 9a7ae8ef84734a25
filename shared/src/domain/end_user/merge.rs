//! Merging two end users into one, and undoing that (docs/api.md, Merging).

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::uids::PendingUid;
use super::{EndUser, MAX_UIDS, PendingEndUser};
use crate::domain::ids::{EndUserId, UidId};
use crate::domain::input::{Fields, Json, ValidationErrors};
use crate::domain::profile::{Field, Patch};
use crate::domain::time::Timestamp;
use crate::domain::uid::{self, Uid, UidType};

/// The type of the UID that a customerRef becomes if the surviving end user has another one.
const REFERENCE_TYPE: &str = "customerRef";

/// Maximum number of merges between the first merged end user of a chain and the end user that it is part of.
pub const MAX_MERGE_DEPTH: u32 = 16;

/// A valid body of `POST /api/EndUsers/{id}/merge`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct EndUserMerge {
    /// The end user that survives.
    pub survivor: EndUserId,
    /// The end user that becomes part of it.
    pub other: EndUserId,
    /// Whether to return the result without writing anything.
    pub dry_run: bool,
}

impl EndUserMerge {
    /// Reads an EndUserMergeDTO for the end user `survivor`.
    pub fn read(body: &Json, survivor: EndUserId) -> Result<Self, ValidationErrors> {
        let mut errors = ValidationErrors::default();
        let Some(fields) = Fields::of_body(body, &mut errors) else { return Err(errors) };
        let other = fields.positive("endUserID", EndUserId::MAX.get().into(), &mut errors).and_then(EndUserId::new);
        if !fields.is_present("endUserID") {
            errors.add("endUserID", "is required");
        }
        if other == Some(survivor) {
            errors.add("endUserID", "must be another end user than the one in the path");
        }
        let dry_run = fields.boolean("dryRun", &mut errors).unwrap_or(false);
        match other {
            Some(other) => errors.into_result(Self { survivor, other, dry_run }),
            None => Err(errors),
        }
    }

    /// Whether a body asks for a dry run, also if it has errors.
    pub fn is_dry_run(body: &Json) -> bool {
        let mut errors = ValidationErrors::default();
        Fields::of(body, "", &mut errors).and_then(|fields| fields.boolean("dryRun", &mut errors)) == Some(true)
    }
}

/// A merge, before an id is assigned to a new UID.
#[derive(Clone, Debug)]
pub struct MergePlan {
    /// The surviving end user after the merge.
    pub pending: PendingEndUser,
    /// What the merge does.
    pub changes: MergeChanges,
}

/// What a merge does to the surviving end user.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct MergeChanges {
    /// The fields that were empty and are taken from the other end user.
    pub filled: Vec<Field>,
    /// The other end user's values of fields that both have and that differ.
    pub discarded: BTreeMap<Field, String>,
    /// The other end user's UIDs that move.
    pub moved: Vec<UidId>,
    /// The other end user's UIDs that the survivor has already, by type and match key.
    pub dropped: Vec<UidId>,
    /// The other end user's customerRef, if it becomes a UID.
    pub moved_reference: Option<String>,
}

/// The result of a merge.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Merged {
    /// The surviving end user after the merge.
    pub end_user: EndUser,
    /// The end user that became part of it.
    pub other: EndUserId,
    /// What the merge did.
    pub changes: MergeChanges,
    /// The time until which the merge can be undone.
    pub undo_until: Timestamp,
}

impl MergePlan {
    /// Plans to make `other` part of `survivor`. Fails if the survivor would have more than [`MAX_UIDS`] UIDs.
    pub fn new(survivor: &EndUser, other: &EndUser) -> Result<Self, ValidationErrors> {
        let mut profile = survivor.profile.clone();
        let (mut filled, mut discarded) = (Vec::new(), BTreeMap::new());
        for field in Field::ALL {
            let Some(value) = other.profile.get(field).filter(|_| !other.profile.is_empty(field)) else { continue };
            if profile.is_empty(field) {
                profile.apply(&Patch::of(field, Some(value.to_owned())));
                filled.push(field);
            } else if profile.get(field) != Some(value) {
                discarded.insert(field, value.to_owned());
            }
        }

        let mut uids: Vec<PendingUid> = survivor.uids.iter().map(PendingUid::from).collect();
        let has_primary = uids.iter().any(|uid| uid.is_primary);
        let (mut moved, mut dropped) = (Vec::new(), Vec::new());
        for uid in &other.uids {
            let is_primary = uid.is_primary && !has_primary;
            match uids.iter_mut().find(|held| held.kind.is_same_type(&uid.kind) && held.key() == uid.key()) {
                Some(held) => {
                    held.is_primary |= is_primary;
                    dropped.push(uid.id);
                }
                None => {
                    let mut pending = PendingUid::from(uid);
                    pending.is_primary = is_primary;
                    uids.push(pending);
                    moved.push(uid.id);
                }
            }
        }
        let reference = survivor.profile.get(Field::CustomerRef).map(uid::text_key);
        let mut moved_reference =
            discarded.get(&Field::CustomerRef).filter(|text| reference != Some(uid::text_key(text))).cloned();
        if let Some(text) = moved_reference.clone() {
            discarded.remove(&Field::CustomerRef);
            let new = PendingUid::new(UidType::parse(REFERENCE_TYPE), text);
            if uids.iter().any(|uid| uid.kind.is_same_type(&new.kind) && uid.key() == new.key()) {
                moved_reference = None;
            } else {
                uids.push(new);
            }
        }
        if uids.len() > MAX_UIDS {
            let message = format!("the merged end user would have {} UIDs; it can have at most {MAX_UIDS}", uids.len());
            return Err(ValidationErrors::single("uids", message));
        }
        let changes = MergeChanges { filled, discarded, moved, dropped, moved_reference };
        Ok(Self { pending: PendingEndUser { profile, uids }, changes })
    }
}

/// What is kept of a merge, so that it can be undone.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct MergeUndo {
    filled: Vec<Field>,
    /// The UIDs of the survivor that came from the other end user, with their values after the merge.
    moved: Vec<Uid>,
}

impl MergeUndo {
    /// What to keep of a merge that changed the survivor from `before` to `after`.
    pub fn new(before: &EndUser, after: &EndUser, changes: &MergeChanges) -> Self {
        let held: BTreeSet<UidId> = before.uids.iter().map(|uid| uid.id).collect();
        let moved = after.uids.iter().filter(|uid| !held.contains(&uid.id)).cloned().collect();
        Self { filled: changes.filled.clone(), moved }
    }

    /// Undoes the merge of `other`, as it was before it: the survivor and the other end user afterwards. The survivor loses the UIDs and fields that came
    /// from the other one and are unchanged. A UID that was changed stays, and the other end user's gets a new id.
    pub fn apply(&self, survivor: &EndUser, other: &EndUser) -> (EndUser, PendingEndUser) {
        let came_unchanged = |uid: &Uid| {
            self.moved.iter().any(|moved| moved.id == uid.id && moved.kind == uid.kind && moved.value == uid.value)
        };
        let uids: Vec<_> = survivor.uids.iter().filter(|uid| !came_unchanged(uid)).cloned().collect();
        let mut profile = survivor.profile.clone();
        for field in &self.filled {
            if profile.get(*field) == other.profile.get(*field) {
                profile.apply(&Patch::of(*field, None));
            }
        }
        let stays = |id: UidId| uids.iter().any(|uid| uid.id == id);
        let restore = |uid: &Uid| {
            let mut pending = PendingUid::from(uid);
            pending.id = pending.id.filter(|id| !stays(*id));
            pending
        };
        let other = PendingEndUser { profile: other.profile.clone(), uids: other.uids.iter().map(restore).collect() };
        (EndUser { profile, uids, ..survivor.clone() }, other)
    }
}

/// The result of undoing a merge.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Unmerged {
    /// The end user that is back under its id.
    pub end_user: EndUser,
    /// The end user that it was part of.
    pub survivor: EndUserId,
}

/// An end user that was merged into another one, and can be taken out of it again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MergeRecord {
    /// The end user that became part of the other one.
    pub other: EndUserId,
    /// The time of the merge.
    pub merged_at: Timestamp,
    /// The time until which the merge can be undone.
    pub undo_until: Timestamp,
}

/// Another end user that shares identifiers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Duplicate {
    /// The other end user.
    pub end_user: EndUser,
    /// The shared identifiers, as the first end user has them: at least one.
    pub shared: Vec<String>,
}

impl Duplicate {
    /// Compares two end users. `None` if they share no identifier.
    pub fn of(end_user: &EndUser, other: EndUser) -> Option<Self> {
        let keys = other.keys();
        let mut shared: Vec<String> = Vec::new();
        for (_, value) in end_user.identifiers().filter(|(key, _)| keys.contains(key)) {
            if !shared.contains(&value) {
                shared.push(value);
            }
        }
        (!shared.is_empty()).then_some(Self { end_user: other, shared })
    }
}
