//! The one list of what does not run everywhere, and why.

use crate::app::built_functions;

/// The tests that need functions run as processes.
const NEED_PROCESSES: [(&str, &str); 1] = [(
    "processes::killing_bootstraps_in_the_middle_of_a_load_loses_no_acknowledged_write_and_no_later_request",
    "in-process there is no process to kill",
)];

/// Whether a test cannot run with the parts at hand; says so for the conformance report.
pub fn skipped(test: &str) -> bool {
    let reason = NEED_PROCESSES.iter().find(|(name, _)| *name == test).filter(|_| built_functions().is_none());
    if let Some((_, reason)) = reason {
        println!("SKIPPED {test}: {reason}");
    }
    reason.is_some()
}
