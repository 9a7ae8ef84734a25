//! The built functions as Lambda runs them: how long each takes to start, how much CPU and memory, beside
//! two functions that do next to nothing.

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
use crate::{Outcome, process};
use measure::Repeats;
use tls::Terminator;

/// What is measured.
#[derive(Args)]
pub(crate) struct Options {
    /// The built functions and baselines.
    #[arg(long, value_name = "DIR", default_value = "target/lambda")]
    functions: PathBuf,
    /// How often each program is started.
    #[arg(long, default_value_t = 20)]
    starts: u32,
    /// How often each request is repeated.
    #[arg(long, default_value_t = 2_000)]
    warm: u32,
    /// How often each is repeated with the CPU of each size of memory; 0 where no quota can be set.
    #[arg(long, default_value_t = 200)]
    held: u32,
    /// Where the end users are whom the requests are about; emptied first.
    #[arg(long, default_value = "target/bench/lambda")]
    data: PathBuf,
    /// Writes docs/benchmarks/lambda.md and docs/benchmarks/lambda.svg.
    #[arg(long)]
    write: bool,
}

/// The sizes of memory at which each request is measured, in MB.
const MEMORIES: [u32; 4] = [128, 256, 512, 1_024];

/// Measures all.
pub(crate) async fn run(options: Options) -> Outcome<()> {
    let repeats = Repeats { starts: options.starts, warm: options.warm, held: options.held };
    let random_ms = first_random()?;
    let engine = subject::prepare(&options.data, subject::MOST, &bar("people", subject::MOST.into())).await?;
    let memories = if options.held > 0 { &MEMORIES[..] } else { &[] };
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

/// What the first random number of AWS-LC takes, in ms of CPU: without the setting in .cargo/config.toml, the
/// better part of a cold start. Every TLS handshake draws some.
fn first_random() -> Outcome<f64> {
    let thread = Path::new("/proc/thread-self");
    let before = process::cpu(thread)?;
    aws_lc_rs::rand::fill(&mut [0; 32]).map_err(|_| "no random numbers")?;
    Ok((process::cpu(thread)? - before).as_secs_f64() * 1e3)
}
