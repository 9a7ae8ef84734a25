//! Tickets and their messages, which belong to other services: the events that bring them, what is
//! computed from them, and how an end user's tickets are filtered, sorted and answered.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::end_user::{EndUser, escaped_bytes};
use super::ids::{MAX_SAFE_INTEGER, Tenant};
use super::input::{Fields, Json, ValidationErrors};
use super::search::{self, Search};
use super::text;
use super::time::Timestamp;
use super::uid::{self, MatchKey};

const MAX_SUBJECT_LENGTH: usize = 500;
/// Of a uid, a status, a channel type and a sender, in characters.
const MAX_NAME_LENGTH: usize = 320;
const MAX_TOPIC_LENGTH: usize = 100;
const MAX_TOPICS: usize = 20;
/// Of the distinct topics of a ticket, which are stored with it and in an index: as JSON escaped once more.
const MAX_TICKET_TOPICS_BYTES: usize = 16 * 1024;
const MAX_COMMENT_BYTES: usize = 4 * 1024;
const MAX_CUSTOM_FIELDS_BYTES: usize = 16 * 1024;
/// The most bytes of a ticket in a response, as JSON escaped once more: the oldest comments that go beyond are left out.
///
/// Lambda takes a response of 6 MB (6,291,456 bytes), in which the body is a JSON string. A page has at most 100 tickets;
/// 62,800 bytes each leave 11,456 bytes for headers and totals. Without comments a ticket has at most 60,000 bytes:
///
/// - customFieldsData 32,768: 16 KiB of JSON, of which escaping doubles each byte at worst;
/// - subject 3,500: 500 characters, of which one takes seven bytes at worst (a control character: `\\u0001`);
/// - uid, status and channelType 2,240 each: 320 characters;
/// - topics 16,384;
/// - the names, numbers, times and punctuation 600.
pub const MAX_TICKET_BYTES: usize = 62_800;

/// The facts of a ticket, as the service that owns it tells them. Ids are positive integers.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs, reason = "the names are those of the public reference")]
pub struct Ticket {
    #[serde(rename = "ticketID")]
    pub ticket_id: u64,
    pub subject: Option<String>,
    pub status: Option<String>,
    #[serde(rename = "channelID")]
    pub channel_id: Option<u64>,
    pub channel_type: Option<String>,
    /// The identifier that wrote: what links a ticket to end users, by key and at read time.
    pub uid: String,
    #[serde(rename = "endUserID")]
    pub end_user_id: Option<u64>,
    #[serde(rename = "customerRepID")]
    pub customer_rep_id: Option<u64>,
    pub is_closed: Option<bool>,
    pub is_spam: Option<bool>,
    pub date_created: Timestamp,
    pub last_message_date: Timestamp,
    /// An object, kept as the JSON text in which it came.
    pub custom_fields_data: Option<String>,
}

/// A message of a ticket, as far as tickets are computed from it.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs, reason = "the names are those of the public reference")]
pub struct Message {
    #[serde(rename = "ticketMessageID")]
    pub ticket_message_id: u64,
    #[serde(rename = "ticketID")]
    pub ticket_id: u64,
    pub date: Timestamp,
    /// `EndUser`, `Representative`, `AI` or another word, which counts as none of them.
    pub sender: Option<String>,
    pub topics: Vec<String>,
    pub is_escalated: bool,
    pub feedback_comment: Option<String>,
}

/// What is computed from the messages of a ticket.
#[derive(Clone, Default, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Computed {
    /// Distinct, in first-seen order over the messages by date and id; the first 16 KiB of them, as JSON escaped once more.
    pub topics: Vec<String>,
    /// The message's id when the ticket has exactly one end-user message.
    #[serde(rename = "lastEndUserMessageID")]
    pub last_end_user_message_id: Option<u64>,
    /// Whether there are comments to fetch when the ticket is answered.
    pub has_comments: bool,
}

impl Computed {
    /// Computes it from all messages of a ticket, in any order.
    pub fn of(messages: &[Message]) -> Self {
        let mut topics: Vec<String> = Vec::new();
        let (mut seen, mut bytes) = (BTreeSet::new(), 0);
        for topic in in_order(messages).into_iter().flat_map(|m| &m.topics) {
            if seen.insert(topic) {
                // With the comma behind it.
                bytes += escaped_bytes(topic) + 1;
                if bytes > MAX_TICKET_TOPICS_BYTES {
                    break;
                }
                topics.push(topic.clone());
            }
        }
        let mut from_end_user = messages.iter().filter(|m| m.sender.as_deref() == Some("EndUser"));
        let last_end_user_message_id = match (from_end_user.next(), from_end_user.next()) {
            (Some(message), None) => Some(message.ticket_message_id),
            _ => None,
        };
        Self { topics, last_end_user_message_id, has_comments: !comments(messages).is_empty() }
    }
}

fn in_order(messages: &[Message]) -> Vec<&Message> {
    let mut sorted: Vec<_> = messages.iter().collect();
    sorted.sort_by_key(|m| (m.date, m.ticket_message_id));
    sorted
}

/// The feedback comments of escalated messages, newest first.
pub fn comments(messages: &[Message]) -> Vec<String> {
    let escalated = in_order(messages).into_iter().rev().filter(|m| m.is_escalated);
    escalated.filter_map(|m| m.feedback_comment.clone()).collect()
}

/// One event about a ticket or a message (contract §8).
#[derive(Clone, PartialEq, Debug)]
pub struct Event {
    /// Whose ticket it is.
    pub tenant: Tenant,
    /// When it happened: per record, an older event never overwrites a newer.
    pub occurred_at: Timestamp,
    /// What happened.
    pub change: Change,
}

/// What an [`Event`] tells.
#[derive(Clone, PartialEq, Debug)]
pub enum Change {
    /// The whole of a ticket.
    TicketUpserted(Ticket),
    /// A ticket is gone.
    TicketDeleted {
        /// Its id.
        ticket: u64,
    },
    /// The whole of a message.
    MessageUpserted(Message),
    /// A message is gone.
    MessageDeleted {
        /// The ticket it was of.
        ticket: u64,
        /// Its id.
        message: u64,
    },
}

impl Change {
    /// The ticket that it is about.
    pub fn ticket(&self) -> u64 {
        match self {
            Self::TicketUpserted(ticket) => ticket.ticket_id,
            Self::MessageUpserted(message) => message.ticket_id,
            Self::TicketDeleted { ticket } | Self::MessageDeleted { ticket, .. } => *ticket,
        }
    }
}

impl Event {
    /// Reads one event; the faults name members, never values.
    pub fn parse(bytes: &[u8]) -> Result<Self, ValidationErrors> {
        let json = Json::parse(bytes).map_err(|error| ValidationErrors::single("body", error))?;
        let mut errors = ValidationErrors::default();
        let Some(fields) = Fields::of_body(&json, &mut errors) else { return Err(errors) };
        let tenant = fields.get("customerID").and_then(Tenant::read);
        if tenant.is_none() {
            errors.add("customerID", "must be a tenant: an integer or a short name");
        }
        let occurred_at = required_moment(&fields, "occurredAt", &mut errors);
        let change = read_change(&fields, &mut errors);
        match (tenant, occurred_at, change) {
            (Some(tenant), Some(occurred_at), Some(change)) => errors.into_result(Self { tenant, occurred_at, change }),
            _ => Err(errors),
        }
    }
}

/// The part of a path in an event that consists of members of the contract; `other` where there is none.
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
    match fields.raw_string("type", errors).flatten() {
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
    let date_created = required_moment(fields, "dateCreated", errors);
    let last_message_date = required_moment(fields, "lastMessageDate", errors);
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
    let date = required_moment(fields, "date", errors);
    let topics = fields.array("topics", errors).unwrap_or_default();
    let good = |topic: &&str| topic.chars().count() <= MAX_TOPIC_LENGTH;
    if topics.len() > MAX_TOPICS || !topics.iter().all(|topic| topic.as_str().is_some_and(|t| good(&t))) {
        let message = format!("must be at most {MAX_TOPICS} strings of at most {MAX_TOPIC_LENGTH} characters");
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

/// A string of at most `max` characters, kept as it came; a blank one counts as absent.
fn string(fields: &Fields, name: &str, max: usize, errors: &mut ValidationErrors) -> Option<String> {
    let text = fields.raw_string(name, errors).flatten().filter(|text| !text.trim().is_empty())?;
    if text.chars().count() > max {
        errors.add(fields.path(name), format!("must be at most {max} characters"));
    }
    Some(text.to_owned())
}

fn required_id(fields: &Fields, name: &str, errors: &mut ValidationErrors) -> Option<u64> {
    let id = fields.positive(name, MAX_SAFE_INTEGER, errors);
    if id.is_none() {
        errors.add(fields.path(name), "is required: a positive integer");
    }
    id
}

fn required_moment(fields: &Fields, name: &str, errors: &mut ValidationErrors) -> Option<Timestamp> {
    let moment = fields.raw_string(name, errors).flatten().and_then(Timestamp::parse);
    if moment.is_none() {
        errors.add(fields.path(name), "is required: a time of RFC 3339");
    }
    moment
}

/// A ticket with what was computed from its messages.
#[derive(Clone, PartialEq, Debug)]
pub struct TicketView {
    /// The facts.
    pub ticket: Ticket,
    /// What the messages say.
    pub computed: Computed,
}

/// Which tickets of an end user are asked for: all that is given must hold.
#[derive(Clone, Default, Debug)]
pub struct TicketFilter {
    /// Compared caselessly.
    pub status: Option<String>,
    /// Compared caselessly.
    pub channel_type: Option<String>,
    /// The representative.
    pub customer_rep_id: Option<u64>,
    /// Any of these channels; empty: all.
    pub channel_ids: BTreeSet<u64>,
    /// Any of these keys of the ticket's uid.
    pub uid: Option<BTreeSet<MatchKey>>,
    /// A ticket that does not say counts as open.
    pub is_closed: Option<bool>,
    /// A ticket that does not say counts as no spam.
    pub is_spam: Option<bool>,
    /// Words over subject, uid and topics.
    pub search: Option<Search>,
}

impl TicketFilter {
    /// The filter on this end user's tickets: of the keys asked for only those count that are the end user's.
    pub fn of(mut self, end_user: &EndUser) -> Self {
        if let Some(asked) = &mut self.uid {
            let held = end_user.keys();
            asked.retain(|key| held.contains(key));
        }
        self
    }

    /// Whether the ticket is asked for.
    pub fn is_met_by(&self, view: &TicketView) -> bool {
        let ticket = &view.ticket;
        let same = |asked: &Option<String>, text: &Option<String>| {
            asked.as_ref().is_none_or(|asked| text.as_ref().is_some_and(|t| text::caseless(t) == text::caseless(asked)))
        };
        let flag = |asked: Option<bool>, value: Option<bool>| asked.is_none_or(|asked| value.unwrap_or(false) == asked);
        same(&self.status, &ticket.status)
            && same(&self.channel_type, &ticket.channel_type)
            && (self.customer_rep_id.is_none() || self.customer_rep_id == ticket.customer_rep_id)
            && (self.channel_ids.is_empty() || ticket.channel_id.is_some_and(|id| self.channel_ids.contains(&id)))
            && self.uid.as_ref().is_none_or(|keys| !keys.is_disjoint(&uid::ticket_keys(&ticket.uid)))
            && flag(self.is_closed, ticket.is_closed)
            && flag(self.is_spam, ticket.is_spam)
            && self
                .search
                .as_ref()
                .is_none_or(|search| search.matches(&search::ticket_terms(ticket, &view.computed.topics)))
    }
}

/// By what a ticket history is sorted: any scalar field of the answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs, reason = "the names are the documentation")]
pub enum TicketSort {
    TicketId,
    Subject,
    Status,
    ChannelId,
    ChannelType,
    Uid,
    EndUserId,
    CustomerRepId,
    IsClosed,
    IsSpam,
    DateCreated,
    LastMessageDate,
    LastEndUserMessageId,
}

/// A value to sort by; absent ones come first.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum SortValue {
    Number(Option<u64>),
    Text(Option<String>),
    Flag(Option<bool>),
    Time(Timestamp),
}

impl TicketSort {
    /// Every order, with its name in `sortBy`.
    pub const ALL: [(&'static str, Self); 13] = [
        ("ticketID", Self::TicketId),
        ("subject", Self::Subject),
        ("status", Self::Status),
        ("channelID", Self::ChannelId),
        ("channelType", Self::ChannelType),
        ("uid", Self::Uid),
        ("endUserID", Self::EndUserId),
        ("customerRepID", Self::CustomerRepId),
        ("isClosed", Self::IsClosed),
        ("isSpam", Self::IsSpam),
        ("dateCreated", Self::DateCreated),
        ("lastMessageDate", Self::LastMessageDate),
        ("lastEndUserMessageID", Self::LastEndUserMessageId),
    ];

    fn value(self, view: &TicketView) -> SortValue {
        let ticket = &view.ticket;
        let text = |text: Option<&String>| SortValue::Text(text.map(|t| text::sort_key(t)));
        match self {
            Self::TicketId => SortValue::Number(Some(ticket.ticket_id)),
            Self::Subject => text(ticket.subject.as_ref()),
            Self::Status => text(ticket.status.as_ref()),
            Self::ChannelId => SortValue::Number(ticket.channel_id),
            Self::ChannelType => text(ticket.channel_type.as_ref()),
            Self::Uid => text(Some(&ticket.uid)),
            Self::EndUserId => SortValue::Number(ticket.end_user_id),
            Self::CustomerRepId => SortValue::Number(ticket.customer_rep_id),
            Self::IsClosed => SortValue::Flag(ticket.is_closed),
            Self::IsSpam => SortValue::Flag(ticket.is_spam),
            Self::DateCreated => SortValue::Time(ticket.date_created),
            Self::LastMessageDate => SortValue::Time(ticket.last_message_date),
            Self::LastEndUserMessageId => SortValue::Number(view.computed.last_end_user_message_id),
        }
    }

    /// Sorts; ties by ticketID, `descending` being the exact reverse of ascending.
    pub fn sort(self, tickets: &mut [TicketView], descending: bool) {
        tickets.sort_by_cached_key(|view| (self.value(view), view.ticket.ticket_id));
        if descending {
            tickets.reverse();
        }
    }
}

/// A ticket as it is answered.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = TicketReadDTO))]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs, reason = "the names are those of the public reference")]
pub struct TicketReadDto {
    #[serde(rename = "ticketID")]
    pub ticket_id: u64,
    pub subject: Option<String>,
    pub status: Option<String>,
    #[serde(rename = "channelID")]
    pub channel_id: Option<u64>,
    pub channel_type: Option<String>,
    pub uid: String,
    #[serde(rename = "endUserID")]
    pub end_user_id: Option<u64>,
    #[serde(rename = "customerRepID")]
    pub customer_rep_id: Option<u64>,
    pub is_closed: Option<bool>,
    pub is_spam: Option<bool>,
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = DateTime))]
    pub date_created: Timestamp,
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = DateTime))]
    pub last_message_date: Timestamp,
    #[cfg_attr(feature = "openapi", schema(value_type = Option<Object>))]
    pub custom_fields_data: Option<Json>,
    /// Distinct, in first-seen order. The first 16 KiB of them, as JSON escaped once more.
    pub topics: Vec<String>,
    /// Of escalated messages, newest first; as many as fit a ticket of 62,800 bytes as JSON escaped once more.
    pub ai_feedback_comments: Vec<String>,
    #[serde(rename = "lastEndUserMessageID")]
    pub last_end_user_message_id: Option<u64>,
}

impl TicketReadDto {
    /// The response for a ticket with its comments, newest first: as many as [`MAX_TICKET_BYTES`] admits.
    pub fn new(view: TicketView, comments: Vec<String>) -> Self {
        let mut dto = Self::without_comments(view);
        let mut bytes = escaped_bytes(&dto);
        for comment in comments {
            // With the comma behind it.
            bytes += escaped_bytes(&comment) + 1;
            if bytes > MAX_TICKET_BYTES {
                break;
            }
            dto.ai_feedback_comments.push(comment);
        }
        dto
    }

    fn without_comments(view: TicketView) -> Self {
        let TicketView { ticket, computed } = view;
        Self {
            ticket_id: ticket.ticket_id,
            subject: ticket.subject,
            status: ticket.status,
            channel_id: ticket.channel_id,
            channel_type: ticket.channel_type,
            uid: ticket.uid,
            end_user_id: ticket.end_user_id,
            customer_rep_id: ticket.customer_rep_id,
            is_closed: ticket.is_closed,
            is_spam: ticket.is_spam,
            date_created: ticket.date_created,
            last_message_date: ticket.last_message_date,
            custom_fields_data: ticket.custom_fields_data.and_then(|text| Json::parse(text.as_bytes()).ok()),
            topics: computed.topics,
            ai_feedback_comments: Vec::new(),
            last_end_user_message_id: computed.last_end_user_message_id,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_members_of_the_contract_are_named() {
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
