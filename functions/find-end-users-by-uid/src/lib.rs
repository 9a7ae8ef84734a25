//! `GET /api/EndUsers/byUid`: the end users whom an identifier finds.

use shared::app::App;
use shared::domain::end_user::EndUserReadDto;
use shared::domain::uid;
use shared::http::{Error, Request, Response};
use shared::store::Scope;

/// Answers 200 with an array of EndUserReadDTO, by id, at most 100. Query: `uid`, required.
pub async fn handle(app: &App, db: &Scope<'_>, request: &Request) -> Result<Response, Error> {
    let mut query = request.query();
    let readings = query.identifier("uid").unwrap_or_else(|| {
        query.require("uid");
        Default::default()
    });
    let readings = query.or(readings)?;

    let asked = readings.iter().flat_map(|value| uid::lookup_keys(value, app.default_region())).collect();
    let end_users = db.find_end_users(&asked).await?;
    Response::ok(&end_users.iter().map(EndUserReadDto::from).collect::<Vec<_>>())
}
