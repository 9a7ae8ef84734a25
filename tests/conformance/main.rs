//! The conformance report: the README's test command on every database and with every way to run the functions, as one
//! table.
//!
//! `cargo run -p tests --bin conformance` prints it, and fails where a test does or where docs/conformance.md holds
//! another table; `-- --write` writes it there. `-- --only "MiniStack, deployed"` makes one column. Seconds are not
//! compared.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

use tests::skips::{Need, SKIPS, reason};

/// A way to run the tests.
struct Column {
    name: &'static str,
    /// The script that runs the command with another database; `None`: the embedded one.
    script: Option<&'static str>,
    /// Whether `local` runs the built functions as processes.
    binaries: bool,
    /// Whether each test has a deployed stack.
    deployed: bool,
}

const COLUMNS: [Column; 5] = [
    Column { name: "embedded, in-process", script: None, binaries: false, deployed: false },
    Column { name: "embedded, binaries", script: None, binaries: true, deployed: false },
    Column { name: "MiniStack, in-process", script: Some("tests/ministack/run"), binaries: false, deployed: false },
    Column { name: "MiniStack, binaries", script: Some("tests/ministack/run"), binaries: true, deployed: false },
    Column { name: "MiniStack, deployed", script: Some("tests/deployed/run"), binaries: false, deployed: true },
];

/// The page that holds the table, and the marks around it.
const PAGE: &str = "docs/conformance.md";
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
    let arguments: Vec<_> = std::env::args().collect();
    let only = arguments.iter().position(|argument| argument == "--only").map(|at| arguments.get(at + 1).cloned());
    let only = only.map(Option::unwrap_or_default);
    match report(only.as_deref(), arguments.iter().any(|argument| argument == "--write")) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "conformance: {error}");
            ExitCode::FAILURE
        }
    }
}

fn report(only: Option<&str>, write: bool) -> Result<(), String> {
    let columns: Vec<_> = COLUMNS.iter().filter(|column| only.is_none_or(|only| only == column.name)).collect();
    if columns.is_empty() {
        return Err(format!("the columns are {}", COLUMNS.map(|column| column.name).join("; ")));
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().map_err(|e| e.to_string())?;
    let functions = root.join("target/lambda");
    if !functions.is_dir() {
        return Err(format!("{} is missing; build it with: cargo lambda build --release", functions.display()));
    }
    let built = cargo(&root).arg("--no-run").status().map_err(|e| format!("cargo cannot be run: {e}"))?;
    if !built.success() {
        return Err("the tests do not build".to_owned());
    }
    let mut runs = Vec::new();
    for column in &columns {
        say(column.name);
        runs.push(column.run(&root, &functions).map_err(|e| format!("{}: {e}", column.name))?);
    }
    let table = table(&columns, &runs);
    say(&format!("\n{table}"));
    let total: Count = runs.iter().map(Run::total).sum();
    // The closing line that CI reads.
    say(&format!("{} passed, {} failed, {} skipped", total.passed, total.failed, total.skipped));
    if total.failed > 0 {
        return Err("tests failed".to_owned());
    }
    compare(&root.join(PAGE), &columns, &table, write)
}

/// The README's test command.
fn cargo(root: &Path) -> Command {
    let mut command = Command::new(env!("CARGO"));
    command.args(["test", "--workspace", "--locked", "--no-fail-fast"]).current_dir(root);
    // The model's sequences are the same in all columns; a fifth of them shows that.
    command.env("MODEL_SEQUENCES", "40");
    command
}

/// A command of the black-box suite alone.
fn suite_alone(root: &Path) -> Command {
    let mut command = Command::new(env!("CARGO"));
    command.args(["test", "--locked", "--no-fail-fast", "-p", "tests", "--test", "suite", "--"]).current_dir(root);
    command
}

impl Column {
    /// Runs the tests and reads their results; prints what did not pass.
    fn run(&self, root: &Path, functions: &Path) -> Result<Run, String> {
        let mut run = Run::default();
        let mut command = cargo(root);
        if self.deployed {
            // What is not of the black-box suite starts no system; what needs `local` is skipped by name.
            command = suite_alone(root);
            run.skip_what_needs_local(root)?;
            command
                .args(SKIPS.iter().filter(|(_, need, _)| *need == Need::Local).flat_map(|(test, ..)| ["--skip", test]));
        } else {
            command.arg("--");
        }
        command.arg("--show-output");
        if let Some(script) = self.script {
            let mut wrapped = Command::new(root.join(script));
            wrapped.arg(command.get_program()).args(command.get_args()).current_dir(root);
            wrapped.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
            command = wrapped;
        }
        command.env_remove("AWS_ENDPOINT_URL_DYNAMODB").env_remove("LAMBDA_FUNCTIONS");
        if self.binaries {
            command.env("LAMBDA_FUNCTIONS", functions);
        }
        run.read_output_of(command)?;
        Ok(run)
    }
}

impl Run {
    /// Counts the tests that a deployed stack cannot serve.
    fn skip_what_needs_local(&mut self, root: &Path) -> Result<(), String> {
        let listed = suite_alone(root).args(["--list", "--format", "terse"]).output().map_err(|e| e.to_string())?;
        let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
        for test in listed.lines().filter_map(|line| line.strip_suffix(": test")) {
            if let Some(reason) = reason(test, Need::Local) {
                self.suites.entry(suite(test)).or_default().skipped += 1;
                self.skipped.insert(format!("{test}: {reason}"));
            }
        }
        Ok(())
    }

    fn read_output_of(&mut self, mut command: Command) -> Result<(), String> {
        let failed = |error: std::io::Error| error.to_string();
        let mut child = command.stdout(Stdio::piped()).spawn().map_err(failed)?;
        let mut failing = false;
        for line in child.stdout.take().map(BufReader::new).into_iter().flat_map(BufRead::lines) {
            let line = line.map_err(failed)?;
            self.read(&line);
            failing = (failing || line == "failures:") && !line.starts_with("running ");
            if failing {
                say(&line);
            }
        }
        let (ended, total) = (child.wait().map_err(failed)?, self.total());
        if !ended.success() && total.failed == 0 || total.passed == 0 {
            return Err(format!("the tests did not run to their end ({ended})"));
        }
        Ok(())
    }

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

fn table(columns: &[&Column], runs: &[Run]) -> String {
    let line = format!("| --- |{}", " --- |".repeat(columns.len()));
    let mut rows =
        vec![format!("| suite | {} |", columns.iter().map(|column| column.name).collect::<Vec<_>>().join(" | ")), line];
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
    match count {
        Count { passed: 0, failed: 0, skipped: 0 } => "–".to_owned(),
        Count { passed: 0, failed: 0, skipped } => format!("{skipped} skipped"),
        Count { passed, .. } => format!("{passed} passed{}", more.collect::<String>()),
    }
}

/// Compares the page with the table, or writes the table there.
fn compare(page: &Path, columns: &[&Column], table: &str, write: bool) -> Result<(), String> {
    let text = std::fs::read_to_string(page).map_err(|e| format!("{}: {e}", page.display()))?;
    let [begin, end] = MARKS.map(|mark| text.find(mark));
    let (Some(begin), Some(end)) = (begin.map(|at| at + MARKS[0].len()), end) else {
        return Err(format!("{PAGE} has no place for the table"));
    };
    if write {
        if columns.len() < COLUMNS.len() {
            return Err(format!("{PAGE} takes a table of all columns"));
        }
        let text = [&text[..begin], table, &text[end..]].concat();
        std::fs::write(page, text).map_err(|e| format!("{}: {e}", page.display()))
    } else if part(&text[begin..end], columns) != part(table, columns) {
        Err(format!("{PAGE} has another table; write this one there with: {COMMAND} -- --write"))
    } else {
        Ok(())
    }
}

/// The rows of a table with these columns alone, without the seconds.
fn part(table: &str, columns: &[&Column]) -> Vec<Vec<String>> {
    let cells = |row: &str| row.trim_matches(['|', ' ']).split(" | ").map(str::to_owned).collect::<Vec<_>>();
    let rows: Vec<_> = table.lines().filter(|line| line.starts_with('|') && !line.contains("---")).map(cells).collect();
    let head = rows.first().cloned().unwrap_or_default();
    let kept = |at: usize| at == 0 || columns.iter().any(|column| column.name == head[at]);
    let rows = rows.into_iter().filter(|row| row[0] != "seconds" && row.len() == head.len());
    rows.map(|row| row.into_iter().enumerate().filter(|(at, _)| kept(*at)).map(|(_, cell)| cell).collect()).collect()
}

/// Prints to stdout; a reader that is gone is no reason to stop.
fn say(text: &str) {
    let _ = writeln!(std::io::stdout(), "{text}");
}
