//! The single table. Nothing can be read or written without a [`Scope`], and a scope is one
//! tenant's.

mod call;
mod check;
mod end_users;
mod idempotency;
mod index;
mod items;
pub mod keys;
mod meter;
mod pointers;
mod rank;
mod seed;
mod sequence;
mod tickets;

use std::collections::HashMap;
use std::sync::atomic::AtomicU32;
use std::time::{Duration, Instant};

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::{AttributeValue, KeysAndAttributes, Put, ReturnConsumedCapacity, TransactWriteItem};
use futures::stream::{Buffered, Iter, TryCollect};
use futures::{StreamExt, TryStreamExt};

use crate::domain::ids::Tenant;
pub use check::{BrokenEndUser, Check, CheckOptions, Progress, WrongBlock, WrongEndUser};
pub use end_users::{ChangeError, ListOrder, Listed};
pub use idempotency::Idempotent;
pub use index::{Entry, entries};
pub use items::{Document, StoredResponse, records, stored_responses};
use keys::Key;
pub use meter::{Cost, Kind, Meter};
pub use seed::{end_user_items, tenant_items};

/// A stored item.
pub type Item = HashMap<String, AttributeValue>;

/// The most items that one Query is asked for: about 1 MB of index entries, which is all that one
/// answer holds.
const MAX_QUERY: usize = 15_000;

/// Why the database gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Throttled, out of reach or out of time, after bounded retries.
    #[error("the database is unavailable ({outcome:?}): {reason}")]
    Unavailable {
        /// What is known of the write.
        outcome: Outcome,
        /// For the log: an error code or a kind of failure, never a value.
        reason: String,
    },
    /// A fault of ours or of the deployment: a request that DynamoDB refuses, an item that cannot
    /// be read.
    #[error("unexpected: {0}")]
    Unexpected(String),
}

/// What is known of a write that was not acknowledged.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// Nothing was written.
    NothingWritten,
    /// The answer was lost: it may have been written, wholly, or not at all.
    Unknown,
}

/// The table, and what an instance remembers between requests.
pub struct Store {
    client: Client,
    table: String,
    /// The shard on which this instance counts end users, until it meets another writer there.
    shard: AtomicU32,
}

/// How long a start waits for the connection at most.
const CONNECT: Duration = Duration::from_secs(1);

impl Store {
    /// The store over a table that exists.
    pub fn new(client: Client, table: impl Into<String>) -> Self {
        Self { client, table: table.into(), shard: AtomicU32::new(random_shard()) }
    }

    /// Opens the connection to the database, so that no request waits for its handshake: reads an item
    /// that is not there. A refusal came over the connection too, and what fails is left to the requests.
    pub async fn connect(&self) {
        let request = self.client.get_item().table_name(&self.table).set_key(Some(primary(&keys::nobody()))).send();
        drop(tokio::time::timeout(CONNECT, request).await);
    }

    /// What belongs to `tenant`, until `deadline`; costs go to `meter`.
    pub fn scope<'a>(&'a self, tenant: &Tenant, meter: &'a Meter, deadline: Instant) -> Scope<'a> {
        Scope { store: self, tenant: tenant.clone(), meter, deadline }
    }
}

/// One tenant's part of the table, for one request.
pub struct Scope<'a> {
    store: &'a Store,
    tenant: Tenant,
    meter: &'a Meter,
    deadline: Instant,
}

/// A Query within one partition of the table or of an index.
#[derive(Clone)]
struct Query<'q> {
    index: Option<&'q str>,
    names: (&'q str, &'q str),
    partition: String,
    bound: Bound,
    strong: bool,
    descending: bool,
    projection: Option<&'q str>,
}

/// Of which sort keys.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Bound {
    All,
    Prefix(String),
    From(String),
    Before(String),
    /// Both included.
    Between(String, String),
}

impl Bound {
    /// The condition on `#sort`, and its values.
    fn condition(&self) -> (&'static str, Vec<(&'static str, &str)>) {
        match self {
            Self::All => ("", vec![]),
            Self::Prefix(text) => (" AND begins_with(#sort, :first)", vec![(":first", text)]),
            Self::From(first) => (" AND #sort >= :first", vec![(":first", first)]),
            Self::Before(last) => (" AND #sort < :last", vec![(":last", last)]),
            Self::Between(first, last) => {
                (" AND #sort BETWEEN :first AND :last", vec![(":first", first), (":last", last)])
            }
        }
    }
}

impl<'q> Query<'q> {
    fn table(partition: String) -> Self {
        let names = ("pk", "sk");
        Self { index: None, names, partition, bound: Bound::All, strong: false, descending: false, projection: None }
    }

    fn strong(self) -> Self {
        Self { strong: true, ..self }
    }

    fn by_uid(partition: String) -> Self {
        Self { index: Some("byUid"), names: ("uidPk", "uidSk"), ..Self::table(partition) }
    }

    fn by_customer_ref(partition: String) -> Self {
        Self { index: Some("byCustomerRef"), names: ("refPk", "refSk"), ..Self::table(partition) }
    }
}

impl<'a> Scope<'a> {
    /// Whose it is.
    pub fn tenant(&self) -> &Tenant {
        &self.tenant
    }

    fn client(&self) -> &'a Client {
        &self.store.client
    }

    fn table(&self) -> &'a str {
        &self.store.table
    }

    async fn get(&self, key: Key) -> Result<Option<Item>, StoreError> {
        let request = self
            .client()
            .get_item()
            .table_name(self.table())
            .set_key(Some(primary(&key)))
            .consistent_read(true)
            .return_consumed_capacity(ReturnConsumedCapacity::Total);
        let answer = self.call(Kind::Read, || request.clone().send()).await?;
        self.meter.spend(Kind::Read, &answer.consumed_capacity);
        Ok(answer.item)
    }

    /// Whether items with a `rev` could be put, all or none, each over its version; over none where that is 0. At most
    /// 100 items.
    async fn put_versions(&self, items: Vec<(Item, u64)>) -> Result<bool, StoreError> {
        let items = match <[_; 1]>::try_from(items) {
            Ok([(item, rev)]) => return self.put_version(item, rev).await,
            Err(items) => items,
        };
        let mut writes = Vec::with_capacity(items.len());
        for (item, rev) in items {
            let (condition, values) = at_version(rev);
            let put = Put::builder().table_name(self.table()).set_item(Some(item)).condition_expression(condition);
            let put = put.set_expression_attribute_values(values).build().map_err(unreadable)?;
            writes.push(TransactWriteItem::builder().put(put).build());
        }
        match self.transact(writes).await {
            Ok(()) => Ok(true),
            // Also where a try went unanswered: the caller reads the versions anew.
            Err(failure) if failure.is_cancelled() => Ok(false),
            Err(failure) => Err(failure.into()),
        }
    }

    /// Whether an item with a `rev` could be put over its version `rev`; over none where that is 0.
    async fn put_version(&self, item: Item, rev: u64) -> Result<bool, StoreError> {
        let (condition, values) = at_version(rev);
        let request = self
            .client()
            .put_item()
            .table_name(self.table())
            .set_item(Some(item))
            .condition_expression(condition)
            .set_expression_attribute_values(values)
            .return_consumed_capacity(ReturnConsumedCapacity::Total);
        match self.call(Kind::Write, || request.clone().send()).await {
            Ok(answer) => {
                self.meter.spend(Kind::Write, &answer.consumed_capacity);
                Ok(true)
            }
            Err(failure) if failure.is_condition_failed() => Ok(false),
            Err(failure) => Err(failure.into()),
        }
    }

    /// Reads items strongly, in whatever order; those that are not there are left out.
    async fn get_all(&self, keys: Vec<Key>) -> Result<Vec<Item>, StoreError> {
        // DynamoDB takes 100 keys a call.
        let chunks = keys.chunks(100).map(|chunk| self.get_chunk(chunk));
        Ok(futures::future::try_join_all(chunks).await?.concat())
    }

    async fn get_chunk(&self, keys: &[Key]) -> Result<Vec<Item>, StoreError> {
        let mut found = Vec::with_capacity(keys.len());
        let mut wanted: Vec<Item> = keys.iter().map(primary).collect();
        for tries in 1.. {
            let ask = KeysAndAttributes::builder().set_keys(Some(wanted)).consistent_read(true).build();
            let ask = ask.map_err(|e| StoreError::Unexpected(e.to_string()))?;
            let request = self
                .client()
                .batch_get_item()
                .request_items(self.table(), ask)
                .return_consumed_capacity(ReturnConsumedCapacity::Total);
            let answer = self.call(Kind::Read, || request.clone().send()).await?;
            self.meter.spend(Kind::Read, answer.consumed_capacity());
            found.extend(answer.responses.into_iter().flatten().flat_map(|(_, items)| items));
            wanted = answer.unprocessed_keys.into_iter().flatten().flat_map(|(_, left)| left.keys).collect();
            if wanted.is_empty() {
                break;
            }
            self.back_off(tries, "unprocessed keys").await?;
        }
        Ok(found)
    }

    /// Up to `limit` items behind `start`, and the key to go on from where there may be more.
    async fn query(
        &self,
        query: &Query<'_>,
        limit: usize,
        mut start: Option<Item>,
    ) -> Result<(Vec<Item>, Option<Item>), StoreError> {
        let mut items = Vec::new();
        loop {
            let page = self.query_once(query, limit - items.len(), start).await?;
            items.extend(page.0);
            start = page.1;
            if start.is_none() || items.len() >= limit {
                return Ok((items, start));
            }
        }
    }

    /// Meets every item of a query behind `start`, a page in memory at a time.
    async fn walk_all(
        &self,
        query: &Query<'_>,
        mut start: Option<Item>,
        mut meet: impl FnMut(Item) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        loop {
            let (items, next) = self.query_once(query, usize::MAX, start).await?;
            items.into_iter().try_for_each(&mut meet)?;
            if next.is_none() {
                return Ok(());
            }
            start = next;
        }
    }

    /// One round trip of a query: up to 1 MB.
    async fn query_once(
        &self,
        query: &Query<'_>,
        limit: usize,
        start: Option<Item>,
    ) -> Result<(Vec<Item>, Option<Item>), StoreError> {
        let (partition_name, sort_name) = query.names;
        let (condition, values) = query.bound.condition();
        let mut request = self
            .client()
            .query()
            .table_name(self.table())
            .set_index_name(query.index.map(str::to_owned))
            .key_condition_expression(format!("#partition = :partition{condition}"))
            .expression_attribute_names("#partition", partition_name)
            .expression_attribute_values(":partition", AttributeValue::S(query.partition.clone()))
            .set_projection_expression(query.projection.map(str::to_owned))
            .scan_index_forward(!query.descending)
            .limit(limit.clamp(1, MAX_QUERY) as i32)
            .set_exclusive_start_key(start)
            .return_consumed_capacity(ReturnConsumedCapacity::Total);
        if !values.is_empty() {
            request = request.expression_attribute_names("#sort", sort_name);
        }
        for (name, value) in values {
            request = request.expression_attribute_values(name, AttributeValue::S(value.to_owned()));
        }
        if query.strong {
            request = request.consistent_read(true);
        }
        let answer = self.call(Kind::Read, || request.clone().send()).await?;
        self.meter.spend(Kind::Read, &answer.consumed_capacity);
        Ok((answer.items.unwrap_or_default(), answer.last_evaluated_key))
    }
}

/// How many calls of one act are under way at most.
const MAX_CONCURRENCY: usize = 16;

/// Some of the calls at once; answers what came of them in their order, or the first error.
///
/// (No `async fn`: its future would hold the iterator, of whose closures the compiler cannot tell that
/// they may be sent to another thread.)
fn try_concurrently<R, F: Future<Output = Result<R, StoreError>>>(
    calls: impl IntoIterator<Item = F>,
) -> TryConcurrently<R, F> {
    let calls: Vec<F> = calls.into_iter().collect();
    futures::stream::iter(calls).buffered(MAX_CONCURRENCY).try_collect()
}

type TryConcurrently<R, F> = TryCollect<Buffered<Iter<std::vec::IntoIter<F>>>, Vec<R>>;

/// The condition that an item is at its version `rev`, or where that is 0 is not there, and its values.
fn at_version(rev: u64) -> (&'static str, Option<Item>) {
    match rev {
        0 => ("attribute_not_exists(pk)", None),
        _ => ("rev = :rev", Some(Item::from([(":rev".to_owned(), AttributeValue::N(rev.to_string()))]))),
    }
}

/// The key attributes of a primary key.
fn primary(key: &Key) -> Item {
    let text = |s: &String| AttributeValue::S(s.clone());
    HashMap::from([("pk".to_owned(), text(&key.pk)), ("sk".to_owned(), text(&key.sk))])
}

/// A text attribute of an item.
fn text<'i>(item: &'i Item, name: &str) -> Result<&'i str, StoreError> {
    let value = item.get(name).and_then(|value| value.as_s().ok());
    value.map(String::as_str).ok_or_else(|| StoreError::Unexpected(format!("an item without {name}")))
}

fn unreadable(error: impl std::fmt::Display) -> StoreError {
    StoreError::Unexpected(format!("an item cannot be read or written: {error}"))
}

/// A number that differs from call to call and between instances; not secret.
fn random_u64() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(Instant::now())
}

/// A shard at random to count end users on.
fn random_shard() -> u32 {
    (random_u64() % u64::from(keys::COUNT_SHARDS)) as u32
}

/// How long what is kept of something that is gone is kept: far longer than any event or record of the
/// stream can come late.
const TOMBSTONE_TTL: Duration = Duration::from_secs(35 * 24 * 60 * 60);

/// The time in `distance` from now, in seconds since 1970 as TTL counts them.
fn expires_at(distance: Duration) -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    (now + distance).as_secs()
}
