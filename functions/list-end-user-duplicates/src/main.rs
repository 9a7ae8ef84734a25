//! The Lambda binary of [`list_end_user_duplicates`].

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_runtime::Error> {
    shared::bootstrap::run(list_end_user_duplicates::FUNCTION).await
}
