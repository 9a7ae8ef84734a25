//! The fields of an end user's tickets, and the link by UID.

use super::*;

#[tokio::test]
async fn ticket_response_has_every_field() {
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
async fn absent_ticket_fields_are_null_and_lists_are_empty() {
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
    assert_eq!(only_ticket(&caller, id).await, expected);
}

#[tokio::test]
async fn history_without_uids_or_tickets_is_empty() {
    let app = App::start().await;
    let caller = app.tenant(1);
    let empty = json!({ "items": [], "totalCount": 0, "totalPages": 0 });
    let (without_uids, id) = (create(&caller, json!({})).await, jane(&caller).await);
    app.events(&[upserted(1, "john@example.com", json!({}))]).await;
    for id in [without_uids, id] {
        assert_eq!(page(&caller, id, "").await, empty);
        assert_eq!(page(&caller, id, "pageNumber=7&sortBy=uid&search=x").await, empty);
    }
}

#[tokio::test]
async fn topics_are_in_order_of_first_occurrence() {
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
    assert_eq!(only_ticket(&caller, id).await["topics"], json!(["first", "b", "between", "B", "second", "a", "late"]));
}

#[tokio::test]
async fn escalated_comments_are_newest_first() {
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
    assert_eq!(only_ticket(&caller, id).await["aiFeedbackComments"], json!(["newest", "second", "third", "second"]));
    app.events(&[
        message_at(2, 9, 1, 4, json!({ "isEscalated": false, "feedbackComment": "newest" })),
        message_deleted(7, 1, 2),
    ])
    .await;
    assert_eq!(only_ticket(&caller, id).await["aiFeedbackComments"], json!(["third", "second"]));
}

#[tokio::test]
async fn last_end_user_message_is_set_if_it_is_the_only_one() {
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
    assert_eq!(only_ticket(&caller, id).await["lastEndUserMessageID"], Value::Null);
    app.events(&[by(5, "EndUser")]).await;
    assert_eq!(only_ticket(&caller, id).await["lastEndUserMessageID"], 5);
    app.events(&[by(6, "EndUser")]).await;
    assert_eq!(only_ticket(&caller, id).await["lastEndUserMessageID"], Value::Null);
    app.events(&[message_deleted(5, 1, 2)]).await;
    assert_eq!(only_ticket(&caller, id).await["lastEndUserMessageID"], 6);
    app.events(&[message_at(2, 6, 1, 3, json!({ "sender": "AI" }))]).await;
    assert_eq!(only_ticket(&caller, id).await["lastEndUserMessageID"], Value::Null);
}

#[tokio::test]
async fn history_spans_all_uids_and_customer_ref() {
    let app = App::start().await;
    let caller = app.tenant(1);
    let id = create(
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
    assert_eq!(ticket_ids(&caller, id, "sortBy=ticketID&pageSize=100").await, [1, 2, 3, 4, 5, 6, 7]);
    assert_eq!(page(&caller, id, "pageSize=2").await["totalPages"], 4);
}

#[tokio::test]
async fn text_like_a_phone_number_matches_tickets_as_text() {
    let app = App::start().await;
    let caller = app.tenant(1);
    let text = create(&caller, json!({ "customerRef": "32470000000" })).await;
    let phone = create(&caller, json!({ "uids": [{ "uidType": "Phone", "uid": "+32470000000" }] })).await;
    app.events(&[upserted(1, "32470000000", json!({})), upserted(2, "+32470000000", json!({}))]).await;
    assert_eq!(ticket_ids(&caller, text, "").await, [1]);
    assert_eq!(ticket_ids(&caller, text, "uid=32470000000").await, [1]);
    assert_eq!(
        ticket_ids(&caller, text, "uid=%2B32470000000").await,
        [0; 0],
        "the end user holds the text, not the phone number"
    );
    assert_eq!(ticket_ids(&caller, phone, "sortBy=ticketID").await, [1, 2]);
}

#[tokio::test]
async fn assigned_uid_adds_old_tickets_and_removal_drops_them() {
    let app = App::start().await;
    let caller = app.tenant(1);
    app.events(&[upserted(1, JANE, json!({})), upserted(2, "+32470000000", json!({})), upserted(3, "ref", json!({}))])
        .await;
    let (id, other) = (jane(&caller).await, create(&caller, json!({})).await);
    assert_eq!(ticket_ids(&caller, id, "").await, [1]);
    let assign = json!({ "uid": "+32 470 00 00 00", "uidType": "Phone", "endUserID": id });
    let assigned = caller.post("/api/EndUserUIDs/assign", assign).await.expect(201);
    assert_eq!(ticket_ids(&caller, id, "sortBy=ticketID").await, [1, 2]);
    caller.update(&json!(id), json!({ "customerRef": "REF" })).await;
    assert_eq!(ticket_ids(&caller, id, "sortBy=ticketID").await, [1, 2, 3]);
    assert_eq!(ticket_ids(&caller, other, "").await, [0; 0]);

    let remove = json!({ "endUserUIDID": assigned["endUserUIDID"], "markAsDeleted": true });
    caller.update(&json!(id), json!({ "customerRef": "", "uids": [remove] })).await;
    assert_eq!(ticket_ids(&caller, id, "").await, [1]);
    // Both end users hold the UID, so both histories have the ticket.
    caller.post("/api/EndUserUIDs/assign", json!({ "uid": JANE, "endUserID": other })).await.expect(201);
    assert_eq!(ticket_ids(&caller, other, "").await, [1]);
    assert_eq!(ticket_ids(&caller, id, "").await, [1]);
}

#[tokio::test]
async fn tickets_outlive_their_end_user() {
    let app = App::start().await;
    let caller = app.tenant(1);
    let id = jane(&caller).await;
    app.events(&[upserted(1, JANE, json!({ "endUserID": id }))]).await;
    caller.delete(&format!("/api/EndUsers/{id}")).await.expect(204);
    app.settle().await;
    caller.get(&format!("/api/EndUsers/{id}/tickets")).await.expect(404);
    let next = jane(&caller).await;
    assert_eq!(only_ticket(&caller, next).await["endUserID"], json!(id));
}

#[tokio::test]
async fn end_user_id_of_an_event_creates_no_link() {
    let app = App::start().await;
    let caller = app.tenant(1);
    let id = jane(&caller).await;
    app.events(&[upserted(1, "john@example.com", json!({ "endUserID": id }))]).await;
    assert_eq!(ticket_ids(&caller, id, "").await, [0; 0]);
}

#[tokio::test]
async fn ticket_follows_a_change_of_its_uid() {
    let app = App::start().await;
    let caller = app.tenant(1);
    let (one, two) = (jane(&caller).await, create(&caller, json!({ "customerRef": "two" })).await);
    app.events(&[upserted(1, JANE, json!({})), message(1, 1, 3, json!({ "topics": ["kept"] }))]).await;
    assert_eq!(ticket_ids(&caller, one, "").await, [1]);
    app.events(&[event("ticket.upserted", 2, json!({ "ticket": ticket(1, "TWO", json!({})) }))]).await;
    assert_eq!(ticket_ids(&caller, one, "").await, [0; 0]);
    assert_eq!(only_ticket(&caller, two).await["topics"], json!(["kept"]));
}

#[tokio::test]
async fn same_ticket_id_in_two_tenants_is_two_tickets() {
    let app = App::start().await;
    let (one, two) = (app.tenant(1), app.tenant("acme"));
    let (mine, theirs) = (jane(&one).await, jane(&two).await);
    let acme = |event: Value| with_member(event, "customerID", json!("acme"));
    app.events(&[
        upserted(1, JANE, json!({ "subject": "mine" })),
        acme(upserted(1, JANE, json!({ "subject": "theirs" }))),
        message(1, 1, 3, json!({ "sender": "EndUser", "topics": ["mine"] })),
        acme(message(1, 1, 3, json!({ "sender": "AI", "topics": ["theirs"] }))),
        acme(message(2, 1, 3, json!({ "isEscalated": true, "feedbackComment": "theirs" }))),
    ])
    .await;
    let (my, their) = (only_ticket(&one, mine).await, only_ticket(&two, theirs).await);
    assert_eq!(
        (&my["subject"], &my["topics"], &my["lastEndUserMessageID"]),
        (&json!("mine"), &json!(["mine"]), &json!(1))
    );
    assert_eq!((&their["subject"], &their["topics"]), (&json!("theirs"), &json!(["theirs"])));
    assert_eq!(my["aiFeedbackComments"], json!([]));
    assert_eq!(their["aiFeedbackComments"], json!(["theirs"]));
    app.events(&[acme(deleted(1, 5))]).await;
    assert_eq!(ticket_ids(&two, theirs, "").await, [0; 0]);
    assert_eq!(ticket_ids(&one, mine, "").await, [1]);
}

#[tokio::test]
async fn event_tenant_is_a_number_its_digits_or_a_name() {
    let app = App::start().await;
    let caller = app.tenant(7);
    let id = jane(&caller).await;
    let of = |tenant: Value, id| with_member(upserted(id, JANE, json!({})), "customerID", tenant);
    app.events(&[of(json!(7), 1), of(json!("7"), 2), of(json!("07"), 3), of(json!("a_B-9"), 4)]).await;
    assert_eq!(ticket_ids(&caller, id, "sortBy=ticketID").await, [1, 2]);
    let named = app.tenant("a_B-9");
    assert_eq!(ticket_ids(&named, jane(&named).await, "").await, [4]);
    let other = app.tenant("A_B-9");
    assert_eq!(ticket_ids(&other, jane(&other).await, "").await, [0; 0]);
}

#[tokio::test]
async fn ticket_is_computed_from_all_its_messages() {
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
    let ticket = only_ticket(&caller, id).await;
    assert_eq!(ticket["topics"].as_array().unwrap().len(), 40);
    assert_eq!(ticket["lastEndUserMessageID"], 77);
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
    assert_eq!(only_ticket(&caller, id).await["aiFeedbackComments"], json!(newest));
}

/// The text with the longest escape: a control character has seven bytes in a response, a quote four.
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
    let response = caller.get(&format!("/api/EndUsers/{id}/tickets?pageSize=100")).await;
    let escaped = response.body.iter().map(|byte| if matches!(byte, b'"' | b'\\') { 2 } else { 1 }).sum::<usize>();
    assert!(escaped > 5_000_000 && escaped < 6 * 1024 * 1024 - 1_000, "{escaped}");
    let page = response.expect(200);
    assert_eq!((&page["totalCount"], page["items"].as_array().unwrap().len()), (&json!(100), 100));
    for ticket in page["items"].as_array().unwrap() {
        assert_eq!(ticket["customFieldsData"], custom);
        // The older comment exceeds the limit.
        assert_eq!(ticket["aiFeedbackComments"], json!([comment(9)]));
        // A topic has 687 bytes with quotes and comma.
        assert_eq!(ticket["topics"], json!((160..183).map(topic).collect::<Vec<_>>()));
    }
}
