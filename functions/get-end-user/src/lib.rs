//! `GET /api/EndUsers/{id}`: one end user.

use shared::app::App;
use shared::domain::end_user::EndUserReadDto;
use shared::http::{Error, Request, Response};
use shared::store::Scope;

/// Answers 200 with the EndUserReadDTO and its ETag, 304 where the caller has it, 412 or 404.
pub async fn handle(_: &App, db: &Scope<'_>, request: &Request) -> Result<Response, Error> {
    let id = request.end_user_id()?;
    let end_user = db.end_user(id).await?.ok_or(Error::NotFound)?;
    Response::ok(&EndUserReadDto::from(&end_user))?.conditional(&request.expected(), end_user.rev)
}
