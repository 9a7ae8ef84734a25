//! Names of columns as users and programs write them.

use std::borrow::Cow;

use icu_properties::props::{DefaultIgnorableCodePoint, GeneralCategory};
use icu_properties::{CodePointMapData, CodePointSetData};

/// Whether a character is invisible: byte order marks, zero-width and other format characters.
pub(crate) fn is_invisible(c: char) -> bool {
    !c.is_ascii()
        && (CodePointMapData::<GeneralCategory>::new().get(c) == GeneralCategory::Format
            || CodePointSetData::new::<DefaultIgnorableCodePoint>().contains(c))
}

/// A header without invisible characters, and without surrounding quotes and spaces.
pub(crate) fn clean(header: &str) -> Cow<'_, str> {
    fn trim(header: &str) -> &str {
        header.trim_matches(|c: char| c.is_whitespace() || matches!(c, '"' | '\'' | '“' | '”' | '„'))
    }
    if header.contains(is_invisible) {
        let visible: String = header.chars().filter(|c| !is_invisible(*c)).collect();
        return Cow::Owned(trim(&visible).to_owned());
    }
    Cow::Borrowed(trim(header))
}

/// Whether two headers name the same column.
pub(crate) fn same(left: &str, right: &str) -> bool {
    left.eq_ignore_ascii_case(right) || clean(left).eq_ignore_ascii_case(&clean(right))
}

/// The letters and digits of a header, in lower case: the same for `First Name`, `first_name` and `firstname`.
pub(crate) fn letters(header: &str) -> String {
    header.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

/// A list of headers for a message: at most 40 of them, each truncated to 60 characters.
pub(crate) fn list(headers: &[String]) -> String {
    const MAX_LISTED: usize = 40;
    let cut = |header: &String| match header.char_indices().nth(60) {
        Some((end, _)) => format!("{}…", &header[..end]),
        None => header.clone(),
    };
    let listed: Vec<_> = headers.iter().take(MAX_LISTED).map(cut).collect();
    let more = headers.len() - listed.len();
    listed.join(", ") + &if more > 0 { format!(" and {more} more") } else { String::new() }
}

/// Headers with one meaning everywhere, by their [`letters`], and the name of this meaning in `--map`.
const COMMON: &[(&str, &str)] = &[
    ("givenname", "firstname"),
    ("forename", "firstname"),
    ("surname", "lastname"),
    ("familyname", "lastname"),
    ("name", "name"),
    ("fullname", "name"),
    ("displayname", "name"),
    ("contactname", "name"),
    ("emailaddress", "email"),
    ("primaryemail", "email"),
    ("mobile", "phone"),
    ("mobilephone", "phone"),
    ("mobilenumber", "phone"),
    ("mobilephonenumber", "phone"),
    ("cell", "phone"),
    ("cellphone", "phone"),
    ("phonenumber", "phone"),
    ("telephone", "phone"),
    ("telephonenumber", "phone"),
    ("workphone", "phone"),
    ("homephone", "phone"),
    ("businessphone", "phone"),
    ("whatsappnumber", "whatsapp"),
    ("externalid", "customerRef"),
    ("identifier", "customerRef"),
    ("customerreference", "customerRef"),
    ("customernumber", "customerRef"),
    ("companyname", "company"),
    ("organization", "company"),
    ("organisation", "company"),
    ("streetaddress", "street"),
    ("zip", "postalCode"),
    ("zipcode", "postalCode"),
    ("postcode", "postalCode"),
    ("town", "city"),
    ("countrycode", "country"),
    ("language", "lang"),
    ("locale", "lang"),
];

/// The name in `--map` of the meaning of a common header.
pub(crate) fn common_meaning(header: &str) -> Option<&'static str> {
    let letters = letters(header);
    COMMON.iter().find(|(common, _)| *common == letters).map(|(_, name)| *name)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn header_is_compared_by_visible_characters() {
        for header in
            ["email", " Email ", "\u{feff}\u{feff}email", "e\u{200b}ma\u{ad}il\u{200d}", "\"e-mail\"", "“EMAIL”"]
        {
            assert_eq!(same(header, "email"), header != "\"e-mail\"", "{header:?}");
            assert_eq!(letters(&clean(header)), "email");
        }
        assert!(same("\u{2066}Prénom\u{2069}", "prénom") && !same("mail", "email"));
        assert_eq!(clean("\u{1b}[31mred"), "\u{1b}[31mred");
    }

    #[test]
    fn list_of_headers_is_truncated() {
        assert_eq!(list(&["a".to_owned(), "é".repeat(61)]), format!("a, {}…", "é".repeat(60)));
        let many: Vec<_> = (0..42).map(|n| n.to_string()).collect();
        assert!(list(&many).ends_with("38, 39 and 2 more"));
    }

    #[test]
    fn common_header_is_listed_once_by_its_letters() {
        let headers: BTreeSet<_> = COMMON.iter().map(|(header, _)| header).collect();
        assert_eq!(headers.len(), COMMON.len());
        assert!(COMMON.iter().all(|(header, _)| letters(header) == *header));
        assert_eq!(common_meaning("Phone_Number"), Some("phone"));
        assert_eq!(common_meaning("id"), None);
    }
}
