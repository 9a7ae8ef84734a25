//! The system under test and the helpers that several suites share.

pub mod app;
pub mod deployed;
pub mod functions;
pub mod index;
pub mod issuer;
pub mod openapi;
pub mod proxied;
pub mod sequences;
pub mod tokens;
