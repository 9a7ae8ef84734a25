//! A model of one end user: its fields, UIDs, words, and the effect of a request on them.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::request::{ModelUidEntry, ProfilePatch, has_two_primaries};
use super::words::{
    COMPANY, DETAILS, FIELD_COUNT, FIELDS, REFERENCE, REFERENCE_KEYS, SEARCHED_FIELDS, SPELLINGS, Spelling,
};

/// For each of [`FIELDS`], the index of its value, or `None` if it is empty.
pub type ModelProfile = [Option<usize>; FIELD_COUNT];

/// A UID of an end user.
#[derive(Clone, PartialEq, Debug)]
pub struct ModelUid {
    /// `None` until a response contains it.
    pub id: Option<u64>,
    pub kind: &'static str,
    pub value: &'static str,
    pub key: &'static str,
    pub words: &'static [&'static str],
    pub primary: bool,
}

impl ModelUid {
    /// Whether the UID has the type and match key of a spelling.
    pub fn matches(&self, spelling: &Spelling) -> bool {
        self.kind.eq_ignore_ascii_case(spelling.stored_kind) && self.key == spelling.key
    }

    /// Whether another UID has the same type and match key.
    pub fn is_same(&self, other: &Self) -> bool {
        self.kind.eq_ignore_ascii_case(other.kind) && self.key == other.key
    }

    fn set_spelling(&mut self, spelling: &Spelling) {
        (self.kind, self.value) = (spelling.stored_kind, spelling.stored);
        (self.key, self.words) = (spelling.key, spelling.words);
    }

    pub fn new(spelling: &Spelling) -> Self {
        let Spelling { stored_kind: kind, stored: value, key, words, .. } = *spelling;
        Self { id: None, kind, value, key, words, primary: false }
    }

    /// The body of an assign's response; `"?"` is an unknown id.
    pub fn assign_body(&self, end_user: u64) -> Value {
        json!({ "endUserUIDID": self.id.map_or(json!("?"), Value::from), "endUserID": end_user, "uidType": self.kind,
            "uid": self.value, "isPrimary": self.primary })
    }
}

/// An end user.
#[derive(Clone, PartialEq, Debug)]
pub struct ModelEndUser {
    pub profile: ModelProfile,
    pub customer_type: &'static str,
    pub uids: Vec<ModelUid>,
    /// The ETag at the last read; `None` after a change since.
    pub etag: Option<String>,
}

impl ModelEndUser {
    /// An end user before the first request about it.
    pub fn empty() -> Self {
        Self { profile: [None; FIELD_COUNT], customer_type: "Lead", uids: Vec::new(), etag: None }
    }

    /// The match keys of its UIDs and customerRef.
    pub fn keys(&self) -> impl Iterator<Item = &'static str> {
        let reference = self.profile[REFERENCE].map(|value| REFERENCE_KEYS[value]);
        self.uids.iter().map(|uid| uid.key).chain(reference)
    }

    /// The words that a search covers: the first 500 and at most 16 KiB of them, and all values that contain an `@`.
    pub fn words(&self) -> BTreeSet<&'static str> {
        let field = |at: usize| self.profile[at].map_or(&[][..], |value| FIELDS[at].values[value].2);
        let mut uids: Vec<_> = self.uids.iter().collect();
        uids.sort_by_key(|uid| uid.id);
        let (before, after) = SEARCHED_FIELDS;
        let texts = before.map(field).into_iter().chain(uids.iter().map(|uid| uid.words)).chain([field(after)]);
        let (mut words, mut whole) = (BTreeSet::new(), BTreeSet::new());
        let (mut bytes, mut is_full) = (0, false);
        for word in texts.flatten().copied() {
            if word.contains('@') {
                whole.insert(word);
            } else if !is_full && !words.contains(word) {
                is_full = words.len() == 500 || bytes + word.len() > 16 * 1024;
                if !is_full {
                    bytes += word.len();
                    words.insert(word);
                }
            }
        }
        words.extend(whole);
        words
    }

    /// Whether it can have more words than a search covers.
    pub fn is_oversized(&self) -> bool {
        self.profile[COMPANY].or(self.profile[DETAILS]).is_some()
    }

    /// Whether a precondition with this tag is met.
    pub fn has_tag(&self, tag: &Option<String>) -> bool {
        tag.as_deref().is_none_or(|tag| tag == "*" || self.etag.as_deref() == Some(tag))
    }

    /// Replaces this state. The ETag stays if the states are equal, because a write that changes nothing keeps the
    /// revision.
    pub fn replace_with(&mut self, other: Self) {
        if (Self { etag: None, ..other.clone() }) != (Self { etag: None, ..self.clone() }) {
            *self = Self { etag: None, ..other };
        }
    }

    /// Makes one UID the primary one.
    pub fn set_primary(&mut self, at: usize) {
        self.uids.iter_mut().enumerate().for_each(|(i, uid)| uid.primary = i == at);
    }

    /// Returns the end user after a create or update, or `None` if the request is invalid.
    pub fn changed(
        &self,
        patch: &ProfilePatch,
        customer_type: Option<&'static str>,
        entries: &[ModelUidEntry],
    ) -> Option<Self> {
        if has_two_primaries(entries) {
            return None;
        }
        let mut end_user = self.clone();
        for (value, change) in end_user.profile.iter_mut().zip(patch) {
            *value = change.unwrap_or(*value);
        }
        end_user.customer_type = customer_type.unwrap_or(self.customer_type);
        for entry in entries.iter().filter(|entry| entry.remove) {
            end_user.uids.retain(|uid| match (entry.id, entry.spelling) {
                (Some(_), _) => uid.id != entry.id,
                (None, Some(spelling)) => !uid.matches(&SPELLINGS[spelling]),
                (None, None) => true,
            });
        }
        let mut named = BTreeSet::new();
        let mut primary = None;
        for entry in entries.iter().filter(|entry| !entry.remove) {
            let spelling = entry.spelling.map(|spelling| &SPELLINGS[spelling]);
            let at = match entry.id {
                Some(_) => end_user.uids.iter().position(|uid| uid.id == entry.id)?,
                None => {
                    // If several UIDs match, the entry means one that another entry names by id, else the oldest.
                    let same =
                        (0..end_user.uids.len()).filter(|at| end_user.uids[*at].matches(spelling.expect("a value")));
                    let first = same.min_by_key(|at| (!named.contains(at), end_user.uids[*at].id.unwrap_or(u64::MAX)));
                    first.unwrap_or_else(|| {
                        end_user.uids.push(ModelUid::new(spelling.expect("a value")));
                        end_user.uids.len() - 1
                    })
                }
            };
            if entry.id.is_some() {
                named.insert(at);
            }
            if let Some(spelling) = spelling {
                end_user.uids[at].set_spelling(spelling);
            }
            match entry.primary {
                Some(true) => {
                    end_user.set_primary(at);
                    primary = Some(at);
                }
                Some(false) => {
                    end_user.uids[at].primary = false;
                    primary = primary.filter(|marked| *marked != at);
                }
                None => {}
            }
        }
        end_user.deduplicate(&named, primary);
        Some(end_user)
    }

    /// Merges UIDs of the same type and match key: a UID that the request names by id stays, else the oldest.
    fn deduplicate(&mut self, named: &BTreeSet<usize>, primary: Option<usize>) {
        let mut order: Vec<usize> = (0..self.uids.len()).collect();
        order.sort_by_key(|at| (!named.contains(at), self.uids[*at].id.unwrap_or(u64::MAX), *at));
        let mut kept: Vec<(usize, ModelUid)> = Vec::new();
        for at in order {
            let uid = self.uids[at].clone();
            match kept.iter_mut().find(|(_, kept)| kept.is_same(&uid)) {
                Some((_, same)) => same.primary |= primary == Some(at),
                None => kept.push((at, uid)),
            }
        }
        kept.sort_by_key(|(at, _)| *at);
        self.uids = kept.into_iter().map(|(_, uid)| uid).collect();
    }

    /// The values, as this end user has them, that `other` has too, and the number of shared match keys.
    pub fn shared_with(&self, other: &Self) -> (BTreeSet<&'static str>, usize) {
        let theirs: BTreeSet<_> = other.keys().collect();
        let reference = self.profile[REFERENCE];
        let reference = reference.map(|value| (REFERENCE_KEYS[value], FIELDS[REFERENCE].values[value].0));
        let identifiers = self.uids.iter().map(|uid| (uid.key, uid.value)).chain(reference);
        let shared = identifiers.filter(|(key, _)| theirs.contains(key));
        let (keys, values): (BTreeSet<_>, BTreeSet<_>) = shared.unzip();
        (values, keys.len())
    }

    /// Whether `shown` is the EndUserReadDTO of this end user.
    pub fn is_shown_as(&self, id: u64, shown: &Value) -> bool {
        let text = |at: usize| self.profile[at].map(|value| FIELDS[at].values[value].0);
        let name = [text(0), text(1)].into_iter().flatten().collect::<Vec<_>>().join(" ");
        let mut expected = json!({ "endUserID": id, "name": name, "customerType": self.customer_type, "gender": null,
            "otherContactDetails": null, "aiDocumentation": null, "country": null, "lang": null, "street": null,
            "houseNumber": null, "postalCode": null, "company": null });
        for (at, field) in FIELDS.iter().enumerate() {
            expected[field.name] = json!(text(at));
        }
        let mut rest = shown.clone();
        let Some(Value::Array(uids)) = rest.as_object_mut().and_then(|shown| shown.remove("uids")) else {
            return false;
        };
        let ids: Vec<_> = uids.iter().map(|uid| uid["endUserUIDID"].as_u64()).collect();
        let all = uids.len() == self.uids.len()
            && self.uids.iter().all(|uid| uids.iter().any(|shown| uid.is_shown_as(shown)));
        rest == expected && all && ids.is_sorted()
    }

    /// Takes over the ids of new UIDs from an EndUserReadDTO.
    pub fn learn_uid_ids(&mut self, shown: &Value) {
        for uid in self.uids.iter_mut().filter(|uid| uid.id.is_none()) {
            let shown = shown["uids"].as_array().into_iter().flatten().find(|shown| uid.is_shown_as(shown));
            uid.id = shown.and_then(|shown| shown["endUserUIDID"].as_u64());
        }
    }
}

impl ModelUid {
    fn is_shown_as(&self, shown: &Value) -> bool {
        let known = self.id.is_none_or(|id| shown["endUserUIDID"] == id);
        known && shown["uidType"] == self.kind && shown["uid"] == self.value && shown["isPrimary"] == self.primary
    }
}
