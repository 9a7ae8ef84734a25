//! The `uids` of a request, and how they change an end user's UIDs (docs/api.md, Identity rules).

use super::{MAX_UID_LENGTH, MAX_UID_TYPE_LENGTH, MAX_UIDS};
use crate::domain::ids::UidId;
use crate::domain::input::{Fields, Member, ValidationErrors};
use crate::domain::phone::Region;
use crate::domain::text::Limit;
use crate::domain::uid::{self, MatchKey, Uid, UidType};

/// One element of `uids` in a request.
#[derive(Clone, Debug)]
pub(super) struct UidEntry {
    pub(super) path: String,
    pub(super) id: Option<UidId>,
    pub(super) kind: Option<UidType>,
    pub(super) value: Option<String>,
    pub(super) is_primary: Option<bool>,
    pub(super) remove: bool,
}

impl UidEntry {
    /// Reads `{uidType, uid, isPrimary}` of a create or assign request, in which `uid` is required.
    pub(super) fn read_new(fields: &Fields, path: &str, errors: &mut ValidationErrors) -> Self {
        let is_primary = fields.boolean("isPrimary", errors);
        Self { is_primary, ..Self::read(fields, path, true, errors) }
    }

    /// Reads an element of an update's `uids`. A removal is identified by its id, or else by type and value; its other
    /// members are ignored.
    pub(super) fn read_change(fields: &Fields, path: &str, errors: &mut ValidationErrors) -> Self {
        let id = fields.positive("endUserUIDID", UidId::MAX.get().into(), errors).and_then(UidId::new);
        let remove = fields.boolean("markAsDeleted", errors) == Some(true);
        let has_id = fields.is_present("endUserUIDID");
        if remove && has_id {
            return Self { path: path.to_owned(), id, kind: None, value: None, is_primary: None, remove };
        }
        let is_primary = if remove { None } else { fields.boolean("isPrimary", errors) };
        let entry = Self::read(fields, path, !has_id, errors);
        // With an invalid id the type of the record is unknown, so the value cannot be checked.
        let value = entry.value.filter(|_| id.is_some() || !has_id);
        Self { id, remove, is_primary, value, ..entry }
    }

    /// Reads `{uidType, uid}`. The value is dropped if the type is invalid, because it cannot be checked then.
    fn read(fields: &Fields, path: &str, value_required: bool, errors: &mut ValidationErrors) -> Self {
        let kind = fields.text("uidType", Limit::Chars(MAX_UID_TYPE_LENGTH), errors);
        let value = fields.text("uid", Limit::Chars(MAX_UID_LENGTH), errors);
        let absent = value == Member::Null || fields.get("uid").is_none();
        if value_required && absent {
            errors.add(fields.path("uid"), "is required");
        }
        let valid_type = kind != Member::Absent || !fields.is_present("uidType");
        Self {
            path: path.to_owned(),
            id: None,
            kind: kind.value().map(|kind| UidType::parse(&kind)),
            value: value.value().filter(|_| valid_type),
            is_primary: None,
            remove: false,
        }
    }

    pub(super) fn value_path(&self) -> String {
        if self.path.is_empty() { "uid".to_owned() } else { format!("{}.uid", self.path) }
    }

    /// The type of an entry without an id; `Email` if the entry has none.
    pub(super) fn kind(&self) -> UidType {
        self.kind.clone().unwrap_or_default()
    }

    /// The match key of the value as a UID of type `kind`; `None` without a valid value.
    pub(super) fn key(&self, kind: &UidType, region: Option<Region>) -> Option<MatchKey> {
        let value = uid::parse_value(kind, self.value.as_deref()?, region).ok()?;
        Some(uid::stored_key(kind, &value))
    }

    /// Validates the value with `check` if its type is known without the stored end user.
    pub(super) fn validate(
        &self,
        check: impl FnOnce(&UidType, &str) -> Result<(), String>,
        errors: &mut ValidationErrors,
    ) {
        let Some(value) = &self.value else { return };
        let changes_record_of_unknown_type = self.kind.is_none() && self.id.is_some();
        if !self.remove && !changes_record_of_unknown_type {
            errors.record(self.value_path(), check(&self.kind(), value));
        }
    }
}

/// Reads the array `uids`, of at most `max` elements, with `read`, which gets each element and its path.
pub(super) fn read_entries(
    fields: &Fields,
    max: usize,
    errors: &mut ValidationErrors,
    read: fn(&Fields, &str, &mut ValidationErrors) -> UidEntry,
) -> Vec<UidEntry> {
    let mut entries: Vec<UidEntry> = Vec::new();
    let elements = fields.array("uids", errors).unwrap_or_default();
    if elements.len() > max {
        errors.add("uids", format!("must have at most {max} elements"));
        return entries;
    }
    for (i, json) in elements.iter().enumerate() {
        let path = format!("uids[{i}]");
        let Some(fields) = Fields::of(json, &path, errors) else { continue };
        let entry = read(&fields, &path, errors);
        if entry.is_primary == Some(true) && entries.iter().any(|e| e.is_primary == Some(true)) {
            errors.add(fields.path("isPrimary"), "only one UID can be primary; an earlier element is already marked");
        }
        entries.push(entry);
    }
    entries
}

/// One UID of a [`PendingEndUser`](super::PendingEndUser).
#[derive(Clone, Debug)]
pub(super) struct PendingUid {
    /// `None` for a UID that the request adds, until an id is assigned.
    pub(super) id: Option<UidId>,
    pub(super) kind: UidType,
    pub(super) value: String,
    pub(super) is_primary: bool,
    /// The paths of the request's elements that add the UID or change its value.
    pub(super) paths: Vec<String>,
    /// Whether the request names the record by id.
    named: bool,
    /// Whether the request marks the record as primary.
    marked: bool,
}

impl PendingUid {
    /// A UID that is added; `value` is in its stored form.
    pub(super) fn new(kind: UidType, value: String) -> Self {
        Self { id: None, kind, value, is_primary: false, paths: Vec::new(), named: false, marked: false }
    }

    fn is(&self, kind: &UidType, key: Option<&MatchKey>) -> bool {
        self.kind.is_same_type(kind) && Some(&self.key()) == key
    }

    pub(super) fn key(&self) -> MatchKey {
        uid::stored_key(&self.kind, &self.value)
    }
}

impl From<&Uid> for PendingUid {
    fn from(uid: &Uid) -> Self {
        let Uid { id, kind, value, is_primary } = uid.clone();
        Self { id: Some(id), kind, value, is_primary, paths: Vec::new(), named: false, marked: false }
    }
}

/// Applies the entries of a request to `uids`. Removals are applied first, then the other entries in order. Records
/// that end with the same type and match key become one. A UID that is marked as primary unmarks the previous one.
pub(super) fn change_uids(
    uids: &[Uid],
    entries: &[UidEntry],
    region: Option<Region>,
    errors: &mut ValidationErrors,
) -> Vec<PendingUid> {
    let mut uids: Vec<_> = uids.iter().map(PendingUid::from).collect();
    for entry in entries.iter().filter(|e| e.remove) {
        let kind = entry.kind();
        let key = entry.key(&kind, region);
        uids.retain(|uid| match entry.id {
            Some(id) => uid.id != Some(id),
            None => !uid.is(&kind, key.as_ref()),
        });
    }

    for entry in entries.iter().filter(|e| !e.remove) {
        let Some(at) = apply_entry(&mut uids, entry, region, errors) else { continue };
        if entry.is_primary == Some(true) {
            uids.iter_mut().for_each(|uid| (uid.is_primary, uid.marked) = (false, false));
        }
        if let Some(primary) = entry.is_primary {
            (uids[at].is_primary, uids[at].marked) = (primary, primary);
        }
    }

    let uids = deduplicate(uids);
    if uids.len() > MAX_UIDS {
        errors.add("uids", format!("an end user can have at most {MAX_UIDS} UIDs"));
    }
    uids
}

/// Applies an entry that is not a removal, without its `isPrimary`. Returns the index of its record.
fn apply_entry(
    uids: &mut Vec<PendingUid>,
    entry: &UidEntry,
    region: Option<Region>,
    errors: &mut ValidationErrors,
) -> Option<usize> {
    if entry.id.is_some() {
        let Some(at) = uids.iter().position(|uid| uid.id == entry.id) else {
            errors.add(format!("{}.endUserUIDID", entry.path), "is not the id of a UID of this end user");
            return None;
        };
        let uid = &mut uids[at];
        uid.named = true;
        let kind = entry.kind.clone().unwrap_or_else(|| uid.kind.clone());
        if entry.value.is_some() || !kind.is_same_type(&uid.kind) {
            let value = entry.value.as_ref().unwrap_or(&uid.value);
            uid.value = errors.record(entry.value_path(), uid::parse_value(&kind, value, region))?;
            uid.paths.push(entry.value_path());
        }
        uid.kind = kind;
        return Some(at);
    }
    let kind = entry.kind();
    let value = errors.record(entry.value_path(), uid::parse_value(&kind, entry.value.as_deref()?, region))?;
    let key = uid::stored_key(&kind, &value);
    let same = (0..uids.len()).filter(|at| uids[*at].is(&kind, Some(&key))).min_by_key(|at| !uids[*at].named);
    if let Some(at) = same {
        (uids[at].kind, uids[at].value) = (kind, value);
        uids[at].paths.push(entry.value_path());
        return same;
    }
    uids.push(PendingUid { paths: vec![entry.value_path()], ..PendingUid::new(kind, value) });
    Some(uids.len() - 1)
}

/// Keeps one record of each pair of type and match key: one that the request names by id, or else the oldest. The kept
/// record becomes primary if the request marked one of its duplicates.
fn deduplicate(uids: Vec<PendingUid>) -> Vec<PendingUid> {
    let mut by_precedence: Vec<_> = uids.into_iter().enumerate().collect();
    by_precedence.sort_by_key(|(at, uid)| (!uid.named, *at));
    let mut kept: Vec<(usize, PendingUid)> = Vec::with_capacity(by_precedence.len());
    for (at, uid) in by_precedence {
        match kept.iter_mut().find(|(_, k)| k.is(&uid.kind, Some(&uid.key()))) {
            Some((_, same)) => same.is_primary |= uid.marked,
            None => kept.push((at, uid)),
        }
    }
    kept.sort_by_key(|(at, _)| *at);
    kept.into_iter().map(|(_, uid)| uid).collect()
}
