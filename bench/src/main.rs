//! `cargo run --release -p bench -- scale`: what requests cost, and how long they take, as a tenant grows.

mod scale;

use std::io::Write;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Why a measurement failed.
type Failure = Box<dyn std::error::Error + Send + Sync>;
type Outcome<T> = Result<T, Failure>;

/// Measures the End Users API.
#[derive(Parser)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Costs and latencies with up to a million people in one tenant.
    Scale(scale::Options),
}

#[tokio::main]
async fn main() -> ExitCode {
    let filter = tracing_subscriber::EnvFilter::try_from_default_env();
    let filter = filter.unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("warn,dynoxide=error"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    let Cli { command: Command::Scale(options) } = Cli::parse();
    match scale::run(options).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "bench: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Prints to stdout; a reader that is gone is no reason to stop measuring.
fn say(text: &str) {
    let _ = writeln!(std::io::stdout(), "{text}");
}
