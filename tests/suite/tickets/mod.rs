//! `GET /api/EndUsers/{id}/tickets` and ticket events (docs/api.md, Tickets and Ticket events).

mod events;
mod filters;
mod history;

use serde_json::{Value, json};

use crate::support::app::{App, Caller};

const JANE: &str = "jane@example.com";

/// The time `2026-01-<day>T10:00:00Z`.
fn day(day: u32) -> String {
    format!("2026-01-{day:02}T10:00:00Z")
}

/// An event of tenant 1 with the members of `rest`. It occurred at this minute after midnight.
fn event(kind: &str, minute: u32, rest: Value) -> Value {
    let mut event = json!({ "type": kind, "customerID": 1, "occurredAt": format!("2026-02-01T00:{minute:02}:00Z") });
    event.as_object_mut().unwrap().extend(rest.as_object().unwrap().clone());
    event
}

/// A ticket with the required fields and those of `more`.
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

/// The event with one member replaced.
fn with_member(mut event: Value, name: &str, value: Value) -> Value {
    event[name] = value;
    event
}

async fn create(caller: &Caller<'_>, body: Value) -> u64 {
    caller.create(body).await["endUserID"].as_u64().unwrap()
}

/// Creates an end user with the UID [`JANE`] and returns its id.
async fn jane(caller: &Caller<'_>) -> u64 {
    create(caller, json!({ "uids": [{ "uid": JANE }] })).await
}

async fn page(caller: &Caller<'_>, id: u64, query: &str) -> Value {
    caller.get(&format!("/api/EndUsers/{id}/tickets?{query}")).await.expect(200)
}

/// The ids of the tickets on the page with this query.
async fn ticket_ids(caller: &Caller<'_>, id: u64, query: &str) -> Vec<u64> {
    let page = page(caller, id, query).await;
    page["items"].as_array().unwrap().iter().map(|ticket| ticket["ticketID"].as_u64().unwrap()).collect()
}

/// The only ticket of an end user.
async fn only_ticket(caller: &Caller<'_>, id: u64) -> Value {
    let page = page(caller, id, "").await;
    assert_eq!(page["totalCount"], 1, "{page}");
    page["items"][0].clone()
}

async fn dead_letters(app: &App) -> usize {
    app.system.dead_letters().await.len()
}
