//! `UID_POLICY=Exclusive`: no two end users of a tenant hold the same identifier (docs/api.md, Exclusive identifiers).

use std::sync::Mutex;
use std::time::{Duration, Instant};

use aws_sdk_dynamodb::types::AttributeValue;
use serde_json::{Value, json};
use shared::domain::ids::Tenant;
use shared::store::{ClaimsBuild, Meter};

use crate::support::app::{App, Caller, Response, TestRequest};

const EXCLUSIVE: (&str, &str) = ("UID_POLICY", "Exclusive");

async fn exclusive() -> App {
    App::with(&[EXCLUSIVE]).await
}

fn path(id: &Value, rest: &str) -> String {
    format!("/api/EndUsers/{id}{rest}")
}

fn email(uid: &str) -> Value {
    json!({ "uids": [{ "uid": uid }] })
}

async fn create(tenant: &Caller<'_>, body: Value) -> Value {
    tenant.create(body).await["endUserID"].clone()
}

/// Asserts a 409 and returns its end users with the paths of the request.
#[track_caller]
fn taken(response: Response) -> Value {
    let problem = response.expect(409);
    assert_eq!(problem["code"], "identifier_taken");
    assert_eq!(problem["detail"], "other end users hold these identifiers, see `conflicts`; nothing was written");
    problem["conflicts"].clone()
}

#[tokio::test]
async fn every_write_names_the_owners_of_taken_identifiers() {
    let app = exclusive().await;
    let tenant = app.tenant(7);
    let jane = create(&tenant, json!({ "customerRef": "ERP-1", "uids": [{ "uid": "jane@x.be" }] })).await;
    let john = create(&tenant, json!({ "uids": [{ "uidType": "Phone", "uid": "+32470000000" }] })).await;
    let own = create(&tenant, json!({ "uids": [{ "uid": "own@x.be" }] })).await;
    let before = tenant.read(&own).await;
    let body = json!({ "firstname": "New", "customerRef": "erp-1", "uids": [{ "uid": "new@x.be" },
        { "uidType": "WhatsApp", "uid": "0032470000000" }, { "uid": "JANE@x.be" }, { "uidType": "Crm", "uid": "jane@x.be" }] });
    let conflicts = json!([
        { "endUserID": jane, "fields": ["uids[2].uid", "uids[3].uid", "customerRef"] },
        { "endUserID": john, "fields": ["uids[1].uid"] },
    ]);
    assert_eq!(taken(tenant.post("/api/EndUsers", body.clone()).await), conflicts);
    assert_eq!(taken(tenant.put(&path(&own, ""), body.clone()).await), conflicts);
    let mut upsert = body.clone();
    upsert["matchBy"] = json!("uids");
    upsert["uids"] = json!([{ "uid": "own@x.be" }]);
    assert_eq!(
        taken(tenant.post("/api/EndUsers/upsert", upsert).await),
        json!([{ "endUserID": jane, "fields": ["customerRef"] }])
    );
    let assign = json!({ "endUserID": own, "uidType": "Phone", "uid": "0032 470 00 00 00" });
    assert_eq!(
        taken(tenant.post("/api/EndUserUIDs/assign", assign).await),
        json!([{ "endUserID": john, "fields": ["uid"] }])
    );
    let uid = before["uids"][0]["endUserUIDID"].clone();
    let change = json!({ "uids": [{ "endUserUIDID": uid, "uid": "jane@x.be" }] });
    assert_eq!(
        taken(tenant.put(&path(&own, ""), change).await),
        json!([{ "endUserID": jane, "fields": ["uids[0].uid"] }])
    );
    assert_eq!(tenant.read(&own).await, before, "nothing was written");
    assert_eq!(tenant.get("/api/EndUsers").await.expect(200)["totalCount"], 3);
    // Another tenant has identifiers of its own, and one end user can hold one twice.
    app.tenant(8).create(body).await;
    create(
        &tenant,
        json!({ "customerRef": "x", "uids": [{ "uidType": "A", "uid": "x" }, { "uidType": "B", "uid": "X" }] }),
    )
    .await;
}

#[tokio::test]
async fn released_identifier_can_be_taken() {
    let app = exclusive().await;
    let tenant = app.tenant(7);
    let take = async |uid: &str| create(&tenant, email(uid)).await;
    let first = create(&tenant, json!({ "customerRef": "ERP-1", "uids": [
        { "uid": "removed@x.be" }, { "uid": "changed@x.be" }, { "uidType": "Crm", "uid": "twice" }, { "uidType": "Erp", "uid": "TWICE" }] })).await;
    let uids = tenant.read(&first).await["uids"].clone();
    let id = |n: usize| uids[n]["endUserUIDID"].clone();
    let change = json!({ "customerRef": "", "uids": [
        { "endUserUIDID": id(0), "markAsDeleted": true }, { "endUserUIDID": id(1), "uid": "other@x.be" },
        { "endUserUIDID": id(2), "markAsDeleted": true }] });
    tenant.update(&first, change).await;
    for uid in ["removed@x.be", "changed@x.be"] {
        take(uid).await;
    }
    create(&tenant, json!({ "customerRef": "ERP-1" })).await;
    // The second UID with the same key still holds it.
    taken(tenant.post("/api/EndUsers", json!({ "uids": [{ "uidType": "Any", "uid": "twice" }] })).await);
    tenant.delete(&path(&first, "")).await.expect(204);
    create(&tenant, json!({ "uids": [{ "uidType": "Any", "uid": "twice" }, { "uid": "other@x.be" }] })).await;
    // An upsert that clears a customerRef releases it.
    let upsert =
        |reference: Value| json!({ "customerRef": reference, "matchBy": "uids", "uids": [{ "uid": "u@x.be" }] });
    tenant.post("/api/EndUsers/upsert", upsert(json!("ERP-9"))).await.expect(201);
    tenant.post("/api/EndUsers/upsert", upsert(Value::Null)).await.expect(200);
    create(&tenant, json!({ "customerRef": "ERP-9" })).await;
    // Two records can swap their values in one update.
    let pair = tenant.create(json!({ "uids": [{ "uid": "one@x.be" }, { "uid": "two@x.be" }] })).await;
    let swap = json!({ "uids": [{ "endUserUIDID": pair["uids"][0]["endUserUIDID"], "uid": "two@x.be" },
        { "endUserUIDID": pair["uids"][1]["endUserUIDID"], "uid": "one@x.be" }] });
    tenant.update(&pair["endUserID"], swap).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn race_of_16_writers_for_one_key_leaves_one_holder() {
    let app = exclusive().await;
    let tenant = app.tenant(7);
    let own: Vec<Value> =
        futures::future::join_all((0..8).map(|n| create(&tenant, email(&format!("own{n}@x.be"))))).await;
    for round in 0..6 {
        let uid = format!("race{round}@x.be");
        let responses = futures::future::join_all((0..16).map(|n| {
            let own = &own[n / 2];
            match n % 4 {
                0 => tenant.send(TestRequest::new("POST", "/api/EndUsers").json(&email(&uid))),
                1 => tenant.send(
                    TestRequest::new("POST", "/api/EndUserUIDs/assign").json(&json!({ "endUserID": own, "uid": uid })),
                ),
                2 => tenant.send(TestRequest::new("PUT", &path(own, "")).json(&email(&uid))),
                _ => tenant.send(TestRequest::new("POST", "/api/EndUsers/upsert").json(&email(&uid))),
            }
        }))
        .await;
        let created = responses.iter().filter(|response| [201, 204].contains(&response.status)).count();
        assert!(created >= 1, "{responses:?}");
        assert!(responses.iter().all(|response| [200, 201, 204, 409].contains(&response.status)), "{responses:?}");
        let holders = tenant.by_uid(&uid).await;
        assert_eq!(holders.len(), 1, "{holders:?}");
    }
}

#[tokio::test]
async fn request_changes_at_most_97_records_and_keys() {
    let app = exclusive().await;
    let tenant = app.tenant(7);
    let uids =
        |prefix: &str, n: usize| (0..n).map(|i| json!({ "uid": format!("{prefix}{i}@x.be") })).collect::<Vec<_>>();
    // 40 UIDs and a customerRef are 81.
    let key = "largest".repeat(10);
    let request = TestRequest::new("POST", "/api/EndUsers").header("idempotency-key", &key);
    let largest =
        tenant.send(request.json(&json!({ "customerRef": "ERP-1", "uids": uids("a", 40) }))).await.expect(201);
    let id = &largest["endUserID"];
    let changes = |n: usize| {
        let records = largest["uids"].as_array().unwrap().iter().take(n);
        records.map(|uid| json!({ "endUserUIDID": uid["endUserUIDID"], "uid": format!("b{}", uid["uid"].as_str().unwrap()) })).collect::<Vec<_>>()
    };
    // 32 changes are 96.
    assert_eq!(tenant.put(&path(id, ""), json!({ "uids": changes(33) })).await.errors(), ["uids"]);
    assert_eq!(tenant.read(id).await, largest);
    tenant.update(id, json!({ "uids": changes(32) })).await;
    tenant.delete(&path(id, "")).await.expect(204);
    create(&tenant, json!({ "customerRef": "ERP-1", "uids": uids("a", 40) })).await;
}

#[tokio::test]
async fn merged_end_user_holds_its_identifiers_in_the_survivor() {
    let app = exclusive().await;
    let tenant = app.tenant(7);
    let (ours, other) = (
        create(&tenant, email("jane@x.be")).await,
        create(&tenant, json!({ "customerRef": "ERP-2", "uids": [{ "uid": "j@x.be" }, { "uid": "k@x.be" }] })).await,
    );
    let merge = async || tenant.post(&path(&ours, "/merge"), json!({ "endUserID": other })).await.expect(200);
    let unmerge = async || tenant.send(TestRequest::new("POST", &path(&other, "/unmerge"))).await;
    merge().await;
    for uid in ["j@x.be", "jane@x.be", "ERP-2"] {
        let body = json!({ "uids": [{ "uidType": "Any", "uid": uid }] });
        let holder = json!([{ "endUserID": ours, "fields": ["uids[0].uid"] }]);
        assert_eq!(taken(tenant.post("/api/EndUsers", body).await), holder, "{uid}");
    }
    unmerge().await.expect(200);
    let holder = json!([{ "endUserID": other, "fields": ["uids[0].uid"] }]);
    assert_eq!(taken(tenant.post("/api/EndUsers", email("j@x.be")).await), holder);

    // The survivor removes an identifier: it is free, and nobody holds it when the merge is undone.
    merge().await;
    tenant.update(&ours, json!({ "uids": [{ "uid": "j@x.be", "markAsDeleted": true }] })).await;
    unmerge().await.expect(200);
    assert_eq!(taken(tenant.post("/api/EndUsers", email("j@x.be")).await), holder);

    // Somebody else takes it.
    merge().await;
    tenant.update(&ours, json!({ "uids": [{ "uid": "j@x.be", "markAsDeleted": true }] })).await;
    let thief = create(&tenant, email("j@x.be")).await;
    assert_eq!(taken(unmerge().await), json!([{ "endUserID": thief, "fields": [] }]));
    tenant.get(&path(&other, "")).await.expect(308);
    tenant.delete(&path(&thief, "")).await.expect(204);
    unmerge().await.expect(200);

    // The survivor holds it in another record.
    merge().await;
    let moved =
        tenant.read(&ours).await["uids"].as_array().unwrap().iter().find(|uid| uid["uid"] == "j@x.be").unwrap().clone();
    tenant.update(&ours, json!({ "uids": [{ "endUserUIDID": moved["endUserUIDID"], "markAsDeleted": true }] })).await;
    tenant.update(&ours, email("j@x.be")).await;
    assert_eq!(taken(unmerge().await), json!([{ "endUserID": ours, "fields": [] }]));
    tenant.update(&ours, json!({ "uids": [{ "uid": "j@x.be", "markAsDeleted": true }] })).await;
    unmerge().await.expect(200);

    // A value that was changed and changed back is claimed by the survivor, and moves back.
    merge().await;
    let change = |uid: &str| json!({ "uids": [{ "endUserUIDID": moved["endUserUIDID"], "uid": uid }] });
    tenant.update(&ours, change("l@x.be")).await;
    tenant.update(&ours, change("j@x.be")).await;
    unmerge().await.expect(200);
    assert_eq!(taken(tenant.post("/api/EndUsers", email("j@x.be")).await), holder);
    tenant.delete(&path(&other, "")).await.expect(204);
    create(&tenant, email("j@x.be")).await;
}

#[tokio::test]
async fn deleted_survivor_frees_all_identifiers() {
    let app = exclusive().await;
    let tenant = app.tenant(7);
    let (ours, other) = (create(&tenant, email("jane@x.be")).await, create(&tenant, email("j@x.be")).await);
    tenant.post(&path(&ours, "/merge"), json!({ "endUserID": other })).await.expect(200);
    tenant.delete(&path(&ours, "")).await.expect(204);
    create(&tenant, json!({ "uids": [{ "uid": "j@x.be" }, { "uid": "jane@x.be" }] })).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn upsert_of_one_key_is_never_ambiguous() {
    let app = exclusive().await;
    let tenant = app.tenant(7);
    for round in 0..8 {
        let uid = format!("moved{round}@x.be");
        let (ours, other) = (create(&tenant, json!({})).await, create(&tenant, email(&uid)).await);
        let upsert = || tenant.post("/api/EndUsers/upsert", json!({ "uids": [{ "uid": uid }] }));
        let upserts = async { futures::future::join_all((0..14).map(|_| upsert())).await };
        let moves = async {
            tenant.post(&path(&ours, "/merge"), json!({ "endUserID": other })).await.expect(200);
            tenant.send(TestRequest::new("POST", &path(&other, "/unmerge"))).await.expect(200);
        };
        let (responses, ()) = futures::join!(upserts, moves);
        assert!(responses.iter().all(|response| response.status == 200), "{responses:?}");
    }
}

#[tokio::test]
async fn unmerge_names_every_collision() {
    let app = exclusive().await;
    let tenant = app.tenant(7);
    let ours = create(&tenant, email("jane@x.be")).await;
    let other =
        create(&tenant, json!({ "customerRef": "ERP-2", "uids": [{ "uid": "a@x.be" }, { "uid": "b@x.be" }] })).await;
    tenant.post(&path(&ours, "/merge"), json!({ "endUserID": other })).await.expect(200);
    let removal = json!({ "customerRef": null, "uids": [{ "uid": "a@x.be", "markAsDeleted": true }, { "uid": "b@x.be", "markAsDeleted": true }] });
    tenant.update(&ours, removal).await;
    tenant.update(&ours, email("b@x.be")).await;
    let (third, fourth) =
        (create(&tenant, email("a@x.be")).await, create(&tenant, json!({ "customerRef": "erp-2" })).await);
    let holders = [&ours, &third, &fourth].map(|id| json!({ "endUserID": id, "fields": [] }));
    assert_eq!(taken(tenant.send(TestRequest::new("POST", &path(&other, "/unmerge"))).await), json!(holders));
}

/// Builds the claims of tenant 7 as `claims build` does. Returns the result and the shared identifiers.
async fn build_claims(app: &App) -> (ClaimsBuild, Vec<(String, Vec<u32>)>) {
    let lookup = |name: &str| match name {
        "TABLE_NAME" => Some(app.system.table().to_owned()),
        "UID_POLICY" => Some("Exclusive".to_owned()),
        _ => None,
    };
    let functions =
        shared::app::App::new(shared::app::Config::from_lookup(&lookup).unwrap(), app.system.client().clone());
    let (meter, shared) = (Meter::default(), Mutex::new(Vec::new()));
    let scope = functions.scope(&Tenant::parse("7").unwrap(), &meter, Instant::now() + Duration::from_secs(60));
    let report = |found: &shared::store::SharedIdentifier| {
        let ids = found.end_users.iter().map(|id| id.get()).collect();
        shared.lock().unwrap().push((found.value.clone(), ids));
    };
    let build = scope.build_claims(&report, &|_| {}).await.unwrap();
    (build, shared.into_inner().unwrap())
}

/// The switch of a table with data, as docs/operations.md describes it.
#[tokio::test]
async fn table_with_data_is_switched_step_by_step() {
    let shared = App::start().await;
    let before = shared.tenant(7);
    let one = create(&before, json!({ "customerRef": "ERP-1", "uids": [{ "uid": "jane@x.be" }] })).await;
    let two = create(&before, json!({ "uids": [{ "uid": "Jane@x.be" }, { "uid": "two@x.be" }] })).await;
    before.post("/api/EndUsers/upsert", email("upserted@x.be")).await.expect(201);
    let endpoint = ("AWS_ENDPOINT_URL_DYNAMODB", shared.system.engine_url());
    let app = App::with(&[EXCLUSIVE, endpoint, ("TABLE_NAME", shared.system.table())]).await;
    let tenant = app.tenant(7);
    // Until the claims are built, an older identifier is found but not guarded.
    let three = create(&tenant, email("two@x.be")).await;
    let (build, found) = build_claims(&app).await;
    assert_eq!(build, ClaimsBuild { end_users: 4, claimed: 3, shared: 2 });
    let id = |id: &Value| id.as_u64().unwrap() as u32;
    assert_eq!(
        found,
        [("Jane@x.be".to_owned(), vec![id(&one), id(&two)]), ("two@x.be".to_owned(), vec![id(&two), id(&three)])]
    );
    // A merge and an update end the sharing, and the build is repeated.
    tenant.post(&path(&one, "/merge"), json!({ "endUserID": two })).await.expect(200);
    tenant.update(&three, json!({ "uids": [{ "uid": "two@x.be", "markAsDeleted": true }] })).await;
    let (build, found) = build_claims(&app).await;
    assert_eq!((build.end_users, build.shared, found), (3, 0, vec![]));
    assert_eq!(build_claims(&app).await.0, ClaimsBuild { end_users: 3, claimed: 0, shared: 0 });
    for uid in ["jane@x.be", "two@x.be", "ERP-1", "upserted@x.be"] {
        taken(tenant.post("/api/EndUsers", json!({ "uids": [{ "uidType": "Any", "uid": uid }] })).await);
    }
    // No claim expires.
    let claims = app.system.client().scan().table_name(app.system.table()).filter_expression("kind = :kind");
    let claims =
        claims.expression_attribute_values(":kind", AttributeValue::S("Claim".to_owned())).send().await.unwrap();
    assert!(
        claims.items().len() == 4 && claims.items().iter().all(|claim| !claim.contains_key("expiresAt")),
        "{claims:?}"
    );
}

#[tokio::test]
async fn unknown_policy_prevents_the_start() {
    let lookup = |name: &str| Some(if name == "UID_POLICY" { "exclusive" } else { "table" }.to_owned());
    let error =
        shared::app::Config::from_lookup(&|name| (name != "DEFAULT_PHONE_REGION").then(|| lookup(name)).flatten());
    assert_eq!(error.err().unwrap().to_string(), "UID_POLICY must be Shared or Exclusive, but is exclusive");
}
