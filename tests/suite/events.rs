//! The event files for `sam local invoke` fit the template, and each function accepts its event.

use std::collections::BTreeSet;

use local::template::Template;
use serde_json::{Value, json};

use crate::support::app::App;

fn event(function: &str) -> Value {
    let path = format!("{}/events/{function}.json", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

#[test]
fn every_function_has_an_event_that_fits_the_template() {
    let files = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/events")).unwrap();
    let files: BTreeSet<String> = files.map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
    let template = Template::load().unwrap();
    let functions: BTreeSet<String> = template.functions.iter().map(|f| format!("{}.json", f.name)).collect();
    assert_eq!(files, functions);
    for route in template.routes {
        assert_eq!(event(&route.function)["routeKey"], format!("{} {}", route.method, route.path));
    }
    assert_eq!(event(&template.stream.function)["Records"][0]["eventSource"], "aws:dynamodb");
    assert!(local::template::matches(&template.stream.filters, &event(&template.stream.function)["Records"][0]));
    assert_eq!(event(&template.queue.function)["Records"][0]["eventSource"], "aws:sqs");
}

#[tokio::test]
async fn every_function_accepts_its_event() {
    let app = App::start().await;
    let invoke = async |function: &str| app.system.invoke(function, &event(function)).await.expect(function);
    let http = async |function: &str, status: u16| {
        let response = invoke(function).await;
        assert_eq!(response["statusCode"], status, "{function}: {response}");
        let body = response["body"].as_str().unwrap_or("null");
        serde_json::from_str::<Value>(body).unwrap()
    };
    let jane = http("create-end-user", 201).await;
    assert_eq!((&jane["endUserID"], &jane["name"]), (&json!(1), &json!("Jane Doe")));
    assert_eq!(http("get-end-user", 200).await, jane);
    assert_eq!(http("find-end-users-by-uid", 200).await, json!([jane]));
    assert_eq!(invoke("index-end-users").await, json!({ "batchItemFailures": [] }));
    assert_eq!(http("list-end-users", 200).await, json!({ "items": [jane], "totalCount": 1, "totalPages": 1 }));
    assert_eq!(http("assign-end-user-uid", 201).await["uid"], "visitor@example.com");
    let bad = event("ingest-tickets")["Records"][1]["messageId"].clone();
    assert_eq!(invoke("ingest-tickets").await, json!({ "batchItemFailures": [{ "itemIdentifier": bad }] }));
    assert_eq!(http("list-end-user-tickets", 200).await["items"][0]["subject"], "Opening hours?");
    assert_eq!(http("update-end-user", 204).await, Value::Null);
    assert_eq!(http("get-end-user", 200).await["uids"][2]["uid"], "+32470000000");
    assert_eq!(http("delete-end-user", 204).await, Value::Null);
    assert_eq!(http("get-end-user", 404).await["title"], "Not Found");
}
