//! Code that the suites, the endurance run, the conformance report and `bench` share: a proxy that injects faults
//! between the functions and DynamoDB, and the list of skipped tests.

pub mod proxy;
pub mod skips;
