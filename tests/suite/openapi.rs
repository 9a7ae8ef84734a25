//! openapi.json is generated from the code, and its examples are true.

use std::collections::BTreeSet;
use std::path::Path;

use local::template::Template;
use serde_json::{Map, Value, json};
use shared::http::openapi::document;

use crate::support::app::{App, Caller, TestRequest};
use crate::support::openapi::{DOCUMENT, OPERATIONS, operations, resolved, validator};

#[test]
fn openapi_json_is_generated_from_the_code() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../openapi.json");
    let written = std::fs::read_to_string(path).expect("openapi.json");
    let made = document().to_pretty_json().expect("a document") + "\n";
    assert!(written == made, "openapi.json is stale; generate it with: cargo run -q -- openapi >openapi.json");
}

#[test]
fn operations_are_the_routes_of_the_template() {
    let routes = Template::load().unwrap().routes;
    let routes: BTreeSet<_> = routes.into_iter().map(|route| (route.method, route.path)).collect();
    assert_eq!(OPERATIONS.keys().cloned().collect::<BTreeSet<_>>(), routes);
    let ids: BTreeSet<_> = operations().map(|(_, _, operation)| operation["operationId"].to_string()).collect();
    assert_eq!(ids.len(), routes.len());
}

#[test]
fn every_operation_documents_its_common_errors() {
    for (route, operation) in OPERATIONS.iter() {
        for status in [401, 403, 429, 500, 503] {
            assert!(operation.0.contains_key(&status), "{route:?} has no {status}");
        }
    }
    assert_eq!(DOCUMENT["security"], json!([{ "token": [] }]));
    let scheme = &DOCUMENT["components"]["securitySchemes"]["token"];
    assert_eq!([&scheme["type"], &scheme["scheme"], &scheme["bearerFormat"]], ["http", "bearer", "JWT"]);
}

#[test]
fn every_response_example_conforms_to_its_schema() {
    let mut seen = 0;
    let responses = operations().flat_map(|(_, _, operation)| operation["responses"].as_object().expect("responses"));
    let contents = responses.flat_map(|(_, response)| resolved(response)["content"].as_object().into_iter().flatten());
    for (_, content) in contents {
        let several =
            content["examples"].as_object().into_iter().flat_map(Map::values).map(|example| &example["value"]);
        let examples: Vec<_> = content.get("example").into_iter().chain(several).collect();
        assert!(!examples.is_empty(), "no example: {content}");
        for example in examples {
            let found = validator(&content["schema"]).validate(example).map_err(|error| error.to_string());
            assert_eq!(found, Ok(()), "{example}");
            seen += 1;
        }
    }
    assert!(seen > 50, "{seen} examples");
}

/// Sends the example request of an operation and expects the example response of `status`.
async fn assert_example(caller: &Caller<'_>, id: &str, status: u16) {
    let (method, path, operation) =
        operations().find(|(_, _, operation)| operation["operationId"] == id).expect("an operation");
    let parameters = operation["parameters"].as_array().expect("parameters");
    let examples = parameters.iter().filter_map(|parameter| {
        let text = match parameter.get("example")? {
            Value::String(text) => {
                percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string()
            }
            example => example.to_string(),
        };
        Some((parameter["in"].as_str()?, parameter["name"].as_str()?, text))
    });
    let (mut path, mut query) = (path, Vec::new());
    for (place, name, example) in examples {
        match place {
            "path" => path = path.replace(&format!("{{{name}}}"), &example),
            _ => query.push(format!("{name}={example}")),
        }
    }
    let path = if query.is_empty() { path } else { format!("{path}?{}", query.join("&")) };
    let request = TestRequest::new(&method, &path);
    let request = match operation["requestBody"]["content"]["application/json"].get("example") {
        Some(body) => request.json(body),
        None => request,
    };
    let expected = &operation["responses"][status.to_string()]["content"]["application/json"]["example"];
    assert_eq!(caller.send(request).await.expect(status), *expected, "{id}");
}

#[tokio::test]
async fn request_examples_get_the_example_responses() {
    let app = App::start().await;
    let caller = app.tenant(7);
    assert_example(&caller, "createEndUser", 201).await;
    app.settle().await;
    for id in ["listEndUsers", "getEndUser", "findEndUsersByUid"] {
        assert_example(&caller, id, 200).await;
    }
    let at = "2026-11-23T10:05:00Z";
    app.events(&[
        json!({ "type": "ticket.upserted", "customerID": 7, "occurredAt": at, "ticket": {
            "ticketID": 900, "subject": "Invoice 2026-118 was charged twice", "status": "Open", "channelID": 3,
            "channelType": "Email", "uid": "jane@example.com", "customerRepID": 12, "isClosed": false,
            "isSpam": false, "dateCreated": "2026-11-23T10:00:00Z", "lastMessageDate": at,
            "customFieldsData": { "orderNumber": "2026-118" } } }),
        json!({ "type": "message.upserted", "customerID": 7, "occurredAt": at, "message": {
            "ticketMessageID": 9001, "ticketID": 900, "date": "2026-11-23T10:00:00Z", "sender": "EndUser",
            "topics": ["Billing"] } }),
        json!({ "type": "message.upserted", "customerID": 7, "occurredAt": at, "message": {
            "ticketMessageID": 9002, "ticketID": 900, "date": at, "sender": "AI", "isEscalated": true,
            "feedbackComment": "The answer quoted the wrong invoice." } }),
    ])
    .await;
    assert_example(&caller, "listEndUserTickets", 200).await;
    assert_example(&caller, "assignEndUserUid", 201).await;
    assert_example(&caller, "assignEndUserUid", 200).await;
    assert_example(&caller, "updateEndUser", 204).await;
    assert_eq!(caller.by_uid("jane.new@example.com").await, [1]);
    assert_example(&caller, "deleteEndUser", 204).await;
}
