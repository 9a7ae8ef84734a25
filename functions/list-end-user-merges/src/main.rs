//! The Lambda binary of [`list_end_user_merges`].

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_runtime::Error> {
    shared::bootstrap::run(list_end_user_merges::FUNCTION).await
}
