//! Tickets and their messages, which belong to other services: the events that bring them, what is
//! computed from them, and how a person's tickets are filtered, sorted and answered.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::end_user::{EndUser, escaped_bytes};
use super::ids::{MAX_SAFE_INTEGER, Tenant};
use super::input::{Faults, Fields, Json};
use super::search::{self, Search};
use super::text;
use super::time::Moment;
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
    /// The identifier that wrote: what links a ticket to people, by key and at read time.
    pub uid: String,
    #[serde(rename = "endUserID")]
    pub end_user_id: Option<u64>,
    #[serde(rename = "customerRepID")]
    pub customer_rep_id: Option<u64>,
    pub is_closed: Option<bool>,
    pub is_spam: Option<bool>,
    pub date_created: Moment,
    pub last_message_date: Moment,
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
    pub date: Moment,
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
    pub occurred_at: Moment,
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
    pub fn parse(bytes: &[u8]) -> Result<Self, Faults> {
        let json = Json::parse(bytes).map_err(|fault| Faults::one("body", fault))?;
        let mut faults = Faults::default();
        let Some(fields) = Fields::of_body(&json, &mut faults) else { return Err(faults) };
        let tenant = fields.get("customerID").and_then(Tenant::read);
        if tenant.is_none() {
            faults.add("customerID", "must be a tenant: an integer or a short name");
        }
        let occurred_at = required_moment(&fields, "occurredAt", &mut faults);
        let change = read_change(&fields, &mut faults);
        match (tenant, occurred_at, change) {
            (Some(tenant), Some(occurred_at), Some(change)) => faults.or(Self { tenant, occurred_at, change }),
            _ => Err(faults),
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

fn read_change(fields: &Fields, faults: &mut Faults) -> Option<Change> {
    match fields.raw_string("type", faults).flatten() {
        Some("ticket.upserted") => read_ticket(&record(fields, "ticket", faults)?, faults).map(Change::TicketUpserted),
        Some("ticket.deleted") => {
            required_id(fields, "ticketID", faults).map(|ticket| Change::TicketDeleted { ticket })
        }
        Some("message.upserted") => {
            read_message(&record(fields, "message", faults)?, faults).map(Change::MessageUpserted)
        }
        Some("message.deleted") => {
            let ticket = required_id(fields, "ticketID", faults);
            let message = required_id(fields, "ticketMessageID", faults);
            Some(Change::MessageDeleted { ticket: ticket?, message: message? })
        }
        _ => {
            faults.add("type", "must be ticket.upserted, ticket.deleted, message.upserted or message.deleted");
            None
        }
    }
}

fn record<'a>(fields: &Fields<'a>, name: &str, faults: &mut Faults) -> Option<Fields<'a>> {
    match fields.get(name) {
        Some(json) => Fields::of(json, name, faults),
        None => {
            faults.add(name, "is required");
            None
        }
    }
}

fn read_ticket(fields: &Fields, faults: &mut Faults) -> Option<Ticket> {
    let ticket_id = required_id(fields, "ticketID", faults);
    let uid = string(fields, "uid", MAX_NAME_LENGTH, faults).map(|uid| uid.trim().to_owned());
    if uid.is_none() {
        faults.add(fields.path("uid"), "is required");
    }
    let date_created = required_moment(fields, "dateCreated", faults);
    let last_message_date = required_moment(fields, "lastMessageDate", faults);
    Some(Ticket {
        subject: string(fields, "subject", MAX_SUBJECT_LENGTH, faults),
        status: string(fields, "status", MAX_NAME_LENGTH, faults),
        channel_id: fields.positive("channelID", MAX_SAFE_INTEGER, faults),
        channel_type: string(fields, "channelType", MAX_NAME_LENGTH, faults),
        end_user_id: fields.positive("endUserID", MAX_SAFE_INTEGER, faults),
        customer_rep_id: fields.positive("customerRepID", MAX_SAFE_INTEGER, faults),
        is_closed: fields.boolean("isClosed", faults),
        is_spam: fields.boolean("isSpam", faults),
        custom_fields_data: read_custom_fields(fields, faults),
        ticket_id: ticket_id?,
        uid: uid?,
        date_created: date_created?,
        last_message_date: last_message_date?,
    })
}

fn read_custom_fields(fields: &Fields, faults: &mut Faults) -> Option<String> {
    match fields.get("customFieldsData") {
        None | Some(Json::Null) => None,
        Some(json @ Json::Object(_)) => {
            let text = serde_json::to_string(json).ok()?;
            if text.len() > MAX_CUSTOM_FIELDS_BYTES {
                faults.add(fields.path("customFieldsData"), format!("must be at most {MAX_CUSTOM_FIELDS_BYTES} bytes"));
            }
            Some(text)
        }
        Some(_) => {
            faults.add(fields.path("customFieldsData"), "must be an object");
            None
        }
    }
}

fn read_message(fields: &Fields, faults: &mut Faults) -> Option<Message> {
    let ticket_message_id = required_id(fields, "ticketMessageID", faults);
    let ticket_id = required_id(fields, "ticketID", faults);
    let date = required_moment(fields, "date", faults);
    let topics = fields.array("topics", faults).unwrap_or_default();
    let good = |topic: &&str| topic.chars().count() <= MAX_TOPIC_LENGTH;
    if topics.len() > MAX_TOPICS || !topics.iter().all(|topic| topic.as_str().is_some_and(|t| good(&t))) {
        let message = format!("must be at most {MAX_TOPICS} strings of at most {MAX_TOPIC_LENGTH} characters");
        faults.add(fields.path("topics"), message);
    }
    let feedback_comment = string(fields, "feedbackComment", usize::MAX, faults);
    if feedback_comment.as_ref().is_some_and(|comment| comment.len() > MAX_COMMENT_BYTES) {
        faults.add(fields.path("feedbackComment"), format!("must be at most {MAX_COMMENT_BYTES} bytes"));
    }
    Some(Message {
        sender: string(fields, "sender", MAX_NAME_LENGTH, faults),
        topics: topics.iter().filter_map(Json::as_str).map(str::to_owned).collect(),
        is_escalated: fields.boolean("isEscalated", faults).unwrap_or(false),
        feedback_comment,
        ticket_message_id: ticket_message_id?,
        ticket_id: ticket_id?,
        date: date?,
    })
}

/// A string of at most `max` characters, kept as it came; a blank one counts as absent.
fn string(fields: &Fields, name: &str, max: usize, faults: &mut Faults) -> Option<String> {
    let text = fields.raw_string(name, faults).flatten().filter(|text| !text.trim().is_empty())?;
    if text.chars().count() > max {
        faults.add(fields.path(name), format!("must be at most {max} characters"));
    }
    Some(text.to_owned())
}

fn required_id(fields: &Fields, name: &str, faults: &mut Faults) -> Option<u64> {
    let id = fields.positive(name, MAX_SAFE_INTEGER, faults);
    if id.is_none() {
        faults.add(fields.path(name), "is required: a positive integer");
    }
    id
}

fn required_moment(fields: &Fields, name: &str, faults: &mut Faults) -> Option<Moment> {
    let moment = fields.raw_string(name, faults).flatten().and_then(Moment::parse);
    if moment.is_none() {
        faults.add(fields.path(name), "is required: a time of RFC 3339");
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

/// Which tickets of a person are asked for: all that is given must hold.
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
    /// The filter on this person's tickets: of the keys asked for only those count that are the person's.
    pub fn of(mut self, person: &EndUser) -> Self {
        if let Some(asked) = &mut self.uid {
            let held = person.keys();
            asked.retain(|key| held.contains(key));
        }
        self
    }

    /// Whether the ticket is asked for.
    pub fn admits(&self, view: &TicketView) -> bool {
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
    Time(Moment),
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
    pub date_created: Moment,
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = DateTime))]
    pub last_message_date: Moment,
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
