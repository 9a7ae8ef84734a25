//! Black-box suites of the End Users API, over HTTP against `local` in this process.

#![allow(clippy::unwrap_used, missing_docs, unreachable_pub)]

mod app;
mod auth;
mod budgets;
mod conditions;
mod contention;
mod convergence;
mod conversation;
mod deep_pages;
mod deployed;
mod docs;
mod events;
mod faults;
mod find;
mod gateway;
mod idempotency;
mod index;
mod isolation;
mod issuer;
mod list;
mod model;
mod openapi;
mod pins;
mod processes;
mod repair;
mod search;
mod stream;
mod template;
mod tickets;
mod uids;
mod validation;
mod vectors;
