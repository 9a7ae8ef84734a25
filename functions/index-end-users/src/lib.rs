//! Driven by the table's stream: keeps the index in line with the people who changed.

use std::collections::HashSet;
use std::time::Instant;

use aws_lambda_events::dynamodb::{Event, EventRecord};
use aws_lambda_events::streams::{DynamoDbBatchItemFailure, DynamoDbEventResponse};
use futures::StreamExt;
use shared::app::App;
use shared::domain::ids::{EndUserId, Tenant};
use shared::store::{Meter, keys};

/// How many people are indexed at once.
const AT_ONCE: usize = 16;

/// Indexes every person of the batch once, as it is now; what the records say of it is not looked
/// at. The batch is resumed from the first record whose person could not be indexed.
pub async fn handle(app: &App, event: Event, deadline: Instant) -> DynamoDbEventResponse {
    let people: HashSet<_> = event.records.iter().filter_map(person).collect();
    let indexed = futures::stream::iter(people).map(async |person| {
        let done = index(app, &person, deadline).await;
        (!done).then_some(person)
    });
    let failed: HashSet<_> = indexed.buffer_unordered(AT_ONCE).filter_map(std::future::ready).collect().await;

    let mut response = DynamoDbEventResponse::default();
    if let Some(first) =
        event.records.iter().find(|record| person(record).is_some_and(|person| failed.contains(&person)))
    {
        let mut failure = DynamoDbBatchItemFailure::default();
        failure.item_identifier = first.change.sequence_number.clone();
        response.batch_item_failures.push(failure);
    }
    response
}

async fn index(app: &App, (tenant, id): &(Tenant, EndUserId), deadline: Instant) -> bool {
    let meter = Meter::default();
    let result = app.scope(tenant, &meter, deadline).index_end_user(*id).await;
    shared::bootstrap::log_event("index", tenant, &meter, result.as_ref().err())
}

/// Whose document the record is of, where it is one.
pub fn person(record: &EventRecord) -> Option<(Tenant, EndUserId)> {
    #[derive(serde::Deserialize)]
    struct Keys {
        pk: String,
        sk: String,
    }
    let keys: Keys = serde_dynamo::from_item(record.change.keys.clone()).ok()?;
    keys::read_end_user(&keys.pk, &keys.sk)
}
