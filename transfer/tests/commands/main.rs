//! The commands as a user runs them, against `local` in this process, behind a proxy that can inject failures.
//!
//! Environment variables choose the parts of `local`, as for the suite (tests/suite/app.rs).

#![allow(clippy::unwrap_used, missing_docs, unreachable_pub)]

mod export;
mod files;
mod import;
mod system;
mod upsert;
