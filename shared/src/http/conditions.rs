//! Conditional requests (RFC 9110 §13). The entity tag of an end user is its id and revision. The tag is strong,
//! because a revision is written once and ids are never reused.

use lambda_http::http::{HeaderMap, HeaderName, header};

use crate::domain::end_user::{Precondition, Revision, RevisionSet};
use crate::domain::ids::EndUserId;
use crate::domain::input::ValidationErrors;

/// The entity tag of a revision: `"<id>-<rev>"`.
pub(super) fn etag(Revision { id, rev }: Revision) -> String {
    format!("\"{id}-{rev}\"")
}

/// The precondition of `If-Match` and `If-None-Match`. An entity tag that is not one of this API matches no revision; a
/// value that is not an entity tag at all is an error.
pub(super) fn precondition(headers: &HeaderMap) -> Result<Precondition, ValidationErrors> {
    let mut errors = ValidationErrors::default();
    // The strong comparison (RFC 9110 §8.8.3.2) never matches a weak tag.
    let if_match = revisions(headers, header::IF_MATCH, |tag| !tag.is_weak, &mut errors);
    let if_none_match = revisions(headers, header::IF_NONE_MATCH, |_| true, &mut errors);
    let default = Precondition::default();
    errors.into_result(Precondition {
        if_match: if_match.unwrap_or(default.if_match),
        if_none_match: if_none_match.unwrap_or(default.if_none_match),
    })
}

/// The revisions that a header names; `None` without the header.
fn revisions(
    headers: &HeaderMap,
    name: HeaderName,
    is_compared: fn(&EntityTag) -> bool,
    errors: &mut ValidationErrors,
) -> Option<RevisionSet> {
    let values: Vec<_> = headers.get_all(&name).iter().map(|value| value.to_str().unwrap_or("?")).collect();
    if values.is_empty() {
        return None;
    }
    let value = values.join(",");
    if value.trim() == "*" {
        return Some(RevisionSet::Any);
    }
    let Some(tags) = entity_tags(&value) else {
        let name = if name == header::IF_MATCH { "If-Match" } else { "If-None-Match" };
        errors.add(name, "must be * or a list of entity tags in double quotes, such as \"12-3\"");
        return None;
    };
    Some(RevisionSet::Only(tags.iter().filter(|tag| is_compared(tag)).filter_map(EntityTag::revision).collect()))
}

/// An entity tag (RFC 9110 §8.8.3).
struct EntityTag<'a> {
    is_weak: bool,
    /// The text between the quotes.
    opaque: &'a str,
}

impl EntityTag<'_> {
    /// The revision that the tag names; `None` if it is not a tag of this API.
    fn revision(&self) -> Option<Revision> {
        let (id, rev) = self.opaque.split_once('-')?;
        let revision = Revision { id: EndUserId::parse(id)?, rev: rev.parse().ok()? };
        (etag(revision).trim_matches('"') == self.opaque).then_some(revision)
    }
}

/// Parses a list of entity tags (RFC 9110 §5.6.1, §8.8.3); `None` if it is not one. Empty elements are ignored.
fn entity_tags(mut text: &str) -> Option<Vec<EntityTag<'_>>> {
    let mut tags = Vec::new();
    loop {
        text = text.trim_start_matches([' ', '\t', ',']);
        if text.is_empty() {
            return Some(tags);
        }
        let (is_weak, quoted) = text.strip_prefix("W/").map_or((false, text), |quoted| (true, quoted));
        let (opaque, rest) = quoted.strip_prefix('"')?.split_once('"')?;
        text = rest.trim_start_matches([' ', '\t']);
        if !(text.is_empty() || text.starts_with(',')) {
            return None;
        }
        tags.push(EntityTag { is_weak, opaque });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: HeaderName, values: &[&str]) -> HeaderMap {
        values.iter().map(|value| (name.clone(), value.parse().expect("a header"))).collect()
    }

    fn is_met_by(name: HeaderName, values: &[&str]) -> Result<bool, ValidationErrors> {
        let revision = Revision { id: EndUserId::new(12).expect("an id"), rev: 3 };
        precondition(&headers(name, values)).map(|precondition| precondition.is_met_by(revision))
    }

    #[test]
    fn if_match_names_revisions_strongly() {
        let tag = "\"12-3\"";
        for values in [
            &[tag] as &[_],
            &["*"],
            &["\"12-1\", \"12-3\""],
            &["\"1\"", tag],
            &["\"a,b\",\"12-3\""],
            &[", \"12-3\","],
            &[],
        ] {
            assert_eq!(is_met_by(header::IF_MATCH, values), Ok(true), "{values:?}");
        }
        for values in
            ["\"12-2\"", "\"13-3\"", "\"3\"", "W/\"12-3\"", "\"12-03\"", "\"+12-3\"", "\"12-3-3\"", "\"\"", ""]
        {
            assert_eq!(is_met_by(header::IF_MATCH, &[values]), Ok(false), "{values:?}");
        }
    }

    #[test]
    fn if_none_match_names_revisions_weakly() {
        for values in ["\"12-3\"", "*", "W/\"12-3\"", "\"1\" , W/\"12-3\""] {
            assert_eq!(is_met_by(header::IF_NONE_MATCH, &[values]), Ok(false), "{values:?}");
        }
        for values in ["\"12-2\"", "W/\"13-3\"", "\"3\"", ""] {
            assert_eq!(is_met_by(header::IF_NONE_MATCH, &[values]), Ok(true), "{values:?}");
        }
    }

    #[test]
    fn value_without_quotes_is_an_error() {
        for value in
            ["3", "12-3", "w/\"12-3\"", "\"12-3", "12-3\"", "\"12-3\" x", "\"12-3\"\"12-4\"", "*, \"12-3\"", "é"]
        {
            for (name, path) in [(header::IF_MATCH, "If-Match"), (header::IF_NONE_MATCH, "If-None-Match")] {
                let errors = is_met_by(name, &[value]).expect_err(value);
                assert_eq!(errors.as_map().keys().collect::<Vec<_>>(), [path], "{value}");
            }
        }
    }
}
