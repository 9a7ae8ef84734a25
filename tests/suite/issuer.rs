//! Contract §1: published keys, whatever state their issuer is in.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use futures::future::{join, join_all};
use futures::stream::{self, StreamExt};
use serde_json::{Value, json};

use crate::app::{Answer, App, SECRET, TIME_OUT, built_functions, now};
use crate::auth::Says::Invalid;
use crate::auth::{ED25519, KeyPair, assert_refused, good_claims, headed};

/// The pair of RFC 8032, §7.1, test 2.
const OTHER: KeyPair =
    KeyPair { d: "TM0Imyj_ltqdtsNG7BFOD1uKMZ81q6Yk2oz27U-4pvs", x: "PUAXw-hDiVqStwqnTRt-vJyYLM8uxJaMwM1V8Sr0Zgw" };

/// What an issuer does with a request for its keys.
type Act = Arc<dyn Fn(&mut TcpStream) + Send + Sync>;

fn act(act: impl Fn(&mut TcpStream) + Send + Sync + 'static) -> Act {
    Arc::new(act)
}

/// Bytes as they stand, then the end of the connection.
fn raw(bytes: impl Into<Vec<u8>>) -> Act {
    let bytes = bytes.into();
    act(move |stream| {
        let _ = stream.write_all(&bytes);
    })
}

fn answer(status: &str, kind: &str, body: impl AsRef<[u8]>) -> Act {
    let head = format!("HTTP/1.1 {status}\r\ncontent-type: {kind}\r\ncontent-length: {}\r\n\r\n", body.as_ref().len());
    raw([head.as_bytes(), body.as_ref()].concat())
}

fn set(keys: &[Value]) -> String {
    json!({ "keys": keys }).to_string()
}

/// No answer, until the other end gives up.
fn silent() -> Act {
    act(|stream| {
        let _ = stream.read(&mut [0]);
    })
}

/// `head`, then `more` again and again with a pause, until the other end gives up.
fn endless(head: &str, more: &str, pause: Duration) -> Act {
    let (head, more) = (head.to_owned(), more.repeat(if pause.is_zero() { 4096 } else { 1 }));
    act(move |stream| {
        let mut open = stream.write_all(head.as_bytes()).is_ok();
        while open {
            std::thread::sleep(pause);
            open = stream.write_all(more.as_bytes()).is_ok();
        }
    })
}

const DRIP: Duration = Duration::from_millis(50);
const CHUNKED: &str = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";

/// An issuer on a port of its own; counts how often its keys are asked for.
pub(crate) struct Issuer {
    pub(crate) url: String,
    act: Arc<Mutex<Act>>,
    fetched: Arc<AtomicUsize>,
}

impl Issuer {
    /// One that ends every connection without an answer, until it is told otherwise.
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/jwks.json", listener.local_addr().unwrap());
        let issuer = Self { url, act: Arc::new(Mutex::new(raw(""))), fetched: Arc::default() };
        let (act, fetched) = (issuer.act.clone(), issuer.fetched.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (mut stream, act, fetched) = (stream.unwrap(), act.clone(), fetched.clone());
                std::thread::spawn(move || {
                    let mut request = Vec::new();
                    while !request.ends_with(b"\r\n\r\n") {
                        let mut byte = [0];
                        if stream.read(&mut byte).unwrap_or(0) == 0 {
                            return;
                        }
                        request.push(byte[0]);
                    }
                    fetched.fetch_add(1, Ordering::SeqCst);
                    let act = act.lock().unwrap().clone();
                    act(&mut stream);
                });
            }
        });
        issuer
    }

    pub(crate) fn publishing(keys: &[Value]) -> Self {
        let issuer = Self::start();
        issuer.publishes(keys);
        issuer
    }

    fn publishes(&self, keys: &[Value]) {
        self.does(&answer("200 OK", "application/json", set(keys)));
    }

    fn does(&self, act: &Act) {
        *self.act.lock().unwrap() = act.clone();
    }

    pub(crate) fn fetched(&self) -> usize {
        self.fetched.load(Ordering::SeqCst)
    }

    pub(crate) async fn app(&self) -> App {
        App::with(&[("JWT_SECRET", ""), ("JWT_JWKS_URL", &self.url)]).await
    }
}

fn jwk(kid: &str, pair: &KeyPair) -> Value {
    json!({ "kty": "OKP", "crv": "Ed25519", "kid": kid, "x": pair.x })
}

fn token(kid: &str, pair: &KeyPair) -> String {
    pair.signed(&json!({ "alg": "EdDSA", "kid": kid }).to_string(), &good_claims())
}

async fn get(app: &App, token: String) -> Answer {
    app.caller(Some(token)).get("/api/EndUsers").await
}

#[track_caller]
fn assert_taken(answer: Answer) {
    assert_eq!(answer.expect(200), json!({ "items": [], "totalCount": 0, "totalPages": 0 }));
}

/// The answer for a token that nobody can judge: not the caller's fault, so no 401.
#[track_caller]
fn assert_unavailable(answer: Answer, what: &str) {
    let id = answer.header("x-request-id").unwrap_or_else(|| panic!("{what}: no x-request-id")).to_owned();
    assert_eq!((answer.header("retry-after"), answer.header("www-authenticate")), (Some("1"), None), "{what}");
    assert_eq!(answer.header("content-type"), Some("application/problem+json"), "{what}");
    let problem = json!({
        "type": "about:blank",
        "title": "Service Unavailable",
        "status": 503,
        "detail": "the token cannot be verified because its issuer is unavailable; retry the request",
        "instance": id,
    });
    assert_eq!(answer.expect(503), problem, "{what}");
}

/// The most instances of one function: each has a set of its own.
fn instances() -> usize {
    if built_functions().is_some() { 16 } else { 1 }
}

/// Lets as many instances as `n` requests at once need fetch the set, in which `kid` is.
async fn warm(issuer: &Issuer, app: &App, kid: &str, n: usize) {
    let published = issuer.act.lock().unwrap().clone();
    issuer.does(&act(move |stream| {
        std::thread::sleep(Duration::from_millis(500));
        published(stream);
    }));
    join_all((0..n).map(|_| get(app, token(kid, &ED25519)))).await.into_iter().for_each(assert_taken);
}

#[tokio::test]
async fn a_key_is_found_by_its_kid_and_the_set_is_fetched_once() {
    let symmetric = json!({ "kty": "oct", "kid": "shared", "k": URL_SAFE_NO_PAD.encode(SECRET) });
    let issuer = Issuer::publishing(&[symmetric, jwk("a", &ED25519), jwk("b", &OTHER)]);
    let app = issuer.app().await;
    for _ in 0..3 {
        assert_taken(get(&app, token("a", &ED25519)).await);
        assert_taken(get(&app, token("b", &OTHER)).await);
    }
    assert_refused(get(&app, token("a", &OTHER)).await, Invalid, "the key of another kid");
    assert_refused(get(&app, headed(r#"{"alg":"HS256","kid":"shared"}"#)).await, Invalid, "a symmetric key in a set");
    assert_eq!(issuer.fetched(), 2, "for the first token, and for the kid that names no key");

    let without_kid = ED25519.signed(r#"{"alg":"EdDSA"}"#, &good_claims());
    assert_refused(get(&app, without_kid).await, Invalid, "no kid");
    for kid in ["", "A", "a ", "a\u{0}"] {
        assert_refused(get(&app, token(kid, &ED25519)).await, Invalid, &format!("the kid {kid:?}"));
    }
    app.caller(None).get("/api/EndUsers").await.expect(401);
    assert_eq!(issuer.fetched(), 2);
}

#[tokio::test]
async fn a_new_kid_is_good_from_its_first_token_and_a_withdrawn_one_no_more() {
    let issuer = Issuer::publishing(&[jwk("old", &ED25519)]);
    let app = issuer.app().await;
    assert_taken(get(&app, token("old", &ED25519)).await);

    issuer.publishes(&[jwk("new", &OTHER)]);
    assert_taken(get(&app, token("new", &OTHER)).await);
    assert_refused(get(&app, token("old", &ED25519)).await, Invalid, "a withdrawn kid");
    assert_refused(get(&app, token("new", &ED25519)).await, Invalid, "the old key under the new kid");
    assert_eq!(issuer.fetched(), 2);
}

#[tokio::test]
async fn both_keys_are_good_while_the_issuer_publishes_both() {
    let issuer = Issuer::publishing(&[jwk("old", &ED25519)]);
    let app = issuer.app().await;
    assert_taken(get(&app, token("old", &ED25519)).await);
    issuer.publishes(&[jwk("new", &OTHER), jwk("old", &ED25519)]);
    for _ in 0..2 {
        assert_taken(get(&app, token("new", &OTHER)).await);
        assert_taken(get(&app, token("old", &ED25519)).await);
    }
    assert_eq!(issuer.fetched(), 2);
}

#[tokio::test]
async fn a_key_that_takes_the_place_of_another_under_its_kid_counts_from_the_next_fetch() {
    let issuer = Issuer::publishing(&[jwk("a", &ED25519)]);
    let app = issuer.app().await;
    assert_taken(get(&app, token("a", &ED25519)).await);

    issuer.publishes(&[jwk("a", &OTHER)]);
    assert_refused(get(&app, token("a", &OTHER)).await, Invalid, "a key that was not fetched yet");
    assert_taken(get(&app, token("a", &ED25519)).await);
    assert_eq!(issuer.fetched(), 1, "a bad signature is no reason to fetch");

    assert_refused(get(&app, token("unknown", &OTHER)).await, Invalid, "a kid that is in no set");
    assert_eq!(issuer.fetched(), 2);
    assert_taken(get(&app, token("a", &OTHER)).await);
    assert_refused(get(&app, token("a", &ED25519)).await, Invalid, "the key that was replaced");
}

#[tokio::test]
async fn an_issuer_that_is_down_from_the_start_is_a_503_until_it_is_there() {
    let down =
        [("closes", raw("")), ("500", answer("500 Internal Server Error", "text/plain", "no")), ("silent", silent())];
    for (what, act) in down {
        let issuer = Issuer::start();
        issuer.does(&act);
        let app = issuer.app().await;
        assert_unavailable(get(&app, token("a", &ED25519)).await, what);
        assert_refused(get(&app, "garbage".to_owned()).await, Invalid, what);
        app.caller(None).get("/api/EndUsers").await.expect(401);

        issuer.publishes(&[jwk("a", &ED25519)]);
        tokio::time::sleep(Duration::from_millis(1100)).await;
        assert_taken(get(&app, token("a", &ED25519)).await);
    }
}

#[tokio::test]
async fn an_issuer_that_nobody_runs_is_a_503() {
    let url = format!("http://{}/", TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap());
    for url in [url.as_str(), "https://127.0.0.1:1/"] {
        let app = App::with(&[("JWT_SECRET", ""), ("JWT_JWKS_URL", url)]).await;
        assert_unavailable(get(&app, token("a", &ED25519)).await, url);
    }
}

#[tokio::test]
async fn an_issuer_that_is_down_is_tried_once_a_second() {
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
async fn no_address_that_comes_with_a_request_is_fetched() {
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
        assert_refused(get(&app, forged).await, Invalid, &header.to_string());
        // An honest token may carry an address: it is not looked at.
        if header["kid"] == "a" {
            assert_taken(get(&app, ED25519.signed(&all.to_string(), &claims)).await);
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
        caller.send(crate::app::TestRequest::new("GET", "/api/EndUsers").header(name, value)).await.expect(200);
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

/// Answers that are no set of keys, although `good` may be in them.
fn no_sets(good: &str, elsewhere: &str) -> Vec<(String, Act)> {
    let json = |body: &str| answer("200 OK", "application/json", body);
    let length = |n: usize| format!("HTTP/1.1 200 OK\r\ncontent-length: {n}\r\n\r\n");
    let mut all: Vec<(String, Act)> = Vec::new();
    let mut with = |what: &str, act: Act| all.push((what.to_owned(), act));

    with("over 1 MiB", json(&format!("{good}{}", " ".repeat(1 << 20))));
    with("endless", endless(&length(usize::MAX), " ", Duration::ZERO));
    with("endless chunks", endless(&format!("{CHUNKED}{:x}\r\n{good}\r\n", good.len()), "1\r\n \r\n", Duration::ZERO));
    with("endless headers", endless("HTTP/1.1 200 OK\r\n", "x: y\r\n", Duration::ZERO));
    with("an endless header", endless("HTTP/1.1 200 OK\r\nx: ", "y", Duration::ZERO));
    with("endless interim answers", endless("", "HTTP/1.1 103 Early Hints\r\n\r\n", Duration::ZERO));
    with("a drip", endless(CHUNKED, "1\r\n \r\n", DRIP));
    with("a drip of headers", endless("HTTP/1.1 200 OK\r\n", "x: y\r\n", DRIP));
    with("cut short", raw(format!("{}{}", length(good.len()), &good[..good.len() - 1])));
    with("whole, and closed before its end", raw(format!("{}{good}", length(good.len() + 1))));
    with("closed in a chunk", raw(format!("{CHUNKED}ffff\r\n{good}")));
    with("closed in the head", raw("HTTP/1.1 200 OK\r\nconte"));
    with("not HTTP", raw(format!("SSH-2.0-x\r\n\r\n{good}")));
    with("HTML", answer("200 OK", "text/html", "<html><body>Sign in</body></html>"));
    with("nothing", json(""));
    with("twice", json(&format!("{good}{good}")));
    with("deep", json(&format!(r#"{{"keys":{}"#, "[".repeat(1 << 19))));
    with("deep and closed", json(&format!(r#"{{"x":{}{},"keys":[]}}"#, "[".repeat(1 << 18), "]".repeat(1 << 18))));
    with("not UTF-8", answer("200 OK", "application/json", b"{\"keys\":[],\"x\":\"\xff\"}"));
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
        with(status, answer(status, "application/json", good));
    }
    for status in ["300 X", "301 X", "302 X", "303 X", "307 X", "308 X"] {
        with(status, answer(&format!("{status}\r\nlocation: {elsewhere}"), "application/json", good));
    }
    all
}

#[tokio::test]
async fn an_answer_that_is_no_set_of_keys_opens_no_door_and_shuts_none() {
    let elsewhere = Issuer::publishing(&[jwk("a", &ED25519), jwk("b", &OTHER)]);
    let good = set(&[jwk("b", &OTHER)]);
    // One after another would take the time-outs' sum; all at once leave the good sets no time.
    let tried = stream::iter(no_sets(&good, &elsewhere.url)).for_each_concurrent(4, async |(what, act)| {
        let cold = Issuer::start();
        cold.does(&act);
        let app = cold.app().await;
        assert_unavailable(get(&app, token("b", &OTHER)).await, &what);

        let issuer = Issuer::publishing(&[jwk("a", &ED25519)]);
        let app = issuer.app().await;
        assert_taken(get(&app, token("a", &ED25519)).await);
        issuer.does(&act);
        assert_refused(get(&app, token("b", &OTHER)).await, Invalid, &what);
        assert_taken(get(&app, token("a", &ED25519)).await);
        assert_eq!(issuer.fetched(), 2, "{what}");
    });
    tried.await;
    assert_eq!(elsewhere.fetched(), 0, "a redirect is not followed");
}

#[tokio::test]
async fn a_set_is_good_for_the_good_keys_in_it() {
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
    for (what, keys) in sets {
        assert!(set(&keys).len() < 1 << 20, "{what}");
        for kind in ["application/jwk-set+json", "application/json;charset=utf-8", "text/html", "nonsense"] {
            let issuer = Issuer::start();
            issuer.does(&answer("200 OK", kind, set(&keys)));
            let app = issuer.app().await;
            assert_taken(get(&app, token("a", &ED25519)).await);
            assert_refused(get(&app, token("a", &OTHER)).await, Invalid, what);
            assert_eq!(issuer.fetched(), 1, "{what} as {kind}");
        }
    }
    let issuer = Issuer::publishing(&unusable("a"));
    let app = issuer.app().await;
    assert_refused(get(&app, token("a", &ED25519)).await, Invalid, "a set without a usable key");
    assert_refused(get(&app, headed(r#"{"alg":"HS256","kid":"a"}"#)).await, Invalid, "a symmetric key in a set");
}

#[tokio::test]
async fn a_set_that_is_costly_to_read_is_read_in_bounded_time() {
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
    for (what, key) in costly {
        let issuer = Issuer::start();
        let body = format!(r#"{{"keys":[{key},{}]}}"#, jwk("a", &ED25519));
        assert!(body.len() < 1 << 20, "{what}");
        issuer.does(&answer("200 OK", "application/json", body));
        let app = issuer.app().await;
        let asked = Instant::now();
        assert_taken(get(&app, token("a", &ED25519)).await);
        assert!(asked.elapsed() < TIME_OUT, "{what}: {:?}", asked.elapsed());
    }
}

#[tokio::test]
async fn an_issuer_that_is_slow_holds_up_nobody_whose_key_is_known() {
    for (what, slow) in [("silent", silent()), ("a drip", endless(CHUNKED, "1\r\n \r\n", DRIP))] {
        let issuer = Issuer::publishing(&[jwk("a", &ED25519)]);
        let app = issuer.app().await;
        warm(&issuer, &app, "a", 4).await;
        let before = issuer.fetched();
        issuer.does(&slow);

        let unknown = async {
            let asked = Instant::now();
            assert_refused(get(&app, token("b", &OTHER)).await, Invalid, what);
            asked.elapsed()
        };
        let known = async {
            let fetching = async {
                while issuer.fetched() == before {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            };
            tokio::time::timeout(TIME_OUT, fetching).await.expect("an unknown kid is a reason to fetch");
            let asked = Instant::now();
            assert_taken(get(&app, token("a", &ED25519)).await);
            asked.elapsed()
        };
        let (unknown, known) = join(unknown, known).await;
        assert!(known < unknown, "{what}: {known:?} beside {unknown:?}");
    }
}

#[tokio::test]
async fn all_who_come_while_a_slow_issuer_is_asked_are_answered_in_bounded_time() {
    let issuer = Issuer::start();
    issuer.does(&silent());
    let app = issuer.app().await;
    let all = join_all((0..12).map(|n| get(&app, token(&format!("k{n}"), &ED25519)))).await;
    all.into_iter().for_each(|answer| assert_unavailable(answer, "a silent issuer"));
    assert!(issuer.fetched() <= instances(), "{} fetches", issuer.fetched());

    issuer.publishes(&[jwk("a", &ED25519)]);
    tokio::time::sleep(Duration::from_millis(1100)).await;
    assert_taken(get(&app, token("a", &ED25519)).await);
}

#[tokio::test]
async fn a_flood_of_unknown_kids_is_one_fetch_more() {
    let issuer = Issuer::publishing(&[jwk("a", &ED25519)]);
    let app = issuer.app().await;
    assert_taken(get(&app, token("a", &ED25519)).await);
    for n in 0..30 {
        assert_refused(get(&app, token(&format!("x{n}"), &ED25519)).await, Invalid, "an unknown kid");
        assert_taken(get(&app, token("a", &ED25519)).await);
    }
    assert_eq!(issuer.fetched(), 2, "one after another");
}

#[tokio::test]
async fn a_flood_of_unknown_kids_all_at_once_is_one_fetch_more() {
    let issuer = Issuer::publishing(&[jwk("a", &ED25519)]);
    let app = issuer.app().await;
    warm(&issuer, &app, "a", 4).await;
    for wave in 0..3 {
        let flood = join_all((0..60).map(|n| get(&app, token(&format!("x{wave}-{n}"), &ED25519))));
        let known = join_all((0..20).map(|_| get(&app, token("a", &ED25519))));
        let (flood, known) = join(flood, known).await;
        flood.into_iter().for_each(|answer| assert_refused(answer, Invalid, "an unknown kid"));
        known.into_iter().for_each(assert_taken);
    }
    // The first fetch of an instance, and one more.
    assert!((2..=2 * instances()).contains(&issuer.fetched()), "{} fetches", issuer.fetched());
}
