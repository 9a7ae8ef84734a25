//! The body of `POST /api/EndUserUIDs/assign`, and its result.

use serde::{Deserialize, Serialize};

use super::uids::UidEntry;
use super::{EndUser, PendingEndUser, Revision, region};
use crate::domain::ids::EndUserId;
use crate::domain::input::{Fields, Json, ValidationErrors};
use crate::domain::phone::Region;
use crate::domain::profile::{Field, Patch};
use crate::domain::uid::{self, Uid};

/// A body of `POST /api/EndUserUIDs/assign` that passed every check which does not need the stored end user.
#[derive(Clone, Debug)]
pub struct UidAssignment {
    /// The end user that the UID is linked to.
    pub end_user: EndUserId,
    entry: UidEntry,
    default: Option<Region>,
}

/// The result of a [`UidAssignment`], in its stored form.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct AssignedUid {
    /// The end user that holds the UID, after the assignment.
    pub revision: Revision,
    /// The UID's record.
    pub uid: Uid,
    /// Whether the end user held the UID before the request.
    pub already_linked: bool,
}

impl UidAssignment {
    /// Reads an AssignUIDRequest; `default` is the deployment's phone region.
    pub fn read(body: &Json, default: Option<Region>) -> Result<Self, ValidationErrors> {
        let mut errors = ValidationErrors::default();
        let Some(fields) = Fields::of_body(body, &mut errors) else { return Err(errors) };
        let entry = UidEntry::read_new(&fields, "", &mut errors);
        let id = fields.positive("endUserID", EndUserId::MAX.get().into(), &mut errors).and_then(EndUserId::new);
        if !fields.is_present("endUserID") {
            errors.add("endUserID", "is required");
        }
        entry.validate(uid::check_value, &mut errors);
        match id {
            Some(end_user) => errors.into_result(Self { end_user, entry, default }),
            None => Err(errors),
        }
    }

    /// Links the UID to `end_user`. A UID that is already linked keeps its spelling; `isPrimary: true` takes effect.
    pub fn apply(&self, end_user: &EndUser) -> Result<PendingEndUser, ValidationErrors> {
        let linked = self.record(end_user);
        let entry = match linked {
            Some(uid) => UidEntry { id: Some(uid.id), kind: None, value: None, ..self.entry.clone() },
            None => self.entry.clone(),
        };
        let entry = UidEntry { is_primary: entry.is_primary.filter(|primary| *primary || linked.is_none()), ..entry };
        PendingEndUser::after(end_user.profile.clone(), &end_user.uids, &Patch::default(), &[entry], self.default)
    }

    /// The result of [`Self::apply`] on `before` that is stored as `after`; `None` if `after` lacks the UID.
    pub fn result(&self, before: &EndUser, after: &EndUser) -> Option<AssignedUid> {
        let uid = self.record(after)?.clone();
        Some(AssignedUid { revision: after.revision(), uid, already_linked: self.record(before).is_some() })
    }

    /// The end user's record of the UID that the request names.
    fn record<'e>(&self, end_user: &'e EndUser) -> Option<&'e Uid> {
        let kind = self.entry.kind();
        let key = self.entry.key(&kind, region(end_user.profile.get(Field::Country), self.default))?;
        end_user.uids.iter().find(|uid| uid.kind.is_same_type(&kind) && uid.key() == key)
    }
}
