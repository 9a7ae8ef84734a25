//! The program as a process: its output, its log, signals, and recovery from a kill. The environment selects the engine
//! and the functions, as for the suite (tests/suite/app.rs).

#![allow(clippy::unwrap_used, missing_docs)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use serde_json::{Value, json};

const PROGRAM: &str = env!("CARGO_BIN_EXE_local");

/// A data directory and a table, which are deleted after the test.
struct TestData {
    directory: PathBuf,
    table: String,
}

impl TestData {
    fn new(name: &str) -> Self {
        let since = std::time::UNIX_EPOCH.elapsed().unwrap().as_millis();
        let table = format!("end-users-test-{since}-{}-{name}", std::process::id());
        Self { directory: std::env::temp_dir().join(&table), table }
    }

    /// The command of a server on a free port.
    fn serve(&self, more: &[&str]) -> Command {
        let mut command = self.command(&[&["serve", "--port", "0"], more].concat());
        if let Some(functions) = environment("LAMBDA_FUNCTIONS") {
            command.arg("--functions").arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(functions));
        }
        command
    }

    /// A command that uses this directory and table.
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = command(&[arguments, &["--data", &*self.directory.to_string_lossy()]].concat());
        command.env("TABLE_NAME", &self.table);
        if let Some(url) = environment(ENGINE) {
            command.env(ENGINE, url);
        }
        command
    }
}

impl Drop for TestData {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.directory);
        // The table of the embedded engine was in the directory.
        let Some(url) = environment(ENGINE) else { return };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let _ = runtime.block_on(local::client(&url).delete_table().table_name(&self.table).send());
    }
}

const ENGINE: &str = "AWS_ENDPOINT_URL_DYNAMODB";

fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// A running server. Dropping it kills the process.
struct Server {
    child: Child,
    address: String,
    lines: Vec<String>,
}

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(PROGRAM);
    for name in ["JWT_SECRET", "JWT_PUBLIC_KEY", "JWT_JWKS_URL", "RUST_LOG", ENGINE] {
        command.env_remove(name);
    }
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn run(arguments: &[&str]) -> Output {
    command(arguments).output().unwrap()
}

impl Server {
    fn start(data: &TestData, more: &[&str], lines: usize) -> Self {
        Self::spawn(data.serve(more).stderr(Stdio::null()), lines)
    }

    fn spawn(command: &mut Command, lines: usize) -> Self {
        let mut child = command.spawn().unwrap();
        let printed = BufReader::new(child.stdout.as_mut().unwrap()).lines().take(lines);
        let lines: Vec<String> = printed.map(Result::unwrap).collect();
        let address = lines[0].strip_prefix("listening on http://").expect(&lines[0]).to_owned();
        Self { child, address, lines }
    }

    /// Sends SIGTERM and waits for the successful exit.
    fn terminate(mut self) {
        let killed = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status().unwrap();
        assert!(killed.success());
        assert!(self.child.wait().unwrap().success());
    }

    fn send(&self, token: &str, method: &str, path: &str, body: Option<&Value>) -> std::io::Result<(u16, Value)> {
        let body = body.map(Value::to_string).unwrap_or_default();
        let mut connection = TcpStream::connect(&self.address)?;
        write!(
            connection,
            "{method} {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        )?;
        let mut response = String::new();
        connection.read_to_string(&mut response)?;
        let incomplete = || std::io::Error::other("the response is incomplete");
        let status = response.split(' ').nth(1).and_then(|status| status.parse().ok()).ok_or_else(incomplete)?;
        let (_, body) = response.split_once("\r\n\r\n").ok_or_else(incomplete)?;
        if body.is_empty() {
            return Ok((status, Value::Null));
        }
        Ok((status, serde_json::from_str(body).map_err(|_| incomplete())?))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn token() -> String {
    let output = run(&["token", "--customer", "7"]);
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

#[test]
fn acknowledged_writes_survive_a_kill() {
    let data = TestData::new("kill");
    let token = token();
    let mut end_users = Vec::new();
    let mut events = 0;
    for round in 0..3 {
        let mut server = Server::start(&data, &["--no-demo"], 1);
        let acknowledged = std::thread::scope(|scope| {
            let writers: Vec<_> = (0..4)
                .map(|writer| {
                    let (server, token) = (&server, &token);
                    scope.spawn(move || {
                        let mut done = Vec::new();
                        for n in 0..15 {
                            let uid = format!("w{writer}-{round}-{n}@example.com");
                            let body = json!({ "firstname": "W", "uids": [{ "uid": uid }] });
                            if let Ok((201, end_user)) = server.send(token, "POST", "/api/EndUsers", Some(&body)) {
                                done.push(end_user);
                            }
                        }
                        done
                    })
                })
                .collect();
            writers.into_iter().flat_map(|writer| writer.join().unwrap()).collect::<Vec<_>>()
        });
        assert_eq!(acknowledged.len(), 60);
        end_users.extend(acknowledged);
        for n in 0..5 {
            events += 1;
            let ticket = json!({ "ticketID": events, "uid": format!("w0-0-{n}@example.com"),
                "dateCreated": "2026-11-01T10:00:00Z", "lastMessageDate": "2026-11-01T10:00:00Z" });
            let event = json!({ "type": "ticket.upserted", "customerID": 7, "occurredAt": "2026-11-01T10:00:00Z", "ticket": ticket });
            assert_eq!(server.send("", "POST", "/local/ticket-events", Some(&event)).unwrap().0, 202);
        }
        // SIGKILL: nothing is flushed, and no poller completes its batch.
        server.child.kill().unwrap();
    }
    let server = Server::start(&data, &["--no-demo"], 1);
    assert_eq!(server.send("", "POST", "/local/settle", None).unwrap().0, 204);
    for end_user in &end_users {
        let path = format!("/api/EndUsers/{}", end_user["endUserID"]);
        assert_eq!(server.send(&token, "GET", &path, None).unwrap(), (200, end_user.clone()));
    }
    let (_, list) = server.send(&token, "GET", "/api/EndUsers?search=w&sortBy=name", None).unwrap();
    assert_eq!(list["totalCount"], end_users.len(), "every end user is indexed");
    let (_, first) = server.send(&token, "GET", "/api/EndUsers/byUid?uid=w0-0-0@example.com", None).unwrap();
    let (_, tickets) =
        server.send(&token, "GET", &format!("/api/EndUsers/{}/tickets", first[0]["endUserID"]), None).unwrap();
    assert_eq!(tickets["totalCount"], 3, "one ticket per round: {tickets}");
}

#[test]
fn printed_curl_commands_work() {
    let data = TestData::new("demo");
    let server = Server::start(&data, &[], 11);
    let curls: Vec<_> = server.lines.iter().filter(|line| line.starts_with("curl ")).collect();
    assert_eq!(curls.len(), 3, "{:#?}", server.lines);
    let token = server.lines.iter().find(|line| line.starts_with("eyJ")).unwrap();
    for curl in curls {
        let url = curl.split('\'').nth(3).unwrap();
        let path = url.split_once("/api").map(|(_, rest)| format!("/api{rest}")).unwrap();
        let (status, body) = server.send(token, "GET", &path, None).unwrap();
        assert_eq!(status, 200, "{curl}: {body}");
        assert!(body.to_string().contains(r#""uid":"jane@example.com""#), "{body}");
    }
    let summary = server.lines.iter().find(|line| line.starts_with("tenant 7: Jane Doe")).unwrap();
    assert!(summary.contains("endUserID 1, endUserUIDID 1 (Email) and 2 (Phone)"), "{summary}");
    let (_, tickets) = server.send(token, "GET", "/api/EndUsers/1/tickets", None).unwrap();
    assert_eq!(tickets["totalCount"], 4, "tickets by e-mail, phone, WhatsApp and customerRef: {tickets}");
}

#[test]
fn data_directory_is_locked_by_one_process() {
    let data = TestData::new("lock");
    let _server = Server::start(&data, &["--no-demo"], 1);
    let output = data.serve(&["--no-demo"]).output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success() && stderr.contains("is in use by another process"), "{stderr}");
}

#[test]
fn failed_start_prints_one_line() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    let output = run(&["serve", "--port", &port, "--memory"]);
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success() && stderr.contains(&format!("port {port} cannot be used")), "{stderr}");

    let output = command(&["serve", "--port", "0", "--memory"]).env("JWT_SECRET", "short").output().unwrap();
    assert!(!output.status.success());
    assert_eq!(String::from_utf8(output.stderr).unwrap(), "local: JWT_SECRET must be at least 32 bytes long\n");
}

#[test]
fn request_logs_one_line_without_personal_data() {
    let data = TestData::new("logs");
    let variables = [("RUST_LOG", "info"), ("METRICS_NAMESPACE", "tests")];
    let mut server = Server::spawn(data.serve(&["--no-demo"]).envs(variables), 1);
    let token = token();
    let send = |method, path: &str, body: Option<&Value>| server.send(&token, method, path, body).unwrap();
    let jane =
        json!({ "firstname": "Xanthippe", "customerRef": "XREF-1", "uids": [{ "uid": "xanthippe@example.com" }] });
    let (status, end_user) = send("POST", "/api/EndUsers", Some(&jane));
    assert_eq!(status, 201, "{end_user}");
    assert_eq!(send("GET", "/api/EndUsers?search=xanthippe", None).0, 200);
    assert_eq!(send("GET", "/api/EndUsers/byUid?uid=xanthippe@example.com", None).0, 200);
    let bad = json!({ "uids": [{ "uid": "xanthippe at example" }] });
    assert_eq!(send("PUT", &format!("/api/EndUsers/{}", end_user["endUserID"]), Some(&bad)).0, 400);
    assert_eq!(server.send(&format!("{token}x"), "GET", "/api/EndUsers", None).unwrap().0, 401);
    let event = json!({ "type": "ticket.upserted", "customerID": 7, "ticket": { "uid": "xanthippe@example.com" } });
    assert_eq!(send("POST", "/local/ticket-events", Some(&event)).0, 202);
    assert_eq!(send("POST", "/local/settle", None).0, 204);
    Command::new("kill").args(["-TERM", &server.child.id().to_string()]).status().unwrap();
    let mut text = String::new();
    server.child.stderr.take().unwrap().read_to_string(&mut text).unwrap();

    // A line of a function's process follows `[function] `.
    let json = |line: &str| serde_json::from_str::<Value>(line.split_once("] ").map_or(line, |(_, line)| line)).ok();
    let requests: Vec<_> =
        text.lines().filter_map(json).filter(|line| line["message"] == "request completed").collect();
    assert_eq!(requests.len(), 5, "one line per request: {text}");
    let first = &requests[0];
    // `local` itself writes no CloudWatch metrics.
    let namespace = environment("LAMBDA_FUNCTIONS").map_or(Value::Null, |_| json!("tests"));
    assert!(requests.iter().all(|line| line["_aws"]["CloudWatchMetrics"][0]["Namespace"] == namespace), "{text}");
    assert_eq!(
        (&first["route"], &first["status"], &first["tenant"]),
        (&json!("POST /api/EndUsers"), &json!(201), &json!("7"))
    );
    assert!(first["requestId"].is_string() && first["durationMs"].is_number() && first["roundTrips"] == 2, "{first}");
    for word in ["anthippe", "XREF", "xref", "example.com", "Bearer", token.split('.').next_back().unwrap()] {
        assert!(!text.contains(word), "{word} is in the log: {text}");
    }
}

#[test]
fn unreachable_engine_is_reported_with_its_url() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let output = command(&["serve", "--port", "0", "--memory"]).env(ENGINE, &url).output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    let lines: Vec<_> = stderr.lines().filter(|line| line.starts_with("local: ")).collect();
    assert!(!output.status.success(), "{stderr}");
    assert_eq!(
        lines,
        [format!(
            "local: the database engine is not reachable at {url}; start it, or unset {ENGINE} to use the embedded engine"
        )]
    );
}

#[test]
fn token_follows_the_configuration() {
    let output = command(&["token", "--customer", "acme", "--ttl", "60", "--claim", "name=\"x\""])
        .envs([("JWT_ISSUER", "https://issuer.test"), ("JWT_AUDIENCE", "us"), ("JWT_WRITE_SCOPE", "write")])
        .output()
        .unwrap();
    let token = String::from_utf8(output.stdout).unwrap();
    let payload = token.split('.').nth(1).unwrap();
    let claims = base64::Engine::decode(&base64::engine::general_purpose::URL_SAFE_NO_PAD, payload).unwrap();
    let claims: Value = serde_json::from_slice(&claims).unwrap();
    let expected = json!({ "customerID": "acme", "iss": "https://issuer.test", "aud": "us", "scope": "write", "name": "x",
        "iat": claims["iat"], "exp": claims["iat"].as_u64().unwrap() + 60 });
    assert_eq!(claims, expected);
}

#[test]
fn sigterm_exits_successfully() {
    let data = TestData::new("signal");
    Server::start(&data, &["--no-demo"], 1).terminate();
}

#[test]
fn index_commands_check_and_repair_a_tenant() {
    let data = TestData::new("index");
    let check = |command: &str, customer: &str| {
        let output = data.command(&["index", command, "--customer", customer]).output().unwrap();
        let printed = [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap());
        (output.status.success(), printed)
    };
    if environment(ENGINE).is_none() {
        let missing = format!(
            "local: the data directory {} does not exist; choose another one with --data\n",
            data.directory.display()
        );
        assert_eq!(check("check", "7"), (false, [String::new(), missing]));
    }
    Server::start(&data, &[], 1).terminate();
    let clean = "14 end users (counter: 14), 367 index entries, 0 rank blocks\nnothing is wrong\n".to_owned();
    assert_eq!(check("check", "7"), (true, [clean.clone(), String::new()]));
    assert_eq!(check("repair", "7"), (true, [clean, String::new()]));
    let invalid = "local: not a tenant is not a valid tenant; use the customerID of its tokens\n".to_owned();
    assert_eq!(check("check", "not a tenant"), (false, [String::new(), invalid]));
}
