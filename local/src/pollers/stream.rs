//! The poller of the table's stream.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;
use std::time::{Duration, Instant};

use aws_config::SdkConfig;
use aws_sdk_dynamodbstreams::Client;
use aws_sdk_dynamodbstreams::types::ShardIteratorType;
use tokio::sync::{Notify, watch};
use tokio::task::{JoinError, JoinSet};

use super::delivery::deliver;
use super::lanes::{Batch, Lanes};
use super::{IDLE, PollError};
use crate::events::{self, sequence_number};
use crate::functions::Functions;
use crate::queue::Queue;
use crate::template::{self, StreamSource};

/// The time between two searches for new shards.
const NEW_SHARDS: Duration = Duration::from_secs(5);

/// The maximum number of records of a shard that are read but not finished: as many as one GetRecords call returns.
const READ_AHEAD: usize = 1_000;

pub(super) struct StreamPoller {
    functions: Arc<Functions>,
    /// The store of the checkpoints.
    queue: Arc<Queue>,
    source: StreamSource,
    client: Client,
    stream_arn: String,
    new_records: Notify,
    /// The number of passes over all shards that found no record while no batch was in flight.
    empty_passes: watch::Sender<u64>,
}

struct Shard {
    /// The iterator of the next read, or `None` at the end of a closed shard.
    iterator: Option<String>,
    /// The sequence number of the last record read, by this process or an earlier one.
    last_read: Option<String>,
    lanes: Lanes,
}

impl StreamPoller {
    pub(super) fn new(
        functions: Arc<Functions>,
        queue: Arc<Queue>,
        source: StreamSource,
        config: &SdkConfig,
        stream_arn: &str,
    ) -> Self {
        Self {
            functions,
            queue,
            source,
            client: Client::new(config),
            stream_arn: stream_arn.to_owned(),
            new_records: Notify::new(),
            empty_passes: watch::Sender::new(0),
        }
    }

    pub(super) fn notify(&self) {
        self.new_records.notify_one();
    }

    /// Waits for an empty pass that began after this call.
    pub(super) async fn settled(&self) {
        let mut passes = self.empty_passes.subscribe();
        // The current pass may have begun before this call; the next one did not.
        let enough = *passes.borrow() + 2;
        while *passes.borrow_and_update() < enough {
            self.notify();
            // The sender, a field of `self`, cannot be closed.
            let _ = tokio::time::timeout(IDLE, passes.changed()).await;
        }
    }

    pub(super) async fn run(self: Arc<Self>, stopped: watch::Receiver<bool>) {
        let mut shards: HashMap<String, Shard> = HashMap::new();
        let mut in_flight: JoinSet<Option<(String, Batch)>> = JoinSet::new();
        let mut last_search: Option<Instant> = None;
        while !*stopped.borrow() {
            if last_search.is_none_or(|at| at.elapsed() > NEW_SHARDS) {
                if let Err(error) = self.find_shards(&mut shards).await {
                    // The pass does not count as empty, because unknown shards may have records.
                    tracing::error!(%error, "stream shards cannot be listed");
                    tokio::time::sleep(IDLE).await;
                    continue;
                }
                last_search = Some(Instant::now());
            }
            // A batch in flight can write records after this pass has read their shard.
            let is_idle = in_flight.is_empty();
            let mut records = 0;
            for (name, shard) in &mut shards {
                records += match self.read_shard(shard).await {
                    Ok(count) => count,
                    Err(error) => {
                        tracing::error!(%error, "stream cannot be read");
                        // The iterator may have expired.
                        if let Ok(renewed) = self.iterator(name, shard.last_read.clone()).await {
                            shard.iterator = renewed;
                        }
                        tokio::time::sleep(IDLE).await;
                        1
                    }
                };
                while let Some(batch) = shard.lanes.next_batch(self.source.batch_size) {
                    in_flight.spawn(self.clone().deliver_batch(name.clone(), batch, stopped.clone()));
                }
            }
            if records == 0 {
                if is_idle {
                    self.empty_passes.send_modify(|passes| *passes += 1);
                }
                tokio::select! {
                    () = self.new_records.notified() => {}
                    Some(finished) = in_flight.join_next() => finish(&mut shards, finished),
                    () = tokio::time::sleep(IDLE) => {}
                }
            }
            while let Some(finished) = in_flight.try_join_next() {
                finish(&mut shards, finished);
            }
            self.set_checkpoints(&mut shards);
        }
        while let Some(finished) = in_flight.join_next().await {
            finish(&mut shards, finished);
        }
        self.set_checkpoints(&mut shards);
    }

    /// Stores the last record of each shard before the first unfinished one.
    fn set_checkpoints(&self, shards: &mut HashMap<String, Shard>) {
        for (name, shard) in shards {
            let Some(last) = shard.lanes.checkpoint() else { continue };
            if let Err(error) = self.queue.set_checkpoint(&self.checkpoint_name(name), &last) {
                tracing::error!(%error, "checkpoint cannot be written");
            }
        }
    }

    /// Adds the shards that are not in `shards` yet, each read from its checkpoint on.
    async fn find_shards(&self, shards: &mut HashMap<String, Shard>) -> Result<(), PollError> {
        let mut start = None;
        loop {
            let request = self.client.describe_stream().stream_arn(&self.stream_arn);
            let output = request.set_exclusive_start_shard_id(start).send().await?;
            let Some(description) = output.stream_description else { return Ok(()) };
            for name in description.shards.unwrap_or_default().into_iter().filter_map(|shard| shard.shard_id) {
                if let Entry::Vacant(entry) = shards.entry(name) {
                    let last_read = self.queue.checkpoint(&self.checkpoint_name(entry.key()))?;
                    let iterator = self.iterator(entry.key(), last_read.clone()).await?;
                    entry.insert(Shard { iterator, last_read, lanes: Lanes::new(self.source.parallelization) });
                }
            }
            start = description.last_evaluated_shard_id;
            if start.is_none() {
                return Ok(());
            }
        }
    }

    /// The name of a shard's checkpoint. It contains the stream, because shards of different engines can have the same
    /// name.
    fn checkpoint_name(&self, shard: &str) -> String {
        format!("{}/{shard}", self.stream_arn)
    }

    /// Returns an iterator that starts after the record `after`, or at the oldest record.
    async fn iterator(&self, shard: &str, after: Option<String>) -> Result<Option<String>, PollError> {
        let kind = match after {
            Some(_) => ShardIteratorType::AfterSequenceNumber,
            None => ShardIteratorType::TrimHorizon,
        };
        let request = self.client.get_shard_iterator().stream_arn(&self.stream_arn).shard_id(shard);
        let output = request.shard_iterator_type(kind).set_sequence_number(after).send().await?;
        Ok(output.shard_iterator)
    }

    /// Reads the next records of a shard into its lanes, unless too many are unfinished. Returns the number of records
    /// read.
    async fn read_shard(&self, shard: &mut Shard) -> Result<usize, PollError> {
        let Some(from) = shard.iterator.clone().filter(|_| shard.lanes.len() < READ_AHEAD) else { return Ok(0) };
        let output = self.client.get_records().shard_iterator(from).limit(READ_AHEAD as i32).send().await?;
        let records = output.records.unwrap_or_default();
        for event in records.iter().map(events::of_record) {
            let is_wanted = template::matches(&self.source.filters, &event);
            shard.last_read = sequence_number(&event).map(str::to_owned).or(shard.last_read.take());
            shard.lanes.push(event, is_wanted);
        }
        shard.iterator = output.next_shard_iterator;
        Ok(records.len())
    }

    /// Returns a batch and its shard when all records are finished, or `None` if the system stops before.
    async fn deliver_batch(
        self: Arc<Self>,
        shard: String,
        batch: Batch,
        stopped: watch::Receiver<bool>,
    ) -> Option<(String, Batch)> {
        let delivered = deliver(&self.functions, &self.source, &batch.events(), &stopped).await;
        delivered.then_some((shard, batch))
    }
}

/// Marks a delivered batch as finished, so that its lane is free for the next one.
fn finish(shards: &mut HashMap<String, Shard>, delivered: Result<Option<(String, Batch)>, JoinError>) {
    match delivered {
        Ok(Some((shard, batch))) => drop(shards.get_mut(&shard).map(|shard| shard.lanes.finish(&batch))),
        // The system stops.
        Ok(None) => {}
        Err(error) => tracing::error!(%error, "delivery of a stream batch failed"),
    }
}
