//! Kinds of columns, and their names in `--map` and in headers.

use std::fmt;

use shared::domain::profile::Field;
use shared::domain::uid::UidType;

use crate::headers;

/// The kind of values in a column.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum ColumnKind {
    /// A field of the profile.
    Field(Field),
    /// A whole name: the first name up to the first space, and the last name after it.
    Name,
    /// HubSpot's lifecycle stage: from `Customer` on, customerType is `Customer`; before, it is the default.
    Lifecycle,
    /// UIDs of a type.
    Uid(UidType),
    /// `uids` in the API's format; in CSV, as JSON.
    Uids,
    /// A column that is not imported.
    Ignored,
}

pub(crate) const NAME: &str = "name";
pub(crate) const LIFECYCLE: &str = "lifecycle";
pub(crate) const UIDS: &str = "uids";
pub(crate) const IGNORED: &str = "-";
pub(crate) const UID: &str = "uid:";

impl fmt::Display for ColumnKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Field(field) => f.write_str(field.name()),
            Self::Name => f.write_str(NAME),
            Self::Lifecycle => f.write_str(LIFECYCLE),
            Self::Uid(UidType::Other(kind)) => write!(f, "{UID}{kind}"),
            Self::Uid(kind) => f.write_str(&kind.as_str().to_ascii_lowercase()),
            Self::Uids => f.write_str(UIDS),
            Self::Ignored => f.write_str(IGNORED),
        }
    }
}

impl ColumnKind {
    /// The kind of a column with this exact name, ignoring case.
    pub(crate) fn of_header(header: &str) -> Option<Self> {
        let is = |name: &str| header.eq_ignore_ascii_case(name);
        if let Some(field) = Field::ALL.into_iter().find(|field| is(field.name())) {
            return Some(Self::Field(field));
        }
        if let Some((prefix, kind)) = header.split_at_checked(UID.len())
            && prefix.eq_ignore_ascii_case(UID)
            && !kind.trim().is_empty()
        {
            return Some(Self::Uid(UidType::parse(kind.trim())));
        }
        let kinds = [UidType::Email, UidType::Phone, UidType::WhatsApp];
        let kind = kinds.into_iter().find(|kind| is(kind.as_str()));
        kind.map(Self::Uid).or_else(|| is(UIDS).then_some(Self::Uids))
    }

    /// The kind with this name in `--map` and the presets.
    pub(crate) fn parse(name: &str) -> Option<Self> {
        [Self::Name, Self::Lifecycle, Self::Ignored]
            .into_iter()
            .find(|kind| name.eq_ignore_ascii_case(&kind.to_string()))
            .or_else(|| Self::of_header(name))
    }

    /// The kind of a common header such as `First Name` or `Mobile`.
    pub(crate) fn of_common_header(header: &str) -> Option<Self> {
        let letters = headers::letters(header);
        let field = Field::ALL.into_iter().find(|field| headers::letters(field.name()) == letters);
        // E-mail, Whats App, …
        let uid = || {
            [UidType::Email, UidType::Phone, UidType::WhatsApp]
                .into_iter()
                .find(|kind| headers::letters(kind.as_str()) == letters)
        };
        let common = || headers::common_meaning(header).and_then(Self::parse);
        field.map(Self::Field).or_else(|| uid().map(Self::Uid)).or_else(common)
    }

    pub(crate) fn is_identifier(&self) -> bool {
        matches!(self, Self::Uid(_) | Self::Uids | Self::Field(Field::CustomerRef))
    }

    /// Whether a value often has many lines.
    pub(crate) fn is_long_text(&self) -> bool {
        matches!(self, Self::Field(Field::OtherContactDetails | Field::AiDocumentation))
    }

    /// Whether several columns of this kind add up. Of other kinds only the first common header is used.
    pub(crate) fn may_repeat(&self) -> bool {
        matches!(self, Self::Uid(_) | Self::Uids | Self::Ignored)
    }
}
