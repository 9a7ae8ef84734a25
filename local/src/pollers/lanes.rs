//! The records of one shard of the stream that are read but not checkpointed.

use std::collections::VecDeque;
use std::hash::{DefaultHasher, Hash, Hasher};

use serde_json::Value;

use crate::events::sequence_number;

/// Lanes that are delivered concurrently, each one batch at a time. As on Lambda, the records of one item (partition
/// and sort key) are in one lane and keep their order; records of different items can overtake each other.
pub(crate) struct Lanes {
    lanes: Vec<Lane>,
    /// The records from the first unfinished one on, in the order of the shard: sequence number, and whether it is
    /// finished.
    records: VecDeque<(Option<String>, bool)>,
    /// The position of the first of `records` in the shard.
    first: usize,
}

#[derive(Default)]
struct Lane {
    /// The undelivered records with their positions in the shard.
    waiting: VecDeque<(usize, Value)>,
    is_busy: bool,
}

/// Records of one lane that are delivered in one event.
pub(crate) struct Batch {
    lane: usize,
    records: Vec<(usize, Value)>,
}

impl Batch {
    pub(crate) fn events(&self) -> Vec<&Value> {
        self.records.iter().map(|(_, event)| event).collect()
    }
}

impl Lanes {
    pub(crate) fn new(count: usize) -> Self {
        let lanes = std::iter::repeat_with(Lane::default).take(count.max(1)).collect();
        Self { lanes, records: VecDeque::new(), first: 0 }
    }

    /// The number of records from the first unfinished one on.
    pub(crate) fn len(&self) -> usize {
        self.records.len()
    }

    /// Adds the next record of the shard. A record that the filter drops (`is_wanted` is false) is finished at once.
    pub(crate) fn push(&mut self, event: Value, is_wanted: bool) {
        let position = self.first + self.records.len();
        self.records.push_back((sequence_number(&event).map(str::to_owned), !is_wanted));
        if is_wanted {
            let mut hasher = DefaultHasher::new();
            event["dynamodb"]["Keys"].hash(&mut hasher);
            let lane = hasher.finish() as usize % self.lanes.len();
            self.lanes[lane].waiting.push_back((position, event));
        }
    }

    /// Takes the oldest records, at most `size`, of a lane that has no batch in flight.
    pub(crate) fn next_batch(&mut self, size: usize) -> Option<Batch> {
        let free = |lane: &Lane| !lane.is_busy && !lane.waiting.is_empty();
        let at = self.lanes.iter().position(free)?;
        let lane = &mut self.lanes[at];
        lane.is_busy = true;
        let records = lane.waiting.drain(..lane.waiting.len().min(size.max(1))).collect();
        Some(Batch { lane: at, records })
    }

    /// Finishes a batch of which every record is processed or a dead letter.
    pub(crate) fn finish(&mut self, batch: &Batch) {
        self.lanes[batch.lane].is_busy = false;
        for (position, _) in &batch.records {
            self.records[position - self.first].1 = true;
        }
    }

    /// Returns the sequence number of the last record before the first unfinished one, or `None` if it is the same as
    /// at the last call.
    pub(crate) fn checkpoint(&mut self) -> Option<String> {
        let finished = self.records.iter().take_while(|(_, finished)| *finished).count();
        self.first += finished;
        self.records.drain(..finished).filter_map(|(sequence, _)| sequence).next_back()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn record(sequence: usize, item: usize) -> Value {
        json!({ "dynamodb": { "SequenceNumber": sequence.to_string(), "Keys": { "pk": { "S": item.to_string() } } } })
    }

    fn sequences(batch: &Batch) -> Vec<usize> {
        let sequences = batch.events().into_iter().filter_map(sequence_number);
        sequences.map(|sequence| sequence.parse().expect("a number")).collect()
    }

    fn batches(lanes: &mut Lanes, size: usize) -> Vec<Batch> {
        std::iter::from_fn(|| lanes.next_batch(size)).collect()
    }

    #[test]
    fn records_of_one_item_keep_their_order() {
        let mut lanes = Lanes::new(10);
        (0..100).for_each(|n| lanes.push(record(n, n % 20), true));
        let (mut next, mut in_flight) = ([0; 20], Vec::new());
        loop {
            in_flight.extend(batches(&mut lanes, 3));
            assert!(in_flight.len() <= 10, "{} batches", in_flight.len());
            // The last batch finishes first.
            let Some(batch) = in_flight.pop() else { break };
            for sequence in sequences(&batch) {
                assert_eq!(sequence / 20, next[sequence % 20], "item {}", sequence % 20);
                next[sequence % 20] += 1;
            }
            lanes.finish(&batch);
        }
        assert_eq!(next, [5; 20]);
    }

    #[test]
    fn checkpoint_waits_for_every_earlier_record() {
        let mut lanes = Lanes::new(10);
        lanes.push(record(0, 0), false);
        assert_eq!(lanes.checkpoint().as_deref(), Some("0"));
        (1..9).for_each(|n| lanes.push(record(n, n), true));
        lanes.push(record(9, 9), false);
        let mut in_flight = batches(&mut lanes, 100);
        let at = in_flight.iter().position(|batch| sequences(batch).contains(&1)).expect("a batch");
        let slow = in_flight.remove(at);
        in_flight.iter().for_each(|batch| lanes.finish(batch));
        assert_eq!((lanes.checkpoint(), lanes.len()), (None, 9));
        lanes.finish(&slow);
        assert_eq!(lanes.checkpoint().as_deref(), Some("9"));
        assert_eq!((lanes.checkpoint(), lanes.len()), (None, 0));
    }
}
