use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use crate::system::{Act, System, create, delete, gate, same_end_users};

/// End users with all that may be in a field.
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
async fn an_export_that_is_imported_elsewhere_gives_the_same_end_users() {
    let system = System::start().await;
    system.create("from", odd_end_users()).await;
    let before = system.end_users("from").await;
    for file in ["people.csv", "people.ndjson"] {
        let (code, said) = system.run("from", &["export", file]).await;
        assert_eq!(code, 0, "{said}");
        assert!(said.contains("7 people in "), "{said}");
        let (code, said) = system.run(file.split_once('.').unwrap().1, &["import", file]).await;
        assert_eq!(code, 0, "{said}");
        let after = system.end_users(file.split_once('.').unwrap().1).await;
        assert_eq!(same_end_users(&after), same_end_users(&before), "{file}");
    }
    assert!(!system.directory.join("people.csv.part").exists());

    // On stdout the same stands, line by line as the API answers it.
    let (code, said, lines) = system.output("from", &["export"]).await;
    assert_eq!(code, 0, "{said}");
    assert_eq!(lines, system.read("people.ndjson"));
    let end_users: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(end_users, before);
    let (_, _, csv) = system.output("from", &["export", "--format", "csv"]).await;
    assert_eq!(csv, system.read("people.csv"));
    assert_eq!(
        csv.lines().next(),
        Some(
            "endUserID,firstname,lastname,gender,otherContactDetails,aiDocumentation,customerRef,customerType,\
             country,lang,street,houseNumber,postalCode,city,company,uids"
        )
    );
}

#[tokio::test]
async fn an_export_misses_nobody_and_writes_nobody_twice_while_others_delete_and_create() {
    const END_USERS: usize = 330;
    let system = System::start().await;
    let mut ids = system.create("7", (0..END_USERS).map(|n| json!({ "customerRef": n.to_string() }))).await;
    ids.sort_unstable();
    let deleted = Arc::new(Mutex::new(BTreeSet::new()));
    let (all, gone, pages) = (ids.clone(), deleted.clone(), AtomicU64::new(0));
    // Before every page some go whom the pages before have shown, and one whom they have not; others come.
    system.put(Arc::new(move |n, local| {
        if n % 3 == 2 {
            return Box::pin(async { Act::Answer(503, None) });
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
            Act::Pass
        })
    }));
    let (code, said, lines) = system.output("7", &["export"]).await;
    assert_eq!(code, 0, "{said}");
    let end_users = lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let exported: Vec<u64> = end_users.map(|end_user| end_user["endUserID"].as_u64().unwrap()).collect();
    assert!(exported.windows(2).all(|pair| pair[0] < pair[1]), "by ascending id, each once: {exported:?}");
    let deleted = deleted.lock().unwrap();
    let missed: Vec<_> = ids.iter().filter(|id| !deleted.contains(id) && !exported.contains(id)).collect();
    assert!(missed.is_empty(), "{missed:?}");
    assert!(deleted.len() > 30 && system.requests().len() > 6, "{:?}", system.requests());
}

#[tokio::test]
async fn an_export_of_a_search_holds_whom_it_finds() {
    let system = System::start().await;
    system.create("7", ["Ann Smit", "Ann Maes", "Bo Smit"].map(|name| json!({ "lastname": name }))).await;
    let settled = crate::system::call(&system.local, "7", http::Method::POST, "/local/settle", Value::Null).await.0;
    assert_eq!(settled, 204);
    let (code, said, lines) = system.output("7", &["export", "--search", "ann"]).await;
    assert_eq!((code, lines.lines().count()), (0, 2), "{said}");
    let (code, said) = system.run("7", &["export", "people.tsv", "--search", "ann"]).await;
    assert!(code == 0 && system.read("people.tsv").starts_with("endUserID\tfirstname\t"), "{said}");
    let (code, said) = system.run("7", &["export", "people.xlsx"]).await;
    assert!(code == 1 && said.contains("people.xlsx: its name does not tell its format"), "{said}");
    let (code, said, _) = system.output("7", &["export", "--search", &"x".repeat(321)]).await;
    assert!(code == 1 && said.contains("transfer: --search must be at most 320 characters"), "{said}");
}

#[tokio::test]
async fn an_export_that_stops_leaves_no_file_that_looks_whole() {
    let system = System::start().await;
    system.create("7", (0..101).map(|_| json!({}))).await;
    system.put(gate(|n| if n == 0 { Act::Pass } else { Act::Answer(403, None) }));
    let (code, said) = system.run("7", &["export", "people.csv"]).await;
    assert!(code == 1 && said.contains("the token is refused (403: trouble)"), "{said}");
    assert!(!system.directory.join("people.csv").exists());
}

#[tokio::test]
async fn an_export_of_fewer_than_there_are_is_no_success() {
    let system = System::start().await;
    // The index is behind at first; then it is not, or never catches up.
    let list = |end_users: u64| {
        let items: Vec<_> = (1..=end_users).map(|id| json!({ "endUserID": id })).collect();
        json!({ "items": items, "totalCount": 3, "totalPages": 1 })
    };
    system.put(gate(move |n| Act::List(list(if n < 3 { 2 } else { 3 }))));
    let (code, said, lines) = system.output("7", &["export"]).await;
    assert_eq!((code, lines.lines().count()), (0, 3), "{said}");
    system.put(gate(move |_| Act::List(list(2))));
    let (code, said) = system.run("7", &["export", "people.csv"]).await;
    assert!(code == 1 && said.contains("transfer: the API counts 3 people and lists 2: "), "{said}");
    assert!(!system.directory.join("people.csv").exists());
}

#[tokio::test]
async fn exported_formula_is_text_and_returns_as_it_was() {
    let system = System::start().await;
    let end_users = [
        json!({ "firstname": "=1+1", "lastname": "@SUM(A1)", "city": "-", "customerRef": "n/a", "company": "'=x" }),
        json!({ "firstname": "'t Hooft", "street": "+32", "uids": [{ "uidType": "Phone", "uid": "+32470123456" }] }),
    ];
    system.create("from", end_users).await;
    let (code, said) = system.run("from", &["export", "people.csv", "--bom"]).await;
    assert_eq!(code, 0, "{said}");
    let text = system.read("people.csv");
    assert!(text.starts_with("\u{feff}endUserID,firstname,"), "{text}");
    let mut cells = csv::Reader::from_reader(text.trim_start_matches('\u{feff}').as_bytes());
    for cell in cells.records().map(Result::unwrap).flat_map(|row| row.iter().map(str::to_owned).collect::<Vec<_>>()) {
        assert!(!cell.starts_with(['=', '+', '-', '@']), "{cell}");
    }
    let (code, said) = system.run("to", &["import", "people.csv"]).await;
    assert_eq!(code, 0, "{said}");
    assert_eq!(same_end_users(&system.end_users("to").await), same_end_users(&system.end_users("from").await));
    let (code, said) = system.run("from", &["export", "people.ndjson", "--bom"]).await;
    assert!(code == 1 && said.contains("--bom is for CSV only"), "{said}");
}
