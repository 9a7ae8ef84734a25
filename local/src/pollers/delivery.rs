//! The delivery of one batch of the stream to its function.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use aws_lambda_events::streams::DynamoDbEventResponse;
use serde_json::{Value, json};
use tokio::sync::watch;

use super::invoke;
use crate::events::{self, sequence_number};
use crate::functions::Functions;
use crate::template::StreamSource;

/// Invokes the function until every record of a batch is finished, as Lambda does. If the function reports a failed
/// record, the next batch starts with that record. If a batch fails as a whole, its halves are delivered separately. A
/// record that exceeds the maximum age is a dead letter.
///
/// Returns false if the system stops between two attempts; the next start reads the batch again.
pub(super) async fn deliver(
    functions: &Arc<Functions>,
    source: &StreamSource,
    batch: &[&Value],
    stopped: &watch::Receiver<bool>,
) -> bool {
    let (mut pending, mut attempts) = (vec![batch], 0);
    while let Some(batch) = pending.pop() {
        let event = json!({ "Records": batch });
        let response: Option<DynamoDbEventResponse> = invoke(functions, &source.function, &event).await;
        let first_failed = match &response {
            None => Some(0),
            Some(response) => {
                let failures = response.batch_item_failures.iter();
                let failed: HashSet<_> = failures.filter_map(|f| f.item_identifier.as_deref()).collect();
                batch.iter().position(|record| sequence_number(record).is_some_and(|n| failed.contains(n)))
            }
        };
        let Some(rest) = first_failed.map(|first| &batch[first..]) else {
            attempts = 0;
            continue;
        };
        attempts = if first_failed == Some(0) { attempts + 1 } else { 1 };
        let (first_half, second_half) = rest.split_at(rest.len() / 2);
        if events::age(rest[0]) > source.max_age {
            tracing::error!(sequence = sequence_number(rest[0]), "stream record is a dead letter");
            pending.push(&rest[1..]);
        } else if response.is_none() {
            pending.extend([second_half, first_half]);
        } else {
            pending.push(rest);
        }
        pending.retain(|batch| !batch.is_empty());
        if *stopped.borrow() {
            return false;
        }
        tokio::time::sleep(Duration::from_millis(10 << attempts.min(6))).await;
    }
    true
}
