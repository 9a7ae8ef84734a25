//! The Lambda binary of [`look_up_end_users`].

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_runtime::Error> {
    shared::bootstrap::run(look_up_end_users::FUNCTION).await
}
