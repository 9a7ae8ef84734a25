//! `POST /api/EndUsers/lookup`: the end users that hold each of up to 100 identifiers.

use shared::app::App;
use shared::auth::Access;
use shared::bootstrap::{Code, Function};
use shared::domain::end_user::{LookUpDto, LookUpItemDto, UidLookUp};
use shared::http::{Error, Request, Response};
use shared::store::Scope;

/// The function, for its binary and for `local`.
pub const FUNCTION: Function = Function {
    name: env!("CARGO_PKG_NAME"),
    code: Code::HttpWithAccess(|_| Access::Read, |app, db, request| Box::pin(handle(app, db, request))),
};

/// Reads an EndUserLookUpDTO. Returns 200 with a result per value, in order: at most 10 ids each, ascending.
pub async fn handle(app: &App, db: &Scope<'_>, request: &Request) -> Result<Response, Error> {
    let look_up = UidLookUp::read(&request.json()?, app.default_region())?;
    let found = db.look_up_end_users(&look_up.keys().collect::<Vec<_>>()).await?;
    let items = look_up.values().zip(found).map(|(uid, ids)| LookUpItemDto::new(uid, &ids)).collect();
    Response::ok(&LookUpDto { items })
}
