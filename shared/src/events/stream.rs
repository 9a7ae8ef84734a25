//! Functions that the table's stream invokes.

use std::time::Instant;

use aws_lambda_events::dynamodb::{Event, EventRecord};
use aws_lambda_events::streams::{DynamoDbBatchItemFailure, DynamoDbEventResponse};
use futures::future::BoxFuture;
use lambda_runtime::LambdaEvent;

use super::deadline;
use crate::app::App;

/// The handler of a function that the table's stream invokes. It has until the given time.
pub type StreamHandler = for<'a> fn(&'a App, Event, Instant) -> BoxFuture<'a, DynamoDbEventResponse>;

/// Handles one invocation of a function that the table's stream invokes.
pub async fn on_records(app: &App, handler: StreamHandler, event: LambdaEvent<Event>) -> DynamoDbEventResponse {
    handler(app, event.payload, deadline(&event.context)).await
}

/// The response to a batch whose first unfinished record is `first`. Lambda retries from that record.
pub fn resume_from(first: Option<&EventRecord>) -> DynamoDbEventResponse {
    let mut response = DynamoDbEventResponse::default();
    if let Some(record) = first {
        let mut failure = DynamoDbBatchItemFailure::default();
        failure.item_identifier = record.change.sequence_number.clone();
        response.batch_item_failures.push(failure);
    }
    response
}
