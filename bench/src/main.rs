//! `cargo run --release -p bench`: cost and latency of requests by the size of a tenant (`scale`), the lag of the index
//! during an import (`import`), the speed of `transfer`, start and CPU time of the built functions (`lambda`,
//! `instructions`), and the price of requests on AWS (`bill`).

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

/// The error of a failed measurement.
type Error = Box<dyn std::error::Error + Send + Sync>;
type Result<T, E = Error> = std::result::Result<T, E>;

/// Measures the End Users API.
#[derive(Parser)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Measures cost and latency with up to a million end users in one tenant.
    Scale(scale::Options),
    /// Measures an import through the API, and the lag of the index.
    Import(import::Options),
    /// Measures the commands of `transfer` with up to a million end users.
    Transfer(transfer::Options),
    /// Measures start, CPU time, memory and size of each built function.
    Lambda(lambda::Options),
    /// Computes the price of a million requests on AWS from docs/benchmarks.
    Bill(bill::Options),
    /// Counts the instructions of warm requests with valgrind, and compares them with instructions.json.
    Instructions(lambda::instructions::Options),
}

#[tokio::main]
async fn main() -> ExitCode {
    let filter = tracing_subscriber::EnvFilter::try_from_default_env();
    let filter = filter.unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("warn,dynoxide=error"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    let result = match Cli::parse().command {
        Command::Scale(options) => scale::run(options).await,
        Command::Import(options) => import::run(options).await,
        Command::Transfer(options) => transfer::run(options).await,
        Command::Lambda(options) => lambda::run(options).await,
        Command::Bill(options) => bill::run(&options),
        Command::Instructions(options) => lambda::instructions::run(options).await,
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "bench: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Prints a line to stdout. A closed stdout does not stop the measurement.
fn print_line(text: &str) {
    let _ = writeln!(std::io::stdout(), "{text}");
}
