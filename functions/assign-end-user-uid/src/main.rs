//! The Lambda binary of [`assign_end_user_uid`].

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_runtime::Error> {
    shared::bootstrap::run_http(|app, db, request| Box::pin(assign_end_user_uid::handle(app, db, request))).await
}
