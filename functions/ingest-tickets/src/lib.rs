//! Ingests ticket events: the queue invokes this function.

use std::time::Instant;

use aws_lambda_events::sqs::{SqsBatchResponse, SqsEvent};
use shared::app::App;
use shared::bootstrap::{Code, Function};
use shared::domain::ticket::Event;
use shared::events::queue::{log_invalid_event, report_failures};
use shared::events::{Operation, log_operation};
use shared::store::Meter;

/// The function, for its binary and for `local`.
pub const FUNCTION: Function = Function {
    name: env!("CARGO_PKG_NAME"),
    code: Code::Queue(|app, event, deadline| Box::pin(handle(app, event, deadline))),
};

/// Ingests every event of the batch by itself. Reports the events that are invalid or could not be written; they do not
/// affect the others.
pub async fn handle(app: &App, event: SqsEvent, deadline: Instant) -> SqsBatchResponse {
    let ingested = event.records.into_iter().map(async |message| {
        let ingested = ingest(app, message.body.as_deref().unwrap_or_default(), deadline).await;
        (!ingested).then(|| message.message_id.unwrap_or_default())
    });
    let failed = futures::future::join_all(ingested).await;
    report_failures(failed.into_iter().flatten())
}

/// Ingests one event, and returns whether it succeeded.
async fn ingest(app: &App, body: &str, deadline: Instant) -> bool {
    let event = match Event::parse(body.as_bytes()) {
        Ok(event) => event,
        Err(errors) => {
            log_invalid_event(&errors);
            return false;
        }
    };
    let meter = Meter::default();
    let result = app.scope(&event.tenant, &meter, deadline).take_ticket_event(&event).await;
    log_operation(Operation::Ingest, &event.tenant, &meter, result.as_ref().err())
}
