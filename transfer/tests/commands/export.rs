use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use crate::system::{Action, System, create, delete, same_end_users, script};

/// End users with unusual values in all fields.
fn odd_end_users() -> Vec<Value> {
    let forty: Vec<_> = (0..40).map(|n| json!({ "uidType": "Crm", "uid": format!("id;{n},\"{n}\"\n😀") })).collect();
    vec![
        json!({}),
        json!({ "firstname": "Ann \"the\" best", "lastname": "O'Neill; van, Dam\ttab", "customerRef": "=1+1", "city": "Zürich 🏔️" }),
        json!({ "otherContactDetails": "line\nline\r\n\r\n\"quoted\", line", "aiDocumentation": "\\n {\"a\": [1]} \u{2028}", "lang": "nl-be" }),
        json!({ "company": "Ünïcödé מבחן テスト", "country": "be", "gender": "X", "customerType": "partner", "uids": forty }),
        json!({ "street": "-", "houseNumber": "007", "postalCode": "01000", "uids": [
            { "uid": "ann+x@bücher.example", "isPrimary": false }, { "uidType": "WhatsApp", "uid": "@ann;ext=5" },
            { "uidType": "Phone", "uid": "+32470000000 ext 5", "isPrimary": true } ] }),
        json!({ "firstname": "Twin", "uids": [{ "uid": "twin@x.be" }] }),
        json!({ "firstname": "Twin", "uids": [{ "uid": "twin@x.be" }] }),
    ]
}

#[tokio::test]
async fn export_that_is_imported_creates_the_same_end_users() {
    let system = System::start().await;
    system.create("from", odd_end_users()).await;
    let before = system.end_users("from").await;
    for file in ["end-users.csv", "end-users.ndjson"] {
        let (code, stderr) = system.run("from", &["export", file]).await;
        assert_eq!(code, 0, "{stderr}");
        assert!(stderr.contains("7 end users in "), "{stderr}");
        let (code, stderr) = system.run(file.split_once('.').unwrap().1, &["import", file, "--create-only"]).await;
        assert_eq!(code, 0, "{stderr}");
        let after = system.end_users(file.split_once('.').unwrap().1).await;
        assert_eq!(same_end_users(&after), same_end_users(&before), "{file}");
    }
    assert!(!system.directory.join("end-users.csv.part").exists());

    // Stdout is the same as the file, with each line as in the API's response.
    let (code, stderr, lines) = system.output("from", &["export"]).await;
    assert_eq!(code, 0, "{stderr}");
    assert_eq!(lines, system.read("end-users.ndjson"));
    let end_users: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(end_users, before);
    let (_, _, csv) = system.output("from", &["export", "--format", "csv"]).await;
    assert_eq!(csv, system.read("end-users.csv"));
    assert_eq!(
        csv.lines().next(),
        Some(
            "endUserID,firstname,lastname,gender,otherContactDetails,aiDocumentation,customerRef,customerType,\
             country,lang,street,houseNumber,postalCode,city,company,uids"
        )
    );
}

#[tokio::test]
async fn export_during_writes_misses_and_repeats_no_end_user() {
    const END_USERS: usize = 330;
    let system = System::start().await;
    let mut ids = system.create("7", (0..END_USERS).map(|n| json!({ "customerRef": n.to_string() }))).await;
    ids.sort_unstable();
    let deleted = Arc::new(Mutex::new(BTreeSet::new()));
    let (all, gone, pages) = (ids.clone(), deleted.clone(), AtomicU64::new(0));
    // Before every page, exported end users and one that is not exported yet are deleted, and new ones are created.
    system.set_script(Arc::new(move |n, local| {
        if n % 3 == 2 {
            return Box::pin(async { Action::Respond(503, None) });
        }
        let page = pages.fetch_add(1, Ordering::Relaxed) as usize;
        let (start, victim) = (page * 20, END_USERS.saturating_sub(10 * page + 1));
        let victims = all.iter().skip(start).take(if page == 0 { 0 } else { 15 }).chain(all.get(victim));
        let victims: Vec<u64> = victims.copied().filter(|id| gone.lock().unwrap().insert(*id)).collect();
        Box::pin(async move {
            for id in victims {
                delete(&local, "7", id).await;
            }
            if page < 10 {
                create(&local, "7", (0..3).map(|_| json!({ "firstname": "New" }))).await;
            }
            Action::Forward
        })
    }));
    let (code, stderr, lines) = system.output("7", &["export"]).await;
    assert_eq!(code, 0, "{stderr}");
    let end_users = lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let exported: Vec<u64> = end_users.map(|end_user| end_user["endUserID"].as_u64().unwrap()).collect();
    assert!(exported.windows(2).all(|pair| pair[0] < pair[1]), "by ascending id, each once: {exported:?}");
    let deleted = deleted.lock().unwrap();
    let missed: Vec<_> = ids.iter().filter(|id| !deleted.contains(id) && !exported.contains(id)).collect();
    assert!(missed.is_empty(), "{missed:?}");
    assert!(deleted.len() > 30 && system.requests().len() > 6, "{:?}", system.requests());
}

#[tokio::test]
async fn export_of_a_search_contains_its_results() {
    let system = System::start().await;
    system.create("7", ["Ann Smit", "Ann Maes", "Bo Smit"].map(|name| json!({ "lastname": name }))).await;
    let settled = crate::system::call(&system.local, "7", http::Method::POST, "/local/settle", Value::Null).await.0;
    assert_eq!(settled, 204);
    let (code, stderr, lines) = system.output("7", &["export", "--search", "ann"]).await;
    assert_eq!((code, lines.lines().count()), (0, 2), "{stderr}");
    let (code, stderr) = system.run("7", &["export", "end-users.tsv", "--search", "ann"]).await;
    assert!(code == 0 && system.read("end-users.tsv").starts_with("endUserID\tfirstname\t"), "{stderr}");
    let (code, stderr) = system.run("7", &["export", "end-users.xlsx"]).await;
    assert!(code == 1 && stderr.contains("end-users.xlsx: the extension does not determine the format"), "{stderr}");
    let (code, stderr, _) = system.output("7", &["export", "--search", &"x".repeat(321)]).await;
    assert!(code == 1 && stderr.contains("transfer: --search must be at most 320 characters"), "{stderr}");
}

#[tokio::test]
async fn failed_export_leaves_no_finished_file() {
    let system = System::start().await;
    system.create("7", (0..101).map(|_| json!({}))).await;
    system.set_script(script(|n| if n == 0 { Action::Forward } else { Action::Respond(403, None) }));
    let (code, stderr) = system.run("7", &["export", "end-users.csv"]).await;
    assert!(code == 1 && stderr.contains("the token was rejected (403: injected failure)"), "{stderr}");
    assert!(!system.directory.join("end-users.csv").exists());
}

#[tokio::test]
async fn incomplete_export_fails() {
    let system = System::start().await;
    // The index is behind at first. Then it catches up in one run, and never in the other.
    let list = |end_users: u64| {
        let items: Vec<_> = (1..=end_users).map(|id| json!({ "endUserID": id })).collect();
        json!({ "items": items, "totalCount": 3, "totalPages": 1 })
    };
    system.set_script(script(move |n| Action::RespondOk(list(if n < 3 { 2 } else { 3 }))));
    let (code, stderr, lines) = system.output("7", &["export"]).await;
    assert_eq!((code, lines.lines().count()), (0, 3), "{stderr}");
    system.set_script(script(move |_| Action::RespondOk(list(2))));
    let (code, stderr) = system.run("7", &["export", "end-users.csv"]).await;
    assert!(code == 1 && stderr.contains("transfer: the API counts 3 end users but lists only 2, "), "{stderr}");
    assert!(!system.directory.join("end-users.csv").exists());
}

#[tokio::test]
async fn exported_formula_is_text_and_is_imported_unchanged() {
    let system = System::start().await;
    let end_users = [
        json!({ "firstname": "=1+1", "lastname": "@SUM(A1)", "city": "-", "customerRef": "n/a", "company": "'=x" }),
        json!({ "firstname": "'t Hooft", "street": "+32", "uids": [{ "uidType": "Phone", "uid": "+32470123456" }] }),
    ];
    system.create("from", end_users).await;
    let (code, stderr) = system.run("from", &["export", "end-users.csv", "--bom"]).await;
    assert_eq!(code, 0, "{stderr}");
    let text = system.read("end-users.csv");
    assert!(text.starts_with("\u{feff}endUserID,firstname,"), "{text}");
    let mut cells = csv::Reader::from_reader(text.trim_start_matches('\u{feff}').as_bytes());
    for cell in cells.records().map(Result::unwrap).flat_map(|row| row.iter().map(str::to_owned).collect::<Vec<_>>()) {
        assert!(!cell.starts_with(['=', '+', '-', '@']), "{cell}");
    }
    let (code, stderr) = system.run("to", &["import", "end-users.csv"]).await;
    assert_eq!(code, 0, "{stderr}");
    assert_eq!(same_end_users(&system.end_users("to").await), same_end_users(&system.end_users("from").await));
    let (code, stderr) = system.run("from", &["export", "end-users.ndjson", "--bom"]).await;
    assert!(code == 1 && stderr.contains("--bom requires the format csv"), "{stderr}");
}
