//! Updates the index of changed end users, builds rank indexes, and erases what deleted end users leave behind: the
//! table's stream invokes this function.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use aws_lambda_events::dynamodb::{Event, EventRecord};
use aws_lambda_events::streams::DynamoDbEventResponse;
use shared::app::App;
use shared::bootstrap::{Code, Function};
use shared::domain::end_user::SortField;
use shared::domain::ids::{EndUserId, Tenant};
use shared::events::stream::resume_from;
use shared::events::{Operation, log_operation};
use shared::store::{Meter, Remains, keys};

/// The function, for its binary and for `local`.
pub const FUNCTION: Function = Function {
    name: env!("CARGO_PKG_NAME"),
    code: Code::Stream(|app, event, deadline| Box::pin(handle(app, event, deadline))),
};

/// A task of a record of the stream.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Task {
    /// Indexes an end user.
    Index(EndUserId),
    /// Builds the next step of a rank index.
    Count(SortField),
    /// Erases what a deleted end user leaves behind.
    Erase(EndUserId, Remains),
}

/// Number of tasks of one tenant that run together. A group that fails or is slow delays the others by at most
/// [`GROUP_TIME`].
const GROUP_SIZE: usize = 8;
/// Time limit of a group, and of indexing its end users one by one if the group fails.
const GROUP_TIME: Duration = Duration::from_secs(10);
/// Minimum remaining time to start a group, so that the function can still report its progress.
const MIN_TIME_LEFT: Duration = Duration::from_secs(2);

/// Runs the distinct tasks of the batch. An end user is indexed as it is now, never from the record's image. Tenants
/// take turns, one group at a time, so that no tenant waits for all tasks of another. Lambda retries from the first
/// record with an unfinished task.
pub async fn handle(app: &App, event: Event, deadline: Instant) -> DynamoDbEventResponse {
    let mut left: BTreeSet<(Tenant, Task)> = event.records.iter().flat_map(tasks).collect();
    let mut queues: BTreeMap<Tenant, VecDeque<Task>> = BTreeMap::new();
    for (tenant, task) in left.clone() {
        queues.entry(tenant).or_default().push_back(task);
    }
    // Tenants with the fewest tasks come first.
    let mut queues: Vec<_> = queues.into_iter().collect();
    queues.sort_by_key(|(_, tasks)| tasks.len());
    'turns: while !queues.is_empty() {
        for (tenant, tasks) in &mut queues {
            if deadline.saturating_duration_since(Instant::now()) < MIN_TIME_LEFT {
                break 'turns;
            }
            let group = tasks.drain(..tasks.len().min(GROUP_SIZE)).collect();
            for done in run(app, tenant, group, deadline).await {
                left.remove(&(tenant.clone(), done));
            }
        }
        queues.retain(|(_, tasks)| !tasks.is_empty());
    }

    resume_from(event.records.iter().find(|record| tasks(record).iter().any(|task| left.contains(task))))
}

/// Runs a group of a tenant's tasks, and returns the finished ones. If indexing the end users together fails, they are
/// indexed one by one, so that a broken end user does not block the others.
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
            Task::Erase(id, remains) => (Operation::Erase, scope.erase_remains(*id, remains).await),
        };
        if log_operation(operation, tenant, &meter, result.as_ref().err()) {
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
    log_operation(Operation::Index, tenant, &meter, result.as_ref().err())
}

/// The tasks of a record of an end user or a rank index, with their tenant.
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
        let remains = Remains::read(record.change.old_image.clone());
        tasks.extend(remains.map(|remains| (tenant, Task::Erase(id, remains))));
    }
    tasks
}
