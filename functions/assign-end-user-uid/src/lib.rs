//! `POST /api/EndUserUIDs/assign`: links a UID to an end user.

use shared::app::App;
use shared::domain::end_user::{AssignedDto, UidAssignment};
use shared::http::{Error, Request, Response};
use shared::store::{Idempotent, Scope};

/// Takes an AssignUIDRequest; answers 201 with the record, 200 where it was linked before, 404, or
/// 422 where its Idempotency-Key came with another request.
pub async fn handle(app: &App, db: &Scope<'_>, request: &Request) -> Result<Response, Error> {
    let (assignment, idempotency_key) = request.idempotent(|json| UidAssignment::read(json, app.default_region()))?;
    let Idempotent { value, replayed } = db.assign_uid(&assignment, idempotency_key.as_ref()).await?;
    let dto = AssignedDto::from(&value);
    let response = if value.already_linked { Response::ok(&dto) } else { Response::created(&dto) };
    Ok(response?.replayed(replayed))
}
