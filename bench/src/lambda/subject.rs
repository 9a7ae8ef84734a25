//! The functions, what is asked of each, and the data that they find.

use std::collections::HashMap;
use std::path::Path;

use indicatif::ProgressBar;
use local::runtime;
use local::template::{Function, Template};
use serde_json::{Map, Value, json};
use shared::domain::ids::EndUserId;
use shared::store::keys;

use crate::system::{Engine, TABLE, tenant};
use crate::{Outcome, end_users, load};

/// The tenant in whose name the event files ask.
const TENANT: u32 = 7;
/// End users whom requests read and change; those behind them are there to be deleted.
const END_USERS: u32 = 1_000;
/// How many requests of one kind there may be: each deletes somebody.
pub(crate) const MOST: u32 = 20_000;

/// Makes out an event file for the request that so many came before.
type MakeEvent = fn(Value, u32) -> Value;

/// One kind of request to one program.
pub(crate) struct Subject {
    /// How it is called in the report.
    pub(crate) request: &'static str,
    /// The folder of its `bootstrap`.
    pub(crate) program: String,
    pub(crate) function: Function,
    pub(crate) environment: Vec<(String, String)>,
    event: MakeEvent,
    file: Value,
}

impl Subject {
    /// The event of the request that so many came before.
    pub(crate) fn event(&self, number: u32) -> String {
        (self.event)(self.file.clone(), number).to_string()
    }

    /// The environment in which the database is reached at `url`.
    pub(crate) fn through(&self, url: &str) -> Vec<(String, String)> {
        let mut environment = self.environment.clone();
        environment.iter_mut().filter(|(name, _)| name == local::ENDPOINT).for_each(|(_, value)| url.clone_into(value));
        environment
    }

    /// Whether an answer says that all went well.
    pub(crate) fn is_good(answer: &[u8]) -> bool {
        let answer: Value = serde_json::from_slice(answer).unwrap_or_default();
        let failures = answer["batchItemFailures"].as_array().is_some_and(Vec::is_empty);
        failures || matches!(answer["statusCode"].as_u64(), Some(200..300))
    }
}

/// What is asked of each function: the event files of tests/events, made out to the end users who are there.
/// (request, function, event)
const REQUESTS: [(&str, &str, MakeEvent); 13] = [
    ("GET one", "get-end-user", |file, number| of_end_user(file, someone(number))),
    ("byUid, e-mail", "find-end-users-by-uid", |file, number| query(file, "uid", &end_users::email(someone(number)))),
    ("byUid, phone", "find-end-users-by-uid", |file, number| {
        query(file, "uid", &end_users::phone(someone(number)).replace('+', "%2B"))
    }),
    ("list, first page", "list-end-users", |file, _| query(file, "pageSize", "10")),
    ("list, first page by lastname", "list-end-users", |file, _| query(file, "sortBy", "lastname")),
    ("search, 10 found", "list-end-users", |file, number| {
        // Those of whom the last digit is 5 have ten colleagues, and the company's first word to themselves.
        let company = end_users::company(someone(number) / 10 * 10 + 5);
        query(file, "search", company.split(' ').next().unwrap_or_default())
    }),
    ("tickets, 30", "list-end-user-tickets", |file, _| query(of_end_user(file, 1), "pageSize", "30")),
    ("create", "create-end-user", |file, number| body(file, &end_users::body(MOST * 2 + number))),
    ("update of one name", "update-end-user", |file, number| {
        body(of_end_user(file, someone(number)), &json!({ "lastname": format!("Renamed{number}") }))
    }),
    ("assign", "assign-end-user-uid", |file, number| {
        let uid = format!("assigned{number}@example.com");
        body(file, &json!({ "endUserID": someone(number), "uid": uid, "uidType": "Email" }))
    }),
    ("delete", "delete-end-user", |file, number| of_end_user(file, END_USERS + 1 + number)),
    ("index one new person", "index-end-users", |mut file, number| {
        // Those who were created before have the next ids, and nobody has indexed them.
        file["Records"][0]["dynamodb"]["Keys"]["sk"]["S"] = json!(format!("{:010}", END_USERS + MOST + 1 + number));
        file
    }),
    ("ticket event", "ingest-tickets", |file, number| ticket(file, number)),
];

fn someone(number: u32) -> u32 {
    number % END_USERS + 1
}

fn of_end_user(mut event: Value, id: u32) -> Value {
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

/// Thirty tickets of the first end user, then one each of the others.
fn ticket(mut event: Value, number: u32) -> Value {
    let whose = if number < 30 { 1 } else { someone(number) };
    let ticket = json!({
        "type": "ticket.upserted", "customerID": TENANT, "occurredAt": "2026-11-24T10:00:00Z",
        "ticket": {
            "ticketID": number + 1, "uid": end_users::email(whose), "subject": "Opening hours?", "status": "Open",
            "isClosed": false, "dateCreated": "2026-11-24T10:00:00Z", "lastMessageDate": "2026-11-24T10:00:00Z",
        },
    });
    event["Records"].as_array_mut().into_iter().for_each(|records| records.truncate(1));
    event["Records"][0]["body"] = json!(ticket.to_string());
    event
}

/// An engine in a directory with the end users whom the requests are about, and so many to be deleted.
pub(crate) async fn prepare(directory: &Path, guests: u32, bar: &ProgressBar) -> Outcome<Engine> {
    Engine::fresh(directory).await?.stop().await;
    let (owned, bar) = (directory.to_owned(), bar.clone());
    let load = move || load::load(&owned, TABLE, &tenant(TENANT), END_USERS + guests, &bar);
    tokio::task::spawn_blocking(load).await??;
    Engine::open(directory)
}

/// The two baselines, then every request, over the engine at `url`; the processes are given `more`
/// variables.
pub(crate) fn all(url: &str, more: &[(String, String)]) -> Outcome<Vec<Subject>> {
    let template = Template::load()?;
    // As deployed, where nobody asks what an answer cost.
    let own = [("TABLE_NAME", TABLE), ("SERVER_TIMING", "false")];
    let own: HashMap<_, _> = own.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    let mut variables = local::endpoint_variables(url, &own);
    local::token::use_development_secret(&mut variables);
    let function = |name: &str| {
        let function = template.functions.iter().find(|function| function.name == name);
        function.cloned().ok_or_else(|| format!("template.yaml has no function {name}"))
    };
    let token = local::token::make(&variables, &TENANT.to_string(), 24 * 60 * 60, Map::new())?;
    let file = |function: &str| -> Outcome<Value> {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../tests/events/{function}.json"));
        let mut event: Value = serde_json::from_slice(&std::fs::read(path)?)?;
        if let Some(authorization) = event.pointer_mut("/headers/authorization") {
            *authorization = json!(format!("Bearer {token}"));
        }
        Ok(event)
    };
    let mut all = Vec::new();
    let end_user = keys::end_user(&tenant(TENANT), EndUserId::new(1).ok_or("1 is an id")?);
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
