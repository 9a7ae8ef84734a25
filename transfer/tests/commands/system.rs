//! The system under test: `local`, a fault-injecting proxy before it, a directory for files, and the program.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use futures::StreamExt;
use futures::future::BoxFuture;
use http::{Method, StatusCode};
use http_body_util::BodyExt;
use local::{Local, Options, Storage};
use serde_json::{Map, Value, json};
use tokio::process::{Child, Command};

const ENGINE: &str = "AWS_ENDPOINT_URL_DYNAMODB";
const LIST: &str = "/api/EndUsers";

/// What the proxy does with a request.
pub enum Action {
    Forward,
    /// Responds with a status and an optional header, without forwarding the request.
    Respond(u16, Option<(&'static str, &'static str)>),
    /// Responds with 200 and a body, without forwarding the request.
    RespondOk(Value),
    /// Forwards the request, and replaces the results of these items by 503.
    FailItems(&'static [usize]),
    /// Forwards the request, and responds with this status instead.
    Replace(u16),
    /// Forwards the request, and never responds.
    Lose,
    /// Closes the connection in the middle of a response.
    Disconnect,
}

/// Decides the action for the `n`th request, from 0.
pub type Script = Arc<dyn Fn(u64, Arc<Local>) -> BoxFuture<'static, Action> + Send + Sync>;

/// A script that decides synchronously.
pub fn script(action: impl Fn(u64) -> Action + Send + Sync + 'static) -> Script {
    Arc::new(move |n, _| {
        let action = action(n);
        Box::pin(async move { action })
    })
}

pub struct System {
    pub local: Arc<Local>,
    pub directory: PathBuf,
    address: SocketAddr,
    script: Arc<Mutex<Script>>,
    received: Arc<Mutex<Vec<Received>>>,
}

/// A request to the proxy.
struct Received {
    /// The idempotency key, or else the query.
    name: String,
    body: Value,
}

impl System {
    pub async fn start() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let since = std::time::UNIX_EPOCH.elapsed().unwrap().as_millis();
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let table = format!("end-users-test-{since}-{}-transfer-{number}", std::process::id());
        let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join(&table);
        std::fs::create_dir_all(&directory).unwrap();
        let mut variables = HashMap::from([("TABLE_NAME".to_owned(), table)]);
        variables.extend(environment(ENGINE).map(|url| (ENGINE.to_owned(), url)));
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let functions = environment("LAMBDA_FUNCTIONS").map(|built| root.join(built));
        let options = Options { port: 0, storage: Storage::Memory, demo: false, functions, variables };
        let local = Arc::new(Local::start(options).await.unwrap());
        let (forward, received) = (Arc::new(Mutex::new(script(|_| Action::Forward))), Arc::default());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let system = Self { local, directory, address: listener.local_addr().unwrap(), script: forward, received };
        let (local, script, received) = (system.local.clone(), system.script.clone(), system.received.clone());
        let respond = move |request| respond(local.clone(), script.clone(), received.clone(), request);
        tokio::spawn(async { axum::serve(listener, axum::Router::new().fallback(respond)).await });
        system
    }

    /// Replaces the script, and counts requests from 0 again.
    pub fn set_script(&self, script: Script) {
        *self.script.lock().unwrap() = script;
        self.received.lock().unwrap().clear();
    }

    /// The requests since the last [`System::set_script`], each as its idempotency key or its query.
    pub fn requests(&self) -> Vec<String> {
        self.received.lock().unwrap().iter().map(|request| request.name.clone()).collect()
    }

    /// The end users of each `upsertMany` request since the last [`System::set_script`].
    pub fn batches(&self) -> Vec<Vec<Value>> {
        let received = self.received.lock().unwrap();
        received.iter().filter_map(|request| request.body["endUsers"].as_array().cloned()).collect()
    }

    /// Writes a file of end users.
    pub fn file(&self, name: &str, text: impl AsRef<[u8]>) -> PathBuf {
        let path = self.directory.join(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    pub fn read(&self, name: &str) -> String {
        let path = self.directory.join(name);
        std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }

    /// Starts the program in the directory, as a tenant.
    pub fn spawn(&self, tenant: &str, arguments: &[&str]) -> Child {
        let mut command = Command::new(env!("CARGO_BIN_EXE_transfer"));
        command.args(arguments).current_dir(&self.directory).kill_on_drop(true);
        command.env("END_USERS_URL", format!("http://{}", self.address)).env("END_USERS_TOKEN", token(tenant));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }

    /// Runs the program to its end. Returns its exit code and stderr.
    pub async fn run(&self, tenant: &str, arguments: &[&str]) -> (i32, String) {
        let (code, stderr, _) = self.output(tenant, arguments).await;
        (code, stderr)
    }

    /// Runs the program to its end. Returns its exit code, stderr and stdout.
    pub async fn output(&self, tenant: &str, arguments: &[&str]) -> (i32, String, String) {
        let Output { status, stdout, stderr } = self.spawn(tenant, arguments).wait_with_output().await.unwrap();
        let [stdout, stderr] = [stdout, stderr].map(|stderr| String::from_utf8(stderr).unwrap());
        assert!(!stderr.contains(&token(tenant)) && !stdout.contains("eyJ"), "a token is printed: {stderr}");
        (status.code().unwrap(), stderr, stdout)
    }

    /// All end users of a tenant, by id.
    pub async fn end_users(&self, tenant: &str) -> Vec<Value> {
        let mut end_users = Vec::new();
        loop {
            let path = format!("{LIST}?pageSize=100&pageNumber={}", end_users.len() / 100 + 1);
            let page = call(&self.local, tenant, Method::GET, &path, Value::Null).await.1;
            let items = page["items"].as_array().unwrap();
            end_users.extend(items.iter().cloned());
            if items.len() < 100 {
                return end_users;
            }
        }
    }

    /// Creates end users, bypassing the proxy. Returns their ids.
    pub async fn create(&self, tenant: &str, bodies: impl IntoIterator<Item = Value>) -> Vec<u64> {
        create(&self.local, tenant, bodies).await
    }
}

impl Drop for System {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.directory);
        // An external engine outlives the test, so the table is deleted.
        let Some(url) = environment(ENGINE) else { return };
        let table = self.local.table().to_owned();
        let delete = async move { drop(local::client(&url).delete_table().table_name(table).send().await) };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let _ = std::thread::spawn(move || runtime.block_on(delete)).join();
    }
}

fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

async fn respond(
    local: Arc<Local>,
    script: Arc<Mutex<Script>>,
    received: Arc<Mutex<Vec<Received>>>,
    request: Request,
) -> Response {
    let (head, body) = request.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    let json = serde_json::from_slice(&body).unwrap_or_default();
    let request = Request::from_parts(head, Body::from(body));
    let key = request.headers().get("idempotency-key").map(|key| key.to_str().unwrap().to_owned());
    let name = key.unwrap_or_else(|| request.uri().query().unwrap_or_default().to_owned());
    let action = {
        let mut received = received.lock().unwrap();
        received.push(Received { name, body: json });
        let script = script.lock().unwrap().clone();
        script(received.len() as u64 - 1, local.clone())
    };
    let status = |status| Response::builder().status(StatusCode::from_u16(status).unwrap());
    match action.await {
        Action::Forward => local.call(request).await,
        Action::Respond(code, header) => {
            let response =
                header.into_iter().fold(status(code), |response, (name, value)| response.header(name, value));
            response.header("x-request-id", "a-request").body(Body::from(r#"{"detail":"injected failure"}"#)).unwrap()
        }
        Action::RespondOk(body) => status(200).body(Body::from(body.to_string())).unwrap(),
        Action::FailItems(items) => {
            let response = local.call(request).await.into_body().collect().await.unwrap().to_bytes();
            let mut response: Value = serde_json::from_slice(&response).unwrap();
            let results = response["items"].as_array_mut().unwrap();
            let is_failed = |item: &usize| items.contains(item);
            for (_, result) in results.iter_mut().enumerate().filter(|(item, _)| is_failed(item)) {
                *result = json!({ "status": 503, "detail": "injected failure" });
            }
            status(200).body(Body::from(response.to_string())).unwrap()
        }
        Action::Replace(code) => {
            local.call(request).await;
            status(code).body(Body::empty()).unwrap()
        }
        Action::Lose => {
            local.call(request).await;
            std::future::pending().await
        }
        Action::Disconnect => {
            let broken = futures::stream::once(async { Err::<&str, _>(std::io::Error::other("disconnected")) });
            status(201).body(Body::from_stream(broken)).unwrap()
        }
    }
}

pub fn token(tenant: &str) -> String {
    local::token::make(&HashMap::new(), tenant, 3600, Map::new()).unwrap()
}

/// Sends a request, bypassing the proxy. Returns the status and the body.
pub async fn call(local: &Arc<Local>, tenant: &str, method: Method, path: &str, body: Value) -> (u16, Value) {
    let request =
        Request::builder().method(method).uri(path).header("authorization", format!("Bearer {}", token(tenant)));
    let body = if body.is_null() { Body::empty() } else { Body::from(body.to_string()) };
    let response = local.clone().call(request.body(body).unwrap()).await;
    let status = response.status().as_u16();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, serde_json::from_slice(&body).unwrap_or_default())
}

/// Creates end users, bypassing the proxy. Returns their ids in any order.
pub async fn create(local: &Arc<Local>, tenant: &str, bodies: impl IntoIterator<Item = Value>) -> Vec<u64> {
    let create = |body| async move {
        let (status, end_user) = call(local, tenant, Method::POST, LIST, body).await;
        assert_eq!(status, 201, "{end_user}");
        end_user["endUserID"].as_u64().unwrap()
    };
    futures::stream::iter(bodies).map(create).buffer_unordered(8).collect().await
}

/// Deletes an end user, bypassing the proxy.
pub async fn delete(local: &Arc<Local>, tenant: &str, id: u64) {
    let (status, _) = call(local, tenant, Method::DELETE, &format!("{LIST}/{id}"), Value::Null).await;
    assert_eq!(status, 204);
}

/// An end user without ids and null members.
pub fn stripped(end_user: &Value) -> Value {
    let mut end_user = end_user.clone();
    let members = end_user.as_object_mut().unwrap();
    members.retain(|name, value| !value.is_null() && name != "endUserID");
    for uid in members.get_mut("uids").unwrap().as_array_mut().unwrap() {
        uid.as_object_mut().unwrap().remove("endUserUIDID");
    }
    end_user
}

/// End users without ids, with the number of equal ones.
pub fn same_end_users(end_users: &[Value]) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    end_users.iter().for_each(|end_user| *counts.entry(stripped(end_user).to_string()).or_default() += 1);
    counts
}

/// A UID in a response.
pub fn uid(kind: &str, uid: &str, primary: bool) -> Value {
    json!({ "uidType": kind, "uid": uid, "isPrimary": primary })
}
