//! Imports that find or create end users by their identifiers.

use std::fmt::Write;
use std::sync::Arc;

use serde_json::{Value, json};
use tokio::sync::Notify;

use crate::system::{Action, System, script};

const HEADER: &str = "customerRef,firstname,email,city\n";

/// Imports a file that none of its rows rejects, and asserts the counts of created, updated and unchanged end users.
async fn assert_imported(system: &System, file: &str, arguments: &[&str], counts: [usize; 3]) {
    let (code, stderr) = system.run("7", &[&["import", file], arguments].concat()).await;
    let [created, updated, unchanged] = counts;
    let rows = counts.iter().sum::<usize>();
    let summary = format!("{created} created, {updated} updated, {unchanged} unchanged, 0 rejected of {rows} rows");
    assert!(code == 0 && stderr.contains(&summary), "{summary}: {stderr}");
}

/// The end user of tenant 7 with a customerRef.
async fn end_user(system: &System, reference: &str) -> Value {
    let found = system.end_users("7").await.into_iter().find(|end_user| end_user["customerRef"] == reference);
    found.unwrap_or_else(|| panic!("no end user has the customerRef {reference}"))
}

/// A CSV file of `rows` rows with distinct customerRefs.
fn numbered(rows: usize) -> String {
    (1..=rows).fold(HEADER.to_owned(), |mut text, n| {
        writeln!(text, "R{n},Ann,p{n}@example.com,Gent").unwrap();
        text
    })
}

#[tokio::test]
async fn repeated_import_changes_only_what_differs() {
    let system = System::start().await;
    let text = numbered(130);
    system.file("end-users.csv", &text);
    assert_imported(&system, "end-users.csv", &[], [130, 0, 0]).await;
    let before = system.end_users("7").await;
    assert_imported(&system, "end-users.csv", &[], [0, 0, 130]).await;
    assert_eq!(system.end_users("7").await, before);

    // A newer file has a new end user, a changed one, and one with an empty cell, which changes nothing.
    let newer = text.replace("R2,Ann", "R2,Bea").replace("R3,Ann", "R3,") + "R131,Cas,p131@example.com,\n";
    system.file("end-users.csv", newer);
    assert_imported(&system, "end-users.csv", &[], [1, 1, 129]).await;
    let changed = end_user(&system, "R2").await;
    assert_eq!((&changed["firstname"], &changed["city"]), (&json!("Bea"), &json!("Gent")));
    assert_eq!(end_user(&system, "R3").await["firstname"], "Ann");
    assert_eq!(system.end_users("7").await.len(), 131);

    // An export of the tenant has nothing that differs.
    assert_eq!(system.run("7", &["export", "all.ndjson"]).await.0, 0);
    assert_imported(&system, "all.ndjson", &[], [0, 0, 131]).await;
}

#[tokio::test]
async fn on_match_decides_what_a_row_changes() {
    let system = System::start().await;
    system.file("end-users.csv", format!("{HEADER}R1,Ann,a@example.com,\n"));
    assert_imported(&system, "end-users.csv", &[], [1, 0, 0]).await;
    system.file("end-users.csv", format!("{HEADER}R1,Bea,b@example.com,Gent\n"));
    let found = async || {
        let end_user = end_user(&system, "R1").await;
        (end_user["firstname"].clone(), end_user["city"].clone(), end_user["uids"].as_array().unwrap().len())
    };
    assert_imported(&system, "end-users.csv", &["--on-match", "none"], [0, 1, 0]).await;
    assert_eq!(found().await, (json!("Ann"), Value::Null, 2), "the address is added");
    assert_imported(&system, "end-users.csv", &["--on-match", "none"], [0, 0, 1]).await;
    assert_imported(&system, "end-users.csv", &["--on-match", "fill"], [0, 1, 0]).await;
    assert_eq!(found().await, (json!("Ann"), json!("Gent"), 2));
    assert_imported(&system, "end-users.csv", &["--on-match", "update"], [0, 1, 0]).await;
    assert_eq!(found().await, (json!("Bea"), json!("Gent"), 2));
}

#[tokio::test]
async fn match_by_selects_the_identifiers_that_decide() {
    let system = System::start().await;
    system.file("one.csv", "email\na@example.com\n");
    assert_imported(&system, "one.csv", &[], [1, 0, 0]).await;
    system.file("two.csv", "customerRef,email\nR1,a@example.com\n");
    assert_imported(&system, "two.csv", &["--match-by", "customerRef"], [1, 0, 0]).await;
    system.file("three.csv", "customerRef,email\nR2,c@example.com\n,d@example.com\n");
    let (code, stderr) = system.run("7", &["import", "three.csv", "--match-by", "customerRef"]).await;
    assert!(code == 1 && stderr.contains("1 created, 0 updated, 0 unchanged, 1 rejected of 2 rows"), "{stderr}");
    let expected =
        "line 3: body: has no identifier to match by (customerRef); use --create-only to create an end user\n";
    assert_eq!(system.read("three.csv.report.txt"), expected);
    let dry_run = ["import", "three.csv", "--match-by", "customerRef", "--dry-run"];
    assert_eq!(system.run("7", &dry_run).await.0, 1);
    assert_eq!(system.read("three.csv.dry-run.txt"), expected);
    assert_eq!(system.run("7", &["import", "three.csv", "--create-only", "--match-by", "uids"]).await.0, 2);
}

#[tokio::test]
async fn conflict_rejects_a_row_and_names_the_end_users() {
    let system = System::start().await;
    system.file("end-users.csv", format!("{HEADER}R1,Ann,a@example.com,\nR2,Bea,b@example.com,\n"));
    assert_imported(&system, "end-users.csv", &[], [2, 0, 0]).await;
    let ids = [end_user(&system, "R1").await, end_user(&system, "R2").await].map(|found| found["endUserID"].clone());
    let rows = ["R3,Cas,c@example.com,", "R1,Dee,b@example.com,", "R9,Eve,a@example.com,", "R4,Fay,no mail,"];
    system.file("end-users.csv", format!("{HEADER}{}\nR2,Bo,b@example.com,\n", rows.join("\n")));
    let (code, stderr) = system.run("7", &["import", "end-users.csv"]).await;
    assert!(code == 1 && stderr.contains("1 created, 1 updated, 0 unchanged, 3 rejected of 5 rows"), "{stderr}");
    let [one, two] = &ids;
    let conflicts = [
        format!("line 3: customerRef: belongs to end user {one}; the row's identifiers name several end users"),
        format!("line 3: uids[0].uid: belongs to end user {two}; the row's identifiers name several end users"),
        format!("line 4: customerRef: end user {one}, which the row names, has another customerRef"),
    ];
    let mut report: Vec<_> = system.read("end-users.csv.report.txt").lines().map(str::to_owned).collect();
    report.sort();
    assert_eq!(report[..3], conflicts);
    assert_eq!(report[3..], ["line 5: uids[0].uid: must be a valid e-mail address"]);
    assert!(conflicts.iter().all(|line| stderr.contains(line)), "{stderr}");
    let rejected = system.read("end-users.csv.rejected.csv");
    let mut rejected: Vec<_> = rejected.lines().collect();
    rejected[1..].sort_unstable();
    assert_eq!(rejected, [HEADER.trim_end(), rows[1], rows[3], rows[2]]);
    assert_eq!(end_user(&system, "R2").await["firstname"], "Bo");

    // A corrected file of rejected rows is not overwritten by another import.
    system.file("end-users.csv.rejected.csv", format!("{HEADER}R4,Fay,fay@example.com,\n"));
    let (code, stderr) = system.run("7", &["import", "end-users.csv"]).await;
    assert!(code == 1 && stderr.contains("end-users.csv.rejected.csv: the file was changed"), "{stderr}");
    assert_imported(&system, "end-users.csv.rejected.csv", &[], [1, 0, 0]).await;
}

#[tokio::test]
async fn later_row_of_an_end_user_wins() {
    let system = System::start().await;
    // Rows of one end user, some far apart, each with an identifier of the row before; and delayed and failed requests.
    let mut text = "customerRef,firstname,email,phone\n".to_owned();
    for n in 1..=240 {
        match n {
            5 => text += "X,First,x@example.com,0470 00 00 09\n",
            120 => text += "x,Second,x@example.com,\n",
            121 | 122 => writeln!(text, ",Again{n},X@example.com,0470000009").unwrap(),
            235 => text += ",Last,,+32 470 00 00 09\n",
            _ => writeln!(text, "R{n},Ann,p{n}@example.com,").unwrap(),
        }
    }
    system.file("end-users.csv", text);
    for run in 0..2 {
        system.set_script(Arc::new(|n, _| {
            Box::pin(async move {
                tokio::time::sleep(std::time::Duration::from_millis(n * 37 % 200)).await;
                if n % 3 == 0 { Action::FailItems(&[1, 4, 6]) } else { Action::Forward }
            })
        }));
        let (code, stderr) = system.run("7", &["import", "end-users.csv", "--country", "BE"]).await;
        assert_eq!(code, 0, "{stderr}");
        let found = system.end_users("7").await;
        let named: Vec<_> = found.iter().filter(|end_user| end_user["firstname"] != "Ann").collect();
        assert_eq!((named.len(), &named[0]["firstname"]), (1, &json!("Last")), "run {run}");
        assert_eq!(found.len(), 236);
        for batch in system.batches() {
            let is_about = |body: &&Value| body["firstname"] != "Ann";
            assert!(batch.iter().filter(is_about).count() <= 1, "{batch:?}");
        }
    }
}

#[tokio::test]
async fn failed_items_are_sent_again() {
    let system = System::start().await;
    system.file("end-users.csv", numbered(4));
    system.set_script(script(|n| match n {
        0 => Action::Respond(503, Some(("retry-after", "0"))),
        1 => Action::FailItems(&[0, 2]),
        2 => Action::Disconnect,
        3 => Action::FailItems(&[1]),
        _ => Action::Forward,
    }));
    let (code, stderr) = system.run("7", &["import", "end-users.csv"]).await;
    assert!(code == 0 && stderr.contains("failed requests are retried"), "{stderr}");
    // The items that failed in the first two attempts were written, so that the next attempt finds them unchanged.
    assert!(stderr.contains("2 created, 0 updated, 2 unchanged, 0 rejected of 4 rows"), "{stderr}");
    let sent: Vec<Vec<_>> =
        system.batches().iter().map(|batch| batch.iter().map(|body| body["customerRef"].clone()).collect()).collect();
    let sizes: Vec<_> = sent.iter().map(Vec::len).collect();
    assert_eq!(sizes, [4, 4, 2, 2, 1]);
    assert_eq!((&sent[2], &sent[4]), (&vec![json!("R1"), json!("R3")], &vec![json!("R3")]));
    assert_eq!(system.end_users("7").await.len(), 4);
}

#[tokio::test]
async fn killed_upsert_resumes_and_changes_nothing_twice() {
    const END_USERS: usize = 260;
    let system = System::start().await;
    system.file("end-users.csv", numbered(END_USERS));
    for kill_at in [2, 4] {
        let reached = Arc::new(Notify::new());
        let notify = reached.clone();
        system.set_script(script(move |n| {
            if n == kill_at {
                notify.notify_one();
            }
            if n + 1 >= kill_at { Action::Lose } else { Action::Forward }
        }));
        let mut child = system.spawn("7", &["import", "end-users.csv", "--parallel", "4"]);
        reached.notified().await;
        child.kill().await.unwrap();
    }
    system.set_script(script(|_| Action::Forward));
    let (code, stderr) = system.run("7", &["import", "end-users.csv"]).await;
    assert_eq!(code, 0, "{stderr}");
    assert_eq!(system.end_users("7").await.len(), END_USERS);
    assert_imported(&system, "end-users.csv", &[], [0, 0, END_USERS]).await;
}

#[tokio::test]
async fn stopped_upsert_resumes_behind_the_finished_rows() {
    let system = System::start().await;
    system.file("end-users.csv", numbered(200));
    system.set_script(script(|n| if n < 2 { Action::Forward } else { Action::Respond(401, None) }));
    let import = ["import", "end-users.csv", "--parallel", "1"];
    let (code, stderr) = system.run("7", &import).await;
    assert!(code == 1 && stderr.ends_with("transfer: the token was rejected (401: injected failure)\n"), "{stderr}");
    let done = system.batches()[..2].iter().map(Vec::len).sum::<usize>();
    system.set_script(script(|_| Action::Forward));
    let (code, stderr) = system.run("7", &import).await;
    assert!(code == 0 && stderr.contains("200 created, 0 updated, 0 unchanged, 0 rejected"), "{stderr}");
    assert_eq!(system.batches().iter().map(Vec::len).sum::<usize>(), 200 - done);
}

#[tokio::test]
async fn batches_have_at_most_100_rows_and_one_mebibyte() {
    let system = System::start().await;
    system.file("end-users.csv", numbered(250));
    assert_imported(&system, "end-users.csv", &["--parallel", "1"], [250, 0, 0]).await;
    assert!(system.batches().iter().all(|batch| batch.len() <= 100));

    let rows = (0..60).fold(String::new(), |mut text, n| {
        let [long, other] = [32_000, 8_000].map(|length| "x".repeat(length));
        let row = json!({ "customerRef": format!("L{n}"), "aiDocumentation": long, "otherContactDetails": other });
        writeln!(text, "{row}").unwrap();
        text
    });
    system.file("large.ndjson", rows);
    system.set_script(script(|_| Action::Forward));
    assert_imported(&system, "large.ndjson", &["--parallel", "1"], [60, 0, 0]).await;
    let bytes = |batch: &Vec<Value>| json!({ "endUsers": batch }).to_string().len();
    let batches = system.batches();
    assert!(batches.iter().all(|batch| bytes(batch) <= 1 << 20));
    assert!(batches[0].iter().all(|row| row.to_string().len() > 40_000));
}
