//! The common crate of the End Users API.
//!
//! Modules, lowest layer first; each uses only those before it:
//!
//! - [`domain`]: end users, UIDs, tickets and searches.
//! - [`store`]: the DynamoDB table.
//! - [`config`]: reading environment variables.
//! - [`auth`]: from a bearer token to a caller.
//! - [`app`]: the settings and the state of a function.
//! - [`http`] and [`events`]: HTTP requests, the table's stream and the queue. Only [`http`] has status codes.
//! - [`log`]: the format of log lines.
//! - [`bootstrap`]: the start of a function.

pub mod app;
pub mod auth;
pub mod bootstrap;
pub mod config;
pub mod domain;
pub mod events;
pub mod http;
pub mod log;
pub mod store;
