//! `GET /api/EndUsers/{id}`: one end user.

use shared::app::App;
use shared::bootstrap::{Code, Function};
use shared::domain::end_user::EndUserReadDto;
use shared::http::{Error, Request, Response};
use shared::store::Scope;

/// The function, for its binary and for `local`.
pub const FUNCTION: Function =
    Function { name: env!("CARGO_PKG_NAME"), code: Code::Http(|app, db, request| Box::pin(handle(app, db, request))) };

/// Returns 200 with the EndUserReadDTO and its ETag, 304 if the caller has that revision, 412 or 404,
/// or 308 if the end user was merged.
pub async fn handle(_: &App, db: &Scope<'_>, request: &Request) -> Result<Response, Error> {
    let id = request.end_user_id()?;
    let precondition = request.precondition()?;
    let end_user = db.end_user(id).await?;
    Response::ok(&EndUserReadDto::from(&end_user))?.conditional(&precondition, end_user.revision())
}
