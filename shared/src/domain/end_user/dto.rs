//! The response DTOs of end users. Names are those of the public reference.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{AssignedUid, Duplicate, EndUser, MergeRecord, Merged, Unmerged, UpsertOutcome, Upserted};
use crate::domain::ids::{EndUserId, UidId};
use crate::domain::profile::Field;
use crate::domain::time::Timestamp;
use crate::domain::uid::Uid;

/// EndUserReadDTO: an end user in a response.
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

/// EndUserUIDReadDTO: a UID inside an end user in a response.
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

/// The response to an assignment: the UID's record.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = AssignedUIDDTO))]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs, reason = "the names are those of the public reference")]
pub struct AssignedDto {
    /// Present only if the UID was linked before.
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
        Self { message, end_user_id: assigned.revision.id, end_user_uid_id, uid_type, uid, is_primary }
    }
}

/// EndUserUpsertResultDTO: the response to an upsert.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = EndUserUpsertResultDTO))]
#[serde(rename_all = "camelCase")]
pub struct UpsertedDto {
    /// What the upsert did.
    pub outcome: UpsertOutcome,
    /// The end user after it.
    pub end_user: EndUserReadDto,
}

impl From<&Upserted> for UpsertedDto {
    fn from(upserted: &Upserted) -> Self {
        Self { outcome: upserted.outcome, end_user: EndUserReadDto::from(&upserted.end_user) }
    }
}

/// EndUserMergeResultDTO: the response to a merge.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = EndUserMergeResultDTO))]
#[serde(rename_all = "camelCase")]
pub struct MergedDto {
    /// The surviving end user after the merge.
    pub end_user: EndUserReadDto,
    /// The end user that became part of it.
    #[serde(rename = "mergedEndUserID")]
    #[cfg_attr(feature = "openapi", schema(value_type = i32, minimum = 1))]
    pub merged_end_user_id: EndUserId,
    /// The names of the fields that were empty and are taken from the other end user.
    pub filled_fields: Vec<&'static str>,
    /// The other end user's values of fields that both have and that differ, by name. They are lost, unless the merge is
    /// undone.
    pub discarded_fields: BTreeMap<&'static str, String>,
    /// The `endUserUIDID` of each UID that moved.
    #[cfg_attr(feature = "openapi", schema(value_type = Vec<i32>))]
    pub moved_uids: Vec<UidId>,
    /// The `endUserUIDID` of each UID that the survivor had already.
    #[cfg_attr(feature = "openapi", schema(value_type = Vec<i32>))]
    pub dropped_uids: Vec<UidId>,
    /// The other end user's customerRef, if it became a UID of type `customerRef`.
    pub moved_customer_ref: Option<String>,
    /// The time until which the merge can be undone.
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = DateTime))]
    pub undo_until: Timestamp,
}

impl From<&Merged> for MergedDto {
    fn from(merged: &Merged) -> Self {
        let Merged { end_user, other, changes, undo_until } = merged.clone();
        Self {
            end_user: EndUserReadDto::from(&end_user),
            merged_end_user_id: other,
            filled_fields: changes.filled.iter().map(|field| field.name()).collect(),
            discarded_fields: changes.discarded.into_iter().map(|(field, text)| (field.name(), text)).collect(),
            moved_uids: changes.moved,
            dropped_uids: changes.dropped,
            moved_customer_ref: changes.moved_reference,
            undo_until,
        }
    }
}

/// EndUserUnmergeResultDTO: the response to an unmerge.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = EndUserUnmergeResultDTO))]
#[serde(rename_all = "camelCase")]
pub struct UnmergedDto {
    /// The end user that is back under its id.
    pub end_user: EndUserReadDto,
    /// The end user that it was part of.
    #[serde(rename = "mergedIntoEndUserID")]
    #[cfg_attr(feature = "openapi", schema(value_type = i32, minimum = 1))]
    pub merged_into_end_user_id: EndUserId,
}

impl From<&Unmerged> for UnmergedDto {
    fn from(unmerged: &Unmerged) -> Self {
        Self { end_user: EndUserReadDto::from(&unmerged.end_user), merged_into_end_user_id: unmerged.survivor }
    }
}

/// EndUserMergeRecordDTO: a merge that can be undone.
#[derive(Clone, Copy, Debug, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = EndUserMergeRecordDTO))]
#[serde(rename_all = "camelCase")]
pub struct MergeRecordDto {
    /// The end user that became part of this one.
    #[serde(rename = "endUserID")]
    #[cfg_attr(feature = "openapi", schema(value_type = i32, minimum = 1))]
    pub end_user_id: EndUserId,
    /// The time of the merge.
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = DateTime))]
    pub date_merged: Timestamp,
    /// The time until which the merge can be undone.
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = DateTime))]
    pub undo_until: Timestamp,
}

impl From<&MergeRecord> for MergeRecordDto {
    fn from(record: &MergeRecord) -> Self {
        let MergeRecord { other, merged_at, undo_until } = *record;
        Self { end_user_id: other, date_merged: merged_at, undo_until }
    }
}

/// EndUserDuplicateDTO: another end user that shares identifiers.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = EndUserDuplicateDTO))]
#[serde(rename_all = "camelCase")]
pub struct DuplicateDto {
    /// The other end user.
    pub end_user: EndUserReadDto,
    /// The shared identifiers, in the spelling of the end user in the path.
    pub shared_uids: Vec<String>,
}

impl From<&Duplicate> for DuplicateDto {
    fn from(duplicate: &Duplicate) -> Self {
        Self { end_user: EndUserReadDto::from(&duplicate.end_user), shared_uids: duplicate.shared.clone() }
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
