//! The lanes in which `local` delivers the table's stream: a slow lane delays no other one, and a kill loses no record.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use local::{Local, Options, Storage};
use serde_json::{Value, json};
use tests::proxy::Proxy;

use crate::support::app::{App, SECRET, System, TestRequest, built_functions, ids, new_table, token};
use crate::support::proxied::FaultyApp;

const END_USERS: &str = "/api/EndUsers";
/// The number of end users that are written while one lane is held.
const OTHERS: u64 = 8;
/// The least number of [`OTHERS`] that are in other lanes than the held one.
const OVERTAKING: usize = 4;

/// Repeats a search until it finds [`OVERTAKING`] end users. Its limit is below the 3 s after which a held call times
/// out.
async fn until_found(search: impl AsyncFn() -> Vec<u64>) {
    let started = Instant::now();
    while search().await.len() < OVERTAKING {
        assert!(started.elapsed() < Duration::from_millis(2_500), "only {:?} are found", search().await);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_lane_delays_no_other_lane() {
    let faulty = FaultyApp::start(20).await;
    let tenant = faulty.app.tenant(7);
    let hold = faulty.proxy.hold("BatchGetItem");
    let jane = tenant.create(json!({ "firstname": "Jane" })).await["endUserID"].clone();
    hold.reached().await;
    for n in 0..OTHERS {
        tenant.create(json!({ "firstname": format!("Other{n}") })).await;
        tenant.update(&jane, json!({ "firstname": format!("Joan{n}") })).await;
    }
    until_found(async || tenant.list("search=other").await).await;
    assert_eq!(tenant.list("search=joan").await, [0; 0], "later records of the same end user wait for the first one");
    drop(hold);
    faulty.app.settle().await;
    assert_eq!(tenant.list("search=jane").await, [0; 0]);
    assert_eq!(tenant.list("search=joan7").await, [jane.as_u64().unwrap()]);
    assert_eq!(tenant.list("search=other").await.len() as u64, OTHERS);
}

#[tokio::test(flavor = "multi_thread")]
async fn kill_between_lanes_loses_no_record() {
    let engine = App::start().await;
    let proxy = Proxy::start(engine.system.engine_url(), 21).await.expect("a proxy");
    let table = new_table();
    let directory = std::env::temp_dir().join(&table);
    let options = || Options {
        port: 0,
        storage: Storage::Directory(directory.clone()),
        demo: false,
        functions: built_functions(),
        variables: HashMap::from(
            [("JWT_SECRET", SECRET), ("TABLE_NAME", &table), ("AWS_ENDPOINT_URL_DYNAMODB", proxy.url())]
                .map(|(name, value)| (name.to_owned(), value.to_owned())),
        ),
    };
    let killed = tokio::runtime::Runtime::new().unwrap();
    let local = killed.spawn(Local::start(options())).await.unwrap().expect("local starts");
    let bearer = format!("Bearer {}", token(json!({ "customerID": 7 })));
    let send = async |request: TestRequest| request.header("authorization", &bearer).send_to_local(&local).await;
    let create = async |body: Value| send(TestRequest::new("POST", END_USERS).json(&body)).await.expect(201);
    let hold = proxy.hold("BatchGetItem");
    create(json!({ "firstname": "Jane" })).await;
    hold.reached().await;
    for n in 0..OTHERS {
        create(json!({ "firstname": format!("Other{n}") })).await;
    }
    let search = async || {
        let found = send(TestRequest::new("GET", &format!("{END_USERS}?search=other"))).await.expect(200);
        ids(&found["items"])
    };
    until_found(search).await;
    drop(local);
    // Every task is dropped at its current await.
    tokio::task::spawn_blocking(move || killed.shutdown_timeout(Duration::from_secs(5))).await.unwrap();
    drop(hold);

    let local = Local::start(options()).await.expect("local starts again");
    let app = App { system: System::Local(Box::new(local)) };
    app.settle().await;
    let tenant = app.tenant(7);
    assert_eq!(tenant.list("search=jane").await, [1]);
    assert_eq!(tenant.list("search=other").await, (2..=1 + OTHERS).collect::<Vec<_>>());
    drop(app);
    std::fs::remove_dir_all(directory).unwrap();
}
