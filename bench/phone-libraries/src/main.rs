//! One library's verdicts on `$VECTORS/phone.csv`, its time, and the size of this program with it. `run` runs all.

use std::hint::black_box;
use std::process::Command;
use std::time::{Duration, Instant};

/// A number that was read.
struct Number {
    e164: String,
    is_valid: bool,
    /// `None` if the library has no such check.
    is_possible: Option<bool>,
}

#[cfg(feature = "rlibphonenumber")]
fn read(text: &str, region: &str) -> Option<Number> {
    use rlibphonenumber::{PHONE_NUMBER_UTIL as LIBRARY, PhoneNumberFormat::E164};
    let number = LIBRARY.parse(text, region.parse().ok()).ok()?;
    Some(Number {
        e164: LIBRARY.format(&number, E164).into_owned(),
        is_valid: LIBRARY.is_valid_number(&number),
        is_possible: Some(LIBRARY.is_possible_number(&number)),
    })
}

#[cfg(feature = "phonenumber")]
fn read(text: &str, region: &str) -> Option<Number> {
    let number = phonenumber::parse(region.parse().ok(), text).ok()?;
    let e164 = number.format().mode(phonenumber::Mode::E164).to_string();
    Some(Number { e164, is_valid: number.is_valid(), is_possible: None })
}

#[cfg(not(any(feature = "rlibphonenumber", feature = "phonenumber")))]
fn read(_: &str, _: &str) -> Option<Number> {
    None
}

/// Time of the first number of a process.
fn first_number() -> Duration {
    let start = Instant::now();
    black_box(read(black_box("+32470123456"), ""));
    start.elapsed()
}

fn main() {
    if std::env::args().nth(1).as_deref() == Some("first") {
        return println!("{}", first_number().as_nanos());
    }
    let this = std::env::current_exe().unwrap();
    println!("size of this program: {} KB", this.metadata().unwrap().len() / 1000);
    let folder = std::env::var("VECTORS").expect("VECTORS names the folder of phone.csv");
    let rows: Vec<_> = csv::Reader::from_path(format!("{folder}/phone.csv")).unwrap().into_deserialize().collect();
    // id, raw, enc, region, format, expected, possible and others; the texts of some rows are JSON strings.
    let rows: Vec<Vec<String>> = rows.into_iter().collect::<Result<_, _>>().unwrap();
    let text =
        |row: &Vec<String>| if row[2] == "json" { serde_json::from_str(&row[1]).unwrap() } else { row[1].clone() };
    let rows: Vec<_> = rows.iter().map(|row| (text(row), row)).collect();
    if read("+32470123456", "").is_none() {
        return;
    }

    let (mut verdicts, mut possible, mut checked) = (Vec::new(), 0, true);
    for (text, row) in &rows {
        let number = read(text, &row[3]);
        let verdict = number.as_ref().filter(|number| number.is_valid).map_or("INVALID", |number| &number.e164);
        if verdict != row[5] {
            verdicts.push(format!("{} {text:?} {} expected {} got {verdict}", row[0], row[3], row[5]));
        }
        let is_possible = number.map_or(Some(false), |number| number.is_possible);
        checked &= is_possible.is_some();
        possible += usize::from(is_possible.is_some_and(|is_possible| is_possible.to_string() != row[6]));
    }
    println!("{} of {} verdicts (E.164 or INVALID) differ", verdicts.len(), rows.len());
    verdicts.iter().for_each(|verdict| println!("  {verdict}"));
    match checked {
        true => println!("{possible} of {} verdicts (possible) differ", rows.len()),
        false => println!("no check whether a number is possible"),
    }

    let first = |_| {
        let output = Command::new(&this).arg("first").output().unwrap().stdout;
        String::from_utf8(output).unwrap().trim().parse::<u64>().unwrap()
    };
    // The shortest, which other work on the machine disturbs least.
    let first = (0..25).map(first).min().unwrap();
    println!("first number of a process, shortest of 25: {:.1} ms", first as f64 / 1e6);
    let all_rows = |_| {
        let start = Instant::now();
        for (text, row) in &rows {
            black_box(read(black_box(text), &row[3]));
        }
        start.elapsed()
    };
    let mean = (0..25).map(all_rows).min().unwrap() / rows.len() as u32;
    println!("later numbers, mean of all rows, shortest of 25: {:.1} µs", mean.as_nanos() as f64 / 1e3);
}
