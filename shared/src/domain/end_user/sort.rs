//! The orders of a list of end users.

use super::EndUser;
use crate::domain::profile::Field;
use crate::domain::text;

/// A field that a list of end users can be sorted by.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum SortField {
    /// The id, the default.
    EndUserId,
    /// [`Profile::name`](crate::domain::profile::Profile::name).
    Name,
    /// A field of the profile; [`Self::ALL`] has those that can be sorted by.
    Field(Field),
}

impl SortField {
    /// Every order (docs/api.md, Paging and sorting).
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

    /// The order with this exact [`name`](Self::name).
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|field| field.name() == name)
    }

    /// The sort key of `end_user` in this order, without the id that breaks ties: ASCII text in byte order, empty for
    /// an empty field. Always empty in the order by id.
    pub fn key(self, end_user: &EndUser) -> String {
        match self {
            Self::EndUserId => String::new(),
            Self::Name => text::sort_key(&end_user.profile.name()),
            Self::Field(field) => text::sort_key(end_user.profile.get(field).unwrap_or_default()),
        }
    }
}
