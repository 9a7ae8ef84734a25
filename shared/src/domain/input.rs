//! Untrusted input: JSON that keeps repeated names, readers of its members, and validation errors by path.

use std::collections::{BTreeMap, HashSet};
use std::fmt::{self, Write};

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde::{Serialize, Serializer};

use super::text::{self, Limit};

/// Maximum number of paths in [`ValidationErrors`], so that a response can hold them.
const MAX_PATHS: usize = 1_000;

/// Maximum length of a member that names a choice, in characters.
const MAX_CHOICE_LENGTH: usize = 50;

/// Maximum length of a path in bytes; a longer one is cut off. Names in a request can have any length.
const MAX_PATH_BYTES: usize = 500;

/// The validation errors of a request: messages by the path of the field (`uids[1].uid`, `pageSize`; `body` for an
/// error without a field).
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct ValidationErrors(BTreeMap<String, Vec<String>>);

impl ValidationErrors {
    /// Adds an error, unless it is there already or there are too many paths.
    pub fn add(&mut self, path: impl Into<String>, message: impl Into<String>) {
        let path = path.into();
        if self.0.len() == MAX_PATHS && !self.0.contains_key(&path) {
            return;
        }
        let messages = self.0.entry(path).or_default();
        let message = message.into();
        if !messages.contains(&message) {
            messages.push(message);
        }
    }

    /// Adds the errors of another part of the request.
    pub fn append(&mut self, others: Self) {
        for (path, messages) in others.0 {
            messages.into_iter().for_each(|message| self.add(path.clone(), message));
        }
    }

    /// The errors of a part of a body, by their paths from the body's root. `parent` is the path of the part.
    pub fn within(self, parent: &str) -> Self {
        let path = |path: String| if path == "body" { parent.to_owned() } else { join(parent, &path) };
        Self(self.0.into_iter().map(|(name, messages)| (path(name), messages)).collect())
    }

    /// A single error.
    pub fn single(path: impl Into<String>, message: impl Into<String>) -> Self {
        let mut errors = Self::default();
        errors.add(path, message);
        errors
    }

    /// Adds the error of a failed `result` at `path`, or returns its value.
    pub fn record<T, E: ToString>(&mut self, path: impl Into<String>, result: Result<T, E>) -> Option<T> {
        result.map_err(|error| self.add(path, error.to_string())).ok()
    }

    /// Returns `value` if there are no errors.
    pub fn into_result<T>(self, value: T) -> Result<T, Self> {
        if self.0.is_empty() { Ok(value) } else { Err(self) }
    }

    /// Combines the results of two parts of a request: both values, or the errors of both.
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

    /// Returns whether there are no errors.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The messages by path.
    pub fn as_map(&self) -> &BTreeMap<String, Vec<String>> {
        &self.0
    }
}

/// A JSON value as it was sent: members in order, with repeated names.
#[derive(Clone, PartialEq, Debug)]
pub enum Json {
    /// `null`
    Null,
    /// `true` or `false`
    Bool(bool),
    /// A number. Integers of up to 64 bits are exact.
    Number(serde_json::Number),
    /// A string.
    String(String),
    /// An array.
    Array(Vec<Json>),
    /// An object.
    Object(Vec<(String, Json)>),
}

impl Json {
    /// Parses one JSON text (RFC 8259) of at most 127 levels. Trailing bytes, invalid UTF-8 and lone surrogates are
    /// errors. Repeated names are not: see [`Json::duplicate_names`].
    pub fn parse(bytes: &[u8]) -> Result<Self, String> {
        serde_json::from_slice(bytes).map_err(|e| format!("is not valid JSON: {e}"))
    }

    /// The paths of members with a repeated name in one object, at any depth: at most the first [`MAX_PATHS`].
    pub fn duplicate_names(&self) -> Vec<String> {
        let mut found = Vec::new();
        self.collect_duplicates(&JsonPath::Root, &mut found);
        found
    }

    fn collect_duplicates(&self, path: &JsonPath, found: &mut Vec<String>) {
        match self {
            Self::Array(items) => {
                for (i, item) in items.iter().enumerate() {
                    item.collect_duplicates(&JsonPath::Item(path, i), found);
                }
            }
            Self::Object(members) => {
                let mut seen = HashSet::new();
                for (name, value) in members {
                    let path = JsonPath::Member(path, name);
                    value.collect_duplicates(&path, found);
                    if !seen.insert(name) && found.len() < MAX_PATHS {
                        found.push(path.to_bounded_string());
                    }
                }
            }
            _ => {}
        }
    }

    /// The member `name` of an object; the name is case-sensitive.
    pub fn member(&self, name: &str) -> Option<&Self> {
        match self {
            Self::Object(members) => members.iter().find(|(n, _)| n == name).map(|(_, value)| value),
            _ => None,
        }
    }

    /// The value of a string.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::String(text) => Some(text),
            _ => None,
        }
    }

    /// The value of a non-negative integer.
    pub fn as_u64(&self) -> Option<u64> {
        match self {
            Self::Number(number) => number.as_u64(),
            _ => None,
        }
    }
}

/// The path of a value. It is formatted only for an error, because the paths of all values together can be as large as
/// the square of the text.
enum JsonPath<'a> {
    Root,
    Member(&'a JsonPath<'a>, &'a str),
    Item(&'a JsonPath<'a>, usize),
}

impl JsonPath<'_> {
    fn to_bounded_string(&self) -> String {
        let mut path = BoundedPath(String::new());
        // An error means that the path was cut off.
        let _ = write!(path, "{self}");
        path.0
    }
}

impl fmt::Display for JsonPath<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Root => Ok(()),
            Self::Member(JsonPath::Root, name) => f.write_str(name),
            Self::Member(parent, name) => write!(f, "{parent}.{name}"),
            Self::Item(parent, i) => write!(f, "{parent}[{i}]"),
        }
    }
}

/// A buffer for [`MAX_PATH_BYTES`] bytes. It replaces the rest by an ellipsis.
struct BoundedPath(String);

impl fmt::Write for BoundedPath {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let room = MAX_PATH_BYTES - self.0.len();
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

/// A member of an object, as a reader returns it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Member<T> {
    /// The member is absent, or invalid with its error recorded.
    Absent,
    /// The member is `null`, or empty where an empty value counts as `null`.
    Null,
    /// The member's value.
    Value(T),
}

impl<T> Member<T> {
    /// The value, if there is one.
    pub fn value(self) -> Option<T> {
        match self {
            Self::Value(value) => Some(value),
            Self::Absent | Self::Null => None,
        }
    }
}

/// The members of an object that is read as a DTO. Names are case-insensitive, and unknown ones are ignored. A reader
/// of an invalid member records the error at the member's path and returns as if the member were absent.
pub struct Fields<'a> {
    path: String,
    members: &'a [(String, Json)],
}

impl<'a> Fields<'a> {
    /// Takes the value at `path` (`""` for the body) as a DTO. Names that differ only by case are an error.
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

    /// Takes a request body or an event as a DTO. Repeated names at any depth are an error.
    pub fn of_body(body: &'a Json, errors: &mut ValidationErrors) -> Option<Self> {
        body.duplicate_names().into_iter().for_each(|path| errors.add(path, REPEATED));
        Self::of(body, "", errors)
    }

    /// The path of the member `name`.
    pub fn path(&self, name: &str) -> String {
        join(&self.path, name)
    }

    /// The member `name` as it was sent, also if it is `null`.
    pub fn get(&self, name: &str) -> Option<&'a Json> {
        self.members.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    /// Returns whether the member `name` is present and not `null`.
    pub fn is_present(&self, name: &str) -> bool {
        self.get(name).is_some_and(|json| *json != Json::Null)
    }

    fn read<T>(
        &self,
        name: &str,
        errors: &mut ValidationErrors,
        expected: &str,
        read: impl Fn(&'a Json) -> Option<T>,
    ) -> Member<T> {
        match self.get(name) {
            None => Member::Absent,
            Some(Json::Null) => Member::Null,
            Some(json) => match read(json) {
                Some(value) => Member::Value(value),
                None => {
                    errors.add(self.path(name), format!("must be {expected}"));
                    Member::Absent
                }
            },
        }
    }

    /// A string as it was sent.
    pub fn raw_string(&self, name: &str, errors: &mut ValidationErrors) -> Member<&'a str> {
        self.read(name, errors, "a string", Json::as_str)
    }

    /// A text within `limit`, trimmed and normalised to NFC. An empty text counts as `null`.
    pub fn text(&self, name: &str, limit: Limit, errors: &mut ValidationErrors) -> Member<String> {
        let raw = match self.raw_string(name, errors) {
            Member::Absent => return Member::Absent,
            Member::Null => return Member::Null,
            Member::Value(raw) => raw,
        };
        match errors.record(self.path(name), text::clean(raw, limit)) {
            None => Member::Absent,
            Some(text) if text.is_empty() => Member::Null,
            Some(text) => Member::Value(text),
        }
    }

    /// A boolean; `null` counts as absent.
    pub fn boolean(&self, name: &str, errors: &mut ValidationErrors) -> Option<bool> {
        let read = |json: &Json| match json {
            Json::Bool(value) => Some(*value),
            _ => None,
        };
        self.read(name, errors, "true or false", read).value()
    }

    /// An integer from 1 to `max`; `null` counts as absent.
    pub fn positive(&self, name: &str, max: u64, errors: &mut ValidationErrors) -> Option<u64> {
        let expected = format!("an integer from 1 to {max}");
        self.read(name, errors, &expected, |json| json.as_u64().filter(|n| (1..=max).contains(n))).value()
    }

    /// The value of the name in `choices` that the member has in any case; `null` and an empty text count as absent.
    pub fn choice<T: Copy>(&self, name: &str, choices: &[(&str, T)], errors: &mut ValidationErrors) -> Option<T> {
        let text = self.text(name, Limit::Chars(MAX_CHOICE_LENGTH), errors).value()?;
        errors.record(self.path(name), choose(&text, choices))
    }

    /// The elements of a required array of 1 to `max` elements, with their paths. Empty if the array is invalid.
    pub fn elements(&self, name: &str, max: usize, errors: &mut ValidationErrors) -> Vec<(String, &'a Json)> {
        let path = self.path(name);
        let elements = self.array(name, errors).unwrap_or_default();
        if !self.is_present(name) {
            errors.add(path, "is required");
            return Vec::new();
        }
        if elements.len() > max || elements.is_empty() && matches!(self.get(name), Some(Json::Array(_))) {
            errors.add(path, format!("must have 1 to {max} elements"));
            return Vec::new();
        }
        elements.iter().enumerate().map(|(i, element)| (format!("{path}[{i}]"), element)).collect()
    }

    /// The elements of an array; `null` counts as absent.
    pub fn array(&self, name: &str, errors: &mut ValidationErrors) -> Option<&'a [Json]> {
        let read = |json: &'a Json| match json {
            Json::Array(items) => Some(items.as_slice()),
            _ => None,
        };
        self.read(name, errors, "an array", read).value()
    }
}

/// The value of the name in `choices` that `text` is in any case. The error names all of them.
pub fn choose<T: Copy>(text: &str, choices: &[(&str, T)]) -> Result<T, String> {
    let found = choices.iter().find(|(choice, _)| choice.eq_ignore_ascii_case(text));
    found.map(|(_, value)| *value).ok_or_else(|| {
        let names: Vec<_> = choices.iter().map(|(choice, _)| *choice).collect();
        format!("must be one of: {}", names.join(", "))
    })
}

/// The error of a member whose name is repeated in its object.
const REPEATED: &str = "is given more than once (names are case-insensitive)";

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Json {
        Json::parse(text.as_bytes()).expect("valid JSON")
    }

    #[test]
    fn duplicate_names_are_found_at_any_depth() {
        assert_eq!(parse(r#"{"a":1,"b":[{"c":1,"c":2}],"a":2}"#).duplicate_names(), ["b[0].c", "a"]);
        assert!(parse(r#"{"a":1,"A":2}"#).duplicate_names().is_empty());
    }

    #[test]
    fn paths_are_limited_in_length_and_number() {
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
    fn parsed_json_is_serialised_unchanged() {
        let text = r#"{"b":[1,-2,3.5,null,true],"a":{"x":"é\n"}}"#;
        assert_eq!(serde_json::to_string(&parse(text)).expect("serialises"), text);
    }

    #[test]
    fn trailing_bytes_lone_surrogates_and_bad_utf8_are_refused() {
        for bytes in [&b"{} x"[..], br#"{"a":"\ud800"}"#, b"{\"a\":\"\xff\"}", b"", b"[1e999]", b"\xef\xbb\xbf{}"] {
            assert!(Json::parse(bytes).is_err(), "{bytes:?}");
        }
    }

    #[test]
    fn all_errors_of_an_object_are_recorded_at_their_paths() {
        let json = parse(r#"{"Text":"way too long","flag":"yes","n":0,"N":1,"list":{},"none":null}"#);
        let mut errors = ValidationErrors::default();
        let fields = Fields::of(&json, "at", &mut errors).expect("an object");
        assert_eq!(fields.text("text", Limit::Chars(5), &mut errors), Member::Absent);
        assert_eq!(fields.boolean("flag", &mut errors), None);
        assert_eq!(fields.positive("n", 9, &mut errors), None);
        assert_eq!(fields.array("list", &mut errors), None);
        assert_eq!(fields.text("none", Limit::Chars(5), &mut errors), Member::Null);
        assert_eq!(fields.text("absent", Limit::Chars(5), &mut errors), Member::Absent);
        let paths: Vec<_> = errors.as_map().keys().map(String::as_str).collect();
        assert_eq!(paths, ["at.N", "at.flag", "at.list", "at.n", "at.text"]);
    }
}
