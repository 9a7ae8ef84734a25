//! The orders of a ticket history.

use super::TicketView;
use crate::domain::text;
use crate::domain::time::Timestamp;

/// A field that a ticket history can be sorted by: any scalar field of the response.
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

/// The value of a sort field; absent values come first.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum SortValue {
    Number(Option<u64>),
    Text(Option<String>),
    Flag(Option<bool>),
    Time(Timestamp),
}

impl TicketSort {
    /// Every order with its name in `sortBy`.
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

    /// Sorts the tickets, with ties by ticketID. `descending` is the exact reverse of ascending.
    pub fn sort(self, tickets: &mut [TicketView], descending: bool) {
        tickets.sort_by_cached_key(|view| (self.value(view), view.ticket.ticket_id));
        if descending {
            tickets.reverse();
        }
    }
}
