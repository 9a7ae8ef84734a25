//! `GET /api/EndUsers/{id}/merges`: the end users that were merged into an end user and can be taken out again.

use shared::app::App;
use shared::bootstrap::{Code, Function};
use shared::domain::end_user::MergeRecordDto;
use shared::http::{Error, Request, Response};
use shared::store::Scope;

/// The function, for its binary and for `local`.
pub const FUNCTION: Function =
    Function { name: env!("CARGO_PKG_NAME"), code: Code::Http(|app, db, request| Box::pin(handle(app, db, request))) };

/// Returns 200 with an array of EndUserMergeRecordDTO: at most 100, newest first. 404, or 308 if the end user was
/// merged.
pub async fn handle(_: &App, db: &Scope<'_>, request: &Request) -> Result<Response, Error> {
    let records = db.merge_records(request.end_user_id()?).await?;
    Response::ok(&records.iter().map(MergeRecordDto::from).collect::<Vec<_>>())
}
