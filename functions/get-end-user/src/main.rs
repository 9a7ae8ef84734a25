//! The Lambda binary of [`get_end_user`].

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_runtime::Error> {
    shared::bootstrap::run(get_end_user::FUNCTION).await
}
