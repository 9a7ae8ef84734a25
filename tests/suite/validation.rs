//! Input rules and all validation errors (docs/api.md, Conventions, Fields and Errors).

use std::time::Instant;

use serde_json::{Value, json};

use crate::support::app::{App, Caller, TIME_OUT, TestRequest, token};

const END_USERS: &str = "/api/EndUsers";

async fn errors(tenant: &Caller<'_>, body: Value) -> Vec<String> {
    tenant.post(END_USERS, body).await.errors()
}

#[tokio::test]
async fn end_user_response_has_every_field() {
    let app = App::start().await;
    let tenant = app.tenant(7);
    let response = tenant.post(END_USERS, json!({})).await;
    assert_eq!(response.header("location"), Some("/api/EndUsers/1"));
    let empty = json!({ "endUserID": 1, "firstname": null, "lastname": null, "name": "", "gender": null,
        "otherContactDetails": null, "aiDocumentation": null, "customerRef": null, "customerType": "Lead", "country": null,
        "lang": null, "street": null, "houseNumber": null, "postalCode": null, "city": null, "company": null, "uids": [] });
    assert_eq!(response.expect(201), empty);
    let full = json!({ "firstname": " Jane ", "lastname": "Doe", "gender": "f", "otherContactDetails": "a\nb", "aiDocumentation": "x",
        "customerRef": "ERP-1", "customerType": "PARTNER", "country": "be", "lang": "NL_be", "street": "s", "houseNumber": "1",
        "postalCode": "2", "city": "c", "company": "d", "uids": [{ "uidType": "email", "uid": " Jane@Example.com ", "isPrimary": true }] });
    let expected = json!({ "endUserID": 2, "firstname": "Jane", "lastname": "Doe", "name": "Jane Doe", "gender": "f",
        "otherContactDetails": "a\nb", "aiDocumentation": "x", "customerRef": "ERP-1", "customerType": "Partner", "country": "BE",
        "lang": "nl-BE", "street": "s", "houseNumber": "1", "postalCode": "2", "city": "c", "company": "d",
        "uids": [{ "endUserUIDID": 1, "uidType": "Email", "uid": "Jane@Example.com", "isPrimary": true }] });
    assert_eq!(tenant.create(full).await, expected);
    assert_eq!(tenant.read(&json!(2)).await, expected);
}

#[tokio::test]
async fn member_names_are_caseless_and_unique() {
    let app = App::start().await;
    let tenant = app.tenant(7);
    let end_user = tenant
        .create(json!({ "FirstName": "Jane", "UIDS": [{ "UidType": "crm", "UID": "1", "isprimary": true }] }))
        .await;
    assert_eq!((&end_user["firstname"], &end_user["uids"][0]["uid"]), (&json!("Jane"), &json!("1")));
    for (body, path) in [
        (r#"{"firstname":"a","firstname":"a"}"#, "firstname"),
        (r#"{"firstname":"a","firstName":"b"}"#, "firstName"),
        (r#"{"uids":[{"uid":"a@x.be","uid":"b@x.be"}]}"#, "uids[0].uid"),
        (r#"{"uids":[{"uid":"a@x.be","Uid":"b@x.be"}]}"#, "uids[0].Uid"),
        (r#"{"unknown":{"a":1,"a":2}}"#, "unknown.a"),
    ] {
        assert_eq!(tenant.send(TestRequest::new("POST", END_USERS).body(body)).await.errors(), [path], "{body}");
    }
    let body = r#"{"firstname":"a","firstname":"b","country":"BEL","uids":[{"uid":"no mail"}]}"#;
    let expected = ["country", "firstname", "uids[0].uid"];
    assert_eq!(
        tenant.send(TestRequest::new("POST", END_USERS).body(body)).await.errors(),
        expected,
        "it hides no other error"
    );
}

#[tokio::test]
async fn unknown_and_response_only_members_are_ignored() {
    let app = App::start().await;
    let tenant = app.tenant(7);
    let body =
        json!({ "endUserID": 99, "name": "No One", "x": [1, { "y": "\u{7}" }], "firstname": "Jane", "lastname": null });
    let end_user = tenant.create(body).await;
    assert_eq!((&end_user["endUserID"], &end_user["name"]), (&json!(1), &json!("Jane")));
}

#[tokio::test]
async fn text_limits_count_trimmed_composed_characters() {
    let app = App::start().await;
    let tenant = app.tenant(7);
    for (limit, names) in [
        (200, &["firstname", "lastname", "company", "street", "city"][..]),
        (50, &["houseNumber", "postalCode", "gender"]),
        (254, &["customerRef"]),
    ] {
        for name in names {
            // The e and the accent compose to one character.
            let longest = format!("\u{3000} {} ", "e\u{301}".repeat(limit));
            let end_user = tenant.create(json!({ *name: longest })).await;
            assert_eq!(end_user[*name], "é".repeat(limit));
            assert_eq!(errors(&tenant, json!({ *name: "x".repeat(limit + 1) })).await, [*name]);
        }
    }
    for (name, bytes) in [("otherContactDetails", 8 * 1024), ("aiDocumentation", 32 * 1024)] {
        let longest = "é".repeat(bytes / 2);
        assert_eq!(tenant.create(json!({ name: longest })).await[name], longest);
        assert_eq!(errors(&tenant, json!({ name: format!("{longest}x") })).await, [name]);
    }
    let uid = |kind: &str, value: String| json!({ "uids": [{ "uidType": kind, "uid": value }] });
    tenant.create(uid(&"k".repeat(20), "u".repeat(320))).await;
    assert_eq!(errors(&tenant, uid(&"k".repeat(21), "u".repeat(321))).await, ["uids[0].uid", "uids[0].uidType"]);
}

#[tokio::test]
async fn control_characters_are_400_except_tab_and_line_ends() {
    let app = App::start().await;
    let tenant = app.tenant(7);
    assert_eq!(tenant.create(json!({ "company": "a\tb\r\nc" })).await["company"], "a\tb\r\nc");
    for c in ['\0', '\u{7}', '\u{b}', '\u{1b}', '\u{7f}', '\u{85}', '\u{9f}'] {
        let body = json!({ "company": format!("a{c}b"), "uids": [{ "uidType": "X", "uid": format!("a{c}b") }] });
        assert_eq!(errors(&tenant, body).await, ["company", "uids[0].uid"], "{c:?}");
        let encoded =
            percent_encoding::utf8_percent_encode(&format!("a{c}b"), percent_encoding::NON_ALPHANUMERIC).to_string();
        assert_eq!(tenant.get(&format!("/api/EndUsers?search={encoded}")).await.errors(), ["search"], "{c:?}");
        assert_eq!(tenant.get(&format!("/api/EndUsers/byUid?uid={encoded}")).await.errors(), ["uid"], "{c:?}");
    }
}

#[tokio::test]
async fn codes_are_normalized_or_rejected() {
    let app = App::start().await;
    let tenant = app.tenant(7);
    for (sent, stored) in [("NL", "nl"), ("nl-be", "nl-BE"), ("FR_fr", "fr-FR"), ("nld", "nld")] {
        assert_eq!(tenant.create(json!({ "lang": sent })).await["lang"], stored);
    }
    for bad in ["n", "nlde", "nl-B", "nl-BEL", "nld-BE", "12", "nl-", "-BE", "n l"] {
        assert_eq!(errors(&tenant, json!({ "lang": bad })).await, ["lang"], "{bad}");
    }
    for bad in ["B", "BEL", "1E", "bé", "ＢＥ"] {
        assert_eq!(errors(&tenant, json!({ "country": bad })).await, ["country"], "{bad}");
    }
    for (sent, stored) in [("lead", "Lead"), ("CUSTOMER", "Customer"), (" Partner ", "Partner"), ("", "Lead")] {
        assert_eq!(tenant.create(json!({ "customerType": sent })).await["customerType"], stored);
    }
    assert_eq!(errors(&tenant, json!({ "customerType": "Friend" })).await, ["customerType"]);
}

#[tokio::test]
async fn all_errors_are_reported_at_once_by_path() {
    let app = App::start().await;
    let tenant = app.tenant(7);
    let body = json!({ "firstname": 1, "lang": "xxxxx", "country": true, "uids": [
        { "uid": "no mail" }, { "uidType": "Phone", "uid": "0470 00 00 00" }, "x", {}, { "uid": null, "isPrimary": "yes" },
        { "uidType": "Phone", "uid": "+32470l23456" }, { "uidType": 1, "uid": 2 } ] });
    let expected = [
        "country",
        "firstname",
        "lang",
        "uids[0].uid",
        "uids[1].uid",
        "uids[2]",
        "uids[3].uid",
        "uids[4].isPrimary",
        "uids[4].uid",
        "uids[5].uid",
        "uids[6].uid",
        "uids[6].uidType",
    ];
    assert_eq!(errors(&tenant, body.clone()).await, expected);
    // A UID with an invalid type or id gets no error about its value.
    let phone = |more: Value| {
        let mut uid = json!({ "uid": "+32470000000" });
        uid.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        uid
    };
    for uid_type in [json!(5), json!("PhonePhonePhonePhoneX")] {
        let body = json!({ "uids": [phone(json!({ "uidType": uid_type }))] });
        assert_eq!(errors(&tenant, body).await, ["uids[0].uidType"]);
        let body = phone(json!({ "uidType": uid_type, "endUserID": 1 }));
        assert_eq!(tenant.post("/api/EndUserUIDs/assign", body).await.errors(), ["uidType"]);
    }
    let body = json!({ "uids": [phone(json!({ "endUserUIDID": "12" }))] });
    assert_eq!(tenant.put("/api/EndUsers/1", body).await.errors(), ["uids[0].endUserUIDID"]);
    let large = json!({ "aiDocumentation": "\"".repeat(32_768), "country": "BEL" });
    assert_eq!(errors(&tenant, large).await, ["aiDocumentation", "country"]);
    let problem = tenant.post(END_USERS, json!({ "customerType": "x", "uids": {} })).await.expect(400);
    assert_eq!(
        problem["errors"],
        json!({ "customerType": ["must be Lead, Customer, Partner or empty"], "uids": ["must be an array"] })
    );
    assert_eq!(tenant.get("/api/EndUsers").await.expect(200)["totalCount"], 0, "nothing was written");
}

#[tokio::test]
async fn body_is_one_json_object_of_at_most_1_mib() {
    let app = App::start().await;
    let tenant = app.tenant(7);
    let post = |body: &[u8]| tenant.send(TestRequest::new("POST", END_USERS).body(body));
    for body in [
        &b""[..],
        b" ",
        b"{",
        b"{} x",
        b"{}{}",
        b"[]",
        b"null",
        b"\"x\"",
        b"1",
        b"\xef\xbb\xbf{}",
        b"{\"firstname\":\"\xff\"}",
        br#"{"firstname":"\ud800"}"#,
        br#"{"firstname":"\udc00x"}"#,
        b"{'a':1}",
        b"{\"a\":NaN}",
    ] {
        assert_eq!(post(body).await.errors(), ["body"], "{}", String::from_utf8_lossy(body));
    }
    let padded = |size: usize| format!("{}{{}}", " ".repeat(size - 2)).into_bytes();
    post(&padded(1 << 20)).await.expect(201);
    assert_eq!(post(&padded((1 << 20) + 1)).await.expect(413)["detail"], "the body must be at most 1 MiB");
}

#[tokio::test]
async fn costly_body_takes_bounded_time_and_space() {
    let app = App::start().await;
    let tenant = app.tenant(7);
    let name = "n".repeat(400_000);
    let list = |element: &dyn Fn(usize) -> String, count: usize| (0..count).map(element).collect::<Vec<_>>().join(",");
    let cases = [
        ("a long name over a long list", format!(r#"{{"{name}":[{}]}}"#, list(&|_| "0".to_owned(), 250_000)), None),
        (
            "repeated names below a long one",
            format!(r#"{{"{name}":[{}]}}"#, list(&|_| r#"{"":0,"":0}"#.to_owned(), 40_000)),
            Some(format!("{}…", "n".repeat(500))),
        ),
        (
            "many names that differ by case",
            format!("{{{}}}", list(&|n| format!(r#""a{n}":0,"A{n}":0"#), 40_000)),
            Some("A0".to_owned()),
        ),
        (
            "many empty UIDs",
            format!(r#"{{"uids":[{}]}}"#, list(&|_| "{}".to_owned(), 300_000)),
            Some("uids".to_owned()),
        ),
        (
            "many primary UIDs behind many that are not",
            format!(
                r#"{{"uids":[{},{}]}}"#,
                list(&|_| "{}".to_owned(), 150_000),
                list(&|_| r#"{"isPrimary":true}"#.to_owned(), 25_000)
            ),
            Some("uids".to_owned()),
        ),
        (
            "many UIDs",
            format!(r#"{{"uids":[{}]}}"#, list(&|n| format!(r#"{{"uid":"{n}@b.cd"}}"#), 40_000)),
            Some("uids".to_owned()),
        ),
    ];
    for (case, body, error) in cases {
        assert!(body.len() < 1 << 20, "{case}: {}", body.len());
        let asked = Instant::now();
        let response = tenant
            .send(TestRequest::new("POST", END_USERS).header("content-type", "application/json").body(body))
            .await;
        assert!(asked.elapsed() < TIME_OUT, "{case}: {:?}", asked.elapsed());
        assert!(response.body.len() < 1 << 20, "{case}: {} bytes", response.body.len());
        match error {
            None => drop(response.expect(201)),
            Some(error) => assert!(response.errors().contains(&error), "{case}"),
        }
    }
}

#[tokio::test]
async fn body_is_uncompressed_utf8_json() {
    let app = App::start().await;
    let tenant = app.tenant(7);
    let send =
        |name: &str, value: &str| tenant.send(TestRequest::new("POST", END_USERS).header(name, value).body("{}"));
    for kind in ["application/json", "Application/JSON; charset=UTF-8", "application/merge-patch+json", "text/json"] {
        send("content-type", kind).await.expect(201);
    }
    for kind in ["text/plain", "application/x-www-form-urlencoded", "application/json; charset=utf-16", "json", ""] {
        send("content-type", kind).await.expect(415);
    }
    send("content-encoding", "identity").await.expect(201);
    for coding in ["gzip", "br", "identity, gzip"] {
        send("content-encoding", coding).await.expect(415);
    }
}

#[tokio::test]
async fn checks_run_in_the_documented_order() {
    let app = App::start().await;
    let tenant = app.tenant(7);
    let put = |path: &str| TestRequest::new("PUT", path).header("content-type", "text/plain").body("{");
    app.caller(None).send(put("/api/EndUsers/x")).await.expect(401);
    let no_tenant = token(json!({}));
    app.caller(Some(no_tenant)).send(put("/api/EndUsers/x")).await.expect(403);
    assert_eq!(tenant.send(put("/api/EndUsers/x")).await.errors(), ["id"]);
    tenant.send(put("/api/EndUsers/1")).await.expect(415);
    assert_eq!(tenant.put("/api/EndUsers/1", json!({ "lang": "?" })).await.errors(), ["lang"]);
    // Without a country in the request the number may be valid in the stored country.
    let phone =
        json!({ "uids": [{ "uidType": "Phone", "uid": "0470 00 00 00" }, { "endUserUIDID": 9, "uid": "x@x.be" }] });
    tenant.put("/api/EndUsers/1", phone.clone()).await.expect(404);
    tenant.create(json!({})).await;
    assert_eq!(tenant.put("/api/EndUsers/1", phone).await.errors(), ["uids[0].uid", "uids[1].endUserUIDID"]);
}

#[tokio::test]
async fn path_id_is_a_positive_32_bit_integer() {
    let app = App::start().await;
    let tenant = app.tenant(7);
    for id in ["0", "-1", "x", "1.0", "2147483648", "99999999999999999999", "%31%20", "1%00", "%2B1", "1e3"] {
        for request in [
            TestRequest::new("GET", &format!("/api/EndUsers/{id}")),
            TestRequest::new("DELETE", &format!("/api/EndUsers/{id}")),
            TestRequest::new("GET", &format!("/api/EndUsers/{id}/tickets")),
        ] {
            assert_eq!(tenant.send(request).await.errors(), ["id"], "{id}");
        }
    }
    tenant.get("/api/EndUsers/2147483647").await.expect(404);
}

#[tokio::test]
async fn query_names_are_caseless_and_blank_values_absent() {
    let app = App::start().await;
    let tenant = app.tenant(7);
    for n in 0..3 {
        tenant.create(json!({ "firstname": format!("p{n}") })).await;
    }
    assert_eq!(tenant.list("PageSize=1&PAGENUMBER=2&SortOrder=DESC&other=1&other=2").await, [2]);
    assert_eq!(tenant.list("pageSize=&pageNumber=%20&sortBy=&sortOrder=&search=%20").await, [1, 2, 3]);
    assert_eq!(tenant.get("/api/EndUsers?pageSize=1&PageSize=1").await.errors(), ["pageSize"]);
    let bad = "pageNumber=2147483648&pageSize=x&sortBy=uids&sortOrder=up&search=%ff";
    assert_eq!(
        tenant.get(&format!("/api/EndUsers?{bad}")).await.errors(),
        ["pageNumber", "pageSize", "search", "sortBy", "sortOrder"]
    );
    for bad in ["pageSize=0", "pageSize=101", "pageSize=1.5", "pageSize=-1", "pageSize=%D9%A1"] {
        assert_eq!(tenant.get(&format!("/api/EndUsers?{bad}")).await.errors(), ["pageSize"], "{bad}");
    }
}

#[tokio::test]
async fn oversized_end_user_error_names_the_largest_member() {
    let app = App::start().await;
    let tenant = app.tenant(7);
    // A quotation mark that is escaped twice has four bytes.
    assert_eq!(errors(&tenant, json!({ "aiDocumentation": "\"".repeat(12_000) })).await, ["aiDocumentation"]);
    let end_user = tenant.create(json!({ "aiDocumentation": "\"".repeat(11_000) })).await;
    let path = format!("/api/EndUsers/{}", end_user["endUserID"]);
    let uids: Vec<_> = (0..40).map(|n| json!({ "uidType": "X", "uid": format!("{n:0320}") })).collect();
    assert_eq!(tenant.put(&path, json!({ "uids": uids })).await.errors(), ["aiDocumentation"]);
    assert_eq!(tenant.read(&end_user["endUserID"]).await, end_user);
}

const TEXTS: [&str; 13] = [
    "firstname",
    "lastname",
    "gender",
    "otherContactDetails",
    "aiDocumentation",
    "customerRef",
    "country",
    "lang",
    "street",
    "houseNumber",
    "postalCode",
    "city",
    "company",
];

#[tokio::test]
async fn wrong_type_is_an_error_at_every_path() {
    let app = App::start().await;
    let tenant = app.tenant(7);
    let end_user = tenant.create(json!({ "uids": [{ "uid": "a@x.be" }] })).await;
    let path = format!("/api/EndUsers/{}", end_user["endUserID"]);
    let mut names: Vec<_> = TEXTS.into_iter().chain(["customerType", "uids"]).collect();
    names.sort_unstable();
    for wrong in [json!(1), json!(1.5), json!(true), json!({})] {
        let body: serde_json::Map<_, _> = names.iter().map(|name| ((*name).to_owned(), wrong.clone())).collect();
        assert_eq!(errors(&tenant, body.clone().into()).await, names, "{wrong}");
        assert_eq!(tenant.put(&path, body.into()).await.errors(), names, "{wrong}");
    }
    for wrong in [json!(1), json!("x"), json!(null), json!([]), json!(true)] {
        assert_eq!(errors(&tenant, json!({ "uids": [{ "uid": "a@x.be" }, wrong] })).await, ["uids[1]"], "{wrong}");
    }
    for wrong in [json!("true"), json!(1), json!(0), json!([]), json!({})] {
        let uid = json!({ "uidType": "X", "uid": "1", "isPrimary": wrong, "markAsDeleted": wrong });
        assert_eq!(
            tenant.put(&path, json!({ "uids": [uid] })).await.errors(),
            ["uids[0].isPrimary", "uids[0].markAsDeleted"]
        );
    }
    for wrong in [json!("1"), json!(0), json!(-1), json!(1.5), json!(2_147_483_648u64), json!(true), json!([1])] {
        let uid = json!({ "endUserUIDID": wrong, "uid": "b@x.be" });
        assert_eq!(tenant.put(&path, json!({ "uids": [uid] })).await.errors(), ["uids[0].endUserUIDID"], "{wrong}");
        let assign = json!({ "uid": "b@x.be", "endUserID": wrong });
        assert_eq!(tenant.post("/api/EndUserUIDs/assign", assign).await.errors(), ["endUserID"], "{wrong}");
    }
    let assign = json!({ "uid": 1, "endUserID": null, "uidType": 2, "isPrimary": 3 });
    let expected = ["endUserID", "isPrimary", "uid", "uidType"];
    assert_eq!(tenant.post("/api/EndUserUIDs/assign", assign).await.errors(), expected);
    for request in [TestRequest::new("PUT", &path), TestRequest::new("POST", "/api/EndUserUIDs/assign")] {
        assert_eq!(tenant.send(request).await.errors(), ["body"]);
    }
    assert_eq!(tenant.read(&end_user["endUserID"]).await, end_user);
}

#[tokio::test]
async fn null_clears_a_text_and_counts_as_absent_elsewhere() {
    let app = App::start().await;
    let tenant = app.tenant(7);
    let nulls = || TEXTS.iter().map(|name| ((*name).to_owned(), Value::Null)).collect::<serde_json::Map<_, _>>();
    let uid =
        json!({ "endUserUIDID": null, "uidType": null, "uid": "a@x.be", "isPrimary": null, "markAsDeleted": null });
    let mut body = nulls();
    body.extend([("customerType".to_owned(), Value::Null), ("uids".to_owned(), json!([uid]))]);
    let empty = tenant.create(body.into()).await;
    assert_eq!(
        (&empty["customerType"], &empty["uids"][0]["uidType"], &empty["uids"][0]["isPrimary"]),
        (&json!("Lead"), &json!("Email"), &json!(false))
    );
    assert!(TEXTS.iter().all(|name| empty[*name].is_null()), "{empty}");

    for clear in [json!(null), json!(""), json!(" \u{3000}\n")] {
        let mut full: serde_json::Map<_, _> = TEXTS.iter().map(|name| ((*name).to_owned(), json!("be"))).collect();
        full.insert("customerType".to_owned(), json!("Partner"));
        full.insert("uids".to_owned(), json!([{ "uid": "a@x.be", "isPrimary": true }]));
        let end_user = tenant.create(full.into()).await;
        let id = &end_user["endUserID"];
        tenant.update(id, json!({})).await;
        tenant.update(id, json!({ "uids": null, "customerType": clear })).await;
        assert_eq!(tenant.read(id).await, end_user, "the update was empty");
        tenant.update(id, end_user.clone()).await;
        assert_eq!(tenant.read(id).await, end_user, "a read document can be sent back");
        let cleared: serde_json::Map<_, _> = TEXTS.iter().map(|name| ((*name).to_owned(), clear.clone())).collect();
        tenant.update(id, cleared.into()).await;
        let read = tenant.read(id).await;
        assert!(TEXTS.iter().all(|name| read[*name].is_null()), "{clear}: {read}");
        assert_eq!(
            (&read["name"], &read["customerType"], &read["uids"]),
            (&json!(""), &json!("Partner"), &end_user["uids"])
        );
        for blank in [json!(null), json!(""), json!(" ")] {
            assert_eq!(errors(&tenant, json!({ "uids": [{ "uid": blank }] })).await, ["uids[0].uid"]);
        }
    }
}

#[tokio::test]
async fn create_ignores_members_of_updates() {
    let app = App::start().await;
    let tenant = app.tenant(7);
    for ignored in [json!("x"), json!(-1), json!(true), json!({ "a": [] })] {
        let uid = json!({ "endUserUIDID": ignored, "uid": "a@x.be", "markAsDeleted": ignored });
        let end_user = tenant.create(json!({ "endUserID": ignored, "name": ignored, "uids": [uid] })).await;
        assert_eq!(end_user["uids"].as_array().unwrap().len(), 1, "{ignored}");
        tenant.update(&end_user["endUserID"], json!({ "endUserID": ignored, "name": ignored })).await;
    }
}

#[tokio::test]
async fn earlier_check_hides_later_errors() {
    let app = App::start().await;
    let tenant = app.tenant(7);
    let large = || vec![b'{'; (1 << 20) + 1];
    let writes = [("POST", "/api/EndUsers"), ("PUT", "/api/EndUsers/9"), ("POST", "/api/EndUserUIDs/assign")];
    for (method, path) in writes {
        app.caller(None).send(TestRequest::new(method, path).body(large())).await.expect(401);
        app.caller(Some(token(json!({})))).send(TestRequest::new(method, path).body(large())).await.expect(403);
        tenant.send(TestRequest::new(method, path).body(large())).await.expect(413);
        let typed = TestRequest::new(method, path).header("content-type", "text/plain").body("{");
        tenant.send(typed).await.expect(415);
        assert_eq!(tenant.send(TestRequest::new(method, path).body("{")).await.errors(), ["body"]);
    }
    assert_eq!(tenant.send(TestRequest::new("PUT", "/api/EndUsers/0").body(large())).await.errors(), ["id"]);
    for path in ["/api/EndUsers/0/tickets?pageSize=0", "/api/EndUsers/0/tickets?search=%ff"] {
        let errors = tenant.get(path).await.errors();
        assert!(errors.contains(&"id".to_owned()), "{path}: {errors:?}");
    }
    assert_eq!(tenant.get("/api/EndUsers/9/tickets?pageSize=0").await.errors(), ["pageSize"]);
    tenant.get("/api/EndUsers/9/tickets").await.expect(404);
    let assign = json!({ "uid": "no mail", "endUserID": 9 });
    assert_eq!(tenant.post("/api/EndUserUIDs/assign", assign).await.errors(), ["uid"]);
    tenant.post("/api/EndUserUIDs/assign", json!({ "uid": "a@x.be", "endUserID": 9 })).await.expect(404);
    assert_eq!(
        tenant
            .put("/api/EndUsers/9", json!({ "country": "BE", "uids": [{ "uidType": "Phone", "uid": "1" }] }))
            .await
            .errors(),
        ["uids[0].uid"]
    );
}

#[tokio::test]
async fn ticket_and_look_up_queries_are_validated() {
    let app = App::start().await;
    let tenant = app.tenant(7);
    let id = tenant.create(json!({ "uids": [{ "uid": "a@x.be" }] })).await["endUserID"].clone();
    let tickets = |query: &str| {
        let path = format!("/api/EndUsers/{id}/tickets?{query}");
        let tenant = &tenant;
        async move { tenant.get(&path).await }
    };
    let all = "status=x&customerRepID=1&channelType=Mail&channelIDs=1,2&channelIDs=3&uid=a@x.be&isClosed=TRUE&isSpam=False&search=a\
        &sortBy=TICKETID&sortOrder=DESC&pageNumber=1&pageSize=100";
    tickets(all).await.expect(200);
    tickets(&all.to_uppercase().replace("MAIL", "mail")).await.expect(200);
    let blank: Vec<_> = all.split('&').map(|pair| pair.split('=').next().unwrap().trim().to_owned() + "=%20").collect();
    let blank: Vec<_> =
        blank.iter().map(String::as_str).collect::<std::collections::BTreeSet<_>>().into_iter().collect();
    tickets(&blank.join("&")).await.expect(200);
    let bad = "isClosed=yes&isSpam=1&customerRepID=0&channelIDs=1,x&sortBy=topics&sortOrder=down&pageNumber=0&pageSize=101&status=a%00b";
    let mut expected: Vec<_> = bad.split('&').map(|pair| pair.split('=').next().unwrap()).collect();
    expected.sort_unstable();
    assert_eq!(tickets(bad).await.errors(), expected);
    for name in [
        "status",
        "customerRepID",
        "channelType",
        "uid",
        "isClosed",
        "isSpam",
        "search",
        "sortBy",
        "sortOrder",
        "pageNumber",
        "pageSize",
    ] {
        assert_eq!(tickets(&format!("{name}=1&{}=1", name.to_uppercase())).await.errors(), [name]);
        assert_eq!(tickets(&format!("{name}=%c3%28")).await.errors(), [name]);
    }
    for query in [
        "",
        "uid",
        "uid=",
        "uid=%20",
        "uid=%E3%80%80",
        "UID=",
        "uid=a&uid=b",
        "uid=a&Uid=",
        "uid=%ff",
        "uid=a%07b",
        "other=1",
    ] {
        assert_eq!(tenant.get(&format!("/api/EndUsers/byUid?{query}")).await.errors(), ["uid"], "{query}");
    }
    let long = "x".repeat(320);
    assert_eq!(tenant.get(&format!("/api/EndUsers/byUid?uid={long}")).await.expect(200), json!([]));
    assert_eq!(tenant.get(&format!("/api/EndUsers/byUid?UID={long}x")).await.errors(), ["uid"]);
    tenant.get(&format!("/api/EndUsers?search={long}")).await.expect(200);
    assert_eq!(tenant.get(&format!("/api/EndUsers?search={long}x")).await.errors(), ["search"]);
}

#[tokio::test]
async fn end_user_limit_is_48000_bytes_of_escaped_json() {
    let app = App::start().await;
    let tenant = app.tenant(7);
    let size = |end_user: &Value| {
        end_user.to_string().bytes().map(|b| if b == b'"' || b == b'\\' { 2 } else { 1 }).sum::<usize>()
    };
    let body =
        |plain: usize| json!({ "aiDocumentation": "\\".repeat(11_000), "otherContactDetails": "x".repeat(plain) });
    let base = size(&tenant.create(body(1)).await) - 1;
    // An id counts with its digits, so the test leaves room for ten.
    let end_user = tenant.create(body(48_000 - base - 10)).await;
    assert!((47_980..=48_000).contains(&size(&end_user)), "{}", size(&end_user));
    assert_eq!(errors(&tenant, body(48_001 - base)).await, ["aiDocumentation"]);
    let id = &end_user["endUserID"];
    let assign = json!({ "endUserID": id, "uidType": "X", "uid": "y".repeat(300) });
    assert_eq!(tenant.post("/api/EndUserUIDs/assign", assign).await.errors(), ["aiDocumentation"]);
    let path = format!("/api/EndUsers/{id}");
    assert_eq!(tenant.put(&path, json!({ "street": "z".repeat(200) })).await.errors(), ["aiDocumentation"]);
    assert_eq!(tenant.read(id).await, end_user);
}
