//! Function state over a table without pollers, so that a test decides when the stream is processed.

use std::pin::pin;
use std::task::Poll;

use aws_sdk_dynamodb::Client;
use serde_json::{Value, json};
use shared::domain::input::Json;
use shared::store::Meter;

use super::app::App;

/// Creates the table without pollers and returns function state over it.
pub async fn unwatched(app: &App) -> shared::app::App {
    let template = local::template::Template::load().unwrap();
    let request = template.table.create(app.system.client().create_table().table_name(app.unwatched_table())).unwrap();
    request.send().await.unwrap();
    over_unwatched(app)
}

/// The state of another function instance over the table of [`unwatched`].
pub fn over_unwatched(app: &App) -> shared::app::App {
    over_unwatched_with(app, app.system.client().clone())
}

/// The state of another function instance over the table of [`unwatched`], with a database client of its own.
pub fn over_unwatched_with(app: &App, client: Client) -> shared::app::App {
    let lookup = |name: &str| (name == "TABLE_NAME").then(|| app.unwatched_table());
    let config = shared::app::Config::from_lookup(&lookup).unwrap();
    shared::app::App::new(config, client)
}

/// Runs `work` to its end, or drops it after `killed` round trips. A call in flight then may take effect or not.
pub async fn until_killed<T>(work: impl Future<Output = T>, meter: &Meter, killed: Option<u32>) -> Option<T> {
    let mut work = pin!(work);
    std::future::poll_fn(|context| match work.as_mut().poll(context) {
        Poll::Ready(done) => Poll::Ready(Some(done)),
        Poll::Pending if killed.is_some_and(|trips| meter.cost().round_trips >= trips) => Poll::Ready(None),
        Poll::Pending => Poll::Pending,
    })
    .await
}

/// The body of an average end user: two UIDs and a customerRef, stored in at most 1,024 bytes.
pub fn end_user(i: usize) -> Value {
    json!({
        "firstname": format!("First{i}"), "lastname": format!("Last{}", i % 97), "company": "Acme NV", "city": "Antwerpen",
        "street": "Bisschoppenhoflaan", "houseNumber": "380", "postalCode": "2100", "country": "BE", "lang": "nl",
        "customerRef": format!("ERP-{i}"),
        "uids": [{ "uid": format!("person{i}@example.com"), "isPrimary": true },
                 { "uidType": "Phone", "uid": format!("+3247{i:07}") }]
    })
}

pub fn json_of(body: Value) -> Json {
    Json::parse(body.to_string().as_bytes()).unwrap()
}
