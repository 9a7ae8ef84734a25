//! The cache of an issuer's key set.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures::FutureExt;
use serde_json::{Value, json};

use super::AuthError::{Invalid, IssuerUnavailable};
use super::*;

/// An issuer on its own port that sends the same response to every request.
struct Issuer {
    url: String,
    response: Arc<Mutex<Vec<u8>>>,
    requests: Arc<AtomicUsize>,
}

impl Issuer {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let url = format!("http://{}/jwks.json", listener.local_addr().expect("bound"));
        let issuer = Self { url, response: Arc::default(), requests: Arc::default() };
        let (response, requests) = (issuer.response.clone(), issuer.requests.clone());
        std::thread::spawn(move || {
            for mut stream in listener.incoming().map_while(Result::ok) {
                requests.fetch_add(1, Ordering::SeqCst);
                let mut request = [0; 4096];
                let _ = stream.read(&mut request);
                std::thread::sleep(Duration::from_millis(30));
                let response = response.lock().expect("not poisoned").clone();
                let _ = stream.write_all(&response);
            }
        });
        issuer
    }

    fn respond_with(&self, status: &str, body: impl AsRef<[u8]>) {
        let head = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n", body.as_ref().len());
        *self.response.lock().expect("not poisoned") = [head.as_bytes(), body.as_ref()].concat();
    }

    fn publishes(&self, keys: &[Value]) {
        self.respond_with("200 OK", json!({ "keys": keys }).to_string());
    }

    /// Closes connections without a response from now on.
    fn goes_down(&self) {
        self.response.lock().expect("not poisoned").clear();
    }

    fn requests(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }

    fn authenticator(&self) -> Authenticator {
        authenticator(&[("JWT_JWKS_URL", &self.url)])
    }
}

fn ed25519_jwk(kid: &str) -> Value {
    json!({"kty": "OKP", "crv": "Ed25519", "kid": kid, "x": ED25519_X})
}

/// The algorithm of the issuer's key `kid` at a time when every token has expired.
async fn published_key(auth: &Authenticator, kid: &str, now: f64) -> Result<&'static str, AuthError> {
    match &auth.keys {
        Keys::Jwks(jwks) => jwks.key(kid, now).await.map(|key| key.algorithm()),
        Keys::Fixed(_) => unreachable!(),
    }
}

#[tokio::test]
async fn jwk_set_is_fetched_once_and_again_for_an_unknown_kid() {
    let issuer = Issuer::start();
    issuer.publishes(&[ed25519_jwk("a")]);
    let auth = issuer.authenticator();
    for _ in 0..3 {
        assert_eq!(judge(&auth, &ed25519_token("a")).await, tenant_7());
    }
    assert_eq!(issuer.requests(), 1);

    issuer.publishes(&[ed25519_jwk("b")]);
    assert_eq!(judge(&auth, &ed25519_token("b")).await, tenant_7(), "a new key is used at once");
    assert_eq!(judge(&auth, &ed25519_token("a")).await, Err(Invalid), "a removed key is refused");
    assert_eq!(issuer.requests(), 2);

    issuer.publishes(&[ed25519_jwk("c")]);
    assert_eq!(judge_at(&auth, &ed25519_token("c"), Access::Read, NOW + 59.0).await, Err(Invalid));
    assert_eq!(issuer.requests(), 2);
    assert_eq!(judge_at(&auth, &ed25519_token("c"), Access::Read, NOW + 61.0).await, tenant_7());
    assert_eq!(issuer.requests(), 3);
}

#[tokio::test]
async fn many_unknown_kids_cause_one_fetch() {
    let issuer = Issuer::start();
    issuer.publishes(&[ed25519_jwk("a")]);
    let cold = issuer.authenticator();
    for n in 0..20 {
        assert_eq!(judge(&cold, &ed25519_token(&format!("x{n}"))).await, Err(Invalid));
    }
    assert_eq!(issuer.requests(), 1, "sequential requests, before the first fetch");

    let warm = issuer.authenticator();
    assert_eq!(judge(&warm, &ed25519_token("a")).await, tenant_7());
    let before = issuer.requests();
    let tokens: Vec<_> = (0..20).map(|n| ed25519_token(&format!("x{n}"))).collect();
    let all = futures::future::join_all(tokens.iter().map(|token| judge(&warm, token))).await;
    assert!(all.iter().all(|outcome| *outcome == Err(Invalid)), "{all:?}");
    assert_eq!(issuer.requests() - before, 1, "concurrent requests");
}

#[tokio::test]
async fn concurrent_first_requests_share_one_fetch() {
    let issuer = Issuer::start();
    issuer.publishes(&[ed25519_jwk("a")]);
    let (auth, token) = (issuer.authenticator(), ed25519_token("a"));
    let all = futures::future::join_all((0..20).map(|_| judge(&auth, &token))).await;
    assert!(all.iter().all(|outcome| *outcome == tenant_7()), "{all:?}");
    assert_eq!(issuer.requests(), 1);
}

#[tokio::test]
async fn last_good_set_is_kept_while_the_issuer_is_down() {
    let issuer = Issuer::start();
    issuer.publishes(&[ed25519_jwk("a")]);
    let auth = issuer.authenticator();
    assert_eq!(judge(&auth, &ed25519_token("a")).await, tenant_7());

    issuer.goes_down();
    assert_eq!(judge(&auth, &ed25519_token("b")).await, Err(Invalid));
    assert_eq!(judge(&auth, &ed25519_token("a")).await, tenant_7());
    let key = async |kid: &str, now| published_key(&auth, kid, now).await;
    assert_eq!(key("a", NOW + 7200.0).await, Ok("EdDSA"), "kept after its maximum age");
    assert_eq!(issuer.requests(), 3);
    assert_eq!(key("a", NOW + 7201.0).await, Ok("EdDSA"));
    assert_eq!(issuer.requests(), 3, "at most one attempt a minute");

    issuer.respond_with("200 OK", "[]");
    assert_eq!(key("a", NOW + 7265.0).await, Ok("EdDSA"), "a response without a set is a failure");
    issuer.publishes(&[ed25519_jwk("b")]);
    assert_eq!(
        key("a", NOW + 7330.0).await,
        Err(Invalid),
        "an aged set is fetched again, and a removed key is refused"
    );
}

#[tokio::test]
async fn replaced_key_with_the_same_kid_is_used_within_an_hour() {
    let issuer = Issuer::start();
    issuer.publishes(&[ed25519_jwk("a")]);
    let auth = issuer.authenticator();
    assert_eq!(published_key(&auth, "a", NOW).await, Ok("EdDSA"));

    // The key of RFC 7515 A.3.
    let other = json!({"kty": "EC", "crv": "P-256", "kid": "a", "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
        "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"});
    issuer.publishes(&[other]);
    assert_eq!(published_key(&auth, "a", NOW + 3599.0).await, Ok("EdDSA"));
    assert_eq!(issuer.requests(), 1);
    assert_eq!(published_key(&auth, "a", NOW + 3601.0).await, Ok("ES256"));
    assert_eq!(issuer.requests(), 2);
    assert_eq!(published_key(&auth, "a", NOW + 7200.0).await, Ok("ES256"));
    assert_eq!(issuer.requests(), 2);
}

#[tokio::test]
async fn unknown_kids_cause_at_most_one_fetch_a_minute() {
    let issuer = Issuer::start();
    issuer.publishes(&[ed25519_jwk("a")]);
    let auth = issuer.authenticator();
    assert_eq!(published_key(&auth, "a", NOW).await, Ok("EdDSA"));
    for second in 0..3600 {
        let now = NOW + f64::from(second);
        assert_eq!(published_key(&auth, &format!("x{second}"), now).await, Err(Invalid), "second {second}");
        assert_eq!(published_key(&auth, "a", now).await, Ok("EdDSA"), "second {second}");
    }
    assert_eq!(issuer.requests(), 1 + 60);
}

#[tokio::test]
async fn fetching_an_aged_set_delays_only_one_request() {
    let issuer = Issuer::start();
    issuer.publishes(&[ed25519_jwk("a")]);
    let auth = issuer.authenticator();
    assert_eq!(published_key(&auth, "a", NOW).await, Ok("EdDSA"));

    issuer.publishes(&[ed25519_jwk("b")]);
    let later = NOW + 3601.0;
    let mut fetching = std::pin::pin!(published_key(&auth, "a", later));
    assert!(futures::poll!(fetching.as_mut()).is_pending());
    assert_eq!(published_key(&auth, "a", later).now_or_never(), Some(Ok("EdDSA")), "the last good key is used");
    let (withdrawn, new) = futures::future::join(fetching, published_key(&auth, "b", later)).await;
    assert_eq!((withdrawn, new), (Err(Invalid), Ok("EdDSA")), "a request for a new key waits for the fetch");
    assert_eq!(issuer.requests(), 2);
}

#[tokio::test]
async fn unreachable_issuer_is_not_reported_as_an_invalid_token() {
    let issuer = Issuer::start();
    let auth = issuer.authenticator();
    assert_eq!(judge(&auth, &ed25519_token("a")).await, Err(IssuerUnavailable));
    assert_eq!(judge(&auth, &ed25519_token("a")).await, Err(IssuerUnavailable));
    assert_eq!(issuer.requests(), 1);
    issuer.publishes(&[ed25519_jwk("a")]);
    assert_eq!(judge_at(&auth, &ed25519_token("a"), Access::Read, NOW + 2.0).await, tenant_7());
}

#[tokio::test]
async fn malformed_token_causes_no_fetch() {
    let issuer = Issuer::start();
    let auth = issuer.authenticator();
    let without_kid = token(r#"{"alg":"EdDSA"}"#, &claims(""));
    let critical = token(r#"{"alg":"EdDSA","kid":"a","crit":["x"]}"#, &claims(""));
    for bad in [without_kid, critical, "a.b.c".to_owned()] {
        assert_eq!(judge(&auth, &bad).await, Err(Invalid), "{bad}");
    }
    assert_eq!(issuer.requests(), 0);
}

#[tokio::test]
async fn invalid_jwks_responses_are_refused() {
    let set = json!({"keys": [ed25519_jwk("a")]}).to_string();
    let huge = format!("{set}{}", " ".repeat(1 << 20));
    let elsewhere = Issuer::start();
    elsewhere.publishes(&[ed25519_jwk("a")]);
    let redirect = format!("302 Found\r\nlocation: {}", elsewhere.url);
    let deep = format!(r#"{{"keys":{}"#, "[".repeat(500_000));
    for (status, body) in [
        ("200 OK", huge.as_str()),
        ("200 OK", deep.as_str()),
        ("200 OK", ""),
        ("200 OK", "<html>"),
        ("200 OK", "[]"),
        ("200 OK", "{}"),
        ("200 OK", r#"{"keys":{"a":1}}"#),
        ("200 OK", r#"{"keys":null}"#),
        ("203 Non-Authoritative Information", &set),
        ("404 Not Found", &set),
        ("500 Internal Server Error", &set),
        (redirect.as_str(), &set),
    ] {
        let issuer = Issuer::start();
        issuer.respond_with(status, body);
        let outcome = judge(&issuer.authenticator(), &ed25519_token("a")).await;
        assert_eq!(outcome, Err(IssuerUnavailable), "{status}: {}", &body[..body.len().min(60)]);
    }
    assert_eq!(elsewhere.requests(), 0, "a redirect is not followed");
}

#[tokio::test]
async fn fetch_of_a_silent_issuer_times_out() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let url = format!("http://{}/", listener.local_addr().expect("bound"));
    let auth = authenticator(&[("JWT_JWKS_URL", &url)]);
    let start = std::time::Instant::now();
    assert_eq!(judge(&auth, &ed25519_token("a")).await, Err(IssuerUnavailable));
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
}

#[tokio::test]
async fn unusable_entry_of_a_set_is_skipped() {
    let issuer = Issuer::start();
    let with = |more: Value| {
        let mut jwk = ed25519_jwk("a");
        jwk.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        jwk
    };
    let unusable = [
        json!(null),
        json!("a"),
        json!({"kid": "a"}),
        json!({"kid": 1, "kty": "OKP", "crv": "Ed25519", "x": ED25519_X}),
        json!({"kid": "a", "kty": "oct", "k": URL_SAFE_NO_PAD.encode(SECRET)}),
        json!({"kid": "a", "kty": "EC", "crv": "P-384", "x": "AA", "y": "AA"}),
        json!({"kid": "a", "kty": "EC", "crv": "P-256", "x": ED25519_X}),
        json!({"kid": "a", "kty": "RSA", "n": ED25519_X, "e": "AQAB"}),
        json!({"kid": "a", "kty": "RSA", "n": "", "e": ""}),
        with(json!({"x": "AAAA"})),
        with(json!({"x": format!("{ED25519_X}=")})),
        with(json!({"crv": "Ed448"})),
        with(json!({"use": "enc"})),
        with(json!({"use": null})),
        with(json!({"key_ops": ["encrypt"]})),
        with(json!({"key_ops": "verify"})),
        with(json!({"alg": "HS256"})),
        with(json!({"alg": 1})),
    ];
    issuer.publishes(&unusable);
    assert_eq!(judge(&issuer.authenticator(), &ed25519_token("a")).await, Err(Invalid));
    let by_oct = token(r#"{"alg":"HS256","kid":"a"}"#, &claims(""));
    assert_eq!(judge(&issuer.authenticator(), &by_oct).await, Err(Invalid), "a symmetric key of a set is ignored");

    let other = json!({"kid": "a", "kty": "OKP", "crv": "Ed25519", "x": URL_SAFE_NO_PAD.encode([2; 32])});
    let usable = with(json!({"use": "sig", "key_ops": ["verify"], "alg": "EdDSA"}));
    issuer.publishes(&[&unusable[..], &[usable, other.clone()]].concat());
    assert_eq!(judge(&issuer.authenticator(), &ed25519_token("a")).await, tenant_7(), "the first usable entry counts");
    issuer.publishes(&[other, ed25519_jwk("a")]);
    assert_eq!(judge(&issuer.authenticator(), &ed25519_token("a")).await, Err(Invalid), "later entries are ignored");
}
