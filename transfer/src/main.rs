//! `cargo run -p transfer`: moving end users in and out of a deployment, by the API that everybody has.

mod api;
mod cells;
mod decode;
mod error;
mod export;
mod headers;
mod import;
mod journal;
mod json;
mod lines;
mod locale;
mod mapping;
mod paging;
mod phones;
mod presets;
mod progress;
mod report;
mod rows;
mod table;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use encoding_rs::Encoding;
use shared::domain::phone::Region;

use api::Api;
use error::Error;
use mapping::Choices;
use presets::Preset;
use rows::Format;

/// Moves end users in and out of a deployment of the End Users API.
#[derive(Parser)]
#[command(name = "transfer")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Import(Import),
    Export(Export),
}

/// Creates an end user per row of a file.
///
/// What is wrong with rows is written to FILE.report.txt, with line numbers, and the rows themselves to
/// FILE.rejected.csv (or as FILE ends), to be mended and imported. Ended at any moment, the same command
/// goes on where it was, by FILE.progress: nobody is created twice within 24 hours. After that, the rows that
/// were under way when it was killed (as many as --parallel, and those answered in the second before) may be;
/// Ctrl-C waits for them. For another tenant of the same deployment, import a copy. Exits with 1 where a row
/// was rejected or the import stopped.
///
/// A cell of CSV is read as an end user reads it, or its row is rejected: - and n/a are no identifier, two numbers in a
/// cell are two UIDs, and a number without its last digits is none.
#[derive(Args)]
struct Import {
    /// The file: CSV with a header, NDJSON, or an array of JSON objects.
    file: PathBuf,
    /// Where the API answers, such as http://127.0.0.1:3000.
    #[arg(long, env = "END_USERS_URL", required_unless_present = "dry_run")]
    url: Option<String>,
    /// A token of the tenant. Better in the environment: others see the arguments of a command.
    #[arg(long, env = "END_USERS_TOKEN", hide_env_values = true, required_unless_present = "dry_run")]
    token: Option<String>,
    /// The format, where the file's name does not tell.
    #[arg(long)]
    format: Option<Format>,
    /// The encoding of a file that is not UTF-8 and has no byte order mark, such as windows-1252 or utf-16le.
    #[arg(long, value_parser = decode::read_encoding)]
    encoding: Option<&'static Encoding>,
    /// What divides the cells of CSV, `tab` for a tab; else that of Excel's sep= line or of the header line.
    #[arg(long, value_name = "CHARACTER", value_parser = read_delimiter)]
    delimiter: Option<u8>,
    /// What a column is: a field, name, email, phone, whatsapp, uid:TYPE, uids, or - for nothing. May be
    /// repeated; without one, columns are known by the names of fields and by plain headers such as First Name.
    #[arg(long = "map", value_name = "HEADER=FIELD", value_parser = read_map)]
    maps: Vec<(String, String)>,
    /// Knows the columns of another product's export.
    #[arg(long)]
    preset: Option<Preset>,
    /// The country of those without one in the file: a code or a name.
    #[arg(long, value_parser = read_country)]
    country: Option<String>,
    /// Imports end users without any identifier, where no column is known to hold one.
    #[arg(long)]
    without_identifiers: bool,
    /// Checks all rows and sends nothing; what is wrong is written to FILE.dry-run.txt.
    #[arg(long)]
    dry_run: bool,
    /// The DEFAULT_PHONE_REGION of the deployment, for --dry-run.
    #[arg(long, value_name = "COUNTRY", value_parser = read_region, requires = "dry_run")]
    region: Option<Region>,
    /// How many requests are under way at once.
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..=1_000))]
    parallel: u16,
    /// How many rows are sent a second at most.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    rate: Option<u32>,
    /// Starts over: forgets the progress, and overwrites the report and the rejected rows. For 24 hours the API
    /// still knows the rows of the same file: nobody is created twice, and end users that were deleted are created
    /// again.
    #[arg(long)]
    restart: bool,
}

/// Writes all end users to a file or stdout, by ascending id.
///
/// Whoever is there from the beginning to the end is written once, whatever is written meanwhile. In CSV, a
/// text that a spreadsheet would run as a formula begins with an apostrophe, which the import removes.
#[derive(Args)]
struct Export {
    /// The file, made as FILE.part and then renamed; stdout where there is none.
    file: Option<PathBuf>,
    /// Where the API answers, such as http://127.0.0.1:3000.
    #[arg(long, env = "END_USERS_URL")]
    url: String,
    /// A token of the tenant. Better in the environment: others see the arguments of a command.
    #[arg(long, env = "END_USERS_TOKEN", hide_env_values = true)]
    token: String,
    /// The format, where the file's name does not tell; ndjson on stdout.
    #[arg(long)]
    format: Option<Format>,
    /// Only those whom this search finds.
    #[arg(long)]
    search: Option<String>,
    /// Begins CSV with a byte order mark, by which Excel shows accents.
    #[arg(long)]
    bom: bool,
}

fn read_delimiter(text: &str) -> Result<u8, String> {
    match text.as_bytes() {
        b"tab" | b"\\t" => Ok(b'\t'),
        [byte] if byte.is_ascii() && !matches!(byte, b'"' | b'\r' | b'\n') => Ok(*byte),
        _ => Err("must be one ASCII character, or tab".to_owned()),
    }
}

fn read_map(text: &str) -> Result<(String, String), String> {
    let (header, field) = text.rsplit_once('=').ok_or("must be HEADER=FIELD")?;
    Ok((header.to_owned(), field.to_owned()))
}

fn read_country(text: &str) -> Result<String, String> {
    let is_code = text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_alphabetic());
    let code = locale::country(text).map(str::to_owned).or_else(|| is_code.then(|| text.to_ascii_uppercase()));
    code.ok_or_else(|| "must be a country code such as BE or a country's name".to_owned())
}

fn read_region(text: &str) -> Result<Region, String> {
    Region::parse(text).ok_or_else(|| "must be a country code of two letters that has phone numbers".to_owned())
}

#[tokio::main]
async fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Import(options) => import(options).await,
        Command::Export(options) => export(options).await.map(|()| true),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(stop) => {
            progress::say(&format!("transfer: {stop}"));
            ExitCode::FAILURE
        }
    }
}

async fn import(options: Import) -> Result<bool, Error> {
    let Import { file, url, token, format, encoding, delimiter, parallel, rate, restart, .. } = options;
    let Import { maps, preset, country, without_identifiers, .. } = options;
    let choices = Choices { maps, preset, country, without_identifiers };
    let source = import::Source { file, format, encoding, delimiter, choices };
    if options.dry_run {
        return import::check(&source, options.region);
    }
    let api = Api::new(&url.unwrap_or_default(), &token.unwrap_or_default())?;
    let sending = import::Sending { parallel: parallel.into(), rate, restart };
    import::run(&source, &sending, &api).await
}

async fn export(options: Export) -> Result<(), Error> {
    let Export { file, url, token, format, search, bom } = options;
    let api = Api::new(&url, &token)?;
    export::run(&export::Options { file, format, search, bom }, &api).await
}
