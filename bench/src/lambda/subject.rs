//! The measured functions, their requests and their data.

use std::collections::HashMap;
use std::path::Path;

use indicatif::ProgressBar;
use local::runtime;
use local::template::{Function, Template};
use serde_json::{Map, Value, json};
use shared::domain::ids::EndUserId;
use shared::store::keys;

use crate::system::{Engine, TABLE, tenant};
use crate::{Result, end_users, load};

/// The tenant of the event files.
const TENANT: u32 = 7;
/// The number of end users that requests read and change. Further end users are for deletes.
const END_USERS: u32 = 1_000;
/// The most requests of one kind: each delete needs its own end user.
pub(crate) const MAX_REQUESTS: u32 = 20_000;

/// Adapts an event file for the request with this number, from 0.
type MakeEvent = fn(Value, u32) -> Value;

/// One kind of request to one program.
pub(crate) struct Subject {
    /// The name in the report.
    pub(crate) request: &'static str,
    /// The folder of the program `bootstrap`.
    pub(crate) program: String,
    pub(crate) function: Function,
    pub(crate) environment: Vec<(String, String)>,
    event: MakeEvent,
    file: Value,
}

impl Subject {
    /// The event of the request with this number, from 0.
    pub(crate) fn event(&self, number: u32) -> String {
        (self.event)(self.file.clone(), number).to_string()
    }

    /// The environment with the database at `url`.
    pub(crate) fn through(&self, url: &str) -> Vec<(String, String)> {
        let mut environment = self.environment.clone();
        environment.iter_mut().filter(|(name, _)| name == local::ENDPOINT).for_each(|(_, value)| url.clone_into(value));
        environment
    }

    /// Whether a response reports success.
    pub(crate) fn is_success(response: &[u8]) -> bool {
        let response: Value = serde_json::from_slice(response).unwrap_or_default();
        let failures = response["batchItemFailures"].as_array().is_some_and(Vec::is_empty);
        failures || matches!(response["statusCode"].as_u64(), Some(200..300))
    }
}

/// The requests: name, function, and how the event file in tests/events is adapted to the existing end users.
const REQUESTS: [(&str, &str, MakeEvent); 13] = [
    ("GET one", "get-end-user", |file, number| with_id(file, end_user_id(number))),
    ("byUid, e-mail", "find-end-users-by-uid", |file, number| {
        query(file, "uid", &end_users::email(end_user_id(number)))
    }),
    ("byUid, phone", "find-end-users-by-uid", |file, number| {
        query(file, "uid", &end_users::phone(end_user_id(number)).replace('+', "%2B"))
    }),
    ("list, first page", "list-end-users", |file, _| query(file, "pageSize", "10")),
    ("list, first page by lastname", "list-end-users", |file, _| query(file, "sortBy", "lastname")),
    ("search, 10 found", "list-end-users", |file, number| {
        // End users with the last digit 5 are in a company of ten, whose first word is unique.
        let company = end_users::company(end_user_id(number) / 10 * 10 + 5);
        query(file, "search", company.split(' ').next().unwrap_or_default())
    }),
    ("tickets, 30", "list-end-user-tickets", |file, _| query(with_id(file, 1), "pageSize", "30")),
    ("create", "create-end-user", |file, number| body(file, &end_users::body(MAX_REQUESTS * 2 + number))),
    ("update of one name", "update-end-user", |file, number| {
        body(with_id(file, end_user_id(number)), &json!({ "lastname": format!("Renamed{number}") }))
    }),
    ("assign", "assign-end-user-uid", |file, number| {
        let uid = format!("assigned{number}@example.com");
        body(file, &json!({ "endUserID": end_user_id(number), "uid": uid, "uidType": "Email" }))
    }),
    ("delete", "delete-end-user", |file, number| with_id(file, END_USERS + 1 + number)),
    ("index one new end user", "index-end-users", |mut file, number| {
        // The end users of the request "create" have the next ids and are not indexed.
        file["Records"][0]["dynamodb"]["Keys"]["sk"]["S"] =
            json!(format!("{:010}", END_USERS + MAX_REQUESTS + 1 + number));
        file
    }),
    ("ticket event", "ingest-tickets", |file, number| ticket(file, number)),
];

fn end_user_id(number: u32) -> u32 {
    number % END_USERS + 1
}

fn with_id(mut event: Value, id: u32) -> Value {
    let path = event["rawPath"].as_str().unwrap_or_default().replacen("/1", &format!("/{id}"), 1);
    event["rawPath"] = json!(path);
    event["pathParameters"]["id"] = json!(id.to_string());
    event
}

fn query(mut event: Value, name: &str, value: &str) -> Value {
    event["rawQueryString"] = json!(format!("{name}={}", value.replace(' ', "%20")));
    event["queryStringParameters"] = json!({ name: value });
    event
}

fn body(mut event: Value, body: &Value) -> Value {
    event["body"] = json!(body.to_string());
    event
}

/// Creates 30 tickets of the first end user, then one ticket of each other.
fn ticket(mut event: Value, number: u32) -> Value {
    let owner = if number < 30 { 1 } else { end_user_id(number) };
    let ticket = json!({
        "type": "ticket.upserted", "customerID": TENANT, "occurredAt": "2026-11-24T10:00:00Z",
        "ticket": {
            "ticketID": number + 1, "uid": end_users::email(owner), "subject": "Opening hours?", "status": "Open",
            "isClosed": false, "dateCreated": "2026-11-24T10:00:00Z", "lastMessageDate": "2026-11-24T10:00:00Z",
        },
    });
    event["Records"].as_array_mut().into_iter().for_each(|records| records.truncate(1));
    event["Records"][0]["body"] = json!(ticket.to_string());
    event
}

/// Creates an engine in a directory, with the end users of the requests and `guests` end users for deletes.
pub(crate) async fn prepare(directory: &Path, guests: u32, bar: &ProgressBar) -> Result<Engine> {
    Engine::fresh(directory).await?.stop().await;
    let (owned, bar) = (directory.to_owned(), bar.clone());
    let load = move || load::load(&owned, TABLE, &tenant(TENANT), END_USERS + guests, &bar);
    tokio::task::spawn_blocking(load).await??;
    Engine::open(directory)
}

/// The two baselines and all requests, with the engine at `url` and `more` environment variables.
pub(crate) fn all(url: &str, more: &[(String, String)]) -> Result<Vec<Subject>> {
    let template = Template::load()?;
    // As in a deployment: responses have no Server-Timing header.
    let own = [("TABLE_NAME", TABLE), ("SERVER_TIMING", "false")];
    let own: HashMap<_, _> = own.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    let mut variables = local::endpoint_variables(url, &own);
    local::token::use_development_secret(&mut variables);
    let function = |name: &str| {
        let function = template.functions.iter().find(|function| function.name == name);
        function.cloned().ok_or_else(|| format!("template.yaml has no function {name}"))
    };
    let token = local::token::make(&variables, &TENANT.to_string(), 24 * 60 * 60, Map::new())?;
    let file = |function: &str| -> Result<Value> {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../tests/events/{function}.json"));
        let mut event: Value = serde_json::from_slice(&std::fs::read(path)?)?;
        if let Some(authorization) = event.pointer_mut("/headers/authorization") {
            *authorization = json!(format!("Bearer {token}"));
        }
        Ok(event)
    };
    let mut all = Vec::new();
    let end_user = keys::end_user(&tenant(TENANT), EndUserId::new(1).ok_or("1 is not an id")?);
    for (request, program) in [("a constant", "baseline-constant"), ("one GetItem", "baseline-get-item")] {
        let function = function("get-end-user")?;
        let mut environment = [runtime::environment(&function, &variables), more.to_vec()].concat();
        environment.extend([("PK".to_owned(), end_user.pk.clone()), ("SK".to_owned(), end_user.sk.clone())]);
        let file = file("get-end-user")?;
        all.push(Subject { request, program: program.to_owned(), function, environment, event: |file, _| file, file });
    }
    for (request, name, event) in REQUESTS {
        let function = function(name)?;
        let environment = [runtime::environment(&function, &variables), more.to_vec()].concat();
        all.push(Subject { request, program: name.to_owned(), environment, event, file: file(name)?, function });
    }
    Ok(all)
}
