//! `cargo run --release -p bench`: what requests cost and how long they take as a tenant grows (`scale`), how
//! far the index lags behind an import (`import`), and what the built functions take (`lambda`).

mod bill;
mod end_users;
mod figure;
mod http;
mod import;
mod lambda;
mod load;
mod process;
mod scale;
mod stages;
mod system;
mod tables;
mod times;
mod transfer;

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
    /// Costs and latencies with up to a million end users in one tenant.
    Scale(scale::Options),
    /// An import through the API, and how the index follows it.
    Import(import::Options),
    /// The commands of `transfer` with up to a million end users.
    Transfer(transfer::Options),
    /// Start, CPU, memory and size of each built function.
    Lambda(lambda::Options),
    /// What a million of each request costs on AWS, from the other documents.
    Bill(bill::Options),
    /// Instructions of a warm request, by valgrind, against those on record.
    Instructions(lambda::instructions::Options),
}

#[tokio::main]
async fn main() -> ExitCode {
    let filter = tracing_subscriber::EnvFilter::try_from_default_env();
    let filter = filter.unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("warn,dynoxide=error"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    let outcome = match Cli::parse().command {
        Command::Scale(options) => scale::run(options).await,
        Command::Import(options) => import::run(options).await,
        Command::Transfer(options) => transfer::run(options).await,
        Command::Lambda(options) => lambda::run(options).await,
        Command::Bill(options) => bill::run(&options),
        Command::Instructions(options) => lambda::instructions::run(options).await,
    };
    match outcome {
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
