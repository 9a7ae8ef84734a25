//! Tickets and their messages, which belong to another service: events, computed fields, filters, orders and responses.

mod dto;
mod event;
mod filter;
mod sort;

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::end_user::escaped_bytes;
use super::search::{Term, spellings, value_words};
use super::text;
use super::time::Timestamp;

pub use dto::{MAX_TICKET_BYTES, TicketReadDto};
pub use event::{Change, Event, known_member};
pub use filter::TicketFilter;
pub use sort::TicketSort;

/// Maximum size of a ticket's distinct topics, in bytes of JSON that is escaped once more inside a JSON string. They
/// are stored with the ticket and in an index.
const MAX_TICKET_TOPICS_BYTES: usize = 16 * 1024;

/// A ticket, as its service describes it. Ids are integers from 1 to 2⁵³-1.
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
    /// The identifier that wrote. It links the ticket to end users by match key when tickets are read.
    pub uid: String,
    #[serde(rename = "endUserID")]
    pub end_user_id: Option<u64>,
    #[serde(rename = "customerRepID")]
    pub customer_rep_id: Option<u64>,
    pub is_closed: Option<bool>,
    pub is_spam: Option<bool>,
    pub date_created: Timestamp,
    pub last_message_date: Timestamp,
    /// A JSON object, as the text of the event.
    pub custom_fields_data: Option<String>,
}

/// A message of a ticket: the members that a ticket's computed fields depend on.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs, reason = "the names are those of the public reference")]
pub struct Message {
    #[serde(rename = "ticketMessageID")]
    pub ticket_message_id: u64,
    #[serde(rename = "ticketID")]
    pub ticket_id: u64,
    pub date: Timestamp,
    /// `EndUser`, `Representative` or `AI`; any other value counts as none of them.
    pub sender: Option<String>,
    pub topics: Vec<String>,
    pub is_escalated: bool,
    pub feedback_comment: Option<String>,
}
impl Ticket {
    /// The terms that find the ticket: words of the subject, the uid and `topics`, and the whole uid.
    pub fn terms<'a>(&'a self, topics: impl IntoIterator<Item = &'a String>) -> BTreeSet<Term> {
        let texts = self.subject.iter().chain(topics);
        let words = texts.flat_map(|value| text::words(value).map(Term::Word));
        let uid_terms = spellings(&self.uid).into_iter().flat_map(|spelling| {
            let whole = Term::whole(&spelling);
            value_words(&spelling, true).map(Term::Word).chain(whole).collect::<Vec<_>>()
        });
        words.chain(uid_terms).collect()
    }
}

/// The fields of a ticket that are computed from its messages.
#[derive(Clone, Default, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Computed {
    /// Distinct topics of the messages by date and id, in order of first appearance: the first 16 KiB of them, as JSON
    /// that is escaped once more.
    pub topics: Vec<String>,
    /// The id of the end user's message if the ticket has exactly one.
    #[serde(rename = "lastEndUserMessageID")]
    pub last_end_user_message_id: Option<u64>,
    /// Whether any message has a comment to return with the ticket.
    pub has_comments: bool,
}

impl Computed {
    /// Computes the fields from all messages of a ticket, in any order.
    pub fn of(messages: &[Message]) -> Self {
        let mut topics: Vec<String> = Vec::new();
        let (mut seen, mut bytes) = (BTreeSet::new(), 0);
        for topic in in_order(messages).into_iter().flat_map(|m| &m.topics) {
            if seen.insert(topic) {
                // One byte for the comma.
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

/// The messages by date and id.
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
/// A ticket with its computed fields.
#[derive(Clone, PartialEq, Debug)]
pub struct TicketView {
    /// The ticket.
    pub ticket: Ticket,
    /// The fields that are computed from its messages.
    pub computed: Computed,
}
