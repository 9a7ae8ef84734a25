//! `POST /api/EndUserUIDs/assign`: links a UID to an end user.

use serde::Serialize;
use shared::app::App;
use shared::domain::end_user::{Assigned, Assignment, UidReadDto};
use shared::domain::ids::EndUserId;
use shared::http::{Error, Request, Response};
use shared::store::Scope;

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

/// Takes an AssignUIDRequest; answers 201 with the record, 200 where it was linked before, or 404.
pub async fn handle(app: &App, db: &Scope<'_>, request: &Request) -> Result<Response, Error> {
    let assignment = Assignment::read(&request.json()?, app.default_region())?;
    let Assigned { person, uid, already } = db.assign_uid(&assignment).await?;
    let uid = person.uids.iter().find(|u| u.id == uid).ok_or(Error::NotFound)?;
    let message = already.then_some("This UID is already linked to this end user.");
    let dto = AssignedDto { message, end_user_id: person.id, uid: uid.into() };
    if already { Response::ok(&dto) } else { Response::created(&dto) }
}
