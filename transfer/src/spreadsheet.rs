//! Cells that a spreadsheet has escaped, marked or rounded.

use std::borrow::Cow;

/// The error message of a number that a spreadsheet or a program has rounded.
pub(crate) const INCOMPLETE: &str = "is a number without its last digits; export it again, as text";

/// The first character of a cell that a spreadsheet must not run as a formula.
pub(crate) const APOSTROPHE: char = '\'';

/// Whether a spreadsheet runs a text as a formula.
fn is_formula(text: &str) -> bool {
    text.starts_with(['=', '+', '-', '@'])
}

/// Whether the cell of a text needs an apostrophe, so that it is not run as a formula or, for an identifier, read as a
/// placeholder.
fn needs_apostrophe(text: &str, is_identifier: bool) -> bool {
    // An escaped text that begins with an apostrophe must stay distinguishable, so it gets one more.
    is_formula(text.trim_start_matches(APOSTROPHE)) || is_identifier && is_placeholder(text)
}

/// The CSV cell of a text. No spreadsheet runs it as a formula, and [`unescape`] restores the text.
pub(crate) fn escape(text: &str, is_identifier: bool) -> Cow<'_, str> {
    if needs_apostrophe(text, is_identifier) { format!("{APOSTROPHE}{text}").into() } else { text.into() }
}

/// The text of an escaped cell; `None` if the cell is not escaped.
pub(crate) fn unescape(cell: &str, is_identifier: bool) -> Option<&str> {
    cell.strip_prefix(APOSTROPHE).filter(|text| needs_apostrophe(text, is_identifier))
}

/// The text of a formula that is only a string, `="0470"`. Programs write it to keep leading zeros.
pub(crate) fn text_formula(cell: &str) -> Option<&str> {
    let text = cell.trim().strip_prefix("=\"")?.strip_suffix('"')?;
    (!text.contains('"')).then_some(text)
}

/// Whether a text means that there is no identifier.
pub(crate) fn is_placeholder(text: &str) -> bool {
    const PLACEHOLDERS: [&str; 14] =
        ["-", "--", "–", "—", "/", "?", "n/a", "#n/a", "n.a.", "na", "none", "null", "nil", "nan"];
    let text = text.trim();
    PLACEHOLDERS.iter().any(|placeholder| text.eq_ignore_ascii_case(placeholder))
}

/// The result of reading a decimal number with a fraction or an exponent as an integer.
#[derive(PartialEq, Debug)]
pub(crate) enum Integer {
    /// The sign and all digits.
    Exact(String),
    /// An integer without its last digits: `3.16e10`.
    Incomplete,
    /// Not an integer, not a number, or an integer without fraction and exponent.
    Not,
}

/// Reads a number in JSON notation (RFC 8259, section 6), also with a plus sign.
pub(crate) fn read_integer(literal: &str) -> Integer {
    let unsigned = literal.strip_prefix(['+', '-']).unwrap_or(literal);
    let sign = &literal[..literal.len() - unsigned.len()];
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().ok()),
        None => (unsigned, None),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let is_number = unsigned.len() == mantissa.len() || exponent.is_some();
    let has_parts = !fraction.is_empty() || exponent.is_some();
    let is_decimal = !whole.is_empty() && [whole, fraction].concat().bytes().all(|byte| byte.is_ascii_digit());
    if !(is_number && has_parts && is_decimal) {
        return Integer::Not;
    }
    let digits = [whole, fraction].concat();
    let point = whole.len() as i64 + i64::from(exponent.unwrap_or_default());
    match usize::try_from(point) {
        Ok(point) if point > digits.len() => Integer::Incomplete,
        Ok(point) if point > 0 && digits[point..].bytes().all(|byte| byte == b'0') => {
            Integer::Exact(format!("{sign}{}", &digits[..point]))
        }
        _ => Integer::Not,
    }
}

/// A reference as text. In Excel's notation (`1.23457E+11`) it is either complete or has lost digits, which is an
/// error.
pub(crate) fn reference(text: &str) -> Result<Cow<'_, str>, &'static str> {
    if !text.contains("E+") {
        return Ok(text.into());
    }
    match read_integer(text.trim()) {
        Integer::Exact(digits) => Ok(digits.into()),
        Integer::Incomplete => Err(INCOMPLETE),
        Integer::Not => Ok(text.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escaped_cell_is_not_a_formula_and_keeps_its_text() {
        for text in ["=1+1", "+32", "-", "@SUM(A1)", "'=1", "''-1", "none", "N/A"] {
            let cell = escape(text, true);
            assert!(cell.starts_with('\'') && unescape(&cell, true) == Some(text), "{text}");
        }
        for text in ["'t Hooft", "'", "''", "a=1", "", "007", "'007", "None", "'None"] {
            assert_eq!((escape(text, false).as_ref(), unescape(text, false)), (text, None));
        }
        assert_eq!(text_formula("=\"0470\""), Some("0470"));
        for cell in ["=\"a\"&\"b\"", "=1", "=\"", "\"a\""] {
            assert_eq!(text_formula(cell), None, "{cell}");
        }
    }

    #[test]
    fn integer_keeps_its_digits_or_is_incomplete() {
        for (literal, digits) in [
            ("31612345678.0", "31612345678"),
            ("+31612345678.00", "+31612345678"),
            ("3.1612345678e10", "31612345678"),
            ("-3.10E+1", "-31"),
            ("1200e-2", "12"),
            ("10.0e0", "10"),
        ] {
            assert_eq!(read_integer(literal), Integer::Exact(digits.to_owned()), "{literal}");
        }
        for literal in ["3.16e10", "3e3", "1.23457E+11", "1e400"] {
            assert_eq!(read_integer(literal), Integer::Incomplete, "{literal}");
        }
        for literal in
            ["", "12", "-12", "2.5", "1.", ".0", "1e", "1e+", "e5", "1.2.0", "0x1e2", "1e-400", "1e99999999999", "é.0"]
        {
            assert_eq!(read_integer(literal), Integer::Not, "{literal}");
        }
    }

    #[test]
    fn reference_in_excel_notation_is_checked() {
        assert_eq!(reference("1.23457E+11"), Err(INCOMPLETE));
        assert_eq!(reference("1.2345678901E+10").as_deref(), Ok("12345678901"));
        for text in ["12E5", "1e5", "12345.0", "E+", "A1E+05"] {
            assert_eq!(reference(text).as_deref(), Ok(text));
        }
    }
}
