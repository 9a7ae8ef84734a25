//! The system under test, and what more than one suite uses.

pub mod app;
pub mod deployed;
pub mod functions;
pub mod index;
pub mod issuer;
pub mod openapi;
pub mod proxied;
pub mod sequences;
pub mod tokens;
