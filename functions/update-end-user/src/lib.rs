//! `PUT /api/EndUsers/{id}`: updates an end user, and adds, updates or removes UIDs.

use shared::app::App;
use shared::domain::end_user::EndUserUpdate;
use shared::http::{Error, Request, Response};
use shared::store::Scope;

/// Takes an EndUserUpdateDTO; answers 204, 404, or 412 where the end user is not at the revision that
/// If-Match names.
pub async fn handle(app: &App, db: &Scope<'_>, request: &Request) -> Result<Response, Error> {
    let id = request.end_user_id()?;
    let update = EndUserUpdate::read(&request.json()?, app.default_region())?;
    db.update_end_user(id, &update, &request.expected()).await?;
    Ok(Response::no_content())
}
