//! A CPU quota like that of a Lambda function.

use std::fs;
use std::path::{Path, PathBuf};

use crate::Result;
use crate::process::MB_PER_VCPU;

/// The period of the quota, in µs.
const PERIOD: f64 = 20_000.0;

/// A Linux control group with the CPU share of a function's memory size.
pub(crate) struct Quota(PathBuf);

impl Quota {
    /// Creates the quota of a function with this memory. It requires root and the cpu controller of cgroups 1 or 2.
    pub(crate) fn new(mb: u32) -> Result<Self> {
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

    /// Puts a process under the quota.
    pub(crate) fn limit(&self, process: u32) -> Result<()> {
        Ok(fs::write(self.0.join("cgroup.procs"), process.to_string())?)
    }
}

impl Drop for Quota {
    fn drop(&mut self) {
        // The group can be removed when its last process has ended, which takes a moment.
        for _ in 0..100 {
            if fs::remove_dir(&self.0).is_ok() {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
    }
}
