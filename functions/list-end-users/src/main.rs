//! The Lambda binary of [`list_end_users`].

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_runtime::Error> {
    shared::bootstrap::run_http(|app, db, request| Box::pin(list_end_users::handle(app, db, request))).await
}
