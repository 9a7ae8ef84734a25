//! `GET /api/EndUsers/byUid` and match keys (docs/api.md, GET /api/EndUsers/byUid and Match keys).

use serde_json::{Value, json};

use crate::support::app::{App, Caller, ids};

const NONE: [u64; 0] = [];

async fn create(caller: &Caller<'_>, body: Value) -> u64 {
    caller.create(body).await["endUserID"].as_u64().unwrap()
}

/// Creates an end user with one UID.
async fn create_holder(caller: &Caller<'_>, kind: &str, uid: &str) -> u64 {
    create(caller, json!({ "uids": [{ "uidType": kind, "uid": uid }] })).await
}

/// Looks up with a raw query string.
async fn raw_look_up(caller: &Caller<'_>, uid: &str) -> Vec<u64> {
    ids(&caller.get(&format!("/api/EndUsers/byUid?uid={uid}")).await.expect(200))
}

async fn assert_found(caller: &Caller<'_>, values: &[&str], expected: &[u64]) {
    for value in values {
        assert_eq!(caller.by_uid(value).await, expected, "{value:?}");
    }
}

#[tokio::test]
async fn invisible_characters_around_an_address_are_ignored() {
    let app = App::start().await;
    let tenant = app.tenant(1);
    let end_user = tenant.create(json!({ "uids": [{ "uid": "jane@x.be\u{200b}" }] })).await;
    assert_eq!(end_user["uids"][0]["uid"], "jane@x.be");
    let id = end_user["endUserID"].as_u64().unwrap();
    for uid in ["jane@x.be", "\u{feff}jane@x.be", "jane@x.be\u{200b}"] {
        assert_eq!(tenant.by_uid(uid).await, [id], "{uid:?}");
    }
    let link = json!({ "endUserID": id, "uid": "\u{feff}JANE@x.be" });
    tenant.post("/api/EndUserUIDs/assign", link).await.expect(200);
}

#[tokio::test]
async fn look_up_returns_an_array_of_full_end_users() {
    let app = App::start().await;
    let caller = app.tenant(1);
    let body = json!({
        "firstname": "Jane", "lastname": "Doe", "customerRef": "ERP-3049353", "customerType": "Customer", "lang": "nl",
        "country": "BE", "uids": [{ "uidType": "Email", "uid": "jane@example.com", "isPrimary": true }],
    });
    let jane = caller.create(body).await;
    assert_eq!(caller.get("/api/EndUsers/byUid?uid=jane@example.com").await.expect(200), json!([jane]));
    assert_eq!(caller.get("/api/EndUsers/byUid?UID=erp-3049353").await.expect(200), json!([jane]));
    assert_eq!(caller.get("/api/EndUsers/byUid?uid=john@example.com").await.expect(200), json!([]));
}

#[tokio::test]
async fn blank_missing_repeated_or_too_long_uid_is_400() {
    let app = App::start().await;
    let caller = app.tenant(1);
    for query in [
        "",
        "?",
        "?uid=",
        "?uid",
        "?uid=%20",
        "?uid=+",
        "?uid=%E3%80%80%09",
        "?id=x",
        "?uid=a&uid=a",
        "?uid=a&UID=b",
        "?uid=%00",
        "?uid=%FF",
        "?uid=a%01b",
    ] {
        assert_eq!(caller.get(&format!("/api/EndUsers/byUid{query}")).await.errors(), ["uid"], "{query}");
    }
}

#[tokio::test]
async fn every_phone_spelling_finds_the_same_end_user() {
    let app = App::start().await;
    let caller = app.tenant(1);
    let id =
        create(&caller, json!({ "country": "BE", "uids": [{ "uidType": "Phone", "uid": "0470 00 00 00" }] })).await;
    let forms = [
        "+32470000000",
        "+32 470 00 00 00",
        "+32-470-00-00-00",
        "+32 (0)470 00 00 00",
        "+32/470.00.00.00",
        "0032470000000",
        "00 32 470 00 00 00",
        "32470000000",
        " +32470000000 ",
        "tel:+32470000000",
        "TEL:+32-470-00-00-00",
        "callto:+32470000000",
        "whatsapp:+32470000000",
        "＋３２４７０００００００",
        "+٣٢٤٧٠٠٠٠٠٠٠",
        "\u{202a}+32470000000\u{202c}",
        "+32\u{a0}470\u{2011}00\u{200b}0000",
        "tel:470000000;phone-context=+32",
    ];
    assert_found(&caller, &forms, &[id]).await;
    let others = [
        "0470000000",
        "470000000",
        "+32470000001",
        "+33470000000",
        "+3247000000",
        "+32470l00000",
        "+32470000000;ext=5",
        "x",
    ];
    assert_found(&caller, &others, &NONE).await;
}

#[tokio::test]
async fn every_stored_phone_spelling_is_found_by_all_others() {
    let app = App::start().await;
    let caller = app.tenant(1);
    for (n, stored) in
        ["+32 470 00 00 10", "0032470000011", "0470/00.00.12", "tel:+32-470-00-00-13", "+32 (0)470 00 00 14"]
            .iter()
            .enumerate()
    {
        let id = create(&caller, json!({ "country": "be", "uids": [{ "uidType": "phone", "uid": stored }] })).await;
        let digits = format!("324700000{}", 10 + n);
        assert_found(&caller, &[&format!("+{digits}"), &format!("00{digits}"), &digits], &[id]).await;
    }
}

#[tokio::test]
async fn whatsapp_numbers_match_as_numbers_and_names_as_text() {
    let app = App::start().await;
    let caller = app.tenant(1);
    let bare = create_holder(&caller, "WhatsApp", "32470000000").await;
    let plus = create_holder(&caller, "whatsapp", "+32 470 00 00 00").await;
    let phone = create_holder(&caller, "Phone", "+32470000000").await;
    let name = create_holder(&caller, "WhatsApp", "@Jane.Doe").await;
    let scoped = create_holder(&caller, "WhatsApp", "US.13491208655302741918").await;
    assert_found(&caller, &["+32470000000", "32470000000", "0032470000000", "+32 470 00 00 00"], &[bare, plus, phone])
        .await;
    assert_found(&caller, &["@jane.doe", "@JANE.DOE", " @Jane.Doe "], &[name]).await;
    assert_found(&caller, &["us.13491208655302741918"], &[scoped]).await;
    assert_found(&caller, &["jane.doe", "13491208655302741918", "0470000000"], &NONE).await;
}

#[tokio::test]
async fn look_ups_also_use_the_default_region() {
    let app = App::with(&[("DEFAULT_PHONE_REGION", "BE")]).await;
    let caller = app.tenant(1);
    let id = create_holder(&caller, "Phone", "0470 00 00 00").await;
    assert_found(
        &caller,
        &["0470000000", "0470/00.00.00", "(0470) 00 00 00", "32470000000", "+32470000000", "0032470000000"],
        &[id],
    )
    .await;
    // A customerRef that looks like a phone number stays text.
    let text = create(&caller, json!({ "customerRef": "0470000000" })).await;
    assert_found(&caller, &["0470000000"], &[id, text]).await;
    assert_found(&caller, &["+32470000000", "0470 000 000"], &[id]).await;
    // An end user with another country does not use the default region.
    let dutch =
        create(&caller, json!({ "country": "NL", "uids": [{ "uidType": "Phone", "uid": "06 12345678" }] })).await;
    assert_found(&caller, &["+31612345678", "31612345678"], &[dutch]).await;
}

#[tokio::test]
async fn national_number_is_text_without_a_default_region() {
    let app = App::start().await;
    let caller = app.tenant(1);
    create(&caller, json!({ "country": "BE", "uids": [{ "uidType": "Phone", "uid": "0470 00 00 00" }] })).await;
    let text = create(&caller, json!({ "customerRef": "0470 00 00 00" })).await;
    assert_found(&caller, &["0470 00 00 00"], &[text]).await;
    assert_found(&caller, &["0470000000"], &NONE).await;
}

#[tokio::test]
async fn space_of_an_unescaped_plus_is_restored() {
    let app = App::start().await;
    let caller = app.tenant(1);
    let phone = create_holder(&caller, "Phone", "+32470000000").await;
    let tagged = create_holder(&caller, "Email", "jane+tag@example.com").await;
    let twice = create_holder(&caller, "Email", "j+a+b@example.com").await;
    let first = create_holder(&caller, "Email", "+jane@example.com").await;
    let text = create_holder(&caller, "Other", "a b").await;
    for query in [
        "+32470000000",
        "%2B32470000000",
        "%2b32470000000",
        "%2032470000000",
        "+32%20470%2000%2000%2000",
        "+32+470+00+00+00",
    ] {
        assert_eq!(raw_look_up(&caller, query).await, [phone], "{query}");
    }
    let whatsapp = create_holder(&caller, "WhatsApp", "+32470000001").await;
    for query in ["whatsapp:+32470000001", "tel:+32+470+00+00+01", "(+32)470000001"] {
        assert_eq!(raw_look_up(&caller, query).await, [whatsapp], "{query}");
    }
    for query in ["jane+tag@example.com", "jane%2Btag@example.com", "jane%20tag@example.com", "JANE+TAG%40example.com"]
    {
        assert_eq!(raw_look_up(&caller, query).await, [tagged], "{query}");
    }
    assert_eq!(raw_look_up(&caller, "j+a+b@example.com").await, [twice]);
    assert_eq!(raw_look_up(&caller, "%2Bjane@example.com").await, [first]);
    assert_eq!(raw_look_up(&caller, "+jane@example.com").await, [first]);
    // In other positions a `+` is a space.
    assert_eq!(raw_look_up(&caller, "a+b").await, [text]);
    assert_eq!(raw_look_up(&caller, "a%2Bb").await, NONE);
}

#[tokio::test]
async fn case_width_and_composition_are_ignored() {
    let app = App::start().await;
    let caller = app.tenant(1);
    let email = create_holder(&caller, "Email", "Jane.Doe@Example.COM").await;
    let other = create_holder(&caller, "Login", "Straße Ⅷ ﬁ é").await;
    let reference = create(&caller, json!({ "customerRef": "ΣΊΣΥΦΟΣ-Ａ" })).await;
    assert_found(&caller, &["jane.doe@example.com", "JANE.DOE@EXAMPLE.COM", "\tjane.doe@example.com\n"], &[email])
        .await;
    assert_found(&caller, &["strasse viii fi e\u{301}", "STRASSE VIII FI É", "ｓｔｒａßｅ Ⅷ ﬁ é"], &[other]).await;
    assert_found(&caller, &["σίσυφος-a", "σίσυφοσ-A"], &[reference]).await;
    assert_found(&caller, &["janedoe@example.com", "jane.doe@example.co", "strasse viii fi e", "strasse"], &NONE).await;
}

#[tokio::test]
async fn address_is_found_by_unicode_and_ascii_domain() {
    let app = App::start().await;
    let caller = app.tenant(1);
    let unicode = create_holder(&caller, "Email", "jane@bücher.example").await;
    let ascii = create_holder(&caller, "Email", "jane@XN--BCHER-KVA.example").await;
    for value in
        ["jane@bücher.example", "JANE@BÜCHER.EXAMPLE", "jane@xn--bcher-kva.example", "jane@bu\u{308}cher.example"]
    {
        assert_eq!(caller.by_uid(value).await, [unicode, ascii], "{value}");
    }
    // UTS #46 processing is non-transitional: a domain keeps its ß.
    let sharp = create_holder(&caller, "Email", "jane@faß.example").await;
    assert_found(&caller, &["jane@faß.example", "jane@xn--fa-hia.example"], &[sharp]).await;
    assert_found(&caller, &["jane@fass.example", "jane@bucher.example"], &NONE).await;
    // Responses have the stored spelling.
    assert_eq!(caller.read(&json!(unicode)).await["uids"][0]["uid"], json!("jane@bücher.example"));
}

#[tokio::test]
async fn customer_ref_is_looked_up_like_a_uid() {
    let app = App::start().await;
    let caller = app.tenant(1);
    let reference = create(&caller, json!({ "customerRef": "ERP-1" })).await;
    let both = create(&caller, json!({ "customerRef": "erp-1", "uids": [{ "uidType": "ERP", "uid": "ERP-1" }] })).await;
    let uid = create_holder(&caller, "ERP", "Erp-1").await;
    assert_found(&caller, &["ERP-1", "erp-1"], &[reference, both, uid]).await;
    caller.update(&json!(reference), json!({ "customerRef": "ERP-2" })).await;
    caller.update(&json!(both), json!({ "customerRef": null })).await;
    assert_found(&caller, &["ERP-1"], &[both, uid]).await;
    assert_found(&caller, &["ERP-2"], &[reference]).await;
}

#[tokio::test]
async fn all_holders_are_returned_once_by_ascending_id() {
    let app = App::start().await;
    let caller = app.tenant(1);
    let mut all = Vec::new();
    for _ in 0..5 {
        all.push(
            create(
                &caller,
                json!({ "customerRef": "family@example.com", "uids": [
                { "uid": "Family@example.com" }, { "uidType": "Login", "uid": "family@EXAMPLE.com" },
            ] }),
            )
            .await,
        );
    }
    assert_found(&caller, &["family@example.com"], &all).await;
    caller.delete(&format!("/api/EndUsers/{}", all.remove(2))).await.expect(204);
    assert_found(&caller, &["family@example.com"], &all).await;
}

#[tokio::test]
async fn look_up_returns_the_100_lowest_ids() {
    let app = App::start().await;
    let caller = app.tenant(1);
    let mut all = Vec::new();
    for n in 0..103 {
        let body = if n % 2 == 0 {
            json!({ "customerRef": "shared" })
        } else {
            json!({ "uids": [{ "uidType": "x", "uid": "SHARED" }] })
        };
        all.push(create(&caller, body).await);
    }
    assert_found(&caller, &["shared"], &all[..100]).await;
}

#[tokio::test]
async fn text_and_phone_of_the_same_characters_differ() {
    let app = App::start().await;
    let caller = app.tenant(1);
    let phone = create_holder(&caller, "Phone", "+32470000000").await;
    let spelled = create_holder(&caller, "Other", "+32470000000").await;
    let bare = create_holder(&caller, "Other", "32470000000").await;
    let keyed = create_holder(&caller, "Other", "p=+32470000000").await;
    let reference = create(&caller, json!({ "customerRef": "t=+32470000000" })).await;
    assert_found(&caller, &["+32470000000"], &[phone, spelled]).await;
    assert_found(&caller, &["32470000000"], &[phone, bare]).await;
    assert_found(&caller, &["0032470000000", "+32 470 00 00 00"], &[phone]).await;
    assert_found(&caller, &["p=+32470000000"], &[keyed]).await;
    assert_found(&caller, &["t=+32470000000"], &[reference]).await;
}

#[tokio::test]
async fn extension_is_part_of_the_phone_number() {
    let app = App::start().await;
    let caller = app.tenant(1);
    let five = create_holder(&caller, "Phone", "+32 2 555 12 12 ext. 5").await;
    let six = create_holder(&caller, "Phone", "+32 2 555 12 12 x6").await;
    let none = create_holder(&caller, "Phone", "+32 2 555 12 12").await;
    assert_eq!(caller.read(&json!(five)).await["uids"][0]["uid"], json!("+3225551212;ext=5"));
    assert_found(
        &caller,
        &["+3225551212;ext=5", "003225551212 ext 5", "+32 2 555 12 12 x5", "tel:+3225551212;ext=5"],
        &[five],
    )
    .await;
    assert_found(&caller, &["+3225551212;ext=6"], &[six]).await;
    assert_found(&caller, &["+3225551212"], &[none]).await;
    assert_found(&caller, &["+3225551212;ext=7"], &NONE).await;
}

#[tokio::test]
async fn longest_and_unusual_values_are_stored_and_found() {
    let app = App::start().await;
    let caller = app.tenant(1);
    let mut values: Vec<String> =
        ["\u{fdfa}", "😀", "#", "~", "\u{1f82}", "語", "x", "=", "\u{10fffd}", "\u{390}", "İ", "%", "'", "\\", "\""]
            .map(|unit| unit.repeat(320))
            .to_vec();
    values.extend(
        [
            "#",
            "C#1#EndUser",
            "C#2#Uid#t=x",
            "t=",
            "p=",
            "~",
            "t~",
            "-",
            "0",
            "😀",
            "\u{200b}",
            "\u{feff}x",
            "a\tb",
            "a\nb",
            "null",
            "../..",
            "1#2",
            "🏳\u{fe0f}\u{200d}🌈",
            "\u{202e}abc",
            "e\u{301}",
            "ﷺ",
            "<script>",
            "' OR 1=1",
            "%00",
            "%2B",
            "+",
            "&uid=x",
        ]
        .map(str::to_owned),
    );
    for value in &values {
        let uid = create_holder(&caller, "Other", value).await;
        let mut expected = vec![uid];
        if value.chars().count() <= 254 {
            expected.push(create(&caller, json!({ "customerRef": value })).await);
        }
        let found = caller.by_uid(value).await;
        assert_eq!(found, expected, "{:.40}", value);
        let stored = &caller.read(&json!(uid)).await["uids"][0]["uid"];
        assert!(stored == &json!(value) || value == "e\u{301}" && stored == &json!("é"), "{:.40}", value);
    }
    for (n, unit) in ["\u{fdfa}", "😀", "#", "x", "語"].iter().enumerate() {
        // The values have 254 characters and differ in the last one.
        let value = format!("{}{n}", unit.repeat(253));
        let one = create(&caller, json!({ "customerRef": value })).await;
        let two = create(&caller, json!({ "customerRef": format!("{}z", unit.repeat(253)) })).await;
        assert_eq!(caller.by_uid(&value).await, [one], "{unit}");
        assert_eq!(caller.by_uid(&format!("{}Z", unit.repeat(253))).await, [two], "{unit}");
    }
    app.settle().await;
    let page = caller.get("/api/EndUsers?sortBy=customerRef&pageSize=100").await.expect(200);
    assert_eq!(ids(&page["items"]).len() as u64, page["totalCount"].as_u64().unwrap().min(100));
}

#[tokio::test]
async fn values_that_differ_in_the_last_character_differ() {
    let app = App::start().await;
    let caller = app.tenant(1);
    for unit in ["x", "\u{fdfa}", "😀"] {
        let value = |end: &str| format!("{}{end}", unit.repeat(319));
        let (a, b) =
            (create_holder(&caller, "Other", &value("a")).await, create_holder(&caller, "Other", &value("b")).await);
        assert_eq!(caller.by_uid(&value("a")).await, [a]);
        assert_eq!(caller.by_uid(&value("B")).await, [b]);
        assert_eq!(caller.by_uid(&value("c")).await, NONE);
    }
}

#[tokio::test]
async fn next_look_up_shows_a_change_of_uids() {
    let app = App::start().await;
    let caller = app.tenant(1);
    let created = caller
        .create(json!({ "uids": [{ "uid": "one@example.com" }, { "uidType": "Phone", "uid": "+32470000000" }] }))
        .await;
    let (id, number) = (created["endUserID"].clone(), created["endUserID"].as_u64().unwrap());
    let (email, phone) = (&created["uids"][0]["endUserUIDID"], &created["uids"][1]["endUserUIDID"]);

    caller.update(&id, json!({ "uids": [{ "endUserUIDID": email, "uid": "two@example.com" }] })).await;
    assert_found(&caller, &["one@example.com"], &NONE).await;
    assert_found(&caller, &["two@example.com", "+32470000000"], &[number]).await;

    caller
        .update(
            &id,
            json!({ "uids": [{ "endUserUIDID": phone, "uidType": "Phone", "uid": "", "markAsDeleted": true }] }),
        )
        .await;
    assert_found(&caller, &["+32470000000"], &NONE).await;

    // The same value of another type has a different match key.
    let assign = json!({ "uid": "+32470000000", "endUserID": number, "uidType": "Other" });
    caller.post("/api/EndUserUIDs/assign", assign).await.expect(201);
    assert_found(&caller, &["+32470000000"], &[number]).await;
    assert_found(&caller, &["0032470000000"], &NONE).await;

    caller.delete(&format!("/api/EndUsers/{number}")).await.expect(204);
    assert_found(&caller, &["two@example.com", "+32470000000"], &NONE).await;
}

#[tokio::test]
async fn uid_is_found_only_in_its_tenant() {
    let app = App::start().await;
    let one = create_holder(&app.tenant(1), "Email", "jane@example.com").await;
    let two = create(&app.tenant("1-"), json!({ "customerRef": "jane@example.com" })).await;
    assert_found(&app.tenant("1"), &["jane@example.com"], &[one]).await;
    assert_found(&app.tenant("1-"), &["jane@example.com"], &[two]).await;
    assert_found(&app.tenant(2), &["jane@example.com"], &NONE).await;
}
