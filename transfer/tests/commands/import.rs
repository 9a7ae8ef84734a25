use std::collections::BTreeSet;
use std::fmt::Write;
use std::sync::Arc;

use serde_json::{Value, json};
use tokio::sync::Notify;

use crate::system::{Act, System, delete, gate, same_end_users, stripped, uid};

/// A CSV of so many end users, each with a reference of its own.
fn numbered(end_users: usize) -> String {
    (1..=end_users).fold("customerRef,email\n".to_owned(), |mut text, n| {
        writeln!(text, "R{n},p{n}@example.com").unwrap();
        text
    })
}

/// That each of so many is there once.
async fn assert_each_once(system: &System, end_users: usize) {
    let found = system.end_users("7").await;
    let references: BTreeSet<_> = found.iter().map(|end_user| end_user["customerRef"].to_string()).collect();
    assert_eq!((found.len(), references.len()), (end_users, end_users));
}

#[tokio::test]
async fn the_exports_of_other_products_become_the_end_users_they_hold() {
    let system = System::start().await;
    let end_user = |mut end_user: Value, name: &str, kind: &str, uids: Value| {
        let members = end_user.as_object_mut().unwrap();
        members.extend(
            [("name", json!(name)), ("customerType", json!(kind)), ("uids", uids)].map(|(n, v)| (n.to_owned(), v)),
        );
        end_user
    };
    let cases = [
        (
            "zendesk",
            "zendesk.csv",
            "name,email,external_id,details,notes,phone,shared_phone_number,role,organization,tags\n\
             Ann van Dam,\"ann@x.be,a.dam@x.be\",Z-1,\"Main street 1\nAntwerp\",Knows us,+32470000001,,end-user,Acme,vip\n",
            end_user(
                json!({ "firstname": "Ann", "lastname": "van Dam", "customerRef": "Z-1", "company": "Acme",
                    "otherContactDetails": "Main street 1\nAntwerp\nKnows us" }),
                "Ann van Dam",
                "Lead",
                json!([
                    uid("Email", "ann@x.be", true),
                    uid("Email", "a.dam@x.be", false),
                    uid("Phone", "+32470000001", false)
                ]),
            ),
        ),
        (
            "zendesk",
            "zendesk.json",
            "{\"id\":9,\"url\":\"https://x\",\"name\":\"Bo\",\"email\":\"bo@x.be\",\"phone\":null,\"external_id\":null,\
             \"locale\":\"zh-Hans-CN\",\"tags\":[\"vip\"],\"details\":\"\",\"user_fields\":{\"a\":1}}\n",
            end_user(
                json!({ "firstname": "Bo", "lang": "zh-CN" }),
                "Bo",
                "Lead",
                json!([uid("Email", "bo@x.be", true)]),
            ),
        ),
        (
            "intercom",
            "intercom.csv",
            "Name,Email,Phone,User ID,Country,City,Browser language,Signed up\n\
             Cé Dé,ce@x.be,+353871234567,25,Ireland,Dublin,en-ie,2024-01-01 10:00\n",
            end_user(
                json!({ "firstname": "Cé", "lastname": "Dé", "customerRef": "25", "country": "IE", "city": "Dublin", "lang": "en-IE" }),
                "Cé Dé",
                "Lead",
                json!([uid("Email", "ce@x.be", true), uid("Phone", "+353871234567", false)]),
            ),
        ),
        (
            "freshdesk",
            "freshdesk.csv",
            "\u{feff}Full name;Title;Email;Work phone;Mobile phone;Twitter;Unique external ID;Company;Address;About;Language;Tags\r\n\
             Fe;CEO;fe@x.be;+32 3 641 66 85;+32470000002;@fe;F-1;Acme;\"Street 1;\r\nGhent\";;nl;a\r\n",
            end_user(
                json!({ "firstname": "Fe", "customerRef": "F-1", "company": "Acme", "lang": "nl",
                    "otherContactDetails": "Street 1;\r\nGhent" }),
                "Fe",
                "Lead",
                json!([
                    uid("Email", "fe@x.be", true),
                    uid("Phone", "+32470000002", false),
                    uid("Phone", "+3236416685", false),
                    uid("Twitter", "@fe", false)
                ]),
            ),
        ),
        (
            "hubspot",
            "hubspot.csv",
            "Record ID,First Name,Last Name,Email,Phone Number,Street Address,Postal Code,City,Country/Region,Company Name,Lifecycle Stage,Create Date\n\
             901,Hu,Spot,hu@x.be,0470 00 00 03,Kerkstraat 1,2000,Antwerp,Belgium,Acme,Evangelist,2024-01-01\n",
            end_user(
                json!({ "firstname": "Hu", "lastname": "Spot", "customerRef": "901", "street": "Kerkstraat 1", "postalCode": "2000",
                    "city": "Antwerp", "country": "BE", "company": "Acme" }),
                "Hu Spot",
                "Customer",
                json!([uid("Email", "hu@x.be", true), uid("Phone", "+32470000003", false)]),
            ),
        ),
    ];
    for (preset, file, text, expected) in cases {
        system.file(file, text);
        let tenant = file.replace('.', "-");
        let (code, said) = system.run(&tenant, &["import", file, "--preset", preset]).await;
        assert_eq!(code, 0, "{file}: {said}");
        let end_users: Vec<_> = system.end_users(&tenant).await.iter().map(stripped).collect();
        assert_eq!(end_users, [expected], "{file}: {said}");
        assert!(said.contains("not imported: "), "{said}");
    }
}

#[tokio::test]
async fn bad_rows_are_named_by_their_lines_and_come_back_as_they_were() {
    let system = System::start().await;
    let rows: [&[u8]; 9] = [
        b"First;Mail;Phone;country",
        b"Ann;ann@x.be;0470000001;BE",
        b"\"Be\nd\";\"not \"\"an\"\" address\";0470000002;BE",
        b";;;",
        b"Cel;cel@x.be;0470l00003;BE",
        b"Dee;dee@x.be;;;surplus",
        b"\xc9lse;else@x.be;;",
        b"\"Fay\n\n\";fay@x.be;;",
        b"Gus;gus@x.be;;Atlantis",
    ];
    system.file("people.csv", rows.join(b"\r\n".as_slice()));
    let import = ["import", "people.csv", "--map", "First=firstname", "--map", "Mail=email"];
    let (code, said) = system.run("7", &import).await;
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("2 created, 5 rejected of 7 rows"), "{said}");
    let names: BTreeSet<_> =
        system.end_users("7").await.iter().map(|end_user| end_user["firstname"].to_string()).collect();
    assert_eq!(names, BTreeSet::from([r#""Ann""#, r#""Fay""#].map(str::to_owned)));

    let report = system.read("people.csv.report.txt");
    let mut places: Vec<_> =
        report.lines().map(|line| line.splitn(3, ": ").take(2).collect::<Vec<_>>().join(": ")).collect();
    places.sort();
    assert_eq!(
        places,
        ["line 12: country", "line 3: uids[0].uid", "line 6: uids[1].uid", "line 7: body", "line 8: body"],
        "{report}"
    );
    assert!(report.contains("line 3: uids[0].uid: must be a valid e-mail address\n"), "{report}");
    let rejected = std::fs::read(system.directory.join("people.csv.rejected.csv")).unwrap();
    let mut lines: Vec<&[u8]> = rejected.split(|byte| *byte == b'\n').collect();
    assert_eq!((lines[0], lines.len()), (rows[0], 8));
    lines.sort();
    let mut expected: Vec<&[u8]> = [rows[0], rows[4], rows[5], rows[6], rows[8], b""].to_vec();
    expected.extend(rows[2].split(|byte| *byte == b'\n'));
    expected.sort();
    assert_eq!(lines, expected);

    // Mended, they are imported by the same mapping.
    let mended = "First;Mail;Phone;country\nCel;cel@x.be;0470000003;Belgium\n";
    system.file("people.csv.rejected.csv", mended);
    let again = [&["import", "people.csv.rejected.csv"], &import[2..]].concat();
    let (code, said) = system.run("7", &again).await;
    assert_eq!(code, 0, "{said}");
    assert_eq!(system.end_users("7").await.len(), 3);
    assert!(!system.directory.join("people.csv.rejected.csv.rejected.csv").exists());
}

#[tokio::test]
async fn killed_at_any_moment_an_import_goes_on_and_creates_each_end_user_once() {
    const END_USERS: usize = 260;
    let system = System::start().await;
    system.file("people.csv", numbered(END_USERS));
    let import = ["import", "people.csv", "--parallel", "8"];
    // Of the last requests before a kill, some were carried out and not answered, and some are not yet sent on.
    for (kill_at, lost) in [(30, 0), (15, 3), (225, 7)] {
        let reached = Arc::new(Notify::new());
        let (told, kill_at) = (reached.clone(), kill_at);
        system.put(gate(move |n| {
            if n == kill_at {
                told.notify_one();
            }
            if n >= kill_at - lost { Act::Lose } else { Act::Pass }
        }));
        let mut child = system.spawn("7", &import);
        reached.notified().await;
        child.kill().await.unwrap();
    }
    system.put(gate(|_| Act::Pass));
    let (code, said) = system.run("7", &import).await;
    assert_eq!(code, 0, "{said}");
    assert_each_once(&system, END_USERS).await;
    // What the journal told was not sent once more, and what it could not tell was known by its key.
    assert!(system.requests().len() < END_USERS, "{said}");
    assert!(said.contains(&format!("{END_USERS} created (")), "{said}");
}

#[tokio::test]
async fn a_finished_import_is_not_done_again_and_another_file_is_not_taken_for_it() {
    let system = System::start().await;
    system.file("people.csv", numbered(5));
    assert_eq!(system.run("7", &["import", "people.csv"]).await.0, 0);
    system.put(gate(|_| Act::Pass));
    let (code, said) = system.run("7", &["import", "people.csv"]).await;
    assert_eq!((code, system.requests()), (0, Vec::new()), "{said}");
    assert!(said.contains("5 rows were answered before"), "{said}");

    // Another file, another mapping and another deployment are none of it.
    let (code, said) = system.run("7", &["import", "people.csv", "--map", "email=-"]).await;
    assert!(code == 1 && said.contains("it is of another file or mapping; with --restart"), "{said}");
    let elsewhere = ["import", "people.csv", "--url", "http://127.0.0.1:9"];
    let (code, said) = system.run("7", &elsewhere).await;
    assert!(code == 1 && said.contains("it is of an import into http://127.0.0.1:"), "{said}");
    let (code, said) = system.run("8", &["import", "people.csv"]).await;
    assert!(code == 1 && said.contains("for another customer: import a copy of the file for 8"), "{said}");
    assert!(system.requests().is_empty());
    system.file("people.csv", numbered(6));
    assert_eq!(system.run("7", &["import", "people.csv"]).await.0, 1);

    // Even started over, an import has the keys that it had.
    system.file("people.csv", numbered(5));
    let (code, said) = system.run("7", &["import", "people.csv", "--restart"]).await;
    assert!(code == 0 && said.contains("5 created (5 of them by an earlier run)"), "{said}");
    assert_each_once(&system, 5).await;
}

#[tokio::test]
async fn restart_creates_deleted_end_users_again() {
    let system = System::start().await;
    system.file("people.csv", "email\na@example.com\nb@example.com\nc@example.com\n");
    let import = ["import", "people.csv", "--parallel", "1"];
    assert_eq!(system.run("7", &import).await.0, 0);
    let emails = |end_users: &[Value]| {
        let mut emails: Vec<_> = end_users.iter().map(|end_user| end_user["uids"][0]["uid"].to_string()).collect();
        emails.sort();
        emails
    };
    let all = emails(&system.end_users("7").await);
    // Twice: the end users that are created again can be deleted too.
    for _ in 0..2 {
        for end_user in &system.end_users("7").await[..2] {
            delete(&system.local, "7", end_user["endUserID"].as_u64().unwrap()).await;
        }
        assert_eq!(system.end_users("7").await.len(), 1);
        let (code, said) = system.run("7", &[import.as_slice(), &["--restart"]].concat()).await;
        assert!(code == 0 && said.contains("3 created (1 of them by an earlier run), 0 rejected"), "{said}");
        assert_eq!(emails(&system.end_users("7").await), all);
    }
    // A restart that was stopped goes on as a restart.
    for end_user in &system.end_users("7").await {
        delete(&system.local, "7", end_user["endUserID"].as_u64().unwrap()).await;
    }
    system.put(gate(|n| if n < 5 { Act::Pass } else { Act::Answer(401, None) }));
    assert_eq!(system.run("7", &[import.as_slice(), &["--restart"]].concat()).await.0, 1);
    assert!(system.end_users("7").await.len() < 3);
    system.put(gate(|_| Act::Pass));
    assert_eq!(system.run("7", &import).await.0, 0);
    assert_eq!(emails(&system.end_users("7").await), all);
}

#[tokio::test]
async fn a_file_is_imported_by_one_process_at_a_time() {
    let system = System::start().await;
    let path = system.file("people.csv", numbered(1));
    let held = std::fs::File::open(path).unwrap();
    held.lock().unwrap();
    let (code, said) = system.run("7", &["import", "people.csv"]).await;
    assert_eq!((code, said.as_str()), (1, "transfer: people.csv: another process imports it\n"));
}

#[tokio::test]
async fn a_server_in_trouble_is_asked_again_with_the_same_key() {
    let system = System::start().await;
    system.file("people.csv", numbered(40));
    system.put(gate(|n| match n % 8 {
        _ if n >= 48 => Act::Pass,
        1 => Act::Answer(500, None),
        2 => Act::Answer(429, Some(("retry-after", "0"))),
        4 => Act::Instead(503),
        6 => Act::HangUp,
        _ => Act::Pass,
    }));
    let (code, said) = system.run("7", &["import", "people.csv"]).await;
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("requests that fail are sent again"), "{said}");
    assert_each_once(&system, 40).await;
    let requests = system.requests();
    let keys: BTreeSet<_> = requests.iter().collect();
    assert_eq!(keys.len(), 40, "one key a row");
    assert!(requests.len() == 64 && keys.iter().all(|key| key.starts_with("import-")), "{requests:?}");
}

#[tokio::test]
async fn a_token_that_ends_stops_an_import_and_a_new_one_goes_on() {
    let system = System::start().await;
    system.file("people.csv", numbered(40));
    system.put(gate(|n| if n < 20 { Act::Pass } else { Act::Answer(401, None) }));
    let (code, said) = system.run("7", &["import", "people.csv", "--parallel", "4"]).await;
    assert_eq!(code, 1);
    assert!(said.ends_with("transfer: the token is refused (401: trouble)\n"), "{said}");
    assert!(said.contains("20 created, 0 rejected of 40 rows\n"), "{said}");
    assert!(system.requests().len() <= 24, "no further row is sent");
    system.put(gate(|_| Act::Pass));
    let (code, said) = system.run("7", &["import", "people.csv"]).await;
    assert_eq!((code, system.requests().len()), (0, 20), "{said}");
    assert_each_once(&system, 40).await;
}

#[tokio::test]
async fn rejected_rows_that_are_being_mended_are_not_written_over() {
    let system = System::start().await;
    system.file("people.csv", "customerRef,email\nR1,no mail\nR2,p2@example.com\nR3,no mail\n");
    system.put(gate(|n| if n == 1 { Act::Answer(401, None) } else { Act::Pass }));
    let import = ["import", "people.csv", "--parallel", "1"];
    assert_eq!(system.run("7", &import).await.0, 1);
    let mended = "customerRef,email\nR1,the.one.and.only@example.com\n";
    system.file("people.csv.rejected.csv", mended);
    let (code, said) = system.run("7", &import).await;
    assert!(code == 1 && said.contains("people.csv.rejected.csv: it was changed"), "{said}");
    assert_eq!(system.read("people.csv.rejected.csv"), mended);
    std::fs::rename(system.directory.join("people.csv.rejected.csv"), system.directory.join("mended.csv")).unwrap();
    system.put(gate(|_| Act::Pass));
    let (code, said) = system.run("7", &import).await;
    assert!(code == 1 && said.contains("1 created, 2 rejected of 3 rows"), "{said}");
    assert_eq!(system.read("people.csv.rejected.csv"), "customerRef,email\nR3,no mail\n");

    // Nor is there anything to note where nothing is left to send.
    system.file("people.csv.rejected.csv", mended);
    let (code, said) = system.run("7", &import).await;
    assert!(code == 1 && said.contains("all 3 rows were answered before"), "{said}");
    assert_eq!(system.read("people.csv.rejected.csv"), mended);
}

#[cfg(unix)]
#[tokio::test]
async fn interrupted_an_import_notes_what_is_under_way() {
    let system = System::start().await;
    system.file("people.csv", numbered(40));
    let reached = Arc::new(Notify::new());
    let told = reached.clone();
    system.put(gate(move |n| {
        if n == 20 {
            told.notify_one();
        }
        if n >= 20 { Act::Answer(503, Some(("retry-after", "300"))) } else { Act::Pass }
    }));
    let import = ["import", "people.csv", "--parallel", "1"];
    let child = system.spawn("7", &import);
    reached.notified().await;
    let id = child.id().unwrap().to_string();
    assert!(tokio::process::Command::new("kill").arg(&id).status().await.unwrap().success());
    let ended = child.wait_with_output().await.unwrap();
    let said = String::from_utf8(ended.stderr).unwrap();
    assert!(ended.status.code() == Some(1) && said.ends_with("transfer: interrupted\n"), "{said}");
    assert!(said.contains("20 created, 0 rejected of 40 rows"), "{said}");
    system.put(gate(|_| Act::Pass));
    let (code, said) = system.run("7", &import).await;
    assert_eq!((code, system.requests().len()), (0, 20), "{said}");
}

#[tokio::test]
async fn an_answer_that_nobody_expects_stops_an_import_with_its_request_id() {
    let system = System::start().await;
    system.file("people.csv", numbered(3));
    system.put(gate(|n| if n == 0 { Act::Pass } else { Act::Answer(409, None) }));
    let (code, said) = system.run("7", &["import", "people.csv", "--parallel", "1", "--rate", "1000"]).await;
    assert!(code == 1 && said.ends_with("transfer: the API answered 409 (trouble), request id a-request\n"), "{said}");
    assert_eq!(system.requests().len(), 2);
    assert_eq!(system.end_users("7").await.len(), 1);
}

#[tokio::test]
async fn a_dry_run_sends_nothing_and_finds_what_the_api_finds() {
    let system = System::start().await;
    let large = "x\\n".repeat(16_000);
    let rows = [
        r#"{"firstname":"Ann","uids":[{"uid":"ann@x.be"}]}"#.to_owned(),
        r#"{"firstname":1,"lang":"english","customerType":"VIP","uids":[{"uid":"nobody"},{"uidType":"Phone"}]}"#
            .to_owned(),
        format!(r#"{{"aiDocumentation":"{large}"}}"#),
        r#"{"firstname":"Bo","firstname":"Bo"}"#.to_owned(),
        r#"{"country":"BE","uids":[{"uidType":"Phone","uid":"0470000001"},{"uidType":"Phone","uid":"12"}]}"#.to_owned(),
        format!(r#"{{"uids":[{}{{"uid":"a@x.be"}}]}}"#, r#"{"uid":"a@x.be"},"#.repeat(400)),
    ];
    system.file("people.ndjson", rows.join("\n"));
    let (code, said) = system.run("7", &["import", "people.ndjson", "--dry-run"]).await;
    assert_eq!((code, system.requests()), (1, Vec::new()), "{said}");
    assert!(said.contains("nothing is sent: 1 of 6 rows are good, 5 would be rejected"), "{said}");
    let files = |ending: &str| std::fs::exists(system.directory.join(format!("people.ndjson.{ending}"))).unwrap();
    assert!(!files("progress") && !files("report.txt") && !files("rejected.ndjson"));

    assert_eq!(system.run("7", &["import", "people.ndjson", "--parallel", "1"]).await.0, 1);
    assert_eq!(system.read("people.ndjson.dry-run.txt"), system.read("people.ndjson.report.txt"));
    assert_eq!(system.read("people.ndjson.rejected.ndjson"), rows[1..].join("\n") + "\n");
    assert_eq!(same_end_users(&system.end_users("7").await).len(), 1);

    // Numbers of a country that only the deployment knows are not rejected.
    system.file("phones.csv", "phone\n0470000001\n0470l00001\n");
    let (code, said) = system.run("7", &["import", "phones.csv", "--dry-run"]).await;
    let expected = "nothing is sent: 0 of 2 rows are good, 1 would be rejected, 1 hang on the default region";
    assert!(code == 1 && said.contains(expected), "{said}");
    let (_, said) = system.run("7", &["import", "phones.csv", "--dry-run", "--region", "BE"]).await;
    assert!(said.contains("nothing is sent: 1 of 2 rows are good, 1 would be rejected\n"), "{said}");
}

#[tokio::test]
async fn what_cannot_be_imported_is_said_before_anything_is_sent() {
    let system = System::start().await;
    system.file("people.csv", "Mail,Tags\na@x.be,vip\n");
    system.file("endless.csv", format!("email\na@x.be\n\"{}", "x".repeat(5 << 20)));
    for (arguments, expected) in [
        (vec!["people.csv"], "no column is mapped to a field; there are the columns Mail, Tags"),
        (vec!["people.csv", "--map", "E-mail=email"], "there is no column E-mail; there are the columns Mail, Tags"),
        (vec!["people.csv", "--map", "Mail=mail"], "there is no field mail; there are firstname, lastname, "),
        (vec!["nowhere.csv"], "nowhere.csv: No such file"),
        (vec!["endless.csv"], "endless.csv: line 3: a row of more than 4 MiB"),
        (vec!["people.csv", "--map", "Mail=email", "--url", "localhost"], "--url must be like https://"),
    ] {
        let (code, said) = system.run("7", &[&["import"], arguments.as_slice()].concat()).await;
        assert!(code == 1 && said.contains(expected), "{said}");
    }
    assert_eq!(system.run("7", &["import", "people.csv", "--preset", "excel"]).await.0, 2);
    assert!(system.requests().is_empty());
}
