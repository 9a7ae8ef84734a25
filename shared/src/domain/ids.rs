//! Tenants and ids.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::input::Json;

/// The largest integer that every JSON reader represents exactly (RFC 8259 §6): 2⁵³-1.
pub const MAX_SAFE_INTEGER: u64 = (1 << 53) - 1;

/// A customer of the support platform. Every request reads and writes the data of one tenant.
///
/// The name has 1 to 64 characters of `A-Z a-z 0-9 _ -` and is case-sensitive. A numeric tenant is the string of its
/// digits. The name never contains `#`, which separates the parts of a database key.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Tenant(String);

impl Tenant {
    /// Reads a tenant's name; `None` if it is invalid.
    pub fn parse(name: &str) -> Option<Self> {
        let is_valid = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
        ((1..=64).contains(&name.len()) && name.chars().all(is_valid)).then(|| Self(name.to_owned()))
    }

    /// Reads a numeric tenant, 1 to 2⁵³-1.
    pub fn from_number(number: u64) -> Option<Self> {
        (1..=MAX_SAFE_INTEGER).contains(&number).then(|| Self(number.to_string()))
    }

    /// Reads the tenant of a token or an event: an integer or a string.
    pub fn read(json: &Json) -> Option<Self> {
        match json {
            Json::String(name) => Self::parse(name),
            json => json.as_u64().and_then(Self::from_number),
        }
    }

    /// The name, as keys and logs contain it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Tenant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(u32);

        impl $name {
            /// The smallest id.
            pub const MIN: Self = Self(1);

            /// The largest id: ids are positive 32-bit integers, 1 to 2³¹-1.
            pub const MAX: Self = Self(i32::MAX as u32);

            /// The id with this number; `None` if it is out of range.
            pub fn new(number: u64) -> Option<Self> {
                (1..=u64::from(Self::MAX.0)).contains(&number).then(|| Self(number as u32))
            }

            /// Reads the canonical decimal form: ASCII digits without a sign or leading zeros.
            pub fn parse(text: &str) -> Option<Self> {
                let canonical = text.bytes().all(|b| b.is_ascii_digit()) && !text.starts_with('0');
                canonical.then(|| text.parse().ok().and_then(Self::new)).flatten()
            }

            /// The number, 1 to 2³¹-1.
            pub fn get(self) -> u32 {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

id!(
    /// The id of an end user, unique within its tenant and never reused.
    EndUserId
);
id!(
    /// The id of one UID record (`endUserUIDID`), unique within its tenant and never reused.
    UidId
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tenant_is_a_short_ascii_name_or_a_safe_integer() {
        for name in ["7", "01", "acme_EU-1", &"a".repeat(64)] {
            assert_eq!(Tenant::parse(name).map(|t| t.to_string()).as_deref(), Some(name));
        }
        for name in ["", "a b", "a#b", "é", &"a".repeat(65)] {
            assert_eq!(Tenant::parse(name), None, "{name:?}");
        }
        assert_eq!(Tenant::from_number(7), Tenant::parse("7"));
        assert_eq!(Tenant::from_number(0), None);
        assert_eq!(Tenant::from_number(1 << 53), None);
    }

    #[test]
    fn id_is_a_canonical_positive_32_bit_integer() {
        assert_eq!(EndUserId::parse("2147483647"), Some(EndUserId::MAX));
        for text in ["", "0", "-1", "+1", "01", "1.0", "abc", "2147483648", "99999999999999999999", "١"] {
            assert_eq!(EndUserId::parse(text), None, "{text:?}");
        }
    }
}
