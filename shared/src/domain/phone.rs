//! Phone numbers: parsed from any spelling, stored as E.164 (docs/api.md, Fields).
//!
//! This module parses prefixes, separators and extensions, so that libphonenumber sees only digits and never reads a
//! letter as a keypad digit. The metadata of libphonenumber decides whether the digits are a possible or valid number.

use std::fmt;
use std::str::FromStr;

use dec_from_char::DecimalExtended;
use icu_properties::CodePointSetData;
use icu_properties::props::{Dash, DefaultIgnorableCodePoint, GeneralCategoryGroup};
use rlibphonenumber::{PHONE_NUMBER_UTIL, ParseError, PhoneNumber, PhoneNumberFormat};

use super::text::{caseless, is_of};

/// A region, by whose numbering plan a number without `+` is read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Region(rlibphonenumber::Region);

impl Region {
    /// The region of a two-letter country code (ISO 3166-1; `UK` is read as `GB`). Without a numbering plan the region
    /// only reads international numbers.
    pub fn parse(code: &str) -> Option<Self> {
        let code = code.to_ascii_uppercase();
        let code = if code == "UK" { "GB" } else { &code };
        let letters = code.len() == 2 && code.bytes().all(|b| b.is_ascii_alphabetic());
        letters.then(|| rlibphonenumber::Region::from_str(code).ok().map(Self)).flatten()
    }
}

/// An error of [`Phone::read`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum PhoneError {
    /// The text contains no digits.
    #[error("must be a phone number, but contains no digits")]
    NoDigits,
    /// The text contains a letter or a sign that a phone number cannot have.
    #[error("contains the invalid character {0:?}")]
    Character(char),
    /// No applicable numbering plan has a possible number with these digits.
    #[error(
        "must be an international phone number such as +32470123456, or a national number of the end user's country"
    )]
    Impossible,
}

/// A possible phone number.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Phone {
    e164: String,
    extension: Option<String>,
}

impl fmt::Display for Phone {
    /// E.164 with the extension as in RFC 3966: `+32470000000;ext=5`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.e164)?;
        self.extension.iter().try_for_each(|extension| write!(f, ";ext={extension}"))
    }
}

impl Phone {
    /// Reads a number. The reading by the plan of `region` counts if it is valid, or else the reading with a leading
    /// `00` as `+` if it is valid, or else the first of the two that is possible.
    pub fn read(text: &str, region: Option<Region>) -> Result<Self, PhoneError> {
        DialString::of(text)?.read(region).ok_or(PhoneError::Impossible)
    }

    /// Reads a possible number without a region, for match keys. The number begins with `+` or `00`, or the text is
    /// nothing but digits.
    ///
    /// The result depends only on the [`caseless`] form of the text.
    pub fn international(text: &str) -> Option<Self> {
        DialString::scan(&caseless(text)).ok()?.international()
    }

    /// The numbers under which a looked-up text may be stored: the international reading and that of the default
    /// region.
    pub fn lookup_keys(text: &str, default: Option<Region>) -> Vec<Self> {
        let Ok(dial_string) = DialString::scan(&caseless(text)) else { return Vec::new() };
        let mut found: Vec<_> = dial_string.international().into_iter().collect();
        let regional = default.and_then(|region| dial_string.read(Some(region)));
        found.extend(regional.filter(|phone| !found.contains(phone)));
        found
    }

    /// The search words of the number, digits only and distinct: E.164 without `+`, the national form with its trunk
    /// prefix, and the national significant number.
    pub fn words(&self) -> Vec<String> {
        let mut words = vec![self.e164[1..].to_owned()];
        if let Ok(number) = PHONE_NUMBER_UTIL.parse(&self.e164, None) {
            let national = PHONE_NUMBER_UTIL.format(&number, PhoneNumberFormat::National);
            let national = national.chars().filter(char::is_ascii_digit).collect();
            let significant = rlibphonenumber::get_national_significant_number_owned(&number);
            for word in [national, significant] {
                if !words.contains(&word) {
                    words.push(word);
                }
            }
        }
        words
    }
}

/// The checks of [`Phone::read`] that do not depend on a region.
pub fn check_format(text: &str) -> Result<(), PhoneError> {
    let dial_string = DialString::of(text)?;
    if !dial_string.plus {
        return Ok(());
    }
    match PHONE_NUMBER_UTIL.parse(dial_string.number(), None) {
        Ok(number) if PHONE_NUMBER_UTIL.is_possible_number(&number) => Ok(()),
        // The exit code of a region may follow the `+`: +00 32 …
        Err(ParseError::InvalidCountryCode) => Ok(()),
        _ => Err(PhoneError::Impossible),
    }
}

/// The last four digits of the number in a text, without its extension: they are the same in every region. `None` if
/// no region reads the text.
pub fn last_digits(text: &str) -> Option<String> {
    let digits = DialString::of(text).ok()?.digits;
    Some(digits[digits.len().saturating_sub(4)..].to_owned())
}

/// The parts of a phone number's text.
struct DialString {
    plus: bool,
    digits: String,
    extension: Option<String>,
    /// Whether the text contains nothing but digits.
    bare: bool,
}

impl DialString {
    fn of(text: &str) -> Result<Self, PhoneError> {
        // Caseless folding turns ² and ① into digits, but they are footnotes and bullets.
        let other_number = GeneralCategoryGroup::LetterNumber.union(GeneralCategoryGroup::OtherNumber);
        if let Some(c) = text.chars().find(|&c| is_of(c, other_number)) {
            return Err(PhoneError::Character(c));
        }
        Self::scan(&caseless(text)).map_err(|error| match error {
            PhoneError::Character(folded) => {
                let written = text.chars().find(|c| caseless(c.encode_utf8(&mut [0; 4])).contains(folded));
                PhoneError::Character(written.unwrap_or(folded))
            }
            error => error,
        })
    }

    /// Reads a caseless text: a prefix, digits with separators, an extension. As in libphonenumber, signs before the
    /// first digit and after the last are ignored. Unlike there, letters are errors.
    fn scan(caseless: &str) -> Result<Self, PhoneError> {
        let visible: String = caseless
            .chars()
            .filter(|&c| {
                !is_of(c, GeneralCategoryGroup::Format)
                    && !CodePointSetData::new::<DefaultIgnorableCodePoint>().contains(c)
            })
            .map(|c| c.normalize_decimal().unwrap_or(c))
            .collect();
        let (text, context) = without_context(visible.trim())?;
        let text = text.trim_start_matches(|c| is_sign(c) && c != '+');
        let text = ["tel:", "callto:", "whatsapp:"].iter().find_map(|p| text.strip_prefix(p)).unwrap_or(text);

        let mut dial_string = Self {
            plus: false,
            digits: String::new(),
            extension: None,
            bare: !visible.is_empty() && visible.trim().bytes().all(|b| b.is_ascii_digit()),
        };
        let mut group = 0;
        // `extension` skips a whole run of white space, so it is only tried at the start of a run.
        let mut in_space = false;
        for (at, c) in text.char_indices() {
            let (rest, started) = (&text[at..], !dial_string.digits.is_empty());
            let begins = !std::mem::replace(&mut in_space, c.is_whitespace());
            if c.is_ascii_digit() {
                dial_string.digits.push(c);
            } else if !started && is_sign(c) {
                dial_string.plus |= c == '+';
            } else if begins
                && dial_string.digits.len() >= MIN_DIGITS
                && let Some(extension) = extension(rest)
            {
                dial_string.extension = Some(extension.to_owned());
                break;
            } else if is_separator(c) {
                if is_gap(c) {
                    group = dial_string.digits.len();
                }
            } else if c == '#' && group >= MIN_DIGITS && is_end(&rest[1..]) && dial_string.digits.len() - group <= 6 {
                // The American form: 201-555-0123 - 503#
                dial_string.extension =
                    Some(dial_string.digits.split_off(group)).filter(|extension| !extension.is_empty());
                break;
            } else if started && is_end(rest) {
                break;
            } else {
                return Err(PhoneError::Character(c));
            }
        }
        if dial_string.digits.is_empty() {
            return Err(PhoneError::NoDigits);
        }
        if let Some(context) = context {
            if dial_string.plus {
                return Err(PhoneError::Character('+'));
            }
            dial_string.plus = true;
            dial_string.digits.insert_str(0, &context);
        }
        if dial_string.digits.len() > MAX_DIGITS { Err(PhoneError::Impossible) } else { Ok(dial_string) }
    }

    /// The input of libphonenumber.
    fn number(&self) -> String {
        format!("{}{}", if self.plus { "+" } else { "" }, self.digits)
    }

    /// The number with a leading `00` replaced by `+`.
    fn without_exit_code(&self) -> Option<String> {
        let digits = self.digits.strip_prefix("00").filter(|_| !self.plus)?;
        Some(format!("+{digits}"))
    }

    fn read(&self, region: Option<Region>) -> Option<Phone> {
        let regional = PHONE_NUMBER_UTIL.parse(self.number(), region.map(|region| region.0)).ok();
        let international = self.without_exit_code().and_then(|number| PHONE_NUMBER_UTIL.parse(number, None).ok());
        let readings: Vec<_> = regional.into_iter().chain(international).collect();
        let valid = readings.iter().find(|number| PHONE_NUMBER_UTIL.is_valid_number(number));
        let possible = || readings.iter().find(|number| PHONE_NUMBER_UTIL.is_possible_number(number));
        self.phone(valid.or_else(possible)?)
    }

    fn international(&self) -> Option<Phone> {
        let number = if self.plus {
            self.number()
        } else {
            self.without_exit_code().or_else(|| self.bare.then(|| format!("+{}", self.digits)))?
        };
        self.phone(&possible(&number)?)
    }

    /// Formats the number as E.164 that reads as itself. libphonenumber drops a trunk prefix each time it reads a
    /// number that is possible but not valid, so formatting is repeated until nothing changes.
    fn phone(&self, number: &PhoneNumber) -> Option<Phone> {
        let mut e164 = PHONE_NUMBER_UTIL.format(number, PhoneNumberFormat::E164).into_owned();
        for _ in 0..MAX_DIGITS {
            let again = possible(&e164)?;
            let again = PHONE_NUMBER_UTIL.format(&again, PhoneNumberFormat::E164);
            if again == e164 {
                return Some(Phone { e164, extension: self.extension.clone() });
            }
            e164 = again.into_owned();
        }
        None
    }
}

/// Reads a possible number in international form.
fn possible(number: &str) -> Option<PhoneNumber> {
    PHONE_NUMBER_UTIL.parse(number, None).ok().filter(|number| PHONE_NUMBER_UTIL.is_possible_number(number))
}

/// Minimum number of digits before an extension, as in libphonenumber.
const MIN_DIGITS: usize = 3;

/// Maximum number of digits: more than an exit code, a carrier code, a country code and a number have together.
const MAX_DIGITS: usize = 40;

/// Splits off the parameter `;phone-context=+NN` (RFC 3966 §5.1.5): returns the text without it, and its digits. A
/// domain name as context is an error.
fn without_context(text: &str) -> Result<(String, Option<String>), PhoneError> {
    let Some((before, after)) = text.split_once(";phone-context=") else { return Ok((text.to_owned(), None)) };
    let (context, after) = after.split_at(after.find(';').unwrap_or(after.len()));
    let digits = context.strip_prefix('+').unwrap_or(context);
    match digits.chars().find(|c| !c.is_ascii_digit() && !"-.()".contains(*c)) {
        Some(c) => return Err(PhoneError::Character(c)),
        None if digits.len() == context.len() => return Err(PhoneError::Impossible),
        None => {}
    }
    let digits = digits.chars().filter(char::is_ascii_digit).collect();
    Ok((format!("{before}{after}"), Some(digits)))
}

/// The digits of the extension if `text` is one from its mark to the end. Marks and maximum numbers of digits are those
/// of libphonenumber.
fn extension(text: &str) -> Option<&str> {
    const EXPLICIT: [&str; 8] = ["extensión", "extension", "extn", "ext", "xtn", "xt", "доб", "anexo"];
    const AMBIGUOUS: [&str; 4] = ["int", "x", "#", "~"];
    let mark = |marks: &[&str], text| marks.iter().find_map(|mark| str::strip_prefix(text, mark));

    let marked = text.trim_start_matches(|c: char| c.is_whitespace() || c == ',' || c == ';');
    let pause = &text[..text.len() - marked.len()];
    let (max, rest) = if let Some(rest) = mark(&EXPLICIT, marked) {
        (20, rest)
    } else if let Some(rest) = mark(&AMBIGUOUS, marked) {
        (9, rest)
    } else if pause.contains(";") || pause.contains(",,") {
        (15, marked)
    } else if pause.contains(',') {
        (9, marked)
    } else {
        return None;
    };
    let rest = rest.strip_prefix([':', '.', '=']).unwrap_or(rest);
    let rest = rest.trim_start_matches(|c: char| is_gap(c) || c == ',');
    let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    let (digits, rest) = rest.split_at(end);
    ((1..=max).contains(&digits.len()) && is_end(rest.strip_prefix('#').unwrap_or(rest))).then_some(digits)
}

/// Returns whether the rest of the text contains nothing but signs.
fn is_end(rest: &str) -> bool {
    rest.chars().all(|c| is_sign(c) && c != '#')
}

/// Returns whether `c` is neither a letter nor a number.
fn is_sign(c: char) -> bool {
    !is_of(c, GeneralCategoryGroup::Letter.union(GeneralCategoryGroup::Number))
}

/// Returns whether `c` is white space or a dash.
fn is_gap(c: char) -> bool {
    c.is_whitespace() || CodePointSetData::new::<Dash>().contains(c)
}

/// Returns whether `c` can separate digits: punctuation of libphonenumber, white space or a dash.
fn is_separator(c: char) -> bool {
    is_gap(c) || "./()[]~∼*·ー".contains(c)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::vectors;

    fn read(text: &str, region: &str) -> Result<String, PhoneError> {
        Phone::read(text, Region::parse(region)).map(|phone| phone.to_string())
    }

    fn international(text: &str) -> Option<String> {
        Phone::international(text).map(|phone| phone.to_string())
    }

    #[test]
    fn region_is_a_two_letter_code() {
        assert_eq!(Region::parse("uk"), Region::parse("GB"));
        assert_eq!(read("07400 123456", "UK").as_deref(), Ok("+447400123456"));
        for code in ["", "B", "BEL", "32", "é", "001"] {
            assert_eq!(Region::parse(code), None, "{code:?}");
        }
        // Antarctica has no numbering plan.
        assert_eq!(read("0470123456", "AQ"), Err(PhoneError::Impossible));
        assert_eq!(read("+32470123456", "AQ").as_deref(), Ok("+32470123456"));
    }

    #[test]
    fn national_number_is_read_by_its_region() {
        for text in [
            "0470 12 34 56",
            "0470/12.34.56",
            "(0470) 12-34-56",
            "32470123456",
            "0032470123456",
            "+32 (0)470 12 34 56",
            "٠٤٧٠١٢٣٤٥٦",
            "０４７０ー１２３４５６",
            "\u{202a}0470\u{2009}12\u{2011}34\u{2212}56\u{202c}",
            "0470\u{ad}12\u{200b}34\u{feff}56",
            "tel:0470-12-34-56",
            "TEL:0470123456;phone-context=+32",
            "0470 12 34 56.",
            "'0470123456",
        ] {
            assert_eq!(read(text, "BE").as_deref(), Ok("+32470123456"), "{text:?}");
        }
    }

    #[test]
    fn international_number_needs_no_region() {
        for text in [
            "+32470123456",
            "++32 470 12 34 56",
            "(+32) 470 12 34 56",
            "＋32470123456",
            "0032 470 12 34 56",
            "callto:+32470123456",
            "WhatsApp:+32470123456",
            "tel:0470123456;phone-context=+32",
        ] {
            assert_eq!(read(text, "").as_deref(), Ok("+32470123456"), "{text:?}");
        }
        for text in ["0470123456", "32470123456", "00", "+", "+0", "+1", "+32", "+999123456", "tel:;phone-context=+32"]
        {
            assert!(read(text, "").is_err(), "{text:?}");
        }
    }

    #[test]
    fn valid_readings_precede_possible_ones() {
        // The exit code of Hong Kong is 001 with a carrier's digit.
        assert_eq!(read("00185251234567", "HK").as_deref(), Ok("+85251234567"));
        // The exit code of the United States is 011, and 00 has no meaning.
        assert_eq!(read("0032470123456", "US").as_deref(), Ok("+32470123456"));
        assert_eq!(read("+316123456780", "").as_deref(), Ok("+316123456780"));
        assert_eq!(read("253-0000", "US").as_deref(), Ok("+12530000"));
    }

    #[test]
    fn extension_is_kept() {
        for mark in [
            "ext",
            " ext. ",
            "EXT:",
            " Extension ",
            " x",
            "X",
            ";ext=",
            " #",
            " доб. ",
            " anexo ",
            ", int ",
            ",,",
            ";",
            "~",
            " extensión ",
        ] {
            let text = format!("+32 470 12 34 56{mark}123");
            assert_eq!(read(&text, "").as_deref(), Ok("+32470123456;ext=123"), "{text:?}");
        }
        assert_eq!(read("201-555-0123 - 503#", "US").as_deref(), Ok("+12015550123;ext=503"));
        assert_eq!(read("+32470123456;ext=05", "").as_deref(), Ok("+32470123456;ext=05"));
        assert_eq!(read("tel:0470123456;ext=5;phone-context=+32", "").as_deref(), Ok("+32470123456;ext=5"));
        assert_eq!(read(&format!("+32470123456 x{}", "1".repeat(10)), ""), Err(PhoneError::Character('x')));
    }

    #[test]
    fn letter_is_never_a_digit() {
        for (text, c) in [
            ("+32470l23456", 'l'),
            ("+3247012345O", 'O'),
            ("1-800-FLOWERS", 'F'),
            ("+32470123456 ext", 'e'),
            ("+32470123456x", 'x'),
            ("+32470123456w22", 'w'),
            ("Tel. +32470123456", 'T'),
            ("sms:+32470123456", 's'),
            ("+32470123456;isub=1", ';'),
            ("tel:0470123456;phone-context=example.com", 'e'),
            ("+3247012345²", '²'),
            ("①②③④⑤⑥⑦⑧", '①'),
            ("0470+123456", '+'),
            ("0470_123456", '_'),
            ("+32470123456;+32470123457", ';'),
            ("#31#+32470123456", '#'),
        ] {
            assert_eq!(Phone::read(text, Region::parse("BE")), Err(PhoneError::Character(c)), "{text:?}");
            assert_eq!(check_format(text), Err(PhoneError::Character(c)), "{text:?}");
        }
        for text in ["", " ", "()", "☎"] {
            assert_eq!(Phone::read(text, Region::parse("BE")), Err(PhoneError::NoDigits), "{text:?}");
        }
        assert_eq!(PhoneError::Character('l').to_string(), "contains the invalid character 'l'");
    }

    #[test]
    fn check_format_needs_no_region() {
        for text in ["0470123456", "0032470123456", "+32470123456", "+0032470123456", "12"] {
            assert_eq!(check_format(text), Ok(()), "{text:?}");
        }
        for text in ["+32", "+3247", "+32470123456789"] {
            assert_eq!(check_format(text), Err(PhoneError::Impossible), "{text:?}");
        }
    }

    #[test]
    fn only_compatibility_forms_of_numerals_fold_to_digits() {
        let hidden = ('\0'..=char::MAX).filter(|&c| {
            !c.is_decimal_utf8()
                && DialString::of(&format!("{c}12345")).is_ok_and(|dial_string| dial_string.digits != "12345")
        });
        assert_eq!(hidden.collect::<String>(), "");
    }

    #[test]
    fn international_needs_plus_exit_code_or_digits_only() {
        for text in [
            "+32 470 00 00 00",
            "0032470000000",
            "00 32 470 00 00 00",
            "32470000000",
            "٣٢٤٧٠٠٠٠٠٠٠",
            "tel:+32470000000",
        ] {
            assert_eq!(international(text).as_deref(), Some("+32470000000"), "{text:?}");
        }
        for text in
            ["0470000000", "32 470 00 00 00", "tel:32470000000", "+32470", "jane@example.com", "", "32470000000x5"]
        {
            assert_eq!(international(text), None, "{text:?}");
        }
        assert_eq!(international("+32470000000 EXT 5").as_deref(), Some("+32470000000;ext=5"));
    }

    #[test]
    fn lookup_also_reads_by_the_default_region() {
        let lookups = |text, region| -> Vec<_> {
            Phone::lookup_keys(text, Region::parse(region)).iter().map(ToString::to_string).collect()
        };
        assert_eq!(lookups("0470000000", "BE"), ["+32470000000"]);
        assert_eq!(lookups("32470000000", "BE"), ["+32470000000"]);
        assert_eq!(lookups("4790123456", "US"), ["+4790123456", "+14790123456"]);
        assert!(lookups("0470000000", "").is_empty() && lookups("Jane", "BE").is_empty());
    }

    #[test]
    fn search_words_are_international_and_national_forms() {
        let words = |text| Phone::international(text).map(|phone| phone.words()).unwrap_or_default();
        assert_eq!(words("+32470000000;ext=5"), ["32470000000", "0470000000", "470000000"]);
        assert_eq!(words("+12015550123"), ["12015550123", "2015550123"]);
        assert_eq!(words("+390212345678"), ["390212345678", "0212345678"]);
        assert_eq!(words("+79123456789"), ["79123456789", "89123456789", "9123456789"]);
    }

    /// The stored form reads as itself. The inputs are variations of each region's example number.
    #[test]
    fn stored_number_is_its_own_international_reading() {
        let mut state = 1_u64;
        let mut below = |bound: usize| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as usize % bound
        };
        for region in PHONE_NUMBER_UTIL.get_supported_regions() {
            let Ok(example) = PHONE_NUMBER_UTIL.get_example_number(region) else { continue };
            let example = rlibphonenumber::get_national_significant_number_owned(&example);
            for _ in 0..100 {
                let prefix = ["", "0", "00", "000", "1", "8", "15"][below(7)];
                let kept = &example[..below(example.len())];
                let random: String = (0..2 + below(10)).map(|_| char::from(b'0' + below(10) as u8)).collect();
                let text = format!("{prefix}{kept}{random}");
                if let Ok(phone) = Phone::read(&text, Some(Region(region))) {
                    assert_eq!(Phone::international(&phone.to_string()), Some(phone), "{text} in {region}");
                }
            }
        }
    }

    /// Rows of `phone.csv` that docs/api.md, Fields decides differently from libphonenumber.
    const DIFFERENCES: &[(&str, Option<&str>, &str)] = &[
        ("ph-1222", Some("+18762101234"), "a leading 00 is read as + in a region with another exit code"),
        ("ph-1431", Some("+821020000000"), "a leading 00 is read as + in a region with another exit code"),
        ("ph-1795", None, "a letter is never a keypad digit"),
        ("ph-1827", Some("+32470123456"), "any Unicode space separates"),
        ("ph-1861", None, "a letter is an error, not a sign to skip"),
    ];

    #[test]
    fn vectors_are_read_as_by_libphonenumber() {
        for row in vectors::csv("phone.csv") {
            let (id, region) = (row["id"].as_str(), row["region"].as_str());
            let Some(raw) = vectors::cell(&row, "raw") else { continue };
            let got = read(&raw, region).ok();
            if let Some((_, expected, reason)) = DIFFERENCES.iter().find(|(differs, ..)| *differs == id) {
                assert_eq!(got.as_deref(), *expected, "{id} {raw:?}: {reason}");
            } else if row["format"] == "mobile:00-prefix-no-region" {
                // Without a region libphonenumber has no exit code.
                assert_eq!(got.as_deref(), Some(format!("+{}", &raw[2..]).as_str()), "{id} {raw:?}");
            } else if row["expected"] != "INVALID" {
                let extension = Some(&row["ext"]).filter(|ext| !ext.is_empty()).map(|ext| format!(";ext={ext}"));
                let expected = format!("{}{}", row["expected"], extension.unwrap_or_default());
                assert_eq!(got, Some(expected), "{id} {raw:?} {region}");
            } else {
                // A possible number is accepted.
                assert_eq!(got.is_some(), row["possible"] == "true", "{id} {raw:?} {region}: {got:?}");
                if got.is_some() && row["e164_syntax"] == "true" {
                    assert_eq!(got, Some(raw), "{id}");
                }
            }
        }
    }

    /// For input of this length a quadratic parser takes more than half a minute, a linear one a tenth of a second.
    #[test]
    fn reading_takes_linear_time() {
        const LENGTH: usize = 1 << 17;
        let units = [
            " ",
            "\u{a0}",
            "\u{3000}",
            ",",
            ";",
            "~",
            "*",
            "#",
            "-",
            "–",
            ".",
            "/",
            "(",
            "+",
            "0",
            "1",
            "٣",
            "x",
            "ext",
            "int",
            "~ ",
            "~1",
            "x1",
            "- ",
            "-1#",
            ", ",
            " ;",
            " 1",
            "  1",
            "\u{200b}",
            "\u{301}",
            "ﷺ",
            "㌖",
            ";phone-context=+",
            "tel:",
        ];
        for unit in units {
            for (head, tail) in [("1", "2"), ("+32470", "123456"), ("123~4", "5")] {
                let filling = unit.repeat(LENGTH / unit.len());
                let text = format!("{head}{filling}{tail}");
                let (sender, read) = std::sync::mpsc::channel();
                std::thread::spawn(move || {
                    let _ = Phone::read(&text, Region::parse("BE"));
                    let _ = Phone::lookup_keys(&text, Region::parse("BE"));
                    let _ = sender.send(());
                });
                let read = read.recv_timeout(std::time::Duration::from_secs(30));
                assert!(read.is_ok(), "{head:?}, a run of {unit:?}, {tail:?}");
            }
        }
    }

    #[test]
    fn last_digits_are_those_of_every_reading() {
        for text in ["0470 00 12 34", "+32470001234", "470001234 ext 7", "+32470001234;ext=7", "tel:0470-00-12-34"] {
            assert_eq!(last_digits(text).as_deref(), Some("1234"), "{text}");
        }
        assert_eq!((last_digits("112").as_deref(), last_digits("none")), (Some("112"), None));
    }

    #[test]
    fn spaces_before_an_extension_are_skipped() {
        let spaces = " ".repeat(40);
        for text in
            ["+32470123456 ext 5", "+32470123456   ext5", "+32470123456 , 5", "+32470123456 ; 5", "+32470123456 x 5"]
        {
            let text = text.replace(' ', &spaces);
            assert_eq!(read(&text, "").as_deref(), Ok("+32470123456;ext=5"), "{text:?}");
        }
    }
}
