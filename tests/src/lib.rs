//! What suites and the endurance run share: a proxy that stands between the functions and DynamoDB
//! and makes trouble.

pub mod proxy;
