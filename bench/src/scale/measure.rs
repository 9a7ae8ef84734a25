//! What each request costs and how long it takes in one tenant: one at a time, over HTTP.

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
use crate::Outcome;
use crate::end_users;
use crate::http::{Answer, Caller, Cost, list};
use crate::system::{self, Engine};
use crate::times::Times;

/// The orders whose deep pages are measured: all different, few different, all equal, and ids.
pub(crate) const ORDERS: [&str; 4] = ["endUserID", "lastname", "customerRef", "country"];
/// A page behind so many rows is found by counted blocks.
const NEAR: u32 = 1_000;
/// How often an ordinary request is repeated, and one that reads very much.
const OFTEN: usize = 100;
const SELDOM: usize = 5;
/// A ticket's facts, or one of its messages, that the queue hands on; its ticket comes to have so many.
pub(crate) const EVENT: &str = "ticket event, 10 messages";
const MESSAGES: u32 = 10;
/// The first number of end users who are not loaded but created through the API, and deleted again.
pub(crate) const GUESTS: u32 = 9_000_000;

/// One request: its highest cost, and its times.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Row {
    pub(crate) request: String,
    pub(crate) cost: Cost,
    pub(crate) times: Times,
    /// How many were not answered as they should be.
    pub(crate) failures: usize,
}

/// How an order came to be counted.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Counting {
    pub(crate) order: String,
    /// The page that asked for it: what a walk costs.
    pub(crate) first: Row,
    /// How long the indexer then counted.
    pub(crate) seconds: f64,
}

/// The page in the middle of so many end users.
fn middle(end_users: u32) -> u32 {
    end_users / 20
}

/// Whether the middle page is found by blocks.
pub(crate) fn is_deep(end_users: u32) -> bool {
    10 * (middle(end_users) - 1) > NEAR
}

/// Rows in the making.
struct Rows<'a> {
    rows: Vec<Row>,
    bar: &'a ProgressBar,
}

impl Rows<'_> {
    /// Repeats a request; `act` gets the number of the try and answers whether the answer is as it
    /// should be.
    async fn add(
        &mut self,
        request: &str,
        repeats: usize,
        mut act: impl AsyncFnMut(usize) -> Outcome<(Answer, bool)>,
    ) -> Outcome<()> {
        let (mut cost, mut times, mut failures) = (Cost::default(), Vec::with_capacity(repeats), 0);
        self.bar.set_message(request.to_owned());
        for i in 0..repeats {
            let (answer, good) = act(i).await.map_err(|error| format!("{request}: {error}"))?;
            failures += usize::from(!good || answer.status >= 300);
            cost = cost.max(answer.cost);
            times.push(answer.took);
            self.bar.inc(1);
        }
        self.rows.push(Row { request: request.to_owned(), cost, times: Times::of(times), failures });
        Ok(())
    }

    /// The same list again and again, which must show these end users.
    async fn list(&mut self, caller: &Caller, request: &str, repeats: usize, path: &str, ids: &[u32]) -> Outcome<()> {
        self.add(request, repeats, async |_| {
            let answer = caller.get(path).await?;
            let good = answer.ids() == ids;
            Ok((answer, good))
        })
        .await
    }
}

/// Asks for the first deep page of an order, which is walked, and waits until the order is counted.
pub(crate) async fn count(caller: &Caller, end_users: u32, order: &str, bar: &ProgressBar) -> Outcome<Counting> {
    let mut rows = Rows { rows: Vec::new(), bar };
    let path = list("", order, false, middle(end_users));
    rows.add(&format!("first deep page by {order}"), 1, async |_| Ok((caller.get(&path).await?, true))).await?;
    let started = Instant::now();
    caller.settle().await?;
    let first = rows.rows.pop().ok_or("no row")?;
    Ok(Counting { order: order.to_owned(), first, seconds: started.elapsed().as_secs_f64() })
}

/// All requests that only read.
pub(crate) async fn reads(caller: &Caller, end_users: u32, bar: &ProgressBar) -> Outcome<Vec<Row>> {
    let orders = Orders::of(end_users)?;
    let mut rows = Rows { rows: Vec::new(), bar };
    let mut rng = Rng::with_seed(end_users.into());
    let mut someone = || rng.u32(1..=end_users);
    rows.add("GET one", OFTEN, async |_| {
        let id = someone();
        let answer = caller.get(&format!("/api/EndUsers/{id}")).await?;
        let good = answer.body["endUserID"] == id;
        Ok((answer, good))
    })
    .await?;
    for (request, uid) in [("byUid, e-mail", end_users::email as fn(u32) -> String), ("byUid, phone", end_users::phone)]
    {
        rows.add(request, OFTEN, async |_| {
            let id = someone();
            let answer = caller.get(&format!("/api/EndUsers/byUid?uid={}", uid(id).replace('+', "%2B"))).await?;
            let good = answer.body.as_array().is_some_and(|all| all.len() == 1) && answer.body[0]["endUserID"] == id;
            Ok((answer, good))
        })
        .await?;
    }
    let (middle, last) = (middle(end_users), end_users / 10);
    let everybody: fn(u32) -> bool = |_| true;
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
        let ids = orders.page(order, descending, page, everybody);
        rows.list(caller, request, OFTEN, &list("", order, descending, page), &ids).await?;
    }

    rows.add("search, 7 found", OFTEN, async |_| {
        let firm = someone() / end_users::COLLEAGUES * end_users::COLLEAGUES;
        // The first firm lacks the end user 0, who is one of the 30 %; the last is cut off.
        let firm = firm.min(end_users - end_users::COLLEAGUES);
        let company = end_users::company(firm + end_users::COLLEAGUES - 1);
        let answer = caller.get(&list(company.split(' ').next().unwrap_or_default(), "endUserID", false, 1)).await?;
        let good = answer.body["totalCount"] == 7;
        Ok((answer, good))
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
        rows.list(caller, request, repeats, &list(end_users::FREQUENT, order, false, page), &ids).await?;
    }
    Ok(rows.rows)
}

/// All requests that write, and an end user's tickets; the end users whom they are about come and go.
pub(crate) async fn writes(caller: &Caller, end_users: u32, bar: &ProgressBar) -> Outcome<Vec<Row>> {
    clean(caller, end_users).await?;
    let mut rows = Rows { rows: Vec::new(), bar };
    let mut ids = Vec::new();
    rows.add("create", OFTEN, async |i| {
        let answer = caller.post("/api/EndUsers", &end_users::body(GUESTS + i as u32)).await?.expect(201)?;
        ids.push(answer.id()?);
        Ok((answer, true))
    })
    .await?;
    rows.add("update of one name", OFTEN, async |i| {
        let name = json!({ "firstname": format!("Janet{i}") });
        Ok((caller.send("PUT", &format!("/api/EndUsers/{}", ids[i]), Some(&name)).await?, true))
    })
    .await?;
    rows.add("delete", OFTEN / 2, async |i| {
        Ok((caller.send("DELETE", &format!("/api/EndUsers/{}", ids[i]), None).await?, true))
    })
    .await?;
    rows.add("assign", OFTEN / 2, async |i| {
        let uid = format!("guest{i}@example.com");
        let assign = json!({ "endUserID": ids[OFTEN / 2 + i], "uid": uid });
        Ok((caller.post("/api/EndUserUIDs/assign", &assign).await?, true))
    })
    .await?;
    let id = with_tickets(caller, end_users).await?;
    rows.add("tickets, 3 UIDs, 30 tickets", OFTEN, async |_| {
        let answer = caller.get(&format!("/api/EndUsers/{id}/tickets")).await?;
        let good = answer.body["totalCount"] == 30;
        Ok((answer, good))
    })
    .await?;
    clean(caller, end_users).await?;
    Ok(rows.rows)
}

/// A new end user with three UIDs, each with ten tickets.
async fn with_tickets(caller: &Caller, end_users: u32) -> Outcome<u32> {
    let number = GUESTS + OFTEN as u32;
    let mut body = end_users::body(number);
    let uids = [end_users::email(number), end_users::phone(number), format!("+3248{number:07}")];
    if let Some(all) = body["uids"].as_array_mut() {
        all.push(json!({ "uidType": "WhatsApp", "uid": uids[2] }));
    }
    let id = caller.post("/api/EndUsers", &body).await?.expect(201)?.id()?;
    for n in 1..=30 {
        let uid = &uids[n as usize % 3];
        for event in [ticket_event(end_users, n, uid), message_event(end_users, n, n)] {
            caller.post("/local/ticket-events", &event).await?.expect(202)?;
        }
    }
    caller.settle().await?;
    Ok(id)
}

/// The facts of a ticket that is stored in less than a kilobyte, in the tenant of so many end users.
fn ticket_event(end_users: u32, id: u32, uid: &str) -> Value {
    let at = format!("2026-11-{:02}T10:00:00Z", 1 + id % 30);
    let ticket = json!({ "ticketID": id, "uid": uid, "subject": "x".repeat(400), "status": "Open",
        "customFieldsData": { "text": "y".repeat(100) }, "dateCreated": at, "lastMessageDate": at });
    json!({ "type": "ticket.upserted", "customerID": end_users, "occurredAt": at, "ticket": ticket })
}

/// One of its messages.
fn message_event(end_users: u32, ticket: u32, id: u32) -> Value {
    let at = format!("2026-11-{:02}T10:00:00Z", 1 + id % 30);
    let message = json!({ "ticketMessageID": id, "ticketID": ticket, "date": at, "sender": "EndUser",
        "topics": ["Billing"], "isEscalated": true, "feedbackComment": "wrong tone" });
    json!({ "type": "message.upserted", "customerID": end_users, "occurredAt": at, "message": message })
}

/// Deletes whom a run left behind.
pub(crate) async fn clean(caller: &Caller, end_users: u32) -> Outcome<()> {
    loop {
        let ids = caller.get("/api/EndUsers?sortOrder=desc&pageSize=100").await?.expect(200)?.ids();
        let guests: Vec<_> = ids.into_iter().filter(|id| *id > end_users).collect();
        if guests.is_empty() {
            return caller.settle().await;
        }
        for some in guests.chunks(16) {
            let deletes = some.iter().map(async |id| {
                caller.send("DELETE", &format!("/api/EndUsers/{id}"), None).await?.expect(204).map(drop)
            });
            futures::future::try_join_all(deletes).await?;
        }
    }
}

/// What indexing one new end user costs; nothing else follows the stream meanwhile.
pub(crate) async fn index(engine: &Engine, tenant: &Tenant, bar: &ProgressBar) -> Outcome<Vec<Row>> {
    let app = engine.app()?;
    let mut rows = Rows { rows: Vec::new(), bar };
    rows.add("index one new person", OFTEN, async |i| {
        let draft = end_users::draft(&end_users::body(GUESTS + i as u32))?;
        let meter = Meter::default();
        let scope = system::scope(&app, tenant, &meter);
        let id = scope.create_end_user(&draft, None).await.map_err(|error| format!("{error:?}"))?.value.id;
        let answer = indexed(&app, tenant, id).await?;
        scope.delete_end_user(id, &Precondition::default()).await.map_err(|error| format!("{error:?}"))?;
        indexed(&app, tenant, id).await?;
        Ok((answer, true))
    })
    .await?;
    Ok(rows.rows)
}

/// What taking in the events of tickets costs.
pub(crate) async fn events(engine: &Engine, end_users: u32, bar: &ProgressBar) -> Outcome<Vec<Row>> {
    let (app, tenant) = (engine.app()?, system::tenant(end_users));
    let mut rows = Rows { rows: Vec::new(), bar };
    // Any that are new: an event of a ticket that an interrupted run left would be an old one.
    let first = fastrand::u32(1_000_000..1_000_000_000);
    rows.add(EVENT, OFTEN, async |i| {
        let (ticket, n) = (first + i as u32 / (1 + MESSAGES), i as u32 % (1 + MESSAGES));
        let event = match n {
            0 => ticket_event(end_users, ticket, &end_users::email(1)),
            _ => message_event(end_users, ticket, n),
        };
        let event = Event::parse(event.to_string().as_bytes()).map_err(|faults| format!("{faults:?}"))?;
        let meter = Meter::default();
        let started = Instant::now();
        system::scope(&app, &tenant, &meter).take_ticket_event(&event).await?;
        Ok((answered(&meter, started), true))
    })
    .await?;
    Ok(rows.rows)
}

/// Indexes an end user; answers as a request would.
async fn indexed(app: &App, tenant: &Tenant, id: EndUserId) -> Outcome<Answer> {
    let meter = Meter::default();
    let started = Instant::now();
    system::scope(app, tenant, &meter).index_end_users([id]).await?;
    Ok(answered(&meter, started))
}

/// What no request set off, as if one had.
fn answered(meter: &Meter, started: Instant) -> Answer {
    Answer { status: 200, body: Value::Null, took: started.elapsed(), cost: meter.cost().into() }
}
