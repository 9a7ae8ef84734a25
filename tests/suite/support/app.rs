//! The system under test: `local` in this process with its own port and table, or a deployed stack.
//!
//! Environment variables select its parts. `AWS_ENDPOINT_URL_DYNAMODB` replaces the embedded database engine.
//! `LAMBDA_FUNCTIONS` is the directory of the built functions, which then run as processes. `DEPLOYED_TEMPLATE` is the
//! URL of a packaged template, which is then deployed as a stack.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_sdk_dynamodb::Client;
use futures::FutureExt;
use futures::future::BoxFuture;
use http_body_util::{BodyExt, Full};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client as HttpClient;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use local::{Local, Options, Storage};
use serde_json::{Value, json};
use shared::auth::{AuthConfig, mint};
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::{CertificateDer, pem::PemObject};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use super::deployed::{self, Stack};
use super::openapi;

/// The JWT secret of every test that configures no other key.
pub const SECRET: &str = "a secret of the tests, of more than 32 bytes";

/// The `Timeout` of the HTTP functions in the template. A response that a function makes itself takes less time.
pub const TIME_OUT: Duration = Duration::from_secs(15);

type Http = HttpClient<HttpsConnector<HttpConnector>, Full<bytes::Bytes>>;

/// The HTTP client of all tests. Over TLS it trusts the emulator's certificate in `SSL_CERT_FILE`.
pub static HTTP: LazyLock<Http> = LazyLock::new(|| {
    let mut roots = RootCertStore::empty();
    if deployed::template().is_some() {
        let file = environment("SSL_CERT_FILE").expect("SSL_CERT_FILE");
        roots.add(CertificateDer::from_pem_file(file).expect("a certificate")).expect("a certificate");
    }
    let tls = ClientConfig::builder_with_provider(aws_lc_rs::default_provider().into());
    let tls = tls.with_safe_default_protocol_versions().expect("versions").with_root_certificates(roots);
    let connector = HttpsConnectorBuilder::new().with_tls_config(tls.with_no_client_auth()).https_or_http();
    // All tests on stacks share one address, and a connection ends with the runtime of the test that opened it.
    let idle = if deployed::template().is_some() { 0 } else { usize::MAX };
    let builder = HttpClient::builder(TokioExecutor::new()).pool_max_idle_per_host(idle).clone();
    builder.build(connector.enable_http1().build())
});

/// A running system.
pub struct App {
    pub system: System,
}

/// The two kinds of systems under test.
pub enum System {
    Local(Box<Local>),
    Stack(Stack),
}

impl System {
    /// The address on which the gateway listens.
    pub fn address(&self) -> SocketAddr {
        match self {
            Self::Local(local) => local.address(),
            Self::Stack(stack) => stack.address(),
        }
    }

    /// A client of the database.
    pub fn client(&self) -> &Client {
        match self {
            Self::Local(local) => local.client(),
            Self::Stack(stack) => stack.client(),
        }
    }

    /// The URL of the database.
    pub fn engine_url(&self) -> &str {
        match self {
            Self::Local(local) => local.engine_url(),
            Self::Stack(stack) => stack.engine_url(),
        }
    }

    /// The name of the table.
    pub fn table(&self) -> &str {
        match self {
            Self::Local(local) => local.table(),
            Self::Stack(stack) => stack.table(),
        }
    }

    /// The bodies of the ticket events in the dead-letter queue.
    pub async fn dead_letters(&self) -> Vec<String> {
        match self {
            Self::Local(local) => local.dead_letters(),
            Self::Stack(stack) => stack.dead_letters().await,
        }
    }

    /// Invokes a function and returns its result, or `None` if it fails.
    pub async fn invoke(&self, function: &str, event: &Value) -> Option<Value> {
        match self {
            Self::Local(local) => local.invoke(function, event).await,
            Self::Stack(stack) => stack.invoke(function, event).await,
        }
    }
}

impl App {
    /// Starts a system with the default settings.
    pub async fn start() -> Self {
        Self::with(&[]).await
    }

    /// Starts a system with these additional or changed environment variables.
    pub async fn with(variables: &[(&str, &str)]) -> Self {
        Self::with_functions(built_functions(), variables).await
    }

    /// Starts a system with the functions built in a directory, or with those in this process.
    pub async fn with_functions(functions: Option<PathBuf>, variables: &[(&str, &str)]) -> Self {
        let secret = ("JWT_SECRET", SECRET);
        if let Some(template) = deployed::template() {
            let defaults = Some(secret).filter(|(name, _)| !variables.iter().any(|(other, _)| other == name));
            let variables: Vec<_> = defaults.into_iter().chain(variables.iter().copied()).collect();
            return Self { system: System::Stack(Stack::deploy(template, &variables).await) };
        }
        let mut all = HashMap::from(
            [secret, ("TABLE_NAME", &new_table())].map(|(name, value)| (name.to_owned(), value.to_owned())),
        );
        all.extend(other_engine().map(|url| (ENGINE.to_owned(), url)));
        all.extend(variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        let options = Options { port: 0, storage: Storage::Memory, demo: false, functions, variables: all };
        Self { system: System::Local(Box::new(Local::start(options).await.expect("local starts"))) }
    }

    /// The name of a second table whose stream no poller reads.
    pub fn unwatched_table(&self) -> String {
        format!("{}-unwatched", self.system.table())
    }

    /// A caller with a token of a tenant. `customer` is the customerID claim, a number or a string.
    pub fn tenant(&self, customer: impl Into<Value>) -> Caller<'_> {
        Caller { app: self, token: Some(token(json!({ "customerID": customer.into() }))) }
    }

    /// A caller with this token, or without one.
    pub fn caller(&self, token: Option<String>) -> Caller<'_> {
        Caller { app: self, token }
    }

    /// The kinds of all items of the table that contain `text` in any attribute, in any case.
    pub async fn kinds_with(&self, text: &str) -> Vec<String> {
        let scan = self.system.client().scan().table_name(self.system.table()).into_paginator().items().send();
        let items = scan.collect::<Result<Vec<_>, _>>().await.expect("the items");
        let holding = items.iter().filter(|item| format!("{item:?}").to_lowercase().contains(text));
        holding.map(|item| item["kind"].as_s().expect("a kind").clone()).collect()
    }

    /// Sends ticket events and waits until all of them are ingested.
    pub async fn events(&self, events: &[Value]) {
        let lines: Vec<_> = events.iter().map(Value::to_string).collect();
        if let System::Stack(stack) = &self.system {
            for line in &lines {
                stack.send_event(line).await;
            }
            return self.settle().await;
        }
        let request = TestRequest::new("POST", "/local/ticket-events").header("content-type", "application/x-ndjson");
        request.body(lines.join("\n")).to(self).await.expect(202);
        self.settle().await;
    }

    /// Waits until the queue and the stream are empty. A busy machine may need several attempts.
    pub async fn settle(&self) {
        if let System::Stack(stack) = &self.system {
            stack.drain_queue().await;
            // The indexer reaches the first new end user after all earlier writes, and the second after that batch.
            let caller = self.tenant("settle");
            for _ in 0..2 {
                let lastname = format!("settled{}", fastrand::u64(..));
                let id = caller.create(json!({ "lastname": lastname })).await["endUserID"].clone();
                while caller.list(&format!("search={lastname}")).await.is_empty() {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                caller.delete(&format!("/api/EndUsers/{id}")).await.expect(204);
            }
            return;
        }
        for _ in 0..3 {
            if TestRequest::new("POST", "/local/settle").to(self).await.status == 204 {
                return;
            }
        }
        TestRequest::new("POST", "/local/settle").to(self).await.expect(204);
    }
}

impl Drop for App {
    /// Deletes the stack or tables from an emulator or a database that outlives the test.
    fn drop(&mut self) {
        let on_a_thread = |work: BoxFuture<'static, ()>| {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            std::thread::spawn(move || runtime.block_on(work)).join().expect("all is deleted");
        };
        match (&self.system, other_engine()) {
            (System::Stack(stack), _) => {
                let (name, client, table) = stack.remains();
                on_a_thread(Stack::delete(name, client, table).boxed());
            }
            (System::Local(_), Some(url)) => {
                let tables = [self.system.table().to_owned(), self.unwatched_table()];
                let client = local::client(&url);
                let delete = async move {
                    for table in tables {
                        // Most tests have no second table. A listing of the tables shows any that remain.
                        let _ = client.delete_table().table_name(table).send().await;
                    }
                };
                on_a_thread(delete.boxed());
            }
            (System::Local(_), None) => {}
        }
    }
}

const ENGINE: &str = "AWS_ENDPOINT_URL_DYNAMODB";

/// The value of an environment variable. An empty one counts as unset.
pub fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// The URL of the database engine that replaces the embedded one.
pub fn other_engine() -> Option<String> {
    environment(ENGINE)
}

/// The directory of the built functions, if they run as processes.
pub fn built_functions() -> Option<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    environment("LAMBDA_FUNCTIONS").map(|directory| root.join(directory))
}

/// A name that no other table or file has, on any engine.
pub fn new_table() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    format!("end-users-test-{}-{}-{}", now(), std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

/// A token with these claims. `exp` defaults to ten minutes from now; `null` leaves it out.
pub fn token(claims: Value) -> String {
    let lookup = |name: &str| (name == "JWT_SECRET").then(|| SECRET.to_owned());
    let config = AuthConfig::from_lookup(&lookup).expect("a configuration");
    let mut claims = claims.as_object().expect("claims").clone();
    claims.entry("exp").or_insert_with(|| json!(now() + 600));
    claims.retain(|_, value| !value.is_null());
    mint(&config, &claims).expect("a secret signs")
}

/// Seconds since 1970.
pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs()
}

/// A client with a token.
#[derive(Clone)]
pub struct Caller<'a> {
    app: &'a App,
    token: Option<String>,
}

impl Caller<'_> {
    pub async fn get(&self, path: &str) -> Response {
        self.send(TestRequest::new("GET", path)).await
    }

    pub async fn post(&self, path: &str, body: Value) -> Response {
        self.send(TestRequest::new("POST", path).json(&body)).await
    }

    pub async fn put(&self, path: &str, body: Value) -> Response {
        self.send(TestRequest::new("PUT", path).json(&body)).await
    }

    pub async fn delete(&self, path: &str) -> Response {
        self.send(TestRequest::new("DELETE", path)).await
    }

    /// Sends any request with this caller's token and asserts that the response conforms to openapi.json.
    pub async fn send(&self, request: TestRequest) -> Response {
        let request = match &self.token {
            Some(token) => request.header("authorization", &format!("Bearer {token}")),
            None => request,
        };
        let (method, path) = (request.method.clone(), request.path.clone());
        let response = request.to(self.app).await;
        openapi::assert_documented(&method, &path, &response);
        response
    }

    /// Creates an end user and returns its EndUserReadDTO.
    pub async fn create(&self, body: Value) -> Value {
        self.post("/api/EndUsers", body).await.expect(201)
    }

    /// Reads an end user.
    pub async fn read(&self, id: &Value) -> Value {
        self.get(&format!("/api/EndUsers/{id}")).await.expect(200)
    }

    /// Updates an end user and expects 204.
    pub async fn update(&self, id: &Value, body: Value) {
        self.put(&format!("/api/EndUsers/{id}"), body).await.expect(204);
    }

    /// The ids of the end users that hold an identifier.
    pub async fn by_uid(&self, uid: &str) -> Vec<u64> {
        let uid = percent_encoding::utf8_percent_encode(uid, percent_encoding::NON_ALPHANUMERIC);
        let found = self.get(&format!("/api/EndUsers/byUid?uid={uid}")).await.expect(200);
        ids(&found)
    }

    /// The ids on the page of the list with this query.
    pub async fn list(&self, query: &str) -> Vec<u64> {
        ids(&self.get(&format!("/api/EndUsers?{query}")).await.expect(200)["items"])
    }
}

/// The `endUserID`s of an array of end users.
pub fn ids(end_users: &Value) -> Vec<u64> {
    let end_users = end_users.as_array().expect("an array of end users");
    end_users.iter().map(|end_user| end_user["endUserID"].as_u64().expect("an id")).collect()
}

/// A request to the system under test.
pub struct TestRequest {
    method: String,
    path: String,
    headers: Vec<(String, Vec<u8>)>,
    body: Vec<u8>,
}

impl TestRequest {
    pub fn new(method: &str, path: &str) -> Self {
        Self { method: method.to_owned(), path: path.to_owned(), headers: Vec::new(), body: Vec::new() }
    }

    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.as_bytes().to_vec()));
        self
    }

    pub fn json(self, body: &Value) -> Self {
        self.header("content-type", "application/json").body(body.to_string())
    }

    pub fn body(self, body: impl Into<Vec<u8>>) -> Self {
        Self { body: body.into(), ..self }
    }

    pub async fn to(self, app: &App) -> Response {
        match &app.system {
            System::Local(local) => self.send_to_local(local).await,
            System::Stack(stack) => {
                let (uri, host) = stack.target(&self.path);
                self.send_to_uri(uri, Some(host.to_owned())).await
            }
        }
    }

    /// Sends the request to a `local` outside of an [`App`].
    pub async fn send_to_local(self, local: &Local) -> Response {
        let uri = format!("http://{}{}", local.address(), self.path);
        self.send_to_uri(uri, None).await
    }

    async fn send_to_uri(self, uri: String, host: Option<String>) -> Response {
        let mut request = http::Request::builder().method(self.method.as_str()).uri(uri);
        if let Some(host) = host.filter(|_| !self.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("host"))) {
            request = request.header("host", host);
        }
        for (name, value) in &self.headers {
            request = request.header(name.as_str(), http::HeaderValue::from_bytes(value).expect("a header"));
        }
        let request = request.body(Full::from(self.body)).expect("a request");
        let response = tokio::time::timeout(Duration::from_secs(60), HTTP.request(request));
        let response = response.await.expect("a response in time").expect("a response");
        let (head, body) = response.into_parts();
        let body = body.collect().await.expect("a body").to_bytes();
        let description = format!("{} {}", self.method, self.path);
        Response { request: description, status: head.status.as_u16(), headers: head.headers, body: body.to_vec() }
    }
}

/// A response of the system under test.
#[derive(Debug)]
pub struct Response {
    /// The request's method and path.
    pub request: String,
    pub status: u16,
    pub headers: http::HeaderMap,
    pub body: Vec<u8>,
}

impl Response {
    /// Asserts the status and returns the JSON body, or `null` if there is no body.
    #[track_caller]
    pub fn expect(self, status: u16) -> Value {
        assert_eq!(self.status, status, "{} returned {}", self.request, self.text());
        self.json()
    }

    /// Asserts 400 and returns the paths of its validation errors.
    #[track_caller]
    pub fn errors(self) -> Vec<String> {
        let problem = self.expect(400);
        problem["errors"].as_object().expect("errors").keys().cloned().collect()
    }

    pub fn json(&self) -> Value {
        if self.body.is_empty() {
            return Value::Null;
        }
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|e| panic!("{} returned no JSON ({e}): {}", self.request, self.text()))
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().expect("a text header"))
    }

    /// `(rtt, rru, wru)` of the Server-Timing header.
    pub fn cost(&self) -> (f64, f64, f64) {
        let timing = self.header("server-timing").expect("a Server-Timing header");
        let number = |name: &str| {
            let value = timing.split(&format!("{name}=")).nth(1).expect("a figure");
            value.split([' ', '"']).next().expect("a figure").parse().expect("a number")
        };
        (number("rtt"), number("rru"), number("wru"))
    }
}
