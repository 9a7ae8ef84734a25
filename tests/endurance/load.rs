//! Clients, each of whom knows what it was told, and the audit of all that they were told.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use fastrand::Rng;
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client as Http;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};
use shared::auth::{AuthConfig, mint};

use crate::system::SECRET;

/// How many tenants there are: 1, 2 and so on.
pub(crate) const TENANTS: u64 = 3;
/// The most UIDs that a client links to one end user.
const MAX_UIDS: usize = 30;
/// One end user and one ticket in so many is oversized.
const OVERSIZED: u8 = 12;

/// What a run came to.
#[derive(Default)]
pub(crate) struct Figures {
    pub(crate) requests: u64,
    pub(crate) unanswered: u64,
    pub(crate) acknowledged: u64,
    pub(crate) checked: u64,
    /// Calls of the database through the proxy, and faults injected into them.
    pub(crate) trouble: Option<(u64, u64)>,
    pub(crate) processes_killed: u64,
    pub(crate) restarts: u64,
    pub(crate) end_users: u64,
    pub(crate) identifiers: u64,
    pub(crate) tickets: u64,
    /// What is not as it was acknowledged to be.
    pub(crate) findings: Vec<String>,
}

/// An end user as its one writer knows it.
struct TrackedEndUser {
    id: u64,
    /// What the first name may be: more than one after an update that was not answered.
    names: BTreeSet<String>,
    /// Those of updates that nobody answered: a function that outlives its gateway may write them behind later ones.
    late: BTreeSet<String>,
    uids: Vec<String>,
    /// The id of each ticket, and how many topics it was sent.
    tickets: BTreeMap<u64, u64>,
    deleted: bool,
}

/// The tenants, and how they are reached.
pub(crate) struct Tenants {
    base: String,
    seed: u64,
    tokens: Vec<String>,
    http: Http<HttpConnector, Full<Bytes>>,
}

/// One client: it alone writes its end users.
pub(crate) struct Client<'a> {
    tenants: &'a Tenants,
    number: u64,
    rng: Rng,
    end_users: Vec<TrackedEndUser>,
    made: u64,
    figures: Figures,
}

type Answer = (u16, Value);

impl Tenants {
    pub(crate) fn new(address: SocketAddr, seed: u64) -> Self {
        let lookup = |name: &str| (name == "JWT_SECRET").then(|| SECRET.to_owned());
        let config = AuthConfig::from_lookup(&lookup).expect("a key");
        let expires = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs() + 24 * 60 * 60;
        let token = |tenant: u64| {
            let claims = json!({ "customerID": tenant + 1, "exp": expires });
            mint(&config, claims.as_object().expect("claims")).expect("a token")
        };
        let http = Http::builder(TokioExecutor::new()).build_http();
        Self { base: format!("http://{address}"), seed, tokens: (0..TENANTS).map(token).collect(), http }
    }

    /// Works until then; answers what it was told.
    pub(crate) async fn client(&self, number: u64, until: Instant) -> Client<'_> {
        let rng = Rng::with_seed(self.seed * 1_000 + number);
        let mut client =
            Client { tenants: self, number, rng, end_users: Vec::new(), made: 0, figures: Figures::default() };
        while Instant::now() < until {
            client.act().await;
        }
        client
    }

    async fn send(
        &self,
        tenant: u64,
        method: &str,
        path: &str,
        key: Option<&str>,
        body: Option<&Value>,
    ) -> Option<Answer> {
        let mut request = http::Request::builder().method(method).uri(format!("{}{path}", self.base));
        request = request.header("authorization", format!("Bearer {}", self.tokens[tenant as usize]));
        if let Some(key) = key {
            request = request.header("idempotency-key", key);
        }
        if body.is_some() {
            request = request.header("content-type", "application/json");
        }
        let body = body.map(Value::to_string).unwrap_or_default();
        let request = request.body(Full::from(body)).ok()?;
        let response = tokio::time::timeout(Duration::from_secs(40), self.http.request(request)).await.ok()?.ok()?;
        let status = response.status().as_u16();
        let body = response.into_body().collect().await.ok()?.to_bytes();
        Some((status, serde_json::from_slice(&body).unwrap_or_default()))
    }

    /// An answer, however often it takes.
    async fn read(&self, tenant: u64, path: &str) -> Answer {
        loop {
            match self.send(tenant, "GET", path, None, None).await {
                Some(answer) if answer.0 < 500 => return answer,
                _ => tokio::time::sleep(Duration::from_millis(100)).await,
            }
        }
    }

    /// Reads back all that the clients were told.
    pub(crate) async fn audit(&self, clients: Vec<Client<'_>>) -> Figures {
        while self.send(0, "POST", "/local/settle", None, None).await.is_none_or(|(status, _)| status != 204) {}
        let mut total = Figures::default();
        for tenant in 0..TENANTS {
            let mine =
                || clients.iter().filter(|client| client.tenant() == tenant).flat_map(|client| &client.end_users);
            let alive: BTreeSet<u64> =
                mine().filter(|end_user| !end_user.deleted).map(|end_user| end_user.id).collect();
            for query in ["", "&sortBy=lastname", "&search=endurance"] {
                let listed = self.list(tenant, query).await;
                let ids: BTreeSet<u64> = listed.1.iter().copied().collect();
                if ids != alive || listed.1.len() != alive.len() || listed.0 != alive.len() as u64 {
                    let lost: Vec<_> = alive.difference(&ids).collect();
                    let strange: Vec<_> = ids.difference(&alive).collect();
                    total.findings.push(format!(
                        "tenant {tenant}, list {query:?}: of {} people it says {}, lost are {lost:?}, strange {strange:?}",
                        alive.len(),
                        listed.0
                    ));
                }
            }
            for end_user in mine() {
                self.audit_end_user(tenant, end_user, &mut total).await;
            }
        }
        for client in clients {
            let Figures { requests, unanswered, acknowledged, checked, findings, .. } = client.figures;
            total.requests += requests;
            total.unanswered += unanswered;
            total.acknowledged += acknowledged;
            total.checked += checked;
            total.findings.extend(findings);
        }
        total
    }

    /// The total that a list says, and the ids on all its pages.
    async fn list(&self, tenant: u64, query: &str) -> (u64, Vec<u64>) {
        let mut ids = Vec::new();
        for page in 1.. {
            let path = format!("/api/EndUsers?pageSize=100&pageNumber={page}{query}");
            let (_, list) = self.read(tenant, &path).await;
            let items = list["items"].as_array().cloned().unwrap_or_default();
            ids.extend(items.iter().filter_map(|end_user| end_user["endUserID"].as_u64()));
            if page >= list["totalPages"].as_u64().unwrap_or_default() {
                return (list["totalCount"].as_u64().unwrap_or_default(), ids);
            }
        }
        unreachable!("there is a last page")
    }

    async fn audit_end_user(&self, tenant: u64, end_user: &TrackedEndUser, total: &mut Figures) {
        total.end_users += 1;
        let (status, shown) = self.read(tenant, &format!("/api/EndUsers/{}", end_user.id)).await;
        if end_user.deleted {
            if status != 404 {
                total.findings.push(format!("{} was deleted and is there: {shown}", end_user.id));
            }
            return;
        }
        total.findings.extend(end_user.contradiction(status, &shown));
        for uid in &end_user.uids {
            total.identifiers += 1;
            let (_, found) = self.read(tenant, &format!("/api/EndUsers/byUid?uid={uid}")).await;
            let ids: Vec<_> = found.as_array().into_iter().flatten().map(|found| found["endUserID"].clone()).collect();
            if ids != [json!(end_user.id)] {
                total.findings.push(format!("{uid} of {} finds {ids:?}", end_user.id));
            }
        }
        let (_, history) = self.read(tenant, &format!("/api/EndUsers/{}/tickets?pageSize=100", end_user.id)).await;
        let topics = |ticket: &Value| ticket["topics"].as_array().map_or(0, Vec::len) as u64;
        let tickets = history["items"].as_array().into_iter().flatten();
        let tickets: BTreeMap<_, _> =
            tickets.filter_map(|ticket| Some((ticket["ticketID"].as_u64()?, topics(ticket)))).collect();
        total.tickets += end_user.tickets.len() as u64;
        let expected: BTreeMap<_, _> = end_user.tickets.iter().map(|(id, sent)| (*id, kept_topics(*sent))).collect();
        if tickets != expected {
            total.findings.push(format!("tickets of {}: {tickets:?} instead of {expected:?}", end_user.id));
        }
    }
}

/// How many of the topics sent a ticket keeps: 16 KiB of them, as JSON escaped once more.
fn kept_topics(sent: u64) -> u64 {
    sent.min(16 * 1024 / (TOPIC_BYTES + 5))
}

/// The size of each topic of a large ticket.
const TOPIC_BYTES: u64 = 4 + 96 * 4;

/// A message of a large ticket with 20 topics of its own.
fn message(tenant: u64, ticket: u64, number: u64) -> Value {
    let topic = |n: u64| format!("{:04}{}", number * 20 + n, "😀".repeat(96));
    json!({ "type": "message.upserted", "customerID": tenant, "occurredAt": "2026-11-25T10:00:00Z", "message": {
        "ticketMessageID": ticket * 10 + number, "ticketID": ticket, "date": "2026-11-25T10:00:00Z",
        "topics": (0..20).map(topic).collect::<Vec<_>>() } })
}

/// Words that NFKD makes six times longer: more bytes of them than are searched, and others for each `number`.
fn growing_text(number: u64) -> String {
    (0..50).map(|n| format!("{number}x{n}{}", "㌖".repeat(30))).collect::<Vec<_>>().join(" ")
}

impl TrackedEndUser {
    /// What of an answer cannot be.
    fn contradiction(&self, status: u16, shown: &Value) -> Option<String> {
        let uids: BTreeSet<_> =
            shown["uids"].as_array().into_iter().flatten().filter_map(|uid| uid["uid"].as_str()).collect();
        let named = shown["firstname"].as_str().is_some_and(|name| self.names.contains(name));
        let linked = uids == self.uids.iter().map(String::as_str).collect();
        let holds = status == 200 && named && linked && shown["lastname"] == "Endurance";
        (!holds).then(|| format!("{}: {status} {shown} instead of {:?} and {:?}", self.id, self.names, self.uids))
    }
}

impl Client<'_> {
    fn tenant(&self) -> u64 {
        self.number % TENANTS
    }

    /// A name that no other has.
    fn name(&mut self, kind: &str) -> String {
        self.made += 1;
        format!("{kind}-{}-{}", self.number, self.made)
    }

    async fn act(&mut self) {
        let alive: Vec<_> = (0..self.end_users.len()).filter(|at| !self.end_users[*at].deleted).collect();
        let Some(at) = self.rng.choice(alive) else { return self.create().await };
        match self.rng.u8(0..20) {
            0..3 => self.create().await,
            3..7 => self.update(at).await,
            7..10 if self.end_users[at].uids.len() < MAX_UIDS => self.assign(at).await,
            10 => self.delete(at).await,
            11..13 => self.tell(at).await,
            13..16 => self.check(at).await,
            16..18 => self.find(at).await,
            _ => drop(self.once("GET", "/api/EndUsers?pageSize=5&sortBy=firstname", None, None).await),
        }
    }

    /// One try; `None` where it has no good answer.
    async fn once(&mut self, method: &str, path: &str, key: Option<&str>, body: Option<&Value>) -> Option<Answer> {
        self.figures.requests += 1;
        let answer =
            self.tenants.send(self.tenant(), method, path, key, body).await.filter(|(status, _)| *status < 500);
        if answer.is_none() {
            self.figures.unanswered += 1;
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        answer
    }

    /// Again until there is an answer; also whether it was the first try.
    async fn surely(&mut self, method: &str, path: &str, key: Option<&str>, body: Option<&Value>) -> (Answer, bool) {
        let mut first = true;
        loop {
            if let Some(answer) = self.once(method, path, key, body).await {
                self.figures.acknowledged += 1;
                return (answer, first);
            }
            first = false;
        }
    }

    fn wrong(&mut self, what: &str, (status, body): &Answer) {
        self.figures.findings.push(format!("client {}: {what} was answered {status} {body}", self.number));
    }

    async fn create(&mut self) {
        let (name, uid) = (self.name("name"), format!("{}@example.com", self.name("mail")));
        let mut body = json!({ "firstname": name, "lastname": "Endurance", "uids": [{ "uid": uid }] });
        if self.rng.u8(0..OVERSIZED) == 0 {
            body["otherContactDetails"] = growing_text(self.made).into();
        }
        let (answer, _) = self.surely("POST", "/api/EndUsers", Some(&name), Some(&body)).await;
        let Some(id) = answer.1["endUserID"].as_u64().filter(|_| answer.0 == 201) else {
            return self.wrong("a create", &answer);
        };
        let (names, late, tickets) = (BTreeSet::from([name]), BTreeSet::new(), BTreeMap::new());
        self.end_users.push(TrackedEndUser { id, names, late, uids: vec![uid], tickets, deleted: false });
    }

    async fn update(&mut self, at: usize) {
        let name = self.name("name");
        let path = format!("/api/EndUsers/{}", self.end_users[at].id);
        let mut body = json!({ "firstname": name });
        if self.rng.u8(0..OVERSIZED) == 0 {
            body["otherContactDetails"] = growing_text(self.made).into();
        }
        let answer = self.once("PUT", &path, None, Some(&body)).await;
        match answer {
            Some((204, _)) => {
                self.figures.acknowledged += 1;
                let late = self.end_users[at].late.iter().cloned();
                self.end_users[at].names = late.chain([name]).collect();
            }
            Some(answer) => self.wrong("an update", &answer),
            None => {
                self.end_users[at].names.insert(name.clone());
                self.end_users[at].late.insert(name);
            }
        }
    }

    async fn assign(&mut self, at: usize) {
        let uid = format!("{}@example.com", self.name("mail"));
        let body = json!({ "endUserID": self.end_users[at].id, "uid": uid });
        let (answer, _) = self.surely("POST", "/api/EndUserUIDs/assign", Some(&uid), Some(&body)).await;
        if answer.0 != 201 {
            return self.wrong("an assign", &answer);
        }
        self.end_users[at].uids.push(uid);
    }

    async fn delete(&mut self, at: usize) {
        let path = format!("/api/EndUsers/{}", self.end_users[at].id);
        let (answer, first) = self.surely("DELETE", &path, None, None).await;
        // After a try without an answer it may be gone already.
        if answer.0 != 204 && (first || answer.0 != 404) {
            self.wrong("a delete", &answer);
        }
        self.end_users[at].deleted = true;
    }

    async fn tell(&mut self, at: usize) {
        self.made += 1;
        let ticket = self.number * 1_000_000 + self.made;
        let uid = self.rng.choice(&self.end_users[at].uids).cloned().unwrap_or_default();
        let event = json!({ "type": "ticket.upserted", "customerID": self.tenant() + 1,
            "occurredAt": "2026-11-25T10:00:00Z", "ticket": { "ticketID": ticket, "uid": uid,
            "dateCreated": "2026-11-25T10:00:00Z", "lastMessageDate": "2026-11-25T10:00:00Z" } });
        let messages = if self.rng.u8(0..OVERSIZED) == 0 { 4 } else { 0 };
        let topics = messages * 20;
        let messages = (0..messages).map(|number| message(self.tenant() + 1, ticket, number));
        // Messages may come before their ticket.
        for event in messages.chain([event]).collect::<Vec<_>>() {
            let (answer, _) = self.surely("POST", "/local/ticket-events", None, Some(&event)).await;
            if answer.0 != 202 {
                return self.wrong("a ticket event", &answer);
            }
        }
        self.end_users[at].tickets.insert(ticket, topics);
    }

    async fn check(&mut self, at: usize) {
        let path = format!("/api/EndUsers/{}", self.end_users[at].id);
        if let Some((status, shown)) = self.once("GET", &path, None, None).await {
            self.figures.checked += 1;
            let contradiction = self.end_users[at].contradiction(status, &shown);
            self.figures.findings.extend(contradiction);
        }
    }

    async fn find(&mut self, at: usize) {
        let uid = self.rng.choice(&self.end_users[at].uids).cloned().unwrap_or_default();
        if let Some(answer) = self.once("GET", &format!("/api/EndUsers/byUid?uid={uid}"), None, None).await {
            self.figures.checked += 1;
            if answer.1[0]["endUserID"] != self.end_users[at].id {
                self.wrong("a look-up", &answer);
            }
        }
    }
}
