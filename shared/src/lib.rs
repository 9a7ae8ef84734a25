//! The common crate of the End Users API.
//!
//! Rooms, ground floor first; an arrow never runs back up:
//! [`domain`] (what an end user, a UID and a ticket are) → [`store`] (the single table) →
//! [`auth`] (token → caller) → [`app`] (settings and state) → [`http`] (the edge: the only place that
//! knows status codes) → [`log`] (how a line is written) → [`bootstrap`] (start).

pub mod app;
pub mod auth;
pub mod bootstrap;
pub mod domain;
pub mod http;
pub mod log;
pub mod store;
