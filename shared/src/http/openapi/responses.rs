//! The answers that many operations share, errors above all: each by the error itself, as it is answered.

use lambda_http::http::StatusCode;
use serde_json::{Value, json};
use utoipa::openapi::example::ExampleBuilder;
use utoipa::openapi::header::HeaderBuilder;
use utoipa::openapi::schema::{ComponentsBuilder, ObjectBuilder, Type};
use utoipa::openapi::{ContentBuilder, Ref, RefOr, Response, ResponseBuilder};

use super::super::problem::{self, Error};
use crate::auth::AuthError;
use crate::domain::end_user::PendingEndUser;
use crate::domain::input::{Json, ValidationErrors};
use crate::store::{Outcome, StoreError};

/// The id of the request in the examples.
const REQUEST_ID: &str = "JKJaXmPLvHcESHA=";

/// Every header that an answer may have, and what it says.
const HEADERS: [(&str, &str); 9] = [
    ("x-request-id", "The gateway's id of the request."),
    ("cache-control", "Always `no-store`."),
    ("x-content-type-options", "Always `nosniff`."),
    (
        "server-timing",
        "`db;dur=MS;desc=\"rtt=N rru=X wru=Y\"`: milliseconds on the database, sequential round trips, read and write \
         units. Always in `local`, elsewhere where the deployment says so.",
    ),
    ("location", "The path of what was created."),
    ("etag", "The revision of the person, for `If-Match` and `If-None-Match`."),
    ("idempotency-replayed", "`true` where the answer is that of an earlier request with the same `Idempotency-Key`."),
    ("retry-after", "Seconds to wait before the request is sent again."),
    ("www-authenticate", "`Bearer`, and what is wrong with the token that was there (RFC 6750)."),
];

/// The headers of every answer of a function.
const ALWAYS: [&str; 3] = ["x-request-id", "cache-control", "x-content-type-options"];

/// What an error is called, and the error itself.
type Named = (&'static str, Error);

/// A kind of refusal: the name of the response, its errors.
fn refusals() -> [(&'static str, Vec<Named>); 11] {
    let unavailable = |outcome| Error::Store(StoreError::Unavailable { outcome, reason: String::new() });
    [
        ("BadRequest", vec![("faults", Error::Invalid(errors()))]),
        (
            "Unauthorized",
            vec![
                ("missing", Error::Auth(AuthError::Missing)),
                ("invalid", Error::Auth(AuthError::Invalid)),
                ("expired", Error::Auth(AuthError::Expired)),
            ],
        ),
        ("Forbidden", vec![("noTenant", Error::Auth(AuthError::NoTenant)), ("scope", Error::Auth(AuthError::Scope))]),
        ("NotFound", vec![("notFound", Error::NotFound)]),
        ("PreconditionFailed", vec![("stale", Error::Stale)]),
        ("ContentTooLarge", vec![("tooLarge", Error::TooLarge)]),
        (
            "UnsupportedMediaType",
            vec![("contentType", Error::UnsupportedMedia("the Content-Type must be application/json"))],
        ),
        ("Conflict", vec![("idsExhausted", Error::IdsExhausted)]),
        ("UnprocessableContent", vec![("keyReused", Error::KeyReused)]),
        ("InternalServerError", vec![("unexpected", Error::Store(StoreError::Unexpected(String::new())))]),
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

/// The faults of a body that has several.
fn errors() -> ValidationErrors {
    let body = json!({ "country": "Belgium", "uids": [{ "uidType": "Email", "uid": "jane@" }] });
    let draft = Json::parse(body.to_string().as_bytes()).map(|body| PendingEndUser::read(&body, None));
    draft.ok().and_then(Result::err).unwrap_or_default()
}

/// All of them, and the headers.
pub(super) fn components() -> ComponentsBuilder {
    let mut components = ComponentsBuilder::new();
    for (name, about) in HEADERS {
        let text = ObjectBuilder::new().schema_type(Type::String);
        components = components.header(name, HeaderBuilder::new().schema(Some(text)).description(Some(about)).build());
    }
    let limited =
        gateways(ResponseBuilder::new().description("Too much at once: slow down."), StatusCode::TOO_MANY_REQUESTS);
    components = components.response("TooManyRequests", limited.build());
    refusals().into_iter().fold(components, |all, (name, errors)| all.response(name, refusal(&errors)))
}

/// The statuses and shared answers of an operation that may refuse by these names; every one may by some.
pub(super) fn refused(names: &[&'static str]) -> Vec<(String, RefOr<Response>)> {
    const BY_ALL: [&str; 4] = ["Unauthorized", "Forbidden", "InternalServerError", "ServiceUnavailable"];
    let named = refusals().into_iter().filter(|(name, _)| names.contains(name) || BY_ALL.contains(name));
    let mut all: Vec<_> = named
        .filter_map(|(name, errors)| {
            let status = problem::response(&errors.first()?.1, REQUEST_ID).status();
            Some((status.to_string(), Ref::from_response_name(name).into()))
        })
        .collect();
    all.push(("429".to_owned(), Ref::from_response_name("TooManyRequests").into()));
    all
}

/// An answer of a function with these headers more.
pub(super) fn answer(description: &str, headers: &[&str]) -> ResponseBuilder {
    let timing = ["server-timing"];
    let all = ALWAYS.iter().chain(&timing).chain(headers);
    all.fold(ResponseBuilder::new().description(description), |response, name| {
        response.header_ref(*name, Ref::new(format!("#/components/headers/{name}")))
    })
}

/// One answer for errors of one status.
fn refusal(errors: &[Named]) -> Response {
    let mut headers = Vec::new();
    let (mut details, mut examples, mut status) = (Vec::new(), Vec::new(), StatusCode::OK);
    for (name, error) in errors {
        let answered = problem::response(error, REQUEST_ID).finish(REQUEST_ID, None);
        status = answered.status();
        for (name, _) in HEADERS {
            if answered.headers().contains_key(name) && !ALWAYS.contains(&name) && !headers.contains(&name) {
                headers.push(name);
            }
        }
        let body: Value = serde_json::from_str(answered.body()).unwrap_or_default();
        details.push(body["detail"].as_str().unwrap_or_default().to_owned());
        examples.push((*name, ExampleBuilder::new().value(Some(body)).build()));
    }
    let description = match details.join("; ") {
        details if details.is_empty() => "An unexpected fault; the request id finds it in the log.".to_owned(),
        details => details,
    };
    let content =
        ContentBuilder::new().schema(Some(Ref::from_schema_name("Problem"))).examples_from_iter(examples).build();
    let response = answer(&description, &headers).content("application/problem+json", content);
    gateways(response, status).build()
}

/// `response`, and what the gateway itself may answer with this status.
fn gateways(response: ResponseBuilder, status: StatusCode) -> ResponseBuilder {
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
