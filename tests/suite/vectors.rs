//! Third-party cases over HTTP.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::PathBuf;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use crate::app::{App, Caller, Send};

/// A file of the folder that `VECTORS` names, or of `../shared/vectors` where that exists.
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

/// The rows of a CSV file by column name; none where there is no such file.
fn rows(name: &str) -> Vec<HashMap<String, String>> {
    let text = read(name).unwrap_or_default();
    csv::Reader::from_reader(text.as_bytes()).deserialize().map(Result::unwrap).collect()
}

/// The text of a cell whose row's `enc` says how it is written; `None` for what no UTF-8 holds.
fn cell(row: &HashMap<String, String>, column: &str) -> Option<String> {
    match row["enc"].as_str() {
        "json" => serde_json::from_str(&row[column]).ok(),
        _ => Some(row[column].clone()),
    }
}

fn text(case: &Value) -> Vec<u8> {
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
async fn what_is_not_json_is_a_fault_of_the_body_and_nothing_is_a_fault_of_ours() {
    let Some(file) = file("json_parsing.json") else { return };
    let app = App::start().await;
    let tenant = app.tenant(7);
    for case in file["cases"].as_array().unwrap() {
        let answer = tenant.send(Send::new("POST", "/api/EndUsers").body(text(case))).await;
        if case["expect"] == "must_reject" {
            assert_eq!(answer.faults(), ["body"], "{}", case["name"]);
        } else {
            assert!([201, 400].contains(&answer.status), "{}: {}", case["name"], answer.text());
        }
    }
}

#[tokio::test]
async fn naughty_strings_are_stored_and_found_or_refused_with_a_reason() {
    let Some(file) = file("blns.json") else { return };
    let strings = file.as_array().cloned().unwrap_or_else(|| file["strings"].as_array().unwrap().clone());
    assert!(strings.len() > 500);
    let app = App::start().await;
    let tenant = app.tenant(7);
    let mut stored = 0;
    for naughty in strings.iter().filter_map(Value::as_str) {
        let body = json!({ "firstname": naughty, "otherContactDetails": naughty, "uids": [{ "uidType": "Other", "uid": naughty }] });
        let answer = tenant.post("/api/EndUsers", body).await;
        let uid = percent_encoding::utf8_percent_encode(naughty, percent_encoding::NON_ALPHANUMERIC).to_string();
        let searched = tenant.get(&format!("/api/EndUsers?search={uid}")).await;
        assert!([200, 400].contains(&searched.status), "{naughty:?}: {}", searched.text());
        if answer.status == 400 {
            assert!(!answer.faults().is_empty());
            continue;
        }
        let person = answer.expect(201);
        let found = tenant.get(&format!("/api/EndUsers/byUid?uid={uid}")).await.expect(200);
        let found = found.as_array().unwrap();
        assert!(found.contains(&person), "{naughty:?} does not find {person}");
        stored += 1;
    }
    assert!(stored > 400, "only {stored} were stored");
}

#[tokio::test]
async fn a_value_of_any_valid_json_is_read_past() {
    let Some(file) = file("json_parsing.json") else { return };
    let app = App::start().await;
    let tenant = app.tenant(7);
    for case in file["cases"].as_array().unwrap() {
        let body = [b"{\"firstname\":\"J\",\"unknown\":", &text(case)[..], b"}"].concat();
        let answer = tenant.send(Send::new("POST", "/api/EndUsers").body(body)).await;
        let name = case["name"].as_str().unwrap();
        // The contract refuses what RFC 8259 leaves open: a name that stands twice.
        let doubled = name.starts_with("y_object_duplicated_key");
        if case["expect"] == "must_accept" && !doubled {
            assert_eq!(
                (answer.status, answer.json()["firstname"].as_str()),
                (201, Some("J")),
                "{name}: {}",
                answer.text()
            );
        } else if doubled {
            assert_eq!(answer.faults(), ["unknown.a"], "{name}");
        } else {
            assert!([201, 400].contains(&answer.status), "{name}: {}", answer.text());
        }
    }
}

#[tokio::test]
async fn naughty_strings_in_every_field_come_back_as_they_are_kept() {
    let Some(file) = file("blns.json") else { return };
    let app = App::start().await;
    let tenant = app.tenant(7);
    for (turn, naughty) in file["strings"].as_array().unwrap().iter().filter_map(Value::as_str).enumerate() {
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
        let answer = tenant.post("/api/EndUsers", body.into()).await;
        let kept = shared::domain::text::clean(naughty, shared::domain::text::Limit::Chars(usize::MAX));
        let Ok(kept) = kept else {
            assert_eq!(answer.faults().len(), limits.len(), "{naughty:?}");
            continue;
        };
        let mut over: Vec<_> =
            limits.iter().filter(|(_, limit)| kept.chars().count() > *limit).map(|(name, _)| *name).collect();
        over.sort_unstable();
        if !over.is_empty() {
            assert_eq!(answer.faults(), over, "{naughty:?}");
            continue;
        }
        let person = answer.expect(201);
        for (name, _) in limits {
            assert_eq!(person[name].as_str().unwrap_or_default(), kept, "{name} of {naughty:?}");
        }
        let encoded = percent_encoding::utf8_percent_encode(naughty, percent_encoding::NON_ALPHANUMERIC).to_string();
        if !kept.is_empty() {
            let found = tenant.get(&format!("/api/EndUsers/byUid?uid={encoded}")).await.expect(200);
            assert!(found.as_array().unwrap().contains(&person), "{naughty:?}");
        }
        // One of the other places in turn: what they make of it is theirs, but it is never a fault of ours.
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
        let answer = tenant.post("/api/EndUsers", bodies[turn % bodies.len()].clone()).await;
        assert!([201, 400].contains(&answer.status), "{} {naughty:?}: {}", turn % bodies.len(), answer.text());
        let list = ["sortBy", "sortOrder", "pageSize", "pageNumber"].map(|name| format!("/api/EndUsers?{name}"));
        let names = ["status", "channelIDs", "isClosed", "uid", "search", "customerRepID", "sortBy"];
        let tickets = names.map(|name| format!("/api/EndUsers/{}/tickets?{name}", person["endUserID"]));
        let paths: Vec<_> = list.into_iter().chain(tickets).collect();
        let answer = tenant.get(&format!("{}={encoded}", paths[turn % paths.len()])).await;
        assert!([200, 400].contains(&answer.status), "{} {naughty:?}: {}", answer.what, answer.text());
    }
}

/// The rule of the HTML Living Standard for a valid e-mail address, as its pattern has it.
fn html(address: &str) -> bool {
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

/// Posts values as UIDs of one type, 40 a person; answers which of them were at fault.
async fn at_fault(tenant: &Caller<'_>, country: &str, kind: &str, values: &[&String]) -> BTreeSet<usize> {
    let mut faulty = BTreeSet::new();
    for (chunk, values) in values.chunks(40).enumerate() {
        let uids: Vec<_> = values.iter().map(|value| json!({ "uidType": kind, "uid": value })).collect();
        let answer = tenant.post("/api/EndUsers", json!({ "country": country, "uids": uids })).await;
        if answer.status == 201 {
            continue;
        }
        for path in answer.faults() {
            let index = path.strip_prefix("uids[").and_then(|rest| rest.strip_suffix("].uid")).unwrap();
            faulty.insert(chunk * 40 + index.parse::<usize>().unwrap());
        }
    }
    faulty
}

#[tokio::test]
async fn an_email_address_is_one_by_the_html_rule_or_by_its_domain_in_ascii() {
    // Rows whose domain is turned into ASCII first.
    const TURNED: [&str; 10] =
        ["em-438", "em-530", "em-600", "em-680", "em-688", "em-689", "em-696", "em-698", "em-702", "em-758"];
    let app = App::start().await;
    let tenant = app.tenant(7);
    let rows = rows("email.csv");
    let mut cases = Vec::new();
    for row in &rows {
        let Some(address) = cell(row, "address") else {
            // A lone surrogate: no JSON text can hold it.
            let body = format!(r#"{{"uids":[{{"uid":{}}}]}}"#, row["address"]);
            let answer = tenant.send(Send::new("POST", "/api/EndUsers").body(body)).await;
            assert_eq!(answer.faults(), ["body"], "{}", row["id"]);
            continue;
        };
        assert_eq!(html(&address), row["valid_html5"] == "true", "{}: the vectors' own verdict", row["id"]);
        // Texts are trimmed and composed first: of the Kelvin sign that makes a K.
        let composed = address.trim().replace('\u{212a}', "K");
        let valid = TURNED.contains(&row["id"].as_str()) || (html(&composed) && composed.len() <= 254);
        cases.push((row["id"].clone(), address, valid));
    }
    let values: Vec<_> = cases.iter().map(|(_, address, _)| address).collect();
    let faulty = at_fault(&tenant, "", "Email", &values).await;
    let wrong: Vec<_> = cases.iter().enumerate().filter(|(i, (.., valid))| faulty.contains(i) == *valid).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");

    let valid: Vec<_> = cases.iter().filter(|(.., valid)| *valid).map(|(_, address, _)| address).collect();
    for chunk in valid.chunks(40) {
        let uids: Vec<_> = chunk.iter().map(|uid| json!({ "uid": uid })).collect();
        let person = tenant.create(json!({ "uids": uids })).await;
        for address in chunk {
            assert!(tenant.by_uid(address).await.contains(&person["endUserID"].as_u64().unwrap()), "{address:?}");
        }
    }
}

#[tokio::test]
async fn a_phone_number_is_read_as_its_country_dials_it() {
    // Rows that the contract decides otherwise than libphonenumber.
    let differences = HashMap::from([
        ("ph-1222", Some("+18762101234")),
        ("ph-1431", Some("+821020000000")),
        ("ph-1795", None),
        ("ph-1827", Some("+32470123456")),
        ("ph-1861", None),
    ]);
    let app = App::start().await;
    let tenant = app.tenant(7);
    let mut by_region: BTreeMap<String, Vec<(String, String, Option<String>)>> = BTreeMap::new();
    for row in rows("phone.csv") {
        let Some(raw) = cell(&row, "raw") else { continue };
        let id = row["id"].as_str();
        let expected = if let Some(expected) = differences.get(id) {
            expected.map(str::to_owned)
        } else if row["format"] == "mobile:00-prefix-no-region" {
            Some(format!("+{}", &raw[2..]))
        } else if row["expected"] != "INVALID" {
            let extension = Some(&row["ext"]).filter(|ext| !ext.is_empty()).map(|ext| format!(";ext={ext}"));
            Some(format!("{}{}", row["expected"], extension.unwrap_or_default()))
        } else if row["possible"] == "true" {
            // Possible is enough: which number, the row does not say.
            Some(String::new())
        } else {
            None
        };
        by_region.entry(row["region"].clone()).or_default().push((id.to_owned(), raw, expected));
    }
    for (region, cases) in by_region {
        let values: Vec<_> = cases.iter().map(|(_, raw, _)| raw).collect();
        let faulty = at_fault(&tenant, &region, "Phone", &values).await;
        let wrong: Vec<_> = cases.iter().enumerate().filter(|(i, (.., e))| faulty.contains(i) == e.is_some()).collect();
        assert!(wrong.is_empty(), "{region}: {wrong:#?}");
        let good: Vec<_> = cases.iter().filter_map(|(id, raw, expected)| Some((id, raw, expected.as_ref()?))).collect();
        for chunk in good.chunks(40) {
            let uids: Vec<_> = chunk.iter().map(|(_, raw, _)| json!({ "uidType": "Phone", "uid": raw })).collect();
            let person = tenant.create(json!({ "country": region, "uids": uids })).await;
            let stored: BTreeSet<_> =
                person["uids"].as_array().unwrap().iter().map(|u| u["uid"].as_str().unwrap()).collect();
            for (id, raw, expected) in chunk {
                assert!(
                    expected.is_empty() || stored.contains(expected.as_str()),
                    "{id} {raw:?}: {expected} not in {stored:?}"
                );
            }
        }
    }
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

/// The setting that makes a key of the vectors ours, where we verify with such a key.
fn key_setting(jwk: &Value) -> Option<(&'static str, String)> {
    let bytes = |name: &str| URL_SAFE_NO_PAD.decode(jwk[name].as_str().unwrap()).unwrap();
    match (jwk["kty"].as_str()?, jwk["crv"].as_str(), jwk["alg"].as_str()?) {
        ("oct", _, "HS256") if bytes("k").len() >= 32 => {
            Some(("JWT_SECRET", format!("base64:{}", STANDARD.encode(bytes("k")))))
        }
        ("RSA", _, "RS256") => {
            let key = der(0x30, &[integer(&bytes("n")), integer(&bytes("e"))].concat());
            Some(("JWT_PUBLIC_KEY", pem("RSA PUBLIC KEY", &key)))
        }
        ("EC", Some("P-256"), "ES256") => {
            let oids = b"\x30\x13\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07";
            let point = [&[0, 4], &bytes("x")[..], &bytes("y")].concat();
            Some(("JWT_PUBLIC_KEY", pem("PUBLIC KEY", &der(0x30, &[&oids[..], &der(3, &point)].concat()))))
        }
        ("OKP", Some("Ed25519"), "EdDSA") => {
            let oid = b"\x30\x05\x06\x03\x2b\x65\x70";
            let point = [&[0], &bytes("x")[..]].concat();
            Some(("JWT_PUBLIC_KEY", pem("PUBLIC KEY", &der(0x30, &[&oid[..], &der(3, &point)].concat()))))
        }
        _ => None,
    }
}

#[tokio::test]
async fn a_token_that_must_be_refused_is_and_none_is_a_fault_of_ours() {
    let Some(file) = file("jws.json") else { return };
    let mut by_key: BTreeMap<&str, Vec<&Value>> = BTreeMap::new();
    for vector in file["vectors"].as_array().unwrap().iter().filter(|vector| vector["scope"] == "token") {
        by_key.entry(vector["key"].as_str().unwrap()).or_default().push(vector);
    }
    let mut judged = 0;
    for (key, vectors) in by_key {
        let Some((name, value)) = key_setting(&file["keys"][key]) else { continue };
        let app = App::with(&[("JWT_SECRET", ""), (name, &value)]).await;
        for vector in vectors {
            let header = format!("Bearer {}", vector["token"].as_str().unwrap());
            if http::HeaderValue::from_str(&header).is_err() {
                continue;
            }
            let answer = Send::new("GET", "/api/EndUsers").header("authorization", &header).to(&app).await;
            judged += 1;
            match (vector["profile"].as_str().unwrap(), vector["result"].as_str().unwrap()) {
                (_, "invalid") => assert_eq!(answer.expect(401)["status"], 401, "{vector}"),
                ("jwt", "valid") => assert!([200, 403].contains(&answer.status), "{vector}: {}", answer.text()),
                // The payload of a JWS need not be claims.
                _ => assert!([200, 401, 403].contains(&answer.status), "{vector}: {}", answer.text()),
            }
        }
    }
    assert!(judged > 250, "only {judged} tokens were judged");
}
