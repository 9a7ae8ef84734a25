//! The single DynamoDB table. Only a [`Scope`] reads or writes it, and a scope belongs to one tenant.
//!
//! Lowest layer first: [`keys`] and `items` define keys and stored shapes. `query`, `retry` and `table` call DynamoDB.
//! The other modules implement the operations of [`Scope`].

mod bulk;
mod claims;
mod end_users;
mod entry;
mod error;
mod failure;
mod idempotency;
mod index;
mod items;
pub mod keys;
mod meter;
mod pointers;
mod query;
mod redirects;
mod retry;
mod sequence;
mod table;
mod tickets;

use std::sync::atomic::AtomicU32;
use std::time::{Duration, Instant};

use aws_sdk_dynamodb::Client;

use crate::domain::ids::Tenant;
pub use bulk::{end_user_items, tenant_items};
pub use claims::{ClaimsBuild, SharedIdentifier, UidPolicy};
pub use end_users::{ListOrder, Listed};
pub use entry::{Entry, entries};
pub use error::{ChangeError, Outcome, StoreError};
pub use idempotency::Idempotent;
pub use index::{BrokenEndUser, Check, CheckOptions, Progress, WrongBlock, WrongEndUser};
pub use items::{Document, Item, Remains, records};
pub use meter::{Cost, Meter};
use table::Table;

/// The table, and the state that a function instance keeps between requests.
pub struct Store {
    client: Client,
    table: String,
    policy: UidPolicy,
    /// The counter shard that this instance increments; another one after a transaction conflict.
    count_shard: AtomicU32,
}

/// The longest time that a start waits for the connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

impl Store {
    /// A store over an existing table.
    pub fn new(client: Client, table: impl Into<String>, policy: UidPolicy) -> Self {
        Self { client, table: table.into(), policy, count_shard: AtomicU32::new(keys::random_count_shard()) }
    }

    /// Opens the connection to the database, so that no request waits for its handshake: reads a key that no item has.
    /// Ignores the result: an error response came over the connection too, and requests report other errors.
    pub async fn connect(&self) {
        let key = items::primary_key(&keys::absent());
        let request = self.client.get_item().table_name(&self.table).set_key(Some(key)).send();
        drop(tokio::time::timeout(CONNECT_TIMEOUT, request).await);
    }

    /// Returns the tenant's part of the table. Its calls end at `deadline`, and their costs go to `meter`.
    pub fn scope<'a>(&'a self, tenant: &Tenant, meter: &'a Meter, deadline: Instant) -> Scope<'a> {
        let table = Table { client: &self.client, name: &self.table, meter, deadline };
        Scope { table, tenant: tenant.clone(), policy: self.policy, count_shard: &self.count_shard }
    }
}

/// One tenant's part of the table, for one request. Every key that its operations use is built for the tenant.
pub struct Scope<'a> {
    table: Table<'a>,
    tenant: Tenant,
    policy: UidPolicy,
    count_shard: &'a AtomicU32,
}

impl Scope<'_> {
    /// Fails if the time of the request is used up, before an operation that could only fail.
    pub fn check_time(&self) -> Result<(), StoreError> {
        if Instant::now() < self.table.deadline {
            return Ok(());
        }
        let reason = "the time of the request is used up".to_owned();
        Err(StoreError::Unavailable { outcome: Outcome::NothingWritten, reason })
    }

    /// The tenant.
    pub fn tenant(&self) -> &Tenant {
        &self.tenant
    }
}
