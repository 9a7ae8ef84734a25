//! The Lambda binary of [`find_end_users_by_uid`].

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_runtime::Error> {
    shared::bootstrap::run_http(|app, db, request| Box::pin(find_end_users_by_uid::handle(app, db, request))).await
}
