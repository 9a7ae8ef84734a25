//! The Lambda binary of [`upsert_end_users`].

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_runtime::Error> {
    shared::bootstrap::run(upsert_end_users::FUNCTION).await
}
