//! The tables and the figure of docs/benchmarks/scale.md.

use super::contention::Contention;
use super::freshness::Freshness;
use super::measure::{EVENT, RankBuild, Row};
use super::memory::Footprint;
use super::naive::Naive;
use super::rank_indexes::IndexingCost;
use crate::Result;
use crate::figure::{Line, figure};
use crate::http::Cost;
use crate::load::Loaded;
use crate::tables::{self, section, thousands};

/// The panels of the figure, one for each line of the budgets, and their columns.
const DRAWN: [&str; 16] = [
    "GET one",
    "byUid, e-mail",
    "list, first page",
    "list, first page by lastname",
    "list, middle page",
    "list, middle page by lastname",
    "search, 7 found",
    "search, 30 % found",
    "search, 30 % found, by lastname",
    "tickets, 3 UIDs, 30 tickets",
    "create",
    "update of one name",
    "assign",
    "delete",
    "index one new end user",
    EVENT,
];
const COLUMNS: usize = 4;

/// All results.
pub(crate) struct Report {
    pub(crate) loads: Vec<Loaded>,
    pub(crate) tenants: Vec<TenantReport>,
    pub(crate) memory: Option<Vec<Footprint>>,
    pub(crate) freshness: Vec<Freshness>,
    pub(crate) rank_indexes: Vec<IndexingCost>,
    pub(crate) contention: Vec<Contention>,
}

/// The results of one tenant.
pub(crate) struct TenantReport {
    pub(crate) end_users: u32,
    pub(crate) rows: Vec<Row>,
    pub(crate) builds: Vec<RankBuild>,
    pub(crate) naive: Naive,
}

impl Report {
    /// Prints the tables, or writes docs/benchmarks/scale.md and docs/benchmarks/scale.svg.
    pub(crate) fn publish(&self, write: bool) -> Result<()> {
        let parts = [
            self.costs(),
            section("Time", "request, p50 / p99 in ms", &self.sizes(), self.by_request(times)),
            self.rank_builds(),
            self.naive(),
            self.memory(),
            self.contention(),
            self.freshness(),
            self.indexing_costs(),
            self.loads(),
        ];
        tables::publish("scale", &parts, write)?;
        if write {
            std::fs::write(tables::docs().join("scale.svg"), self.figure())?;
        }
        Ok(())
    }

    fn costs(&self) -> String {
        let mut rows = self.by_request(|row| cost(row.cost, row.failures));
        rows.iter_mut().for_each(|row| row.push(budget(&row[0]).to_owned()));
        section("Cost", "request", &[self.sizes(), vec!["budget".to_owned()]].concat(), rows)
    }

    fn sizes(&self) -> Vec<String> {
        self.tenants.iter().map(|tenant| thousands(tenant.end_users.into())).collect()
    }

    /// A row for each request, with a cell for each tenant.
    fn by_request(&self, cell: impl Fn(&Row) -> String) -> Vec<Vec<String>> {
        let requests = self.tenants.first().map(|tenant| &tenant.rows[..]).unwrap_or_default();
        let cells = |request: &str| {
            let rows = self.tenants.iter().map(|tenant| tenant.row(request));
            rows.map(|row| row.map_or_else(String::new, &cell)).collect::<Vec<_>>()
        };
        requests.iter().map(|row| [vec![row.request.clone()], cells(&row.request)].concat()).collect()
    }

    fn rank_builds(&self) -> String {
        let mut rows = Vec::new();
        for tenant in &self.tenants {
            for RankBuild { order, first, seconds } in &tenant.builds {
                let end_users = thousands(tenant.end_users.into());
                let millis = format!("{:.0}", first.times.max);
                rows.push(vec![
                    end_users,
                    order.clone(),
                    cost(first.cost, first.failures),
                    millis,
                    format!("{seconds:.1}"),
                ]);
            }
        }
        let names = ["order", "first far page", "ms", "build, s"].map(str::to_owned);
        section("The first far page builds a rank index", "end users", &names, rows)
    }

    fn naive(&self) -> String {
        let rows = self.tenants.iter().map(|tenant| {
            let Naive { cost: spent, seconds } = &tenant.naive;
            let page = tenant.row("list, middle page by lastname");
            let cheaper = page.map_or(0.0, |row| spent.read / row.cost.read);
            let faster = page.map_or(0.0, |row| seconds * 1e3 / row.times.p50);
            let ratios = [format!("{cheaper:.0} ×"), format!("{faster:.0} ×")];
            [vec![thousands(tenant.end_users.into()), cost(*spent, 0), format!("{seconds:.2}")], ratios.to_vec()]
                .concat()
        });
        let names = ["full read", "s", "read units, compared with the indexed page", "time, compared with its p50"];
        section(
            "Without an index: read all, sort, return a page",
            "end users",
            &names.map(str::to_owned),
            rows.collect(),
        )
    }

    fn memory(&self) -> String {
        let title = "Memory and time of a function in the largest search";
        let Some(footprints) = &self.memory else {
            return format!("### {title}\n\nNot measured: `--functions` was not given.\n");
        };
        let rows = footprints.iter().map(|taken| {
            let Footprint { request, status, peak_mb, cpu_seconds, lambda_seconds, wall_seconds } = taken;
            let numbers = [cpu_seconds, lambda_seconds, wall_seconds].map(|seconds| format!("{seconds:.1}"));
            [vec![request.clone(), status.to_string(), format!("{peak_mb:.0}")], numbers.to_vec()].concat()
        });
        let names = ["status", "peak MB", "CPU s", "s at the vCPU share of 256 MB", "s on this machine"];
        section(title, "request", &names.map(str::to_owned), rows.collect())
    }

    fn contention(&self) -> String {
        let rows = self.contention.iter().map(|contention| {
            let Contention { instances, created, failed, conflicts, seconds, duplicates, lost, counted } = contention;
            let retries = format!("{:.2}", *conflicts as f64 / *created as f64);
            let rate = format!("{:.0}", *created as f64 / seconds);
            let end_users = [created, failed].map(ToString::to_string);
            let wrong = format!("{duplicates}, {lost}, {}", counted.abs_diff(*created as u64));
            [vec![instances.to_string()], end_users.to_vec(), vec![conflicts.to_string(), retries, rate, wrong]]
                .concat()
        });
        let names = [
            "created",
            "failed",
            "conflicts",
            "retries per create",
            "creates per second",
            "duplicate, lost, miscounted",
        ];
        let title = "16 writers in one tenant, with transactions of 8 ms that conflict";
        section(title, "instances", &names.map(str::to_owned), rows.collect())
    }

    fn freshness(&self) -> String {
        let rows = self.freshness.iter().flat_map(|fresh| {
            let load = if fresh.load == 0 { "idle".to_owned() } else { format!("{} creates/s", fresh.load) };
            [("sorted list", fresh.list), ("search", fresh.search)].map(|(place, times)| {
                let times = [times.p50, times.p90, times.p99, times.max].map(millis);
                [vec![place.to_owned(), load.clone()], times.to_vec()].concat()
            })
        });
        let names = ["load", "p50 ms", "p90 ms", "p99 ms", "max ms"].map(str::to_owned);
        section("From the response of a create until it is visible", "in", &names, rows.collect())
    }

    fn indexing_costs(&self) -> String {
        let rows = self.rank_indexes.iter().map(|indexing| {
            let costs =
                [indexing.create_alone, indexing.create_in_batch, indexing.update_alone, indexing.update_in_batch];
            let units = costs.map(|cost| format!("{:.1} · {:.1}", cost.read, cost.write));
            [vec![indexing.orders.to_string()], units.to_vec()].concat()
        });
        let names =
            ["create, alone", "create, in a batch of 100", "update of one name, alone", "update, in a batch of 100"];
        let title = "Indexing an end user by number of rank indexes, read · write units";
        section(title, "rank indexes", &names.map(str::to_owned), rows.collect())
    }

    fn loads(&self) -> String {
        let rows = self.loads.iter().map(|load| {
            let gigabytes = load.file_bytes as f64 / 1e9;
            vec![thousands(load.end_users.into()), format!("{:.0}", load.rate), format!("{gigabytes:.2}")]
        });
        let names = ["loaded per second", "file afterwards, GB"].map(str::to_owned);
        section("Loading", "end users", &names, rows.collect())
    }

    fn figure(&self) -> String {
        let line = |name: &str, value: &dyn Fn(&TenantReport) -> Option<f64>| Line {
            name: name.to_owned(),
            points: self.tenants.iter().filter_map(|t| Some((f64::from(t.end_users), value(t)?))).collect(),
        };
        let panels = DRAWN.map(|request| {
            let own = |name, value: fn(&Row) -> f64| line(name, &|tenant| tenant.row(request).map(value));
            // A full read replaces lists and searches only.
            let listed = request.starts_with("list") || request.starts_with("search");
            let naive = |name, value: fn(&Naive) -> f64| line(name, &|t| listed.then(|| value(&t.naive)));
            let lines = vec![
                own("read units", |row| row.cost.read),
                naive("read units of a full read", |naive| naive.cost.read),
                own("p50, ms", |row| row.times.p50),
                naive("ms of a full read", |naive| naive.seconds * 1e3),
                own("write units", |row| row.cost.write),
            ];
            (request, lines)
        });
        figure(COLUMNS, &panels)
    }
}

impl TenantReport {
    fn row(&self, request: &str) -> Option<&Row> {
        self.rows.iter().find(|row| row.request == request)
    }
}

/// The most that a request may cost. `m` is the number of index entries that a search reads.
fn budget(request: &str) -> &'static str {
    match request.split(',').next().unwrap_or_default() {
        "GET one" => "1 · 1 · 0",
        "byUid" => "2 · 3 · 0",
        "list" if request == "list, first page" => "1 · 4 · 0",
        "list" if request == "list, first page by lastname" => "2 · 12 · 0",
        "list" if request.contains(" by ") => "4 · 34 · 0",
        "list" => "3 · 26.5 · 0",
        "search" => "2 + m/15,000 · 12 + m/80 · 0",
        "tickets" => "3 · 20 · 0",
        "create" => "2 · 0 · 12",
        "update of one name" => "2 · 1 · 3",
        "assign" => "2 · 1 · 7",
        "delete" => "2 · 1 · 11",
        "index one new end user" => "– · 4 · 18 + words",
        _ if request == EVENT => "4 · 3 + bytes/4,096 · 6",
        _ => "",
    }
}

/// A cell with round trips, read units and write units, rounded to tenths.
fn cost(cost: Cost, failures: usize) -> String {
    let failed = if failures > 0 { format!(" ({failures} failed)") } else { String::new() };
    let rounded = [cost.round_trips, cost.read, cost.write].map(|units| (units * 10.0).round() / 10.0);
    format!("{} · {} · {}{failed}", rounded[0], rounded[1], rounded[2])
}

fn times(row: &Row) -> String {
    format!("{} / {}", millis(row.times.p50), millis(row.times.p99))
}

fn millis(millis: f64) -> String {
    if millis < 10.0 { format!("{millis:.1}") } else { format!("{millis:.0}") }
}
