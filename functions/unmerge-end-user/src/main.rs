//! The Lambda binary of [`unmerge_end_user`].

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_runtime::Error> {
    shared::bootstrap::run(unmerge_end_user::FUNCTION).await
}
