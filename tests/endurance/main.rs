//! The endurance run: a sustained mixed load on `local` with the built functions as processes, while the processes and
//! `local` itself are killed. Afterwards an audit reads back every acknowledged write.
//!
//! `cargo run -p tests --bin endurance -- [--seconds N] [--seed N] [--write]`, after `cargo lambda build --release`. In
//! the first half the data is on disk in `local`, in the second half behind a proxy that injects faults. The run fails
//! if the audit finds a contradiction. `--write` writes the figures into docs/reliability.md.

mod audit;
mod load;
mod system;
mod tenants;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use audit::LoadReport;
use fastrand::Rng;
use load::LoadClient;
use system::{DataLocation, SystemUnderLoad};
use tenants::{TENANTS, Tenants};

/// The number of concurrent clients.
const CLIENTS: u64 = 12;
/// The markers around the figures in the document.
const MARKERS: [&str; 2] = ["<!-- endurance: begin -->\n", "<!-- endurance: end -->\n"];

struct Arguments {
    seconds: u64,
    seed: u64,
    write: bool,
}

fn arguments() -> Result<Arguments, String> {
    let mut parsed = Arguments { seconds: 60, seed: 1, write: false };
    let mut arguments = std::env::args().skip(1);
    while let Some(name) = arguments.next() {
        let mut number = || arguments.next().and_then(|n| n.parse().ok()).ok_or(format!("{name} requires a number"));
        match name.as_str() {
            "--seconds" => parsed.seconds = number()?,
            "--seed" => parsed.seed = number()?,
            "--write" => parsed.write = true,
            _ => return Err(format!("{name} is unknown; the options are --seconds N, --seed N and --write")),
        }
    }
    Ok(parsed)
}

#[tokio::main]
async fn main() -> ExitCode {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    match run(&root).await {
        Ok(0) => ExitCode::SUCCESS,
        Ok(findings) => {
            print_line(&format!("{findings} findings"));
            ExitCode::FAILURE
        }
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "endurance: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Runs both halves and returns the number of findings.
async fn run(root: &Path) -> Result<usize, String> {
    let arguments = arguments()?;
    system::build(root)?;
    let mut halves = Vec::new();
    for (name, location) in
        [("data on disk in `local`", DataLocation::Disk), ("behind the proxy", DataLocation::BehindProxy)]
    {
        print_line(&format!("{name}, {} s", arguments.seconds / 2));
        let figures = run_half(root, location, &arguments).await?;
        figures.findings.iter().for_each(|finding| print_line(finding));
        halves.push((name, figures));
    }
    let table = table(&halves, arguments.seconds);
    print_line(&format!("\n{table}"));
    if arguments.write {
        write(&root.join("docs/reliability.md"), &table)?;
    }
    Ok(halves.iter().map(|(_, figures)| figures.findings.len()).sum())
}

async fn run_half(root: &Path, location: DataLocation, arguments: &Arguments) -> Result<LoadReport, String> {
    let mut system = SystemUnderLoad::start(root, location, arguments.seed).await?;
    let tenants = Tenants::new(system.address());
    let end = Instant::now() + Duration::from_secs(arguments.seconds / 2);
    let clients =
        futures::future::join_all((0..CLIENTS).map(|number| LoadClient::run(&tenants, number, arguments.seed, end)));
    let (clients, ()) = futures::future::join(clients, kill_at_random(&mut system, end, arguments.seed)).await;
    system.stop_faults().await?;
    let mut figures = tenants.audit(clients).await;
    (figures.processes_killed, figures.restarts) = (system.processes_killed, system.restarts);
    figures.calls_and_faults = system.calls_and_faults();
    figures.findings.extend((1..=TENANTS).filter_map(|tenant| system.check_index(tenant).err()));
    Ok(figures)
}

/// Kills the process of a function about eight times a second, and the whole system every 3 to 7 seconds.
async fn kill_at_random(system: &mut SystemUnderLoad, end: Instant, seed: u64) {
    let mut rng = Rng::with_seed(seed);
    let mut next_restart = Instant::now() + Duration::from_secs(4);
    while Instant::now() < end {
        tokio::time::sleep(Duration::from_millis(rng.u64(50..200))).await;
        if Instant::now() > next_restart {
            system.kill_and_restart().await;
            next_restart = Instant::now() + Duration::from_secs(rng.u64(3..8));
        } else {
            system.kill_a_process(&mut rng);
        }
    }
}

/// A row of the table: its name, and its number for one half.
type TableRow = (&'static str, fn(&LoadReport) -> Option<u64>);

fn table(halves: &[(&str, LoadReport)], seconds: u64) -> String {
    let names: Vec<_> = halves.iter().map(|(name, _)| *name).collect();
    let mut rows = vec![format!("| over {seconds} s | {} |", names.join(" | ")), "| --- | --- | --- |".to_owned()];
    let table_rows: [TableRow; 12] = [
        ("requests", |f| Some(f.requests)),
        ("requests that failed: no response, 500 of the gateway, 503", |f| Some(f.failed)),
        ("writes acknowledged", |f| Some(f.acknowledged)),
        ("reads checked during the load", |f| Some(f.checked)),
        ("database calls", |f| f.calls_and_faults.map(|(calls, _)| calls)),
        ("faults injected into them", |f| f.calls_and_faults.map(|(_, faults)| faults)),
        ("processes killed", |f| Some(f.processes_killed)),
        ("kills and restarts of `local`", |f| Some(f.restarts)),
        ("end users audited", |f| Some(f.end_users)),
        ("identifiers audited", |f| Some(f.identifiers)),
        ("tickets audited", |f| Some(f.tickets)),
        ("findings: lost, duplicate, partial or wrong", |f| Some(f.findings.len() as u64)),
    ];
    for (name, figure) in table_rows {
        let cells: Vec<_> = halves.iter().map(|(_, f)| figure(f).map_or("–".to_owned(), |n| n.to_string())).collect();
        rows.push(format!("| {name} | {} |", cells.join(" | ")));
    }
    rows.join("\n") + "\n"
}

fn write(document: &PathBuf, table: &str) -> Result<(), String> {
    let failed = |error: std::io::Error| format!("{}: {error}", document.display());
    let text = std::fs::read_to_string(document).map_err(failed)?;
    let markers = (text.find(MARKERS[0]), text.find(MARKERS[1]));
    let (Some(begin), Some(end)) = markers else {
        return Err(format!("{} has no markers for the figures", document.display()));
    };
    let text = [&text[..begin + MARKERS[0].len()], table, &text[end..]].concat();
    std::fs::write(document, text).map_err(failed)
}

/// Prints a line to stdout. A closed pipe is not an error.
fn print_line(text: &str) {
    let _ = writeln!(std::io::stdout(), "{text}");
}
