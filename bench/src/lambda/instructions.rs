//! The number of instructions of a warm request, counted by valgrind. The number is reproducible, also on a busy
//! machine, so it can be compared with a recorded one.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use clap::Args;
use tokio::process::Command;

use super::measure::Running;
use super::subject::{self, Subject};
use crate::system::bar;
use crate::tables::thousands;
use crate::{Result, print_line};

/// The requests that are counted.
const REQUESTS: [&str; 3] = ["GET one", "byUid, e-mail", "list, first page"];
/// Invocations before the measurement, which do all one-time work, and invocations in the measurement.
const WARM_UP: u32 = 10;
const COUNTED: u32 = 20;
/// The tolerated increase over the record: another machine or a patch release of the compiler changes as much.
const TOLERANCE: f64 = 1.03;

/// The options of the command.
#[derive(Args)]
pub(crate) struct Options {
    /// The built functions.
    #[arg(long, value_name = "DIR", default_value = "target/lambda")]
    functions: PathBuf,
    /// The directory of the database. It is emptied first.
    #[arg(long, default_value = "target/bench/instructions")]
    data: PathBuf,
    /// Writes bench/instructions.json.
    #[arg(long)]
    write: bool,
}

/// Counts, and fails if a request takes more instructions than recorded.
pub(crate) async fn run(options: Options) -> Result<()> {
    let record = Path::new(env!("CARGO_MANIFEST_DIR")).join("instructions.json");
    let engine = subject::prepare(&options.data, 0, &bar("end users", 0)).await?;
    let mut counted = BTreeMap::new();
    for subject in subject::all(engine.url(), &[])?.iter().filter(|subject| REQUESTS.contains(&subject.request)) {
        let program = options.functions.join(&subject.program).join("bootstrap");
        let count = async |invocations| {
            let counted = count(subject, &program, &options.data, invocations).await;
            counted.map_err(|error| format!("{} under valgrind: {error}", subject.request))
        };
        let (before, all) = (count(WARM_UP).await?, count(WARM_UP + COUNTED).await?);
        counted.insert(subject.request.to_owned(), (all - before) / u64::from(COUNTED));
    }
    engine.stop().await;
    if options.write {
        std::fs::write(&record, serde_json::to_string_pretty(&counted)? + "\n")?;
    }
    let known: BTreeMap<String, u64> = serde_json::from_slice(&std::fs::read(&record)?)?;
    let mut worse = Vec::new();
    for (request, instructions) in &counted {
        let known = *known.get(request).ok_or_else(|| format!("{request} is not in instructions.json"))?;
        print_line(&format!("{request}: {} instructions, {} recorded", thousands(*instructions), thousands(known)));
        if *instructions as f64 > known as f64 * TOLERANCE {
            worse.push(request.as_str());
        }
    }
    if worse.is_empty() {
        return Ok(());
    }
    let worse = worse.join("; ");
    Err(format!("more instructions than recorded: {worse}; if this is intended, run the command again with --write")
        .into())
}

/// The instructions of a process from its start to its end, with this number of invocations.
async fn count(subject: &Subject, program: &Path, data: &Path, invocations: u32) -> Result<u64> {
    let out = data.join("callgrind.out");
    let mut command = Command::new("valgrind");
    command.arg("--tool=callgrind").arg(format!("--callgrind-out-file={}", out.display())).arg(program);
    let next = &mut 0;
    let (mut running, _) = Running::run(command, &subject.environment, subject, next).await?;
    running.invoke_often(invocations).await?;
    running.end().await?;
    let profile = std::fs::read_to_string(&out)?;
    let total = profile.lines().find_map(|line| line.strip_prefix("totals: "));
    Ok(total.ok_or("the output of valgrind has no total")?.trim().parse()?)
}
