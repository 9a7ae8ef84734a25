//! The OpenAPI document of the API, and the assertion that a response conforms to it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use jsonschema::Validator;
use local::template::Template;
use serde_json::{Value, json};
use shared::http::openapi::document;

use super::app::Response;

pub static DOCUMENT: LazyLock<Value> = LazyLock::new(|| serde_json::to_value(document()).expect("a document"));

/// The documented responses of each operation, by method and path.
pub static OPERATIONS: LazyLock<BTreeMap<(String, String), Operation>> = LazyLock::new(|| {
    let operations = operations().map(|(method, path, operation)| {
        let responses = operation["responses"].as_object().expect("responses");
        let responses = responses
            .iter()
            .map(|(status, response)| (status.parse().expect("a status"), DocumentedResponse::of(response)));
        ((method, path), Operation(responses.collect()))
    });
    operations.collect()
});

/// The documented responses of an operation, by status.
pub struct Operation(pub BTreeMap<u16, DocumentedResponse>);

/// The documented headers and bodies of one status.
pub struct DocumentedResponse {
    headers: BTreeSet<String>,
    /// The schema of the body, by content type.
    bodies: BTreeMap<String, Validator>,
}

impl DocumentedResponse {
    fn of(response: &Value) -> Self {
        let response = resolved(response);
        let members = |name: &str| response[name].as_object().cloned().unwrap_or_default();
        let body = |(kind, content): (String, Value)| (kind, validator(&content["schema"]));
        Self {
            headers: members("headers").into_iter().map(|(name, _)| name).collect(),
            bodies: members("content").into_iter().map(body).collect(),
        }
    }
}

/// A validator for a schema of the document that allows no unnamed members.
pub fn validator(schema: &Value) -> Validator {
    let mut root = json!({ "components": { "schemas": DOCUMENT["components"]["schemas"] } });
    for schema in root["components"]["schemas"].as_object_mut().expect("schemas").values_mut() {
        schema["additionalProperties"] = json!(false);
    }
    root.as_object_mut().expect("an object").extend(schema.as_object().cloned().expect("a schema"));
    jsonschema::draft202012::options().should_validate_formats(true).build(&root).expect("a JSON Schema")
}

/// The target of a `$ref` into the document, or the value itself.
pub fn resolved(value: &Value) -> &Value {
    match value["$ref"].as_str() {
        Some(place) => DOCUMENT.pointer(place.trim_start_matches('#')).expect("the target of a $ref"),
        None => value,
    }
}

/// Each operation of the document with its method and path.
pub fn operations() -> impl Iterator<Item = (String, String, &'static Value)> {
    let paths = DOCUMENT["paths"].as_object().expect("paths");
    paths.iter().flat_map(|(path, item)| {
        let item = item.as_object().expect("a path item");
        item.iter().map(|(method, operation)| (method.to_uppercase(), path.clone(), operation))
    })
}

/// The operation of a request. A fixed path segment wins over `{id}`.
fn operation(method: &str, path: &str) -> Option<&'static Operation> {
    let path = path.split('?').next().unwrap_or_default();
    let fits = |pattern: &str| {
        let mut segments = pattern.split('/').zip(path.split('/'));
        pattern.split('/').count() == path.split('/').count()
            && segments.all(|(wanted, found)| wanted == found || wanted == "{id}" && !found.is_empty())
    };
    let fitting = OPERATIONS.iter().filter(|((m, pattern), _)| m == method && fits(pattern));
    fitting.min_by_key(|((_, pattern), _)| pattern.contains('{')).map(|(_, operation)| operation)
}

/// Every method and path of the template, so that tests over all routes include new ones.
pub fn routes() -> Vec<(String, String)> {
    Template::load().unwrap().routes.into_iter().map(|route| (route.method, route.path)).collect()
}

/// Asserts that the response of a documented operation conforms to the document.
#[track_caller]
pub fn assert_documented(method: &str, path: &str, response: &Response) {
    /// Headers of HTTP and CORS, which the gateway adds.
    const GATEWAY: [&str; 6] = [
        "content-length",
        "date",
        "vary",
        "access-control-allow-origin",
        "access-control-expose-headers",
        "apigw-requestid",
    ];
    let Some(operation) = operation(method, path) else { return };
    let exchange = format!("{} returned {} {}", response.request, response.status, response.text());
    let documented = operation.0.get(&response.status).unwrap_or_else(|| panic!("an undocumented status: {exchange}"));
    let body = response.json();
    match response.header("content-type") {
        None => assert!(
            documented.bodies.is_empty() && response.body.is_empty(),
            "the documented body is missing: {exchange}"
        ),
        Some(kind) => {
            let validator = documented.bodies.get(kind).unwrap_or_else(|| panic!("an undocumented {kind}: {exchange}"));
            if let Err(error) = validator.validate(&body) {
                panic!("{error} at {}: {exchange}", error.instance_path());
            }
        }
    }
    for name in response.headers.keys().map(http::HeaderName::as_str).filter(|name| *name != "content-type") {
        assert!(
            documented.headers.contains(name) || GATEWAY.contains(&name),
            "an undocumented header {name}: {exchange}"
        );
    }
    let by_gateway = body.get("message").is_some() && response.status >= 400;
    for name in ["x-request-id", "cache-control", "x-content-type-options"] {
        assert!(by_gateway || response.headers.contains_key(name), "no {name}: {exchange}");
    }
}
