//! The speed and memory of `transfer`: an export of a tenant, a dry run of the exported file, and an import.

use std::io::{BufRead, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use clap::Args;
use serde::{Deserialize, Serialize};
use tokio::process::Command;

use crate::http::ApiClient;
use crate::import::load;
use crate::stages::Stages;
use crate::system::{bar, empty, start, tenant};
use crate::tables::{self, section, thousands};
use crate::{Result, process};

/// The interval of reading a command's memory.
const MEMORY_INTERVAL: Duration = Duration::from_millis(50);

/// The options of the benchmark.
#[derive(Args)]
pub(crate) struct Options {
    /// The number of end users that are exported and checked.
    #[arg(long, default_value_t = 1_000_000)]
    end_users: u32,
    /// A database with these end users, such as target/bench/import/end-users of the benchmark `import`. The default is
    /// to load them without the API.
    #[arg(long, value_name = "DIR")]
    full: Option<PathBuf>,
    /// The number of end users that are imported into an empty tenant.
    #[arg(long, default_value_t = 20_000)]
    imported: u32,
    /// The directory of data and results. Stages with a result are skipped.
    #[arg(long, default_value = "target/bench/transfer")]
    data: PathBuf,
    /// Starts over: empties the directory first.
    #[arg(long)]
    fresh: bool,
    /// Writes docs/benchmarks/transfer.md.
    #[arg(long)]
    write: bool,
}

/// The duration and memory of a command.
#[derive(Serialize, Deserialize)]
struct Taken {
    end_users: u32,
    seconds: f64,
    /// The peak resident memory.
    peak_mb: f64,
}

/// Runs all stages that have no result yet.
pub(crate) async fn run(options: Options) -> Result<()> {
    let stages = Stages::open(&options.data, options.fresh)?;
    let Options { end_users, imported, .. } = options;
    let (own, elsewhere) = (options.data.join("full"), options.data.join("elsewhere"));
    let files = ["all.ndjson", "all.csv", "some.ndjson"].map(|name| options.data.join(name));
    let [all, table, some] = &files;
    let full = options.full.as_ref().unwrap_or(&own);
    if options.full.is_none() {
        let bar = bar("end users", end_users.into());
        stages.run(&format!("load-{end_users}"), async || load(full, end_users, end_users, &bar).await).await?;
    }
    let mut rows = Vec::new();
    for (format, file) in [("ndjson", all), ("csv", table)] {
        let stage = async || export(full, end_users, file).await;
        rows.push((format!("export, {format}"), stages.run(&format!("export-{end_users}-{format}"), stage).await?));
    }
    for (format, file) in [("ndjson", all), ("csv", table)] {
        let stage = async || transfer(end_users, &["import", "--dry-run", text(file)?], &[]).await;
        rows.push((
            format!("import --dry-run, {format}"),
            stages.run(&format!("check-{end_users}-{format}"), stage).await?,
        ));
    }
    for (command, arguments) in [("import", vec![]), ("import --create-only", vec!["--create-only"])] {
        let stage = async || {
            head(all, some, imported)?;
            import(&elsewhere, imported, some, &arguments).await
        };
        let name = format!("{command}-{end_users}-{imported}").replace(' ', "");
        let [first, repeated] = stages.run(&name, stage).await?;
        rows.push((format!("{command}, ndjson"), first));
        if arguments.is_empty() {
            rows.push((format!("{command} of the same file again"), repeated));
        }
    }
    tables::publish("transfer", &[report(&rows)], options.write)
}

async fn export(directory: &Path, end_users: u32, file: &Path) -> Result<Taken> {
    let local = start(directory, None).await?;
    let api = ApiClient::new(&local, &tenant(end_users))?;
    let taken = transfer(end_users, &["export", text(file)?], &api.environment()).await?;
    local.stop().await;
    Ok(taken)
}

/// Imports a file into an empty tenant, and once more into the same tenant.
async fn import(directory: &Path, end_users: u32, file: &Path, arguments: &[&str]) -> Result<[Taken; 2]> {
    empty(directory)?;
    let local = start(directory, None).await?;
    let api = ApiClient::new(&local, &tenant(end_users))?;
    let arguments = [&["import", "--restart", text(file)?], arguments].concat();
    let first = transfer(end_users, &arguments, &api.environment()).await?;
    let repeated = transfer(end_users, &arguments, &api.environment()).await?;
    let total = api.get("/api/EndUsers").await?.expect(200)?.body["totalCount"].clone();
    local.stop().await;
    if total != end_users {
        return Err(format!("{total} of {end_users} end users exist").into());
    }
    Ok([first, repeated])
}

/// Copies the first lines of a file.
fn head(from: &Path, to: &Path, lines: u32) -> Result<()> {
    let mut file = BufWriter::new(std::fs::File::create(to)?);
    for line in BufReader::new(std::fs::File::open(from)?).lines().take(lines as usize) {
        writeln!(file, "{}", line?)?;
    }
    Ok(file.flush()?)
}

/// Runs the `transfer` program beside this one to its end.
async fn transfer(end_users: u32, arguments: &[&str], environment: &[(&str, String)]) -> Result<Taken> {
    let program = std::env::current_exe()?.with_file_name("transfer");
    if !program.exists() {
        return Err(
            format!("{} is missing; build it with: cargo build --release -p transfer", program.display()).into()
        );
    }
    let mut command = Command::new(program);
    command.args(arguments).envs(environment.iter().cloned()).stdin(Stdio::null()).stderr(Stdio::null());
    let started = Instant::now();
    let mut child = command.kill_on_drop(true).spawn()?;
    let directory = PathBuf::from(format!("/proc/{}", child.id().ok_or("the command ended immediately")?));
    let mut peak_mb = 0_f64;
    let ended = loop {
        // If the process has just ended, the last value counts.
        peak_mb = process::peak(&directory).unwrap_or_default().max(peak_mb);
        if let Ok(ended) = tokio::time::timeout(MEMORY_INTERVAL, child.wait()).await {
            break ended?;
        }
    };
    let seconds = started.elapsed().as_secs_f64();
    if !ended.success() {
        return Err(format!("transfer {}: {ended}", arguments.join(" ")).into());
    }
    Ok(Taken { end_users, seconds, peak_mb })
}

fn text(path: &Path) -> Result<&str> {
    Ok(path.to_str().ok_or("the path is not UTF-8")?)
}

fn report(rows: &[(String, Taken)]) -> String {
    let rows = rows.iter().map(|(what, taken)| {
        let Taken { end_users, seconds, peak_mb } = taken;
        let rate = thousands((f64::from(*end_users) / seconds) as u64);
        vec![what.clone(), thousands((*end_users).into()), format!("{seconds:.1}"), rate, format!("{peak_mb:.0}")]
    });
    let names = ["end users", "s", "end users per second", "peak MB"].map(str::to_owned);
    section("Duration and memory of each command", "command", &names, rows.collect())
}
