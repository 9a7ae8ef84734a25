//! A share of a CPU, as Lambda gives it with memory.

use std::fs;
use std::path::{Path, PathBuf};

use crate::Outcome;
use crate::process::MB_PER_VCPU;

/// How often the share is given out anew, in µs.
const PERIOD: f64 = 20_000.0;

/// A control group of Linux for processes that share what a function of some memory gets.
pub(crate) struct Quota(PathBuf);

impl Quota {
    /// For a function of so many MB. It takes root, and the cpu controller of version 1 or 2.
    pub(crate) fn new(mb: u32) -> Outcome<Self> {
        let share = (PERIOD * f64::from(mb) / MB_PER_VCPU).round();
        let name = format!("end-users-bench-{}-{mb}", std::process::id());
        let first = Path::new("/sys/fs/cgroup/cpu");
        let (groups, settings) = if first.exists() {
            (first, vec![("cpu.cfs_period_us", PERIOD.to_string()), ("cpu.cfs_quota_us", share.to_string())])
        } else {
            (Path::new("/sys/fs/cgroup"), vec![("cpu.max", format!("{share} {PERIOD}"))])
        };
        let quota = Self(groups.join(name));
        fs::create_dir(&quota.0)?;
        for (setting, value) in settings {
            fs::write(quota.0.join(setting), value)?;
        }
        Ok(quota)
    }

    /// From now on a process has no more than that.
    pub(crate) fn hold(&self, process: u32) -> Outcome<()> {
        Ok(fs::write(self.0.join("cgroup.procs"), process.to_string())?)
    }
}

impl Drop for Quota {
    fn drop(&mut self) {
        // It goes when its last process is gone, which takes a moment.
        for _ in 0..100 {
            if fs::remove_dir(&self.0).is_ok() {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
    }
}
