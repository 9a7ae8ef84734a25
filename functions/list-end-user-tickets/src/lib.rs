//! `GET /api/EndUsers/{id}/tickets`: the tickets of an end user over all its UIDs and customerRef.

use shared::app::App;
use shared::bootstrap::{Code, Function};
use shared::domain::ids::MAX_SAFE_INTEGER;
use shared::domain::search::MAX_SEARCH_LENGTH;
use shared::domain::ticket::{TicketFilter, TicketReadDto, TicketSort};
use shared::domain::uid;
use shared::http::{Error, Paginated, Query, Request, Response};
use shared::store::Scope;

/// The function, for its binary and for `local`.
pub const FUNCTION: Function =
    Function { name: env!("CARGO_PKG_NAME"), code: Code::Http(|app, db, request| Box::pin(handle(app, db, request))) };

/// Returns 200 with a page of TicketReadDTO, or 404. Query: the filters of [`read_filter`], `sortBy`, `sortOrder`,
/// `pageNumber`, `pageSize`.
pub async fn handle(app: &App, db: &Scope<'_>, request: &Request) -> Result<Response, Error> {
    let id = request.end_user_id()?;
    let mut query = request.query();
    let filter = read_filter(app, &mut query);
    let sort = query.choice("sortBy", &TicketSort::ALL);
    let descending = query.descending().unwrap_or(sort.is_none());
    let page = query.page();
    let filter = query.or(filter)?;

    let end_user = db.end_user(id).await?;
    let filter = filter.of(&end_user);
    let mut tickets = db.tickets_of(&end_user).await?;
    tickets.retain(|ticket| filter.is_met_by(ticket));
    sort.unwrap_or(TicketSort::LastMessageDate).sort(&mut tickets, descending);
    let total = tickets.len() as u64;
    let tickets = page.of(tickets);
    let comments = db.ticket_comments(&tickets).await?;
    let items = tickets.into_iter().zip(comments).map(|(ticket, comments)| TicketReadDto::new(ticket, comments));
    Response::ok(&Paginated::new(items.collect(), total, page))
}

/// Reads the filters: `status`, `customerRepID`, `channelType`, `channelIDs`, `uid`, `isClosed`, `isSpam`, `search`.
fn read_filter(app: &App, query: &mut Query) -> TicketFilter {
    let keys = |value: &String| uid::lookup_keys(value, app.default_region());
    TicketFilter {
        status: query.text("status", MAX_SEARCH_LENGTH),
        channel_type: query.text("channelType", MAX_SEARCH_LENGTH),
        customer_rep_id: query.positive("customerRepID", MAX_SAFE_INTEGER),
        channel_ids: query.positives("channelIDs", MAX_SAFE_INTEGER).into_iter().collect(),
        uid: query.identifier("uid").map(|readings| readings.iter().flat_map(keys).collect()),
        is_closed: query.boolean("isClosed"),
        is_spam: query.boolean("isSpam"),
        search: query.search(),
    }
}
