//! `POST /api/EndUsers/upsert`, `/upsertMany` and `/lookup` (docs/api.md).

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::support::app::{App, Caller, Response, TestRequest};

const UPSERT: &str = "/api/EndUsers/upsert";
const UPSERT_MANY: &str = "/api/EndUsers/upsertMany";
const LOOKUP: &str = "/api/EndUsers/lookup";

async fn upsert(tenant: &Caller<'_>, body: Value) -> Response {
    tenant.post(UPSERT, body).await
}

/// The outcome of an upsert that succeeds, and the end user.
async fn upserted(tenant: &Caller<'_>, body: Value) -> (String, Value) {
    let response = upsert(tenant, body).await;
    let result = response.json();
    let status = if result["outcome"] == "Created" { 201 } else { 200 };
    assert_eq!(response.status, status, "{}", response.text());
    let id = &result["endUser"]["endUserID"];
    assert_eq!(response.header("location"), Some(format!("/api/EndUsers/{id}").as_str()));
    let read = tenant.get(&format!("/api/EndUsers/{id}")).await;
    assert_eq!(response.header("etag"), read.header("etag"));
    assert_eq!(result["endUser"], read.json(), "the response is what is stored");
    (result["outcome"].as_str().unwrap().to_owned(), result["endUser"].clone())
}

/// Asserts a 409 and returns its end users with the paths of the request.
#[track_caller]
fn conflicts(response: Response, code: &str) -> Value {
    let problem = response.expect(409);
    assert_eq!(problem["code"], code);
    assert!(problem["detail"].as_str().unwrap().ends_with("see `conflicts`; nothing was written"), "{problem}");
    problem["conflicts"].clone()
}

fn jane() -> Value {
    json!({ "firstname": "Jane", "country": "BE", "customerRef": "ERP-1", "uids": [
        { "uid": "jane@x.be", "isPrimary": true }, { "uidType": "Phone", "uid": "0470 00 00 00" }] })
}

fn values(end_user: &Value) -> Vec<&str> {
    end_user["uids"].as_array().unwrap().iter().map(|uid| uid["uid"].as_str().unwrap()).collect()
}

fn primary(end_user: &Value) -> Option<&str> {
    let uids = end_user["uids"].as_array().unwrap();
    uids.iter().find(|uid| uid["isPrimary"] == true).map(|uid| uid["uid"].as_str().unwrap())
}

#[tokio::test]
async fn upsert_creates_then_finds_by_any_identifier() {
    let app = App::start().await;
    let tenant = app.tenant(7);
    let (outcome, created) = upserted(&tenant, jane()).await;
    assert_eq!((outcome.as_str(), values(&created)), ("Created", vec!["jane@x.be", "+32470000000"]));
    assert_eq!(created["customerType"], "Lead");
    for body in [
        jane(),
        json!({ "uids": [{ "uid": "JANE@X.be" }] }),
        json!({ "uids": [{ "uidType": "Phone", "uid": "+32 470 00 00 00" }] }),
        json!({ "country": "be", "uids": [{ "uidType": "Phone", "uid": "0470000000" }] }),
        json!({ "customerRef": "ERP-1" }),
        // A key is the same whatever identifier it is of.
        json!({ "uids": [{ "uid": "jane@x.be" }], "customerRef": null }),
    ] {
        let mut same = body.clone();
        same["onMatch"] = json!("fill");
        assert_eq!(upserted(&tenant, same).await, ("Unchanged".to_owned(), created.clone()), "{body}");
    }
    assert_eq!(tenant.list("").await.len(), 1);
}

#[tokio::test]
async fn update_changes_the_match_as_put_does() {
    let app = App::start().await;
    let tenant = app.tenant(7);
    let (_, created) = upserted(&tenant, jane()).await;
    let body = json!({ "firstname": "Janet", "lastname": null, "customerType": "", "country": "NL", "uids": [
        { "uid": "JANE@x.be", "isPrimary": false }, { "uid": "j@x.be", "isPrimary": true },
        { "uidType": "WhatsApp", "uid": "+32470000000" }] });
    let (outcome, changed) = upserted(&tenant, body.clone()).await;
    assert_eq!(outcome, "Updated");
    assert_eq!(changed["endUserID"], created["endUserID"]);
    assert_eq!((&changed["firstname"], &changed["country"]), (&json!("Janet"), &json!("NL")));
    assert_eq!((&changed["customerRef"], &changed["customerType"]), (&json!("ERP-1"), &json!("Lead")));
    // The stored spelling stays; the new ones follow in the order sent.
    assert_eq!(values(&changed), ["jane@x.be", "+32470000000", "j@x.be", "+32470000000"]);
    assert_eq!(primary(&changed), Some("j@x.be"));
    assert_eq!(upserted(&tenant, body).await, ("Unchanged".to_owned(), changed.clone()));
    // `isPrimary: false` does not unmark, and a mark on a UID that is linked takes effect.
    let unmark = json!({ "uids": [{ "uid": "j@x.be", "isPrimary": false }] });
    assert_eq!(upserted(&tenant, unmark).await, ("Unchanged".to_owned(), changed));
    let (_, marked) = upserted(&tenant, json!({ "uids": [{ "uid": "jane@x.be", "isPrimary": true }] })).await;
    assert_eq!(primary(&marked), Some("jane@x.be"));
}

#[tokio::test]
async fn fill_sets_only_empty_fields() {
    let app = App::start().await;
    let tenant = app.tenant(7);
    let (_, created) = upserted(&tenant, jane()).await;
    let body = json!({ "firstname": "Janet", "lastname": "Doe", "country": null, "customerType": "Partner",
        "onMatch": "FILL", "uids": [{ "uid": "jane@x.be" }, { "uid": "j@x.be", "isPrimary": true }] });
    let (outcome, filled) = upserted(&tenant, body).await;
    assert_eq!(outcome, "Updated");
    let mut expected = created.clone();
    expected["lastname"] = json!("Doe");
    expected["name"] = json!("Jane Doe");
    expected["customerType"] = json!("Partner");
    expected["uids"].as_array_mut().unwrap().push(filled["uids"][2].clone());
    assert_eq!(filled, expected);
    assert_eq!((values(&filled)[2], primary(&filled)), ("j@x.be", Some("jane@x.be")));
    // `Lead` counts as empty, any other type does not.
    let body = json!({ "customerType": "Customer", "onMatch": "fill", "customerRef": "erp-1" });
    assert_eq!(upserted(&tenant, body).await, ("Unchanged".to_owned(), filled));
}

#[tokio::test]
async fn none_links_uids_and_leaves_the_profile() {
    let app = App::start().await;
    let tenant = app.tenant(7);
    let body = json!({ "firstname": "Jane", "uids": [{ "uid": "jane@x.be" }] });
    let (_, created) = upserted(&tenant, body).await;
    assert_eq!(primary(&created), None);
    // Without a primary UID, a mark takes effect in every mode. A customerRef does not conflict, because it is ignored.
    let body = json!({ "firstname": "Janet", "customerRef": "other", "onMatch": "none", "matchBy": "uids", "uids": [
        { "uid": "jane@x.be", "isPrimary": true }, { "uidType": "Crm", "uid": "42" }] });
    let (outcome, linked) = upserted(&tenant, body).await;
    assert_eq!(
        (outcome.as_str(), &linked["firstname"], &linked["customerRef"]),
        ("Updated", &json!("Jane"), &Value::Null)
    );
    assert_eq!((values(&linked), primary(&linked)), (vec!["jane@x.be", "42"], Some("jane@x.be")));
    let body = json!({ "onMatch": "none", "uids": [{ "uid": "jane@x.be" }, { "uidType": "crm", "uid": "42", "isPrimary": true }] });
    assert_eq!(upserted(&tenant, body).await, ("Unchanged".to_owned(), linked));
}

#[tokio::test]
async fn match_by_selects_what_decides() {
    let app = App::start().await;
    let tenant = app.tenant(7);
    let (_, by_reference) = upserted(&tenant, json!({ "customerRef": "ERP-1" })).await;
    let (_, by_uid) = upserted(&tenant, json!({ "uids": [{ "uid": "jane@x.be" }] })).await;
    let both = |match_by| json!({ "customerRef": "ERP-1", "uids": [{ "uid": "jane@x.be" }], "matchBy": match_by });
    let (_, found) = upserted(&tenant, both("customerRef")).await;
    assert_eq!(found["endUserID"], by_reference["endUserID"]);
    // The e-mail address is linked without deciding, so two end users hold it now.
    assert_eq!(values(&found), ["jane@x.be"]);
    let found = conflicts(upsert(&tenant, both("uids")).await, "ambiguous_match");
    let ids = [&by_reference["endUserID"], &by_uid["endUserID"]];
    assert_eq!(
        found,
        json!([{ "endUserID": ids[0], "fields": ["uids[0].uid"] }, { "endUserID": ids[1], "fields": ["uids[0].uid"] }])
    );
    let found = conflicts(upsert(&tenant, both("any")).await, "ambiguous_match");
    assert_eq!(found[0], json!({ "endUserID": ids[0], "fields": ["uids[0].uid", "customerRef"] }));
}

#[tokio::test]
async fn several_matches_are_409_that_names_them() {
    let app = App::start().await;
    let tenant = app.tenant(7);
    let (_, one) = upserted(&tenant, json!({ "uids": [{ "uid": "jane@x.be" }] })).await;
    let (_, two) = upserted(&tenant, json!({ "uids": [{ "uidType": "Phone", "uid": "+32470000000" }] })).await;
    let body = json!({ "firstname": "Jane", "country": "BE", "uids": [
        { "uid": "new@x.be" }, { "uidType": "Phone", "uid": "0470000000" }, { "uid": "JANE@x.be" },
        { "uidType": "Crm", "uid": "jane@x.be" }] });
    let found = conflicts(upsert(&tenant, body).await, "ambiguous_match");
    let (one, two) = (&one["endUserID"], &two["endUserID"]);
    assert_eq!(
        found,
        json!([{ "endUserID": one, "fields": ["uids[2].uid", "uids[3].uid"] }, { "endUserID": two, "fields": ["uids[1].uid"] }])
    );
    assert_eq!(tenant.read(one).await["firstname"], Value::Null);
    assert_eq!(tenant.list("").await.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn conflicts_name_at_most_100_end_users() {
    let app = App::start().await;
    let tenant = app.tenant(7);
    let shared = json!({ "uids": [{ "uid": "info@x.be" }] });
    for _ in 0..11 {
        futures::future::join_all((0..10).map(|_| tenant.create(shared.clone()))).await;
    }
    let body = json!({ "uids": [{ "uid": "info@x.be" }] });
    let found = conflicts(upsert(&tenant, body).await, "ambiguous_match");
    let ids: Vec<u64> = found.as_array().unwrap().iter().map(|found| found["endUserID"].as_u64().unwrap()).collect();
    assert_eq!(ids, (1..=100).collect::<Vec<_>>());
    let found = tenant.post(UPSERT_MANY, json!({ "endUsers": [shared] })).await.expect(200);
    assert_eq!(found["items"][0]["conflicts"].as_array().unwrap().len(), 10);
    let found = tenant.post(LOOKUP, json!({ "uids": ["info@x.be"] })).await.expect(200);
    assert_eq!(
        found["items"][0],
        json!({ "uid": "info@x.be", "endUserIDs": (1..=10).collect::<Vec<_>>(), "more": true })
    );
}

#[tokio::test]
async fn another_customer_ref_is_409() {
    let app = App::start().await;
    let tenant = app.tenant(7);
    let (_, jane) = upserted(&tenant, jane()).await;
    for on_match in ["update", "fill"] {
        let body = json!({ "firstname": "Janet", "customerRef": "ERP-2", "uids": [{ "uid": "jane@x.be" }], "onMatch": on_match });
        let found = conflicts(upsert(&tenant, body).await, "different_reference");
        assert_eq!(found, json!([{ "endUserID": jane["endUserID"], "fields": ["customerRef"] }]));
    }
    assert_eq!(tenant.read(&jane["endUserID"]).await, jane);
    // Another spelling is the same reference, and `null` clears it, as PUT does.
    let (_, found) = upserted(&tenant, json!({ "customerRef": "erp-1", "uids": [{ "uid": "jane@x.be" }] })).await;
    assert_eq!(found["customerRef"], "erp-1");
    let (_, found) = upserted(&tenant, json!({ "customerRef": null, "uids": [{ "uid": "jane@x.be" }] })).await;
    assert_eq!(found["customerRef"], Value::Null);
    let (_, found) = upserted(&tenant, json!({ "customerRef": "ERP-2", "uids": [{ "uid": "jane@x.be" }] })).await;
    assert_eq!(found["customerRef"], "ERP-2");
}

#[tokio::test]
async fn phones_are_read_by_the_country_of_the_body() {
    let app = App::with(&[("DEFAULT_PHONE_REGION", "NL")]).await;
    let tenant = app.tenant(7);
    let phone =
        |country: Option<&str>, uid: &str| json!({ "country": country, "uids": [{ "uidType": "Phone", "uid": uid }] });
    let (_, dutch) = upserted(&tenant, phone(None, "06 12345678")).await;
    assert_eq!(values(&dutch), ["+31612345678"]);
    let (outcome, belgian) = upserted(&tenant, phone(Some("BE"), "0470 00 00 00")).await;
    assert_eq!((outcome.as_str(), values(&belgian)), ("Created", vec!["+32470000000"]));
    // The number is read by the body, not by the country of the match.
    let body =
        json!({ "uids": [{ "uidType": "Phone", "uid": "+32470000000" }, { "uidType": "Phone", "uid": "0612345679" }] });
    let (outcome, found) = upserted(&tenant, body).await;
    assert_eq!((outcome.as_str(), values(&found)), ("Updated", vec!["+32470000000", "+31612345679"]));
    let bare = App::start().await;
    assert_eq!(upsert(&bare.tenant(7), phone(None, "0612345678")).await.errors(), ["uids[0].uid"]);
}

#[tokio::test]
async fn invalid_upsert_is_400_with_every_error() {
    let app = App::start().await;
    let tenant = app.tenant(7);
    let invalid =
        json!({ "lang": "?", "matchBy": "name", "onMatch": 7, "uids": [{ "uid": "jane@" }, { "uidType": "Phone" }] });
    assert_eq!(upsert(&tenant, invalid).await.errors(), ["lang", "matchBy", "onMatch", "uids[0].uid", "uids[1].uid"]);
    let many: Vec<_> = (0..41).map(|n| json!({ "uid": format!("{n}@x.be") })).collect();
    for (body, errors) in [
        (json!({}), vec!["matchBy"]),
        (json!({ "firstname": "Jane", "lang": "?" }), vec!["lang", "matchBy"]),
        (json!({ "customerRef": " ", "uids": [] }), vec!["matchBy"]),
        (json!({ "customerRef": "ERP-1", "matchBy": "uids" }), vec!["matchBy"]),
        (json!({ "uids": [{ "uid": "jane@x.be" }], "matchBy": "customerRef" }), vec!["matchBy"]),
        (json!({ "uids": [{ "uid": "jane@" }] }), vec!["uids[0].uid"]),
        (json!({ "uids": "jane@x.be" }), vec!["uids"]),
        (json!({ "uids": many }), vec!["uids"]),
        (json!({ "uids": [], "UIDS": [] }), vec!["uids"]),
        (json!([]), vec!["body"]),
        (json!({ "customerRef": "x".repeat(255) }), vec!["customerRef"]),
        (
            json!({ "uids": [{ "uid": "a@x.be", "isPrimary": true }, { "uid": "b@x.be", "isPrimary": true }] }),
            vec!["uids[1].isPrimary"],
        ),
        (
            json!({ "customerRef": "1", "otherContactDetails": "\"".repeat(8_192), "aiDocumentation": "\"".repeat(16_384) }),
            vec!["aiDocumentation"],
        ),
    ] {
        assert_eq!(upsert(&tenant, body.clone()).await.errors(), errors, "{body}");
    }
    assert_eq!(tenant.list("").await.len(), 0);
}

#[tokio::test]
async fn match_without_room_for_a_uid_is_400() {
    let app = App::start().await;
    let tenant = app.tenant(7);
    let many: Vec<_> = (0..40).map(|n| json!({ "uid": format!("{n}@x.be") })).collect();
    let (_, full) = upserted(&tenant, json!({ "uids": many })).await;
    let more = json!({ "firstname": "Jane", "uids": [{ "uid": "0@x.be" }, { "uid": "new@x.be" }] });
    assert_eq!(upsert(&tenant, more).await.errors(), ["uids"]);
    assert_eq!(tenant.read(&full["endUserID"]).await, full);
}

#[tokio::test]
async fn upsert_is_idempotent_with_a_key() {
    let app = App::start().await;
    let tenant = app.tenant(7);
    let keyed =
        |path: &str, key: &str, body: &Value| TestRequest::new("POST", path).header("idempotency-key", key).json(body);
    let replayed = |response: &Response| response.header("idempotency-replayed") == Some("true");
    let first = tenant.send(keyed(UPSERT, "k", &jane())).await;
    assert_eq!((first.status, replayed(&first)), (201, false), "{}", first.text());
    tenant.update(&first.json()["endUser"]["endUserID"], json!({ "firstname": "Janet" })).await;
    let again = tenant.send(keyed(UPSERT, "k", &jane())).await;
    assert_eq!((again.status, replayed(&again), &again.body), (201, true, &first.body));
    for header in ["location", "etag"] {
        assert_eq!(again.header(header), first.header(header));
    }
    // An upsert without a change is stored too, and keeps the revision.
    let none = json!({ "uids": [{ "uid": "jane@x.be" }], "onMatch": "none" });
    let unchanged = tenant.send(keyed(UPSERT, "l", &none)).await;
    assert_eq!(unchanged.json()["outcome"], "Unchanged");
    assert!(replayed(&tenant.send(keyed(UPSERT, "l", &none)).await));
    // The key of a single request and the key of a batch are one key.
    let batch = json!({ "endUsers": [none] });
    tenant.send(keyed(UPSERT_MANY, "k", &batch)).await.expect(422);
    tenant.send(keyed(UPSERT_MANY, "m", &batch)).await.expect(200);
    tenant.send(keyed(UPSERT, "m", &none)).await.expect(422);
    // A conflict is not stored.
    let other = json!({ "customerRef": "ERP-2", "uids": [{ "uid": "jane@x.be" }] });
    tenant.send(keyed(UPSERT, "n", &other)).await.expect(409);
    tenant.update(&first.json()["endUser"]["endUserID"], json!({ "customerRef": "ERP-2" })).await;
    tenant.send(keyed(UPSERT, "n", &other)).await.expect(200);
}

#[tokio::test]
async fn batch_applies_each_element_by_itself() {
    let app = App::start().await;
    let tenant = app.tenant(7);
    let (_, john) = upserted(&tenant, json!({ "customerRef": "ERP-9" })).await;
    let batch = json!({ "endUsers": [
        jane(),
        { "uids": [{ "uid": "jane@" }], "lang": "?" },
        { "firstname": "Janet", "uids": [{ "uid": "jane@x.be" }] },
        { "customerRef": "ERP-9", "uids": [{ "uid": "jane@x.be" }] },
        7,
        { "uids": [{ "uid": "jane@x.be" }] },
    ] });
    let items = tenant.post(UPSERT_MANY, batch).await.expect(200)["items"].clone();
    let id = items[0]["endUserID"].clone();
    assert_eq!(items[0], json!({ "status": 201, "outcome": "Created", "endUserID": id }));
    assert_eq!(items[1]["status"], 400);
    let errors: Vec<_> = items[1]["errors"].as_object().unwrap().keys().collect();
    assert_eq!(errors, ["endUsers[1].lang", "endUsers[1].uids[0].uid"]);
    assert_eq!(items[2], json!({ "status": 200, "outcome": "Updated", "endUserID": id }));
    let conflicts = json!([{ "endUserID": john["endUserID"], "fields": ["endUsers[3].customerRef"] },
        { "endUserID": id, "fields": ["endUsers[3].uids[0].uid"] }]);
    assert_eq!(
        (&items[3]["status"], &items[3]["code"], &items[3]["conflicts"]),
        (&json!(409), &json!("ambiguous_match"), &conflicts)
    );
    assert_eq!(items[4]["errors"], json!({ "endUsers[4]": ["must be a JSON object"] }));
    assert_eq!(items[5], json!({ "status": 200, "outcome": "Unchanged", "endUserID": id }));
    assert_eq!(tenant.read(&id).await["firstname"], "Janet");

    for (body, error) in [
        (json!({}), "endUsers"),
        (json!({ "endUsers": null }), "endUsers"),
        (json!({ "endUsers": [] }), "endUsers"),
        (json!({ "endUsers": {} }), "endUsers"),
        (json!({ "endUsers": vec![json!({}); 101] }), "endUsers"),
        (json!([]), "body"),
    ] {
        assert_eq!(tenant.post(UPSERT_MANY, body).await.errors(), [error]);
    }
    let large = json!({ "endUsers": [{ "customerRef": "1", "aiDocumentation": "x".repeat(1 << 20) }] });
    tenant.post(UPSERT_MANY, large).await.expect(413);
}

#[tokio::test]
async fn batch_names_at_most_1000_errors() {
    let app = App::start().await;
    let tenant = app.tenant(7);
    let invalid = json!({ "uids": vec![json!({}); 40] });
    let items = tenant.post(UPSERT_MANY, json!({ "endUsers": vec![invalid; 30] })).await.expect(200)["items"].clone();
    let items = items.as_array().unwrap();
    assert!(items.iter().all(|item| item["status"] == 400));
    assert_eq!(items.iter().map(|item| item["errors"].as_object().unwrap().len()).sum::<usize>(), 1_000);
}

#[tokio::test]
async fn batch_with_a_key_applies_each_element_once() {
    let app = App::start().await;
    let tenant = app.tenant(7);
    let keyed = |body: &Value| TestRequest::new("POST", UPSERT_MANY).header("idempotency-key", "k").json(body);
    let batch = json!({ "endUsers": [jane(), { "customerRef": "ERP-2", "uids": [{ "uid": "jane@x.be" }] }, { "customerRef": "ERP-3" }] });
    let first = tenant.send(keyed(&batch)).await;
    assert_eq!(first.header("idempotency-replayed"), None);
    let items = first.expect(200)["items"].clone();
    assert_eq!(
        items.as_array().unwrap().iter().map(|item| item["status"].as_u64().unwrap()).collect::<Vec<_>>(),
        [201, 409, 201]
    );
    // What was applied is not applied again; what failed is tried again.
    tenant.update(&items[0]["endUserID"], json!({ "firstname": "Janet", "customerRef": null })).await;
    let again = tenant.send(keyed(&batch)).await;
    assert_eq!(again.header("idempotency-replayed"), None);
    let repeated = again.expect(200)["items"].clone();
    assert_eq!((&repeated[0], &repeated[2]), (&items[0], &items[2]));
    assert_eq!(repeated[1], json!({ "status": 200, "outcome": "Updated", "endUserID": items[0]["endUserID"] }));
    assert_eq!(tenant.read(&items[0]["endUserID"]).await["firstname"], "Janet");
    let again = tenant.send(keyed(&batch)).await;
    assert_eq!((again.header("idempotency-replayed"), &again.json()["items"]), (Some("true"), &repeated));
    tenant.send(keyed(&json!({ "endUsers": [jane()] }))).await.expect(422);
    // Deleting an end user erases the stored results about it, and only those.
    tenant.delete(&format!("/api/EndUsers/{}", items[0]["endUserID"])).await.expect(204);
    let again = tenant.send(keyed(&batch)).await.expect(200)["items"].clone();
    assert_eq!((&again[0]["status"], &again[2]), (&json!(201), &items[2]));
}

#[tokio::test]
async fn look_up_finds_as_by_uid_does() {
    let app = App::start().await;
    let tenant = app.tenant(7);
    let (_, jane) = upserted(&tenant, jane()).await;
    let (_, john) = upserted(&tenant, json!({ "uids": [{ "uidType": "Crm", "uid": "ERP-1" }], "matchBy": "uids", "customerRef": "x", "onMatch": "none" })).await;
    assert_eq!(john["endUserID"], jane["endUserID"], "the key of a customerRef is the key of a UID");
    let other = tenant.create(json!({ "uids": [{ "uid": "jane@x.be" }] })).await;
    let ids = |ids: &[&Value]| ids.iter().map(|id| (*id).clone()).collect::<Vec<_>>();
    let found = tenant
        .post(LOOKUP, json!({ "uids": [" JANE@x.be", "0032 470 00 00 00", "erp-1", "nobody"] }))
        .await
        .expect(200);
    let (jane, other) = (&jane["endUserID"], &other["endUserID"]);
    assert_eq!(
        found["items"],
        json!([
            { "uid": " JANE@x.be", "endUserIDs": ids(&[jane, other]), "more": false },
            { "uid": "0032 470 00 00 00", "endUserIDs": ids(&[jane]), "more": false },
            { "uid": "erp-1", "endUserIDs": ids(&[jane]), "more": false },
            { "uid": "nobody", "endUserIDs": [], "more": false },
        ])
    );
    for (body, errors) in [
        (json!({ "uids": ["a", " ", 7, "x".repeat(321)] }), vec!["uids[1]", "uids[2]", "uids[3]"]),
        (json!({ "uids": [] }), vec!["uids"]),
        (json!({}), vec!["uids"]),
        (json!({ "uids": vec!["a"; 101] }), vec!["uids"]),
    ] {
        assert_eq!(tenant.post(LOOKUP, body).await.errors(), errors);
    }
}

#[tokio::test]
async fn look_up_needs_only_the_read_scope() {
    use crate::support::app::token;
    let app = App::with(&[("JWT_READ_SCOPE", "read"), ("JWT_WRITE_SCOPE", "write")]).await;
    let reader = app.caller(Some(token(json!({ "customerID": 7, "scope": "read" }))));
    reader.post(LOOKUP, json!({ "uids": ["jane@x.be"] })).await.expect(200);
    for path in [UPSERT, UPSERT_MANY] {
        reader.post(path, jane()).await.expect(403);
    }
    app.caller(Some(token(json!({ "customerID": 7 })))).post(LOOKUP, json!({ "uids": ["a"] })).await.expect(403);
}

#[tokio::test]
async fn identifiers_of_another_tenant_do_not_match() {
    let app = App::start().await;
    let (mine, theirs) = (app.tenant(7), app.tenant(8));
    upserted(&theirs, jane()).await;
    assert_eq!(upserted(&mine, jane()).await.0, "Created");
    assert_eq!(mine.list("").await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn racing_upserts_of_one_identifier_create_one_end_user() {
    let app = App::start().await;
    let tenant = app.tenant(7);
    for round in 0..8 {
        let body = |n: usize| json!({ "uids": [{ "uid": format!("jane{round}@x.be") }, { "uidType": "Crm", "uid": format!("{round}-{n}") }] });
        let responses = futures::future::join_all((0..16).map(|n| upsert(&tenant, body(n)))).await;
        let created = responses.iter().filter(|response| response.status == 201).count();
        let ids: BTreeSet<String> =
            responses.iter().map(|response| response.json()["endUser"]["endUserID"].to_string()).collect();
        assert_eq!((created, ids.len()), (1, 1), "{ids:?}");
        let found = tenant.by_uid(&format!("jane{round}@x.be")).await;
        assert_eq!(found.len(), 1);
        let end_user = tenant.read(&json!(found[0])).await;
        assert_eq!(values(&end_user).len(), 17, "no link is lost");
    }
}
