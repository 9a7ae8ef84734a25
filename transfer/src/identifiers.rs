//! The identifiers in a cell: e-mail addresses, phone numbers and references.

use shared::domain::uid::UidType;

use crate::limits::MAX_UIDS;
use crate::phones;
use crate::spreadsheet::{is_placeholder, reference};

/// The identifiers of one type in a cell, at most [`MAX_UIDS`].
pub(crate) fn identifiers(kind: &UidType, text: &str) -> Result<Vec<String>, &'static str> {
    let mut found = Vec::new();
    match kind {
        UidType::Other(_) => found.push(reference(text)?.into_owned()),
        UidType::Email => found.extend(split(text).iter().flat_map(|part| addresses(part)).take(MAX_UIDS)),
        UidType::Phone | UidType::WhatsApp => {
            for part in split(text) {
                for number in phones::split(&part)?.into_iter().take(MAX_UIDS - found.len().min(MAX_UIDS)) {
                    found.push(phones::without_marks(number)?);
                }
            }
        }
    }
    found.retain(|value| !value.is_empty() && !is_placeholder(value));
    Ok(found)
}

/// The parts of a cell between separators that no identifier contains. The `;` before a parameter of a phone number
/// (RFC 3966, as the API writes extensions) is not a separator.
fn split(text: &str) -> Vec<String> {
    let text = text.replace(":::", ";").replace(" | ", ";").replace(['\r', '\n'], ";");
    let mut parts: Vec<String> = Vec::new();
    for part in text.split_inclusive([';', ',']) {
        let is_parameter = ["ext=", "phone-context="]
            .iter()
            .any(|name| part.trim_start().get(..name.len()).is_some_and(|start| start.eq_ignore_ascii_case(name)));
        let is_full = parts.len() == MAX_UIDS;
        match parts.last_mut() {
            Some(last) if is_parameter && last.ends_with(';') => *last += part.trim(),
            _ if is_full => break,
            _ if part.trim_matches([';', ',', ' ']).is_empty() => {}
            _ => parts.push(part.trim().to_owned()),
        }
    }
    parts.iter().map(|part| part.trim_end_matches([';', ',']).trim().to_owned()).collect()
}

/// The addresses in a part: the one of `Ann <ann@example.com>`, or several that are separated by spaces and signs.
fn addresses(part: &str) -> Vec<String> {
    let words = part.split_whitespace().filter(|word| !matches!(*word, "/" | "-" | "&"));
    let named = part.strip_suffix('>').and_then(|part| part.rsplit_once('<'));
    let addresses = match named {
        Some((_, address)) => vec![address.trim()],
        None if words.clone().all(|word| word.contains('@')) => words.collect(),
        None => vec![part],
    };
    let without_scheme = |address: &str| match address.split_at_checked("mailto:".len()) {
        Some((scheme, address)) if scheme.eq_ignore_ascii_case("mailto:") => address.to_owned(),
        _ => address.to_owned(),
    };
    addresses.into_iter().map(without_scheme).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn emails(cell: &str) -> String {
        identifiers(&UidType::Email, cell).expect("addresses").join(" | ")
    }

    #[test]
    fn addresses_are_split_and_names_removed() {
        assert_eq!(emails(" a@x.be; b@x.be,c@x.be ;"), "a@x.be | b@x.be | c@x.be");
        assert_eq!(emails("a@x.be ::: b@x.be\nc@x.be | d@x.be"), "a@x.be | b@x.be | c@x.be | d@x.be");
        assert_eq!(emails("a@x.be / b@x.be  c@x.be"), "a@x.be | b@x.be | c@x.be");
        assert_eq!(emails("Ann Smit <a@x.be>, <b@x.be>; mailto:c@x.be"), "a@x.be | b@x.be | c@x.be");
        assert_eq!(emails("a@x.be, n/a"), "a@x.be");
        assert_eq!(emails("Ann a@x.be"), "Ann a@x.be");
        assert_eq!(emails("a/b@x.be"), "a/b@x.be");
        for cell in ["-", " N/A ", "#N/A", ",;", "—", "null"] {
            assert_eq!(emails(cell), "", "{cell}");
        }
        assert_eq!(identifiers(&UidType::Email, &"a@x.be,".repeat(10_000)).map(|found| found.len()), Ok(MAX_UIDS));
    }
}
