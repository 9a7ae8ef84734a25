//! Requests with all values known, as HTTP, and the parts of a response that the model checks.

use serde_json::{Value, json};

use super::words::{FIELD_COUNT, FIELDS, SPELLINGS, Spelling};

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
}

impl ModelCall {
    /// Returns a text that differs between any two requests that are not repeats of each other.
    pub fn fingerprint(&self) -> String {
        format!("{self:?}")
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
    pub replayed: bool,
    pub etag: Option<String>,
}

impl ObservedResponse {
    /// Whether the response has this status and is not a replay.
    pub fn is(&self, status: u16) -> bool {
        self.status == status && !self.replayed
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
