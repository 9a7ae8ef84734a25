//! CPU time and memory of processes and threads, from /proc.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::Result;

/// The memory in MB with which Lambda gives a function one vCPU. The share of a vCPU is proportional to memory.
pub(crate) const MB_PER_VCPU: f64 = 1_769.0;

/// The directory in /proc of a thread of this process.
pub(crate) fn of_thread(name: &str) -> Result<PathBuf> {
    let mut threads = std::fs::read_dir("/proc/self/task")?.flatten().map(|entry| entry.path());
    let named = |thread: &PathBuf| std::fs::read_to_string(thread.join("comm")).is_ok_and(|comm| comm.trim() == name);
    Ok(threads.find(named).ok_or("no such thread")?)
}

/// The directory in /proc of a function's process, which is a child of this process.
pub(crate) fn of_function(name: &str) -> Result<PathBuf> {
    let mine = std::process::id().to_string();
    let ours = std::fs::read_dir("/proc")?.flatten().map(|entry| entry.path()).find(|path| {
        let program = std::fs::read_link(path.join("exe")).unwrap_or_default();
        let parent = stat(path).ok().and_then(|fields| fields.get(1).cloned());
        program.ends_with(format!("{name}/bootstrap")) && parent.as_ref() == Some(&mine)
    });
    Ok(ours.ok_or("the function does not run as a process")?)
}

/// The fields of /proc/…/stat after the name of the program.
fn stat(process: &Path) -> Result<Vec<String>> {
    let stat = std::fs::read_to_string(process.join("stat"))?;
    let (_, fields) = stat.rsplit_once(')').ok_or("stat without a name")?;
    Ok(fields.split_whitespace().map(str::to_owned).collect())
}

/// The user and system time of a thread, or of all current threads of a process.
pub(crate) fn cpu(of: &Path) -> Result<Duration> {
    let tasks = of.join("task");
    if tasks.exists() {
        let threads = std::fs::read_dir(tasks)?.flatten();
        return threads.map(|thread| cpu(&thread.path())).sum();
    }
    let stat = std::fs::read_to_string(of.join("schedstat"))?;
    Ok(Duration::from_nanos(stat.split(' ').next().unwrap_or_default().parse()?))
}

/// The peak resident memory, in MB.
pub(crate) fn peak(process: &Path) -> Result<f64> {
    let status = std::fs::read_to_string(process.join("status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).ok_or("no VmHWM")?;
    let kilobytes: f64 = line.trim().trim_end_matches(" kB").parse()?;
    Ok(kilobytes / 1_024.0)
}
