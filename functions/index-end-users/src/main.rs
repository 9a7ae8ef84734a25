//! The Lambda binary of [`index_end_users`].

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_runtime::Error> {
    shared::bootstrap::run_stream(|app, event, deadline| Box::pin(index_end_users::handle(app, event, deadline))).await
}
