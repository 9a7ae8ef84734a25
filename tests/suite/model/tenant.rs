//! A model of one tenant: its end users and stored responses, and the effect of a call (docs/api.md).

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::end_user::{ModelEndUser, ModelUid};
use super::request::{ModelCall, ObservedResponse, has_two_primaries};
use super::words::{FIELD_COUNT, LOOKUPS, SPELLINGS};

/// One state that a tenant's data can be in.
#[derive(Clone, Default, PartialEq, Debug)]
pub struct TenantModel {
    pub end_users: BTreeMap<u64, ModelEndUser>,
    pub deleted: BTreeSet<u64>,
    /// By idempotency key: the fingerprint of the request, and the status and body of its response.
    stored_responses: BTreeMap<String, (String, u16, Value)>,
}

impl TenantModel {
    /// Returns the states after `call` that `response` allows; none if the response contradicts docs/api.md. `listed`
    /// is the list after the call. It has the id of an end user if the outcome of the create is unknown.
    pub fn after(&self, call: &ModelCall, response: &ObservedResponse, listed: &[Value]) -> Vec<TenantModel> {
        if response.status != 503 {
            return self.after_known_outcome(call, response).into_iter().collect();
        }
        let detail = response.body["detail"].as_str().unwrap_or_default();
        if detail.contains("nothing was written") {
            return vec![self.clone()];
        }
        assert!(detail.contains("unknown"), "{detail}");
        let mut models = vec![self.clone()];
        match call {
            ModelCall::Create { .. } => {
                let id = |end_user: &&Value| end_user["endUserID"].as_u64().unwrap_or_default();
                let new = listed.iter().filter(|end_user| !self.end_users.contains_key(&id(end_user)));
                models.extend(new.filter_map(|end_user| self.with_created(call, end_user)));
            }
            _ => models.extend(self.applied(call).map(|(model, _, _)| model)),
        }
        models
    }

    /// Returns the state after a call with a response other than 503, or `None` if the response is wrong.
    fn after_known_outcome(&self, call: &ModelCall, response: &ObservedResponse) -> Option<TenantModel> {
        if let ModelCall::Create { entries, .. } = call
            && has_two_primaries(entries)
        {
            return response.is(400).then(|| self.clone());
        }
        if let ModelCall::Create { key: Some(key), .. } | ModelCall::Assign { key: Some(key), .. } = call
            && let Some((fingerprint, status, body)) = self.stored_responses.get(key)
        {
            let fits = if *fingerprint == call.fingerprint() {
                response.status == *status && response.replayed && is_match(body, &response.body)
            } else {
                response.is(422)
            };
            // A delete erases the stored responses about its end user. If it is killed, they are erased up to a second
            // later.
            let is_erasable = body["endUserID"].as_u64().is_some_and(|id| self.deleted.contains(&id));
            if fits || !is_erasable {
                return fits.then(|| self.clone());
            }
        }
        if let ModelCall::Create { .. } = call {
            return self.with_created(call, &response.body).filter(|_| response.is(201));
        }
        if let ModelCall::Read { id, tag } = call {
            let Some(end_user) = self.end_users.get(id) else { return response.is(404).then(|| self.clone()) };
            let current = tag.is_some() && *tag == end_user.etag;
            let fits =
                if current { response.is(304) } else { response.is(200) && end_user.is_shown_as(*id, &response.body) };
            return fits.then(|| self.clone());
        }
        match self.applied(call) {
            Some((model, status, body)) => (response.is(status) && is_match(&body, &response.body))
                .then_some(model.with_assigned_id(call, &response.body)),
            None => response.is(self.error_status(call)).then(|| self.clone()),
        }
    }

    /// Returns the state with the created end user, if `shown` is its EndUserReadDTO. Returns `None` if the create is
    /// invalid or `shown` is another end user.
    fn with_created(&self, call: &ModelCall, shown: &Value) -> Option<TenantModel> {
        let ModelCall::Create { patch, customer_type, entries, key } = call else { return None };
        let id = shown["endUserID"].as_u64()?;
        let empty = ModelEndUser { profile: [None; FIELD_COUNT], customer_type: "Lead", uids: Vec::new(), etag: None };
        let mut end_user = empty.changed(patch, *customer_type, entries)?;
        let fresh = !self.end_users.contains_key(&id) && !self.deleted.contains(&id);
        if !fresh || !end_user.is_shown_as(id, shown) {
            return None;
        }
        end_user.learn_uid_ids(shown);
        let mut model = self.clone();
        model.end_users.insert(id, end_user);
        if let Some(key) = key {
            model.stored_responses.insert(key.clone(), (call.fingerprint(), 201, shown.clone()));
        }
        Some(model)
    }

    /// Returns the state after `call` and the status and body of its response, or `None` if the call is an error.
    fn applied(&self, call: &ModelCall) -> Option<(TenantModel, u16, Value)> {
        let mut model = self.clone();
        match call {
            ModelCall::Update { id, patch, customer_type, entries, tag } => {
                let end_user = model.end_users.get_mut(id).filter(|end_user| end_user.has_tag(tag))?;
                end_user.replace_with(end_user.changed(patch, *customer_type, entries)?);
                Some((model, 204, Value::Null))
            }
            ModelCall::Delete { id, tag } => {
                model.end_users.get(id).filter(|end_user| end_user.has_tag(tag))?;
                model.end_users.remove(id);
                model.deleted.insert(*id);
                Some((model, 204, Value::Null))
            }
            ModelCall::Assign { id, entry, key } => {
                let end_user = model.end_users.get_mut(id)?;
                let spelling = &SPELLINGS[entry.spelling?];
                let linked = end_user.uids.iter().position(|uid| uid.matches(spelling));
                let mut changed = end_user.clone();
                let at = linked.unwrap_or_else(|| {
                    changed.uids.push(ModelUid::new(spelling));
                    changed.uids.len() - 1
                });
                if entry.primary == Some(true) {
                    changed.set_primary(at);
                }
                end_user.replace_with(changed);
                let mut body = end_user.uids[at].assign_body(*id);
                let status = if linked.is_some() { 200 } else { 201 };
                if linked.is_some() {
                    body["message"] = "This UID is already linked to this end user.".into();
                }
                if let Some(key) = key {
                    model.stored_responses.insert(key.clone(), (call.fingerprint(), status, body.clone()));
                }
                Some((model, status, body))
            }
            ModelCall::Create { .. } | ModelCall::Read { .. } => None,
        }
    }

    /// The status of a call for which [`Self::applied`] returns `None`.
    fn error_status(&self, call: &ModelCall) -> u16 {
        match call {
            ModelCall::Update { entries, .. } if has_two_primaries(entries) => 400,
            ModelCall::Update { id, tag, .. } | ModelCall::Delete { id, tag } => match self.end_users.get(id) {
                None => 404,
                Some(end_user) if !end_user.has_tag(tag) => 412,
                Some(_) => 400,
            },
            _ => 404,
        }
    }

    /// Takes over the UID's id from the body of an assign.
    fn with_assigned_id(mut self, call: &ModelCall, body: &Value) -> TenantModel {
        if let ModelCall::Assign { id, key, .. } = call {
            let uid = self.end_users.get_mut(id).and_then(|end_user| {
                end_user
                    .uids
                    .iter_mut()
                    .find(|uid| uid.id.is_none() && body["uid"] == uid.value && body["uidType"] == uid.kind)
            });
            if let Some(uid) = uid {
                uid.id = body["endUserUIDID"].as_u64();
            }
            if let Some((_, _, stored)) = key.as_ref().and_then(|key| self.stored_responses.get_mut(key)) {
                *stored = body.clone();
            }
        }
        self
    }

    /// Whether `listed` is the list of this state. Takes over the UID ids in it.
    pub fn is_listed(&mut self, listed: &[Value]) -> bool {
        let ids: Vec<_> = listed.iter().filter_map(|end_user| end_user["endUserID"].as_u64()).collect();
        let same_ids = ids.iter().eq(self.end_users.keys());
        same_ids
            && self.end_users.iter_mut().zip(listed).all(|((id, end_user), shown)| {
                let fits = end_user.is_shown_as(*id, shown);
                end_user.learn_uid_ids(shown);
                fits
            })
    }

    /// The ids of the end users that a look-up finds.
    pub fn found_by(&self, lookup: usize) -> Vec<u64> {
        let (_, keys) = LOOKUPS[lookup];
        self.end_users
            .iter()
            .filter(|(_, end_user)| end_user.keys().any(|key| keys.contains(&key)))
            .map(|(id, _)| *id)
            .collect()
    }
}

/// Whether two JSON values are equal, where an expected `"?"` equals any value.
fn is_match(expected: &Value, response: &Value) -> bool {
    match (expected, response) {
        (Value::String(any), _) if any == "?" => true,
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(name, value)| b.get(name).is_some_and(|other| is_match(value, other)))
        }
        _ => expected == response,
    }
}
