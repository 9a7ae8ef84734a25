//! UIDs, the identifiers of an end user, and the match keys by which they are compared (docs/api.md, Match keys).
//!
//! A match key is never shown; responses hold the stored value. Two values are the same if and only if they share a
//! key.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::ids::UidId;
use super::phone::{Phone, Region};
use super::text::caseless;
use super::{email, phone};

/// The type of a UID, stored as its name.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub enum UidType {
    /// An e-mail address.
    #[default]
    Email,
    /// A phone number.
    Phone,
    /// A WhatsApp number, user name or scoped id.
    WhatsApp,
    /// Any other type, as it was sent; compared caselessly.
    Other(String),
}

impl UidType {
    /// Reads a type's name in any case. An empty name is `Email`.
    pub fn parse(name: &str) -> Self {
        match caseless(name).as_str() {
            "" | "email" => Self::Email,
            "phone" => Self::Phone,
            "whatsapp" => Self::WhatsApp,
            _ => Self::Other(name.to_owned()),
        }
    }

    /// Returns whether both are the same type. `==` also compares the spelling.
    pub fn is_same_type(&self, other: &Self) -> bool {
        caseless(self.as_str()) == caseless(other.as_str())
    }

    /// The name, as it is stored and returned.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Email => "Email",
            Self::Phone => "Phone",
            Self::WhatsApp => "WhatsApp",
            Self::Other(name) => name,
        }
    }
}

impl FromStr for UidType {
    type Err = Infallible;

    fn from_str(name: &str) -> Result<Self, Infallible> {
        Ok(Self::parse(name))
    }
}

impl From<String> for UidType {
    fn from(name: String) -> Self {
        Self::parse(&name)
    }
}

impl From<UidType> for String {
    fn from(kind: UidType) -> Self {
        kind.as_str().to_owned()
    }
}

impl fmt::Display for UidType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The normal form by which UIDs, customerRefs and looked-up values are compared.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum MatchKey {
    /// A text key; see [`text_key`].
    Text(String),
    /// A phone key: E.164, followed by `;ext=` and the extension if there is one.
    Phone(String),
}

impl From<Phone> for MatchKey {
    fn from(phone: Phone) -> Self {
        Self::Phone(phone.to_string())
    }
}

/// The text key of a value: its compatibility caseless form (The Unicode Standard §3.13, D146). The domain of an e-mail
/// address is converted to ASCII first.
pub fn text_key(value: &str) -> String {
    caseless(email::ascii_form(email::trim(value)).as_deref().unwrap_or(value))
}

/// The key under which a UID is stored.
pub fn stored_key(kind: &UidType, value: &str) -> MatchKey {
    match kind {
        UidType::Phone => MatchKey::Phone(value.to_owned()),
        UidType::WhatsApp => phone_key(value).unwrap_or_else(|| reference_key(value)),
        UidType::Email | UidType::Other(_) => reference_key(value),
    }
}

/// The key under which a customerRef is stored.
pub fn reference_key(customer_ref: &str) -> MatchKey {
    MatchKey::Text(text_key(customer_ref))
}

/// The keys under any of which a looked-up value may be stored; `default` is the deployment's phone region.
pub fn lookup_keys(value: &str, default: Option<Region>) -> BTreeSet<MatchKey> {
    let phones = Phone::lookup_keys(value, default).into_iter().map(MatchKey::from);
    phones.chain([reference_key(value)]).collect()
}

/// The keys under any of which the end user of a ticket's `uid` may be stored.
pub fn ticket_keys(value: &str) -> BTreeSet<MatchKey> {
    lookup_keys(value, None)
}

/// The key under which a ticket is indexed by its `uid`.
pub fn ticket_index_key(value: &str) -> MatchKey {
    phone_key(value).unwrap_or_else(|| reference_key(value))
}

/// The keys under which the tickets of a UID or customerRef with the key `stored` may be indexed. A text that reads as
/// an international phone number is indexed under its phone key too.
pub fn ticket_index_keys_of(stored: &MatchKey) -> Vec<MatchKey> {
    let phone = match stored {
        MatchKey::Text(text) => phone_key(text),
        MatchKey::Phone(_) => None,
    };
    [stored.clone()].into_iter().chain(phone).collect()
}

fn phone_key(value: &str) -> Option<MatchKey> {
    Phone::international(value).map(MatchKey::from)
}

/// The stored form of a cleaned value, or a message for the caller.
pub fn parse_value(kind: &UidType, text: &str, region: Option<Region>) -> Result<String, String> {
    match kind {
        UidType::Email => {
            let text = email::trim(text);
            email::check(text).map(|()| text.to_owned()).map_err(|error| error.to_string())
        }
        UidType::Phone => Phone::read(text, region).map(|phone| phone.to_string()).map_err(|error| error.to_string()),
        UidType::WhatsApp | UidType::Other(_) => Ok(text.to_owned()),
    }
}

/// The checks of [`parse_value`] that need no region, and so no stored end user.
pub fn check_value(kind: &UidType, text: &str) -> Result<(), String> {
    match kind {
        UidType::Phone => phone::check_format(text).map_err(|error| error.to_string()),
        _ => parse_value(kind, text, None).map(drop),
    }
}

/// An identifier of an end user, in its stored form.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Uid {
    /// The id of the record (`endUserUIDID`).
    pub id: UidId,
    /// The type of the identifier.
    pub kind: UidType,
    /// The stored value.
    #[serde(rename = "uid")]
    pub value: String,
    /// Whether it is the end user's preferred UID.
    #[serde(rename = "primary", default, skip_serializing_if = "std::ops::Not::not")]
    pub is_primary: bool,
}

impl Uid {
    /// The key under which the UID is stored.
    pub fn key(&self) -> MatchKey {
        stored_key(&self.kind, &self.value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::vectors;

    const KINDS: [UidType; 3] = [UidType::Email, UidType::Phone, UidType::WhatsApp];

    fn text(key: &str) -> MatchKey {
        MatchKey::Text(key.to_owned())
    }

    fn phone(key: &str) -> MatchKey {
        MatchKey::Phone(key.to_owned())
    }

    #[test]
    fn type_is_recognised_in_any_case_and_others_are_kept() {
        for (name, stored) in
            [("", "Email"), ("EMAIL", "Email"), ("phone", "Phone"), ("whatsAPP", "WhatsApp"), ("Crm", "Crm")]
        {
            assert_eq!(UidType::parse(name).as_str(), stored);
        }
        assert_eq!(UidType::default(), UidType::Email);
        assert!(UidType::parse("CRM").is_same_type(&UidType::parse("crm")));
        assert!(!UidType::parse("CRM").is_same_type(&UidType::parse("ERP")));
    }

    #[test]
    fn text_key_ignores_case_width_composition_and_domain_form() {
        for (left, right) in [
            ("Jane@Example.COM", "jane@example.com"),
            ("jane@bücher.example", "JANE@XN--BCHER-KVA.example"),
            ("jane@BU\u{308}CHER.example", "jane@bücher.example"),
            ("CRM-１２", "crm-12"),
            ("E\u{301}", "é"),
        ] {
            assert_eq!(text_key(left), text_key(right));
        }
        assert_ne!(text_key("jane@faß.de"), text_key("jane@fass.de"));
    }

    #[test]
    fn uid_is_stored_under_one_key_of_its_type() {
        let other = UidType::parse("Crm");
        for (kind, value, key) in [
            (&UidType::Phone, "+32470000000;ext=5", phone("+32470000000;ext=5")),
            (&UidType::WhatsApp, "32470000000", phone("+32470000000")),
            (&UidType::WhatsApp, "+32 470 00 00 00", phone("+32470000000")),
            (&UidType::WhatsApp, "Jane.Doe", text("jane.doe")),
            (&UidType::Email, "Jane@Example.com", text("jane@example.com")),
            (&other, "32470000000", text("32470000000")),
        ] {
            assert_eq!(stored_key(kind, value), key);
        }
        assert_eq!(reference_key("+32470000000"), text("+32470000000"));
    }

    #[test]
    fn every_spelling_of_a_number_finds_it() {
        for value in ["+32 470 00 00 00", "0032470000000", "32470000000", "tel:+32-470-00-00-00", "+٣٢٤٧٠٠٠٠٠٠٠"]
        {
            assert!(lookup_keys(value, None).contains(&phone("+32470000000")), "{value}");
            assert_eq!(ticket_index_key(value), phone("+32470000000"));
        }
        assert_eq!(lookup_keys("0470000000", None), BTreeSet::from([text("0470000000")]));
        assert_eq!(
            lookup_keys("0470000000", Region::parse("BE")),
            BTreeSet::from([text("0470000000"), phone("+32470000000")])
        );
        assert_eq!(ticket_keys("32470000000"), BTreeSet::from([text("32470000000"), phone("+32470000000")]));
    }

    #[test]
    fn tickets_of_a_text_that_reads_as_a_phone_have_a_phone_key() {
        assert_eq!(ticket_index_keys_of(&reference_key("32470000000")), [text("32470000000"), phone("+32470000000")]);
        assert_eq!(ticket_index_keys_of(&text("jane")), [text("jane")]);
        assert_eq!(ticket_index_keys_of(&phone("+32470000000")), [phone("+32470000000")]);
    }

    #[test]
    fn value_is_stored_in_the_form_of_its_type() {
        let be = Region::parse("BE");
        assert_eq!(parse_value(&UidType::Email, "Jane@Bücher.example", be).as_deref(), Ok("Jane@Bücher.example"));
        assert_eq!(parse_value(&UidType::Phone, "0470/00.00.00 ext 5", be).as_deref(), Ok("+32470000000;ext=5"));
        assert_eq!(parse_value(&UidType::WhatsApp, "@Jane", be).as_deref(), Ok("@Jane"));
        assert_eq!(parse_value(&UidType::parse("x"), "Anything ☎", be).as_deref(), Ok("Anything ☎"));
        assert_eq!(parse_value(&UidType::Email, "jane", be), Err("must be a valid e-mail address".to_owned()));
        assert!(parse_value(&UidType::Phone, "0470000000", None).is_err());
        assert_eq!(check_value(&UidType::Phone, "0470000000"), Ok(()));
        assert!(check_value(&UidType::Phone, "0470l23456").is_err() && check_value(&UidType::Email, "jane").is_err());
    }

    /// The Big List of Naughty Strings, and the longest values of unusual characters.
    fn naughty() -> Vec<String> {
        let list = vectors::file("blns.json").unwrap_or_else(|| r#"{"strings":[]}"#.to_owned());
        let list: serde_json::Value = serde_json::from_str(&list).expect("JSON");
        let strings = list["strings"].as_array().expect("a list");
        let mut values: Vec<String> = strings.iter().filter_map(|s| s.as_str().map(str::to_owned)).collect();
        values.extend(
            ["ﷺ", "\u{1f82}", "😀", "~1", "1", "x", "\u{390}", "#"].map(|unit| unit.repeat(320 / unit.chars().count())),
        );
        values
    }

    #[test]
    fn stored_value_is_found_by_itself() {
        for value in naughty() {
            for kind in &KINDS {
                if let Ok(stored) = parse_value(kind, &value, Region::parse("BE")) {
                    let key = stored_key(kind, &stored);
                    assert!(lookup_keys(&stored, None).contains(&key), "{kind} {stored:?}");
                    assert!(ticket_index_keys_of(&key).contains(&ticket_index_key(&stored)), "{kind} {stored:?}");
                }
            }
            assert!(lookup_keys(&value, None).contains(&reference_key(&value)), "{value:?}");
        }
    }

    #[test]
    fn keys_ignore_case_and_width() {
        let wide = |c| char::from_u32(u32::from(c) + 0xfee0).filter(|_| ('!'..='~').contains(&c)).unwrap_or(c);
        for value in naughty() {
            let keys = lookup_keys(&value, Region::parse("BE"));
            assert_eq!(lookup_keys(&value.to_ascii_uppercase(), Region::parse("BE")), keys, "{value:?}");
            // A full-width @ does not make an e-mail address, so the domain is not converted.
            if value.is_ascii() || !value.contains('@') {
                let value: String = value.chars().map(wide).collect();
                assert_eq!(lookup_keys(&value, Region::parse("BE")), keys, "{value:?}");
            }
        }
    }

    #[test]
    fn text_keys_and_phone_keys_are_never_equal() {
        assert_ne!(text("+32470000000"), phone("+32470000000"));
        assert!(lookup_keys("+32470000000", None).len() == 2);
    }
}
