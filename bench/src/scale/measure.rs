//! The cost and latency of each request in one tenant: one at a time, over HTTP.

use std::time::Instant;

use fastrand::Rng;
use indicatif::ProgressBar;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use shared::app::App;
use shared::domain::end_user::Precondition;
use shared::domain::ids::{EndUserId, Tenant};
use shared::domain::ticket::Event;
use shared::store::Meter;

use super::orders::Orders;
use crate::Result;
use crate::end_users;
use crate::http::{ApiClient, Cost, Response, list};
use crate::system::{self, Engine};
use crate::times::Times;

/// The orders of the measured far pages: ids, many equal values, distinct values, and one value.
pub(crate) const ORDERS: [&str; 4] = ["endUserID", "lastname", "customerRef", "country"];
/// The rows after which a page is found with a rank index.
const NEAR: u32 = 1_000;
/// The repetitions of an ordinary request, and of one that reads a lot.
const OFTEN: usize = 100;
const SELDOM: usize = 5;
/// The request name of an event of a ticket or of one of its messages, and the messages per ticket.
pub(crate) const EVENT: &str = "ticket event, 10 messages";
const MESSAGES: u32 = 10;
/// The first number of end users that are created through the API and deleted again.
pub(crate) const GUESTS: u32 = 9_000_000;

/// A request with its highest cost and its times.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Row {
    pub(crate) request: String,
    pub(crate) cost: Cost,
    pub(crate) times: Times,
    /// The number of unexpected responses.
    pub(crate) failures: usize,
}

/// The build of an order's rank index.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct RankBuild {
    pub(crate) order: String,
    /// The request that started the build. It was found by reading the entries before it.
    pub(crate) first: Row,
    /// The duration of the build.
    pub(crate) seconds: f64,
}

/// The number of the page in the middle, with ten end users per page.
fn middle(end_users: u32) -> u32 {
    end_users / 20
}

/// Whether the middle page is found with a rank index.
pub(crate) fn is_deep(end_users: u32) -> bool {
    10 * (middle(end_users) - 1) > NEAR
}

/// A collector of rows.
struct Rows<'a> {
    rows: Vec<Row>,
    bar: &'a ProgressBar,
}

impl Rows<'_> {
    /// Repeats a request. `send` gets the number of the repetition, and returns the response and whether it is as
    /// expected.
    async fn add(
        &mut self,
        request: &str,
        repeats: usize,
        mut send: impl AsyncFnMut(usize) -> Result<(Response, bool)>,
    ) -> Result<()> {
        let (mut cost, mut times, mut failures) = (Cost::default(), Vec::with_capacity(repeats), 0);
        self.bar.set_message(request.to_owned());
        for i in 0..repeats {
            let (response, good) = send(i).await.map_err(|error| format!("{request}: {error}"))?;
            failures += usize::from(!good || response.status >= 300);
            cost = cost.max(response.cost);
            times.push(response.took);
            self.bar.inc(1);
        }
        self.rows.push(Row { request: request.to_owned(), cost, times: Times::of(times), failures });
        Ok(())
    }

    /// Repeats a list request, which must return these ids.
    async fn list(&mut self, api: &ApiClient, request: &str, repeats: usize, path: &str, ids: &[u32]) -> Result<()> {
        self.add(request, repeats, async |_| {
            let response = api.get(path).await?;
            let good = response.ids() == ids;
            Ok((response, good))
        })
        .await
    }
}

/// Requests the first far page of an order, which starts the build of its rank index, and waits for the build.
pub(crate) async fn build(api: &ApiClient, end_users: u32, order: &str, bar: &ProgressBar) -> Result<RankBuild> {
    let mut rows = Rows { rows: Vec::new(), bar };
    let path = list("", order, false, middle(end_users));
    rows.add(&format!("first far page by {order}"), 1, async |_| Ok((api.get(&path).await?, true))).await?;
    let started = Instant::now();
    api.settle().await?;
    let first = rows.rows.pop().ok_or("no row")?;
    Ok(RankBuild { order: order.to_owned(), first, seconds: started.elapsed().as_secs_f64() })
}

/// Measures all requests that only read.
pub(crate) async fn reads(api: &ApiClient, end_users: u32, bar: &ProgressBar) -> Result<Vec<Row>> {
    let orders = Orders::of(end_users)?;
    let mut rows = Rows { rows: Vec::new(), bar };
    let mut rng = Rng::with_seed(end_users.into());
    let mut random_id = || rng.u32(1..=end_users);
    rows.add("GET one", OFTEN, async |_| {
        let id = random_id();
        let response = api.get(&format!("/api/EndUsers/{id}")).await?;
        let good = response.body["endUserID"] == id;
        Ok((response, good))
    })
    .await?;
    for (request, uid) in [("byUid, e-mail", end_users::email as fn(u32) -> String), ("byUid, phone", end_users::phone)]
    {
        rows.add(request, OFTEN, async |_| {
            let id = random_id();
            let response = api.get(&format!("/api/EndUsers/byUid?uid={}", uid(id).replace('+', "%2B"))).await?;
            let good =
                response.body.as_array().is_some_and(|all| all.len() == 1) && response.body[0]["endUserID"] == id;
            Ok((response, good))
        })
        .await?;
    }
    let (middle, last) = (middle(end_users), end_users / 10);
    let all: fn(u32) -> bool = |_| true;
    let mut pages =
        vec![("list, first page", "endUserID", false, 1), ("list, first page by lastname", "lastname", false, 1)];
    pages.extend([
        ("list, middle page", "endUserID", false, middle),
        ("list, middle page, descending", "endUserID", true, middle),
        ("list, last page", "endUserID", false, last),
        ("list, middle page by lastname", "lastname", false, middle),
        ("list, middle page by lastname, descending", "lastname", true, middle),
        ("list, last page by lastname", "lastname", false, last),
        ("list, middle page by customerRef", "customerRef", false, middle),
        ("list, middle page by customerRef, descending", "customerRef", true, middle),
        ("list, middle page by country, all equal", "country", false, middle),
        ("list, middle page by country, all equal, descending", "country", true, middle),
    ]);
    for (request, order, descending, page) in pages {
        let ids = orders.page(order, descending, page, all);
        rows.list(api, request, OFTEN, &list("", order, descending, page), &ids).await?;
    }

    rows.add("search, 7 found", OFTEN, async |_| {
        let firm = random_id() / end_users::COLLEAGUES * end_users::COLLEAGUES;
        // The first company lacks the end user 0, which FREQUENT would find; the last one is incomplete.
        let firm = firm.min(end_users - end_users::COLLEAGUES);
        let company = end_users::company(firm + end_users::COLLEAGUES - 1);
        let response = api.get(&list(company.split(' ').next().unwrap_or_default(), "endUserID", false, 1)).await?;
        let good = response.body["totalCount"] == 7;
        Ok((response, good))
    })
    .await?;
    let found = (1..=end_users).filter(|number| end_users::is_frequent(*number)).count() as u32;
    let repeats = if end_users > 100_000 { SELDOM } else { 2 * SELDOM };
    for (request, order, page) in [
        ("search, 30 % found", "endUserID", 1),
        ("search, 30 % found, by lastname", "lastname", 1),
        ("search, 30 % found, middle page by lastname", "lastname", found / 20),
    ] {
        let ids = orders.page(order, false, page, end_users::is_frequent);
        rows.list(api, request, repeats, &list(end_users::FREQUENT, order, false, page), &ids).await?;
    }
    Ok(rows.rows)
}

/// Measures all requests that write, and the tickets of an end user, on end users that are deleted afterwards.
pub(crate) async fn writes(api: &ApiClient, end_users: u32, bar: &ProgressBar) -> Result<Vec<Row>> {
    clean(api, end_users).await?;
    let mut rows = Rows { rows: Vec::new(), bar };
    let mut ids = Vec::new();
    rows.add("create", OFTEN, async |i| {
        let response = api.post("/api/EndUsers", &end_users::body(GUESTS + i as u32)).await?.expect(201)?;
        ids.push(response.id()?);
        Ok((response, true))
    })
    .await?;
    rows.add("update of one name", OFTEN, async |i| {
        let name = json!({ "firstname": format!("Janet{i}") });
        Ok((api.send("PUT", &format!("/api/EndUsers/{}", ids[i]), Some(&name)).await?, true))
    })
    .await?;
    rows.add("delete", OFTEN / 2, async |i| {
        Ok((api.send("DELETE", &format!("/api/EndUsers/{}", ids[i]), None).await?, true))
    })
    .await?;
    rows.add("assign", OFTEN / 2, async |i| {
        let uid = format!("guest{i}@example.com");
        let assign = json!({ "endUserID": ids[OFTEN / 2 + i], "uid": uid });
        Ok((api.post("/api/EndUserUIDs/assign", &assign).await?, true))
    })
    .await?;
    let id = with_tickets(api, end_users).await?;
    rows.add("tickets, 3 UIDs, 30 tickets", OFTEN, async |_| {
        let response = api.get(&format!("/api/EndUsers/{id}/tickets")).await?;
        let good = response.body["totalCount"] == 30;
        Ok((response, good))
    })
    .await?;
    clean(api, end_users).await?;
    Ok(rows.rows)
}

/// Creates an end user with three UIDs, each with ten tickets. Returns its id.
async fn with_tickets(api: &ApiClient, end_users: u32) -> Result<u32> {
    let number = GUESTS + OFTEN as u32;
    let mut body = end_users::body(number);
    let uids = [end_users::email(number), end_users::phone(number), format!("+3248{number:07}")];
    if let Some(all) = body["uids"].as_array_mut() {
        all.push(json!({ "uidType": "WhatsApp", "uid": uids[2] }));
    }
    let id = api.post("/api/EndUsers", &body).await?.expect(201)?.id()?;
    for n in 1..=30 {
        let uid = &uids[n as usize % 3];
        for event in [ticket_event(end_users, n, uid), message_event(end_users, n, n)] {
            api.post("/local/ticket-events", &event).await?.expect(202)?;
        }
    }
    api.settle().await?;
    Ok(id)
}

/// An event of a ticket that is stored in less than a kilobyte, in the tenant of `end_users`.
fn ticket_event(end_users: u32, id: u32, uid: &str) -> Value {
    let at = format!("2026-11-{:02}T10:00:00Z", 1 + id % 30);
    let ticket = json!({ "ticketID": id, "uid": uid, "subject": "x".repeat(400), "status": "Open",
        "customFieldsData": { "text": "y".repeat(100) }, "dateCreated": at, "lastMessageDate": at });
    json!({ "type": "ticket.upserted", "customerID": end_users, "occurredAt": at, "ticket": ticket })
}

/// An event of a message of a ticket.
fn message_event(end_users: u32, ticket: u32, id: u32) -> Value {
    let at = format!("2026-11-{:02}T10:00:00Z", 1 + id % 30);
    let message = json!({ "ticketMessageID": id, "ticketID": ticket, "date": at, "sender": "EndUser",
        "topics": ["Billing"], "isEscalated": true, "feedbackComment": "wrong tone" });
    json!({ "type": "message.upserted", "customerID": end_users, "occurredAt": at, "message": message })
}

/// Deletes the end users that a run has created.
pub(crate) async fn clean(api: &ApiClient, end_users: u32) -> Result<()> {
    loop {
        let ids = api.get("/api/EndUsers?sortOrder=desc&pageSize=100").await?.expect(200)?.ids();
        let guests: Vec<_> = ids.into_iter().filter(|id| *id > end_users).collect();
        if guests.is_empty() {
            return api.settle().await;
        }
        for some in guests.chunks(16) {
            let deletes = some
                .iter()
                .map(async |id| api.send("DELETE", &format!("/api/EndUsers/{id}"), None).await?.expect(204).map(drop));
            futures::future::try_join_all(deletes).await?;
        }
    }
}

/// Measures the indexing of one new end user. No poller runs meanwhile.
pub(crate) async fn index(engine: &Engine, tenant: &Tenant, bar: &ProgressBar) -> Result<Vec<Row>> {
    let app = engine.app()?;
    let mut rows = Rows { rows: Vec::new(), bar };
    rows.add("index one new end user", OFTEN, async |i| {
        let new = end_users::parse(&end_users::body(GUESTS + i as u32))?;
        let meter = Meter::default();
        let scope = system::scope(&app, tenant, &meter);
        let id = scope.create_end_user(&new, None).await.map_err(|error| format!("{error:?}"))?.value.id;
        let response = indexed(&app, tenant, id).await?;
        scope.delete_end_user(id, &Precondition::default()).await.map_err(|error| format!("{error:?}"))?;
        indexed(&app, tenant, id).await?;
        Ok((response, true))
    })
    .await?;
    Ok(rows.rows)
}

/// Measures the ingestion of ticket events.
pub(crate) async fn events(engine: &Engine, end_users: u32, bar: &ProgressBar) -> Result<Vec<Row>> {
    let (app, tenant) = (engine.app()?, system::tenant(end_users));
    let mut rows = Rows { rows: Vec::new(), bar };
    // New ticket ids: the events of an interrupted run would be newer than these.
    let first = fastrand::u32(1_000_000..1_000_000_000);
    rows.add(EVENT, OFTEN, async |i| {
        let (ticket, n) = (first + i as u32 / (1 + MESSAGES), i as u32 % (1 + MESSAGES));
        let event = match n {
            0 => ticket_event(end_users, ticket, &end_users::email(1)),
            _ => message_event(end_users, ticket, n),
        };
        let event = Event::parse(event.to_string().as_bytes()).map_err(|errors| format!("{errors:?}"))?;
        let meter = Meter::default();
        let started = Instant::now();
        system::scope(&app, &tenant, &meter).take_ticket_event(&event).await?;
        Ok((response(&meter, started), true))
    })
    .await?;
    Ok(rows.rows)
}

/// Indexes an end user. Returns the cost as a response.
async fn indexed(app: &App, tenant: &Tenant, id: EndUserId) -> Result<Response> {
    let meter = Meter::default();
    let started = Instant::now();
    system::scope(app, tenant, &meter).index_end_users([id]).await?;
    Ok(response(&meter, started))
}

/// A response for work without a request.
fn response(meter: &Meter, started: Instant) -> Response {
    Response { status: 200, body: Value::Null, took: started.elapsed(), cost: meter.cost().into() }
}
