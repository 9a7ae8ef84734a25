//! The Lambda binary of [`assign_end_user_uid`].

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_runtime::Error> {
    shared::bootstrap::run(assign_end_user_uid::FUNCTION).await
}
