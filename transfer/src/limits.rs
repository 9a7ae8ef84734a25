//! Limits of an imported file.

/// The most bytes of a row: more than the API accepts as a body (1 MiB).
pub(crate) const MAX_ROW_BYTES: usize = 4 << 20;
/// The most columns of a CSV file, and the most member names that are collected from a JSON file.
pub(crate) const MAX_COLUMNS: usize = 2_000;
/// The most UIDs of one row: one more than the API accepts in a request, so that the API rejects the end user.
pub(crate) const MAX_UIDS: usize = 401;
