//! Random sequences of all operations, by several clients at once in several tenants, against a model
//! of the contract in memory, on a sound database and on one in trouble.
//!
//! `MODEL_SEQUENCES=N` says how many; `MODEL_SEED=N` begins elsewhere, or again with the seed that a
//! failure names. What fails is shrunk to the least that still fails.

mod plan;
mod run;
mod tickets;
mod words;
mod world;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};

use tests::proxy::{Fault, Plan};

use crate::support::app::App;
use crate::support::proxied::Troubled;
use crate::support::sequences::{hold_all, runtime, sequences};
use plan::Step;
use run::{Contradiction, Run};

/// As many sequences as one engine is used for: its cache of transactions slows it down.
const PER_ENGINE: u32 = 100;

/// Runs `count` sequences one after another, each on tenants of its own.
fn hold(count: u32, longest: usize, salt: u64, app: &App, runtime: &tokio::runtime::Runtime) {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    hold_all(count, salt, &plan::steps(longest), |steps: Vec<Step>| {
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let held = runtime.block_on(Run::new(app, number).carry_out(&steps));
        held.map_err(|Contradiction(what)| what)
    });
}

#[test]
fn every_sequence_of_acts_does_what_the_contract_says() {
    let runtime = runtime();
    let count = sequences(400);
    for engine in 0..count.div_ceil(PER_ENGINE) {
        let app = runtime.block_on(App::start());
        hold(PER_ENGINE.min(count - engine * PER_ENGINE), 8, u64::from(engine) << 32, &app, &runtime);
    }
}

/// Runs `count` sequences on a database that has these troubles; answers how many calls there were, and
/// what went wrong.
fn hold_troubled(count: u32, plan: Plan, salt: u64) -> (u64, BTreeMap<Fault, u64>) {
    let runtime = runtime();
    let troubled = runtime.block_on(Troubled::start(salt));
    troubled.proxy.inject(plan);
    hold(count, 5, salt, &troubled.app, &runtime);
    troubled.proxy.inject(Plan::default());
    troubled.proxy.injected()
}

/// Runs all at once, since most of the time of a database in trouble is spent waiting; answers what went
/// wrong.
fn hold_all_troubled(runs: impl IntoIterator<Item = (u32, Plan)>) -> BTreeSet<Fault> {
    std::thread::scope(|scope| {
        let run = |(salt, (count, plan))| scope.spawn(move || hold_troubled(count, plan, salt));
        let runs: Vec<_> = (1..).zip(runs).map(run).collect();
        let (mut calls, mut injected) = (0, BTreeMap::<Fault, u64>::new());
        for run in runs {
            let (more, faults) = run.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            calls += more;
            faults.into_iter().for_each(|(fault, times)| *injected.entry(fault).or_default() += times);
        }
        println!("of {calls} calls went wrong: {injected:?}");
        injected.into_keys().collect()
    })
}

/// All that costs no time-out.
fn quick() -> impl Iterator<Item = Fault> + Clone {
    Fault::ALL.into_iter().filter(|fault| !fault.is_silent())
}

/// That the proxy stands in the way; a rare fault may befall nothing of a few sequences.
fn assert_trouble(injected: &BTreeSet<Fault>) {
    assert!(injected.len() > quick().count() / 2, "only {injected:?} went wrong");
}

#[test]
fn each_trouble_alone_changes_nothing_of_it() {
    let alone = quick().map(|fault| (sequences(12), Plan { faults: vec![(fault, 0.4)], reads: 0.2, only: None }));
    let silent = Fault::ALL.into_iter().filter(|fault| fault.is_silent());
    let silent = silent.map(|fault| (sequences(1), Plan { faults: vec![(fault, 0.1)], reads: 0.1, only: None }));
    assert_trouble(&hold_all_troubled(alone.chain(silent)));
}

#[test]
fn all_troubles_mixed_change_nothing_of_it() {
    let plan = Plan { faults: quick().map(|fault| (fault, 0.06)).collect(), reads: 0.2, only: None };
    assert_trouble(&hold_all_troubled((0..8).map(|_| (sequences(12), plan.clone()))));
}

#[test]
fn trouble_that_outlasts_every_try_is_told_as_it_is() {
    // So that most writes end in a 503, of which some took effect.
    let after = [Fault::FailedAfter, Fault::HungUpAfter, Fault::CutOff, Fault::Garbled].map(|fault| (fault, 0.1));
    let faults: Vec<_> = after.into_iter().chain([(Fault::FailedBefore, 0.5), (Fault::TooMany, 0.8)]).collect();
    let plan = Plan { faults, only: Some("TransactWriteItems"), ..Plan::default() };
    hold_all_troubled((0..24).map(|_| (sequences(1), plan.clone())));
}
