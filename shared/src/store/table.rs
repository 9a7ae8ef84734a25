//! DynamoDB calls on the table. A [`Table`] is not restricted to a tenant, so only operations of `Scope` use it.

use std::time::Instant;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::error::{BuildError, ProvideErrorMetadata};
use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::operation::update_item::builders::UpdateItemFluentBuilder;
use aws_sdk_dynamodb::types::builders::{DeleteBuilder, PutBuilder};
use aws_sdk_dynamodb::types::{
    AttributeValue, ConsumedCapacity, Delete, DeleteRequest, KeysAndAttributes, Put, PutRequest,
    ReturnConsumedCapacity, TransactWriteItem, WriteRequest,
};
use futures::stream::{Buffered, Iter, TryCollect};
use futures::{StreamExt, TryStreamExt};

use super::error::{StoreError, unreadable};
use super::failure::Failure;
use super::items::{Item, primary_key};
use super::keys::Key;
use super::meter::{CallKind, Meter};

/// The table, for the calls of one request.
#[derive(Clone, Copy)]
pub(super) struct Table<'a> {
    pub client: &'a Client,
    pub name: &'a str,
    pub meter: &'a Meter,
    pub deadline: Instant,
}

impl Table<'_> {
    /// Reads an item strongly.
    pub(super) async fn get(self, key: Key) -> Result<Option<Item>, StoreError> {
        let request = self
            .client
            .get_item()
            .table_name(self.name)
            .set_key(Some(primary_key(&key)))
            .consistent_read(true)
            .return_consumed_capacity(ReturnConsumedCapacity::Total);
        let output = self.call(CallKind::Read, || request.clone().send()).await?;
        self.meter.spend(CallKind::Read, &output.consumed_capacity);
        Ok(output.item)
    }

    /// Reads items strongly, in any order. Missing items are left out.
    pub(super) async fn get_all(self, keys: Vec<Key>) -> Result<Vec<Item>, StoreError> {
        // BatchGetItem takes at most 100 keys.
        let chunks = keys.chunks(100).map(|chunk| self.get_chunk(chunk));
        Ok(futures::future::try_join_all(chunks).await?.concat())
    }

    async fn get_chunk(self, keys: &[Key]) -> Result<Vec<Item>, StoreError> {
        let mut found = Vec::with_capacity(keys.len());
        let mut wanted: Vec<Item> = keys.iter().map(primary_key).collect();
        let mut backoff = self.backoff("unprocessed keys");
        loop {
            let keys = KeysAndAttributes::builder().set_keys(Some(wanted)).consistent_read(true).build();
            let request = self
                .client
                .batch_get_item()
                .request_items(self.name, keys.map_err(unreadable)?)
                .return_consumed_capacity(ReturnConsumedCapacity::Total);
            let output = self.call(CallKind::Read, || request.clone().send()).await?;
            self.meter.spend(CallKind::Read, output.consumed_capacity());
            found.extend(output.responses.into_iter().flatten().flat_map(|(_, items)| items));
            wanted = output.unprocessed_keys.into_iter().flatten().flat_map(|(_, keys)| keys.keys).collect();
            if wanted.is_empty() {
                return Ok(found);
            }
            backoff.wait().await?;
        }
    }

    /// Puts an item with a `rev` on condition that the stored version is `rev`; 0 means that no item is stored. Returns
    /// whether the condition was met.
    pub(super) async fn put_version(self, item: Item, rev: u64) -> Result<bool, StoreError> {
        let (condition, values) = at_version(rev);
        let request = self
            .client
            .put_item()
            .table_name(self.name)
            .set_item(Some(item))
            .condition_expression(condition)
            .set_expression_attribute_values(values)
            .return_consumed_capacity(ReturnConsumedCapacity::Total);
        let result = self.call(CallKind::Write, || request.clone().send()).await;
        self.is_condition_met(result.map(|output| output.consumed_capacity))
    }

    /// Deletes an item on a condition, with one value for it. Returns whether the condition was met.
    pub(super) async fn delete_if(
        self,
        key: &Key,
        condition: &str,
        (name, value): (&str, AttributeValue),
    ) -> Result<bool, StoreError> {
        let request = self
            .client
            .delete_item()
            .table_name(self.name)
            .set_key(Some(primary_key(key)))
            .condition_expression(condition)
            .expression_attribute_values(name, value)
            .return_consumed_capacity(ReturnConsumedCapacity::Total);
        let result = self.call(CallKind::Write, || request.clone().send()).await;
        self.is_condition_met(result.map(|output| output.consumed_capacity))
    }

    /// Whether the condition of a write was met, by the write's result. Meters what the write consumed.
    fn is_condition_met<E: ProvideErrorMetadata>(
        self,
        result: Result<Option<ConsumedCapacity>, Failure<E>>,
    ) -> Result<bool, StoreError> {
        match result {
            Ok(consumed) => {
                self.meter.spend(CallKind::Write, &consumed);
                Ok(true)
            }
            Err(failure) if failure.is_condition_failed() => Ok(false),
            Err(failure) => Err(failure.into()),
        }
    }

    /// Puts at most 100 items as [`Self::put_version`] does, all or none. Returns whether all conditions were met.
    pub(super) async fn put_versions(self, items: Vec<(Item, u64)>) -> Result<bool, StoreError> {
        let items = match <[_; 1]>::try_from(items) {
            Ok([(item, rev)]) => return self.put_version(item, rev).await,
            Err(items) => items,
        };
        let mut writes = Vec::with_capacity(items.len());
        for (item, rev) in items {
            let (condition, values) = at_version(rev);
            let put = self.put(item).condition_expression(condition).set_expression_attribute_values(values);
            writes.push(put_action(put)?);
        }
        match self.transact(writes).await {
            Ok(()) => Ok(true),
            // Also if an attempt got no response: the caller reads the versions again.
            Err(failure) if failure.is_cancelled() => Ok(false),
            Err(failure) => Err(failure.into()),
        }
    }

    /// The put of a transaction.
    pub(super) fn put(self, item: Item) -> PutBuilder {
        Put::builder().table_name(self.name).set_item(Some(item))
    }

    /// The delete of a transaction.
    pub(super) fn delete(self, key: &Key) -> DeleteBuilder {
        Delete::builder().table_name(self.name).set_key(Some(primary_key(key)))
    }

    /// An UpdateItem request for [`Self::send_update`].
    pub(super) fn update(self, key: Item) -> UpdateItemFluentBuilder {
        let request = self.client.update_item().table_name(self.name).set_key(Some(key));
        request.return_consumed_capacity(ReturnConsumedCapacity::Total)
    }

    /// Sends an update that is safe to repeat. Returns whether its condition was met.
    pub(super) async fn send_update(self, request: UpdateItemFluentBuilder) -> Result<bool, StoreError> {
        let result = self.call(CallKind::Write, || request.clone().send()).await;
        self.is_condition_met(result.map(|output| output.consumed_capacity))
    }

    /// Sends one transaction. All attempts have the same token, so it is applied once, also if a response is lost.
    /// DynamoDB remembers a token for ten minutes, far longer than a request lasts.
    pub(super) async fn transact(self, writes: Vec<TransactWriteItem>) -> Result<(), Failure<TransactWriteItemsError>> {
        let request = self
            .client
            .transact_write_items()
            .set_transact_items(Some(writes))
            .client_request_token(format!("{:032x}", fastrand::u128(..)))
            .return_consumed_capacity(ReturnConsumedCapacity::Total);
        let output = self.call(CallKind::Write, || request.clone().send()).await?;
        self.meter.spend(CallKind::Write, output.consumed_capacity());
        Ok(())
    }

    /// Puts and deletes items without conditions. Not atomic.
    pub(super) async fn write_all(self, writes: Vec<Write>) -> Result<(), StoreError> {
        let requests = writes.into_iter().map(Write::request).collect::<Result<Vec<_>, _>>().map_err(unreadable)?;
        // BatchWriteItem takes at most 25 writes.
        try_concurrently(requests.chunks(25).map(|chunk| self.write_chunk(chunk.to_vec()))).await.map(drop)
    }

    async fn write_chunk(self, mut writes: Vec<WriteRequest>) -> Result<(), StoreError> {
        let mut backoff = self.backoff("unprocessed items");
        loop {
            let request = self
                .client
                .batch_write_item()
                .request_items(self.name, writes)
                .return_consumed_capacity(ReturnConsumedCapacity::Total);
            let output = self.call(CallKind::Write, || request.clone().send()).await?;
            self.meter.spend(CallKind::Write, output.consumed_capacity());
            writes = output.unprocessed_items.into_iter().flatten().flat_map(|(_, writes)| writes).collect();
            if writes.is_empty() {
                return Ok(());
            }
            backoff.wait().await?;
        }
    }
}

/// A write without conditions.
pub(super) enum Write {
    Put(Item),
    Delete(Key),
}

impl Write {
    fn request(self) -> Result<WriteRequest, BuildError> {
        let request = WriteRequest::builder();
        Ok(match self {
            Self::Put(item) => request.put_request(PutRequest::builder().set_item(Some(item)).build()?).build(),
            Self::Delete(key) => {
                let delete = DeleteRequest::builder().set_key(Some(primary_key(&key))).build()?;
                request.delete_request(delete).build()
            }
        })
    }
}

/// The most concurrent calls of one operation.
const MAX_CONCURRENCY: usize = 16;

/// Runs up to [`MAX_CONCURRENCY`] of the calls concurrently. Returns their values in order, or the first error.
///
/// (Not an `async fn`: its future would contain the iterator, and the compiler cannot prove that the iterator's
/// closures are `Send`.)
pub(super) fn try_concurrently<R, F: Future<Output = Result<R, StoreError>>>(
    calls: impl IntoIterator<Item = F>,
) -> TryConcurrently<R, F> {
    let calls: Vec<F> = calls.into_iter().collect();
    futures::stream::iter(calls).buffered(MAX_CONCURRENCY).try_collect()
}

type TryConcurrently<R, F> = TryCollect<Buffered<Iter<std::vec::IntoIter<F>>>, Vec<R>>;

/// The condition that an item's version is `rev`, or for 0 that there is no item, and the condition's values.
pub(super) fn at_version(rev: u64) -> (&'static str, Option<Item>) {
    match rev {
        0 => ("attribute_not_exists(pk)", None),
        _ => ("rev = :rev", Some(Item::from([(":rev".to_owned(), number(rev))]))),
    }
}

/// A put as an action of a transaction.
pub(super) fn put_action(put: PutBuilder) -> Result<TransactWriteItem, StoreError> {
    Ok(TransactWriteItem::builder().put(put.build().map_err(unreadable)?).build())
}

/// A delete as an action of a transaction.
pub(super) fn delete_action(delete: DeleteBuilder) -> Result<TransactWriteItem, StoreError> {
    Ok(TransactWriteItem::builder().delete(delete.build().map_err(unreadable)?).build())
}

/// A number attribute.
pub(super) fn number(value: impl ToString) -> AttributeValue {
    AttributeValue::N(value.to_string())
}

/// A string attribute.
pub(super) fn string(value: impl Into<String>) -> AttributeValue {
    AttributeValue::S(value.into())
}
