//! A share of a CPU, as Lambda gives it with memory.

use std::fs;
use std::path::PathBuf;

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
        let first = PathBuf::from("/sys/fs/cgroup/cpu");
        let quota = match first.exists() {
            true => Self(first.join(name)),
            false => Self(PathBuf::from("/sys/fs/cgroup").join(name)),
        };
        fs::create_dir(&quota.0)?;
        match first.exists() {
            true => {
                fs::write(quota.0.join("cpu.cfs_period_us"), PERIOD.to_string())?;
                fs::write(quota.0.join("cpu.cfs_quota_us"), share.to_string())?;
            }
            false => fs::write(quota.0.join("cpu.max"), format!("{share} {PERIOD}"))?,
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
