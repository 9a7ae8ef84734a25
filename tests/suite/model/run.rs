//! Runs sequences against a system, and holds every answer and every read against the model.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write;

use futures::future::join_all;
use serde_json::{Value, json};

use super::plan::{Act, Change, Link, Step, TENANTS, Tag};
use super::tickets::{Told, told};
use super::words::{FIELDS, LOOKUPS, ORDINARY_FIELDS, SEARCHES, SPELLINGS, Spelling, TYPES, WIDE_SEARCHES};
use super::world::{Answer, Call, Entry, ModelEndUser, Patch, World};
use crate::support::app::{self, App, TestRequest, ids};

/// Ids are none of an end user's where a sequence means nobody.
const NOBODY: u64 = 2_000_000_000;

/// One tenant of a sequence.
struct Tenant {
    name: String,
    token: String,
    /// What its data may be, by all that was answered.
    worlds: Vec<World>,
    /// The tags that each end user has had.
    tags: HashMap<u64, Vec<String>>,
    told: Told,
    /// The greatest id that was answered.
    greatest: u64,
}

/// What contradicts the model, and how it came about.
pub struct Contradiction(pub String);

type Held = Result<(), Contradiction>;

/// A sequence under way.
pub struct Run<'a> {
    app: &'a App,
    tenants: Vec<Tenant>,
    number: u64,
}

impl<'a> Run<'a> {
    /// A sequence with tenants that no other has.
    pub fn new(app: &'a App, number: u64) -> Self {
        let tenant = |at| {
            let name = format!("model-{number}-{at}");
            let token = app::token(json!({ "customerID": name }));
            let worlds = vec![World::default()];
            Tenant { name, token, worlds, tags: HashMap::new(), told: Told::default(), greatest: 0 }
        };
        Self { app, tenants: (0..TENANTS).map(tenant).collect(), number }
    }

    /// Carries out the steps; after each, what is read strongly must agree, at the end all else.
    pub async fn carry_out(mut self, steps: &[Step]) -> Held {
        for (n, step) in steps.iter().enumerate() {
            self.step(step, self.number as usize + n).await?;
        }
        self.app.settle().await;
        for at in 0..TENANTS {
            self.read_all(at).await?;
        }
        let dead = self.app.system.dead_letters().await;
        if dead.is_empty() { Ok(()) } else { Err(Contradiction(format!("dead letters: {dead:?}"))) }
    }

    async fn step(&mut self, step: &Step, salt: usize) -> Held {
        let mut calls = Vec::new();
        let mut told_now = Vec::new();
        for (at, act) in step {
            match act {
                Act::Tell(events) => {
                    let tenant = &mut self.tenants[*at];
                    for (event, times) in events {
                        tenant.told.tell(*event);
                        told_now.extend((0..*times).map(|_| told(event, &tenant.name).to_string()));
                    }
                }
                act => calls.push((*at, self.resolve(*at, act).await?)),
            }
        }
        // Events of a step come in any order.
        let mut order = fastrand::Rng::with_seed(salt as u64);
        order.shuffle(&mut told_now);
        let telling = async {
            if !told_now.is_empty() {
                let send =
                    TestRequest::new("POST", "/local/ticket-events").header("content-type", "application/x-ndjson");
                send.body(told_now.join("\n")).to(self.app).await.expect(202);
            }
        };
        let calling = join_all(calls.iter().map(|(at, call)| self.call(*at, call)));
        let (answers, ()) = futures::future::join(calling, telling).await;
        for at in 0..TENANTS {
            let mine = calls.iter().zip(&answers).filter(|((of, _), _)| *of == at);
            let mine: Vec<_> = mine.map(|((_, call), answer)| (call, answer)).collect();
            self.agree(at, &mine).await?;
            self.read_some(at, salt).await?;
        }
        Ok(())
    }

    /// What an act means for the end users who are there now.
    async fn resolve(&mut self, at: usize, act: &Act) -> Result<Call, Contradiction> {
        let world = &self.tenants[at].worlds[0];
        let everybody: Vec<u64> = world.end_users.keys().chain(&world.deleted).copied().collect();
        let end_user = |who: usize| everybody.get(who).copied().unwrap_or(NOBODY);
        let entry =
            |link: &Link| Entry { id: None, spelling: Some(link.spelling), primary: link.primary, remove: false };
        let key = |key: &Option<u8>| key.map(|key| format!("key-{key}"));
        let kind = |sent: &Option<usize>| sent.and_then(|sent| TYPES[sent].1);
        Ok(match act {
            Act::Create { patch, customer_type, uids, key: k } => Call::Create {
                patch: *patch,
                customer_type: kind(customer_type),
                entries: uids.iter().map(entry).collect(),
                key: key(k),
            },
            Act::Update { who, patch, customer_type, uids, tag } => {
                let id = end_user(*who);
                let records: Vec<_> = world
                    .end_users
                    .get(&id)
                    .map(|p| p.uids.iter().filter_map(|uid| uid.id).collect())
                    .unwrap_or_default();
                let record = |at: usize| Some(records.get(at).copied().unwrap_or(NOBODY));
                let entries = uids.iter().map(|change| match change {
                    Change::Put(link) => entry(link),
                    Change::Rewrite { record: r, spelling, primary } => {
                        Entry { id: record(*r), spelling: *spelling, primary: *primary, remove: false }
                    }
                    Change::Remove { record: r } => {
                        Entry { id: record(*r), spelling: None, primary: None, remove: true }
                    }
                    Change::RemoveValue { spelling } => {
                        Entry { id: None, spelling: Some(*spelling), primary: None, remove: true }
                    }
                });
                let (entries, customer_type) = (entries.collect(), kind(customer_type));
                Call::Update { id, patch: *patch, customer_type, entries, tag: self.tag(at, id, *tag).await? }
            }
            Act::Delete { who, tag } => {
                let id = end_user(*who);
                Call::Delete { id, tag: self.tag(at, id, *tag).await? }
            }
            Act::Assign { who, link, key: k } => Call::Assign { id: end_user(*who), entry: entry(link), key: key(k) },
            Act::Read { who, tag } => {
                let id = end_user(*who);
                let tag = if matches!(tag, Tag::Any) { Tag::None } else { *tag };
                Call::Read { id, tag: self.tag(at, id, tag).await? }
            }
            Act::Tell(_) => unreachable!("events are no calls"),
        })
    }

    /// An entity tag for an end user; looks at the end user to know the current one.
    async fn tag(&mut self, at: usize, id: u64, tag: Tag) -> Result<Option<String>, Contradiction> {
        match tag {
            Tag::None => return Ok(None),
            Tag::Any => return Ok(Some("*".to_owned())),
            Tag::Current | Tag::Stale => {}
        }
        if !self.tenants[at].worlds[0].end_users.contains_key(&id) {
            return Ok(Some("\"1\"".to_owned()));
        }
        let answer = self.read(at, &format!("/api/EndUsers/{id}")).await;
        let current = answer.etag.clone().unwrap_or_default();
        let tenant = &mut self.tenants[at];
        let seen = tenant.tags.entry(id).or_default();
        tenant.worlds.retain_mut(|world| match world.end_users.get_mut(&id) {
            Some(end_user) => match &end_user.etag {
                // Unchanged means the same tag, changed a new one.
                Some(tag) => *tag == current,
                None => {
                    let new = !seen.contains(&current);
                    end_user.etag = Some(current.clone());
                    new
                }
            },
            None => false,
        });
        if tenant.worlds.is_empty() {
            return Err(Contradiction(format!("tag {current} of end user {id}, who had {seen:?}")));
        }
        let stale = seen.iter().rev().find(|tag| **tag != current).cloned();
        if !seen.contains(&current) {
            seen.push(current.clone());
        }
        Ok(Some(match tag {
            Tag::Current => current,
            _ => stale.unwrap_or_else(|| "\"0\"".to_owned()),
        }))
    }

    async fn call(&self, at: usize, call: &Call) -> Answer {
        self.send(at, &request(call)).await
    }

    async fn send(&self, at: usize, (method, path, headers, body): &Request) -> Answer {
        let mut send = TestRequest::new(method, path);
        for (name, value) in headers {
            send = send.header(name, value);
        }
        if let Some(body) = body {
            send = send.json(body);
        }
        let answer = self.app.caller(Some(self.tenants[at].token.clone())).send(send).await;
        let replayed = answer.header("idempotency-replayed").is_some();
        let etag = answer.header("etag").map(str::to_owned);
        Answer { status: answer.status, body: answer.json(), replayed, etag }
    }

    /// Reads, again while the database is in trouble: that is what a 503 invites to.
    async fn read(&self, at: usize, path: &str) -> Answer {
        for _ in 0..50 {
            let answer = self.send(at, &("GET", path.to_owned(), Vec::new(), None)).await;
            if answer.status != 503 {
                return answer;
            }
        }
        panic!("{path} is 503 for good")
    }

    async fn list(&self, at: usize, query: &str) -> Vec<Value> {
        let answer = self.read(at, &format!("/api/EndUsers?pageSize=100{query}")).await;
        assert_eq!(answer.status, 200, "{query}: {}", answer.body);
        answer.body["items"].as_array().cloned().unwrap_or_default()
    }

    /// Keeps the worlds in which the answers are right, in whatever order the calls took effect, and
    /// the list is what it is now.
    async fn agree(&mut self, at: usize, answered: &[(&Call, &Answer)]) -> Held {
        let listed = self.list(at, "").await;
        let tenant = &mut self.tenants[at];
        let mut after: Vec<World> = Vec::new();
        for order in orders(answered.len()) {
            let mut worlds = tenant.worlds.clone();
            for n in order {
                let (call, answer) = answered[n];
                worlds = worlds.iter().flat_map(|world| world.after(call, answer, &listed)).collect();
            }
            for mut world in worlds {
                if world.is_listed(&listed) && !after.contains(&world) {
                    after.push(world);
                }
            }
        }
        let mut story = String::new();
        for (call, answer) in answered {
            let (method, path, headers, body) = request(call);
            let body = body.map(|body| body.to_string()).unwrap_or_default();
            let Answer { status, body: answered, replayed, .. } = answer;
            let _ =
                writeln!(story, "  {method} {path} {headers:?} {body}\n    {status} {answered} replayed: {replayed}");
            if let Call::Create { .. } = call
                && *status == 201
                && !replayed
            {
                let id = answered["endUserID"].as_u64().unwrap_or_default();
                if id <= tenant.greatest {
                    return Err(Contradiction(format!("id {id} after {}\n{story}", tenant.greatest)));
                }
            }
        }
        if after.is_empty() {
            let listed: Vec<_> = listed.iter().map(Value::to_string).collect();
            let listed = listed.join("\n    ");
            let worlds = &tenant.worlds;
            return Err(Contradiction(format!("at once:\n{story}  listed then:\n    {listed}\n  before: {worlds:#?}")));
        }
        tenant.greatest = listed.iter().filter_map(|p| p["endUserID"].as_u64()).max().unwrap_or(0).max(tenant.greatest);
        tenant.worlds = after;
        Ok(())
    }

    /// A few of the reads that are true at once; which, `salt` says.
    async fn read_some(&self, at: usize, salt: usize) -> Held {
        let world = &self.tenants[at].worlds[0];
        let lookup = salt % LOOKUPS.len();
        self.look_up(at, lookup).await?;
        if let Some(id) = world.end_users.keys().nth(salt % world.end_users.len().max(1)) {
            let answer = self.read(at, &format!("/api/EndUsers/{id}")).await;
            expect(world.end_users[id].shown(*id, &answer.body), || format!("GET {id}: {}", answer.body))?;
        }
        if let Some(id) = world.deleted.first() {
            let answer = self.read(at, &format!("/api/EndUsers/{id}")).await;
            expect(answer.status == 404, || format!("GET {id}, deleted: {} {}", answer.status, answer.body))?;
        }
        Ok(())
    }

    async fn look_up(&self, at: usize, lookup: usize) -> Held {
        let uid = percent_encoding::utf8_percent_encode(LOOKUPS[lookup].0, percent_encoding::NON_ALPHANUMERIC);
        let answer = self.read(at, &format!("/api/EndUsers/byUid?uid={uid}")).await;
        let expected = self.tenants[at].worlds[0].found(lookup);
        expect(ids(&answer.body) == expected, || format!("byUid {uid} is not {expected:?}: {}", answer.body))
    }

    /// Every read there is, after settling.
    async fn read_all(&self, at: usize) -> Held {
        for lookup in 0..LOOKUPS.len() {
            self.look_up(at, lookup).await?;
        }
        let tenant = &self.tenants[at];
        let end_users = &tenant.worlds[0].end_users;
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
            let answer = self.read(at, &format!("/api/EndUsers/{id}/tickets?pageSize=100")).await;
            let expected = tenant.told.history(end_user);
            expect(answer.body["items"] == expected, || {
                format!("tickets of {id} are not {expected}: {}", answer.body)
            })?;
        }
        Ok(())
    }

    /// A list of these end users, in pages of three.
    async fn paged(&self, at: usize, query: &str, expected: &[u64]) -> Held {
        let mut listed = Vec::new();
        for page in 1..=expected.len() / 3 + 1 {
            let answer = self.read(at, &format!("/api/EndUsers?pageSize=3&pageNumber={page}{query}")).await;
            let (total, pages) = (answer.body["totalCount"].as_u64(), answer.body["totalPages"].as_u64());
            let count = expected.len() as u64;
            expect((total, pages) == (Some(count), Some(count.div_ceil(3))), || {
                format!("{query}: of {count} people it says {}", answer.body)
            })?;
            listed.extend(ids(&answer.body["items"]));
        }
        expect(listed == expected, || format!("{query}: {listed:?} instead of {expected:?}"))
    }
}

fn expect(holds: bool, otherwise: impl FnOnce() -> String) -> Held {
    if holds { Ok(()) } else { Err(Contradiction(otherwise())) }
}

/// The ids of end users in each order of one field, ties by id.
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

/// Method, path, headers, body.
type Request = (&'static str, String, Vec<(&'static str, String)>, Option<Value>);

fn request(call: &Call) -> Request {
    let path = |id: &u64| format!("/api/EndUsers/{id}");
    let header = |name, value: &Option<String>| value.iter().map(|value| (name, value.clone())).collect();
    match call {
        Call::Create { patch, customer_type, entries, key } => {
            let body = body(patch, *customer_type, entries);
            ("POST", "/api/EndUsers".to_owned(), header("idempotency-key", key), Some(body))
        }
        Call::Update { id, patch, customer_type, entries, tag } => {
            ("PUT", path(id), header("if-match", tag), Some(body(patch, *customer_type, entries)))
        }
        Call::Delete { id, tag } => ("DELETE", path(id), header("if-match", tag), None),
        Call::Assign { id, entry, key } => {
            let mut body = uid(entry);
            body["endUserID"] = json!(id);
            ("POST", "/api/EndUserUIDs/assign".to_owned(), header("idempotency-key", key), Some(body))
        }
        Call::Read { id, tag } => ("GET", path(id), header("if-none-match", tag), None),
    }
}

fn body(patch: &Patch, customer_type: Option<&str>, entries: &[Entry]) -> Value {
    let mut body = json!({ "uids": entries.iter().map(uid).collect::<Vec<_>>() });
    for (field, change) in FIELDS.iter().zip(patch) {
        if let Some(value) = change {
            body[field.name] = value.map_or(json!(""), |value| json!(field.values[value].0));
        }
    }
    // In another spelling than it is shown in.
    body["customerType"] = json!(customer_type.unwrap_or_default().to_uppercase());
    body
}

fn uid(entry: &Entry) -> Value {
    let mut uid = json!({});
    if let Some(id) = entry.id {
        uid["endUserUIDID"] = json!(id);
    }
    if let Some(spelling) = entry.spelling {
        let Spelling { kind, sent, stored_kind, .. } = SPELLINGS[spelling];
        // Beside an id an empty type keeps the record's.
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
