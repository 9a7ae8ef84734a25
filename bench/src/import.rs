//! An import through the API into one tenant, while the stream is indexed and sorted pages are read; what
//! the index holds afterwards; and how fast a backlog is indexed by itself.

use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use clap::Args;
use indicatif::ProgressBar;
use local::Embedded;
use local::index::TableLocation;
use serde::{Deserialize, Serialize};

use crate::http::{Answer, Caller, list};
use crate::stages::Stages;
use crate::system::{TABLE, bar, empty, start, tenant};
use crate::tables::{self, section, thousands};
use crate::{Outcome, end_users, load, process};

/// How many requests are under way at once.
const WRITERS: usize = 16;
/// A part of an import. The system is started anew for each: the embedded engine keeps the token of each
/// transaction for ten minutes and goes through all of them at the next, which after a while takes it longer
/// than the transaction.
const PART: u32 = 20_000;
/// How often is looked how far indexing is, and whether pages are in order.
const LOOK: Duration = Duration::from_secs(1);
const PAGE: u32 = 50;
/// The function that indexes; the template gives it one vCPU.
const INDEXER: &str = "index-end-users";

/// What is imported, and where data is kept.
#[derive(Args)]
pub(crate) struct Options {
    /// How many end users are imported.
    #[arg(long, default_value_t = 1_000_000)]
    end_users: u32,
    /// How many of them are there before, loaded past the API.
    #[arg(long, default_value_t = 0)]
    loaded: u32,
    /// How many end users are created a second at most.
    #[arg(long, default_value_t = 125)]
    rate: u32,
    /// How many end users are indexed by themselves.
    #[arg(long, default_value_t = 20_000)]
    backlog: u32,
    /// Where data and results are kept; what is there is not done again.
    #[arg(long, default_value = "target/bench/import")]
    data: PathBuf,
    /// Starts over.
    #[arg(long)]
    fresh: bool,
    /// The built functions (cargo-lambda's target/lambda): the backlog is indexed by the function as a
    /// process, and its CPU time measured.
    #[arg(long, value_name = "DIR")]
    functions: Option<PathBuf>,
    /// Writes docs/benchmarks/import.md.
    #[arg(long)]
    write: bool,
}

/// Measures all, or what is left of it.
pub(crate) async fn run(options: Options) -> Outcome<()> {
    let stages = Stages::open(&options.data, options.fresh)?;
    let directory = |stage: &str| options.data.join(stage);
    let Options { end_users, loaded, rate, .. } = options;
    let data = directory("people");
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

/// How an import went.
struct Import {
    /// The end users that were there before.
    loaded: u32,
    /// End users a second at most.
    rate: u32,
    parts: Vec<Part>,
}

/// How a part of it went.
#[derive(Serialize, Deserialize)]
struct Part {
    /// The end users there at its end.
    end_users: u32,
    created: usize,
    create_seconds: f64,
    /// From the last create until the index held everybody.
    settle_seconds: f64,
    /// The most end users that the index did not hold.
    behind: usize,
    /// The greatest age of a create that the index did not hold.
    lag_seconds: f64,
    /// Pages that were checked, and what was wrong with them.
    pages: usize,
    findings: Vec<String>,
}

/// What `index check` says of the index afterwards.
#[derive(Serialize, Deserialize)]
struct Checked {
    end_users: u64,
    counted: u64,
    entries: u64,
    blocks: u64,
    wrong: usize,
    seconds: f64,
}

/// How fast end users are indexed of whom nobody else makes more.
#[derive(Serialize, Deserialize)]
struct Backlog {
    end_users: u32,
    seconds: f64,
    /// CPU time of the database's thread.
    database_seconds: f64,
    /// CPU time of the function, where it was a process.
    function_seconds: Option<f64>,
}

/// What was created: when it was answered, number and id, in the order of the answers.
#[derive(Default)]
struct Created(Mutex<Vec<(Instant, u32, u32)>>);

impl Created {
    fn with<T>(&self, act: impl FnOnce(&mut Vec<(Instant, u32, u32)>) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn len(&self) -> usize {
        self.with(|all| all.len())
    }
}

/// A tenant of `loaded` end users, past the API; it is called by the number of `end_users` that it is to have.
pub(crate) async fn load(directory: &Path, end_users: u32, loaded: u32, bar: &ProgressBar) -> Outcome<()> {
    empty(directory)?;
    start(directory, None).await?.stop().await;
    if loaded > 0 {
        let (directory, bar) = (directory.to_owned(), bar.clone());
        let load = move || load::load(&directory, TABLE, &tenant(end_users), loaded, &bar);
        tokio::task::spawn_blocking(load).await??;
    }
    Ok(())
}

/// Creates end users until `goal` are there, and waits until the index holds them. What a run left that was
/// ended in this part stays, and is gone on from.
async fn import(directory: &Path, goal: u32, end_users: u32, rate: u32, bar: &ProgressBar) -> Outcome<Part> {
    let local = start(directory, None).await?;
    let caller = Caller::new(&local, &tenant(end_users))?;
    caller.settle().await?;
    let newest = caller.get("/api/EndUsers?sortOrder=desc&pageSize=1").await?.expect(200)?;
    let there = newest.body["totalCount"].as_u64().unwrap_or_default() as u32;
    // An end user's number is at most their id, so that those of a run that was ended are not used again.
    let first = newest.ids().first().map_or(1, |id| id + 1);
    let end = first + goal - there;

    let (created, next, done) = (Created::default(), AtomicU32::new(first), AtomicBool::new(false));
    let started = Instant::now();
    let writers = async {
        let due = |number: u32| started + Duration::from_secs(1) * (number - first) / rate;
        let writers = (0..WRITERS).map(|_| write(&caller, end, &due, &next, &created, bar));
        let written = futures::future::try_join_all(writers).await;
        done.store(true, Ordering::Relaxed);
        written.map(|_| started.elapsed().as_secs_f64())
    };
    let far = (goal == end_users).then_some(end_users / 2 / PAGE + 1);
    let (create_seconds, (behind, lag_seconds), read) =
        tokio::try_join!(writers, watch(&caller, &created, &done), read(&caller, far, &done))?;
    let settle_seconds = started.elapsed().as_secs_f64() - create_seconds;
    let total = caller.get("/api/EndUsers").await?.expect(200)?.body["totalCount"].clone();
    // A far page was asked for, so its order is counted; its turn comes behind all that is indexed.
    caller.settle().await?;
    local.stop().await;

    let Read { pages, seen, mut findings } = read;
    findings.extend((total != goal).then(|| format!("{goal} are there, {total} are counted")));
    let ids: BTreeSet<u32> = created.with(|all| all.iter().map(|(_, _, id)| *id).collect());
    let unknown = seen.into_iter().filter(|id| *id >= first && !ids.contains(id));
    findings.extend(unknown.map(|id| format!("{id} was listed and never created")));
    let doubled = created.len() - ids.len();
    findings.extend((doubled > 0).then(|| format!("{doubled} ids were given twice")));
    let created = created.len();
    Ok(Part { end_users: goal, created, create_seconds, settle_seconds, behind, lag_seconds, pages, findings })
}

/// One writer: creates the next end user, none before it is due, up to the number `end`.
async fn write(
    caller: &Caller,
    end: u32,
    due: &impl Fn(u32) -> Instant,
    next: &AtomicU32,
    created: &Created,
    bar: &ProgressBar,
) -> Outcome<()> {
    loop {
        let number = next.fetch_add(1, Ordering::Relaxed);
        if number >= end {
            return Ok(());
        }
        tokio::time::sleep_until(due(number).into()).await;
        let id = caller.post("/api/EndUsers", &end_users::body(number)).await?.expect(201)?.id()?;
        created.with(|all| all.push((Instant::now(), number, id)));
        bar.inc(1);
    }
}

/// Looks now and then how far indexing is, until all is created and indexed; answers how many were not
/// indexed at most, and for how many seconds. The stream is indexed in its order, so the first who is not
/// found is sought by halves.
async fn watch(caller: &Caller, created: &Created, done: &AtomicBool) -> Outcome<(usize, f64)> {
    let (mut indexed, mut behind, mut lag) = (0, 0, 0_f64);
    loop {
        let all_are_created = done.load(Ordering::Relaxed);
        let known = created.len();
        let mut end = known;
        while indexed < end {
            let middle = (indexed + end) / 2;
            let (_, number, id) = created.with(|all| all[middle]);
            let found = caller.get(&list(&end_users::reference(number), "endUserID", false, 1)).await?.expect(200)?;
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
        tokio::time::sleep(LOOK).await;
    }
}

/// What was read of sorted pages.
#[derive(Default)]
struct Read {
    pages: usize,
    /// Whom they showed.
    seen: BTreeSet<u32>,
    findings: Vec<String>,
}

/// Reads the first page by last name, and a `far` one, until all is created.
async fn read(caller: &Caller, far: Option<u32>, done: &AtomicBool) -> Outcome<Read> {
    let mut read = Read::default();
    while !done.load(Ordering::Relaxed) {
        for page in [Some(1), far].into_iter().flatten() {
            let path = format!("/api/EndUsers?sortBy=lastname&pageSize={PAGE}&pageNumber={page}");
            let answer = caller.get(&path).await?.expect(200)?;
            read.pages += 1;
            read.findings.extend(disorder(&answer).map(|what| format!("page {page}: {what}")));
            read.seen.extend(answer.ids());
        }
        tokio::time::sleep(LOOK).await;
    }
    Ok(read)
}

/// What is wrong with a page sorted by last name.
fn disorder(page: &Answer) -> Option<String> {
    let items = page.body["items"].as_array().into_iter().flatten();
    let rows =
        items.map(|end_user| (end_user["lastname"].as_str().map(str::to_lowercase), end_user["endUserID"].as_u64()));
    let rows: Vec<_> = rows.collect();
    // Ids are distinct where all of (name, id) ascend.
    let wrong = rows.windows(2).find(|pair| pair[0] >= pair[1])?;
    Some(format!("{wrong:?}"))
}

/// Compares the index with the documents, by the operator's command.
async fn check(directory: &Path, end_users: u32) -> Outcome<Checked> {
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

/// End users whose documents are there, with their records in the stream, and who are not indexed: how
/// long the pump takes for all of them.
async fn backlog(directory: &Path, end_users: u32, functions: Option<PathBuf>, bar: &ProgressBar) -> Outcome<Backlog> {
    empty(directory)?;
    start(directory, None).await?.stop().await;
    let tenant = tenant(end_users);
    let database = local::open_engine(directory)?;
    for number in 1..=end_users {
        let records = shared::store::records(&tenant, &shared::store::Document::new(end_users::end_user(number)?))?;
        load::import(&database, TABLE, records.into_values().map(load::stored).collect::<Outcome<_>>()?, true)?;
        bar.inc(1);
    }
    drop(database);
    let started = Instant::now();
    let by_processes = functions.is_some();
    let local = start(directory, functions).await?;
    let caller = Caller::new(&local, &tenant)?;
    caller.settle().await?;
    let seconds = started.elapsed().as_secs_f64();
    let database = process::cpu(&process::of_thread(Embedded::THREAD)?)?;
    let function = by_processes.then(|| process::cpu(&process::of_function(INDEXER)?)).transpose()?;
    let last = list(&end_users::reference(end_users), "endUserID", false, 1);
    let found = caller.get(&last).await?.expect(200)?.ids();
    local.stop().await;
    if found != [end_users] {
        return Err("the backlog is not indexed".into());
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
                ("people there before", thousands(self.loaded.into())),
                ("people created over HTTP by 16 writers", thousands(created.into())),
                ("creates a second, at most", self.rate.to_string()),
                ("creates a second", rate(created, seconds)),
                ("indexed a second, meanwhile and after", rate(created, seconds + sum(|part| part.settle_seconds))),
                ("greatest backlog, people", thousands(most(|part| part.behind as f64) as u64)),
                ("greatest lag, s", format!("{:.0}", most(|part| part.lag_seconds))),
                ("sorted pages checked meanwhile", thousands(count(|part| part.pages) as u64)),
                ("out of order, doubled, unknown or miscounted", count(|part| part.findings.len()).to_string()),
            ],
        )
    }

    /// The part in which each tenth was reached.
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
        let names =
            ["creates a second", "greatest backlog, people", "greatest lag, s", "indexed after the last create, s"];
        section("Its course, by parts", "people", &names.map(str::to_owned), rows.collect())
    }
}

impl Checked {
    fn table(&self) -> String {
        let Self { end_users, counted, entries, blocks, wrong, seconds } = self;
        facts(
            "The index afterwards, by `index check`",
            &[
                ("people read", thousands(*end_users)),
                ("people counted by the writes", thousands(*counted)),
                ("entries read", thousands(*entries)),
                ("blocks read", thousands(*blocks)),
                ("wrong", wrong.to_string()),
                ("in s", format!("{seconds:.0}")),
            ],
        )
    }
}

impl Backlog {
    fn table(&self) -> String {
        let Self { end_users, seconds, database_seconds, function_seconds } = self;
        let each = |seconds: f64| format!("{:.2}", seconds * 1e3 / f64::from(*end_users));
        let mut rows = vec![
            ("people", thousands((*end_users).into())),
            ("indexed a second", rate(*end_users, *seconds)),
            ("CPU of the database's one thread, ms a person", each(*database_seconds)),
        ];
        if let Some(function) = function_seconds {
            rows.push(("CPU of the function, ms a person", each(*function)));
            rows.push(("people a second that one vCPU has the time for", rate(*end_users, *function)));
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
    fn a_page_that_is_out_of_order_or_shows_somebody_twice_is_found() {
        let page = |rows: &[(&str, u32)]| {
            let items: Vec<_> = rows.iter().map(|(name, id)| json!({ "lastname": name, "endUserID": id })).collect();
            let body = json!({ "items": items });
            Answer { status: 200, body, cost: Cost::default(), took: Duration::ZERO }
        };
        assert_eq!(disorder(&page(&[("Aerts", 3), ("aerts", 4), ("Claes", 1)])), None);
        assert!(disorder(&page(&[("Aerts", 4), ("Aerts", 3)])).is_some());
        assert!(disorder(&page(&[("Claes", 1), ("Aerts", 4)])).is_some());
        assert!(disorder(&page(&[("Aerts", 4), ("Aerts", 4)])).is_some());
    }
}
