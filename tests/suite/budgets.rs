//! The cost budget of each request (docs/data-model.md) in a tenant of 1,000 end users, in the capacity figures of the
//! database engine.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use shared::domain::end_user::PendingEndUser;
use shared::domain::ids::Tenant;
use shared::domain::input::Json;
use shared::domain::ticket::Event;
use shared::store::{Entry, Meter};

use crate::support::app::{App, Caller, Response, TestRequest};
use crate::support::functions::{end_user, unwatched};

async fn thousand_end_users(app: &App) -> Caller<'_> {
    let tenant = app.tenant(7);
    let all: Vec<_> = (0..1_000).collect();
    for chunk in all.chunks(50) {
        futures::future::join_all(chunk.iter().map(|i| tenant.create(end_user(*i)))).await;
    }
    app.settle().await;
    tenant
}

#[track_caller]
fn assert_within(response: Response, (rtt, rru, wru): (f64, f64, f64)) -> Value {
    assert!(response.status < 300, "{}", response.text());
    let cost = response.cost();
    // docs/data-model.md has these lines: cargo test --workspace --test suite budgets -- --nocapture
    println!("{:<60} rtt={} rru={} wru={}", response.request, cost.0, cost.1, cost.2);
    let fits = cost.0 <= rtt && cost.1 <= rru && cost.2 <= wru;
    assert!(fits, "rtt, rru, wru are {cost:?}, the budget is {:?}", (rtt, rru, wru));
    response.json()
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_stay_within_budget_at_1000_end_users() {
    let app = App::start().await;
    let tenant = thousand_end_users(&app).await;
    let page = assert_within(tenant.get("/api/EndUsers").await, (1.0, 4.0, 0.0));
    assert_eq!(page["totalCount"], 1_000);
    let id = page["items"][3]["endUserID"].clone();
    let path = format!("/api/EndUsers/{id}");
    let email = page["items"][3]["uids"][0]["uid"].as_str().unwrap().to_owned();

    assert_within(tenant.get(&path).await, (1.0, 1.0, 0.0));
    let found = assert_within(tenant.get(&format!("/api/EndUsers/byUid?uid={email}")).await, (2.0, 3.0, 0.0));
    assert_eq!(found.as_array().unwrap().len(), 1);
    assert_within(tenant.get("/api/EndUsers/byUid?uid=%2B32470000042").await, (2.0, 3.0, 0.0));
    assert_within(tenant.get("/api/EndUsers?sortBy=lastname").await, (2.0, 12.0, 0.0));
    assert_within(tenant.get("/api/EndUsers?sortBy=name&sortOrder=desc").await, (2.0, 12.0, 0.0));
    for order in ["sortBy=lastname", "sortBy=customerRef&sortOrder=desc", "sortBy=gender"] {
        let page = assert_within(tenant.get(&format!("/api/EndUsers?pageNumber=99&{order}")).await, (4.0, 34.0, 0.0));
        assert_eq!(page["items"].as_array().unwrap().len(), 10);
    }
    // In the default order the first 1,000 rows are read from the documents, so that they show all writes.
    let read = 2.0 + 990.0 / 4.0;
    let page = assert_within(tenant.get("/api/EndUsers?pageNumber=99").await, (3.0, read, 0.0));
    assert_eq!(page["items"].as_array().unwrap().len(), 10);
    let found = assert_within(tenant.get("/api/EndUsers?search=first42").await, (2.0, 12.0 + 11.0 / 80.0, 0.0));
    assert_eq!(found["totalCount"], 11);
    let found = assert_within(tenant.get("/api/EndUsers?search=acme").await, (2.0, 12.0 + 1_000.0 / 80.0, 0.0));
    assert_eq!(found["totalCount"], 1_000);

    assert_within(tenant.put(&path, json!({ "firstname": "Janet" })).await, (2.0, 1.0, 3.0));
    let assign = json!({ "endUserID": id, "uid": "another@example.com" });
    assert_within(tenant.post("/api/EndUserUIDs/assign", assign.clone()).await, (3.0, 1.0, 7.0));
    assert_within(tenant.post("/api/EndUserUIDs/assign", assign).await, (1.0, 1.0, 0.0));
    let uids = tenant.read(&id).await["uids"].clone();
    let removal = json!({ "uids": [{ "endUserUIDID": uids[2]["endUserUIDID"], "markAsDeleted": true }] });
    tenant.update(&id, removal).await;
    assert_within(tenant.delete(&path).await, (2.0, 1.0, 11.0));
}

#[tokio::test]
async fn every_create_costs_two_round_trips() {
    let app = App::start().await;
    let tenant = app.tenant(7);
    for i in 0..100 {
        assert_within(tenant.post("/api/EndUsers", end_user(i)).await, (2.0, 0.0, 12.0));
    }
}

#[tokio::test]
async fn idempotency_key_adds_no_round_trip() {
    let app = App::start().await;
    let tenant = app.tenant(7);
    let create = || TestRequest::new("POST", "/api/EndUsers").header("idempotency-key", "k").json(&end_user(1));
    assert_within(tenant.send(create()).await, (2.0, 1.0, 14.0));
    // The replay took its ids concurrently with the look-up of the stored response.
    assert_within(tenant.send(create()).await, (1.0, 1.0, 1.0));
}

#[tokio::test]
async fn upsert_costs_two_or_three_round_trips() {
    let app = App::start().await;
    let tenant = app.tenant(7);
    let upsert = |key: Option<&str>, body: &Value| {
        let request = TestRequest::new("POST", "/api/EndUsers/upsert").json(body);
        key.into_iter().fold(request, |request, key| request.header("idempotency-key", key))
    };
    // Three keys: two units each, of which a phone key needs 1.5.
    let created = assert_within(tenant.send(upsert(None, &end_user(1))).await, (3.0, 6.0, 18.0));
    assert_eq!(created["outcome"], "Created");
    assert_within(tenant.send(upsert(Some("k"), &end_user(2))).await, (3.0, 7.0, 20.0));
    let unchanged = assert_within(tenant.send(upsert(None, &end_user(1))).await, (2.0, 7.0, 0.0));
    assert_eq!(unchanged["outcome"], "Unchanged");
    let (id, other) = (created["endUser"]["endUserID"].clone(), end_user(2)["uids"].clone());
    let found = tenant.by_uid("person2@example.com").await;
    let merge = json!({ "endUserID": found[0] });
    assert_within(tenant.post(&format!("/api/EndUsers/{id}/merge"), merge).await, (3.0, 2.0, 27.0));
    // An upsert whose claims name a merged end user follows the redirect: one more round trip, and two more if no index names the survivor.
    let body = json!({ "uids": other, "onMatch": "none" });
    assert_within(tenant.send(upsert(None, &body)).await, (3.0, 7.0, 0.0));
    let unmerge = TestRequest::new("POST", &format!("/api/EndUsers/{}/unmerge", found[0]));
    assert_within(tenant.send(unmerge).await, (3.0, 4.0, 26.0));
}

#[tokio::test]
async fn look_up_reads_each_end_user_once() {
    let app = App::start().await;
    let tenant = app.tenant(7);
    for _ in 0..20 {
        tenant.create(json!({ "uids": [{ "uid": "hot@x.be" }, { "uidType": "Crm", "uid": "warm" }] })).await;
    }
    let uids: Vec<_> = ["hot@x.be", "HOT@x.be", "warm", "cold"].into_iter().cycle().take(100).collect();
    let body = json!({ "uids": uids });
    let found = assert_within(tenant.post("/api/EndUsers/lookup", body).await, (2.0, 15.0, 0.0));
    assert_eq!(found["items"][99]["endUserIDs"], json!([]));
    assert_eq!(found["items"][96]["more"], true);
}

#[tokio::test]
async fn exclusive_create_costs_two_round_trips() {
    let app = App::with(&[("UID_POLICY", "Exclusive")]).await;
    let tenant = app.tenant(7);
    let created = assert_within(tenant.post("/api/EndUsers", end_user(1)).await, (2.0, 0.0, 18.0));
    let conflict = tenant.post("/api/EndUsers", end_user(1)).await;
    let cost = conflict.cost();
    println!("{:<60} rtt={} rru={} wru={}", "POST /api/EndUsers, 409", cost.0, cost.1, cost.2);
    assert_eq!(conflict.status, 409, "{}", conflict.text());
    assert!(cost.0 <= 5.0, "{cost:?}");
    assert_within(tenant.delete(&format!("/api/EndUsers/{}", created["endUserID"])).await, (2.0, 1.0, 18.0));
}

#[tokio::test]
async fn merged_id_costs_three_round_trips() {
    let app = App::start().await;
    let tenant = app.tenant(7);
    let missing = tenant.get("/api/EndUsers/99").await;
    assert_eq!((missing.status, missing.cost().0), (404, 3.0));
    let ids =
        [tenant.create(end_user(1)).await["endUserID"].clone(), tenant.create(end_user(2)).await["endUserID"].clone()];
    tenant.post(&format!("/api/EndUsers/{}/merge", ids[0]), json!({ "endUserID": ids[1] })).await.expect(200);
    let redirected = tenant.get(&format!("/api/EndUsers/{}", ids[1])).await;
    assert_eq!((redirected.status, redirected.cost().0), (308, 3.0));
}

#[tokio::test]
async fn ticket_history_costs_three_round_trips() {
    let app = App::start().await;
    let tenant = app.tenant(7);
    let mut body = end_user(1);
    body["uids"].as_array_mut().unwrap().push(json!({ "uidType": "WhatsApp", "uid": "32470999999" }));
    let id = tenant.create(body).await["endUserID"].clone();
    let uids = ["person1@example.com", "+32470000001", "+32470999999"];
    let mut events = Vec::new();
    for n in 1..=30 {
        let ticket = json!({ "ticketID": n, "uid": uids[n % 3], "subject": "x".repeat(400), "status": "Open",
            "customFieldsData": { "text": "y".repeat(300) },
            "dateCreated": "2026-11-01T10:00:00Z", "lastMessageDate": format!("2026-11-{n:02}T10:00:00Z") });
        let message = json!({ "ticketMessageID": n, "ticketID": n, "date": "2026-11-01T10:00:00Z", "sender": "EndUser",
            "topics": ["Billing"], "isEscalated": true, "feedbackComment": "wrong tone" });
        let at = "2026-11-20T10:00:00Z";
        events.push(json!({ "type": "ticket.upserted", "customerID": 7, "occurredAt": at, "ticket": ticket }));
        events.push(json!({ "type": "message.upserted", "customerID": 7, "occurredAt": at, "message": message }));
    }
    app.events(&events).await;
    let page = assert_within(tenant.get(&format!("/api/EndUsers/{id}/tickets")).await, (3.0, 20.0, 0.0));
    assert_eq!(page["totalCount"], 30);
    assert_eq!(page["items"][0]["ticketID"], 30);
    assert_eq!(page["items"][0]["aiFeedbackComments"], json!(["wrong tone"]));
}

#[tokio::test]
async fn indexing_writes_one_entry_per_order_and_word() {
    let app = App::start().await;
    let functions = unwatched(&app).await;
    let tenant = Tenant::parse("7").unwrap();
    let deadline = Instant::now() + Duration::from_secs(10);
    let body = Json::parse(end_user(1).to_string().as_bytes()).unwrap();
    let meter = Meter::default();
    let created = functions
        .scope(&tenant, &meter, deadline)
        .create_end_user(&PendingEndUser::read(&body, None).unwrap(), None)
        .await
        .unwrap()
        .value;

    let meter = Meter::default();
    let scope = functions.scope(&tenant, &meter, deadline);
    scope.index_end_users([created.id]).await.unwrap();
    let words = shared::store::entries(&created).iter().filter(|entry| matches!(entry, Entry::Word(_))).count();
    let cost = meter.cost();
    println!(
        "{:<60} rtt={} rru={} wru={} words={words}",
        "index one new end user", cost.round_trips, cost.read_units, cost.write_units
    );
    assert!(cost.read_units <= 4.0 && cost.write_units <= 18.0 + words as f64, "{cost:?} for {words} words");

    scope.index_end_users([created.id]).await.unwrap();
    assert_eq!(meter.cost().write_units, cost.write_units, "indexing again must write nothing");
}

#[tokio::test]
async fn ticket_event_costs_four_round_trips() {
    let app = App::start().await;
    let functions = unwatched(&app).await;
    let tenant = Tenant::parse("7").unwrap();
    let ticket = json!({ "type": "ticket.upserted", "customerID": 7, "occurredAt": "2026-11-20T10:00:00Z", "ticket": {
        "ticketID": 1, "uid": "a@x.be", "subject": "Hello", "dateCreated": "2026-11-20T10:00:00Z", "lastMessageDate": "2026-11-20T10:00:00Z" } });
    let message = |n: u64| {
        json!({ "type": "message.upserted", "customerID": 7, "occurredAt": "2026-11-20T10:00:00Z", "message": {
        "ticketMessageID": n, "ticketID": 1, "date": "2026-11-20T10:00:00Z", "sender": "EndUser", "topics": [format!("Topic {n}")] } })
    };
    for event in [ticket, message(1), message(2), message(3)] {
        let meter = Meter::default();
        let event = Event::parse(event.to_string().as_bytes()).unwrap();
        let deadline = Instant::now() + Duration::from_secs(10);
        functions.scope(&tenant, &meter, deadline).take_ticket_event(&event).await.unwrap();
        let cost = meter.cost();
        println!(
            "{:<60} rtt={} rru={} wru={}",
            "ticket or message event", cost.round_trips, cost.read_units, cost.write_units
        );
        assert!(cost.round_trips <= 4 && cost.read_units <= 4.0 && cost.write_units <= 6.0, "{cost:?}");
    }
}
