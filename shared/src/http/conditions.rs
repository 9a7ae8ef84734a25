//! Conditional requests (RFC 9110 §13). The entity tag of an end user is its revision. The tag is strong, because a
//! revision is written once and ids are never reused.

use lambda_http::http::{HeaderMap, HeaderName, header};

use crate::domain::end_user::{Precondition, RevisionSet};

/// The entity tag of a revision.
pub(super) fn etag(rev: u64) -> String {
    format!("\"{rev}\"")
}

/// The precondition of `If-Match` and `If-None-Match`. A value that is not an entity tag of this API matches no
/// revision.
pub(super) fn precondition(headers: &HeaderMap) -> Precondition {
    let default = Precondition::default();
    Precondition {
        // The strong comparison (RFC 9110 §8.8.3.2) never matches a weak tag.
        if_match: revisions(headers, header::IF_MATCH, |tag| tag).unwrap_or(default.if_match),
        if_none_match: revisions(headers, header::IF_NONE_MATCH, |tag| tag.strip_prefix("W/").unwrap_or(tag))
            .unwrap_or(default.if_none_match),
    }
}

/// The revisions that a header names; `None` without the header. Splitting at commas is safe: tags of this API contain
/// no comma, and no part of another tag looks like one.
fn revisions(headers: &HeaderMap, name: HeaderName, strong: fn(&str) -> &str) -> Option<RevisionSet> {
    let values: Vec<_> = headers.get_all(&name).iter().map(|value| value.to_str().unwrap_or_default()).collect();
    if values.is_empty() {
        return None;
    }
    let tags: Vec<_> = values.iter().flat_map(|value| value.split(',')).map(str::trim).collect();
    let revision = |tag: &&str| {
        let rev = strong(tag).trim_matches('"').parse().ok()?;
        (etag(rev) == strong(tag)).then_some(rev)
    };
    let is_any = tags == ["*"];
    Some(if is_any { RevisionSet::Any } else { RevisionSet::Only(tags.iter().filter_map(revision).collect()) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: HeaderName, values: &[&str]) -> HeaderMap {
        values.iter().map(|value| (name.clone(), value.parse().expect("a header"))).collect()
    }

    #[test]
    fn if_match_names_revisions_strongly() {
        let is_met_by = |values: &[&str]| precondition(&headers(header::IF_MATCH, values)).is_met_by(3);
        for values in [&["\"3\""] as &[_], &["*"], &["\"1\", \"3\""], &["\"1\"", "\"3\""], &["\"a,b\",\"3\""], &[]] {
            assert!(is_met_by(values), "{values:?}");
        }
        for values in [&["\"2\""] as &[_], &["W/\"3\""], &["3"], &["\"03\""], &["\"+3\""], &[""], &["*, \"1\""]] {
            assert!(!is_met_by(values), "{values:?}");
        }
    }

    #[test]
    fn if_none_match_names_revisions_weakly() {
        let is_met_by = |values: &[&str]| precondition(&headers(header::IF_NONE_MATCH, values)).is_met_by(3);
        for values in [&["\"3\""] as &[_], &["*"], &["W/\"3\""], &["\"1\" , W/\"3\""]] {
            assert!(!is_met_by(values), "{values:?}");
        }
        for values in [&["\"2\""] as &[_], &["3"], &["w/\"3\""], &[""]] {
            assert!(is_met_by(values), "{values:?}");
        }
    }
}
