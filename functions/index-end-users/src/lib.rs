//! Driven by the table's stream: keeps the index in line with the end users that changed, counts the
//! orders that are asked for deep pages, and erases what a deleted end user leaves.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use aws_lambda_events::dynamodb::{Event, EventRecord};
use aws_lambda_events::streams::{DynamoDbBatchItemFailure, DynamoDbEventResponse};
use shared::app::App;
use shared::bootstrap::{Operation, log_event};
use shared::domain::end_user::SortField;
use shared::domain::ids::{EndUserId, Tenant};
use shared::store::{Meter, StoredResponse, keys, stored_responses};

/// What a record of the stream asks for.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Task {
    /// To index an end user.
    Index(EndUserId),
    /// To count on in an order.
    Count(SortField),
    /// To erase the responses that a deleted end user leaves.
    Erase(EndUserId, Vec<StoredResponse>),
}

/// How many end users are indexed together. A group that fails or is slow holds up the others no longer than its own time.
const GROUP: usize = 8;
/// How long a group may take, and how long its end users may take one by one where the group fails.
const GROUP_TIME: Duration = Duration::from_secs(10);
/// No group begins with less time left than this, so that what was done is still reported.
const LEAST_TIME: Duration = Duration::from_secs(2);

/// Indexes every end user of the batch once, as it is now, and erases the stored responses of deleted ones. Tenants take turns, a
/// group at a time, so that none waits for all of another's. The batch is resumed from the first record whose task was
/// not done.
pub async fn handle(app: &App, event: Event, deadline: Instant) -> DynamoDbEventResponse {
    let mut left: BTreeSet<(Tenant, Task)> = event.records.iter().flat_map(tasks).collect();
    let mut queues: BTreeMap<Tenant, VecDeque<Task>> = BTreeMap::new();
    for (tenant, task) in left.clone() {
        queues.entry(tenant).or_default().push_back(task);
    }
    // The tenants with the least to do come first.
    let mut queues: Vec<_> = queues.into_iter().collect();
    queues.sort_by_key(|(_, tasks)| tasks.len());
    'turns: while !queues.is_empty() {
        for (tenant, tasks) in &mut queues {
            if deadline.saturating_duration_since(Instant::now()) < LEAST_TIME {
                break 'turns;
            }
            let group = tasks.drain(..tasks.len().min(GROUP)).collect();
            for done in run(app, tenant, group, deadline).await {
                left.remove(&(tenant.clone(), done));
            }
        }
        queues.retain(|(_, tasks)| !tasks.is_empty());
    }

    let mut response = DynamoDbEventResponse::default();
    let is_left = |record: &&EventRecord| tasks(record).iter().any(|task| left.contains(task));
    if let Some(first) = event.records.iter().find(is_left) {
        let mut failure = DynamoDbBatchItemFailure::default();
        failure.item_identifier = first.change.sequence_number.clone();
        response.batch_item_failures.push(failure);
    }
    response
}

/// Does a group of a tenant's tasks, and returns those that are done. End users that cannot be indexed together are
/// indexed one by one, so that one that cannot be read or written stops no other.
async fn run(app: &App, tenant: &Tenant, tasks: Vec<Task>, deadline: Instant) -> Vec<Task> {
    let within = || deadline.min(Instant::now() + GROUP_TIME);
    let mut end_users = BTreeSet::new();
    let mut done = Vec::new();
    for task in tasks {
        let meter = Meter::default();
        let scope = app.scope(tenant, &meter, within());
        let (operation, result) = match &task {
            Task::Index(id) => {
                end_users.insert(*id);
                continue;
            }
            Task::Count(field) => (Operation::Count, scope.build_next(*field).await),
            Task::Erase(id, responses) => (Operation::Erase, scope.erase_responses(*id, responses).await),
        };
        if log_event(operation, tenant, &meter, result.as_ref().err()) {
            done.push(task);
        }
    }
    if end_users.is_empty() || index(app, tenant, &end_users, within()).await {
        done.extend(end_users.into_iter().map(Task::Index));
        return done;
    }
    let deadline = within();
    for id in end_users {
        if index(app, tenant, &BTreeSet::from([id]), deadline).await {
            done.push(Task::Index(id));
        }
    }
    done
}

async fn index(app: &App, tenant: &Tenant, end_users: &BTreeSet<EndUserId>, deadline: Instant) -> bool {
    let meter = Meter::default();
    let result = app.scope(tenant, &meter, deadline).index_end_users(end_users.iter().copied()).await;
    log_event(Operation::Index, tenant, &meter, result.as_ref().err())
}

/// The tasks of a record, which is about a document or a counted order, and their tenant.
pub fn tasks(record: &EventRecord) -> Vec<(Tenant, Task)> {
    #[derive(serde::Deserialize)]
    struct Keys {
        pk: String,
        sk: String,
    }
    let Ok(Keys { pk, sk }) = serde_dynamo::from_item(record.change.keys.clone()) else { return Vec::new() };
    if let Some((tenant, field)) = keys::read_rank_index(&pk, &sk) {
        return vec![(tenant, Task::Count(field))];
    }
    let Some((tenant, id)) = keys::read_end_user(&pk, &sk) else { return Vec::new() };
    let mut tasks = vec![(tenant.clone(), Task::Index(id))];
    if record.change.new_image.is_empty() {
        let left = stored_responses(record.change.old_image.clone());
        tasks.extend((!left.is_empty()).then_some((tenant, Task::Erase(id, left))));
    }
    tasks
}
