//! `DELETE /api/EndUsers/{id}`: deletes an end user. Tickets stay.

use shared::app::App;
use shared::http::{Error, Request, Response};
use shared::store::Scope;

/// Answers 204, 404, or 412 where the end user is not at the revision that If-Match names.
pub async fn handle(_: &App, db: &Scope<'_>, request: &Request) -> Result<Response, Error> {
    let id = request.end_user_id()?;
    db.delete_end_user(id, &request.expected()).await?;
    Ok(Response::no_content())
}
