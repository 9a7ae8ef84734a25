//! E-mail addresses (HTML Living Standard, "valid e-mail address"), with domains in ASCII form.

use std::borrow::Cow;

use icu_properties::props::GeneralCategoryGroup;
use idna::uts46::{AsciiDenyList, DnsLength, Hyphens, Uts46};

use super::text::is_of;

/// Maximum length of an address in ASCII form, in bytes (RFC 5321 §4.5.3.1.3, without the brackets).
const MAX_LENGTH: usize = 254;

/// An error of [`check`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum EmailError {
    /// The ASCII form is longer than 254 bytes.
    #[error("must be an e-mail address of at most {MAX_LENGTH} characters")]
    TooLong,
    /// The text is not a valid e-mail address.
    #[error("must be a valid e-mail address")]
    Malformed,
}

/// Checks that `text` is a valid e-mail address. A domain with non-ASCII characters is first converted to ASCII (UTS
/// #46 ToASCII, non-transitional).
pub fn check(text: &str) -> Result<(), EmailError> {
    to_ascii(text).map(|_| ())
}

/// Removes white space and invisible format characters (category Cf) around a pasted address.
pub fn trim(text: &str) -> &str {
    text.trim_matches(|c: char| c.is_whitespace() || is_of(c, GeneralCategoryGroup::Format))
}

/// The address with its domain in ASCII, in unchanged case; `None` if it is not a valid e-mail address.
pub fn ascii_form(text: &str) -> Option<String> {
    to_ascii(text).ok().map(Cow::into_owned)
}

/// A valid e-mail address with its domain in Unicode (UTS #46 ToUnicode); `None` if the domain has no `xn--` label, and
/// for any other text.
pub fn unicode_form(text: &str) -> Option<String> {
    let (local, domain) = text.split_once('@').filter(|_| check(text).is_ok())?;
    let (unicode, result) = Uts46::new().to_unicode(domain.as_bytes(), AsciiDenyList::STD3, Hyphens::CheckFirstLast);
    (result.is_ok() && domain.is_ascii() && !unicode.is_ascii()).then(|| format!("{local}@{unicode}"))
}

fn to_ascii(text: &str) -> Result<Cow<'_, str>, EmailError> {
    let (local, domain) = text.split_once('@').ok_or(EmailError::Malformed)?;
    if local.is_empty() || !local.bytes().all(is_atom_or_dot) {
        return Err(EmailError::Malformed);
    }
    let address = if domain.is_ascii() {
        Cow::Borrowed(text)
    } else {
        let domain = Uts46::new()
            .to_ascii(domain.as_bytes(), AsciiDenyList::STD3, Hyphens::CheckFirstLast, DnsLength::Ignore)
            .map_err(|_| EmailError::Malformed)?;
        Cow::Owned(format!("{local}@{domain}"))
    };
    if !address[local.len() + 1..].split('.').all(is_label) {
        Err(EmailError::Malformed)
    } else if address.len() > MAX_LENGTH {
        Err(EmailError::TooLong)
    } else {
        Ok(address)
    }
}

/// Returns whether `b` is `atext` (RFC 5322 §3.2.3) or a dot.
fn is_atom_or_dot(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b"!#$%&'*+/=?^_`{|}~-.".contains(&b)
}

/// Returns whether `label` is 1 to 63 letters, digits and inner hyphens (RFC 1034 §3.5, RFC 1123 §2.1).
fn is_label(label: &str) -> bool {
    (1..=63).contains(&label.len())
        && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
        && !label.starts_with('-')
        && !label.ends_with('-')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::vectors;

    #[test]
    fn address_follows_the_html_standard() {
        for text in [
            "a@b",
            "jane.doe+tag@example.com",
            ".a..b.@example.com",
            "!#$%&'*+/=?^_`{|}~-@example.com",
            "a@1.2.3.4",
            "a@xn--a.example",
            "A@EXAMPLE.com",
        ] {
            assert_eq!(ascii_form(text).as_deref(), Some(text));
        }
        for text in [
            "",
            "@",
            "a@",
            "@b",
            "a",
            "a b@c",
            "a@b@c",
            "\"a\"@b",
            "a@[1.2.3.4]",
            "a@b.",
            "a@.b",
            "a@b..c",
            "a@-b",
            "a@b-",
            "a@b_c",
            "a,b@c",
            "jäne@example.com",
            "a@b\n",
            "Jane <a@b>",
        ] {
            assert_eq!(check(text), Err(EmailError::Malformed), "{text:?}");
        }
    }

    #[test]
    fn domain_is_converted_to_ascii() {
        for (text, ascii) in [
            ("jane@bücher.example", "jane@xn--bcher-kva.example"),
            ("jane@BU\u{308}CHER.example", "jane@xn--bcher-kva.example"),
            ("jane@faß.de", "jane@xn--fa-hia.de"),
            ("jane@ｅxample。com", "jane@example.com"),
            ("Jane@例え.テスト", "Jane@xn--r8jz45g.xn--zckzah"),
        ] {
            assert_eq!(ascii_form(text).as_deref(), Some(ascii));
        }
        for text in ["a@é_b", "a@-é", "a@é.", "a@é..b", "a@℀.com", "a@é.xn--a", "a@\u{200d}b", "a@é\u{ff20}b"] {
            assert_eq!(ascii_form(text), None, "{text:?}");
        }
    }

    #[test]
    fn length_limit_applies_to_the_ascii_form() {
        let domain = format!("{0}.{0}.{0}", "b".repeat(61));
        let longest = format!("{}@{domain}", "a".repeat(254 - 186));
        assert_eq!((longest.len(), check(&longest)), (254, Ok(())));
        assert_eq!(check(&format!("a{longest}")), Err(EmailError::TooLong));
        let label = format!("{}ü", "b".repeat(54));
        assert_eq!(check(&format!("a@{label}")), Ok(()));
        assert_eq!(check(&format!("a@bbb{label}")), Err(EmailError::Malformed));
        assert_eq!(check(&format!("{}@{label}", "a".repeat(200))), Err(EmailError::TooLong));
    }

    #[test]
    fn invisible_characters_around_an_address_are_trimmed() {
        for around in ["\u{200b}", "\u{feff}", "\u{2060}", "\u{200e}", " \u{200b}\t\u{ad} "] {
            assert_eq!(trim(&format!("{around}Ja\u{200b}ne@x.be{around}")), "Ja\u{200b}ne@x.be", "{around:?}");
        }
    }

    #[test]
    fn an_encoded_domain_has_a_unicode_form() {
        let unicode = Some("jane@b\u{fc}cher.example".to_owned());
        assert_eq!(unicode_form("jane@xn--bcher-kva.example"), unicode);
        assert_eq!(unicode_form("jane@XN--BCHER-KVA.example"), unicode);
        for text in ["jane@b\u{fc}cher.example", "jane@example.com", "jane@xn--a.example", "jane", "B\u{fc}cher"] {
            assert_eq!(unicode_form(text), None, "{text}");
        }
    }

    /// Rows of `email.csv` that docs/api.md, Fields decides differently from the HTML pattern.
    const DIFFERENCES: &[(&str, &[&str])] = &[
        (
            "valid: the domain is first converted to ASCII",
            &["em-438", "em-530", "em-600", "em-680", "em-688", "em-689", "em-696", "em-698", "em-702", "em-758"],
        ),
        (
            "invalid: longer than 254 bytes",
            &[
                "em-039", "em-040", "em-041", "em-184", "em-194", "em-270", "em-509", "em-515", "em-516", "em-745",
                "em-746", "em-747", "em-748", "em-749",
            ],
        ),
    ];

    #[test]
    fn vectors_follow_the_html_standard() {
        let mut unexpected = Vec::new();
        for row in vectors::csv("email.csv") {
            let id = row["id"].as_str();
            let Some(address) = vectors::cell(&row, "address") else { continue };
            let differs = DIFFERENCES.iter().any(|(_, ids)| ids.contains(&id));
            if check(&address).is_ok() != ((row["valid_html5"] == "true") ^ differs) {
                unexpected.push((id.to_owned(), address.clone(), check(&address)));
            }
        }
        assert!(unexpected.is_empty(), "{unexpected:#?}");
    }
}
