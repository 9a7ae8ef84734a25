//! The conformance report: one table with the results of README's test command on every database and with every way to
//! run the functions.
//!
//! `cargo run -p tests --bin conformance` prints the table. It fails if a test fails or if docs/conformance.md has a
//! different table; `-- --write` writes the table there. `-- --only "MiniStack, deployed"` makes one column.

mod page;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

use tests::skips::{Need, SKIPS, reason};

/// A way to run the tests.
struct Column {
    name: &'static str,
    /// The script that runs the command with another database; `None` means the embedded one.
    script: Option<&'static str>,
    /// Whether `local` runs the built functions as processes.
    binaries: bool,
    /// Whether each test deploys a stack.
    deployed: bool,
}

const COLUMNS: [Column; 5] = [
    Column { name: "embedded, in-process", script: None, binaries: false, deployed: false },
    Column { name: "embedded, binaries", script: None, binaries: true, deployed: false },
    Column { name: "MiniStack, in-process", script: Some("tests/ministack/run"), binaries: false, deployed: false },
    Column { name: "MiniStack, binaries", script: Some("tests/ministack/run"), binaries: true, deployed: false },
    Column { name: "MiniStack, deployed", script: Some("tests/deployed/run"), binaries: false, deployed: true },
];

/// The numbers of tests of one suite.
#[derive(Clone, Copy, Default)]
struct TestCounts {
    passed: u32,
    failed: u32,
    skipped: u32,
}

/// The results of all suites in one column.
#[derive(Default)]
struct ColumnResult {
    suites: BTreeMap<String, TestCounts>,
    seconds: f64,
    /// The skipped tests with their reasons, as `test: reason`.
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
    let mut results = Vec::new();
    for column in &columns {
        print_line(column.name);
        results.push(column.run(&root, &functions).map_err(|e| format!("{}: {e}", column.name))?);
    }
    let table = page::table(&columns, &results);
    print_line(&format!("\n{table}"));
    let total: TestCounts = results.iter().map(ColumnResult::total).sum();
    // CI reads this line.
    print_line(&format!("{} passed, {} failed, {} skipped", total.passed, total.failed, total.skipped));
    if total.failed > 0 {
        return Err("tests failed".to_owned());
    }
    page::compare(&root.join(page::PAGE), &columns, &table, write)
}

/// The README's test command.
fn cargo(root: &Path) -> Command {
    let mut command = Command::new(env!("CARGO"));
    command.args(["test", "--workspace", "--locked", "--no-fail-fast"]).current_dir(root);
    // A fifth of the model's sequences, because they are the same in all columns.
    command.env("MODEL_SEQUENCES", "40");
    command
}

/// The test command of only the black-box suite.
fn suite_command(root: &Path) -> Command {
    let mut command = Command::new(env!("CARGO"));
    command.args(["test", "--locked", "--no-fail-fast", "-p", "tests", "--test", "suite", "--"]).current_dir(root);
    command
}

impl Column {
    /// Runs the tests and reads their results. Prints the output of failures.
    fn run(&self, root: &Path, functions: &Path) -> Result<ColumnResult, String> {
        let mut result = ColumnResult::default();
        let mut command = cargo(root);
        if self.deployed {
            // Only the black-box suite starts a system. Tests that require `local` are skipped by name.
            command = suite_command(root);
            result.skip_local_tests(root)?;
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
        result.read_output_of(command)?;
        Ok(result)
    }
}

impl ColumnResult {
    /// Counts the tests that require `local` as skipped.
    fn skip_local_tests(&mut self, root: &Path) -> Result<(), String> {
        let listed = suite_command(root).args(["--list", "--format", "terse"]).output().map_err(|e| e.to_string())?;
        let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
        for test in listed.lines().filter_map(|line| line.strip_suffix(": test")) {
            if let Some(reason) = reason(test, Need::Local) {
                self.suites.entry(suite(test)).or_default().skipped += 1;
                self.skipped.insert(format!("{test}: {reason}"));
            }
        }
        Ok(())
    }

    /// Runs a test command and counts the results in its output.
    fn read_output_of(&mut self, mut command: Command) -> Result<(), String> {
        let failed = |error: std::io::Error| error.to_string();
        let mut child = command.stdout(Stdio::piped()).spawn().map_err(failed)?;
        let mut failing = false;
        for line in child.stdout.take().map(BufReader::new).into_iter().flat_map(BufRead::lines) {
            let line = line.map_err(failed)?;
            self.read(&line);
            failing = (failing || line == "failures:") && !line.starts_with("running ");
            if failing {
                print_line(&line);
            }
        }
        let (ended, total) = (child.wait().map_err(failed)?, self.total());
        if !ended.success() && total.failed == 0 || total.passed == 0 {
            return Err(format!("the tests did not complete ({ended})"));
        }
        Ok(())
    }

    /// Counts the result in a line of libtest's output.
    fn read(&mut self, line: &str) {
        if let Some((name, result)) = line.strip_prefix("test ").and_then(|test| test.split_once(" ... ")) {
            let count = self.suites.entry(suite(name)).or_default();
            match result {
                "ok" => count.passed += 1,
                _ => count.failed += 1,
            }
        } else if let Some(skipped) = line.strip_prefix("SKIPPED ") {
            // libtest counts a skipped test as passed.
            let count = self.suites.entry(suite(skipped)).or_default();
            count.passed -= 1;
            count.skipped += 1;
            self.skipped.insert(skipped.to_owned());
        } else if let Some((_, seconds)) = line.split_once("; finished in ") {
            self.seconds += seconds.trim_end_matches('s').parse::<f64>().unwrap_or_default();
        }
    }

    fn total(&self) -> TestCounts {
        self.suites.values().copied().sum()
    }
}

impl std::iter::Sum for TestCounts {
    fn sum<I: Iterator<Item = Self>>(counts: I) -> Self {
        counts.fold(Self::default(), |a, b| Self {
            passed: a.passed + b.passed,
            failed: a.failed + b.failed,
            skipped: a.skipped + b.skipped,
        })
    }
}

/// The row of a test: its module, `process` for tests without a module, or the unit tests.
fn suite(test: &str) -> String {
    let name = match test.split_once("::") {
        _ if test.contains("::tests::") => "(unit tests)",
        Some((module, _)) => module,
        None => "process",
    };
    name.to_owned()
}

/// Prints a line to stdout. A closed pipe is not an error.
fn print_line(text: &str) {
    let _ = writeln!(std::io::stdout(), "{text}");
}
