//! The Lambda binary of [`get_end_user`].

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_runtime::Error> {
    shared::bootstrap::run_http(|app, db, request| Box::pin(get_end_user::handle(app, db, request))).await
}
