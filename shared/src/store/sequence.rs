//! Ids: a sequence per tenant, taken one by one while it is quiet and in blocks while an instance
//! creates more than once a second.
//!
//! Every reservation of the table's counter is above all before it, and an instance uses its block
//! from the low end: ids are unique, never reused, and ascend for a client of one instance.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use aws_sdk_dynamodb::types::{AttributeValue, ReturnConsumedCapacity, ReturnValue};

use super::{Item, Kind, Outcome, Scope, StoreError, fault, keys, primary};
use crate::domain::ids::{EndUserId, Tenant, UidId};

const LARGEST_BLOCK: u32 = 64;
/// A block that was not used up by then is dropped, so that ids stay close to the order of time.
const BLOCK_LIFE: Duration = Duration::from_secs(10);
/// The tenants whose blocks an instance keeps; past that the stale ones go.
const MAX_TENANTS: usize = 1_000;

/// The blocks of ids that this instance holds.
#[derive(Default)]
pub(super) struct Sequences(Mutex<HashMap<Tenant, Arc<tokio::sync::Mutex<Block>>>>);

struct Block {
    end_users: Range<u32>,
    uids: Range<u32>,
    /// How many creates it was taken for.
    size: u32,
    taken: Instant,
}

impl Sequences {
    fn block(&self, tenant: &Tenant) -> Arc<tokio::sync::Mutex<Block>> {
        let mut blocks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if blocks.len() >= MAX_TENANTS {
            blocks.retain(|_, block| block.try_lock().map_or(true, |block| block.taken.elapsed() < BLOCK_LIFE));
        }
        let empty = || Block { end_users: 0..0, uids: 0..0, size: 0, taken: Instant::now() };
        blocks.entry(tenant.clone()).or_insert_with(|| Arc::new(tokio::sync::Mutex::new(empty()))).clone()
    }
}

impl Block {
    /// How many creates the next block is for: twice as many as the last, when that one lasted
    /// less than a second for each.
    fn next_size(&self) -> u32 {
        let busy = self.size > 0 && self.taken.elapsed() < Duration::from_secs(self.size.into());
        if busy { (self.size * 2).min(LARGEST_BLOCK) } else { 1 }
    }
}

impl Scope<'_> {
    /// An id for a new person, and ids for `uids` of its UIDs.
    pub(super) async fn new_end_user_ids(&self, uids: usize) -> Result<(EndUserId, Vec<UidId>), StoreError> {
        let (end_users, uids) = self.reserve(1, uids as u32).await?;
        let id = EndUserId::new(end_users.start.into()).ok_or_else(exhausted)?;
        Ok((id, uid_ids(uids)?))
    }

    /// Ids for `uids` UIDs that join a person.
    pub(super) async fn new_uid_ids(&self, uids: usize) -> Result<Vec<UidId>, StoreError> {
        uid_ids(self.reserve(0, uids as u32).await?.1)
    }

    async fn reserve(&self, end_users: u32, uids: u32) -> Result<(Range<u32>, Range<u32>), StoreError> {
        if end_users + uids == 0 {
            return Ok((0..0, 0..0));
        }
        let block = self.store.sequences.block(&self.tenant);
        let late = |_| StoreError::Unavailable { outcome: Outcome::NothingWritten, reason: "ids".to_owned() };
        let mut block = tokio::time::timeout_at(self.deadline.into(), block.lock()).await.map_err(late)?;
        if block.taken.elapsed() > BLOCK_LIFE {
            (block.end_users, block.uids) = (0..0, 0..0);
        }
        let short = |range: &Range<u32>, wanted: u32| (range.len() as u32) < wanted;
        if short(&block.end_users, end_users) || short(&block.uids, uids) {
            let size = block.next_size();
            let more_end_users = if short(&block.end_users, end_users) { end_users * size } else { 0 };
            let more_uids = if short(&block.uids, uids) { uids * size } else { 0 };
            let (end_users_end, uids_end) = self.advance(more_end_users, more_uids).await?;
            if more_end_users > 0 {
                block.end_users = end_users_end - more_end_users + 1..end_users_end + 1;
            }
            if more_uids > 0 {
                block.uids = uids_end - more_uids + 1..uids_end + 1;
            }
            (block.size, block.taken) = (size, Instant::now());
        }
        Ok((take(&mut block.end_users, end_users), take(&mut block.uids, uids)))
    }

    /// Moves the tenant's counters on; answers the last ids given out.
    async fn advance(&self, end_users: u32, uids: u32) -> Result<(u32, u32), StoreError> {
        let number = |n: u32| AttributeValue::N(n.to_string());
        let send = self
            .client()
            .update_item()
            .table_name(self.table())
            .set_key(Some(primary(&keys::sequence(&self.tenant))))
            .update_expression("SET #kind = :kind, v = :one ADD endUsers :endUsers, uids :uids")
            .expression_attribute_names("#kind", "kind")
            .expression_attribute_values(":kind", AttributeValue::S("Sequence".to_owned()))
            .expression_attribute_values(":one", number(1))
            .expression_attribute_values(":endUsers", number(end_users))
            .expression_attribute_values(":uids", number(uids))
            .return_values(ReturnValue::AllNew)
            .return_consumed_capacity(ReturnConsumedCapacity::Total)
            .send();
        // A reservation whose answer is lost is only a gap: nothing that a caller sees was written.
        let answer = self.call(send).await.map_err(|e| fault(Kind::Read, e))?;
        self.meter.spend(Kind::Write, &answer.consumed_capacity);
        let item = answer.attributes.unwrap_or_default();
        Ok((counter(&item, "endUsers")?, counter(&item, "uids")?))
    }
}

fn take(range: &mut Range<u32>, count: u32) -> Range<u32> {
    let taken = range.start..range.start + count;
    range.start = taken.end;
    taken
}

fn uid_ids(range: Range<u32>) -> Result<Vec<UidId>, StoreError> {
    range.map(|id| UidId::new(id.into()).ok_or_else(exhausted)).collect()
}

/// A counter of the sequence; it may reach 2³¹-1, the greatest id.
fn counter(item: &Item, name: &str) -> Result<u32, StoreError> {
    let number = item.get(name).and_then(|value| value.as_n().ok()).and_then(|n| n.parse().ok());
    number.filter(|n| *n <= i32::MAX as u32).ok_or_else(exhausted)
}

fn exhausted() -> StoreError {
    StoreError::Unexpected("a tenant has used up its ids".to_owned())
}
