//! Functions that a queue invokes.

use std::collections::BTreeSet;
use std::time::Instant;

use aws_lambda_events::sqs::{SqsBatchResponse, SqsEvent};
use futures::future::BoxFuture;
use lambda_runtime::LambdaEvent;

use super::deadline;
use crate::app::App;
use crate::domain::input::ValidationErrors;
use crate::domain::ticket;

/// The handler of a function that a queue invokes. It has until the given time.
pub type QueueHandler = for<'a> fn(&'a App, SqsEvent, Instant) -> BoxFuture<'a, SqsBatchResponse>;

/// Handles one invocation of a function that a queue invokes.
pub async fn on_messages(app: &App, handler: QueueHandler, event: LambdaEvent<SqsEvent>) -> SqsBatchResponse {
    handler(app, event.payload, deadline(&event.context)).await
}

/// The response to a batch: the ids of the messages that failed. The queue delivers them again.
pub fn report_failures(message_ids: impl IntoIterator<Item = String>) -> SqsBatchResponse {
    let mut response = SqsBatchResponse::default();
    response.set_failures(message_ids);
    response
}

/// Logs the invalid members of an event. Messages contain no values. The name of an undocumented member is not logged,
/// because it may be personal data.
pub fn log_invalid_event(errors: &ValidationErrors) {
    let members: BTreeSet<_> = errors.as_map().keys().map(|path| ticket::known_member(path)).collect();
    tracing::warn!(?members, "invalid ticket event");
}
