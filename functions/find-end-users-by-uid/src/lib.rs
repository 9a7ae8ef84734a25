//! `GET /api/EndUsers/byUid`: the end users that hold an identifier.

use shared::app::App;
use shared::bootstrap::{Code, Function};
use shared::domain::end_user::EndUserReadDto;
use shared::domain::uid;
use shared::http::{Error, Request, Response};
use shared::store::Scope;

/// The function, for its binary and for `local`.
pub const FUNCTION: Function =
    Function { name: env!("CARGO_PKG_NAME"), code: Code::Http(|app, db, request| Box::pin(handle(app, db, request))) };

/// Returns 200 with an array of EndUserReadDTO: at most 100, by ascending id. Query: `uid`, required.
pub async fn handle(app: &App, db: &Scope<'_>, request: &Request) -> Result<Response, Error> {
    let mut query = request.query();
    let readings = query.identifier("uid").unwrap_or_else(|| {
        query.require("uid");
        Default::default()
    });
    let readings = query.or(readings)?;

    let keys = readings.iter().flat_map(|value| uid::lookup_keys(value, app.default_region())).collect();
    let end_users = db.find_end_users(&keys).await?;
    Response::ok(&end_users.iter().map(EndUserReadDto::from).collect::<Vec<_>>())
}
