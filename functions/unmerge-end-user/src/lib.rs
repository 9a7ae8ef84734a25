//! `POST /api/EndUsers/{id}/unmerge`: takes an end user out of the one that it was merged into.

use shared::app::App;
use shared::bootstrap::{Code, Function};
use shared::domain::end_user::UnmergedDto;
use shared::http::{Error, Request, Response};
use shared::store::{Idempotent, Scope};

/// The function, for its binary and for `local`.
pub const FUNCTION: Function =
    Function { name: env!("CARGO_PKG_NAME"), code: Code::Http(|app, db, request| Box::pin(handle(app, db, request))) };

/// Returns 200 with the EndUserUnmergeResultDTO and the ETag. 404 if the end user is not merged, or was merged more than
/// 30 days ago; 409 if a later merge must be undone first; 422 if the Idempotency-Key was used with a different request.
pub async fn handle(_: &App, db: &Scope<'_>, request: &Request) -> Result<Response, Error> {
    let id = request.end_user_id()?;
    let idempotency_key = request.idempotency_key_without_body()?;
    let Idempotent { value: unmerged, replayed } = db.unmerge_end_user(id, idempotency_key.as_ref()).await?;
    let response = Response::ok(&UnmergedDto::from(&unmerged))?.with_revision(unmerged.end_user.revision());
    Ok(response.replayed(replayed))
}
