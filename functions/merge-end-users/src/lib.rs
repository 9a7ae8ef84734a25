//! `POST /api/EndUsers/{id}/merge`: makes another end user part of an end user.

use shared::app::App;
use shared::auth::Access;
use shared::bootstrap::{Code, Function};
use shared::domain::end_user::{EndUserMerge, MergedDto};
use shared::http::{Error, Request, Response};
use shared::store::{Idempotent, Scope};

/// The function, for its binary and for `local`.
pub const FUNCTION: Function = Function {
    name: env!("CARGO_PKG_NAME"),
    code: Code::HttpWithAccess(access, |app, db, request| Box::pin(handle(app, db, request))),
};

/// A dry run only reads.
fn access(request: &Request) -> Access {
    let is_dry_run = request.json().is_ok_and(|body| EndUserMerge::is_dry_run(&body));
    if is_dry_run { Access::Read } else { Access::Write }
}

/// Reads an EndUserMergeDTO. Returns 200 with the EndUserMergeResultDTO and, unless it is a dry run, the ETag. 404; 308
/// if the end user of the path was merged; 409 if the other one is already part of it; 412; 422 if the Idempotency-Key
/// was used with a different request.
pub async fn handle(_: &App, db: &Scope<'_>, request: &Request) -> Result<Response, Error> {
    let id = request.end_user_id()?;
    let (merge, precondition, idempotency_key) = request.conditional_idempotent(|body| EndUserMerge::read(body, id))?;
    let idempotency_key = idempotency_key.filter(|_| !merge.dry_run);
    let result = db.merge_end_users(merge, &precondition, idempotency_key.as_ref()).await?;
    let Idempotent { value: merged, replayed } = result;
    let response = Response::ok(&MergedDto::from(&merged))?;
    let response = if merge.dry_run { response } else { response.with_revision(merged.end_user.revision()) };
    Ok(response.replayed(replayed))
}
