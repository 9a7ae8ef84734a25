//! Functions as processes behind the Runtime API: the gateway's responses to their failures, the pool of processes, and
//! kills that lose no acknowledged write.

use std::collections::BTreeSet;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use futures::future::{join, join_all};
use local::template::Template;
use local::{Local, Options, Storage};
use serde_json::{Value, json};
use tests::skips::{Need, reason};

use crate::support::app::{App, Response, SECRET, TIME_OUT, TestRequest, built_functions, ids, new_table};

/// A directory with the layout of cargo-lambda's output, in which all functions are the same program.
struct FunctionsDirectory(PathBuf);

impl FunctionsDirectory {
    fn new(program: &str) -> Self {
        let path = std::env::temp_dir().join(new_table());
        for function in Template::load().unwrap().functions {
            std::fs::create_dir_all(path.join(&function.name)).unwrap();
            symlink(program, path.join(function.name).join("bootstrap")).unwrap();
        }
        Self(path)
    }

    fn faulty() -> Self {
        Self::new(env!("CARGO_BIN_EXE_faulty-function"))
    }

    fn bootstrap(&self, function: &str) -> PathBuf {
        self.0.join(function).join("bootstrap")
    }
}

impl Drop for FunctionsDirectory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

async fn start(built: &FunctionsDirectory) -> App {
    App::with_functions(Some(built.0.clone()), &[]).await
}

/// Sends a request with a query that selects the behaviour of `faulty-function`.
async fn invoke(app: &App, behaviour: &str) -> Response {
    TestRequest::new("GET", &format!("/api/EndUsers?{behaviour}")).to(app).await
}

/// The id of the process that handles a request.
async fn process(app: &App) -> u32 {
    let response = invoke(app, "").await;
    response.text().parse().unwrap_or_else(|_| panic!("{} {}", response.status, response.text()))
}

/// Whether a process runs. A zombie does not.
fn runs(process: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat"));
    stat.is_ok_and(|stat| stat.rsplit(") ").next().is_some_and(|rest| !rest.starts_with(['Z', 'X'])))
}

/// Sends SIGKILL and waits until the process has ended.
async fn kill(process: u32) {
    std::process::Command::new("kill").args(["-KILL", &process.to_string()]).status().unwrap();
    while runs(process) {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[track_caller]
fn assert_gateway(response: &Response, status: u16, text: &str) {
    assert_eq!((response.status, response.json()), (status, json!({ "message": text })), "{}", response.request);
    assert_eq!(response.header("x-request-id"), None, "{}: the response is not a function's", response.request);
}

#[tokio::test]
async fn function_failure_is_a_gateway_500() {
    let built = FunctionsDirectory::faulty();
    let app = start(&built).await;
    for behaviour in ["error", "nonsense", "huge", "panic", "exit"] {
        assert_gateway(&invoke(&app, behaviour).await, 500, "Internal Server Error");
        assert_eq!(invoke(&app, "").await.status, 200, "after {behaviour}");
    }
}

#[tokio::test]
async fn process_survives_errors_and_panics_but_not_exit() {
    let built = FunctionsDirectory::faulty();
    let app = start(&built).await;
    let first = process(&app).await;
    for behaviour in ["error", "panic", "nonsense", "huge"] {
        assert_eq!(invoke(&app, behaviour).await.status, 500);
        assert_eq!(process(&app).await, first, "after {behaviour}");
    }
    assert_eq!(invoke(&app, "exit").await.status, 500);
    assert_ne!(process(&app).await, first);
}

#[tokio::test]
async fn timed_out_function_is_killed_and_responds_500() {
    let built = FunctionsDirectory::faulty();
    let app = start(&built).await;
    let first = process(&app).await;
    let started = Instant::now();
    assert_gateway(&invoke(&app, "hang").await, 500, "Internal Server Error");
    assert!(started.elapsed() >= TIME_OUT, "killed before its time-out: {:?}", started.elapsed());
    assert_ne!(process(&app).await, first);
    assert!(!runs(first));
}

#[tokio::test]
async fn killed_idle_process_is_replaced_without_a_lost_request() {
    let built = FunctionsDirectory::faulty();
    let app = start(&built).await;
    let mut seen = BTreeSet::new();
    for _ in 0..20 {
        let process = process(&app).await;
        assert!(seen.insert(process), "{process} is dead");
        kill(process).await;
    }
}

#[tokio::test]
async fn pool_grows_to_the_concurrent_invocations() {
    let built = FunctionsDirectory::faulty();
    let app = start(&built).await;
    let slow = join_all((0..6).map(async |_| invoke(&app, "slow").await.expect(200))).await;
    let busy: BTreeSet<u64> = slow.iter().map(|process| process.as_u64().unwrap()).collect();
    assert_eq!(busy.len(), 6);
    let idle = process(&app).await;
    assert!(busy.contains(&idle.into()));
    assert_eq!(process(&app).await, idle);
}

#[tokio::test]
async fn function_that_cannot_start_is_an_immediate_500() {
    let built = FunctionsDirectory::new("/bin/false");
    let app = start(&built).await;
    let started = Instant::now();
    assert_gateway(&invoke(&app, "").await, 500, "Internal Server Error");
    assert!(started.elapsed() < TIME_OUT, "the gateway waited for an ended process: {:?}", started.elapsed());
}

#[tokio::test]
async fn no_process_outlives_the_system() {
    let built = FunctionsDirectory::faulty();
    let table = new_table();
    let local = Local::start(options(&built.0, &table)).await.unwrap();
    let request = || http::Request::get("/api/EndUsers?slow").body(Default::default()).unwrap();
    join_all((0..4).map(|_| local.call(request()))).await;
    let processes = bootstraps(&table);
    assert_eq!(processes.len(), 4);
    local.stop().await;
    let deadline = Instant::now() + Duration::from_secs(10);
    while processes.iter().any(|process| runs(*process)) {
        assert!(Instant::now() < deadline, "{processes:?} still run");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Options with the embedded engine, whatever the environment says.
fn options(built: &Path, table: &str) -> Options {
    let variables = [("JWT_SECRET", SECRET), ("TABLE_NAME", table)].map(|(name, value)| (name.into(), value.into()));
    let functions = Some(built.to_owned());
    Options { port: 0, storage: Storage::Memory, demo: false, functions, variables: variables.into() }
}

/// The error of a start with these functions.
async fn start_error(built: &Path) -> String {
    Local::start(options(built, "any")).await.err().expect("an error").to_string()
}

#[tokio::test]
async fn missing_or_foreign_program_is_reported_with_a_fix() {
    let built = FunctionsDirectory::faulty();
    let (path, shown) = (built.bootstrap("get-end-user"), built.bootstrap("get-end-user").display().to_string());
    std::fs::remove_file(&path).unwrap();
    let build = "build it with: cargo lambda build --release";
    assert_eq!(start_error(&built.0).await, format!("{shown} is missing; {build}"));

    let (other, machine, option) = match std::env::consts::ARCH {
        "aarch64" => ("x86_64", 62u16, "--arm64"),
        _ => ("aarch64", 183, "--x86-64"),
    };
    let header = [b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x03\0", &machine.to_le_bytes()[..], &[0; 44]].concat();
    std::fs::write(&path, header).unwrap();
    let here = std::env::consts::ARCH;
    assert_eq!(
        start_error(&built.0).await,
        format!("{shown} is built for {other}, but this machine is {here}; {build} {option}")
    );

    std::fs::write(&path, "#!/bin/sh\nexit 0 # a script\n").unwrap();
    assert_eq!(start_error(&built.0).await, format!("{shown} is not a Lambda binary; {build}"));
}

/// The processes with this table in `TABLE_NAME`.
fn bootstraps(table: &str) -> Vec<u32> {
    let variable = format!("\0TABLE_NAME={table}\0");
    let processes = std::fs::read_dir("/proc").unwrap().filter_map(|entry| {
        let process: u32 = entry.ok()?.file_name().to_str()?.parse().ok()?;
        let environment = std::fs::read(format!("/proc/{process}/environ")).ok()?;
        String::from_utf8_lossy(&[b"\0", &environment[..]].concat()).contains(&variable).then_some(process)
    });
    processes.filter(|process| runs(*process)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_functions_lose_no_acknowledged_write() {
    let test = "processes::killed_functions_lose_no_acknowledged_write";
    if let Some(reason) = reason(test, Need::Processes).filter(|_| built_functions().is_none()) {
        println!("SKIPPED {test}: {reason}");
        return;
    }
    let app = App::start().await;
    let tenant = app.tenant(7);
    let is_done = AtomicBool::new(false);
    let writers = async {
        let writer = async |writer: usize| {
            let mut acknowledged = Vec::new();
            for n in 0..40 {
                let end_user =
                    json!({ "firstname": "Load", "uids": [{ "uid": format!("w{writer}-{n}@example.com") }] });
                let response = tenant.post("/api/EndUsers", end_user).await;
                match response.status {
                    201 => acknowledged.push(response.json()),
                    _ => assert_gateway(&response, 500, "Internal Server Error"),
                }
            }
            acknowledged
        };
        let acknowledged = join_all((0..8).map(writer)).await.concat();
        is_done.store(true, Ordering::Relaxed);
        acknowledged
    };
    let killer = async {
        let mut killed = 0;
        while !is_done.load(Ordering::Relaxed) {
            let alive = bootstraps(app.system.table());
            if let Some(victim) = alive.get(killed * 7 % alive.len().max(1)) {
                kill(*victim).await;
                killed += 1;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        killed
    };
    let (acknowledged, killed) = join(writers, killer).await;
    println!("{} of 320 creates were acknowledged while {killed} processes were killed", acknowledged.len());
    assert!(killed >= 3 && acknowledged.len() >= 160, "{killed} killed, {} acknowledged", acknowledged.len());

    // Later requests are not affected.
    app.settle().await;
    let mut listed = Vec::new();
    for page in 1.. {
        let end_users = tenant.get(&format!("/api/EndUsers?pageSize=100&pageNumber={page}")).await.expect(200);
        listed.extend(end_users["items"].as_array().unwrap().clone());
        if end_users["items"] == json!([]) {
            assert_eq!(end_users["totalCount"], listed.len(), "totalCount is the number of end users");
            break;
        }
    }
    for end_user in &acknowledged {
        assert!(listed.contains(end_user), "{end_user} is lost");
        assert_eq!(tenant.read(&end_user["endUserID"]).await, *end_user);
        assert_eq!(
            tenant.by_uid(end_user["uids"][0]["uid"].as_str().unwrap()).await,
            ids(&Value::from(vec![end_user.clone()]))
        );
    }
    let found = tenant.get("/api/EndUsers?search=load&pageSize=100").await.expect(200);
    assert_eq!(found["totalCount"], listed.len(), "each end user is indexed once");
}
