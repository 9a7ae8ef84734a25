//! A raw query string of an event, read with every method of [`Query`].
#![no_main]

use aws_lambda_events::apigw::ApiGatewayV2httpRequest;
use fuzz::{assert_fits, assert_key_fits, assert_sound, end_user_id, respond, tenant, uid_ids};
use libfuzzer_sys::fuzz_target;
use serde_json::json;
use shared::domain::end_user::{EndUser, PendingEndUser};
use shared::domain::ids::MAX_SAFE_INTEGER;
use shared::domain::input::Json;
use shared::domain::search::{MAX_SEARCH_LENGTH, MAX_SEARCH_WORDS, Search};
use shared::domain::text::{Limit, clean};
use shared::domain::ticket::TicketSort;
use shared::domain::uid::lookup_keys;
use shared::http::{Error, Query, Request, Response};
use shared::store::keys;

/// Claims of tenant 7 until the year 9999, signed with [`fuzz::SECRET`].
const TOKEN: &str = include_str!("token.jwt");

/// An end user with a text in its contact details and in a UID.
fn end_user_with(text: &str) -> EndUser {
    let body = json!({ "otherContactDetails": text, "uids": [{ "uidType": "any", "uid": text }] }).to_string();
    let new = PendingEndUser::read(&Json::parse(body.as_bytes()).expect("JSON"), None).expect("an end user");
    new.save(end_user_id(), 1, uid_ids(1)).expect("an end user within the limits")
}

/// Asserts that an end user with a text is found by the text, and by its prefixes without the last one or two
/// characters.
fn check_search(text: &str) {
    let terms = end_user_with(text).terms();
    for (end, c) in text.char_indices().rev().take(3) {
        let Ok(search) = Search::parse(text[..end + c.len_utf8()].trim()) else { return };
        for term in search.alternatives().iter().flatten() {
            assert_fits(&keys::word_entry(&tenant(), term, end_user_id()));
        }
        let most = search.alternatives().iter().map(|terms| terms.len()).max().unwrap_or_default();
        assert!(search.alternatives().len() <= 2 && most <= MAX_SEARCH_WORDS);
        assert_eq!(search.matches(&terms), most > 0, "{search:?} in {text:?}");
    }
}

/// Asserts that a text parameter is clean.
fn check_text(text: &str, max: usize) {
    assert!(!text.is_empty());
    assert_eq!(clean(text, Limit::Chars(max)).as_deref(), Ok(text), "a text parameter is clean");
}

/// Reads all parameters and asserts their limits.
fn check(query: &mut Query) {
    let page = query.page();
    assert!((1..=i32::MAX as u32).contains(&page.number) && (1..=100).contains(&page.size));
    assert!(page.of(0..1_000).len() <= page.size as usize);
    query.sort_field();
    query.descending();
    query.boolean("isClosed");
    query.choice("ticketSort", &TicketSort::ALL);
    assert!(query.positive("customerRepID", MAX_SAFE_INTEGER).is_none_or(|id| (1..=MAX_SAFE_INTEGER).contains(&id)));
    assert!(query.positives("channelIDs", MAX_SAFE_INTEGER).iter().all(|id| (1..=MAX_SAFE_INTEGER).contains(id)));
    if let Some(status) = query.text("status", MAX_SEARCH_LENGTH) {
        check_text(&status, MAX_SEARCH_LENGTH);
    }
    if let Some(readings) = query.identifier("uid") {
        assert!(!readings.is_empty());
        for reading in readings {
            lookup_keys(&reading, None).iter().for_each(assert_key_fits);
        }
    }
    let text = query.text("search", MAX_SEARCH_LENGTH);
    if let (Some(text), Some(_)) = (text, query.search()) {
        check_text(&text, MAX_SEARCH_LENGTH);
        check_search(&text);
    }
}

async fn handle(request: &Request) -> Result<Response, Error> {
    let mut query = request.query();
    check(&mut query);
    query.or(())?;
    Response::ok(&())
}

fuzz_target!(|input: &[u8]| {
    let mut event = ApiGatewayV2httpRequest::default();
    event.raw_query_string = Some(String::from_utf8_lossy(input).into_owned());
    let token = format!("Bearer {}", TOKEN.trim());
    event.headers.insert("authorization", token.parse().expect("a header"));
    let status = assert_sound(&respond(|_, _, request| Box::pin(handle(request)), event));
    assert!(status == 200 || status == 400, "{status}");
});
