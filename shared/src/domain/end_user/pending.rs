//! An end user after a request, before ids are assigned to its new UIDs.

use std::collections::BTreeSet;

use super::uids::{PendingUid, UidEntry, change_uids};
use super::{EndUser, region};
use crate::domain::ids::{EndUserId, UidId};
use crate::domain::input::ValidationErrors;
use crate::domain::phone::Region;
use crate::domain::profile::{Field, Patch, Profile};
use crate::domain::uid::{self, MatchKey, Uid};

/// An end user as a request leaves it, before ids are assigned to the UIDs that the request adds.
#[derive(Clone, Debug)]
pub struct PendingEndUser {
    pub(super) profile: Profile,
    /// Existing UIDs by ascending id, then new ones in the order sent: at most [`MAX_UIDS`](super::MAX_UIDS), each pair
    /// of type and match key once.
    pub(super) uids: Vec<PendingUid>,
}

impl PendingEndUser {
    /// Applies a request to the profile and UIDs of an end user; `default` is the deployment's phone region.
    pub(super) fn after(
        mut profile: Profile,
        uids: &[Uid],
        patch: &Patch,
        entries: &[UidEntry],
        default: Option<Region>,
    ) -> Result<Self, ValidationErrors> {
        let mut errors = ValidationErrors::default();
        profile.apply(patch);
        let region = region(profile.get(Field::Country), default);
        let uids = change_uids(uids, entries, region, &mut errors);
        errors.into_result(Self { profile, uids })
    }

    /// The match keys of its UIDs and its customerRef.
    pub fn keys(&self) -> BTreeSet<MatchKey> {
        let reference = self.profile.get(Field::CustomerRef).map(uid::reference_key);
        self.uids.iter().map(PendingUid::key).chain(reference).collect()
    }

    /// The paths of the request's members that give the end user the match key.
    pub fn paths(&self, key: &MatchKey) -> Vec<String> {
        let uids = self.uids.iter().filter(|uid| uid.key() == *key).flat_map(|uid| uid.paths.clone());
        let reference = self.profile.get(Field::CustomerRef).filter(|text| uid::reference_key(text) == *key);
        uids.chain(reference.map(|_| Field::CustomerRef.name().to_owned())).collect()
    }

    /// The number of UIDs without an id.
    pub fn missing_ids(&self) -> usize {
        self.uids.iter().filter(|uid| uid.id.is_none()).count()
    }

    /// Assigns ids: the end user gets `id`, the new UIDs get `ids` in the order sent. Fails if the end user is larger
    /// than [`MAX_ESCAPED_BYTES`](super::MAX_ESCAPED_BYTES); the error names the largest member.
    pub fn save(
        &self,
        id: EndUserId,
        rev: u64,
        ids: impl IntoIterator<Item = UidId>,
    ) -> Result<EndUser, ValidationErrors> {
        let mut ids = ids.into_iter();
        let with_ids = self.uids.iter().filter_map(|uid| {
            let PendingUid { kind, value, is_primary, .. } = uid.clone();
            Some(Uid { id: uid.id.or_else(|| ids.next())?, kind, value, is_primary })
        });
        let mut uids: Vec<Uid> = with_ids.collect();
        uids.sort_by_key(|uid| uid.id);
        EndUser { id, rev, profile: self.profile.clone(), uids }.check_size()
    }

    /// The end user with the shortest possible ids. If it is too large with them, it is too large with any ids.
    pub fn save_with_shortest_ids(&self) -> Result<EndUser, ValidationErrors> {
        self.save(EndUserId::MIN, 1, (1..).map_while(UidId::new))
    }
}
