//! The Lambda binary of [`upsert_end_user`].

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_runtime::Error> {
    shared::bootstrap::run(upsert_end_user::FUNCTION).await
}
