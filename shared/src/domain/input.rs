//! What a caller sent, before it means anything: JSON that keeps repeated names, and the list of
//! all faults found in it, each at its path.

use std::collections::{BTreeMap, HashSet};
use std::fmt::{self, Write};

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde::{Serialize, Serializer};

use super::text::{self, Limit};

/// The most paths at which faults are noted: more help nobody, and a refusal must fit an answer.
const MAX_FAULTS: usize = 1_000;

/// The most bytes of a path that names of any length may make.
const MAX_PATH: usize = 500;

/// Faults of a request: messages by the path of the field (`uids[1].uid`, `pageSize`; `body` for
/// faults without a field).
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct ValidationErrors(BTreeMap<String, Vec<String>>);

impl ValidationErrors {
    /// Notes a fault; the same one twice is one, and what is too much is left out.
    pub fn add(&mut self, path: impl Into<String>, message: impl Into<String>) {
        let path = path.into();
        if self.0.len() == MAX_FAULTS && !self.0.contains_key(&path) {
            return;
        }
        let messages = self.0.entry(path).or_default();
        let message = message.into();
        if !messages.contains(&message) {
            messages.push(message);
        }
    }

    /// Notes the faults of another part of the request too.
    pub fn append(&mut self, others: Self) {
        for (path, messages) in others.0 {
            messages.into_iter().for_each(|message| self.add(path.clone(), message));
        }
    }

    /// A single fault.
    pub fn single(path: impl Into<String>, message: impl Into<String>) -> Self {
        let mut errors = Self::default();
        errors.add(path, message);
        errors
    }

    /// Notes the fault of a failed `result` at `path` and passes on the value of a good one.
    pub fn record<T, E: ToString>(&mut self, path: impl Into<String>, result: Result<T, E>) -> Option<T> {
        result.map_err(|error| self.add(path, error.to_string())).ok()
    }

    /// `value` when nothing was found wrong.
    pub fn into_result<T>(self, value: T) -> Result<T, Self> {
        if self.0.is_empty() { Ok(value) } else { Err(self) }
    }

    /// Both of two parts of a request, or the faults of both.
    pub fn zip<A, B>(a: Result<A, Self>, b: Result<B, Self>) -> Result<(A, B), Self> {
        match (a, b) {
            (Ok(a), Ok(b)) => Ok((a, b)),
            (Err(mut errors), Err(more)) => {
                errors.append(more);
                Err(errors)
            }
            (Err(errors), Ok(_)) | (Ok(_), Err(errors)) => Err(errors),
        }
    }

    /// Whether nothing was found wrong.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The messages by path.
    pub fn as_map(&self) -> &BTreeMap<String, Vec<String>> {
        &self.0
    }
}

/// A JSON value as it was sent: members in their order, repeated names kept.
#[derive(Clone, PartialEq, Debug)]
pub enum Json {
    /// `null`
    Null,
    /// `true` or `false`
    Bool(bool),
    /// A number, integers up to 64 bits exactly.
    Number(serde_json::Number),
    /// A string.
    String(String),
    /// An array.
    Array(Vec<Json>),
    /// An object.
    Object(Vec<(String, Json)>),
}

impl Json {
    /// Parses one JSON text (RFC 8259) of at most 127 levels. Trailing bytes, invalid UTF-8 and
    /// lone surrogates are errors; repeated names are not, see [`Json::repeated`].
    pub fn parse(bytes: &[u8]) -> Result<Self, String> {
        serde_json::from_slice(bytes).map_err(|e| format!("not valid JSON: {e}"))
    }

    /// The paths of members whose name stands more than once in their object, at any depth; of very
    /// many only the first.
    pub fn duplicate_names(&self) -> Vec<String> {
        let mut found = Vec::new();
        self.collect_repeated(&Place::Root, &mut found);
        found
    }

    fn collect_repeated(&self, place: &Place, found: &mut Vec<String>) {
        match self {
            Self::Array(items) => {
                for (i, item) in items.iter().enumerate() {
                    item.collect_repeated(&Place::Item(place, i), found);
                }
            }
            Self::Object(members) => {
                let mut seen = HashSet::new();
                for (name, value) in members {
                    let place = Place::Member(place, name);
                    value.collect_repeated(&place, found);
                    if !seen.insert(name) && found.len() < MAX_FAULTS {
                        found.push(place.path());
                    }
                }
            }
            _ => {}
        }
    }

    /// The exact member `name` of an object.
    pub fn member(&self, name: &str) -> Option<&Self> {
        match self {
            Self::Object(members) => members.iter().find(|(n, _)| n == name).map(|(_, value)| value),
            _ => None,
        }
    }

    /// The text of a string.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::String(text) => Some(text),
            _ => None,
        }
    }

    /// The value of an integer from 0 on.
    pub fn as_u64(&self) -> Option<u64> {
        match self {
            Self::Number(number) => number.as_u64(),
            _ => None,
        }
    }
}

/// Where a value stands. Written out only where there is a fault: the paths of all values can be
/// the text's size squared.
enum Place<'a> {
    Root,
    Member(&'a Place<'a>, &'a str),
    Item(&'a Place<'a>, usize),
}

impl Place<'_> {
    fn path(&self) -> String {
        let mut path = Short(String::new());
        // An error only says that the rest is cut off.
        let _ = write!(path, "{self}");
        path.0
    }
}

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Root => Ok(()),
            Self::Member(Place::Root, name) => f.write_str(name),
            Self::Member(parent, name) => write!(f, "{parent}.{name}"),
            Self::Item(parent, i) => write!(f, "{parent}[{i}]"),
        }
    }
}

/// Takes [`MAX_PATH`] bytes and an ellipsis for all others.
struct Short(String);

impl fmt::Write for Short {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let room = MAX_PATH - self.0.len();
        if text.len() <= room {
            self.0.push_str(text);
            return Ok(());
        }
        self.0.push_str(&text[..text.floor_char_boundary(room)]);
        self.0.push('…');
        Err(fmt::Error)
    }
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct JsonVisitor;

        impl<'de> Visitor<'de> for JsonVisitor {
            type Value = Json;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON value")
            }
            fn visit_unit<E>(self) -> Result<Json, E> {
                Ok(Json::Null)
            }
            fn visit_bool<E>(self, value: bool) -> Result<Json, E> {
                Ok(Json::Bool(value))
            }
            fn visit_i64<E>(self, value: i64) -> Result<Json, E> {
                Ok(Json::Number(value.into()))
            }
            fn visit_u64<E>(self, value: u64) -> Result<Json, E> {
                Ok(Json::Number(value.into()))
            }
            fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Json, E> {
                let number = serde_json::Number::from_f64(value);
                number.map(Json::Number).ok_or_else(|| E::custom("number out of range"))
            }
            fn visit_str<E>(self, value: &str) -> Result<Json, E> {
                Ok(Json::String(value.to_owned()))
            }
            fn visit_string<E>(self, value: String) -> Result<Json, E> {
                Ok(Json::String(value))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Json, A::Error> {
                let mut items = Vec::new();
                while let Some(item) = seq.next_element()? {
                    items.push(item);
                }
                Ok(Json::Array(items))
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Json, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Json::Object(members))
            }
        }

        deserializer.deserialize_any(JsonVisitor)
    }
}

impl Serialize for Json {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Null => serializer.serialize_unit(),
            Self::Bool(value) => serializer.serialize_bool(*value),
            Self::Number(value) => value.serialize(serializer),
            Self::String(value) => serializer.serialize_str(value),
            Self::Array(items) => serializer.collect_seq(items),
            Self::Object(members) => serializer.collect_map(members.iter().map(|(name, value)| (name, value))),
        }
    }
}

/// The members of an object that is read as a DTO: names without regard to case, unknown ones
/// ignored. Every reader notes the fault at the member's path and answers as if it were absent.
pub struct Fields<'a> {
    path: String,
    members: &'a [(String, Json)],
}

impl<'a> Fields<'a> {
    /// Takes `json`, which stands at `path` (`""`: the body itself), as a DTO; names that differ
    /// only by case are a fault.
    pub fn of(json: &'a Json, path: &str, errors: &mut ValidationErrors) -> Option<Self> {
        let Json::Object(members) = json else {
            errors.add(if path.is_empty() { "body" } else { path }, "must be a JSON object");
            return None;
        };
        let mut seen = HashSet::new();
        for (name, _) in members {
            if !seen.insert(name.to_ascii_lowercase()) {
                errors.add(join(path, name), REPEATED);
            }
        }
        Some(Self { path: path.to_owned(), members })
    }

    /// Takes the body of a request, or an event, in which no name may stand twice at any depth.
    pub fn of_body(body: &'a Json, errors: &mut ValidationErrors) -> Option<Self> {
        body.duplicate_names().into_iter().for_each(|path| errors.add(path, REPEATED));
        Self::of(body, "", errors)
    }

    /// The path of the member `name`.
    pub fn path(&self, name: &str) -> String {
        join(&self.path, name)
    }

    /// The member `name` as it was sent, `null` included.
    pub fn get(&self, name: &str) -> Option<&'a Json> {
        self.members.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    /// Whether the member `name` is there and not `null`.
    pub fn is_present(&self, name: &str) -> bool {
        self.get(name).is_some_and(|json| *json != Json::Null)
    }

    fn read<T>(
        &self,
        name: &str,
        errors: &mut ValidationErrors,
        expected: &str,
        read: impl Fn(&'a Json) -> Option<T>,
    ) -> Option<Option<T>> {
        match self.get(name)? {
            Json::Null => Some(None),
            value => {
                let value = read(value);
                if value.is_none() {
                    errors.add(self.path(name), format!("must be {expected}"));
                }
                value.map(Some)
            }
        }
    }

    /// A string as sent: `None` where absent, `Some(None)` where `null`.
    pub fn raw_string(&self, name: &str, errors: &mut ValidationErrors) -> Option<Option<&'a str>> {
        self.read(name, errors, "a string", Json::as_str)
    }

    /// A text within `limit`, trimmed and normalised: `None` where absent, `Some(None)` where
    /// `null` or empty.
    pub fn text(&self, name: &str, limit: Limit, errors: &mut ValidationErrors) -> Option<Option<String>> {
        let Some(raw) = self.raw_string(name, errors)? else { return Some(None) };
        let text = errors.record(self.path(name), text::clean(raw, limit))?;
        Some((!text.is_empty()).then_some(text))
    }

    /// A boolean; `null` counts as absent.
    pub fn boolean(&self, name: &str, errors: &mut ValidationErrors) -> Option<bool> {
        let read = |json: &Json| match json {
            Json::Bool(value) => Some(*value),
            _ => None,
        };
        self.read(name, errors, "true or false", read).flatten()
    }

    /// A positive integer of at most `max`; `null` counts as absent.
    pub fn positive(&self, name: &str, max: u64, errors: &mut ValidationErrors) -> Option<u64> {
        let expected = format!("an integer from 1 to {max}");
        self.read(name, errors, &expected, |json| json.as_u64().filter(|n| (1..=max).contains(n))).flatten()
    }

    /// The elements of an array; `null` counts as absent.
    pub fn array(&self, name: &str, errors: &mut ValidationErrors) -> Option<&'a [Json]> {
        let read = |json: &'a Json| match json {
            Json::Array(items) => Some(items.as_slice()),
            _ => None,
        };
        self.read(name, errors, "an array", read).flatten()
    }
}

/// The message of a member that stands more than once in its object.
const REPEATED: &str = "stands more than once (names are read without regard to case)";

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Json {
        Json::parse(text.as_bytes()).expect("valid JSON")
    }

    #[test]
    fn repeated_names_are_found_at_any_depth() {
        assert_eq!(parse(r#"{"a":1,"b":[{"c":1,"c":2}],"a":2}"#).duplicate_names(), ["b[0].c", "a"]);
        assert!(parse(r#"{"a":1,"A":2}"#).duplicate_names().is_empty());
    }

    #[test]
    fn the_paths_of_faults_are_short_and_not_too_many() {
        let long = "é".repeat(10_000);
        let path = &parse(&format!(r#"{{"{long}":[{{"a":1,"a":2}}]}}"#)).duplicate_names()[0];
        assert_eq!(*path, format!("{}…", "é".repeat(250)));

        let many = format!(r#"{{"list":[{}0]}}"#, r#"{"a":1,"a":2},"#.repeat(2_000));
        let paths = parse(&many).duplicate_names();
        assert_eq!((paths.len(), paths[999].as_str()), (1_000, "list[999].a"));

        let mut errors = ValidationErrors::default();
        (0..2_000).for_each(|n| errors.add(format!("{n:04}"), "is bad"));
        errors.add("0000", "is worse");
        assert_eq!((errors.as_map().len(), errors.as_map()["0000"].len()), (1_000, 2));
    }

    #[test]
    fn what_is_written_is_what_was_read() {
        let text = r#"{"b":[1,-2,3.5,null,true],"a":{"x":"é\n"}}"#;
        assert_eq!(serde_json::to_string(&parse(text)).expect("serialises"), text);
    }

    #[test]
    fn trailing_bytes_lone_surrogates_and_broken_utf8_are_not_json() {
        for bytes in [&b"{} x"[..], br#"{"a":"\ud800"}"#, b"{\"a\":\"\xff\"}", b"", b"[1e999]", b"\xef\xbb\xbf{}"] {
            assert!(Json::parse(bytes).is_err(), "{bytes:?}");
        }
    }

    #[test]
    fn all_faults_of_an_object_are_noted_at_their_paths() {
        let json = parse(r#"{"Text":"way too long","flag":"yes","n":0,"N":1,"list":{},"none":null}"#);
        let mut errors = ValidationErrors::default();
        let fields = Fields::of(&json, "at", &mut errors).expect("an object");
        assert_eq!(fields.text("text", Limit::Chars(5), &mut errors), None);
        assert_eq!(fields.boolean("flag", &mut errors), None);
        assert_eq!(fields.positive("n", 9, &mut errors), None);
        assert_eq!(fields.array("list", &mut errors), None);
        assert_eq!(fields.text("none", Limit::Chars(5), &mut errors), Some(None));
        assert_eq!(fields.text("absent", Limit::Chars(5), &mut errors), None);
        let paths: Vec<_> = errors.as_map().keys().map(String::as_str).collect();
        assert_eq!(
            paths,
            ["at.N", "at.Text".to_lowercase().as_str(), "at.flag", "at.list", "at.n"][..]
                .iter()
                .copied()
                .collect::<std::collections::BTreeSet<_>>()
                .into_iter()
                .collect::<Vec<_>>()
        );
    }
}
