//! Runs sequences against a system and compares every response with the model.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write;

use futures::future::join_all;
use serde_json::{Value, json};

use super::end_user::ModelEndUser;
use super::plan::{PlannedCall, Round, TENANTS, TagChoice, UidChange, UidLink};
use super::request::{HttpParts, ModelCall, ModelUidEntry, ObservedResponse};
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
    pub fn new(app: &'a App, number: u64) -> Self {
        let tenant = |at| {
            let name = format!("model-{number}-{at}");
            let token = app::token(json!({ "customerID": name }));
            let models = vec![TenantModel::default()];
            TenantRun { name, token, models, tags: HashMap::new(), tickets: TicketModel::default(), greatest: 0 }
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
        let ids: Vec<u64> = model.end_users.keys().chain(&model.deleted).copied().collect();
        let end_user = |target: usize| ids.get(target).copied().unwrap_or(UNUSED_ID);
        let entry = |link: &UidLink| ModelUidEntry {
            id: None,
            spelling: Some(link.spelling),
            primary: link.primary,
            remove: false,
        };
        let key = |key: &Option<u8>| key.map(|key| format!("key-{key}"));
        let kind = |sent: &Option<usize>| sent.and_then(|sent| TYPES[sent].1);
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
        let replayed = response.header("idempotency-replayed").is_some();
        let etag = response.header("etag").map(str::to_owned);
        ObservedResponse { status: response.status, body: response.json(), replayed, etag }
    }

    /// Reads, and repeats the read after a 503, at most 50 times.
    async fn read(&self, at: usize, path: &str) -> ObservedResponse {
        for _ in 0..50 {
            let response = self.send(at, &("GET", path.to_owned(), Vec::new(), None)).await;
            if response.status != 503 {
                return response;
            }
        }
        panic!("{path} is 503 fifty times")
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
        let mut after: Vec<TenantModel> = Vec::new();
        for order in orders(calls.len()) {
            let mut models = tenant.models.clone();
            for n in order {
                let (call, response) = calls[n];
                models = models.iter().flat_map(|model| model.after(call, response, &listed)).collect();
            }
            for mut model in models {
                if model.is_listed(&listed) && !after.contains(&model) {
                    after.push(model);
                }
            }
        }
        let mut story = String::new();
        for (call, response) in calls {
            let (method, path, headers, body) = call.to_http();
            let body = body.map(|body| body.to_string()).unwrap_or_default();
            let ObservedResponse { status, body: received, replayed, .. } = response;
            let _ =
                writeln!(story, "  {method} {path} {headers:?} {body}\n    {status} {received} replayed: {replayed}");
            if let ModelCall::Create { .. } = call
                && *status == 201
                && !replayed
            {
                let id = received["endUserID"].as_u64().unwrap_or_default();
                if id <= tenant.greatest {
                    return Err(Contradiction(format!("id {id} after {}\n{story}", tenant.greatest)));
                }
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
        Ok(())
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

/// All orders of `n` calls.
fn orders(n: usize) -> Vec<Vec<usize>> {
    let Some(last) = n.checked_sub(1) else { return vec![Vec::new()] };
    let mut all = Vec::new();
    for order in orders(last) {
        for at in 0..n {
            let mut longer = order.clone();
            longer.insert(at, last);
            all.push(longer);
        }
    }
    all
}
