//! `Idempotency-Key`: a POST that is sent again is not carried out again.

use std::collections::BTreeSet;

use aws_sdk_dynamodb::types::AttributeValue;
use serde_json::{Value, json};

use crate::app::{Answer, App, Caller, TestRequest};

const CREATE: &str = "/api/EndUsers";
const ASSIGN: &str = "/api/EndUserUIDs/assign";

fn keyed(path: &str, key: &str, body: &Value) -> TestRequest {
    TestRequest::new("POST", path).header("idempotency-key", key).json(body)
}

fn replayed(answer: &Answer) -> bool {
    answer.header("idempotency-replayed") == Some("true")
}

fn jane() -> Value {
    json!({ "firstname": "Jane", "uids": [{ "uid": "jane@x.be", "isPrimary": true }] })
}

async fn count(tenant: &Caller<'_>) -> Value {
    tenant.get(CREATE).await.expect(200)["totalCount"].clone()
}

#[tokio::test]
async fn a_create_that_is_sent_again_is_answered_again_and_not_carried_out_again() {
    let app = App::start().await;
    let tenant = app.tenant(7);
    let first = tenant.send(keyed(CREATE, "order-66", &jane())).await;
    assert_eq!((first.status, replayed(&first)), (201, false), "{}", first.text());
    // The answer is the first, whatever became of the end user.
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

/// All items of the table that hold `text` in whatever attribute, by kind.
async fn kinds_with(app: &App, text: &str) -> Vec<String> {
    let scan = app.system.client().scan().table_name(app.system.table()).into_paginator().items().send();
    let items = scan.collect::<Result<Vec<_>, _>>().await.unwrap();
    let holding = items.iter().filter(|item| format!("{item:?}").to_lowercase().contains(text));
    holding.map(|item| item["kind"].as_s().unwrap().clone()).collect()
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
    let stored = kinds_with(&app, "jane").await;
    assert_eq!(stored.iter().filter(|kind| *kind == "Idempotency").count(), 3, "{stored:?}");

    tenant.delete(&format!("{CREATE}/{id}")).await.expect(204);
    // At once: the response of a deleted end user is never sent again.
    tenant.send(keyed(ASSIGN, "new", &link("jane2@x.be"))).await.expect(404);
    app.settle().await;
    assert_eq!(kinds_with(&app, "jane").await, [""; 0]);
    let again = tenant.send(keyed(CREATE, "k", &jane())).await;
    assert_eq!((again.status, replayed(&again)), (201, false), "{}", again.text());
    assert_ne!(again.json()["endUserID"], *id);
}

#[tokio::test]
async fn a_late_erasure_spares_the_response_of_a_new_end_user() {
    let app = App::start().await;
    let tenant = app.tenant(7);
    let first = tenant.send(keyed(CREATE, "k", &jane())).await.expect(201);
    tenant.delete(&format!("{CREATE}/{}", first["endUserID"])).await.expect(204);
    let second = tenant.send(keyed(CREATE, "k", &jane())).await.expect(201);
    // The follower of the stream erases behind the deletion, after the key is in use again.
    app.settle().await;
    let again = tenant.send(keyed(CREATE, "k", &jane())).await;
    assert_eq!((replayed(&again), again.json()), (true, second));
}

#[tokio::test]
async fn the_stream_erases_responses_behind_a_deletion_cut_short() {
    let app = App::start().await;
    let tenant = app.tenant(7);
    let id = tenant.send(keyed(CREATE, "k", &jane())).await.expect(201)["endUserID"].as_u64().unwrap();
    // As a deletion that ends behind its transaction leaves the table.
    let key = |text: String| AttributeValue::S(text);
    let delete = app.system.client().delete_item().table_name(app.system.table());
    delete.key("pk", key("C#7#EndUser".to_owned())).key("sk", key(format!("{id:010}"))).send().await.unwrap();
    app.settle().await;
    assert_eq!(kinds_with(&app, "jane").await, ["Uid"]);
}

#[tokio::test]
async fn a_document_remembers_at_most_500_responses() {
    let app = App::start().await;
    let tenant = app.tenant(7);
    let id = tenant.create(jane()).await["endUserID"].clone();
    let link = json!({ "endUserID": id, "uid": "jane@x.be" });
    let assign = async |key: &str| replayed(&tenant.send(keyed(ASSIGN, key, &link)).await);
    assert!(!assign("oldest").await && assign("oldest").await);
    let text = |text: &str| AttributeValue::S(text.to_owned());
    let until = AttributeValue::N((crate::app::now() + 3_600).to_string());
    let response = |n: String| AttributeValue::M([("digest".into(), text(&n)), ("until".into(), until.clone())].into());
    let update = app.system.client().update_item().table_name(app.system.table());
    let update = update.key("pk", text("C#7#EndUser")).key("sk", text("0000000001"));
    let update = update.update_expression("SET responses = list_append(responses, :more)");
    let more = (0..498).map(|n| response(format!("{n:032}"))).collect();
    update.expression_attribute_values(":more", AttributeValue::L(more)).send().await.unwrap();

    assert!(!assign("500th").await && assign("oldest").await, "500 are remembered");
    assert!(!assign("501st").await && !assign("oldest").await, "the oldest gave way");
    assert!(assign("500th").await && assign("501st").await);
    tenant.delete(&format!("{CREATE}/{id}")).await.expect(204);
    app.settle().await;
    assert_eq!(kinds_with(&app, "jane").await, [""; 0]);
}

#[tokio::test]
async fn an_assign_that_is_sent_again_is_answered_again_and_not_carried_out_again() {
    let app = App::start().await;
    let tenant = app.tenant(7);
    let id = tenant.create(jane()).await["endUserID"].clone();
    let link = json!({ "endUserID": id, "uid": "j@x.be" });
    let first = tenant.send(keyed(ASSIGN, "k", &link)).await;
    assert_eq!((first.status, replayed(&first)), (201, false), "{}", first.text());
    let again = tenant.send(keyed(ASSIGN, "k", &link)).await;
    assert_eq!((again.status, replayed(&again), &again.body), (201, true, &first.body), "{}", again.text());

    // Also the answer of an assign that changed nothing is kept.
    let already = tenant.send(keyed(ASSIGN, "l", &link)).await;
    assert_eq!((already.status, replayed(&already)), (200, false), "{}", already.text());
    let uid = first.json()["endUserUIDID"].clone();
    tenant.update(&id, json!({ "uids": [{ "endUserUIDID": uid, "markAsDeleted": true }] })).await;
    let again = tenant.send(keyed(ASSIGN, "l", &link)).await;
    assert_eq!((again.status, replayed(&again), &again.body), (200, true, &already.body), "{}", again.text());
    assert_eq!(tenant.read(&id).await["uids"].as_array().unwrap().len(), 1, "nothing was linked anew");
}

#[tokio::test]
async fn an_answer_that_changed_nothing_leaves_the_revision_as_it_is() {
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
async fn another_request_with_the_same_key_is_422_and_writes_nothing() {
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
    // What is wrong by itself is 400, whatever its key.
    let errors = tenant.send(keyed(CREATE, "k", &json!({ "customerType": "Friend" }))).await.errors();
    assert_eq!(errors, ["customerType"]);
}

#[tokio::test]
async fn what_was_refused_may_be_sent_again_with_its_key() {
    let app = App::start().await;
    let tenant = app.tenant(7);
    let link = json!({ "endUserID": 1, "uid": "j@x.be" });
    tenant.send(keyed(ASSIGN, "k", &link)).await.expect(404);
    tenant.send(keyed(CREATE, "l", &json!({ "lang": "?" }))).await.expect(400);
    assert_eq!(tenant.send(keyed(CREATE, "l", &jane())).await.expect(201)["endUserID"], 1);
    tenant.send(keyed(ASSIGN, "k", &link)).await.expect(201);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_requests_that_arrive_together_one_is_carried_out() {
    let app = App::start().await;
    let tenant = app.tenant(7);
    let creates = (0..20).map(|_| tenant.send(keyed(CREATE, "together", &jane())));
    let answers = futures::future::join_all(creates).await;
    assert_eq!(answers.iter().filter(|answer| !replayed(answer)).count(), 1);
    assert!(answers.iter().all(|answer| answer.status == 201), "{:?}", answers[0]);
    let bodies: BTreeSet<_> = answers.iter().map(|answer| &answer.body).collect();
    assert_eq!(bodies.len(), 1);
    assert_eq!(count(&tenant).await, 1);

    let link = json!({ "endUserID": answers[0].json()["endUserID"], "uid": "j@x.be" });
    let assigns = (0..20).map(|_| tenant.send(keyed(ASSIGN, "assign", &link)));
    let answers = futures::future::join_all(assigns).await;
    assert_eq!(answers.iter().filter(|answer| !replayed(answer)).count(), 1);
    assert!(answers.iter().all(|answer| answer.status == 201), "{:?}", answers[0]);
}

#[tokio::test]
async fn a_key_is_a_tenants_own_and_case_sensitive() {
    let app = App::start().await;
    for tenant in [7, 8] {
        let tenant = app.tenant(tenant);
        for key in ["k", "K", "\"k\"", "k#1", "~!@#$%^&*()_+,;", &"k".repeat(255)] {
            let answer = tenant.send(keyed(CREATE, key, &jane())).await;
            assert_eq!((answer.status, replayed(&answer)), (201, false), "{key}: {}", answer.text());
            assert!(replayed(&tenant.send(keyed(CREATE, key, &jane())).await), "{key}");
        }
        assert_eq!(count(&tenant).await, 6);
    }
}

#[tokio::test]
async fn a_key_that_is_none_is_a_fault_beside_those_of_the_body() {
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
async fn an_answer_is_kept_for_a_day() {
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
    let kept = item().send().await.unwrap().item.expect("the answer is kept");
    let expires: u64 = kept["expiresAt"].as_n().unwrap().parse().unwrap();
    let day = 24 * 60 * 60;
    assert!((day - 60..=day).contains(&(expires - crate::app::now())), "{expires}");

    // TTL may be late: what has expired is gone all the same.
    let update =
        app.system.client().update_item().table_name(app.system.table()).set_key(Some([key("pk"), key("sk")].into()));
    let update = update.update_expression("SET expiresAt = :then");
    update.expression_attribute_values(":then", AttributeValue::N(crate::app::now().to_string())).send().await.unwrap();
    let other = json!({ "firstname": "John" });
    let again = tenant.send(keyed(CREATE, "k", &other)).await;
    assert_eq!((again.status, replayed(&again)), (201, false), "{}", again.text());
    assert_eq!(count(&tenant).await, 2);
}
