//! Unknown paths, response headers, CORS, unusual requests, and the paths that only `local` has.

use std::io::{Read, Write};
use std::time::Duration;

use serde_json::json;

use crate::support::app::{App, Response, TestRequest, token};
use crate::support::openapi::routes;

fn authorized(method: &str, path: &str) -> TestRequest {
    let token = token(json!({ "customerID": 7 }));
    TestRequest::new(method, path).header("authorization", &format!("Bearer {token}"))
}

#[track_caller]
fn assert_gateway_404(response: Response, case: &str) {
    assert_eq!(response.status, 404, "{case}: {}", response.text());
    assert_eq!(response.header("content-type"), Some("application/json"), "{case}");
    assert_eq!(response.header("x-request-id"), None, "{case}: no function was invoked");
    assert_eq!(response.json(), json!({ "message": "Not Found" }), "{case}");
}

#[tokio::test]
async fn paths_and_methods_match_exactly() {
    let app = App::start().await;
    let end_user = app.tenant(7).create(json!({ "firstname": "Here" })).await;
    let id = end_user["endUserID"].to_string();
    let unknown = [
        ("GET", "/index.html"),
        ("GET", "/api"),
        ("GET", "/api/"),
        ("GET", "/api/endusers"),
        ("GET", "/API/EndUsers"),
        ("GET", "/api/EndUsers/"),
        ("GET", "//api/EndUsers"),
        ("GET", "/api//EndUsers"),
        ("GET", "/prod/api/EndUsers"),
        ("GET", "/api/EndUsers/ID/"),
        ("GET", "/api/EndUsers/ID/Tickets"),
        ("GET", "/api/EndUsers/ID/tickets/"),
        ("GET", "/api/EndUsers/ID/tickets/1"),
        ("GET", "/api/EndUsers//tickets"),
        ("GET", "/api/EndUsers/byUid/"),
        ("GET", "/api/EndUserUIDs"),
        ("GET", "/api/EndUserUIDs/assign"),
        ("PUT", "/api/EndUserUIDs/assign"),
        ("POST", "/api/EndUserUIDs/assign/"),
        ("POST", "/api/EndUserUIDs/Assign"),
        ("POST", "/api/EndUsers/"),
        ("POST", "/api/EndUsers/ID"),
        ("PUT", "/api/EndUsers"),
        ("DELETE", "/api/EndUsers"),
        ("PATCH", "/api/EndUsers/ID"),
        ("PATCH", "/api/EndUsers"),
        ("OPTIONS", "/api/EndUsers"),
        ("OPTIONS", "/api/EndUsers/ID"),
        ("TRACE", "/api/EndUsers"),
        ("BREW", "/api/EndUsers"),
        ("get", "/api/EndUsers"),
        ("GET", "/local/settle"),
        ("GET", "/local/ticket-events"),
        ("POST", "/local/other"),
    ];
    for (method, path) in unknown {
        let path = path.replace("ID", &id).replace(&format!("EndUserU{id}s"), "EndUserUIDs");
        assert_gateway_404(authorized(method, &path).to(&app).await, &format!("{method} {path}"));
        assert_gateway_404(TestRequest::new(method, &path).to(&app).await, &format!("{method} {path} without a token"));
    }
    for path in ["/api/EndUsers", "/api/EndUsers/byUid?uid=a", &format!("/api/EndUsers/{id}"), "/"] {
        let response = authorized("HEAD", path).to(&app).await;
        assert_eq!((response.status, response.text().as_str()), (404, ""), "HEAD {path}");
    }
    assert_eq!(app.tenant(7).read(&end_user["endUserID"]).await, end_user);
}

#[tokio::test]
async fn every_function_response_has_the_standard_headers() {
    let app = App::start().await;
    let id = app.tenant(7).create(json!({ "firstname": "Here" })).await["endUserID"].to_string();
    let mut seen = std::collections::HashSet::new();
    let mut last = Vec::new();
    for (method, path) in routes() {
        let path = path.replace("{id}", &id);
        let requests = [
            (TestRequest::new(&method, &path), "no token"),
            (authorized(&method, &path), "bare"),
            (
                authorized(&method, &path).json(&json!({ "endUserID": id.parse::<u64>().unwrap(), "uid": "a@b.test" })),
                "a body",
            ),
            (authorized(&method, &path.replace(&id, "x")), "another id"),
            (authorized(&method, &path.replace(&id, "2147483647")), "unknown end user"),
            (authorized(&method, &path).header("content-type", "text/plain").body("x"), "plain text"),
        ];
        for (request, case) in requests {
            if method == "DELETE" && !["no token", "another id", "unknown end user"].contains(&case) {
                continue;
            }
            last.push((request.to(&app).await, format!("{method} {path}: {case}")));
        }
    }
    last.push((authorized("DELETE", &format!("/api/EndUsers/{id}")).to(&app).await, "DELETE".to_owned()));
    for (response, case) in last {
        let request_id =
            response.header("x-request-id").unwrap_or_else(|| panic!("{case}: no x-request-id")).to_owned();
        assert!(!request_id.is_empty() && seen.insert(request_id.clone()), "{case}: {request_id}");
        assert_eq!(response.header("cache-control"), Some("no-store"), "{case}");
        assert_eq!(response.header("x-content-type-options"), Some("nosniff"), "{case}");
        assert_server_timing(&response, &case);
        match response.status {
            204 => {
                assert!(response.body.is_empty(), "{case}");
                assert_eq!(response.header("content-type"), None, "{case}");
            }
            200 | 201 => assert_eq!(response.header("content-type"), Some("application/json"), "{case}"),
            _ => assert_problem(&response, &case),
        }
    }
}

/// Asserts a `Server-Timing` of the form `db;dur=MS;desc="rtt=N rru=X wru=Y"`.
#[track_caller]
fn assert_server_timing(response: &Response, case: &str) {
    let timing = response.header("server-timing").unwrap_or_else(|| panic!("{case}: no Server-Timing"));
    let figures = timing.strip_prefix("db;dur=").and_then(|rest| rest.strip_suffix('"'));
    let (dur, desc) = figures.and_then(|f| f.split_once(";desc=\"")).unwrap_or_else(|| panic!("{case}: {timing}"));
    let names: Vec<_> = desc.split(' ').map(|figure| figure.split_once('=').unwrap()).collect();
    assert_eq!(names.iter().map(|(name, _)| *name).collect::<Vec<_>>(), ["rtt", "rru", "wru"], "{case}: {timing}");
    for number in names.iter().map(|(_, number)| *number).chain([dur]) {
        assert!(number.parse::<f64>().is_ok_and(|n| n >= 0.0), "{case}: {timing}");
    }
}

#[track_caller]
fn assert_problem(response: &Response, case: &str) {
    assert_eq!(response.header("content-type"), Some("application/problem+json"), "{case}: {}", response.text());
    let problem = response.json();
    let mut members: Vec<_> = problem.as_object().unwrap().keys().map(String::as_str).collect();
    members.retain(|member| *member != "errors");
    members.sort_unstable();
    assert_eq!(members, ["detail", "instance", "status", "title", "type"], "{case}");
    assert_eq!(problem["status"], response.status, "{case}");
    assert_eq!(problem["type"], "about:blank", "{case}");
    assert_eq!(problem["instance"].as_str(), response.header("x-request-id"), "{case}");
    let title = http::StatusCode::from_u16(response.status).unwrap().canonical_reason().unwrap();
    assert_eq!(problem["title"], title, "{case}");
    assert!(problem["detail"].as_str().is_some_and(|detail| !detail.is_empty()), "{case}");
    assert_eq!(problem.get("errors").is_some(), response.status == 400, "{case}: {problem}");
    if let Some(errors) = problem.get("errors") {
        for (path, messages) in errors.as_object().unwrap() {
            let messages = messages.as_array().unwrap();
            assert!(
                !path.is_empty() && !messages.is_empty() && messages.iter().all(|m| m.is_string()),
                "{case}: {errors}"
            );
        }
    }
}

#[tokio::test]
async fn every_problem_has_its_full_body() {
    let app = App::start().await;
    let tenant = app.tenant(7);
    let cases = [
        (authorized("GET", "/api/EndUsers/1"), 404, "Not Found"),
        (authorized("GET", "/api/EndUsers/x"), 400, "Bad Request"),
        (
            authorized("POST", "/api/EndUsers").header("content-type", "text/plain").body("{}"),
            415,
            "Unsupported Media Type",
        ),
        (authorized("POST", "/api/EndUsers").body(vec![b' '; (1 << 20) + 1]), 413, "Payload Too Large"),
    ];
    for (request, status, title) in cases {
        let response = request.to(&app).await;
        assert_eq!((response.status, response.json()["title"].as_str()), (status, Some(title)));
        assert_problem(&response, title);
    }
    // A problem never echoes the request.
    let secret = "do-not-echo-this";
    let response = tenant.post("/api/EndUsers", json!({ "country": secret, "uids": [{ "uid": secret }] })).await;
    assert!(!response.text().contains(secret), "{}", response.text());
}

const CORS: [&str; 6] = [
    "access-control-allow-origin",
    "access-control-allow-methods",
    "access-control-allow-headers",
    "access-control-expose-headers",
    "access-control-allow-credentials",
    "access-control-max-age",
];

fn preflight(origin: &str, path: &str) -> TestRequest {
    TestRequest::new("OPTIONS", path)
        .header("origin", origin)
        .header("access-control-request-method", "PUT")
        .header("access-control-request-headers", "authorization,content-type")
}

#[tokio::test]
async fn cors_is_off_by_default() {
    let app = App::start().await;
    assert_gateway_404(preflight("https://app.test", "/api/EndUsers").to(&app).await, "a preflight");
    let response = authorized("GET", "/api/EndUsers").header("origin", "https://app.test").to(&app).await;
    assert_eq!(response.status, 200);
    for name in CORS {
        assert_eq!(response.header(name), None, "{name}");
    }
}

fn comma_separated(header: Option<&str>) -> Vec<String> {
    let mut items: Vec<_> = header.unwrap_or_default().split(',').map(|item| item.trim().to_lowercase()).collect();
    items.sort();
    items
}

#[tokio::test]
async fn allowed_origins_get_preflights_and_exposed_headers() {
    let app = App::with(&[("CORS_ALLOWED_ORIGINS", "https://app.test, https://b.test")]).await;
    for origin in ["https://app.test", "https://b.test"] {
        let response = preflight(origin, "/api/EndUsers/1").to(&app).await;
        assert!(matches!(response.status, 200 | 204), "{}", response.status);
        assert_eq!(response.header(CORS[0]), Some(origin));
        assert_eq!(comma_separated(response.header(CORS[1])), ["delete", "get", "post", "put"]);
        let allowed = ["authorization", "content-type", "idempotency-key", "if-match", "if-none-match"];
        assert_eq!(comma_separated(response.header(CORS[2])), allowed);
        assert_eq!(response.header(CORS[4]), None);

        let exposed = [
            "etag",
            "idempotency-replayed",
            "location",
            "retry-after",
            "server-timing",
            "www-authenticate",
            "x-request-id",
        ];
        for request in [
            authorized("GET", "/api/EndUsers"),
            TestRequest::new("GET", "/api/EndUsers"),
            authorized("GET", "/api/EndUsers/1"),
        ] {
            let response = request.header("origin", origin).to(&app).await;
            assert_eq!(response.header(CORS[0]), Some(origin), "{}", response.status);
            assert_eq!(comma_separated(response.header(CORS[3])), exposed);
            assert_eq!(response.header(CORS[4]), None);
        }
    }
    for origin in [
        "https://evil.test",
        "http://app.test",
        "https://app.test.evil.test",
        "null",
        "https://app.test, https://b.test",
    ] {
        for request in [preflight(origin, "/api/EndUsers"), authorized("GET", "/api/EndUsers").header("origin", origin)]
        {
            let response = request.to(&app).await;
            for name in CORS {
                assert_eq!(response.header(name), None, "{origin}: {name}");
            }
        }
    }
}

/// The response to raw bytes that no regular client sends.
async fn send_raw(app: &App, head: &[u8]) -> Vec<u8> {
    let address = app.system.address();
    let head = head.to_vec();
    let exchange = move || {
        let mut stream = std::net::TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream.write_all(&head).unwrap();
        let mut response = Vec::new();
        let mut chunk = [0; 4096];
        while let Ok(read @ 1..) = stream.read(&mut chunk) {
            response.extend_from_slice(&chunk[..read]);
        }
        response
    };
    tokio::task::spawn_blocking(exchange).await.unwrap()
}

#[tokio::test]
async fn unusual_request_lines_and_hosts_never_cause_a_5xx() {
    let app = App::start().await;
    app.tenant(7).create(json!({ "firstname": "Here" })).await;
    let token = token(json!({ "customerID": 7 }));
    let mut heads: Vec<Vec<u8>> = Vec::new();
    // Percent-encoded, the query would be three times as long.
    let long = format!("search={}", "`".repeat(22_000));
    for query in [
        long.as_str(),
        r#"search="here""#,
        "search=<b>",
        "search=`x`",
        "search={x}",
        "search=[x]|^\\",
        "search=#x",
        "search=?x&&=&=x&%",
        "search=%zz",
        "search=%",
        "%ff=1",
        "search=%ff",
        "search=a%00b",
        "=",
        "&&&&",
        "pageSize",
        "?",
        "search='--",
        "search=a\"b<c>d",
        "search=a b",
        "search=%C3",
        "search=%ED%A0%80",
        "search=%C0%AF",
        "search=%F4%90%80%80",
        "search=%25%32%32",
        "search=%u0041",
        "search=%+41",
        "uid=%0d%0aX-Injected:%201",
        "uid=%E2%80%AE",
        "pageNumber=%31&pageNumber=%32",
        &format!("search={}", "%41".repeat(10_000)),
        &"a=b&".repeat(10_000),
    ] {
        for path in ["/api/EndUsers", "/api/EndUsers/byUid", "/api/EndUsers/1/tickets"] {
            heads.push(format!("GET {path}?{query} HTTP/1.1\r\nHost: localhost\r\n").into());
        }
    }
    heads.push(b"GET /api/EndUsers?search=\xc3\xa9\xff HTTP/1.1\r\nHost: localhost\r\n".to_vec());
    for path in [
        "/api/EndUsers/%ff",
        "/api/EndUsers/%00",
        "/api/EndUsers/\"",
        "/api/EndUsers/%2F",
        "/api/EndUsers/..",
        "/api/EndUsers/<1>",
        "*",
        "http://x/api/EndUsers",
        "/api/EndUsers/1 2",
        "/api/EndUsers/%zz",
        "/api/EndUsers/%F0%28%8C%28",
        "/api/EndUsers/..%2f..%2fetc%2fpasswd",
        "/api/EndUsers/1;x=1",
        "/api/EndUsers/1%00/tickets",
        "/api/%45ndUsers",
        "x://[",
        "",
        &format!("/api/EndUsers/{}", "1".repeat(20_000)),
        &format!("/{}", "a/".repeat(30_000)),
        &format!("/api/EndUsers?search={}", "a".repeat(70_000)),
    ] {
        heads.push(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n").into());
    }
    for host in [
        "",
        " ",
        "a b",
        "[",
        "[::1",
        "a:b:c",
        "a:99999999",
        "\"",
        "<x>",
        "user@host",
        "h\u{e9}",
        "..",
        "/",
        "a/b?c#d",
        "%",
        "localhost\r\nHost: other",
        "x:99999",
        "x:-1",
        "x:",
        ":80",
        "xn--",
        "xn--a",
        "xn--99999999999",
        "-",
        "a,b",
        &"a.".repeat(500),
        &"a".repeat(20_000),
    ] {
        heads.push(format!("GET /api/EndUsers HTTP/1.1\r\nHost: {host}\r\n").into());
    }
    heads.push(b"GET /api/EndUsers HTTP/1.1\r\nHost: \xff\xfe\r\n".to_vec());
    heads.push(b"GET /api/EndUsers HTTP/1.0\r\n".to_vec());
    for header in [
        "X-Forwarded-Proto: \"<",
        "X-Forwarded-Proto: ",
        "X-Forwarded-Proto: https,http",
        "X-Forwarded-Proto: https\r\nX-Forwarded-Proto: http",
        "X-Forwarded-Proto: javascript",
        "X-Forwarded-Port: 99999",
        "X-Forwarded-For: \"<, ,",
        "Authorization: Basic eDp5",
        "Authorization: \"<",
        "Content-Type: \"",
        "Content-Length: 0\r\nContent-Length: 0",
        "Content-Length: x",
        "Transfer-Encoding: chunked, x",
        "Expect: nothing",
        "If-None-Match: \"",
        "Idempotency-Key: \u{e9}",
        "X-Forwarded-Host: a b",
        "Cookie: \"",
        "X-Amzn-Trace-Id: ?",
        "Origin: \u{7f}",
    ] {
        heads.push(format!("GET /api/EndUsers HTTP/1.1\r\nHost: localhost\r\n{header}\r\n").into());
    }
    let responses = heads.into_iter().map(|head| {
        let rest = format!("Authorization: Bearer {token}\r\nConnection: close\r\n\r\n");
        let (app, whole) = (&app, [&head[..], rest.as_bytes()].concat());
        async move { (head, send_raw(app, &whole).await) }
    });
    for (head, response) in futures::future::join_all(responses).await {
        let (head, response) =
            (String::from_utf8_lossy(&head).into_owned(), String::from_utf8_lossy(&response).into_owned());
        let status =
            response.strip_prefix("HTTP/1.").and_then(|rest| rest.get(2..5)).and_then(|s| s.parse::<u16>().ok());
        assert!(status.is_some_and(|status| (200..500).contains(&status)), "{head:?}: {response:?}");
    }
}

#[tokio::test]
async fn two_authorization_headers_are_rejected() {
    let app = App::start().await;
    let good = format!("Bearer {}", token(json!({ "customerID": 7 })));
    let other = format!("Bearer {}", token(json!({ "customerID": 8 })));
    for (first, second) in
        [(good.as_str(), other.as_str()), (&good, &good), (&good, "Basic eDp5"), ("Basic eDp5", &good), (&good, "")]
    {
        let head = format!(
            "GET /api/EndUsers HTTP/1.1\r\nHost: localhost\r\nAuthorization: {first}\r\nauthorization: {second}\r\n\
             Connection: close\r\n\r\n"
        );
        let response = String::from_utf8(send_raw(&app, head.as_bytes()).await).unwrap();
        assert!(response.starts_with("HTTP/1.1 401"), "{first} and {second}: {response}");
    }
}

/// An event of payload format 2.0 with changes that the gateway never makes.
fn modified_event(route: &str, changes: serde_json::Value) -> serde_json::Value {
    let (method, path) = route.split_once(' ').unwrap();
    let authorization = format!("Bearer {}", token(json!({ "customerID": 7 })));
    let mut event = json!({
        "version": "2.0", "routeKey": route, "rawPath": path, "rawQueryString": "", "isBase64Encoded": false,
        "headers": { "authorization": authorization, "host": "localhost", "content-type": "application/json" },
        "pathParameters": { "id": "1" },
        "requestContext": { "http": { "method": method, "path": path, "protocol": "HTTP/1.1",
            "sourceIp": "127.0.0.1", "userAgent": "x" }, "requestId": "r", "routeKey": route, "stage": "$default",
            "time": "", "timeEpoch": 0, "accountId": "1", "apiId": "1", "domainName": "localhost" }
    });
    for (pointer, value) in changes.as_object().unwrap() {
        let (parent, member) = pointer.rsplit_once('/').unwrap();
        let place = event.pointer_mut(parent).unwrap().as_object_mut().unwrap();
        place.insert(member.to_owned(), value.clone());
    }
    event
}

#[tokio::test]
async fn unusual_events_never_cause_a_5xx() {
    let app = App::start().await;
    let jane = "eyJmaXJzdG5hbWUiOiJKYW5lIn0=";
    let create = "POST /api/EndUsers";
    for (changes, status) in [
        (json!({ "/body": jane, "/isBase64Encoded": true }), 201),
        // Invalid base64 is read as text, which is no JSON.
        (json!({ "/body": "%%%", "/isBase64Encoded": true }), 400),
        (json!({ "/body": "e30", "/isBase64Encoded": true }), 400),
        (json!({ "/body": "e3=0", "/isBase64Encoded": true }), 400),
        (json!({ "/body": "e30=\n", "/isBase64Encoded": true }), 400),
        (json!({ "/body": "\u{e9}", "/isBase64Encoded": true }), 400),
        (json!({ "/body": "/////w==", "/isBase64Encoded": true }), 400),
        (json!({ "/body": "", "/isBase64Encoded": true }), 400),
        (json!({ "/isBase64Encoded": true }), 400),
        (json!({ "/body": null, "/isBase64Encoded": true }), 400),
        (json!({ "/body": jane }), 400),
    ] {
        let response = app.system.invoke("create-end-user", &modified_event(create, changes.clone())).await.unwrap();
        assert_eq!(response["statusCode"], status, "{changes}: {response}");
    }
    for changes in [
        json!({ "/headers/host": "x:99999" }),
        json!({ "/headers/host": "xn--" }),
        json!({ "/headers/host": "\"<x>" }),
        json!({ "/headers/x-forwarded-proto": "https,http" }),
        json!({ "/headers/x-forwarded-proto": "\"<" }),
        json!({ "/requestContext/domainName": "[::1" }),
        json!({ "/rawPath": "/api/\u{0}\"<>%" }),
        json!({ "/rawPath": "" }),
        json!({ "/rawPath": "//x:99999/ " }),
        json!({ "/rawQueryString": "search=\"<a b>#`{}|\\^\u{e9}%zz%ff" }),
        json!({ "/rawQueryString": "a=\u{7f}\u{0}\n" }),
        json!({ "/queryStringParameters": { "search": "\u{0}" } }),
        json!({ "/cookies": ["\"", "a=b; \n"] }),
        json!({ "/requestContext/requestId": "\u{e9}\n" }),
        json!({ "/requestContext/requestId": null }),
    ] {
        let response = app.system.invoke("list-end-users", &modified_event("GET /api/EndUsers", changes.clone())).await;
        let response = response.unwrap_or_else(|| panic!("{changes}: it crashed"));
        assert!([200, 400].contains(&response["statusCode"].as_u64().unwrap()), "{changes}: {response}");
    }
}

#[tokio::test]
async fn quotes_and_brackets_in_a_query_are_literal() {
    let app = App::start().await;
    let tenant = app.tenant(7);
    let end_user = tenant.create(json!({ "customerRef": r#"<a"b>"# })).await;
    app.settle().await;
    let token = token(json!({ "customerID": 7 }));
    let head = format!(
        "GET /api/EndUsers/byUid?uid=%3Ca\"b%3E HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\nConnection: close\r\n\r\n"
    );
    let response = String::from_utf8(send_raw(&app, head.as_bytes()).await).unwrap();
    assert!(
        response.starts_with("HTTP/1.1 200") && response.ends_with(&json!([end_user]).to_string())
            || response.starts_with("HTTP/1.1 400"),
        "{response}"
    );
}

fn ticket(id: u64, uid: &str) -> serde_json::Value {
    json!({
        "type": "ticket.upserted", "customerID": 7, "occurredAt": "2026-01-01T00:00:00Z",
        "ticket": { "ticketID": id, "uid": uid, "dateCreated": "2026-01-01T00:00:00Z", "lastMessageDate": "2026-01-01T00:00:00Z" }
    })
}

#[tokio::test]
async fn ticket_events_are_accepted_even_if_invalid() {
    let app = App::start().await;
    let tenant = app.tenant(7);
    let id = tenant.create(json!({ "uids": [{ "uid": "jane@x.test" }] })).await["endUserID"].clone();
    let tickets = || async {
        app.settle().await;
        let page = tenant.get(&format!("/api/EndUsers/{id}/tickets?sortBy=ticketID")).await.expect(200);
        page["items"].as_array().unwrap().iter().map(|t| t["ticketID"].as_u64().unwrap()).collect::<Vec<_>>()
    };
    let post = |kind: &str, body: Vec<u8>| {
        TestRequest::new("POST", "/local/ticket-events").header("content-type", kind).body(body)
    };

    let one = serde_json::to_string_pretty(&ticket(1, "jane@x.test")).unwrap();
    let response = post("application/json", one.into()).to(&app).await;
    assert_eq!((response.status, response.text().as_str()), (202, ""));
    assert_eq!(tickets().await, [1]);

    let lines =
        format!("{}\r\n\n{}\n{}\n", ticket(2, "jane@x.test"), r#"{"type":"nothing"}"#, ticket(3, "jane@x.test"));
    post("application/x-ndjson", lines.into()).to(&app).await.expect(202);
    assert_eq!(tickets().await, [1, 2, 3], "an invalid event affects no other event");
    assert_eq!(app.system.dead_letters().await, [r#"{"type":"nothing"}"#]);

    for (kind, body) in [
        ("application/x-ndjson", format!("{}\nnot JSON\n", ticket(4, "jane@x.test")).into_bytes()),
        ("application/x-ndjson", [ticket(4, "jane@x.test").to_string().as_bytes(), b"\n\"\xff\""].concat()),
        ("application/json", format!("{0}\n{0}", ticket(4, "jane@x.test")).into_bytes()),
        ("application/json", b"not JSON".to_vec()),
        ("application/json", Vec::new()),
    ] {
        let case = String::from_utf8_lossy(&body).into_owned();
        let response = post(kind, body).to(&app).await;
        assert_eq!(response.status, 400, "{case}: {}", response.text());
    }
    assert_eq!(tickets().await, [1, 2, 3], "an invalid body is rejected as a whole");
    assert_eq!(app.system.dead_letters().await.len(), 1);
}

#[tokio::test]
async fn settle_waits_until_events_are_visible() {
    let app = App::start().await;
    let tenant = app.tenant(7);
    let response = TestRequest::new("POST", "/local/settle").to(&app).await;
    assert_eq!((response.status, response.text().as_str()), (204, ""));
    for i in 0..20 {
        tenant.create(json!({ "firstname": "Settled", "lastname": format!("n{i}") })).await;
    }
    app.settle().await;
    assert_eq!(tenant.get("/api/EndUsers?search=settled").await.expect(200)["totalCount"], 20);
}

#[tokio::test]
async fn bodies_over_the_gateway_limit_reach_no_function() {
    let app = App::start().await;
    let response = app.tenant(7).send(TestRequest::new("POST", "/api/EndUsers").body(vec![b' '; (10 << 20) + 1])).await;
    assert_eq!((response.status, response.text().as_str()), (413, r#"{"message":"Request Entity Too Large"}"#));
    assert_eq!(response.header("x-request-id"), None);
}

#[tokio::test]
async fn ticket_events_are_json_or_ndjson() {
    let app = App::start().await;
    let post = |kind: &str, body: &str| {
        TestRequest::new("POST", "/local/ticket-events").header("content-type", kind).body(body.to_owned()).to(&app)
    };
    post("application/json", r#"{"type":"nonsense"}"#).await.expect(202);
    post("application/x-ndjson", "{\"a\":1}\n\n[2]\n").await.expect(202);
    assert!(post("application/x-ndjson", "{\"a\":1}\nnot JSON\n").await.expect(400)["message"].is_string());
    post("application/json", "").await.expect(400);
    app.settle().await;
    assert_eq!(
        app.system.dead_letters().await,
        [r#"{"type":"nonsense"}"#, r#"{"a":1}"#, "[2]"],
        "the event is accepted, retried and moved to the dead letters"
    );
}

#[tokio::test]
async fn reads_show_every_acknowledged_write() {
    let app = App::start().await;
    let tenant = app.tenant(7);
    for n in 1..=20 {
        let end_user = tenant.create(json!({ "uids": [{ "uid": format!("p{n}@x.be") }] })).await;
        assert_eq!(tenant.read(&end_user["endUserID"]).await, end_user);
        assert_eq!(tenant.get("/api/EndUsers?pageSize=1&sortOrder=desc").await.expect(200)["items"][0], end_user);
        assert_eq!(tenant.get("/api/EndUsers").await.expect(200)["totalCount"], n);
    }
    tenant.delete("/api/EndUsers/20").await.expect(204);
    tenant.delete("/api/EndUsers/20").await.expect(404);
    assert_eq!(tenant.get("/api/EndUsers").await.expect(200)["totalCount"], 19);
}
