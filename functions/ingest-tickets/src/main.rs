//! The Lambda binary of [`ingest_tickets`].

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_runtime::Error> {
    shared::bootstrap::run(ingest_tickets::FUNCTION).await
}
