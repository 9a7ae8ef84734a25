//! The commands as a user runs them, against `local` in this process, with something between that can make
//! trouble. The parts of `local` are those that the environment names, as for the suite (tests/suite/app.rs).

#![allow(clippy::unwrap_used, missing_docs, unreachable_pub)]

mod export;
mod files;
mod import;
mod system;
