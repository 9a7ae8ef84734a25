//! The response DTO of tickets. Names are those of the public reference.

use serde::Serialize;

use super::TicketView;
use crate::domain::end_user::escaped_bytes;
use crate::domain::input::Json;
use crate::domain::time::Timestamp;

/// Maximum size of a ticket in a response, in bytes of JSON that is escaped once more inside a JSON string. The oldest
/// comments beyond it are left out.
///
/// A Lambda response has at most 6 MB (6,291,456 bytes), with the body as a JSON string. A page has at most 100
/// tickets; 62,800 bytes each leave 11,456 bytes for headers and totals. Without comments a ticket has at most 60,000
/// bytes:
///
/// - customFieldsData 32,768: 16 KiB of JSON, in which escaping doubles every byte in the worst case;
/// - subject 3,500: 500 characters of at most seven bytes each (a control character: `\\u0001`);
/// - uid, status and channelType 2,240 each: 320 characters;
/// - topics 16,384;
/// - names, numbers, times and punctuation 600.
pub const MAX_TICKET_BYTES: usize = 62_800;

/// TicketReadDTO: a ticket in a response.
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
    /// Distinct topics of the messages in order of first appearance, up to 16 KiB of escaped JSON.
    pub topics: Vec<String>,
    /// Feedback comments of escalated messages, newest first: as many as fit a ticket of 62,800 bytes of escaped JSON.
    pub ai_feedback_comments: Vec<String>,
    #[serde(rename = "lastEndUserMessageID")]
    pub last_end_user_message_id: Option<u64>,
}

impl TicketReadDto {
    /// Builds the DTO of a ticket with its comments, newest first: as many as fit [`MAX_TICKET_BYTES`].
    pub fn new(view: TicketView, comments: Vec<String>) -> Self {
        let mut dto = Self::without_comments(view);
        let mut bytes = escaped_bytes(&dto);
        for comment in comments {
            // One byte for the comma.
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
