//! The description of the API, and the assertion that a response conforms to it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use jsonschema::Validator;
use local::template::Template;
use serde_json::{Value, json};
use shared::http::openapi::document;

use super::app::Response;

pub static DOCUMENT: LazyLock<Value> = LazyLock::new(|| serde_json::to_value(document()).expect("a document"));

/// What each operation may answer, by method and path.
pub static OPERATIONS: LazyLock<BTreeMap<(String, String), Operation>> = LazyLock::new(|| {
    let operations = operations().map(|(method, path, operation)| {
        let answers = operation["responses"].as_object().expect("responses");
        let answers = answers.iter().map(|(status, answer)| (status.parse().expect("a status"), Promise::of(answer)));
        ((method, path), Operation(answers.collect()))
    });
    operations.collect()
});

/// By status.
pub struct Operation(pub BTreeMap<u16, Promise>);

/// What stands of one status.
pub struct Promise {
    headers: BTreeSet<String>,
    /// By content type.
    bodies: BTreeMap<String, Validator>,
}

impl Promise {
    fn of(answer: &Value) -> Self {
        let answer = resolved(answer);
        let members = |name: &str| answer[name].as_object().cloned().unwrap_or_default();
        let body = |(kind, content): (String, Value)| (kind, validator(&content["schema"]));
        Self {
            headers: members("headers").into_iter().map(|(name, _)| name).collect(),
            bodies: members("content").into_iter().map(body).collect(),
        }
    }
}

/// A schema of the document, by which an object has no members but those that it names.
pub fn validator(schema: &Value) -> Validator {
    let mut root = json!({ "components": { "schemas": DOCUMENT["components"]["schemas"] } });
    for schema in root["components"]["schemas"].as_object_mut().expect("schemas").values_mut() {
        schema["additionalProperties"] = json!(false);
    }
    root.as_object_mut().expect("an object").extend(schema.as_object().cloned().expect("a schema"));
    jsonschema::draft202012::options().should_validate_formats(true).build(&root).expect("a JSON Schema")
}

/// What a `$ref` into the document stands for.
pub fn resolved(value: &Value) -> &Value {
    match value["$ref"].as_str() {
        Some(place) => DOCUMENT.pointer(place.trim_start_matches('#')).expect("what is referred to"),
        None => value,
    }
}

/// Method, path and operation of each.
pub fn operations() -> impl Iterator<Item = (String, String, &'static Value)> {
    let paths = DOCUMENT["paths"].as_object().expect("paths");
    paths.iter().flat_map(|(path, item)| {
        let item = item.as_object().expect("a path item");
        item.iter().map(|(method, operation)| (method.to_uppercase(), path.clone(), operation))
    })
}

/// The operation that a request is for; a fixed segment beats `{id}`.
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

/// Every method and path of the template, so that a new route is walked too.
pub fn routes() -> Vec<(String, String)> {
    Template::load().unwrap().routes.into_iter().map(|route| (route.method, route.path)).collect()
}

/// Fails where an operation is answered otherwise than the document says.
#[track_caller]
pub fn assert_documented(method: &str, path: &str, answer: &Response) {
    /// Those of HTTP itself and of CORS, which the gateway brings.
    const GATEWAY: [&str; 6] = [
        "content-length",
        "date",
        "vary",
        "access-control-allow-origin",
        "access-control-expose-headers",
        "apigw-requestid",
    ];
    let Some(operation) = operation(method, path) else { return };
    let what = format!("{} answered {} {}", answer.what, answer.status, answer.text());
    let promise = operation.0.get(&answer.status).unwrap_or_else(|| panic!("an undocumented status: {what}"));
    let body = answer.json();
    match answer.header("content-type") {
        None => assert!(promise.bodies.is_empty() && answer.body.is_empty(), "a documented body is not there: {what}"),
        Some(kind) => {
            let validator = promise.bodies.get(kind).unwrap_or_else(|| panic!("an undocumented {kind}: {what}"));
            if let Err(error) = validator.validate(&body) {
                panic!("{error} at {}: {what}", error.instance_path());
            }
        }
    }
    for name in answer.headers.keys().map(http::HeaderName::as_str).filter(|name| *name != "content-type") {
        assert!(promise.headers.contains(name) || GATEWAY.contains(&name), "an undocumented header {name}: {what}");
    }
    let by_gateway = body.get("message").is_some() && answer.status >= 400;
    for name in ["x-request-id", "cache-control", "x-content-type-options"] {
        assert!(by_gateway || answer.headers.contains_key(name), "no {name}: {what}");
    }
}
