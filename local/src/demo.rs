//! The demo: end users and tickets of two tenants.

use std::collections::HashMap;

use axum::body::Body;
use http::Request;
use http_body_util::BodyExt;
use serde_json::{Map, Value, json};

use crate::{Error, Local, token};

/// The demo's tenants.
pub const TENANTS: [u64; 2] = [7, 8];

/// The e-mail address of the demo end user, Jane Doe, in each tenant.
pub const EMAIL: &str = "jane@example.com";

const FIRST: [&str; 11] =
    ["Liam", "Emma", "Noah", "Olivia", "Lucas", "Louise", "Arthur", "Mila", "Jules", "Ella", "Adam"];
const LAST: [&str; 11] = [
    "Peeters", "Janssens", "Maes", "Jacobs", "Mertens", "Willems", "Claes", "Goossens", "Wouters", "De Smet", "Dubois",
];
const CITIES: [(&str, &str); 4] = [("Antwerpen", "2000"), ("Gent", "9000"), ("Leuven", "3000"), ("Liège", "4000")];

/// A demo tenant with a token and its demo end user.
pub struct Demo {
    /// The tenant.
    pub tenant: u64,
    /// A token of the tenant, valid for 24 hours.
    pub token: String,
    /// The EndUserReadDTO of the demo end user, or `null` if it was deleted.
    pub end_user: Value,
}

/// Loads the demo into an empty database. Does nothing if no tokens can be signed.
pub async fn load(local: &Local, variables: &HashMap<String, String>) -> Result<(), Error> {
    for tenant in TENANTS {
        let Ok(token) = make_token(variables, tenant) else { return Ok(()) };
        let end_users = send(local, &token, "GET", "/api/EndUsers", Value::Null).await?;
        if end_users["totalCount"] != 0 {
            return Ok(());
        }
        send(local, &token, "POST", "/api/EndUsers", jane(tenant)).await?;
        for i in 0..FIRST.len() {
            send(local, &token, "POST", "/api/EndUsers", end_user(i, tenant)).await?;
        }
        for duplicate in duplicates(tenant) {
            send(local, &token, "POST", "/api/EndUsers", duplicate).await?;
        }
        for event in events(tenant) {
            send(local, &token, "POST", "/local/ticket-events", event).await?;
        }
    }
    send(local, "", "POST", "/local/settle", Value::Null).await.map(drop)
}

/// Returns the demo of each tenant.
pub async fn describe(local: &Local, variables: &HashMap<String, String>) -> Result<Vec<Demo>, Error> {
    let mut demos = Vec::new();
    for tenant in TENANTS {
        let token = make_token(variables, tenant)?;
        let found = send(local, &token, "GET", &format!("/api/EndUsers/byUid?uid={EMAIL}"), Value::Null).await?;
        demos.push(Demo { tenant, token, end_user: found[0].clone() });
    }
    Ok(demos)
}

/// Returns a token of a demo tenant, valid for 24 hours.
pub(crate) fn make_token(variables: &HashMap<String, String>, tenant: u64) -> Result<String, Error> {
    token::make(variables, &tenant.to_string(), 24 * 60 * 60, Map::new())
}

async fn send(local: &Local, token: &str, method: &str, path: &str, body: Value) -> Result<Value, Error> {
    let failed = |error: String| Error::Engine(format!("cannot store the demo: {method} {path}: {error}"));
    let body = if body.is_null() { Body::empty() } else { Body::from(body.to_string()) };
    let request = Request::builder().method(method).uri(path).header("authorization", format!("Bearer {token}"));
    let response = local.call(request.body(body).map_err(|e| failed(e.to_string()))?).await;
    let status = response.status();
    let bytes = response.into_body().collect().await.map_err(|e| failed(e.to_string()))?.to_bytes();
    if !status.is_success() {
        return Err(failed(String::from_utf8_lossy(&bytes).into_owned()));
    }
    Ok(serde_json::from_slice(&bytes).unwrap_or(Value::Null))
}

fn jane(tenant: u64) -> Value {
    json!({
        "firstname": "Jane", "lastname": "Doe", "customerRef": "ERP-3049353", "customerType": "Customer",
        "lang": "nl", "country": "BE", "city": "Antwerpen", "postalCode": "2100", "street": "Bisschoppenhoflaan",
        "houseNumber": "380", "company": if tenant == TENANTS[0] { "Acme NV" } else { "Globex BV" },
        "uids": [
            { "uidType": "Email", "uid": EMAIL, "isPrimary": true },
            { "uidType": "Phone", "uid": "+32 470 00 00 00" },
            { "uidType": "WhatsApp", "uid": "32470000001" },
        ]
    })
}

fn end_user(i: usize, tenant: u64) -> Value {
    let (first, last) = (FIRST[i], LAST[(i + tenant as usize) % LAST.len()]);
    let (city, postal_code) = CITIES[i % CITIES.len()];
    let customer_type = ["Lead", "Customer", "Partner"][i % 3];
    let address = format!("{}.{}@example.com", first.to_lowercase(), last.to_lowercase().replace(' ', ""));
    json!({
        "firstname": first, "lastname": last, "country": "BE", "lang": if i % 4 == 3 { "fr" } else { "nl" },
        "city": city, "postalCode": postal_code, "customerType": customer_type,
        "customerRef": format!("CRM-{}", 1_000 + i),
        "uids": [
            { "uidType": "Email", "uid": address, "isPrimary": true },
            { "uidType": "Phone", "uid": format!("0471 {:02} 00 {:02}", tenant, i) },
        ]
    })
}

/// Two end users, each of which shares an identifier with another end user of the demo.
fn duplicates(tenant: u64) -> [Value; 2] {
    let shared = &end_user(0, tenant)["uids"][0];
    let jane = json!({
        "firstname": "J.", "lastname": "Doe", "customerRef": "SHOP-118", "lang": "nl", "country": "BE", "gender": "f",
        "city": "Antwerpen",
        "uids": [
            { "uidType": "Phone", "uid": "+32 470 00 00 00" },
            { "uidType": "Email", "uid": "j.doe@example.org", "isPrimary": true },
        ]
    });
    let liam = json!({ "firstname": FIRST[0], "company": "Initech BV", "uids": [shared] });
    [jane, liam]
}

fn events(tenant: u64) -> Vec<Value> {
    let tickets = [
        (EMAIL, "Email", "Invoice 2026-118 was charged twice", "Open", false),
        ("+32470000000", "Phone", "Call me back about the delivery", "Waiting", false),
        ("32470000001", "WhatsApp", "Where is my parcel?", "Solved", true),
        ("ERP-3049353", "Portal", "Change of address", "Solved", true),
        ("emma.maes@example.com", "Email", "How do I reset my password?", "Open", false),
    ];
    let mut events = Vec::new();
    for (n, (uid, channel, subject, status, closed)) in (1..).zip(tickets) {
        let day = format!("2026-11-{:02}", 10 + n);
        let ticket = json!({
            "ticketID": n, "subject": subject, "status": status, "channelID": n, "channelType": channel, "uid": uid,
            "customerRepID": 3, "isClosed": closed, "isSpam": false,
            "dateCreated": format!("{day}T09:00:00Z"), "lastMessageDate": format!("{day}T09:30:00Z"),
        });
        let at = format!("{day}T09:30:00Z");
        events.push(json!({ "type": "ticket.upserted", "customerID": tenant, "occurredAt": at, "ticket": ticket }));
        let question = json!({ "ticketMessageID": 10 * n, "ticketID": n, "date": format!("{day}T09:00:00Z"),
            "sender": "EndUser", "topics": [if n == 1 { "Billing" } else { "Service" }] });
        let reply = json!({ "ticketMessageID": 10 * n + 1, "ticketID": n, "date": format!("{day}T09:30:00Z"),
            "sender": "AI", "topics": ["Answered"], "isEscalated": n == 1,
            "feedbackComment": (n == 1).then_some("The answer quoted the wrong invoice.") });
        for message in [question, reply] {
            events.push(
                json!({ "type": "message.upserted", "customerID": tenant, "occurredAt": at, "message": message }),
            );
        }
    }
    events
}
