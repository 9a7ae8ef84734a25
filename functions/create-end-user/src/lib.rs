//! `POST /api/EndUsers`: creates an end user with its UIDs.

use shared::app::App;
use shared::bootstrap::{Code, Function};
use shared::domain::end_user::{EndUserReadDto, PendingEndUser};
use shared::http::{Error, LOCATION, Request, Response};
use shared::store::{Idempotent, Scope};

/// The function, for its binary and for `local`.
pub const FUNCTION: Function =
    Function { name: env!("CARGO_PKG_NAME"), code: Code::Http(|app, db, request| Box::pin(handle(app, db, request))) };

/// Reads an EndUserCreateDTO. Returns 201 with the EndUserReadDTO, its Location and its ETag, or 422 if the
/// Idempotency-Key was used with a different request.
pub async fn handle(app: &App, db: &Scope<'_>, request: &Request) -> Result<Response, Error> {
    let (new, idempotency_key) = request.idempotent(|json| PendingEndUser::read(json, app.default_region()))?;
    let Idempotent { value: end_user, replayed } = db.create_end_user(&new, idempotency_key.as_ref()).await?;
    let location = format!("/api/EndUsers/{}", end_user.id);
    let response = Response::created(&EndUserReadDto::from(&end_user))?.with_header(LOCATION, location);
    Ok(response.with_revision(end_user.revision()).replayed(replayed))
}
