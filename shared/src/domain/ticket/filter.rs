//! The filters of a ticket history (docs/api.md, Tickets).

use std::collections::BTreeSet;

use super::TicketView;
use crate::domain::end_user::EndUser;
use crate::domain::search::Search;
use crate::domain::text;
use crate::domain::uid::{self, MatchKey};

/// A filter of an end user's tickets: a ticket must meet every criterion that is given.
#[derive(Clone, Default, Debug)]
pub struct TicketFilter {
    /// The status, compared caselessly.
    pub status: Option<String>,
    /// The channel type, compared caselessly.
    pub channel_type: Option<String>,
    /// The id of the representative.
    pub customer_rep_id: Option<u64>,
    /// Channels, one of which must match; empty for all.
    pub channel_ids: BTreeSet<u64>,
    /// Match keys, one of which the ticket's uid must have.
    pub uid: Option<BTreeSet<MatchKey>>,
    /// Whether the ticket is closed; `null` counts as open.
    pub is_closed: Option<bool>,
    /// Whether the ticket is spam; `null` counts as not spam.
    pub is_spam: Option<bool>,
    /// A search over subject, uid and topics.
    pub search: Option<Search>,
}

impl TicketFilter {
    /// The filter for the tickets of `end_user`: keeps only those of the uid's match keys that the end user holds.
    pub fn of(mut self, end_user: &EndUser) -> Self {
        if let Some(asked) = &mut self.uid {
            let held = end_user.keys();
            asked.retain(|key| held.contains(key));
        }
        self
    }

    /// Returns whether the ticket meets every criterion.
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
            && self.search.as_ref().is_none_or(|search| search.matches(&ticket.terms(&view.computed.topics)))
    }
}
