//! Black-box suites of the End Users API, over HTTP. Each file or folder is a suite, except `support`.

#![allow(clippy::unwrap_used, missing_docs, unreachable_pub)]

mod auth;
mod budgets;
mod conditions;
mod contention;
mod convergence;
mod conversation;
mod deep_pages;
mod docs;
mod events;
mod exclusive;
mod faults;
mod find;
mod gateway;
mod idempotency;
mod index;
mod isolation;
mod issuer;
mod list;
mod merge;
mod model;
mod openapi;
mod pins;
mod processes;
mod races;
mod repair;
mod search;
mod stream;
mod support;
mod template;
mod tickets;
mod uids;
mod upsert;
mod validation;
mod vectors;
