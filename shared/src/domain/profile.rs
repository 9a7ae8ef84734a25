//! The profile of an end user: its fields, their limits and spellings, and what a request says of
//! them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::input::{Fields, ValidationErrors};
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

/// What an end user can be to a tenant, as it is spelt.
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

    /// The most that a text of it may be.
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
    fn spell(self, text: String) -> Result<String, &'static str> {
        match self {
            Self::CustomerType => CUSTOMER_TYPES
                .into_iter()
                .find(|name| name.eq_ignore_ascii_case(&text))
                .map(str::to_owned)
                .ok_or("must be Lead, Customer, Partner or empty"),
            Self::Country if text.len() == 2 && text.bytes().all(|b| b.is_ascii_alphabetic()) => {
                Ok(text.to_ascii_uppercase())
            }
            Self::Country => Err("must be a country code of two letters"),
            Self::Lang => spell_language(&text).ok_or("must be a language code such as nl or nl-BE"),
            _ => Ok(text),
        }
    }
}

/// `nl`, `nl-BE`: two or three letters, then perhaps a region of two; five characters at most.
fn spell_language(text: &str) -> Option<String> {
    let (language, region) = match text.split_once(['-', '_']) {
        Some((language, region)) => (language, Some(region)),
        None => (text, None),
    };
    let letters = |s: &str, lengths: &[usize]| lengths.contains(&s.len()) && s.bytes().all(|b| b.is_ascii_alphabetic());
    let admitted = text.len() <= 5 && letters(language, &[2, 3]) && region.is_none_or(|r| letters(r, &[2]));
    admitted.then(|| match region {
        Some(region) => format!("{}-{}", language.to_ascii_lowercase(), region.to_ascii_uppercase()),
        None => language.to_ascii_lowercase(),
    })
}

/// The profile's texts; an empty one is not there.
#[derive(Clone, Default, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Profile(BTreeMap<Field, String>);

impl Profile {
    /// The text of a field.
    pub fn get(&self, field: Field) -> Option<&str> {
        self.0.get(&field).map(String::as_str)
    }

    /// `firstname lastname`, joined and trimmed; empty when both are.
    pub fn name(&self) -> String {
        let name: Vec<_> = [Field::Firstname, Field::Lastname].into_iter().filter_map(|f| self.get(f)).collect();
        name.join(" ")
    }

    /// Takes over what a request says; a customerType that nobody gave is `Lead`.
    pub(super) fn apply(&mut self, patch: &Patch) {
        for (field, value) in &patch.0 {
            match value {
                Some(value) => self.0.insert(*field, value.clone()),
                None => self.0.remove(field),
            };
        }
        self.0.entry(Field::CustomerType).or_insert_with(|| "Lead".to_owned());
    }
}

/// What a request says of the profile: a value sets the field, `None` clears it; a field that is
/// not there is not spoken of.
#[derive(Clone, Default, Debug)]
pub struct Patch(BTreeMap<Field, Option<String>>);

impl Patch {
    /// Reads the profile's members of a create or update body. An empty customerType says nothing.
    pub fn read(fields: &Fields, errors: &mut ValidationErrors) -> Self {
        let mut patch = BTreeMap::new();
        for field in Field::ALL {
            let value = match fields.text(field.name(), field.limit(), errors) {
                None => continue,
                Some(None) if field == Field::CustomerType => continue,
                Some(None) => None,
                Some(Some(text)) => match errors.record(fields.path(field.name()), field.spell(text)) {
                    None => continue,
                    value => value,
                },
            };
            patch.insert(field, value);
        }
        Self(patch)
    }

    /// What the request says of the country: `None` where nothing, `Some(None)` where it clears it.
    pub(super) fn country(&self) -> Option<Option<&str>> {
        self.0.get(&Field::Country).map(Option::as_deref)
    }
}
