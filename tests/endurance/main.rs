//! A sustained mixed load on `local` with the built functions as processes, while they, and it, are
//! killed; afterwards an audit reads back every write that was acknowledged.
//!
//! `cargo run -p tests --bin endurance -- [--seconds N] [--seed N] [--write]`, after
//! `cargo lambda build --release`. One half of the time the data is on disk in `local` itself, the other
//! half behind the proxy that makes trouble. It fails where anything is lost or untrue; with `--write`
//! the figures go into docs/reliability.md.

mod load;
mod system;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use fastrand::Rng;
use load::{Figures, TENANTS, Tenants};
use system::{Place, System};

/// How many clients there are at once.
const CLIENTS: u64 = 12;
/// Where the figures stand in the document.
const MARKS: [&str; 2] = ["<!-- endurance: begin -->\n", "<!-- endurance: end -->\n"];

struct Options {
    seconds: u64,
    seed: u64,
    write: bool,
}

fn options() -> Result<Options, String> {
    let mut options = Options { seconds: 60, seed: 1, write: false };
    let mut arguments = std::env::args().skip(1);
    while let Some(name) = arguments.next() {
        let mut number = || arguments.next().and_then(|n| n.parse().ok()).ok_or(format!("{name} wants a number"));
        match name.as_str() {
            "--seconds" => options.seconds = number()?,
            "--seed" => options.seed = number()?,
            "--write" => options.write = true,
            _ => return Err(format!("{name} is unknown; there are --seconds N, --seed N and --write")),
        }
    }
    Ok(options)
}

#[tokio::main]
async fn main() -> ExitCode {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    match run(&root).await {
        Ok(0) => ExitCode::SUCCESS,
        Ok(untrue) => {
            say(&format!("{untrue} findings"));
            ExitCode::FAILURE
        }
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "endurance: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Runs both halves; answers how much was found to be untrue.
async fn run(root: &Path) -> Result<usize, String> {
    let options = options()?;
    system::build(root)?;
    let mut halves = Vec::new();
    for (name, place) in [("data on disk in `local`", Place::Disk), ("behind the proxy", Place::BehindProxy)] {
        say(&format!("{name}, {} s", options.seconds / 2));
        let figures = half(root, place, &options).await?;
        figures.findings.iter().for_each(|finding| say(finding));
        halves.push((name, figures));
    }
    let table = table(&halves, options.seconds);
    say(&format!("\n{table}"));
    if options.write {
        write(&root.join("docs/reliability.md"), &table)?;
    }
    Ok(halves.iter().map(|(_, figures)| figures.findings.len()).sum())
}

async fn half(root: &Path, place: Place, options: &Options) -> Result<Figures, String> {
    let mut system = System::start(root, place, options.seed).await?;
    let tenants = Tenants::new(system.address(), options.seed);
    let until = Instant::now() + Duration::from_secs(options.seconds / 2);
    let clients = futures::future::join_all((0..CLIENTS).map(|client| tenants.client(client, until)));
    let (clients, ()) = futures::future::join(clients, wreak(&mut system, until, options.seed)).await;
    system.calm().await?;
    let mut figures = tenants.audit(clients).await;
    (figures.processes_killed, figures.restarts) = (system.processes_killed, system.restarts);
    figures.trouble = system.trouble();
    figures.findings.extend((1..=TENANTS).filter_map(|tenant| system.check_index(tenant).err()));
    Ok(figures)
}

/// Kills a function's process about eight times a second, and the whole system every few seconds.
async fn wreak(system: &mut System, until: Instant, seed: u64) {
    let mut rng = Rng::with_seed(seed);
    let mut whole = Instant::now() + Duration::from_secs(4);
    while Instant::now() < until {
        tokio::time::sleep(Duration::from_millis(rng.u64(50..200))).await;
        if Instant::now() > whole {
            system.kill_and_restart().await;
            whole = Instant::now() + Duration::from_secs(rng.u64(3..8));
        } else {
            system.kill_a_process(&mut rng);
        }
    }
}

/// A row: what it says, and of which number.
type Figure = (&'static str, fn(&Figures) -> Option<u64>);

fn table(halves: &[(&str, Figures)], seconds: u64) -> String {
    let names: Vec<_> = halves.iter().map(|(name, _)| *name).collect();
    let mut rows = vec![format!("| over {seconds} s | {} |", names.join(" | ")), "| --- | --- | --- |".to_owned()];
    let figures: [Figure; 12] = [
        ("requests", |f| Some(f.requests)),
        ("requests without a good answer: cut off, 500 of the gateway, 503", |f| Some(f.unanswered)),
        ("writes acknowledged", |f| Some(f.acknowledged)),
        ("reads checked meanwhile", |f| Some(f.checked)),
        ("database calls", |f| f.trouble.map(|(calls, _)| calls)),
        ("faults injected into them", |f| f.trouble.map(|(_, faults)| faults)),
        ("processes killed", |f| Some(f.processes_killed)),
        ("kills and restarts of the whole", |f| Some(f.restarts)),
        ("people audited", |f| Some(f.end_users)),
        ("identifiers audited", |f| Some(f.identifiers)),
        ("tickets audited", |f| Some(f.tickets)),
        ("lost, doubled, half-done or untrue", |f| Some(f.findings.len() as u64)),
    ];
    for (name, figure) in figures {
        let cells: Vec<_> = halves.iter().map(|(_, f)| figure(f).map_or("–".to_owned(), |n| n.to_string())).collect();
        rows.push(format!("| {name} | {} |", cells.join(" | ")));
    }
    rows.join("\n") + "\n"
}

fn write(document: &PathBuf, table: &str) -> Result<(), String> {
    let failed = |error: std::io::Error| format!("{}: {error}", document.display());
    let text = std::fs::read_to_string(document).map_err(failed)?;
    let place = (text.find(MARKS[0]), text.find(MARKS[1]));
    let (Some(begin), Some(end)) = place else { return Err(format!("{} has no place", document.display())) };
    let text = [&text[..begin + MARKS[0].len()], table, &text[end..]].concat();
    std::fs::write(document, text).map_err(failed)
}

/// Prints to stdout; a reader that is gone is no reason to stop.
fn say(text: &str) {
    let _ = writeln!(std::io::stdout(), "{text}");
}
