//! A model of tickets: ticket events in any order and number of deliveries, and the ticket histories that result.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::end_user::ModelEndUser;
use super::plan::TicketEvent;
use super::words::LOOKUPS;

/// The newest event of each ticket and message of a tenant, by ticket id and message id.
#[derive(Clone, Default, Debug)]
pub struct TicketModel(BTreeMap<(u64, Option<u64>), TicketEvent>);

impl TicketModel {
    /// Ingests one delivery of an event.
    pub fn ingest(&mut self, event: TicketEvent) {
        let newest = self.0.entry((event.ticket, event.message)).or_insert(event);
        // At a tie a delete wins.
        if (event.at, event.deleted) > (newest.at, newest.deleted) {
            *newest = event;
        }
    }

    fn messages(&self, ticket: u64) -> Vec<TicketEvent> {
        let is_message = |event: &&TicketEvent| event.ticket == ticket && event.message.is_some() && !event.deleted;
        let mut messages: Vec<_> = self.0.values().filter(is_message).copied().collect();
        messages.sort_by_key(|event| (date(event), event.message));
        messages
    }

    /// The items of an end user's history, newest first.
    pub fn history(&self, end_user: &ModelEndUser) -> Value {
        let keys: Vec<_> = end_user.keys().collect();
        let linked = |event: &&TicketEvent| LOOKUPS[event.lookup()].1.iter().any(|key| keys.contains(key));
        let mut tickets: Vec<_> =
            self.0.values().filter(|event| event.message.is_none() && !event.deleted).filter(linked).collect();
        tickets.sort_by_key(|event| (date(event), event.ticket));
        tickets.reverse();
        tickets.into_iter().map(|ticket| self.ticket_dto(ticket)).collect()
    }

    /// The TicketReadDTO of a ticket.
    fn ticket_dto(&self, ticket: &TicketEvent) -> Value {
        let messages = self.messages(ticket.ticket);
        let mut topics: Vec<String> = Vec::new();
        let mut bytes = 0;
        for topic in messages.iter().flat_map(message_topics) {
            if !topics.contains(&topic) {
                // The limit counts JSON that is escaped once more: a control character has 7 bytes, and each topic has
                // quotes and a comma of 5 bytes.
                bytes += 5 + topic.chars().map(|c| if c.is_control() { 7 } else { 1 }).sum::<usize>();
                if bytes > 16 * 1024 {
                    break;
                }
                topics.push(topic);
            }
        }
        let comments: Vec<_> = messages.iter().rev().filter(|m| is_escalated(m)).map(comment).collect();
        let by_end_users: Vec<_> = messages.iter().filter(|m| is_of_end_user(m)).collect();
        let last = if let [only] = by_end_users[..] { only.message } else { None };
        let mut dto = ticket_members(ticket);
        dto["topics"] = json!(topics);
        dto["aiFeedbackComments"] = json!(comments);
        dto["lastEndUserMessageID"] = json!(last);
        dto
    }
}

/// The `date` of a message or `lastMessageDate` of a ticket. It does not ascend with the event's time.
fn date(event: &TicketEvent) -> String {
    format!("2026-11-{:02}T10:00:00Z", 10 + (event.at * 3) % 5)
}

/// The topics of a message: one, or as many bytes as a message can have. Two such messages exceed the limit of a
/// ticket.
fn message_topics(message: &TicketEvent) -> Vec<String> {
    if message.at < 5 {
        return vec![format!("Topic {}", message.at % 3)];
    }
    let large = |n: u64| format!("{}{}", message.message.unwrap_or_default() * 100 + n, "\u{1}".repeat(97));
    (0..20).map(large).collect()
}

fn comment(message: &TicketEvent) -> String {
    format!("comment {} at {}", message.message.unwrap_or_default(), message.at)
}

fn is_escalated(message: &TicketEvent) -> bool {
    message.at.is_multiple_of(2)
}

fn is_of_end_user(message: &TicketEvent) -> bool {
    !message.at.is_multiple_of(3)
}

/// The members of a ticket that its event contains.
fn ticket_members(ticket: &TicketEvent) -> Value {
    json!({ "ticketID": ticket.ticket, "uid": LOOKUPS[ticket.lookup()].0, "subject": format!("At {}", ticket.at),
        "status": if ticket.at.is_multiple_of(2) { "Open" } else { "Closed" }, "channelID": null, "channelType": null,
        "endUserID": null, "customerRepID": null, "isClosed": ticket.at % 2 == 1, "isSpam": null,
        "customFieldsData": null, "dateCreated": "2026-11-01T10:00:00Z", "lastMessageDate": date(ticket) })
}

/// The JSON of an event (docs/api.md, Ticket events).
pub fn event_json(event: &TicketEvent, tenant: &str) -> Value {
    let at = format!("2026-11-24T10:00:{:02}Z", event.at);
    let mut json = json!({ "customerID": tenant, "occurredAt": at });
    match (event.message, event.deleted) {
        (None, false) => (json["type"], json["ticket"]) = ("ticket.upserted".into(), ticket_members(event)),
        (None, true) => (json["type"], json["ticketID"]) = ("ticket.deleted".into(), event.ticket.into()),
        (Some(message), false) => {
            json["type"] = "message.upserted".into();
            json["message"] = json!({ "ticketMessageID": message, "ticketID": event.ticket, "date": date(event),
                "sender": if is_of_end_user(event) { "EndUser" } else { "AI" }, "topics": message_topics(event),
                "isEscalated": is_escalated(event), "feedbackComment": comment(event) });
        }
        (Some(message), true) => {
            json["type"] = "message.deleted".into();
            (json["ticketMessageID"], json["ticketID"]) = (message.into(), event.ticket.into());
        }
    }
    json
}
