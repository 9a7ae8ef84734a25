//! `POST /api/EndUsers/upsert`: changes the end user that the identifiers of a body name, or creates one.

use shared::app::App;
use shared::bootstrap::{Code, Function};
use shared::domain::end_user::{EndUserUpsert, UpsertOutcome, UpsertedDto};
use shared::http::{Error, LOCATION, Request, Response};
use shared::store::{Idempotent, Scope};

/// The function, for its binary and for `local`.
pub const FUNCTION: Function =
    Function { name: env!("CARGO_PKG_NAME"), code: Code::Http(|app, db, request| Box::pin(handle(app, db, request))) };

/// Reads an EndUserUpsertDTO. Returns the EndUserUpsertResultDTO with Location and ETag: 201 if the end user is new,
/// else 200. 409 if the identifiers belong to several end users, or to one with another customerRef; 422 if the
/// Idempotency-Key was used with a different request.
pub async fn handle(app: &App, db: &Scope<'_>, request: &Request) -> Result<Response, Error> {
    let (upsert, idempotency_key) = request.idempotent(|json| EndUserUpsert::read(json, app.default_region()))?;
    let result = db.upsert_end_user(&upsert, idempotency_key.as_ref(), |upserted| upserted).await?;
    let Idempotent { value: upserted, replayed } = result;
    let dto = UpsertedDto::from(&upserted);
    let response =
        if upserted.outcome == UpsertOutcome::Created { Response::created(&dto) } else { Response::ok(&dto) };
    let location = format!("/api/EndUsers/{}", upserted.end_user.id);
    let response = response?.with_header(LOCATION, location).with_revision(upserted.end_user.revision());
    Ok(response.replayed(replayed))
}
