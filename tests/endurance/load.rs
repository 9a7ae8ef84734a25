//! Load clients. Each records the acknowledged writes of its own end users.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use fastrand::Rng;
use serde_json::{Value, json};

use crate::audit::LoadReport;
use crate::tenants::{JsonResponse, TENANTS, Tenants};

/// The greatest number of UIDs that a client links to one end user.
const MAX_UIDS: usize = 30;
/// One in this many end users and tickets is oversized.
const OVERSIZED: u8 = 12;

/// An end user as its only writer knows it.
pub(crate) struct TrackedEndUser {
    pub(crate) id: u64,
    /// The first names that it can have: several after an update without a response.
    pub(crate) names: BTreeSet<String>,
    /// The first names of updates without a response. A function that outlives its gateway can write them after later
    /// ones.
    late: BTreeSet<String>,
    pub(crate) uids: Vec<String>,
    /// The number of topics sent, by ticket id.
    pub(crate) tickets: BTreeMap<u64, u64>,
    pub(crate) deleted: bool,
}

/// A client, which alone writes its end users.
pub(crate) struct LoadClient<'a> {
    tenants: &'a Tenants,
    number: u64,
    rng: Rng,
    pub(crate) end_users: Vec<TrackedEndUser>,
    /// The number of names made so far.
    made: u64,
    pub(crate) report: LoadReport,
}

/// The size of each topic of a large ticket in bytes.
pub(crate) const TOPIC_BYTES: u64 = 4 + 96 * 4;

/// The event of a message of a large ticket, with 20 topics of its own.
fn message(tenant: u64, ticket: u64, number: u64) -> Value {
    let topic = |n: u64| format!("{:04}{}", number * 20 + n, "😀".repeat(96));
    json!({ "type": "message.upserted", "customerID": tenant, "occurredAt": "2026-11-25T10:00:00Z", "message": {
        "ticketMessageID": ticket * 10 + number, "ticketID": ticket, "date": "2026-11-25T10:00:00Z",
        "topics": (0..20).map(topic).collect::<Vec<_>>() } })
}

/// Words that NFKD makes six times longer, with more bytes than a search covers. Each `number` has other words.
fn growing_text(number: u64) -> String {
    (0..50).map(|n| format!("{number}x{n}{}", "㌖".repeat(30))).collect::<Vec<_>>().join(" ")
}

impl<'a> LoadClient<'a> {
    /// Runs a client until `end`, and returns it with its records.
    pub(crate) async fn run(tenants: &'a Tenants, number: u64, seed: u64, end: Instant) -> Self {
        let rng = Rng::with_seed(seed * 1_000 + number);
        let mut client = Self { tenants, number, rng, end_users: Vec::new(), made: 0, report: LoadReport::default() };
        while Instant::now() < end {
            client.call_at_random().await;
        }
        client
    }

    pub(crate) fn tenant(&self) -> u64 {
        self.number % TENANTS
    }

    /// A unique name.
    fn name(&mut self, kind: &str) -> String {
        self.made += 1;
        format!("{kind}-{}-{}", self.number, self.made)
    }

    /// Makes one random call.
    async fn call_at_random(&mut self) {
        let alive: Vec<_> = (0..self.end_users.len()).filter(|at| !self.end_users[*at].deleted).collect();
        let Some(at) = self.rng.choice(alive) else { return self.create().await };
        match self.rng.u8(0..20) {
            0..3 => self.create().await,
            3..7 => self.update(at).await,
            7..10 if self.end_users[at].uids.len() < MAX_UIDS => self.assign(at).await,
            10 => self.delete(at).await,
            11..13 => self.send_ticket(at).await,
            13..16 => self.check(at).await,
            16..18 => self.find(at).await,
            _ => drop(self.attempt("GET", "/api/EndUsers?pageSize=5&sortBy=firstname", None, None).await),
        }
    }

    /// Makes one attempt. Returns `None` without a response, or for a 5xx.
    async fn attempt(
        &mut self,
        method: &str,
        path: &str,
        key: Option<&str>,
        body: Option<&Value>,
    ) -> Option<JsonResponse> {
        self.report.requests += 1;
        let response =
            self.tenants.send(self.tenant(), method, path, key, body).await.filter(|(status, _)| *status < 500);
        if response.is_none() {
            self.report.failed += 1;
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        response
    }

    /// Repeats a call until it has a response other than a 5xx. Returns also whether the first attempt had it.
    async fn call(
        &mut self,
        method: &str,
        path: &str,
        key: Option<&str>,
        body: Option<&Value>,
    ) -> (JsonResponse, bool) {
        let mut first = true;
        loop {
            if let Some(response) = self.attempt(method, path, key, body).await {
                self.report.acknowledged += 1;
                return (response, first);
            }
            first = false;
        }
    }

    fn add_finding(&mut self, call: &str, (status, body): &JsonResponse) {
        self.report.findings.push(format!("client {}: {call}: {status} {body}", self.number));
    }

    async fn create(&mut self) {
        let (name, uid) = (self.name("name"), format!("{}@example.com", self.name("mail")));
        let mut body = json!({ "firstname": name, "lastname": "Endurance", "uids": [{ "uid": uid }] });
        if self.rng.u8(0..OVERSIZED) == 0 {
            body["otherContactDetails"] = growing_text(self.made).into();
        }
        let (response, _) = self.call("POST", "/api/EndUsers", Some(&name), Some(&body)).await;
        let Some(id) = response.1["endUserID"].as_u64().filter(|_| response.0 == 201) else {
            return self.add_finding("a create", &response);
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
        let response = self.attempt("PUT", &path, None, Some(&body)).await;
        match response {
            Some((204, _)) => {
                self.report.acknowledged += 1;
                let late = self.end_users[at].late.iter().cloned();
                self.end_users[at].names = late.chain([name]).collect();
            }
            Some(response) => self.add_finding("an update", &response),
            None => {
                self.end_users[at].names.insert(name.clone());
                self.end_users[at].late.insert(name);
            }
        }
    }

    async fn assign(&mut self, at: usize) {
        let uid = format!("{}@example.com", self.name("mail"));
        let body = json!({ "endUserID": self.end_users[at].id, "uid": uid });
        let (response, _) = self.call("POST", "/api/EndUserUIDs/assign", Some(&uid), Some(&body)).await;
        if response.0 != 201 {
            return self.add_finding("an assign", &response);
        }
        self.end_users[at].uids.push(uid);
    }

    async fn delete(&mut self, at: usize) {
        let path = format!("/api/EndUsers/{}", self.end_users[at].id);
        let (response, first) = self.call("DELETE", &path, None, None).await;
        // An attempt without a response can have deleted it.
        if response.0 != 204 && (first || response.0 != 404) {
            self.add_finding("a delete", &response);
        }
        self.end_users[at].deleted = true;
    }

    async fn send_ticket(&mut self, at: usize) {
        self.made += 1;
        let ticket = self.number * 1_000_000 + self.made;
        let uid = self.rng.choice(&self.end_users[at].uids).cloned().unwrap_or_default();
        let event = json!({ "type": "ticket.upserted", "customerID": self.tenant() + 1,
            "occurredAt": "2026-11-25T10:00:00Z", "ticket": { "ticketID": ticket, "uid": uid,
            "dateCreated": "2026-11-25T10:00:00Z", "lastMessageDate": "2026-11-25T10:00:00Z" } });
        let messages = if self.rng.u8(0..OVERSIZED) == 0 { 4 } else { 0 };
        let topics = messages * 20;
        let messages = (0..messages).map(|number| message(self.tenant() + 1, ticket, number));
        // Messages can arrive before their ticket.
        for event in messages.chain([event]).collect::<Vec<_>>() {
            let (response, _) = self.call("POST", "/local/ticket-events", None, Some(&event)).await;
            if response.0 != 202 {
                return self.add_finding("a ticket event", &response);
            }
        }
        self.end_users[at].tickets.insert(ticket, topics);
    }

    async fn check(&mut self, at: usize) {
        let path = format!("/api/EndUsers/{}", self.end_users[at].id);
        if let Some((status, shown)) = self.attempt("GET", &path, None, None).await {
            self.report.checked += 1;
            let contradiction = self.end_users[at].contradiction(status, &shown);
            self.report.findings.extend(contradiction);
        }
    }

    async fn find(&mut self, at: usize) {
        let uid = self.rng.choice(&self.end_users[at].uids).cloned().unwrap_or_default();
        if let Some(response) = self.attempt("GET", &format!("/api/EndUsers/byUid?uid={uid}"), None, None).await {
            self.report.checked += 1;
            if response.1[0]["endUserID"] != self.end_users[at].id {
                self.add_finding("a look-up", &response);
            }
        }
    }
}
