//! Requests with all values known, as HTTP, and the parts of a response that the model checks.

use serde_json::{Value, json};

use super::words::{FIELD_COUNT, FIELDS, REFERENCE, REFERENCE_KEYS, SPELLINGS, Spelling};

/// One of the `uids` of a request.
#[derive(Clone, Debug)]
pub struct ModelUidEntry {
    pub id: Option<u64>,
    pub spelling: Option<usize>,
    pub primary: Option<bool>,
    pub remove: bool,
}

/// The changes of [`FIELDS`]: absent, cleared, or set to the value at an index.
pub type ProfilePatch = [Option<Option<usize>>; FIELD_COUNT];

/// The identifiers of an upsert that decide which end user it is about.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum MatchBy {
    Any,
    CustomerRef,
    Uids,
}

/// The effect of an upsert on the profile of its match.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum OnMatch {
    Update,
    Fill,
    None,
}

/// The body of an upsert.
#[derive(Clone, Debug)]
pub struct ModelUpsert {
    pub patch: ProfilePatch,
    pub customer_type: Option<&'static str>,
    pub entries: Vec<ModelUidEntry>,
    pub match_by: MatchBy,
    pub on_match: OnMatch,
}

impl ModelUpsert {
    /// The deciding identifiers, as match keys with their paths in the body.
    pub fn deciding(&self) -> Vec<(&'static str, String)> {
        let (by_reference, by_uids) = (self.match_by != MatchBy::Uids, self.match_by != MatchBy::CustomerRef);
        let uids = self.entries.iter().enumerate().filter(|_| by_uids);
        let uids = uids.filter_map(|(at, entry)| Some((SPELLINGS[entry.spelling?].key, format!("uids[{at}].uid"))));
        let reference = self.patch[REFERENCE].flatten().filter(|_| by_reference);
        uids.chain(reference.map(|value| (REFERENCE_KEYS[value], "customerRef".to_owned()))).collect()
    }

    /// Whether the body is a validation error, whatever is stored.
    pub fn is_invalid(&self) -> bool {
        has_two_primaries(&self.entries) || self.deciding().is_empty()
    }

    fn body(&self) -> Value {
        let mut body = end_user_body(&self.patch, self.customer_type, &self.entries);
        match self.match_by {
            MatchBy::Any => {}
            MatchBy::CustomerRef => body["matchBy"] = json!("customerRef"),
            MatchBy::Uids => body["matchBy"] = json!("uids"),
        }
        match self.on_match {
            OnMatch::Update => {}
            OnMatch::Fill => body["onMatch"] = json!("fill"),
            OnMatch::None => body["onMatch"] = json!("none"),
        }
        body
    }
}

/// An idempotency key with the request that uses it.
#[derive(Clone, Debug)]
pub struct KeyUse {
    pub key: String,
    /// The number of the element of an upsertMany.
    pub item: Option<usize>,
    pub fingerprint: String,
}

/// A request of the API. `key` is its Idempotency-Key, `tag` its If-Match or, of a read, If-None-Match.
#[derive(Clone, Debug)]
pub enum ModelCall {
    Create {
        patch: ProfilePatch,
        customer_type: Option<&'static str>,
        entries: Vec<ModelUidEntry>,
        key: Option<String>,
    },
    Update {
        id: u64,
        patch: ProfilePatch,
        customer_type: Option<&'static str>,
        entries: Vec<ModelUidEntry>,
        tag: Option<String>,
    },
    Delete {
        id: u64,
        tag: Option<String>,
    },
    Assign {
        id: u64,
        entry: ModelUidEntry,
        key: Option<String>,
    },
    Read {
        id: u64,
        tag: Option<String>,
    },
    Upsert {
        upsert: ModelUpsert,
        key: Option<String>,
    },
    UpsertMany {
        upserts: Vec<ModelUpsert>,
        key: Option<String>,
    },
    /// One element of an upsertMany, which takes effect by itself.
    UpsertItem {
        upsert: ModelUpsert,
        key: Option<KeyUse>,
    },
    Merge {
        id: u64,
        other: u64,
        dry_run: bool,
        tag: Option<String>,
        key: Option<String>,
    },
    Unmerge {
        id: u64,
        key: Option<String>,
    },
}

impl ModelCall {
    /// The idempotency key of the request. Its fingerprint differs between any two requests that are not repeats of each
    /// other; conditions do not count.
    pub fn key_use(&self) -> Option<KeyUse> {
        let key = match self {
            Self::UpsertItem { key, .. } => return key.clone(),
            Self::Create { key, .. }
            | Self::Assign { key, .. }
            | Self::Upsert { key, .. }
            | Self::UpsertMany { key, .. }
            | Self::Merge { dry_run: false, key, .. }
            | Self::Unmerge { key, .. } => key.clone()?,
            Self::Merge { .. } | Self::Update { .. } | Self::Delete { .. } | Self::Read { .. } => return None,
        };
        let (method, path, _, body) = self.to_http();
        let fingerprint = format!("{method} {path} {}", body.unwrap_or_default());
        Some(KeyUse { key, item: None, fingerprint })
    }

    /// The upsert that this call is.
    pub fn upsert(&self) -> Option<&ModelUpsert> {
        match self {
            Self::Upsert { upsert, .. } | Self::UpsertItem { upsert, .. } => Some(upsert),
            _ => None,
        }
    }

    /// The parts of the request that take effect by themselves, one after another, each with its response.
    pub fn steps(&self, response: &ObservedResponse) -> Vec<(Self, ObservedResponse)> {
        let Self::UpsertMany { upserts, .. } = self else { return vec![(self.clone(), response.clone())] };
        let results = match response.status {
            200 => response.body["items"].as_array().cloned().unwrap_or_default(),
            503 => vec![json!({ "status": 503, "detail": response.body["detail"] }); upserts.len()],
            _ => return vec![(self.clone(), response.clone())],
        };
        let steps = upserts.iter().zip(results).enumerate().map(|(at, (upsert, mut body))| {
            let key = self.key_use().map(|key| KeyUse { item: Some(at), ..key });
            let members = body.as_object_mut().expect("the result of an element");
            let status = members.remove("status").and_then(|status| status.as_u64()).unwrap_or_default() as u16;
            for conflict in body.get_mut("conflicts").and_then(Value::as_array_mut).into_iter().flatten() {
                for field in conflict["fields"].as_array_mut().into_iter().flatten() {
                    let path = field.as_str().and_then(|path| path.strip_prefix(&format!("endUsers[{at}].")));
                    *field = json!(path);
                }
            }
            // The header says only whether all elements are replays.
            let replayed = if key.is_some() && response.replayed != Some(true) { None } else { response.replayed };
            let response = ObservedResponse { status, body, replayed, etag: None, location: None };
            (Self::UpsertItem { upsert: upsert.clone(), key }, response)
        });
        let steps: Vec<_> = steps.collect();
        assert_eq!(steps.len(), upserts.len(), "{}", response.body);
        steps
    }

    /// Whether the request is a validation error, whatever is stored.
    pub fn is_invalid(&self) -> bool {
        match self {
            Self::Create { entries, .. } | Self::Update { entries, .. } => has_two_primaries(entries),
            Self::Upsert { upsert, .. } | Self::UpsertItem { upsert, .. } => upsert.is_invalid(),
            Self::Merge { id, other, .. } => id == other,
            _ => false,
        }
    }

    pub fn to_http(&self) -> HttpParts {
        let path = |id: &u64| format!("/api/EndUsers/{id}");
        let header = |name, value: &Option<String>| value.iter().map(|value| (name, value.clone())).collect();
        match self {
            Self::Create { patch, customer_type, entries, key } => {
                let body = end_user_body(patch, *customer_type, entries);
                ("POST", "/api/EndUsers".to_owned(), header("idempotency-key", key), Some(body))
            }
            Self::Update { id, patch, customer_type, entries, tag } => {
                let body = end_user_body(patch, *customer_type, entries);
                ("PUT", path(id), header("if-match", tag), Some(body))
            }
            Self::Delete { id, tag } => ("DELETE", path(id), header("if-match", tag), None),
            Self::Assign { id, entry, key } => {
                let mut body = uid_body(entry);
                body["endUserID"] = json!(id);
                ("POST", "/api/EndUserUIDs/assign".to_owned(), header("idempotency-key", key), Some(body))
            }
            Self::Read { id, tag } => ("GET", path(id), header("if-none-match", tag), None),
            Self::Upsert { upsert, key } => {
                ("POST", "/api/EndUsers/upsert".to_owned(), header("idempotency-key", key), Some(upsert.body()))
            }
            Self::UpsertMany { upserts, key } => {
                let body = json!({ "endUsers": upserts.iter().map(ModelUpsert::body).collect::<Vec<_>>() });
                ("POST", "/api/EndUsers/upsertMany".to_owned(), header("idempotency-key", key), Some(body))
            }
            Self::UpsertItem { .. } => unreachable!("an element is not a request"),
            Self::Merge { id, other, dry_run, tag, key } => {
                let mut headers: Vec<_> = header("if-match", tag);
                headers.extend::<Vec<_>>(header("idempotency-key", key));
                let body = json!({ "endUserID": other, "dryRun": dry_run });
                ("POST", format!("{}/merge", path(id)), headers, Some(body))
            }
            Self::Unmerge { id, key } => {
                ("POST", format!("{}/unmerge", path(id)), header("idempotency-key", key), None)
            }
        }
    }
}

/// Method, path, headers and body of a request.
pub type HttpParts = (&'static str, String, Vec<(&'static str, String)>, Option<Value>);

/// The parts of a response that the model predicts.
#[derive(Clone, Debug)]
pub struct ObservedResponse {
    pub status: u16,
    pub body: Value,
    /// `None` if the response does not tell.
    pub replayed: Option<bool>,
    pub etag: Option<String>,
    pub location: Option<String>,
}

impl ObservedResponse {
    /// Whether the response has this status and is not a replay.
    pub fn is(&self, status: u16) -> bool {
        self.status == status && self.replayed != Some(true)
    }

    /// Whether a 308 for `path` names the end user `end`, in the body and as the same path under its id.
    pub fn is_redirect(&self, path: &str, end: u64) -> bool {
        let (path, query) = path.split_once('?').map_or((path, None), |(path, query)| (path, Some(query)));
        let segments: Vec<_> = path.split('/').collect();
        // A relative reference replaces the last segment (RFC 3986, 5.2).
        let relative = match segments[..] {
            [_, _, _, _] => end.to_string(),
            [_, _, _, _, rest] => format!("../{end}/{rest}"),
            _ => return false,
        };
        let expected = query.map_or(relative.clone(), |query| format!("{relative}?{query}"));
        self.body["endUserID"] == end && self.location.as_deref() == Some(expected.as_str())
    }
}

/// Whether a request marks more than one UID as primary, which is a validation error.
pub fn has_two_primaries(entries: &[ModelUidEntry]) -> bool {
    entries.iter().filter(|entry| !entry.remove && entry.primary == Some(true)).count() > 1
}

fn end_user_body(patch: &ProfilePatch, customer_type: Option<&str>, entries: &[ModelUidEntry]) -> Value {
    let mut body = json!({ "uids": entries.iter().map(uid_body).collect::<Vec<_>>() });
    for (field, change) in FIELDS.iter().zip(patch) {
        if let Some(value) = change {
            body[field.name] = value.map_or(json!(""), |value| json!(field.values[value].0));
        }
    }
    // Upper case, because the API ignores the case of a customer type.
    body["customerType"] = json!(customer_type.unwrap_or_default().to_uppercase());
    body
}

fn uid_body(entry: &ModelUidEntry) -> Value {
    let mut uid = json!({});
    if let Some(id) = entry.id {
        uid["endUserUIDID"] = json!(id);
    }
    if let Some(spelling) = entry.spelling {
        let Spelling { kind, sent, stored_kind, .. } = SPELLINGS[spelling];
        // With an id, an empty type would keep the type of the record.
        let kind = if entry.id.is_some() { stored_kind } else { kind };
        (uid["uidType"], uid["uid"]) = (json!(kind), json!(sent));
    }
    if let Some(primary) = entry.primary {
        uid["isPrimary"] = json!(primary);
    }
    if entry.remove {
        uid["markAsDeleted"] = json!(true);
    }
    uid
}
