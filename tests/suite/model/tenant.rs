//! A model of one tenant: its end users, merges and stored responses, and the effect of a call (docs/api.md).

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::end_user::{ModelEndUser, ModelUid};
use super::merging::{MergedEndUser, ModelMerge};
use super::request::{ModelCall, ModelUpsert, ObservedResponse};
use super::words::{LOOKUPS, SPELLINGS};

/// One state that a tenant's data can be in.
#[derive(Clone, Default, PartialEq, Debug)]
pub struct TenantModel {
    pub end_users: BTreeMap<u64, ModelEndUser>,
    /// Whether at most one end user can hold an identifier.
    pub is_exclusive: bool,
    pub deleted: BTreeSet<u64>,
    /// The merged end users by their old ids, also those whose survivor is deleted.
    pub merged: BTreeMap<u64, MergedEndUser>,
    /// By idempotency key, and number of the element of an upsertMany.
    stored_responses: BTreeMap<(String, Option<usize>), StoredResponse>,
    /// The match keys that calls of the current round gave to or took from end users, except upserts.
    unsettled: BTreeSet<&'static str>,
}

/// A response that a repeat of its request gets.
#[derive(Clone, PartialEq, Debug)]
struct StoredResponse {
    fingerprint: String,
    status: u16,
    body: Value,
    /// The end user whose deletion erases it.
    about: u64,
}

/// The effect of a call, and its response.
struct Effect {
    model: TenantModel,
    status: u16,
    /// The body without the EndUserReadDTO; `"?"` stands for an unknown value.
    body: Value,
    /// The EndUserReadDTO in the body: its member, and the end user. The member is empty if the DTO is the body.
    shown: Option<(&'static str, ModelEndUser)>,
    /// The end user that the response is about.
    about: u64,
    /// Whether the call created it.
    is_created: bool,
    /// Whether the response has its ETag.
    has_etag: bool,
}

/// The reason why a call changes nothing.
enum Refusal {
    Status(u16),
    /// 308: the end user that the id is part of.
    Moved(u64),
    /// 409: the code, and the end users with paths in the request.
    Conflict(&'static str, Value),
}

impl TenantModel {
    /// The state of an empty tenant.
    pub fn new(is_exclusive: bool) -> Self {
        Self { is_exclusive, ..Self::default() }
    }

    /// Returns the states after `call` that `response` allows; none if the response contradicts docs/api.md. `listed`
    /// is the list after the round. It has the id of an end user if the outcome of the call that creates it is unknown.
    pub fn after(&self, call: &ModelCall, response: &ObservedResponse, listed: &[Value]) -> Vec<TenantModel> {
        let mut models = Vec::new();
        for unseen in self.unseen_keys(call) {
            let more = if response.status == 503 {
                self.after_unknown_outcome(call, response, listed, &unseen)
            } else {
                self.after_known_outcome(call, response, &unseen).into_iter().collect()
            };
            for mut model in more {
                if call.upsert().is_none() && !self.is_exclusive {
                    model.unsettle(self);
                }
                if !models.contains(&model) {
                    models.push(model);
                }
            }
        }
        models
    }

    /// The sets of deciding keys that an upsert may see as held by nobody. Another write shows within a second, so
    /// any of those that writes of the same round moved.
    fn unseen_keys(&self, call: &ModelCall) -> Vec<BTreeSet<&'static str>> {
        let mut sets = vec![BTreeSet::new()];
        let deciding: BTreeSet<_> =
            call.upsert().into_iter().flat_map(ModelUpsert::deciding).map(|(key, _)| key).collect();
        for key in deciding.intersection(&self.unsettled) {
            let with: Vec<_> = sets.iter().map(|set| set.iter().copied().chain([*key]).collect()).collect();
            sets.extend::<Vec<BTreeSet<_>>>(with);
        }
        sets
    }

    /// Adds the match keys that other end users hold than in the state `before`.
    fn unsettle(&mut self, before: &Self) {
        let holders = |model: &Self| -> BTreeSet<_> {
            model.end_users.iter().flat_map(|(id, end_user)| end_user.keys().map(|key| (key, *id))).collect()
        };
        let (old, new) = (holders(before), holders(self));
        self.unsettled.extend(old.symmetric_difference(&new).map(|(key, _)| *key));
    }

    /// Ends a round: all of its writes show from now on.
    pub fn settle(&mut self) {
        self.unsettled.clear();
    }

    /// Returns the states after a call with the response 503.
    fn after_unknown_outcome(
        &self,
        call: &ModelCall,
        response: &ObservedResponse,
        listed: &[Value],
        unseen: &BTreeSet<&'static str>,
    ) -> Vec<TenantModel> {
        let mut models = vec![self.clone()];
        let detail = response.body["detail"].as_str().unwrap_or_default();
        if detail.contains("nothing was written") {
            return models;
        }
        assert!(detail.contains("unknown"), "{detail}");
        let id = |shown: &Value| shown["endUserID"].as_u64().unwrap_or_default();
        let new = listed.iter().filter(|shown| self.is_unused(id(shown)));
        for shown in [&Value::Null].into_iter().chain(new) {
            match self.effect(call, id(shown), unseen) {
                // A create has one of the new ids, any other effect none.
                Ok(effect) if effect.is_created != shown.is_null() => models.push(effect.without_response(call, shown)),
                _ => {}
            }
        }
        models
    }

    /// Returns the state after a call with a response other than 503, or `None` if the response is wrong.
    fn after_known_outcome(
        &self,
        call: &ModelCall,
        response: &ObservedResponse,
        unseen: &BTreeSet<&'static str>,
    ) -> Option<TenantModel> {
        if call.is_invalid() {
            return response.is(400).then(|| self.clone());
        }
        if let Some(key) = call.key_use() {
            // A delete erases the stored responses about its end user. If it is killed, they are erased up to a second
            // later.
            let is_erasable = |stored: &StoredResponse| self.end(stored.about).is_none();
            let of_key = self.stored_responses.iter().filter(|((name, _), _)| *name == key.key);
            let mut others = of_key.map(|(_, stored)| stored).filter(|other| other.fingerprint != key.fingerprint);
            if response.is(422) {
                return others.next().map(|_| self.clone());
            }
            if !others.all(is_erasable) {
                return None;
            }
            if let Some(stored) = self.stored_responses.get(&(key.key, key.item))
                && stored.fingerprint == key.fingerprint
            {
                let fits = response.status == stored.status
                    && response.replayed != Some(false)
                    && is_match(&stored.body, &response.body);
                if fits || !is_erasable(stored) {
                    return fits.then(|| self.clone());
                }
            }
        }
        if let ModelCall::Read { id, tag } = call
            && let Some(end_user) = self.end_users.get(id)
        {
            let current = tag.is_some() && *tag == end_user.etag;
            let fits =
                if current { response.is(304) } else { response.is(200) && end_user.is_shown_as(*id, &response.body) };
            return fits.then(|| self.clone());
        }
        let created = response.body["endUserID"].as_u64().or(response.body["endUser"]["endUserID"].as_u64());
        match self.effect(call, created.unwrap_or_default(), unseen) {
            Ok(effect) if effect.is_created && !self.is_unused(effect.about) => None,
            Ok(effect) => effect.with_response(call, response),
            Err(refusal) => refusal.is_shown_as(call, response).then(|| self.clone()),
        }
    }

    /// Whether a create can assign the id.
    fn is_unused(&self, id: u64) -> bool {
        id > 0 && !self.end_users.contains_key(&id) && !self.deleted.contains(&id) && !self.merged.contains_key(&id)
    }

    /// The end user that an id stands for: itself, or the one that it is part of. `None` if there is none.
    pub fn end(&self, id: u64) -> Option<u64> {
        match self.merged.get(&id) {
            _ if self.end_users.contains_key(&id) => Some(id),
            Some(record) => self.end(record.into),
            None => None,
        }
    }

    /// The end user of a path.
    fn existing(&self, id: u64) -> Result<&ModelEndUser, Refusal> {
        match self.end(id) {
            None => Err(Refusal::Status(404)),
            Some(end) if end != id => Err(Refusal::Moved(end)),
            Some(_) => Ok(&self.end_users[&id]),
        }
    }

    /// The effect of a call. `created` is the id of the end user that it creates, if it does.
    fn effect(&self, call: &ModelCall, created: u64, unseen: &BTreeSet<&'static str>) -> Result<Effect, Refusal> {
        let effect = self.shared_effect(call, created, unseen)?;
        match self.taken_by(call, &effect) {
            Some(end_users) if self.is_exclusive => Err(Refusal::Conflict("identifier_taken", end_users)),
            _ => Ok(effect),
        }
    }

    /// The other end users that hold an identifier which a call would give to an end user; `None` if there are none.
    fn taken_by(&self, call: &ModelCall, effect: &Effect) -> Option<Value> {
        let before = self.end_users.get(&effect.about).filter(|_| !matches!(call, ModelCall::Unmerge { .. }));
        let held: BTreeSet<_> = before.into_iter().flat_map(ModelEndUser::keys).collect();
        let after = effect.model.end_users.get(&effect.about)?;
        let gained: BTreeSet<_> = after.keys().filter(|key| !held.contains(key)).collect();
        let others = effect.model.end_users.iter().filter(|(id, _)| **id != effect.about);
        let holders = others.filter(|(_, end_user)| end_user.keys().any(|key| gained.contains(key)));
        let conflicts: Vec<_> = holders.map(|(id, _)| json!({ "endUserID": id, "fields": "?" })).collect();
        (!conflicts.is_empty()).then(|| json!(conflicts))
    }

    /// The effect of a call if several end users can hold an identifier.
    fn shared_effect(
        &self,
        call: &ModelCall,
        created: u64,
        unseen: &BTreeSet<&'static str>,
    ) -> Result<Effect, Refusal> {
        match call {
            ModelCall::Create { patch, customer_type, entries, .. } => {
                let end_user = ModelEndUser::empty().changed(patch, *customer_type, entries);
                self.create(created, end_user.ok_or(Refusal::Status(400))?, "", Value::Null)
            }
            ModelCall::Update { id, patch, customer_type, entries, tag } => {
                let before = self.existing(*id)?;
                before.has_tag(tag).then_some(()).ok_or(Refusal::Status(412))?;
                let after = before.changed(patch, *customer_type, entries).ok_or(Refusal::Status(400))?;
                Ok(self.replace(*id, after).no_content())
            }
            ModelCall::Delete { id, tag } => {
                // A redirect of a deletion would delete the survivor.
                let before = self.end_users.get(id).ok_or(Refusal::Status(404))?;
                before.has_tag(tag).then_some(()).ok_or(Refusal::Status(412))?;
                let mut effect = self.replace(*id, before.clone()).no_content();
                effect.model.end_users.remove(id);
                effect.model.deleted.insert(*id);
                Ok(effect)
            }
            ModelCall::Assign { id, entry, .. } => {
                let id = self.end(*id).ok_or(Refusal::Status(404))?;
                let spelling = &SPELLINGS[entry.spelling.ok_or(Refusal::Status(400))?];
                let mut after = self.end_users[&id].clone();
                let linked = after.uids.iter().position(|uid| uid.matches(spelling));
                let at = linked.unwrap_or_else(|| {
                    after.uids.push(ModelUid::new(spelling));
                    after.uids.len() - 1
                });
                if entry.primary == Some(true) {
                    after.set_primary(at);
                }
                let mut effect = self.replace(id, after);
                effect.body = effect.model.end_users[&id].uids[at].assign_body(id);
                effect.status = if linked.is_some() { 200 } else { 201 };
                if linked.is_some() {
                    effect.body["message"] = "This UID is already linked to this end user.".into();
                }
                Ok(effect)
            }
            ModelCall::Upsert { upsert, .. } => self.upsert(upsert, created, unseen),
            ModelCall::UpsertItem { upsert, .. } => {
                let mut effect = self.upsert(upsert, created, unseen)?;
                (effect.shown, effect.has_etag) = (None, false);
                effect.body["endUserID"] = json!(effect.about);
                Ok(effect)
            }
            ModelCall::Merge { id, other, dry_run, tag, .. } => {
                let survivor = self.existing(*id)?;
                let other = self.end(*other).ok_or(Refusal::Status(404))?;
                survivor.has_tag(tag).then_some(()).ok_or(Refusal::Status(412))?;
                if *id == other {
                    return Err(Refusal::Conflict("already_merged", json!([])));
                }
                Ok(self.merge(*id, other, *dry_run))
            }
            ModelCall::Unmerge { id, .. } => self.unmerge(*id),
            ModelCall::UpsertMany { .. } => unreachable!("its elements take effect one after another"),
            ModelCall::Read { id, .. } => self.existing(*id).and(Err(Refusal::Status(200))),
        }
    }

    fn create(&self, id: u64, end_user: ModelEndUser, member: &'static str, body: Value) -> Result<Effect, Refusal> {
        let mut model = self.clone();
        model.end_users.insert(id, end_user.clone());
        let shown = Some((member, end_user));
        Ok(Effect { model, status: 201, body, shown, about: id, is_created: true, has_etag: true })
    }

    fn replace(&self, id: u64, after: ModelEndUser) -> Effect {
        let mut model = self.clone();
        model.end_users.entry(id).and_modify(|end_user| end_user.replace_with(after));
        Effect { model, status: 200, body: Value::Null, shown: None, about: id, is_created: false, has_etag: true }
    }

    fn upsert(&self, upsert: &ModelUpsert, created: u64, unseen: &BTreeSet<&'static str>) -> Result<Effect, Refusal> {
        let deciding = upsert.deciding();
        let paths = |end_user: &ModelEndUser| -> Vec<_> {
            let held = deciding.iter().filter(|(key, _)| end_user.keys().any(|held| held == *key));
            held.map(|(_, path)| path.as_str()).collect()
        };
        let is_seen = |end_user: &ModelEndUser| {
            end_user.keys().any(|held| !unseen.contains(held) && deciding.iter().any(|(key, _)| held == *key))
        };
        let matches: Vec<_> = self.end_users.iter().filter(|(_, end_user)| is_seen(end_user)).collect();
        match matches[..] {
            [] => {
                let end_user = upsert.created().ok_or(Refusal::Status(400))?;
                self.create(created, end_user, "endUser", json!({ "outcome": "Created" }))
            }
            [(id, end_user)] if upsert.replaces_reference(end_user) => {
                Err(Refusal::Conflict("different_reference", json!([{ "endUserID": id, "fields": ["customerRef"] }])))
            }
            [(id, end_user)] => {
                let after = upsert.applied_to(end_user).ok_or(Refusal::Status(400))?;
                let outcome = if after == *end_user { "Unchanged" } else { "Updated" };
                let mut effect = self.replace(*id, after.clone());
                (effect.body, effect.shown) = (json!({ "outcome": outcome }), Some(("endUser", after)));
                Ok(effect)
            }
            _ => {
                let conflicts =
                    matches.iter().map(|(id, end_user)| json!({ "endUserID": id, "fields": paths(end_user) }));
                Err(Refusal::Conflict("ambiguous_match", conflicts.collect()))
            }
        }
    }

    fn merge(&self, id: u64, other: u64, dry_run: bool) -> Effect {
        let merge = ModelMerge::new(&self.end_users[&id], &self.end_users[&other]);
        let mut model = self.clone();
        if !dry_run {
            model.end_users.insert(id, merge.survivor.clone());
            if let Some(before) = model.end_users.remove(&other) {
                let number = 1 + self.merges_into(id).map(|(_, record)| record.number).max().unwrap_or_default();
                model.merged.insert(other, merge.record(&before, id, number));
            }
        }
        let (body, shown) = (merge.body(other), Some(("endUser", merge.survivor)));
        Effect { model, status: 200, body, shown, about: id, is_created: false, has_etag: !dry_run }
    }

    /// The end users that were merged into this one and not taken out again.
    fn merges_into(&self, id: u64) -> impl Iterator<Item = (u64, &MergedEndUser)> {
        self.merged.iter().filter(move |(_, record)| record.into == id).map(|(other, record)| (*other, record))
    }

    /// The same, the newest first.
    pub fn merges(&self, id: u64) -> Vec<u64> {
        let mut merges: Vec<_> = self.merges_into(id).map(|(other, record)| (record.number, other)).collect();
        merges.sort_unstable();
        merges.into_iter().rev().map(|(_, other)| other).collect()
    }

    fn unmerge(&self, id: u64) -> Result<Effect, Refusal> {
        let not_found = Refusal::Status(404);
        let Some(record) = self.merged.get(&id) else { return Err(not_found) };
        let later = |id: u64| Refusal::Conflict("later_merge", json!([{ "endUserID": id, "fields": [] }]));
        let Some(survivor) = self.end_users.get(&record.into) else {
            return Err(if self.end(id).is_some() { later(record.into) } else { not_found });
        };
        if let Some(latest) = self.merges(record.into).into_iter().next().filter(|latest| *latest != id) {
            return Err(later(latest));
        }
        let (survivor, other) = record.undo(survivor);
        let mut effect = self.replace(record.into, survivor);
        effect.model.merged.remove(&id);
        effect.model.end_users.insert(id, other.clone());
        (effect.body, effect.shown) = (json!({ "mergedIntoEndUserID": record.into }), Some(("endUser", other)));
        effect.about = id;
        Ok(effect)
    }

    /// Whether `listed` is the list of this state. Takes over the UID ids in it.
    pub fn is_listed(&mut self, listed: &[Value]) -> bool {
        let ids: Vec<_> = listed.iter().filter_map(|end_user| end_user["endUserID"].as_u64()).collect();
        let same_ids = ids.iter().eq(self.end_users.keys());
        let is_same = same_ids
            && self.end_users.iter_mut().zip(listed).all(|((id, end_user), shown)| {
                let fits = end_user.is_shown_as(*id, shown);
                end_user.learn_uid_ids(shown);
                fits
            });
        self.learn_moved_uid_ids();
        is_same
    }

    fn learn_moved_uid_ids(&mut self) {
        for record in self.merged.values_mut() {
            if let Some(survivor) = self.end_users.get(&record.into) {
                record.learn_uid_ids(survivor);
            }
        }
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

    /// The end users that share identifiers with this one, those with the most first, and the shared values.
    pub fn duplicates(&self, id: u64) -> Vec<(u64, BTreeSet<&'static str>)> {
        let end_user = &self.end_users[&id];
        let others = self.end_users.iter().filter(|(other, _)| **other != id);
        let shared = others.map(|(other, theirs)| (*other, end_user.shared_with(theirs)));
        let mut shared: Vec<_> = shared.filter(|(_, (_, keys))| *keys > 0).collect();
        shared.sort_by_key(|(other, (_, keys))| (std::cmp::Reverse(*keys), *other));
        shared.into_iter().map(|(other, (values, _))| (other, values)).collect()
    }
}

impl Effect {
    /// The effect with 204 for a response.
    fn no_content(self) -> Self {
        Self { status: 204, has_etag: false, ..self }
    }

    /// Returns the state after the call, or `None` if the response is wrong.
    fn with_response(mut self, call: &ModelCall, response: &ObservedResponse) -> Option<TenantModel> {
        let mut rest = response.body.clone();
        if let Some((member, end_user)) = &self.shown {
            let shown = if member.is_empty() { rest.take() } else { rest.as_object_mut()?.remove(*member)? };
            if !end_user.is_shown_as(self.about, &shown) {
                return None;
            }
            // A dry run shows an end user as it is not.
            if let Some(end_user) = self.model.end_users.get_mut(&self.about).filter(|_| self.has_etag) {
                end_user.learn_uid_ids(&shown);
            }
        }
        if !response.is(self.status) || !is_match(&self.body, &rest) {
            return None;
        }
        if let ModelCall::Assign { .. } = call {
            self.learn_assigned_id(&rest);
        }
        self.model.learn_moved_uid_ids();
        if self.has_etag {
            let etag = &mut self.model.end_users.get_mut(&self.about)?.etag;
            if response.etag.is_none() || etag.is_some() && *etag != response.etag {
                return None;
            }
            etag.clone_from(&response.etag);
        }
        self.store(call, response.body.clone());
        Some(self.model)
    }

    /// Returns the state after a call whose response was lost. `shown` is the end user in the list, if it is new.
    fn without_response(mut self, call: &ModelCall, shown: &Value) -> TenantModel {
        let mut body = self.body.clone();
        if let Some((member, end_user)) = &self.shown {
            // The list is of the end of the round.
            let is_as_created = end_user.is_shown_as(self.about, shown);
            let dto = if is_as_created { shown.clone() } else { json!("?") };
            if member.is_empty() { body = dto } else { body[*member] = dto }
        }
        self.store(call, body);
        self.model
    }

    /// Stores the response for the idempotency key of the call.
    fn store(&mut self, call: &ModelCall, body: Value) {
        if let Some(key) = call.key_use() {
            let response =
                StoredResponse { fingerprint: key.fingerprint, status: self.status, body, about: self.about };
            self.model.stored_responses.insert((key.key, key.item), response);
        }
    }

    /// Takes over the UID's id from the body of an assign.
    fn learn_assigned_id(&mut self, body: &Value) {
        let uids = self.model.end_users.get_mut(&self.about).into_iter().flat_map(|end_user| &mut end_user.uids);
        for uid in uids.filter(|uid| uid.id.is_none() && body["uid"] == uid.value && body["uidType"] == uid.kind) {
            uid.id = body["endUserUIDID"].as_u64();
        }
    }
}

impl Refusal {
    /// Whether `response` reports it.
    fn is_shown_as(&self, call: &ModelCall, response: &ObservedResponse) -> bool {
        match self {
            Self::Status(status) => response.is(*status),
            Self::Moved(end) => response.is(308) && response.is_redirect(&call.to_http().1, *end),
            Self::Conflict(code, end_users) => {
                let shown = response.body.get("conflicts").cloned().unwrap_or_else(|| json!([]));
                response.is(409) && response.body["code"] == *code && is_match(end_users, &shown)
            }
        }
    }
}

/// Whether two JSON values are equal, where an expected `"?"` equals any value, and arrays may differ in their order.
fn is_match(expected: &Value, response: &Value) -> bool {
    match (expected, response) {
        (Value::String(any), _) if any == "?" => true,
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(name, value)| b.get(name).is_some_and(|other| is_match(value, other)))
        }
        (Value::Array(a), Value::Array(b)) => {
            a.len() == b.len() && a.iter().all(|value| b.iter().any(|other| is_match(value, other)))
        }
        _ => expected == response,
    }
}
