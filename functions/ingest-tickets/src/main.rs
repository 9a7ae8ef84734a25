//! The Lambda binary of [`ingest_tickets`].

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_runtime::Error> {
    shared::bootstrap::run_sqs(|app, event, deadline| Box::pin(ingest_tickets::handle(app, event, deadline))).await
}
