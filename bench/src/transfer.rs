//! The commands of `transfer` at size: an export of a tenant, a check of the file that it made, and an import.

use std::io::{BufRead, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use clap::Args;
use serde::{Deserialize, Serialize};
use tokio::process::Command;

use crate::http::Caller;
use crate::import::load;
use crate::stages::Stages;
use crate::system::{bar, empty, start, tenant};
use crate::tables::{self, section, thousands};
use crate::{Outcome, process};

/// How often is looked how much memory a command has.
const LOOK: Duration = Duration::from_millis(50);

/// How many end users are moved, and where data is kept.
#[derive(Args)]
pub(crate) struct Options {
    /// How many end users are exported, and checked.
    #[arg(long, default_value_t = 1_000_000)]
    end_users: u32,
    /// A database that holds them already, as `import` leaves one in target/bench/import/end users; without it
    /// they are loaded past the API.
    #[arg(long, value_name = "DIR")]
    full: Option<PathBuf>,
    /// How many of them are imported into an empty tenant.
    #[arg(long, default_value_t = 20_000)]
    imported: u32,
    /// Where data and results are kept; what is there is not done again.
    #[arg(long, default_value = "target/bench/transfer")]
    data: PathBuf,
    /// Starts over.
    #[arg(long)]
    fresh: bool,
    /// Writes docs/benchmarks/transfer.md.
    #[arg(long)]
    write: bool,
}

/// What a command took.
#[derive(Serialize, Deserialize)]
struct Taken {
    end_users: u32,
    seconds: f64,
    /// The greatest resident memory.
    peak_mb: f64,
}

/// Measures all, or what is left of it.
pub(crate) async fn run(options: Options) -> Outcome<()> {
    let stages = Stages::open(&options.data, options.fresh)?;
    let Options { end_users, imported, .. } = options;
    let (own, elsewhere) = (options.data.join("full"), options.data.join("elsewhere"));
    let files = ["all.ndjson", "all.csv", "some.ndjson"].map(|name| options.data.join(name));
    let [all, table, some] = &files;
    let full = options.full.as_ref().unwrap_or(&own);
    if options.full.is_none() {
        let bar = bar("people", end_users.into());
        stages.run(&format!("load-{end_users}"), async || load(full, end_users, end_users, &bar).await).await?;
    }
    let mut rows = Vec::new();
    for (format, file) in [("ndjson", all), ("csv", table)] {
        let stage = async || export(full, end_users, file).await;
        rows.push((format!("export, {format}"), stages.run(&format!("export-{end_users}-{format}"), stage).await?));
    }
    for (format, file) in [("ndjson", all), ("csv", table)] {
        let stage = async || taken(end_users, &["import", "--dry-run", text(file)?], &[]).await;
        rows.push((
            format!("import --dry-run, {format}"),
            stages.run(&format!("check-{end_users}-{format}"), stage).await?,
        ));
    }
    let stage = async || {
        head(all, some, imported)?;
        import(&elsewhere, imported, some).await
    };
    rows.push(("import, ndjson".to_owned(), stages.run(&format!("import-{end_users}-{imported}"), stage).await?));
    tables::publish("transfer", &[report(&rows)], options.write)
}

async fn export(directory: &Path, end_users: u32, file: &Path) -> Outcome<Taken> {
    let local = start(directory, None).await?;
    let caller = Caller::new(&local, &tenant(end_users))?;
    let taken = taken(end_users, &["export", text(file)?], &caller.environment()).await?;
    local.stop().await;
    Ok(taken)
}

/// Into an empty tenant.
async fn import(directory: &Path, end_users: u32, file: &Path) -> Outcome<Taken> {
    empty(directory)?;
    let local = start(directory, None).await?;
    let caller = Caller::new(&local, &tenant(end_users))?;
    let taken = taken(end_users, &["import", "--restart", text(file)?], &caller.environment()).await?;
    let total = caller.get("/api/EndUsers").await?.expect(200)?.body["totalCount"].clone();
    local.stop().await;
    if total != end_users {
        return Err(format!("{total} of {end_users} are there").into());
    }
    Ok(taken)
}

/// The first lines of a file.
fn head(from: &Path, to: &Path, lines: u32) -> Outcome<()> {
    let mut file = BufWriter::new(std::fs::File::create(to)?);
    for line in BufReader::new(std::fs::File::open(from)?).lines().take(lines as usize) {
        writeln!(file, "{}", line?)?;
    }
    Ok(file.flush()?)
}

/// Runs the command built beside this one to its end.
async fn taken(end_users: u32, arguments: &[&str], environment: &[(&str, String)]) -> Outcome<Taken> {
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
    let directory = PathBuf::from(format!("/proc/{}", child.id().ok_or("it ended at once")?));
    let mut peak_mb = 0_f64;
    let ended = loop {
        // Where it ends just now, the last look counts.
        peak_mb = process::peak(&directory).unwrap_or_default().max(peak_mb);
        if let Ok(ended) = tokio::time::timeout(LOOK, child.wait()).await {
            break ended?;
        }
    };
    let seconds = started.elapsed().as_secs_f64();
    if !ended.success() {
        return Err(format!("transfer {}: {ended}", arguments.join(" ")).into());
    }
    Ok(Taken { end_users, seconds, peak_mb })
}

fn text(path: &Path) -> Outcome<&str> {
    Ok(path.to_str().ok_or("the path is no text")?)
}

fn report(rows: &[(String, Taken)]) -> String {
    let rows = rows.iter().map(|(what, taken)| {
        let Taken { end_users, seconds, peak_mb } = taken;
        let rate = thousands((f64::from(*end_users) / seconds) as u64);
        vec![what.clone(), thousands((*end_users).into()), format!("{seconds:.1}"), rate, format!("{peak_mb:.0}")]
    });
    let names = ["people", "s", "people a second", "peak MB"].map(str::to_owned);
    section("What each command takes", "command", &names, rows.collect())
}
