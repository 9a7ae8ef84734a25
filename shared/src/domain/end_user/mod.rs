//! An end user: its profile and UIDs, and how a request changes them. No clock and no database.

mod assign;
mod conflict;
mod create;
mod dto;
mod look_up;
mod merge;
mod pending;
mod precondition;
mod sort;
mod terms;
mod uids;
mod update;
mod upsert;

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::ids::EndUserId;
use super::input::ValidationErrors;
use super::phone::Region;
use super::profile::{Field, Profile};
use super::uid::{self, MatchKey, Uid};

pub use assign::{AssignedUid, UidAssignment};
pub use conflict::{Conflict, ConflictKind, ConflictingEndUser, MAX_CONFLICTS};
pub use dto::{
    AssignedDto, DuplicateDto, EndUserReadDto, MergeRecordDto, MergedDto, UidReadDto, UnmergedDto, UpsertedDto,
};
pub use look_up::{LookUpDto, LookUpItemDto, MAX_LOOK_UP_IDS, MAX_LOOK_UPS, UidLookUp};
pub use merge::{
    Duplicate, EndUserMerge, MAX_MERGE_DEPTH, MergeChanges, MergePlan, MergeRecord, MergeUndo, Merged, Unmerged,
};
pub use pending::PendingEndUser;
pub use precondition::{Precondition, Revision, RevisionSet};
pub use sort::SortField;
pub use update::EndUserUpdate;
pub use upsert::{EndUserUpsert, MATCH_BY_NAMES, MAX_UPSERTS, ON_MATCH_NAMES, UpsertOutcome, Upserted, UpsertedId};

/// Maximum number of UIDs of an end user.
pub const MAX_UIDS: usize = 40;
/// Maximum number of elements of `uids` in a request. Duplicates and removals count as elements, so the limit is above
/// [`MAX_UIDS`]; it bounds the time that reading a request takes.
pub const MAX_ENTRIES: usize = 10 * MAX_UIDS;
/// Maximum length of a UID value, in characters.
pub const MAX_UID_LENGTH: usize = 320;
/// Maximum length of a UID type, in characters.
pub const MAX_UID_TYPE_LENGTH: usize = 20;
/// Maximum size of an end user, in bytes of JSON that is escaped once more inside a JSON string, as in a Lambda
/// response. A Lambda response of 6 MB holds 100 end users of this size, and a DynamoDB transaction of 4 MB holds any
/// change of one.
pub const MAX_ESCAPED_BYTES: usize = 48_000;

/// The region for national phone numbers: that of the country, or `default` without a country. `None` if the country
/// has no numbering plan, because the plan of another region could yield a valid number of somebody else.
fn region(country: Option<&str>, default: Option<Region>) -> Option<Region> {
    match country {
        Some(country) => Region::parse(country),
        None => default,
    }
}

/// An end user of a tenant, in its stored form.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct EndUser {
    /// Unique within the tenant.
    pub id: EndUserId,
    /// Revision, incremented by every write. Every write is conditional on it.
    pub rev: u64,
    /// The profile's texts.
    pub profile: Profile,
    /// UIDs by ascending id: at most [`MAX_UIDS`], each pair of type and match key once, at most one primary.
    pub uids: Vec<Uid>,
}

impl EndUser {
    /// The state that this value is.
    pub fn revision(&self) -> Revision {
        Revision { id: self.id, rev: self.rev }
    }

    /// The match keys that find the end user: those of its UIDs and of customerRef.
    pub fn keys(&self) -> BTreeSet<MatchKey> {
        self.identifiers().map(|(key, _)| key).collect()
    }

    /// The UIDs and customerRef as they are stored, with their match keys.
    pub fn identifiers(&self) -> impl Iterator<Item = (MatchKey, String)> {
        let reference = self.profile.get(Field::CustomerRef);
        let reference = reference.map(|text| (uid::reference_key(text), text.to_owned()));
        self.uids.iter().map(|uid| (uid.key(), uid.value.clone())).chain(reference)
    }

    /// Checks [`MAX_ESCAPED_BYTES`]. The error names the largest member.
    fn check_size(self) -> Result<Self, ValidationErrors> {
        let dto = serde_json::to_value(EndUserReadDto::from(&self)).unwrap_or_default();
        if escaped_bytes(&dto) <= MAX_ESCAPED_BYTES {
            return Ok(self);
        }
        let largest = dto.as_object().into_iter().flatten().max_by_key(|(_, value)| escaped_bytes(value));
        let name = largest.map_or("body", |(name, _)| name);
        let message = format!(
            "the end user is larger than {MAX_ESCAPED_BYTES} bytes (JSON, escaped once); this is its largest member"
        );
        Err(ValidationErrors::single(name, message))
    }
}

/// The size of a value as JSON that is escaped once more inside a JSON string, in bytes.
pub(super) fn escaped_bytes(value: &impl Serialize) -> usize {
    // The response is serialised in the same way, and serialising the DTOs cannot fail.
    let json = serde_json::to_string(value).unwrap_or_default();
    let escapes = json.bytes().filter(|b| matches!(b, b'"' | b'\\')).count();
    json.len() + escapes
}
