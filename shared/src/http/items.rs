//! The response to a request whose items are applied one by one.

use std::collections::BTreeMap;

use lambda_http::http::StatusCode;
use serde::Serialize;

use super::error::Error;
use super::response::Response;
use crate::domain::end_user::{ConflictingEndUser, UpsertOutcome, UpsertedId};
use crate::domain::ids::EndUserId;
use crate::domain::input::ValidationErrors;
use crate::store::{ChangeError, Idempotent, Outcome, StoreError};

/// Maximum number of conflicts in the result of an item.
const MAX_ITEM_CONFLICTS: usize = 10;

/// Maximum number of paths with validation errors in the results of all items.
const MAX_ITEM_ERRORS: usize = 1_000;

/// The result of one item.
pub struct ItemResult {
    /// The path of the item in the request's body.
    pub path: String,
    /// What was done, or the reason why nothing was done.
    pub result: Result<Idempotent<UpsertedId>, ChangeError>,
}

/// EndUserUpsertManyResultDTO: the results in the order of the request.
#[derive(Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = EndUserUpsertManyResultDTO))]
pub(super) struct ItemsDto {
    /// A result per element.
    items: Vec<ItemDto>,
}

/// EndUserUpsertItemDTO: the result of one element. With a status of 200 or 201 it has `outcome` and `endUserID`, else
/// the members of a problem document.
#[derive(Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = EndUserUpsertItemDTO))]
pub(super) struct ItemDto {
    /// The HTTP status that the element has by itself.
    #[cfg_attr(feature = "openapi", schema(minimum = 200, maximum = 599))]
    status: u16,
    /// What was done.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(nullable = false))]
    outcome: Option<UpsertOutcome>,
    /// The end user.
    #[serde(rename = "endUserID", skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = i32, minimum = 1, nullable = false))]
    end_user_id: Option<EndUserId>,
    /// What is wrong and what to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(nullable = false))]
    detail: Option<String>,
    /// For 400: messages by the path of the field in the request's body (`endUsers[3].uids[0].uid`).
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(nullable = false))]
    errors: Option<BTreeMap<String, Vec<String>>>,
    /// For 409: the kind of conflict.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(nullable = false))]
    code: Option<&'static str>,
    /// For 409: the end users that the element conflicts with, by ascending id, at most 10.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(nullable = false))]
    conflicts: Option<Vec<ConflictingEndUser>>,
}

impl Response {
    /// 200 with the result of each item. If the database failed for all of them, the error of one: an unknown outcome
    /// of one item is that of the request.
    pub fn items(mut results: Vec<ItemResult>, request_id: &str) -> Result<Self, Error> {
        let outcome = |item: &ItemResult| match &item.result {
            Err(ChangeError::Store(StoreError::Unavailable { outcome, .. })) => Some(*outcome),
            _ => None,
        };
        if results.iter().all(|item| outcome(item).is_some()) {
            results.sort_by_key(|item| outcome(item) == Some(Outcome::Unknown));
            if let Some(ItemResult { result: Err(error), .. }) = results.pop() {
                return Err(error.into());
            }
        }
        let is_replayed = |item: &ItemResult| item.result.as_ref().is_ok_and(|result| result.replayed);
        let replayed = results.iter().all(is_replayed);
        let mut errors_left = MAX_ITEM_ERRORS;
        let items = results.into_iter().map(|item| ItemDto::new(item, &mut errors_left, request_id)).collect();
        Ok(Self::ok(&ItemsDto { items })?.replayed(replayed))
    }
}

impl ItemDto {
    fn new(item: ItemResult, errors_left: &mut usize, request_id: &str) -> Self {
        let ItemResult { path, result } = item;
        let error = match result {
            Ok(Idempotent { value: UpsertedId { outcome, id }, .. }) => {
                let created = outcome == UpsertOutcome::Created;
                let status = if created { StatusCode::CREATED } else { StatusCode::OK };
                return Self { outcome: Some(outcome), end_user_id: Some(id), ..Self::of(status) };
            }
            Err(error) => Error::from(error),
        };
        error.log(request_id);
        let dto = Self { detail: Some(error.detail()), ..Self::of(error.status()) };
        match error {
            Error::Change(ChangeError::Invalid(errors)) => {
                let mut errors = ValidationErrors::within(errors, &path).as_map().clone();
                while errors.len() > *errors_left {
                    errors.pop_last();
                }
                *errors_left -= errors.len();
                Self { errors: Some(errors), ..dto }
            }
            Error::Change(ChangeError::Conflict(conflict)) => {
                let within = |mut end_user: ConflictingEndUser| {
                    end_user.fields.iter_mut().for_each(|field| *field = format!("{path}.{field}"));
                    end_user
                };
                let conflicts: Vec<_> = conflict.end_users.into_iter().take(MAX_ITEM_CONFLICTS).map(within).collect();
                let conflicts = Some(conflicts).filter(|conflicts| !conflicts.is_empty());
                Self { code: Some(conflict.kind.code()), conflicts, ..dto }
            }
            _ => dto,
        }
    }

    fn of(status: StatusCode) -> Self {
        let status = status.as_u16();
        Self { status, outcome: None, end_user_id: None, detail: None, errors: None, code: None, conflicts: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_outcome_of_an_item_is_that_of_the_request() {
        let item = |outcome| {
            let error = StoreError::Unavailable { outcome, reason: "throttled".to_owned() };
            ItemResult { path: String::new(), result: Err(error.into()) }
        };
        let response = |outcomes: [Outcome; 2]| match Response::items(outcomes.map(item).into(), "") {
            Err(error) => error.detail(),
            Ok(_) => panic!("every item failed"),
        };
        let (nothing, unknown) = (Outcome::NothingWritten, Outcome::Unknown);
        assert!(response([nothing, nothing]).contains("nothing was written"));
        for outcomes in [[unknown, nothing], [nothing, unknown]] {
            assert!(response(outcomes).contains("unknown"), "{outcomes:?}");
        }
    }
}
