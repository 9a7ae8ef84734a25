//! The operations: parameters, bodies and responses, with examples that a test sends.

use serde_json::{Value, json};
use utoipa::openapi::path::{
    HttpMethod, Operation, OperationBuilder, Parameter, ParameterBuilder, ParameterIn, PathItem,
};
use utoipa::openapi::request_body::{RequestBody, RequestBodyBuilder};
use utoipa::openapi::schema::{ArrayBuilder, ObjectBuilder, Schema, Type};
use utoipa::openapi::{ContentBuilder, Ref, RefOr, Required, Response, Responses};

use super::responses::{error_responses, response};
use super::schemas::{id, integer};
use super::{END_USERS, MERGING, TICKETS, UIDS};
use crate::domain::end_user::{
    AssignedDto, AssignedUid, EndUser, EndUserReadDto, MAX_UID_LENGTH, PendingEndUser, Revision, SortField,
    UpsertOutcome, Upserted, UpsertedDto,
};
use crate::domain::idempotency::MAX_KEY_LENGTH;
use crate::domain::ids::{EndUserId, MAX_SAFE_INTEGER, UidId};
use crate::domain::input::Json;
use crate::domain::search::MAX_SEARCH_LENGTH;
use crate::domain::ticket::TicketSort;
use crate::http::request::{DEFAULT_PAGE_SIZE, MAX_PAGE_NUMBER, MAX_PAGE_SIZE};

/// The operations by path.
pub(super) fn all() -> Vec<(&'static str, PathItem)> {
    let item = |operations: Vec<(HttpMethod, Operation)>| {
        operations.into_iter().fold(PathItem::default(), |item, (method, operation)| {
            let mut item = item;
            item.merge_operations(PathItem::new(method, operation));
            item
        })
    };
    vec![
        ("/api/EndUsers", item(vec![(HttpMethod::Get, list()), (HttpMethod::Post, create())])),
        ("/api/EndUsers/byUid", item(vec![(HttpMethod::Get, find())])),
        ("/api/EndUsers/lookup", item(vec![(HttpMethod::Post, look_up())])),
        ("/api/EndUsers/upsert", item(vec![(HttpMethod::Post, upsert())])),
        ("/api/EndUsers/upsertMany", item(vec![(HttpMethod::Post, upsert_many())])),
        (
            "/api/EndUsers/{id}",
            item(vec![(HttpMethod::Get, get()), (HttpMethod::Put, update()), (HttpMethod::Delete, delete())]),
        ),
        ("/api/EndUsers/{id}/tickets", item(vec![(HttpMethod::Get, tickets())])),
        ("/api/EndUsers/{id}/duplicates", item(vec![(HttpMethod::Get, duplicates())])),
        ("/api/EndUsers/{id}/merges", item(vec![(HttpMethod::Get, merges())])),
        ("/api/EndUsers/{id}/merge", item(vec![(HttpMethod::Post, merge())])),
        ("/api/EndUsers/{id}/unmerge", item(vec![(HttpMethod::Post, unmerge())])),
        ("/api/EndUserUIDs/assign", item(vec![(HttpMethod::Post, assign())])),
    ]
}

fn list() -> Operation {
    let mut parameters = paging();
    parameters.extend(sorting(&SortField::ALL.map(SortField::name), "endUserID", "asc"));
    parameters.push(search(
        "Every word, as in `jane ant`, must be a prefix of a word of the end user: names, company, address, \
         customerRef, UIDs or otherContactDetails. A search with an `@` matches whole UIDs by prefix. At most 20 words.",
    ));
    let page = json!({ "items": [jane()], "totalCount": 1, "totalPages": 1 });
    operation("listEndUsers", END_USERS, "List end users")
        .description(Some("Returns a page of the tenant's end users, sorted and searched, with exact totals."))
        .parameters(Some(parameters))
        .responses(responses([("200", without_headers("A page.", "EndUserPage", page))], &["BadRequest"]))
        .build()
}

fn create() -> Operation {
    operation("createEndUser", END_USERS, "Create an end user")
        .parameters(Some([idempotency_key()]))
        .request_body(Some(body("EndUserCreateDTO", create_body())))
        .responses(responses(
            [(
                "201",
                with_headers("The end user.", &["location", "etag", "idempotency-replayed"], "EndUserReadDTO", jane()),
            )],
            &["BadRequest", "Conflict", "ContentTooLarge", "UnsupportedMediaType", "UnprocessableContent"],
        ))
        .build()
}

fn upsert() -> Operation {
    let result = |outcome| {
        let end_user = end_user(&create_body());
        json!(UpsertedDto::from(&Upserted { outcome, end_user }))
    };
    let headers = ["location", "etag", "idempotency-replayed"];
    let of = |about: &str, outcome| with_headers(about, &headers, "EndUserUpsertResultDTO", result(outcome));
    operation("upsertEndUser", END_USERS, "Find or create an end user by its identifiers")
        .description(Some(
            "Finds the end user that holds any of the identifiers, and changes it as `onMatch` says; or creates one. \
             Concurrent upserts never create two end users with the same identifier.",
        ))
        .parameters(Some([idempotency_key()]))
        .request_body(Some(body("EndUserUpsertDTO", upsert_body())))
        .responses(responses(
            [
                ("200", of("The end user that matched, after the change.", UpsertOutcome::Updated)),
                ("201", of("The new end user.", UpsertOutcome::Created)),
            ],
            &["BadRequest", "Conflict", "ContentTooLarge", "UnsupportedMediaType", "UnprocessableContent"],
        ))
        .build()
}

fn upsert_many() -> Operation {
    let items = json!({ "items": [{ "status": 201, "outcome": "Created", "endUserID": 1 }] });
    let result = with_headers("A result per element.", &["idempotency-replayed"], "EndUserUpsertManyResultDTO", items);
    operation("upsertEndUsers", END_USERS, "Find or create up to 100 end users")
        .description(Some(
            "Applies the elements one after another, each completely or not at all. An element that fails does not stop \
             the others. With an Idempotency-Key each element is applied once; a repetition tries those that failed.",
        ))
        .parameters(Some([idempotency_key()]))
        .request_body(Some(body("EndUserUpsertManyDTO", json!({ "endUsers": [upsert_body()] }))))
        .responses(responses(
            [("200", result)],
            &["BadRequest", "ContentTooLarge", "UnsupportedMediaType", "UnprocessableContent"],
        ))
        .build()
}

fn look_up() -> Operation {
    let request = json!({ "uids": ["jane@example.com", "0032 470 00 00 00"] });
    let items = json!({ "items": [
        { "uid": "jane@example.com", "endUserIDs": [1], "more": false },
        { "uid": "0032 470 00 00 00", "endUserIDs": [1], "more": false },
    ] });
    operation("lookUpEndUsers", UIDS, "Find the end users of up to 100 identifiers")
        .description(Some(
            "Finds end users as findEndUsersByUid does, and returns their ids. Needs the read scope only.",
        ))
        .request_body(Some(body("EndUserLookUpDTO", request)))
        .responses(responses(
            [("200", without_headers("A result per value.", "EndUserLookUpResultDTO", items))],
            &["BadRequest", "ContentTooLarge", "UnsupportedMediaType"],
        ))
        .build()
}

/// The body of the examples of upserts.
fn upsert_body() -> Value {
    let mut body = create_body();
    body["matchBy"] = json!("any");
    body["onMatch"] = json!("update");
    body
}

fn get() -> Operation {
    let unchanged = response("The end user is unchanged: If-None-Match has its current ETag.", &["etag"]).build();
    operation("getEndUser", END_USERS, "Read an end user")
        .parameters(Some([path_id(), if_match(), if_none_match()]))
        .responses(responses(
            [("200", with_headers("The end user.", &["etag"], "EndUserReadDTO", jane())), ("304", unchanged)],
            &["BadRequest", "NotFound", "Moved", "PreconditionFailed"],
        ))
        .build()
}

fn update() -> Operation {
    let change = json!({
        "firstname": "Jane",
        "customerType": "",
        "uids": [
            { "endUserUIDID": 1, "uidType": "Email", "uid": "jane.new@example.com", "isPrimary": true },
            { "endUserUIDID": 2, "uidType": "Phone", "uid": "+32470000000", "isPrimary": false, "markAsDeleted": true },
        ],
    });
    operation("updateEndUser", END_USERS, "Update an end user")
        .description(Some(
            "Changes the profile, and adds, changes or removes UIDs. The update applies completely or not at all.",
        ))
        .parameters(Some([path_id(), if_match()]))
        .request_body(Some(body("EndUserUpdateDTO", change)))
        .responses(responses(
            [("204", response("The end user was updated.", &[]).build())],
            &[
                "BadRequest",
                "NotFound",
                "Moved",
                "Conflict",
                "PreconditionFailed",
                "ContentTooLarge",
                "UnsupportedMediaType",
            ],
        ))
        .build()
}

fn delete() -> Operation {
    operation("deleteEndUser", END_USERS, "Delete an end user")
        .description(Some("Deletes the end user. Its tickets stay."))
        .parameters(Some([path_id(), if_match()]))
        .responses(responses(
            [("204", response("The end user was deleted.", &[]).build())],
            &["BadRequest", "NotFound", "PreconditionFailed"],
        ))
        .build()
}

fn find() -> Operation {
    let uid = query("uid", text(MAX_UID_LENGTH).min_length(Some(1)), "The identifier, in any spelling.")
        .required(Required::True)
        .example(Some(json!("0032 470 00 00 00")));
    let about = "The end users, by ascending id; empty if there are none.";
    let found = list_of(about, "EndUserReadDTO", 100, json!([jane()]));
    operation("findEndUsersByUid", UIDS, "Find end users by an identifier")
        .description(Some(
            "Returns the end users that hold the value as a UID of any type or as customerRef. Several end \
             users can hold the same UID.",
        ))
        .parameters(Some([uid]))
        .responses(responses([("200", found)], &["BadRequest"]))
        .build()
}

fn assign() -> Operation {
    let request = json!({ "uid": "visitor@example.com", "endUserID": 1, "uidType": "Email", "isPrimary": false });
    let assigned = |already_linked| {
        let mut uids = end_user(&json!({ "uids": [request] })).uids.into_iter();
        let dto = uids.next().map(|mut uid| {
            uid.id = UidId::new(3).unwrap_or(uid.id);
            AssignedDto::from(&AssignedUid {
                revision: Revision { id: EndUserId::new(1).unwrap_or(EndUserId::MAX), rev: 2 },
                uid,
                already_linked,
            })
        });
        json!(dto)
    };
    let headers = ["etag", "idempotency-replayed"];
    operation("assignEndUserUid", UIDS, "Link a UID to an end user")
        .parameters(Some([idempotency_key()]))
        .request_body(Some(body("AssignUIDRequest", request.clone())))
        .responses(responses(
            [
                (
                    "200",
                    with_headers(
                        "The UID was already linked to the end user.",
                        &headers,
                        "AssignedUIDDTO",
                        assigned(true),
                    ),
                ),
                (
                    "201",
                    with_headers("The UID was linked to the end user.", &headers, "AssignedUIDDTO", assigned(false)),
                ),
            ],
            &["BadRequest", "NotFound", "Conflict", "ContentTooLarge", "UnsupportedMediaType", "UnprocessableContent"],
        ))
        .build()
}

fn tickets() -> Operation {
    let flag = || ObjectBuilder::new().schema_type(Type::Boolean);
    let channels = ArrayBuilder::new().items(integer(MAX_SAFE_INTEGER));
    let mut parameters = vec![
        path_id(),
        query("status", text(MAX_SEARCH_LENGTH), "The status, in any case.").build(),
        query("customerRepID", integer(MAX_SAFE_INTEGER), "The id of the representative.").build(),
        query("channelType", text(MAX_SEARCH_LENGTH), "The channel type, in any case.").build(),
        query("channelIDs", channels, "Channel ids, one of which must match: repeated, separated by commas, or both.")
            .build(),
        query("uid", text(MAX_UID_LENGTH), "An identifier of the end user; any other value gives an empty page.")
            .build(),
        query("isClosed", flag(), "Whether the ticket is closed; `null` counts as `false`.").build(),
        query("isSpam", flag(), "Whether the ticket is spam; `null` counts as `false`.").build(),
        search("Every word must be a prefix of a word of subject, uid or topics."),
    ];
    parameters.extend(sorting(
        &TicketSort::ALL.map(|(name, _)| name),
        "lastMessageDate",
        "desc without `sortBy`, else asc",
    ));
    parameters.extend(paging());
    let page = json!({ "items": [ticket()], "totalCount": 1, "totalPages": 1 });
    operation("listEndUserTickets", TICKETS, "List an end user's tickets")
        .description(Some(
            "Returns a page of the tickets that have any UID or the customerRef of the end user as \
             `uid`. A ticket must meet all filters.",
        ))
        .parameters(Some(parameters))
        .responses(responses([("200", without_headers("A page.", "TicketPage", page))], &OF_ONE))
        .build()
}

fn duplicates() -> Operation {
    let found = json!([{ "endUser": jane(), "sharedUids": ["jane@example.com"] }]);
    operation("listEndUserDuplicates", MERGING, "List an end user's possible duplicates")
        .description(Some(
            "Returns the other end users that share an identifier with the end user: at most 50, those with the most \
             shared identifiers first.",
        ))
        .parameters(Some([path_id()]))
        .responses(responses([("200", list_of("The duplicates.", "EndUserDuplicateDTO", 50, found))], &OF_ONE))
        .build()
}

fn merges() -> Operation {
    let date = "2026-11-28T10:00:00.5Z";
    let records = json!([{ "endUserID": 2, "dateMerged": date, "undoUntil": "2026-12-28T10:00:00.5Z" }]);
    operation("listEndUserMerges", MERGING, "List the merges into an end user")
        .description(Some("Returns the merges of the last 30 days that are not undone: at most 100, newest first."))
        .parameters(Some([path_id()]))
        .responses(responses([("200", list_of("The merges.", "EndUserMergeRecordDTO", 100, records))], &OF_ONE))
        .build()
}

fn merge() -> Operation {
    let result = json!({
        "endUser": jane(), "mergedEndUserID": 2, "filledFields": ["city"], "discardedFields": { "firstname": "Janet" },
        "movedUids": [2], "droppedUids": [3], "movedCustomerRef": null, "undoUntil": "2026-12-28T10:00:00.5Z",
    });
    let headers = ["etag", "idempotency-replayed"];
    let mut errors = OF_ONE.to_vec();
    errors.extend([
        "Conflict",
        "PreconditionFailed",
        "ContentTooLarge",
        "UnsupportedMediaType",
        "UnprocessableContent",
    ]);
    operation("mergeEndUsers", MERGING, "Merge another end user into this one")
        .description(Some(
            "The other end user becomes part of this one: its UIDs move, and its values fill empty fields. Its id then \
             redirects here. `unmergeEndUser` undoes the merge for 30 days. A dry run needs the read scope only.",
        ))
        .parameters(Some([path_id(), if_match(), idempotency_key()]))
        .request_body(Some(body("EndUserMergeDTO", json!({ "endUserID": 2, "dryRun": false }))))
        .responses(responses(
            [("200", with_headers("The surviving end user.", &headers, "EndUserMergeResultDTO", result))],
            &errors,
        ))
        .build()
}

fn unmerge() -> Operation {
    let headers = ["etag", "idempotency-replayed"];
    let result = json!({ "endUser": jane(), "mergedIntoEndUserID": 2 });
    operation("unmergeEndUser", MERGING, "Undo the merge of an end user")
        .description(Some(
            "Takes the end user out of the one that it was merged into, within 30 days. Only the latest merge into an end \
             user can be undone.",
        ))
        .parameters(Some([path_id(), idempotency_key()]))
        .responses(responses(
            [("200", with_headers("The end user, as before the merge.", &headers, "EndUserUnmergeResultDTO", result))],
            &["BadRequest", "NotFound", "Conflict", "ContentTooLarge", "UnsupportedMediaType", "UnprocessableContent"],
        ))
        .build()
}

/// The error responses of an operation on one end user.
const OF_ONE: [&str; 3] = ["BadRequest", "NotFound", "Moved"];

fn list_of(about: &str, schema: &str, max: usize, example: Value) -> Response {
    let items = ArrayBuilder::new().items(Ref::from_schema_name(schema)).max_items(Some(max));
    let content = ContentBuilder::new().schema(Some(items)).example(Some(example)).build();
    response(about, &[]).content("application/json", content).build()
}

fn operation(id: &str, tag: &str, summary: &str) -> OperationBuilder {
    OperationBuilder::new().operation_id(Some(id)).tag(tag).summary(Some(summary))
}

fn responses<const N: usize>(success: [(&str, Response); N], errors: &[&'static str]) -> Responses {
    let success = success.into_iter().map(|(status, response)| (status.to_owned(), RefOr::T(response)));
    success.chain(error_responses(errors)).collect()
}

fn without_headers(description: &str, schema: &str, example: Value) -> Response {
    with_headers(description, &[], schema, example)
}

fn with_headers(description: &str, headers: &[&str], schema: &str, example: Value) -> Response {
    let content = ContentBuilder::new().schema(Some(Ref::from_schema_name(schema))).example(Some(example)).build();
    response(description, headers).content("application/json", content).build()
}

fn body(schema: &str, example: Value) -> RequestBody {
    let content = ContentBuilder::new().schema(Some(Ref::from_schema_name(schema))).example(Some(example)).build();
    RequestBodyBuilder::new().content("application/json", content).required(Some(Required::True)).build()
}

fn text(max: usize) -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::String).max_length(Some(max))
}

fn parameter(part: ParameterIn, name: &str, schema: impl Into<RefOr<Schema>>, about: &str) -> ParameterBuilder {
    ParameterBuilder::new().name(name).parameter_in(part).schema(Some(schema)).description(Some(about))
}

fn query(name: &str, schema: impl Into<RefOr<Schema>>, about: &str) -> ParameterBuilder {
    parameter(ParameterIn::Query, name, schema, about)
}

fn path_id() -> Parameter {
    let id = parameter(ParameterIn::Path, "id", id(), "The `endUserID`.");
    id.required(Required::True).example(Some(json!(1))).build()
}

fn paging() -> Vec<Parameter> {
    let number = integer(MAX_PAGE_NUMBER).default(Some(json!(1)));
    let size = integer(MAX_PAGE_SIZE).default(Some(json!(DEFAULT_PAGE_SIZE)));
    vec![
        query("pageNumber", number, "The number of the page. A page past the end has no items and the true totals.")
            .build(),
        query("pageSize", size, "The number of rows of a page.").build(),
    ]
}

fn sorting(names: &[&'static str], default: &str, order: &str) -> [Parameter; 2] {
    let by = ObjectBuilder::new().schema_type(Type::String).enum_values(Some(names.iter().copied()));
    let direction = ObjectBuilder::new().schema_type(Type::String).enum_values(Some(["asc", "desc"]));
    let about = "The sort field, in any case. Empty values come first in `asc`; ties are sorted by id.";
    [
        query("sortBy", by.default(Some(json!(default))), about).build(),
        query("sortOrder", direction, &format!("The sort order. Default: {order}.")).build(),
    ]
}

fn search(about: &str) -> Parameter {
    query("search", text(MAX_SEARCH_LENGTH), about).build()
}

fn header(name: &str, about: &str) -> ParameterBuilder {
    parameter(ParameterIn::Header, name, ObjectBuilder::new().schema_type(Type::String), about)
}

fn if_match() -> Parameter {
    header("If-Match", "ETags, one of which must be current; otherwise 412.").build()
}

fn if_none_match() -> Parameter {
    header("If-None-Match", "ETags, none of which must be current; otherwise 304.").build()
}

fn idempotency_key() -> Parameter {
    let key = text(MAX_KEY_LENGTH).min_length(Some(1)).pattern(Some("^[!-~]+$"));
    let about = "Makes the request safe to retry: a repeated request with the same key and body gives the same \
                 response for 24 hours, and is applied once.";
    parameter(ParameterIn::Header, "Idempotency-Key", key, about).build()
}

/// The body of the example of createEndUser.
fn create_body() -> Value {
    json!({
        "firstname": "Jane", "lastname": "Doe", "customerRef": "ERP-3049353", "customerType": "Customer",
        "lang": "nl", "country": "BE", "city": "Antwerpen",
        "uids": [
            { "uidType": "Email", "uid": "jane@example.com", "isPrimary": true },
            { "uidType": "Phone", "uid": "0470 00 00 00" },
        ],
    })
}

/// The response to [`create_body`] as the first end user of a tenant.
fn jane() -> Value {
    json!(EndUserReadDto::from(&end_user(&create_body())))
}

/// The first end user of a tenant. Panics if the body is invalid; it is only called with examples.
fn end_user(body: &Value) -> EndUser {
    let body = Json::parse(body.to_string().as_bytes()).expect("an example is JSON");
    let pending = PendingEndUser::read(&body, None).expect("an example is valid");
    let ids = (1..).filter_map(UidId::new);
    pending.save(EndUserId::MIN, 1, ids).expect("an example is small")
}

fn ticket() -> Value {
    json!({
        "ticketID": 900, "subject": "Invoice 2026-118 was charged twice", "status": "Open", "channelID": 3,
        "channelType": "Email", "uid": "jane@example.com", "endUserID": null, "customerRepID": 12,
        "isClosed": false, "isSpam": false, "dateCreated": "2026-11-23T10:00:00Z",
        "lastMessageDate": "2026-11-23T10:05:00Z", "customFieldsData": { "orderNumber": "2026-118" },
        "topics": ["Billing"], "aiFeedbackComments": ["The answer quoted the wrong invoice."],
        "lastEndUserMessageID": 9001,
    })
}
