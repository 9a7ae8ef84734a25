//! Third-party test vectors for JSON, text, e-mail, phone numbers and tokens, over HTTP.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::PathBuf;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use shared::domain::search::Search;
use shared::domain::text;

use crate::support::app::{App, Caller, TestRequest};
use crate::support::issuer::Issuer;
use crate::support::tokens::{Rejection, assert_rejected};

/// A file in the folder `VECTORS`, or in `../shared/vectors` if it exists.
fn read(name: &str) -> Option<String> {
    let named = std::env::var_os("VECTORS").map(PathBuf::from);
    let folder = named.clone().unwrap_or_else(|| concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/vectors").into());
    if named.is_none() && !folder.exists() {
        println!("{name} is not read: VECTORS is not set and there is no {}", folder.display());
        return None;
    }
    Some(std::fs::read_to_string(folder.join(name)).unwrap())
}

fn file(name: &str) -> Option<Value> {
    read(name).map(|text| serde_json::from_str(&text).unwrap())
}

/// The rows of a CSV file by column name. A missing file has no rows.
fn rows(name: &str) -> Vec<HashMap<String, String>> {
    let text = read(name).unwrap_or_default();
    csv::Reader::from_reader(text.as_bytes()).deserialize().map(Result::unwrap).collect()
}

/// The text of a cell, decoded by the row's `enc`; `None` if it is no valid UTF-8.
fn cell(row: &HashMap<String, String>, column: &str) -> Option<String> {
    match row["enc"].as_str() {
        "json" => serde_json::from_str(&row[column]).ok(),
        _ => Some(row[column].clone()),
    }
}

fn content(case: &Value) -> Vec<u8> {
    if let Some(text) = case["text"].as_str() {
        return text.as_bytes().to_vec();
    }
    if let Some(bytes) = case["b64"].as_str() {
        return base64::engine::general_purpose::STANDARD.decode(bytes).unwrap();
    }
    let repeat = &case["repeat"];
    let unit = repeat["unit"].as_str().unwrap().repeat(repeat["times"].as_u64().unwrap() as usize);
    (unit + repeat["tail"].as_str().unwrap_or_default()).into_bytes()
}

#[tokio::test]
async fn invalid_json_is_400_and_never_500() {
    let Some(file) = file("json_parsing.json") else { return };
    let app = App::start().await;
    let tenant = app.tenant(7);
    let cases = file["cases"].as_array().unwrap();
    for case in cases {
        let response = tenant.send(TestRequest::new("POST", "/api/EndUsers").body(content(case))).await;
        if case["expect"] == "must_reject" {
            assert_eq!(response.errors(), ["body"], "{}", case["name"]);
        } else {
            assert!([201, 400].contains(&response.status), "{}: {}", case["name"], response.text());
        }
    }
    println!("json_parsing.json: {} bodies", cases.len());
}

#[tokio::test]
async fn naughty_strings_are_found_or_rejected_with_a_reason() {
    let Some(file) = file("blns.json") else { return };
    let strings = file.as_array().cloned().unwrap_or_else(|| file["strings"].as_array().unwrap().clone());
    assert!(strings.len() > 500);
    let app = App::start().await;
    let tenant = app.tenant(7);
    let mut stored = 0;
    for naughty in strings.iter().map(|string| string.as_str().unwrap()) {
        let body = json!({ "firstname": naughty, "otherContactDetails": naughty, "uids": [{ "uidType": "Other", "uid": naughty }] });
        let response = tenant.post("/api/EndUsers", body).await;
        let uid = percent_encoding::utf8_percent_encode(naughty, percent_encoding::NON_ALPHANUMERIC).to_string();
        let stored_text = stored_form(naughty);
        let searched = tenant.get(&format!("/api/EndUsers?search={uid}")).await;
        let search = stored_text.as_deref().filter(|stored_text| stored_text.chars().count() <= 320).map(Search::parse);
        match searched.status {
            200 => assert!(search.is_some_and(|search| search.is_ok()), "{naughty:?}"),
            _ => {
                assert!(searched.errors() == ["search"] && search.is_none_or(|search| search.is_err()), "{naughty:?}")
            }
        }
        let reasons = match &stored_text {
            None => vec!["firstname", "otherContactDetails", "uids[0].uid"],
            Some(stored_text) => {
                let (length, blank) = (stored_text.chars().count(), stored_text.is_empty());
                let errors = [("firstname", length > 200), ("uids[0].uid", length > 320 || blank)];
                errors.into_iter().filter(|(_, error)| *error).map(|(path, _)| path).collect()
            }
        };
        if !reasons.is_empty() {
            assert_eq!(response.errors(), reasons, "{naughty:?}");
            continue;
        }
        let end_user = response.expect(201);
        let found = tenant.get(&format!("/api/EndUsers/byUid?uid={uid}")).await.expect(200);
        let found = found.as_array().unwrap();
        assert!(found.contains(&end_user), "{naughty:?} does not find {end_user}");
        stored += 1;
    }
    assert!(stored > 400, "only {stored} were stored");
    println!("blns.json: {} strings, {stored} stored and found", strings.len());
}

/// The stored form of a text, trimmed and composed; `None` if it contains control characters.
fn stored_form(value: &str) -> Option<String> {
    text::clean(value, text::Limit::Chars(usize::MAX)).ok()
}

#[tokio::test]
async fn valid_json_in_an_unknown_member_is_ignored() {
    let Some(file) = file("json_parsing.json") else { return };
    let app = App::start().await;
    let tenant = app.tenant(7);
    let cases = file["cases"].as_array().unwrap();
    for case in cases {
        let body = [b"{\"firstname\":\"J\",\"unknown\":", &content(case)[..], b"}"].concat();
        let response = tenant.send(TestRequest::new("POST", "/api/EndUsers").body(body)).await;
        let name = case["name"].as_str().unwrap();
        // RFC 8259 leaves duplicate names open. The API rejects them (docs/api.md, Conventions).
        let doubled = name.starts_with("y_object_duplicated_key");
        if case["expect"] == "must_accept" && !doubled {
            assert_eq!(
                (response.status, response.json()["firstname"].as_str()),
                (201, Some("J")),
                "{name}: {}",
                response.text()
            );
        } else if doubled {
            assert_eq!(response.errors(), ["unknown.a"], "{name}");
        } else {
            assert!([201, 400].contains(&response.status), "{name}: {}", response.text());
        }
    }
    println!("json_parsing.json: {} values of a member", cases.len());
}

#[tokio::test]
async fn naughty_strings_are_returned_from_every_field() {
    let Some(file) = file("blns.json") else { return };
    let app = App::start().await;
    let tenant = app.tenant(7);
    let strings = file["strings"].as_array().unwrap();
    for (turn, naughty) in strings.iter().map(|string| string.as_str().unwrap()).enumerate() {
        let limits = [
            ("firstname", 200),
            ("lastname", 200),
            ("company", 200),
            ("street", 200),
            ("city", 200),
            ("houseNumber", 50),
            ("postalCode", 50),
            ("gender", 50),
            ("customerRef", 254),
        ];
        let body: serde_json::Map<_, _> = limits.iter().map(|(name, _)| ((*name).to_owned(), json!(naughty))).collect();
        let response = tenant.post("/api/EndUsers", body.into()).await;
        let Some(stored_text) = stored_form(naughty) else {
            assert_eq!(response.errors().len(), limits.len(), "{naughty:?}");
            continue;
        };
        let mut over: Vec<_> =
            limits.iter().filter(|(_, limit)| stored_text.chars().count() > *limit).map(|(name, _)| *name).collect();
        over.sort_unstable();
        if !over.is_empty() {
            assert_eq!(response.errors(), over, "{naughty:?}");
            continue;
        }
        let end_user = response.expect(201);
        for (name, _) in limits {
            assert_eq!(end_user[name].as_str().unwrap_or_default(), stored_text, "{name} of {naughty:?}");
        }
        let encoded = percent_encoding::utf8_percent_encode(naughty, percent_encoding::NON_ALPHANUMERIC).to_string();
        if !stored_text.is_empty() {
            let found = tenant.get(&format!("/api/EndUsers/byUid?uid={encoded}")).await.expect(200);
            assert!(found.as_array().unwrap().contains(&end_user), "{naughty:?}");
        }
        // Each string also goes to one other member and one query parameter. Each may reject it with 400.
        let uid = |kind: &str, uid: &str| json!({ "country": "BE", "uids": [{ "uidType": kind, "uid": uid }] });
        let bodies = [
            json!({ "country": naughty }),
            json!({ "lang": naughty }),
            json!({ "customerType": naughty }),
            json!({ "uids": naughty }),
            uid("Email", naughty),
            uid("Phone", naughty),
            uid("WhatsApp", naughty),
            uid(naughty, "u"),
        ];
        let response = tenant.post("/api/EndUsers", bodies[turn % bodies.len()].clone()).await;
        assert!([201, 400].contains(&response.status), "{} {naughty:?}: {}", turn % bodies.len(), response.text());
        let list = ["sortBy", "sortOrder", "pageSize", "pageNumber"].map(|name| format!("/api/EndUsers?{name}"));
        let names = ["status", "channelIDs", "isClosed", "uid", "search", "customerRepID", "sortBy"];
        let tickets = names.map(|name| format!("/api/EndUsers/{}/tickets?{name}", end_user["endUserID"]));
        let paths: Vec<_> = list.into_iter().chain(tickets).collect();
        let response = tenant.get(&format!("{}={encoded}", paths[turn % paths.len()])).await;
        assert!([200, 400].contains(&response.status), "{} {naughty:?}: {}", response.request, response.text());
    }
    println!("blns.json: {} strings in 9 members, one other member and one query parameter", strings.len());
}

/// The pattern of a valid e-mail address in the HTML Living Standard.
fn is_html_email(address: &str) -> bool {
    let Some((local, domain)) = address.split_once('@') else { return false };
    let atom = |c: char| c.is_ascii_alphanumeric() || ".!#$%&'*+/=?^_`{|}~-".contains(c);
    let label = |label: &str| {
        let ends = label.chars().next().into_iter().chain(label.chars().next_back());
        (1..=63).contains(&label.len())
            && label.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
            && ends.into_iter().all(|c| c.is_ascii_alphanumeric())
    };
    !local.is_empty() && local.chars().all(atom) && domain.split('.').all(label)
}

/// Posts values as UIDs of one type, 40 per end user, and returns which of them are invalid.
async fn invalid_uids(tenant: &Caller<'_>, country: &str, kind: &str, values: &[&String]) -> BTreeSet<usize> {
    let mut invalid = BTreeSet::new();
    for (chunk, values) in values.chunks(40).enumerate() {
        let uids: Vec<_> = values.iter().map(|value| json!({ "uidType": kind, "uid": value })).collect();
        let response = tenant.post("/api/EndUsers", json!({ "country": country, "uids": uids })).await;
        if response.status == 201 {
            continue;
        }
        for path in response.errors() {
            let index = path.strip_prefix("uids[").and_then(|rest| rest.strip_suffix("].uid")).unwrap();
            invalid.insert(chunk * 40 + index.parse::<usize>().unwrap());
        }
    }
    invalid
}

/// The rows of `email.csv` for which docs/api.md differs from the HTML pattern.
const EMAIL_DIFFERENCES: &[(&str, &[&str])] = &[
    (
        "valid: the domain is first turned into ASCII",
        &["em-438", "em-530", "em-600", "em-680", "em-688", "em-689", "em-696", "em-698", "em-702", "em-758"],
    ),
    (
        "invalid: longer than 254",
        &[
            "em-039", "em-040", "em-041", "em-184", "em-194", "em-270", "em-509", "em-515", "em-516", "em-745",
            "em-746", "em-747", "em-748", "em-749",
        ],
    ),
    ("valid: invisible characters around an address are removed", &["em-681", "em-683"]),
    ("valid: the Kelvin sign is the letter K, composed", &["em-693"]),
];

#[tokio::test]
async fn email_follows_the_html_rule_with_an_ascii_domain() {
    let app = App::start().await;
    let tenant = app.tenant(7);
    let rows = rows("email.csv");
    let differs = |id: &str| EMAIL_DIFFERENCES.iter().any(|(_, ids)| ids.contains(&id));
    let (mut cases, mut different) = (Vec::new(), 0);
    for row in &rows {
        let Some(address) = cell(row, "address") else {
            // JSON text cannot contain a lone surrogate.
            let body = format!(r#"{{"uids":[{{"uid":{}}}]}}"#, row["address"]);
            let response = tenant.send(TestRequest::new("POST", "/api/EndUsers").body(body)).await;
            assert_eq!(response.errors(), ["body"], "{}", row["id"]);
            assert!(row["valid_html5"] == "false", "{}", row["id"]);
            continue;
        };
        let by_html = row["valid_html5"] == "true";
        assert_eq!(is_html_email(&address), by_html, "{}: the vectors' own verdict", row["id"]);
        // White space at both ends is trimmed first.
        let trimmed = is_html_email(address.trim());
        different += usize::from(trimmed != by_html || differs(&row["id"]));
        cases.push((row["id"].clone(), address, trimmed ^ differs(&row["id"])));
    }
    let values: Vec<_> = cases.iter().map(|(_, address, _)| address).collect();
    let invalid = invalid_uids(&tenant, "", "Email", &values).await;
    let wrong: Vec<_> = cases.iter().enumerate().filter(|(i, (.., valid))| invalid.contains(i) == *valid).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");

    let valid: Vec<_> = cases.iter().filter(|(.., valid)| *valid).map(|(_, address, _)| address).collect();
    for chunk in valid.chunks(40) {
        let uids: Vec<_> = chunk.iter().map(|uid| json!({ "uid": uid })).collect();
        let end_user = tenant.create(json!({ "uids": uids })).await;
        for address in chunk {
            assert!(tenant.by_uid(address).await.contains(&end_user["endUserID"].as_u64().unwrap()), "{address:?}");
        }
    }
    println!("email.csv: {} addresses, {} valid, {different} differences", rows.len(), valid.len());
}

/// The rows of `phone.csv` for which docs/api.md differs from libphonenumber.
const PHONE_DIFFERENCES: [(&str, Option<&str>, &str); 5] = [
    ("ph-1222", Some("+18762101234"), "a leading 00 is read as + although the region has another exit code"),
    ("ph-1431", Some("+821020000000"), "a leading 00 is read as + although the region has another exit code"),
    ("ph-1795", None, "a letter is never a keypad digit"),
    ("ph-1827", Some("+32470123456"), "any Unicode space separates"),
    ("ph-1861", None, "a letter is an error and is not skipped"),
];

#[tokio::test]
async fn phone_number_is_parsed_by_its_country() {
    let app = App::start().await;
    let tenant = app.tenant(7);
    let rows = rows("phone.csv");
    let mut by_region: BTreeMap<&str, Vec<_>> = BTreeMap::new();
    let (mut different, mut valid) = (0, 0);
    for row in &rows {
        let (id, raw) = (row["id"].as_str(), cell(row, "raw").unwrap());
        let expected = if let Some((_, expected, _)) = PHONE_DIFFERENCES.iter().find(|(differs, ..)| *differs == id) {
            different += 1;
            expected.map(str::to_owned)
        } else if row["format"] == "mobile:00-prefix-no-region" {
            // libphonenumber recognizes no exit code without a region.
            different += 1;
            Some(format!("+{}", &raw[2..]))
        } else if row["expected"] != "INVALID" {
            let extension = Some(&row["ext"]).filter(|ext| !ext.is_empty()).map(|ext| format!(";ext={ext}"));
            Some(format!("{}{}", row["expected"], extension.unwrap_or_default()))
        } else if row["possible"] == "true" {
            // The row does not name the number, so any possible number passes.
            different += 1;
            Some(String::new())
        } else {
            None
        };
        valid += usize::from(expected.is_some());
        by_region.entry(&row["region"]).or_default().push((id, raw, expected));
    }
    for (region, cases) in by_region {
        let values: Vec<_> = cases.iter().map(|(_, raw, _)| raw).collect();
        let invalid = invalid_uids(&tenant, region, "Phone", &values).await;
        let wrong: Vec<_> =
            cases.iter().enumerate().filter(|(i, (.., e))| invalid.contains(i) == e.is_some()).collect();
        assert!(wrong.is_empty(), "{region}: {wrong:#?}");
        let said = cases.iter().filter_map(|(id, raw, expected)| {
            let expected = expected.as_deref().filter(|expected| !expected.is_empty())?;
            Some((id, raw, expected))
        });
        for chunk in said.collect::<Vec<_>>().chunks(40) {
            let uids: Vec<_> = chunk.iter().map(|(_, raw, _)| json!({ "uidType": "Phone", "uid": raw })).collect();
            let end_user = tenant.create(json!({ "country": region, "uids": uids })).await;
            let stored: Vec<_> =
                end_user["uids"].as_array().unwrap().iter().map(|u| u["uid"].as_str().unwrap()).collect();
            // The numbers in the order in which they were sent, without duplicates.
            let mut distinct = Vec::new();
            for (.., expected) in chunk {
                if !distinct.contains(expected) {
                    distinct.push(*expected);
                }
            }
            assert_eq!(stored, distinct, "{region}: {chunk:#?}");
        }
    }
    println!("phone.csv: {} numbers, {valid} accepted, {different} differences", rows.len());
}

fn der(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = match content.len() {
        n @ ..0x80 => vec![n as u8],
        n @ ..0x100 => vec![0x81, n as u8],
        n => vec![0x82, (n >> 8) as u8, n as u8],
    };
    [&[tag], &length[..], content].concat()
}

fn integer(bytes: &[u8]) -> Vec<u8> {
    der(2, &if bytes[0] >= 0x80 { [&[0], bytes].concat() } else { bytes.to_vec() })
}

fn pem(label: &str, der: &[u8]) -> String {
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", STANDARD.encode(der))
}

/// The setting that configures a key of the vectors; `None` if no setting accepts such a key.
fn key_setting(jwk: &Value) -> Option<(&'static str, String)> {
    let bytes = |name: &str| URL_SAFE_NO_PAD.decode(jwk[name].as_str()?).ok();
    match (jwk["kty"].as_str()?, jwk["crv"].as_str(), jwk["alg"].as_str()?) {
        ("oct", _, "HS256") => {
            let secret = bytes("k").filter(|secret| secret.len() >= 32)?;
            Some(("JWT_SECRET", format!("base64:{}", STANDARD.encode(secret))))
        }
        // The algorithm that its tokens name does not matter.
        ("RSA", ..) => {
            let key = der(0x30, &[integer(&bytes("n")?), integer(&bytes("e")?)].concat());
            Some(("JWT_PUBLIC_KEY", pem("RSA PUBLIC KEY", &key)))
        }
        ("EC", Some("P-256"), "ES256") => {
            let oids = b"\x30\x13\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07";
            let point = [&[0, 4][..], &bytes("x")?, &bytes("y")?].concat();
            Some(("JWT_PUBLIC_KEY", pem("PUBLIC KEY", &der(0x30, &[&oids[..], &der(3, &point)].concat()))))
        }
        ("OKP", Some("Ed25519"), "EdDSA") => {
            let oid = b"\x30\x05\x06\x03\x2b\x65\x70";
            let point = [&[0], &bytes("x")?[..]].concat();
            Some(("JWT_PUBLIC_KEY", pem("PUBLIC KEY", &der(0x30, &[&oid[..], &der(3, &point)].concat()))))
        }
        _ => None,
    }
}

/// Counts of the tokens that were sent.
#[derive(Default)]
struct Tally {
    sent: usize,
    invalid: usize,
    /// Valid signatures of a supported algorithm over invalid or expired claims.
    no_claims: usize,
    /// Valid tokens that are rejected on purpose, by reason.
    on_purpose: BTreeMap<&'static str, usize>,
    unsendable: usize,
}

#[tokio::test]
async fn invalid_tokens_are_rejected_and_never_500() {
    let Some(file) = file("jws.json") else { return };
    let vectors = file["vectors"].as_array().unwrap();
    let mut by_key: BTreeMap<(&str, [&str; 2]), Vec<&Value>> = BTreeMap::new();
    for vector in vectors {
        let policy = match &vector["policy"] {
            Value::String(name) => &file["_header"]["policies"][name],
            policy => policy,
        };
        let rule = ["iss", "aud"].map(|name| policy[name].as_str().unwrap_or_default());
        by_key.entry((vector["key"].as_str().unwrap(), rule)).or_default().push(vector);
    }
    let mut tally = Tally::default();
    for ((key, [issuer, audience]), vectors) in by_key {
        let key = &file["keys"][key];
        let rules = [("JWT_ISSUER", issuer), ("JWT_AUDIENCE", audience)];
        let setting = key_setting(key).filter(|_| vectors.iter().all(|vector| vector["scope"] == "token"));
        if let Some((name, value)) = setting {
            let app = App::with(&[&[("JWT_SECRET", ""), (name, value.as_str())], &rules[..]].concat()).await;
            assert_verdicts(&app, &vectors, true, &mut tally).await;
        } else {
            // An issuer can publish a key that no setting accepts.
            let published = key["keys"].as_array().cloned().unwrap_or_else(|| vec![key.clone()]);
            let is_configurable =
                published.iter().any(|key| key_setting(key).is_some_and(|(name, _)| name == "JWT_PUBLIC_KEY"));
            let issuer = Issuer::publishing(&published);
            assert_verdicts(&issuer.app().await, &vectors, is_configurable, &mut tally).await;
        }
    }
    let Tally { sent, invalid, no_claims, on_purpose, unsendable } = tally;
    assert_eq!(sent + unsendable, vectors.len());
    println!(
        "jws.json: {sent} tokens, {invalid} of them invalid, {no_claims} with valid signatures over invalid claims; \
         rejected on purpose: {on_purpose:?}; not sendable in a header: {unsendable}"
    );
}

/// Sends tokens to a system that has their key. If `usable` is false, the system cannot use the key.
async fn assert_verdicts(app: &App, vectors: &[&Value], usable: bool, tally: &mut Tally) {
    for vector in vectors {
        let header = format!("Bearer {}", vector["token"].as_str().unwrap());
        if http::HeaderValue::from_bytes(header.as_bytes()).is_err() {
            tally.unsendable += 1;
            continue;
        }
        let response = TestRequest::new("GET", "/api/EndUsers").header("authorization", &header).to(app).await;
        tally.sent += 1;
        let ours = ["HS256", "RS256", "ES256", "EdDSA"].contains(&vector["alg"].as_str().unwrap());
        match (vector["profile"].as_str().unwrap(), vector["result"].as_str().unwrap()) {
            (_, "acceptable") => assert!([200, 401, 403].contains(&response.status), "{vector}: {}", response.text()),
            ("jws", "invalid") if vector["token"] != "" => {
                assert_rejected(response, Rejection::Invalid, &vector.to_string());
                tally.invalid += 1;
            }
            // The request has no token or an expired one.
            (_, "invalid") => {
                assert_eq!(response.status, 401, "{vector}: {}", response.text());
                tally.invalid += 1;
            }
            _ if !ours || !usable => {
                assert_rejected(response, Rejection::Invalid, &vector.to_string());
                let reason = if ours { "a symmetric key in a set" } else { "another algorithm" };
                *tally.on_purpose.entry(reason).or_default() += 1;
            }
            ("jwt", _) => assert!([200, 403].contains(&response.status), "{vector}: {}", response.text()),
            _ => {
                let payload = vector["token"].as_str().unwrap().split('.').nth(1).unwrap();
                let claims: Value =
                    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).unwrap()).unwrap_or_default();
                // Expiry is reported only after the signature is verified.
                let expected = if claims["exp"].is_number() { Rejection::Expired } else { Rejection::Invalid };
                assert_rejected(response, expected, &vector.to_string());
                tally.no_claims += 1;
            }
        }
    }
}
