//! `GET /api/EndUsers`: a page of the tenant's end users, sorted and searched.

use shared::app::App;
use shared::bootstrap::{Code, Function};
use shared::domain::end_user::{EndUserReadDto, SortField};
use shared::http::{Error, Paginated, Request, Response};
use shared::store::{ListOrder, Scope};

/// The function, for its binary and for `local`.
pub const FUNCTION: Function =
    Function { name: env!("CARGO_PKG_NAME"), code: Code::Http(|app, db, request| Box::pin(handle(app, db, request))) };

/// Returns 200 with a page of EndUserReadDTO. Query: `pageNumber`, `pageSize`, `sortBy`, `sortOrder`, `search`.
pub async fn handle(_: &App, db: &Scope<'_>, request: &Request) -> Result<Response, Error> {
    let mut query = request.query();
    let page = query.page();
    let by = query.sort_field().unwrap_or(SortField::EndUserId);
    let order = ListOrder { by, descending: query.descending().unwrap_or(false) };
    let search = query.search();
    let search = query.or(search)?;

    let listed = match search {
        Some(search) => db.search_end_users(&search, order, page).await?,
        None => db.list_end_users(order, page).await?,
    };
    let items: Vec<_> = listed.end_users.iter().map(EndUserReadDto::from).collect();
    Response::ok(&Paginated::new(items, listed.total, page))
}
