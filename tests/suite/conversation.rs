//! Recorded requests and responses. Every database engine and every way to run the functions returns the same bytes.
//! `RECORD_CONVERSATION=1 cargo test --workspace conversation` records the responses to the requests of the file again.

use std::path::PathBuf;

use serde_json::{Map, Value, json};

use crate::support::app::{App, Caller, System, TestRequest, token};

fn file() -> PathBuf {
    concat!(env!("CARGO_MANIFEST_DIR"), "/conversation.ndjson").into()
}

/// The status and the body without the request id.
async fn respond(app: &App, turn: &Value) -> (u16, String) {
    let (method, path) = turn["send"].as_str().unwrap().split_once(' ').unwrap();
    if let System::Stack(stack) = &app.system {
        match path {
            "/local/ticket-events" => {
                stack.send_event(&turn["body"].to_string()).await;
                return (202, String::new());
            }
            "/local/settle" => {
                app.settle().await;
                return (204, String::new());
            }
            _ => {}
        }
    }
    let mut request = TestRequest::new(method, path);
    if !turn["body"].is_null() {
        request = request.json(&turn["body"]);
    }
    if let Some(raw) = turn["raw"].as_str() {
        request = request.header("content-type", turn["type"].as_str().unwrap_or("application/json")).body(raw);
    }
    let response = caller(app, &turn["as"]).send(request).await;
    let body = match response.header("x-request-id") {
        Some(id) => response.text().replace(id, "the request's id"),
        None => response.text(),
    };
    (response.status, body)
}

/// The caller of a recorded tenant: `""` has a token without a tenant, `null` has no token.
fn caller<'a>(app: &'a App, tenant: &Value) -> Caller<'a> {
    match tenant.as_str() {
        None => app.caller(None),
        Some("") => app.caller(Some(token(json!({})))),
        Some(name) => app.tenant(name),
    }
}

#[tokio::test]
async fn recorded_requests_get_the_recorded_responses() {
    let text = std::fs::read_to_string(file()).unwrap();
    let turns: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let api = turns.iter().filter(|turn| turn["send"].as_str().unwrap().contains(" /api/")).count();
    assert_eq!(api, 300);
    let app = App::start().await;
    let mut recorded = String::new();
    for (line, turn) in (1..).zip(&turns) {
        let (status, body) = respond(&app, turn).await;
        if std::env::var_os("RECORD_CONVERSATION").is_some() {
            let mut turn: Map<String, Value> = turn.as_object().unwrap().clone();
            turn.extend([("status".to_owned(), json!(status)), ("answer".to_owned(), json!(body))]);
            recorded += &format!("{}\n", Value::from(turn));
            continue;
        }
        assert!(status < 500, "line {line}, {}: {body}", turn["send"]);
        let expected = (turn["status"].as_u64(), turn["answer"].as_str());
        assert_eq!((Some(u64::from(status)), Some(body.as_str())), expected, "line {line}, {}", turn["send"]);
    }
    if !recorded.is_empty() {
        std::fs::write(file(), recorded).unwrap();
    }
}
