//! No method lets a tenant see, count, find or change records of another tenant.

use serde_json::{Value, json};

use crate::support::app::{App, Caller, Response, TestRequest};

fn jane() -> Value {
    json!({ "firstname": "Jane", "customerRef": "ERP-1", "uids": [
        { "uid": "jane@example.com", "isPrimary": true }, { "uidType": "Phone", "uid": "+32470000000" }] })
}

fn ticket(customer: &str) -> Value {
    json!({ "type": "ticket.upserted", "customerID": customer, "occurredAt": "2026-11-01T10:00:00Z", "ticket": {
        "ticketID": 1, "uid": "jane@example.com", "subject": customer,
        "dateCreated": "2026-11-01T10:00:00Z", "lastMessageDate": "2026-11-01T10:00:00Z" } })
}

/// The status, and the body without the request id.
fn without_instance(response: Response) -> (u16, Value) {
    let mut body = response.json();
    if let Some(body) = body.as_object_mut() {
        body.remove("instance");
    }
    (response.status, body)
}

async fn all_views(tenant: &Caller<'_>) -> Vec<Value> {
    let mut all = Vec::new();
    for path in [
        "/api/EndUsers",
        "/api/EndUsers?sortBy=name",
        "/api/EndUsers?search=jane",
        "/api/EndUsers?search=jane@example.com&sortBy=city",
        "/api/EndUsers/byUid?uid=jane@example.com",
        "/api/EndUsers/byUid?uid=%2B32470000000",
        "/api/EndUsers/byUid?uid=erp-1",
    ] {
        all.push(tenant.get(path).await.expect(200));
    }
    all
}

#[tokio::test]
async fn tenant_sees_counts_and_finds_only_its_end_users() {
    let app = App::start().await;
    let (one, two) = (app.tenant("one"), app.tenant("two"));
    let empty = all_views(&two).await;
    one.create(jane()).await;
    app.events(&[ticket("one")]).await;
    assert_eq!(all_views(&two).await, empty);
    assert_eq!(empty[0], json!({ "items": [], "totalCount": 0, "totalPages": 0 }));

    let hers = two.create(jane()).await;
    app.events(&[ticket("two")]).await;
    let tickets = two.get(&format!("/api/EndUsers/{}/tickets", hers["endUserID"])).await.expect(200);
    assert_eq!((&tickets["totalCount"], &tickets["items"][0]["subject"]), (&json!(1), &json!("two")));
    for found in all_views(&two).await {
        let items = found.get("items").unwrap_or(&found);
        assert_eq!(items, &json!([hers]), "{found}");
    }
}

#[tokio::test]
async fn record_of_another_tenant_looks_nonexistent() {
    let app = App::start().await;
    let (one, two) = (app.tenant("one"), app.tenant("two"));
    one.create(jane()).await;
    let hers = one.create(jane()).await;
    let id = hers["endUserID"].as_u64().unwrap();
    // The second tenant has an end user, but none with this id.
    let own = two.create(json!({ "firstname": "Own" })).await;
    assert_ne!(own["endUserID"], id);
    let mine = own["endUserID"].as_u64().unwrap();
    let requests = |id: u64| {
        let path = format!("/api/EndUsers/{id}");
        let assign = json!({ "endUserID": id, "uid": "evil@example.com" });
        [
            TestRequest::new("GET", &path),
            TestRequest::new("PUT", &path)
                .json(&json!({ "firstname": "Evil", "uids": [{ "uid": "evil@example.com" }] })),
            TestRequest::new("DELETE", &path),
            TestRequest::new("GET", &format!("{path}/tickets")),
            TestRequest::new("GET", &format!("{path}/duplicates")),
            TestRequest::new("GET", &format!("{path}/merges")),
            TestRequest::new("POST", &format!("{path}/merge")).json(&json!({ "endUserID": mine })),
            TestRequest::new("POST", &format!("/api/EndUsers/{mine}/merge")).json(&json!({ "endUserID": id })),
            TestRequest::new("POST", &format!("{path}/unmerge")),
            TestRequest::new("POST", "/api/EndUserUIDs/assign").json(&assign),
        ]
    };
    for (theirs, missing) in requests(id).into_iter().zip(requests(4711)) {
        let (theirs, missing) = (two.send(theirs).await, two.send(missing).await);
        assert_eq!(theirs.cost(), missing.cost(), "the same cost is expected for {}", theirs.request);
        assert_eq!(theirs.status, 404, "{}", theirs.text());
        assert_eq!(without_instance(theirs), without_instance(missing));
    }
    assert_eq!(one.read(&json!(id)).await, hers, "nothing was changed");
    assert_eq!(two.by_uid("evil@example.com").await, [0u64; 0]);
}

#[tokio::test]
async fn uid_of_another_tenant_cannot_be_changed() {
    let app = App::start().await;
    let (one, two) = (app.tenant("one"), app.tenant("two"));
    let hers = one.create(jane()).await;
    let own = two.create(json!({})).await;
    let uid_id = hers["uids"][0]["endUserUIDID"].clone();
    let path = format!("/api/EndUsers/{}", own["endUserID"]);
    let change = json!({ "uids": [{ "endUserUIDID": uid_id, "uid": "evil@example.com" }] });
    assert_eq!(two.put(&path, change).await.errors(), ["uids[0].endUserUIDID"]);
    let removal = json!({ "uids": [{ "endUserUIDID": uid_id, "markAsDeleted": true }] });
    two.put(&path, removal).await.expect(204);
    assert_eq!(one.read(&hers["endUserID"]).await, hers);
}

#[tokio::test]
async fn only_the_token_selects_the_tenant() {
    let app = App::start().await;
    let (one, two) = (app.tenant("one"), app.tenant("two"));
    let mut claiming = jane();
    let members = ["customerID", "customer", "tenant", "tenantID", "pk", "sk", "kind", "rev", "v"];
    claiming.as_object_mut().unwrap().extend(members.map(|name| (name.to_owned(), json!("two"))));
    claiming["uids"][0]["customerID"] = json!("two");
    let hers = one.create(claiming.clone()).await;
    let path = format!("/api/EndUsers/{}", hers["endUserID"]);
    one.put(&path, claiming.clone()).await.expect(204);
    let link = json!({ "endUserID": hers["endUserID"], "uid": "j@x.be", "customerID": "two", "tenant": "two" });
    one.post("/api/EndUserUIDs/assign", link).await.expect(201);

    let expected = one.create(jane()).await;
    let mut names: Vec<_> = hers.as_object().unwrap().keys().collect();
    let mut plain: Vec<_> = expected.as_object().unwrap().keys().collect();
    names.sort();
    plain.sort();
    assert_eq!(names, plain, "no tenant of the body is stored or shown");
    for path in ["/api/EndUsers", "/api/EndUsers/byUid?uid=erp-1"] {
        let with = if path.contains('?') { '&' } else { '?' };
        let asked = TestRequest::new("GET", &format!("{path}{with}customerID=one&tenant=one"));
        let asked = asked.header("x-customer-id", "one").header("x-tenant", "one");
        let found = two.send(asked).await.expect(200);
        assert_eq!(found.get("items").unwrap_or(&found), &json!([]), "{path}");
    }
    assert_eq!(one.get("/api/EndUsers").await.expect(200)["totalCount"], 2);
}

#[tokio::test]
async fn similar_names_are_different_tenants() {
    let app = App::start().await;
    app.tenant("a").create(jane()).await;
    app.tenant(1).create(jane()).await;
    for other in ["A", "a-", "a_", "aEndUser", "01", "1-"] {
        assert_eq!(app.tenant(other).get("/api/EndUsers").await.expect(200)["totalCount"], 0, "{other}");
    }
    assert_eq!(app.tenant("1").get("/api/EndUsers").await.expect(200)["totalCount"], 1, "1 and \"1\" are one tenant");
}
