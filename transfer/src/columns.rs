//! What a column of a file can hold, and the names of these kinds.

use std::fmt;

use shared::domain::profile::Field;
use shared::domain::uid::UidType;

use crate::headers;

/// What a column is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum ColumnKind {
    /// A field of the profile.
    Field(Field),
    /// A whole name: the first name up to the first space, the last name behind it.
    Name,
    /// HubSpot's lifecycle stage: a customer from `Customer` on, else what a new end user is.
    Lifecycle,
    /// UIDs of a type.
    Uid(UidType),
    /// `uids` as the API takes them, in CSV as JSON.
    Uids,
    /// Nothing that is imported.
    Ignored,
}

pub(crate) const NAME: &str = "name";
pub(crate) const LIFECYCLE: &str = "lifecycle";
pub(crate) const UIDS: &str = "uids";
pub(crate) const NOTHING: &str = "-";
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
            Self::Ignored => f.write_str(NOTHING),
        }
    }
}

impl ColumnKind {
    /// What a column of this very name is, in any case.
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

    /// What `--map` and the presets name.
    pub(crate) fn parse(name: &str) -> Option<Self> {
        [Self::Name, Self::Lifecycle, Self::Ignored]
            .into_iter()
            .find(|target| name.eq_ignore_ascii_case(&target.to_string()))
            .or_else(|| Self::of_header(name))
    }

    /// The meaning of a header that everybody writes, such as `First Name` or `Mobile`.
    pub(crate) fn of_plain_header(header: &str) -> Option<Self> {
        let letters = headers::letters(header);
        let field = Field::ALL.into_iter().find(|field| headers::letters(field.name()) == letters);
        // E-mail, Whats App, …
        let uid = || {
            [UidType::Email, UidType::Phone, UidType::WhatsApp]
                .into_iter()
                .find(|kind| headers::letters(kind.as_str()) == letters)
        };
        let plain = || headers::plain_meaning(header).and_then(Self::parse);
        field.map(Self::Field).or_else(|| uid().map(Self::Uid)).or_else(plain)
    }

    pub(crate) fn is_identifier(&self) -> bool {
        matches!(self, Self::Uid(_) | Self::Uids | Self::Field(Field::CustomerRef))
    }

    /// Whether a text of many lines is usual.
    pub(crate) fn is_long_text(&self) -> bool {
        matches!(self, Self::Field(Field::OtherContactDetails | Field::AiDocumentation))
    }

    /// Whether a column of this meaning adds to another one, instead of being a second choice.
    pub(crate) fn may_repeat(&self) -> bool {
        matches!(self, Self::Uid(_) | Self::Uids | Self::Ignored)
    }
}
