//! `GET /api/EndUsers/{id}/tickets` and the events that bring tickets: contract §7 and §8.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::AttributeValue;
use serde_json::{Value, json};

use crate::app::{App, Caller};

const JANE: &str = "jane@example.com";

/// `2026-01-<day>T10:00:00Z`
fn day(day: u32) -> String {
    format!("2026-01-{day:02}T10:00:00Z")
}

/// An event about tenant 1 at a minute of a day.
fn event(kind: &str, minute: u32, rest: Value) -> Value {
    let mut event = json!({ "type": kind, "customerID": 1, "occurredAt": format!("2026-02-01T00:{minute:02}:00Z") });
    event.as_object_mut().unwrap().extend(rest.as_object().unwrap().clone());
    event
}

/// The least that a ticket must have, and what is given.
fn ticket(id: u64, uid: &str, more: Value) -> Value {
    let mut ticket = json!({ "ticketID": id, "uid": uid, "dateCreated": day(1), "lastMessageDate": day(2) });
    ticket.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    ticket
}

fn upserted(id: u64, uid: &str, more: Value) -> Value {
    event("ticket.upserted", 1, json!({ "ticket": ticket(id, uid, more) }))
}

fn deleted(id: u64, minute: u32) -> Value {
    event("ticket.deleted", minute, json!({ "ticketID": id }))
}

fn message(id: u64, of: u64, on: u32, more: Value) -> Value {
    message_at(1, id, of, on, more)
}

fn message_at(minute: u32, id: u64, of: u64, on: u32, more: Value) -> Value {
    let mut message = json!({ "ticketMessageID": id, "ticketID": of, "date": day(on) });
    message.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    event("message.upserted", minute, json!({ "message": message }))
}

fn message_deleted(id: u64, of: u64, minute: u32) -> Value {
    event("message.deleted", minute, json!({ "ticketMessageID": id, "ticketID": of }))
}

/// The event with another member.
fn but(mut event: Value, name: &str, value: Value) -> Value {
    event[name] = value;
    event
}

async fn end_user(caller: &Caller<'_>, body: Value) -> u64 {
    caller.create(body).await["endUserID"].as_u64().unwrap()
}

/// Somebody with the e-mail address of these tests.
async fn jane(caller: &Caller<'_>) -> u64 {
    end_user(caller, json!({ "uids": [{ "uid": JANE }] })).await
}

async fn page(caller: &Caller<'_>, id: u64, query: &str) -> Value {
    caller.get(&format!("/api/EndUsers/{id}/tickets?{query}")).await.expect(200)
}

/// The ids of the tickets on a page.
async fn shown(caller: &Caller<'_>, id: u64, query: &str) -> Vec<u64> {
    let page = page(caller, id, query).await;
    page["items"].as_array().unwrap().iter().map(|ticket| ticket["ticketID"].as_u64().unwrap()).collect()
}

/// The one ticket that an end user has.
async fn only(caller: &Caller<'_>, id: u64) -> Value {
    let page = page(caller, id, "").await;
    assert_eq!(page["totalCount"], 1, "{page}");
    page["items"][0].clone()
}

async fn dead_letters(app: &App) -> usize {
    app.system.dead_letters().await.len()
}

// ------------------------------------------------------------------------------------- what is answered

#[tokio::test]
async fn a_ticket_is_answered_whole() {
    let app = App::start().await;
    let caller = app.tenant(1);
    let id = jane(&caller).await;
    let full = json!({
        "subject": "Where is my parcel?", "status": "Open", "channelID": 3, "channelType": "Email", "endUserID": 77,
        "customerRepID": 5, "isClosed": false, "isSpam": true, "dateCreated": "2026-01-01T11:30:00+01:00",
        "lastMessageDate": "2026-01-02T00:00:00.250-02:00",
        "customFieldsData": { "z": 1, "a": [true, null, "é", 1.50, 12345678901234567890_u64], "nested": { "k": {} } },
        "unknown": "ignored", "topics": ["ignored"],
    });
    app.events(&[
        upserted(9_007_199_254_740_991, "Jane@Example.com", full),
        message(1, 9_007_199_254_740_991, 3, json!({ "sender": "EndUser", "topics": ["parcel", "delay"] })),
        message(
            2,
            9_007_199_254_740_991,
            4,
            json!({ "sender": "AI", "isEscalated": true, "feedbackComment": "No tracking" }),
        ),
    ])
    .await;
    let expected = json!({
        "items": [{
            "ticketID": 9_007_199_254_740_991_u64, "subject": "Where is my parcel?", "status": "Open", "channelID": 3,
            "channelType": "Email", "uid": "Jane@Example.com", "endUserID": 77, "customerRepID": 5, "isClosed": false,
            "isSpam": true, "dateCreated": "2026-01-01T10:30:00Z", "lastMessageDate": "2026-01-02T02:00:00.25Z",
            "customFieldsData": { "z": 1, "a": [true, null, "é", 1.5, 12345678901234567890_u64], "nested": { "k": {} } },
            "topics": ["parcel", "delay"], "aiFeedbackComments": ["No tracking"], "lastEndUserMessageID": 1,
        }],
        "totalCount": 1, "totalPages": 1,
    });
    assert_eq!(page(&caller, id, "").await, expected);
}

#[tokio::test]
async fn what_a_ticket_does_not_have_is_null_and_its_lists_are_empty() {
    let app = App::start().await;
    let caller = app.tenant(1);
    let id = jane(&caller).await;
    let nulls = json!({ "subject": null, "channelID": null, "isClosed": null, "customFieldsData": null });
    app.events(&[upserted(1, JANE, nulls)]).await;
    let expected = json!({
        "ticketID": 1, "subject": null, "status": null, "channelID": null, "channelType": null, "uid": JANE, "endUserID": null,
        "customerRepID": null, "isClosed": null, "isSpam": null, "dateCreated": day(1), "lastMessageDate": day(2),
        "customFieldsData": null, "topics": [], "aiFeedbackComments": [], "lastEndUserMessageID": null,
    });
    assert_eq!(only(&caller, id).await, expected);
}

#[tokio::test]
async fn an_end_user_without_uids_or_tickets_has_an_empty_history() {
    let app = App::start().await;
    let caller = app.tenant(1);
    let empty = json!({ "items": [], "totalCount": 0, "totalPages": 0 });
    let (nobody, id) = (end_user(&caller, json!({})).await, jane(&caller).await);
    app.events(&[upserted(1, "john@example.com", json!({}))]).await;
    for id in [nobody, id] {
        assert_eq!(page(&caller, id, "").await, empty);
        assert_eq!(page(&caller, id, "pageNumber=7&sortBy=uid&search=x").await, empty);
    }
}

#[tokio::test]
async fn topics_stand_in_the_order_in_which_they_were_first_seen() {
    let app = App::start().await;
    let caller = app.tenant(1);
    let id = jane(&caller).await;
    app.events(&[
        upserted(1, JANE, json!({})),
        message(30, 1, 9, json!({ "topics": ["late", "b"] })),
        message(20, 1, 5, json!({ "topics": ["second", "a", "second"] })),
        message(4, 1, 5, json!({ "topics": ["first", "b"] })),
        message(10, 1, 5, json!({ "topics": ["between", "B"] })),
        message(40, 1, 6, json!({})),
    ])
    .await;
    assert_eq!(only(&caller, id).await["topics"], json!(["first", "b", "between", "B", "second", "a", "late"]));
}

#[tokio::test]
async fn comments_are_those_of_escalated_messages_newest_first() {
    let app = App::start().await;
    let caller = app.tenant(1);
    let id = jane(&caller).await;
    let escalated = |comment: &str| json!({ "isEscalated": true, "feedbackComment": comment });
    app.events(&[
        upserted(1, JANE, json!({})),
        message(5, 1, 3, escalated("third")),
        message(9, 1, 4, escalated("newest")),
        message(7, 1, 3, escalated("second")),
        message(8, 1, 9, json!({ "isEscalated": false, "feedbackComment": "not escalated" })),
        message(6, 1, 9, json!({ "feedbackComment": "not said" })),
        message(4, 1, 9, json!({ "isEscalated": true })),
        message(3, 1, 1, escalated("second")),
    ])
    .await;
    assert_eq!(only(&caller, id).await["aiFeedbackComments"], json!(["newest", "second", "third", "second"]));
    app.events(&[
        message_at(2, 9, 1, 4, json!({ "isEscalated": false, "feedbackComment": "newest" })),
        message_deleted(7, 1, 2),
    ])
    .await;
    assert_eq!(only(&caller, id).await["aiFeedbackComments"], json!(["third", "second"]));
}

#[tokio::test]
async fn the_end_user_message_is_named_when_it_is_the_only_one() {
    let app = App::start().await;
    let caller = app.tenant(1);
    let id = jane(&caller).await;
    let by = |id, sender: &str| message(id, 1, 3, json!({ "sender": sender }));
    app.events(&[
        upserted(1, JANE, json!({})),
        by(1, "Representative"),
        by(2, "AI"),
        by(3, "Bot"),
        message(4, 1, 3, json!({})),
    ])
    .await;
    assert_eq!(only(&caller, id).await["lastEndUserMessageID"], Value::Null);
    app.events(&[by(5, "EndUser")]).await;
    assert_eq!(only(&caller, id).await["lastEndUserMessageID"], 5);
    app.events(&[by(6, "EndUser")]).await;
    assert_eq!(only(&caller, id).await["lastEndUserMessageID"], Value::Null);
    app.events(&[message_deleted(5, 1, 2)]).await;
    assert_eq!(only(&caller, id).await["lastEndUserMessageID"], 6);
    app.events(&[message_at(2, 6, 1, 3, json!({ "sender": "AI" }))]).await;
    assert_eq!(only(&caller, id).await["lastEndUserMessageID"], Value::Null);
}

// ------------------------------------------------------------------------------------------- whose it is

#[tokio::test]
async fn a_history_spans_all_uids_and_the_reference_and_holds_each_ticket_once() {
    let app = App::start().await;
    let caller = app.tenant(1);
    let id = end_user(
        &caller,
        json!({ "customerRef": "Ref-1", "country": "BE", "uids": [
            { "uid": JANE }, { "uidType": "Phone", "uid": "0470 00 00 00" }, { "uidType": "WhatsApp", "uid": "32470000000" },
            { "uidType": "Login", "uid": "REF-1" }, { "uidType": "Login", "uid": "Jane@example.com" }, { "uidType": "WhatsApp", "uid": "@jane" },
        ] }),
    )
    .await;
    app.events(&[
        upserted(1, "JANE@example.com", json!({})),
        upserted(2, "+32470000000", json!({})),
        upserted(3, "0032 470 00 00 00", json!({})),
        upserted(4, "32470000000", json!({})),
        upserted(5, "ref-1", json!({})),
        upserted(6, " @Jane ", json!({})),
        upserted(7, "whatsapp:+32470000000", json!({})),
        upserted(11, "0470000000", json!({})),
        upserted(12, "jane@example.org", json!({})),
        upserted(13, "ref-2", json!({})),
        upserted(14, "+32470000000;ext=1", json!({})),
    ])
    .await;
    assert_eq!(shown(&caller, id, "sortBy=ticketID&pageSize=100").await, [1, 2, 3, 4, 5, 6, 7]);
    assert_eq!(page(&caller, id, "pageSize=2").await["totalPages"], 4);
}

#[tokio::test]
async fn a_text_that_reads_as_a_phone_number_brings_its_tickets_as_text() {
    let app = App::start().await;
    let caller = app.tenant(1);
    let text = end_user(&caller, json!({ "customerRef": "32470000000" })).await;
    let phone = end_user(&caller, json!({ "uids": [{ "uidType": "Phone", "uid": "+32470000000" }] })).await;
    app.events(&[upserted(1, "32470000000", json!({})), upserted(2, "+32470000000", json!({}))]).await;
    assert_eq!(shown(&caller, text, "").await, [1]);
    assert_eq!(shown(&caller, text, "uid=32470000000").await, [1]);
    assert_eq!(shown(&caller, text, "uid=%2B32470000000").await, [0; 0], "a number is not this person's");
    assert_eq!(shown(&caller, phone, "sortBy=ticketID").await, [1, 2]);
}

#[tokio::test]
async fn assigning_a_uid_brings_its_old_tickets_and_removing_it_lets_them_go() {
    let app = App::start().await;
    let caller = app.tenant(1);
    app.events(&[upserted(1, JANE, json!({})), upserted(2, "+32470000000", json!({})), upserted(3, "ref", json!({}))])
        .await;
    let (id, other) = (jane(&caller).await, end_user(&caller, json!({})).await);
    assert_eq!(shown(&caller, id, "").await, [1]);
    let assign = json!({ "uid": "+32 470 00 00 00", "uidType": "Phone", "endUserID": id });
    let assigned = caller.post("/api/EndUserUIDs/assign", assign).await.expect(201);
    assert_eq!(shown(&caller, id, "sortBy=ticketID").await, [1, 2]);
    caller.update(&json!(id), json!({ "customerRef": "REF" })).await;
    assert_eq!(shown(&caller, id, "sortBy=ticketID").await, [1, 2, 3]);
    assert_eq!(shown(&caller, other, "").await, [0; 0]);

    let remove = json!({ "endUserUIDID": assigned["endUserUIDID"], "markAsDeleted": true });
    caller.update(&json!(id), json!({ "customerRef": "", "uids": [remove] })).await;
    assert_eq!(shown(&caller, id, "").await, [1]);
    // Both may hold it: both see it.
    caller.post("/api/EndUserUIDs/assign", json!({ "uid": JANE, "endUserID": other })).await.expect(201);
    assert_eq!(shown(&caller, other, "").await, [1]);
    assert_eq!(shown(&caller, id, "").await, [1]);
}

#[tokio::test]
async fn deleting_an_end_user_leaves_the_tickets_to_whoever_holds_the_uid_next() {
    let app = App::start().await;
    let caller = app.tenant(1);
    let id = jane(&caller).await;
    app.events(&[upserted(1, JANE, json!({ "endUserID": id }))]).await;
    caller.delete(&format!("/api/EndUsers/{id}")).await.expect(204);
    app.settle().await;
    caller.get(&format!("/api/EndUsers/{id}/tickets")).await.expect(404);
    let next = jane(&caller).await;
    assert_eq!(only(&caller, next).await["endUserID"], json!(id));
}

#[tokio::test]
async fn the_end_user_that_an_event_names_links_nothing() {
    let app = App::start().await;
    let caller = app.tenant(1);
    let id = jane(&caller).await;
    app.events(&[upserted(1, "john@example.com", json!({ "endUserID": id }))]).await;
    assert_eq!(shown(&caller, id, "").await, [0; 0]);
}

#[tokio::test]
async fn a_ticket_whose_uid_changes_changes_hands() {
    let app = App::start().await;
    let caller = app.tenant(1);
    let (one, two) = (jane(&caller).await, end_user(&caller, json!({ "customerRef": "two" })).await);
    app.events(&[upserted(1, JANE, json!({})), message(1, 1, 3, json!({ "topics": ["kept"] }))]).await;
    assert_eq!(shown(&caller, one, "").await, [1]);
    app.events(&[event("ticket.upserted", 2, json!({ "ticket": ticket(1, "TWO", json!({})) }))]).await;
    assert_eq!(shown(&caller, one, "").await, [0; 0]);
    assert_eq!(only(&caller, two).await["topics"], json!(["kept"]));
}

#[tokio::test]
async fn tickets_of_the_same_id_in_two_tenants_have_nothing_to_do_with_each_other() {
    let app = App::start().await;
    let (one, two) = (app.tenant(1), app.tenant("acme"));
    let (mine, theirs) = (jane(&one).await, jane(&two).await);
    let acme = |event: Value| but(event, "customerID", json!("acme"));
    app.events(&[
        upserted(1, JANE, json!({ "subject": "mine" })),
        acme(upserted(1, JANE, json!({ "subject": "theirs" }))),
        message(1, 1, 3, json!({ "sender": "EndUser", "topics": ["mine"] })),
        acme(message(1, 1, 3, json!({ "sender": "AI", "topics": ["theirs"] }))),
        acme(message(2, 1, 3, json!({ "isEscalated": true, "feedbackComment": "theirs" }))),
    ])
    .await;
    let (my, their) = (only(&one, mine).await, only(&two, theirs).await);
    assert_eq!(
        (&my["subject"], &my["topics"], &my["lastEndUserMessageID"]),
        (&json!("mine"), &json!(["mine"]), &json!(1))
    );
    assert_eq!((&their["subject"], &their["topics"]), (&json!("theirs"), &json!(["theirs"])));
    assert_eq!(my["aiFeedbackComments"], json!([]));
    assert_eq!(their["aiFeedbackComments"], json!(["theirs"]));
    app.events(&[acme(deleted(1, 5))]).await;
    assert_eq!(shown(&two, theirs, "").await, [0; 0]);
    assert_eq!(shown(&one, mine, "").await, [1]);
}

#[tokio::test]
async fn the_tenant_of_an_event_is_a_number_or_its_digits_or_a_name() {
    let app = App::start().await;
    let caller = app.tenant(7);
    let id = jane(&caller).await;
    let of = |tenant: Value, id| but(upserted(id, JANE, json!({})), "customerID", tenant);
    app.events(&[of(json!(7), 1), of(json!("7"), 2), of(json!("07"), 3), of(json!("a_B-9"), 4)]).await;
    assert_eq!(shown(&caller, id, "sortBy=ticketID").await, [1, 2]);
    let named = app.tenant("a_B-9");
    assert_eq!(shown(&named, jane(&named).await, "").await, [4]);
    let other = app.tenant("A_B-9");
    assert_eq!(shown(&other, jane(&other).await, "").await, [0; 0]);
}

// -------------------------------------------------------------------------------------- filters and order

/// Jane with six tickets.
async fn six(app: &App) -> u64 {
    let caller = app.tenant(1);
    let id = end_user(
        &caller,
        json!({ "customerRef": "ref-1", "uids": [{ "uid": JANE }, { "uidType": "Phone", "uid": "+32470000000" }] }),
    )
    .await;
    app.events(&[
        upserted(1, JANE, json!({
            "subject": "Broken étagère", "status": "Open", "channelID": 1, "channelType": "Email", "customerRepID": 10,
            "isClosed": false, "isSpam": false, "lastMessageDate": day(11), "dateCreated": day(6), "endUserID": 4,
        })),
        upserted(2, "+32470000000", json!({
            "subject": "late delivery", "status": "open", "channelID": 2, "channelType": "WhatsApp", "customerRepID": 11,
            "isClosed": false, "isSpam": true, "lastMessageDate": day(16), "dateCreated": day(5), "endUserID": 3,
        })),
        upserted(3, "ref-1", json!({
            "subject": "Late refund", "status": "Closed", "channelID": 3, "channelType": "Chat", "customerRepID": 10,
            "isClosed": true, "isSpam": false, "lastMessageDate": day(12), "dateCreated": day(4), "endUserID": 2,
        })),
        upserted(4, "JANE@example.com", json!({
            "subject": "Invoice", "status": "Closed", "channelID": 1, "channelType": "email", "isClosed": true, "isSpam": true,
            "lastMessageDate": day(15), "dateCreated": day(3), "endUserID": 1,
        })),
        upserted(5, "32470000000", json!({ "isClosed": false, "isSpam": false, "lastMessageDate": day(13), "dateCreated": day(2) })),
        upserted(6, "REF-1", json!({
            "subject": "invoice", "channelID": 2, "isClosed": false, "isSpam": false, "lastMessageDate": day(13), "dateCreated": day(1),
        })),
        message(61, 1, 6, json!({ "sender": "EndUser", "topics": ["warranty claim"] })),
        message(51, 2, 6, json!({ "sender": "EndUser", "topics": ["Delivery", "courier"] })),
        message(71, 3, 6, json!({ "sender": "EndUser", "topics": ["refund"] })),
    ])
    .await;
    id
}

#[tokio::test]
async fn every_filter_narrows_the_history() {
    let app = App::start().await;
    let caller = app.tenant(1);
    let id = six(&app).await;
    for (query, expected) in [
        ("", vec![1, 2, 3, 4, 5, 6]),
        ("status=Open", vec![1, 2]),
        ("STATUS=oPEN", vec![1, 2]),
        ("status=closed", vec![3, 4]),
        ("status=clo", vec![]),
        ("status=%20Closed%20", vec![3, 4]),
        ("status=", vec![1, 2, 3, 4, 5, 6]),
        ("channelType=EMAIL", vec![1, 4]),
        ("channeltype=whatsapp", vec![2]),
        ("channelType=fax", vec![]),
        ("customerRepID=10", vec![1, 3]),
        ("customerrepid=11", vec![2]),
        ("customerRepID=12", vec![]),
        ("channelIDs=1", vec![1, 4]),
        ("channelIDs=1,3", vec![1, 3, 4]),
        ("channelIDs=1&channelIDs=3", vec![1, 3, 4]),
        ("channelIDs=1,%203&ChannelIds=2", vec![1, 2, 3, 4, 6]),
        ("channelIDs=3,3,3", vec![3]),
        ("channelIDs=9", vec![]),
        ("channelIDs=", vec![1, 2, 3, 4, 5, 6]),
        ("uid=jane@example.com", vec![1, 4]),
        ("uid=JANE@EXAMPLE.COM", vec![1, 4]),
        ("uid=%2B32470000000", vec![2, 5]),
        ("uid=+32470000000", vec![2, 5]),
        ("uid=0032%20470%2000%2000%2000", vec![2, 5]),
        ("uid=ref-1", vec![3, 6]),
        ("uid=john@example.com", vec![]),
        ("uid=", vec![1, 2, 3, 4, 5, 6]),
        ("isClosed=true", vec![3, 4]),
        ("isClosed=FALSE", vec![1, 2, 5, 6]),
        ("isSpam=True", vec![2, 4]),
        ("isspam=false", vec![1, 3, 5, 6]),
        ("search=late", vec![2, 3]),
        ("search=LATE%20ref", vec![3]),
        ("search=etagere", vec![1]),
        ("search=etag%20warr", vec![1]),
        ("search=claim", vec![1]),
        ("search=courier", vec![2]),
        ("search=invoi", vec![4, 6]),
        ("search=jane", vec![1, 4]),
        ("search=jane@example", vec![1, 4]),
        ("search=ref", vec![3, 6]),
        ("search=32470", vec![2, 5]),
        ("search=%2B32%20470", vec![2, 5]),
        ("search=email", vec![]),
        ("search=open", vec![]),
        ("search=!", vec![]),
        ("search=%20", vec![1, 2, 3, 4, 5, 6]),
        ("status=open&channelType=email", vec![1]),
        (
            "status=open&isSpam=false&customerRepID=10&channelIDs=1&uid=jane@example.com&isClosed=false&search=broken",
            vec![1],
        ),
        ("status=closed&customerRepID=11", vec![]),
        ("isClosed=false&isSpam=false&channelIDs=2", vec![6]),
        ("uid=ref-1&search=late", vec![3]),
        ("unknown=1", vec![1, 2, 3, 4, 5, 6]),
    ] {
        let page = page(&caller, id, &format!("{query}&sortBy=ticketID")).await;
        let shown: Vec<u64> =
            page["items"].as_array().unwrap().iter().map(|t| t["ticketID"].as_u64().unwrap()).collect();
        assert_eq!(shown, expected, "{query}");
        assert_eq!(page["totalCount"], json!(expected.len()), "{query}");
        assert_eq!(page["totalPages"], json!(usize::from(!expected.is_empty())), "{query}");
    }
}

#[tokio::test]
async fn the_uid_filter_reads_numbers_by_the_default_region() {
    let app = App::with(&[("DEFAULT_PHONE_REGION", "BE")]).await;
    let id = six(&app).await;
    assert_eq!(shown(&app.tenant(1), id, "uid=0470/00.00.00&sortBy=ticketID").await, [2, 5]);
}

#[tokio::test]
async fn a_filter_that_is_none_is_refused_with_all_faults_at_once() {
    let app = App::start().await;
    let caller = app.tenant(1);
    let id = jane(&caller).await;
    for (query, error) in [
        ("customerRepID=0", "customerRepID"),
        ("customerRepID=-1", "customerRepID"),
        ("customerRepID=x", "customerRepID"),
        ("customerRepID=1&customerRepID=2", "customerRepID"),
        ("channelIDs=x", "channelIDs"),
        ("channelIDs=1,x", "channelIDs"),
        ("channelIDs=1&channelIDs=0", "channelIDs"),
        ("channelIDs=1.5", "channelIDs"),
        ("isClosed=1", "isClosed"),
        ("isClosed=yes", "isClosed"),
        ("isSpam=null", "isSpam"),
        ("isSpam=true&isSpam=true", "isSpam"),
        ("status=a&status=b", "status"),
        ("channelType=a&channelType=a", "channelType"),
        ("uid=a&uid=b", "uid"),
        ("status=%01", "status"),
        ("search=%00", "search"),
        ("sortBy=topics", "sortBy"),
        ("sortBy=aiFeedbackComments", "sortBy"),
        ("sortBy=customFieldsData", "sortBy"),
        ("sortBy=nonsense", "sortBy"),
        ("sortOrder=down", "sortOrder"),
        ("pageNumber=0", "pageNumber"),
        ("pageSize=101", "pageSize"),
    ] {
        assert_eq!(caller.get(&format!("/api/EndUsers/{id}/tickets?{query}")).await.errors(), [error], "{query}");
    }
    let query = "customerRepID=x&channelIDs=x&isClosed=x&isSpam=x&sortBy=x&sortOrder=x&pageNumber=x&pageSize=x";
    assert_eq!(caller.get(&format!("/api/EndUsers/{id}/tickets?{query}")).await.errors().len(), 8);
    // What needs no stored record comes before the 404; a bad id before all that.
    caller.get("/api/EndUsers/999999/tickets?pageSize=0").await.expect(400);
    caller.get("/api/EndUsers/999999/tickets").await.expect(404);
    caller.get("/api/EndUsers/x/tickets").await.expect(400);
    // Somebody of another tenant is nobody.
    let theirs = app.tenant(2).get(&format!("/api/EndUsers/{id}/tickets")).await.expect(404);
    let nobody = app.tenant(2).get("/api/EndUsers/999999/tickets").await.expect(404);
    assert_eq!((&theirs["title"], &theirs["detail"]), (&nobody["title"], &nobody["detail"]));
}

#[tokio::test]
async fn the_newest_messages_come_first_unless_an_order_is_asked_for() {
    let app = App::start().await;
    let caller = app.tenant(1);
    let id = six(&app).await;
    // 5 and 6 tie: in the sense of the order.
    for query in ["", "sortOrder=desc", "sortBy=lastMessageDate&sortOrder=desc", "sortBy=&sortOrder="] {
        assert_eq!(shown(&caller, id, query).await, [2, 4, 6, 5, 3, 1], "{query}");
    }
    for query in ["sortOrder=asc", "sortBy=lastMessageDate", "SORTBY=LASTMESSAGEDATE&sortOrder=ASC"] {
        assert_eq!(shown(&caller, id, query).await, [1, 3, 5, 6, 4, 2], "{query}");
    }
}

#[tokio::test]
async fn a_history_is_sorted_by_every_scalar_field_with_nulls_first() {
    let app = App::start().await;
    let caller = app.tenant(1);
    let id = six(&app).await;
    for (field, expected) in [
        ("ticketID", [1, 2, 3, 4, 5, 6]),
        ("subject", [5, 1, 6, 4, 2, 3]),
        ("status", [5, 6, 3, 4, 2, 1]),
        ("channelID", [5, 1, 4, 2, 6, 3]),
        ("channelType", [5, 6, 3, 4, 1, 2]),
        ("uid", [2, 5, 1, 4, 3, 6]),
        ("endUserID", [5, 6, 4, 3, 2, 1]),
        ("customerRepID", [4, 5, 6, 1, 3, 2]),
        ("isClosed", [1, 2, 5, 6, 3, 4]),
        ("isSpam", [1, 3, 5, 6, 2, 4]),
        ("dateCreated", [6, 5, 4, 3, 2, 1]),
        ("lastMessageDate", [1, 3, 5, 6, 4, 2]),
        ("lastEndUserMessageID", [4, 5, 6, 2, 1, 3]),
    ] {
        let back: Vec<u64> = expected.iter().rev().copied().collect();
        for name in [field.to_owned(), field.to_uppercase()] {
            assert_eq!(shown(&caller, id, &format!("sortBy={name}")).await, expected, "{name}");
            assert_eq!(shown(&caller, id, &format!("sortBy={name}&sortOrder=asc")).await, expected, "{name}");
            assert_eq!(shown(&caller, id, &format!("sortBy={name}&sortOrder=desc")).await, back, "{name}");
        }
    }
}

#[tokio::test]
async fn times_are_sorted_as_moments_and_not_as_they_were_written() {
    let app = App::start().await;
    let caller = app.tenant(1);
    let id = jane(&caller).await;
    let on = |id, date: &str| upserted(id, JANE, json!({ "lastMessageDate": date }));
    app.events(&[
        on(1, "2026-01-02T00:30:00+02:00"),
        on(2, "2026-01-01T23:00:00Z"),
        on(3, "2026-01-01T23:00:00.5Z"),
        on(4, "2026-01-01T20:00:00-04:00"),
        on(5, "2026-01-01T23:00:00.123456789Z"),
    ])
    .await;
    assert_eq!(shown(&caller, id, "sortOrder=asc").await, [1, 2, 5, 3, 4]);
    let items = page(&caller, id, "sortOrder=asc").await["items"].clone();
    let times: Vec<&str> = items.as_array().unwrap().iter().map(|t| t["lastMessageDate"].as_str().unwrap()).collect();
    let utc = [
        "2026-01-01T22:30:00Z",
        "2026-01-01T23:00:00Z",
        "2026-01-01T23:00:00.123456789Z",
        "2026-01-01T23:00:00.5Z",
        "2026-01-02T00:00:00Z",
    ];
    assert_eq!(times, utc);
}

#[tokio::test]
async fn a_history_is_answered_page_by_page() {
    let app = App::start().await;
    let caller = app.tenant(1);
    let id = jane(&caller).await;
    let events: Vec<Value> = (1..=23).map(|n| upserted(n, JANE, json!({ "isSpam": n > 20 }))).collect();
    app.events(&events).await;
    let all: Vec<u64> = (1..=23).collect();
    assert_eq!(shown(&caller, id, "sortBy=ticketID").await, all[..10]);
    assert_eq!(shown(&caller, id, "sortBy=ticketID&pageNumber=3").await, all[20..]);
    assert_eq!(shown(&caller, id, "sortBy=ticketID&pageNumber=2&pageSize=7").await, all[7..14]);
    // All tie by lastMessageDate.
    assert_eq!(shown(&caller, id, "pageSize=2").await, [23, 22]);
    let past = page(&caller, id, "pageNumber=4").await;
    assert_eq!(past, json!({ "items": [], "totalCount": 23, "totalPages": 3 }));
    let filtered = page(&caller, id, "isSpam=true&pageSize=2&pageNumber=2147483647").await;
    assert_eq!(filtered, json!({ "items": [], "totalCount": 3, "totalPages": 2 }));
}

// --------------------------------------------------------------------------------------------------- events

#[tokio::test]
async fn repeats_change_nothing() {
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
async fn the_order_of_delivery_does_not_matter() {
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
        // Another order for each tenant; each event once more at the end.
        let length = events.len();
        events.rotate_left(tenant as usize % length);
        events.swap(tenant as usize % length, (tenant as usize * 5) % length);
        if tenant % 3 == 0 {
            events.reverse();
        }
        let mine: Vec<Value> =
            events.iter().chain(events.iter().rev()).map(|e| but(e.clone(), "customerID", json!(tenant))).collect();
        app.events(&mine).await;
        let caller = app.tenant(tenant);
        let id = jane(&caller).await;
        seen.push(only(&caller, id).await);
    }
    assert_eq!(seen[0]["subject"], "latest");
    assert_eq!(seen[0]["topics"], json!(["new"]));
    assert_eq!(seen[0]["lastEndUserMessageID"], 1);
    assert_eq!(seen[0]["aiFeedbackComments"], json!(["c"]));
    assert!(seen.iter().all(|ticket| *ticket == seen[0]), "{seen:#?}");
}

#[tokio::test]
async fn an_older_event_never_overwrites_a_newer() {
    let app = App::start().await;
    let caller = app.tenant(1);
    let id = jane(&caller).await;
    let at = |minute: &str, subject: &str| {
        but(upserted(1, JANE, json!({ "subject": subject })), "occurredAt", json!(minute))
    };
    app.events(&[at("2026-02-01T12:00:00.5Z", "newer")]).await;
    for older in
        ["2026-02-01T12:00:00Z", "2026-02-01T12:00:00.499999999Z", "2026-02-01T13:00:00+02:00", "2025-12-31T23:59:59Z"]
    {
        app.events(&[at(older, "older")]).await;
        assert_eq!(only(&caller, id).await["subject"], "newer", "{older}");
    }
    app.events(&[deleted(1, 1)]).await;
    assert_eq!(only(&caller, id).await["subject"], "newer");
    app.events(&[at("2026-02-01T11:00:00.500000001-01:00", "newest")]).await;
    assert_eq!(only(&caller, id).await["subject"], "newest");
}

#[tokio::test]
async fn an_upsert_is_the_whole_record() {
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
    let now = only(&caller, id).await;
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
async fn at_a_tie_a_delete_wins_and_else_the_first_stays() {
    let app = App::start().await;
    let caller = app.tenant(1);
    let id = jane(&caller).await;
    app.events(&[upserted(1, JANE, json!({ "subject": "first" })), message(1, 1, 3, json!({ "topics": ["first"] }))])
        .await;
    app.events(&[upserted(1, JANE, json!({ "subject": "second" })), message(1, 1, 3, json!({ "topics": ["second"] }))])
        .await;
    let kept = only(&caller, id).await;
    assert_eq!((&kept["subject"], &kept["topics"]), (&json!("first"), &json!(["first"])));
    app.events(&[message_deleted(1, 1, 1)]).await;
    assert_eq!(only(&caller, id).await["topics"], json!([]));
    app.events(&[message(1, 1, 3, json!({ "topics": ["again"] }))]).await;
    assert_eq!(only(&caller, id).await["topics"], json!([]));
    app.events(&[deleted(1, 1)]).await;
    assert_eq!(shown(&caller, id, "").await, [0; 0]);
    app.events(&[upserted(1, JANE, json!({ "subject": "again" }))]).await;
    assert_eq!(shown(&caller, id, "").await, [0; 0]);
}

#[tokio::test]
async fn a_message_may_come_before_its_ticket() {
    let app = App::start().await;
    let caller = app.tenant(1);
    let id = jane(&caller).await;
    app.events(&[
        message(1, 1, 3, json!({ "sender": "EndUser", "topics": ["early"] })),
        message(2, 1, 4, json!({ "isEscalated": true, "feedbackComment": "early" })),
    ])
    .await;
    assert_eq!(shown(&caller, id, "").await, [0; 0]);
    app.events(&[upserted(1, JANE, json!({}))]).await;
    let ticket = only(&caller, id).await;
    assert_eq!(ticket["topics"], json!(["early"]));
    assert_eq!(ticket["lastEndUserMessageID"], 1);
    assert_eq!(ticket["aiFeedbackComments"], json!(["early"]));
}

/// For each stored message of ticket 1 of tenant 1, by id, the seconds until it expires.
async fn message_expiry(app: &App) -> Vec<(String, Option<u64>)> {
    let text = |text: &str| AttributeValue::S(text.to_owned());
    let query = app.system.client().query().table_name(app.system.table());
    let query = query.key_condition_expression("pk = :pk AND begins_with(sk, :sk)");
    let query = query.expression_attribute_values(":pk", text("C#1#Ticket#1"));
    let messages = query.expression_attribute_values(":sk", text("M#")).send().await.unwrap();
    let expiry = |item: &HashMap<String, AttributeValue>| {
        let at: u64 = item.get("expiresAt")?.as_n().unwrap().parse().unwrap();
        Some(at - crate::app::now())
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

    // One more message comes after the delete.
    app.events(&[deleted(1, 2)]).await;
    app.events(&[message(3, 1, 5, topics("c"))]).await;
    let expiry = message_expiry(&app).await;
    let soon = |expiry: &Option<u64>| expiry.is_some_and(|left| (34 * 86_400..=35 * 86_400).contains(&left));
    assert!(expiry.len() == 3 && expiry.iter().all(|(_, expiry)| soon(expiry)), "{expiry:?}");

    // A newer upsert creates the ticket anew, with its messages.
    app.events(&[event("ticket.upserted", 3, json!({ "ticket": ticket(1, JANE, json!({})) }))]).await;
    assert!(message_expiry(&app).await.iter().all(|(_, expiry)| expiry.is_none()));
    assert_eq!(only(&caller, id).await["topics"], json!(["a", "b", "c"]));
}

#[tokio::test]
async fn a_delete_is_not_undone_by_a_late_upsert() {
    let app = App::start().await;
    let caller = app.tenant(1);
    let id = jane(&caller).await;
    // A delete of what was never seen counts as well.
    app.events(&[deleted(1, 5), message_deleted(1, 2, 5)]).await;
    app.events(&[
        upserted(1, JANE, json!({})),
        upserted(2, JANE, json!({})),
        message(1, 2, 3, json!({ "topics": ["late"] })),
    ])
    .await;
    assert_eq!(shown(&caller, id, "").await, [2]);
    assert_eq!(only(&caller, id).await["topics"], json!([]));
    // A later one is another matter: the record is there again.
    app.events(&[event("ticket.upserted", 6, json!({ "ticket": ticket(1, JANE, json!({})) }))]).await;
    assert_eq!(shown(&caller, id, "sortBy=ticketID").await, [1, 2]);
}

#[tokio::test]
async fn a_ticket_that_comes_back_still_has_its_messages() {
    let app = App::start().await;
    let caller = app.tenant(1);
    let id = jane(&caller).await;
    app.events(&[upserted(1, JANE, json!({})), message(1, 1, 3, json!({ "topics": ["t"] })), deleted(1, 2)]).await;
    assert_eq!(shown(&caller, id, "").await, [0; 0]);
    app.events(&[event("ticket.upserted", 3, json!({ "ticket": ticket(1, JANE, json!({})) }))]).await;
    assert_eq!(only(&caller, id).await["topics"], json!(["t"]));
}

/// Events that are JSON, each bad in a way of its own.
fn bad_events() -> Vec<(&'static str, Value)> {
    let good = || upserted(900, JANE, json!({}));
    let without = |mut event: Value, path: &[&str]| {
        let (last, parents) = path.split_last().unwrap();
        let parent = parents.iter().fold(&mut event, |value, name| &mut value[*name]);
        parent.as_object_mut().unwrap().remove(*last);
        event
    };
    let with = |more: Value| upserted(900, JANE, more);
    let said = |more: Value| message(900, 900, 3, more);
    vec![
        ("an array", json!([good()])),
        ("a string", json!("ticket.upserted")),
        ("null", Value::Null),
        ("nothing", json!({})),
        ("an unknown type", but(good(), "type", json!("ticket.closed"))),
        ("another case of the type", but(good(), "type", json!("Ticket.Upserted"))),
        ("a type that is no string", but(good(), "type", json!(1))),
        ("no type", without(good(), &["type"])),
        ("no tenant", without(good(), &["customerID"])),
        ("a null tenant", but(good(), "customerID", Value::Null)),
        ("tenant 0", but(good(), "customerID", json!(0))),
        ("a negative tenant", but(good(), "customerID", json!(-1))),
        ("a fractional tenant", but(good(), "customerID", json!(1.5))),
        ("a tenant above 2^53-1", but(good(), "customerID", json!(9_007_199_254_740_992_u64))),
        ("a tenant with a sign in it", but(good(), "customerID", json!("a#b"))),
        ("an empty tenant", but(good(), "customerID", json!(""))),
        ("a tenant of 65 characters", but(good(), "customerID", json!("a".repeat(65)))),
        ("no occurredAt", without(good(), &["occurredAt"])),
        ("an occurredAt that is a number", but(good(), "occurredAt", json!(1_767_225_600))),
        ("an occurredAt without an offset", but(good(), "occurredAt", json!("2026-01-01T00:00:00"))),
        ("a day that is none", but(good(), "occurredAt", json!("2026-02-30T00:00:00Z"))),
        ("no ticket", without(good(), &["ticket"])),
        ("a ticket that is a list", but(good(), "ticket", json!([]))),
        ("a null ticket", but(good(), "ticket", Value::Null)),
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
        ("a sender of 321 characters", said(json!({ "sender": "é".repeat(321) }))),
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
        ("a message without ticketMessageID", without(said(json!({})), &["message", "ticketMessageID"])),
        ("a message without ticketID", without(said(json!({})), &["message", "ticketID"])),
        ("a message without date", without(said(json!({})), &["message", "date"])),
        ("a message with id 0", said(json!({ "ticketMessageID": 0 }))),
        ("a message whose date is a number", said(json!({ "date": 1 }))),
        ("a sender that is a number", said(json!({ "sender": 1 }))),
        ("topics that are a string", said(json!({ "topics": "t" }))),
        ("a topic that is a number", said(json!({ "topics": ["t", 1] }))),
        ("a topic that is null", said(json!({ "topics": ["t", null] }))),
        ("21 topics", said(json!({ "topics": (0..21).map(|n| n.to_string()).collect::<Vec<_>>() }))),
        ("a topic of 101 characters", said(json!({ "topics": ["é".repeat(101)] }))),
        ("an isEscalated that is a string", said(json!({ "isEscalated": "yes" }))),
        ("a comment above 4 KiB", said(json!({ "feedbackComment": "é".repeat(2049) }))),
        ("a comment that is a list", said(json!({ "feedbackComment": [] }))),
        ("a message deleted without ticketID", event("message.deleted", 1, json!({ "ticketMessageID": 900 }))),
        ("a message deleted without its id", event("message.deleted", 1, json!({ "ticketID": 900 }))),
    ]
}

#[tokio::test]
async fn every_kind_of_bad_event_goes_to_the_dead_letters_and_leaves_its_neighbours_alone() {
    let app = App::start().await;
    let caller = app.tenant(1);
    let id = jane(&caller).await;
    let bad = bad_events();
    let mut events = Vec::new();
    for (n, (_, bad)) in (1..).zip(&bad) {
        events.push(upserted(n, JANE, json!({})));
        events.push(bad.clone());
    }
    app.events(&events).await;
    let good: Vec<u64> = (1..=bad.len() as u64).collect();
    assert_eq!(shown(&caller, id, "sortBy=ticketID&pageSize=100").await, good);
    let letters: Vec<Value> =
        app.system.dead_letters().await.iter().map(|body| serde_json::from_str(body).unwrap()).collect();
    for (name, event) in &bad {
        assert!(letters.contains(event), "{name} is no dead letter");
    }
    assert_eq!(letters.len(), bad.len());
}

#[tokio::test]
async fn duplicate_members_of_an_event_are_bad() {
    let app = App::start().await;
    let caller = app.tenant(1);
    let id = jane(&caller).await;
    let good = upserted(1, JANE, json!({})).to_string();
    let twice = good.replacen("\"customerID\":1", "\"customerID\":1,\"customerID\":2", 1);
    assert_ne!(good, twice);
    let send = crate::app::TestRequest::new("POST", "/local/ticket-events").header("content-type", "application/json");
    send.body(twice).to(&app).await.expect(202);
    app.settle().await;
    assert_eq!(shown(&caller, id, "").await, [0; 0]);
    assert_eq!(dead_letters(&app).await, 1);
}

#[tokio::test]
async fn values_at_their_limits_are_taken_in() {
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
    let ticket = only(&caller, id).await;
    assert_eq!(ticket["subject"], json!("😀".repeat(500)));
    assert_eq!(ticket["customFieldsData"], custom);
    assert_eq!(ticket["topics"], json!(topics));
    assert_eq!(ticket["aiFeedbackComments"], json!([comment]));
}

#[tokio::test]
async fn another_sender_is_taken_in_and_counts_as_none() {
    let app = App::start().await;
    let caller = app.tenant(1);
    let id = jane(&caller).await;
    app.events(&[upserted(1, JANE, json!({})), message(1, 1, 3, json!({ "sender": "Robot", "topics": ["t"] }))]).await;
    let ticket = only(&caller, id).await;
    assert_eq!((&ticket["topics"], &ticket["lastEndUserMessageID"]), (&json!(["t"]), &Value::Null));
    assert_eq!(dead_letters(&app).await, 0);
}

#[tokio::test]
async fn tickets_of_the_oddest_uids_come_back_to_their_end_users() {
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
        let id = end_user(&caller, json!({ "uids": [{ "uidType": "Other", "uid": value }] })).await;
        assert_eq!(only(&caller, id).await["ticketID"], json!(n), "{value:.20}");
    }
    assert_eq!(dead_letters(&app).await, 0);
}

#[tokio::test]
async fn a_ticket_of_many_messages_is_computed_from_all_of_them() {
    let app = App::start().await;
    let caller = app.tenant(1);
    let id = jane(&caller).await;
    let mut events = vec![upserted(1, JANE, json!({}))];
    events.extend((1..=120_u64).map(|n| {
        message(
            n,
            1,
            1 + (n % 28) as u32,
            json!({ "topics": [format!("t{}", n % 40)], "sender": if n == 77 { "EndUser" } else { "AI" } }),
        )
    }));
    app.events(&events).await;
    let ticket = only(&caller, id).await;
    assert_eq!(ticket["topics"].as_array().unwrap().len(), 40);
    assert_eq!(ticket["lastEndUserMessageID"], 77);
}

#[tokio::test]
async fn a_ticket_with_very_many_topics_stays_writable() {
    let app = App::start().await;
    let caller = app.tenant(1);
    let id = jane(&caller).await;
    let topics = |of: u64| (0..20).map(|n| format!("{of:02}{n:02}{}", "😀".repeat(96))).collect::<Vec<_>>();
    let mut events = vec![upserted(1, JANE, json!({}))];
    events.extend((1..=60).map(|n| message(n, 1, 3, json!({ "topics": topics(n) }))));
    events.push(message(61, 1, 4, json!({ "topics": ["plain"], "sender": "EndUser" })));
    app.events(&events).await;
    assert_eq!(dead_letters(&app).await, 0);
    let ticket = only(&caller, id).await;
    assert_eq!(ticket["lastEndUserMessageID"], 61);
    // Four characters and 96 signs of four bytes; two quotes, escaped, and a comma.
    let expected: Vec<_> = (1..=60).flat_map(topics).take(16 * 1024 / (388 + 5)).collect();
    assert_eq!(ticket["topics"], json!(expected));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_delivery_does_not_undo_a_newer_one() {
    let troubled = crate::faults::Troubled::start(7).await;
    let functions = crate::budgets::unwatched(&troubled.app).await;
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
    // The slow delivery has read the topics [B]; the newer one finds the stored [A] right.
    let messages = troubled.proxy.hold("Query");
    let newer = async {
        messages.reached().await;
        take(topic(3, "A")).await;
        drop(messages);
    };
    futures::future::join(take(topic(2, "B")), newer).await;
    let update = shared::domain::end_user::PendingEndUser::read(
        &crate::index::json_of(json!({ "uids": [{ "uid": JANE }] })),
        None,
    );
    let end_user = scope().create_end_user(&update.unwrap(), None).await.unwrap().value;
    let tickets = scope().tickets_of(&end_user).await.unwrap();
    assert_eq!(tickets[0].computed.topics, ["A"]);
}

/// What escapes worst: a control character takes seven bytes of a response, a quote four.
fn control_characters(length: usize) -> String {
    "\u{1}".repeat(length)
}

#[tokio::test(flavor = "multi_thread")]
async fn largest_page_fits_a_response() {
    let app = App::start().await;
    let caller = app.tenant(1);
    let id = jane(&caller).await;
    let custom = json!({ "": "\"".repeat(8 * 1024 - 4) });
    let topic = |n: u64| format!("{n}{}", control_characters(97));
    let comment = |n: u64| format!("{n}{}", "\"".repeat(if n == 9 { 300 } else { 4_000 }));
    let mut events = Vec::new();
    for ticket in 1..=100 {
        let text = |length: usize| format!("T{}", control_characters(length - 1));
        let facts = json!({ "subject": text(500), "status": text(320), "channelType": text(320),
            "customFieldsData": custom });
        events.push(upserted(ticket, JANE, facts));
        for n in 8..=9 {
            let topics: Vec<_> = (n * 20..n * 20 + 20).map(topic).collect();
            let more = json!({ "topics": topics, "isEscalated": true, "feedbackComment": comment(n) });
            events.push(message(10 * ticket + n, ticket, n as u32, more));
        }
    }
    app.events(&events).await;
    assert_eq!(dead_letters(&app).await, 0);
    let answer = caller.get(&format!("/api/EndUsers/{id}/tickets?pageSize=100")).await;
    let escaped = answer.body.iter().map(|byte| if matches!(byte, b'"' | b'\\') { 2 } else { 1 }).sum::<usize>();
    assert!(escaped > 5_000_000 && escaped < 6 * 1024 * 1024 - 1_000, "{escaped}");
    let page = answer.expect(200);
    assert_eq!((&page["totalCount"], page["items"].as_array().unwrap().len()), (&json!(100), 100));
    for ticket in page["items"].as_array().unwrap() {
        assert_eq!(ticket["customFieldsData"], custom);
        // The older comment does not fit.
        assert_eq!(ticket["aiFeedbackComments"], json!([comment(9)]));
        // With quotes and comma a topic takes 687 bytes.
        assert_eq!(ticket["topics"], json!((160..183).map(topic).collect::<Vec<_>>()));
    }
}

#[tokio::test]
async fn comments_of_an_ordinary_ticket_are_complete() {
    let app = App::start().await;
    let caller = app.tenant(1);
    let id = jane(&caller).await;
    let comment = |n: u64| format!("{n:02} {}", "word ".repeat(818));
    let mut events = vec![upserted(1, JANE, json!({}))];
    let more = |n: u64| json!({ "isEscalated": true, "feedbackComment": comment(n) });
    events.extend((1..=20).map(|n| message(n, 1, n as u32, more(n))));
    app.events(&events).await;
    // 15 comments of 4,093 characters are 61,500 bytes.
    let newest: Vec<_> = (6..=20).rev().map(comment).collect();
    assert_eq!(only(&caller, id).await["aiFeedbackComments"], json!(newest));
}
