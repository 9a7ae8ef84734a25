//! Random sequences of steps. They are generated from `MODEL_SEED` and shrunk on failure.

use std::fmt::Debug;

use proptest::strategy::Strategy;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner};

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// The number of sequences of a test that runs `of_400` of every 400. `MODEL_SEQUENCES` sets the total.
pub fn sequences(of_400: u32) -> u32 {
    let wanted = number("MODEL_SEQUENCES").unwrap_or(200) as f64;
    ((f64::from(of_400) * wanted / 400.0).ceil() as u32).max(1)
}

/// Runs `count` sequences one after another. Panics with the shrunk steps of the first failure.
pub fn hold_all<S: Strategy<Value = Vec<T>>, T: Debug>(
    count: u32,
    salt: u64,
    steps: &S,
    run_steps: impl Fn(Vec<T>) -> Result<(), String>,
) {
    let seed = number("MODEL_SEED").unwrap_or(1) + salt;
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let config = Config { cases: count, failure_persistence: None, max_shrink_iters: 300, ..Config::default() };
    let mut runner = TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &bytes));
    match runner.run(steps, |steps| run_steps(steps).map_err(TestCaseError::fail)) {
        Ok(()) => {}
        Err(TestError::Fail(reason, steps)) => {
            let steps: Vec<_> = steps.iter().map(|step| format!("  {step:?}")).collect();
            panic!("seed {}: after\n{}\n{reason}", seed - salt, steps.join("\n"));
        }
        Err(TestError::Abort(reason)) => panic!("{reason}"),
    }
}

pub fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}
