//! `PUT /api/EndUsers/{id}`: updates an end user, and adds, updates or removes UIDs.

use shared::app::App;
use shared::bootstrap::{Code, Function};
use shared::domain::end_user::EndUserUpdate;
use shared::http::{Error, Request, Response};
use shared::store::Scope;

/// The function, for its binary and for `local`.
pub const FUNCTION: Function =
    Function { name: env!("CARGO_PKG_NAME"), code: Code::Http(|app, db, request| Box::pin(handle(app, db, request))) };

/// Reads an EndUserUpdateDTO. Returns 204, 404, 308 if the end user was merged, or 412 if the revision does not meet
/// the precondition.
pub async fn handle(app: &App, db: &Scope<'_>, request: &Request) -> Result<Response, Error> {
    let id = request.end_user_id()?;
    let (update, precondition) = request.conditional(|json| EndUserUpdate::read(json, app.default_region()))?;
    db.update_end_user(id, &update, &precondition).await?;
    Ok(Response::no_content())
}
