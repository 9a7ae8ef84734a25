//! Phone numbers as users and spreadsheets write them. The API decides whether a number is valid.

use std::str::FromStr;

use rlibphonenumber::{PHONE_NUMBER_UTIL, PhoneNumber, Region};

use crate::spreadsheet::{APOSTROPHE, INCOMPLETE, Integer, read_integer};

/// The most digits of an international number (E.164).
const MAX_DIGITS: usize = 15;
/// The fewest digits of a whole number, without and with a country code.
const MIN_LOCAL_DIGITS: usize = 7;
const MIN_INTERNATIONAL_DIGITS: usize = 9;

const FRACTION: &str = "is a number with decimal places; export it again, as text";
const SEVERAL: &str = "contains several numbers or parts of numbers; separate numbers with ; or a line break";
const AMBIGUOUS: &str = "is a valid number both with and without its country code; write it with + or 0";

/// The numbers in a part of a cell. A separator of two numbers can also be inside one number: `0470 / 12 34 56`. So a
/// part is split if each piece is a whole number, and rejected if only some are.
pub(crate) fn split(part: &str) -> Result<Vec<&str>, &'static str> {
    let pieces = [pieces_between_gaps(part), part.split('/').collect(), part.split(['-', '–', '—']).collect()];
    if let Some(numbers) = pieces.iter().find(|pieces| pieces.len() > 1 && pieces.iter().all(|piece| is_whole(piece))) {
        return Ok(numbers.iter().map(|number| number.trim()).collect());
    }
    let pieces = &pieces[0];
    let is_plain = !part.contains(|c: char| c.is_alphabetic() || c == '#');
    if pieces.len() > 1 && is_plain && is_several(pieces) { Err(SEVERAL) } else { Ok(vec![part]) }
}

/// The pieces between ` / `, ` - ` and runs of two or more spaces.
fn pieces_between_gaps(part: &str) -> Vec<&str> {
    let (mut pieces, mut begin, mut gap, mut width) = (Vec::new(), 0, None, 0);
    for (at, c) in part.char_indices() {
        if c.is_whitespace() || (gap.is_some() && matches!(c, '/' | '-' | '–' | '—')) {
            gap.get_or_insert(at);
            width += 1;
            continue;
        }
        // A gap must end with white space: in ` -5` the sign belongs to the digit.
        if let Some(end) = gap.take().filter(|_| width > 1 && part[..at].ends_with(char::is_whitespace)) {
            pieces.push(&part[begin..end]);
            begin = at;
        }
        width = 0;
    }
    pieces.push(&part[begin..]);
    pieces.retain(|piece| !piece.trim().is_empty());
    pieces
}

/// The number of digits without an international prefix `00`, and whether the piece has such a prefix or a `+`.
fn count_digits(piece: &str) -> (usize, bool) {
    let digits: String = piece.chars().filter(|c| c.is_numeric()).collect();
    let has_exit_code = digits.starts_with("00");
    let is_international = has_exit_code || piece.contains('+');
    (digits.chars().count() - if has_exit_code { 2 } else { 0 }, is_international)
}

fn is_whole(piece: &str) -> bool {
    let (digits, international) = count_digits(piece);
    digits >= if international { MIN_INTERNATIONAL_DIGITS } else { MIN_LOCAL_DIGITS }
}

/// Whether pieces that are not all whole numbers are more than the groups of one number.
fn is_several(pieces: &[&str]) -> bool {
    let total: usize = pieces.iter().map(|piece| count_digits(piece).0).sum();
    let begins_number = |piece: &&str| {
        let (digits, international) = count_digits(piece);
        international || digits >= 5 && piece.trim_start_matches(['(', ' ']).starts_with('0')
    };
    total > MAX_DIGITS || is_whole(pieces[0]) || pieces[1..].iter().any(begins_number)
}

/// A number without the apostrophe, the fraction `.0` or the exponent that a spreadsheet or a program has added.
pub(crate) fn without_marks(number: &str) -> Result<String, &'static str> {
    let number = number.trim_start_matches(APOSTROPHE);
    let whole_digits = number.split_once('.').map_or(0, |(whole, _)| count_digits(whole).0);
    match read_integer(number) {
        // With few digits before it, the point separates groups of digits.
        Integer::Exact(digits) if number.ends_with(".0") && whole_digits >= MIN_LOCAL_DIGITS => Ok(digits),
        Integer::Exact(digits) if number.contains(['e', 'E']) => Ok(digits),
        Integer::Exact(_) if whole_digits >= MIN_LOCAL_DIGITS => Err(FRACTION),
        Integer::Incomplete => Err(INCOMPLETE),
        _ => Ok(number.to_owned()),
    }
}

/// Rejects a number of digits only that begins with the code of the end user's country, but that the API would read as
/// a national number: a spreadsheet may have dropped the `+`. Without a country, the country of the code is used.
///
/// In a numbering plan with numbers of many lengths, as in Germany, `4915123456789` is valid both ways.
pub(crate) fn check_country_code(number: &str, country: Option<&str>) -> Result<(), &'static str> {
    let is_bare = number.bytes().all(|byte| byte.is_ascii_digit()) && !number.starts_with('0');
    if !is_bare || number.len() > MAX_DIGITS {
        return Ok(());
    }
    let parse = |number: &str, region| PHONE_NUMBER_UTIL.parse(number, region).ok();
    let is_valid = |number: &PhoneNumber| PHONE_NUMBER_UTIL.is_valid_number(number);
    let Some(international) = parse(&format!("+{number}"), None).filter(is_valid) else { return Ok(()) };
    let region = match country {
        Some("UK") => Some(Region::GB),
        Some(country) => Region::from_str(country).ok(),
        None => PHONE_NUMBER_UTIL.get_region_for_country_code(international.country_code),
    };
    let national = region.and_then(|region| parse(number, Some(region)));
    let is_ambiguous = |national: PhoneNumber| {
        national.country_code == international.country_code && national.national_number != international.national_number
    };
    if national.is_some_and(is_ambiguous) { Err(AMBIGUOUS) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use shared::domain::uid::UidType;

    use super::*;
    use crate::identifiers::identifiers;

    fn phones(cell: &str) -> String {
        identifiers(&UidType::Phone, cell).map_or_else(|message| format!("! {message}"), |found| found.join(" | "))
    }

    #[test]
    fn ambiguous_country_code_is_rejected() {
        for country in [Some("DE"), None] {
            assert_eq!(check_country_code("4915123456789", country), Err(AMBIGUOUS));
        }
        for (number, country) in [
            ("31612345678", Some("NL")),
            ("612345678", Some("NL")),
            ("3933312345", Some("IT")),
            ("393331234567", Some("IT")),
            ("3212345678", Some("US")),
            ("12015550123", Some("US")),
            ("470123456", Some("BE")),
            ("07400123456", Some("UK")),
            ("447400123456", Some("UK")),
            ("4915123456789", Some("BE")),
            ("4915123456789", Some("Atlantis")),
            ("+4915123456789", Some("DE")),
            ("", None),
        ] {
            assert_eq!(check_country_code(number, country), Ok(()), "{number} {country:?}");
        }
    }

    #[test]
    fn two_numbers_in_a_cell_are_split() {
        for cell in [
            "040 1234567\n040 7654321",
            "040 1234567 / 040 7654321",
            "040 1234567 - 040 7654321",
            "040 1234567  040 7654321",
            "040 1234567 ::: 040 7654321",
            "040 1234567;040 7654321",
            "040 1234567/040 7654321",
            "040 1234567 | 040 7654321",
        ] {
            assert_eq!(phones(cell), "040 1234567 | 040 7654321", "{cell}");
        }
        assert_eq!(phones("0470123456-0470123457"), "0470123456 | 0470123457");
        assert_eq!(phones("040 12345\r\n040 678"), "040 12345 | 040 678");
        assert_eq!(phones("+32 470 12 34 56 / +32 470 12 34 57"), "+32 470 12 34 56 | +32 470 12 34 57");
    }

    #[test]
    fn one_number_is_not_split() {
        for cell in [
            "0470 / 12 34 56",
            "0470/12.34.56",
            "+49 3641 / 123456",
            "+49 (0)30 / 1234567",
            "201-555-0123",
            "1-800-555-0123",
            "030 1234567-89",
            "+32  470  12  04  56",
            "0470 - 12 34 56",
            "0470;phone-context=+32",
            "201-555-0123 - 503#",
            "201-555-0123  ext 503",
            "@ann - be",
            "0470.12.34.00",
            "0470.123456",
        ] {
            assert_eq!(phones(cell), cell, "{cell}");
        }
        assert_eq!(phones("+32470000000;ext=5;+32470000001 ; EXT=6,1"), "+32470000000;ext=5 | +32470000001 ;EXT=6 | 1");
    }

    #[test]
    fn cell_with_parts_of_numbers_is_rejected() {
        for cell in [
            "02 123 45 67 / 68",
            "09 12345 - 09 678",
            "01 12345  01 6789",
            "+32 470 12 34 56 / 57",
            "0470 12 34 / 0470 56 78 / 12",
        ] {
            assert_eq!(phones(cell), format!("! {SEVERAL}"), "{cell}");
        }
    }

    #[test]
    fn spreadsheet_number_loses_its_zero_fraction() {
        assert_eq!(phones("31612345678.0"), "31612345678");
        assert_eq!(phones("+31612345678.0; 4915123456789.0"), "+31612345678 | 4915123456789");
        assert_eq!(phones("3.1612345678E+10"), "31612345678");
        assert_eq!(phones("'0470123456"), "0470123456");
        assert_eq!(phones("3.16E+10"), format!("! {INCOMPLETE}"));
        assert_eq!(phones("31612345678.00"), format!("! {FRACTION}"));
    }
}
