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
use local::index::Place;
use serde::{Deserialize, Serialize};

use crate::http::{Answer, Caller, list};
use crate::stages::Stages;
use crate::system::{TABLE, bar, empty, start, tenant};
use crate::tables::{self, section, thousands};
use crate::{Outcome, load, people, process};

/// How many requests are under way at once.
const WRITERS: usize = 16;
/// After so many people the system is started anew.
const LEG: u32 = 20_000;
/// How often is looked how far indexing is, and whether pages are in order.
const LOOK: Duration = Duration::from_secs(1);
const PAGE: u32 = 50;
/// The function that indexes; the template gives it one vCPU.
const INDEXER: &str = "index-end-users";

/// What is imported, and where data is kept.
#[derive(Args)]
pub(crate) struct Options {
    /// How many people are imported.
    #[arg(long, default_value_t = 1_000_000)]
    people: u32,
    /// How many of them are there before, loaded past the API.
    #[arg(long, default_value_t = 0)]
    loaded: u32,
    /// How many people are created a second at most.
    #[arg(long, default_value_t = 150)]
    rate: u32,
    /// How many people are indexed by themselves.
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
    /// Writes docs/import.md.
    #[arg(long)]
    write: bool,
}

/// Measures all, or what is left of it.
pub(crate) async fn run(options: Options) -> Outcome<()> {
    let stages = Stages::open(&options.data, options.fresh)?;
    let directory = |stage: &str| options.data.join(stage);
    let Options { people, loaded, .. } = options;
    let measure = async || import(&directory("people"), &options, &bar("import", people.into())).await;
    let imported = stages.run(&format!("import-{loaded}-{people}"), measure).await?;
    let check = async || check(&directory("people"), people).await;
    let checked = stages.run(&format!("check-{people}"), check).await?;
    let people = options.backlog;
    let functions = options.functions.clone();
    let backlog = async || backlog(&directory("backlog"), people, functions, &bar("backlog", people.into())).await;
    let backlog = stages.run(&format!("backlog-{people}"), backlog).await?;
    tables::publish("import", &[imported.totals(), imported.course(), checked.table(), backlog.table()], options.write)
}

/// How an import went.
#[derive(Default, Serialize, Deserialize)]
struct Import {
    people: u32,
    loaded: u32,
    /// People a second at most.
    rate: u32,
    create_seconds: f64,
    /// From the last create until the index held everybody.
    settle_seconds: f64,
    samples: Vec<Sample>,
    /// Pages that were checked, and what was wrong with them.
    pages: usize,
    findings: Vec<String>,
}

/// How far indexing was.
#[derive(Clone, Copy, Serialize, Deserialize)]
struct Sample {
    at_seconds: f64,
    created: usize,
    indexed: usize,
    /// The age of the oldest create that the index did not hold.
    lag_seconds: f64,
}

/// What `index check` says of the index afterwards.
#[derive(Serialize, Deserialize)]
struct Checked {
    people: u64,
    counted: u64,
    entries: u64,
    blocks: u64,
    wrong: usize,
    seconds: f64,
}

/// How fast people are indexed of whom nobody else makes more.
#[derive(Serialize, Deserialize)]
struct Backlog {
    people: u32,
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

/// Creates people up to `people`, of whom `loaded` are there before. The system is started anew for every
/// [`LEG`] of them: the embedded engine keeps the token of each transaction for ten minutes and goes through
/// all of them at the next, which after a while takes it longer than the transaction.
async fn import(directory: &Path, options: &Options, bar: &ProgressBar) -> Outcome<Import> {
    let Options { people, loaded, rate, .. } = *options;
    empty(directory)?;
    start(directory, None).await?.stop().await;
    if loaded > 0 {
        let (directory, bar) = (directory.to_owned(), bar.clone());
        let load = move || load::load(&directory, TABLE, &tenant(people), loaded, &bar);
        tokio::task::spawn_blocking(load).await??;
    }
    let mut import = Import { people, loaded, rate, ..Import::default() };
    let (created, mut indexed, mut seen) = (Created::default(), 0, BTreeSet::new());
    let started = Instant::now();
    for leg in (loaded + 1..=people).step_by(LEG as usize) {
        let end = people.min(leg + LEG - 1);
        let last = end == people;
        let local = start(directory, None).await?;
        let caller = Caller::new(&local, &tenant(people))?;
        let (next, done) = (AtomicU32::new(leg), AtomicBool::new(false));
        let writers = async {
            let due = |number: u32| started + Duration::from_secs(1) * (number - loaded - 1) / rate;
            let writers = (0..WRITERS).map(|_| write(&caller, end, &due, &next, &created, bar));
            let written = futures::future::try_join_all(writers).await;
            done.store(true, Ordering::Relaxed);
            import.create_seconds = started.elapsed().as_secs_f64();
            written.map(drop)
        };
        let watch = watch(&caller, started, &created, &mut indexed, &mut import.samples, || {
            // Only the last leg waits for the index.
            done.load(Ordering::Relaxed).then(|| if last { created.len() } else { 0 })
        });
        let far = last.then_some(people / 2 / PAGE + 1);
        let read = read(&caller, far, &done, &mut seen, &mut import.findings);
        import.pages += tokio::try_join!(writers, watch, read)?.2;
        if last {
            import.settle_seconds = started.elapsed().as_secs_f64() - import.create_seconds;
            let total = caller.get("/api/EndUsers").await?.expect(200)?.body["totalCount"].clone();
            // A far page was asked for, so its order is counted; its turn comes behind all that is indexed.
            caller.settle().await?;
            import.findings.extend((total != people).then(|| format!("{people} are there, {total} are counted")));
        }
        local.stop().await;
    }
    let ids: BTreeSet<u32> = created.with(|all| all.iter().map(|(_, _, id)| *id).collect());
    let unknown = seen.into_iter().filter(|id| *id > loaded && !ids.contains(id));
    import.findings.extend(unknown.map(|id| format!("{id} was listed and never created")));
    let doubled = (people - loaded) as usize - ids.len();
    import.findings.extend((doubled > 0).then(|| format!("{doubled} ids were given twice")));
    Ok(import)
}

/// One writer: creates the next person, none before it is due, until there are enough.
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
        if number > end {
            return Ok(());
        }
        tokio::time::sleep_until(due(number).into()).await;
        let id = caller.post("/api/EndUsers", &people::body(number)).await?.expect(201)?.id()?;
        created.with(|all| all.push((Instant::now(), number, id)));
        bar.inc(1);
    }
}

/// Looks now and then how far indexing is, until as many are indexed as `enough` says. The stream is
/// indexed in its order, so the first who is not found is sought by halves.
async fn watch(
    caller: &Caller,
    started: Instant,
    created: &Created,
    indexed: &mut usize,
    samples: &mut Vec<Sample>,
    enough: impl Fn() -> Option<usize>,
) -> Outcome<()> {
    loop {
        let enough = enough();
        let known = created.len();
        let at_seconds = started.elapsed().as_secs_f64();
        let mut end = known;
        while *indexed < end {
            let middle = (*indexed + end) / 2;
            let (_, number, id) = created.with(|all| all[middle]);
            let found = caller.get(&list(&people::reference(number), "endUserID", false, 1)).await?.expect(200)?;
            if found.ids().contains(&id) {
                *indexed = middle + 1;
            } else {
                end = middle;
            }
        }
        let oldest = created.with(|all| all.get(*indexed).map(|(at, ..)| at.elapsed()));
        let lag_seconds = oldest.unwrap_or_default().as_secs_f64();
        samples.push(Sample { at_seconds, created: known, indexed: *indexed, lag_seconds });
        if enough.is_some_and(|enough| *indexed >= enough) {
            return Ok(());
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// Reads the first page by last name, and a `far` one, until all is created; answers how many pages, and
/// notes whom they showed, and what was wrong.
async fn read(
    caller: &Caller,
    far: Option<u32>,
    done: &AtomicBool,
    seen: &mut BTreeSet<u32>,
    findings: &mut Vec<String>,
) -> Outcome<usize> {
    let mut pages = 0;
    while !done.load(Ordering::Relaxed) {
        for page in [Some(1), far].into_iter().flatten() {
            let path = format!("/api/EndUsers?sortBy=lastname&pageSize={PAGE}&pageNumber={page}");
            let answer = caller.get(&path).await?.expect(200)?;
            pages += 1;
            findings.extend(disorder(&answer).map(|what| format!("page {page}: {what}")));
            seen.extend(answer.ids());
        }
        tokio::time::sleep(LOOK).await;
    }
    Ok(pages)
}

/// What is wrong with a page sorted by last name.
fn disorder(page: &Answer) -> Option<String> {
    let items = page.body["items"].as_array().into_iter().flatten();
    let rows = items.map(|person| (person["lastname"].as_str().map(str::to_lowercase), person["endUserID"].as_u64()));
    let rows: Vec<_> = rows.collect();
    // Ids are distinct where all of (name, id) ascend.
    let wrong = rows.windows(2).find(|pair| pair[0] >= pair[1])?;
    Some(format!("{wrong:?}"))
}

/// Compares the index with the documents, by the operator's command.
async fn check(directory: &Path, people: u32) -> Outcome<Checked> {
    let started = Instant::now();
    let variables = HashMap::from([("TABLE_NAME".to_owned(), TABLE.to_owned())]);
    let place = Place::Directory(directory.to_owned());
    let found = local::index::check(place, &variables, &people.to_string(), false).await?;
    Ok(Checked {
        people: found.people,
        counted: found.counted,
        entries: found.entries,
        blocks: found.blocks,
        wrong: found.wrong_people.len() + found.wrong_blocks.len(),
        seconds: started.elapsed().as_secs_f64(),
    })
}

/// People whose documents are there, with their records in the stream, and who are not indexed: how
/// long the pump takes for all of them.
async fn backlog(directory: &Path, people: u32, functions: Option<PathBuf>, bar: &ProgressBar) -> Outcome<Backlog> {
    empty(directory)?;
    start(directory, None).await?.stop().await;
    let tenant = tenant(people);
    let database = local::open_engine(directory)?;
    for number in 1..=people {
        let records = shared::store::records(&tenant, &people::person(number)?)?;
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
    let last = list(&people::reference(people), "endUserID", false, 1);
    let found = caller.get(&last).await?.expect(200)?.ids();
    local.stop().await;
    if found != [people] {
        return Err("the backlog is not indexed".into());
    }
    let (database_seconds, function_seconds) = (database.as_secs_f64(), function.map(|cpu| cpu.as_secs_f64()));
    Ok(Backlog { people, seconds, database_seconds, function_seconds })
}

impl Import {
    fn totals(&self) -> String {
        let Self { people, loaded, rate: most, create_seconds, settle_seconds, samples, pages, findings } = self;
        let people = people - loaded;
        let lag = samples.iter().map(|sample| sample.lag_seconds).fold(0.0, f64::max);
        let behind = samples.iter().map(|sample| sample.created - sample.indexed).max().unwrap_or_default();
        facts(
            "The import",
            &[
                ("people there before", thousands((*loaded).into())),
                ("people created over HTTP by 16 writers", thousands(people.into())),
                ("creates a second, at most", most.to_string()),
                ("creates a second", rate(people, *create_seconds)),
                ("indexed a second, meanwhile and after", rate(people, create_seconds + settle_seconds)),
                ("greatest backlog, people", thousands(behind as u64)),
                ("greatest lag, s", format!("{lag:.0}")),
                ("from the last create until all is indexed, s", format!("{settle_seconds:.0}")),
                ("sorted pages checked meanwhile", thousands(*pages as u64)),
                ("out of order, doubled, unknown or miscounted", findings.len().to_string()),
            ],
        )
    }

    /// How far it was when each tenth was created, and at the end.
    fn course(&self) -> String {
        let tenths = (1..=10).map(|tenth| (self.people - self.loaded) as usize * tenth / 10);
        let reached = tenths.filter_map(|goal| self.samples.iter().find(|sample| sample.created >= goal));
        let rows = reached.chain(self.samples.last()).map(|sample| {
            let numbers = [sample.created, sample.indexed].map(|people| thousands(people as u64));
            let seconds = [sample.at_seconds, sample.lag_seconds].map(|seconds| format!("{seconds:.0}"));
            [&seconds[..1], &numbers, &seconds[1..]].concat()
        });
        let names = ["created", "indexed", "the oldest that is not, s"].map(str::to_owned);
        section("Its course", "after s", &names, rows.collect())
    }
}

impl Checked {
    fn table(&self) -> String {
        let Self { people, counted, entries, blocks, wrong, seconds } = self;
        facts(
            "The index afterwards, by `index check`",
            &[
                ("people read", thousands(*people)),
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
        let Self { people, seconds, database_seconds, function_seconds } = self;
        let each = |seconds: f64| format!("{:.2}", seconds * 1e3 / f64::from(*people));
        let mut rows = vec![
            ("people", thousands((*people).into())),
            ("indexed a second", rate(*people, *seconds)),
            ("CPU of the database's one thread, ms a person", each(*database_seconds)),
        ];
        if let Some(function) = function_seconds {
            rows.push(("CPU of the function, ms a person", each(*function)));
            rows.push(("people a second that one vCPU has the time for", rate(*people, *function)));
        }
        facts("A backlog by itself", &rows)
    }
}

fn rate(people: u32, seconds: f64) -> String {
    format!("{:.0}", f64::from(people) / seconds)
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
