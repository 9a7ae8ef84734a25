//! Driven by the table's stream: keeps the index in line with the people who changed, and counts the
//! orders that are asked for deep pages.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use aws_lambda_events::dynamodb::{Event, EventRecord};
use aws_lambda_events::streams::{DynamoDbBatchItemFailure, DynamoDbEventResponse};
use shared::app::App;
use shared::domain::end_user::SortField;
use shared::domain::ids::{EndUserId, Tenant};
use shared::store::{Meter, keys};

/// What a record of the stream asks for.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Task {
    /// To index a person.
    Index(EndUserId),
    /// To count on in an order.
    Count(SortField),
}

/// Indexes every person of the batch once, as it is now; what the records say of it is not looked
/// at. The batch is resumed from the first record whose task could not be done.
pub async fn handle(app: &App, event: Event, deadline: Instant) -> DynamoDbEventResponse {
    let mut tenants: BTreeMap<Tenant, BTreeSet<Task>> = BTreeMap::new();
    for (tenant, task) in event.records.iter().filter_map(task) {
        tenants.entry(tenant).or_default().insert(task);
    }
    let mut failed = BTreeSet::new();
    for (tenant, tasks) in tenants {
        let undone = act(app, &tenant, tasks, deadline).await;
        failed.extend(undone.into_iter().map(|task| (tenant.clone(), task)));
    }

    let mut response = DynamoDbEventResponse::default();
    let of_failed = |record: &&EventRecord| task(record).is_some_and(|task| failed.contains(&task));
    if let Some(first) = event.records.iter().find(of_failed) {
        let mut failure = DynamoDbBatchItemFailure::default();
        failure.item_identifier = first.change.sequence_number.clone();
        response.batch_item_failures.push(failure);
    }
    response
}

/// Does a tenant's tasks; answers those that could not be done. People who cannot be indexed together
/// are indexed one by one, so that one of whom no item can be read or written stops no other.
async fn act(app: &App, tenant: &Tenant, tasks: BTreeSet<Task>, deadline: Instant) -> Vec<Task> {
    let mut people = BTreeSet::new();
    let mut undone = Vec::new();
    for task in tasks {
        match task {
            Task::Index(id) => drop(people.insert(id)),
            Task::Count(field) => {
                let meter = Meter::default();
                let result = app.scope(tenant, &meter, deadline).count_on(field).await;
                if !shared::bootstrap::log_event("count", tenant, &meter, result.as_ref().err()) {
                    undone.push(task);
                }
            }
        }
    }
    if people.is_empty() || index(app, tenant, &people, deadline).await {
        return undone;
    }
    for id in people {
        if !index(app, tenant, &BTreeSet::from([id]), deadline).await {
            undone.push(Task::Index(id));
        }
    }
    undone
}

async fn index(app: &App, tenant: &Tenant, people: &BTreeSet<EndUserId>, deadline: Instant) -> bool {
    let meter = Meter::default();
    let result = app.scope(tenant, &meter, deadline).index_end_users(people.iter().copied()).await;
    shared::bootstrap::log_event("index", tenant, &meter, result.as_ref().err())
}

/// What the record asks for, and of whom: it is of a document or of a counted order.
pub fn task(record: &EventRecord) -> Option<(Tenant, Task)> {
    #[derive(serde::Deserialize)]
    struct Keys {
        pk: String,
        sk: String,
    }
    let Keys { pk, sk } = serde_dynamo::from_item(record.change.keys.clone()).ok()?;
    let person = keys::read_end_user(&pk, &sk).map(|(tenant, id)| (tenant, Task::Index(id)));
    person.or_else(|| keys::read_counted_order(&pk, &sk).map(|(tenant, field)| (tenant, Task::Count(field))))
}
