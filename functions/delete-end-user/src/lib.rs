//! `DELETE /api/EndUsers/{id}`: deletes an end user. Tickets stay.

use shared::app::App;
use shared::bootstrap::{Code, Function};
use shared::http::{Error, Request, Response};
use shared::store::Scope;

/// The function, for its binary and for `local`.
pub const FUNCTION: Function =
    Function { name: env!("CARGO_PKG_NAME"), code: Code::Http(|app, db, request| Box::pin(handle(app, db, request))) };

/// Returns 204, 404, or 412 if the revision does not meet the precondition.
pub async fn handle(_: &App, db: &Scope<'_>, request: &Request) -> Result<Response, Error> {
    let id = request.end_user_id()?;
    db.delete_end_user(id, &request.precondition()?).await?;
    Ok(Response::no_content())
}
