//! The one list of the tests that do not run everywhere, and why.

/// What a test needs of the system under test.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Need {
    /// Functions that run as processes of `local`.
    Processes,
    /// `local` itself: a deployed stack cannot serve the test.
    Local,
}

/// The tests with a need: a test's name, or a suite's with `::` at its end; and the reason.
pub const SKIPS: &[(&str, Need, &str)] = &[(
    "processes::killed_functions_lose_no_acknowledged_write",
    Need::Processes,
    "in-process there is no process to kill",
)];

/// The reason for which a test does not run where `need` is not met.
pub fn reason(test: &str, need: Need) -> Option<&'static str> {
    let matches = |name: &str| test == name || name.ends_with("::") && test.starts_with(name);
    SKIPS.iter().find(|(name, needed, _)| *needed == need && matches(name)).map(|(_, _, reason)| *reason)
}
