//! Start time, CPU time and memory of the built functions behind a Runtime API, compared with two baseline functions.

pub(crate) mod instructions;
mod measure;
mod quota;
mod report;
mod subject;
mod tls;

use std::path::{Path, PathBuf};

use clap::Args;
use tests::proxy::Proxy;

use crate::system::bar;
use crate::{Result, process};
use measure::Repeats;
use tls::Terminator;

/// The options of the benchmark.
#[derive(Args)]
pub(crate) struct Options {
    /// The built functions and baselines.
    #[arg(long, value_name = "DIR", default_value = "target/lambda")]
    functions: PathBuf,
    /// The starts of each program.
    #[arg(long, default_value_t = 20)]
    starts: u32,
    /// The warm invocations of each request.
    #[arg(long, default_value_t = 2_000)]
    warm: u32,
    /// The invocations of each request with the CPU quota of each memory size; 0 if the machine allows no quota.
    #[arg(long, default_value_t = 200)]
    throttled: u32,
    /// The directory of the database. It is emptied first.
    #[arg(long, default_value = "target/bench/lambda")]
    data: PathBuf,
    /// Writes docs/benchmarks/lambda.md and docs/benchmarks/lambda.svg.
    #[arg(long)]
    write: bool,
}

/// The memory sizes whose CPU quotas are measured, in MB.
const MEMORIES: [u32; 4] = [128, 256, 512, 1_024];

/// Measures all requests.
pub(crate) async fn run(options: Options) -> Result<()> {
    let repeats = Repeats { starts: options.starts, warm: options.warm, throttled: options.throttled };
    let random_ms = first_random()?;
    let engine =
        subject::prepare(&options.data, subject::MAX_REQUESTS, &bar("end users", subject::MAX_REQUESTS.into())).await?;
    let memories = if options.throttled > 0 { &MEMORIES[..] } else { &[] };
    let tls = Terminator::start(engine.url(), &options.data).await?;
    let subjects = subject::all(tls.url(), &[tls.trust()])?;
    let proxy = Proxy::start(engine.url(), 0).await?;
    let bar = bar("", subjects.len() as u64);
    let mut all = Vec::new();
    for subject in &subjects {
        bar.set_message(subject.request);
        let measured = measure::measure(subject, &options.functions, &proxy, repeats, memories).await;
        all.push(measured.map_err(|error| format!("{}: {error}", subject.request))?);
        bar.inc(1);
    }
    engine.stop().await;
    report::publish(&all, random_ms, options.write)
}

/// The CPU time of the first random number of AWS-LC, in ms. Every TLS handshake needs one. Without the setting in
/// .cargo/config.toml it is the larger part of a cold start.
fn first_random() -> Result<f64> {
    let thread = Path::new("/proc/thread-self");
    let before = process::cpu(thread)?;
    aws_lc_rs::rand::fill(&mut [0; 32]).map_err(|_| "no random numbers")?;
    Ok((process::cpu(thread)? - before).as_secs_f64() * 1e3)
}
