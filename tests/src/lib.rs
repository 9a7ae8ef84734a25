//! What the suites, the endurance run and the conformance report share: a proxy that injects faults between the functions
//! and DynamoDB, and the list of skips.

pub mod proxy;
pub mod skips;
