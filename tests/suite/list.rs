//! `GET /api/EndUsers` without a search (docs/api.md, Paging and sorting).

use std::collections::BTreeSet;

use futures::future::join_all;
use serde_json::{Value, json};

use crate::support::app::{App, Caller, ids};

/// The `totalCount` and `totalPages` of a page.
async fn totals(caller: &Caller<'_>, query: &str) -> (u64, u64) {
    let page = caller.get(&format!("/api/EndUsers?{query}")).await.expect(200);
    (page["totalCount"].as_u64().unwrap(), page["totalPages"].as_u64().unwrap())
}

/// Creates end users with these values of one field and returns their ids.
async fn create_with(caller: &Caller<'_>, field: &str, values: &[&str]) -> Vec<u64> {
    let mut ids = Vec::new();
    for value in values {
        ids.push(caller.create(json!({ field: value })).await["endUserID"].as_u64().unwrap());
    }
    ids
}

/// The values of a field on the page with this query.
async fn values_of(caller: &Caller<'_>, field: &str, query: &str) -> Vec<Value> {
    let page = caller.get(&format!("/api/EndUsers?{query}")).await.expect(200);
    page["items"].as_array().unwrap().iter().map(|row| row[field].clone()).collect()
}

fn reversed<T: Clone>(of: &[T]) -> Vec<T> {
    of.iter().rev().cloned().collect()
}

#[tokio::test]
async fn tenant_without_end_users_has_an_empty_first_page() {
    let app = App::start().await;
    let empty = json!({ "items": [], "totalCount": 0, "totalPages": 0 });
    for query in ["", "?sortBy=lastname", "?search=jane", "?pageNumber=9", "?sortBy=name&pageNumber=2"] {
        assert_eq!(app.tenant(1).get(&format!("/api/EndUsers{query}")).await.expect(200), empty, "{query}");
    }
}

#[tokio::test]
async fn page_has_full_end_users_and_both_totals() {
    let app = App::start().await;
    let caller = app.tenant(1);
    let jane = caller
        .create(json!({
            "firstname": "Jane", "lastname": "Doe", "country": "be", "customerRef": "ERP-1",
            "uids": [{ "uid": "jane@example.com", "isPrimary": true }, { "uidType": "phone", "uid": "0470 12 34 56" }],
        }))
        .await;
    let page = json!({ "items": [jane], "totalCount": 1, "totalPages": 1 });
    assert_eq!(caller.get("/api/EndUsers").await.expect(200), page);
    app.settle().await;
    for query in ["sortBy=lastname", "search=jane", "search=doe&sortBy=customerRef&sortOrder=desc"] {
        assert_eq!(caller.get(&format!("/api/EndUsers?{query}")).await.expect(200), page, "{query}");
    }
    let row = page["items"][0].as_object().unwrap();
    let members: BTreeSet<&str> = row.keys().map(String::as_str).collect();
    let expected = [
        "aiDocumentation",
        "city",
        "company",
        "country",
        "customerRef",
        "customerType",
        "endUserID",
        "firstname",
        "gender",
        "houseNumber",
        "lang",
        "lastname",
        "name",
        "otherContactDetails",
        "postalCode",
        "street",
        "uids",
    ];
    assert_eq!(members, BTreeSet::from(expected));
}

#[tokio::test]
async fn default_page_is_the_first_ten_rows() {
    let app = App::start().await;
    let caller = app.tenant(1);
    let all = create_with(&caller, "firstname", &["x"; 23]).await;
    app.settle().await;
    for sort in ["", "&sortBy=firstname", "&search=x", "&search=x&sortBy=name"] {
        assert_eq!(caller.list(&format!("a=b{sort}")).await, all[..10], "{sort}");
        assert_eq!(caller.list(&format!("pageNumber=2{sort}")).await, all[10..20], "{sort}");
        assert_eq!(caller.list(&format!("pageNumber=3{sort}")).await, all[20..], "{sort}");
        assert_eq!(caller.list(&format!("pageSize=100{sort}")).await, all, "{sort}");
        assert_eq!(caller.list(&format!("pageSize=1&pageNumber=23{sort}")).await, all[22..], "{sort}");
        assert_eq!(caller.list(&format!("PageSize=5&PAGENUMBER=5{sort}")).await, all[20..], "{sort}");
        assert_eq!(caller.list(&format!("pageSize=&pageNumber=%20{sort}")).await, all[..10], "{sort}");
    }
}

#[tokio::test]
async fn page_past_the_end_is_empty_with_true_totals() {
    let app = App::start().await;
    let caller = app.tenant(1);
    create_with(&caller, "firstname", &["x"; 11]).await;
    app.settle().await;
    for sort in ["", "&sortOrder=desc", "&sortBy=lang", "&search=x", "&search=x&sortBy=lang"] {
        for (query, pages) in [
            ("pageNumber=3", 2),
            ("pageNumber=2147483647&pageSize=100", 1),
            ("pageNumber=2147483647", 2),
            ("pageNumber=12&pageSize=1", 11),
            ("pageNumber=2&pageSize=11", 1),
        ] {
            let page = caller.get(&format!("/api/EndUsers?{query}{sort}")).await.expect(200);
            assert_eq!(page, json!({ "items": [], "totalCount": 11, "totalPages": pages }), "{query}{sort}");
        }
    }
}

#[tokio::test]
async fn total_pages_are_rounded_up() {
    let app = App::start().await;
    let caller = app.tenant(1);
    create_with(&caller, "firstname", &["x"; 10]).await;
    for (size, pages) in [(1, 10), (3, 4), (5, 2), (9, 2), (10, 1), (11, 1), (100, 1)] {
        assert_eq!(totals(&caller, &format!("pageSize={size}")).await, (10, pages));
    }
}

#[tokio::test]
async fn all_errors_of_page_and_order_are_reported_at_once() {
    let app = App::start().await;
    let caller = app.tenant(1);
    for (query, error) in [
        ("pageNumber=0", "pageNumber"),
        ("pageNumber=-1", "pageNumber"),
        ("pageNumber=2147483648", "pageNumber"),
        ("pageNumber=99999999999999999999", "pageNumber"),
        ("pageNumber=1.0", "pageNumber"),
        ("pageNumber=1e1", "pageNumber"),
        ("pageNumber=0x1", "pageNumber"),
        ("pageNumber=%D9%A1", "pageNumber"),
        ("pageNumber=one", "pageNumber"),
        ("pageNumber=1,2", "pageNumber"),
        ("pageNumber=null", "pageNumber"),
        ("pageSize=0", "pageSize"),
        ("pageSize=101", "pageSize"),
        ("pageSize=-10", "pageSize"),
        ("pageSize=ten", "pageSize"),
        ("pageSize=10&pageSize=10", "pageSize"),
        ("pageSize=10&PageSize=20", "pageSize"),
        ("sortBy=uids", "sortBy"),
        ("sortBy=aiDocumentation", "sortBy"),
        ("sortBy=otherContactDetails", "sortBy"),
        ("sortBy=nonsense", "sortBy"),
        ("sortBy=name%20desc", "sortBy"),
        ("sortBy=name&sortBy=lang", "sortBy"),
        ("sortOrder=up", "sortOrder"),
        ("sortOrder=ascending", "sortOrder"),
        ("sortOrder=asc&sortorder=asc", "sortOrder"),
        ("search=a&search=a", "search"),
        ("search=%00", "search"),
        ("search=%FF", "search"),
    ] {
        assert_eq!(caller.get(&format!("/api/EndUsers?{query}")).await.errors(), [error], "{query}");
    }
    let query = "pageNumber=0&pageSize=0&sortBy=x&sortOrder=y&search=%00";
    let mut errors = caller.get(&format!("/api/EndUsers?{query}")).await.errors();
    errors.sort();
    assert_eq!(errors, ["pageNumber", "pageSize", "search", "sortBy", "sortOrder"]);
}

#[tokio::test]
async fn default_order_is_by_id_and_desc_reverses_it() {
    let app = App::start().await;
    let caller = app.tenant(1);
    let all = create_with(&caller, "firstname", &["z", "a", "m", "b", "y", "c", "x", "d", "w", "e", "v", "f"]).await;
    assert!(all.is_sorted());
    for query in ["a=b", "sortOrder=asc", "sortBy=endUserID", "SORTBY=ENDUSERID&SortOrder=ASC", "sortBy=&sortOrder="] {
        assert_eq!(caller.list(&format!("{query}&pageSize=100")).await, all, "{query}");
        assert_eq!(caller.list(&format!("{query}&pageSize=5&pageNumber=2")).await, all[5..10], "{query}");
    }
    let back = reversed(&all);
    for query in ["sortOrder=desc", "sortOrder=DESC", "sortBy=endUserID&sortOrder=Desc"] {
        assert_eq!(caller.list(&format!("{query}&pageSize=100")).await, back, "{query}");
        assert_eq!(caller.list(&format!("{query}&pageSize=5&pageNumber=3")).await, back[10..], "{query}");
    }
}

#[tokio::test]
async fn list_sorts_by_every_field_named_in_any_case() {
    let app = App::start().await;
    let caller = app.tenant(1);
    let mut all = Vec::new();
    for (text, kind, country, lang) in
        [("m", "Lead", "FR", "fr"), ("z", "Partner", "US", "nl-BE"), ("a", "Customer", "BE", "de")]
    {
        let end_user = caller
            .create(json!({
                "firstname": text, "lastname": text, "company": text, "street": text, "city": text,
                "houseNumber": text, "postalCode": text, "gender": text, "customerRef": text,
                "customerType": kind, "country": country, "lang": lang,
            }))
            .await;
        all.extend(ids(&json!([end_user])));
    }
    app.settle().await;
    let third_first = vec![all[2], all[0], all[1]];
    for field in [
        "firstname",
        "lastname",
        "company",
        "street",
        "city",
        "houseNumber",
        "postalCode",
        "gender",
        "customerRef",
        "customerType",
        "country",
        "lang",
        "name",
    ] {
        for name in [field.to_owned(), field.to_uppercase(), field.to_lowercase()] {
            assert_eq!(caller.list(&format!("sortBy={name}")).await, third_first, "{name}");
            assert_eq!(caller.list(&format!("sortBy={name}&sortOrder=desc")).await, reversed(&third_first), "{name}");
            assert_eq!(caller.list(&format!("sortBy={name}&search=de")).await, [all[2]; 0], "{name}");
        }
    }
}

#[tokio::test]
async fn name_sorts_as_first_and_last_name_joined() {
    let app = App::start().await;
    let caller = app.tenant(1);
    for (first, last) in [("Jan", "Zoe"), ("", "Jan"), ("Jan", ""), ("", ""), ("Jan A", "b"), ("Jan", "a c")] {
        caller.create(json!({ "firstname": first, "lastname": last })).await;
    }
    app.settle().await;
    let names = values_of(&caller, "name", "sortBy=name").await;
    assert_eq!(names, ["", "Jan", "Jan", "Jan A b", "Jan a c", "Jan Zoe"].map(Value::from));
}

/// Values in the order of the Unicode root collation (UTS #10): spaces and punctuation, symbols, digits, letters.
const COLLATED: [&str; 38] = [
    "_a",
    "-a",
    ",a",
    "(a",
    "@a",
    "*a",
    "&a",
    "+a",
    "€5",
    "😀",
    "1",
    "10",
    "2",
    "a",
    "A",
    "á",
    "Á",
    "a b",
    "a-b",
    "aa",
    "Aa",
    "áa",
    "ab",
    "æ",
    "b",
    "resume",
    "Resume",
    "résumé",
    "ß",
    "z",
    "Zoë",
    "Ω",
    "я",
    "あ",
    "ア",
    "中",
    "日本",
    "日本語",
];

#[tokio::test]
async fn text_sorts_by_root_collation_with_empty_first() {
    let app = App::start().await;
    let caller = app.tenant(1);
    // The order of creation differs from the sort order: every fifth value, from five starts.
    let mut shuffled: Vec<&str> = (0..5).flat_map(|start| COLLATED.iter().skip(start).step_by(5)).copied().collect();
    shuffled.insert(7, "");
    create_with(&caller, "lastname", &shuffled).await;
    app.settle().await;
    let rows = values_of(&caller, "lastname", "sortBy=lastname&pageSize=100").await;
    let rows: Vec<&str> = rows.iter().map(|value| value.as_str().unwrap_or("")).collect();
    let at = |text: &str| rows.iter().position(|row| *row == text).unwrap();
    assert_eq!(rows.len(), COLLATED.len() + 1);
    assert_eq!(rows[0], "");
    // Pairs that the root collation orders differently than code points do.
    for pair in [
        ("_a", "-a"),
        ("-a", ",a"),
        (",a", "(a"),
        ("(a", "@a"),
        ("@a", "*a"),
        ("*a", "&a"),
        ("+a", "€5"),
        ("€5", "1"),
        ("😀", "1"),
        ("1", "10"),
        ("10", "2"),
        ("2", "a"),
        ("a", "A"),
        ("A", "á"),
        ("á", "Á"),
        ("Á", "a b"),
        ("a b", "a-b"),
        ("a-b", "aa"),
        ("aa", "Aa"),
        ("Aa", "áa"),
        ("áa", "ab"),
        ("ab", "b"),
        ("a", "æ"),
        ("æ", "b"),
        ("b", "resume"),
        ("resume", "Resume"),
        ("Resume", "résumé"),
        ("résumé", "ß"),
        ("ß", "z"),
        ("z", "Zoë"),
        ("Zoë", "Ω"),
        ("Ω", "я"),
        ("я", "あ"),
        ("あ", "ア"),
        ("ア", "中"),
        ("中", "日本"),
        ("日本", "日本語"),
    ] {
        assert!(at(pair.0) < at(pair.1), "{pair:?} in {rows:?}");
    }
    let back = values_of(&caller, "lastname", "sortBy=lastname&pageSize=100&sortOrder=desc").await;
    let back: Vec<&str> = back.iter().map(|value| value.as_str().unwrap_or("")).collect();
    assert_eq!(back, reversed(&rows));
}

#[tokio::test]
async fn ties_are_sorted_by_id_in_the_direction_of_the_order() {
    let app = App::start().await;
    let caller = app.tenant(1);
    // Composed and decomposed forms are equal.
    let all =
        create_with(&caller, "city", &["Liège", "Lie\u{300}ge", "", "Liège", "", "Liège", "Aalst", "", "Liège"]).await;
    app.settle().await;
    let asc: Vec<u64> = [2, 4, 7, 6, 0, 1, 3, 5, 8].map(|at| all[at]).to_vec();
    assert_eq!(caller.list("sortBy=city").await, asc);
    assert_eq!(caller.list("sortBy=city&sortOrder=desc").await, reversed(&asc));
    // Ties may cross a page boundary.
    for size in 1..=4_usize {
        for (order, whole) in [("asc", asc.clone()), ("desc", reversed(&asc))] {
            for (at, part) in whole.chunks(size).enumerate() {
                let query = format!("sortBy=city&sortOrder={order}&pageSize={size}&pageNumber={}", at + 1);
                assert_eq!(caller.list(&query).await, part, "{query}");
            }
        }
    }
}

#[tokio::test]
async fn long_values_sort_beyond_200_common_characters() {
    let app = App::start().await;
    let caller = app.tenant(1);
    for unit in ["x", "é", "語"] {
        let long = |end: &str| format!("{}{end}", unit.repeat(200));
        let values = [long("c"), long("a"), long(""), long("b"), long("B")];
        let all = create_with(&caller, "customerRef", &values.each_ref().map(String::as_str)).await;
        app.settle().await;
        let sorted = if unit == "é" { None } else { Some([2, 1, 3, 4, 0].map(|at| all[at])) };
        let listed = caller.list("sortBy=customerRef&pageSize=100").await;
        let mine: Vec<u64> = listed.into_iter().filter(|id| all.contains(id)).collect();
        assert_eq!(mine.len(), 5, "{unit}");
        if let Some(sorted) = sorted {
            assert_eq!(mine, sorted, "{unit}");
        }
    }
}

#[tokio::test]
async fn unusual_and_longest_values_are_sorted_and_paged() {
    let app = App::start().await;
    let caller = app.tenant(1);
    let values = ["\u{fdfa}".repeat(200), "😀".repeat(200), "#".repeat(200), "\u{10fffd}".repeat(200), "~".repeat(200)];
    let mut all = create_with(&caller, "firstname", &values.each_ref().map(String::as_str)).await;
    app.settle().await;
    for field in ["firstname", "name"] {
        let mut listed = Vec::new();
        for page in 1..=5 {
            listed.extend(caller.list(&format!("sortBy={field}&pageSize=1&pageNumber={page}")).await);
        }
        let mut back = caller.list(&format!("sortBy={field}&sortOrder=desc")).await;
        back.reverse();
        assert_eq!(listed, back, "{field}");
        listed.sort_unstable();
        all.sort_unstable();
        assert_eq!(listed, all, "{field}");
    }
}

#[tokio::test]
async fn default_list_reads_its_own_writes() {
    let app = App::start().await;
    let caller = app.tenant(1);
    let mut all = Vec::new();
    for n in 1..=12_u64 {
        all.extend(create_with(&caller, "firstname", &["x"]).await);
        assert_eq!(totals(&caller, "pageSize=5").await, (n, n.div_ceil(5)));
        let last = (n - 1) / 5;
        assert_eq!(caller.list(&format!("pageSize=5&pageNumber={}", last + 1)).await, all[last as usize * 5..]);
        assert_eq!(caller.list("sortOrder=desc&pageSize=1").await, [*all.last().unwrap()]);
    }
    caller.update(&json!(all[3]), json!({ "firstname": "new" })).await;
    assert_eq!(values_of(&caller, "firstname", "pageSize=1&pageNumber=4").await, ["new"]);
    for id in [all[0], all[5], all[11]] {
        caller.delete(&format!("/api/EndUsers/{id}")).await.expect(204);
        all.retain(|other| *other != id);
        assert_eq!(caller.list("pageSize=100").await, all);
        assert_eq!(caller.list("pageSize=4&pageNumber=2").await, all[4..8.min(all.len())]);
        assert_eq!(totals(&caller, "a=b").await.0, all.len() as u64);
    }
}

#[tokio::test]
async fn settled_sorted_list_shows_every_write() {
    let app = App::start().await;
    let caller = app.tenant(1);
    let all = create_with(&caller, "lastname", &["b", "d", "f"]).await;
    app.settle().await;
    assert_eq!(caller.list("sortBy=lastname").await, all);
    caller.update(&json!(all[0]), json!({ "lastname": "e" })).await;
    caller.delete(&format!("/api/EndUsers/{}", all[2])).await.expect(204);
    let new = create_with(&caller, "lastname", &["a"]).await;
    app.settle().await;
    assert_eq!(caller.list("sortBy=lastname").await, [new[0], all[1], all[0]]);
    assert_eq!(totals(&caller, "sortBy=lastname").await, (3, 1));
    caller.update(&json!(all[0]), json!({ "lastname": null })).await;
    app.settle().await;
    assert_eq!(caller.list("sortBy=lastname").await, [all[0], new[0], all[1]]);
}

#[tokio::test]
async fn list_shows_no_deleted_stale_or_duplicate_end_user() {
    let app = App::start().await;
    let caller = app.tenant(1);
    let all = create_with(&caller, "lastname", &["word a", "word b", "word c", "word d", "word e", "word f"]).await;
    app.settle().await;
    let (mut gone, mut names) = (BTreeSet::new(), std::collections::BTreeMap::new());
    for round in 0..6_usize {
        let id = all[round];
        if round % 2 == 0 {
            caller.delete(&format!("/api/EndUsers/{id}")).await.expect(204);
            gone.insert(id);
        } else {
            let name = format!("word {}", ["z", "0", "c"][round / 2]);
            caller.update(&json!(id), json!({ "lastname": name })).await;
            names.insert(id, name);
        }
        // The test does not wait for the index.
        for query in
            ["a=b", "sortBy=lastname", "sortBy=name&sortOrder=desc", "search=word", "search=word&sortBy=lastname"]
        {
            let page = caller.get(&format!("/api/EndUsers?{query}&pageSize=100")).await.expect(200);
            let shown = ids(&page["items"]);
            let distinct: BTreeSet<u64> = shown.iter().copied().collect();
            assert_eq!(distinct.len(), shown.len(), "{query} shows an end user twice: {page}");
            assert!(distinct.is_disjoint(&gone), "{query} shows a deleted end user: {page}");
            for row in page["items"].as_array().unwrap() {
                if let Some(name) = names.get(&row["endUserID"].as_u64().unwrap()) {
                    assert_eq!(row["lastname"], json!(name), "{query} shows an old name");
                }
            }
        }
    }
}

#[tokio::test]
async fn list_excludes_end_users_of_other_tenants() {
    let app = App::start().await;
    let (mine, theirs) = (app.tenant("a"), app.tenant("A"));
    let my = create_with(&mine, "lastname", &["b", "d"]).await;
    create_with(&theirs, "lastname", &["a", "c", "e"]).await;
    app.settle().await;
    for query in ["a=b", "sortBy=lastname", "sortBy=endUserID", "search=b", "search=d&sortBy=lastname"] {
        let listed = mine.list(query).await;
        assert!(listed.iter().all(|id| my.contains(id)), "{query}");
    }
    assert_eq!(totals(&mine, "a=b").await, (2, 1));
    assert_eq!(totals(&theirs, "sortBy=lastname").await, (3, 1));
    assert_eq!(totals(&mine, "search=a").await, (0, 0));
    // A number and its digits name one tenant. Another spelling names another tenant.
    create_with(&app.tenant(7), "lastname", &["x"]).await;
    assert_eq!(totals(&app.tenant("7"), "a=b").await, (1, 1));
    assert_eq!(totals(&app.tenant("07"), "a=b").await, (0, 0));
}

#[tokio::test]
async fn pages_of_250_end_users_show_each_exactly_once() {
    let app = App::start().await;
    let caller = app.tenant(1);
    let mut all = Vec::new();
    for n in 0..250_u64 {
        // 50 distinct names make ties cross page boundaries.
        let end_user = caller.create(json!({ "lastname": format!("name {}", (n * 7) % 50), "gender": "x" })).await;
        all.extend(ids(&json!([end_user])));
    }
    app.settle().await;
    for query in ["sortBy=endUserID", "sortBy=lastname", "sortBy=lang", "search=name&sortBy=lastname", "search=name"] {
        for order in ["asc", "desc"] {
            let mut met = Vec::new();
            for page in 1.. {
                let query = format!("{query}&sortOrder={order}&pageSize=33&pageNumber={page}");
                let page = caller.get(&format!("/api/EndUsers?{query}")).await.expect(200);
                assert_eq!((&page["totalCount"], &page["totalPages"]), (&json!(250), &json!(8)), "{query}");
                let rows = ids(&page["items"]);
                if rows.is_empty() {
                    break;
                }
                met.extend(rows);
            }
            met.sort_unstable();
            assert_eq!(met, all, "{query} {order}");
        }
    }
}

#[tokio::test]
async fn concurrent_creates_get_unique_ids_and_an_exact_count() {
    let app = App::start().await;
    let callers: Vec<_> = (0..16).map(|_| app.tenant(1)).collect();
    let work = callers.iter().map(|caller| create_with(caller, "firstname", &["x"; 5]));
    let ids = join_all(work).await;
    assert!(ids.iter().all(|mine| mine.windows(2).all(|pair| pair[0] < pair[1])), "{ids:?}");
    let distinct: BTreeSet<u64> = ids.iter().flatten().copied().collect();
    assert_eq!(distinct.len(), 80);
    assert!(distinct.iter().all(|id| (1..=2_147_483_647).contains(id)));
    let caller = &callers[0];
    assert_eq!(totals(caller, "a=b").await, (80, 8));
    assert_eq!(caller.list("pageSize=100").await, distinct.iter().copied().collect::<Vec<_>>());
    app.settle().await;
    assert_eq!(caller.list("pageSize=100&sortBy=firstname").await, distinct.iter().copied().collect::<Vec<_>>());
    assert_eq!(totals(caller, "search=x").await, (80, 8));
    // Concurrent deletes keep the count exact.
    let half: Vec<u64> = distinct.iter().copied().step_by(2).collect();
    let gone = join_all(half.iter().map(async |id| caller.delete(&format!("/api/EndUsers/{id}")).await));
    assert!(gone.await.iter().all(|response| response.status == 204));
    assert_eq!(totals(caller, "a=b").await, (40, 4));
}
