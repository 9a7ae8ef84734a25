//! Upserts, merges and their undo that interleave at chosen calls of the database, with stale indexes; and their largest
//! transactions. The interleavings use function state without pollers, so that no other call is in between.

use std::time::{Duration, Instant};

use futures::future::join;
use serde_json::{Value, json};
use shared::app::App as Functions;
use shared::domain::end_user::{
    ConflictKind, EndUser, EndUserMerge, EndUserUpdate, EndUserUpsert, PendingEndUser, Precondition, UpsertOutcome,
    Upserted,
};
use shared::domain::ids::{EndUserId, Tenant};
use shared::store::{ChangeError, Meter};
use tests::proxy::Hold;

use crate::support::app::TestRequest;
use crate::support::functions::{json_of, over_unwatched_with, unwatched};
use crate::support::proxied::FaultyApp;

/// The call of an upsert between its reads and its transaction: it takes ids for what is new.
const TAKE_IDS: &str = "UpdateItem";
/// The calls with which an upsert reads claims, documents and redirects.
const READ: &str = "BatchGetItem";

/// Two function instances over one table.
struct Instances {
    faulty: FaultyApp,
    /// The calls of this instance go through the proxy.
    proxied: Functions,
    direct: Functions,
    tenant: Tenant,
}

impl Instances {
    async fn start() -> Self {
        let faulty = FaultyApp::start(1).await;
        let proxied = unwatched(&faulty.app).await;
        let direct = over_unwatched_with(&faulty.app, faulty.direct_client().clone());
        Self { faulty, proxied, direct, tenant: Tenant::parse("7").unwrap() }
    }

    /// Runs a request of the proxied instance, and `other` once the database has answered the last of `calls`. The
    /// request goes on after `other` ended.
    async fn interleave<T>(&self, calls: &[&'static str], request: impl Future<Output = T>, other: impl Future) -> T {
        let mut holds: Vec<Hold> = calls.iter().map(|call| self.faulty.proxy.hold(call)).collect();
        let last = holds.pop().unwrap();
        let interrupt = async {
            for hold in holds {
                hold.reached().await;
            }
            last.reached().await;
            other.await;
            drop(last);
        };
        let both = join(request, interrupt);
        tokio::time::timeout(Duration::from_secs(10), both).await.expect("the request makes these calls").0
    }

    async fn upsert(&self, functions: &Functions, body: Value) -> Result<Upserted, ChangeError> {
        let meter = Meter::default();
        let scope = functions.scope(&self.tenant, &meter, deadline());
        let upsert = EndUserUpsert::read(&json_of(body), None).unwrap();
        scope.upsert_end_user(&upsert, None, |upserted| upserted).await.map(|result| result.value)
    }

    /// The outcome of an upsert by the proxied instance, and the id.
    async fn upserted(&self, body: Value) -> (UpsertOutcome, EndUserId) {
        let Upserted { outcome, end_user } = self.upsert(&self.proxied, body).await.unwrap();
        (outcome, end_user.id)
    }

    /// The end users of the conflict in which an upsert by the proxied instance ends.
    async fn ambiguous(&self, body: Value) -> Vec<EndUserId> {
        let result = self.upsert(&self.proxied, body).await;
        let Err(ChangeError::Conflict(conflict)) = result else { panic!("{result:?}") };
        assert_eq!(conflict.kind, ConflictKind::AmbiguousMatch);
        conflict.end_users.into_iter().map(|end_user| end_user.id).collect()
    }

    /// Creates an end user with an upsert by the direct instance.
    async fn create(&self, body: Value) -> EndUserId {
        let Upserted { outcome, end_user } = self.upsert(&self.direct, body).await.unwrap();
        assert_eq!(outcome, UpsertOutcome::Created);
        end_user.id
    }

    async fn merge(&self, functions: &Functions, survivor: EndUserId, other: EndUserId) -> EndUser {
        let meter = Meter::default();
        let merge = EndUserMerge { survivor, other, dry_run: false };
        let scope = functions.scope(&self.tenant, &meter, deadline());
        scope.merge_end_users(merge, &Precondition::default(), None).await.unwrap().value.end_user
    }

    async fn unmerge(&self, id: EndUserId) {
        let meter = Meter::default();
        self.direct.scope(&self.tenant, &meter, deadline()).unmerge_end_user(id, None).await.unwrap();
    }

    async fn update(&self, id: EndUserId, body: Value) {
        let meter = Meter::default();
        let scope = self.direct.scope(&self.tenant, &meter, deadline());
        let update = EndUserUpdate::read(&json_of(body), None).unwrap();
        scope.update_end_user(id, &update, &Precondition::default()).await.unwrap();
    }

    async fn read(&self, id: EndUserId) -> Result<EndUser, ChangeError> {
        let meter = Meter::default();
        self.direct.scope(&self.tenant, &meter, deadline()).end_user(id).await
    }

    async fn values(&self, id: EndUserId) -> Vec<String> {
        self.read(id).await.unwrap().uids.into_iter().map(|uid| uid.value).collect()
    }
}

fn deadline() -> Instant {
    Instant::now() + Duration::from_secs(10)
}

fn email(uid: &str) -> Value {
    json!({ "uids": [{ "uid": uid }] })
}

fn by_reference(reference: &str, uid: &str) -> Value {
    json!({ "customerRef": reference, "uids": [{ "uid": uid }], "matchBy": "customerRef" })
}

#[tokio::test(flavor = "multi_thread")]
async fn upserts_of_two_modes_see_each_others_links() {
    let instances = Instances::start().await;
    // Only the claims know who holds a key.
    instances.faulty.proxy.make_indexes_stale(1.0);
    let linked = async { assert_eq!(instances.create(by_reference("1", "a@x.be")).await.get(), 2) };
    let found = instances.interleave(&[TAKE_IDS], instances.upserted(email("a@x.be")), linked).await;
    assert_eq!((found.0, found.1.get()), (UpsertOutcome::Unchanged, 2));

    // By customerRef, a UID is linked without deciding: two end users hold it then, and each upsert sees both.
    let linked = async { assert_eq!(instances.create(email("b@x.be")).await.get(), 4) };
    let found = instances.interleave(&[TAKE_IDS], instances.upserted(by_reference("2", "b@x.be")), linked).await;
    assert_eq!((found.0, found.1.get()), (UpsertOutcome::Created, 3));
    assert_eq!(instances.ambiguous(email("b@x.be")).await.iter().map(|id| id.get()).collect::<Vec<_>>(), [3, 4]);
}

#[tokio::test(flavor = "multi_thread")]
async fn claim_of_a_linked_key_keeps_its_owners() {
    let instances = Instances::start().await;
    instances.faulty.proxy.make_indexes_stale(1.0);
    let first = instances.create(by_reference("1", "a@x.be")).await;
    instances.update(first, json!({ "customerRef": null })).await;
    // The claim of the customerRef is void, that of the UID is not.
    let (outcome, second) = instances.upserted(by_reference("1", "a@x.be")).await;
    assert_eq!(outcome, UpsertOutcome::Created);
    assert_eq!(instances.ambiguous(email("a@x.be")).await, [first, second]);
}

#[tokio::test(flavor = "multi_thread")]
async fn unmerge_during_an_upsert_leaves_one_holder() {
    let instances = Instances::start().await;
    instances.faulty.proxy.make_indexes_stale(1.0);
    // Claims; documents, the redirect, the survivor's document; the ids.
    let points: [&[&'static str]; 5] =
        [&[READ], &[READ, READ], &[READ, READ, READ], &[READ, READ, READ, READ], &[TAKE_IDS]];
    for (n, calls) in points.into_iter().enumerate() {
        let uid = format!("{n}@x.be");
        let other = instances.create(email(&uid)).await;
        let survivor = instances.create(email(&format!("survivor{n}@x.be"))).await;
        instances.merge(&instances.direct, survivor, other).await;
        // The survivor loses the UID, so that the claim of the UID is void.
        instances.update(survivor, json!({ "uids": [{ "uid": uid, "markAsDeleted": true }] })).await;
        let upsert = instances.upserted(json!({ "uids": [{ "uid": uid }, { "uid": format!("new{n}@x.be") }] }));
        let found = instances.interleave(calls, upsert, instances.unmerge(other)).await;
        assert_eq!(found, (UpsertOutcome::Updated, other), "after {calls:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn unmerges_of_a_chain_during_an_upsert_leave_one_holder() {
    let instances = Instances::start().await;
    instances.faulty.proxy.make_indexes_stale(1.0);
    for reads in 2..=6 {
        let uid = format!("{reads}@x.be");
        let other = instances.create(email(&uid)).await;
        let middle = instances.create(email(&format!("middle{reads}@x.be"))).await;
        let survivor = instances.create(email(&format!("survivor{reads}@x.be"))).await;
        instances.merge(&instances.direct, middle, other).await;
        instances.merge(&instances.direct, survivor, middle).await;
        instances.update(survivor, json!({ "uids": [{ "uid": uid, "markAsDeleted": true }] })).await;
        let upsert = instances.upserted(json!({ "uids": [{ "uid": uid }, { "uid": format!("new{reads}@x.be") }] }));
        // The middle one has the UID again.
        let found = instances.interleave(&vec![READ; reads], upsert, instances.unmerge(middle)).await;
        assert_eq!(found, (UpsertOutcome::Updated, middle), "after {reads} reads");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn void_claim_is_taken_over() {
    let instances = Instances::start().await;
    instances.faulty.proxy.make_indexes_stale(1.0);
    let other = instances.create(email("a@x.be")).await;
    let survivor = instances.create(email("b@x.be")).await;
    instances.merge(&instances.direct, survivor, other).await;
    instances.update(survivor, json!({ "uids": [{ "uid": "a@x.be", "markAsDeleted": true }] })).await;
    let (outcome, new) = instances.upserted(email("a@x.be")).await;
    assert_eq!(outcome, UpsertOutcome::Created);
    assert_eq!(instances.upserted(email("a@x.be")).await, (UpsertOutcome::Unchanged, new));
}

#[tokio::test(flavor = "multi_thread")]
async fn merge_during_an_upsert_moves_the_link() {
    let instances = Instances::start().await;
    instances.faulty.proxy.make_indexes_stale(1.0);
    for (n, call) in [READ, TAKE_IDS].into_iter().enumerate() {
        let [ours, theirs, new] = ["ours", "theirs", "new"].map(|name| format!("{name}{n}@x.be"));
        let survivor = instances.create(email(&ours)).await;
        let other = instances.create(email(&theirs)).await;
        let upsert = instances.upserted(json!({ "uids": [{ "uid": theirs }, { "uid": new }] }));
        let merge = instances.merge(&instances.direct, survivor, other);
        let found = instances.interleave(&[call], upsert, merge).await;
        assert_eq!(found, (UpsertOutcome::Updated, survivor), "after {call}");
        assert_eq!(instances.values(survivor).await, [ours, theirs, new]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn upsert_during_a_merge_is_merged_too() {
    let instances = Instances::start().await;
    let survivor = instances.create(email("ours@x.be")).await;
    let other = instances.create(email("theirs@x.be")).await;
    let upsert =
        instances.upsert(&instances.direct, json!({ "uids": [{ "uid": "theirs@x.be" }, { "uid": "new@x.be" }] }));
    instances.interleave(&[READ], instances.merge(&instances.proxied, survivor, other), upsert).await;
    assert_eq!(instances.values(survivor).await, ["ours@x.be", "theirs@x.be", "new@x.be"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn stale_index_of_a_merged_end_user_finds_the_survivor() {
    let instances = Instances::start().await;
    let create = async |uid: &str| {
        let meter = Meter::default();
        let scope = instances.direct.scope(&instances.tenant, &meter, deadline());
        let new = PendingEndUser::read(&json_of(email(uid)), None).unwrap();
        // A create writes no claim, so that only the index knows the holder.
        scope.create_end_user(&new, None).await.unwrap().value.id
    };
    let (survivor, other) = (create("ours@x.be").await, create("theirs@x.be").await);
    instances.faulty.proxy.make_indexes_stale(0.0);
    assert_eq!(instances.upserted(email("theirs@x.be")).await, (UpsertOutcome::Unchanged, other));
    instances.merge(&instances.direct, survivor, other).await;
    instances.faulty.proxy.make_indexes_stale(1.0);
    assert_eq!(instances.upserted(email("theirs@x.be")).await, (UpsertOutcome::Unchanged, survivor));
    // The survivor decides: without the UID it is no match.
    instances.update(survivor, json!({ "uids": [{ "uid": "theirs@x.be", "markAsDeleted": true }] })).await;
    let (outcome, new) = instances.upserted(email("theirs@x.be")).await;
    assert_eq!(outcome, UpsertOutcome::Created);
    assert_ne!(new, survivor);
}

#[tokio::test]
async fn largest_writes_are_one_transaction() {
    let faulty = FaultyApp::start(1).await;
    let tenant = faulty.app.tenant(7);
    // DynamoDB allows 100 actions.
    let send = async |path: &str, key: &str, body: Value, actions: usize| {
        faulty.proxy.take_most_actions();
        let request = TestRequest::new("POST", path).header("idempotency-key", key).json(&body);
        let response = tenant.send(request).await;
        assert!(response.status < 300, "{}", response.text());
        assert_eq!(faulty.proxy.take_most_actions(), actions, "{path}");
        response.json()
    };
    let uids: Vec<_> = (0..40).map(|n| json!({ "uid": format!("{n}@x.be") })).collect();
    // The document, 40 UIDs, 41 claims, the stored response and the count.
    let body = json!({ "customerRef": "ERP-1", "uids": uids });
    let other = send("/api/EndUsers/upsert", "a", body, 84).await["endUser"]["endUserID"].clone();
    let survivor = tenant.create(json!({ "firstname": "Jane" })).await["endUserID"].clone();
    // Two documents, 40 UIDs removed and added, the redirect, what an undo needs, the stored response and the count.
    let path = format!("/api/EndUsers/{survivor}/merge");
    let merged = send(&path, "b", json!({ "endUserID": other }), 86).await;
    assert_eq!(merged["movedUids"].as_array().unwrap().len(), 40);
    let restored = send(&format!("/api/EndUsers/{other}/unmerge"), "c", json!({}), 86).await;
    assert_eq!(restored["endUser"]["uids"].as_array().unwrap().len(), 40);
    assert_eq!(tenant.read(&survivor).await["uids"], json!([]));
}
