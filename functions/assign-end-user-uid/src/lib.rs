//! `POST /api/EndUserUIDs/assign`: links a UID to an end user.

use serde::Serialize;
use shared::app::App;
use shared::domain::end_user::{Assignment, UidReadDto};
use shared::domain::ids::EndUserId;
use shared::domain::input::Faults;
use shared::http::{Error, Request, Response};
use shared::store::{Answered, Scope};

/// The record of a UID that was assigned; `message` only where it was linked before.
#[derive(Serialize)]
struct AssignedDto {
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<&'static str>,
    #[serde(rename = "endUserID")]
    end_user_id: EndUserId,
    #[serde(flatten)]
    uid: UidReadDto,
}

/// Takes an AssignUIDRequest; answers 201 with the record, 200 where it was linked before, 404, or
/// 422 where its Idempotency-Key came with another request.
pub async fn handle(app: &App, db: &Scope<'_>, request: &Request) -> Result<Response, Error> {
    let assignment = Assignment::read(&request.json()?, app.default_region());
    let (assignment, once) = Faults::both(assignment, request.once())?;
    let Answered { answer, replayed } = db.assign_uid(&assignment, once.as_ref()).await?;
    let message = answer.already.then_some("This UID is already linked to this end user.");
    let dto = AssignedDto { message, end_user_id: answer.end_user, uid: (&answer.uid).into() };
    let response = if answer.already { Response::ok(&dto) } else { Response::created(&dto) };
    Ok(response?.replayed(replayed))
}
