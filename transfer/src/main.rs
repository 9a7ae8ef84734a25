//! `cargo run -p transfer`: import and export of end users over the public API.

mod api;
mod body;
mod columns;
mod create;
mod csv_records;
mod decode;
mod display;
mod dry_run;
mod error;
mod export;
mod files;
mod format;
mod headers;
mod identifiers;
mod import;
mod journal;
mod json;
mod limits;
mod lines;
mod locale;
mod mapping;
mod matching;
mod outcome;
mod paging;
mod phones;
mod presets;
mod queue;
mod report;
mod rows;
mod scan;
mod source;
mod spreadsheet;
mod target;
mod upsert;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use encoding_rs::Encoding;
use shared::domain::phone::Region;

use api::Api;
use error::Error;
use format::Format;
use mapping::MappingOptions;
use matching::{MatchBy, Matching, OnMatch};
use presets::Preset;
use target::Target;

/// Imports end users into a deployment of the End Users API, and exports them.
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

/// Finds or creates the end user of each row of a file.
///
/// A row is about the end user that has one of its identifiers; if there is none, the row creates one. An import can be
/// repeated, also with a newer file: it changes only what differs. An empty cell changes nothing. Rows with a common
/// identifier take effect in the order of the file.
///
/// FILE.report.txt lists the errors of rejected rows by line number. A row is also rejected if it has no identifier, if
/// its identifiers belong to several end users, or if it has another customerRef than its end user; the report names
/// these end users. FILE.rejected.csv (or the extension of FILE) holds the rejected rows: correct them and import this
/// file. The command can be stopped at any moment; run it again to resume from FILE.progress. The exit code is 1 if a
/// row was rejected or the import stopped.
///
/// A CSV cell is imported as a reader of the file sees it, or its row is rejected: - and n/a are not identifiers, two
/// numbers in a cell are two UIDs, and a number without its last digits is rejected.
#[derive(Args)]
struct Import {
    /// The file: CSV with a header, NDJSON, or an array of JSON objects.
    file: PathBuf,
    /// The URL of the API, such as http://127.0.0.1:3000.
    #[arg(long, env = "END_USERS_URL", required_unless_present = "dry_run")]
    url: Option<String>,
    /// A token of the tenant. Other users of the machine can see arguments, but not the environment.
    #[arg(long, env = "END_USERS_TOKEN", hide_env_values = true, required_unless_present = "dry_run")]
    token: Option<String>,
    /// The format, if the file's extension does not determine it.
    #[arg(long)]
    format: Option<Format>,
    /// The encoding of a file that is not UTF-8 and has no byte order mark, such as windows-1252 or utf-16le.
    #[arg(long, value_parser = decode::read_encoding)]
    encoding: Option<&'static Encoding>,
    /// The cell separator of CSV, `tab` for a tab. The default is taken from Excel's sep= line or the header.
    #[arg(long, value_name = "CHARACTER", value_parser = read_delimiter)]
    delimiter: Option<u8>,
    /// The field of a column: a profile field, name, email, phone, whatsapp, uid:TYPE, uids, or - to ignore the column.
    /// Repeatable. Other columns are recognised by field names and by common headers such as First Name.
    #[arg(long = "map", value_name = "HEADER=FIELD", value_parser = read_map)]
    maps: Vec<(String, String)>,
    /// The product that exported the file: its columns are recognised.
    #[arg(long)]
    preset: Option<Preset>,
    /// The country of rows without one: a code or a name.
    #[arg(long, value_parser = read_country)]
    country: Option<String>,
    /// The identifiers of a row that decide which end user it is about.
    #[arg(long, value_name = "IDENTIFIERS", default_value = "any")]
    match_by: MatchBy,
    /// The effect of a row on the profile of an end user that exists. Identifiers that it lacks are always added.
    #[arg(long, value_name = "EFFECT", default_value = "update")]
    on_match: OnMatch,
    /// Creates an end user per row, also if its identifiers belong to one that exists. Within 24 hours the same file
    /// creates no end user twice. Later, the rows that were in flight when the command was killed, and those that were
    /// finished in the second before, can be created twice; Ctrl-C waits for them. To import a file for another tenant
    /// of the same deployment, import a copy of it.
    #[arg(long, conflicts_with_all = ["match_by", "on_match"])]
    create_only: bool,
    /// With --create-only, imports end users without any identifier if no column is recognised as one.
    #[arg(long, requires = "create_only")]
    without_identifiers: bool,
    /// Checks all rows, sends nothing, and writes the errors to FILE.dry-run.txt.
    #[arg(long)]
    dry_run: bool,
    /// The deployment's DEFAULT_PHONE_REGION, for --dry-run.
    #[arg(long, value_name = "COUNTRY", value_parser = read_region, requires = "dry_run")]
    region: Option<Region>,
    /// The number of concurrent requests: of at most 100 rows, or of one row with --create-only.
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..=1_000))]
    parallel: u16,
    /// The most rows per second.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    rate: Option<u32>,
    /// Starts over: ignores the progress, and overwrites the report and the rejected rows. With --create-only, the API
    /// recognises the rows of the same file for 24 hours: existing end users are not created twice, and deleted ones
    /// are created again.
    #[arg(long)]
    restart: bool,
}

/// Writes all end users to a file or stdout, by ascending id.
///
/// An end user that exists from the beginning to the end of the export is written exactly once, also if others are
/// created, changed and deleted meanwhile. In CSV, a text that a spreadsheet would run as a formula begins with an
/// apostrophe, which the import removes.
#[derive(Args)]
struct Export {
    /// The file, written as FILE.part and then renamed. The default is stdout.
    file: Option<PathBuf>,
    /// The URL of the API, such as http://127.0.0.1:3000.
    #[arg(long, env = "END_USERS_URL")]
    url: String,
    /// A token of the tenant. Other users of the machine can see arguments, but not the environment.
    #[arg(long, env = "END_USERS_TOKEN", hide_env_values = true)]
    token: String,
    /// The format, if the file's extension does not determine it. The default on stdout is ndjson.
    #[arg(long)]
    format: Option<Format>,
    /// Exports only the end users that this search finds.
    #[arg(long)]
    search: Option<String>,
    /// Starts CSV with a byte order mark, so that Excel shows accents.
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
    code.ok_or_else(|| "must be a country code such as BE, or the name of a country".to_owned())
}

fn read_region(text: &str) -> Result<Region, String> {
    Region::parse(text).ok_or_else(|| "must be a country code of two letters with a phone numbering plan".to_owned())
}

#[tokio::main]
async fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Import(options) => import(options).await,
        Command::Export(options) => export(options).await.map(|()| true),
    };
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            display::print_line(&format!("transfer: {error}"));
            ExitCode::FAILURE
        }
    }
}

async fn import(options: Import) -> Result<bool, Error> {
    let Import { file, url, token, format, encoding, delimiter, parallel, rate, restart, .. } = options;
    let Import { maps, preset, country, without_identifiers, match_by, on_match, create_only, .. } = options;
    let matching = (!create_only).then_some(Matching { match_by, on_match });
    let mapping = MappingOptions { maps, preset, country, without_identifiers, matching };
    let source = source::Source { file, format, encoding, delimiter, options: mapping };
    if options.dry_run {
        return dry_run::run(&source, options.region);
    }
    let api = Api::new(Target::new(&url.unwrap_or_default(), &token.unwrap_or_default())?);
    let options = import::SendOptions { parallel: parallel.into(), rate, restart };
    import::run(&source, &options, &api).await
}

async fn export(options: Export) -> Result<(), Error> {
    let Export { file, url, token, format, search, bom } = options;
    let api = Api::new(Target::new(&url, &token)?);
    export::run(&export::Options { file, format, search, bom }, &api).await
}
