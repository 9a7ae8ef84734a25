//! Timestamps.

use std::fmt;

use serde::{Deserialize, Serialize, Serializer};
use time::format_description::well_known::Rfc3339;
use time::{OffsetDateTime, UtcOffset};

/// An RFC 3339 timestamp with nanoseconds, formatted in UTC. It is ordered by time; its text is not, because `…20.5Z`
/// sorts before `…20Z`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Timestamp(OffsetDateTime);

impl Timestamp {
    /// Reads an RFC 3339 timestamp with any offset. The year in UTC is 0000 to 9999.
    pub fn parse(text: &str) -> Option<Self> {
        let time = OffsetDateTime::parse(text, &Rfc3339).ok()?.checked_to_offset(UtcOffset::UTC)?;
        (0..=9999).contains(&time.year()).then_some(Self(time))
    }

    /// The time `milliseconds` after 1970; `None` after the year 9999.
    pub fn from_milliseconds(milliseconds: u64) -> Option<Self> {
        OffsetDateTime::from_unix_timestamp_nanos(i128::from(milliseconds) * 1_000_000).ok().map(Self)
    }

    /// Nanoseconds since 1970, as a number that DynamoDB compares exactly (at most 21 digits).
    pub fn nanoseconds(self) -> i128 {
        self.0.unix_timestamp_nanos()
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.format(&Rfc3339).map_err(|_| fmt::Error)?)
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| serde::de::Error::custom("not an RFC 3339 timestamp"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timestamp_is_read_with_any_offset_and_formatted_in_utc() {
        let written = |text| Timestamp::parse(text).map(|m| m.to_string());
        assert_eq!(written("2026-11-23T10:00:00+01:00").as_deref(), Some("2026-11-23T09:00:00Z"));
        assert_eq!(written("2026-11-23T10:00:00.500Z").as_deref(), Some("2026-11-23T10:00:00.5Z"));
        for text in [
            "",
            "2026-11-23",
            "2026-11-23T10:00:00",
            "2026-13-01T00:00:00Z",
            "0000-01-01T00:00:00+23:59",
            "9999-12-31T23:59:59-01:00",
        ] {
            assert_eq!(written(text), None, "{text:?}");
        }
    }
}
