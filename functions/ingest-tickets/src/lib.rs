//! Driven by the queue of ticket events: takes in tickets and messages.

use std::time::Instant;

use aws_lambda_events::sqs::{SqsBatchResponse, SqsEvent};
use shared::app::App;
use shared::domain::ticket::Event;
use shared::store::Meter;

/// Takes in every event of the batch by itself; those that are bad or could not be written are
/// reported, and leave their neighbours alone.
pub async fn handle(app: &App, event: SqsEvent, deadline: Instant) -> SqsBatchResponse {
    let taken = event.records.into_iter().map(async |message| {
        let taken = take_in(app, message.body.as_deref().unwrap_or_default(), deadline).await;
        (!taken).then(|| message.message_id.unwrap_or_default())
    });
    let failed = futures::future::join_all(taken).await;
    let mut response = SqsBatchResponse::default();
    response.set_failures(failed.into_iter().flatten());
    response
}

async fn take_in(app: &App, body: &str, deadline: Instant) -> bool {
    let event = match Event::parse(body.as_bytes()) {
        Ok(event) => event,
        Err(errors) => {
            shared::bootstrap::log_bad_event(&errors);
            return false;
        }
    };
    let meter = Meter::default();
    let result = app.scope(&event.tenant, &meter, deadline).take_ticket_event(&event).await;
    shared::bootstrap::log_event(shared::bootstrap::Operation::Ingest, &event.tenant, &meter, result.as_ref().err())
}
