//! The Lambda binary of [`find_end_users_by_uid`].

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_runtime::Error> {
    shared::bootstrap::run(find_end_users_by_uid::FUNCTION).await
}
