//! A reader of JSON objects, one per line (NDJSON), in an array, or over several lines, that keeps all digits of
//! numbers.

use std::borrow::Cow;
use std::io::BufRead;

use serde::de::IgnoredAny;
use shared::domain::input::{Fields, Json, ValidationErrors};

use crate::error::ReadError;
use crate::limits::MAX_ROW_BYTES;
use crate::spreadsheet::{self, Integer};

/// The most digits of an integer that every JSON parser keeps.
const MAX_DIGITS: usize = 15;

/// A reader of consecutive values, or of the elements of one array.
pub(crate) struct Values {
    position: Position,
    /// The current line, from 1.
    line: u64,
}

#[derive(Clone, Copy)]
enum Position {
    /// Outside an array.
    Free,
    /// After the opening bracket.
    First,
    /// After an element of the array.
    AfterValue,
    /// After the closing bracket.
    End,
}

impl Values {
    /// Starts to read a text that begins with an array, or with an object that continues in its second line. `None` for
    /// one object per line.
    pub(crate) fn open(source: &mut impl BufRead) -> Result<Option<Self>, ReadError> {
        let start = source.fill_buf()?;
        let Some(begin) = start.iter().position(|byte| !byte.is_ascii_whitespace()) else { return Ok(None) };
        let line = 1 + start[..begin].iter().filter(|byte| **byte == b'\n').count() as u64;
        if start[begin] == b'[' {
            source.consume(begin + 1);
            return Ok(Some(Self { position: Position::First, line }));
        }
        let length = start[begin..].iter().position(|byte| *byte == b'\n');
        let first_line = length.map(|length| serde_json::from_slice::<IgnoredAny>(&start[begin..begin + length]));
        if first_line.is_some_and(|json| json.is_err_and(|error| error.is_eof())) {
            source.consume(begin);
            return Ok(Some(Self { position: Position::Free, line }));
        }
        Ok(None)
    }

    /// The next value and the line where it begins.
    pub(crate) fn next(&mut self, source: &mut impl BufRead) -> Result<Option<(u64, Vec<u8>)>, ReadError> {
        loop {
            let Some(byte) = self.skip_space(source)? else {
                return match self.position {
                    Position::Free | Position::End => Ok(None),
                    Position::First | Position::AfterValue => self.fail("the array is not closed"),
                };
            };
            match (self.position, byte) {
                (Position::End, _) => return self.fail("text follows the array"),
                (Position::First | Position::AfterValue, b']') => self.position = Position::End,
                (Position::AfterValue, b',') => {
                    source.consume(1);
                    if matches!(self.skip_space(source)?, None | Some(b',' | b']')) {
                        return self.fail("a value is missing after a comma");
                    }
                    return self.value(source).map(Some);
                }
                (Position::AfterValue, _) => return self.fail("a comma is missing between two values"),
                (Position::First, b',') => return self.fail("a value is missing before a comma"),
                (Position::First, _) => {
                    self.position = Position::AfterValue;
                    return self.value(source).map(Some);
                }
                (Position::Free, _) => return self.value(source).map(Some),
            }
            source.consume(1);
        }
    }

    fn fail<T>(&self, reason: &'static str) -> Result<T, ReadError> {
        Err(ReadError::Json { line: self.line, reason })
    }

    /// The next byte that is not white space, without consuming it.
    fn skip_space(&mut self, source: &mut impl BufRead) -> Result<Option<u8>, ReadError> {
        loop {
            let Some(&byte) = source.fill_buf()?.first() else { return Ok(None) };
            if !byte.is_ascii_whitespace() {
                return Ok(Some(byte));
            }
            self.line += u64::from(byte == b'\n');
            source.consume(1);
        }
    }

    /// Reads one value, up to its closing bracket or quote, or to the end of a number or literal.
    fn value(&mut self, source: &mut impl BufRead) -> Result<(u64, Vec<u8>), ReadError> {
        let (begin, mut raw) = (self.line, Vec::new());
        let (mut depth, mut in_string, mut escaped) = (0_usize, false, false);
        loop {
            let Some(&byte) = source.fill_buf()?.first() else {
                if depth == 0 && !in_string {
                    return Ok((begin, raw));
                }
                self.line = begin;
                return self.fail("the value that begins here is never closed; write one object per line (NDJSON)");
            };
            let ends = byte.is_ascii_whitespace() || matches!(byte, b',' | b']' | b'}');
            if depth == 0 && !in_string && ends && !raw.is_empty() {
                return Ok((begin, raw));
            }
            source.consume(1);
            self.line += u64::from(byte == b'\n');
            // Puts the value on one line. A line end inside a string stays, because it is invalid JSON.
            raw.push(if matches!(byte, b'\r' | b'\n') && !in_string { b' ' } else { byte });
            if raw.len() > MAX_ROW_BYTES {
                return Err(ReadError::TooLong(begin));
            }
            match byte {
                _ if escaped => escaped = false,
                b'\\' if in_string => escaped = true,
                b'"' => in_string = !in_string,
                b'{' | b'[' if !in_string => depth += 1,
                b'}' | b']' if !in_string => depth = depth.saturating_sub(1),
                _ => {}
            }
            if depth == 0 && !in_string && matches!(byte, b'}' | b']' | b'"') {
                return Ok((begin, raw));
            }
        }
    }
}

/// The members of an object, parsed as strictly as the API parses a request body.
pub(crate) fn read_object(raw: &[u8]) -> Result<Vec<(String, Json)>, ValidationErrors> {
    let parse = |text: &[u8]| Json::parse(text).map_err(|message| ValidationErrors::single("body", message));
    let json = match with_exact_numbers(raw) {
        Cow::Borrowed(raw) => parse(raw)?,
        Cow::Owned(text) => {
            // An invalid number must not become a valid string.
            parse(raw)?;
            parse(&text)?
        }
    };
    let mut errors = ValidationErrors::default();
    let is_object = Fields::of_body(&json, &mut errors).is_some();
    match errors.into_result(json)? {
        Json::Object(members) if is_object => Ok(members),
        _ => Err(ValidationErrors::single("body", "must be a JSON object")),
    }
}

/// The JSON text with a string in place of each number that could lose digits: an integer in any notation becomes its
/// digits, a fraction stays as it is written. A number without its last digits (`3.16e10`) stays a number.
fn with_exact_numbers(raw: &[u8]) -> Cow<'_, [u8]> {
    let (mut text, mut copied, mut at) = (Vec::new(), 0, 0);
    while let Some(byte) = raw.get(at) {
        match byte {
            b'"' => at = end_of_string(raw, at),
            b'-' | b'0'..=b'9' => {
                let is_part = |byte: &u8| byte.is_ascii_digit() || b"+-.eE".contains(byte);
                let end = raw[at..].iter().position(|byte| !is_part(byte)).map_or(raw.len(), |length| at + length);
                let literal = String::from_utf8_lossy(&raw[at..end]);
                if let Some(exact) = exact_text(&literal) {
                    text.extend_from_slice(&raw[copied..at]);
                    text.extend_from_slice(format!("\"{exact}\"").as_bytes());
                    copied = end;
                }
                at = end;
            }
            _ => at += 1,
        }
    }
    if copied == 0 {
        return Cow::Borrowed(raw);
    }
    text.extend_from_slice(&raw[copied..]);
    Cow::Owned(text)
}

/// The position after the string that begins at `start`.
fn end_of_string(raw: &[u8], start: usize) -> usize {
    let mut at = start + 1;
    while let Some(byte) = raw.get(at) {
        match byte {
            b'\\' => at += 2,
            b'"' => return at + 1,
            _ => at += 1,
        }
    }
    raw.len()
}

/// The string that replaces a number; `None` to keep the number.
fn exact_text(literal: &str) -> Option<Cow<'_, str>> {
    if literal.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-') {
        return (literal.len() > MAX_DIGITS).then_some(Cow::Borrowed(literal));
    }
    match spreadsheet::read_integer(literal) {
        Integer::Exact(digits) => Some(Cow::Owned(digits)),
        Integer::Incomplete => None,
        Integer::Not => Some(Cow::Borrowed(literal)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn members(text: &str) -> String {
        match read_object(text.as_bytes()) {
            Ok(members) => serde_json::to_string(&Json::Object(members)).expect("JSON"),
            Err(errors) => format!("{:?}", errors.as_map()),
        }
    }

    /// The values of a text, up to the first error.
    fn values(text: &str) -> Vec<Result<(u64, String), String>> {
        let mut source = text.as_bytes();
        let mut values = Values::open(&mut source).expect("a start").expect("values");
        let mut found = Vec::new();
        while let Some(next) = values.next(&mut source).map_err(|error| error.to_string()).transpose() {
            let ended = next.is_err();
            found.push(next.map(|(line, raw)| (line, String::from_utf8(raw).expect("UTF-8"))));
            if ended {
                break;
            }
        }
        found
    }

    #[test]
    fn numbers_keep_their_digits() {
        for (text, expected) in [
            (r#"{"a":31612345678.0}"#, r#"{"a":"31612345678"}"#),
            (r#"{"a":3.1612345678e10,"b":-1.0E+2}"#, r#"{"a":"31612345678","b":-100.0}"#),
            (r#"{"a":12345678901234567890123}"#, r#"{"a":"12345678901234567890123"}"#),
            (r#"{"a":[1011.0,{"b":2.50}],"c":7}"#, r#"{"a":["1011",{"b":"2.50"}],"c":7}"#),
            (r#"{"a":"1.0","1.0":"\"2.0","b\\":3.0}"#, r#"{"a":"1.0","1.0":"\"2.0","b\\":"3"}"#),
            (r#"{"a":3.16e10}"#, r#"{"a":31600000000.0}"#),
            (r#"{"a":123456789012345,"b":1234567890123456}"#, r#"{"a":123456789012345,"b":"1234567890123456"}"#),
        ] {
            assert_eq!(members(text), expected, "{text}");
        }
    }

    #[test]
    fn rewriting_numbers_keeps_invalid_json_invalid() {
        for text in
            [r#"{1.0:2}"#, r#"{"a":1.0.0}"#, r#"{"a":01.0}"#, r#"{"a":+1.0}"#, r#"{"a":-}"#, r#"{"a":1.0"#, "[1.0]"]
        {
            assert!(members(text).starts_with(r#"{"body": "#), "{text}");
        }
    }

    #[test]
    fn array_elements_are_read_one_by_one() {
        let text = "[\n  {\"a\": \"]\\\"},\"},\n  {\n    \"b\": [1, {}]\n  } ,7, \"x\"\n]\n";
        let expected = [(2, r#"{"a": "]\"},"}"#), (3, r#"{     "b": [1, {}]   }"#), (5, "7"), (5, r#""x""#)];
        let found: Vec<_> = values(text).into_iter().map(|value| value.expect("a value")).collect();
        assert_eq!(found, expected.map(|(line, text)| (line, text.to_owned())));
        assert!(values("[]").is_empty() && values(" [ \n ] \n").is_empty());
    }

    #[test]
    fn multi_line_objects_are_read_one_by_one() {
        let found = values("{\n  \"a\": 1\n}\n{\n  \"a\": 2\n}\n");
        let found: Vec<_> = found.into_iter().map(|value| value.expect("a value")).collect();
        assert_eq!(found, [(1, r#"{   "a": 1 }"#.to_owned()), (4, r#"{   "a": 2 }"#.to_owned())]);
        for lines in ["{\"a\":1}\n{", "{\"a\" 1}\n", "{\"a\":", ""] {
            assert!(Values::open(&mut lines.as_bytes()).expect("a start").is_none(), "{lines}");
        }
    }

    #[test]
    fn invalid_array_is_rejected_with_its_line() {
        for (text, expected) in [
            ("[{}\n{}]", "line 2: a comma is missing between two values"),
            ("[{},\n]", "line 2: a value is missing after a comma"),
            ("[,{}]", "line 1: a value is missing before a comma"),
            ("[{}\n", "line 2: the array is not closed"),
            ("[{}]\nx", "line 2: text follows the array"),
            ("[{},\n{\"a\":\"}\n]\n", "line 2: the value that begins here is never closed"),
        ] {
            let last = values(text).pop().expect("an error").expect_err("an error");
            assert!(last.starts_with(expected), "{text:?}: {last}");
        }
        let long = format!("[\"{}", "x".repeat(MAX_ROW_BYTES));
        assert!(values(&long)[0].as_ref().is_err_and(|error| error.starts_with("line 1: the row is longer than")));
    }
}
