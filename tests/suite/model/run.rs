//! Runs sequences against a system and compares every response with the model.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write;

use futures::future::join_all;
use serde_json::{Value, json};

use super::end_user::ModelEndUser;
use super::plan::{PlannedCall, PlannedUpsert, Round, TENANTS, TagChoice, UidChange, UidLink};
use super::request::{HttpParts, ModelCall, ModelUidEntry, ModelUpsert, ObservedResponse};
use super::tenant::TenantModel;
use super::tickets::{TicketModel, event_json};
use super::words::{FIELDS, LOOKUPS, ORDINARY_FIELDS, SEARCHES, TYPES, WIDE_SEARCHES};
use crate::support::app::{self, App, TestRequest, ids};

/// An id that no end user and no UID has.
const UNUSED_ID: u64 = 2_000_000_000;

/// One tenant of a sequence.
struct TenantRun {
    name: String,
    token: String,
    /// The states that its data can be in, given all responses so far.
    models: Vec<TenantModel>,
    /// The ETags that each end user has had.
    tags: HashMap<u64, Vec<String>>,
    tickets: TicketModel,
    /// The requests with an idempotency key so far.
    keyed: Vec<ModelCall>,
    /// The greatest id of an end user so far.
    greatest: u64,
}

/// A response that contradicts the model, and the requests before it.
pub struct Contradiction(pub String);

type Verdict = Result<(), Contradiction>;

/// A sequence in progress.
pub struct SequenceRun<'a> {
    app: &'a App,
    tenants: Vec<TenantRun>,
    number: u64,
}

impl<'a> SequenceRun<'a> {
    /// A sequence with tenants of its own.
    pub fn new(app: &'a App, number: u64, is_exclusive: bool) -> Self {
        let tenant = |at| {
            let name = format!("model-{number}-{at}");
            let token = app::token(json!({ "customerID": name }));
            let models = vec![TenantModel::new(is_exclusive)];
            let (tags, tickets) = (HashMap::new(), TicketModel::default());
            TenantRun { name, token, models, tags, tickets, keyed: Vec::new(), greatest: 0 }
        };
        Self { app, tenants: (0..TENANTS).map(tenant).collect(), number }
    }

    /// Runs the rounds. Strongly consistent reads are compared after each, all other reads at the end.
    pub async fn run(mut self, rounds: &[Round]) -> Verdict {
        for (n, round) in rounds.iter().enumerate() {
            self.round(round, self.number as usize + n).await?;
        }
        self.app.settle().await;
        for at in 0..TENANTS {
            self.read_all(at).await?;
        }
        let dead = self.app.system.dead_letters().await;
        if dead.is_empty() { Ok(()) } else { Err(Contradiction(format!("dead letters: {dead:?}"))) }
    }

    async fn round(&mut self, round: &Round, salt: usize) -> Verdict {
        let mut calls = Vec::new();
        let mut deliveries = Vec::new();
        for (at, call) in round {
            match call {
                PlannedCall::Ingest(events) => {
                    let tenant = &mut self.tenants[*at];
                    for (event, times) in events {
                        tenant.tickets.ingest(*event);
                        deliveries.extend((0..*times).map(|_| event_json(event, &tenant.name).to_string()));
                    }
                }
                call => calls.push((*at, self.resolve(*at, call).await?)),
            }
        }
        separate_keys(&mut calls);
        for (at, call) in calls.iter().filter(|(_, call)| call.key_use().is_some()) {
            self.tenants[*at].keyed.push(call.clone());
        }
        // The order of the deliveries of a round is random.
        let mut order = fastrand::Rng::with_seed(salt as u64);
        order.shuffle(&mut deliveries);
        let ingesting = async {
            if !deliveries.is_empty() {
                let send =
                    TestRequest::new("POST", "/local/ticket-events").header("content-type", "application/x-ndjson");
                send.body(deliveries.join("\n")).to(self.app).await.expect(202);
            }
        };
        let calling = join_all(calls.iter().map(|(at, call)| self.call(*at, call)));
        let (responses, ()) = futures::future::join(calling, ingesting).await;
        for at in 0..TENANTS {
            let mine = calls.iter().zip(&responses).filter(|((tenant, _), _)| *tenant == at);
            let mine: Vec<_> = mine.map(|((_, call), response)| (call, response)).collect();
            self.narrow_models(at, &mine).await?;
            self.read_some(at, salt).await?;
        }
        Ok(())
    }

    /// Resolves a planned call against the end users that exist now.
    async fn resolve(&mut self, at: usize, call: &PlannedCall) -> Result<ModelCall, Contradiction> {
        let model = &self.tenants[at].models[0];
        let ids: Vec<u64> = model.end_users.keys().chain(model.merged.keys()).chain(&model.deleted).copied().collect();
        // Merges and their undo mostly mean end users that exist.
        let wrapped = |ids: &[u64], target: usize| target.checked_rem(ids.len()).map_or(UNUSED_ID, |at| ids[at]);
        let merged: Vec<u64> = model.merged.keys().copied().collect();
        let end_user = |target: usize| ids.get(target).copied().unwrap_or(UNUSED_ID);
        let entry = |link: &UidLink| ModelUidEntry {
            id: None,
            spelling: Some(link.spelling),
            primary: link.primary,
            remove: false,
        };
        let key = |key: &Option<u8>| key.map(|key| format!("key-{key}"));
        let kind = |sent: &Option<usize>| sent.and_then(|sent| TYPES[sent].1);
        let upsert = |planned: &PlannedUpsert| ModelUpsert {
            patch: planned.patch,
            customer_type: kind(&planned.customer_type),
            entries: planned.uids.iter().map(entry).collect(),
            match_by: planned.match_by,
            on_match: planned.on_match,
        };
        Ok(match call {
            PlannedCall::Create { patch, customer_type, uids, key: k } => ModelCall::Create {
                patch: *patch,
                customer_type: kind(customer_type),
                entries: uids.iter().map(entry).collect(),
                key: key(k),
            },
            PlannedCall::Update { target, patch, customer_type, uids, tag } => {
                let id = end_user(*target);
                let records: Vec<_> = model
                    .end_users
                    .get(&id)
                    .map(|p| p.uids.iter().filter_map(|uid| uid.id).collect())
                    .unwrap_or_default();
                let record = |at: usize| Some(records.get(at).copied().unwrap_or(UNUSED_ID));
                let entries = uids.iter().map(|change| match change {
                    UidChange::Put(link) => entry(link),
                    UidChange::Rewrite { record: r, spelling, primary } => {
                        ModelUidEntry { id: record(*r), spelling: *spelling, primary: *primary, remove: false }
                    }
                    UidChange::Remove { record: r } => {
                        ModelUidEntry { id: record(*r), spelling: None, primary: None, remove: true }
                    }
                    UidChange::RemoveValue { spelling } => {
                        ModelUidEntry { id: None, spelling: Some(*spelling), primary: None, remove: true }
                    }
                });
                let (entries, customer_type) = (entries.collect(), kind(customer_type));
                ModelCall::Update { id, patch: *patch, customer_type, entries, tag: self.tag(at, id, *tag).await? }
            }
            PlannedCall::Delete { target, tag } => {
                let id = end_user(*target);
                ModelCall::Delete { id, tag: self.tag(at, id, *tag).await? }
            }
            PlannedCall::Assign { target, link, key: k } => {
                ModelCall::Assign { id: end_user(*target), entry: entry(link), key: key(k) }
            }
            PlannedCall::Read { target, tag } => {
                let id = end_user(*target);
                let tag = if matches!(tag, TagChoice::Any) { TagChoice::None } else { *tag };
                ModelCall::Read { id, tag: self.tag(at, id, tag).await? }
            }
            PlannedCall::Upsert { upsert: planned, key: k } => {
                ModelCall::Upsert { upsert: upsert(planned), key: key(k) }
            }
            PlannedCall::UpsertMany { upserts, key: k } => ModelCall::UpsertMany {
                upserts: upserts.iter().map(upsert).collect(),
                key: key(k).map(|key| format!("batch-{key}")),
            },
            PlannedCall::Merge { target, other, dry_run, tag, key: k } => {
                let (id, other, key) = (wrapped(&ids, *target), wrapped(&ids, target + 1 + other), key(k));
                ModelCall::Merge { id, other, dry_run: *dry_run, tag: self.tag(at, id, *tag).await?, key }
            }
            PlannedCall::Unmerge { target, key: k } => {
                let id = if merged.is_empty() { end_user(*target) } else { wrapped(&merged, *target) };
                ModelCall::Unmerge { id, key: key(k) }
            }
            PlannedCall::Repeat(n) => {
                let keyed = &self.tenants[at].keyed;
                let earlier = n.checked_rem(keyed.len()).map(|n| keyed[n].clone());
                earlier.unwrap_or(ModelCall::Read { id: UNUSED_ID, tag: None })
            }
            PlannedCall::Ingest(_) => unreachable!("ticket events are not requests"),
        })
    }

    /// The entity tag of a request. Reads the end user if the choice depends on its current tag.
    async fn tag(&mut self, at: usize, id: u64, tag: TagChoice) -> Result<Option<String>, Contradiction> {
        match tag {
            TagChoice::None => return Ok(None),
            TagChoice::Any => return Ok(Some("*".to_owned())),
            TagChoice::Current | TagChoice::Stale => {}
        }
        if !self.tenants[at].models[0].end_users.contains_key(&id) {
            return Ok(Some("\"1\"".to_owned()));
        }
        let response = self.read(at, &format!("/api/EndUsers/{id}")).await;
        let current = response.etag.clone().unwrap_or_default();
        let tenant = &mut self.tenants[at];
        let seen = tenant.tags.entry(id).or_default();
        tenant.models.retain_mut(|model| match model.end_users.get_mut(&id) {
            Some(end_user) => match &end_user.etag {
                // The tag changes exactly with the end user.
                Some(tag) => *tag == current,
                None => {
                    let is_new = !seen.contains(&current);
                    end_user.etag = Some(current.clone());
                    is_new
                }
            },
            None => false,
        });
        if tenant.models.is_empty() {
            return Err(Contradiction(format!("end user {id} has the tag {current} after {seen:?}")));
        }
        let stale = seen.iter().rev().find(|tag| **tag != current).cloned();
        if !seen.contains(&current) {
            seen.push(current.clone());
        }
        Ok(Some(match tag {
            TagChoice::Current => current,
            _ => stale.unwrap_or_else(|| "\"0\"".to_owned()),
        }))
    }

    async fn call(&self, at: usize, call: &ModelCall) -> ObservedResponse {
        self.send(at, &call.to_http()).await
    }

    async fn send(&self, at: usize, (method, path, headers, body): &HttpParts) -> ObservedResponse {
        let mut send = TestRequest::new(method, path);
        for (name, value) in headers {
            send = send.header(name, value);
        }
        if let Some(body) = body {
            send = send.json(body);
        }
        let response = self.app.caller(Some(self.tenants[at].token.clone())).send(send).await;
        let replayed = Some(response.header("idempotency-replayed").is_some());
        let [etag, location] = ["etag", "location"].map(|name| response.header(name).map(str::to_owned));
        ObservedResponse { status: response.status, body: response.json(), replayed, etag, location }
    }

    /// Reads, and repeats the read after a 503, at most 50 times.
    async fn read(&self, at: usize, path: &str) -> ObservedResponse {
        self.send_until_available(at, &("GET", path.to_owned(), Vec::new(), None)).await
    }

    async fn send_until_available(&self, at: usize, request: &HttpParts) -> ObservedResponse {
        for _ in 0..50 {
            let response = self.send(at, request).await;
            if response.status != 503 {
                return response;
            }
        }
        panic!("{} is 503 fifty times", request.1)
    }

    async fn list(&self, at: usize, query: &str) -> Vec<Value> {
        let response = self.read(at, &format!("/api/EndUsers?pageSize=100{query}")).await;
        assert_eq!(response.status, 200, "{query}: {}", response.body);
        response.body["items"].as_array().cloned().unwrap_or_default()
    }

    /// Keeps the states that agree with the current list and with the responses, in any order of the calls.
    async fn narrow_models(&mut self, at: usize, calls: &[(&ModelCall, &ObservedResponse)]) -> Verdict {
        let listed = self.list(at, "").await;
        let tenant = &mut self.tenants[at];
        let steps: Vec<_> = calls.iter().map(|(call, response)| call.steps(response)).collect();
        let mut after: Vec<TenantModel> = Vec::new();
        for mut model in interleaved(&tenant.models, &mut vec![0; steps.len()], &steps, &listed) {
            model.settle();
            if model.is_listed(&listed) && !after.contains(&model) {
                after.push(model);
            }
        }
        let mut story = String::new();
        for (call, response) in calls {
            let (method, path, headers, body) = call.to_http();
            let body = body.map(|body| body.to_string()).unwrap_or_default();
            let ObservedResponse { status, body: received, replayed, .. } = response;
            let _ =
                writeln!(story, "  {method} {path} {headers:?} {body}\n    {status} {received} replayed: {replayed:?}");
            let created = match call {
                ModelCall::Create { .. } => &received["endUserID"],
                ModelCall::Upsert { .. } => &received["endUser"]["endUserID"],
                _ => &Value::Null,
            };
            if let Some(id) = created.as_u64().filter(|id| response.is(201) && *id <= tenant.greatest) {
                return Err(Contradiction(format!("id {id} after {}\n{story}", tenant.greatest)));
            }
        }
        if after.is_empty() {
            let listed: Vec<_> = listed.iter().map(Value::to_string).collect();
            let listed = listed.join("\n    ");
            let models = &tenant.models;
            return Err(Contradiction(format!(
                "concurrent calls:\n{story}  list afterwards:\n    {listed}\n  before: {models:#?}"
            )));
        }
        tenant.greatest = listed.iter().filter_map(|p| p["endUserID"].as_u64()).max().unwrap_or(0).max(tenant.greatest);
        tenant.models = after;
        Ok(())
    }

    /// Compares a few strongly consistent reads; `salt` selects them.
    async fn read_some(&self, at: usize, salt: usize) -> Verdict {
        let model = &self.tenants[at].models[0];
        let lookup = salt % LOOKUPS.len();
        self.look_up(at, lookup).await?;
        if let Some(id) = model.end_users.keys().nth(salt % model.end_users.len().max(1)) {
            let response = self.read(at, &format!("/api/EndUsers/{id}")).await;
            expect(model.end_users[id].is_shown_as(*id, &response.body), || format!("GET {id}: {}", response.body))?;
        }
        if let Some(id) = model.deleted.first() {
            let response = self.read(at, &format!("/api/EndUsers/{id}")).await;
            expect(response.status == 404, || format!("GET {id}, deleted: {} {}", response.status, response.body))?;
        }
        if let Some(id) = model.merged.keys().nth(salt % model.merged.len().max(1)) {
            self.read_merged(at, *id, ["", "/tickets?pageSize=7", "/duplicates", "/merges"][salt % 4]).await?;
        }
        Ok(())
    }

    /// Compares the response to a read with the id of a merged end user: 308, or 404 if the survivor is deleted.
    async fn read_merged(&self, at: usize, id: u64, rest: &str) -> Verdict {
        let path = format!("/api/EndUsers/{id}{rest}");
        let response = self.read(at, &path).await;
        let end = self.tenants[at].models[0].end(id);
        let fits = match end {
            Some(end) => response.status == 308 && response.is_redirect(&path, end),
            None => response.status == 404,
        };
        expect(fits, || format!("GET {path}, part of {end:?}: {response:?}"))
    }

    /// Compares the duplicates of an end user, and the merges into it.
    async fn read_relations(&self, at: usize, id: u64) -> Verdict {
        let models = &self.tenants[at].models;
        let response = self.read(at, &format!("/api/EndUsers/{id}/duplicates")).await;
        let expected = models[0].duplicates(id);
        let found = response.body.as_array().into_iter().flatten().map(|found| {
            let shared = found["sharedUids"].as_array().into_iter().flatten().filter_map(Value::as_str);
            let shown = &found["endUser"];
            let other = shown["endUserID"].as_u64().unwrap_or_default();
            (
                other,
                shared.collect(),
                models[0].end_users.get(&other).is_some_and(|other_model| other_model.is_shown_as(other, shown)),
            )
        });
        let expected_rows: Vec<_> = expected.iter().map(|(other, shared)| (*other, shared.clone(), true)).collect();
        expect(found.eq(expected_rows), || format!("duplicates of {id} are not {expected:?}: {}", response.body))?;
        let response = self.read(at, &format!("/api/EndUsers/{id}/merges")).await;
        let merges = ids(&response.body);
        let is_expected = models.iter().any(|model| model.merges(id) == merges);
        expect(is_expected, || format!("merges of {id} are not {:?}: {}", models[0].merges(id), response.body))
    }

    /// Compares the look-up of all values in one request.
    async fn look_up_all(&self, at: usize) -> Verdict {
        let values = LOOKUPS.map(|(value, _)| value);
        let body = Some(json!({ "uids": values }));
        let request = ("POST", "/api/EndUsers/lookup".to_owned(), vec![("idempotency-key", "key-0".to_owned())], body);
        let model = &self.tenants[at].models[0];
        let found = (0..values.len()).map(|lookup| {
            let mut ids = model.found_by(lookup);
            let more = ids.len() > 10;
            ids.truncate(10);
            json!({ "uid": values[lookup], "endUserIDs": ids, "more": more })
        });
        let expected = json!({ "items": found.collect::<Vec<_>>() });
        let response = self.send_until_available(at, &request).await;
        expect(response.is(200) && response.body == expected, || format!("lookup is not {expected}: {}", response.body))
    }

    async fn look_up(&self, at: usize, lookup: usize) -> Verdict {
        let uid = percent_encoding::utf8_percent_encode(LOOKUPS[lookup].0, percent_encoding::NON_ALPHANUMERIC);
        let response = self.read(at, &format!("/api/EndUsers/byUid?uid={uid}")).await;
        let expected = self.tenants[at].models[0].found_by(lookup);
        expect(ids(&response.body) == expected, || format!("byUid {uid} is not {expected:?}: {}", response.body))
    }

    /// Compares every read, once the index and the queue are up to date.
    async fn read_all(&self, at: usize) -> Verdict {
        for lookup in 0..LOOKUPS.len() {
            self.look_up(at, lookup).await?;
        }
        self.look_up_all(at).await?;
        for id in self.tenants[at].models[0].merged.keys() {
            self.read_merged(at, *id, "").await?;
        }
        let tenant = &self.tenants[at];
        let end_users = &tenant.models[0].end_users;
        let all: Vec<u64> = end_users.keys().copied().collect();
        self.paged(at, "", &all).await?;
        self.paged(at, "&sortOrder=desc", &all.iter().rev().copied().collect::<Vec<_>>()).await?;
        for (field, order) in orders_of(end_users) {
            let descending: Vec<_> = order.iter().rev().copied().collect();
            self.paged(at, &format!("&sortBy={field}"), &order).await?;
            self.paged(at, &format!("&sortBy={field}&sortOrder=desc"), &descending).await?;
        }
        let wide = WIDE_SEARCHES.into_iter().filter(|_| end_users.values().any(ModelEndUser::is_oversized));
        for (search, alternatives) in SEARCHES.into_iter().chain(wide) {
            let matches = |end_user: &ModelEndUser| {
                let words = end_user.words();
                // Only a search with an `@` finds whole values.
                let begins =
                    |word: &str, term: &str| word.contains('@') == term.contains('@') && word.starts_with(term);
                let found = |term: &&str| words.iter().any(|word| begins(word, term));
                alternatives.iter().any(|terms| terms.iter().all(found))
            };
            let found: Vec<_> = end_users.iter().filter(|(_, end_user)| matches(end_user)).map(|(id, _)| *id).collect();
            let search = percent_encoding::utf8_percent_encode(search, percent_encoding::NON_ALPHANUMERIC);
            self.paged(at, &format!("&search={search}"), &found).await?;
        }
        for (id, end_user) in end_users {
            self.read_relations(at, *id).await?;
            let response = self.read(at, &format!("/api/EndUsers/{id}/tickets?pageSize=100")).await;
            let expected = tenant.tickets.history(end_user);
            expect(response.body["items"] == expected, || {
                format!("tickets of {id} are not {expected}: {}", response.body)
            })?;
        }
        Ok(())
    }

    /// Compares a list in pages of three.
    async fn paged(&self, at: usize, query: &str, expected: &[u64]) -> Verdict {
        let mut listed = Vec::new();
        for page in 1..=expected.len() / 3 + 1 {
            let response = self.read(at, &format!("/api/EndUsers?pageSize=3&pageNumber={page}{query}")).await;
            let (total, pages) = (response.body["totalCount"].as_u64(), response.body["totalPages"].as_u64());
            let count = expected.len() as u64;
            expect((total, pages) == (Some(count), Some(count.div_ceil(3))), || {
                format!("{query}: expected {count} end users: {}", response.body)
            })?;
            listed.extend(ids(&response.body["items"]));
        }
        expect(listed == expected, || format!("{query}: {listed:?}, expected {expected:?}"))
    }
}

fn expect(is_met: bool, message: impl FnOnce() -> String) -> Verdict {
    if is_met { Ok(()) } else { Err(Contradiction(message())) }
}

/// The ids of end users in the ascending order of each field, ties by id.
fn orders_of(end_users: &BTreeMap<u64, ModelEndUser>) -> Vec<(&'static str, Vec<u64>)> {
    let sorted = |rank: &dyn Fn(&ModelEndUser) -> u32| {
        let mut order: Vec<u64> = end_users.keys().copied().collect();
        order.sort_by_key(|id| (rank(&end_users[id]), *id));
        order
    };
    let by_field = |at: usize| {
        let rank = move |end_user: &ModelEndUser| end_user.profile[at].map_or(0, |value| FIELDS[at].values[value].1);
        (FIELDS[at].name, sorted(&rank))
    };
    let types = ["Customer", "Lead", "Partner"];
    let rank =
        |end_user: &ModelEndUser| types.iter().position(|kind| *kind == end_user.customer_type).unwrap_or(0) as u32;
    (0..ORDINARY_FIELDS).map(by_field).chain([("customerType", sorted(&rank))]).collect()
}

/// A part of a call that takes effect by itself, and its response.
type Step = (ModelCall, ObservedResponse);

/// The states after the steps of concurrent calls in every order that keeps the order of each call's own steps. `next`
/// has the number of the next step of each call.
fn interleaved(
    models: &[TenantModel],
    next: &mut Vec<usize>,
    steps: &[Vec<Step>],
    listed: &[Value],
) -> Vec<TenantModel> {
    if next.iter().zip(steps).all(|(next, steps)| *next == steps.len()) {
        return models.to_vec();
    }
    let mut after = Vec::new();
    for call in 0..steps.len() {
        let Some((step, response)) = steps[call].get(next[call]) else { continue };
        let models: Vec<_> = models.iter().flat_map(|model| model.after(step, response, listed)).collect();
        if !models.is_empty() {
            next[call] += 1;
            after.extend(interleaved(&models, next, steps, listed));
            next[call] -= 1;
        }
    }
    after
}

/// Removes a key that another request of the same round has, if one of them is an upsertMany. The elements of an
/// upsertMany are carried out one by one, so concurrent requests with one key may both be carried out in part.
fn separate_keys(calls: &mut [(usize, ModelCall)]) {
    for n in 0..calls.len() {
        let (earlier, rest) = calls.split_at_mut(n);
        let (tenant, call) = &mut rest[0];
        let Some(used) = call.key_use() else { continue };
        let is_taken = earlier.iter().filter(|(other, _)| other == tenant).filter_map(|(_, call)| call.key_use());
        let is_taken = is_taken.into_iter().any(|other| other.key == used.key && other.fingerprint != used.fingerprint);
        if let ModelCall::UpsertMany { key, .. } = call
            && is_taken
        {
            *key = None;
        }
    }
}
