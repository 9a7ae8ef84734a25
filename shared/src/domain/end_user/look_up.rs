//! The body of `POST /api/EndUsers/lookup`, and its result.

use std::collections::BTreeSet;

use serde::Serialize;

use super::MAX_UID_LENGTH;
use crate::domain::ids::EndUserId;
use crate::domain::input::{Fields, Json, ValidationErrors};
use crate::domain::phone::Region;
use crate::domain::text::{self, Limit};
use crate::domain::uid::{self, MatchKey};

/// Maximum number of values of one look-up.
pub const MAX_LOOK_UPS: usize = 100;
/// Maximum number of end users in the result of one value.
pub const MAX_LOOK_UP_IDS: usize = 10;

/// A valid body of `POST /api/EndUsers/lookup`.
#[derive(Clone, Debug)]
pub struct UidLookUp(Vec<(String, BTreeSet<MatchKey>)>);

impl UidLookUp {
    /// Reads an EndUserLookUpDTO; `default` is the deployment's phone region.
    pub fn read(body: &Json, default: Option<Region>) -> Result<Self, ValidationErrors> {
        let mut errors = ValidationErrors::default();
        let Some(fields) = Fields::of_body(body, &mut errors) else { return Err(errors) };
        let mut values = Vec::new();
        for (path, json) in fields.elements("uids", MAX_LOOK_UPS, &mut errors) {
            let Some(sent) = json.as_str() else {
                errors.add(path, "must be a string");
                continue;
            };
            match errors.record(&path, text::clean(sent, Limit::Chars(MAX_UID_LENGTH))) {
                Some(text) if text.is_empty() => errors.add(path, "is required"),
                Some(text) => values.push((sent.to_owned(), uid::lookup_keys(&text, default))),
                None => {}
            }
        }
        errors.into_result(Self(values))
    }

    /// The values as they were sent.
    pub fn values(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(sent, _)| sent.as_str())
    }

    /// The keys under any of which each value may be stored.
    pub fn keys(&self) -> impl Iterator<Item = &BTreeSet<MatchKey>> {
        self.0.iter().map(|(_, keys)| keys)
    }
}

/// EndUserLookUpResultDTO: the results in the order of the request.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = EndUserLookUpResultDTO))]
pub struct LookUpDto {
    /// A result per value.
    pub items: Vec<LookUpItemDto>,
}

/// EndUserLookUpItemDTO: the end users that hold one value.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = EndUserLookUpItemDTO))]
pub struct LookUpItemDto {
    /// The value as it was sent.
    pub uid: String,
    /// The end users that hold it, by ascending id: at most 10.
    #[serde(rename = "endUserIDs")]
    #[cfg_attr(feature = "openapi", schema(value_type = Vec<i32>, max_items = 10))]
    pub end_user_ids: Vec<EndUserId>,
    /// Whether more end users hold it.
    pub more: bool,
}

impl LookUpItemDto {
    /// The result for `uid`, which the end users `found` hold.
    pub fn new(uid: &str, found: &[EndUserId]) -> Self {
        let end_user_ids = found.iter().take(MAX_LOOK_UP_IDS).copied().collect();
        Self { uid: uid.to_owned(), end_user_ids, more: found.len() > MAX_LOOK_UP_IDS }
    }
}
