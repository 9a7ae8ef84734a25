//! `POST /api/EndUsers/upsertMany`: up to 100 upserts, one after another.

use shared::app::App;
use shared::bootstrap::{Code, Function};
use shared::domain::end_user::{EndUserUpsert, UpsertedId};
use shared::http::{Error, ItemResult, Request, Response};
use shared::store::{Idempotent, Scope};

/// The function, for its binary and for `local`.
pub const FUNCTION: Function =
    Function { name: env!("CARGO_PKG_NAME"), code: Code::Http(|app, db, request| Box::pin(handle(app, db, request))) };

/// Reads an EndUserUpsertManyDTO. Returns 200 with a result per element, in order. Each element is applied completely
/// or not at all, and with an Idempotency-Key once. 422 if that key was used with a different request, 503 if the
/// database failed for every element.
pub async fn handle(app: &App, db: &Scope<'_>, request: &Request) -> Result<Response, Error> {
    let (upserts, idempotency_key) = request.idempotent(|json| EndUserUpsert::read_many(json, app.default_region()))?;
    let mut stored = db.stored_item_responses(idempotency_key.as_ref()).await?;
    let mut results = Vec::with_capacity(upserts.len());
    for (item, upsert) in (0..).zip(upserts) {
        let result = match (stored.remove(&item), upsert, db.check_time()) {
            (Some(value), _, _) => Ok(Idempotent { value, replayed: true }),
            (None, Err(errors), _) => Err(errors.into()),
            (None, Ok(_), Err(error)) => Err(error.into()),
            (None, Ok(upsert), Ok(())) => {
                let idempotency_key = idempotency_key.as_ref().map(|key| key.item(item));
                db.upsert_end_user(&upsert, idempotency_key.as_ref(), |upserted| UpsertedId::from(&upserted)).await
            }
        };
        results.push(ItemResult { path: format!("endUsers[{item}]"), result });
    }
    Response::items(results, request.id())
}
