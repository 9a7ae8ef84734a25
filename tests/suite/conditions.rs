//! `ETag`, `If-Match` and `If-None-Match`: a change is made to the end user that its maker has seen.

use serde_json::{Value, json};

use crate::app::{Answer, App, Caller, TestRequest};

fn with(method: &str, id: &Value, header: &str, tag: &str) -> TestRequest {
    let send = TestRequest::new(method, &format!("/api/EndUsers/{id}")).header(header, tag);
    if method == "PUT" { send.json(&json!({ "firstname": "Janet" })) } else { send }
}

fn etag(answer: &Answer) -> String {
    answer.header("etag").expect("an ETag").to_owned()
}

async fn read(tenant: &Caller<'_>, id: &Value) -> Answer {
    tenant.get(&format!("/api/EndUsers/{id}")).await
}

#[tokio::test]
async fn an_end_user_has_a_strong_etag_that_each_change_changes() {
    let app = App::start().await;
    let tenant = app.tenant(7);
    let created = tenant.post("/api/EndUsers", json!({ "firstname": "Jane" })).await;
    let id = created.json()["endUserID"].clone();
    let mut seen = vec![etag(&created)];
    assert_eq!(etag(&read(&tenant, &id).await), seen[0]);
    assert!(seen[0].starts_with('"') && seen[0].ends_with('"') && seen[0].len() > 2, "{seen:?}");

    tenant.update(&id, json!({ "firstname": "Janet" })).await;
    seen.push(etag(&read(&tenant, &id).await));
    tenant.post("/api/EndUserUIDs/assign", json!({ "endUserID": id, "uid": "j@x.be" })).await.expect(201);
    seen.push(etag(&read(&tenant, &id).await));
    let distinct: std::collections::BTreeSet<_> = seen.iter().collect();
    assert_eq!(distinct.len(), 3, "{seen:?}");

    // What changes nothing leaves it.
    tenant.update(&id, json!({ "firstname": "Janet" })).await;
    tenant.post("/api/EndUserUIDs/assign", json!({ "endUserID": id, "uid": "J@x.be" })).await.expect(200);
    assert_eq!(etag(&read(&tenant, &id).await), seen[2]);
}

#[tokio::test]
async fn a_change_of_an_end_user_who_changed_since_is_412_and_writes_nothing() {
    let app = App::start().await;
    let tenant = app.tenant(7);
    let id = tenant.create(json!({ "firstname": "Jane" })).await["endUserID"].clone();
    let stale = etag(&read(&tenant, &id).await);
    tenant.update(&id, json!({ "lastname": "Doe" })).await;
    let now = read(&tenant, &id).await;
    let current = etag(&now);

    let weak = format!("W/{current}");
    for tag in [stale.as_str(), weak.as_str(), "\"nonsense\"", "nonsense", "\"\"", ""] {
        for method in ["PUT", "DELETE"] {
            let problem = tenant.send(with(method, &id, "if-match", tag)).await.expect(412);
            assert_eq!(problem["title"], "Precondition Failed", "{method} {tag}");
            assert_eq!(
                problem["detail"],
                "the end user was modified: If-Match or If-None-Match does not allow its current ETag"
            );
        }
        tenant.send(with("GET", &id, "if-match", tag)).await.expect(412);
    }
    for method in ["PUT", "DELETE"] {
        for tag in ["*", current.as_str(), weak.as_str()] {
            tenant.send(with(method, &id, "if-none-match", tag)).await.expect(412);
        }
    }
    assert_eq!(read(&tenant, &id).await.json(), now.json());

    let listed = format!("{stale}, {current}");
    tenant.send(with("PUT", &id, "if-match", &listed)).await.expect(204);
    tenant.send(with("PUT", &id, "if-none-match", &stale)).await.expect(204);
    tenant.send(with("PUT", &id, "if-match", "*")).await.expect(204);
    let current = etag(&read(&tenant, &id).await);
    tenant.send(with("DELETE", &id, "if-match", &current)).await.expect(204);
    // Who is not there is not found, whatever is expected of it.
    for (method, tag) in [("GET", "*"), ("PUT", current.as_str()), ("DELETE", stale.as_str())] {
        tenant.send(with(method, &id, "if-match", tag)).await.expect(404);
    }
}

#[tokio::test]
async fn who_has_the_current_end_user_is_told_so() {
    let app = App::start().await;
    let tenant = app.tenant(7);
    let id = tenant.create(json!({ "firstname": "Jane" })).await["endUserID"].clone();
    let whole = read(&tenant, &id).await;
    let current = etag(&whole);
    for tag in [current.clone(), format!("W/{current}"), "*".to_owned(), format!("\"0\",{current}")] {
        let answer = tenant.send(with("GET", &id, "if-none-match", &tag)).await;
        assert_eq!((answer.status, answer.text().as_str()), (304, ""), "{tag}");
        assert_eq!(etag(&answer), current);
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        assert_eq!(answer.header("content-type"), None);
    }
    for tag in ["\"0\"", "nonsense", ""] {
        let answer = tenant.send(with("GET", &id, "if-none-match", tag)).await;
        assert_eq!(answer.expect(200), whole.json(), "{tag}");
    }
    tenant.update(&id, json!({ "firstname": "Janet" })).await;
    tenant.send(with("GET", &id, "if-none-match", &current)).await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_changes_to_the_same_revision_one_is_made() {
    let app = App::start().await;
    let tenant = app.tenant(7);
    let id = tenant.create(json!({ "firstname": "Jane" })).await["endUserID"].clone();
    let current = etag(&read(&tenant, &id).await);
    let change = async |n: usize| {
        let send = TestRequest::new("PUT", &format!("/api/EndUsers/{id}")).header("if-match", &current);
        tenant.send(send.json(&json!({ "city": format!("City {n}") }))).await.status
    };
    let statuses = futures::future::join_all((0..12).map(change)).await;
    assert_eq!(statuses.iter().filter(|status| **status == 204).count(), 1, "{statuses:?}");
    assert!(statuses.iter().all(|status| [204, 412].contains(status)), "{statuses:?}");
}
