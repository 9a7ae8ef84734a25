//! The `search` of `GET /api/EndUsers` (docs/api.md, Search).

use serde_json::{Value, json};

use crate::support::app::{App, Caller, Response, ids};
use crate::support::index;

fn encoded(text: &str) -> String {
    percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string()
}

async fn search_page(caller: &Caller<'_>, search: &str) -> Response {
    caller.get(&format!("/api/EndUsers?pageSize=100&search={}", encoded(search))).await
}

/// The ids that a search finds. Asserts that `totalCount` is their number.
async fn found(caller: &Caller<'_>, search: &str) -> Vec<u64> {
    let page = search_page(caller, search).await.expect(200);
    let ids = ids(&page["items"]);
    assert_eq!(page["totalCount"], json!(ids.len()), "{search}");
    assert_eq!(page["totalPages"], json!(u8::from(!ids.is_empty())), "{search}");
    ids
}

async fn create(caller: &Caller<'_>, body: Value) -> u64 {
    caller.create(body).await["endUserID"].as_u64().unwrap()
}

/// Creates an end user and asserts which searches find it (`true`) or do not.
async fn assert_searches(app: &App, body: Value, searches: &[(&str, bool)]) {
    let caller = app.tenant(1);
    let id = create(&caller, body).await;
    app.settle().await;
    for (search, finds) in searches {
        let expected = if *finds { vec![id] } else { Vec::new() };
        assert_eq!(found(&caller, search).await, expected, "{search:?}");
    }
}

#[tokio::test]
async fn every_search_word_must_be_a_prefix_of_some_word() {
    let app = App::start().await;
    let searches = [
        ("anna", true),
        ("ann", true),
        ("a", true),
        ("liese", true),
        ("anna-liese", true),
        ("liese anna", true),
        ("an an", true),
        ("van den", true),
        ("berg, anna", true),
        ("b d v l a", true),
        ("annaliese", false),
        ("nna", false),
        ("annab", false),
        ("anna jan", false),
        ("bergen", false),
        ("anna bergen", false),
        ("den x", false),
    ];
    assert_searches(&app, json!({ "firstname": "Anna-Liese", "lastname": "Van den Berg" }), &searches).await;
}

#[tokio::test]
async fn case_marks_and_width_are_ignored() {
    let app = App::start().await;
    let searches = [
        ("zoe", true),
        ("ZOË", true),
        ("Zoe\u{308}", true),
        ("zoë", true),
        ("ｚｏｅ", true),
        ("garcon", true),
        ("GARÇON", true),
        ("ﬁn", true),
        ("fin", true),
        ("ελλασ", true),
        ("Ελλάς", true),
        ("и", true),
        ("йод", true),
        ("ИОД", true),
        ("zo e", false),
    ];
    assert_searches(&app, json!({ "firstname": "Zoë Garc\u{327}on ﬁnance", "lastname": "ΕΛΛΆΣ Йод" }), &searches).await;
}

#[tokio::test]
async fn undecomposable_latin_letters_are_folded() {
    let app = App::start().await;
    let caller = app.tenant(1);
    for (name, plain) in [
        ("Søren", "soren"),
        ("ØSTERGÅRD", "ostergard"),
        ("Łódź", "lodz"),
        ("łukasz", "lukasz"),
        ("Đorđe", "dorde"),
        ("Ærø", "aero"),
        ("œuvre", "oeuvre"),
        ("Œdipe", "oedipe"),
        ("Straße", "strasse"),
        ("WEIẞ", "weiss"),
        ("Þórr", "thorr"),
        ("þingey", "thingey"),
        ("Ðalla", "dalla"),
        ("Guðrún", "gudrun"),
        ("Yıldız", "yildiz"),
        ("İzmir", "izmir"),
    ] {
        let id = create(&caller, json!({ "lastname": name })).await;
        app.settle().await;
        for search in [name, plain, &plain.to_uppercase(), &name.to_lowercase(), &plain[..plain.len() - 1]] {
            assert_eq!(found(&caller, search).await, [id], "{search} for {name}");
        }
    }
    // Conversely, a plain spelling is found by the special letters.
    let id = create(&caller, json!({ "company": "Malmo Oestrogen Thule" })).await;
    app.settle().await;
    for search in ["malmø", "Œstrogen", "Þule"] {
        assert_eq!(found(&caller, search).await, [id], "{search}");
    }
}

#[tokio::test]
async fn only_the_searched_fields_are_searched() {
    let app = App::start().await;
    let caller = app.tenant(1);
    let id = create(
        &caller,
        json!({
            "firstname": "alpha", "lastname": "bravo", "company": "charlie", "street": "delta", "houseNumber": "12bis",
            "postalCode": "SW1A", "city": "foxtrot", "customerRef": "GOLF-99/h", "otherContactDetails": "hotel, india",
            "gender": "juliett", "lang": "nl-BE", "country": "KE", "customerType": "Partner",
            "aiDocumentation": "lima mike november",
            "uids": [{ "uid": "oscar@papa.example", "isPrimary": true }, { "uidType": "Skype", "uid": "quebec.romeo" }],
        }),
    )
    .await;
    app.settle().await;
    for search in [
        "alpha",
        "bravo",
        "charlie",
        "delta",
        "12bis",
        "12",
        "sw1a",
        "foxtrot",
        "golf",
        "99",
        "golf-99/h",
        "h",
        "hotel",
        "india",
        "oscar",
        "papa",
        "example",
        "quebec",
        "romeo",
        "quebec.romeo",
        "alpha bravo charlie delta 12bis sw1a foxtrot golf 99 hotel india oscar papa example quebec romeo",
    ] {
        assert_eq!(found(&caller, search).await, [id], "{search}");
    }
    for search in
        ["juliett", "nl", "be", "ke", "partner", "lima", "mike", "november", "skype", "email", "true", "alpha lima"]
    {
        assert_eq!(found(&caller, search).await, [0; 0], "{search}");
    }
}

#[tokio::test]
async fn first_100_words_of_contact_details_are_searched() {
    let app = App::start().await;
    let mut words: Vec<String> = (1..=99).map(|n| format!("w{n:03} W{n:03}")).collect();
    words.extend(["hundredth".to_owned(), "w001 w050 hundredth".to_owned(), "beyond".to_owned(), "after".to_owned()]);
    let searches = [
        ("w001", true),
        ("w099", true),
        ("w050 w051", true),
        ("hundredth", true),
        ("beyond", false),
        ("after", false),
        ("w001 beyond", false),
    ];
    let body = json!({ "firstname": "x", "lastname": "w100", "otherContactDetails": words.join(" ") });
    assert_searches(&app, body, &searches).await;
    // The words of other fields do not count towards the hundred.
    assert_eq!(found(&app.tenant(1), "w100").await.len(), 1);
}

#[tokio::test]
async fn search_with_an_at_sign_matches_whole_values_by_prefix() {
    let app = App::start().await;
    let caller = app.tenant(1);
    let email = |uid: &str| json!({ "company": "Example.com jane", "uids": [{ "uid": uid }] });
    let jane = create(&caller, email("Jane.Doe@example.com")).await;
    let janet = create(&caller, email("janet@example.com")).await;
    let other = create(&caller, email("doe@jane.example.com")).await;
    let tag = create(&caller, email("jane.doe+tag@example.org")).await;
    let handle = create(
        &caller,
        json!({ "customerRef": "ref@example.com", "uids": [{ "uidType": "Mastodon", "uid": "@jane@example.com" }] }),
    )
    .await;
    app.settle().await;
    for (search, expected) in [
        ("jane.doe@example.com", vec![jane]),
        ("JANE.DOE@EXAMPLE.COM", vec![jane]),
        ("  jane.doe@example.com ", vec![jane]),
        ("jane.doe@", vec![jane]),
        ("jane.doe@ex", vec![jane]),
        ("jane.doe+tag@example", vec![tag]),
        ("jane.doe@example.org", vec![]),
        ("janet@", vec![janet]),
        ("doe@jane.example.com", vec![other]),
        ("doe@", vec![other]),
        ("jane@example.com", vec![]),
        ("ane.doe@example.com", vec![]),
        ("@jane@example.com", vec![handle]),
        ("@jane@", vec![handle]),
        ("jane.doe@example.com x", vec![]),
        ("x jane.doe@example.com", vec![]),
        ("mailto:jane.doe@example.com", vec![]),
        // A search with an @ matches only UID values.
        ("ref@example.com", vec![]),
        // A search without an @ after its first character is split into words.
        ("jane.doe", vec![jane, other, tag]),
        ("@jane", vec![jane, janet, other, tag, handle]),
        ("@example", vec![jane, janet, other, tag, handle]),
    ] {
        assert_eq!(found(&caller, search).await, expected, "{search}");
    }
}

#[tokio::test]
async fn encoded_domain_is_searched_like_its_unicode_form() {
    let app = App::start().await;
    let caller = app.tenant(1);
    let ascii = create(&caller, json!({ "uids": [{ "uid": "jane@xn--bcher-kva.example" }] })).await;
    let unicode = create(&caller, json!({ "uids": [{ "uid": "joe@b\u{fc}cher.example" }] })).await;
    app.settle().await;
    for search in ["b\u{fc}cher", "Bucher", "j b\u{fc}ch"] {
        assert_eq!(found(&caller, search).await, [ascii, unicode], "{search}");
    }
    for search in
        ["jane@b\u{fc}ch", "jane@bucher.example", "jane@xn--bcher-kva.example", "jane@xn--bch", "xn bcher kva"]
    {
        assert_eq!(found(&caller, search).await, [ascii], "{search}");
    }
    for search in ["joe@B\u{dc}CHER.example", "joe@xn--bcher-kva.example", "JOE@XN--BCHER-KVA.EXAMPLE"] {
        assert_eq!(found(&caller, search).await, [unicode], "{search}");
    }
}

#[tokio::test]
async fn unescaped_plus_in_an_address_is_found() {
    let app = App::start().await;
    let caller = app.tenant(1);
    let tag = create(&caller, json!({ "uids": [{ "uid": "jane.doe+a+b@example.org" }] })).await;
    app.settle().await;
    for raw in ["jane.doe+a+b@example.org", "jane.doe+a%2Bb@ex", "jane.doe+a+b@"] {
        let page = caller.get(&format!("/api/EndUsers?search={raw}")).await.expect(200);
        assert_eq!(page["items"][0]["endUserID"], tag, "{raw}");
    }
}

#[tokio::test]
async fn leading_raw_plus_in_an_address_is_still_found() {
    let app = App::start().await;
    let caller = app.tenant(1);
    let plus = create(&caller, json!({ "uids": [{ "uid": "+plus@example.com" }] })).await;
    app.settle().await;
    for raw in ["+plus@example.com", "%2Bplus@ex"] {
        let page = caller.get(&format!("/api/EndUsers?search={raw}")).await.expect(200);
        assert_eq!(page["items"][0]["endUserID"], plus, "{raw}");
    }
}

#[tokio::test]
async fn invisible_characters_around_a_search_do_not_count() {
    let app = App::start().await;
    let caller = app.tenant(1);
    let uids = json!([{ "uid": "jane@example.com" }, { "uidType": "Phone", "uid": "+32470123456" }]);
    let jane = create(&caller, json!({ "uids": uids })).await;
    app.settle().await;
    for around in ["\u{200b}", "\u{feff}", "\u{2060}", "\u{ad}"] {
        for search in [format!("{around}jane@example.com{around}"), format!("32470{around}123456")] {
            assert_eq!(found(&caller, &search).await, [jane], "{search:?}");
        }
    }
}

#[tokio::test]
async fn search_of_only_punctuation_finds_nobody() {
    let app = App::start().await;
    let caller = app.tenant(1);
    create(&caller, json!({ "firstname": "- ! 😀 @", "uids": [{ "uidType": "x", "uid": "!!!@???" }] })).await;
    app.settle().await;
    for search in ["-", "!", "...", "😀", "@", "_", "& #", "\u{301}", "+", "/", "()", "%", "☎ ✆"] {
        assert_eq!(found(&caller, search).await, [0; 0], "{search}");
        let sorted = caller.get(&format!("/api/EndUsers?sortBy=name&search={}", encoded(search))).await.expect(200);
        assert_eq!(sorted, json!({ "items": [], "totalCount": 0, "totalPages": 0 }), "{search}");
    }
    assert_eq!(found(&caller, "!!!@?").await.len(), 1);
}

#[tokio::test]
async fn blank_search_lists_everybody() {
    let app = App::start().await;
    let caller = app.tenant(1);
    let id = create(&caller, json!({ "firstname": "x" })).await;
    for query in ["search=", "search", "search=%20%09%E3%80%80", "search=+", "Search="] {
        assert_eq!(caller.list(query).await, [id], "{query}");
    }
}

#[tokio::test]
async fn phone_is_found_in_international_and_national_form() {
    let app = App::start().await;
    let caller = app.tenant(1);
    let id = create(
        &caller,
        json!({ "country": "BE", "uids": [
            { "uidType": "Phone", "uid": "0470/12.34.56" },
            { "uidType": "WhatsApp", "uid": "+49 1512 3456789" },
            { "uidType": "Phone", "uid": "+1 201-555-0123" },
        ] }),
    )
    .await;
    app.settle().await;
    for search in [
        "+32470123456",
        "32470123456",
        "0470123456",
        "0470 12 34 56",
        "0470\u{a0}12\u{a0}34\u{2009}56",
        "０４７０ １２",
        "+32 470 12 34 56",
        "0470/12.34.56",
        "(0470) 12-34-56",
        "+32 470",
        "0470",
        "04701",
        "470123456",
        "470 12 34",
        "3247",
        "4915123456789",
        "015123456789",
        "01512 345 67 89",
        "+4915123",
        "12015550123",
        "2015550123",
        "(201) 555-0123",
        "201-555-0123",
        "0470 01512",
    ] {
        assert_eq!(found(&caller, search).await, [id], "{search}");
    }
    for search in ["123456", "0471", "+33470123456", "0470123457", "9999", "02015550123"] {
        assert_eq!(found(&caller, search).await, [0; 0], "{search}");
    }
}

#[tokio::test]
async fn search_of_digits_is_also_tried_without_separators() {
    let app = App::start().await;
    let caller = app.tenant(1);
    let joined = create(&caller, json!({ "customerRef": "20261123" })).await;
    let apart = create(&caller, json!({ "customerRef": "2026-11-23" })).await;
    app.settle().await;
    for (search, expected) in [
        ("2026-11-23", vec![joined, apart]),
        ("2026.11.23", vec![joined, apart]),
        ("2026/11", vec![joined, apart]),
        ("20 26", vec![joined, apart]),
        ("2 0261", vec![joined]),
        ("+2026 (11)", vec![joined, apart]),
        ("20261123", vec![joined]),
        ("2026", vec![joined, apart]),
        ("23 11", vec![apart]),
        ("2026-11 x", vec![]),
        ("2026_11_23", vec![apart]),
        ("2026,11", vec![apart]),
    ] {
        assert_eq!(found(&caller, search).await, expected, "{search}");
    }
}

#[tokio::test]
async fn words_count_up_to_200_characters() {
    let app = App::start().await;
    let caller = app.tenant(1);
    let long = "é".repeat(200);
    let id = create(&caller, json!({ "customerRef": format!("{long}tail"), "firstname": "x" })).await;
    app.settle().await;
    for search in [
        long.clone(),
        "e".repeat(199),
        format!("{long}tail"),
        format!("{long}other"),
        format!("{long}{} x", "e".repeat(100)),
    ] {
        assert_eq!(found(&caller, &search).await, [id], "{} characters", search.chars().count());
    }
    assert_eq!(found(&caller, &format!("{}x", "e".repeat(199))).await, [0; 0]);
}

#[tokio::test]
async fn search_has_at_most_320_characters_and_20_words() {
    let app = App::start().await;
    let caller = app.tenant(1);
    let id = create(&caller, json!({ "firstname": "ab", "street": "e".repeat(200) })).await;
    app.settle().await;
    assert_eq!(found(&caller, &["ab"; 20].join(" ")).await, [id]);
    assert_eq!(found(&caller, &["ab"; 20].join("--")).await, [id]);
    assert_eq!(found(&caller, &"e".repeat(320)).await, [id]);
    assert_eq!(found(&caller, &format!("  {}  ", "e\u{301}".repeat(320))).await, [id], "after trimming and NFC");
    assert_eq!(found(&caller, &format!("ab{}", " ".repeat(400))).await, [id]);
    for search in
        ["e".repeat(321), ["ab"; 21].join(" "), ["1"; 21].join("."), "😀".repeat(321), format!("{}@x", "e".repeat(320))]
    {
        let problem = search_page(&caller, &search).await.expect(400);
        assert_eq!(problem["errors"].as_object().unwrap().keys().collect::<Vec<_>>(), ["search"], "{search}");
    }
    assert_eq!(found(&caller, &format!("{}@x", "e".repeat(318))).await, [0; 0]);
}

#[tokio::test]
async fn search_with_control_characters_is_400() {
    let app = App::start().await;
    let caller = app.tenant(1);
    for search in ["a\u{0}b", "a\u{1}", "\u{7f}x", "a\u{85}b"] {
        assert_eq!(search_page(&caller, search).await.errors(), ["search"], "{search:?}");
    }
    assert_eq!(found(&caller, "a\tb\r\nc").await, [0; 0]);
}

#[tokio::test]
async fn letters_of_every_script_are_searched() {
    let app = App::start().await;
    let searches = [
        ("東京", true),
        ("東", true),
        ("京", false),
        ("हिन्दी", true),
        ("مرحبا", true),
        ("שלום", true),
        ("한국", true),
        ("𝒜da", true),
        ("ada", true),
        ("٤٧", true),
        ("ไทย", true),
    ];
    let body =
        json!({ "firstname": "東京都 हिन्दी مرحبا", "lastname": "שלום 한국어 𝒜da", "houseNumber": "٤٧", "city": "ไทย" });
    assert_searches(&app, body, &searches).await;
}

#[tokio::test]
async fn search_follows_changes_and_removals() {
    let app = App::start().await;
    let caller = app.tenant(1);
    let created = caller.create(json!({ "firstname": "before", "uids": [{ "uid": "old@example.com" }] })).await;
    let (id, uid) = (created["endUserID"].clone(), created["uids"][0]["endUserUIDID"].clone());
    app.settle().await;
    caller
        .update(
            &id,
            json!({ "firstname": "after", "uids": [
            { "endUserUIDID": uid, "markAsDeleted": true }, { "uid": "new@example.com" },
        ] }),
        )
        .await;
    // The index may lag behind the write, but every end user in a response matches.
    for search in ["before", "old@"] {
        assert!(ids(&search_page(&caller, search).await.expect(200)["items"]).is_empty(), "{search}");
    }
    app.settle().await;
    for (search, expected) in [
        ("before", false),
        ("old@", false),
        ("old", false),
        ("after", true),
        ("new@example", true),
        ("after new", true),
    ] {
        assert_eq!(found(&caller, search).await.len(), usize::from(expected), "{search}");
    }
    caller.delete(&format!("/api/EndUsers/{id}")).await.expect(204);
    assert!(ids(&search_page(&caller, "after").await.expect(200)["items"]).is_empty());
    app.settle().await;
    assert_eq!(found(&caller, "after").await, [0; 0]);
}

#[tokio::test]
async fn search_is_sorted_and_paged_with_an_exact_total() {
    let app = App::start().await;
    let caller = app.tenant(1);
    let mut sorted = Vec::new();
    for n in 0..130_u64 {
        let city = format!("c{}", (n * 37) % 65);
        let id = create(&caller, json!({ "firstname": "match", "lastname": format!("nr{n}"), "city": city })).await;
        if n % 10 == 0 {
            create(&caller, json!({ "firstname": "unmatched", "city": city })).await;
        }
        sorted.push((city, id));
    }
    app.settle().await;
    let by_id: Vec<u64> = sorted.iter().map(|(_, id)| *id).collect();
    sorted.sort();
    let by_city: Vec<u64> = sorted.iter().map(|(_, id)| *id).collect();
    for (sort, expected) in [("", &by_id), ("&sortBy=city", &by_city), ("&sortBy=endUserID", &by_id)] {
        for (order, back) in [("", false), ("&sortOrder=asc", false), ("&sortOrder=desc", true)] {
            let expected: Vec<u64> = if back { expected.iter().rev().copied().collect() } else { expected.clone() };
            for (size, numbers) in [(100_usize, vec![1, 2, 3]), (7, vec![1, 10, 19, 20]), (10, vec![13, 14])] {
                for number in numbers {
                    let query = format!("search=match{sort}{order}&pageSize={size}&pageNumber={number}");
                    let page = caller.get(&format!("/api/EndUsers?{query}")).await.expect(200);
                    let part: Vec<u64> = expected.iter().skip(size * (number - 1)).take(size).copied().collect();
                    assert_eq!(ids(&page["items"]), part, "{query}");
                    assert_eq!(page["totalCount"], json!(130), "{query}");
                    assert_eq!(page["totalPages"], json!(130_usize.div_ceil(size)), "{query}");
                }
            }
        }
    }
    // A search combines words with many and with few matches.
    assert_eq!(caller.list("search=match%20nr77&sortBy=city").await, [by_id[77]]);
    assert_eq!(caller.get("/api/EndUsers?search=m%20n&sortBy=city").await.expect(200)["totalCount"], json!(130));
    assert_eq!(caller.get("/api/EndUsers?search=un").await.expect(200)["totalCount"], json!(13));
}

#[tokio::test]
async fn search_finds_nobody_of_another_tenant() {
    let app = App::start().await;
    create(&app.tenant(1), json!({ "firstname": "secret", "uids": [{ "uid": "jane@example.com" }] })).await;
    app.settle().await;
    for search in ["secret", "jane@example.com", "s"] {
        assert_eq!(found(&app.tenant(2), search).await, [0; 0], "{search}");
    }
}

#[tokio::test]
async fn phone_is_found_without_its_trunk_prefix() {
    let app = App::start().await;
    let body = json!({ "uids": [{ "uidType": "Phone", "uid": "+32470123456" }, { "uidType": "WhatsApp", "uid": "+447911123456" }] });
    let searches = [
        ("470123456", true),
        ("470", true),
        ("470 12 34 56", true),
        ("0470123456", true),
        ("32470", true),
        ("7911", true),
        ("70123456", false),
        ("00470", false),
    ];
    assert_searches(&app, body, &searches).await;
}

/// Distinct words of two letters and 33 signs. A sign folds to six letters of three bytes, so a word has 596 bytes.
fn long_words(numbers: std::ops::Range<u32>) -> String {
    let letter = |n: u32| char::from_u32('a' as u32 + n % 26).unwrap();
    let word = |n: u32| format!("{}{}{}", letter(n / 26), letter(n), "㌖".repeat(33));
    numbers.map(word).collect::<Vec<_>>().join(" ")
}

#[tokio::test(flavor = "multi_thread")]
async fn largest_end_user_is_indexed_after_its_largest_change() {
    let app = App::start().await;
    let caller = app.tenant(7);
    let uids = |first: u32| -> Vec<Value> {
        let uid = |n: u32| json!({ "uidType": "Crm", "uid": format!("{n}@{}", long_words(8 * n..8 * n + 8)) });
        (first..first + 40).map(uid).collect()
    };
    let body = json!({ "firstname": "Poison", "uids": uids(0), "otherContactDetails": long_words(320..400) });
    let created = caller.create(body).await;
    let id = created["endUserID"].as_u64().unwrap();
    app.settle().await;
    assert_eq!(found(&caller, "poison").await, [id]);
    let removal = |uid: &Value| json!({ "endUserUIDID": uid["endUserUIDID"], "markAsDeleted": true });
    let mut all: Vec<Value> = created["uids"].as_array().unwrap().iter().map(removal).collect();
    all.extend(uids(40));
    let change = json!({ "firstname": "Renamed", "uids": all, "otherContactDetails": long_words(400..480) });
    caller.update(&created["endUserID"], change).await;
    app.settle().await;
    assert_eq!(found(&caller, "poison").await, [0; 0]);
    assert_eq!(found(&caller, "renamed").await, [id]);
    assert_eq!(caller.list("sortBy=firstname").await, [id]);
    // Whole UID values do not count towards the limit on words.
    assert_eq!(found(&caller, "79@").await, [id]);
    assert_eq!(caller.by_uid(all_values(&caller, id).await.last().unwrap()).await, [id]);
    let (check, report) = index::command(&app, false).await;
    assert!(check.is_clean(), "{report}");
}

async fn all_values(caller: &Caller<'_>, id: u64) -> Vec<String> {
    let end_user = caller.read(&json!(id)).await;
    end_user["uids"].as_array().unwrap().iter().map(|uid| uid["uid"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn words_beyond_the_limits_are_not_searched() {
    let app = App::start().await;
    let caller = app.tenant(1);
    // 40 UIDs of 13 words are 520 words. The names are two more.
    let uids: Vec<Value> = (0..40)
        .map(|n| json!({ "uidType": "Crm", "uid": (0..13).map(|w| format!("u{n:02}w{w:02}")).collect::<Vec<_>>().join(" ") }))
        .collect();
    let body = json!({ "firstname": "Many", "lastname": "Words", "uids": uids, "otherContactDetails": "outside" });
    let id = create(&caller, body).await;
    app.settle().await;
    for (word, is_found) in
        [("many words", true), ("u00w00", true), ("u38w03", true), ("u38w04", false), ("outside", false)]
    {
        assert_eq!(found(&caller, word).await, if is_found { vec![id] } else { vec![] }, "{word}");
    }
    assert_eq!(caller.by_uid(&all_values(&caller, id).await[39]).await, [id]);
}
