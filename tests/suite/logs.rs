//! Logs say what a request came to, and nothing of whom it was about.

use std::cell::RefCell;
use std::io;

use serde_json::{Value, json};

use crate::app::{App, Send, token};

thread_local! {
    /// What this thread logged, once it is asked for.
    static CAPTURED: RefCell<Option<Vec<u8>>> = const { RefCell::new(None) };
}

struct Capture;

impl io::Write for Capture {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        CAPTURED.with_borrow_mut(|captured| captured.iter_mut().for_each(|captured| captured.extend_from_slice(bytes)));
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn a_request_is_one_line_without_personal_data_or_tokens() {
    // One for the process: subscribers of single threads race for what callsites are enabled.
    let subscriber =
        tracing_subscriber::fmt().json().flatten_event(true).with_env_filter("info").with_writer(|| Capture);
    tracing::subscriber::set_global_default(subscriber.finish()).unwrap();
    // The runtime of a test is this one thread: all of the system logs here.
    CAPTURED.set(Some(Vec::new()));
    let app = App::start().await;
    let secret = token(json!({ "customerID": "acme" }));
    let tenant = app.caller(Some(secret.clone()));
    let person = tenant
        .create(
            json!({ "firstname": "Xanthippe", "customerRef": "XREF-1", "uids": [{ "uid": "xanthippe@example.com" }] }),
        )
        .await;
    let id = person["endUserID"].clone();
    tenant.get("/api/EndUsers?search=xanthippe").await.expect(200);
    tenant.get("/api/EndUsers/byUid?uid=xanthippe@example.com").await.expect(200);
    tenant
        .put(&format!("/api/EndUsers/{id}"), json!({ "uids": [{ "uid": "xanthippe at example" }] }))
        .await
        .expect(400);
    app.caller(Some(format!("{secret}x"))).get("/api/EndUsers").await.expect(401);
    let event =
        json!({ "type": "ticket.upserted", "customerID": "acme", "ticket": { "uid": "xanthippe@example.com" } });
    Send::new("POST", "/local/ticket-events").json(&event).to(&app).await.expect(202);
    app.settle().await;

    let text = String::from_utf8(CAPTURED.take().unwrap()).unwrap();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let answered: Vec<_> = lines.iter().filter(|line| line["message"] == "answered").collect();
    assert_eq!(answered.len(), 5, "one line per request: {text}");
    let first = answered[0];
    assert_eq!(
        (&first["route"], &first["status"], &first["tenant"]),
        (&json!("POST /api/EndUsers"), &json!(201), &json!("acme"))
    );
    assert!(first["requestId"].is_string() && first["durationMs"].is_number() && first["roundTrips"] == 2, "{first}");
    for word in ["anthippe", "XREF", "xref", "example.com", "Bearer", secret.split('.').next_back().unwrap()] {
        assert!(!text.contains(word), "{word} is in the log: {text}");
    }
}
