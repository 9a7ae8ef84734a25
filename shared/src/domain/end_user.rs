//! An end user: profile, UIDs, and how a request changes them. Pure: no clock, no store.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::ids::{EndUserId, UidId};
use super::input::{Fields, Json, ValidationErrors};
use super::phone::Region;
use super::profile::{Field, Patch, Profile};
use super::text::{self, Limit};
use super::uid::{self, MatchKey, Uid, UidType};

/// The most UIDs an end user may have.
pub const MAX_UIDS: usize = 40;
/// The most elements of `uids` in a request: repeats and removals make them more than an end user's
/// UIDs, and reading each of very many would take longer than a function runs.
pub const MAX_ENTRIES: usize = 10 * MAX_UIDS;
/// The longest UID value, in characters.
pub const MAX_UID_LENGTH: usize = 320;
/// The longest type of UID, in characters.
pub const MAX_UID_TYPE_LENGTH: usize = 20;
/// The most bytes of an end user written as JSON and escaped once more, as a Lambda answer does: 100
/// end users then fit one answer of 6 MB, and any change of one end user one transaction of 4 MB.
pub const MAX_ESCAPED_BYTES: usize = 48_000;

/// The region by whose plan national numbers are read: the end user's country, else the default.
/// A country that has no plan gives none: a wrong region gives a valid stranger.
fn region(country: Option<&str>, default: Option<Region>) -> Option<Region> {
    match country {
        Some(country) => Region::parse(country),
        None => default,
    }
}

/// One element of `uids` in a request.
#[derive(Clone, Debug)]
struct UidEntry {
    path: String,
    id: Option<UidId>,
    kind: Option<UidType>,
    value: Option<String>,
    is_primary: Option<bool>,
    remove: bool,
}

impl UidEntry {
    /// Reads `{uidType, uid, isPrimary}` as create and assign take it: `uid` is required.
    fn read_new(fields: &Fields, path: &str, errors: &mut ValidationErrors) -> Self {
        let is_primary = fields.boolean("isPrimary", errors);
        Self { is_primary, ..Self::read(fields, path, true, errors) }
    }

    /// Reads an element of an update's `uids`. Of a removal only the id, or type and value, counts.
    fn read_change(fields: &Fields, path: &str, errors: &mut ValidationErrors) -> Self {
        let id = fields.positive("endUserUIDID", UidId::MAX.get().into(), errors).and_then(UidId::new);
        let remove = fields.boolean("markAsDeleted", errors) == Some(true);
        let named = fields.is_present("endUserUIDID");
        if remove && named {
            return Self { path: path.to_owned(), id, kind: None, value: None, is_primary: None, remove };
        }
        let is_primary = if remove { None } else { fields.boolean("isPrimary", errors) };
        let entry = Self::read(fields, path, !named, errors);
        // Whose id cannot be read may be of any type: nothing can be said of its value.
        let value = entry.value.filter(|_| id.is_some() || !named);
        Self { id, remove, is_primary, value, ..entry }
    }

    /// Reads `{uidType, uid}`. Where the type cannot be read nothing can be said of the value.
    fn read(fields: &Fields, path: &str, value_required: bool, errors: &mut ValidationErrors) -> Self {
        let kind = fields.text("uidType", Limit::Chars(MAX_UID_TYPE_LENGTH), errors);
        let value = fields.text("uid", Limit::Chars(MAX_UID_LENGTH), errors);
        let absent = matches!(value, Some(None)) || fields.get("uid").is_none();
        if value_required && absent {
            errors.add(fields.path("uid"), "is required");
        }
        let readable = kind.is_some() || !fields.is_present("uidType");
        Self {
            path: path.to_owned(),
            id: None,
            kind: kind.flatten().map(|kind| UidType::parse(&kind)),
            value: value.flatten().filter(|_| readable),
            is_primary: None,
            remove: false,
        }
    }

    fn value_path(&self) -> String {
        if self.path.is_empty() { "uid".to_owned() } else { format!("{}.uid", self.path) }
    }

    /// The type of an entry that is known by type and value.
    fn kind(&self) -> UidType {
        self.kind.clone().unwrap_or_default()
    }

    /// The key under which a value of this `kind` would be held; `None` where it cannot be held.
    fn key(&self, kind: &UidType, region: Option<Region>) -> Option<MatchKey> {
        let value = uid::parse_value(kind, self.value.as_deref()?, region).ok()?;
        Some(uid::stored_key(kind, &value))
    }

    /// Notes the faults that show without the stored end user; `country` is what the request says
    /// of it: `None` where nothing.
    fn check(&self, country: Option<Option<Region>>, errors: &mut ValidationErrors) {
        let Some(value) = &self.value else { return };
        let kind = match (&self.kind, self.id) {
            _ if self.remove => return,
            (None, Some(_)) => return,
            (Some(kind), _) => kind.clone(),
            (None, None) => UidType::default(),
        };
        let checked = match country {
            Some(region) => uid::parse_value(&kind, value, region).map(drop),
            None => uid::check_value(&kind, value),
        };
        errors.record(self.value_path(), checked);
    }
}

fn read_entries(
    fields: &Fields,
    errors: &mut ValidationErrors,
    read: fn(&Fields, &str, &mut ValidationErrors) -> UidEntry,
) -> Vec<UidEntry> {
    let mut entries: Vec<UidEntry> = Vec::new();
    let elements = fields.array("uids", errors).unwrap_or_default();
    if elements.len() > MAX_ENTRIES {
        errors.add("uids", format!("must be at most {MAX_ENTRIES} elements"));
        return entries;
    }
    for (i, json) in elements.iter().enumerate() {
        let path = format!("uids[{i}]");
        let Some(fields) = Fields::of(json, &path, errors) else { continue };
        let entry = read(&fields, &path, errors);
        if entry.is_primary == Some(true) && entries.iter().any(|e| e.is_primary == Some(true)) {
            errors.add(fields.path("isPrimary"), "another UID of the request is already marked primary");
        }
        entries.push(entry);
    }
    entries
}

/// An end user of a tenant; serialised as it is stored.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct EndUser {
    /// Unique within the tenant.
    pub id: EndUserId,
    /// How often the end user was written; every write is guarded by it.
    pub rev: u64,
    /// The profile's texts.
    pub profile: Profile,
    /// By ascending id; at most [`MAX_UIDS`], each (type, key) once, at most one primary.
    pub uids: Vec<Uid>,
}

/// Some revisions of an end user.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum RevisionSet {
    /// Whatever they are.
    Any,
    /// These.
    Only(Vec<u64>),
}

impl RevisionSet {
    /// Whether `rev` is among them.
    pub fn contains(&self, rev: u64) -> bool {
        match self {
            Self::Any => true,
            Self::Only(revs) => revs.contains(&rev),
        }
    }
}

/// For which revisions of an end user a request is meant.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Precondition {
    /// Only for these.
    pub if_match: RevisionSet,
    /// Not for these.
    pub if_none_match: RevisionSet,
}

impl Default for Precondition {
    /// For every one.
    fn default() -> Self {
        Self { if_match: RevisionSet::Any, if_none_match: RevisionSet::Only(Vec::new()) }
    }
}

impl Precondition {
    /// Whether the request is meant for revision `rev`.
    pub fn is_met_by(&self, rev: u64) -> bool {
        self.if_match.contains(rev) && !self.if_none_match.contains(rev)
    }
}

/// One UID of an [`PendingEndUser`] end user.
#[derive(Clone, Debug)]
struct PendingUid {
    /// `None`: the request adds the UID, and its id is not taken yet.
    id: Option<UidId>,
    kind: UidType,
    value: String,
    is_primary: bool,
    /// Whether the request names it by id.
    named: bool,
    /// Whether the request marks it primary.
    marked: bool,
}

impl PendingUid {
    fn is(&self, kind: &UidType, key: Option<&MatchKey>) -> bool {
        self.kind.is_same_type(kind) && Some(&self.key()) == key
    }

    fn key(&self) -> MatchKey {
        uid::stored_key(&self.kind, &self.value)
    }
}

impl From<&Uid> for PendingUid {
    fn from(uid: &Uid) -> Self {
        let Uid { id, kind, value, is_primary } = uid.clone();
        Self { id: Some(id), kind, value, is_primary, named: false, marked: false }
    }
}

/// An end user as a request leaves it, before the UIDs that the request adds have ids.
#[derive(Clone, Debug)]
pub struct PendingEndUser {
    profile: Profile,
    /// The oldest first, new ones in the order sent; each (type, key) once, at most [`MAX_UIDS`].
    uids: Vec<PendingUid>,
}

impl PendingEndUser {
    /// Reads an EndUserCreateDTO; repeats among its UIDs converge on one.
    pub fn read(body: &Json, default: Option<Region>) -> Result<Self, ValidationErrors> {
        let mut errors = ValidationErrors::default();
        let Some(fields) = Fields::of_body(body, &mut errors) else { return Err(errors) };
        let patch = Patch::read(&fields, &mut errors);
        let entries = read_entries(&fields, &mut errors, UidEntry::read_new);
        match change(Profile::default(), &[], &patch, &entries, default) {
            Ok(draft) => {
                // The size of a draft without faults is checked when it has its ids.
                if !errors.is_empty()
                    && let Err(more) = draft.save_with_shortest_ids()
                {
                    errors.append(more);
                }
                errors.into_result(draft)
            }
            Err(more) => {
                errors.append(more);
                Err(errors)
            }
        }
    }

    /// The number of UIDs that wait for an id.
    pub fn missing_ids(&self) -> usize {
        self.uids.iter().filter(|uid| uid.id.is_none()).count()
    }

    /// The end user under its ids; new UIDs take theirs in the order sent. Fails if it is larger than
    /// [`MAX_ESCAPED_BYTES`], and names the largest member.
    pub fn save(
        &self,
        id: EndUserId,
        rev: u64,
        ids: impl IntoIterator<Item = UidId>,
    ) -> Result<EndUser, ValidationErrors> {
        let mut ids = ids.into_iter();
        let numbered = self.uids.iter().filter_map(|uid| {
            let PendingUid { kind, value, is_primary, .. } = uid.clone();
            Some(Uid { id: uid.id.or_else(|| ids.next())?, kind, value, is_primary })
        });
        let mut uids: Vec<Uid> = numbered.collect();
        uids.sort_by_key(|uid| uid.id);
        EndUser { id, rev, profile: self.profile.clone(), uids }.sized()
    }

    /// The end user under the shortest ids: one that is too large with them is too large with any.
    pub fn save_with_shortest_ids(&self) -> Result<EndUser, ValidationErrors> {
        self.save(EndUserId::MIN, 1, (1..).map_while(UidId::new))
    }
}

/// A body of `PUT /api/EndUsers/{id}` that is free of every fault that shows without the stored
/// end user.
#[derive(Clone, Debug)]
pub struct EndUserUpdate {
    patch: Patch,
    entries: Vec<UidEntry>,
    default: Option<Region>,
}

impl EndUserUpdate {
    /// Reads an EndUserUpdateDTO.
    pub fn read(body: &Json, default: Option<Region>) -> Result<Self, ValidationErrors> {
        let mut errors = ValidationErrors::default();
        let Some(fields) = Fields::of_body(body, &mut errors) else { return Err(errors) };
        let patch = Patch::read(&fields, &mut errors);
        let entries = read_entries(&fields, &mut errors, UidEntry::read_change);
        let country = patch.country().map(|country| region(country, default));
        entries.iter().for_each(|entry| entry.check(country, &mut errors));
        errors.into_result(Self { patch, entries, default })
    }

    /// The end user after the update.
    pub fn apply(&self, end_user: &EndUser) -> Result<PendingEndUser, ValidationErrors> {
        change(end_user.profile.clone(), &end_user.uids, &self.patch, &self.entries, self.default)
    }
}

/// A body of `POST /api/EndUserUIDs/assign` that is free of every fault that shows without the
/// stored end user.
#[derive(Clone, Debug)]
pub struct UidAssignment {
    /// The end user to whom the UID is to be linked.
    pub end_user: EndUserId,
    entry: UidEntry,
    default: Option<Region>,
}

/// What became of an [`UidAssignment`]; serialised as it is stored.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct AssignedUid {
    /// Whose UID it is.
    pub end_user: EndUserId,
    /// The UID's record.
    pub uid: Uid,
    /// Whether the UID was linked before.
    pub already_linked: bool,
}

impl UidAssignment {
    /// Reads an AssignUIDRequest.
    pub fn read(body: &Json, default: Option<Region>) -> Result<Self, ValidationErrors> {
        let mut errors = ValidationErrors::default();
        let Some(fields) = Fields::of_body(body, &mut errors) else { return Err(errors) };
        let entry = UidEntry::read_new(&fields, "", &mut errors);
        let id = fields.positive("endUserID", EndUserId::MAX.get().into(), &mut errors).and_then(EndUserId::new);
        if !fields.is_present("endUserID") {
            errors.add("endUserID", "is required");
        }
        entry.check(None, &mut errors);
        match id {
            Some(end_user) => errors.into_result(Self { end_user, entry, default }),
            None => Err(errors),
        }
    }

    /// Links the UID to `end_user`. The spelling of one that is already linked stays, and `isPrimary: true` takes effect
    /// on it.
    pub fn apply(&self, end_user: &EndUser) -> Result<PendingEndUser, ValidationErrors> {
        let linked = self.record(end_user);
        let entry = match linked {
            Some(uid) => UidEntry { id: Some(uid.id), kind: None, value: None, ..self.entry.clone() },
            None => self.entry.clone(),
        };
        let entry = UidEntry { is_primary: entry.is_primary.filter(|primary| *primary || linked.is_none()), ..entry };
        change(end_user.profile.clone(), &end_user.uids, &Patch::default(), &[entry], self.default)
    }

    /// The result of [`Self::apply`] on `before` that is stored as `after`; `None` if `after` lacks the UID.
    pub fn result(&self, before: &EndUser, after: &EndUser) -> Option<AssignedUid> {
        let uid = self.record(after)?.clone();
        Some(AssignedUid { end_user: self.end_user, uid, already_linked: self.record(before).is_some() })
    }

    /// The record of the UID that the request names.
    fn record<'e>(&self, end_user: &'e EndUser) -> Option<&'e Uid> {
        let kind = self.entry.kind();
        let key = self.entry.key(&kind, region(end_user.profile.get(Field::Country), self.default))?;
        end_user.uids.iter().find(|uid| uid.kind.is_same_type(&kind) && uid.key() == key)
    }
}

impl EndUser {
    /// The keys under which the end user is held: of the UIDs and of customerRef.
    pub fn keys(&self) -> BTreeSet<MatchKey> {
        let reference = self.profile.get(Field::CustomerRef).map(uid::reference_key);
        self.uids.iter().map(Uid::key).chain(reference).collect()
    }

    /// The end user, unless it is larger than [`MAX_ESCAPED_BYTES`]; the largest member is named.
    fn sized(self) -> Result<Self, ValidationErrors> {
        let dto = serde_json::to_value(EndUserReadDto::from(&self)).unwrap_or_default();
        if escaped_bytes(&dto) <= MAX_ESCAPED_BYTES {
            return Ok(self);
        }
        let largest = dto.as_object().into_iter().flatten().max_by_key(|(_, value)| escaped_bytes(value));
        let name = largest.map_or("body", |(name, _)| name);
        let limit = format!("at most {MAX_ESCAPED_BYTES} bytes of JSON, escaped once");
        Err(ValidationErrors::single(
            name,
            format!("the end user as a whole is too large ({limit}); this is its largest member"),
        ))
    }
}

/// Bytes of a value written as JSON and then once more inside a JSON string.
pub(super) fn escaped_bytes(value: &impl Serialize) -> usize {
    // What is answered is written by the same means, and cannot fail there either.
    let written = serde_json::to_string(value).unwrap_or_default();
    let escaped = written.bytes().filter(|b| matches!(b, b'"' | b'\\')).count();
    written.len() + escaped
}

/// An end user after a request: removals first, then the entries in their order; records that come to hold the same
/// type and key become one (the one named by id, else the older); the UID marked primary demotes the other.
fn change(
    mut profile: Profile,
    uids: &[Uid],
    patch: &Patch,
    entries: &[UidEntry],
    default: Option<Region>,
) -> Result<PendingEndUser, ValidationErrors> {
    let mut errors = ValidationErrors::default();
    profile.apply(patch);
    let region = region(profile.get(Field::Country), default);

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
        let Some(at) = apply_entry(&mut uids, entry, region, &mut errors) else { continue };
        if entry.is_primary == Some(true) {
            uids.iter_mut().for_each(|uid| (uid.is_primary, uid.marked) = (false, false));
        }
        if let Some(primary) = entry.is_primary {
            (uids[at].is_primary, uids[at].marked) = (primary, primary);
        }
    }

    let uids = deduplicate(uids);
    if uids.len() > MAX_UIDS {
        errors.add("uids", format!("an end user has at most {MAX_UIDS} UIDs"));
    }
    errors.into_result(PendingEndUser { profile, uids })
}

/// Applies an entry that is no removal, except its mark, and returns the position of its record.
fn apply_entry(
    uids: &mut Vec<PendingUid>,
    entry: &UidEntry,
    region: Option<Region>,
    errors: &mut ValidationErrors,
) -> Option<usize> {
    if entry.id.is_some() {
        let Some(at) = uids.iter().position(|uid| uid.id == entry.id) else {
            errors.add(format!("{}.endUserUIDID", entry.path), "is not a UID of this end user");
            return None;
        };
        let uid = &mut uids[at];
        uid.named = true;
        let kind = entry.kind.clone().unwrap_or_else(|| uid.kind.clone());
        if entry.value.is_some() || !kind.is_same_type(&uid.kind) {
            let value = entry.value.as_ref().unwrap_or(&uid.value);
            uid.value = errors.record(entry.value_path(), uid::parse_value(&kind, value, region))?;
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
        return same;
    }
    uids.push(PendingUid { id: None, kind, value, is_primary: false, named: false, marked: false });
    Some(uids.len() - 1)
}

/// Keeps one of the records that hold the same type and key: one that is named by id before others, then the oldest. It
/// takes over the mark that the request gave another of them.
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

/// An end user as it is answered.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = EndUserReadDTO))]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs, reason = "the names are those of the public reference")]
pub struct EndUserReadDto {
    #[serde(rename = "endUserID")]
    #[cfg_attr(feature = "openapi", schema(value_type = i32, minimum = 1))]
    pub end_user_id: EndUserId,
    pub firstname: Option<String>,
    pub lastname: Option<String>,
    pub name: String,
    pub gender: Option<String>,
    pub other_contact_details: Option<String>,
    pub ai_documentation: Option<String>,
    pub customer_ref: Option<String>,
    pub customer_type: Option<String>,
    pub country: Option<String>,
    pub lang: Option<String>,
    pub street: Option<String>,
    pub house_number: Option<String>,
    pub postal_code: Option<String>,
    pub city: Option<String>,
    pub company: Option<String>,
    pub uids: Vec<UidReadDto>,
}

/// A UID as it is answered inside an end user.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = EndUserUIDReadDTO))]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs, reason = "the names are those of the public reference")]
pub struct UidReadDto {
    #[serde(rename = "endUserUIDID")]
    #[cfg_attr(feature = "openapi", schema(value_type = i32, minimum = 1))]
    pub end_user_uid_id: UidId,
    pub uid_type: String,
    pub uid: String,
    pub is_primary: bool,
}

impl From<&Uid> for UidReadDto {
    fn from(uid: &Uid) -> Self {
        Self {
            end_user_uid_id: uid.id,
            uid_type: uid.kind.as_str().to_owned(),
            uid: uid.value.clone(),
            is_primary: uid.is_primary,
        }
    }
}

/// The answer to an assignment: the UID's record.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = AssignedUIDDTO))]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs, reason = "the names are those of the public reference")]
pub struct AssignedDto {
    /// Only where the UID was linked before.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(nullable = false))]
    pub message: Option<&'static str>,
    #[serde(rename = "endUserID")]
    #[cfg_attr(feature = "openapi", schema(value_type = i32, minimum = 1))]
    pub end_user_id: EndUserId,
    #[serde(rename = "endUserUIDID")]
    #[cfg_attr(feature = "openapi", schema(value_type = i32, minimum = 1))]
    pub end_user_uid_id: UidId,
    pub uid_type: String,
    pub uid: String,
    pub is_primary: bool,
}

impl From<&AssignedUid> for AssignedDto {
    fn from(assigned: &AssignedUid) -> Self {
        let UidReadDto { end_user_uid_id, uid_type, uid, is_primary } = (&assigned.uid).into();
        let message = assigned.already_linked.then_some("This UID is already linked to this end user.");
        Self { message, end_user_id: assigned.end_user, end_user_uid_id, uid_type, uid, is_primary }
    }
}

impl From<&EndUser> for EndUserReadDto {
    fn from(end_user: &EndUser) -> Self {
        let text = |field| end_user.profile.get(field).map(str::to_owned);
        Self {
            end_user_id: end_user.id,
            firstname: text(Field::Firstname),
            lastname: text(Field::Lastname),
            name: end_user.profile.name(),
            gender: text(Field::Gender),
            other_contact_details: text(Field::OtherContactDetails),
            ai_documentation: text(Field::AiDocumentation),
            customer_ref: text(Field::CustomerRef),
            customer_type: text(Field::CustomerType),
            country: text(Field::Country),
            lang: text(Field::Lang),
            street: text(Field::Street),
            house_number: text(Field::HouseNumber),
            postal_code: text(Field::PostalCode),
            city: text(Field::City),
            company: text(Field::Company),
            uids: end_user.uids.iter().map(UidReadDto::from).collect(),
        }
    }
}

/// By what a list of end users is sorted.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum SortField {
    /// The id, the default.
    EndUserId,
    /// [`Profile::name`].
    Name,
    /// A field of the profile, from firstname to lang of the contract's table.
    Field(Field),
}

impl SortField {
    /// Any order a list can have.
    pub const ALL: [Self; 14] = [
        Self::EndUserId,
        Self::Name,
        Self::Field(Field::Firstname),
        Self::Field(Field::Lastname),
        Self::Field(Field::Company),
        Self::Field(Field::Street),
        Self::Field(Field::City),
        Self::Field(Field::HouseNumber),
        Self::Field(Field::PostalCode),
        Self::Field(Field::Gender),
        Self::Field(Field::CustomerRef),
        Self::Field(Field::CustomerType),
        Self::Field(Field::Country),
        Self::Field(Field::Lang),
    ];

    /// The name in `sortBy`.
    pub fn name(self) -> &'static str {
        match self {
            Self::EndUserId => "endUserID",
            Self::Name => "name",
            Self::Field(field) => field.name(),
        }
    }

    /// The order of this name in `sortBy`, in its own spelling.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|field| field.name() == name)
    }

    /// The key by which `end_user` stands in this order, ties aside: ASCII text that sorts as its
    /// bytes do, empty first. (The id's own order needs none: ties are by id.)
    pub fn key(self, end_user: &EndUser) -> String {
        match self {
            Self::EndUserId => String::new(),
            Self::Name => text::sort_key(&end_user.profile.name()),
            Self::Field(field) => text::sort_key(end_user.profile.get(field).unwrap_or_default()),
        }
    }
}
