//! The profile of an end user: its fields, their limits and stored forms, and changes of them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::input::{Fields, Member, ValidationErrors};
use super::text::Limit;

/// A field of the profile. The order is that of the DTO.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs, reason = "the names are the documentation")]
pub enum Field {
    Firstname,
    Lastname,
    Gender,
    OtherContactDetails,
    AiDocumentation,
    CustomerRef,
    CustomerType,
    Country,
    Lang,
    Street,
    HouseNumber,
    PostalCode,
    City,
    Company,
}

/// The values of customerType; the first one is the default.
pub const CUSTOMER_TYPES: [&str; 3] = ["Lead", "Customer", "Partner"];

impl Field {
    /// Every field.
    pub const ALL: [Self; 14] = [
        Self::Firstname,
        Self::Lastname,
        Self::Gender,
        Self::OtherContactDetails,
        Self::AiDocumentation,
        Self::CustomerRef,
        Self::CustomerType,
        Self::Country,
        Self::Lang,
        Self::Street,
        Self::HouseNumber,
        Self::PostalCode,
        Self::City,
        Self::Company,
    ];

    /// The member's name in a DTO.
    pub fn name(self) -> &'static str {
        match self {
            Self::Firstname => "firstname",
            Self::Lastname => "lastname",
            Self::Gender => "gender",
            Self::OtherContactDetails => "otherContactDetails",
            Self::AiDocumentation => "aiDocumentation",
            Self::CustomerRef => "customerRef",
            Self::CustomerType => "customerType",
            Self::Country => "country",
            Self::Lang => "lang",
            Self::Street => "street",
            Self::HouseNumber => "houseNumber",
            Self::PostalCode => "postalCode",
            Self::City => "city",
            Self::Company => "company",
        }
    }

    /// The maximum length of the field.
    pub fn limit(self) -> Limit {
        match self {
            Self::Firstname | Self::Lastname | Self::Company | Self::Street | Self::City => Limit::Chars(200),
            Self::HouseNumber | Self::PostalCode | Self::Gender => Limit::Chars(50),
            Self::CustomerRef => Limit::Chars(254),
            Self::CustomerType | Self::Country | Self::Lang => Limit::Chars(50),
            Self::OtherContactDetails => Limit::Bytes(8 * 1024),
            Self::AiDocumentation => Limit::Bytes(32 * 1024),
        }
    }

    /// The stored form of a cleaned, non-empty `text`.
    fn parse(self, text: String) -> Result<String, &'static str> {
        match self {
            Self::CustomerType => CUSTOMER_TYPES
                .into_iter()
                .find(|name| name.eq_ignore_ascii_case(&text))
                .map(str::to_owned)
                .ok_or("must be Lead, Customer, Partner or empty"),
            Self::Country if text.len() == 2 && text.bytes().all(|b| b.is_ascii_alphabetic()) => {
                Ok(text.to_ascii_uppercase())
            }
            Self::Country => Err("must be a two-letter country code"),
            Self::Lang => parse_language(&text).ok_or("must be a language code such as nl or nl-BE"),
            _ => Ok(text),
        }
    }
}

/// The stored form of a language code such as `nl` or `nl-BE`: two or three letters, optionally a region of two
/// letters, at most five characters.
fn parse_language(text: &str) -> Option<String> {
    let (language, region) = match text.split_once(['-', '_']) {
        Some((language, region)) => (language, Some(region)),
        None => (text, None),
    };
    let letters = |s: &str, lengths: &[usize]| lengths.contains(&s.len()) && s.bytes().all(|b| b.is_ascii_alphabetic());
    let is_valid = text.len() <= 5 && letters(language, &[2, 3]) && region.is_none_or(|r| letters(r, &[2]));
    is_valid.then(|| match region {
        Some(region) => format!("{}-{}", language.to_ascii_lowercase(), region.to_ascii_uppercase()),
        None => language.to_ascii_lowercase(),
    })
}

/// The texts of the profile's fields. An empty field is absent.
#[derive(Clone, Default, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Profile(BTreeMap<Field, String>);

impl Profile {
    /// The text of a field.
    pub fn get(&self, field: Field) -> Option<&str> {
        self.0.get(&field).map(String::as_str)
    }

    /// Whether a field can be filled without a loss: it has no text, or is a customerType of `Lead`, its default.
    pub(super) fn is_empty(&self, field: Field) -> bool {
        self.get(field).is_none_or(|text| field == Field::CustomerType && text == CUSTOMER_TYPES[0])
    }

    /// `firstname lastname`, joined and trimmed; empty if both are empty.
    pub fn name(&self) -> String {
        let name: Vec<_> = [Field::Firstname, Field::Lastname].into_iter().filter_map(|f| self.get(f)).collect();
        name.join(" ")
    }

    /// Applies a request's changes. An absent customerType becomes `Lead`.
    pub(super) fn apply(&mut self, patch: &Patch) {
        for (field, value) in &patch.0 {
            match value {
                Some(value) => self.0.insert(*field, value.clone()),
                None => self.0.remove(field),
            };
        }
        self.0.entry(Field::CustomerType).or_insert_with(|| CUSTOMER_TYPES[0].to_owned());
    }
}

/// A request's changes of the profile: a value sets the field, `None` clears it, and an absent field stays.
#[derive(Clone, Default, Debug)]
pub struct Patch(BTreeMap<Field, Option<String>>);

impl Patch {
    /// The change of one field.
    pub(super) fn of(field: Field, value: Option<String>) -> Self {
        Self(BTreeMap::from([(field, value)]))
    }

    /// Reads the profile's members of a create or update body. An empty customerType counts as absent.
    pub fn read(fields: &Fields, errors: &mut ValidationErrors) -> Self {
        let mut patch = BTreeMap::new();
        for field in Field::ALL {
            let value = match fields.text(field.name(), field.limit(), errors) {
                Member::Absent => continue,
                Member::Null if field == Field::CustomerType => continue,
                Member::Null => None,
                Member::Value(text) => match errors.record(fields.path(field.name()), field.parse(text)) {
                    None => continue,
                    value => value,
                },
            };
            patch.insert(field, value);
        }
        Self(patch)
    }

    /// The text that the request sets a field to; `None` if it leaves or clears the field.
    pub(super) fn value(&self, field: Field) -> Option<&str> {
        self.0.get(&field)?.as_deref()
    }

    /// The changes of the fields that are empty in `profile`. A customerType of `Lead` counts as empty.
    pub(super) fn filling(&self, profile: &Profile) -> Self {
        let is_filled = |(field, value): &(&Field, &Option<String>)| value.is_some() && profile.is_empty(**field);
        Self(self.0.iter().filter(is_filled).map(|(field, value)| (*field, value.clone())).collect())
    }

    /// The request's change of the country; `Null` clears it.
    pub(super) fn country(&self) -> Member<&str> {
        match self.0.get(&Field::Country) {
            None => Member::Absent,
            Some(None) => Member::Null,
            Some(Some(country)) => Member::Value(country),
        }
    }
}
