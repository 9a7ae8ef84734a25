//! Database faults of every kind ([`Fault`]): responses are true, acknowledged writes are stored, and no write is
//! applied twice (docs/reliability.md, Faults below).

use std::time::{Duration, Instant};

use futures::future::join_all;
use serde_json::{Value, json};
use shared::domain::ids::{EndUserId, Tenant};
use shared::store::{Meter, Store, UidPolicy};
use tests::proxy::{Fault, Plan, Proxy};

use crate::support::app::{App, Caller, Response, TestRequest};
use crate::support::functions::unwatched;
use crate::support::proxied::{FaultyApp, NOTHING, UNKNOWN};

const CREATE: &str = "/api/EndUsers";
const ASSIGN: &str = "/api/EndUserUIDs/assign";

#[track_caller]
fn assert_unavailable(response: &Response, detail: &str) {
    assert_eq!(response.status, 503, "{}: {}", response.request, response.text());
    assert_eq!(response.json()["detail"], detail, "{}", response.request);
    assert_eq!(response.header("retry-after"), Some("1"));
}

async fn count(tenant: &Caller<'_>) -> Value {
    tenant.get(CREATE).await.expect(200)["totalCount"].clone()
}

fn jane() -> Value {
    json!({ "firstname": "Jane", "uids": [{ "uid": "jane@x.be" }] })
}

#[tokio::test]
async fn start_makes_one_call_and_survives_a_silent_database() {
    let app = App::start().await;
    let proxy = Proxy::start(app.system.engine_url(), 1).await.expect("a proxy");
    let store = Store::new(local::client(proxy.url()), app.system.table(), UidPolicy::Shared);
    store.connect().await;
    assert_eq!(proxy.injected().0, 1);
    proxy.inject(Plan::always(Fault::SilentBefore));
    // Lambda's init phase has a limit of ten seconds.
    tokio::time::timeout(Duration::from_secs(10), store.connect()).await.expect("a start within ten seconds");
    assert_eq!(proxy.injected().0, 2);
}

/// The faults that do not cost a time-out.
fn transient_faults() -> Vec<Fault> {
    Fault::ALL.into_iter().filter(|fault| !fault.is_silent()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn transient_faults_are_invisible_to_callers() {
    join_all(transient_faults().into_iter().map(check_transient_fault)).await;
}

async fn check_transient_fault(fault: Fault) {
    let faulty = FaultyApp::start(1).await;
    let tenant = faulty.app.tenant(7);
    let inject = |operations: &[&'static str]| {
        operations.iter().for_each(|operation| faulty.proxy.script(operation, &[fault; 3]));
    };
    inject(&["UpdateItem", "TransactWriteItems"]);
    let created = tenant.create(jane()).await;
    let id = &created["endUserID"];
    assert_eq!(count(&tenant).await, 1, "{fault}: created once");
    assert_eq!(tenant.read(id).await, created, "{fault}");

    // 201, not 200: a retry finds the UID that its own first attempt linked.
    inject(&["TransactWriteItems"]);
    tenant.post(ASSIGN, json!({ "endUserID": id, "uid": "j@x.be" })).await.expect(201);
    let path = format!("{CREATE}/{id}");
    let etag = tenant.get(&path).await.header("etag").expect("an ETag").to_owned();

    // 204, not 412: a retry finds the revision of its own first attempt.
    inject(&["TransactWriteItems"]);
    let change = TestRequest::new("PUT", &path).header("if-match", &etag).json(&json!({ "city": "Gent" }));
    tenant.send(change).await.expect(204);

    inject(&["GetItem", "Query", "BatchGetItem"]);
    assert_eq!(tenant.read(id).await["city"], "Gent");
    assert_eq!(tenant.by_uid("j@x.be").await, [id.as_u64().unwrap()], "{fault}");

    inject(&["PutItem", "BatchWriteItem", "GetRecords"]);
    faulty.app.settle().await;
    assert_eq!(tenant.list("search=gent").await, [id.as_u64().unwrap()], "{fault}");
    inject(&["TransactWriteItems"]);
    tenant.delete(&path).await.expect(204);
    inject(&["BatchWriteItem"]);
    faulty.app.settle().await;
    assert_eq!(tenant.get("/api/EndUsers?search=gent").await.expect(200)["totalCount"], 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn exhausted_retries_report_that_nothing_was_written() {
    let faulty = FaultyApp::start(2).await;
    let tenant = faulty.app.tenant(7);
    let id = tenant.create(jane()).await["endUserID"].clone();
    let path = format!("{CREATE}/{id}");
    for fault in [Fault::Throttled, Fault::TooMany] {
        faulty.proxy.inject(Plan::always(fault));
        let requests = [
            TestRequest::new("POST", CREATE).json(&jane()),
            TestRequest::new("POST", ASSIGN).json(&json!({ "endUserID": id, "uid": "j@x.be" })),
            TestRequest::new("PUT", &path).json(&json!({ "city": "Gent" })),
            TestRequest::new("DELETE", &path),
            TestRequest::new("GET", &path),
            TestRequest::new("GET", &format!("{path}/tickets")),
            TestRequest::new("GET", CREATE),
            TestRequest::new("GET", "/api/EndUsers?search=jane"),
            TestRequest::new("GET", "/api/EndUsers/byUid?uid=jane@x.be"),
        ];
        for response in join_all(requests.map(|request| tenant.send(request))).await {
            assert_unavailable(&response, NOTHING);
        }
        faulty.proxy.inject(Plan::default());
        assert_eq!((count(&tenant).await, tenant.read(&id).await["city"].clone()), (json!(1), Value::Null));
    }
    // A transaction that conflicts in every attempt.
    faulty.proxy.inject(Plan::always(Fault::Conflict));
    assert_unavailable(&tenant.post(CREATE, jane()).await, NOTHING);
    faulty.proxy.inject(Plan::default());
    assert_eq!(count(&tenant).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_write_outcome_is_reported() {
    let first_faults = [Fault::FailedAfter, Fault::HungUpAfter, Fault::CutOff, Fault::Garbled];
    // A throttled retry says nothing about the first attempt.
    let retry_faults = [Fault::FailedAfter, Fault::TooMany];
    let cases = first_faults.into_iter().flat_map(|first| retry_faults.map(|rest| (first, rest)));
    join_all(cases.map(async |(first, rest)| {
        let faulty = FaultyApp::start(3).await;
        let tenant = faulty.app.tenant(7);
        let create = || TestRequest::new("POST", CREATE).header("idempotency-key", "k").json(&jane());
        faulty.proxy.script("TransactWriteItems", &[&[first], &[rest; 9][..]].concat());
        assert_unavailable(&tenant.send(create()).await, UNKNOWN);
        // A repeat with the same key is not applied again.
        let again = tenant.send(create()).await;
        assert_eq!(again.header("idempotency-replayed"), Some("true"), "{first}, {rest}: {}", again.text());
        again.expect(201);
        assert_eq!(count(&tenant).await, 1, "{first}, {rest}");
    }))
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn cancelled_retry_leaves_an_unknown_outcome_unknown() {
    let faulty = FaultyApp::start(6).await;
    let tenant = faulty.app.tenant(7);
    let id = tenant.create(jane()).await["endUserID"].clone();
    faulty.proxy.script("TransactWriteItems", &[Fault::HungUpAfter, Fault::Conflict]);
    let link = json!({ "endUserID": id, "uid": "j@x.be" });
    // Not 200: this request itself linked the UID.
    assert_unavailable(&tenant.post(ASSIGN, link).await, UNKNOWN);
    assert_eq!(tenant.by_uid("j@x.be").await, [id.as_u64().unwrap()]);
    // If the conflict comes first, the retry succeeds.
    faulty.proxy.script("TransactWriteItems", &[Fault::Conflict, Fault::HungUpAfter]);
    tenant.post(ASSIGN, json!({ "endUserID": id, "uid": "k@x.be" })).await.expect(201);
}

#[tokio::test(flavor = "multi_thread")]
async fn attempts_end_at_the_deadline() {
    let faulty = FaultyApp::start(7).await;
    let functions = unwatched(&faulty.app).await;
    let (tenant, meter) = (Tenant::parse("7").unwrap(), Meter::default());
    for fault in [Fault::Throttled, Fault::SilentBefore] {
        faulty.proxy.inject(Plan::always(fault));
        let began = Instant::now();
        let scope = functions.scope(&tenant, &meter, began + Duration::from_millis(400));
        scope.end_user(EndUserId::MAX).await.unwrap_err();
        // Without the deadline a silent attempt takes three seconds.
        assert!(began.elapsed() < Duration::from_secs(3), "{fault}: {:?}", began.elapsed());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn silent_database_is_a_503_before_the_deadline() {
    let faulty = FaultyApp::start(4).await;
    let tenant = faulty.app.tenant(7);
    faulty.proxy.inject(Plan::always(Fault::SilentBefore));
    // A response of the function itself, within its time-out.
    assert_unavailable(&tenant.get(&format!("{CREATE}/1")).await, NOTHING);
    // One silent attempt of three seconds is retried.
    faulty.proxy.inject(Plan::default());
    for fault in [Fault::SilentBefore, Fault::SilentAfter] {
        faulty.proxy.script("TransactWriteItems", &[fault]);
        tenant.create(jane()).await;
    }
    assert_eq!(count(&tenant).await, 2);
}
