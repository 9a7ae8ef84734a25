//! The program as a user runs it: what it prints, and what a kill leaves. Its parts are those that
//! the environment names, as for the suite (tests/suite/app.rs).

#![allow(clippy::unwrap_used, missing_docs)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use serde_json::{Value, json};

const PROGRAM: &str = env!("CARGO_BIN_EXE_local");

/// A directory and a table that go with the test.
struct Place {
    directory: PathBuf,
    table: String,
}

impl Place {
    fn new(name: &str) -> Self {
        let since = std::time::UNIX_EPOCH.elapsed().unwrap().as_millis();
        let table = format!("end-users-test-{since}-{}-{name}", std::process::id());
        Self { directory: std::env::temp_dir().join(&table), table }
    }

    /// A server on any free port, with its data here.
    fn serve(&self, more: &[&str]) -> Command {
        let mut command = self.command(&[&["serve", "--port", "0"], more].concat());
        if let Some(functions) = environment("LAMBDA_FUNCTIONS") {
            command.arg("--functions").arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(functions));
        }
        command
    }

    /// A command on the data and the table that are here.
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = command(&[arguments, &["--data", &*self.directory.to_string_lossy()]].concat());
        command.env("TABLE_NAME", &self.table);
        if let Some(url) = environment(ENGINE) {
            command.env(ENGINE, url);
        }
        command
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.directory);
        // The embedded engine's table goes with the directory.
        let Some(url) = environment(ENGINE) else { return };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let _ = runtime.block_on(local::client(&url).delete_table().table_name(&self.table).send());
    }
}

const ENGINE: &str = "AWS_ENDPOINT_URL_DYNAMODB";

fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// A running server; killed, not stopped, when dropped.
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
    fn start(place: &Place, more: &[&str], lines: usize) -> Self {
        Self::spawn(place.serve(more).stderr(Stdio::null()), lines)
    }

    fn spawn(command: &mut Command, lines: usize) -> Self {
        let mut child = command.spawn().unwrap();
        let printed = BufReader::new(child.stdout.as_mut().unwrap()).lines().take(lines);
        let lines: Vec<String> = printed.map(Result::unwrap).collect();
        let address = lines[0].strip_prefix("listening on http://").expect(&lines[0]).to_owned();
        Self { child, address, lines }
    }

    /// Ends it by a signal, in order.
    fn end(mut self) {
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
        let mut answer = String::new();
        connection.read_to_string(&mut answer)?;
        let cut = || std::io::Error::other("the answer was cut");
        let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok()).ok_or_else(cut)?;
        let (_, body) = answer.split_once("\r\n\r\n").ok_or_else(cut)?;
        if body.is_empty() {
            return Ok((status, Value::Null));
        }
        Ok((status, serde_json::from_str(body).map_err(|_| cut())?))
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
fn every_write_shown_as_done_survives_a_kill() {
    let place = Place::new("kill");
    let token = token();
    let mut end_users = Vec::new();
    let mut events = 0;
    for round in 0..3 {
        let mut server = Server::start(&place, &["--no-demo"], 1);
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
        // SIGKILL: nothing is flushed, no pump ends its batch.
        server.child.kill().unwrap();
    }
    let server = Server::start(&place, &["--no-demo"], 1);
    assert_eq!(server.send("", "POST", "/local/settle", None).unwrap().0, 204);
    for end_user in &end_users {
        let path = format!("/api/EndUsers/{}", end_user["endUserID"]);
        assert_eq!(server.send(&token, "GET", &path, None).unwrap(), (200, end_user.clone()));
    }
    let (_, list) = server.send(&token, "GET", "/api/EndUsers?search=w&sortBy=name", None).unwrap();
    assert_eq!(list["totalCount"], end_users.len(), "all are indexed");
    let (_, first) = server.send(&token, "GET", "/api/EndUsers/byUid?uid=w0-0-0@example.com", None).unwrap();
    let (_, tickets) =
        server.send(&token, "GET", &format!("/api/EndUsers/{}/tickets", first[0]["endUserID"]), None).unwrap();
    assert_eq!(tickets["totalCount"], 3, "a ticket of each round: {tickets}");
}

#[test]
fn what_is_printed_at_start_works_when_pasted() {
    let place = Place::new("demo");
    let server = Server::start(&place, &[], 11);
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
    let about = server.lines.iter().find(|line| line.starts_with("tenant 7: Jane Doe")).unwrap();
    assert!(about.contains("endUserID 1, endUserUIDID 1 (Email) and 2 (Phone)"), "{about}");
    let (_, tickets) = server.send(token, "GET", "/api/EndUsers/1/tickets", None).unwrap();
    assert_eq!(tickets["totalCount"], 4, "over e-mail, phone, WhatsApp and customerRef: {tickets}");
}

#[test]
fn a_data_directory_serves_one_process_at_a_time() {
    let place = Place::new("lock");
    let _server = Server::start(&place, &["--no-demo"], 1);
    let output = place.serve(&["--no-demo"]).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success() && said.contains("is in use by another process"), "{said}");
}

#[test]
fn what_cannot_be_started_says_why_in_one_line() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    let output = run(&["serve", "--port", &port, "--memory"]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success() && said.contains(&format!("port {port} cannot be used")), "{said}");

    let output = command(&["serve", "--port", "0", "--memory"]).env("JWT_SECRET", "short").output().unwrap();
    assert!(!output.status.success());
    assert_eq!(String::from_utf8(output.stderr).unwrap(), "local: JWT_SECRET must be at least 32 bytes long\n");
}

#[test]
fn a_request_is_one_log_line_without_personal_data_or_tokens() {
    let place = Place::new("logs");
    let asked = [("RUST_LOG", "info"), ("METRICS_NAMESPACE", "tests")];
    let mut server = Server::spawn(place.serve(&["--no-demo"]).envs(asked), 1);
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

    // A process's lines stand behind its function's name.
    let json = |line: &str| serde_json::from_str::<Value>(line.split_once("] ").map_or(line, |(_, line)| line)).ok();
    let answered: Vec<_> =
        text.lines().filter_map(json).filter(|line| line["message"] == "request completed").collect();
    assert_eq!(answered.len(), 5, "one line per request: {text}");
    let first = &answered[0];
    // The log of `local` itself is no CloudWatch's.
    let namespace = environment("LAMBDA_FUNCTIONS").map_or(Value::Null, |_| json!("tests"));
    assert!(answered.iter().all(|line| line["_aws"]["CloudWatchMetrics"][0]["Namespace"] == namespace), "{text}");
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
fn an_engine_that_is_not_there_is_named_with_what_to_run() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let output = command(&["serve", "--port", "0", "--memory"]).env(ENGINE, &url).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    let lines: Vec<_> = said.lines().filter(|line| line.starts_with("local: ")).collect();
    assert!(!output.status.success(), "{said}");
    assert_eq!(
        lines,
        [format!(
            "local: the database engine does not answer at {url}; start it, or unset {ENGINE} for the embedded one"
        )]
    );
}

#[test]
fn a_token_is_printed_for_the_configuration_at_hand() {
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
fn a_signal_ends_it_in_order() {
    let place = Place::new("signal");
    Server::start(&place, &["--no-demo"], 1).end();
}

#[test]
fn the_index_of_a_tenant_is_checked_and_repaired_by_a_command() {
    let place = Place::new("index");
    let check = |command: &str, customer: &str| {
        let output = place.command(&["index", command, "--customer", customer]).output().unwrap();
        let said = [output.stdout, output.stderr].map(|said| String::from_utf8(said).unwrap());
        (output.status.success(), said)
    };
    if environment(ENGINE).is_none() {
        let nowhere = format!("local: the data directory {} is not there\n", place.directory.display());
        assert_eq!(check("check", "7"), (false, [String::new(), nowhere]));
    }
    Server::start(&place, &[], 1).end();
    let clean = "12 people (12 counted), 321 index entries, 0 blocks\nnothing is wrong\n".to_owned();
    assert_eq!(check("check", "7"), (true, [clean.clone(), String::new()]));
    assert_eq!(check("repair", "7"), (true, [clean, String::new()]));
    let none = "local: not a tenant is no tenant: see customerID\n".to_owned();
    assert_eq!(check("check", "not a tenant"), (false, [String::new(), none]));
}
