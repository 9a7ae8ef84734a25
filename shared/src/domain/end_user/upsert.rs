//! The body of `POST /api/EndUsers/upsert` and of one element of `upsertMany`, and its result.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::uids::{UidEntry, read_entries};
use super::{EndUser, MAX_UIDS, PendingEndUser, region};
use crate::domain::ids::EndUserId;
use crate::domain::input::{Fields, Json, ValidationErrors};
use crate::domain::phone::Region;
use crate::domain::profile::{Field, Patch, Profile};
use crate::domain::uid::{self, MatchKey};

/// Maximum number of elements of an `upsertMany`.
pub const MAX_UPSERTS: usize = 100;

/// The identifiers of a body that decide which end user it is about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum MatchBy {
    Any,
    CustomerRef,
    Uids,
}

/// The names of [`MatchBy`].
const MATCH_BY: [(&str, MatchBy); 3] =
    [("any", MatchBy::Any), ("customerRef", MatchBy::CustomerRef), ("uids", MatchBy::Uids)];

/// The effect of a body on the profile of the end user that it matches.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum OnMatch {
    /// Changes it as an update does.
    Update,
    /// Sets only empty fields.
    Fill,
    /// Leaves it.
    None,
}

/// The names of [`OnMatch`].
const ON_MATCH: [(&str, OnMatch); 3] = [("update", OnMatch::Update), ("fill", OnMatch::Fill), ("none", OnMatch::None)];

/// The values of `matchBy`.
pub const MATCH_BY_NAMES: [&str; 3] = [MATCH_BY[0].0, MATCH_BY[1].0, MATCH_BY[2].0];
/// The values of `onMatch`.
pub const ON_MATCH_NAMES: [&str; 3] = [ON_MATCH[0].0, ON_MATCH[1].0, ON_MATCH[2].0];

/// A body of `POST /api/EndUsers/upsert` that passed every check which needs no stored end user.
#[derive(Clone, Debug)]
pub struct EndUserUpsert {
    patch: Patch,
    on_match: OnMatch,
    /// The end user that the body creates if none matches. Its phone numbers are read by the body's country.
    new: PendingEndUser,
    /// The identifiers that decide, as match keys with their paths in the body: at least one.
    deciding: Vec<(MatchKey, String)>,
    default: Option<Region>,
}

/// The effect of an upsert.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum UpsertOutcome {
    /// No end user matched, and one was created.
    Created,
    /// The match was changed.
    Updated,
    /// The match had everything already.
    Unchanged,
}

/// The result of an upsert.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Upserted {
    /// What the upsert did.
    pub outcome: UpsertOutcome,
    /// The end user after it.
    pub end_user: EndUser,
}

/// The result of an upsert without the end user's data.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct UpsertedId {
    /// What the upsert did.
    pub outcome: UpsertOutcome,
    /// The end user.
    pub id: EndUserId,
}

impl From<&Upserted> for UpsertedId {
    fn from(upserted: &Upserted) -> Self {
        Self { outcome: upserted.outcome, id: upserted.end_user.id }
    }
}

impl EndUserUpsert {
    /// Reads an EndUserUpsertDTO; `default` is the deployment's phone region.
    pub fn read(body: &Json, default: Option<Region>) -> Result<Self, ValidationErrors> {
        let mut errors = ValidationErrors::default();
        let Some(fields) = Fields::of_body(body, &mut errors) else { return Err(errors) };
        let patch = Patch::read(&fields, &mut errors);
        let entries = read_entries(&fields, MAX_UIDS, &mut errors, UidEntry::read_new);
        let match_by = fields.choice("matchBy", &MATCH_BY, &mut errors);
        let on_match = fields.choice("onMatch", &ON_MATCH, &mut errors).unwrap_or(OnMatch::Update);
        let (by_reference, by_uids) = match match_by.unwrap_or(MatchBy::Any) {
            MatchBy::Any => (true, true),
            MatchBy::CustomerRef => (true, false),
            MatchBy::Uids => (false, true),
        };

        let mut deciding = Vec::new();
        if by_uids {
            let region = region(patch.value(Field::Country), default);
            for entry in &entries {
                if let Some(key) = entry.key(&entry.kind(), region) {
                    deciding.push((key, entry.value_path()));
                }
            }
        }
        if by_reference && let Some(reference) = patch.value(Field::CustomerRef) {
            deciding.push((uid::reference_key(reference), Field::CustomerRef.name().to_owned()));
        }
        let new = PendingEndUser::after(Profile::default(), &[], &patch, &entries, default);
        let new = new.and_then(|new| new.save_with_shortest_ids().map(|_| new));
        let new = match new {
            Ok(new) => Some(new),
            Err(more) => {
                errors.append(more);
                None
            }
        };
        // An identifier that is invalid has an error of its own.
        let is_reported = |path: &String| {
            let path = path.to_ascii_lowercase();
            path == "matchby" || by_uids && path.starts_with("uids") || by_reference && path == "customerref"
        };
        if deciding.is_empty() && !errors.as_map().keys().any(is_reported) {
            errors.add("matchBy", "selects no identifier: the request needs a UID or a customerRef to match by");
        }
        match new {
            Some(new) => errors.into_result(Self { patch, on_match, new, deciding, default }),
            None => Err(errors),
        }
    }

    /// Reads an EndUserUpsertManyDTO. The errors of an element do not affect the others.
    pub fn read_many(
        body: &Json,
        default: Option<Region>,
    ) -> Result<Vec<Result<Self, ValidationErrors>>, ValidationErrors> {
        let mut errors = ValidationErrors::default();
        let Some(fields) = Fields::of(body, "", &mut errors) else { return Err(errors) };
        let elements = fields.elements("endUsers", MAX_UPSERTS, &mut errors);
        errors.into_result(elements)?.into_iter().map(|(_, element)| Ok(Self::read(element, default))).collect()
    }

    /// The match keys that decide which end user the body is about: at least one, at most 41.
    pub fn deciding_keys(&self) -> BTreeSet<MatchKey> {
        self.deciding.iter().map(|(key, _)| key.clone()).collect()
    }

    /// The match keys of all identifiers in the body: at most 41.
    pub fn keys(&self) -> BTreeSet<MatchKey> {
        self.new.keys()
    }

    /// The paths of the deciding identifiers that `end_user` has.
    pub fn matched_paths(&self, end_user: &EndUser) -> Vec<String> {
        let keys = end_user.keys();
        self.deciding.iter().filter(|(key, _)| keys.contains(key)).map(|(_, path)| path.clone()).collect()
    }

    /// The end user that the body creates if none matches.
    pub fn new_end_user(&self) -> &PendingEndUser {
        &self.new
    }

    /// Whether the body would replace the customerRef of `end_user` by another one.
    pub fn replaces_reference(&self, end_user: &EndUser) -> bool {
        let references = (self.patch.value(Field::CustomerRef), end_user.profile.get(Field::CustomerRef));
        match references {
            (Some(new), Some(old)) => self.on_match != OnMatch::None && uid::text_key(new) != uid::text_key(old),
            _ => false,
        }
    }

    /// Applies the body to the end user that it matches. UIDs that the end user lacks are linked, and the others keep
    /// their spelling.
    pub fn apply(&self, end_user: &EndUser) -> Result<PendingEndUser, ValidationErrors> {
        let patch = match self.on_match {
            OnMatch::Update => self.patch.clone(),
            OnMatch::Fill => self.patch.filling(&end_user.profile),
            OnMatch::None => Patch::default(),
        };
        let is_marking = self.on_match == OnMatch::Update || !end_user.uids.iter().any(|uid| uid.is_primary);
        let entry = |new: &super::uids::PendingUid| {
            let linked = end_user.uids.iter().find(|uid| uid.kind.is_same_type(&new.kind) && uid.key() == new.key());
            UidEntry {
                path: "uids".to_owned(),
                id: linked.map(|uid| uid.id),
                kind: linked.is_none().then(|| new.kind.clone()),
                value: linked.is_none().then(|| new.value.clone()),
                is_primary: (new.is_primary && is_marking).then_some(true),
                remove: false,
            }
        };
        let entries: Vec<_> = self.new.uids.iter().map(entry).collect();
        PendingEndUser::after(end_user.profile.clone(), &end_user.uids, &patch, &entries, self.default)
    }
}
