//! Authentication and scopes (docs/api.md, Authentication).

use std::collections::HashMap;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jsonwebtoken::Algorithm;
use local::{Local, Options, Storage};
use serde_json::{Value, json};
use shared::auth::AuthConfig;

use crate::support::app::{App, SECRET, TestRequest, now, token};
use crate::support::openapi::routes;
use crate::support::tokens::Rejection::{self, Expired, Forbidden, Invalid, Missing};
use crate::support::tokens::{ED25519, HEADER, assert_rejected, good_claims, headed, signed_with};

/// A token with this unchanged claims text.
fn token_of_text(claims: &str) -> String {
    signed_with(SECRET, Algorithm::HS256, HEADER, claims)
}

fn padded_token(length: usize) -> String {
    token(json!({ "customerID": 7, "pad": "x".repeat(length) }))
}

/// The longest token of at most `length` bytes and the shortest longer one.
fn tokens_around(length: usize) -> (String, String) {
    let over = (0..length).find(|n| padded_token(*n).len() > length).unwrap();
    (padded_token(over - 1), padded_token(over))
}

/// A request of a route that has an effect with a valid token.
fn effective_request(method: &str, path: &str, [id, other]: [&Value; 2]) -> TestRequest {
    let subject = if path.ends_with("/unmerge") { other } else { id };
    let path = path.replace("{id}", &subject.to_string());
    let intruder = json!({ "uids": [{ "uid": "intruder@example.com" }] });
    match (method, path.as_str()) {
        ("GET", _) => TestRequest::new(method, &format!("{path}?uid=existing%40example.com")),
        ("DELETE", _) => TestRequest::new(method, &path),
        (_, "/api/EndUserUIDs/assign") => {
            TestRequest::new(method, &path).json(&json!({ "endUserID": id, "uid": "intruder@example.com" }))
        }
        (_, "/api/EndUsers/upsert") => TestRequest::new(method, &path).json(&intruder),
        (_, "/api/EndUsers/upsertMany") => TestRequest::new(method, &path).json(&json!({ "endUsers": [intruder] })),
        (_, "/api/EndUsers/lookup") => {
            TestRequest::new(method, &path).json(&json!({ "uids": ["existing@example.com"] }))
        }
        (_, path) if path.ends_with("/merge") => TestRequest::new(method, path).json(&json!({ "endUserID": other })),
        _ => TestRequest::new(method, &path).json(&json!({ "firstname": "Intruder" })),
    }
}

/// All invalid credentials: a description, the Authorization headers and the expected rejection.
fn invalid_credentials() -> Vec<(String, Vec<String>, Rejection)> {
    let good = token(json!({ "customerID": 7 }));
    let exp = now() + 600;
    let mut all: Vec<(String, Vec<String>, Rejection)> = Vec::new();
    let mut with = |case: &str, values: &[&str], expected| {
        all.push((case.to_owned(), values.iter().map(|v| (*v).to_owned()).collect(), expected));
    };

    with("no token", &[], Missing);
    with("an empty header", &[""], Missing);
    with("only the scheme", &["Bearer"], Missing);
    with("the scheme and a space", &["Bearer "], Missing);
    with("a token without a scheme", &[&good], Missing);
    with("Basic", &["Basic dXNlcjpwYXNzd29yZA=="], Missing);
    with("another scheme around a good token", &[&format!("Token {good}")], Missing);
    with("two headers", &[&format!("Bearer {good}"), &format!("Bearer {good}")], Invalid);
    with("two tokens in one header", &[&format!("Bearer {good}, Bearer {good}")], Invalid);

    let (header, rest) = good.split_once('.').unwrap();
    let (payload, signature) = rest.split_once('.').unwrap();
    let other_end = if signature.starts_with('A') { 'B' } else { 'A' };
    let unsigned = |alg: &str| format!("{}.{payload}.", URL_SAFE_NO_PAD.encode(format!(r#"{{"alg":"{alg}"}}"#)));
    let mut bad = |case: &str, token: &str| with(case, &[&format!("Bearer {token}")], Invalid);
    bad("garbage", "garbage");
    bad("dots", "..");
    bad("three words", "a.b.c");
    bad("no signature", &format!("{header}.{payload}"));
    bad("an empty signature", &format!("{header}.{payload}."));
    bad("another signature", &format!("{header}.{payload}.{other_end}{}", &signature[1..]));
    bad("a cut signature", &format!("{header}.{payload}.{}", &signature[..42]));
    bad("a padded signature", &format!("{good}="));
    bad("a fourth part", &format!("{good}.{signature}"));
    bad("a space inside", &format!("{header}. {payload}.{signature}"));
    let other = json!({ "customerID": 8, "exp": exp }).to_string();
    bad("another payload", &format!("{header}.{}.{signature}", URL_SAFE_NO_PAD.encode(other)));
    bad(
        "another secret",
        &signed_with("another secret of more than 32 bytes!", Algorithm::HS256, HEADER, &good_claims()),
    );
    for alg in ["none", "None", "NONE", "nOnE", ""] {
        bad(&format!("alg {alg}"), &unsigned(alg));
    }
    for alg in ["none", "hs256", "HS384", "HS512", "RS256", "ES256", "EdDSA", "PS256"] {
        bad(&format!("an HS256 signature under alg {alg}"), &headed(&format!(r#"{{"alg":"{alg}"}}"#)));
    }
    let hs = |algorithm, name: &str| signed_with(SECRET, algorithm, &format!(r#"{{"alg":"{name}"}}"#), &good_claims());
    bad("HS384 by our secret", &hs(Algorithm::HS384, "HS384"));
    bad("HS512 by our secret", &hs(Algorithm::HS512, "HS512"));
    for header in [
        "{}",
        "[]",
        "null",
        r#""HS256""#,
        r#"{"alg":null}"#,
        r#"{"alg":["HS256"]}"#,
        r#"{"alg":"HS256","alg":"HS256"}"#,
        r#"{"alg":"HS256","kid":"a","kid":"b"}"#,
        r#"{"alg":"HS256","kid":1}"#,
        r#"{"alg":"HS256","kid":null}"#,
        r#"{"alg":"HS256","typ":"id+jwt"}"#,
        r#"{"alg":"HS256","typ":"logout+jwt"}"#,
        r#"{"alg":"HS256","typ":"secevent+jwt"}"#,
        r#"{"alg":"HS256","typ":"dpop+jwt"}"#,
        r#"{"alg":"HS256","typ":"JWE"}"#,
        r#"{"alg":"HS256","typ":1}"#,
        r#"{"alg":"HS256","crit":[]}"#,
        r#"{"alg":"HS256","crit":["exp"],"exp":1}"#,
        r#"{"alg":"HS256","crit":["b64"],"b64":false}"#,
        r#"{"alg":"HS256"} x"#,
        "\u{feff}{\"alg\":\"HS256\"}",
    ] {
        bad(&format!("the header {header}"), &headed(header));
    }
    let own_key = URL_SAFE_NO_PAD.encode("another secret of more than 32 bytes!");
    let embedding = format!(
        r#"{{"alg":"HS256","jwk":{{"kty":"oct","k":"{own_key}"}},"jku":"http://127.0.0.1:9/","x5u":"http://127.0.0.1:9/"}}"#
    );
    bad(
        "a key of its own",
        &signed_with("another secret of more than 32 bytes!", Algorithm::HS256, &embedding, &good_claims()),
    );

    for claims in ["null", "[]", "7", r#""x""#, "", "{", r#"{"customerID":7}"#, r#"{"customerID":7,"exp":1e999}"#] {
        bad(&format!("the claims {claims}"), &token_of_text(claims));
    }
    let utf16 = |text: &str| text.encode_utf16().flat_map(u16::to_be_bytes).collect::<Vec<_>>();
    let latin1 = [br#"{"x":"\xe9","customerID":7,"exp":"#, format!("{exp}}}").as_bytes()].concat();
    // A non-compressed block of DEFLATE (RFC 1951, section 3.2.4).
    let length = good_claims().len() as u16;
    let deflated = [&[1][..], &length.to_le_bytes(), &(!length).to_le_bytes(), good_claims().as_bytes()].concat();
    for (case, header, claims) in [
        ("claims in Latin-1", HEADER.as_bytes(), &latin1[..]),
        ("claims in UTF-16", HEADER.as_bytes(), &utf16(&good_claims())),
        ("a header in UTF-16", &utf16(HEADER), good_claims().as_bytes()),
        ("compressed claims", br#"{"alg":"HS256","zip":"DEF"}"#, &deflated),
        ("a token in a token", br#"{"alg":"HS256","cty":"JWT"}"#, good.as_bytes()),
    ] {
        bad(case, &signed_with(SECRET, Algorithm::HS256, header, claims));
    }
    let direct = URL_SAFE_NO_PAD.encode(r#"{"alg":"dir","enc":"A128CBC-HS256","cty":"JWT"}"#);
    bad("an encrypted token", &format!("{direct}..{signature}.{payload}.{}", &signature[..22]));
    bad("trailing bytes", &token_of_text(&format!("{} x", good_claims())));
    bad("a doubled exp", &token_of_text(&format!(r#"{{"customerID":7,"exp":{exp},"exp":{exp}}}"#)));
    bad("a doubled tenant", &token_of_text(&format!(r#"{{"customerID":7,"customerID":7,"exp":{exp}}}"#)));
    bad(
        "a doubled name deep inside",
        &token_of_text(&format!(r#"{{"customerID":7,"x":[{{"a":1,"a":2}}],"exp":{exp}}}"#)),
    );
    for wrong in [r#""x""#, &format!(r#""{exp}""#), "true", "false", "null", "[]", "{}", "-1", "253402300800", "1e300"]
    {
        bad(&format!("exp {wrong}"), &token_of_text(&format!(r#"{{"customerID":7,"exp":{wrong}}}"#)));
        for name in ["nbf", "iat"] {
            bad(
                &format!("{name} {wrong}"),
                &token_of_text(&format!(r#"{{"customerID":7,"exp":{exp},"{name}":{wrong}}}"#)),
            );
        }
    }
    bad("not yet valid", &token(json!({ "customerID": 7, "nbf": now() + 90 })));
    bad("over 8 KiB", &tokens_around(8 * 1024).1);

    with("expired", &[&format!("Bearer {}", token(json!({ "customerID": 7, "exp": now() - 60 })))], Expired);
    with("expired in 1970", &[&format!("Bearer {}", token(json!({ "customerID": 7, "exp": 0 })))], Expired);

    with("no tenant", &[&format!("Bearer {}", token(json!({ "sub": "7" })))], Forbidden);
    with(
        "a tenant of another name",
        &[&format!("Bearer {}", token(json!({ "customerId": 7, "customerid": 7 })))],
        Forbidden,
    );
    let long = format!(r#""{}""#, "a".repeat(65));
    for tenant in [
        "null",
        "0",
        "-1",
        "1.5",
        "9007199254740992",
        "1e300",
        "true",
        "[]",
        "[7]",
        "{}",
        r#""""#,
        r#"" ""#,
        r#"" 7""#,
        r#""a b""#,
        r#""a#b""#,
        r#""a.b""#,
        r#""a/b""#,
        r#""é""#,
        r#""٧""#,
        r#""a\u0000b""#,
        &long,
    ] {
        let token = token_of_text(&format!(r#"{{"exp":{exp},"customerID":{tenant}}}"#));
        with(&format!("the tenant {tenant}"), &[&format!("Bearer {token}")], Forbidden);
    }
    all
}

#[tokio::test]
async fn bad_tokens_are_rejected_on_every_route() {
    let app = App::start().await;
    let tenant = app.tenant(7);
    let end_user = tenant.create(json!({ "firstname": "Existing", "uids": [{ "uid": "existing@example.com" }] })).await;
    let other = tenant.create(json!({ "firstname": "Other" })).await;
    let (id, ids) = (&end_user["endUserID"], [&end_user["endUserID"], &other["endUserID"]]);
    let mut routes = routes();
    assert!(routes.len() >= 15, "{routes:?}");

    for (case, headers, expected) in invalid_credentials() {
        for (method, path) in &routes {
            let request = headers
                .iter()
                .fold(effective_request(method, path, ids), |request, value| request.header("authorization", value));
            assert_rejected(request.to(&app).await, expected, &format!("{method} {path} with {case}"));
        }
    }
    assert_eq!(tenant.read(id).await, end_user);
    for tenant in [app.tenant(7), app.tenant(8)] {
        let total = tenant.get("/api/EndUsers").await.expect(200)["totalCount"].clone();
        assert!(
            total == 2 || (total == 0 && tenant.get("/api/EndUsers").await.json()["items"] == json!([])),
            "{total}"
        );
    }

    // With a valid token each of the same requests has its effect.
    routes.sort_by_key(|(method, path)| (method == "DELETE", path.ends_with("/unmerge")));
    for (method, path) in &routes {
        let response = tenant.send(effective_request(method, path, ids)).await;
        assert!((200..300).contains(&response.status), "{method} {path}: {} {}", response.status, response.text());
    }
    tenant.get(&format!("/api/EndUsers/{id}")).await.expect(404);
}

#[tokio::test]
async fn valid_tokens_are_accepted_in_every_form() {
    let app = App::start().await;
    let exp = now() + 600;
    let claims = |more: &str| token_of_text(&format!(r#"{{"customerID":7,"exp":{exp}{more}}}"#));
    let mut tokens = vec![
        token_of_text(&good_claims()),
        tokens_around(8 * 1024).0,
        token_of_text(&format!(r#"{{"customerID":7,"exp":{exp}.75}}"#)),
        token_of_text(r#"{"customerID":7,"exp":253402300799}"#),
        claims(r#","nbf":0,"iat":0"#),
        claims(&format!(r#","nbf":{},"iat":{}"#, now() + 15, now() + 500)),
        token(json!({ "customerID": 7, "exp": now() - 15 })),
        claims(r#","iss":5,"aud":{},"sub":[],"scope":1"#),
    ];
    for header in [
        r#"{"alg":"HS256"}"#,
        r#"{"alg":"HS256","typ":"jwt","kid":"any"}"#,
        r#"{"alg":"HS256","typ":"at+jwt"}"#,
        r#"{"alg":"HS256","typ":"application/AT+JWT"}"#,
        r#"{"alg":"HS256","x":{"y":[1,null,true]},"n":1.5,"z":null}"#,
    ] {
        tokens.push(headed(header));
    }
    for token in tokens {
        let empty = json!({ "items": [], "totalCount": 0, "totalPages": 0 });
        assert_eq!(app.caller(Some(token)).get("/api/EndUsers").await.expect(200), empty);
    }
    for scheme in ["Bearer", "bearer", "BEARER", "bEaReR"] {
        let request = TestRequest::new("GET", "/api/EndUsers")
            .header("authorization", &format!("{scheme} {}", token_of_text(&good_claims())));
        request.to(&app).await.expect(200);
    }
}

#[tokio::test]
async fn number_and_digit_string_name_the_same_tenant() {
    let app = App::start().await;
    let end_user = app.tenant(1).create(json!({ "firstname": "One" })).await;
    let id = &end_user["endUserID"];
    assert_eq!(app.tenant("1").read(id).await, end_user);
    for other in ["01", "1-", "_1", "11"] {
        app.tenant(other).get(&format!("/api/EndUsers/{id}")).await.expect(404);
    }
    let greatest = app.tenant(9_007_199_254_740_991u64).create(json!({ "firstname": "Great" })).await;
    assert_eq!(app.tenant("9007199254740991").read(&greatest["endUserID"]).await, greatest);

    let longest = "aZ9_-".repeat(13)[..64].to_owned();
    let end_user = app.tenant(longest.clone()).create(json!({ "firstname": "Long" })).await;
    app.tenant(longest.to_lowercase()).get(&format!("/api/EndUsers/{}", end_user["endUserID"])).await.expect(404);
    assert_eq!(app.tenant(longest).read(&end_user["endUserID"]).await, end_user);
}

#[tokio::test]
async fn issuer_and_audience_are_enforced_when_set() {
    let app = App::with(&[("JWT_ISSUER", "https://issuer.test"), ("JWT_AUDIENCE", "contacts")]).await;
    for aud in [json!("contacts"), json!(["other", "contacts"])] {
        let token = token(json!({ "customerID": 7, "iss": "https://issuer.test", "aud": aud }));
        app.caller(Some(token)).get("/api/EndUsers").await.expect(200);
    }
    let wrong = [
        (json!(null), json!("contacts")),
        (json!("https://issuer.test/"), json!("contacts")),
        (json!("HTTPS://issuer.test"), json!("contacts")),
        (json!(["https://issuer.test"]), json!("contacts")),
        (json!(7), json!("contacts")),
        (json!("https://issuer.test"), json!(null)),
        (json!("https://issuer.test"), json!("")),
        (json!("https://issuer.test"), json!("Contacts")),
        (json!("https://issuer.test"), json!("contacts other")),
        (json!("https://issuer.test"), json!([])),
        (json!("https://issuer.test"), json!(["other"])),
        (json!("https://issuer.test"), json!([["contacts"]])),
        (json!("https://issuer.test"), json!({ "contacts": true })),
        (json!("https://issuer.test"), json!(7)),
    ];
    for (iss, aud) in wrong {
        let token = token(json!({ "customerID": 7, "iss": iss, "aud": aud }));
        let response = app.caller(Some(token)).get("/api/EndUsers").await;
        assert_rejected(response, Invalid, &format!("iss {iss} aud {aud}"));
    }
}

#[tokio::test]
async fn other_token_types_of_the_issuer_are_rejected() {
    let settings = [("JWT_ISSUER", "https://issuer.test"), ("JWT_AUDIENCE", "contacts"), ("JWT_READ_SCOPE", "read")];
    let app = App::with(&settings).await;
    let signed = |typ: &str, more: Value| {
        let mut claims = json!({ "customerID": 7, "exp": now() + 600, "iss": "https://issuer.test" });
        claims.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let header = json!({ "alg": "HS256", "typ": typ }).to_string();
        app.caller(Some(signed_with(SECRET, Algorithm::HS256, header.as_str(), &claims.to_string())))
    };
    let access = json!({ "aud": "contacts", "scope": "read" });
    signed("at+jwt", access.clone()).get("/api/EndUsers").await.expect(200);
    for (case, typ, claims) in [
        ("an ID token, which is for the client", "JWT", json!({ "aud": "client-1", "nonce": "n", "scope": "read" })),
        ("an access token for another service", "at+jwt", json!({ "aud": "billing", "scope": "read" })),
        ("a token without an audience", "JWT", json!({ "scope": "read" })),
        ("an ID token of its own type", "id+jwt", access.clone()),
        ("a logout token", "logout+jwt", access.clone()),
        ("a security event", "secevent+jwt", access.clone()),
        ("a proof of possession", "dpop+jwt", access.clone()),
    ] {
        assert_rejected(signed(typ, claims).get("/api/EndUsers").await, Invalid, case);
    }
    let without_scope = signed("JWT", json!({ "aud": "contacts" }));
    assert_rejected(without_scope.get("/api/EndUsers").await, Forbidden, "a token without a scope");
}

#[tokio::test]
async fn read_scope_only_reads_and_write_scope_does_both() {
    let app = App::with(&[("JWT_READ_SCOPE", "end-users:read"), ("JWT_WRITE_SCOPE", "end-users:write")]).await;
    let caller = |claims: Value| {
        let mut all = json!({ "customerID": 7 });
        all.as_object_mut().unwrap().extend(claims.as_object().unwrap().clone());
        app.caller(Some(token(all)))
    };
    let rejected = [
        json!({}),
        json!({ "scope": "" }),
        json!({ "scope": "end-users" }),
        json!({ "scope": "End-Users:Read" }),
        json!({ "scope": "end-users:reader xend-users:write" }),
        json!({ "scope": [] }),
        json!({ "scope": ["end-users:read end-users:write"] }),
        json!({ "scope": { "end-users:write": true } }),
        json!({ "scope": 7 }),
    ];
    for claims in rejected {
        let caller = caller(claims.clone());
        assert_rejected(caller.get("/api/EndUsers").await, Forbidden, &format!("GET with {claims}"));
        let response = caller.post("/api/EndUsers", json!({ "firstname": "No" })).await;
        assert_rejected(response, Forbidden, &format!("POST with {claims}"));
    }
    for scope in [
        json!({ "scope": "a end-users:read b" }),
        json!({ "scope": ["end-users:read"] }),
        json!({ "scp": "end-users:read" }),
        json!({ "scp": ["end-users:read"] }),
    ] {
        let caller = caller(scope.clone());
        assert_eq!(caller.get("/api/EndUsers?search=no").await.expect(200)["totalCount"], 0, "{scope}");
        for (method, path) in [
            ("POST", "/api/EndUsers"),
            ("PUT", "/api/EndUsers/1"),
            ("DELETE", "/api/EndUsers/1"),
            ("POST", "/api/EndUserUIDs/assign"),
        ] {
            let response = caller.send(TestRequest::new(method, path).json(&json!({}))).await;
            assert_rejected(response, Forbidden, &format!("{method} {path} with {scope}"));
        }
    }
    for scope in [
        json!({ "scope": "end-users:write" }),
        json!({ "scope": ["x", "end-users:write"] }),
        json!({ "scp": ["end-users:write"] }),
    ] {
        let caller = caller(scope);
        let end_user = caller.create(json!({ "firstname": "Yes" })).await;
        assert_eq!(caller.read(&end_user["endUserID"]).await, end_user);
    }
}

#[tokio::test]
async fn tenant_claim_and_leeway_are_configurable() {
    let app =
        App::with(&[("JWT_CUSTOMER_CLAIM", "https://x.test/tenant"), ("JWT_LEEWAY_SECONDS", "0"), ("JWT_ISSUER", "")])
            .await;
    let caller = |claims| app.caller(Some(token(claims)));
    let end_user = caller(json!({ "https://x.test/tenant": 7 })).create(json!({ "firstname": "Named" })).await;
    assert_eq!(
        caller(json!({ "https://x.test/tenant": "7", "customerID": 8 })).read(&end_user["endUserID"]).await,
        end_user
    );
    assert_rejected(caller(json!({ "customerID": 7 })).get("/api/EndUsers").await, Forbidden, "the default claim name");
    let late = caller(json!({ "https://x.test/tenant": 7, "exp": now() - 2 }));
    assert_rejected(late.get("/api/EndUsers").await, Expired, "expired two seconds ago");
    let early = caller(json!({ "https://x.test/tenant": 7, "nbf": now() + 20 }));
    assert_rejected(early.get("/api/EndUsers").await, Invalid, "valid in twenty seconds");
}

fn variables(pairs: &[(&str, &str)]) -> HashMap<String, String> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

/// The error with which `local` fails to start with these variables.
async fn start_failure(pairs: &[(&str, &str)]) -> String {
    let variables = variables(pairs);
    let options = Options { port: 0, storage: Storage::Memory, demo: false, functions: None, variables };
    match Local::start(options).await {
        Ok(_) => panic!("local starts with {pairs:?}"),
        Err(error) => error.to_string(),
    }
}

#[tokio::test]
async fn start_requires_exactly_one_valid_key() {
    let pem = ed25519_pem();
    let binary_31 = format!("base64:{}", STANDARD.encode([7; 31]));
    let cases: &[(&[(&str, &str)], &str)] = &[
        (&[("JWT_SECRET", SECRET), ("JWT_PUBLIC_KEY", &pem)], "JWT_PUBLIC_KEY"),
        (&[("JWT_SECRET", SECRET), ("JWT_JWKS_URL", "http://127.0.0.1:9/")], "JWT_JWKS_URL"),
        (&[("JWT_PUBLIC_KEY", &pem), ("JWT_JWKS_URL", "http://127.0.0.1:9/")], "JWT_PUBLIC_KEY"),
        (&[("JWT_SECRET", &SECRET[..31])], "32 bytes"),
        (&[("JWT_SECRET", &binary_31)], "32 bytes"),
        (&[("JWT_SECRET", "base64:?????????????????????????????????????????????")], "base64"),
        (&[("JWT_PUBLIC_KEY", "no key")], "JWT_PUBLIC_KEY"),
        (&[("JWT_JWKS_URL", "no url")], "JWT_JWKS_URL"),
        (&[("JWT_SECRET", SECRET), ("JWT_LEEWAY_SECONDS", "-1")], "JWT_LEEWAY_SECONDS"),
        (&[("JWT_SECRET", SECRET), ("JWT_LEEWAY_SECONDS", "soon")], "JWT_LEEWAY_SECONDS"),
    ];
    for (pairs, expected) in cases {
        let error = start_failure(pairs).await;
        assert!(error.contains(expected), "{pairs:?}: {error}");
        assert!(!error.contains(&SECRET[..31]), "{error}");
        let set = variables(pairs);
        assert!(AuthConfig::from_lookup(&|name| set.get(name).cloned()).is_err(), "{pairs:?}");
    }
    let none = AuthConfig::from_lookup(&|_| None).unwrap_err().to_string();
    assert!(["JWT_SECRET", "JWT_PUBLIC_KEY", "JWT_JWKS_URL"].iter().all(|name| none.contains(name)), "{none}");
    assert!(AuthConfig::from_lookup(&|_| Some(String::new())).is_err(), "an empty variable counts as unset");
}

#[tokio::test]
async fn binary_secret_is_read_from_base64() {
    let app = App::with(&[("JWT_SECRET", &format!("base64:{}", STANDARD.encode(SECRET)))]).await;
    app.tenant(7).get("/api/EndUsers").await.expect(200);
}

fn ed25519_pem() -> String {
    let der = [
        &[0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00][..],
        &URL_SAFE_NO_PAD.decode(ED25519.x).unwrap(),
    ]
    .concat();
    format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", STANDARD.encode(der))
}

#[tokio::test]
async fn public_key_is_never_used_as_a_secret() {
    let pem = ed25519_pem();
    let app = App::with(&[("JWT_SECRET", ""), ("JWT_PUBLIC_KEY", &pem)]).await;
    let valid = ED25519.signed(r#"{"alg":"EdDSA"}"#, &good_claims());
    app.caller(Some(valid)).get("/api/EndUsers").await.expect(200);
    let raw_key = String::from_utf8_lossy(&URL_SAFE_NO_PAD.decode(ED25519.x).unwrap()).into_owned();
    for secret in [pem.as_str(), pem.trim_end(), &raw_key] {
        let forged = signed_with(secret, Algorithm::HS256, HEADER, &good_claims());
        assert_rejected(app.caller(Some(forged)).get("/api/EndUsers").await, Invalid, "the public key as a secret");
    }
    for alg in ["ES256", "RS256", "HS256", "none"] {
        let token = ED25519.signed(&format!(r#"{{"alg":"{alg}"}}"#), &good_claims());
        assert_rejected(app.caller(Some(token)).get("/api/EndUsers").await, Invalid, alg);
    }
}

/// The key of RFC 7515, appendix A.3, and the same key with the last bit of y flipped.
#[tokio::test]
async fn off_curve_point_verifies_no_token() {
    let (x, y) = ("f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU", "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0");
    let token = "eyJhbGciOiJFUzI1NiJ9.\
        eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.\
        DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q";
    for (turned, expected) in [(0, Expired), (1, Invalid)] {
        let mut point = [&[4][..], &URL_SAFE_NO_PAD.decode(x).unwrap(), &URL_SAFE_NO_PAD.decode(y).unwrap()].concat();
        point[64] ^= turned;
        let head = STANDARD.decode("MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgA=").unwrap();
        let der = STANDARD.encode([head, point].concat());
        let pem = format!("-----BEGIN PUBLIC KEY-----\n{der}\n-----END PUBLIC KEY-----\n");
        let app = App::with(&[("JWT_SECRET", ""), ("JWT_PUBLIC_KEY", &pem)]).await;
        assert_rejected(
            app.caller(Some(token.to_owned())).get("/api/EndUsers").await,
            expected,
            &format!("bit {turned}"),
        );
    }
}
