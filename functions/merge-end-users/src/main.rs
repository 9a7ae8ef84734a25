//! The Lambda binary of [`merge_end_users`].

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_runtime::Error> {
    shared::bootstrap::run(merge_end_users::FUNCTION).await
}
