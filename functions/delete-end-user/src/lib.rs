//! `DELETE /api/EndUsers/{id}`: deletes an end user. Tickets stay.

use shared::app::App;
use shared::http::{Error, Request, Response};
use shared::store::Scope;

/// Answers 204, or 404.
pub async fn handle(_: &App, db: &Scope<'_>, request: &Request) -> Result<Response, Error> {
    let id = request.end_user_id()?;
    if db.delete_end_user(id).await? { Ok(Response::no_content()) } else { Err(Error::NotFound) }
}
