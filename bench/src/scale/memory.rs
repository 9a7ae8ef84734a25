//! What the largest search takes of a Lambda function's memory and time.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::http::{Caller, list};
use super::people;
use crate::Outcome;

/// The function whose process is looked at.
const FUNCTION: &str = "list-end-users";
/// A vCPU is what a function of so many MB gets; ours has 256.
const MB_PER_VCPU: f64 = 1_769.0;
const MB: f64 = 256.0;
/// The clock ticks of a second, in which /proc counts: the same on every Linux that Rust runs on.
const TICKS: f64 = 100.0;

/// What one request took.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Footprint {
    pub(crate) request: String,
    pub(crate) status: u16,
    /// The process's greatest resident memory so far.
    pub(crate) peak_mb: f64,
    pub(crate) cpu_seconds: f64,
    /// The CPU time at the share of a vCPU that a function of 256 MB gets.
    pub(crate) lambda_seconds: f64,
    pub(crate) wall_seconds: f64,
}

/// Measures the search that finds 30 % of a tenant, whose functions run as processes.
pub(crate) async fn measure(caller: &Caller, found: u32) -> Outcome<Vec<Footprint>> {
    caller.get("/api/EndUsers").await?.expect(200)?;
    let process = process()?;
    let mut all = Vec::new();
    for (request, order, page) in [
        ("search, 30 % found", "endUserID", 1),
        ("search, 30 % found, by lastname", "lastname", 1),
        ("search, 30 % found, middle page by lastname", "lastname", found / 20),
    ] {
        let (before, started): (Duration, _) = (cpu(&process)?, Instant::now());
        let answer = caller.get(&list(people::FREQUENT, order, false, page)).await?;
        let wall_seconds = started.elapsed().as_secs_f64();
        let cpu_seconds = (cpu(&process)? - before).as_secs_f64();
        let lambda_seconds = cpu_seconds * MB_PER_VCPU / MB;
        let (request, status, peak_mb) = (request.to_owned(), answer.status, peak(&process)?);
        all.push(Footprint { request, status, peak_mb, cpu_seconds, lambda_seconds, wall_seconds });
    }
    Ok(all)
}

/// The directory in /proc of the function's process, a child of this one.
fn process() -> Outcome<PathBuf> {
    let mine = std::process::id().to_string();
    let ours = std::fs::read_dir("/proc")?.flatten().map(|entry| entry.path()).find(|path| {
        let program = std::fs::read_link(path.join("exe")).unwrap_or_default();
        let parent = stat(path).ok().and_then(|fields| fields.get(1).cloned());
        program.ends_with(format!("{FUNCTION}/bootstrap")) && parent.as_ref() == Some(&mine)
    });
    Ok(ours.ok_or("the function runs in no process of its own")?)
}

/// The fields of /proc/…/stat behind the program's name.
fn stat(process: &std::path::Path) -> Outcome<Vec<String>> {
    let stat = std::fs::read_to_string(process.join("stat"))?;
    let (_, fields) = stat.rsplit_once(')').ok_or("stat without a name")?;
    Ok(fields.split_whitespace().map(str::to_owned).collect())
}

/// User and system time so far: fields 14 and 15 of proc(5), of which two stand before the first here.
fn cpu(process: &std::path::Path) -> Outcome<Duration> {
    let fields = stat(process)?;
    let ticks = |at: usize| -> Outcome<f64> { Ok(fields.get(at).ok_or("a short stat")?.parse()?) };
    Ok(Duration::from_secs_f64((ticks(11)? + ticks(12)?) / TICKS))
}

fn peak(process: &std::path::Path) -> Outcome<f64> {
    let status = std::fs::read_to_string(process.join("status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).ok_or("no VmHWM")?;
    let kilobytes: f64 = line.trim().trim_end_matches(" kB").parse()?;
    Ok(kilobytes / 1_024.0)
}
