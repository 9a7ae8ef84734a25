//! A proxy before a DynamoDB engine. It passes calls on, and meets some of them with what can go wrong
//! on the way to a database and inside it ([`Fault`]).
//!
//! HTTP/1.1 is spoken by hand on the functions' side: only so can an answer break off in the middle.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
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
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// What goes wrong with a call. "Before": it never takes effect; "after": it does, and the answer is
/// lost.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Fault {
    /// `ProvisionedThroughputExceededException`; inside a transaction's reasons now and then.
    Throttled,
    /// `ThrottlingException`.
    TooMany,
    /// `TransactionConflict` in the reasons of a transaction, at a random action.
    Conflict,
    /// A 500 before.
    FailedBefore,
    /// A 500 after.
    FailedAfter,
    /// A 503 of something on the way, in HTML.
    Unavailable,
    /// The connection is closed before.
    HungUpBefore,
    /// The connection is closed after.
    HungUpAfter,
    /// The answer breaks off in the middle.
    CutOff,
    /// An answer that is no JSON, after.
    Garbled,
    /// No answer ever, before.
    SilentBefore,
    /// No answer ever, after.
    SilentAfter,
    /// It takes up to 100 ms longer, so that calls overtake each other.
    Slow,
    /// It takes effect at once, and its response comes up to 100 ms later: what was read is old by then.
    SlowResponse,
    /// A part of a batch is left unprocessed.
    Unprocessed,
    /// Records of the stream come again, in a later answer.
    Repeated,
    /// Records of the stream come up to half a second late.
    Delayed,
}

impl Fault {
    /// All of them.
    pub const ALL: [Self; 17] = [
        Self::Throttled,
        Self::TooMany,
        Self::Conflict,
        Self::FailedBefore,
        Self::FailedAfter,
        Self::Unavailable,
        Self::HungUpBefore,
        Self::HungUpAfter,
        Self::CutOff,
        Self::Garbled,
        Self::SilentBefore,
        Self::SilentAfter,
        Self::Slow,
        Self::SlowResponse,
        Self::Unprocessed,
        Self::Repeated,
        Self::Delayed,
    ];

    /// Whether it costs the caller a whole time-out.
    pub fn is_silent(self) -> bool {
        matches!(self, Self::SilentBefore | Self::SilentAfter)
    }

    /// Whether it can befall a call of this operation.
    fn befalls(self, operation: &str) -> bool {
        match self {
            Self::Conflict => operation == "TransactWriteItems",
            Self::Unprocessed => matches!(operation, "BatchGetItem" | "BatchWriteItem"),
            Self::Repeated | Self::Delayed => operation == "GetRecords",
            _ => OPERATIONS.contains(&operation),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// The operations of requests and pumps; what sets a table up is left alone.
const OPERATIONS: [&str; 9] = [
    "BatchGetItem",
    "BatchWriteItem",
    "GetItem",
    "GetRecords",
    "GetShardIterator",
    "PutItem",
    "Query",
    "TransactWriteItems",
    "UpdateItem",
];

/// Those of [`OPERATIONS`] that requests read with.
const READS: [&str; 3] = ["BatchGetItem", "GetItem", "Query"];

/// What goes wrong at random.
#[derive(Clone, Default, Debug)]
pub struct Plan {
    /// Each fault, and how likely it befalls a call that it can befall: 0 to 1.
    pub faults: Vec<(Fault, f64)>,
    /// By what that is multiplied for calls that only read; there are many more of them.
    pub reads: f64,
    /// The one operation that it befalls.
    pub only: Option<&'static str>,
}

impl Plan {
    /// Some calls are slow, or answered late, so that other calls come between a read and the write that follows it.
    pub fn slow() -> Self {
        Self { faults: vec![(Fault::Slow, 0.02), (Fault::SlowResponse, 0.04)], reads: 1.0, only: None }
    }

    /// One fault, for whatever it can befall.
    pub fn always(fault: Fault) -> Self {
        Self { faults: vec![(fault, 1.0)], reads: 1.0, only: None }
    }
}

/// A running proxy; ends when dropped.
pub struct Proxy {
    url: String,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

struct Shared {
    engine: String,
    client: Client<HttpConnector, Full<Bytes>>,
    state: Mutex<State>,
}

struct State {
    rng: Rng,
    plan: Plan,
    calls: u64,
    injected: BTreeMap<Fault, u64>,
    /// What befalls the next calls of an operation, whatever the plan.
    script: Vec<(&'static str, Fault)>,
    /// The operations of which the response to the next call is held back.
    holds: Vec<(&'static str, watch::Sender<HoldState>)>,
    /// The records that the stream gave last, the newest at the end.
    records: VecDeque<Value>,
    /// How long a transaction lasts at least, where it keeps others from its items.
    lasting: Option<Duration>,
    /// Those under way; one that is over, however it ended, has nobody left who holds it.
    transactions: Vec<Weak<Transaction>>,
}

/// How far a call is of which the response is held back.
#[derive(Clone, Copy, PartialEq, Eq)]
enum HoldState {
    Waiting,
    Reached,
    Released,
}

/// A response that is held back until this is dropped.
pub struct Hold(watch::Sender<HoldState>);

impl Hold {
    /// Waits until the database has answered the call.
    pub async fn reached(&self) {
        // The sender lives as long as this does.
        let _ = self.0.subscribe().wait_for(|state| *state == HoldState::Reached).await;
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.0.send_replace(HoldState::Released);
    }
}

struct Transaction {
    token: Value,
    items: Vec<ItemKey>,
}

/// Table, pk and sk.
type ItemKey = [Value; 3];

/// The item that a call, or an action of a transaction, writes or checks.
fn item_key(write: &Value) -> ItemKey {
    let key = write.get("Item").unwrap_or(&write["Key"]);
    [&write["TableName"], &key["pk"], &key["sk"]].map(Value::clone)
}

impl Proxy {
    /// Starts before the engine at `engine` (`http://host:port`), with random numbers from `seed`; it
    /// injects nothing yet.
    pub async fn start(engine: &str, seed: u64) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}", listener.local_addr()?);
        let state = State {
            rng: Rng::with_seed(seed),
            plan: Plan::default(),
            script: Vec::new(),
            holds: Vec::new(),
            calls: 0,
            injected: BTreeMap::new(),
            records: VecDeque::new(),
            lasting: None,
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
                // A connection that breaks is the peer's to notice.
                tokio::spawn(async move { drop(serve(&shared, stream).await) });
            }
        });
        Ok(Self { url, shared, task })
    }

    /// Where it listens.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// From now on, goes by this plan; what is left of a script is forgotten.
    pub fn inject(&self, plan: Plan) {
        let mut state = self.shared.state();
        state.plan = plan;
        state.script.clear();
    }

    /// Meets the next calls of `operation` with these faults, one each, as far as they can befall it.
    pub fn script(&self, operation: &'static str, faults: &[Fault]) {
        let faults = faults.iter().filter(|fault| fault.befalls(operation));
        self.shared.state().script.extend(faults.map(|fault| (operation, *fault)));
    }

    /// Holds back the response to the next call of `operation`, which takes effect. A caller waits 3 s for one.
    pub fn hold(&self, operation: &'static str) -> Hold {
        let state = watch::Sender::new(HoldState::Waiting);
        self.shared.state().holds.push((operation, state.clone()));
        Hold(state)
    }

    /// From now on a transaction takes at least so long, and has its items to itself as on DynamoDB:
    /// another that touches one of them is cancelled for `TransactionConflict` at just those actions, a
    /// put, update or delete of one is refused, and so is the same token. Batches and reads are let
    /// through. What is kept away counts as [`Fault::Conflict`].
    pub fn conflicts_last(&self, duration: Duration) {
        self.shared.state().lasting = Some(duration);
    }

    /// How many calls there were, and how many faults of each kind were injected.
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
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether, and how, a call goes wrong, and numbers to decide the details by.
    fn draw(&self, operation: &str) -> (Option<Fault>, Rng) {
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
                let mut dice = faults.into_iter().filter(|(fault, _)| fault.befalls(operation));
                dice.find(|(_, likely)| state.rng.f64() < likely * factor).map(|(fault, _)| fault)
            }
        };
        if let Some(fault) = fault {
            *state.injected.entry(fault).or_default() += 1;
        }
        let rng = state.rng.fork();
        (fault, rng)
    }

    /// Passes a call on, and holds its response back where that is asked for.
    async fn pass_on(&self, request: &Request) -> io::Result<Answer> {
        let held = {
            let mut state = self.state();
            let at = state.holds.iter().position(|(operation, _)| *operation == request.operation());
            at.map(|at| state.holds.remove(at).1)
        };
        let answer = self.pass_through(request).await;
        if let Some(held) = held {
            held.send_if_modified(|state| {
                *state == HoldState::Waiting && {
                    *state = HoldState::Reached;
                    true
                }
            });
            let _ = held.subscribe().wait_for(|state| *state == HoldState::Released).await;
        }
        answer
    }

    /// Passes a call on, unless a transaction under way is in its way.
    async fn pass_through(&self, request: &Request) -> io::Result<Answer> {
        let lasting = self.state().lasting;
        let Some(lasting) = lasting else { return self.forward(request).await };
        match request.operation() {
            "TransactWriteItems" => match self.begin(&request.json()) {
                Ok(_under_way) => {
                    tokio::time::sleep(lasting).await;
                    self.forward(request).await
                }
                Err(refusal) => Ok(refusal),
            },
            "PutItem" | "UpdateItem" | "DeleteItem" if self.is_held(&item_key(&request.json())) => {
                Ok(Answer::error(400, "TransactionConflictException"))
            }
            _ => self.forward(request).await,
        }
    }

    /// Keeps the items of a transaction for it, as long as what is answered is held.
    fn begin(&self, body: &Value) -> Result<Arc<Transaction>, Answer> {
        let actions = body["TransactItems"].as_array().into_iter().flatten().filter_map(Value::as_object);
        let items = actions.flat_map(|action| action.values().map(item_key)).collect();
        let transaction = Arc::new(Transaction { token: body["ClientRequestToken"].clone(), items });
        let mut state = self.state();
        state.transactions.retain(|other| other.strong_count() > 0);
        let others: Vec<_> = state.transactions.iter().filter_map(Weak::upgrade).collect();
        if others.iter().any(|other| other.token == transaction.token && !other.token.is_null()) {
            return Err(Answer::error(400, "TransactionInProgressException"));
        }
        let held = |item| others.iter().any(|other| other.items.contains(item));
        let reasons: Vec<_> =
            transaction.items.iter().map(|item| if held(item) { "TransactionConflict" } else { "None" }).collect();
        if reasons.contains(&"TransactionConflict") {
            *state.injected.entry(Fault::Conflict).or_default() += 1;
            return Err(Answer::cancelled(reasons));
        }
        state.transactions.push(Arc::downgrade(&transaction));
        Ok(transaction)
    }

    /// Whether a transaction under way has an item to itself.
    fn is_held(&self, item: &ItemKey) -> bool {
        let mut state = self.state();
        let held = state.transactions.iter().filter_map(Weak::upgrade).any(|other| other.items.contains(item));
        *state.injected.entry(Fault::Conflict).or_default() += u64::from(held);
        held
    }

    async fn forward(&self, request: &Request) -> io::Result<Answer> {
        let mut call = http::Request::post(format!("{}/", self.engine));
        for (name, value) in &request.headers {
            if !matches!(name.as_str(), "host" | "content-length" | "connection") {
                call = call.header(name, value);
            }
        }
        let call = call.body(Full::from(request.body.clone())).map_err(io::Error::other)?;
        let (head, body) = self.client.request(call).await.map_err(io::Error::other)?.into_parts();
        let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
        Ok(Answer { status: head.status.as_u16(), body })
    }
}

struct Request {
    headers: Vec<(String, String)>,
    body: Bytes,
}

impl Request {
    /// The next request of a connection; `None` at its end.
    async fn read(stream: &mut BufReader<TcpStream>) -> io::Result<Option<Self>> {
        let mut line = String::new();
        if stream.read_line(&mut line).await? == 0 {
            return Ok(None);
        }
        let mut headers = Vec::new();
        loop {
            line.clear();
            stream.read_line(&mut line).await?;
            let Some((name, value)) = line.trim_end().split_once(':') else { break };
            headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
        let length = headers.iter().find(|(name, _)| name == "content-length");
        let length = length.and_then(|(_, length)| length.parse().ok()).unwrap_or(0);
        let mut body = vec![0; length];
        stream.read_exact(&mut body).await?;
        Ok(Some(Self { headers, body: body.into() }))
    }

    /// `GetItem` and the like.
    fn operation(&self) -> &str {
        let target = self.headers.iter().find(|(name, _)| name == "x-amz-target");
        target.and_then(|(_, target)| target.rsplit('.').next()).unwrap_or_default()
    }

    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }
}

struct Answer {
    status: u16,
    body: Bytes,
}

impl Answer {
    fn json(status: u16, body: &Value) -> Self {
        Self { status, body: body.to_string().into() }
    }

    fn error(status: u16, name: &str) -> Self {
        let kind = format!("com.amazonaws.dynamodb.v20120810#{name}");
        Self::json(status, &json!({ "__type": kind, "message": "injected" }))
    }

    /// A cancelled transaction whose reason stands at a random one of its actions.
    fn cancelled_at_random(request: &Request, reason: &str, rng: &mut Rng) -> Self {
        let actions = request.json()["TransactItems"].as_array().map_or(1, Vec::len);
        let mut reasons = vec!["None"; actions];
        reasons[rng.usize(..actions)] = reason;
        Self::cancelled(reasons)
    }

    /// A cancelled transaction, with a reason for each of its actions.
    fn cancelled(reasons: Vec<&str>) -> Self {
        let reason = |code| match code {
            "None" => json!({ "Code": code }),
            _ => json!({ "Code": code, "Message": "injected" }),
        };
        let reasons: Vec<_> = reasons.into_iter().map(reason).collect();
        let kind = "com.amazonaws.dynamodb.v20120810#TransactionCanceledException";
        let message = "Transaction cancelled, please refer cancellation reasons for specific reasons";
        Self::json(400, &json!({ "__type": kind, "Message": message, "CancellationReasons": reasons }))
    }
}

/// How a connection goes on after a request.
enum Next {
    Answer(Answer),
    /// This much of an answer, then the end.
    Part(Answer),
    HangUp,
    /// Nothing, until the caller goes away.
    Silence,
}

async fn serve(shared: &Shared, stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut stream = BufReader::new(stream);
    while let Some(request) = Request::read(&mut stream).await? {
        match meet(shared, &request).await? {
            Next::Answer(answer) => write(&mut stream, &answer, answer.body.len()).await?,
            Next::Part(answer) => return write(&mut stream, &answer, answer.body.len() / 2).await,
            Next::HangUp => return Ok(()),
            Next::Silence => {
                let _ = stream.read_u8().await;
                return Ok(());
            }
        }
    }
    Ok(())
}

/// Writes an answer of which only so many bytes of the body come.
async fn write(stream: &mut BufReader<TcpStream>, answer: &Answer, length: usize) -> io::Result<()> {
    let head = format!(
        "HTTP/1.1 {} X\r\ncontent-type: application/x-amz-json-1.0\r\ncontent-length: {}\r\n\r\n",
        answer.status,
        answer.body.len()
    );
    stream.write_all(&[head.as_bytes(), &answer.body[..length]].concat()).await?;
    stream.flush().await
}

async fn meet(shared: &Shared, request: &Request) -> io::Result<Next> {
    let (fault, mut rng) = shared.draw(request.operation());
    let transaction = request.operation() == "TransactWriteItems";
    let Some(fault) = fault else {
        let answer = shared.pass_on(request).await?;
        if request.operation() == "GetRecords" {
            remember(shared, &answer);
        }
        return Ok(Next::Answer(answer));
    };
    Ok(match fault {
        Fault::Throttled if transaction && rng.bool() => {
            let reason = if rng.bool() { "ThrottlingError" } else { "ProvisionedThroughputExceeded" };
            Next::Answer(Answer::cancelled_at_random(request, reason, &mut rng))
        }
        Fault::Throttled => Next::Answer(Answer::error(400, "ProvisionedThroughputExceededException")),
        Fault::TooMany => Next::Answer(Answer::error(400, "ThrottlingException")),
        Fault::Conflict => Next::Answer(Answer::cancelled_at_random(request, "TransactionConflict", &mut rng)),
        Fault::FailedBefore => Next::Answer(Answer::error(500, "InternalServerError")),
        Fault::FailedAfter => {
            shared.pass_on(request).await?;
            Next::Answer(Answer::error(500, "InternalServerError"))
        }
        Fault::Unavailable => {
            Next::Answer(Answer { status: 503, body: "<html><body>Service Unavailable</body></html>".into() })
        }
        Fault::HungUpBefore => Next::HangUp,
        Fault::HungUpAfter => {
            shared.pass_on(request).await?;
            Next::HangUp
        }
        Fault::CutOff => Next::Part(shared.pass_on(request).await?),
        Fault::Garbled => {
            let Answer { status, body } = shared.pass_on(request).await?;
            let half = body.len() / 2;
            Next::Answer(Answer { status, body: [&body[..half], b"<<<"].concat().into() })
        }
        Fault::SilentBefore => Next::Silence,
        Fault::SilentAfter => {
            shared.pass_on(request).await?;
            Next::Silence
        }
        Fault::Slow => {
            tokio::time::sleep(Duration::from_millis(rng.u64(1..=100))).await;
            Next::Answer(shared.pass_on(request).await?)
        }
        Fault::SlowResponse => {
            let answer = shared.pass_on(request).await?;
            tokio::time::sleep(Duration::from_millis(rng.u64(1..=100))).await;
            Next::Answer(answer)
        }
        Fault::Unprocessed => Next::Answer(leave_out(shared, request, &mut rng).await?),
        Fault::Delayed => {
            tokio::time::sleep(Duration::from_millis(rng.u64(50..=500))).await;
            let answer = shared.pass_on(request).await?;
            remember(shared, &answer);
            Next::Answer(answer)
        }
        Fault::Repeated => Next::Answer(repeat(shared, shared.pass_on(request).await?)),
    })
}

/// Passes on a part of a batch and answers the rest as unprocessed.
async fn leave_out(shared: &Shared, request: &Request, rng: &mut Rng) -> io::Result<Answer> {
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
    let part = Request { headers: request.headers.clone(), body: body.to_string().into() };
    let answer = shared.pass_on(&part).await?;
    let mut body: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    if answer.status == 200 {
        body[if reading { "UnprocessedKeys" } else { "UnprocessedItems" }] = left;
    }
    Ok(Answer::json(answer.status, &body))
}

/// How many records of the stream can come again.
const REPEATABLE: usize = 100;

fn remember(shared: &Shared, answer: &Answer) {
    let body: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    let mut state = shared.state();
    state.records.extend(body["Records"].as_array().into_iter().flatten().cloned());
    let surplus = state.records.len().saturating_sub(REPEATABLE);
    state.records.drain(..surplus);
}

/// The answer with earlier records before its own.
fn repeat(shared: &Shared, answer: Answer) -> Answer {
    remember(shared, &answer);
    let mut body: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    let fresh = body["Records"].as_array().map_or(0, Vec::len);
    if fresh > 0 {
        body["Records"] = shared.state().records.iter().cloned().collect();
    }
    Answer::json(answer.status, &body)
}
