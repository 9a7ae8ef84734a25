//! `GET /api/EndUsers/{id}/duplicates`: the other end users that share identifiers with an end user.

use shared::app::App;
use shared::bootstrap::{Code, Function};
use shared::domain::end_user::DuplicateDto;
use shared::http::{Error, Request, Response};
use shared::store::Scope;

/// The function, for its binary and for `local`.
pub const FUNCTION: Function =
    Function { name: env!("CARGO_PKG_NAME"), code: Code::Http(|app, db, request| Box::pin(handle(app, db, request))) };

/// Returns 200 with an array of EndUserDuplicateDTO: at most 50, those with the most shared identifiers first. 404, or
/// 308 if the end user was merged.
pub async fn handle(_: &App, db: &Scope<'_>, request: &Request) -> Result<Response, Error> {
    let duplicates = db.duplicates(request.end_user_id()?).await?;
    Response::ok(&duplicates.iter().map(DuplicateDto::from).collect::<Vec<_>>())
}
