//! The command line of `local`: runs the End Users API on one machine, and helps to operate it.

use std::collections::HashMap;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use local::table::TableLocation;
use local::{Error, Local, Options, Storage, claims, demo, index, token};
use serde_json::{Map, Value};
use shared::http::openapi::document;
use shared::log::JsonFormat;
use shared::store::SharedIdentifier;

/// Runs the whole End Users API on one machine.
#[derive(Parser)]
#[command(name = "local")]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    serve: ServeOptions,
}

#[derive(Subcommand)]
enum Command {
    /// Runs the whole system (the default).
    Serve(ServeOptions),
    /// Prints a token that is valid under the current configuration.
    Token(TokenOptions),
    /// Prints openapi.json, the description of the API in OpenAPI 3.1.
    Openapi,
    /// Checks or repairs the index of sorted lists, far pages and searches.
    #[command(subcommand)]
    Index(Index),
    /// Prepares the identifiers of existing end users for UID_POLICY=Exclusive.
    #[command(subcommand)]
    Claims(Claims),
}

#[derive(Subcommand)]
enum Claims {
    /// Claims every identifier that one end user holds, and prints those that several hold. Can be stopped and repeated
    /// at any time. Exits with 1 while several end users hold an identifier.
    Build(ClaimsOptions),
}

#[derive(Args)]
struct ClaimsOptions {
    /// The tenants.
    #[arg(required = true, value_name = "TENANT")]
    customers: Vec<String>,
    #[command(flatten)]
    table: TableOptions,
}

#[derive(Subcommand)]
enum Index {
    /// Compares a tenant's index with its documents. Exits with 1 if something is wrong.
    Check(IndexOptions),
    /// Compares a tenant's index with its documents and corrects it. Can be stopped and repeated at any time. Exits
    /// with 1 if an end user cannot be repaired.
    Repair(IndexOptions),
}

#[derive(Args)]
struct IndexOptions {
    /// The tenant.
    #[arg(long)]
    customer: String,
    #[command(flatten)]
    table: TableOptions,
}

#[derive(Args)]
struct TableOptions {
    /// The data directory of a `local` that is not running; ignored if AWS_ENDPOINT_URL_DYNAMODB is set.
    #[arg(long, default_value = ".local")]
    data: PathBuf,
    /// Uses the table TABLE_NAME of the AWS account in the environment.
    #[arg(long, conflicts_with = "data")]
    aws: bool,
}

#[derive(Args)]
struct ServeOptions {
    /// The port on 127.0.0.1; 0 for any free port.
    #[arg(long, default_value_t = 3000)]
    port: u16,
    /// Stores nothing on disk.
    #[arg(long, conflicts_with = "data")]
    memory: bool,
    /// The data directory; one process at a time can use it.
    #[arg(long, default_value = ".local")]
    data: PathBuf,
    /// Leaves an empty database empty, and prints and serves no demo tokens.
    #[arg(long)]
    no_demo: bool,
    /// Runs the built functions in this directory (target/lambda of cargo-lambda) as processes, instead of in-process.
    #[arg(long, value_name = "DIR")]
    functions: Option<PathBuf>,
}

#[derive(Args)]
struct TokenOptions {
    /// The tenant.
    #[arg(long)]
    customer: String,
    /// The lifetime of the token in seconds.
    #[arg(long, default_value_t = 3600)]
    ttl: u64,
    /// An additional claim with a JSON value; can be repeated.
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
    let format = JsonFormat::new(None);
    tracing_subscriber::fmt().event_format(format).with_env_filter(filter).with_writer(std::io::stderr).init();
    // `local` has no variable that is not Unicode, and treats an empty one as not set.
    let variables = std::env::vars_os().filter_map(|(n, v)| Some((n.into_string().ok()?, v.into_string().ok()?)));
    let variables: HashMap<String, String> = variables.filter(|(_, value)| !value.is_empty()).collect();
    let result = match cli.command {
        Some(Command::Token(options)) => print_token(&variables, options),
        Some(Command::Openapi) => print_openapi(),
        Some(Command::Index(command)) => match check_index(&variables, command).await {
            Ok(false) => return ExitCode::FAILURE,
            result => result.map(drop),
        },
        Some(Command::Claims(Claims::Build(options))) => match build_claims(&variables, options).await {
            Ok(false) => return ExitCode::FAILURE,
            result => result.map(drop),
        },
        Some(Command::Serve(options)) => serve(variables, options).await,
        None => serve(variables, cli.serve).await,
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => print_error(&error),
    }
}

fn print_error(error: &Error) -> ExitCode {
    // An error means that stderr is closed.
    let _ = writeln!(std::io::stderr(), "local: {error}");
    ExitCode::FAILURE
}

/// Runs `index check` or `index repair`. Returns whether the index is correct afterwards.
async fn check_index(variables: &HashMap<String, String>, command: Index) -> Result<bool, Error> {
    let (options, repair) = match command {
        Index::Check(options) => (options, false),
        Index::Repair(options) => (options, true),
    };
    let location = TableLocation::new(options.table.aws, options.table.data, variables);
    let check = index::check(location, variables, &options.customer, repair).await?;
    print(&index::report(&check, repair));
    Ok(if repair { check.is_repaired() } else { check.is_clean() })
}

/// Runs `claims build`. Returns whether every identifier is held by one end user.
async fn build_claims(variables: &HashMap<String, String>, options: ClaimsOptions) -> Result<bool, Error> {
    let location = TableLocation::new(options.table.aws, options.table.data, variables);
    let print_shared = |tenant: &str, shared: &SharedIdentifier| {
        let ids: Vec<_> = shared.end_users.iter().map(ToString::to_string).collect();
        print(&format!("tenant {tenant}: {} is held by end users {}", shared.value, ids.join(", ")));
    };
    let build = claims::build(location, variables, &options.customers, &print_shared).await?;
    print(&claims::report(&build));
    Ok(build.shared == 0)
}

fn print_token(variables: &HashMap<String, String>, options: TokenOptions) -> Result<(), Error> {
    let claims: Map<String, Value> = options.claims.into_iter().collect();
    print(&token::make(variables, &options.customer, options.ttl, claims)?);
    Ok(())
}

fn print_openapi() -> Result<(), Error> {
    let json = document().to_pretty_json().map_err(|error| Error::Config(error.to_string()))?;
    print(&json);
    Ok(())
}

/// Prints a line to stdout. `local` continues if stdout is closed.
fn print(text: &str) {
    let mut out = std::io::stdout();
    let _ = writeln!(out, "{text}").and_then(|()| out.flush());
}

async fn serve(variables: HashMap<String, String>, options: ServeOptions) -> Result<(), Error> {
    if token::needs_development_secret(&variables) {
        let _ = writeln!(
            std::io::stderr(),
            "no token key is set (JWT_SECRET, JWT_PUBLIC_KEY or JWT_JWKS_URL): using the public development secret"
        );
    }
    let ServeOptions { port, memory, data, no_demo, functions } = options;
    let storage = if memory { Storage::Memory } else { Storage::Directory(data) };
    // The handlers are installed before the first line is printed, because a parent process may send a signal after it.
    let stop_signal = stop_signal()?;
    let local =
        Local::start(Options { port, storage, demo: !no_demo, functions, variables: variables.clone() }).await?;
    print(&format!("listening on http://{}", local.address()));
    if !no_demo && let Ok(demos) = demo::describe(&local, &variables).await {
        demos.iter().for_each(|demo| print(&describe(demo)));
        if let Some(demo) = demos.first() {
            print(&example_requests(&local, demo));
        }
    }
    stop_signal.await;
    local.stop().await;
    Ok(())
}

fn describe(demo: &demo::Demo) -> String {
    let uid = |kind: &str| {
        let mut uids = demo.end_user["uids"].as_array().into_iter().flatten();
        uids.find(|uid| uid["uidType"] == kind).map(|uid| uid["endUserUIDID"].clone()).unwrap_or_default()
    };
    let end_user = if demo.end_user.is_null() {
        format!("{} was deleted; the list has other end users", demo::EMAIL)
    } else {
        let (id, email, phone) = (&demo.end_user["endUserID"], uid("Email"), uid("Phone"));
        format!("Jane Doe has endUserID {id}, endUserUIDID {email} (Email) and {phone} (Phone)")
    };
    format!("\ntenant {}: {end_user}; its token, valid for 24 hours:\n{}", demo.tenant, demo.token)
}

/// Returns three curl commands of the demo tenant.
fn example_requests(local: &Local, demo: &demo::Demo) -> String {
    let curl = format!("curl -s -H 'Authorization: Bearer {}' 'http://{}/api/EndUsers", demo.token, local.address());
    let id = &demo.end_user["endUserID"];
    format!("\n{curl}?search=jane&sortBy=name'\n{curl}/byUid?uid={}'\n{curl}/{id}/tickets'", demo::EMAIL)
}

/// Returns a future that completes at SIGINT (Ctrl-C) or SIGTERM. The handlers are installed by the call.
fn stop_signal() -> Result<impl Future<Output = ()>, Error> {
    use tokio::signal::unix::{SignalKind, signal};
    let listen =
        |kind| signal(kind).map_err(|error| Error::Config(format!("signal handlers cannot be installed: {error}")));
    let (mut interrupt, mut terminate) = (listen(SignalKind::interrupt())?, listen(SignalKind::terminate())?);
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}
