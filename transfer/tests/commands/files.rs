//! Files as users and other programs write them: each is imported correctly, or rejected with a reason.

use std::path::PathBuf;

use serde_json::Value;

use crate::system::System;

/// A file, the arguments of its import, and the expected result.
struct Case {
    file: &'static str,
    arguments: &'static [&'static str],
    /// The created end users, each as its [`summary`], sorted.
    end_users: &'static [&'static str],
    /// A part of each line of the report, sorted.
    report: &'static [&'static str],
    /// A part of stderr.
    stderr: &'static str,
}

const NONE: Case = Case { file: "", arguments: &[], end_users: &[], report: &[], stderr: "" };

/// The name, company, customerRef, country, city, postal code and UIDs of an end user, as far as it has them.
fn summary(end_user: &Value) -> String {
    let text = |name: &str| end_user[name].as_str().unwrap_or_default().to_owned();
    let mut parts: Vec<_> =
        ["name", "company", "customerRef", "country", "city", "postalCode"].iter().map(|name| text(name)).collect();
    parts.extend(end_user["uids"].as_array().unwrap().iter().map(|uid| uid["uid"].as_str().unwrap().to_owned()));
    parts.retain(|part| !part.is_empty());
    parts.join(" | ")
}

/// Imports a file after a dry run, and asserts that both give the expected result.
async fn assert_case(system: &System, tenant: &str, case: &Case, bytes: &[u8]) {
    let name = format!("{tenant}-{}", case.file);
    system.file(&name, bytes);
    let import = [&["import", name.as_str(), "--parallel", "4"], case.arguments].concat();
    let dry = system.run(tenant, &[import.as_slice(), &["--dry-run"]].concat()).await;
    assert!(system.end_users(tenant).await.is_empty(), "{name}");
    let (code, stderr) = system.run(tenant, &import).await;
    let end_users = system.end_users(tenant).await;
    let mut end_users: Vec<_> = end_users.iter().map(summary).collect();
    end_users.sort();
    assert_eq!(end_users, case.end_users, "{name}: {stderr}");
    assert!(stderr.contains(case.stderr) && dry.1.contains(case.stderr), "{name}: {stderr}{}", dry.1);
    assert!(!stderr.contains(['\u{1b}', '\0', '\u{7}']) && !dry.1.contains(['\u{1b}', '\0', '\u{7}']), "{stderr:?}");
    let is_rejected = !case.report.is_empty() || case.end_users.is_empty();
    assert_eq!((code, dry.0), (i32::from(is_rejected), i32::from(is_rejected)), "{name}: {stderr}{}", dry.1);
    let report = |ending: &str| {
        let text = std::fs::read_to_string(system.directory.join(format!("{name}.{ending}"))).unwrap_or_default();
        let mut lines: Vec<_> = text.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    let lines = report("report.txt");
    assert_eq!(lines, report("dry-run.txt"), "{name}");
    let as_expected = lines.iter().zip(case.report).all(|(line, expected)| line.contains(expected));
    assert!(lines.len() == case.report.len() && as_expected, "{name}: {lines:#?}");
}

/// The files in the folder `import` of VECTORS, with their expected results.
const VECTORS: &[Case] = &[
    Case {
        file: "01-unclosed-quote.csv",
        end_users: &["Ann | a@example.com", "Cas | c@example.com", "Dora | d@example.com"],
        report: &["line 3: body: a quote opens a cell in line 3: it is never closed"],
        ..NONE
    },
    Case {
        file: "02-two-stray-quotes.csv",
        end_users: &["Ann | a@example.com", "Cas | c@example.com", "Eve | e@example.com"],
        report: &[
            "line 3: body: a quote opens a cell in line 3: text follows the closing quote",
            "line 5: body: a quote opens a cell in line 5: it is never closed",
        ],
        ..NONE
    },
    Case {
        file: "04-float-phones.csv",
        arguments: &["--create-only"],
        end_users: &[
            "AT | AT | +436641234567",
            "ID | ID | +6281234567890",
            "IT | IT | +393331234567",
            "NL | NL | +31612345678",
            "Plus | +31612345678",
        ],
        report: &["line 3: uids: is a valid number both with and without its country code"],
        ..NONE
    },
    Case {
        file: "05-float-numbers.ndjson",
        arguments: &["--create-only"],
        end_users: &[
            "Ann | 12345 | NL | 1011 | +31612345678",
            "Bob | NL | +31612345678",
            "Cas | 12345678901234567890123",
        ],
        ..NONE
    },
    Case {
        file: "06-two-numbers-in-a-cell.csv",
        end_users: &[
            "AT | AT | +43112345 | +4316789",
            "DE | DE | +494012345 | +49406789",
            "FI | FI | +358912345 | +35809678",
        ],
        ..NONE
    },
    Case { file: "07-double-bom.csv", end_users: &["Ann | a@example.com"], ..NONE },
    Case { file: "08-pretty.json", end_users: &["Ann | a@example.com"], ..NONE },
    Case {
        file: "09-cp1252.ndjson",
        arguments: &["--encoding", "windows-1252", "--create-only"],
        end_users: &["Jürgen", "Zoë"],
        ..NONE
    },
    Case {
        file: "10-utf16le-no-bom.csv",
        stderr: "the file looks like UTF-16 without a byte order mark; use --encoding utf-16le",
        ..NONE
    },
    Case {
        file: "10-utf16le-no-bom.csv",
        arguments: &["--encoding", "utf-16le"],
        end_users: &["Ann | a@example.com"],
        ..NONE
    },
    Case { file: "11-excel-sep-line.csv", end_users: &["Ann | a@example.com"], ..NONE },
    Case {
        file: "12-excel-short-rows.csv",
        end_users: &["Ann | Acme | Gent | a@example.com", "Bob | Acme | b@example.com", "Cas | c@example.com"],
        ..NONE
    },
    Case {
        file: "13-trailing-delimiter-in-rows.csv",
        end_users: &["Ann | a@example.com", "Bob | b@example.com"],
        ..NONE
    },
    Case {
        file: "14-google-triple-colon.csv",
        end_users: &["Ann | a@example.com | a2@example.com | +32470123456 | +3232364166"],
        ..NONE
    },
    Case { file: "15-plain-headers.csv", end_users: &["Ann Smit | a@example.com | +32470123456"], ..NONE },
    Case {
        file: "16-chatwoot-export.csv",
        end_users: &["Ann Smit | Acme | REF-1 | a@example.com | +32470123456"],
        stderr: "columns that are not imported: id",
        ..NONE
    },
    Case { file: "17-space-before-quote.csv", end_users: &["Ann | a@example.com"], ..NONE },
    Case {
        file: "18-header-escape.csv",
        end_users: &["a@example.com"],
        stderr: r"not imported: \u{1b}[31mred\u{1b}]0;title\u{7}",
        ..NONE
    },
];

/// The text of a file of [`VECTORS`].
fn inline(file: &str) -> Vec<u8> {
    let text = match &file[..2] {
        "01" => "email,firstname\na@example.com,Ann\nb@example.com,\"Bob\nc@example.com,Cas\nd@example.com,Dora\n",
        "02" => {
            "email,firstname\na@example.com,Ann\nb@example.com,\"Bob\nc@example.com,Cas\nd@example.com,\"Dora\n\
             e@example.com,Eve\n"
        }
        "04" => {
            "firstname,phone,country\nNL,31612345678.0,NL\nDE,4915123456789.0,DE\nAT,436641234567.0,AT\n\
             IT,393331234567.0,IT\nID,6281234567890.0,ID\nPlus,+31612345678.0,\n"
        }
        "05" => concat!(
            r#"{"firstname":"Ann","country":"NL","phone":31612345678.0,"customerRef":12345.0,"postalCode":1011.0}"#,
            "\n",
            r#"{"firstname":"Bob","country":"NL","phone":3.1612345678e10}"#,
            "\n",
            r#"{"firstname":"Cas","customerRef":12345678901234567890123}"#,
            "\n"
        ),
        "06" => {
            "firstname,phone,country\nDE,\"040 12345\n040 6789\",DE\nAT,\"01 12345\n01 6789\",AT\n\
             FI,\"09 12345\n09 678\",FI\n"
        }
        "07" => "\u{feff}\u{feff}email,firstname\na@example.com,Ann\n",
        "08" => "{\n  \"firstname\": \"Ann\",\n  \"email\": \"a@example.com\"\n}\n",
        "09" => return b"{\"firstname\":\"J\xfcrgen\"}\n{\"firstname\":\"Zo\xeb\"}\n".to_vec(),
        "10" => return utf16("email,firstname\r\na@example.com,Ann\r\n"),
        "11" => "sep=;\r\nemail;firstname\r\na@example.com;Ann\r\n",
        "12" => {
            "email;firstname;company;city\r\na@example.com;Ann;Acme;Gent\r\nb@example.com;Bob;Acme\r\n\
             c@example.com;Cas\r\n"
        }
        "13" => "email;firstname\r\na@example.com;Ann;\r\nb@example.com;Bob;\r\n",
        "14" => "firstname,email,phone\nAnn,a@example.com ::: a2@example.com,+32470123456 ::: +3232364166\n",
        "15" => "First Name,Last Name,Email,Mobile\nAnn,Smit,a@example.com,+32470123456\n",
        "16" => "id,name,identifier,email,phone_number,company\n1,Ann Smit,REF-1,a@example.com,'+32470123456,Acme\n",
        "17" => "email, firstname\na@example.com, \"Ann\"\n",
        "18" => "email,\u{1b}[31mred\u{1b}]0;title\u{7}\na@example.com,x\n",
        _ => panic!("{file}"),
    };
    text.into()
}

fn utf16(text: &str) -> Vec<u8> {
    text.encode_utf16().flat_map(u16::to_le_bytes).collect()
}

#[tokio::test]
async fn inline_files_are_imported_correctly() {
    let system = System::start().await;
    for (number, case) in VECTORS.iter().enumerate() {
        assert_case(&system, &format!("inline-{number}"), case, &inline(case.file)).await;
    }
}

/// The folder that VECTORS names, or `../shared/vectors` where that exists.
fn vectors() -> Option<PathBuf> {
    let named = std::env::var_os("VECTORS").map(PathBuf::from);
    let folder = named.clone().unwrap_or_else(|| concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/vectors").into());
    if named.is_none() && !folder.exists() {
        println!("skipped: VECTORS is not set and {} does not exist", folder.display());
        return None;
    }
    Some(folder.join("import"))
}

#[tokio::test]
async fn vector_files_are_imported_correctly() {
    let Some(folder) = vectors() else { return };
    let system = System::start().await;
    for (number, case) in VECTORS.iter().enumerate() {
        let bytes = std::fs::read(folder.join(case.file)).unwrap();
        assert_case(&system, &format!("vector-{number}"), case, &bytes).await;
    }
    let known = |name: &str| name.starts_with("03-") || VECTORS.iter().any(|case| case.file == name);
    let names = std::fs::read_dir(&folder).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap());
    let unknown: Vec<_> = names.filter(|name| !name.ends_with(".md") && !known(name)).collect();
    assert!(unknown.is_empty(), "{unknown:?}");

    let bytes = std::fs::read(folder.join("03-unclosed-quote-long-tail.csv")).unwrap();
    assert_long_tail(&system, "vector-tail", &bytes, 1_000).await;
}

/// Imports a file with one good row, one with an unclosed quote, and `tail` good ones.
async fn assert_long_tail(system: &System, tenant: &str, bytes: &[u8], tail: usize) {
    system.file("tail.csv", bytes);
    let (code, stderr) = system.run(tenant, &["import", "tail.csv", "--dry-run"]).await;
    assert_eq!(code, 1);
    assert!(stderr.contains(&format!("{} of {} rows are valid, 1 would be rejected", tail + 1, tail + 2)), "{stderr}");
    let (code, stderr) = system.run(tenant, &["import", "tail.csv"]).await;
    assert_eq!(code, 1);
    assert!(
        stderr.contains(&format!("{} created, 0 updated, 0 unchanged, 1 rejected of {} rows", tail + 1, tail + 2)),
        "{stderr}"
    );
    let report = system.read("tail.csv.report.txt");
    assert_eq!(report, "line 3: body: a quote opens a cell in line 3: it is never closed\n");
    assert_eq!(system.read("tail.csv.rejected.csv"), "email,firstname\nb@example.com,\"Bob\n");
}

#[tokio::test]
async fn unclosed_quote_before_many_rows_rejects_one_row() {
    let system = System::start().await;
    let tail: String = (0..40).map(|n| format!("p{n}@example.com,P{n}\n")).collect();
    let text = format!("email,firstname\na@example.com,Ann\nb@example.com,\"Bob\n{tail}");
    assert_long_tail(&system, "7", text.as_bytes(), 40).await;
}

/// A case with its bytes.
type Written = (Case, Vec<u8>);

#[tokio::test]
async fn files_of_many_programs_are_imported_correctly() {
    let case = |file, text: &str, end_users| -> Written { (Case { file, end_users, ..NONE }, text.into()) };
    let ann: &[&str] = &["Ann | a@example.com"];
    let cases = [
        case("bom-quoted.csv", "\u{feff}\"email\",\"firstname\"\r\n\"a@example.com\",\"Ann\"\r\n", ann),
        case("tabs.tsv", "email\tfirstname\r\na@example.com\tAnn\r\n", ann),
        case("carriage-returns.csv", "email,firstname\ra@example.com,Ann\r", ann),
        case("crlf-in-cell.csv", "email,firstname,street\r\na@example.com,Ann,\"Kerkstraat 1\r\nbus 2\"\r\n", ann),
        case("trailing.csv", "email;firstname;\r\na@example.com;Ann;\r\n", ann),
        case("array.json", "[\n{\"email\":\"a@example.com\",\"firstname\":\"Ann\"}\n]\n", ann),
        case("format.ndjson", "\u{feff}{\"e\u{200b}mail\":\"a@example.com\",\"First name\":\"Ann\"}\n", ann),
        case("named.csv", "email,firstname\n\"Ann <a@example.com>\",Ann\n", ann),
        case("nothing.csv", "email,phone,whatsapp,firstname\na@example.com,-,n/a,Ann\n", ann),
        case("formula.csv", "email,firstname\n\"=\"\"a@example.com\"\"\",Ann\n", ann),
        case(
            "places.csv",
            "email,country,lang\na@example.com,NLD,Dutch\nb@example.com,België,Nederlands\n",
            &["BE | b@example.com", "NL | a@example.com"],
        ),
        case(
            "split.csv",
            "phone,country\n\"+32470123451 / +32470123452\",BE\n0470 12 34 53 - 0470 12 34 54,BE\n0470 / 12 34 55,BE\n",
            &["BE | +32470123451 | +32470123452", "BE | +32470123453 | +32470123454", "BE | +32470123455"],
        ),
    ];
    let system = System::start().await;
    for (number, (case, bytes)) in cases.iter().enumerate() {
        assert_case(&system, &format!("written-{number}"), case, bytes).await;
    }
    let utf16 = utf16("\u{feff}email;firstname\r\nzoe@example.com;Zoë 😀\r\n");
    let end_users = &["Zoë 😀 | zoe@example.com"];
    assert_case(&system, "utf16", &Case { file: "utf16.csv", end_users, ..NONE }, &utf16).await;
    let country = &["--country", "Belgium"];
    let case = Case { file: "country.csv", arguments: country, end_users: &["BE | +32470123456"], ..NONE };
    assert_case(&system, "country", &case, b"phone\n0470 12 34 56\n").await;
}

#[tokio::test]
async fn unclear_file_is_rejected_with_a_reason() {
    let rejected = |file, text: &[u8], report| -> Written { (Case { file, report, ..NONE }, text.to_vec()) };
    let stopped = |file, text: &[u8], stderr| -> Written { (Case { file, stderr, ..NONE }, text.to_vec()) };
    let cases = [
        rejected(
            "swallowed.csv",
            b"email,firstname\nb@example.com,\"Bob\nc@example.com,Cas\nd@example.com,Dora\"\n",
            &["line 2: firstname: contains lines that look like rows of the file; check for an unclosed quote"],
        ),
        rejected(
            "lost.csv",
            b"phone,customerRef\n3.16E+10,\n,1.23457E+11\n",
            &[
                "line 2: phone: is a number without its last digits",
                "line 3: customerRef: is a number without its last",
            ],
        ),
        rejected("lost.ndjson", b"{\"customerRef\":3.16e10}\n", &["line 1: customerRef: is a number without its last"]),
        rejected(
            "parts.csv",
            b"phone,country\n02 123 45 67 / 68,BE\n",
            &["line 2: phone: contains several numbers or parts"],
        ),
        rejected("surplus.csv", b"email\na@example.com,x\n", &["line 2: body: has 2 cells, but the header has 1"]),
        (
            Case {
                file: "nameless.csv",
                arguments: &["--create-only"],
                report: &["line 2: body: has neither a name nor an identifier"],
                ..NONE
            },
            b"firstname,city\n,Gent\n".to_vec(),
        ),
        rejected("unmatched.csv", b"firstname,email\nAnn,\n", &["line 2: body: has no identifier to match by"]),
        stopped(
            "unidentified.csv",
            b"firstname,city\nAnn,Gent\n",
            "no column is recognised as an identifier to match by (email, phone, whatsapp, uid:TYPE or customerRef)",
        ),
        (
            Case {
                file: "latin.csv",
                end_users: &["Ann | a@example.com"],
                report: &["line 3: body: is not UTF-8; use --encoding windows-1252 if"],
                stderr: "latin.csv: line 3 is not UTF-8; use --encoding windows-1252 if",
                ..NONE
            },
            b"email,firstname\na@example.com,Ann\nz@example.com,Zo\xeb\n".to_vec(),
        ),
        stopped("empty.json", b"[]", "the file is empty"),
        stopped(
            "broken.ndjson",
            b"{\"email\":}\n{}\n",
            "no row can be read; line 1: is not valid JSON: expected value",
        ),
        stopped("book.csv", b"PK\x03\x04\x14\0", "the file looks like an Excel workbook (.xlsx)"),
        stopped("page.csv", b"<html>", "the file looks like HTML or XML"),
        stopped("objects.csv", b"{\"email\":\"a@example.com\"}", "the file looks like JSON; use --format ndjson"),
        stopped("table.json", b"email\na@example.com\n", "the file does not look like JSON; use --format csv"),
        stopped("broken.json", b"[{\"email\":\"a@example.com\"}", "line 1: the array is not closed"),
        stopped(
            "header.csv",
            b"email,\"name\na@example.com,Ann\n",
            "the header has an error: a quote opens a cell in line 1",
        ),
        stopped(
            "unknown.csv",
            b"firstname,Contact point\nAnn,a@example.com\n",
            "the columns are firstname, Contact point; name one with --map HEADER=FIELD",
        ),
    ];
    let system = System::start().await;
    for (number, (case, bytes)) in cases.iter().enumerate() {
        assert_case(&system, &format!("unclear-{number}"), case, bytes).await;
    }
    let without = &["--create-only", "--without-identifiers"];
    let case = Case { file: "without.csv", arguments: without, end_users: &["Ann"], ..NONE };
    assert_case(&system, "without", &case, b"firstname,Contact point\nAnn,a@example.com\n").await;
}

#[tokio::test]
async fn rejected_rows_of_any_file_can_be_imported_again() {
    let system = System::start().await;
    let printed = "[{\n\"email\": \"no mail\"\n},\n{\"email\": \"a@example.com\"}]";
    for (file, text, arguments, rejected) in [
        ("array.json", printed.as_bytes().to_vec(), vec![], "{ \"email\": \"no mail\" }\n"),
        (
            "utf16.csv",
            utf16("\u{feff}email,firstname\r\nno mail,Zoë\r\n"),
            vec![],
            "\u{feff}email,firstname\nno mail,Zoë\n",
        ),
        (
            "sep.csv",
            b"sep=|\r\nemail|company\r\nno mail|a,b;c\r\n".to_vec(),
            vec![],
            "sep=|\nemail|company\nno mail|a,b;c\n",
        ),
        (
            "latin.csv",
            b"email,firstname\nno mail,Zo\xeb\n".to_vec(),
            vec!["--encoding", "latin1"],
            "email,firstname\nno mail,Zoë\n",
        ),
    ] {
        system.file(file, text);
        let tenant = file.replace('.', "-");
        assert_eq!(system.run(&tenant, &[&["import", file], arguments.as_slice()].concat()).await.0, 1, "{file}");
        let ending = file.rsplit_once('.').unwrap().1;
        let rejected_file = format!("{file}.rejected.{ending}");
        assert_eq!(system.read(&rejected_file), rejected);
        system.file(&rejected_file, rejected.replace("no mail", "b@example.com"));
        let (code, stderr) = system.run(&tenant, &["import", &rejected_file]).await;
        assert!(code == 0 && stderr.contains("1 created, 0 updated, 0 unchanged, 0 rejected of 1 rows"), "{stderr}");
    }
}
