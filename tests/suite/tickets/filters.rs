//! Filters, search, order and pages of a ticket history.

use super::*;

/// Creates the end user [`JANE`] with six tickets and returns its id.
async fn jane_with_six_tickets(app: &App) -> u64 {
    let caller = app.tenant(1);
    let id = create(
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
    let id = jane_with_six_tickets(&app).await;
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
async fn uid_filter_uses_the_default_region() {
    let app = App::with(&[("DEFAULT_PHONE_REGION", "BE")]).await;
    let id = jane_with_six_tickets(&app).await;
    assert_eq!(ticket_ids(&app.tenant(1), id, "uid=0470/00.00.00&sortBy=ticketID").await, [2, 5]);
}

#[tokio::test]
async fn all_errors_of_the_filters_are_reported_at_once() {
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
    // Checks without stored records come before the 404. An invalid id comes first.
    caller.get("/api/EndUsers/999999/tickets?pageSize=0").await.expect(400);
    caller.get("/api/EndUsers/999999/tickets").await.expect(404);
    caller.get("/api/EndUsers/x/tickets").await.expect(400);
    // An end user of another tenant is 404.
    let theirs = app.tenant(2).get(&format!("/api/EndUsers/{id}/tickets")).await.expect(404);
    let missing = app.tenant(2).get("/api/EndUsers/999999/tickets").await.expect(404);
    assert_eq!((&theirs["title"], &theirs["detail"]), (&missing["title"], &missing["detail"]));
}

#[tokio::test]
async fn default_order_is_newest_message_first() {
    let app = App::start().await;
    let caller = app.tenant(1);
    let id = jane_with_six_tickets(&app).await;
    // Tickets 5 and 6 tie; they follow the direction of the order.
    for query in ["", "sortOrder=desc", "sortBy=lastMessageDate&sortOrder=desc", "sortBy=&sortOrder="] {
        assert_eq!(ticket_ids(&caller, id, query).await, [2, 4, 6, 5, 3, 1], "{query}");
    }
    for query in ["sortOrder=asc", "sortBy=lastMessageDate", "SORTBY=LASTMESSAGEDATE&sortOrder=ASC"] {
        assert_eq!(ticket_ids(&caller, id, query).await, [1, 3, 5, 6, 4, 2], "{query}");
    }
}

#[tokio::test]
async fn history_sorts_by_every_scalar_field_with_nulls_first() {
    let app = App::start().await;
    let caller = app.tenant(1);
    let id = jane_with_six_tickets(&app).await;
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
            assert_eq!(ticket_ids(&caller, id, &format!("sortBy={name}")).await, expected, "{name}");
            assert_eq!(ticket_ids(&caller, id, &format!("sortBy={name}&sortOrder=asc")).await, expected, "{name}");
            assert_eq!(ticket_ids(&caller, id, &format!("sortBy={name}&sortOrder=desc")).await, back, "{name}");
        }
    }
}

#[tokio::test]
async fn times_sort_as_instants_and_not_as_text() {
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
    assert_eq!(ticket_ids(&caller, id, "sortOrder=asc").await, [1, 2, 5, 3, 4]);
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
async fn history_is_paged() {
    let app = App::start().await;
    let caller = app.tenant(1);
    let id = jane(&caller).await;
    let events: Vec<Value> = (1..=23).map(|n| upserted(n, JANE, json!({ "isSpam": n > 20 }))).collect();
    app.events(&events).await;
    let all: Vec<u64> = (1..=23).collect();
    assert_eq!(ticket_ids(&caller, id, "sortBy=ticketID").await, all[..10]);
    assert_eq!(ticket_ids(&caller, id, "sortBy=ticketID&pageNumber=3").await, all[20..]);
    assert_eq!(ticket_ids(&caller, id, "sortBy=ticketID&pageNumber=2&pageSize=7").await, all[7..14]);
    // All tickets tie on lastMessageDate.
    assert_eq!(ticket_ids(&caller, id, "pageSize=2").await, [23, 22]);
    let past = page(&caller, id, "pageNumber=4").await;
    assert_eq!(past, json!({ "items": [], "totalCount": 23, "totalPages": 3 }));
    let filtered = page(&caller, id, "isSpam=true&pageSize=2&pageNumber=2147483647").await;
    assert_eq!(filtered, json!({ "items": [], "totalCount": 3, "totalPages": 2 }));
}
