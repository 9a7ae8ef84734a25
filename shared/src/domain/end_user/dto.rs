//! The response DTOs of end users. Names are those of the public reference.

use serde::Serialize;

use super::{AssignedUid, EndUser, UpsertOutcome, Upserted};
use crate::domain::ids::{EndUserId, UidId};
use crate::domain::profile::Field;
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
