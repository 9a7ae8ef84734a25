//! The conformance report: the README's test command on every engine and with every way to run the
//! functions, as one table.
//!
//! `cargo run -p tests --bin conformance` prints it, and fails where a test does or where README says
//! otherwise; with `-- --write` it is written into README, with `-- --last` only the last column is made and compared,
//! which has neither the engine nor the runtime of the test command as it stands. Seconds are not compared.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

const ENGINES: [&str; 2] = ["embedded", "MiniStack"];
const RUNTIMES: [&str; 2] = ["in-process", "binaries"];
/// How many columns the whole report has.
const COLUMNS: usize = ENGINES.len() * RUNTIMES.len();
/// Where the table stands in README.
const MARKS: [&str; 2] = ["<!-- conformance: begin -->\n", "<!-- conformance: end -->\n"];
const COMMAND: &str = "cargo run -p tests --bin conformance";

/// What one suite came to.
#[derive(Clone, Copy, Default)]
struct Count {
    passed: u32,
    failed: u32,
    skipped: u32,
}

/// What one run of all suites came to.
#[derive(Default)]
struct Run {
    suites: BTreeMap<String, Count>,
    seconds: f64,
    /// The tests that were skipped, and why.
    skipped: BTreeSet<String>,
}

fn main() -> ExitCode {
    let asked = |name| std::env::args().any(|argument| argument == name);
    match report(asked("--last"), asked("--write")) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "conformance: {error}");
            ExitCode::FAILURE
        }
    }
}

fn report(last: bool, write: bool) -> Result<(), String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().map_err(|e| e.to_string())?;
    let functions = root.join("target/lambda");
    if !functions.is_dir() {
        return Err(format!("{} is missing; build it with: cargo lambda build --release", functions.display()));
    }
    let built = cargo(&root).arg("--no-run").status().map_err(|e| format!("cargo cannot be run: {e}"))?;
    if !built.success() {
        return Err("the tests do not build".to_owned());
    }
    let (mut columns, mut runs) = (Vec::new(), Vec::new());
    let all = ENGINES.iter().flat_map(|engine| RUNTIMES.map(|runtime| (*engine, runtime)));
    for (engine, runtime) in all.skip(if last { COLUMNS - 1 } else { 0 }) {
        let mut command = match engine {
            "embedded" => cargo(&root),
            _ => {
                let cargo = cargo(&root);
                let mut command = Command::new(root.join("tests/ministack/run"));
                command.arg(cargo.get_program()).args(cargo.get_args()).current_dir(&root);
                command
            }
        };
        command.env_remove("AWS_ENDPOINT_URL_DYNAMODB").env_remove("LAMBDA_FUNCTIONS");
        if runtime == "binaries" {
            command.env("LAMBDA_FUNCTIONS", &functions);
        }
        let column = format!("{engine}, {runtime}");
        say(&column);
        runs.push(run(command).map_err(|e| format!("{column}: {e}"))?);
        columns.push(column);
    }
    let table = table(&columns, &runs);
    say(&format!("\n{table}"));
    let total: Count = runs.iter().map(Run::total).sum();
    // The closing line that CI reads.
    say(&format!("{} passed, {} failed, {} skipped", total.passed, total.failed, total.skipped));
    if total.failed > 0 {
        return Err("tests failed".to_owned());
    }
    compare(&root.join("README.md"), &columns, &table, write)
}

/// The README's test command.
fn cargo(root: &Path) -> Command {
    let mut command = Command::new(env!("CARGO"));
    command.args(["test", "--workspace", "--locked", "--no-fail-fast"]).current_dir(root);
    // The model's sequences are the same on all parts; a fifth of them shows that.
    command.env("MODEL_SEQUENCES", "40");
    command
}

/// Runs the tests and reads what they say; shown is only what did not pass.
fn run(mut command: Command) -> Result<Run, String> {
    let failed = |error: std::io::Error| error.to_string();
    let mut child = command.args(["--", "--show-output"]).stdout(Stdio::piped()).spawn().map_err(failed)?;
    let (mut run, mut failing) = (Run::default(), false);
    for line in child.stdout.take().map(BufReader::new).into_iter().flat_map(BufRead::lines) {
        let line = line.map_err(failed)?;
        run.read(&line);
        failing = (failing || line == "failures:") && !line.starts_with("running ");
        if failing {
            say(&line);
        }
    }
    let (ended, total) = (child.wait().map_err(failed)?, run.total());
    if !ended.success() && total.failed == 0 || total.passed == 0 {
        return Err(format!("the tests did not run to their end ({ended})"));
    }
    Ok(run)
}

impl Run {
    fn read(&mut self, line: &str) {
        if let Some((name, result)) = line.strip_prefix("test ").and_then(|test| test.split_once(" ... ")) {
            let count = self.suites.entry(suite(name)).or_default();
            match result {
                "ok" => count.passed += 1,
                _ => count.failed += 1,
            }
        } else if let Some(skipped) = line.strip_prefix("SKIPPED ") {
            // It returned at once: it was not passed.
            let count = self.suites.entry(suite(skipped)).or_default();
            count.passed -= 1;
            count.skipped += 1;
            self.skipped.insert(skipped.to_owned());
        } else if let Some((_, seconds)) = line.split_once("; finished in ") {
            self.seconds += seconds.trim_end_matches('s').parse::<f64>().unwrap_or_default();
        }
    }

    fn total(&self) -> Count {
        self.suites.values().copied().sum()
    }
}

impl std::iter::Sum for Count {
    fn sum<I: Iterator<Item = Self>>(counts: I) -> Self {
        counts.fold(Self::default(), |a, b| Self {
            passed: a.passed + b.passed,
            failed: a.failed + b.failed,
            skipped: a.skipped + b.skipped,
        })
    }
}

/// The row of a test: its module in the suite, `process` for those of the program, or the unit tests.
fn suite(test: &str) -> String {
    let name = match test.split_once("::") {
        _ if test.contains("::tests::") => "(unit tests)",
        Some((module, _)) => module,
        None => "process",
    };
    name.to_owned()
}

fn table(columns: &[String], runs: &[Run]) -> String {
    let line = format!("| --- |{}", " --- |".repeat(columns.len()));
    let mut rows = vec![format!("| suite | {} |", columns.join(" | ")), line];
    let suites: BTreeSet<&String> = runs.iter().flat_map(|run| run.suites.keys()).collect();
    for suite in suites {
        let cells = runs.iter().map(|run| cell(run.suites.get(suite).copied().unwrap_or_default()));
        rows.push(format!("| {suite} | {} |", cells.collect::<Vec<_>>().join(" | ")));
    }
    let totals = runs.iter().map(|run| cell(run.total())).collect::<Vec<_>>().join(" | ");
    let seconds = runs.iter().map(|run| format!("{:.0}", run.seconds)).collect::<Vec<_>>().join(" | ");
    rows.push(format!("| all | {totals} |"));
    rows.push(format!("| seconds | {seconds} |"));
    let mut text = rows.join("\n") + "\n";
    let skipped: BTreeSet<&String> = runs.iter().flat_map(|run| &run.skipped).collect();
    if !skipped.is_empty() {
        text += "\nSkipped:\n\n";
        for test in skipped {
            let (name, reason) = test.split_once(": ").unwrap_or((test, ""));
            text += &format!("- `{name}`: {reason}\n");
        }
    }
    text
}

fn cell(count: Count) -> String {
    let parts = [(count.failed, "failed"), (count.skipped, "skipped")];
    let more = parts.iter().filter(|(number, _)| *number > 0).map(|(number, what)| format!(", {number} {what}"));
    format!("{} passed{}", count.passed, more.collect::<String>())
}

/// Holds README to the table, or writes it there.
fn compare(readme: &Path, columns: &[String], table: &str, write: bool) -> Result<(), String> {
    let text = std::fs::read_to_string(readme).map_err(|e| format!("{}: {e}", readme.display()))?;
    let [begin, end] = MARKS.map(|mark| text.find(mark));
    let (Some(begin), Some(end)) = (begin.map(|at| at + MARKS[0].len()), end) else {
        return Err("README.md has no place for the table".to_owned());
    };
    if write {
        if columns.len() < COLUMNS {
            return Err("README.md takes a table of all columns".to_owned());
        }
        let text = [&text[..begin], table, &text[end..]].concat();
        std::fs::write(readme, text).map_err(|e| format!("{}: {e}", readme.display()))
    } else if part(&text[begin..end], columns) != part(table, columns) {
        Err(format!("README.md has another table; write this one there with: {COMMAND} -- --write"))
    } else {
        Ok(())
    }
}

/// The rows of a table with these columns alone, without the seconds.
fn part(table: &str, columns: &[String]) -> Vec<Vec<String>> {
    let cells = |row: &str| row.trim_matches(['|', ' ']).split(" | ").map(str::to_owned).collect::<Vec<_>>();
    let rows: Vec<_> = table.lines().filter(|line| line.starts_with('|') && !line.contains("---")).map(cells).collect();
    let head = rows.first().cloned().unwrap_or_default();
    let kept = |at: usize| at == 0 || columns.contains(&head[at]);
    let rows = rows.into_iter().filter(|row| row[0] != "seconds" && row.len() == head.len());
    rows.map(|row| row.into_iter().enumerate().filter(|(at, _)| kept(*at)).map(|(_, cell)| cell).collect()).collect()
}

/// Prints to stdout; a reader that is gone is no reason to stop.
fn say(text: &str) {
    let _ = writeln!(std::io::stdout(), "{text}");
}
