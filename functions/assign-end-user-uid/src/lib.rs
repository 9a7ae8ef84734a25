//! `POST /api/EndUserUIDs/assign`: links a UID to an end user.

use shared::app::App;
use shared::bootstrap::{Code, Function};
use shared::domain::end_user::{AssignedDto, UidAssignment};
use shared::http::{Error, Request, Response};
use shared::store::{Idempotent, Scope};

/// The function, for its binary and for `local`.
pub const FUNCTION: Function =
    Function { name: env!("CARGO_PKG_NAME"), code: Code::Http(|app, db, request| Box::pin(handle(app, db, request))) };

/// Reads an AssignUIDRequest. Returns 201 with the new record, 200 with the record if the UID was linked before, each
/// with the end user's ETag, 404, or 422 if the Idempotency-Key was used with a different request.
pub async fn handle(app: &App, db: &Scope<'_>, request: &Request) -> Result<Response, Error> {
    let (assignment, idempotency_key) = request.idempotent(|json| UidAssignment::read(json, app.default_region()))?;
    let Idempotent { value: assigned, replayed } = db.assign_uid(&assignment, idempotency_key.as_ref()).await?;
    let dto = AssignedDto::from(&assigned);
    let response = if assigned.already_linked { Response::ok(&dto) } else { Response::created(&dto) };
    Ok(response?.with_revision(assigned.revision).replayed(replayed))
}
