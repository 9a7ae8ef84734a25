//! Random sequences of all operations, by concurrent clients in several tenants, compared with a model of docs/api.md:
//! on a sound database, and on one with injected faults.
//!
//! `MODEL_SEQUENCES=N` sets the number of sequences. `MODEL_SEED=N` sets the seed, which a failure prints. A failing
//! sequence is shrunk to the shortest one that still fails.

mod end_user;
mod merging;
mod plan;
mod request;
mod run;
mod tenant;
mod tickets;
mod words;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};

use tests::proxy::{Fault, Plan};

use crate::support::app::App;
use crate::support::proxied::FaultyApp;
use crate::support::sequences::{hold_all, runtime, sequences};
use plan::Round;
use run::{Contradiction, SequenceRun};

/// The number of sequences per engine; its cache of transactions slows it down.
const PER_ENGINE: u32 = 100;

/// The value of `UID_POLICY`.
#[derive(Clone, Copy, PartialEq)]
enum Policy {
    Shared,
    Exclusive,
}

/// Runs `count` random sequences one after another, each on tenants of its own.
fn run_sequences(count: u32, longest: usize, salt: u64, app: &App, policy: Policy, runtime: &tokio::runtime::Runtime) {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    hold_all(count, salt, &plan::rounds(longest), |rounds: Vec<Round>| {
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let result = runtime.block_on(SequenceRun::new(app, number, policy == Policy::Exclusive).run(&rounds));
        result.map_err(|Contradiction(message)| message)
    });
}

#[test]
fn operations_match_the_model() {
    let runtime = runtime();
    let count = sequences(400);
    for engine in 0..count.div_ceil(PER_ENGINE) {
        let app = runtime.block_on(App::start());
        run_sequences(
            PER_ENGINE.min(count - engine * PER_ENGINE),
            8,
            u64::from(engine) << 32,
            &app,
            Policy::Shared,
            &runtime,
        );
    }
}

#[test]
fn operations_match_the_model_of_exclusive_identifiers() {
    let runtime = runtime();
    let app = runtime.block_on(App::with(&[("UID_POLICY", "Exclusive")]));
    run_sequences(sequences(60), 8, 1 << 48, &app, Policy::Exclusive, &runtime);
}

/// Runs `count` sequences with injected faults. Returns the number of database calls, and of injected faults by kind.
fn run_with_faults(count: u32, plan: Plan, salt: u64) -> (u64, BTreeMap<Fault, u64>) {
    let runtime = runtime();
    let faulty = runtime.block_on(FaultyApp::start(salt));
    faulty.proxy.inject(plan);
    run_sequences(count, 5, salt, &faulty.app, Policy::Shared, &runtime);
    faulty.proxy.inject(Plan::default());
    faulty.proxy.injected()
}

/// Runs plans concurrently, because they mostly wait for the database. Returns the kinds of the injected faults.
fn run_all_with_faults(runs: impl IntoIterator<Item = (u32, Plan)>) -> BTreeSet<Fault> {
    std::thread::scope(|scope| {
        let run = |(salt, (count, plan))| scope.spawn(move || run_with_faults(count, plan, salt));
        let runs: Vec<_> = (1..).zip(runs).map(run).collect();
        let (mut calls, mut injected) = (0, BTreeMap::<Fault, u64>::new());
        for run in runs {
            let (more, faults) = run.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            calls += more;
            faults.into_iter().for_each(|(fault, times)| *injected.entry(fault).or_default() += times);
        }
        println!("faults in {calls} database calls: {injected:?}");
        injected.into_keys().collect()
    })
}

/// The faults that do not cost a time-out.
fn quick_faults() -> impl Iterator<Item = Fault> + Clone {
    Fault::ALL.into_iter().filter(|fault| !fault.is_silent())
}

/// Asserts that the proxy is in use. A few sequences need not meet every fault.
fn assert_injected(injected: &BTreeSet<Fault>) {
    assert!(injected.len() > quick_faults().count() / 2, "only {injected:?} were injected");
}

#[test]
fn operations_match_the_model_under_each_fault() {
    let alone =
        quick_faults().map(|fault| (sequences(12), Plan { faults: vec![(fault, 0.4)], reads: 0.2, only: None }));
    let silent = Fault::ALL.into_iter().filter(|fault| fault.is_silent());
    let silent = silent.map(|fault| (sequences(1), Plan { faults: vec![(fault, 0.1)], reads: 0.1, only: None }));
    assert_injected(&run_all_with_faults(alone.chain(silent)));
}

#[test]
fn operations_match_the_model_under_mixed_faults() {
    let plan = Plan { faults: quick_faults().map(|fault| (fault, 0.06)).collect(), reads: 0.2, only: None };
    assert_injected(&run_all_with_faults((0..8).map(|_| (sequences(12), plan.clone()))));
}

#[test]
fn persistent_faults_are_reported_truthfully() {
    // Most writes end in a 503, and some of them took effect.
    let after = [Fault::FailedAfter, Fault::HungUpAfter, Fault::CutOff, Fault::Garbled].map(|fault| (fault, 0.1));
    let faults: Vec<_> = after.into_iter().chain([(Fault::FailedBefore, 0.5), (Fault::TooMany, 0.8)]).collect();
    let plan = Plan { faults, only: Some("TransactWriteItems"), ..Plan::default() };
    run_all_with_faults((0..24).map(|_| (sequences(1), plan.clone())));
}
