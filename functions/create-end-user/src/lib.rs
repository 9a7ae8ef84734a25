//! `POST /api/EndUsers`: creates an end user with its UIDs.

use shared::app::App;
use shared::domain::end_user::{EndUserReadDto, PendingEndUser};
use shared::http::{Error, LOCATION, Request, Response};
use shared::store::{Idempotent, Scope};

/// Takes an EndUserCreateDTO; answers 201 with the EndUserReadDTO, its Location and its ETag, or 422
/// where its Idempotency-Key came with another request.
pub async fn handle(app: &App, db: &Scope<'_>, request: &Request) -> Result<Response, Error> {
    let (draft, idempotency_key) = request.idempotent(|json| PendingEndUser::read(json, app.default_region()))?;
    let Idempotent { value: end_user, replayed } = db.create_end_user(&draft, idempotency_key.as_ref()).await?;
    let location = format!("/api/EndUsers/{}", end_user.id);
    let response = Response::created(&EndUserReadDto::from(&end_user))?.with_header(LOCATION, location);
    Ok(response.with_revision(end_user.rev).replayed(replayed))
}
