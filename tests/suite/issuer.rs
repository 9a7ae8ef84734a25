//! Keys that an issuer publishes, with healthy, slow and failing issuers (docs/api.md, Authentication).

use std::io::{Read, Write};
use std::net::TcpListener;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use futures::future::{join, join_all};
use futures::stream::{self, StreamExt};
use serde_json::{Value, json};

use crate::support::app::{App, Response, SECRET, TIME_OUT, TestRequest, built_functions, now};
use crate::support::issuer::{Issuer, Reaction, key_set, raw_bytes, reaction, response};
use crate::support::tokens::Rejection::Invalid;
use crate::support::tokens::{ED25519, KeyPair, assert_rejected, good_claims, headed};

/// The key pair of RFC 8032, section 7.1, test 2.
const OTHER: KeyPair =
    KeyPair { d: "TM0Imyj_ltqdtsNG7BFOD1uKMZ81q6Yk2oz27U-4pvs", x: "PUAXw-hDiVqStwqnTRt-vJyYLM8uxJaMwM1V8Sr0Zgw" };

/// Sends nothing until the client closes the connection.
fn silent() -> Reaction {
    reaction(|stream| {
        let _ = stream.read(&mut [0]);
    })
}

/// Sends `head`, then `more` repeatedly with a pause, until the client closes the connection.
fn endless(head: &str, more: &str, pause: Duration) -> Reaction {
    let (head, more) = (head.to_owned(), more.repeat(if pause.is_zero() { 4096 } else { 1 }));
    reaction(move |stream| {
        let mut open = stream.write_all(head.as_bytes()).is_ok();
        while open {
            std::thread::sleep(pause);
            open = stream.write_all(more.as_bytes()).is_ok();
        }
    })
}

const DRIP: Duration = Duration::from_millis(50);
const CHUNKED: &str = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";

fn jwk(kid: &str, pair: &KeyPair) -> Value {
    json!({ "kty": "OKP", "crv": "Ed25519", "kid": kid, "x": pair.x })
}

fn token(kid: &str, pair: &KeyPair) -> String {
    pair.signed(&json!({ "alg": "EdDSA", "kid": kid }).to_string(), &good_claims())
}

async fn get(app: &App, token: String) -> Response {
    app.caller(Some(token)).get("/api/EndUsers").await
}

#[track_caller]
fn assert_accepted(response: Response) {
    assert_eq!(response.expect(200), json!({ "items": [], "totalCount": 0, "totalPages": 0 }));
}

/// Asserts the 503 for a token that cannot be verified. The caller is not at fault, so it is no 401.
#[track_caller]
fn assert_unavailable(response: Response, case: &str) {
    let id = response.header("x-request-id").unwrap_or_else(|| panic!("{case}: no x-request-id")).to_owned();
    assert_eq!((response.header("retry-after"), response.header("www-authenticate")), (Some("1"), None), "{case}");
    assert_eq!(response.header("content-type"), Some("application/problem+json"), "{case}");
    let problem = json!({
        "type": "about:blank",
        "title": "Service Unavailable",
        "status": 503,
        "detail": "the token cannot be verified because its issuer is unavailable; retry the request",
        "instance": id,
    });
    assert_eq!(response.expect(503), problem, "{case}");
}

/// The most instances of one function. Each instance fetches its own key set.
fn instances() -> usize {
    if built_functions().is_some() { 16 } else { 1 }
}

/// Makes as many instances fetch the key set as `n` concurrent requests need. The set contains `kid`.
async fn warm_up(issuer: &Issuer, app: &App, kid: &str, n: usize) {
    let published = issuer.reaction.lock().unwrap().clone();
    issuer.react_with(&reaction(move |stream| {
        std::thread::sleep(Duration::from_millis(500));
        published(stream);
    }));
    join_all((0..n).map(|_| get(app, token(kid, &ED25519)))).await.into_iter().for_each(assert_accepted);
}

#[tokio::test]
async fn key_is_found_by_kid_and_key_set_is_fetched_once() {
    let symmetric = json!({ "kty": "oct", "kid": "shared", "k": URL_SAFE_NO_PAD.encode(SECRET) });
    let issuer = Issuer::publishing(&[symmetric, jwk("a", &ED25519), jwk("b", &OTHER)]);
    let app = issuer.app().await;
    for _ in 0..3 {
        assert_accepted(get(&app, token("a", &ED25519)).await);
        assert_accepted(get(&app, token("b", &OTHER)).await);
    }
    assert_rejected(get(&app, token("a", &OTHER)).await, Invalid, "the key of another kid");
    assert_rejected(get(&app, headed(r#"{"alg":"HS256","kid":"shared"}"#)).await, Invalid, "a symmetric key in a set");
    assert_eq!(issuer.fetched(), 2, "one fetch for the first token and one for the unknown kid");

    let without_kid = ED25519.signed(r#"{"alg":"EdDSA"}"#, &good_claims());
    assert_rejected(get(&app, without_kid).await, Invalid, "no kid");
    for kid in ["", "A", "a ", "a\u{0}"] {
        assert_rejected(get(&app, token(kid, &ED25519)).await, Invalid, &format!("the kid {kid:?}"));
    }
    app.caller(None).get("/api/EndUsers").await.expect(401);
    assert_eq!(issuer.fetched(), 2);
}

#[tokio::test]
async fn new_kid_is_valid_at_once_and_withdrawn_kid_is_not() {
    let issuer = Issuer::publishing(&[jwk("old", &ED25519)]);
    let app = issuer.app().await;
    assert_accepted(get(&app, token("old", &ED25519)).await);

    issuer.publish(&[jwk("new", &OTHER)]);
    assert_accepted(get(&app, token("new", &OTHER)).await);
    assert_rejected(get(&app, token("old", &ED25519)).await, Invalid, "a withdrawn kid");
    assert_rejected(get(&app, token("new", &ED25519)).await, Invalid, "the old key under the new kid");
    assert_eq!(issuer.fetched(), 2);
}

#[tokio::test]
async fn both_published_keys_are_valid() {
    let issuer = Issuer::publishing(&[jwk("old", &ED25519)]);
    let app = issuer.app().await;
    assert_accepted(get(&app, token("old", &ED25519)).await);
    issuer.publish(&[jwk("new", &OTHER), jwk("old", &ED25519)]);
    for _ in 0..2 {
        assert_accepted(get(&app, token("new", &OTHER)).await);
        assert_accepted(get(&app, token("old", &ED25519)).await);
    }
    assert_eq!(issuer.fetched(), 2);
}

#[tokio::test]
async fn replaced_key_is_valid_from_the_next_fetch() {
    let issuer = Issuer::publishing(&[jwk("a", &ED25519)]);
    let app = issuer.app().await;
    assert_accepted(get(&app, token("a", &ED25519)).await);

    issuer.publish(&[jwk("a", &OTHER)]);
    assert_rejected(get(&app, token("a", &OTHER)).await, Invalid, "a key that was not fetched yet");
    assert_accepted(get(&app, token("a", &ED25519)).await);
    assert_eq!(issuer.fetched(), 1, "an invalid signature causes no fetch");

    assert_rejected(get(&app, token("unknown", &OTHER)).await, Invalid, "a kid that is in no set");
    assert_eq!(issuer.fetched(), 2);
    assert_accepted(get(&app, token("a", &OTHER)).await);
    assert_rejected(get(&app, token("a", &ED25519)).await, Invalid, "the key that was replaced");
}

#[tokio::test]
async fn issuer_down_at_start_is_503_until_it_responds() {
    let down = [
        ("closes", raw_bytes("")),
        ("500", response("500 Internal Server Error", "text/plain", "no")),
        ("silent", silent()),
    ];
    for (case, reaction) in down {
        let issuer = Issuer::start();
        issuer.react_with(&reaction);
        let app = issuer.app().await;
        assert_unavailable(get(&app, token("a", &ED25519)).await, case);
        assert_rejected(get(&app, "garbage".to_owned()).await, Invalid, case);
        app.caller(None).get("/api/EndUsers").await.expect(401);

        issuer.publish(&[jwk("a", &ED25519)]);
        tokio::time::sleep(Duration::from_millis(1100)).await;
        assert_accepted(get(&app, token("a", &ED25519)).await);
    }
}

#[tokio::test]
async fn unreachable_issuer_is_503() {
    let url = format!("http://{}/", TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap());
    for url in [url.as_str(), "https://127.0.0.1:1/"] {
        let app = App::with(&[("JWT_SECRET", ""), ("JWT_JWKS_URL", url)]).await;
        assert_unavailable(get(&app, token("a", &ED25519)).await, url);
    }
}

#[tokio::test]
async fn failed_issuer_is_retried_once_a_second() {
    let issuer = Issuer::start();
    let app = issuer.app().await;
    let started = Instant::now();
    for _ in 0..20 {
        assert_unavailable(get(&app, token("a", &ED25519)).await, "down");
    }
    let most = 1 + started.elapsed().as_secs() as usize;
    assert!((1..=most).contains(&issuer.fetched()), "{} fetches, at most {most}", issuer.fetched());
}

#[tokio::test]
async fn urls_in_a_request_are_never_fetched() {
    let stranger = Issuer::publishing(&[jwk("a", &OTHER)]);
    let issuer = Issuer::publishing(&[jwk("a", &ED25519)]);
    let (app, url) = (issuer.app().await, &stranger.url);
    for header in [
        json!({ "jku": url, "kid": "a" }),
        json!({ "x5u": url, "kid": "a" }),
        json!({ "jku": url, "kid": "b" }),
        json!({ "jku": url }),
        json!({ "kid": url }),
        json!({ "jwk": jwk("a", &OTHER), "x5c": [url], "kid": "a" }),
    ] {
        let mut all = header.clone();
        all["alg"] = json!("EdDSA");
        let claims = json!({ "iss": url, "customerID": 7, "exp": now() + 600 }).to_string();
        let forged = OTHER.signed(&all.to_string(), &claims);
        assert_rejected(get(&app, forged).await, Invalid, &header.to_string());
        // A valid token may contain a URL, which is ignored.
        if header["kid"] == "a" {
            assert_accepted(get(&app, ED25519.signed(&all.to_string(), &claims)).await);
        }
    }

    let caller = app.caller(Some(token("a", &ED25519)));
    let uids = ["Email", "WhatsApp", "Webhook"].map(|kind| json!({ "uidType": kind, "uid": url }));
    let body = json!({ "firstname": url, "otherContactDetails": url, "aiDocumentation": url, "uids": uids[1..] });
    let id = caller.create(body).await["endUserID"].clone();
    caller.post("/api/EndUsers", json!({ "uids": uids })).await.expect(400);
    let host = url.trim_start_matches("http://").split('/').next().unwrap();
    for (name, value) in [
        ("host", host),
        ("x-forwarded-host", host),
        ("forwarded", &format!("host={host}")),
        ("referer", url),
        ("origin", url),
        ("x-original-url", url),
    ] {
        caller.send(TestRequest::new("GET", "/api/EndUsers").header(name, value)).await.expect(200);
    }
    assert_eq!(caller.by_uid(url).await, [id.as_u64().unwrap()]);
    caller.get(&format!("/api/EndUsers?search={url}&callback={url}")).await.expect(200);
    let ticket = json!({ "ticketID": 1, "uid": url, "subject": url, "customFieldsData": { "url": url },
        "dateCreated": "2026-11-01T10:00:00Z", "lastMessageDate": "2026-11-01T10:00:00Z" });
    app.events(&[json!({ "type": "ticket.upserted", "customerID": 7, "occurredAt": "2026-11-01T10:00:00Z",
        "ticket": ticket })])
        .await;
    assert_eq!(caller.get(&format!("/api/EndUsers/{id}/tickets")).await.expect(200)["totalCount"], 1);
    assert_eq!(stranger.fetched(), 0);
}

/// Responses that are no key set, although they may contain `good`.
fn invalid_key_sets(good: &str, elsewhere: &str) -> Vec<(String, Reaction)> {
    let json = |body: &str| response("200 OK", "application/json", body);
    let length = |n: usize| format!("HTTP/1.1 200 OK\r\ncontent-length: {n}\r\n\r\n");
    let mut all: Vec<(String, Reaction)> = Vec::new();
    let mut with = |case: &str, reaction: Reaction| all.push((case.to_owned(), reaction));

    with("over 1 MiB", json(&format!("{good}{}", " ".repeat(1 << 20))));
    with("endless", endless(&length(usize::MAX), " ", Duration::ZERO));
    with("endless chunks", endless(&format!("{CHUNKED}{:x}\r\n{good}\r\n", good.len()), "1\r\n \r\n", Duration::ZERO));
    with("endless headers", endless("HTTP/1.1 200 OK\r\n", "x: y\r\n", Duration::ZERO));
    with("an endless header", endless("HTTP/1.1 200 OK\r\nx: ", "y", Duration::ZERO));
    with("endless interim responses", endless("", "HTTP/1.1 103 Early Hints\r\n\r\n", Duration::ZERO));
    with("a drip", endless(CHUNKED, "1\r\n \r\n", DRIP));
    with("a drip of headers", endless("HTTP/1.1 200 OK\r\n", "x: y\r\n", DRIP));
    with("cut short", raw_bytes(format!("{}{}", length(good.len()), &good[..good.len() - 1])));
    with("whole, and closed before its end", raw_bytes(format!("{}{good}", length(good.len() + 1))));
    with("closed in a chunk", raw_bytes(format!("{CHUNKED}ffff\r\n{good}")));
    with("closed in the head", raw_bytes("HTTP/1.1 200 OK\r\nconte"));
    with("not HTTP", raw_bytes(format!("SSH-2.0-x\r\n\r\n{good}")));
    with("HTML", response("200 OK", "text/html", "<html><body>Sign in</body></html>"));
    with("nothing", json(""));
    with("twice", json(&format!("{good}{good}")));
    with("deep", json(&format!(r#"{{"keys":{}"#, "[".repeat(1 << 19))));
    with("deep and closed", json(&format!(r#"{{"x":{}{},"keys":[]}}"#, "[".repeat(1 << 18), "]".repeat(1 << 18))));
    with("not UTF-8", response("200 OK", "application/json", b"{\"keys\":[],\"x\":\"\xff\"}"));
    for shape in ["null", "7", r#""keys""#, "[]", "{}", r#"{"Keys":[]}"#, r#"{"keys":null}"#, r#"{"keys":{"a":1}}"#] {
        with(shape, json(shape));
    }
    for status in [
        "201 Created",
        "203 Non-Authoritative",
        "204 No Content",
        "206 Partial",
        "304 Not Modified",
        "404 X",
        "429 X",
        "500 X",
    ] {
        with(status, response(status, "application/json", good));
    }
    for status in ["300 X", "301 X", "302 X", "303 X", "307 X", "308 X"] {
        with(status, response(&format!("{status}\r\nlocation: {elsewhere}"), "application/json", good));
    }
    all
}

#[tokio::test]
async fn invalid_key_set_neither_adds_nor_removes_keys() {
    let elsewhere = Issuer::publishing(&[jwk("a", &ED25519), jwk("b", &OTHER)]);
    let good = key_set(&[jwk("b", &OTHER)]);
    // Sequential cases would take the sum of the time-outs. Fully concurrent ones would starve the valid key sets.
    let tried =
        stream::iter(invalid_key_sets(&good, &elsewhere.url)).for_each_concurrent(4, async |(case, reaction)| {
            let cold = Issuer::start();
            cold.react_with(&reaction);
            let app = cold.app().await;
            assert_unavailable(get(&app, token("b", &OTHER)).await, &case);

            let issuer = Issuer::publishing(&[jwk("a", &ED25519)]);
            let app = issuer.app().await;
            assert_accepted(get(&app, token("a", &ED25519)).await);
            issuer.react_with(&reaction);
            assert_rejected(get(&app, token("b", &OTHER)).await, Invalid, &case);
            assert_accepted(get(&app, token("a", &ED25519)).await);
            assert_eq!(issuer.fetched(), 2, "{case}");
        });
    tried.await;
    assert_eq!(elsewhere.fetched(), 0, "redirects are not followed");
}

#[tokio::test]
async fn valid_keys_of_a_mixed_key_set_are_used() {
    let mut many: Vec<Value> = (0..8_000).map(|n| jwk(&format!("k{n}"), &OTHER)).collect();
    many.push(jwk("a", &ED25519));
    let unusable = |kid: &str| {
        vec![
            json!(null),
            json!({ "kid": kid }),
            json!({ "kid": kid, "kty": "oct", "k": URL_SAFE_NO_PAD.encode(SECRET) }),
            json!({ "kid": kid, "kty": "EC", "crv": "P-256", "x": ED25519.x, "y": "AA" }),
            json!({ "kid": kid, "kty": "RSA", "e": "AQAB", "n": URL_SAFE_NO_PAD.encode([255; 128]) }),
            json!({ "kid": kid, "kty": "RSA", "e": "AQ", "n": URL_SAFE_NO_PAD.encode([255; 256]) }),
            json!({ "kid": kid, "kty": "OKP", "crv": "Ed25519", "x": ED25519.x, "use": "enc" }),
        ]
    };
    let sets = [
        ("thousands of keys", many),
        ("keys of other kinds under the same kid", [unusable("a"), vec![jwk("a", &ED25519)]].concat()),
        ("one kid twice: the first", vec![jwk("a", &ED25519), jwk("a", &OTHER)]),
        ("the same key a thousand times", vec![jwk("a", &ED25519); 1_000]),
    ];
    for (case, keys) in sets {
        assert!(key_set(&keys).len() < 1 << 20, "{case}");
        for kind in ["application/jwk-set+json", "application/json;charset=utf-8", "text/html", "nonsense"] {
            let issuer = Issuer::start();
            issuer.react_with(&response("200 OK", kind, key_set(&keys)));
            let app = issuer.app().await;
            assert_accepted(get(&app, token("a", &ED25519)).await);
            assert_rejected(get(&app, token("a", &OTHER)).await, Invalid, case);
            assert_eq!(issuer.fetched(), 1, "{case} as {kind}");
        }
    }
    let issuer = Issuer::publishing(&unusable("a"));
    let app = issuer.app().await;
    assert_rejected(get(&app, token("a", &ED25519)).await, Invalid, "a set without a usable key");
    assert_rejected(get(&app, headed(r#"{"alg":"HS256","kid":"a"}"#)).await, Invalid, "a symmetric key in a set");
}

#[tokio::test]
async fn costly_key_set_is_read_in_bounded_time() {
    let name = "n".repeat(400_000);
    let costly = [
        ("a long name over a long list", format!(r#"{{"kid":"x","{name}":[{}0]}}"#, "0,".repeat(250_000))),
        (
            "repeated names below a long one",
            format!(r#"{{"kid":"x","{name}":[{}0]}}"#, r#"{"":0,"":0},"#.repeat(40_000)),
        ),
        (
            "very many members",
            format!(r#"{{"kid":"x"{}}}"#, (0..80_000).map(|n| format!(r#","{n}":0"#)).collect::<String>()),
        ),
    ];
    for (case, key) in costly {
        let issuer = Issuer::start();
        let body = format!(r#"{{"keys":[{key},{}]}}"#, jwk("a", &ED25519));
        assert!(body.len() < 1 << 20, "{case}");
        issuer.react_with(&response("200 OK", "application/json", body));
        let app = issuer.app().await;
        let asked = Instant::now();
        assert_accepted(get(&app, token("a", &ED25519)).await);
        assert!(asked.elapsed() < TIME_OUT, "{case}: {:?}", asked.elapsed());
    }
}

#[tokio::test]
async fn slow_issuer_delays_no_caller_with_a_known_key() {
    for (case, slow) in [("silent", silent()), ("a drip", endless(CHUNKED, "1\r\n \r\n", DRIP))] {
        let issuer = Issuer::publishing(&[jwk("a", &ED25519)]);
        let app = issuer.app().await;
        warm_up(&issuer, &app, "a", 4).await;
        let before = issuer.fetched();
        issuer.react_with(&slow);

        let unknown = async {
            let asked = Instant::now();
            assert_rejected(get(&app, token("b", &OTHER)).await, Invalid, case);
            asked.elapsed()
        };
        let known = async {
            let fetching = async {
                while issuer.fetched() == before {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            };
            tokio::time::timeout(TIME_OUT, fetching).await.expect("an unknown kid causes a fetch");
            let asked = Instant::now();
            assert_accepted(get(&app, token("a", &ED25519)).await);
            asked.elapsed()
        };
        let (unknown, known) = join(unknown, known).await;
        assert!(known < unknown, "{case}: {known:?} and {unknown:?}");
    }
}

#[tokio::test]
async fn callers_wait_a_bounded_time_for_a_slow_issuer() {
    let issuer = Issuer::start();
    issuer.react_with(&silent());
    let app = issuer.app().await;
    let all = join_all((0..12).map(|n| get(&app, token(&format!("k{n}"), &ED25519)))).await;
    all.into_iter().for_each(|response| assert_unavailable(response, "a silent issuer"));
    assert!(issuer.fetched() <= instances(), "{} fetches", issuer.fetched());

    issuer.publish(&[jwk("a", &ED25519)]);
    tokio::time::sleep(Duration::from_millis(1100)).await;
    assert_accepted(get(&app, token("a", &ED25519)).await);
}

#[tokio::test]
async fn sequential_unknown_kids_cause_one_fetch() {
    let issuer = Issuer::publishing(&[jwk("a", &ED25519)]);
    let app = issuer.app().await;
    assert_accepted(get(&app, token("a", &ED25519)).await);
    for n in 0..30 {
        assert_rejected(get(&app, token(&format!("x{n}"), &ED25519)).await, Invalid, "an unknown kid");
        assert_accepted(get(&app, token("a", &ED25519)).await);
    }
    assert_eq!(issuer.fetched(), 2, "fetches for sequential kids");
}

#[tokio::test]
async fn concurrent_unknown_kids_cause_one_fetch() {
    let issuer = Issuer::publishing(&[jwk("a", &ED25519)]);
    let app = issuer.app().await;
    warm_up(&issuer, &app, "a", 4).await;
    for wave in 0..3 {
        let flood = join_all((0..60).map(|n| get(&app, token(&format!("x{wave}-{n}"), &ED25519))));
        let known = join_all((0..20).map(|_| get(&app, token("a", &ED25519))));
        let (flood, known) = join(flood, known).await;
        flood.into_iter().for_each(|response| assert_rejected(response, Invalid, "an unknown kid"));
        known.into_iter().for_each(assert_accepted);
    }
    // Each instance fetches the set once at first, and once more for the unknown kids.
    assert!((2..=2 * instances()).contains(&issuer.fetched()), "{} fetches", issuer.fetched());
}
