//! The lag of the index during an import through the API into one tenant, the state of the index afterwards, and the
//! speed at which a backlog is indexed.

use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use clap::Args;
use indicatif::ProgressBar;
use local::Embedded;
use local::table::TableLocation;
use serde::{Deserialize, Serialize};

use crate::http::{ApiClient, Response, list};
use crate::stages::Stages;
use crate::system::{TABLE, bar, empty, start, tenant};
use crate::tables::{self, section, thousands};
use crate::{Result, end_users, load, process};

/// The number of concurrent requests.
const WRITERS: usize = 16;
/// The end users per part of an import. The system is restarted for each part: the embedded engine keeps the token of
/// each transaction for ten minutes and reads all of them in the next transaction, which slows it down.
const PART: u32 = 20_000;
/// The interval of measuring the lag, and of reading sorted pages.
const INTERVAL: Duration = Duration::from_secs(1);
const PAGE: u32 = 50;
/// The indexing function. template.yaml gives it one vCPU.
const INDEXER: &str = "index-end-users";

/// The options of the benchmark.
#[derive(Args)]
pub(crate) struct Options {
    /// The number of end users at the end.
    #[arg(long, default_value_t = 1_000_000)]
    end_users: u32,
    /// The number of end users that are loaded first, without the API.
    #[arg(long, default_value_t = 0)]
    loaded: u32,
    /// The most creates per second.
    #[arg(long, default_value_t = 125)]
    rate: u32,
    /// The number of end users in the backlog.
    #[arg(long, default_value_t = 20_000)]
    backlog: u32,
    /// The directory of data and results. Stages with a result are skipped.
    #[arg(long, default_value = "target/bench/import")]
    data: PathBuf,
    /// Starts over: empties the directory first.
    #[arg(long)]
    fresh: bool,
    /// The built functions (cargo-lambda's target/lambda). With them the backlog is indexed by the function as a
    /// process, and its CPU time is measured.
    #[arg(long, value_name = "DIR")]
    functions: Option<PathBuf>,
    /// Writes docs/benchmarks/import.md.
    #[arg(long)]
    write: bool,
}

/// Runs all stages that have no result yet.
pub(crate) async fn run(options: Options) -> Result<()> {
    let stages = Stages::open(&options.data, options.fresh)?;
    let directory = |stage: &str| options.data.join(stage);
    let Options { end_users, loaded, rate, .. } = options;
    let data = directory("end-users");
    let bar = bar("import", end_users.into());
    stages.run(&format!("load-{loaded}-{end_users}"), async || load(&data, end_users, loaded, &bar).await).await?;
    let mut parts = Vec::new();
    for start in (loaded..end_users).step_by(PART as usize) {
        let goal = end_users.min(start + PART);
        bar.set_position(start.into());
        let part = async || import(&data, goal, end_users, rate, &bar).await;
        parts.push(stages.run(&format!("import-{loaded}-{end_users}-{rate}-{goal}"), part).await?);
    }
    let checked = stages.run(&format!("check-{loaded}-{end_users}"), async || check(&data, end_users).await).await?;
    let import = Import { loaded, rate, parts };
    let end_users = options.backlog;
    let functions = options.functions.clone();
    let backlog =
        async || backlog(&directory("backlog"), end_users, functions, &self::bar("backlog", end_users.into())).await;
    let backlog = stages.run(&format!("backlog-{end_users}"), backlog).await?;
    tables::publish("import", &[import.totals(), import.course(), checked.table(), backlog.table()], options.write)
}

/// The results of an import.
struct Import {
    /// The number of end users before the import.
    loaded: u32,
    /// The most creates per second.
    rate: u32,
    parts: Vec<Part>,
}

/// The result of a part of an import.
#[derive(Serialize, Deserialize)]
struct Part {
    /// The number of end users at the part's end.
    end_users: u32,
    created: usize,
    create_seconds: f64,
    /// The time from the last create until the index had all end users.
    settle_seconds: f64,
    /// The most end users that were missing from the index.
    behind: usize,
    /// The greatest age of an end user that was missing from the index.
    lag_seconds: f64,
    /// The number of pages that were checked.
    pages: usize,
    /// The errors of these pages, of the total and of the ids.
    findings: Vec<String>,
}

/// The result of `index check` after the import.
#[derive(Serialize, Deserialize)]
struct Checked {
    end_users: u64,
    counted: u64,
    entries: u64,
    blocks: u64,
    wrong: usize,
    seconds: f64,
}

/// The result of indexing a backlog while no end users are created.
#[derive(Serialize, Deserialize)]
struct Backlog {
    end_users: u32,
    seconds: f64,
    /// The CPU time of the database's thread.
    database_seconds: f64,
    /// The CPU time of the function, if it ran as a process.
    function_seconds: Option<f64>,
}

/// The created end users in order of the responses: time of the response, number and id.
#[derive(Default)]
struct Created(Mutex<Vec<(Instant, u32, u32)>>);

impl Created {
    fn with<T>(&self, action: impl FnOnce(&mut Vec<(Instant, u32, u32)>) -> T) -> T {
        action(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn len(&self) -> usize {
        self.with(|all| all.len())
    }
}

/// Loads `loaded` end users of a tenant without the API. The tenant's name is the final number, `end_users`.
pub(crate) async fn load(directory: &Path, end_users: u32, loaded: u32, bar: &ProgressBar) -> Result<()> {
    empty(directory)?;
    start(directory, None).await?.stop().await;
    if loaded > 0 {
        let (directory, bar) = (directory.to_owned(), bar.clone());
        let load = move || load::load(&directory, TABLE, &tenant(end_users), loaded, &bar);
        tokio::task::spawn_blocking(load).await??;
    }
    Ok(())
}

/// Creates end users until the tenant has `goal` of them, and waits until the index has all. End users of an
/// interrupted run of this part are kept.
async fn import(directory: &Path, goal: u32, end_users: u32, rate: u32, bar: &ProgressBar) -> Result<Part> {
    let local = start(directory, None).await?;
    let api = ApiClient::new(&local, &tenant(end_users))?;
    api.settle().await?;
    let newest = api.get("/api/EndUsers?sortOrder=desc&pageSize=1").await?.expect(200)?;
    let existing = newest.body["totalCount"].as_u64().unwrap_or_default() as u32;
    // The number of an end user is at most its id, so an interrupted run has not used these numbers.
    let first = newest.ids().first().map_or(1, |id| id + 1);
    let end = first + goal - existing;

    let (created, next, done) = (Created::default(), AtomicU32::new(first), AtomicBool::new(false));
    let started = Instant::now();
    let writers = async {
        let due = |number: u32| started + Duration::from_secs(1) * (number - first) / rate;
        let writers = (0..WRITERS).map(|_| write(&api, end, &due, &next, &created, bar));
        let written = futures::future::try_join_all(writers).await;
        done.store(true, Ordering::Relaxed);
        written.map(|_| started.elapsed().as_secs_f64())
    };
    let far = (goal == end_users).then_some(end_users / 2 / PAGE + 1);
    let (create_seconds, (behind, lag_seconds), read) =
        tokio::try_join!(writers, watch(&api, &created, &done), read(&api, far, &done))?;
    let settle_seconds = started.elapsed().as_secs_f64() - create_seconds;
    let total = api.get("/api/EndUsers").await?.expect(200)?.body["totalCount"].clone();
    // The far page started the build of a rank index, which ends after all end users are indexed.
    api.settle().await?;
    local.stop().await;

    let Read { pages, seen, mut findings } = read;
    findings.extend((total != goal).then(|| format!("{goal} end users exist, {total} are counted")));
    let ids: BTreeSet<u32> = created.with(|all| all.iter().map(|(_, _, id)| *id).collect());
    let unknown = seen.into_iter().filter(|id| *id >= first && !ids.contains(id));
    findings.extend(unknown.map(|id| format!("{id} was listed, but never created")));
    let doubled = created.len() - ids.len();
    findings.extend((doubled > 0).then(|| format!("{doubled} ids were assigned twice")));
    let created = created.len();
    Ok(Part { end_users: goal, created, create_seconds, settle_seconds, behind, lag_seconds, pages, findings })
}

/// Creates one end user after another, none before it is due, up to the number `end`.
async fn write(
    api: &ApiClient,
    end: u32,
    due: &impl Fn(u32) -> Instant,
    next: &AtomicU32,
    created: &Created,
    bar: &ProgressBar,
) -> Result<()> {
    loop {
        let number = next.fetch_add(1, Ordering::Relaxed);
        if number >= end {
            return Ok(());
        }
        tokio::time::sleep_until(due(number).into()).await;
        let id = api.post("/api/EndUsers", &end_users::body(number)).await?.expect(201)?.id()?;
        created.with(|all| all.push((Instant::now(), number, id)));
        bar.inc(1);
    }
}

/// Measures the lag every [`INTERVAL`], until all end users are created and indexed. Returns the greatest backlog and
/// the greatest lag in seconds. The stream is indexed in order, so a binary search finds the oldest end user that is
/// missing from the index.
async fn watch(api: &ApiClient, created: &Created, done: &AtomicBool) -> Result<(usize, f64)> {
    let (mut indexed, mut behind, mut lag) = (0, 0, 0_f64);
    loop {
        let all_are_created = done.load(Ordering::Relaxed);
        let known = created.len();
        let mut end = known;
        while indexed < end {
            let middle = (indexed + end) / 2;
            let (_, number, id) = created.with(|all| all[middle]);
            let found = api.get(&list(&end_users::reference(number), "endUserID", false, 1)).await?.expect(200)?;
            if found.ids().contains(&id) {
                indexed = middle + 1;
            } else {
                end = middle;
            }
        }
        let oldest = created.with(|all| all.get(indexed).map(|(at, ..)| at.elapsed()));
        behind = behind.max(known - indexed);
        lag = lag.max(oldest.unwrap_or_default().as_secs_f64());
        if all_are_created && indexed == known {
            return Ok((behind, lag));
        }
        tokio::time::sleep(INTERVAL).await;
    }
}

/// The results of reading sorted pages.
#[derive(Default)]
struct Read {
    pages: usize,
    /// The ids on these pages.
    seen: BTreeSet<u32>,
    findings: Vec<String>,
}

/// Reads the first page by last name and, if given, the page `far`, until all end users are created.
async fn read(api: &ApiClient, far: Option<u32>, done: &AtomicBool) -> Result<Read> {
    let mut read = Read::default();
    while !done.load(Ordering::Relaxed) {
        for page in [Some(1), far].into_iter().flatten() {
            let path = format!("/api/EndUsers?sortBy=lastname&pageSize={PAGE}&pageNumber={page}");
            let response = api.get(&path).await?.expect(200)?;
            read.pages += 1;
            read.findings.extend(disorder(&response).map(|what| format!("page {page}: {what}")));
            read.seen.extend(response.ids());
        }
        tokio::time::sleep(INTERVAL).await;
    }
    Ok(read)
}

/// The first pair of rows that are not in order on a page sorted by last name.
fn disorder(page: &Response) -> Option<String> {
    let items = page.body["items"].as_array().into_iter().flatten();
    let rows =
        items.map(|end_user| (end_user["lastname"].as_str().map(str::to_lowercase), end_user["endUserID"].as_u64()));
    let rows: Vec<_> = rows.collect();
    // Strictly ascending pairs (name, id) have distinct ids.
    let wrong = rows.windows(2).find(|pair| pair[0] >= pair[1])?;
    Some(format!("{wrong:?}"))
}

/// Compares the index with the documents, as `index check` does.
async fn check(directory: &Path, end_users: u32) -> Result<Checked> {
    let started = Instant::now();
    let variables = HashMap::from([("TABLE_NAME".to_owned(), TABLE.to_owned())]);
    let location = TableLocation::Directory(directory.to_owned());
    let found = local::index::check(location, &variables, &end_users.to_string(), false).await?;
    Ok(Checked {
        end_users: found.end_users,
        counted: found.counted,
        entries: found.entries,
        blocks: found.blocks,
        wrong: found.wrong_end_users.len() + found.wrong_blocks.len(),
        seconds: started.elapsed().as_secs_f64(),
    })
}

/// Measures how long the poller takes to index end users whose documents and stream records exist before it starts.
async fn backlog(directory: &Path, end_users: u32, functions: Option<PathBuf>, bar: &ProgressBar) -> Result<Backlog> {
    empty(directory)?;
    start(directory, None).await?.stop().await;
    let tenant = tenant(end_users);
    let database = local::open_engine(directory)?;
    for number in 1..=end_users {
        let records = shared::store::records(&tenant, &shared::store::Document::new(end_users::end_user(number)?))?;
        load::import(&database, TABLE, records.into_values().map(load::stored).collect::<Result<_>>()?, true)?;
        bar.inc(1);
    }
    drop(database);
    let started = Instant::now();
    let by_processes = functions.is_some();
    let local = start(directory, functions).await?;
    let api = ApiClient::new(&local, &tenant)?;
    api.settle().await?;
    let seconds = started.elapsed().as_secs_f64();
    let database = process::cpu(&process::of_thread(Embedded::THREAD)?)?;
    let function = by_processes.then(|| process::cpu(&process::of_function(INDEXER)?)).transpose()?;
    let last = list(&end_users::reference(end_users), "endUserID", false, 1);
    let found = api.get(&last).await?.expect(200)?.ids();
    local.stop().await;
    if found != [end_users] {
        return Err("the backlog was not indexed".into());
    }
    let (database_seconds, function_seconds) = (database.as_secs_f64(), function.map(|cpu| cpu.as_secs_f64()));
    Ok(Backlog { end_users, seconds, database_seconds, function_seconds })
}

impl Import {
    fn totals(&self) -> String {
        let sum = |of: fn(&Part) -> f64| self.parts.iter().map(of).sum::<f64>();
        let most = |of: fn(&Part) -> f64| self.parts.iter().map(of).fold(0.0, f64::max);
        let count = |of: fn(&Part) -> usize| self.parts.iter().map(of).sum::<usize>();
        let created = count(|part| part.created) as u32;
        let seconds = sum(|part| part.create_seconds);
        facts(
            "The import",
            &[
                ("end users before", thousands(self.loaded.into())),
                ("end users created over HTTP by 16 writers", thousands(created.into())),
                ("creates per second, limit", self.rate.to_string()),
                ("creates per second", rate(created, seconds)),
                ("indexed per second, during and after", rate(created, seconds + sum(|part| part.settle_seconds))),
                ("greatest backlog, end users", thousands(most(|part| part.behind as f64) as u64)),
                ("greatest lag, s", format!("{:.0}", most(|part| part.lag_seconds))),
                ("sorted pages checked", thousands(count(|part| part.pages) as u64)),
                ("out of order, duplicate, unknown or miscounted", count(|part| part.findings.len()).to_string()),
            ],
        )
    }

    /// The parts in which each tenth was reached.
    fn course(&self) -> String {
        let last = self.parts.last().map_or(0, |part| part.end_users);
        let tenths = (1..=10).map(|tenth| self.loaded + (last - self.loaded) / 10 * tenth);
        let mut reached: Vec<&Part> =
            tenths.filter_map(|goal| self.parts.iter().find(|part| part.end_users >= goal)).collect();
        reached.dedup_by_key(|part| part.end_users);
        let rows = reached.into_iter().map(|part| {
            let numbers = [rate(part.created as u32, part.create_seconds), thousands(part.behind as u64)];
            let seconds = [part.lag_seconds, part.settle_seconds].map(|seconds| format!("{seconds:.1}"));
            [&[thousands(part.end_users.into())][..], &numbers, &seconds].concat()
        });
        let names = [
            "creates per second",
            "greatest backlog, end users",
            "greatest lag, s",
            "indexed after the last create, s",
        ];
        section("The import by parts", "end users", &names.map(str::to_owned), rows.collect())
    }
}

impl Checked {
    fn table(&self) -> String {
        let Self { end_users, counted, entries, blocks, wrong, seconds } = self;
        facts(
            "The index afterwards, by `index check`",
            &[
                ("end users read", thousands(*end_users)),
                ("end users in the counter", thousands(*counted)),
                ("entries read", thousands(*entries)),
                ("blocks read", thousands(*blocks)),
                ("errors", wrong.to_string()),
                ("duration, s", format!("{seconds:.0}")),
            ],
        )
    }
}

impl Backlog {
    fn table(&self) -> String {
        let Self { end_users, seconds, database_seconds, function_seconds } = self;
        let each = |seconds: f64| format!("{:.2}", seconds * 1e3 / f64::from(*end_users));
        let mut rows = vec![
            ("end users", thousands((*end_users).into())),
            ("indexed per second", rate(*end_users, *seconds)),
            ("CPU of the database's one thread, ms per end user", each(*database_seconds)),
        ];
        if let Some(function) = function_seconds {
            rows.push(("CPU of the function, ms per end user", each(*function)));
            rows.push(("end users per second of one vCPU", rate(*end_users, *function)));
        }
        facts("A backlog by itself", &rows)
    }
}

fn rate(end_users: u32, seconds: f64) -> String {
    format!("{:.0}", f64::from(end_users) / seconds)
}

/// A table of names and values.
fn facts(title: &str, rows: &[(&str, String)]) -> String {
    let rows = rows.iter().map(|(name, value)| vec![(*name).to_owned(), value.clone()]);
    section(title, "", &[String::new()], rows.collect())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::http::Cost;

    #[test]
    fn page_out_of_order_or_with_duplicates_is_found() {
        let page = |rows: &[(&str, u32)]| {
            let items: Vec<_> = rows.iter().map(|(name, id)| json!({ "lastname": name, "endUserID": id })).collect();
            let body = json!({ "items": items });
            Response { status: 200, body, cost: Cost::default(), took: Duration::ZERO }
        };
        assert_eq!(disorder(&page(&[("Aerts", 3), ("aerts", 4), ("Claes", 1)])), None);
        assert!(disorder(&page(&[("Aerts", 4), ("Aerts", 3)])).is_some());
        assert!(disorder(&page(&[("Claes", 1), ("Aerts", 4)])).is_some());
        assert!(disorder(&page(&[("Aerts", 4), ("Aerts", 4)])).is_some());
    }
}
