use std::collections::BTreeSet;
use std::fmt::Write;
use std::sync::Arc;

use serde_json::{Value, json};
use tokio::sync::Notify;

use crate::system::{Action, System, delete, same_end_users, script, stripped, uid};

/// A CSV file of end users with distinct customerRefs.
fn numbered(end_users: usize) -> String {
    (1..=end_users).fold("customerRef,email\n".to_owned(), |mut text, n| {
        writeln!(text, "R{n},p{n}@example.com").unwrap();
        text
    })
}

/// Asserts that each of these end users was created once.
async fn assert_each_once(system: &System, end_users: usize) {
    let found = system.end_users("7").await;
    let references: BTreeSet<_> = found.iter().map(|end_user| end_user["customerRef"].to_string()).collect();
    assert_eq!((found.len(), references.len()), (end_users, end_users));
}

#[tokio::test]
async fn exports_of_other_products_are_imported() {
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
        let (code, stderr) = system.run(&tenant, &["import", file, "--preset", preset]).await;
        assert_eq!(code, 0, "{file}: {stderr}");
        let end_users: Vec<_> = system.end_users(&tenant).await.iter().map(stripped).collect();
        assert_eq!(end_users, [expected], "{file}: {stderr}");
        assert!(stderr.contains("columns that are not imported: "), "{stderr}");
    }
}

#[tokio::test]
async fn invalid_rows_are_reported_by_line_and_kept_unchanged() {
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
    system.file("end-users.csv", rows.join(b"\r\n".as_slice()));
    let import = ["import", "end-users.csv", "--map", "First=firstname", "--map", "Mail=email"];
    let (code, stderr) = system.run("7", &import).await;
    assert_eq!(code, 1, "{stderr}");
    assert!(stderr.contains("2 created, 0 updated, 0 unchanged, 5 rejected of 7 rows"), "{stderr}");
    let names: BTreeSet<_> =
        system.end_users("7").await.iter().map(|end_user| end_user["firstname"].to_string()).collect();
    assert_eq!(names, BTreeSet::from([r#""Ann""#, r#""Fay""#].map(str::to_owned)));

    let report = system.read("end-users.csv.report.txt");
    let mut places: Vec<_> =
        report.lines().map(|line| line.splitn(3, ": ").take(2).collect::<Vec<_>>().join(": ")).collect();
    places.sort();
    assert_eq!(
        places,
        ["line 12: country", "line 3: uids[0].uid", "line 6: uids[1].uid", "line 7: body", "line 8: body"],
        "{report}"
    );
    assert!(report.contains("line 3: uids[0].uid: must be a valid e-mail address\n"), "{report}");
    let rejected = std::fs::read(system.directory.join("end-users.csv.rejected.csv")).unwrap();
    let mut lines: Vec<&[u8]> = rejected.split(|byte| *byte == b'\n').collect();
    assert_eq!((lines[0], lines.len()), (rows[0], 8));
    lines.sort();
    let mut expected: Vec<&[u8]> = [rows[0], rows[4], rows[5], rows[6], rows[8], b""].to_vec();
    expected.extend(rows[2].split(|byte| *byte == b'\n'));
    expected.sort();
    assert_eq!(lines, expected);

    // The corrected rows are imported with the same mapping.
    let corrected = "First;Mail;Phone;country\nCel;cel@x.be;0470000003;Belgium\n";
    system.file("end-users.csv.rejected.csv", corrected);
    let again = [&["import", "end-users.csv.rejected.csv"], &import[2..]].concat();
    let (code, stderr) = system.run("7", &again).await;
    assert_eq!(code, 0, "{stderr}");
    assert_eq!(system.end_users("7").await.len(), 3);
    assert!(!system.directory.join("end-users.csv.rejected.csv.rejected.csv").exists());
}

#[tokio::test]
async fn killed_import_resumes_and_creates_each_end_user_once() {
    const END_USERS: usize = 260;
    let system = System::start().await;
    system.file("end-users.csv", numbered(END_USERS));
    let import = ["import", "end-users.csv", "--create-only", "--parallel", "8"];
    // Of the last requests before a kill, some were executed without a response, and some were not sent yet.
    for (kill_at, lost) in [(30, 0), (15, 3), (225, 7)] {
        let reached = Arc::new(Notify::new());
        let (notify, kill_at) = (reached.clone(), kill_at);
        system.set_script(script(move |n| {
            if n == kill_at {
                notify.notify_one();
            }
            if n >= kill_at - lost { Action::Lose } else { Action::Forward }
        }));
        let mut child = system.spawn("7", &import);
        reached.notified().await;
        child.kill().await.unwrap();
    }
    system.set_script(script(|_| Action::Forward));
    let (code, stderr) = system.run("7", &import).await;
    assert_eq!(code, 0, "{stderr}");
    assert_each_once(&system, END_USERS).await;
    // Recorded rows were not sent again, and the API recognised the others by their keys.
    assert!(system.requests().len() < END_USERS, "{stderr}");
    assert!(stderr.contains(&format!("{END_USERS} created (")), "{stderr}");
}

#[tokio::test]
async fn finished_import_is_not_repeated() {
    let system = System::start().await;
    system.file("end-users.csv", numbered(5));
    assert_eq!(system.run("7", &["import", "end-users.csv", "--create-only"]).await.0, 0);
    system.set_script(script(|_| Action::Forward));
    let (code, stderr) = system.run("7", &["import", "end-users.csv", "--create-only"]).await;
    assert_eq!((code, system.requests()), (0, Vec::new()), "{stderr}");
    assert!(stderr.contains("5 rows were already processed"), "{stderr}");

    // Another file, mapping or deployment is not the same import.
    let (code, stderr) = system.run("7", &["import", "end-users.csv", "--create-only", "--map", "email=-"]).await;
    assert!(code == 1 && stderr.contains("an import of another file or with another mapping; --restart"), "{stderr}");
    let elsewhere = ["import", "end-users.csv", "--create-only", "--url", "http://127.0.0.1:9"];
    let (code, stderr) = system.run("7", &elsewhere).await;
    assert!(code == 1 && stderr.contains("this is the progress of an import into http://127.0.0.1:"), "{stderr}");
    let (code, stderr) = system.run("8", &["import", "end-users.csv", "--create-only"]).await;
    assert!(code == 1 && stderr.contains("for another tenant; import a copy of the file for tenant 8"), "{stderr}");
    assert!(system.requests().is_empty());
    system.file("end-users.csv", numbered(6));
    assert_eq!(system.run("7", &["import", "end-users.csv", "--create-only"]).await.0, 1);

    // A restarted import uses the same keys.
    system.file("end-users.csv", numbered(5));
    let (code, stderr) = system.run("7", &["import", "end-users.csv", "--create-only", "--restart"]).await;
    assert!(code == 0 && stderr.contains("5 created (5 of them by an earlier run)"), "{stderr}");
    assert_each_once(&system, 5).await;
}

#[tokio::test]
async fn restart_creates_deleted_end_users_again() {
    let system = System::start().await;
    system.file("end-users.csv", "email\na@example.com\nb@example.com\nc@example.com\n");
    let import = ["import", "end-users.csv", "--create-only", "--parallel", "1"];
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
        let (code, stderr) = system.run("7", &[import.as_slice(), &["--restart"]].concat()).await;
        assert!(code == 0 && stderr.contains("3 created (1 of them by an earlier run), 0 rejected"), "{stderr}");
        assert_eq!(emails(&system.end_users("7").await), all);
    }
    // A restart that was stopped is resumed as a restart.
    for end_user in &system.end_users("7").await {
        delete(&system.local, "7", end_user["endUserID"].as_u64().unwrap()).await;
    }
    system.set_script(script(|n| if n < 2 { Action::Forward } else { Action::Respond(401, None) }));
    assert_eq!(system.run("7", &[import.as_slice(), &["--restart"]].concat()).await.0, 1);
    assert!(system.end_users("7").await.len() < 3);
    system.set_script(script(|_| Action::Forward));
    assert_eq!(system.run("7", &import).await.0, 0);
    assert_eq!(emails(&system.end_users("7").await), all);
}

#[tokio::test]
async fn file_is_imported_by_one_process_at_a_time() {
    let system = System::start().await;
    let path = system.file("end-users.csv", numbered(1));
    let held = std::fs::File::open(path).unwrap();
    held.lock().unwrap();
    let (code, stderr) = system.run("7", &["import", "end-users.csv"]).await;
    assert_eq!((code, stderr.as_str()), (1, "transfer: end-users.csv: another process is importing this file\n"));
}

#[tokio::test]
async fn failed_request_is_retried_with_the_same_key() {
    let system = System::start().await;
    system.file("end-users.csv", numbered(40));
    system.set_script(script(|n| match n % 8 {
        _ if n >= 48 => Action::Forward,
        1 => Action::Respond(500, None),
        2 => Action::Respond(429, Some(("retry-after", "0"))),
        4 => Action::Replace(503),
        6 => Action::Disconnect,
        _ => Action::Forward,
    }));
    let (code, stderr) = system.run("7", &["import", "end-users.csv", "--create-only"]).await;
    assert_eq!(code, 0, "{stderr}");
    assert!(stderr.contains("failed requests are retried"), "{stderr}");
    assert_each_once(&system, 40).await;
    let requests = system.requests();
    let keys: BTreeSet<_> = requests.iter().collect();
    assert_eq!(keys.len(), 40, "one key per row");
    assert!(requests.len() == 64 && keys.iter().all(|key| key.starts_with("import-")), "{requests:?}");
}

#[tokio::test]
async fn expired_token_stops_the_import_and_a_new_one_resumes_it() {
    let system = System::start().await;
    system.file("end-users.csv", numbered(40));
    system.set_script(script(|n| if n < 20 { Action::Forward } else { Action::Respond(401, None) }));
    let (code, stderr) = system.run("7", &["import", "end-users.csv", "--create-only", "--parallel", "4"]).await;
    assert_eq!(code, 1);
    assert!(stderr.ends_with("transfer: the token was rejected (401: injected failure)\n"), "{stderr}");
    assert!(stderr.contains("20 created, 0 rejected of 40 rows\n"), "{stderr}");
    assert!(system.requests().len() <= 24, "no further row is sent");
    system.set_script(script(|_| Action::Forward));
    let (code, stderr) = system.run("7", &["import", "end-users.csv", "--create-only"]).await;
    assert_eq!((code, system.requests().len()), (0, 20), "{stderr}");
    assert_each_once(&system, 40).await;
}

#[tokio::test]
async fn edited_file_of_rejected_rows_is_not_overwritten() {
    let system = System::start().await;
    system.file("end-users.csv", "customerRef,email\nR1,no mail\nR2,p2@example.com\nR3,no mail\n");
    system.set_script(script(|n| if n == 1 { Action::Respond(401, None) } else { Action::Forward }));
    let import = ["import", "end-users.csv", "--create-only", "--parallel", "1"];
    assert_eq!(system.run("7", &import).await.0, 1);
    let corrected = "customerRef,email\nR1,the.one.and.only@example.com\n";
    system.file("end-users.csv.rejected.csv", corrected);
    let (code, stderr) = system.run("7", &import).await;
    assert!(code == 1 && stderr.contains("end-users.csv.rejected.csv: the file was changed"), "{stderr}");
    assert_eq!(system.read("end-users.csv.rejected.csv"), corrected);
    std::fs::rename(system.directory.join("end-users.csv.rejected.csv"), system.directory.join("corrected.csv"))
        .unwrap();
    system.set_script(script(|_| Action::Forward));
    let (code, stderr) = system.run("7", &import).await;
    assert!(code == 1 && stderr.contains("1 created, 2 rejected of 3 rows"), "{stderr}");
    assert_eq!(system.read("end-users.csv.rejected.csv"), "customerRef,email\nR3,no mail\n");

    // A finished import does not write the file either.
    system.file("end-users.csv.rejected.csv", corrected);
    let (code, stderr) = system.run("7", &import).await;
    assert!(code == 1 && stderr.contains("all 3 rows were already processed"), "{stderr}");
    assert_eq!(system.read("end-users.csv.rejected.csv"), corrected);
}

#[cfg(unix)]
#[tokio::test]
async fn interrupted_import_records_finished_rows() {
    let system = System::start().await;
    system.file("end-users.csv", numbered(40));
    let reached = Arc::new(Notify::new());
    let notify = reached.clone();
    system.set_script(script(move |n| {
        if n == 20 {
            notify.notify_one();
        }
        if n >= 20 { Action::Respond(503, Some(("retry-after", "300"))) } else { Action::Forward }
    }));
    let import = ["import", "end-users.csv", "--create-only", "--parallel", "1"];
    let child = system.spawn("7", &import);
    reached.notified().await;
    let id = child.id().unwrap().to_string();
    assert!(tokio::process::Command::new("kill").arg(&id).status().await.unwrap().success());
    let ended = child.wait_with_output().await.unwrap();
    let stderr = String::from_utf8(ended.stderr).unwrap();
    assert!(ended.status.code() == Some(1) && stderr.ends_with("transfer: interrupted\n"), "{stderr}");
    assert!(stderr.contains("20 created, 0 rejected of 40 rows"), "{stderr}");
    system.set_script(script(|_| Action::Forward));
    let (code, stderr) = system.run("7", &import).await;
    assert_eq!((code, system.requests().len()), (0, 20), "{stderr}");
}

#[tokio::test]
async fn unexpected_response_stops_the_import_with_its_request_id() {
    let system = System::start().await;
    system.file("end-users.csv", numbered(3));
    system.set_script(script(|n| if n == 0 { Action::Forward } else { Action::Respond(409, None) }));
    let (code, stderr) =
        system.run("7", &["import", "end-users.csv", "--create-only", "--parallel", "1", "--rate", "1000"]).await;
    assert!(
        code == 1
            && stderr
                .ends_with("transfer: unexpected response 409 of the API (injected failure), request id a-request\n"),
        "{stderr}"
    );
    assert_eq!(system.requests().len(), 2);
    assert_eq!(system.end_users("7").await.len(), 1);
}

#[tokio::test]
async fn dry_run_sends_nothing_and_reports_the_same_errors() {
    let system = System::start().await;
    let large = "x\\n".repeat(16_000);
    let rows = [
        r#"{"firstname":"Ann","uids":[{"uid":"ann@x.be"}]}"#.to_owned(),
        r#"{"firstname":1,"lang":"english","customerType":"VIP","uids":[{"uid":"nobody"},{"uidType":"Phone"}]}"#
            .to_owned(),
        format!(r#"{{"customerRef":"1","aiDocumentation":"{large}"}}"#),
        r#"{"firstname":"Bo","firstname":"Bo"}"#.to_owned(),
        r#"{"country":"BE","uids":[{"uidType":"Phone","uid":"0470000001"},{"uidType":"Phone","uid":"12"}]}"#.to_owned(),
        r#"{"firstname":"Nobody"}"#.to_owned(),
        format!(r#"{{"uids":[{}{{"uid":"a@x.be"}}]}}"#, r#"{"uid":"a@x.be"},"#.repeat(400)),
    ];
    system.file("end-users.ndjson", rows.join("\n"));
    let (code, stderr) = system.run("7", &["import", "end-users.ndjson", "--dry-run"]).await;
    assert_eq!((code, system.requests()), (1, Vec::new()), "{stderr}");
    assert!(stderr.contains("dry run: 1 of 7 rows are valid, 6 would be rejected"), "{stderr}");
    let files = |ending: &str| std::fs::exists(system.directory.join(format!("end-users.ndjson.{ending}"))).unwrap();
    assert!(!files("progress") && !files("report.txt") && !files("rejected.ndjson"));

    assert_eq!(system.run("7", &["import", "end-users.ndjson", "--parallel", "1"]).await.0, 1);
    assert_eq!(system.read("end-users.ndjson.dry-run.txt"), system.read("end-users.ndjson.report.txt"));
    assert_eq!(system.read("end-users.ndjson.rejected.ndjson"), rows[1..].join("\n") + "\n");
    assert_eq!(same_end_users(&system.end_users("7").await).len(), 1);

    // Numbers that depend on the deployment's default region are not rejected.
    system.file("phones.csv", "phone\n0470000001\n0470l00001\n");
    let (code, stderr) = system.run("7", &["import", "phones.csv", "--dry-run"]).await;
    let expected = "dry run: 0 of 2 rows are valid, 1 would be rejected, 1 depend on the default phone region";
    assert!(code == 1 && stderr.contains(expected), "{stderr}");
    let (_, stderr) = system.run("7", &["import", "phones.csv", "--dry-run", "--region", "BE"]).await;
    assert!(stderr.contains("dry run: 1 of 2 rows are valid, 1 would be rejected\n"), "{stderr}");
}

#[tokio::test]
async fn usage_errors_are_reported_before_sending() {
    let system = System::start().await;
    system.file("end-users.csv", "Mail,Tags\na@x.be,vip\n");
    system.file("endless.csv", format!("email\na@x.be\n\"{}", "x".repeat(5 << 20)));
    for (arguments, expected) in [
        (vec!["end-users.csv"], "no column is mapped to a field; the columns are Mail, Tags"),
        (vec!["end-users.csv", "--map", "E-mail=email"], "unknown column E-mail; the columns are Mail, Tags"),
        (vec!["end-users.csv", "--map", "Mail=mail"], "unknown field mail; the fields are firstname, lastname, "),
        (vec!["nowhere.csv"], "nowhere.csv: No such file"),
        (vec!["endless.csv"], "endless.csv: line 3: the row is longer than 4 MiB"),
        (vec!["end-users.csv", "--map", "Mail=email", "--url", "localhost"], "--url must be like https://"),
    ] {
        let (code, stderr) = system.run("7", &[&["import"], arguments.as_slice()].concat()).await;
        assert!(code == 1 && stderr.contains(expected), "{stderr}");
    }
    assert_eq!(system.run("7", &["import", "end-users.csv", "--preset", "excel"]).await.0, 2);
    assert!(system.requests().is_empty());
}
