//! The price of a million requests on AWS, from the figures in docs/benchmarks/scale.md and docs/benchmarks/lambda.md,
//! and a price list.

use std::path::Path;

use clap::Args;
use local::template::Template;
use serde::Deserialize;

use crate::process::MB_PER_VCPU;
use crate::tables::{self, docs, section};
use crate::{Error, Result};

/// The options of the command.
#[derive(Args)]
pub(crate) struct Options {
    /// Writes docs/benchmarks/cost.md.
    #[arg(long)]
    write: bool,
}

/// The content of bench/prices.json: US dollars without a free tier, in one region.
#[derive(Deserialize)]
struct Prices {
    /// The year and month of the prices.
    as_of: String,
    region: String,
    /// A million requests to an HTTP API, each up to 512 KB.
    http_api_million: f64,
    /// A million invocations.
    lambda_million: f64,
    /// A gigabyte-second on arm64.
    lambda_gb_second: f64,
    /// A million strongly consistent reads of 4 KB, on demand.
    read_units_million: f64,
    write_units_million: f64,
    /// The assumed latency of a round trip to DynamoDB, which adds to the duration of an invocation.
    round_trip_ms: f64,
}

/// The requests: the name in docs/benchmarks/scale.md, the name in docs/benchmarks/lambda.md of a request with the same
/// CPU time, the function, and the indexing that the request causes.
const REQUESTS: [(&str, &str, &str, &str); 13] = [
    ("GET one", "GET one", "get-end-user", ""),
    ("byUid, e-mail", "byUid, e-mail", "find-end-users-by-uid", ""),
    ("byUid, phone", "byUid, phone", "find-end-users-by-uid", ""),
    ("list, first page", "list, first page", "list-end-users", ""),
    ("list, first page by lastname", "list, first page by lastname", "list-end-users", ""),
    ("list, middle page", "list, first page", "list-end-users", ""),
    ("list, middle page by lastname", "list, first page by lastname", "list-end-users", ""),
    ("search, 7 found", "search, 10 found", "list-end-users", ""),
    ("tickets, 3 UIDs, 30 tickets", "tickets, 30", "list-end-user-tickets", ""),
    ("create", "create", "create-end-user", NEW),
    ("update of one name", "update of one name", "update-end-user", RENAMED),
    ("assign", "assign", "assign-end-user-uid", RENAMED),
    ("delete", "delete", "delete-end-user", NEW),
];
/// The indexing of a new end user, which costs as much as that of a deleted one; and the indexing of a changed name,
/// which costs as much as that of an added UID.
const NEW: &str = "index one new end user";
const RENAMED: &str = "update of one name, alone";

/// Prints the bill, or writes it.
pub(crate) fn run(options: &Options) -> Result<()> {
    tables::publish("cost", &tables()?, options.write)
}

/// A table for each of two tenant sizes.
fn tables() -> Result<Vec<String>> {
    let read = |name: &str| std::fs::read_to_string(docs().join(name));
    let figures = Figures { scale: read("scale.md")?, lambda: read("lambda.md")? };
    let prices = std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("prices.json"))?;
    let prices: Prices = serde_json::from_slice(&prices)?;
    let functions = Template::load()?.functions;
    let memory = |name: &str| -> Result<u64> {
        let function = functions.iter().find(|function| function.name == name);
        Ok(function.ok_or_else(|| format!("template.yaml has no {name}"))?.memory)
    };
    let mut tables = vec![format!(
        "US dollars per million requests, with the prices of {} in {} and {} ms per round trip.\n",
        prices.as_of, prices.region, prices.round_trip_ms
    )];
    for end_users in ["1,000", "1,000,000"] {
        let mut rows = Vec::new();
        for (request, like, function, indexed) in REQUESTS {
            let cost = figures.cost(request, end_users)?;
            let lambda = prices.lambda(figures.cpu_ms(like)?, cost[0], memory(function)?);
            let index = match indexed {
                "" => 0.0,
                indexed => {
                    let cost = figures.indexing(indexed, end_users)?;
                    let cpu_ms = figures.cpu_ms(NEW)?;
                    let lambda = prices.lambda(cpu_ms, cost[0], memory("index-end-users")?);
                    lambda + prices.units(&cost).iter().sum::<f64>()
                }
            };
            let [reads, writes] = prices.units(&cost);
            let parts = [prices.http_api_million, lambda, reads, writes, index];
            let total: f64 = parts.iter().sum();
            let cells = parts.iter().chain([&total]).map(|dollars| format!("{dollars:.2}"));
            rows.push([vec![request.to_owned()], cells.collect()].concat());
        }
        let names = ["gateway", "Lambda", "reads", "writes", "indexing", "total"].map(str::to_owned);
        tables.push(section(&format!("{end_users} end users"), "request", &names, rows));
    }
    Ok(tables)
}

impl Prices {
    /// The price of a million invocations, billed per millisecond.
    fn lambda(&self, cpu_ms: f64, round_trips: f64, mb: u64) -> f64 {
        let slower = (MB_PER_VCPU / mb as f64).max(1.0);
        let seconds = (cpu_ms * slower + round_trips * self.round_trip_ms).ceil() / 1e3;
        self.lambda_million + seconds * mb as f64 / 1_024.0 * self.lambda_gb_second * 1e6
    }

    /// The prices of the reads and writes of a million requests.
    fn units(&self, [_, read, write]: &[f64; 3]) -> [f64; 2] {
        [read * self.read_units_million, write * self.write_units_million]
    }
}

/// The documents with the figures.
struct Figures {
    scale: String,
    lambda: String,
}

impl Figures {
    /// The round trips, read units and write units of a request in a tenant with this number of end users.
    fn cost(&self, request: &str, end_users: &str) -> Result<[f64; 3]> {
        numbers(&cell(&self.scale, "Cost", request, end_users)?)
    }

    /// The same of the indexing that a request causes, without rank indexes.
    fn indexing(&self, what: &str, end_users: &str) -> Result<[f64; 3]> {
        if what == NEW {
            return self.cost(what, end_users);
        }
        let title = "Indexing an end user by number of rank indexes, read · write units";
        let [read, write] = numbers(&cell(&self.scale, title, "0", what)?)?;
        Ok([self.cost(NEW, end_users)?[0], read, write])
    }

    /// The CPU time of a warm request.
    fn cpu_ms(&self, request: &str) -> Result<f64> {
        let [micros] = numbers(&cell(&self.lambda, "Invocations", request, "warm CPU, µs")?)?;
        Ok(micros / 1e3)
    }
}

/// The cell of a table under a heading, by its row's first cell and its column's name.
fn cell(document: &str, heading: &str, row: &str, column: &str) -> Result<String> {
    let missing = || Error::from(format!("no table “{heading}” with the row {row} and the column {column}"));
    let (_, table) = document.split_once(&format!("### {heading}\n\n")).ok_or_else(missing)?;
    let cells = |line: &str| line.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect::<Vec<_>>();
    let mut lines = table.lines().take_while(|line| line.starts_with('|')).map(cells);
    let names = lines.next().ok_or_else(missing)?;
    let at = names.iter().position(|name| name == column).ok_or_else(missing)?;
    let mut found = lines.find(|cells| cells[0] == row).ok_or_else(missing)?;
    Ok(found.swap_remove(at))
}

/// The numbers of a cell such as `2 · 0.5 · 12`.
fn numbers<const N: usize>(cell: &str) -> Result<[f64; N]> {
    let numbers: Vec<f64> = cell.split('·').map(|number| number.trim().parse()).collect::<Result<_, _>>()?;
    numbers.try_into().map_err(|_| format!("{cell} does not have {N} numbers").into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documented_bill_matches_the_documented_figures() {
        let bill = std::fs::read_to_string(docs().join("cost.md")).expect("docs/benchmarks/cost.md");
        for table in tables().expect("a bill") {
            assert!(bill.contains(&table), "run: cargo run -p bench -- bill --write\n{table}");
        }
    }

    #[test]
    fn cell_is_found_by_row_and_column() {
        let document = "### Cost\n\n| request | 1,000 |\n| --- | --- |\n| GET one | 1 · 0.5 · 0 |\n\n| GET one | 7 |\n";
        assert_eq!(
            numbers(&cell(document, "Cost", "GET one", "1,000").expect("a cell")).expect("three"),
            [1.0, 0.5, 0.0]
        );
        for (heading, row, column) in
            [("Time", "GET one", "1,000"), ("Cost", "list", "1,000"), ("Cost", "GET one", "7")]
        {
            assert!(cell(document, heading, row, column).is_err(), "{heading} {row} {column}");
        }
    }
}
