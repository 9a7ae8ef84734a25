//! Ticket events (docs/api.md, Ticket events).

use super::{Message, Ticket};
use crate::domain::ids::{MAX_SAFE_INTEGER, Tenant};
use crate::domain::input::{Fields, Json, ValidationErrors};
use crate::domain::time::Timestamp;

/// Maximum length of a subject, in characters.
const MAX_SUBJECT_LENGTH: usize = 500;
/// Maximum length of a uid, a status, a channel type and a sender, in characters.
const MAX_NAME_LENGTH: usize = 320;
/// Maximum length of a topic, in characters.
const MAX_TOPIC_LENGTH: usize = 100;
/// Maximum number of topics of a message.
const MAX_TOPICS: usize = 20;
const MAX_COMMENT_BYTES: usize = 4 * 1024;
const MAX_CUSTOM_FIELDS_BYTES: usize = 16 * 1024;

/// An event about a ticket or a message.
#[derive(Clone, PartialEq, Debug)]
pub struct Event {
    /// The tenant that the ticket belongs to.
    pub tenant: Tenant,
    /// The time of the change. An older event never overwrites a newer one of the same record.
    pub occurred_at: Timestamp,
    /// The change.
    pub change: Change,
}

/// The change that an [`Event`] reports.
#[derive(Clone, PartialEq, Debug)]
pub enum Change {
    /// The ticket was created or changed; the whole ticket.
    TicketUpserted(Ticket),
    /// The ticket was deleted.
    TicketDeleted {
        /// The ticket's id.
        ticket: u64,
    },
    /// The message was created or changed; the whole message.
    MessageUpserted(Message),
    /// The message was deleted.
    MessageDeleted {
        /// The id of its ticket.
        ticket: u64,
        /// The message's id.
        message: u64,
    },
}

impl Change {
    /// The id of the ticket that the change belongs to.
    pub fn ticket(&self) -> u64 {
        match self {
            Self::TicketUpserted(ticket) => ticket.ticket_id,
            Self::MessageUpserted(message) => message.ticket_id,
            Self::TicketDeleted { ticket } | Self::MessageDeleted { ticket, .. } => *ticket,
        }
    }
}

impl Event {
    /// Reads one event. The errors name members, never values.
    pub fn parse(bytes: &[u8]) -> Result<Self, ValidationErrors> {
        let json = Json::parse(bytes).map_err(|error| ValidationErrors::single("body", error))?;
        let mut errors = ValidationErrors::default();
        let Some(fields) = Fields::of_body(&json, &mut errors) else { return Err(errors) };
        let tenant = fields.get("customerID").and_then(Tenant::read);
        if tenant.is_none() {
            errors.add("customerID", "is required (positive integer, or 1 to 64 characters of A-Z a-z 0-9 _ -)");
        }
        let occurred_at = required_timestamp(&fields, "occurredAt", &mut errors);
        let change = read_change(&fields, &mut errors);
        match (tenant, occurred_at, change) {
            (Some(tenant), Some(occurred_at), Some(change)) => errors.into_result(Self { tenant, occurred_at, change }),
            _ => Err(errors),
        }
    }
}

/// The leading part of `path` that consists of documented members of an event; `other` if there is none.
pub fn known_member(path: &str) -> &str {
    const KNOWN: [&str; 25] = [
        "body",
        "type",
        "customerID",
        "occurredAt",
        "ticket",
        "message",
        "ticketID",
        "ticketMessageID",
        "subject",
        "status",
        "channelID",
        "channelType",
        "uid",
        "endUserID",
        "customerRepID",
        "isClosed",
        "isSpam",
        "dateCreated",
        "lastMessageDate",
        "customFieldsData",
        "date",
        "sender",
        "topics",
        "isEscalated",
        "feedbackComment",
    ];
    let mut end = 0;
    for segment in path.split('.') {
        let (name, index) = segment.split_at(segment.find('[').unwrap_or(segment.len()));
        let is_index = index.chars().all(|c| c.is_ascii_digit() || "[]".contains(c));
        if !is_index || !KNOWN.iter().any(|known| known.eq_ignore_ascii_case(name)) {
            break;
        }
        end = (end + usize::from(end > 0) + segment.len()).min(path.len());
    }
    if end == 0 { "other" } else { &path[..end] }
}

fn read_change(fields: &Fields, errors: &mut ValidationErrors) -> Option<Change> {
    match fields.raw_string("type", errors).value() {
        Some("ticket.upserted") => read_ticket(&record(fields, "ticket", errors)?, errors).map(Change::TicketUpserted),
        Some("ticket.deleted") => {
            required_id(fields, "ticketID", errors).map(|ticket| Change::TicketDeleted { ticket })
        }
        Some("message.upserted") => {
            read_message(&record(fields, "message", errors)?, errors).map(Change::MessageUpserted)
        }
        Some("message.deleted") => {
            let ticket = required_id(fields, "ticketID", errors);
            let message = required_id(fields, "ticketMessageID", errors);
            Some(Change::MessageDeleted { ticket: ticket?, message: message? })
        }
        _ => {
            errors.add("type", "must be ticket.upserted, ticket.deleted, message.upserted or message.deleted");
            None
        }
    }
}

fn record<'a>(fields: &Fields<'a>, name: &str, errors: &mut ValidationErrors) -> Option<Fields<'a>> {
    match fields.get(name) {
        Some(json) => Fields::of(json, name, errors),
        None => {
            errors.add(name, "is required");
            None
        }
    }
}

fn read_ticket(fields: &Fields, errors: &mut ValidationErrors) -> Option<Ticket> {
    let ticket_id = required_id(fields, "ticketID", errors);
    let uid = string(fields, "uid", MAX_NAME_LENGTH, errors).map(|uid| uid.trim().to_owned());
    if uid.is_none() {
        errors.add(fields.path("uid"), "is required");
    }
    let date_created = required_timestamp(fields, "dateCreated", errors);
    let last_message_date = required_timestamp(fields, "lastMessageDate", errors);
    Some(Ticket {
        subject: string(fields, "subject", MAX_SUBJECT_LENGTH, errors),
        status: string(fields, "status", MAX_NAME_LENGTH, errors),
        channel_id: fields.positive("channelID", MAX_SAFE_INTEGER, errors),
        channel_type: string(fields, "channelType", MAX_NAME_LENGTH, errors),
        end_user_id: fields.positive("endUserID", MAX_SAFE_INTEGER, errors),
        customer_rep_id: fields.positive("customerRepID", MAX_SAFE_INTEGER, errors),
        is_closed: fields.boolean("isClosed", errors),
        is_spam: fields.boolean("isSpam", errors),
        custom_fields_data: read_custom_fields(fields, errors),
        ticket_id: ticket_id?,
        uid: uid?,
        date_created: date_created?,
        last_message_date: last_message_date?,
    })
}

fn read_custom_fields(fields: &Fields, errors: &mut ValidationErrors) -> Option<String> {
    match fields.get("customFieldsData") {
        None | Some(Json::Null) => None,
        Some(json @ Json::Object(_)) => {
            let text = serde_json::to_string(json).ok()?;
            if text.len() > MAX_CUSTOM_FIELDS_BYTES {
                errors.add(fields.path("customFieldsData"), format!("must be at most {MAX_CUSTOM_FIELDS_BYTES} bytes"));
            }
            Some(text)
        }
        Some(_) => {
            errors.add(fields.path("customFieldsData"), "must be an object");
            None
        }
    }
}

fn read_message(fields: &Fields, errors: &mut ValidationErrors) -> Option<Message> {
    let ticket_message_id = required_id(fields, "ticketMessageID", errors);
    let ticket_id = required_id(fields, "ticketID", errors);
    let date = required_timestamp(fields, "date", errors);
    let topics = fields.array("topics", errors).unwrap_or_default();
    let is_short = |topic: &&str| topic.chars().count() <= MAX_TOPIC_LENGTH;
    if topics.len() > MAX_TOPICS || !topics.iter().all(|topic| topic.as_str().is_some_and(|t| is_short(&t))) {
        let message = format!("must have at most {MAX_TOPICS} strings of at most {MAX_TOPIC_LENGTH} characters");
        errors.add(fields.path("topics"), message);
    }
    let feedback_comment = string(fields, "feedbackComment", usize::MAX, errors);
    if feedback_comment.as_ref().is_some_and(|comment| comment.len() > MAX_COMMENT_BYTES) {
        errors.add(fields.path("feedbackComment"), format!("must be at most {MAX_COMMENT_BYTES} bytes"));
    }
    Some(Message {
        sender: string(fields, "sender", MAX_NAME_LENGTH, errors),
        topics: topics.iter().filter_map(Json::as_str).map(str::to_owned).collect(),
        is_escalated: fields.boolean("isEscalated", errors).unwrap_or(false),
        feedback_comment,
        ticket_message_id: ticket_message_id?,
        ticket_id: ticket_id?,
        date: date?,
    })
}

/// A string of at most `max` characters, unchanged; a blank one counts as absent.
fn string(fields: &Fields, name: &str, max: usize, errors: &mut ValidationErrors) -> Option<String> {
    let text = fields.raw_string(name, errors).value().filter(|text| !text.trim().is_empty())?;
    if text.chars().count() > max {
        errors.add(fields.path(name), format!("must be at most {max} characters"));
    }
    Some(text.to_owned())
}

fn required_id(fields: &Fields, name: &str, errors: &mut ValidationErrors) -> Option<u64> {
    let id = fields.positive(name, MAX_SAFE_INTEGER, errors);
    if id.is_none() {
        errors.add(fields.path(name), "is required (positive integer)");
    }
    id
}

fn required_timestamp(fields: &Fields, name: &str, errors: &mut ValidationErrors) -> Option<Timestamp> {
    let time = fields.raw_string(name, errors).value().and_then(Timestamp::parse);
    if time.is_none() {
        errors.add(fields.path(name), "is required (RFC 3339 timestamp)");
    }
    time
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_documented_members_are_named() {
        for (path, named) in [
            ("ticket.uid", "ticket.uid"),
            ("message.topics[3]", "message.topics[3]"),
            ("Ticket.UID", "Ticket.UID"),
            ("ticket.customFieldsData.jane@example.com", "ticket.customFieldsData"),
            ("ticket.jane@example.com.uid", "ticket"),
            ("jane@example.com", "other"),
            ("uid[jane@example.com]", "other"),
            ("", "other"),
        ] {
            assert_eq!(known_member(path), named, "{path}");
        }
    }
}
