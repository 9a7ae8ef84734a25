//! The Lambda binary of [`index_end_users`].

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_runtime::Error> {
    shared::bootstrap::run(index_end_users::FUNCTION).await
}
