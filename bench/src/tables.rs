//! Markdown tables, and the documents that contain them.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use time::OffsetDateTime;

use crate::{Result, print_line};

/// The directory of the documents.
pub(crate) fn docs() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/benchmarks")
}

/// Prints tables, or with `write` puts them between the markers of docs/benchmarks/`name`.md, after the command that
/// made them.
pub(crate) fn publish(name: &str, tables: &[String], write: bool) -> Result<()> {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let made = format!(
        "Written on {} by `cargo run --release -p bench -- {}`, on a machine of {cores} cores.\n\n",
        OffsetDateTime::now_utc().date(),
        arguments.join(" ")
    );
    let tables = made + &tables.join("\n") + "\n";
    if !write {
        print_line(&tables);
        return Ok(());
    }
    let document = docs().join(format!("{name}.md"));
    let text = std::fs::read_to_string(&document)?;
    let (begin, end) = (format!("<!-- {name}: begin -->\n"), format!("<!-- {name}: end -->"));
    let (Some(from), Some(to)) = (text.find(&begin), text.find(&end)) else {
        return Err(format!("{} has no markers for tables", document.display()).into());
    };
    let text = [&text[..from + begin.len()], &tables, &text[to..]].concat();
    Ok(std::fs::write(document, text)?)
}

/// A number with commas: `1,000,000`.
pub(crate) fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A heading and a table. `first` is the name of the first column, `names` are the others.
pub(crate) fn section(title: &str, first: &str, names: &[String], rows: Vec<Vec<String>>) -> String {
    let mut text =
        format!("### {title}\n\n| {first} | {} |\n|{}\n", names.join(" | "), " --- |".repeat(names.len() + 1));
    for row in rows {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "| {} |", row.join(" | "));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_separated() {
        assert_eq!([7, 1_000, 12_345, 1_000_000].map(thousands), ["7", "1,000", "12,345", "1,000,000"]);
    }
}
