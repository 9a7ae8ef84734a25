//! The audit after a run: every acknowledged write is read back.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::load::{LoadClient, TOPIC_BYTES, TrackedEndUser};
use crate::tenants::{TENANTS, Tenants};

/// The counts and findings of a run.
#[derive(Default)]
pub(crate) struct LoadReport {
    pub(crate) requests: u64,
    /// Requests without a response, or with a 5xx.
    pub(crate) failed: u64,
    pub(crate) acknowledged: u64,
    pub(crate) checked: u64,
    /// The database calls through the proxy, and the faults injected into them; `None` without a proxy.
    pub(crate) calls_and_faults: Option<(u64, u64)>,
    pub(crate) processes_killed: u64,
    pub(crate) restarts: u64,
    pub(crate) end_users: u64,
    pub(crate) identifiers: u64,
    pub(crate) tickets: u64,
    /// Contradictions between acknowledged writes and reads.
    pub(crate) findings: Vec<String>,
}

impl Tenants {
    /// Compares all reads with the acknowledged writes of the clients.
    pub(crate) async fn audit(&self, clients: Vec<LoadClient<'_>>) -> LoadReport {
        while self.send(0, "POST", "/local/settle", None, None).await.is_none_or(|(status, _)| status != 204) {}
        let mut total = LoadReport::default();
        for tenant in 0..TENANTS {
            let mine =
                || clients.iter().filter(|client| client.tenant() == tenant).flat_map(|client| &client.end_users);
            let alive: BTreeSet<u64> =
                mine().filter(|end_user| !end_user.deleted).map(|end_user| end_user.id).collect();
            for query in ["", "&sortBy=lastname", "&search=endurance"] {
                let listed = self.list(tenant, query).await;
                let ids: BTreeSet<u64> = listed.1.iter().copied().collect();
                if ids != alive || listed.1.len() != alive.len() || listed.0 != alive.len() as u64 {
                    let missing: Vec<_> = alive.difference(&ids).collect();
                    let unexpected: Vec<_> = ids.difference(&alive).collect();
                    let counts = format!("{} end users, totalCount {}", alive.len(), listed.0);
                    let difference = format!("missing {missing:?}, unexpected {unexpected:?}");
                    total.findings.push(format!("tenant {tenant}, list {query:?}: {counts}, {difference}"));
                }
            }
            for end_user in mine() {
                self.audit_end_user(tenant, end_user, &mut total).await;
            }
        }
        for client in clients {
            let LoadReport { requests, failed, acknowledged, checked, findings, .. } = client.report;
            total.requests += requests;
            total.failed += failed;
            total.acknowledged += acknowledged;
            total.checked += checked;
            total.findings.extend(findings);
        }
        total
    }

    /// The totalCount of a list, and the ids on all its pages.
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
        unreachable!("a list has a last page")
    }

    async fn audit_end_user(&self, tenant: u64, end_user: &TrackedEndUser, total: &mut LoadReport) {
        total.end_users += 1;
        let (status, shown) = self.read(tenant, &format!("/api/EndUsers/{}", end_user.id)).await;
        if end_user.deleted {
            if status != 404 {
                total.findings.push(format!("{} was deleted and is found: {shown}", end_user.id));
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
            total.findings.push(format!("tickets of {}: {tickets:?}, expected {expected:?}", end_user.id));
        }
    }
}

impl TrackedEndUser {
    /// Describes a response that contradicts the acknowledged writes.
    pub(crate) fn contradiction(&self, status: u16, shown: &Value) -> Option<String> {
        let uids: BTreeSet<_> =
            shown["uids"].as_array().into_iter().flatten().filter_map(|uid| uid["uid"].as_str()).collect();
        let named = shown["firstname"].as_str().is_some_and(|name| self.names.contains(name));
        let linked = uids == self.uids.iter().map(String::as_str).collect();
        let holds = status == 200 && named && linked && shown["lastname"] == "Endurance";
        (!holds).then(|| format!("{}: {status} {shown}, expected {:?} and {:?}", self.id, self.names, self.uids))
    }
}

/// The number of sent topics that a ticket shows: at most 16 KiB, as JSON that is escaped once more (docs/api.md,
/// Tickets).
fn kept_topics(sent: u64) -> u64 {
    sent.min(16 * 1024 / (TOPIC_BYTES + 5))
}
