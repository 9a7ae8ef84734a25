//! Create, update and assign of UIDs (docs/api.md, Identity rules).

use aws_sdk_dynamodb::types::AttributeValue;
use serde_json::{Value, json};

use crate::support::app::App;

fn uid<'a>(end_user: &'a Value, value: &str) -> &'a Value {
    let uids = end_user["uids"].as_array().unwrap();
    uids.iter().find(|uid| uid["uid"] == value).unwrap_or_else(|| panic!("{value} is not in {end_user}"))
}

/// Each UID as `type value`, with `*` before the primary one, by ascending id.
fn shown(end_user: &Value) -> Vec<String> {
    let uids = end_user["uids"].as_array().unwrap();
    let ids: Vec<_> = uids.iter().map(|uid| uid["endUserUIDID"].as_u64().unwrap()).collect();
    assert!(ids.is_sorted(), "{end_user}");
    let star = |uid: &Value| if uid["isPrimary"] == true { "*" } else { "" };
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    uids.iter().map(|uid| format!("{}{} {}", star(uid), text(&uid["uidType"]), text(&uid["uid"]))).collect()
}

fn email(value: &str, primary: bool) -> Value {
    json!({ "uidType": "Email", "uid": value, "isPrimary": primary })
}

#[tokio::test]
async fn duplicate_uids_of_a_create_become_one() {
    let app = App::start().await;
    let tenant = app.tenant(7);
    let uids = json!([email("a@x.be", false), { "uid": " A@X.be ", "isPrimary": true, "endUserUIDID": 99, "markAsDeleted": true },
        { "uidType": "CRM", "uid": "42" }, { "uidType": "crm", "uid": "42" }]);
    let end_user = tenant.create(json!({ "uids": uids })).await;
    assert_eq!(shown(&end_user), ["*Email A@X.be", "crm 42"]);
    assert_eq!(tenant.read(&end_user["endUserID"]).await, end_user);
    let end_user = tenant.create(json!({ "uids": [email("b@x.be", true), email("B@x.be", false)] })).await;
    assert_eq!(shown(&end_user), ["Email B@x.be"], "the elements apply in order");
}

#[tokio::test]
async fn two_primary_uids_are_400() {
    let app = App::start().await;
    let tenant = app.tenant(7);
    let body = json!({ "uids": [email("a@x.be", true), email("b@x.be", true)] });
    assert_eq!(tenant.post("/api/EndUsers", body.clone()).await.errors(), ["uids[1].isPrimary"]);
    let end_user = tenant.create(json!({})).await;
    let response = tenant.put(&format!("/api/EndUsers/{}", end_user["endUserID"]), body).await;
    assert_eq!(response.errors(), ["uids[1].isPrimary"]);
    assert_eq!(tenant.read(&end_user["endUserID"]).await, end_user);
}

#[tokio::test]
async fn absent_members_stay_and_null_or_empty_clears() {
    let app = App::start().await;
    let tenant = app.tenant(7);
    let end_user = tenant
        .create(json!({ "firstname": "Jane", "lastname": "Doe", "city": "Gent", "company": "Acme", "customerType": "partner",
            "uids": [email("a@x.be", true)] }))
        .await;
    let id = &end_user["endUserID"];
    tenant.update(id, json!({ "lastname": null, "city": "", "customerType": "", "uids": null })).await;
    let mut expected = end_user.clone();
    expected["lastname"] = Value::Null;
    expected["city"] = Value::Null;
    expected["name"] = json!("Jane");
    assert_eq!(tenant.read(id).await, expected);
    assert_eq!(expected["customerType"], "Partner");
}

#[tokio::test]
async fn read_document_can_be_edited_and_sent_back() {
    let app = App::start().await;
    let tenant = app.tenant(7);
    let phone = json!({ "uidType": "Phone", "uid": "0470 00 00 00" });
    let end_user = tenant.create(json!({ "country": "be", "uids": [email("a@x.be", true), phone] })).await;
    let id = &end_user["endUserID"];
    tenant.update(id, end_user.clone()).await;
    assert_eq!(tenant.read(id).await, end_user);

    let mut edited = end_user.clone();
    edited["firstname"] = json!("Jane");
    edited["uids"][0]["uid"] = json!("jane@x.be");
    tenant.update(id, edited.clone()).await;
    edited["name"] = json!("Jane");
    assert_eq!(tenant.read(id).await, edited);
    assert_eq!(tenant.by_uid("a@x.be").await, [0u64; 0]);
    assert_eq!(tenant.by_uid("jane@x.be").await, [id.as_u64().unwrap()]);
}

#[tokio::test]
async fn removals_are_applied_first_and_are_idempotent() {
    let app = App::start().await;
    let tenant = app.tenant(7);
    let end_user = tenant.create(json!({ "uids": [email("a@x.be", true), email("b@x.be", false)] })).await;
    let id = &end_user["endUserID"];
    let a = &uid(&end_user, "a@x.be")["endUserUIDID"];
    let uids = json!([email("c@x.be", false),
        { "endUserUIDID": a, "uid": "not looked at", "isPrimary": true, "markAsDeleted": true },
        { "endUserUIDID": 4711, "markAsDeleted": true },
        { "uid": "B@X.BE", "isPrimary": "not looked at", "markAsDeleted": true },
        { "uidType": "Email", "uid": "not there", "markAsDeleted": true }]);
    tenant.update(id, json!({ "uids": uids })).await;
    assert_eq!(shown(&tenant.read(id).await), ["Email c@x.be"], "removing the primary UID promotes no other");
}

#[tokio::test]
async fn element_with_an_id_updates_only_named_members() {
    let app = App::start().await;
    let tenant = app.tenant(7);
    let end_user = tenant.create(json!({ "uids": [email("a@x.be", true), email("b@x.be", false)] })).await;
    let id = &end_user["endUserID"];
    let a = &uid(&end_user, "a@x.be")["endUserUIDID"];
    tenant.update(id, json!({ "uids": [{ "endUserUIDID": a, "uid": "new@x.be", "uidType": null }] })).await;
    assert_eq!(shown(&tenant.read(id).await), ["*Email new@x.be", "Email b@x.be"]);
    tenant.update(id, json!({ "uids": [{ "endUserUIDID": a, "uidType": "External" }] })).await;
    assert_eq!(shown(&tenant.read(id).await), ["*External new@x.be", "Email b@x.be"]);
    let response = tenant
        .put(&format!("/api/EndUsers/{id}"), json!({ "uids": [{ "endUserUIDID": a, "uidType": "Phone" }] }))
        .await;
    assert_eq!(response.errors(), ["uids[0].uid"], "the stored value is no phone number");
}

#[tokio::test]
async fn unknown_uid_id_is_400_and_writes_nothing() {
    let app = App::start().await;
    let tenant = app.tenant(7);
    let other = tenant.create(json!({ "uids": [email("o@x.be", false)] })).await;
    let end_user = tenant.create(json!({ "uids": [email("a@x.be", false)] })).await;
    let id = &end_user["endUserID"];
    let uids = json!([email("b@x.be", false), { "endUserUIDID": other["uids"][0]["endUserUIDID"], "uid": "z@x.be" }]);
    let response = tenant.put(&format!("/api/EndUsers/{id}"), json!({ "firstname": "X", "uids": uids })).await;
    assert_eq!(response.errors(), ["uids[1].endUserUIDID"]);
    assert_eq!(tenant.read(id).await, end_user);
    assert_eq!(tenant.by_uid("b@x.be").await, [0u64; 0]);
}

#[tokio::test]
async fn element_without_an_id_updates_its_match_key_or_adds() {
    let app = App::start().await;
    let tenant = app.tenant(7);
    let end_user = tenant.create(json!({ "uids": [email("a@x.be", true)] })).await;
    let id = &end_user["endUserID"];
    tenant
        .update(id, json!({ "uids": [{ "uid": "A@X.BE" }, { "uidType": "Phone", "uid": "+32 470 00 00 00" }] }))
        .await;
    let after = tenant.read(id).await;
    assert_eq!(shown(&after), ["*Email A@X.BE", "Phone +32470000000"]);
    assert_eq!(after["uids"][0]["endUserUIDID"], end_user["uids"][0]["endUserUIDID"]);
    tenant.update(id, json!({ "uids": [{ "uidType": "phone", "uid": "0032470000000", "isPrimary": true }] })).await;
    assert_eq!(shown(&tenant.read(id).await), ["Email A@X.BE", "*Phone +32470000000"]);
}

#[tokio::test]
async fn records_with_the_same_key_merge_into_the_named_one() {
    let app = App::start().await;
    let tenant = app.tenant(7);
    let end_user = tenant.create(json!({ "uids": [email("a@x.be", false), email("b@x.be", false)] })).await;
    let id = &end_user["endUserID"];
    let (a, b) = (&uid(&end_user, "a@x.be")["endUserUIDID"], &uid(&end_user, "b@x.be")["endUserUIDID"]);
    let swap = json!([{ "endUserUIDID": a, "uid": "b@x.be" }, { "endUserUIDID": b, "uid": "a@x.be" }]);
    tenant.update(id, json!({ "uids": swap })).await;
    let swapped = tenant.read(id).await;
    assert_eq!((&uid(&swapped, "b@x.be")["endUserUIDID"], &uid(&swapped, "a@x.be")["endUserUIDID"]), (a, b));
    tenant.update(id, json!({ "uids": [{ "endUserUIDID": b, "uid": "B@x.be" }] })).await;
    let merged = tenant.read(id).await;
    assert_eq!(shown(&merged), ["Email B@x.be"]);
    assert_eq!(&merged["uids"][0]["endUserUIDID"], b);
}

#[tokio::test]
async fn phone_is_parsed_with_the_new_country() {
    let app = App::with(&[("DEFAULT_PHONE_REGION", "NL")]).await;
    let tenant = app.tenant(7);
    let phone = |value: &str| json!([{ "uidType": "Phone", "uid": value }]);
    let end_user = tenant.create(json!({ "uids": phone("06 12345678") })).await;
    assert_eq!(shown(&end_user), ["Phone +31612345678"], "the default region");
    let id = &end_user["endUserID"];
    tenant.update(id, json!({ "country": "BE", "uids": phone("0470 00 00 00") })).await;
    tenant.update(id, json!({ "uids": phone("0471/00.00.00 ext. 5") })).await;
    tenant.update(id, json!({ "country": "UK", "uids": phone("07400 123456") })).await;
    let shown = shown(&tenant.read(id).await);
    assert_eq!(shown, ["Phone +31612345678", "Phone +32470000000", "Phone +32471000000;ext=5", "Phone +447400123456"]);
    let response = tenant.put(&format!("/api/EndUsers/{id}"), json!({ "uids": phone("+32470l23456") })).await;
    assert_eq!(response.errors(), ["uids[0].uid"]);
}

#[tokio::test]
async fn end_user_has_at_most_40_uids() {
    let app = App::start().await;
    let tenant = app.tenant(7);
    let uids = |n: usize| (0..n).map(|i| json!({ "uidType": "CRM", "uid": format!("ref {i}") })).collect::<Value>();
    assert_eq!(tenant.post("/api/EndUsers", json!({ "uids": uids(41) })).await.errors(), ["uids"]);
    let end_user = tenant.create(json!({ "uids": uids(40) })).await;
    let id = &end_user["endUserID"];
    let response = tenant.put(&format!("/api/EndUsers/{id}"), json!({ "uids": [email("a@x.be", false)] })).await;
    assert_eq!(response.errors(), ["uids"]);
    let response = tenant.post("/api/EndUserUIDs/assign", json!({ "endUserID": id, "uid": "a@x.be" })).await;
    assert_eq!(response.errors(), ["uids"]);
    let uids = json!([email("a@x.be", false), { "uidType": "crm", "uid": "REF 7", "markAsDeleted": true }]);
    tenant.update(id, json!({ "uids": uids })).await;
    assert_eq!(tenant.read(id).await["uids"].as_array().unwrap().len(), 40);
}

#[tokio::test]
async fn assign_links_a_uid_once() {
    let app = App::start().await;
    let tenant = app.tenant(7);
    let end_user = tenant.create(json!({ "uids": [email("a@x.be", true)] })).await;
    let id = &end_user["endUserID"];
    let assign = |body: Value| {
        let tenant = tenant.clone();
        async move { tenant.post("/api/EndUserUIDs/assign", body).await }
    };
    let linked = assign(json!({ "uid": " Visitor@Example.com ", "endUserID": id, "uidType": "" })).await.expect(201);
    let uid_id = linked["endUserUIDID"].clone();
    assert_eq!(
        linked,
        json!({ "endUserUIDID": uid_id, "endUserID": id, "uidType": "Email", "uid": "Visitor@Example.com", "isPrimary": false })
    );
    let again = assign(json!({ "uid": "VISITOR@example.com", "endUserID": id, "isPrimary": true })).await.expect(200);
    assert!(again["message"].is_string(), "{again}");
    assert_eq!(
        (&again["endUserUIDID"], &again["uid"], &again["isPrimary"]),
        (&uid_id, &json!("Visitor@Example.com"), &json!(true))
    );
    assert_eq!(shown(&tenant.read(id).await), ["Email a@x.be", "*Email Visitor@Example.com"]);
    let third = assign(json!({ "uid": "visitor@example.com", "endUserID": id, "isPrimary": false })).await.expect(200);
    assert_eq!(third["isPrimary"], true, "only true takes effect");
    assign(json!({ "uid": "x@x.be", "endUserID": 4711 })).await.expect(404);
    assert_eq!(assign(json!({ "uid": "no mail", "isPrimary": 1 })).await.errors(), ["endUserID", "isPrimary", "uid"]);
}

#[tokio::test]
async fn several_end_users_may_hold_the_same_uid() {
    let app = App::start().await;
    let tenant = app.tenant(7);
    let one = tenant.create(json!({ "uids": [email("shared@x.be", false)] })).await;
    let two = tenant.create(json!({ "uids": [email("Shared@X.be", true)] })).await;
    let ids: Vec<_> = [&one, &two].iter().map(|p| p["endUserID"].as_u64().unwrap()).collect();
    assert_eq!(tenant.by_uid("shared@x.be").await, ids);
    let found = tenant.get("/api/EndUsers/byUid?uid=shared%40x.be").await.expect(200);
    assert_eq!(found, json!([one, two]));
}

#[tokio::test]
async fn concurrent_writes_to_one_end_user_lose_nothing() {
    let app = App::start().await;
    let tenant = app.tenant(7);
    let end_user = tenant.create(json!({})).await;
    let id = end_user["endUserID"].clone();
    let mut tasks = Vec::new();
    for i in 0..16 {
        let (tenant, id) = (tenant.clone(), id.clone());
        tasks.push(async move {
            let body = json!({ "endUserID": id, "uidType": "CRM", "uid": format!("ref {i}") });
            tenant.post("/api/EndUserUIDs/assign", body).await.expect(201);
        });
    }
    futures::future::join_all(tasks).await;
    assert_eq!(tenant.read(&id).await["uids"].as_array().unwrap().len(), 16);
}

#[tokio::test]
async fn change_of_only_the_type_spelling_is_stored() {
    let app = App::start().await;
    let tenant = app.tenant(7);
    let id = tenant.create(json!({ "uids": [{ "uidType": "Ext", "uid": "ERP-1" }] })).await["endUserID"].clone();
    tenant.update(&id, json!({ "uids": [{ "uidType": "EXT", "uid": "ERP-1" }] })).await;
    assert_eq!(tenant.read(&id).await["uids"][0]["uidType"], "EXT");
}

/// Sets one of a tenant's id sequences.
async fn set_counter(app: &App, name: &str, value: u32) {
    let key = |text: &str| AttributeValue::S(text.to_owned());
    let update = app.system.client().update_item().table_name(app.system.table());
    let update = update.key("pk", key("C#7#Sequence")).key("sk", key("-")).update_expression("SET #name = :value");
    let update = update.expression_attribute_names("#name", name);
    update.expression_attribute_values(":value", AttributeValue::N(value.to_string())).send().await.unwrap();
}

#[tokio::test]
async fn requests_that_add_no_uid_use_no_ids() {
    let app = App::start().await;
    let tenant = app.tenant(7);
    let uids: Vec<_> = (0..40).map(|n| json!({ "uid": format!("jane{n}@x.be") })).collect();
    let id = tenant.create(json!({ "uids": uids })).await["endUserID"].clone();
    for _ in 0..5 {
        tenant.update(&id, json!({ "uids": uids })).await;
        let link = json!({ "endUserID": id, "uid": "JANE1@x.be" });
        tenant.post("/api/EndUserUIDs/assign", link).await.expect(200);
    }
    let stranger = json!({ "endUserID": 99, "uid": "stranger@x.be" });
    tenant.post("/api/EndUserUIDs/assign", stranger).await.expect(404);
    tenant.put("/api/EndUsers/99", json!({ "uids": uids })).await.expect(404);
    tenant.put(&format!("/api/EndUsers/{id}"), json!({ "uids": [{ "uid": "one-too-many@x.be" }] })).await.expect(400);
    let other = tenant.create(json!({ "uids": [{ "uid": "john@x.be" }] })).await;
    assert_eq!(other["uids"][0]["endUserUIDID"], 41);
}

#[tokio::test]
async fn exhausted_uid_ids_fail_only_requests_that_need_one() {
    const GREATEST: u32 = i32::MAX as u32;
    let app = App::start().await;
    let tenant = app.tenant(7);
    let id = tenant.create(json!({ "uids": [{ "uid": "jane@x.be" }] })).await["endUserID"].clone();
    set_counter(&app, "uids", GREATEST - 2).await;
    let link = |uid: &str| json!({ "endUserID": id, "uid": uid });
    let two = json!({ "uids": [{ "uid": "a@x.be" }, { "uid": "b@x.be" }, { "uid": "c@x.be" }] });
    let rejected = tenant.put(&format!("/api/EndUsers/{id}"), two).await.expect(409);
    assert_eq!((&rejected["code"], &rejected["status"]), (&json!("ids_exhausted"), &json!(409)));
    assert_eq!(rejected["detail"], "the tenant has no ids left; nothing was written");
    assert_eq!(tenant.read(&id).await["uids"].as_array().unwrap().len(), 1, "nothing was written");

    // A rejected request uses no ids.
    for last in [GREATEST - 1, GREATEST] {
        let linked = tenant.post("/api/EndUserUIDs/assign", link(&format!("{last}@x.be"))).await.expect(201);
        assert_eq!(linked["endUserUIDID"], last);
    }
    let rejected = tenant.post("/api/EndUserUIDs/assign", link("one-more@x.be")).await.expect(409);
    assert_eq!(rejected["code"], "ids_exhausted");
    let rejected = tenant.post("/api/EndUsers", json!({ "uids": [{ "uid": "john@x.be" }] })).await.expect(409);
    assert_eq!(rejected["code"], "ids_exhausted");
    tenant.post("/api/EndUserUIDs/assign", link("jane@x.be")).await.expect(200);
    tenant.update(&id, json!({ "firstname": "Jane", "uids": [{ "uid": "jane@x.be" }] })).await;
    tenant.create(json!({ "firstname": "Without UIDs" })).await;

    set_counter(&app, "endUsers", GREATEST).await;
    let rejected = tenant.post("/api/EndUsers", json!({ "firstname": "Joe" })).await.expect(409);
    assert_eq!(rejected["code"], "ids_exhausted");
    tenant.update(&id, json!({ "firstname": "Janet" })).await;
}
