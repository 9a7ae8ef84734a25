//! The database fails, in each of the ways of [`Fault`]: what is answered is true, what was
//! acknowledged is there, and nothing is done twice.

use std::time::{Duration, Instant};

use futures::future::join_all;
use serde_json::{Value, json};
use shared::domain::ids::{EndUserId, Tenant};
use shared::store::{Meter, Store};
use tests::proxy::{Fault, Plan, Proxy};

use crate::app::{Answer, App, Caller, TestRequest};
use crate::budgets::unwatched;

const CREATE: &str = "/api/EndUsers";
const ASSIGN: &str = "/api/EndUserUIDs/assign";
pub const NOTHING: &str = "the database is unavailable; nothing was written, retry the request";
pub const UNKNOWN: &str = "the database did not respond; it is unknown whether the change was written";

/// A system whose calls of the database go through a proxy.
pub struct Troubled {
    pub app: App,
    pub proxy: Proxy,
    /// Holds the engine; its own functions are not used.
    _engine: App,
}

impl Troubled {
    pub async fn start(seed: u64) -> Self {
        let engine = App::start().await;
        let proxy = Proxy::start(engine.system.engine_url(), seed).await.expect("a proxy");
        let app = App::with(&[("AWS_ENDPOINT_URL_DYNAMODB", proxy.url())]).await;
        Self { app, proxy, _engine: engine }
    }
}

#[track_caller]
fn assert_unavailable(answer: &Answer, detail: &str) {
    assert_eq!(answer.status, 503, "{} answered {}", answer.what, answer.text());
    assert_eq!(answer.json()["detail"], detail, "{}", answer.what);
    assert_eq!(answer.header("retry-after"), Some("1"));
}

async fn count(tenant: &Caller<'_>) -> Value {
    tenant.get(CREATE).await.expect(200)["totalCount"].clone()
}

fn jane() -> Value {
    json!({ "firstname": "Jane", "uids": [{ "uid": "jane@x.be" }] })
}

#[tokio::test]
async fn a_start_makes_one_call_and_goes_on_where_the_database_is_silent() {
    let app = App::start().await;
    let proxy = Proxy::start(app.system.engine_url(), 1).await.expect("a proxy");
    let store = Store::new(local::client(proxy.url()), app.system.table());
    store.connect().await;
    assert_eq!(proxy.injected().0, 1);
    proxy.inject(Plan::always(Fault::SilentBefore));
    // Lambda gives a start ten seconds.
    tokio::time::timeout(Duration::from_secs(10), store.connect()).await.expect("a start that goes on");
    assert_eq!(proxy.injected().0, 2);
}

/// All that may pass, and costs no time-out.
fn passing() -> Vec<Fault> {
    Fault::ALL.into_iter().filter(|fault| !fault.is_silent()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_passes_in_time_is_not_noticed() {
    join_all(passing().into_iter().map(passes_unnoticed)).await;
}

async fn passes_unnoticed(fault: Fault) {
    let troubled = Troubled::start(1).await;
    let tenant = troubled.app.tenant(7);
    let meet = |operations: &[&'static str]| {
        operations.iter().for_each(|operation| troubled.proxy.script(operation, &[fault; 3]));
    };
    meet(&["UpdateItem", "TransactWriteItems"]);
    let created = tenant.create(jane()).await;
    let id = &created["endUserID"];
    assert_eq!(count(&tenant).await, 1, "{fault}: created once");
    assert_eq!(tenant.read(id).await, created, "{fault}");

    // 201, not 200: that the UID is linked already is our own doing.
    meet(&["TransactWriteItems"]);
    tenant.post(ASSIGN, json!({ "endUserID": id, "uid": "j@x.be" })).await.expect(201);
    let path = format!("{CREATE}/{id}");
    let etag = tenant.get(&path).await.header("etag").expect("an ETag").to_owned();

    // And that the revision is another is, too.
    meet(&["TransactWriteItems"]);
    let change = TestRequest::new("PUT", &path).header("if-match", &etag).json(&json!({ "city": "Gent" }));
    tenant.send(change).await.expect(204);

    meet(&["GetItem", "Query", "BatchGetItem"]);
    assert_eq!(tenant.read(id).await["city"], "Gent");
    assert_eq!(tenant.by_uid("j@x.be").await, [id.as_u64().unwrap()], "{fault}");

    meet(&["PutItem", "BatchWriteItem", "GetRecords"]);
    troubled.app.settle().await;
    assert_eq!(tenant.list("search=gent").await, [id.as_u64().unwrap()], "{fault}");
    meet(&["TransactWriteItems"]);
    tenant.delete(&path).await.expect(204);
    meet(&["BatchWriteItem"]);
    troubled.app.settle().await;
    assert_eq!(tenant.get("/api/EndUsers?search=gent").await.expect(200)["totalCount"], 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_turned_away_to_the_end_was_not_written() {
    let troubled = Troubled::start(2).await;
    let tenant = troubled.app.tenant(7);
    let id = tenant.create(jane()).await["endUserID"].clone();
    let path = format!("{CREATE}/{id}");
    for fault in [Fault::Throttled, Fault::TooMany] {
        troubled.proxy.inject(Plan::always(fault));
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
        for answer in join_all(requests.map(|request| tenant.send(request))).await {
            assert_unavailable(&answer, NOTHING);
        }
        troubled.proxy.inject(Plan::default());
        assert_eq!((count(&tenant).await, tenant.read(&id).await["city"].clone()), (json!(1), Value::Null));
    }
    // A transaction that never gets the end user to itself.
    troubled.proxy.inject(Plan::always(Fault::Conflict));
    assert_unavailable(&tenant.post(CREATE, jane()).await, NOTHING);
    troubled.proxy.inject(Plan::default());
    assert_eq!(count(&tenant).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_write_that_nobody_answered_for_the_outcome_is_unknown() {
    let lost = [Fault::FailedAfter, Fault::HungUpAfter, Fault::CutOff, Fault::Garbled];
    // That it is turned away in the end says nothing of the first try.
    let then = [Fault::FailedAfter, Fault::TooMany];
    let cases = lost.into_iter().flat_map(|first| then.map(|rest| (first, rest)));
    join_all(cases.map(async |(first, rest)| {
        let troubled = Troubled::start(3).await;
        let tenant = troubled.app.tenant(7);
        let create = || TestRequest::new("POST", CREATE).header("idempotency-key", "k").json(&jane());
        troubled.proxy.script("TransactWriteItems", &[&[first], &[rest; 9][..]].concat());
        assert_unavailable(&tenant.send(create()).await, UNKNOWN);
        // Sent again with its key, it is done once.
        let again = tenant.send(create()).await;
        assert_eq!(again.header("idempotency-replayed"), Some("true"), "{first}, {rest}: {}", again.text());
        again.expect(201);
        assert_eq!(count(&tenant).await, 1, "{first}, {rest}");
    }))
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeat_that_is_cancelled_says_nothing_of_the_try_that_went_unanswered() {
    let troubled = Troubled::start(6).await;
    let tenant = troubled.app.tenant(7);
    let id = tenant.create(jane()).await["endUserID"].clone();
    troubled.proxy.script("TransactWriteItems", &[Fault::HungUpAfter, Fault::Conflict]);
    let link = json!({ "endUserID": id, "uid": "j@x.be" });
    // Not 200: it was linked by this very request.
    assert_unavailable(&tenant.post(ASSIGN, link).await, UNKNOWN);
    assert_eq!(tenant.by_uid("j@x.be").await, [id.as_u64().unwrap()]);
    // Turned away first, it is simply done.
    troubled.proxy.script("TransactWriteItems", &[Fault::Conflict, Fault::HungUpAfter]);
    tenant.post(ASSIGN, json!({ "endUserID": id, "uid": "k@x.be" })).await.expect(201);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_try_goes_beyond_the_time_of_the_function() {
    let troubled = Troubled::start(7).await;
    let functions = unwatched(&troubled.app).await;
    let (tenant, meter) = (Tenant::parse("7").unwrap(), Meter::default());
    for fault in [Fault::Throttled, Fault::SilentBefore] {
        troubled.proxy.inject(Plan::always(fault));
        let began = Instant::now();
        let scope = functions.scope(&tenant, &meter, began + Duration::from_millis(400));
        scope.end_user(EndUserId::MAX).await.unwrap_err();
        // A silent try would have had three seconds.
        assert!(began.elapsed() < Duration::from_secs(3), "{fault}: {:?}", began.elapsed());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_database_is_a_503_within_the_time_of_the_request() {
    let troubled = Troubled::start(4).await;
    let tenant = troubled.app.tenant(7);
    troubled.proxy.inject(Plan::always(Fault::SilentBefore));
    // The function's own answer: it came before its time was up.
    assert_unavailable(&tenant.get(&format!("{CREATE}/1")).await, NOTHING);
    // One silence of three seconds is waited out.
    troubled.proxy.inject(Plan::default());
    for fault in [Fault::SilentBefore, Fault::SilentAfter] {
        troubled.proxy.script("TransactWriteItems", &[fault]);
        tenant.create(jane()).await;
    }
    assert_eq!(count(&tenant).await, 2);
}
