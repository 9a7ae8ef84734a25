//! `ETag`, `If-Match` and `If-None-Match` (docs/api.md, Conditions).

use serde_json::{Value, json};

use crate::support::app::{App, Caller, Response, TestRequest};

fn conditional(method: &str, id: &Value, header: &str, tag: &str) -> TestRequest {
    let request = TestRequest::new(method, &format!("/api/EndUsers/{id}")).header(header, tag);
    if method == "PUT" { request.json(&json!({ "firstname": "Janet" })) } else { request }
}

fn etag(response: &Response) -> String {
    response.header("etag").expect("an ETag").to_owned()
}

async fn read(tenant: &Caller<'_>, id: &Value) -> Response {
    tenant.get(&format!("/api/EndUsers/{id}")).await
}

#[tokio::test]
async fn every_change_gives_a_new_strong_etag() {
    let app = App::start().await;
    let tenant = app.tenant(7);
    let created = tenant.post("/api/EndUsers", json!({ "firstname": "Jane" })).await;
    let id = created.json()["endUserID"].clone();
    let mut seen = vec![etag(&created)];
    assert_eq!(etag(&read(&tenant, &id).await), seen[0]);
    assert!(seen[0].starts_with('"') && seen[0].ends_with('"') && seen[0].len() > 2, "{seen:?}");

    tenant.update(&id, json!({ "firstname": "Janet" })).await;
    seen.push(etag(&read(&tenant, &id).await));
    let assigned = tenant.post("/api/EndUserUIDs/assign", json!({ "endUserID": id, "uid": "j@x.be" })).await;
    assert_eq!(assigned.status, 201);
    seen.push(etag(&read(&tenant, &id).await));
    assert_eq!(etag(&assigned), seen[2]);
    let distinct: std::collections::BTreeSet<_> = seen.iter().collect();
    assert_eq!(distinct.len(), 3, "{seen:?}");

    // An update that changes nothing keeps the ETag.
    tenant.update(&id, json!({ "firstname": "Janet" })).await;
    let again = tenant.post("/api/EndUserUIDs/assign", json!({ "endUserID": id, "uid": "J@x.be" })).await;
    assert_eq!(again.status, 200);
    assert_eq!(etag(&again), seen[2]);
    assert_eq!(etag(&read(&tenant, &id).await), seen[2]);
}

#[tokio::test]
async fn stale_if_match_is_412_and_writes_nothing() {
    let app = App::start().await;
    let tenant = app.tenant(7);
    let id = tenant.create(json!({ "firstname": "Jane" })).await["endUserID"].clone();
    let stale = etag(&read(&tenant, &id).await);
    tenant.update(&id, json!({ "lastname": "Doe" })).await;
    let now = read(&tenant, &id).await;
    let current = etag(&now);

    let weak = format!("W/{current}");
    // The tag of another end user with the same revision is no match.
    let other = format!("\"{}-2\"", id.as_u64().unwrap() + 1);
    assert_eq!(current, format!("\"{id}-2\""));
    for tag in [stale.as_str(), weak.as_str(), &other, "\"nonsense\"", "\"\"", ""] {
        for method in ["PUT", "DELETE"] {
            let problem = tenant.send(conditional(method, &id, "if-match", tag)).await.expect(412);
            assert_eq!(problem["title"], "Precondition Failed", "{method} {tag}");
            assert_eq!(
                problem["detail"],
                "the end user was modified: If-Match or If-None-Match does not allow its current ETag"
            );
        }
        tenant.send(conditional("GET", &id, "if-match", tag)).await.expect(412);
    }
    for method in ["PUT", "DELETE"] {
        for tag in ["*", current.as_str(), weak.as_str()] {
            tenant.send(conditional(method, &id, "if-none-match", tag)).await.expect(412);
        }
    }
    assert_eq!(read(&tenant, &id).await.json(), now.json());

    let listed = format!("{stale}, {current}");
    tenant.send(conditional("PUT", &id, "if-match", &listed)).await.expect(204);
    tenant.send(conditional("PUT", &id, "if-none-match", &stale)).await.expect(204);
    tenant.send(conditional("PUT", &id, "if-match", "*")).await.expect(204);
    let current = etag(&read(&tenant, &id).await);
    tenant.send(conditional("DELETE", &id, "if-match", &current)).await.expect(204);
    // 404 comes before 412.
    for (method, tag) in [("GET", "*"), ("PUT", current.as_str()), ("DELETE", stale.as_str())] {
        tenant.send(conditional(method, &id, "if-match", tag)).await.expect(404);
    }
}

#[tokio::test]
async fn matching_if_none_match_is_304() {
    let app = App::start().await;
    let tenant = app.tenant(7);
    let id = tenant.create(json!({ "firstname": "Jane" })).await["endUserID"].clone();
    let whole = read(&tenant, &id).await;
    let current = etag(&whole);
    for tag in [current.clone(), format!("W/{current}"), "*".to_owned(), format!("\"0\",{current}")] {
        let response = tenant.send(conditional("GET", &id, "if-none-match", &tag)).await;
        assert_eq!((response.status, response.text().as_str()), (304, ""), "{tag}");
        assert_eq!(etag(&response), current);
        assert_eq!(response.header("cache-control"), Some("no-store"));
        assert_eq!(response.header("content-type"), None);
    }
    for tag in ["\"0\"", "\"nonsense\"", ""] {
        let response = tenant.send(conditional("GET", &id, "if-none-match", tag)).await;
        assert_eq!(response.expect(200), whole.json(), "{tag}");
    }
    tenant.update(&id, json!({ "firstname": "Janet" })).await;
    tenant.send(conditional("GET", &id, "if-none-match", &current)).await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_of_concurrent_updates_with_the_same_etag_wins() {
    let app = App::start().await;
    let tenant = app.tenant(7);
    let id = tenant.create(json!({ "firstname": "Jane" })).await["endUserID"].clone();
    let current = etag(&read(&tenant, &id).await);
    let change = async |n: usize| {
        let request = TestRequest::new("PUT", &format!("/api/EndUsers/{id}")).header("if-match", &current);
        tenant.send(request.json(&json!({ "city": format!("City {n}") }))).await.status
    };
    let statuses = futures::future::join_all((0..12).map(change)).await;
    assert_eq!(statuses.iter().filter(|status| **status == 204).count(), 1, "{statuses:?}");
    assert!(statuses.iter().all(|status| [204, 412].contains(status)), "{statuses:?}");
}

#[tokio::test]
async fn condition_without_quotes_is_400() {
    let app = App::start().await;
    let tenant = app.tenant(7);
    let id = tenant.create(json!({ "firstname": "Jane" })).await["endUserID"].clone();
    for method in ["GET", "PUT", "DELETE"] {
        for header in ["If-Match", "If-None-Match"] {
            for value in ["1", &format!("{id}-1"), "nonsense", "*, \"1\""] {
                let problem = tenant.send(conditional(method, &id, header, value)).await.expect(400);
                let message = "must be * or a list of entity tags in double quotes, such as \"12-3\"";
                assert_eq!(problem["errors"], json!({ header: [message] }), "{method} {value}");
            }
        }
    }
    // The error is reported with those of the body, and before 404.
    let request = TestRequest::new("PUT", "/api/EndUsers/2").header("if-match", "1").json(&json!({ "lang": "?" }));
    assert_eq!(tenant.send(request).await.errors(), ["If-Match", "lang"]);
}
