//! Duplicates, merges and their undo (docs/api.md, Merging).

use aws_sdk_dynamodb::types::AttributeValue;
use serde_json::{Value, json};

use crate::support::app::{App, Caller, Response, TestRequest, now, token};

fn path(id: &Value, rest: &str) -> String {
    format!("/api/EndUsers/{id}{rest}")
}

async fn merge(tenant: &Caller<'_>, survivor: &Value, other: &Value) -> Value {
    tenant.post(&path(survivor, "/merge"), json!({ "endUserID": other })).await.expect(200)
}

async fn unmerge(tenant: &Caller<'_>, id: &Value) -> Response {
    tenant.send(TestRequest::new("POST", &path(id, "/unmerge"))).await
}

/// Creates an end user and returns its id.
async fn create(tenant: &Caller<'_>, body: Value) -> Value {
    tenant.create(body).await["endUserID"].clone()
}

fn email(uid: &str) -> Value {
    json!({ "uids": [{ "uid": uid }] })
}

fn uids(end_user: &Value) -> Vec<(u64, &str, bool)> {
    let uid = |uid: &Value| (uid["endUserUIDID"].as_u64().unwrap(), uid["isPrimary"] == true);
    let uids = end_user["uids"].as_array().unwrap();
    uids.iter().map(|u| (uid(u).0, u["uid"].as_str().unwrap(), uid(u).1)).collect()
}

#[track_caller]
fn assert_conflict(response: Response, code: &str, ids: &[&Value]) {
    let problem = response.expect(409);
    assert_eq!(problem["code"], code);
    let named: Vec<_> = problem["conflicts"].as_array().into_iter().flatten().map(|c| &c["endUserID"]).collect();
    assert_eq!(named, ids);
}

#[tokio::test]
async fn merge_moves_uids_and_fills_empty_fields() {
    let app = App::start().await;
    let tenant = app.tenant(7);
    let jane = tenant
        .create(json!({ "firstname": "Jane", "city": "Gent", "customerRef": "ERP-1", "uids": [
            { "uid": "jane@x.be" }, { "uidType": "Phone", "uid": "+32470000000", "isPrimary": true }] }))
        .await;
    let other = tenant
        .create(json!({ "firstname": "Janet", "lastname": "Doe", "city": "Gent", "customerType": "Customer",
            "customerRef": "ERP-2", "uids": [
            { "uid": "JANE@x.be", "isPrimary": true }, { "uid": "j@x.be" }, { "uidType": "WhatsApp", "uid": "+32470000000" }] }))
        .await;
    let (id, other_id) = (&jane["endUserID"], &other["endUserID"]);
    let preview = tenant.post(&path(id, "/merge"), json!({ "endUserID": other_id, "dryRun": true })).await;
    assert_eq!(preview.header("etag"), None);
    assert_eq!(tenant.read(id).await, jane, "a dry run writes nothing");
    assert_eq!(tenant.read(other_id).await, other);

    let response = tenant.post(&path(id, "/merge"), json!({ "endUserID": other_id })).await;
    let read = tenant.get(&path(id, "")).await;
    assert_eq!(response.header("etag"), read.header("etag"));
    let (mut previewed, merged) = (preview.expect(200), response.expect(200));
    previewed["undoUntil"] = merged["undoUntil"].clone();
    assert_eq!(previewed, merged, "a dry run shows what the merge does");
    assert_eq!(merged["endUser"], read.json());
    let end_user = &merged["endUser"];
    assert_eq!((&end_user["name"], &end_user["city"]), (&json!("Jane Doe"), &json!("Gent")));
    assert_eq!((&end_user["customerType"], &end_user["customerRef"]), (&json!("Customer"), &json!("ERP-1")));
    assert_eq!(merged["mergedEndUserID"], *other_id);
    assert_eq!(merged["filledFields"], json!(["lastname", "customerType"]));
    assert_eq!(merged["discardedFields"], json!({ "firstname": "Janet" }));
    let (ours, theirs) = (uids(&jane), uids(&other));
    assert_eq!(merged["movedUids"], json!([theirs[1].0, theirs[2].0]));
    assert_eq!(merged["droppedUids"], json!([theirs[0].0]));
    assert_eq!(merged["movedCustomerRef"], "ERP-2");
    let reference = theirs[2].0 + 1;
    let expected = [ours[0], ours[1], theirs[1], theirs[2], (reference, "ERP-2", false)];
    assert_eq!(uids(end_user), expected);
    assert_eq!(end_user["uids"][4]["uidType"], "customerRef");

    // The other one is gone from lists, counts and look-ups.
    let page = tenant.get("/api/EndUsers").await.expect(200);
    assert_eq!((&page["totalCount"], page["items"].as_array().unwrap().len()), (&json!(1), 1));
    for uid in ["jane@x.be", "j@x.be", "ERP-2", "ERP-1", "+32470000000"] {
        assert_eq!(tenant.by_uid(uid).await, [id.as_u64().unwrap()], "{uid}");
    }
    app.settle().await;
    assert_eq!(tenant.list("search=Janet").await, [0; 0]);
    assert_eq!(tenant.list("search=Doe&sortBy=name").await, [id.as_u64().unwrap()]);
}

#[tokio::test]
async fn primary_of_the_other_stays_without_one_of_ours() {
    let app = App::start().await;
    let tenant = app.tenant(7);
    let ours = create(&tenant, email("jane@x.be")).await;
    let other = create(&tenant, json!({ "uids": [{ "uid": "j@x.be", "isPrimary": true }] })).await;
    let merged = merge(&tenant, &ours, &other).await;
    assert_eq!(uids(&merged["endUser"]).iter().map(|uid| uid.2).collect::<Vec<_>>(), [false, true]);
    // A primary UID that both have stays primary.
    let third = create(&tenant, email("third@x.be")).await;
    let fourth = create(&tenant, json!({ "uids": [{ "uid": "THIRD@x.be", "isPrimary": true }] })).await;
    let merged = merge(&tenant, &third, &fourth).await;
    assert_eq!(uids(&merged["endUser"]).iter().map(|uid| (uid.1, uid.2)).collect::<Vec<_>>(), [("third@x.be", true)]);
}

#[tokio::test]
async fn every_route_of_the_old_id_redirects() {
    let app = App::start().await;
    let tenant = app.tenant(7);
    let ids = [
        create(&tenant, email("a@x.be")).await,
        create(&tenant, email("b@x.be")).await,
        create(&tenant, email("c@x.be")).await,
    ];
    merge(&tenant, &ids[1], &ids[0]).await;
    merge(&tenant, &ids[2], &ids[1]).await;
    let (old, new) = (&ids[0], &ids[2]);
    for (method, rest, body, location) in [
        ("GET", "", None, format!("{new}")),
        ("PUT", "", Some(json!({ "firstname": "Jane" })), format!("{new}")),
        ("GET", "/tickets?pageSize=5&search=a%20b", None, format!("../{new}/tickets?pageSize=5&search=a%20b")),
        ("GET", "/duplicates", None, format!("../{new}/duplicates")),
        ("GET", "/merges", None, format!("../{new}/merges")),
        ("POST", "/merge", Some(json!({ "endUserID": 99 })), format!("../{new}/merge")),
    ] {
        let request = TestRequest::new(method, &path(old, rest));
        let request = body.iter().fold(request, |request, body| request.json(body));
        let response = tenant.send(request).await;
        assert_eq!(response.header("location"), Some(location.as_str()), "{method} {rest}");
        let problem = response.expect(308);
        assert_eq!((&problem["endUserID"], &problem["title"]), (new, &json!("Permanent Redirect")), "{method} {rest}");
    }
    // A redirect of a deletion would delete the survivor.
    tenant.delete(&path(old, "")).await.expect(404);
    // In a body, the old id means the new one.
    let assigned = tenant.post("/api/EndUserUIDs/assign", json!({ "endUserID": old, "uid": "new@x.be" })).await;
    assert_eq!(assigned.header("etag"), tenant.get(&path(new, "")).await.header("etag"));
    assert_eq!(assigned.expect(201)["endUserID"], *new);
    let other = create(&tenant, email("d@x.be")).await;
    assert_eq!(merge(&tenant, &other, old).await["mergedEndUserID"], *new);
    // Another tenant sees nothing of it.
    app.tenant(8).get(&path(old, "")).await.expect(404);

    tenant.delete(&path(&other, "")).await.expect(204);
    for id in &ids {
        tenant.get(&path(id, "")).await.expect(404);
        tenant.post("/api/EndUserUIDs/assign", json!({ "endUserID": id, "uid": "new@x.be" })).await.expect(404);
        unmerge(&tenant, id).await.expect(404);
    }
}

#[tokio::test]
async fn invalid_merges_are_rejected_in_order() {
    let app = App::start().await;
    let tenant = app.tenant(7);
    let (jane, other) = (create(&tenant, email("jane@x.be")).await, create(&tenant, email("j@x.be")).await);
    let send = async |id: &Value, body: Value| tenant.post(&path(id, "/merge"), body).await;
    assert_eq!(send(&jane, json!({ "endUserID": jane })).await.errors(), ["endUserID"]);
    assert_eq!(send(&jane, json!({ "dryRun": "yes" })).await.errors(), ["dryRun", "endUserID"]);
    assert_eq!(send(&jane, json!({ "endUserID": 0 })).await.errors(), ["endUserID"]);
    assert_eq!(send(&json!(99), json!({ "endUserID": 99 })).await.errors(), ["endUserID"]);
    send(&json!(99), json!({ "endUserID": jane })).await.expect(404);
    send(&jane, json!({ "endUserID": 99 })).await.expect(404);
    let request = TestRequest::new("POST", &path(&jane, "/merge")).header("if-match", "\"1-9\"");
    tenant.send(request.json(&json!({ "endUserID": 99 }))).await.expect(404);
    let stale = || TestRequest::new("POST", &path(&jane, "/merge")).header("if-match", "\"1-9\"");
    tenant.send(stale().json(&json!({ "endUserID": other }))).await.expect(412);

    let full = json!({ "uids": (0..40).map(|n| json!({ "uid": format!("{n}@x.be") })).collect::<Vec<_>>() });
    let full = create(&tenant, full).await;
    assert_eq!(send(&jane, json!({ "endUserID": full })).await.errors(), ["uids"]);
    let large =
        |field: &str| json!({ field: "x".repeat(32_000 / if field == "aiDocumentation" { 1 } else { 4 }), "uids": [] });
    let documented = create(&tenant, json!({ "aiDocumentation": "\"".repeat(11_900) })).await;
    let detailed = create(&tenant, large("otherContactDetails")).await;
    assert_eq!(send(&documented, json!({ "endUserID": detailed })).await.errors(), ["aiDocumentation"]);

    let etag = tenant.get(&path(&jane, "")).await.header("etag").unwrap().to_owned();
    let request = TestRequest::new("POST", &path(&jane, "/merge")).header("if-match", &etag);
    tenant.send(request.json(&json!({ "endUserID": other }))).await.expect(200);
    assert_conflict(send(&jane, json!({ "endUserID": other })).await, "already_merged", &[]);
}

#[tokio::test]
async fn unmerge_restores_the_other_end_user() {
    let app = App::start().await;
    let tenant = app.tenant(7);
    let ours = tenant.create(json!({ "firstname": "Jane", "uids": [{ "uid": "jane@x.be", "isPrimary": true }] })).await;
    let other = tenant
        .create(json!({ "lastname": "Doe", "customerRef": "ERP-2", "customerType": "Partner", "uids": [
            { "uid": "Jane@x.be" }, { "uid": "j@x.be", "isPrimary": true }] }))
        .await;
    let (id, other_id) = (ours["endUserID"].clone(), other["endUserID"].clone());
    let before = tenant.get(&path(&other_id, "")).await.header("etag").unwrap().to_owned();
    let merged = merge(&tenant, &id, &other_id).await;
    let records = tenant.get(&path(&id, "/merges")).await.expect(200);
    assert_eq!(records.as_array().unwrap().len(), 1);
    assert_eq!((&records[0]["endUserID"], &records[0]["undoUntil"]), (&other_id, &merged["undoUntil"]));

    let response = unmerge(&tenant, &other_id).await;
    let read = tenant.get(&path(&other_id, "")).await;
    assert_eq!(response.header("etag"), read.header("etag"));
    assert_ne!(read.header("etag"), Some(before.as_str()), "a newer revision");
    assert_eq!(response.expect(200), json!({ "endUser": other, "mergedIntoEndUserID": id }));
    assert_eq!(read.json(), other);
    assert_eq!(tenant.read(&id).await, ours);
    assert_eq!(tenant.get("/api/EndUsers").await.expect(200)["totalCount"], 2);
    assert_eq!(tenant.get(&path(&id, "/merges")).await.expect(200), json!([]));
    assert_eq!(tenant.by_uid("j@x.be").await, [other_id.as_u64().unwrap()]);
    unmerge(&tenant, &other_id).await.expect(404);
    unmerge(&tenant, &json!(99)).await.expect(404);
    app.settle().await;
    assert_eq!(tenant.list("search=Doe&sortBy=name").await, [other_id.as_u64().unwrap()]);
    // It can be merged and taken out again.
    merge(&tenant, &id, &other_id).await;
    unmerge(&tenant, &other_id).await.expect(200);
    assert_eq!(tenant.read(&other_id).await, other);
}

#[tokio::test]
async fn unmerge_keeps_what_changed_since() {
    let app = App::start().await;
    let tenant = app.tenant(7);
    let id = create(&tenant, email("jane@x.be")).await;
    let other = tenant
        .create(json!({ "lastname": "Doe", "city": "Gent", "customerRef": "ERP-2", "uids": [
            { "uid": "changed@x.be" }, { "uid": "removed@x.be" }, { "uid": "marked@x.be" }] }))
        .await;
    merge(&tenant, &id, &other["endUserID"]).await;
    let theirs = uids(&other);
    let change = json!({ "lastname": "Smith", "customerRef": "ERP-3", "uids": [
        { "endUserUIDID": theirs[0].0, "uid": "new@x.be" },
        { "endUserUIDID": theirs[1].0, "markAsDeleted": true },
        { "endUserUIDID": theirs[2].0, "isPrimary": true },
        { "uid": "added@x.be" }] });
    tenant.update(&id, change).await;
    let restored = unmerge(&tenant, &other["endUserID"]).await.expect(200)["endUser"].clone();
    let ours = tenant.read(&id).await;
    assert_eq!(
        (&ours["lastname"], &ours["city"], &ours["customerRef"]),
        (&json!("Smith"), &Value::Null, &json!("ERP-3"))
    );
    let values: Vec<_> = uids(&ours).into_iter().map(|uid| uid.1).collect();
    assert_eq!(values, ["jane@x.be", "new@x.be", "added@x.be"]);
    // The changed record stays with its id, so the restored one has a new id.
    let mut expected = other.clone();
    let added = uids(&ours)[2].0;
    expected["uids"] = json!([other["uids"][1], other["uids"][2], other["uids"][0]]);
    expected["uids"][2]["endUserUIDID"] = json!(added + 1);
    assert_eq!(restored, expected);
}

#[tokio::test]
async fn only_the_latest_merge_can_be_undone() {
    let app = App::start().await;
    let tenant = app.tenant(7);
    let [a, b, c, d] = [
        create(&tenant, email("a@x.be")).await,
        create(&tenant, email("b@x.be")).await,
        create(&tenant, email("c@x.be")).await,
        create(&tenant, email("d@x.be")).await,
    ];
    merge(&tenant, &a, &b).await;
    merge(&tenant, &a, &c).await;
    let records = tenant.get(&path(&a, "/merges")).await.expect(200);
    assert_eq!([&records[0]["endUserID"], &records[1]["endUserID"]], [&c, &b], "newest first");
    assert_conflict(unmerge(&tenant, &b).await, "later_merge", &[&c]);
    merge(&tenant, &d, &a).await;
    // While the survivor is merged itself, that merge is the later one.
    assert_conflict(unmerge(&tenant, &c).await, "later_merge", &[&a]);
    assert_conflict(unmerge(&tenant, &b).await, "later_merge", &[&a]);
    for id in [&a, &c, &b] {
        unmerge(&tenant, id).await.expect(200);
    }
    for (id, uid) in [(&a, "a@x.be"), (&b, "b@x.be"), (&c, "c@x.be"), (&d, "d@x.be")] {
        assert_eq!(uids(&tenant.read(id).await)[0].1, uid);
        assert_eq!(tenant.read(id).await["uids"].as_array().unwrap().len(), 1);
    }
}

#[tokio::test]
async fn chain_of_more_than_16_merges_is_400() {
    let app = App::start().await;
    let tenant = app.tenant(7);
    let mut last = create(&tenant, email("0@x.be")).await;
    let first = last.clone();
    for n in 1..=16 {
        let next = create(&tenant, email(&format!("{n}@x.be"))).await;
        merge(&tenant, &next, &last).await;
        last = next;
    }
    let next = create(&tenant, email("17@x.be")).await;
    let response = tenant.post(&path(&next, "/merge"), json!({ "endUserID": last })).await;
    assert_eq!(response.errors(), ["endUserID"]);
    let redirect = tenant.get(&path(&first, "")).await;
    assert_eq!(redirect.header("location"), Some(last.to_string().as_str()));
    // The other direction does not lengthen the chain.
    merge(&tenant, &last, &next).await;
}

#[tokio::test]
async fn tickets_follow_their_uids() {
    let app = App::start().await;
    let tenant = app.tenant(7);
    let (ours, other) = (create(&tenant, email("jane@x.be")).await, create(&tenant, email("j@x.be")).await);
    let event = |id: u64, uid: &str, end_user: &Value| {
        json!({ "type": "ticket.upserted", "customerID": 7, "occurredAt": "2026-11-20T10:00:00Z", "ticket": {
            "ticketID": id, "uid": uid, "endUserID": end_user,
            "dateCreated": "2026-11-01T10:00:00Z", "lastMessageDate": "2026-11-02T10:00:00Z" } })
    };
    app.events(&[event(1, "jane@x.be", &ours), event(2, "j@x.be", &other)]).await;
    let tickets = async |id: &Value| {
        let page = tenant.get(&path(id, "/tickets?sortBy=ticketID")).await.expect(200);
        page["items"]
            .as_array()
            .unwrap()
            .iter()
            .map(|t| (t["ticketID"].clone(), t["endUserID"].clone()))
            .collect::<Vec<_>>()
    };
    let one = (json!(1), ours.clone());
    let two = (json!(2), other.clone());
    merge(&tenant, &ours, &other).await;
    assert_eq!(tickets(&ours).await, [one.clone(), two.clone()], "a ticket's own endUserID stays");
    unmerge(&tenant, &other).await.expect(200);
    assert_eq!((tickets(&ours).await, tickets(&other).await), (vec![one], vec![two]));
}

#[tokio::test]
async fn deleting_the_survivor_erases_everything() {
    let app = App::start().await;
    let tenant = app.tenant(7);
    let keyed =
        |key: &str, body: &Value| TestRequest::new("POST", "/api/EndUsers").header("idempotency-key", key).json(body);
    let jane = |n: usize| json!({ "firstname": "Jane", "uids": [{ "uid": format!("jane{n}@x.be") }] });
    let mut ids = Vec::new();
    for n in 0..4 {
        ids.push(tenant.send(keyed(&format!("k{n}"), &jane(n))).await.expect(201)["endUserID"].clone());
    }
    merge(&tenant, &ids[1], &ids[0]).await;
    merge(&tenant, &ids[2], &ids[1]).await;
    merge(&tenant, &ids[2], &ids[3]).await;
    app.settle().await;
    // The stored responses of merged end users are still replayed.
    for (n, id) in ids.iter().enumerate() {
        let again = tenant.send(keyed(&format!("k{n}"), &jane(n))).await;
        assert_eq!(again.header("idempotency-replayed"), Some("true"));
        assert_eq!(again.json()["endUserID"], *id);
    }
    tenant.delete(&path(&ids[2], "")).await.expect(204);
    app.settle().await;
    assert_eq!(app.kinds_with("jane").await, [""; 0]);
    for id in &ids {
        tenant.get(&path(id, "")).await.expect(404);
    }
}

#[tokio::test]
async fn deleting_a_restored_end_user_erases_its_responses() {
    let app = App::start().await;
    let tenant = app.tenant(7);
    let keyed = |body: &Value| TestRequest::new("POST", "/api/EndUsers").header("idempotency-key", "k").json(body);
    let body = email("jane@x.be");
    let other = tenant.send(keyed(&body)).await.expect(201)["endUserID"].clone();
    let ours = create(&tenant, email("john@x.be")).await;
    merge(&tenant, &ours, &other).await;
    app.settle().await;
    unmerge(&tenant, &other).await.expect(200);
    assert_eq!(tenant.send(keyed(&body)).await.header("idempotency-replayed"), Some("true"));
    tenant.delete(&path(&ours, "")).await.expect(204);
    app.settle().await;
    assert_eq!(tenant.send(keyed(&body)).await.header("idempotency-replayed"), Some("true"));
    tenant.delete(&path(&other, "")).await.expect(204);
    app.settle().await;
    assert_eq!(app.kinds_with("jane").await, [""; 0]);
}

#[tokio::test]
async fn merge_and_unmerge_are_idempotent_with_a_key() {
    let app = App::start().await;
    let tenant = app.tenant(7);
    let (ours, other) = (create(&tenant, email("jane@x.be")).await, create(&tenant, email("j@x.be")).await);
    let third = create(&tenant, email("third@x.be")).await;
    let keyed = |path: &str, key: &str| TestRequest::new("POST", path).header("idempotency-key", key);
    let merging = |id: &Value| keyed(&path(id, "/merge"), "k").json(&json!({ "endUserID": other }));
    // A dry run ignores the key.
    let dry = keyed(&path(&ours, "/merge"), "k").json(&json!({ "endUserID": other, "dryRun": true }));
    tenant.send(dry).await.expect(200);
    let first = tenant.send(merging(&ours)).await;
    assert_eq!((first.status, first.header("idempotency-replayed")), (200, None));
    let again = tenant.send(merging(&ours)).await;
    assert_eq!((&again.body, again.header("idempotency-replayed")), (&first.body, Some("true")));
    // The same body for another end user is another request, and so is an unmerge.
    tenant.send(merging(&third)).await.expect(422);
    tenant.send(keyed(&path(&other, "/unmerge"), "k")).await.expect(422);
    let first = tenant.send(keyed(&path(&other, "/unmerge"), "u")).await;
    let again = tenant.send(keyed(&path(&other, "/unmerge"), "u")).await;
    assert_eq!((first.status, &again.body, again.header("idempotency-replayed")), (200, &first.body, Some("true")));
    tenant.read(&other).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn simultaneous_requests_with_a_key_get_one_result() {
    let app = App::start().await;
    let tenant = app.tenant(7);
    for round in 0..6 {
        let ours = create(&tenant, email(&format!("jane{round}@x.be"))).await;
        let other = create(&tenant, email(&format!("j{round}@x.be"))).await;
        let etag = tenant.get(&path(&ours, "")).await.header("etag").unwrap().to_owned();
        let send = async |rest: &str, id: &Value| {
            let request = || {
                let request =
                    TestRequest::new("POST", &path(id, rest)).header("idempotency-key", &format!("{rest}{round}"));
                if rest == "/merge" {
                    request.header("if-match", &etag).json(&json!({ "endUserID": other }))
                } else {
                    request
                }
            };
            let responses = futures::future::join_all((0..8).map(|_| tenant.send(request()))).await;
            assert!(responses.iter().all(|response| response.status == 200), "{responses:?}");
            assert!(responses.iter().all(|response| response.body == responses[0].body), "{responses:?}");
            let new = responses.iter().filter(|response| response.header("idempotency-replayed").is_none()).count();
            assert_eq!(new, 1);
        };
        send("/merge", &ours).await;
        send("/unmerge", &other).await;
    }
}

#[tokio::test]
async fn deleting_the_other_erases_what_the_merge_stored() {
    let app = App::start().await;
    let tenant = app.tenant(7);
    let (ours, other) = (create(&tenant, email("john@x.be")).await, create(&tenant, email("secret@x.be")).await);
    let keyed = |path: &str, key: &str| TestRequest::new("POST", path).header("idempotency-key", key);
    let merging = keyed(&path(&ours, "/merge"), "m").json(&json!({ "endUserID": other }));
    tenant.send(merging).await.expect(200);
    let body = json!({ "uids": [{ "uid": "john@x.be" }] });
    tenant.send(keyed("/api/EndUsers/upsert", "u").json(&body)).await.expect(200);
    tenant.send(keyed(&path(&other, "/unmerge"), "n")).await.expect(200);
    tenant.delete(&path(&other, "")).await.expect(204);
    app.settle().await;
    let kinds: Vec<_> = app.kinds_with("secret").await;
    assert_eq!(kinds, [""; 0]);
    tenant.delete(&path(&ours, "")).await.expect(204);
    app.settle().await;
    assert_eq!(app.kinds_with("x.be").await.iter().filter(|kind| *kind != "Claim").count(), 0);
}

#[tokio::test]
async fn unmerge_rejects_content_that_it_ignores() {
    let app = App::start().await;
    let tenant = app.tenant(7);
    let unmerge = || TestRequest::new("POST", "/api/EndUsers/1/unmerge");
    tenant.send(unmerge().header("content-type", "text/plain").body("x")).await.expect(415);
    tenant.send(unmerge().header("content-type", "application/json").body(vec![b' '; (1 << 20) + 1])).await.expect(413);
    tenant.send(unmerge().header("content-type", "application/json").body("{")).await.expect(404);
}

#[tokio::test]
async fn merge_can_be_undone_for_30_days() {
    let app = App::start().await;
    let tenant = app.tenant(7);
    let (ours, other) = (create(&tenant, email("jane@x.be")).await, create(&tenant, email("j@x.be")).await);
    merge(&tenant, &ours, &other).await;
    let key = [("pk", format!("C#7#Undo#{ours}")), ("sk", format!("0000000001#{:010}", other.as_u64().unwrap()))];
    let key = key.map(|(name, text)| (name.to_owned(), AttributeValue::S(text)));
    let update = app.system.client().update_item().table_name(app.system.table()).set_key(Some(key.into()));
    let month = 30 * 24 * 60 * 60;
    let then = AttributeValue::N(((now() - month) * 1_000).to_string());
    update.update_expression("SET mergedAt = :then").expression_attribute_values(":then", then).send().await.unwrap();
    assert_eq!(tenant.get(&path(&ours, "/merges")).await.expect(200), json!([]));
    unmerge(&tenant, &other).await.expect(404);
    tenant.get(&path(&other, "")).await.expect(308);
}

#[tokio::test]
async fn dry_run_needs_only_the_read_scope() {
    let app = App::with(&[("JWT_READ_SCOPE", "read"), ("JWT_WRITE_SCOPE", "write")]).await;
    let writer = app.caller(Some(token(json!({ "customerID": 7, "scope": "write" }))));
    let reader = app.caller(Some(token(json!({ "customerID": 7, "scope": "read" }))));
    let (ours, other) = (create(&writer, email("jane@x.be")).await, create(&writer, email("j@x.be")).await);
    let body = |dry_run: Value| json!({ "endUserID": other, "DryRun": dry_run });
    let merge = path(&ours, "/merge");
    reader.post(&merge, body(json!(true))).await.expect(200);
    for refused in [json!(false), Value::Null, json!("true")] {
        reader.post(&merge, body(refused)).await.expect(403);
    }
    reader.send(TestRequest::new("POST", &merge).json(&json!({})).body("{")).await.expect(403);
    reader.send(TestRequest::new("POST", &path(&other, "/unmerge"))).await.expect(403);
    writer.post(&merge, body(json!(false))).await.expect(200);
    reader.get(&path(&ours, "/merges")).await.expect(200);
}

#[tokio::test]
async fn duplicates_share_identifiers() {
    let app = App::start().await;
    let tenant = app.tenant(7);
    let jane = json!({ "customerRef": "ERP-1", "uids": [{ "uid": "Jane@x.be" }, { "uidType": "Phone", "uid": "+32470000000" }, { "uidType": "Crm", "uid": "jane@x.be" }] });
    let id = create(&tenant, jane).await;
    let one = tenant.create(email("jane@X.be")).await;
    let two = tenant
        .create(
            json!({ "uids": [{ "uidType": "Erp", "uid": "erp-1" }, { "uidType": "WhatsApp", "uid": "32470000000" }] }),
        )
        .await;
    tenant.create(email("john@x.be")).await;
    app.tenant(8).create(email("jane@x.be")).await;
    let found = tenant.get(&path(&id, "/duplicates")).await.expect(200);
    assert_eq!(
        found,
        json!([
            { "endUser": two, "sharedUids": ["+32470000000", "ERP-1"] },
            { "endUser": one, "sharedUids": ["Jane@x.be", "jane@x.be"] },
        ])
    );
    assert_eq!(
        tenant.get(&path(&one["endUserID"], "/duplicates")).await.expect(200)[0]["sharedUids"],
        json!(["jane@X.be"])
    );
    tenant.get(&path(&json!(99), "/duplicates")).await.expect(404);
    tenant.get(&path(&json!(99), "/merges")).await.expect(404);
    for n in 0..60 {
        tenant.create(json!({ "uids": [{ "uid": "jane@x.be" }, { "uid": format!("{n}@x.be") }] })).await;
    }
    let found = tenant.get(&path(&id, "/duplicates")).await.expect(200);
    assert_eq!((found.as_array().unwrap().len(), &found[0]["endUser"]), (50, &two));
}

#[tokio::test]
async fn upsert_finds_the_survivor() {
    let app = App::start().await;
    let tenant = app.tenant(7);
    let upsert = async |body: Value| tenant.post("/api/EndUsers/upsert", body).await.json();
    let ours = upsert(email("jane@x.be")).await["endUser"]["endUserID"].clone();
    let other = upsert(email("j@x.be")).await["endUser"]["endUserID"].clone();
    merge(&tenant, &ours, &other).await;
    let body = json!({ "uids": [{ "uid": "j@x.be" }, { "uid": "jane@x.be" }, { "uid": "new@x.be" }] });
    let found = upsert(body).await;
    assert_eq!((&found["outcome"], &found["endUser"]["endUserID"]), (&json!("Updated"), &ours));
    // A claim of a survivor that lost the identifier is void.
    let gone = json!({ "uids": [{ "uid": "j@x.be", "markAsDeleted": true }] });
    tenant.update(&ours, gone).await;
    let found = upsert(email("j@x.be")).await;
    assert_eq!(found["outcome"], "Created");
    // The undo gives the other end user its identifier back: a shared identifier.
    unmerge(&tenant, &other).await.expect(200);
    let holders = [other.as_u64().unwrap(), found["endUser"]["endUserID"].as_u64().unwrap()];
    assert_eq!(tenant.by_uid("j@x.be").await, holders);
}
