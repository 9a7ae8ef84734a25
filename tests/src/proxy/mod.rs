//! A proxy between the functions and a DynamoDB engine. It forwards calls and injects faults of the network and of the
//! database into some of them ([`Fault`]).

mod fault;
mod wire;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use bytes::Bytes;
use fastrand::Rng;
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

pub use fault::{Fault, Plan};
use fault::{OPERATIONS, READS};
use wire::{DatabaseRequest, DatabaseResponse, write};

/// A running proxy, which stops when it is dropped.
pub struct Proxy {
    url: String,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

struct Shared {
    engine: String,
    client: Client<HttpConnector, Full<Bytes>>,
    state: Mutex<ProxyState>,
}

struct ProxyState {
    rng: Rng,
    plan: Plan,
    calls: u64,
    injected: BTreeMap<Fault, u64>,
    /// The faults of the next calls of an operation; they take precedence over the plan.
    script: Vec<(&'static str, Fault)>,
    /// The operations with a hold on their next response.
    holds: Vec<(&'static str, watch::Sender<HoldState>)>,
    /// The probability of a stale response to a query of an index, if responses are stored for it.
    stale_indexes: Option<f64>,
    /// The responses to queries of indexes so far, by query.
    index_responses: HashMap<String, Vec<DatabaseResponse>>,
    /// The most actions of a transaction since [`Proxy::take_most_actions`].
    most_actions: usize,
    /// The latest records of the stream, the newest at the end.
    records: VecDeque<Value>,
    /// The least duration of a transaction, if conflicts are enforced.
    transaction_duration: Option<Duration>,
    /// The transactions in progress. The strong reference of one that ended in any way is dropped.
    transactions: Vec<Weak<Transaction>>,
}

/// The progress of a call with a hold on its response.
#[derive(Clone, Copy, PartialEq, Eq)]
enum HoldState {
    Waiting,
    Reached,
    Released,
}

/// A guard that holds back a response until it is dropped.
pub struct Hold(watch::Sender<HoldState>);

impl Hold {
    /// Waits until the proxy has the database's response.
    pub async fn reached(&self) {
        // Cannot fail: the sender lives as long as this guard.
        let _ = self.0.subscribe().wait_for(|state| *state == HoldState::Reached).await;
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.0.send_replace(HoldState::Released);
    }
}

/// A transaction in progress.
struct Transaction {
    token: Value,
    items: Vec<ItemKey>,
}

/// Table name, partition key and sort key.
type ItemKey = [Value; 3];

/// The key of the item that a call, or an action of a transaction, writes or checks.
fn item_key(write: &Value) -> ItemKey {
    let key = write.get("Item").unwrap_or(&write["Key"]);
    [&write["TableName"], &key["pk"], &key["sk"]].map(Value::clone)
}

impl Proxy {
    /// Starts a proxy for the engine at `engine` (`http://host:port`), which injects no fault yet. `seed` is that of
    /// its random numbers.
    pub async fn start(engine: &str, seed: u64) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}", listener.local_addr()?);
        let state = ProxyState {
            rng: Rng::with_seed(seed),
            plan: Plan::default(),
            script: Vec::new(),
            holds: Vec::new(),
            calls: 0,
            injected: BTreeMap::new(),
            stale_indexes: None,
            index_responses: HashMap::new(),
            most_actions: 0,
            records: VecDeque::new(),
            transaction_duration: None,
            transactions: Vec::new(),
        };
        let shared = Arc::new(Shared {
            engine: engine.trim_end_matches('/').to_owned(),
            client: Client::builder(TokioExecutor::new()).build_http(),
            state: Mutex::new(state),
        });
        let serving = shared.clone();
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let shared = serving.clone();
                // The client sees the error of a broken connection too.
                tokio::spawn(async move { drop(serve(&shared, stream).await) });
            }
        });
        Ok(Self { url, shared, task })
    }

    /// The URL of the proxy.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Replaces the plan and clears all scripts.
    pub fn inject(&self, plan: Plan) {
        let mut state = self.shared.state();
        state.plan = plan;
        state.script.clear();
    }

    /// Injects these faults into the next calls of `operation`, one per call, except those that are not possible for
    /// it.
    pub fn script(&self, operation: &'static str, faults: &[Fault]) {
        let faults = faults.iter().filter(|fault| fault.applies_to(operation));
        self.shared.state().script.extend(faults.map(|fault| (operation, *fault)));
    }

    /// Holds back the response to the next call of `operation`, which takes effect. A function's attempt times out
    /// after 3 s.
    pub fn hold(&self, operation: &'static str) -> Hold {
        let state = watch::Sender::new(HoldState::Waiting);
        self.shared.state().holds.push((operation, state.clone()));
        Hold(state)
    }

    /// Enforces DynamoDB's conflict rule from now on, with transactions that take at least `duration`. While one is in
    /// progress, another transaction on one of its items is cancelled with `TransactionConflict` at those actions. A
    /// put, update or delete of one of its items fails, and so does a transaction with the same token. Batches and
    /// reads pass. Each conflict on an item counts as [`Fault::Conflict`].
    pub fn enforce_conflicts(&self, duration: Duration) {
        self.shared.state().transaction_duration = Some(duration);
    }

    /// Makes global secondary indexes stale from now on. With this probability, the response to a query of one is an
    /// earlier response to the same query, or has no items if there is no earlier one.
    pub fn make_indexes_stale(&self, probability: f64) {
        self.shared.state().stale_indexes = Some(probability);
    }

    /// The greatest number of actions of a transaction since the last call of this function.
    pub fn take_most_actions(&self) -> usize {
        std::mem::take(&mut self.shared.state().most_actions)
    }

    /// The number of calls so far, and of injected faults by kind.
    pub fn injected(&self) -> (u64, BTreeMap<Fault, u64>) {
        let state = self.shared.state();
        (state.calls, state.injected.clone())
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, ProxyState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Chooses the fault of a call, and random numbers for its details.
    fn choose_fault(&self, operation: &str) -> (Option<Fault>, Rng) {
        let mut state = self.state();
        state.calls += u64::from(OPERATIONS.contains(&operation));
        let scripted = state.script.iter().position(|(name, _)| *name == operation);
        let fault = match scripted {
            Some(at) => Some(state.script.remove(at).1),
            None => {
                let Plan { faults, reads, only } = state.plan.clone();
                let factor = match only {
                    Some(only) => f64::from(u8::from(only == operation)),
                    None if READS.contains(&operation) => reads,
                    None => 1.0,
                };
                let mut dice = faults.into_iter().filter(|(fault, _)| fault.applies_to(operation));
                dice.find(|(_, likely)| state.rng.f64() < likely * factor).map(|(fault, _)| fault)
            }
        };
        if let Some(fault) = fault {
            *state.injected.entry(fault).or_default() += 1;
        }
        let rng = state.rng.fork();
        (fault, rng)
    }

    /// Forwards a call, and holds back its response if a [`Hold`] says so.
    async fn forward_and_hold(&self, request: &DatabaseRequest) -> io::Result<DatabaseResponse> {
        let held = {
            let mut state = self.state();
            let at = state.holds.iter().position(|(operation, _)| *operation == request.operation());
            at.map(|at| state.holds.remove(at).1)
        };
        let response = self.forward_unless_conflict(request).await.map(|response| self.or_stale(request, response));
        if let Some(held) = held {
            held.send_if_modified(|state| {
                *state == HoldState::Waiting && {
                    *state = HoldState::Reached;
                    true
                }
            });
            let _ = held.subscribe().wait_for(|state| *state == HoldState::Released).await;
        }
        response
    }

    /// Replaces the response to a query of an index by a stale one, with the probability of stale indexes. Stores the
    /// response for later queries.
    fn or_stale(&self, request: &DatabaseRequest, response: DatabaseResponse) -> DatabaseResponse {
        let mut state = self.state();
        let Some(probability) = state.stale_indexes.filter(|_| request.operation() == "Query") else { return response };
        let query = request.json();
        if query["IndexName"].is_null() || response.status != 200 {
            return response;
        }
        let (is_stale, random) = (state.rng.f64() < probability, state.rng.usize(..));
        let earlier = state.index_responses.entry(query.to_string()).or_default();
        let stale = random.checked_rem(earlier.len()).map_or_else(|| response.without_items(), |n| earlier[n].clone());
        if earlier.last() != Some(&response) {
            earlier.push(response.clone());
        }
        if is_stale { stale } else { response }
    }

    /// Forwards a call unless it conflicts with a transaction in progress.
    async fn forward_unless_conflict(&self, request: &DatabaseRequest) -> io::Result<DatabaseResponse> {
        let duration = self.state().transaction_duration;
        let Some(duration) = duration else { return self.forward(request).await };
        match request.operation() {
            "TransactWriteItems" => match self.begin_transaction(&request.json()) {
                Ok(_in_progress) => {
                    tokio::time::sleep(duration).await;
                    self.forward(request).await
                }
                Err(conflict) => Ok(conflict),
            },
            "PutItem" | "UpdateItem" | "DeleteItem" if self.is_reserved(&item_key(&request.json())) => {
                Ok(DatabaseResponse::error(400, "TransactionConflictException"))
            }
            _ => self.forward(request).await,
        }
    }

    /// Reserves the items of a transaction until the result is dropped. Returns the error response of a conflict.
    fn begin_transaction(&self, body: &Value) -> Result<Arc<Transaction>, DatabaseResponse> {
        let actions = body["TransactItems"].as_array().into_iter().flatten().filter_map(Value::as_object);
        let items = actions.flat_map(|action| action.values().map(item_key)).collect();
        let transaction = Arc::new(Transaction { token: body["ClientRequestToken"].clone(), items });
        let mut state = self.state();
        state.transactions.retain(|other| other.strong_count() > 0);
        let others: Vec<_> = state.transactions.iter().filter_map(Weak::upgrade).collect();
        if others.iter().any(|other| other.token == transaction.token && !other.token.is_null()) {
            return Err(DatabaseResponse::error(400, "TransactionInProgressException"));
        }
        let reserved = |item| others.iter().any(|other| other.items.contains(item));
        let reasons: Vec<_> =
            transaction.items.iter().map(|item| if reserved(item) { "TransactionConflict" } else { "None" }).collect();
        if reasons.contains(&"TransactionConflict") {
            *state.injected.entry(Fault::Conflict).or_default() += 1;
            return Err(DatabaseResponse::cancelled(reasons));
        }
        state.transactions.push(Arc::downgrade(&transaction));
        Ok(transaction)
    }

    /// Whether a transaction in progress has reserved an item.
    fn is_reserved(&self, item: &ItemKey) -> bool {
        let mut state = self.state();
        let reserved = state.transactions.iter().filter_map(Weak::upgrade).any(|other| other.items.contains(item));
        *state.injected.entry(Fault::Conflict).or_default() += u64::from(reserved);
        reserved
    }

    /// Sends a call to the engine.
    async fn forward(&self, request: &DatabaseRequest) -> io::Result<DatabaseResponse> {
        let mut call = http::Request::post(format!("{}/", self.engine));
        for (name, value) in &request.headers {
            if !matches!(name.as_str(), "host" | "content-length" | "connection") {
                call = call.header(name, value);
            }
        }
        let call = call.body(Full::from(request.body.clone())).map_err(io::Error::other)?;
        let (head, body) = self.client.request(call).await.map_err(io::Error::other)?.into_parts();
        let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
        Ok(DatabaseResponse { status: head.status.as_u16(), body })
    }
}

/// The proxy's reaction to a request.
enum Reaction {
    Respond(DatabaseResponse),
    /// Half of a response, then the end of the connection.
    BreakOff(DatabaseResponse),
    HangUp,
    /// No response until the client closes the connection.
    Silence,
}

async fn serve(shared: &Shared, stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut stream = BufReader::new(stream);
    while let Some(request) = DatabaseRequest::read(&mut stream).await? {
        match react(shared, &request).await? {
            Reaction::Respond(response) => write(&mut stream, &response, response.body.len()).await?,
            Reaction::BreakOff(response) => return write(&mut stream, &response, response.body.len() / 2).await,
            Reaction::HangUp => return Ok(()),
            Reaction::Silence => {
                let _ = stream.read_u8().await;
                return Ok(());
            }
        }
    }
    Ok(())
}

/// Forwards a request or injects a fault.
async fn react(shared: &Shared, request: &DatabaseRequest) -> io::Result<Reaction> {
    let (fault, mut rng) = shared.choose_fault(request.operation());
    let transaction = request.operation() == "TransactWriteItems";
    if transaction {
        let actions = request.json()["TransactItems"].as_array().map_or(0, Vec::len);
        let mut state = shared.state();
        state.most_actions = state.most_actions.max(actions);
    }
    let Some(fault) = fault else {
        let response = shared.forward_and_hold(request).await?;
        if request.operation() == "GetRecords" {
            store_records(shared, &response);
        }
        return Ok(Reaction::Respond(response));
    };
    Ok(match fault {
        Fault::Throttled if transaction && rng.bool() => {
            let reason = if rng.bool() { "ThrottlingError" } else { "ProvisionedThroughputExceeded" };
            Reaction::Respond(DatabaseResponse::cancelled_at_random(request, reason, &mut rng))
        }
        Fault::Throttled => Reaction::Respond(DatabaseResponse::error(400, "ProvisionedThroughputExceededException")),
        Fault::TooMany => Reaction::Respond(DatabaseResponse::error(400, "ThrottlingException")),
        Fault::Conflict => {
            Reaction::Respond(DatabaseResponse::cancelled_at_random(request, "TransactionConflict", &mut rng))
        }
        Fault::FailedBefore => Reaction::Respond(DatabaseResponse::error(500, "InternalServerError")),
        Fault::FailedAfter => {
            shared.forward_and_hold(request).await?;
            Reaction::Respond(DatabaseResponse::error(500, "InternalServerError"))
        }
        Fault::Unavailable => Reaction::Respond(DatabaseResponse {
            status: 503,
            body: "<html><body>Service Unavailable</body></html>".into(),
        }),
        Fault::HungUpBefore => Reaction::HangUp,
        Fault::HungUpAfter => {
            shared.forward_and_hold(request).await?;
            Reaction::HangUp
        }
        Fault::CutOff => Reaction::BreakOff(shared.forward_and_hold(request).await?),
        Fault::Garbled => {
            let DatabaseResponse { status, body } = shared.forward_and_hold(request).await?;
            let half = body.len() / 2;
            Reaction::Respond(DatabaseResponse { status, body: [&body[..half], b"<<<"].concat().into() })
        }
        Fault::SilentBefore => Reaction::Silence,
        Fault::SilentAfter => {
            shared.forward_and_hold(request).await?;
            Reaction::Silence
        }
        Fault::Slow => {
            tokio::time::sleep(Duration::from_millis(rng.u64(1..=100))).await;
            Reaction::Respond(shared.forward_and_hold(request).await?)
        }
        Fault::SlowResponse => {
            let response = shared.forward_and_hold(request).await?;
            tokio::time::sleep(Duration::from_millis(rng.u64(1..=100))).await;
            Reaction::Respond(response)
        }
        Fault::Unprocessed => Reaction::Respond(forward_part(shared, request, &mut rng).await?),
        Fault::Delayed => {
            tokio::time::sleep(Duration::from_millis(rng.u64(50..=500))).await;
            let response = shared.forward_and_hold(request).await?;
            store_records(shared, &response);
            Reaction::Respond(response)
        }
        Fault::Repeated => Reaction::Respond(repeat(shared, shared.forward_and_hold(request).await?)),
    })
}

/// Forwards a part of a batch and returns the rest as unprocessed.
async fn forward_part(shared: &Shared, request: &DatabaseRequest, rng: &mut Rng) -> io::Result<DatabaseResponse> {
    let reading = request.operation() == "BatchGetItem";
    let mut body = request.json();
    let mut left = json!({});
    for (table, asked) in body["RequestItems"].as_object_mut().into_iter().flatten() {
        let items = if reading { &mut asked["Keys"] } else { &mut *asked };
        let Some(items) = items.as_array_mut() else { continue };
        let rest = items.split_off(rng.usize(1..=items.len()));
        if !rest.is_empty() {
            let mut unprocessed = json!(rest);
            if reading {
                unprocessed = asked.clone();
                unprocessed["Keys"] = json!(rest);
            }
            left[table] = unprocessed;
        }
    }
    let part = DatabaseRequest { headers: request.headers.clone(), body: body.to_string().into() };
    let response = shared.forward_and_hold(&part).await?;
    let mut body: Value = serde_json::from_slice(&response.body).unwrap_or_default();
    if response.status == 200 {
        body[if reading { "UnprocessedKeys" } else { "UnprocessedItems" }] = left;
    }
    Ok(DatabaseResponse::json(response.status, &body))
}

/// The number of latest records of the stream that can be repeated.
const REPEATABLE: usize = 100;

/// Stores the records of a response of the stream.
fn store_records(shared: &Shared, response: &DatabaseResponse) {
    let body: Value = serde_json::from_slice(&response.body).unwrap_or_default();
    let mut state = shared.state();
    state.records.extend(body["Records"].as_array().into_iter().flatten().cloned());
    let surplus = state.records.len().saturating_sub(REPEATABLE);
    state.records.drain(..surplus);
}

/// Returns the response with earlier records before its own.
fn repeat(shared: &Shared, response: DatabaseResponse) -> DatabaseResponse {
    store_records(shared, &response);
    let mut body: Value = serde_json::from_slice(&response.body).unwrap_or_default();
    let fresh = body["Records"].as_array().map_or(0, Vec::len);
    if fresh > 0 {
        body["Records"] = shared.state().records.iter().cloned().collect();
    }
    DatabaseResponse::json(response.status, &body)
}
