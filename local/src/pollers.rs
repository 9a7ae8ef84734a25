//! What stands in for the event source mappings: the queue and the table's stream are carried to
//! the functions in the very events that Lambda makes of them.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use aws_config::SdkConfig;
use aws_lambda_events::sqs::SqsBatchResponse;
use aws_lambda_events::streams::DynamoDbEventResponse;
use aws_sdk_dynamodbstreams::Client;
use aws_sdk_dynamodbstreams::types::ShardIteratorType;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::sync::{Notify, watch};
use tokio::task::{JoinError, JoinHandle, JoinSet};

use crate::events::{self, sequence_number};
use crate::functions::Functions;
use crate::lanes::{Batch, Lanes};
use crate::queue::{Delivery, Queue};
use crate::template::{self, QueueSource, StreamSource, Template};

/// How long a pump that finds nothing waits, unless it is woken.
const IDLE: Duration = Duration::from_millis(100);
/// How often the stream is asked for new shards.
const NEW_SHARDS: Duration = Duration::from_secs(5);

/// How many records of a shard are read before the first of them is finished: as many as a call reads at most.
const READ_AHEAD: usize = 1_000;

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Both pumps.
#[derive(Clone)]
pub(crate) struct Pollers(Arc<Inner>);

struct Inner {
    functions: Arc<Functions>,
    queue: Arc<Queue>,
    queue_source: QueueSource,
    stream_source: StreamSource,
    stream: Client,
    stream_arn: String,
    wake_queue: Notify,
    wake_stream: Notify,
    /// How many passes over the whole stream found nothing.
    empty_passes: watch::Sender<u64>,
}

/// A shard of the stream.
struct Shard {
    /// Where to read on; `None` where the shard has ended.
    iterator: Option<String>,
    /// The sequence number of the last record read, in this run or before.
    last_read: Option<String>,
    lanes: Lanes,
}

impl Pollers {
    pub(crate) fn new(
        functions: Arc<Functions>,
        queue: Arc<Queue>,
        template: &Template,
        config: &SdkConfig,
        arn: &str,
    ) -> Self {
        Self(Arc::new(Inner {
            functions,
            queue,
            queue_source: template.queue.clone(),
            stream_source: template.stream.clone(),
            stream: Client::new(config),
            stream_arn: arn.to_owned(),
            wake_queue: Notify::new(),
            wake_stream: Notify::new(),
            empty_passes: watch::Sender::new(0),
        }))
    }

    /// Starts both; they end after `stopped`, each behind the batch that it is at.
    pub(crate) fn run(&self, stopped: &watch::Receiver<bool>) -> Vec<JoinHandle<()>> {
        let (queue, stream) = (self.0.clone(), self.0.clone());
        let (stopped, also_stopped) = (stopped.clone(), stopped.clone());
        vec![
            tokio::spawn(async move { queue.poll_queue(stopped).await }),
            tokio::spawn(async move { stream.poll_stream(also_stopped).await }),
        ]
    }

    /// Says that messages were queued.
    pub(crate) fn wake_queue(&self) {
        self.0.wake_queue.notify_one();
    }

    /// Says that something was written.
    pub(crate) fn wake_stream(&self) {
        self.0.wake_stream.notify_one();
    }

    /// Waits until every message is dealt with and then the stream was found empty.
    pub(crate) async fn settled(&self) {
        while !self.0.queue.is_empty().unwrap_or(false) {
            self.wake_queue();
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        let mut passes = self.0.empty_passes.subscribe();
        // The pass under way may have begun before; the one after it has not.
        let enough = *passes.borrow() + 2;
        while *passes.borrow_and_update() < enough {
            self.wake_stream();
            // The pump lives as long as this does.
            let _ = tokio::time::timeout(IDLE, passes.changed()).await;
        }
    }
}

impl Inner {
    async fn poll_queue(&self, stopped: watch::Receiver<bool>) {
        while !*stopped.borrow() {
            match self.queue.receive(self.queue_source.batch_size) {
                Ok(batch) if batch.is_empty() => drop(tokio::time::timeout(IDLE, self.wake_queue.notified()).await),
                Ok(batch) => {
                    if let Err(error) = self.deliver_messages(batch).await {
                        tracing::error!(%error, "the queue pump failed");
                        tokio::time::sleep(IDLE).await;
                    }
                }
                Err(error) => {
                    tracing::error!(%error, "the queue cannot be read");
                    tokio::time::sleep(IDLE).await;
                }
            }
        }
    }

    async fn deliver_messages(&self, batch: Vec<Delivery>) -> Result<(), Failure> {
        let response: Option<SqsBatchResponse> =
            self.invoke(&self.queue_source.function, &events::of_messages(&batch)).await;
        let failed: Option<HashSet<String>> =
            response.map(|response| response.batch_item_failures.into_iter().map(|f| f.item_identifier).collect());
        for message in batch {
            if failed.as_ref().is_some_and(|failed| !failed.contains(&message.id.to_string())) {
                self.queue.acknowledge(message.id)?;
            } else if message.receive_count >= self.queue_source.max_receive_count {
                self.queue.move_to_dead_letters(message.id)?;
            }
        }
        Ok(())
    }

    async fn poll_stream(self: Arc<Self>, stopped: watch::Receiver<bool>) {
        let mut shards: HashMap<String, Shard> = HashMap::new();
        let mut in_flight: JoinSet<Option<(String, Batch)>> = JoinSet::new();
        let mut asked: Option<Instant> = None;
        while !*stopped.borrow() {
            if asked.is_none_or(|asked| asked.elapsed() > NEW_SHARDS) {
                if let Err(error) = self.find_shards(&mut shards).await {
                    // A stream that is not known is not known to be empty: nothing counts as a pass.
                    tracing::error!(%error, "the stream's shards cannot be listed");
                    tokio::time::sleep(IDLE).await;
                    continue;
                }
                asked = Some(Instant::now());
            }
            // A batch in flight may yet write records behind those that this pass reads.
            let idle = in_flight.is_empty();
            let mut records = 0;
            for (name, shard) in &mut shards {
                records += match self.read_shard(shard).await {
                    Ok(count) => count,
                    Err(error) => {
                        tracing::error!(%error, "the stream cannot be read");
                        // The iterator may be too old.
                        if let Ok(renewed) = self.iterator(name, shard.last_read.clone()).await {
                            shard.iterator = renewed;
                        }
                        tokio::time::sleep(IDLE).await;
                        1
                    }
                };
                while let Some(batch) = shard.lanes.next_batch(self.stream_source.batch_size) {
                    in_flight.spawn(self.clone().deliver_batch(name.clone(), batch, stopped.clone()));
                }
            }
            if records == 0 {
                if idle {
                    self.empty_passes.send_modify(|passes| *passes += 1);
                }
                tokio::select! {
                    () = self.wake_stream.notified() => {}
                    Some(ended) = in_flight.join_next() => finish(&mut shards, ended),
                    () = tokio::time::sleep(IDLE) => {}
                }
            }
            while let Some(ended) = in_flight.try_join_next() {
                finish(&mut shards, ended);
            }
            self.set_checkpoints(&mut shards);
        }
        while let Some(ended) = in_flight.join_next().await {
            finish(&mut shards, ended);
        }
        self.set_checkpoints(&mut shards);
    }

    /// Notes the last record of each shard before the first one that is not finished.
    fn set_checkpoints(&self, shards: &mut HashMap<String, Shard>) {
        for (name, shard) in shards {
            let Some(last) = shard.lanes.checkpoint() else { continue };
            if let Err(error) = self.queue.set_checkpoint(&self.place(name), &last) {
                tracing::error!(%error, "a checkpoint cannot be written");
            }
        }
    }

    async fn find_shards(&self, shards: &mut HashMap<String, Shard>) -> Result<(), Failure> {
        let mut start = None;
        loop {
            let request = self.stream.describe_stream().stream_arn(&self.stream_arn);
            let answer = request.set_exclusive_start_shard_id(start).send().await?;
            let Some(description) = answer.stream_description else { return Ok(()) };
            for shard in description.shards.unwrap_or_default().into_iter().filter_map(|shard| shard.shard_id) {
                if let Entry::Vacant(place) = shards.entry(shard) {
                    let last_read = self.queue.checkpoint(&self.place(place.key()))?;
                    let iterator = self.iterator(place.key(), last_read.clone()).await?;
                    place.insert(Shard { iterator, last_read, lanes: Lanes::new(self.stream_source.parallelization) });
                }
            }
            start = description.last_evaluated_shard_id;
            if start.is_none() {
                return Ok(());
            }
        }
    }

    /// The name of a shard's checkpoint: another engine's shards may have the same names.
    fn place(&self, shard: &str) -> String {
        format!("{}/{shard}", self.stream_arn)
    }

    /// An iterator that begins behind the record `after`, or else with the oldest one.
    async fn iterator(&self, shard: &str, after: Option<String>) -> Result<Option<String>, Failure> {
        let kind = match after {
            Some(_) => ShardIteratorType::AfterSequenceNumber,
            None => ShardIteratorType::TrimHorizon,
        };
        let request = self.stream.get_shard_iterator().stream_arn(&self.stream_arn).shard_id(shard);
        let answer = request.shard_iterator_type(kind).set_sequence_number(after).send().await?;
        Ok(answer.shard_iterator)
    }

    /// Reads on in a shard, unless its lanes are full, and returns the number of records.
    async fn read_shard(&self, shard: &mut Shard) -> Result<usize, Failure> {
        let Some(from) = shard.iterator.clone().filter(|_| shard.lanes.len() < READ_AHEAD) else { return Ok(0) };
        let answer = self.stream.get_records().shard_iterator(from).limit(READ_AHEAD as i32).send().await?;
        let records = answer.records.unwrap_or_default();
        for event in records.iter().map(events::of_record) {
            let wanted = template::matches(&self.stream_source.filters, &event);
            shard.last_read = sequence_number(&event).map(str::to_owned).or(shard.last_read.take());
            shard.lanes.push(event, wanted);
        }
        shard.iterator = answer.next_shard_iterator;
        Ok(records.len())
    }

    /// Returns a batch with its shard when all its records are finished; `None` where the system ended before.
    async fn deliver_batch(
        self: Arc<Self>,
        shard: String,
        batch: Batch,
        stopped: watch::Receiver<bool>,
    ) -> Option<(String, Batch)> {
        let delivered = self.deliver_records(&batch.events(), &stopped).await;
        delivered.then_some((shard, batch))
    }

    /// Invokes the function until a batch is done, as Lambda does: after a report with the rest from the reported record
    /// on, and where a function of a larger batch fails as a whole, with each half of it. A record that grew too old is
    /// set aside. Returns false where the system ended between two attempts: the next start begins with this batch again.
    async fn deliver_records(&self, batch: &[&Value], stopped: &watch::Receiver<bool>) -> bool {
        let (mut left, mut tries) = (vec![batch], 0);
        while let Some(batch) = left.pop() {
            let response: Option<DynamoDbEventResponse> =
                self.invoke(&self.stream_source.function, &json!({ "Records": batch })).await;
            let first = match &response {
                None => Some(0),
                Some(response) => {
                    let failures = response.batch_item_failures.iter();
                    let failed: HashSet<_> = failures.filter_map(|f| f.item_identifier.as_deref()).collect();
                    batch.iter().position(|e| sequence_number(e).is_some_and(|n| failed.contains(n)))
                }
            };
            let Some(rest) = first.map(|first| &batch[first..]) else {
                tries = 0;
                continue;
            };
            tries = if first == Some(0) { tries + 1 } else { 1 };
            let (half, other) = rest.split_at(rest.len() / 2);
            if events::age(rest[0]) > self.stream_source.max_age {
                tracing::error!(sequence = sequence_number(rest[0]), "a record of the stream is a dead letter");
                left.push(&rest[1..]);
            } else if response.is_none() {
                left.extend([other, half]);
            } else {
                left.push(rest);
            }
            left.retain(|batch| !batch.is_empty());
            if *stopped.borrow() {
                return false;
            }
            tokio::time::sleep(Duration::from_millis(10 << tries.min(6))).await;
        }
        true
    }

    /// What a function answers; `None`, as the whole batch failing, where it has no answer.
    async fn invoke<T: DeserializeOwned>(&self, function: &str, event: &Value) -> Option<T> {
        let answer = self.functions.invoke(function, event).await.ok()?;
        serde_json::from_slice(&answer).ok()
    }
}

/// Ends a batch, so that its lane takes the next one.
fn finish(shards: &mut HashMap<String, Shard>, ended: Result<Option<(String, Batch)>, JoinError>) {
    match ended {
        Ok(Some((shard, batch))) => drop(shards.get_mut(&shard).map(|shard| shard.lanes.finish(&batch))),
        // The system ends.
        Ok(None) => {}
        Err(error) => tracing::error!(%error, "a lane of the stream failed"),
    }
}
