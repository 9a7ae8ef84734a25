//! The body of `PUT /api/EndUsers/{id}`.

use super::uids::{UidEntry, read_entries};
use super::{EndUser, MAX_ENTRIES, PendingEndUser, region};
use crate::domain::input::{Fields, Json, Member, ValidationErrors};
use crate::domain::phone::Region;
use crate::domain::profile::Patch;
use crate::domain::uid::{self, UidType};

/// A body of `PUT /api/EndUsers/{id}` that passed every check which does not need the stored end user.
#[derive(Clone, Debug)]
pub struct EndUserUpdate {
    patch: Patch,
    entries: Vec<UidEntry>,
    default: Option<Region>,
}

impl EndUserUpdate {
    /// Reads an EndUserUpdateDTO; `default` is the deployment's phone region.
    pub fn read(body: &Json, default: Option<Region>) -> Result<Self, ValidationErrors> {
        let mut errors = ValidationErrors::default();
        let Some(fields) = Fields::of_body(body, &mut errors) else { return Err(errors) };
        let patch = Patch::read(&fields, &mut errors);
        let entries = read_entries(&fields, MAX_ENTRIES, &mut errors, UidEntry::read_change);
        let parse =
            |kind: &UidType, value: &str, country| uid::parse_value(kind, value, region(country, default)).map(drop);
        let check = |kind: &UidType, value: &str| match patch.country() {
            Member::Absent => uid::check_value(kind, value),
            Member::Null => parse(kind, value, None),
            Member::Value(country) => parse(kind, value, Some(country)),
        };
        entries.iter().for_each(|entry| entry.validate(check, &mut errors));
        errors.into_result(Self { patch, entries, default })
    }

    /// The end user after the update.
    pub fn apply(&self, end_user: &EndUser) -> Result<PendingEndUser, ValidationErrors> {
        PendingEndUser::after(end_user.profile.clone(), &end_user.uids, &self.patch, &self.entries, self.default)
    }
}
