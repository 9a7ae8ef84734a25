//! Tickets and messages: events in, an end user's history out.

use std::collections::{BTreeMap, BTreeSet};

use aws_sdk_dynamodb::operation::update_item::builders::UpdateItemFluentBuilder;
use aws_sdk_dynamodb::types::{AttributeValue, ReturnConsumedCapacity};
use serde::de::DeserializeOwned;
use serde_dynamo::aws_sdk_dynamodb_1::{from_attribute_value, to_attribute_value};

use super::keys::{self, Key};
use super::{
    Bound, Item, Kind, Query, Scope, StoreError, TOMBSTONE_TTL, expires_at, primary, try_concurrently, unreadable,
};
use crate::domain::end_user::EndUser;
use crate::domain::ticket::{self, Change, Computed, Event, Message, TicketView};
use crate::domain::time::Timestamp;
use crate::domain::uid::{self, MatchKey};

/// How many tickets or messages are asked for at once.
const MAX_ROWS: usize = usize::MAX;

impl Scope<'_> {
    /// Takes in an event: writes its record where it is newer than what is there, then computes the
    /// ticket anew, also where it was not (the delivery that wrote it may have ended there).
    pub async fn take_ticket_event(&self, event: &Event) -> Result<(), StoreError> {
        self.write_record(event).await?;
        self.compute_ticket(event.change.ticket()).await
    }

    async fn write_record(&self, event: &Event) -> Result<(), StoreError> {
        let request = match &event.change {
            Change::TicketUpserted(ticket) => {
                let facts = to_attribute_value(ticket).map_err(unreadable)?;
                let held = uid::ticket_index_key(&ticket.uid);
                self.upsert(keys::ticket(&self.tenant, ticket.ticket_id), "Ticket", facts, event.occurred_at)
                    .update_expression(
                        "SET #kind = :kind, v = :one, occurredAt = :at, facts = :facts, uidPk = :uidPk, \
                         uidSk = :uidSk REMOVE deleted, expiresAt ADD version :one",
                    )
                    .expression_attribute_values(":uidPk", AttributeValue::S(keys::ticket_index(&self.tenant, &held)))
                    .expression_attribute_values(":uidSk", AttributeValue::S(ticket.ticket_id.to_string()))
            }
            Change::MessageUpserted(message) => {
                let key = keys::message(&self.tenant, message.ticket_id, message.ticket_message_id);
                let facts = to_attribute_value(message).map_err(unreadable)?;
                self.upsert(key, "Message", facts, event.occurred_at).update_expression(
                    "SET #kind = :kind, v = :one, occurredAt = :at, facts = :facts REMOVE deleted, expiresAt",
                )
            }
            Change::TicketDeleted { ticket } => {
                self.tombstone(keys::ticket(&self.tenant, *ticket), "Ticket", event.occurred_at)
            }
            Change::MessageDeleted { ticket, message } => {
                self.tombstone(keys::message(&self.tenant, *ticket, *message), "Message", event.occurred_at)
            }
        };
        self.update(request).await.map(drop)
    }

    /// A newer upsert wins; at a tie what was stored first stays.
    fn upsert(&self, key: Key, kind: &str, facts: AttributeValue, at: Timestamp) -> UpdateItemFluentBuilder {
        self.record(key, kind, at)
            .condition_expression("attribute_not_exists(occurredAt) OR occurredAt < :at")
            .expression_attribute_values(":facts", facts)
    }

    /// A newer delete wins, and one at a tie with an upsert.
    fn tombstone(&self, key: Key, kind: &str, at: Timestamp) -> UpdateItemFluentBuilder {
        self.record(key, kind, at)
            .update_expression(
                "SET #kind = :kind, v = :one, occurredAt = :at, deleted = :true, expiresAt = :expiresAt \
                 REMOVE facts, computed, uidPk, uidSk ADD version :one",
            )
            .condition_expression("attribute_not_exists(occurredAt) OR occurredAt <= :at")
            .expression_attribute_values(":true", AttributeValue::Bool(true))
            .expression_attribute_values(":expiresAt", AttributeValue::N(expires_at(TOMBSTONE_TTL).to_string()))
    }

    fn record(&self, key: Key, kind: &str, at: Timestamp) -> UpdateItemFluentBuilder {
        self.client()
            .update_item()
            .table_name(self.table())
            .set_key(Some(primary(&key)))
            .expression_attribute_names("#kind", "kind")
            .expression_attribute_values(":kind", AttributeValue::S(kind.to_owned()))
            .expression_attribute_values(":one", AttributeValue::N("1".to_owned()))
            .expression_attribute_values(":at", AttributeValue::N(at.nanoseconds().to_string()))
            .return_consumed_capacity(ReturnConsumedCapacity::Total)
    }

    /// Whether the update's condition held.
    async fn update(&self, request: UpdateItemFluentBuilder) -> Result<bool, StoreError> {
        match self.call(Kind::Write, || request.clone().send()).await {
            Ok(answer) => {
                self.meter.spend(Kind::Write, &answer.consumed_capacity);
                Ok(true)
            }
            Err(failure) if failure.is_condition_failed() => Ok(false),
            Err(failure) => Err(failure.into()),
        }
    }

    /// Computes a ticket from its messages; those of a deleted ticket expire with its tombstone. The version is read before the messages, and is moved also where the result
    /// is the stored one: a delivery that read older messages then finds another version and computes anew.
    async fn compute_ticket(&self, ticket: u64) -> Result<(), StoreError> {
        for tries in 1.. {
            let key = keys::ticket(&self.tenant, ticket);
            let Some(item) = self.get(key.clone()).await? else { return Ok(()) };
            let version = item.get("version").cloned().ok_or_else(|| unreadable("a ticket without a version"))?;
            let messages = self.message_items(ticket).await?;
            let deleted = !item.contains_key("facts");
            self.set_expiry(&messages, deleted).await?;
            if deleted {
                // An upsert that revived the ticket meanwhile may have read the messages before they got their expiry.
                if self.get(key).await?.as_ref().and_then(|item| item.get("version")) == Some(&version) {
                    return Ok(());
                }
                continue;
            }
            let computed = Computed::of(&facts(&messages)?);
            let request = self
                .client()
                .update_item()
                .table_name(self.table())
                .set_key(Some(primary(&keys::ticket(&self.tenant, ticket))))
                .update_expression("SET computed = :computed ADD version :one")
                .condition_expression("version = :version")
                .expression_attribute_values(":computed", to_attribute_value(&computed).map_err(unreadable)?)
                .expression_attribute_values(":one", AttributeValue::N("1".to_owned()))
                .expression_attribute_values(":version", version)
                .return_consumed_capacity(ReturnConsumedCapacity::Total);
            if self.update(request).await? {
                return Ok(());
            }
            self.back_off(tries, "ticket conflict").await?;
        }
        Ok(())
    }

    /// Gives the messages of a deleted ticket an expiry, and takes it off those of a ticket that was created anew.
    async fn set_expiry(&self, messages: &[Item], deleted: bool) -> Result<(), StoreError> {
        let wrong = messages
            .iter()
            .filter(|message| message.contains_key("facts") && message.contains_key("expiresAt") != deleted);
        let updates = wrong.map(async |message| {
            let mut request = self
                .client()
                .update_item()
                .table_name(self.table())
                .key("pk", message["pk"].clone())
                .key("sk", message["sk"].clone())
                .condition_expression("attribute_exists(facts)")
                .return_consumed_capacity(ReturnConsumedCapacity::Total);
            request = match deleted {
                true => request.update_expression("SET expiresAt = :expiresAt").expression_attribute_values(
                    ":expiresAt",
                    AttributeValue::N(expires_at(TOMBSTONE_TTL).to_string()),
                ),
                false => request.update_expression("REMOVE expiresAt"),
            };
            self.update(request).await
        });
        try_concurrently(updates).await.map(drop)
    }

    async fn messages(&self, ticket: u64) -> Result<Vec<Message>, StoreError> {
        facts(&self.message_items(ticket).await?)
    }

    async fn message_items(&self, ticket: u64) -> Result<Vec<Item>, StoreError> {
        let query = Query {
            bound: Bound::Prefix(keys::MESSAGE.to_owned()),
            ..Query::table(keys::ticket_partition(&self.tenant, ticket)).strong()
        };
        Ok(self.query(&query, MAX_ROWS, None).await?.0)
    }

    /// The tickets whose uid matches one of the end user's UIDs or the customerRef, each once, by id.
    pub async fn tickets_of(&self, end_user: &EndUser) -> Result<Vec<TicketView>, StoreError> {
        let held = end_user.keys();
        let asked: BTreeSet<MatchKey> = held.iter().flat_map(uid::ticket_index_keys_of).collect();
        let queries: Vec<_> = asked.iter().map(|key| Query::by_uid(keys::ticket_index(&self.tenant, key))).collect();
        let found =
            futures::future::try_join_all(queries.iter().map(|query| self.query(query, MAX_ROWS, None))).await?;
        let mut tickets = BTreeMap::new();
        for item in found.iter().flat_map(|(items, _)| items) {
            let Some(ticket) = read::<ticket::Ticket>(item, "facts")? else { continue };
            if !held.is_disjoint(&uid::ticket_keys(&ticket.uid)) {
                let computed = read(item, "computed")?.unwrap_or_default();
                tickets.insert(ticket.ticket_id, TicketView { ticket, computed });
            }
        }
        Ok(tickets.into_values().collect())
    }

    /// The comments of each ticket, in the order given; only those that have some are asked for.
    pub async fn ticket_comments(&self, tickets: &[TicketView]) -> Result<Vec<Vec<String>>, StoreError> {
        let comments = tickets.iter().map(async |view| {
            if !view.computed.has_comments {
                return Ok(Vec::new());
            }
            self.messages(view.ticket.ticket_id).await.map(|messages| ticket::comments(&messages))
        });
        futures::future::try_join_all(comments).await
    }
}

/// The messages of their items, without the deleted ones.
fn facts(items: &[Item]) -> Result<Vec<Message>, StoreError> {
    items.iter().filter_map(|item| read(item, "facts").transpose()).collect()
}

fn read<T: DeserializeOwned>(item: &Item, name: &str) -> Result<Option<T>, StoreError> {
    item.get(name).cloned().map(from_attribute_value).transpose().map_err(unreadable)
}
