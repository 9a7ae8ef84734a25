//! Tickets in memory: what is told of them, in whatever order and however often, and what an end user's
//! history then is.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::plan::Event;
use super::words::LOOKUPS;
use super::world::ModelEndUser;

/// The newest that was told of each ticket and message of a tenant.
#[derive(Clone, Default, Debug)]
pub struct Told(BTreeMap<(u64, Option<u64>), Event>);

impl Told {
    pub fn tell(&mut self, event: Event) {
        let newest = self.0.entry((event.ticket, event.message)).or_insert(event);
        // At a tie a delete wins.
        if (event.at, event.deleted) > (newest.at, newest.deleted) {
            *newest = event;
        }
    }

    fn messages(&self, ticket: u64) -> Vec<Event> {
        let of = |event: &&Event| event.ticket == ticket && event.message.is_some() && !event.deleted;
        let mut messages: Vec<_> = self.0.values().filter(of).copied().collect();
        messages.sort_by_key(|event| (date(event), event.message));
        messages
    }

    /// The items of an end user's history, newest first.
    pub fn history(&self, end_user: &ModelEndUser) -> Value {
        let keys: Vec<_> = end_user.keys().collect();
        let linked = |event: &&Event| LOOKUPS[event.lookup()].1.iter().any(|key| keys.contains(key));
        let mut tickets: Vec<_> =
            self.0.values().filter(|event| event.message.is_none() && !event.deleted).filter(linked).collect();
        tickets.sort_by_key(|event| (date(event), event.ticket));
        tickets.reverse();
        tickets.into_iter().map(|ticket| self.shown(ticket)).collect()
    }

    fn shown(&self, ticket: &Event) -> Value {
        let messages = self.messages(ticket.ticket);
        let mut topics: Vec<String> = Vec::new();
        let mut bytes = 0;
        for topic in messages.iter().flat_map(message_topics) {
            if !topics.contains(&topic) {
                // As JSON escaped once more: a control character takes seven bytes, quotes and comma five.
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
        let mut shown = facts(ticket);
        shown["topics"] = json!(topics);
        shown["aiFeedbackComments"] = json!(comments);
        shown["lastEndUserMessageID"] = json!(last);
        shown
    }
}

/// Later is not newer: dates go up and down as time goes by.
fn date(event: &Event) -> String {
    format!("2026-11-{:02}T10:00:00Z", 10 + (event.at * 3) % 5)
}

/// One topic, or as many bytes of topics as a message may have: two such messages have more than a ticket keeps.
fn message_topics(message: &Event) -> Vec<String> {
    if message.at < 5 {
        return vec![format!("Topic {}", message.at % 3)];
    }
    let large = |n: u64| format!("{}{}", message.message.unwrap_or_default() * 100 + n, "\u{1}".repeat(97));
    (0..20).map(large).collect()
}

fn comment(message: &Event) -> String {
    format!("comment {} at {}", message.message.unwrap_or_default(), message.at)
}

fn is_escalated(message: &Event) -> bool {
    message.at.is_multiple_of(2)
}

fn is_of_end_user(message: &Event) -> bool {
    !message.at.is_multiple_of(3)
}

fn facts(ticket: &Event) -> Value {
    json!({ "ticketID": ticket.ticket, "uid": LOOKUPS[ticket.lookup()].0, "subject": format!("At {}", ticket.at),
        "status": if ticket.at.is_multiple_of(2) { "Open" } else { "Closed" }, "channelID": null, "channelType": null,
        "endUserID": null, "customerRepID": null, "isClosed": ticket.at % 2 == 1, "isSpam": null,
        "customFieldsData": null, "dateCreated": "2026-11-01T10:00:00Z", "lastMessageDate": date(ticket) })
}

/// An event as it is delivered.
pub fn told(event: &Event, tenant: &str) -> Value {
    let at = format!("2026-11-24T10:00:{:02}Z", event.at);
    let mut told = json!({ "customerID": tenant, "occurredAt": at });
    match (event.message, event.deleted) {
        (None, false) => (told["type"], told["ticket"]) = ("ticket.upserted".into(), facts(event)),
        (None, true) => (told["type"], told["ticketID"]) = ("ticket.deleted".into(), event.ticket.into()),
        (Some(message), false) => {
            told["type"] = "message.upserted".into();
            told["message"] = json!({ "ticketMessageID": message, "ticketID": event.ticket, "date": date(event),
                "sender": if is_of_end_user(event) { "EndUser" } else { "AI" }, "topics": message_topics(event),
                "isEscalated": is_escalated(event), "feedbackComment": comment(event) });
        }
        (Some(message), true) => {
            told["type"] = "message.deleted".into();
            (told["ticketMessageID"], told["ticketID"]) = (message.into(), event.ticket.into());
        }
    }
    told
}
