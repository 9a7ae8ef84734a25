//! `Idempotency-Key` on both POST endpoints (docs/api.md, Idempotency).

use std::collections::BTreeSet;

use aws_sdk_dynamodb::types::AttributeValue;
use serde_json::{Value, json};

use crate::support::app::{App, Caller, Response, TestRequest, now};

const CREATE: &str = "/api/EndUsers";
const ASSIGN: &str = "/api/EndUserUIDs/assign";

fn keyed(path: &str, key: &str, body: &Value) -> TestRequest {
    TestRequest::new("POST", path).header("idempotency-key", key).json(body)
}

fn replayed(response: &Response) -> bool {
    response.header("idempotency-replayed") == Some("true")
}

fn jane() -> Value {
    json!({ "firstname": "Jane", "uids": [{ "uid": "jane@x.be", "isPrimary": true }] })
}

async fn count(tenant: &Caller<'_>) -> Value {
    tenant.get(CREATE).await.expect(200)["totalCount"].clone()
}

#[tokio::test]
async fn create_is_idempotent_with_a_key() {
    let app = App::start().await;
    let tenant = app.tenant(7);
    let first = tenant.send(keyed(CREATE, "order-66", &jane())).await;
    assert_eq!((first.status, replayed(&first)), (201, false), "{}", first.text());
    // The replay is the first response, even if the end user has changed.
    let id = first.json()["endUserID"].clone();
    for change in ["none", "update"] {
        if change == "update" {
            tenant.update(&id, json!({ "firstname": "Janet" })).await;
        }
        let again = tenant.send(keyed(CREATE, "order-66", &jane())).await;
        assert_eq!((again.status, replayed(&again)), (201, true), "{change}: {}", again.text());
        assert_eq!(again.body, first.body, "{change}");
        for header in ["location", "etag", "content-type", "cache-control"] {
            assert_eq!(again.header(header), first.header(header), "{change}: {header}");
        }
        assert_ne!(again.header("x-request-id"), first.header("x-request-id"));
    }
    assert_eq!(count(&tenant).await, 1);
}

#[tokio::test]
async fn deletion_erases_stored_responses() {
    let app = App::start().await;
    let tenant = app.tenant(7);
    let first = tenant.send(keyed(CREATE, "k", &jane())).await.expect(201);
    let id = &first["endUserID"];
    let link = |uid: &str| json!({ "endUserID": id, "uid": uid });
    tenant.send(keyed(ASSIGN, "new", &link("jane2@x.be"))).await.expect(201);
    tenant.send(keyed(ASSIGN, "already linked", &link("jane2@x.be"))).await.expect(400);
    tenant.send(keyed(ASSIGN, "already-linked", &link("jane2@x.be"))).await.expect(200);
    let stored = app.kinds_with("jane").await;
    assert_eq!(stored.iter().filter(|kind| *kind == "Idempotency").count(), 3, "{stored:?}");

    tenant.delete(&format!("{CREATE}/{id}")).await.expect(204);
    // The stored response of a deleted end user is not replayed, even before the stream erases it.
    tenant.send(keyed(ASSIGN, "new", &link("jane2@x.be"))).await.expect(404);
    app.settle().await;
    assert_eq!(app.kinds_with("jane").await, [""; 0]);
    let again = tenant.send(keyed(CREATE, "k", &jane())).await;
    assert_eq!((again.status, replayed(&again)), (201, false), "{}", again.text());
    assert_ne!(again.json()["endUserID"], *id);
}

#[tokio::test]
async fn late_erasure_keeps_the_response_of_a_new_end_user() {
    let app = App::start().await;
    let tenant = app.tenant(7);
    let first = tenant.send(keyed(CREATE, "k", &jane())).await.expect(201);
    tenant.delete(&format!("{CREATE}/{}", first["endUserID"])).await.expect(204);
    let second = tenant.send(keyed(CREATE, "k", &jane())).await.expect(201);
    // The indexer erases the old response after the key is in use again.
    app.settle().await;
    let again = tenant.send(keyed(CREATE, "k", &jane())).await;
    assert_eq!((replayed(&again), again.json()), (true, second));
}

#[tokio::test]
async fn stream_erases_responses_after_an_interrupted_delete() {
    let app = App::start().await;
    let tenant = app.tenant(7);
    let id = tenant.send(keyed(CREATE, "k", &jane())).await.expect(201)["endUserID"].as_u64().unwrap();
    // The state of the table after a deletion that stopped after its transaction.
    let key = |text: String| AttributeValue::S(text);
    let delete = app.system.client().delete_item().table_name(app.system.table());
    delete.key("pk", key("C#7#EndUser".to_owned())).key("sk", key(format!("{id:010}"))).send().await.unwrap();
    app.settle().await;
    assert_eq!(app.kinds_with("jane").await, ["Uid"]);
}

#[tokio::test]
async fn document_lists_at_most_500_stored_responses() {
    let app = App::start().await;
    let tenant = app.tenant(7);
    let id = tenant.create(jane()).await["endUserID"].clone();
    let link = json!({ "endUserID": id, "uid": "jane@x.be" });
    let assign = async |key: &str| replayed(&tenant.send(keyed(ASSIGN, key, &link)).await);
    assert!(!assign("oldest").await && assign("oldest").await);
    let text = |text: &str| AttributeValue::S(text.to_owned());
    let until = AttributeValue::N((now() + 3_600).to_string());
    let reference =
        |n: String| AttributeValue::M([("digest".into(), text(&n)), ("until".into(), until.clone())].into());
    let update = app.system.client().update_item().table_name(app.system.table());
    let update = update.key("pk", text("C#7#EndUser")).key("sk", text("0000000001"));
    let update = update.update_expression("SET responses = list_append(responses, :more)");
    let more = (0..498).map(|n| reference(format!("{n:032}"))).collect();
    update.expression_attribute_values(":more", AttributeValue::L(more)).send().await.unwrap();

    assert!(!assign("500th").await && assign("oldest").await, "500 are stored");
    assert!(!assign("501st").await && !assign("oldest").await, "the oldest was replaced");
    assert!(assign("500th").await && assign("501st").await);
    tenant.delete(&format!("{CREATE}/{id}")).await.expect(204);
    app.settle().await;
    assert_eq!(app.kinds_with("jane").await, [""; 0]);
}

#[tokio::test]
async fn assign_is_idempotent_with_a_key() {
    let app = App::start().await;
    let tenant = app.tenant(7);
    let id = tenant.create(jane()).await["endUserID"].clone();
    let link = json!({ "endUserID": id, "uid": "j@x.be" });
    let first = tenant.send(keyed(ASSIGN, "k", &link)).await;
    assert_eq!((first.status, replayed(&first)), (201, false), "{}", first.text());
    let again = tenant.send(keyed(ASSIGN, "k", &link)).await;
    assert_eq!((again.status, replayed(&again), &again.body), (201, true, &first.body), "{}", again.text());

    // The response of an assign without a change is stored too.
    let already = tenant.send(keyed(ASSIGN, "l", &link)).await;
    assert_eq!((already.status, replayed(&already)), (200, false), "{}", already.text());
    let uid = first.json()["endUserUIDID"].clone();
    tenant.update(&id, json!({ "uids": [{ "endUserUIDID": uid, "markAsDeleted": true }] })).await;
    let again = tenant.send(keyed(ASSIGN, "l", &link)).await;
    assert_eq!((again.status, replayed(&again), &again.body), (200, true, &already.body), "{}", again.text());
    assert_eq!(tenant.read(&id).await["uids"].as_array().unwrap().len(), 1, "nothing was linked again");
}

#[tokio::test]
async fn response_without_a_change_keeps_the_revision() {
    let app = App::start().await;
    let tenant = app.tenant(7);
    let id = tenant.create(jane()).await["endUserID"].clone();
    let link = json!({ "endUserID": id, "uid": "JANE@x.be" });
    let path = format!("{CREATE}/{id}");
    let before = tenant.get(&path).await;
    tenant.send(keyed(ASSIGN, "k", &link)).await.expect(200);
    assert_eq!(tenant.get(&path).await.header("etag"), before.header("etag"));
}

#[tokio::test]
async fn key_reuse_by_another_request_is_422() {
    let app = App::start().await;
    let tenant = app.tenant(7);
    let created = tenant.send(keyed(CREATE, "k", &jane())).await.expect(201);
    let other = json!({ "firstname": "John" });
    let problem = tenant.send(keyed(CREATE, "k", &other)).await.expect(422);
    assert_eq!(problem["title"], "Unprocessable Entity");
    assert_eq!(problem["detail"], "this Idempotency-Key was already used with a different request");
    let link = json!({ "endUserID": created["endUserID"], "uid": "j@x.be" });
    tenant.send(keyed(ASSIGN, "k", &link)).await.expect(422);
    assert_eq!(count(&tenant).await, 1);
    assert_eq!(tenant.read(&created["endUserID"]).await, created);
    // An invalid request is 400 with any key.
    let errors = tenant.send(keyed(CREATE, "k", &json!({ "customerType": "Friend" }))).await.errors();
    assert_eq!(errors, ["customerType"]);
}

#[tokio::test]
async fn rejected_request_can_be_repeated_with_its_key() {
    let app = App::start().await;
    let tenant = app.tenant(7);
    let link = json!({ "endUserID": 1, "uid": "j@x.be" });
    tenant.send(keyed(ASSIGN, "k", &link)).await.expect(404);
    tenant.send(keyed(CREATE, "l", &json!({ "lang": "?" }))).await.expect(400);
    assert_eq!(tenant.send(keyed(CREATE, "l", &jane())).await.expect(201)["endUserID"], 1);
    tenant.send(keyed(ASSIGN, "k", &link)).await.expect(201);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_of_concurrent_requests_with_a_key_writes() {
    let app = App::start().await;
    let tenant = app.tenant(7);
    let creates = (0..20).map(|_| tenant.send(keyed(CREATE, "together", &jane())));
    let responses = futures::future::join_all(creates).await;
    assert_eq!(responses.iter().filter(|response| !replayed(response)).count(), 1);
    assert!(responses.iter().all(|response| response.status == 201), "{:?}", responses[0]);
    let bodies: BTreeSet<_> = responses.iter().map(|response| &response.body).collect();
    assert_eq!(bodies.len(), 1);
    assert_eq!(count(&tenant).await, 1);

    let link = json!({ "endUserID": responses[0].json()["endUserID"], "uid": "j@x.be" });
    let assigns = (0..20).map(|_| tenant.send(keyed(ASSIGN, "assign", &link)));
    let responses = futures::future::join_all(assigns).await;
    assert_eq!(responses.iter().filter(|response| !replayed(response)).count(), 1);
    assert!(responses.iter().all(|response| response.status == 201), "{:?}", responses[0]);
}

#[tokio::test]
async fn keys_are_scoped_to_a_tenant_and_case_sensitive() {
    let app = App::start().await;
    for tenant in [7, 8] {
        let tenant = app.tenant(tenant);
        for key in ["k", "K", "\"k\"", "k#1", "~!@#$%^&*()_+,;", &"k".repeat(255)] {
            let response = tenant.send(keyed(CREATE, key, &jane())).await;
            assert_eq!((response.status, replayed(&response)), (201, false), "{key}: {}", response.text());
            assert!(replayed(&tenant.send(keyed(CREATE, key, &jane())).await), "{key}");
        }
        assert_eq!(count(&tenant).await, 6);
    }
}

#[tokio::test]
async fn invalid_key_is_reported_with_the_errors_of_the_body() {
    let app = App::start().await;
    let tenant = app.tenant(7);
    for key in ["", "a b", "é", &"k".repeat(256)] {
        let errors = tenant.send(keyed(CREATE, key, &json!({ "lang": "?" }))).await.errors();
        assert_eq!(errors, ["Idempotency-Key", "lang"], "{key}");
        assert_eq!(tenant.send(keyed(ASSIGN, key, &json!({}))).await.errors()[0], "Idempotency-Key");
        for path in [CREATE, ASSIGN] {
            let broken = keyed(path, key, &json!({})).body("{");
            assert_eq!(tenant.send(broken).await.errors(), ["Idempotency-Key", "body"], "{path}, {key}");
        }
    }
    assert_eq!(count(&tenant).await, 0);
}

#[tokio::test]
async fn stored_response_expires_after_a_day() {
    let app = App::start().await;
    let tenant = app.tenant(7);
    tenant.send(keyed(CREATE, "k", &jane())).await.expect(201);
    let key = |name: &str| {
        (
            name.to_owned(),
            AttributeValue::S(
                if name == "pk" { "C#7#Idempotency#8254c329a92850f6d539dd376f4816ee" } else { "-" }.to_owned(),
            ),
        )
    };
    let item =
        || app.system.client().get_item().table_name(app.system.table()).set_key(Some([key("pk"), key("sk")].into()));
    let stored = item().send().await.unwrap().item.expect("the stored response");
    let expires: u64 = stored["expiresAt"].as_n().unwrap().parse().unwrap();
    let day = 24 * 60 * 60;
    assert!((day - 60..=day).contains(&(expires - now())), "{expires}");

    // DynamoDB's TTL deletes late. An expired response is not replayed meanwhile.
    let update =
        app.system.client().update_item().table_name(app.system.table()).set_key(Some([key("pk"), key("sk")].into()));
    let update = update.update_expression("SET expiresAt = :then");
    update.expression_attribute_values(":then", AttributeValue::N(now().to_string())).send().await.unwrap();
    let other = json!({ "firstname": "John" });
    let again = tenant.send(keyed(CREATE, "k", &other)).await;
    assert_eq!((again.status, replayed(&again)), (201, false), "{}", again.text());
    assert_eq!(count(&tenant).await, 2);
}
