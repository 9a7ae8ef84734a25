//! The contract in memory: what one tenant's data is, and what a request makes of it.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::words::{
    COMPANY, DETAILS, FIELD_COUNT, FIELDS, LOOKUPS, REFERENCE, REFERENCE_KEYS, SEARCHED_FIELDS, SPELLINGS, Spelling,
};

/// An end user's fields: of each of [`FIELDS`] which value.
pub type Profile = [Option<usize>; FIELD_COUNT];

#[derive(Clone, PartialEq, Debug)]
pub struct Uid {
    /// `None` until an answer shows it.
    pub id: Option<u64>,
    pub kind: &'static str,
    pub value: &'static str,
    pub key: &'static str,
    pub words: &'static [&'static str],
    pub primary: bool,
}

impl Uid {
    fn same(&self, spelling: &Spelling) -> bool {
        self.kind.eq_ignore_ascii_case(spelling.stored_kind) && self.key == spelling.key
    }

    fn spell(&mut self, spelling: &Spelling) {
        (self.kind, self.value) = (spelling.stored_kind, spelling.stored);
        (self.key, self.words) = (spelling.key, spelling.words);
    }

    fn new(spelling: &Spelling) -> Self {
        let Spelling { stored_kind: kind, stored: value, key, words, .. } = *spelling;
        Self { id: None, kind, value, key, words, primary: false }
    }

    /// As an assign answers it; what is not known yet is `"?"`.
    fn answer(&self, end_user: u64) -> Value {
        json!({ "endUserUIDID": self.id.map_or(json!("?"), Value::from), "endUserID": end_user, "uidType": self.kind,
            "uid": self.value, "isPrimary": self.primary })
    }
}

#[derive(Clone, PartialEq, Debug)]
pub struct ModelEndUser {
    pub profile: Profile,
    pub customer_type: &'static str,
    pub uids: Vec<Uid>,
    /// The tag that it had when it was last looked at, unless it has changed since.
    pub etag: Option<String>,
}

/// One of the `uids` of a request.
#[derive(Clone, Debug)]
pub struct Entry {
    pub id: Option<u64>,
    pub spelling: Option<usize>,
    pub primary: Option<bool>,
    pub remove: bool,
}

/// What a request changes of a profile: absent, cleared, or set to a value.
pub type Patch = [Option<Option<usize>>; FIELD_COUNT];

/// A request, with all that it refers to.
#[derive(Clone, Debug)]
pub enum Call {
    Create { patch: Patch, customer_type: Option<&'static str>, entries: Vec<Entry>, key: Option<String> },
    Update { id: u64, patch: Patch, customer_type: Option<&'static str>, entries: Vec<Entry>, tag: Option<String> },
    Delete { id: u64, tag: Option<String> },
    Assign { id: u64, entry: Entry, key: Option<String> },
    Read { id: u64, tag: Option<String> },
}

impl Call {
    /// What tells it from another request with the same key.
    fn fingerprint(&self) -> String {
        format!("{self:?}")
    }
}

/// What was answered.
#[derive(Clone, Debug)]
pub struct Answer {
    pub status: u16,
    pub body: Value,
    pub replayed: bool,
    pub etag: Option<String>,
}

impl Answer {
    fn is(&self, status: u16) -> bool {
        self.status == status && !self.replayed
    }
}

#[derive(Clone, Default, PartialEq, Debug)]
pub struct World {
    pub end_users: BTreeMap<u64, ModelEndUser>,
    pub deleted: BTreeSet<u64>,
    /// By idempotency key: the request, and its answer.
    kept: BTreeMap<String, (String, u16, Value)>,
}

impl World {
    /// The worlds that this one may have become by `call`, given what was answered; none where the
    /// answer contradicts the contract. `listed` is the list afterwards: it tells the id of an end user
    /// whose create was not answered.
    pub fn after(&self, call: &Call, answer: &Answer, listed: &[Value]) -> Vec<World> {
        if answer.status != 503 {
            return self.answered(call, answer).into_iter().collect();
        }
        let detail = answer.body["detail"].as_str().unwrap_or_default();
        if detail.contains("nothing was written") {
            return vec![self.clone()];
        }
        assert!(detail.contains("unknown"), "{detail}");
        let mut worlds = vec![self.clone()];
        match call {
            Call::Create { .. } => {
                let id = |end_user: &&Value| end_user["endUserID"].as_u64().unwrap_or_default();
                let new = listed.iter().filter(|end_user| !self.end_users.contains_key(&id(end_user)));
                worlds.extend(new.filter_map(|end_user| self.created(call, end_user)));
            }
            _ => worlds.extend(self.carried_out(call).map(|(world, _, _)| world)),
        }
        worlds
    }

    fn answered(&self, call: &Call, answer: &Answer) -> Option<World> {
        if let Call::Create { entries, .. } = call
            && two_primaries(entries)
        {
            return answer.is(400).then(|| self.clone());
        }
        if let Call::Create { key: Some(key), .. } | Call::Assign { key: Some(key), .. } = call
            && let Some((fingerprint, status, body)) = self.kept.get(key)
        {
            let fits = if *fingerprint == call.fingerprint() {
                answer.status == *status && answer.replayed && agrees(body, &answer.body)
            } else {
                answer.is(422)
            };
            // A deletion erases the responses about its end user, a second later at the latest where it is cut short.
            let erased = body["endUserID"].as_u64().is_some_and(|id| self.deleted.contains(&id));
            if fits || !erased {
                return fits.then(|| self.clone());
            }
        }
        if let Call::Create { .. } = call {
            return self.created(call, &answer.body).filter(|_| answer.is(201));
        }
        if let Call::Read { id, tag } = call {
            let Some(end_user) = self.end_users.get(id) else { return answer.is(404).then(|| self.clone()) };
            let current = tag.is_some() && *tag == end_user.etag;
            let fits = if current { answer.is(304) } else { answer.is(200) && end_user.shown(*id, &answer.body) };
            return fits.then(|| self.clone());
        }
        match self.carried_out(call) {
            Some((world, status, body)) => {
                (answer.is(status) && agrees(&body, &answer.body)).then_some(world.learn(call, &answer.body))
            }
            None => answer.is(self.refusal(call)).then(|| self.clone()),
        }
    }

    /// This world with the end user that a create makes, as `shown` shows it; `None` where the create is
    /// at fault or shows somebody else.
    fn created(&self, call: &Call, shown: &Value) -> Option<World> {
        let Call::Create { patch, customer_type, entries, key } = call else { return None };
        let id = shown["endUserID"].as_u64()?;
        let nobody = ModelEndUser { profile: [None; FIELD_COUNT], customer_type: "Lead", uids: Vec::new(), etag: None };
        let mut end_user = nobody.changed(patch, *customer_type, entries)?;
        let fresh = !self.end_users.contains_key(&id) && !self.deleted.contains(&id);
        if !fresh || !end_user.shown(id, shown) {
            return None;
        }
        end_user.learn(shown);
        let mut world = self.clone();
        world.end_users.insert(id, end_user);
        if let Some(key) = key {
            world.kept.insert(key.clone(), (call.fingerprint(), 201, shown.clone()));
        }
        Some(world)
    }

    /// This world after `call`, and the answer to it; `None` where it is refused.
    fn carried_out(&self, call: &Call) -> Option<(World, u16, Value)> {
        let mut world = self.clone();
        match call {
            Call::Update { id, patch, customer_type, entries, tag } => {
                let end_user = world.end_users.get_mut(id).filter(|end_user| end_user.has(tag))?;
                end_user.turn_into(end_user.changed(patch, *customer_type, entries)?);
                Some((world, 204, Value::Null))
            }
            Call::Delete { id, tag } => {
                world.end_users.get(id).filter(|end_user| end_user.has(tag))?;
                world.end_users.remove(id);
                world.deleted.insert(*id);
                Some((world, 204, Value::Null))
            }
            Call::Assign { id, entry, key } => {
                let end_user = world.end_users.get_mut(id)?;
                let spelling = &SPELLINGS[entry.spelling?];
                let linked = end_user.uids.iter().position(|uid| uid.same(spelling));
                let mut changed = end_user.clone();
                let at = linked.unwrap_or_else(|| {
                    changed.uids.push(Uid::new(spelling));
                    changed.uids.len() - 1
                });
                if entry.primary == Some(true) {
                    changed.prefer(at);
                }
                end_user.turn_into(changed);
                let mut body = end_user.uids[at].answer(*id);
                let status = if linked.is_some() { 200 } else { 201 };
                if linked.is_some() {
                    body["message"] = "This UID is already linked to this end user.".into();
                }
                if let Some(key) = key {
                    world.kept.insert(key.clone(), (call.fingerprint(), status, body.clone()));
                }
                Some((world, status, body))
            }
            Call::Create { .. } | Call::Read { .. } => None,
        }
    }

    /// The status of a call that [`Self::carried_out`] refuses.
    fn refusal(&self, call: &Call) -> u16 {
        match call {
            Call::Update { entries, .. } if two_primaries(entries) => 400,
            Call::Update { id, tag, .. } | Call::Delete { id, tag } => match self.end_users.get(id) {
                None => 404,
                Some(end_user) if !end_user.has(tag) => 412,
                Some(_) => 400,
            },
            _ => 404,
        }
    }

    /// What an answer shows of ids that were not known.
    fn learn(mut self, call: &Call, body: &Value) -> World {
        if let Call::Assign { id, key, .. } = call {
            let uid = self.end_users.get_mut(id).and_then(|end_user| {
                end_user
                    .uids
                    .iter_mut()
                    .find(|uid| uid.id.is_none() && body["uid"] == uid.value && body["uidType"] == uid.kind)
            });
            if let Some(uid) = uid {
                uid.id = body["endUserUIDID"].as_u64();
            }
            if let Some(kept) = key.as_ref().and_then(|key| self.kept.get_mut(key)) {
                kept.2 = body.clone();
            }
        }
        self
    }

    /// Whether `listed` is this world's end users; learns the ids that it shows.
    pub fn is_listed(&mut self, listed: &[Value]) -> bool {
        let ids: Vec<_> = listed.iter().filter_map(|end_user| end_user["endUserID"].as_u64()).collect();
        let here = ids.iter().eq(self.end_users.keys());
        here && self.end_users.iter_mut().zip(listed).all(|((id, end_user), shown)| {
            let fits = end_user.shown(*id, shown);
            end_user.learn(shown);
            fits
        })
    }

    /// The end users whom a look-up finds.
    pub fn found(&self, lookup: usize) -> Vec<u64> {
        let (_, keys) = LOOKUPS[lookup];
        self.end_users
            .iter()
            .filter(|(_, end_user)| end_user.keys().any(|key| keys.contains(&key)))
            .map(|(id, _)| *id)
            .collect()
    }
}

impl ModelEndUser {
    /// The keys of its UIDs and customerRef.
    pub fn keys(&self) -> impl Iterator<Item = &'static str> {
        let reference = self.profile[REFERENCE].map(|value| REFERENCE_KEYS[value]);
        self.uids.iter().map(|uid| uid.key).chain(reference)
    }

    /// Its words as far as they are searched: 500 of them, and 16 KiB; whole values come on top.
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

    /// Whether it may have more words than are searched.
    pub fn is_oversized(&self) -> bool {
        self.profile[COMPANY].or(self.profile[DETAILS]).is_some()
    }

    fn has(&self, tag: &Option<String>) -> bool {
        tag.as_deref().is_none_or(|tag| tag == "*" || self.etag.as_deref() == Some(tag))
    }

    /// Takes on another state; the tag is lost only where it is one.
    fn turn_into(&mut self, other: Self) {
        if (Self { etag: None, ..other.clone() }) != (Self { etag: None, ..self.clone() }) {
            *self = Self { etag: None, ..other };
        }
    }

    fn prefer(&mut self, at: usize) {
        self.uids.iter_mut().enumerate().for_each(|(i, uid)| uid.primary = i == at);
    }

    /// What a request makes of it; `None` where the request is at fault.
    fn changed(&self, patch: &Patch, customer_type: Option<&'static str>, entries: &[Entry]) -> Option<Self> {
        if two_primaries(entries) {
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
                (None, Some(spelling)) => !uid.same(&SPELLINGS[spelling]),
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
                    // Of two that came to hold the same, the one named by id is meant, else the older.
                    let same =
                        (0..end_user.uids.len()).filter(|at| end_user.uids[*at].same(spelling.expect("a value")));
                    let first = same.min_by_key(|at| (!named.contains(at), end_user.uids[*at].id.unwrap_or(u64::MAX)));
                    first.unwrap_or_else(|| {
                        end_user.uids.push(Uid::new(spelling.expect("a value")));
                        end_user.uids.len() - 1
                    })
                }
            };
            if entry.id.is_some() {
                named.insert(at);
            }
            if let Some(spelling) = spelling {
                end_user.uids[at].spell(spelling);
            }
            match entry.primary {
                Some(true) => {
                    end_user.prefer(at);
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

    /// Makes one of the records that came to hold the same.
    fn deduplicate(&mut self, named: &BTreeSet<usize>, primary: Option<usize>) {
        let mut order: Vec<usize> = (0..self.uids.len()).collect();
        order.sort_by_key(|at| (!named.contains(at), self.uids[*at].id.unwrap_or(u64::MAX), *at));
        let mut kept: Vec<(usize, Uid)> = Vec::new();
        for at in order {
            let uid = self.uids[at].clone();
            match kept.iter_mut().find(|(_, k)| k.kind.eq_ignore_ascii_case(uid.kind) && k.key == uid.key) {
                Some((_, same)) => same.primary |= primary == Some(at),
                None => kept.push((at, uid)),
            }
        }
        kept.sort_by_key(|(at, _)| *at);
        self.uids = kept.into_iter().map(|(_, uid)| uid).collect();
    }

    /// Whether `shown` is an EndUserReadDTO of this end user.
    pub fn shown(&self, id: u64, shown: &Value) -> bool {
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
        let all = uids.len() == self.uids.len() && self.uids.iter().all(|uid| uids.iter().any(|shown| uid.is(shown)));
        rest == expected && all && ids.is_sorted()
    }

    fn learn(&mut self, shown: &Value) {
        for uid in self.uids.iter_mut().filter(|uid| uid.id.is_none()) {
            let shown = shown["uids"].as_array().into_iter().flatten().find(|shown| uid.is(shown));
            uid.id = shown.and_then(|shown| shown["endUserUIDID"].as_u64());
        }
    }
}

impl Uid {
    fn is(&self, shown: &Value) -> bool {
        let known = self.id.is_none_or(|id| shown["endUserUIDID"] == id);
        known && shown["uidType"] == self.kind && shown["uid"] == self.value && shown["isPrimary"] == self.primary
    }
}

fn two_primaries(entries: &[Entry]) -> bool {
    entries.iter().filter(|entry| !entry.remove && entry.primary == Some(true)).count() > 1
}

/// Whether an answer is the one expected, where `"?"` is whatever it is.
fn agrees(expected: &Value, answer: &Value) -> bool {
    match (expected, answer) {
        (Value::String(any), _) if any == "?" => true,
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(name, value)| b.get(name).is_some_and(|other| agrees(value, other)))
        }
        _ => expected == answer,
    }
}
