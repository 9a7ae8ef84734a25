//! How the rows of a file find the end users that they are about, and what they change.

use std::fmt;

use clap::ValueEnum;
use shared::domain::input::{Json, ValidationErrors};
use shared::domain::profile::Field;

use crate::columns::{ColumnKind, UIDS};

/// The identifiers of a row that decide which end user it is about.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum MatchBy {
    /// All identifiers.
    Any,
    /// The customerRef.
    #[value(name = "customerRef")]
    CustomerRef,
    /// The UIDs: e-mail addresses, phone numbers, and identifiers of other types.
    Uids,
}

/// The effect of a row on the profile of an end user that exists.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum OnMatch {
    /// Overwrites the fields for which the row has a value.
    Update,
    /// Sets only empty fields.
    Fill,
    /// Leaves the profile.
    None,
}

/// The options of an upsert.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Matching {
    pub(crate) match_by: MatchBy,
    pub(crate) on_match: OnMatch,
}

impl MatchBy {
    /// Whether a value in a column of this kind can decide.
    pub(crate) fn includes(self, kind: &ColumnKind) -> bool {
        kind.is_identifier()
            && match self {
                Self::Any => true,
                Self::CustomerRef => *kind == ColumnKind::Field(Field::CustomerRef),
                Self::Uids => *kind != ColumnKind::Field(Field::CustomerRef),
            }
    }

    /// The names of the fields that can decide.
    pub(crate) fn fields(self) -> &'static str {
        match self {
            Self::Any => "email, phone, whatsapp, uid:TYPE or customerRef",
            Self::CustomerRef => "customerRef",
            Self::Uids => "email, phone, whatsapp or uid:TYPE",
        }
    }
}

impl Matching {
    /// The EndUserUpsertDTO of an EndUserCreateDTO.
    pub(crate) fn apply(self, body: Json) -> Result<Json, ValidationErrors> {
        let Json::Object(mut members) = body else { return Ok(body) };
        let has = |name| members.iter().any(|(member, _)| member == name);
        let is_matched = match self.match_by {
            MatchBy::Any => has(UIDS) || has(Field::CustomerRef.name()),
            MatchBy::CustomerRef => has(Field::CustomerRef.name()),
            MatchBy::Uids => has(UIDS),
        };
        if !is_matched {
            let fields = self.match_by.fields();
            return Err(ValidationErrors::single(
                "body",
                format!("has no identifier to match by ({fields}); use --create-only to create an end user"),
            ));
        }
        for (name, value) in [("matchBy", name(self.match_by)), ("onMatch", name(self.on_match))] {
            members.push((name.to_owned(), Json::String(value)));
        }
        Ok(Json::Object(members))
    }
}

impl fmt::Display for Matching {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "match by {}, on match {}", name(self.match_by), name(self.on_match))
    }
}

/// The name of an option's value, which is its name in the API too.
fn name(value: impl ValueEnum) -> String {
    value.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
}
