//! Tickets and messages: ticket events are ingested, and the tickets of an end user are read.

use std::collections::{BTreeMap, BTreeSet};

use aws_sdk_dynamodb::operation::update_item::builders::UpdateItemFluentBuilder;
use aws_sdk_dynamodb::types::AttributeValue;
use futures::future::try_join_all;
use serde::de::DeserializeOwned;
use serde_dynamo::aws_sdk_dynamodb_1::{from_attribute_value, to_attribute_value};

use super::Scope;
use super::error::{StoreError, unreadable};
use super::items::{Item, TOMBSTONE_TTL, expires_at, primary_key, read_key};
use super::keys::{self, Key};
use super::query::{Bound, Query};
use super::table::{number, string, try_concurrently};
use crate::domain::end_user::EndUser;
use crate::domain::ticket::{self, Change, Computed, Event, Message, TicketView};
use crate::domain::time::Timestamp;
use crate::domain::uid::{self, MatchKey};

impl Scope<'_> {
    /// Ingests an event: writes its record if it is newer than the stored one, then computes the ticket again. The
    /// ticket is also computed if nothing was written, because the delivery that wrote the record may have ended before
    /// that.
    pub async fn take_ticket_event(&self, event: &Event) -> Result<(), StoreError> {
        self.write_record(event).await?;
        self.compute_ticket(event.change.ticket()).await
    }

    async fn write_record(&self, event: &Event) -> Result<(), StoreError> {
        let request = match &event.change {
            Change::TicketUpserted(ticket) => {
                let facts = to_attribute_value(ticket).map_err(unreadable)?;
                let index_key = keys::ticket_index(&self.tenant, &uid::ticket_index_key(&ticket.uid));
                self.upsert(&keys::ticket(&self.tenant, ticket.ticket_id), "Ticket", facts, event.occurred_at)
                    .update_expression(
                        "SET #kind = :kind, v = :one, occurredAt = :at, facts = :facts, uidPk = :uidPk, \
                         uidSk = :uidSk REMOVE deleted, expiresAt ADD version :one",
                    )
                    .expression_attribute_values(":uidPk", string(index_key))
                    .expression_attribute_values(":uidSk", string(ticket.ticket_id.to_string()))
            }
            Change::MessageUpserted(message) => {
                let key = keys::message(&self.tenant, message.ticket_id, message.ticket_message_id);
                let facts = to_attribute_value(message).map_err(unreadable)?;
                self.upsert(&key, "Message", facts, event.occurred_at).update_expression(
                    "SET #kind = :kind, v = :one, occurredAt = :at, facts = :facts REMOVE deleted, expiresAt",
                )
            }
            Change::TicketDeleted { ticket } => {
                self.tombstone(&keys::ticket(&self.tenant, *ticket), "Ticket", event.occurred_at)
            }
            Change::MessageDeleted { ticket, message } => {
                self.tombstone(&keys::message(&self.tenant, *ticket, *message), "Message", event.occurred_at)
            }
        };
        self.table.send_update(request).await.map(drop)
    }

    /// An upsert, on condition that it is newer than the stored record. At a tie the stored record stays.
    fn upsert(&self, key: &Key, kind: &str, facts: AttributeValue, at: Timestamp) -> UpdateItemFluentBuilder {
        self.record_update(key, kind, at)
            .condition_expression("attribute_not_exists(occurredAt) OR occurredAt < :at")
            .expression_attribute_values(":facts", facts)
    }

    /// A delete, on condition that it is not older than the stored record. At a tie with an upsert the delete wins.
    fn tombstone(&self, key: &Key, kind: &str, at: Timestamp) -> UpdateItemFluentBuilder {
        self.record_update(key, kind, at)
            .update_expression(
                "SET #kind = :kind, v = :one, occurredAt = :at, deleted = :true, expiresAt = :expiresAt \
                 REMOVE facts, computed, uidPk, uidSk ADD version :one",
            )
            .condition_expression("attribute_not_exists(occurredAt) OR occurredAt <= :at")
            .expression_attribute_values(":true", AttributeValue::Bool(true))
            .expression_attribute_values(":expiresAt", number(expires_at(TOMBSTONE_TTL)))
    }

    fn record_update(&self, key: &Key, kind: &str, at: Timestamp) -> UpdateItemFluentBuilder {
        self.table
            .update(primary_key(key))
            .expression_attribute_names("#kind", "kind")
            .expression_attribute_values(":kind", string(kind))
            .expression_attribute_values(":one", number(1))
            .expression_attribute_values(":at", number(at.nanoseconds()))
    }

    /// Computes a ticket from its messages. The messages of a deleted ticket get an expiry instead.
    ///
    /// The version is read before the messages, and incremented even if the computed fields stay the same. A concurrent
    /// delivery that read older messages then finds another version and computes again.
    async fn compute_ticket(&self, ticket: u64) -> Result<(), StoreError> {
        let key = keys::ticket(&self.tenant, ticket);
        let mut backoff = self.table.backoff("ticket conflict");
        loop {
            let Some(item) = self.table.get(key.clone()).await? else { return Ok(()) };
            let version = item.get("version").cloned().ok_or_else(|| unreadable("a ticket without a version"))?;
            let messages = self.message_items(ticket).await?;
            let deleted = !item.contains_key("facts");
            self.set_expiry(&messages, deleted).await?;
            if deleted {
                // A concurrent upsert of the ticket may have read the messages before they got their expiry. It
                // changed the version, and then the messages must lose their expiry again.
                let current = self.table.get(key.clone()).await?;
                if current.is_some_and(|item| item.get("version") == Some(&version)) {
                    return Ok(());
                }
                continue;
            }
            let computed = Computed::of(&facts(&messages)?);
            let request = self
                .table
                .update(primary_key(&key))
                .update_expression("SET computed = :computed ADD version :one")
                .condition_expression("version = :version")
                .expression_attribute_values(":computed", to_attribute_value(&computed).map_err(unreadable)?)
                .expression_attribute_values(":one", number(1))
                .expression_attribute_values(":version", version);
            if self.table.send_update(request).await? {
                return Ok(());
            }
            backoff.wait().await?;
        }
    }

    /// Sets the expiry of the messages of a deleted ticket, and removes it from those of a ticket that was created
    /// again.
    async fn set_expiry(&self, messages: &[Item], deleted: bool) -> Result<(), StoreError> {
        let outdated = messages
            .iter()
            .filter(|message| message.contains_key("facts") && message.contains_key("expiresAt") != deleted);
        let updates = outdated.map(async |message| {
            let key = primary_key(&read_key(message)?);
            let request = self.table.update(key).condition_expression("attribute_exists(facts)");
            let request = match deleted {
                true => request
                    .update_expression("SET expiresAt = :expiresAt")
                    .expression_attribute_values(":expiresAt", number(expires_at(TOMBSTONE_TTL))),
                false => request.update_expression("REMOVE expiresAt"),
            };
            self.table.send_update(request).await
        });
        try_concurrently(updates).await.map(drop)
    }

    /// The items of a ticket's messages, with tombstones, read strongly.
    async fn message_items(&self, ticket: u64) -> Result<Vec<Item>, StoreError> {
        let bound = Bound::Prefix(keys::MESSAGE.to_owned());
        let query = Query { bound, ..Query::table(keys::ticket_partition(&self.tenant, ticket)).strong() };
        self.table.query(query).await
    }

    /// Returns the tickets whose uid matches a UID or the customerRef of the end user, each once, by ascending id.
    pub async fn tickets_of(&self, end_user: &EndUser) -> Result<Vec<TicketView>, StoreError> {
        let match_keys = end_user.keys();
        let index_keys: BTreeSet<MatchKey> = match_keys.iter().flat_map(uid::ticket_index_keys_of).collect();
        let partitions = index_keys.iter().map(|key| keys::ticket_index(&self.tenant, key));
        let found = try_join_all(partitions.map(|partition| self.table.query(Query::by_uid(partition)))).await?;
        let mut tickets = BTreeMap::new();
        for item in found.iter().flatten() {
            let Some(ticket) = read::<ticket::Ticket>(item, "facts")? else { continue };
            if !match_keys.is_disjoint(&uid::ticket_keys(&ticket.uid)) {
                let computed = read(item, "computed")?.unwrap_or_default();
                tickets.insert(ticket.ticket_id, TicketView { ticket, computed });
            }
        }
        Ok(tickets.into_values().collect())
    }

    /// Returns the feedback comments of each ticket, in the order of `tickets`. Reads only the messages of tickets that
    /// have comments.
    pub async fn ticket_comments(&self, tickets: &[TicketView]) -> Result<Vec<Vec<String>>, StoreError> {
        try_join_all(tickets.iter().map(async |view| {
            if !view.computed.has_comments {
                return Ok(Vec::new());
            }
            let messages = facts(&self.message_items(view.ticket.ticket_id).await?)?;
            Ok(ticket::comments(&messages))
        }))
        .await
    }
}

/// The messages of items, without tombstones.
fn facts(items: &[Item]) -> Result<Vec<Message>, StoreError> {
    items.iter().filter_map(|item| read(item, "facts").transpose()).collect()
}

fn read<T: DeserializeOwned>(item: &Item, name: &str) -> Result<Option<T>, StoreError> {
    item.get(name).cloned().map(from_attribute_value).transpose().map_err(unreadable)
}
