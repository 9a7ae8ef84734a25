//! `POST /api/EndUsers`: creates an end user with its UIDs.

use shared::app::App;
use shared::domain::end_user::{Draft, EndUserReadDto};
use shared::http::{Error, LOCATION, Request, Response};
use shared::store::Scope;

/// Takes an EndUserCreateDTO; answers 201 with the EndUserReadDTO and its Location.
pub async fn handle(app: &App, db: &Scope<'_>, request: &Request) -> Result<Response, Error> {
    let draft = Draft::read(&request.json()?, app.default_region())?;
    let person = db.create_end_user(&draft).await?;
    let location = format!("/api/EndUsers/{}", person.id);
    Ok(Response::created(&EndUserReadDto::from(&person))?.with_header(LOCATION, location))
}
