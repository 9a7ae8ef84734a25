//! Ticket events: their order, repeats, limits and dead letters.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::AttributeValue;

use crate::support::app::{TestRequest, now};
use crate::support::functions::{json_of, unwatched};
use crate::support::proxied::FaultyApp;

use super::*;

#[tokio::test]
async fn repeated_events_change_nothing() {
    let app = App::start().await;
    let caller = app.tenant(1);
    let id = jane(&caller).await;
    let events = [
        upserted(1, JANE, json!({ "subject": "x" })),
        message(1, 1, 3, json!({ "sender": "EndUser", "topics": ["t"], "isEscalated": true, "feedbackComment": "c" })),
        message(2, 1, 4, json!({ "sender": "EndUser" })),
        message_deleted(2, 1, 2),
    ];
    app.events(&events).await;
    let once = page(&caller, id, "").await;
    assert_eq!(once["items"][0]["lastEndUserMessageID"], 1);
    for _ in 0..3 {
        app.events(&events).await;
        assert_eq!(page(&caller, id, "").await, once);
    }
    assert_eq!(dead_letters(&app).await, 0);
}

#[tokio::test]
async fn delivery_order_does_not_matter() {
    let app = App::start().await;
    let at = |minute: u32, subject: &str| {
        event("ticket.upserted", minute, json!({ "ticket": ticket(1, JANE, json!({ "subject": subject })) }))
    };
    let mut events = vec![
        at(1, "first"),
        at(7, "latest"),
        at(3, "middle"),
        deleted(1, 2),
        message_at(1, 1, 1, 3, json!({ "topics": ["old"] })),
        message_at(5, 1, 1, 3, json!({ "topics": ["new"], "sender": "EndUser" })),
        message_at(4, 2, 1, 4, json!({ "topics": ["gone"], "sender": "EndUser" })),
        message_deleted(2, 1, 6),
        message_at(4, 3, 1, 5, json!({ "isEscalated": true, "feedbackComment": "c" })),
    ];
    let mut seen = Vec::new();
    for tenant in 1..=12_u32 {
        // Each tenant gets the events in a different order, and all of them again at the end.
        let length = events.len();
        events.rotate_left(tenant as usize % length);
        events.swap(tenant as usize % length, (tenant as usize * 5) % length);
        if tenant % 3 == 0 {
            events.reverse();
        }
        let mine: Vec<Value> = events
            .iter()
            .chain(events.iter().rev())
            .map(|e| with_member(e.clone(), "customerID", json!(tenant)))
            .collect();
        app.events(&mine).await;
        let caller = app.tenant(tenant);
        let id = jane(&caller).await;
        seen.push(only_ticket(&caller, id).await);
    }
    assert_eq!(seen[0]["subject"], "latest");
    assert_eq!(seen[0]["topics"], json!(["new"]));
    assert_eq!(seen[0]["lastEndUserMessageID"], 1);
    assert_eq!(seen[0]["aiFeedbackComments"], json!(["c"]));
    assert!(seen.iter().all(|ticket| *ticket == seen[0]), "{seen:#?}");
}

#[tokio::test]
async fn older_event_never_overwrites_a_newer_one() {
    let app = App::start().await;
    let caller = app.tenant(1);
    let id = jane(&caller).await;
    let at = |minute: &str, subject: &str| {
        with_member(upserted(1, JANE, json!({ "subject": subject })), "occurredAt", json!(minute))
    };
    app.events(&[at("2026-02-01T12:00:00.5Z", "newer")]).await;
    for older in
        ["2026-02-01T12:00:00Z", "2026-02-01T12:00:00.499999999Z", "2026-02-01T13:00:00+02:00", "2025-12-31T23:59:59Z"]
    {
        app.events(&[at(older, "older")]).await;
        assert_eq!(only_ticket(&caller, id).await["subject"], "newer", "{older}");
    }
    app.events(&[deleted(1, 1)]).await;
    assert_eq!(only_ticket(&caller, id).await["subject"], "newer");
    app.events(&[at("2026-02-01T11:00:00.500000001-01:00", "newest")]).await;
    assert_eq!(only_ticket(&caller, id).await["subject"], "newest");
}

#[tokio::test]
async fn upsert_replaces_the_whole_record() {
    let app = App::start().await;
    let caller = app.tenant(1);
    let id = jane(&caller).await;
    app.events(&[
        upserted(
            1,
            JANE,
            json!({ "subject": "x", "status": "Open", "isClosed": true, "customFieldsData": { "a": 1 } }),
        ),
        message(1, 1, 3, json!({ "topics": ["t"], "sender": "EndUser" })),
    ])
    .await;
    app.events(&[
        event("ticket.upserted", 2, json!({ "ticket": ticket(1, JANE, json!({ "status": "Closed" })) })),
        message_at(2, 1, 1, 3, json!({})),
    ])
    .await;
    let now = only_ticket(&caller, id).await;
    assert_eq!(
        (&now["subject"], &now["isClosed"], &now["customFieldsData"]),
        (&Value::Null, &Value::Null, &Value::Null)
    );
    assert_eq!(
        (&now["status"], &now["topics"], &now["lastEndUserMessageID"]),
        (&json!("Closed"), &json!([]), &Value::Null)
    );
}

#[tokio::test]
async fn tie_is_won_by_a_delete_else_by_the_first_event() {
    let app = App::start().await;
    let caller = app.tenant(1);
    let id = jane(&caller).await;
    app.events(&[upserted(1, JANE, json!({ "subject": "first" })), message(1, 1, 3, json!({ "topics": ["first"] }))])
        .await;
    app.events(&[upserted(1, JANE, json!({ "subject": "second" })), message(1, 1, 3, json!({ "topics": ["second"] }))])
        .await;
    let stored = only_ticket(&caller, id).await;
    assert_eq!((&stored["subject"], &stored["topics"]), (&json!("first"), &json!(["first"])));
    app.events(&[message_deleted(1, 1, 1)]).await;
    assert_eq!(only_ticket(&caller, id).await["topics"], json!([]));
    app.events(&[message(1, 1, 3, json!({ "topics": ["again"] }))]).await;
    assert_eq!(only_ticket(&caller, id).await["topics"], json!([]));
    app.events(&[deleted(1, 1)]).await;
    assert_eq!(ticket_ids(&caller, id, "").await, [0; 0]);
    app.events(&[upserted(1, JANE, json!({ "subject": "again" }))]).await;
    assert_eq!(ticket_ids(&caller, id, "").await, [0; 0]);
}

#[tokio::test]
async fn message_may_arrive_before_its_ticket() {
    let app = App::start().await;
    let caller = app.tenant(1);
    let id = jane(&caller).await;
    app.events(&[
        message(1, 1, 3, json!({ "sender": "EndUser", "topics": ["early"] })),
        message(2, 1, 4, json!({ "isEscalated": true, "feedbackComment": "early" })),
    ])
    .await;
    assert_eq!(ticket_ids(&caller, id, "").await, [0; 0]);
    app.events(&[upserted(1, JANE, json!({}))]).await;
    let ticket = only_ticket(&caller, id).await;
    assert_eq!(ticket["topics"], json!(["early"]));
    assert_eq!(ticket["lastEndUserMessageID"], 1);
    assert_eq!(ticket["aiFeedbackComments"], json!(["early"]));
}

/// The seconds until each stored message of ticket 1 of tenant 1 expires, by message id.
async fn message_expiry(app: &App) -> Vec<(String, Option<u64>)> {
    let text = |text: &str| AttributeValue::S(text.to_owned());
    let query = app.system.client().query().table_name(app.system.table());
    let query = query.key_condition_expression("pk = :pk AND begins_with(sk, :sk)");
    let query = query.expression_attribute_values(":pk", text("C#1#Ticket#1"));
    let messages = query.expression_attribute_values(":sk", text("M#")).send().await.unwrap();
    let expiry = |item: &HashMap<String, AttributeValue>| {
        let at: u64 = item.get("expiresAt")?.as_n().unwrap().parse().unwrap();
        Some(at - now())
    };
    messages.items().iter().map(|item| (item["sk"].as_s().unwrap().clone(), expiry(item))).collect()
}

#[tokio::test]
async fn messages_of_a_deleted_ticket_expire() {
    let app = App::start().await;
    let caller = app.tenant(1);
    let id = jane(&caller).await;
    let topics = |topic: &str| json!({ "topics": [topic] });
    app.events(&[upserted(1, JANE, json!({})), message(1, 1, 3, topics("a")), message(2, 1, 4, topics("b"))]).await;
    assert!(message_expiry(&app).await.iter().all(|(_, expiry)| expiry.is_none()));

    // One message arrives after the delete.
    app.events(&[deleted(1, 2)]).await;
    app.events(&[message(3, 1, 5, topics("c"))]).await;
    let expiry = message_expiry(&app).await;
    let soon = |expiry: &Option<u64>| expiry.is_some_and(|left| (34 * 86_400..=35 * 86_400).contains(&left));
    assert!(expiry.len() == 3 && expiry.iter().all(|(_, expiry)| soon(expiry)), "{expiry:?}");

    // A newer upsert restores the ticket with its messages.
    app.events(&[event("ticket.upserted", 3, json!({ "ticket": ticket(1, JANE, json!({})) }))]).await;
    assert!(message_expiry(&app).await.iter().all(|(_, expiry)| expiry.is_none()));
    assert_eq!(only_ticket(&caller, id).await["topics"], json!(["a", "b", "c"]));
}

#[tokio::test]
async fn late_upsert_does_not_undo_a_delete() {
    let app = App::start().await;
    let caller = app.tenant(1);
    let id = jane(&caller).await;
    // A delete of an unknown record counts too.
    app.events(&[deleted(1, 5), message_deleted(1, 2, 5)]).await;
    app.events(&[
        upserted(1, JANE, json!({})),
        upserted(2, JANE, json!({})),
        message(1, 2, 3, json!({ "topics": ["late"] })),
    ])
    .await;
    assert_eq!(ticket_ids(&caller, id, "").await, [2]);
    assert_eq!(only_ticket(&caller, id).await["topics"], json!([]));
    // A later upsert restores the record.
    app.events(&[event("ticket.upserted", 6, json!({ "ticket": ticket(1, JANE, json!({})) }))]).await;
    assert_eq!(ticket_ids(&caller, id, "sortBy=ticketID").await, [1, 2]);
}

#[tokio::test]
async fn restored_ticket_still_has_its_messages() {
    let app = App::start().await;
    let caller = app.tenant(1);
    let id = jane(&caller).await;
    app.events(&[upserted(1, JANE, json!({})), message(1, 1, 3, json!({ "topics": ["t"] })), deleted(1, 2)]).await;
    assert_eq!(ticket_ids(&caller, id, "").await, [0; 0]);
    app.events(&[event("ticket.upserted", 3, json!({ "ticket": ticket(1, JANE, json!({})) }))]).await;
    assert_eq!(only_ticket(&caller, id).await["topics"], json!(["t"]));
}

/// JSON events that are each invalid in a different way, with descriptions.
fn invalid_events() -> Vec<(&'static str, Value)> {
    let good = || upserted(900, JANE, json!({}));
    let without = |mut event: Value, path: &[&str]| {
        let (last, parents) = path.split_last().unwrap();
        let parent = parents.iter().fold(&mut event, |value, name| &mut value[*name]);
        parent.as_object_mut().unwrap().remove(*last);
        event
    };
    let with = |more: Value| upserted(900, JANE, more);
    let message_with = |more: Value| message(900, 900, 3, more);
    vec![
        ("an array", json!([good()])),
        ("a string", json!("ticket.upserted")),
        ("null", Value::Null),
        ("nothing", json!({})),
        ("an unknown type", with_member(good(), "type", json!("ticket.closed"))),
        ("another case of the type", with_member(good(), "type", json!("Ticket.Upserted"))),
        ("a type that is no string", with_member(good(), "type", json!(1))),
        ("no type", without(good(), &["type"])),
        ("no tenant", without(good(), &["customerID"])),
        ("a null tenant", with_member(good(), "customerID", Value::Null)),
        ("tenant 0", with_member(good(), "customerID", json!(0))),
        ("a negative tenant", with_member(good(), "customerID", json!(-1))),
        ("a fractional tenant", with_member(good(), "customerID", json!(1.5))),
        ("a tenant above 2^53-1", with_member(good(), "customerID", json!(9_007_199_254_740_992_u64))),
        ("a tenant with a number sign", with_member(good(), "customerID", json!("a#b"))),
        ("an empty tenant", with_member(good(), "customerID", json!(""))),
        ("a tenant of 65 characters", with_member(good(), "customerID", json!("a".repeat(65)))),
        ("no occurredAt", without(good(), &["occurredAt"])),
        ("an occurredAt that is a number", with_member(good(), "occurredAt", json!(1_767_225_600))),
        ("an occurredAt without an offset", with_member(good(), "occurredAt", json!("2026-01-01T00:00:00"))),
        ("a day that is none", with_member(good(), "occurredAt", json!("2026-02-30T00:00:00Z"))),
        ("no ticket", without(good(), &["ticket"])),
        ("a ticket that is a list", with_member(good(), "ticket", json!([]))),
        ("a null ticket", with_member(good(), "ticket", Value::Null)),
        ("no ticketID", without(good(), &["ticket", "ticketID"])),
        ("no uid", without(good(), &["ticket", "uid"])),
        ("no dateCreated", without(good(), &["ticket", "dateCreated"])),
        ("no lastMessageDate", without(good(), &["ticket", "lastMessageDate"])),
        ("ticketID 0", with(json!({ "ticketID": 0 }))),
        ("a ticketID that is a string", with(json!({ "ticketID": "900" }))),
        ("a fractional ticketID", with(json!({ "ticketID": 900.5 }))),
        ("a blank uid", with(json!({ "uid": "  " }))),
        ("a uid of 321 characters", with(json!({ "uid": "é".repeat(321) }))),
        ("a uid of 40,000 spaces between digits", with(json!({ "uid": format!("1{}2", " ".repeat(40_000)) }))),
        ("a status of 321 characters", with(json!({ "status": "é".repeat(321) }))),
        ("a channelType of 321 characters", with(json!({ "channelType": "é".repeat(321) }))),
        ("a sender of 321 characters", message_with(json!({ "sender": "é".repeat(321) }))),
        ("a uid that is a number", with(json!({ "uid": 32_470_000_000_u64 }))),
        ("a dateCreated that is no time", with(json!({ "dateCreated": "yesterday" }))),
        ("a lastMessageDate that is null", with(json!({ "lastMessageDate": null }))),
        ("a subject that is a number", with(json!({ "subject": 1 }))),
        ("a subject of 501 characters", with(json!({ "subject": "é".repeat(501) }))),
        ("a status that is a boolean", with(json!({ "status": true }))),
        ("a channelID that is a string", with(json!({ "channelID": "1" }))),
        ("channelID 0", with(json!({ "channelID": 0 }))),
        ("a channelType that is a list", with(json!({ "channelType": ["Email"] }))),
        ("an endUserID that is negative", with(json!({ "endUserID": -4 }))),
        ("a customerRepID that is a string", with(json!({ "customerRepID": "5" }))),
        ("an isClosed that is a string", with(json!({ "isClosed": "true" }))),
        ("an isSpam that is a number", with(json!({ "isSpam": 0 }))),
        ("customFieldsData that is a list", with(json!({ "customFieldsData": [1] }))),
        ("customFieldsData that is a string", with(json!({ "customFieldsData": "{}" }))),
        ("customFieldsData above 16 KiB", with(json!({ "customFieldsData": { "a": "x".repeat(16 * 1024) } }))),
        ("a delete without its ticket", event("ticket.deleted", 1, json!({}))),
        ("a delete of a string", event("ticket.deleted", 1, json!({ "ticketID": "900" }))),
        ("no message", event("message.upserted", 1, json!({}))),
        ("a message without ticketMessageID", without(message_with(json!({})), &["message", "ticketMessageID"])),
        ("a message without ticketID", without(message_with(json!({})), &["message", "ticketID"])),
        ("a message without date", without(message_with(json!({})), &["message", "date"])),
        ("a message with id 0", message_with(json!({ "ticketMessageID": 0 }))),
        ("a message whose date is a number", message_with(json!({ "date": 1 }))),
        ("a sender that is a number", message_with(json!({ "sender": 1 }))),
        ("topics that are a string", message_with(json!({ "topics": "t" }))),
        ("a topic that is a number", message_with(json!({ "topics": ["t", 1] }))),
        ("a topic that is null", message_with(json!({ "topics": ["t", null] }))),
        ("21 topics", message_with(json!({ "topics": (0..21).map(|n| n.to_string()).collect::<Vec<_>>() }))),
        ("a topic of 101 characters", message_with(json!({ "topics": ["é".repeat(101)] }))),
        ("an isEscalated that is a string", message_with(json!({ "isEscalated": "yes" }))),
        ("a comment above 4 KiB", message_with(json!({ "feedbackComment": "é".repeat(2049) }))),
        ("a comment that is a list", message_with(json!({ "feedbackComment": [] }))),
        ("a message deleted without ticketID", event("message.deleted", 1, json!({ "ticketMessageID": 900 }))),
        ("a message deleted without its id", event("message.deleted", 1, json!({ "ticketID": 900 }))),
    ]
}

#[tokio::test]
async fn invalid_events_become_dead_letters() {
    let app = App::start().await;
    let caller = app.tenant(1);
    let id = jane(&caller).await;
    let invalid = invalid_events();
    let mut events = Vec::new();
    for (n, (_, event)) in (1..).zip(&invalid) {
        events.push(upserted(n, JANE, json!({})));
        events.push(event.clone());
    }
    app.events(&events).await;
    let good: Vec<u64> = (1..=invalid.len() as u64).collect();
    assert_eq!(ticket_ids(&caller, id, "sortBy=ticketID&pageSize=100").await, good);
    let letters: Vec<Value> =
        app.system.dead_letters().await.iter().map(|body| serde_json::from_str(body).unwrap()).collect();
    for (name, event) in &invalid {
        assert!(letters.contains(event), "{name} is no dead letter");
    }
    assert_eq!(letters.len(), invalid.len());
}

#[tokio::test]
async fn event_with_duplicate_members_is_invalid() {
    let app = App::start().await;
    let caller = app.tenant(1);
    let id = jane(&caller).await;
    let good = upserted(1, JANE, json!({})).to_string();
    let twice = good.replacen("\"customerID\":1", "\"customerID\":1,\"customerID\":2", 1);
    assert_ne!(good, twice);
    let request = TestRequest::new("POST", "/local/ticket-events").header("content-type", "application/json");
    request.body(twice).to(&app).await.expect(202);
    app.settle().await;
    assert_eq!(ticket_ids(&caller, id, "").await, [0; 0]);
    assert_eq!(dead_letters(&app).await, 1);
}

#[tokio::test]
async fn values_at_their_limits_are_accepted() {
    let app = App::start().await;
    let caller = app.tenant(1);
    let id = jane(&caller).await;
    let topics: Vec<String> = (0..20).map(|n| format!("{n:02}{}", "é".repeat(98))).collect();
    let custom = json!({ "a": "x".repeat(16 * 1024 - r#"{"a":""}"#.len()) });
    let comment = "é".repeat(2048);
    app.events(&[
        upserted(
            1,
            JANE,
            json!({ "subject": "😀".repeat(500), "customFieldsData": custom, "status": "😀".repeat(320),
                "channelType": "😀".repeat(320) }),
        ),
        message(
            1,
            1,
            3,
            json!({ "topics": topics, "isEscalated": true, "feedbackComment": comment, "sender": "EndUser" }),
        ),
    ])
    .await;
    assert_eq!(dead_letters(&app).await, 0);
    let ticket = only_ticket(&caller, id).await;
    assert_eq!(ticket["subject"], json!("😀".repeat(500)));
    assert_eq!(ticket["customFieldsData"], custom);
    assert_eq!(ticket["topics"], json!(topics));
    assert_eq!(ticket["aiFeedbackComments"], json!([comment]));
}

#[tokio::test]
async fn unknown_sender_is_stored_and_counts_as_none() {
    let app = App::start().await;
    let caller = app.tenant(1);
    let id = jane(&caller).await;
    app.events(&[upserted(1, JANE, json!({})), message(1, 1, 3, json!({ "sender": "Robot", "topics": ["t"] }))]).await;
    let ticket = only_ticket(&caller, id).await;
    assert_eq!((&ticket["topics"], &ticket["lastEndUserMessageID"]), (&json!(["t"]), &Value::Null));
    assert_eq!(dead_letters(&app).await, 0);
}

#[tokio::test]
async fn tickets_of_unusual_uids_match_their_end_users() {
    let app = App::start().await;
    let caller = app.tenant(1);
    let values = [
        "\u{fdfa}".repeat(320),
        "😀".repeat(320),
        "#".repeat(320),
        "C#2#TicketUid#t=x".to_owned(),
        "İ".repeat(320),
        "語".repeat(320),
    ];
    for (n, value) in (1..).zip(&values) {
        app.events(&[upserted(n, value, json!({ "subject": "odd" }))]).await;
        let id = create(&caller, json!({ "uids": [{ "uidType": "Other", "uid": value }] })).await;
        assert_eq!(only_ticket(&caller, id).await["ticketID"], json!(n), "{value:.20}");
    }
    assert_eq!(dead_letters(&app).await, 0);
}

#[tokio::test]
async fn ticket_with_very_many_topics_stays_writable() {
    let app = App::start().await;
    let caller = app.tenant(1);
    let id = jane(&caller).await;
    let topics = |of: u64| (0..20).map(|n| format!("{of:02}{n:02}{}", "😀".repeat(96))).collect::<Vec<_>>();
    let mut events = vec![upserted(1, JANE, json!({}))];
    events.extend((1..=60).map(|n| message(n, 1, 3, json!({ "topics": topics(n) }))));
    events.push(message(61, 1, 4, json!({ "topics": ["plain"], "sender": "EndUser" })));
    app.events(&events).await;
    assert_eq!(dead_letters(&app).await, 0);
    let ticket = only_ticket(&caller, id).await;
    assert_eq!(ticket["lastEndUserMessageID"], 61);
    // A topic has four characters and 96 emoji of four bytes. Two escaped quotes and a comma are five more bytes.
    let expected: Vec<_> = (1..=60).flat_map(topics).take(16 * 1024 / (388 + 5)).collect();
    assert_eq!(ticket["topics"], json!(expected));
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_delivery_does_not_undo_a_newer_one() {
    let faulty = FaultyApp::start(7).await;
    let functions = unwatched(&faulty.app).await;
    let meter = shared::store::Meter::default();
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
    let tenant = shared::domain::ids::Tenant::parse("1").unwrap();
    let scope = || functions.scope(&tenant, &meter, deadline);
    let take = async |event: Value| {
        let event = shared::domain::ticket::Event::parse(event.to_string().as_bytes()).unwrap();
        scope().take_ticket_event(&event).await.unwrap();
    };
    let topic = |minute: u32, topic: &str| message_at(minute, 1, 1, 3, json!({ "topics": [topic] }));
    take(upserted(1, JANE, json!({}))).await;
    take(topic(1, "A")).await;
    // The slow delivery has read the topics [B]. The newer one finds that the stored [A] is correct.
    let messages = faulty.proxy.hold("Query");
    let newer = async {
        messages.reached().await;
        take(topic(3, "A")).await;
        drop(messages);
    };
    futures::future::join(take(topic(2, "B")), newer).await;
    let update = shared::domain::end_user::PendingEndUser::read(&json_of(json!({ "uids": [{ "uid": JANE }] })), None);
    let end_user = scope().create_end_user(&update.unwrap(), None).await.unwrap().value;
    let tickets = scope().tickets_of(&end_user).await.unwrap();
    assert_eq!(tickets[0].computed.topics, ["A"]);
}
