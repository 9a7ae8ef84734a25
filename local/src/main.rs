//! `cargo run`: the End Users API on one machine.

use std::collections::HashMap;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use local::{Local, Options, StartError, Storage, demo, index, token};
use serde_json::{Map, Value};
use shared::http::openapi::document;
use shared::log::JsonFormat;

/// The End Users API, whole, on one machine.
#[derive(Parser)]
#[command(name = "local")]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    serve: Serve,
}

#[derive(Subcommand)]
enum Command {
    /// Runs the whole system (the default).
    Serve(Serve),
    /// Prints a token for the configuration at hand.
    Token(Token),
    /// Prints the description of the API in OpenAPI 3.1: openapi.json.
    Openapi,
    /// Looks after the index behind sorted lists, far pages and search.
    #[command(subcommand)]
    Index(Index),
}

#[derive(Subcommand)]
enum Index {
    /// Compares a tenant's index with its documents. Exits with 1 where something is wrong.
    Check(Table),
    /// Compares, and puts right what is wrong. May be ended and run again at any time. Exits with 1 where an end user
    /// cannot be repaired.
    Repair(Table),
}

#[derive(Args)]
struct Table {
    /// The tenant.
    #[arg(long)]
    customer: String,
    /// The data directory of a `local` that is not running. Not looked at where
    /// AWS_ENDPOINT_URL_DYNAMODB is set.
    #[arg(long, default_value = ".local")]
    data: PathBuf,
    /// The table TABLE_NAME of the AWS account that the environment names.
    #[arg(long, conflicts_with = "data")]
    aws: bool,
}

#[derive(Args)]
struct Serve {
    /// The port on 127.0.0.1; 0 for any that is free.
    #[arg(long, default_value_t = 3000)]
    port: u16,
    /// Keeps nothing.
    #[arg(long, conflicts_with = "data")]
    memory: bool,
    /// Where data is kept.
    #[arg(long, default_value = ".local")]
    data: PathBuf,
    /// Leaves an empty database empty.
    #[arg(long)]
    no_demo: bool,
    /// Runs the functions built in this directory (cargo-lambda's target/lambda) as processes,
    /// instead of those inside this program.
    #[arg(long, value_name = "DIR")]
    functions: Option<PathBuf>,
}

#[derive(Args)]
struct Token {
    /// The tenant.
    #[arg(long)]
    customer: String,
    /// For how many seconds it is good.
    #[arg(long, default_value_t = 3600)]
    ttl: u64,
    /// One more claim, its value as JSON; may be repeated.
    #[arg(long = "claim", value_name = "NAME=JSON", value_parser = read_claim)]
    claims: Vec<(String, Value)>,
}

fn read_claim(text: &str) -> Result<(String, Value), String> {
    let (name, value) = text.split_once('=').ok_or("must be name=JSON")?;
    Ok((name.to_owned(), serde_json::from_str(value).map_err(|error| format!("{value} is not JSON: {error}"))?))
}

#[tokio::main]
async fn main() -> ExitCode {
    let cli = Cli::parse();
    let filter = tracing_subscriber::EnvFilter::try_from_default_env();
    let filter = filter.unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("warn,dynoxide=error"));
    let lines = JsonFormat::new(None);
    tracing_subscriber::fmt().event_format(lines).with_env_filter(filter).with_writer(std::io::stderr).init();
    // Variables that are no text are none of ours.
    let variables = std::env::vars_os().filter_map(|(n, v)| Some((n.into_string().ok()?, v.into_string().ok()?)));
    let variables: HashMap<String, String> = variables.filter(|(_, value)| !value.is_empty()).collect();
    let done = match cli.command {
        Some(Command::Token(options)) => print_token(&variables, options),
        Some(Command::Openapi) => print_openapi(),
        Some(Command::Index(command)) => match check(&variables, command).await {
            Ok(false) => return ExitCode::FAILURE,
            checked => checked.map(drop),
        },
        Some(Command::Serve(options)) => serve(variables, options).await,
        None => serve(variables, cli.serve).await,
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => print_error(&error),
    }
}

fn print_error(error: &StartError) -> ExitCode {
    // Where stderr is closed there is nobody to tell.
    let _ = writeln!(std::io::stderr(), "local: {error}");
    ExitCode::FAILURE
}

/// Whether the index is clean now.
async fn check(variables: &HashMap<String, String>, command: Index) -> Result<bool, StartError> {
    let (table, repair) = match command {
        Index::Check(table) => (table, false),
        Index::Repair(table) => (table, true),
    };
    let place = index::Place::of(table.aws, table.data, variables);
    let check = index::check(place, variables, &table.customer, repair).await?;
    say(&index::report(&check, repair));
    Ok(if repair { check.is_repaired() } else { check.is_clean() })
}

fn print_token(variables: &HashMap<String, String>, options: Token) -> Result<(), StartError> {
    let claims: Map<String, Value> = options.claims.into_iter().collect();
    say(&token::make(variables, &options.customer, options.ttl, claims)?);
    Ok(())
}

fn print_openapi() -> Result<(), StartError> {
    let json = document().to_pretty_json().map_err(|error| StartError::Config(error.to_string()))?;
    say(&json);
    Ok(())
}

/// Prints to stdout; a reader that is gone is no reason to stop serving.
fn say(text: &str) {
    let mut out = std::io::stdout();
    let _ = writeln!(out, "{text}").and_then(|()| out.flush());
}

async fn serve(variables: HashMap<String, String>, options: Serve) -> Result<(), StartError> {
    if token::needs_development_secret(&variables) {
        let _ = writeln!(
            std::io::stderr(),
            "no JWT_SECRET, JWT_PUBLIC_KEY or JWT_JWKS_URL is set: using the development secret, which everybody knows"
        );
    }
    let Serve { port, memory, data, no_demo, functions } = options;
    let storage = if memory { Storage::Memory } else { Storage::Directory(data) };
    // Before anything is said: whoever waits for the first line may end us from then on.
    let ended = ended()?;
    let local =
        Local::start(Options { port, storage, demo: !no_demo, functions, variables: variables.clone() }).await?;
    say(&format!("listening on http://{}", local.address()));
    if !no_demo && let Ok(demos) = demo::show(&local, &variables).await {
        demos.iter().for_each(|demo| say(&introduce(demo)));
        if let Some(demo) = demos.first() {
            say(&try_out(&local, demo));
        }
    }
    ended.await;
    local.stop().await;
    Ok(())
}

fn introduce(demo: &demo::Demo) -> String {
    let uid = |kind: &str| {
        let mut uids = demo.end_user["uids"].as_array().into_iter().flatten();
        uids.find(|uid| uid["uidType"] == kind).map(|uid| uid["endUserUIDID"].clone()).unwrap_or_default()
    };
    let end_user = if demo.end_user.is_null() {
        format!("{} is no longer there; others are in the list", demo::EMAIL)
    } else {
        let (id, email, phone) = (&demo.end_user["endUserID"], uid("Email"), uid("Phone"));
        format!("Jane Doe has endUserID {id}, endUserUIDID {email} (Email) and {phone} (Phone)")
    };
    format!("\ntenant {}: {end_user}; a token for a day:\n{}", demo.tenant, demo.token)
}

/// Three requests of tenant 7 to paste.
fn try_out(local: &Local, demo: &demo::Demo) -> String {
    let curl = format!("curl -s -H 'Authorization: Bearer {}' 'http://{}/api/EndUsers", demo.token, local.address());
    let id = &demo.end_user["endUserID"];
    format!("\n{curl}?search=jane&sortBy=name'\n{curl}/byUid?uid={}'\n{curl}/{id}/tickets'", demo::EMAIL)
}

/// Ends with Ctrl-C or SIGTERM.
fn ended() -> Result<impl Future<Output = ()>, StartError> {
    use tokio::signal::unix::{SignalKind, signal};
    let listen =
        |kind| signal(kind).map_err(|error| StartError::Config(format!("signals cannot be waited for: {error}")));
    let (mut interrupt, mut terminate) = (listen(SignalKind::interrupt())?, listen(SignalKind::terminate())?);
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}
