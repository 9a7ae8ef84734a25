//! The table of the report, and its page docs/conformance.md.

use std::collections::BTreeSet;
use std::path::Path;

use crate::{COLUMNS, Column, ColumnResult, TestCounts};

/// The page with the table, from the root of the repository.
pub(crate) const PAGE: &str = "docs/conformance.md";
/// The markers around the table.
const MARKERS: [&str; 2] = ["<!-- conformance: begin -->\n", "<!-- conformance: end -->\n"];
/// The command that makes the report.
const COMMAND: &str = "cargo run -p tests --bin conformance";

/// The report as Markdown: a table with a row per suite, and the skipped tests.
pub(crate) fn table(columns: &[&Column], results: &[ColumnResult]) -> String {
    let line = format!("| --- |{}", " --- |".repeat(columns.len()));
    let mut rows =
        vec![format!("| suite | {} |", columns.iter().map(|column| column.name).collect::<Vec<_>>().join(" | ")), line];
    let suites: BTreeSet<&String> = results.iter().flat_map(|result| result.suites.keys()).collect();
    for suite in suites {
        let cells = results.iter().map(|result| cell(result.suites.get(suite).copied().unwrap_or_default()));
        rows.push(format!("| {suite} | {} |", cells.collect::<Vec<_>>().join(" | ")));
    }
    let totals = results.iter().map(|result| cell(result.total())).collect::<Vec<_>>().join(" | ");
    let seconds = results.iter().map(|result| format!("{:.0}", result.seconds)).collect::<Vec<_>>().join(" | ");
    rows.push(format!("| all | {totals} |"));
    rows.push(format!("| seconds | {seconds} |"));
    let mut text = rows.join("\n") + "\n";
    let skipped: BTreeSet<&String> = results.iter().flat_map(|result| &result.skipped).collect();
    if !skipped.is_empty() {
        text += "\nSkipped:\n\n";
        for test in skipped {
            let (name, reason) = test.split_once(": ").unwrap_or((test, ""));
            text += &format!("- `{name}`: {reason}\n");
        }
    }
    text
}

fn cell(count: TestCounts) -> String {
    let parts = [(count.failed, "failed"), (count.skipped, "skipped")];
    let more = parts.iter().filter(|(number, _)| *number > 0).map(|(number, what)| format!(", {number} {what}"));
    match count {
        TestCounts { passed: 0, failed: 0, skipped: 0 } => "–".to_owned(),
        TestCounts { passed: 0, failed: 0, skipped } => format!("{skipped} skipped"),
        TestCounts { passed, .. } => format!("{passed} passed{}", more.collect::<String>()),
    }
}

/// Compares the table with that of the page, or writes it there. Seconds are not compared.
pub(crate) fn compare(page: &Path, columns: &[&Column], table: &str, write: bool) -> Result<(), String> {
    let text = std::fs::read_to_string(page).map_err(|e| format!("{}: {e}", page.display()))?;
    let [begin, end] = MARKERS.map(|marker| text.find(marker));
    let (Some(begin), Some(end)) = (begin.map(|at| at + MARKERS[0].len()), end) else {
        return Err(format!("{PAGE} has no markers for the table"));
    };
    if write {
        if columns.len() < COLUMNS.len() {
            return Err(format!("{PAGE} requires a table with all columns"));
        }
        let text = [&text[..begin], table, &text[end..]].concat();
        std::fs::write(page, text).map_err(|e| format!("{}: {e}", page.display()))
    } else if rows_of(&text[begin..end], columns) != rows_of(table, columns) {
        Err(format!("{PAGE} has a different table; write this one with: {COMMAND} -- --write"))
    } else {
        Ok(())
    }
}

/// The rows of a table with only these columns, without the seconds.
fn rows_of(table: &str, columns: &[&Column]) -> Vec<Vec<String>> {
    let cells = |row: &str| row.trim_matches(['|', ' ']).split(" | ").map(str::to_owned).collect::<Vec<_>>();
    let rows: Vec<_> = table.lines().filter(|line| line.starts_with('|') && !line.contains("---")).map(cells).collect();
    let head = rows.first().cloned().unwrap_or_default();
    let kept = |at: usize| at == 0 || columns.iter().any(|column| column.name == head[at]);
    let rows = rows.into_iter().filter(|row| row[0] != "seconds" && row.len() == head.len());
    rows.map(|row| row.into_iter().enumerate().filter(|(at, _)| kept(*at)).map(|(_, cell)| cell).collect()).collect()
}
