//! The eight operations: what each takes and answers, with an example that is sent by a test.

use serde_json::{Value, json};
use utoipa::openapi::path::{
    HttpMethod, Operation, OperationBuilder, Parameter, ParameterBuilder, ParameterIn, PathItem,
};
use utoipa::openapi::request_body::{RequestBody, RequestBodyBuilder};
use utoipa::openapi::schema::{ArrayBuilder, ObjectBuilder, Schema, Type};
use utoipa::openapi::{ContentBuilder, Ref, RefOr, Required, Response, Responses};

use super::responses::{answer, refused};
use super::schemas::{id, integer};
use super::{END_USERS, TICKETS, UIDS};
use crate::domain::end_user::{
    AssignedDto, AssignedUid, EndUser, EndUserReadDto, MAX_UID_LENGTH, PendingEndUser, SortField,
};
use crate::domain::idempotency::MAX_KEY_LENGTH;
use crate::domain::ids::{EndUserId, MAX_SAFE_INTEGER, UidId};
use crate::domain::input::Json;
use crate::domain::search::MAX_SEARCH_LENGTH;
use crate::domain::ticket::TicketSort;
use crate::http::request::{DEFAULT_PAGE_SIZE, MAX_PAGE_NUMBER, MAX_PAGE_SIZE};

/// The operations by their paths, each path once.
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
        (
            "/api/EndUsers/{id}",
            item(vec![(HttpMethod::Get, get()), (HttpMethod::Put, update()), (HttpMethod::Delete, delete())]),
        ),
        ("/api/EndUsers/{id}/tickets", item(vec![(HttpMethod::Get, tickets())])),
        ("/api/EndUserUIDs/assign", item(vec![(HttpMethod::Post, assign())])),
    ]
}

fn list() -> Operation {
    let mut parameters = paging();
    parameters.extend(sorting(&SortField::ALL.map(SortField::name), "endUserID", "asc"));
    parameters.push(search(
        "Every word must be a prefix of a word of the person: names, company, address, customerRef, UIDs, \
         otherContactDetails, such as `jane ant`. With an `@` it is matched against whole UIDs. At most 20 words.",
    ));
    let page = json!({ "items": [jane()], "totalCount": 1, "totalPages": 1 });
    operation("listEndUsers", END_USERS, "List end users")
        .description(Some("A page of the tenant's people, sorted and searched, with exact totals."))
        .parameters(Some(parameters))
        .responses(answers([("200", whole("A page.", "EndUserPage", page))], &["BadRequest"]))
        .build()
}

fn create() -> Operation {
    operation("createEndUser", END_USERS, "Create an end user")
        .parameters(Some([idempotency_key()]))
        .request_body(Some(body("EndUserCreateDTO", created_by())))
        .responses(answers(
            [(
                "201",
                documented("The person.", &["location", "etag", "idempotency-replayed"], "EndUserReadDTO", jane()),
            )],
            &["BadRequest", "Conflict", "ContentTooLarge", "UnsupportedMediaType", "UnprocessableContent"],
        ))
        .build()
}

fn get() -> Operation {
    let unchanged = answer("The caller has this revision.", &["etag"]).build();
    operation("getEndUser", END_USERS, "Read an end user")
        .parameters(Some([path_id(), if_match(), if_none_match()]))
        .responses(answers(
            [("200", documented("The person.", &["etag"], "EndUserReadDTO", jane())), ("304", unchanged)],
            &["BadRequest", "NotFound", "PreconditionFailed"],
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
        .description(Some("Changes the profile, and adds, changes or removes UIDs: all or nothing."))
        .parameters(Some([path_id(), if_match()]))
        .request_body(Some(body("EndUserUpdateDTO", change)))
        .responses(answers(
            [("204", answer("It is done.", &[]).build())],
            &["BadRequest", "NotFound", "Conflict", "PreconditionFailed", "ContentTooLarge", "UnsupportedMediaType"],
        ))
        .build()
}

fn delete() -> Operation {
    operation("deleteEndUser", END_USERS, "Delete an end user")
        .description(Some("Tickets stay."))
        .parameters(Some([path_id(), if_match()]))
        .responses(answers(
            [("204", answer("It is done.", &[]).build())],
            &["BadRequest", "NotFound", "PreconditionFailed"],
        ))
        .build()
}

fn find() -> Operation {
    let uid = query("uid", text(MAX_UID_LENGTH).min_length(Some(1)), "The identifier, however it is spelt.")
        .required(Required::True)
        .example(Some(json!("0032 470 00 00 00")));
    let found = ContentBuilder::new()
        .schema(Some(ArrayBuilder::new().items(Ref::from_schema_name("EndUserReadDTO")).max_items(Some(100))))
        .example(Some(json!([jane()])));
    let found =
        answer("The people, by id; empty where there are none.", &[]).content("application/json", found.build());
    operation("findEndUsersByUid", UIDS, "Find end users by an identifier")
        .description(Some("Matches every UID of any type and customerRef. The same UID may be several people's."))
        .parameters(Some([uid]))
        .responses(answers([("200", found.build())], &["BadRequest"]))
        .build()
}

fn assign() -> Operation {
    let request = json!({ "uid": "visitor@example.com", "endUserID": 1, "uidType": "Email", "isPrimary": false });
    let assigned = |already_linked| {
        let mut uids = end_user(&json!({ "uids": [request] })).uids.into_iter();
        let dto = uids.next().map(|mut uid| {
            uid.id = UidId::new(3).unwrap_or(uid.id);
            AssignedDto::from(&AssignedUid {
                end_user: EndUserId::new(1).unwrap_or(EndUserId::MAX),
                uid,
                already_linked,
            })
        });
        json!(dto)
    };
    let headers = ["idempotency-replayed"];
    operation("assignEndUserUid", UIDS, "Link a UID to an end user")
        .parameters(Some([idempotency_key()]))
        .request_body(Some(body("AssignUIDRequest", request.clone())))
        .responses(answers(
            [
                ("200", documented("It was linked before.", &headers, "AssignedUIDDTO", assigned(true))),
                ("201", documented("It is linked.", &headers, "AssignedUIDDTO", assigned(false))),
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
        query("customerRepID", integer(MAX_SAFE_INTEGER), "The representative.").build(),
        query("channelType", text(MAX_SEARCH_LENGTH), "The kind of channel, in any case.").build(),
        query("channelIDs", channels, "Any of these channels; repeated, separated by commas, or both.").build(),
        query("uid", text(MAX_UID_LENGTH), "One of the person's identifiers; another's gives an empty page.").build(),
        query("isClosed", flag(), "A ticket that does not say counts as open.").build(),
        query("isSpam", flag(), "A ticket that does not say counts as no spam.").build(),
        search("Words over subject, uid and topics."),
    ];
    parameters.extend(sorting(
        &TicketSort::ALL.map(|(name, _)| name),
        "lastMessageDate",
        "desc without `sortBy`, else asc",
    ));
    parameters.extend(paging());
    let page = json!({ "items": [ticket()], "totalCount": 1, "totalPages": 1 });
    operation("listEndUserTickets", TICKETS, "List an end user's tickets")
        .description(Some("Those whose `uid` matches any of the person's UIDs or customerRef; all filters must hold."))
        .parameters(Some(parameters))
        .responses(answers([("200", whole("A page.", "TicketPage", page))], &["BadRequest", "NotFound"]))
        .build()
}

fn operation(id: &str, tag: &str, summary: &str) -> OperationBuilder {
    OperationBuilder::new().operation_id(Some(id)).tag(tag).summary(Some(summary))
}

fn answers<const N: usize>(good: [(&str, Response); N], refusals: &[&'static str]) -> Responses {
    let good = good.into_iter().map(|(status, response)| (status.to_owned(), RefOr::T(response)));
    good.chain(refused(refusals)).collect()
}

fn whole(description: &str, schema: &str, example: Value) -> Response {
    documented(description, &[], schema, example)
}

fn documented(description: &str, headers: &[&str], schema: &str, example: Value) -> Response {
    let content = ContentBuilder::new().schema(Some(Ref::from_schema_name(schema))).example(Some(example)).build();
    answer(description, headers).content("application/json", content).build()
}

fn body(schema: &str, example: Value) -> RequestBody {
    let content = ContentBuilder::new().schema(Some(Ref::from_schema_name(schema))).example(Some(example)).build();
    RequestBodyBuilder::new().content("application/json", content).required(Some(Required::True)).build()
}

fn text(max: usize) -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::String).max_length(Some(max))
}

fn parameter(place: ParameterIn, name: &str, schema: impl Into<RefOr<Schema>>, about: &str) -> ParameterBuilder {
    ParameterBuilder::new().name(name).parameter_in(place).schema(Some(schema)).description(Some(about))
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
        query("pageNumber", number, "Which page; one past the end is empty, with the true totals.").build(),
        query("pageSize", size, "Rows a page.").build(),
    ]
}

fn sorting(names: &[&'static str], default: &str, order: &str) -> [Parameter; 2] {
    let by = ObjectBuilder::new().schema_type(Type::String).enum_values(Some(names.iter().copied()));
    let direction = ObjectBuilder::new().schema_type(Type::String).enum_values(Some(["asc", "desc"]));
    let about = "Case does not count; empty first in `asc`; ties by id.";
    [
        query("sortBy", by.default(Some(json!(default))), about).build(),
        query("sortOrder", direction, &format!("The default is {order}.")).build(),
    ]
}

fn search(about: &str) -> Parameter {
    query("search", text(MAX_SEARCH_LENGTH), about).build()
}

fn header(name: &str, about: &str) -> ParameterBuilder {
    parameter(ParameterIn::Header, name, ObjectBuilder::new().schema_type(Type::String), about)
}

fn if_match() -> Parameter {
    header("If-Match", "Only at one of these revisions (`ETag`s), else 412.").build()
}

fn if_none_match() -> Parameter {
    header("If-None-Match", "Not at one of these revisions: 304.").build()
}

fn idempotency_key() -> Parameter {
    let key = text(MAX_KEY_LENGTH).min_length(Some(1)).pattern(Some("^[!-~]+$"));
    let about = "The same key with the same body is carried out once and answered alike for 24 hours.";
    parameter(ParameterIn::Header, "Idempotency-Key", key, about).build()
}

/// The body of the example of a create.
fn created_by() -> Value {
    json!({
        "firstname": "Jane", "lastname": "Doe", "customerRef": "ERP-3049353", "customerType": "Customer",
        "lang": "nl", "country": "BE", "city": "Antwerpen",
        "uids": [
            { "uidType": "Email", "uid": "jane@example.com", "isPrimary": true },
            { "uidType": "Phone", "uid": "0470 00 00 00" },
        ],
    })
}

/// What is answered for it by a tenant that had nobody.
fn jane() -> Value {
    json!(EndUserReadDto::from(&end_user(&created_by())))
}

/// The first end user of a tenant. Only examples of ours come here: they have no faults.
fn end_user(body: &Value) -> EndUser {
    let body = Json::parse(body.to_string().as_bytes()).expect("an example is JSON");
    let draft = PendingEndUser::read(&body, None).expect("an example has no faults");
    let ids = (1..).filter_map(UidId::new);
    draft.save(EndUserId::MIN, 1, ids).expect("an example is small")
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
