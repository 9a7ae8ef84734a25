//! The responses that several operations share. Error responses are produced by the errors themselves.

use lambda_http::http::StatusCode;
use serde_json::{Value, json};
use utoipa::openapi::example::ExampleBuilder;
use utoipa::openapi::header::HeaderBuilder;
use utoipa::openapi::schema::{ComponentsBuilder, ObjectBuilder, Type};
use utoipa::openapi::{ContentBuilder, Ref, RefOr, Response, ResponseBuilder};

use super::super::error::Error;
use super::super::problem;
use crate::auth::AuthError;
use crate::domain::end_user::{Conflict, ConflictKind, ConflictingEndUser, PendingEndUser};
use crate::domain::ids::EndUserId;
use crate::domain::input::{Json, ValidationErrors};
use crate::store::{ChangeError, Outcome, StoreError};

/// The request id in the examples.
const REQUEST_ID: &str = "JKJaXmPLvHcESHA=";

/// Every response header with its description.
const HEADERS: [(&str, &str); 9] = [
    ("x-request-id", "The id of the request."),
    ("cache-control", "Always `no-store`."),
    ("x-content-type-options", "Always `nosniff`."),
    (
        "server-timing",
        "`db;dur=MS;desc=\"rtt=N rru=X wru=Y\"`: milliseconds, sequential round trips, read units and write units of \
         the request in DynamoDB. `local` always sends it, a deployment if configured.",
    ),
    ("location", "The path of the end user; of a merged one, the path under the id that it is part of now."),
    ("etag", "The revision of the end user, for `If-Match` and `If-None-Match`."),
    ("idempotency-replayed", "`true` if the response is that of an earlier request with the same `Idempotency-Key`."),
    ("retry-after", "Seconds to wait before a retry."),
    ("www-authenticate", "`Bearer`, with the error of the token if there was one (RFC 6750)."),
];

/// The headers of every response of a function.
const ALWAYS: [&str; 3] = ["x-request-id", "cache-control", "x-content-type-options"];

/// An error with the name of its example.
type Named = (&'static str, Error);

/// The error responses: names with errors of one status.
fn errors_by_response() -> [(&'static str, Vec<Named>); 12] {
    let unavailable = |outcome| Error::from(StoreError::Unavailable { outcome, reason: String::new() });
    [
        ("BadRequest", vec![("validationErrors", Error::from(validation_errors()))]),
        (
            "Unauthorized",
            vec![
                ("missing", Error::Auth(AuthError::Missing)),
                ("invalid", Error::Auth(AuthError::Invalid)),
                ("expired", Error::Auth(AuthError::Expired)),
            ],
        ),
        ("Forbidden", vec![("noTenant", Error::Auth(AuthError::NoTenant)), ("scope", Error::Auth(AuthError::Scope))]),
        ("Moved", vec![("merged", Error::Change(ChangeError::Merged(EndUserId::MIN)))]),
        ("NotFound", vec![("notFound", Error::NOT_FOUND)]),
        ("PreconditionFailed", vec![("stale", Error::Change(ChangeError::Stale))]),
        ("ContentTooLarge", vec![("tooLarge", Error::TooLarge)]),
        (
            "UnsupportedMediaType",
            vec![("contentType", Error::UnsupportedMedia("the Content-Type must be application/json"))],
        ),
        ("Conflict", conflicts()),
        ("UnprocessableContent", vec![("keyReused", Error::Change(ChangeError::KeyReused))]),
        ("InternalServerError", vec![("unexpected", Error::from(StoreError::Unexpected(String::new())))]),
        (
            "ServiceUnavailable",
            vec![
                ("nothingWritten", unavailable(Outcome::NothingWritten)),
                ("outcomeUnknown", unavailable(Outcome::Unknown)),
                ("issuerUnavailable", Error::Auth(AuthError::IssuerUnavailable)),
            ],
        ),
    ]
}

/// The conflicts of all operations.
fn conflicts() -> Vec<Named> {
    let with = |kind, fields: &[&str]| {
        let fields = fields.iter().map(|field| (*field).to_owned()).collect();
        let end_users = vec![ConflictingEndUser { id: EndUserId::MIN, fields }];
        Error::Change(ChangeError::Conflict(Conflict { kind, end_users }))
    };
    vec![
        ("ambiguousMatch", with(ConflictKind::AmbiguousMatch, &["uids[0].uid", "customerRef"])),
        ("differentReference", with(ConflictKind::DifferentReference, &["customerRef"])),
        ("alreadyMerged", Error::Change(ConflictKind::AlreadyMerged.into())),
        ("laterMerge", with(ConflictKind::LaterMerge, &[])),
        ("idsExhausted", Error::Change(ConflictKind::IdsExhausted.into())),
    ]
}

/// The validation errors of an example body.
fn validation_errors() -> ValidationErrors {
    let body = json!({ "country": "Belgium", "uids": [{ "uidType": "Email", "uid": "jane@" }] });
    let result = Json::parse(body.to_string().as_bytes()).map(|body| PendingEndUser::read(&body, None));
    result.ok().and_then(Result::err).unwrap_or_default()
}

/// The shared responses and the headers.
pub(super) fn components() -> ComponentsBuilder {
    let mut components = ComponentsBuilder::new();
    for (name, about) in HEADERS {
        let text = ObjectBuilder::new().schema_type(Type::String);
        components = components.header(name, HeaderBuilder::new().schema(Some(text)).description(Some(about)).build());
    }
    let too_many = with_gateway_response(
        ResponseBuilder::new().description("Too many requests; retry later."),
        StatusCode::TOO_MANY_REQUESTS,
    );
    components = components.response("TooManyRequests", too_many.build());
    errors_by_response().into_iter().fold(components, |all, (name, errors)| all.response(name, error_response(&errors)))
}

/// The statuses and references of the error responses `names`, and of those that every operation has.
pub(super) fn error_responses(names: &[&'static str]) -> Vec<(String, RefOr<Response>)> {
    const COMMON: [&str; 4] = ["Unauthorized", "Forbidden", "InternalServerError", "ServiceUnavailable"];
    let named = errors_by_response().into_iter().filter(|(name, _)| names.contains(name) || COMMON.contains(name));
    let mut all: Vec<_> = named
        .filter_map(|(name, errors)| {
            let status = problem::response(&errors.first()?.1, REQUEST_ID).status();
            Some((status.to_string(), Ref::from_response_name(name).into()))
        })
        .collect();
    all.push(("429".to_owned(), Ref::from_response_name("TooManyRequests").into()));
    all
}

/// A response of a function with additional headers.
pub(super) fn response(description: &str, headers: &[&str]) -> ResponseBuilder {
    let timing = ["server-timing"];
    let all = ALWAYS.iter().chain(&timing).chain(headers);
    all.fold(ResponseBuilder::new().description(description), |response, name| {
        response.header_ref(*name, Ref::new(format!("#/components/headers/{name}")))
    })
}

/// The response for errors of one status.
fn error_response(errors: &[Named]) -> Response {
    let mut headers = Vec::new();
    let (mut details, mut examples, mut status) = (Vec::new(), Vec::new(), StatusCode::OK);
    for (name, error) in errors {
        if let Error::Change(ChangeError::Merged(_)) = error {
            headers.push("location");
        }
        let http = problem::response(error, REQUEST_ID).finish(REQUEST_ID, None);
        status = http.status();
        for (name, _) in HEADERS {
            if http.headers().contains_key(name) && !ALWAYS.contains(&name) && !headers.contains(&name) {
                headers.push(name);
            }
        }
        let body: Value = serde_json::from_str(http.body()).unwrap_or_default();
        details.push(body["detail"].as_str().unwrap_or_default().to_owned());
        examples.push((*name, ExampleBuilder::new().value(Some(body)).build()));
    }
    let description = match details.join("; ") {
        details if details.is_empty() => "An unexpected error; find it in the log by the request id.".to_owned(),
        details => details,
    };
    let content =
        ContentBuilder::new().schema(Some(Ref::from_schema_name("Problem"))).examples_from_iter(examples).build();
    let response = response(&description, &headers).content("application/problem+json", content);
    with_gateway_response(response, status).build()
}

/// Adds the gateway's own response with this status.
fn with_gateway_response(response: ResponseBuilder, status: StatusCode) -> ResponseBuilder {
    let message = match status {
        StatusCode::PAYLOAD_TOO_LARGE => "Request Entity Too Large",
        StatusCode::TOO_MANY_REQUESTS | StatusCode::INTERNAL_SERVER_ERROR | StatusCode::SERVICE_UNAVAILABLE => {
            status.canonical_reason().unwrap_or_default()
        }
        _ => return response,
    };
    let content = ContentBuilder::new()
        .schema(Some(Ref::from_schema_name("GatewayMessage")))
        .example(Some(json!({ "message": message })));
    response.content("application/json", content.build())
}
