//! The Lambda binary of [`create_end_user`].

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_runtime::Error> {
    shared::bootstrap::run(create_end_user::FUNCTION).await
}
