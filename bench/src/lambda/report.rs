//! The tables and the figure of docs/benchmarks/lambda.md.

use super::measure::Measured;
use crate::figure::{Line, figure};
use crate::tables::{self, section};
use crate::{Result, print_line};

/// The request without any work, and the one to which others are compared.
const FLOOR: &str = "a constant";
const UNIT: &str = "one GetItem";
/// The requests in the figure.
const DRAWN: [&str; 6] = [FLOOR, UNIT, "GET one", "byUid, e-mail", "list, first page", "create"];

/// Prints the tables, or writes them into the documents.
pub(crate) fn publish(all: &[Measured], random_ms: f64, write: bool) -> Result<()> {
    let find = |request| all.iter().find(|measured| measured.request == request).ok_or("a baseline is missing");
    let (floor, unit) = (find(FLOOR)?, find(UNIT)?);
    let random = format!("The first random number of AWS-LC took {random_ms:.2} ms of CPU.\n");
    let tables = [sizes(all, unit), starts(all, unit), random, invocations(all, floor, unit), throttled(all)];
    tables::publish("lambda", &tables, write)?;
    if write {
        std::fs::write(tables::docs().join("lambda.svg"), drawn(all))?;
        print_line("wrote docs/benchmarks/lambda.md and docs/benchmarks/lambda.svg");
    }
    Ok(())
}

/// One row per program.
fn sizes(all: &[Measured], unit: &Measured) -> String {
    let mut rows = Vec::new();
    for measured in first_of_each(all) {
        let mb = format!("{:.1}", measured.bytes as f64 / 1e6);
        rows.push(vec![measured.program.clone(), mb, ratio(measured.bytes as f64, unit.bytes as f64)]);
    }
    section("Size", "program", &["MB", "× GetItem"].map(str::to_owned), rows)
}

fn starts(all: &[Measured], unit: &Measured) -> String {
    let rows = first_of_each(all).map(|measured| {
        vec![
            measured.program.clone(),
            format!("{:.1}", measured.init.p50),
            format!("{:.1}", measured.init.max),
            ratio(measured.init.p50, unit.init.p50),
            format!("{:.1}", measured.init_cpu_ms),
            ratio(measured.init_cpu_ms, unit.init_cpu_ms),
        ]
    });
    let names = ["p50 ms", "max ms", "× GetItem", "CPU ms", "× GetItem"].map(str::to_owned);
    section("From exec to the request for the first event", "program", &names, rows.collect())
}

fn invocations(all: &[Measured], floor: &Measured, unit: &Measured) -> String {
    let call_ms = unit.warm_cpu_ms - floor.warm_cpu_ms;
    let cold = |measured: &Measured| measured.init.p50 + measured.first.p50;
    let rows = all.iter().map(|measured| {
        vec![
            measured.request.clone(),
            format!("{:.1}", measured.first.p50),
            ratio(cold(measured), cold(unit)),
            format!("{:.2}", measured.warm.p50),
            format!("{:.2}", measured.warm.p99),
            format!("{:.0}", measured.warm_cpu_ms * 1e3),
            ratio(measured.warm_cpu_ms, unit.warm_cpu_ms),
            format!("{:.0}", measured.calls),
            ratio(measured.warm_cpu_ms, floor.warm_cpu_ms + measured.calls * call_ms),
            format!("{:.1}", measured.peak_mb),
        ]
    });
    let names = [
        "first p50, ms",
        "start and first × GetItem",
        "warm p50, ms",
        "warm p99, ms",
        "warm CPU, µs",
        "× GetItem",
        "calls",
        "× baseline with as many calls",
        "peak MB",
    ];
    section("Invocations", "request", &names.map(str::to_owned), rows.collect())
}

fn throttled(all: &[Measured]) -> String {
    let memories: Vec<u32> =
        all.first().map(|m| m.throttled.iter().map(|throttled| throttled.mb).collect()).unwrap_or_default();
    let title = "With the CPU quota of a memory size: first p50 · warm p50 · warm p99, ms";
    if memories.is_empty() {
        return format!("### {title}\n\nNot measured.\n");
    }
    let rows = all.iter().map(|measured| {
        let cells = measured.throttled.iter().map(|throttled| {
            let [first, p50, p99] =
                [throttled.first.p50, throttled.warm.p50, throttled.warm.p99].map(|ms| format!("{ms:.1}"));
            format!("{first} · {p50} · {p99}")
        });
        [vec![measured.request.clone()], cells.collect()].concat()
    });
    let names: Vec<_> = memories.iter().map(|mb| format!("{mb} MB")).collect();
    section(title, "request", &names, rows.collect())
}

fn drawn(all: &[Measured]) -> String {
    let lines = |value: fn(&super::measure::Throttled) -> f64| {
        let drawn = DRAWN.iter().filter_map(|name| all.iter().find(|measured| measured.request == *name));
        let line = |measured: &Measured| Line {
            name: measured.request.clone(),
            points: measured.throttled.iter().map(|throttled| (f64::from(throttled.mb), value(throttled))).collect(),
        };
        drawn.map(line).collect::<Vec<_>>()
    };
    let panels = [
        ("first invocation, ms, by MB of memory", lines(|throttled| throttled.first.p50)),
        ("warm p50, ms, by MB of memory", lines(|throttled| throttled.warm.p50)),
    ];
    figure(panels.len(), &panels)
}

fn first_of_each(all: &[Measured]) -> impl Iterator<Item = &Measured> {
    all.iter().enumerate().filter(|(i, m)| all[..*i].iter().all(|other| other.program != m.program)).map(|(_, m)| m)
}

fn ratio(value: f64, unit: f64) -> String {
    format!("{:.2}", value / unit)
}
