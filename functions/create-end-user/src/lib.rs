//! `POST /api/EndUsers`: creates an end user with its UIDs.

use shared::app::App;
use shared::domain::end_user::{Draft, EndUserReadDto};
use shared::http::{Error, LOCATION, Request, Response};
use shared::store::{Answered, Scope};

/// Takes an EndUserCreateDTO; answers 201 with the EndUserReadDTO, its Location and its ETag, or 422
/// where its Idempotency-Key came with another request.
pub async fn handle(app: &App, db: &Scope<'_>, request: &Request) -> Result<Response, Error> {
    let (draft, once) = request.idempotent(|json| Draft::read(json, app.default_region()))?;
    let Answered { answer: person, replayed } = db.create_end_user(&draft, once.as_ref()).await?;
    let location = format!("/api/EndUsers/{}", person.id);
    let response = Response::created(&EndUserReadDto::from(&person))?.with_header(LOCATION, location);
    Ok(response.with_revision(person.rev).replayed(replayed))
}
