//! An import through the API into one tenant, while the stream is indexed and sorted pages are read; and
//! how fast a backlog is indexed by itself.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use indicatif::ProgressBar;
use serde::{Deserialize, Serialize};

use super::http::{Answer, Caller, list};
use super::load;
use super::{TABLE, people};
use crate::Outcome;

/// How many requests are under way at once.
const WRITERS: usize = 16;
/// From so many people on, a page from the middle is read too.
const DEEP: usize = 2_100;
/// How often is looked how far indexing is, and whether pages are in order.
const LOOK: Duration = Duration::from_secs(1);
const PAGE: usize = 50;

/// How an import went.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Import {
    pub(crate) people: u32,
    pub(crate) create_seconds: f64,
    /// From the last create until the index held everybody.
    pub(crate) settle_seconds: f64,
    pub(crate) samples: Vec<Sample>,
    /// Pages that were checked, and what was wrong with them.
    pub(crate) pages: usize,
    pub(crate) findings: Vec<String>,
}

/// How far indexing was.
#[derive(Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Sample {
    pub(crate) at_seconds: f64,
    pub(crate) created: usize,
    pub(crate) indexed: usize,
    /// The age of the oldest create that the index did not hold.
    pub(crate) lag_seconds: f64,
}

/// How fast people are indexed of whom nobody else makes more.
#[derive(Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Backlog {
    pub(crate) people: u32,
    pub(crate) seconds: f64,
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

pub(crate) async fn measure(directory: &Path, people: u32, bar: &ProgressBar) -> Outcome<Import> {
    super::empty(directory)?;
    let local = super::start(directory, None).await?;
    let caller = Caller::new(&local, &super::tenant(people))?;
    let (created, next, done) = (Created::default(), AtomicU32::new(1), AtomicBool::new(false));
    let started = Instant::now();
    let writers = async {
        let writers = (0..WRITERS).map(|_| write(&caller, people, &next, &created, bar));
        let written = futures::future::try_join_all(writers).await;
        done.store(true, Ordering::Relaxed);
        written?;
        Ok(started.elapsed())
    };
    let (wrote, samples, (pages, seen, mut findings)) =
        tokio::try_join!(writers, watch(&caller, started, &created, &done), check(&caller, &created, &done))?;
    let settled = started.elapsed();
    let ids: BTreeSet<u32> = created.with(|all| all.iter().map(|(_, _, id)| *id).collect());
    findings.extend(seen.difference(&ids).map(|id| format!("{id} was listed and never created")));
    if ids.len() != people as usize {
        findings.push(format!("{people} creates had {} ids", ids.len()));
    }
    let total = caller.get("/api/EndUsers").await?.expect(200)?.body["totalCount"].clone();
    if total != people {
        findings.push(format!("{people} were created, {total} are counted"));
    }
    local.stop().await;
    let settle_seconds = (settled - wrote).as_secs_f64();
    Ok(Import { people, create_seconds: wrote.as_secs_f64(), settle_seconds, samples, pages, findings })
}

/// One writer: creates the next person until there are enough.
async fn write(caller: &Caller, people: u32, next: &AtomicU32, created: &Created, bar: &ProgressBar) -> Outcome<()> {
    loop {
        let number = next.fetch_add(1, Ordering::Relaxed);
        if number > people {
            return Ok(());
        }
        let id = caller.post("/api/EndUsers", &people::body(number)).await?.expect(201)?.id()?;
        created.with(|all| all.push((Instant::now(), number, id)));
        bar.inc(1);
    }
}

/// Looks now and then how far indexing is, until all is created and indexed. The stream is indexed in
/// its order, so the first who is not found is sought by halves.
async fn watch(caller: &Caller, started: Instant, created: &Created, done: &AtomicBool) -> Outcome<Vec<Sample>> {
    let (mut samples, mut indexed) = (Vec::new(), 0);
    loop {
        let finished = done.load(Ordering::Relaxed);
        let known = created.len();
        let at_seconds = started.elapsed().as_secs_f64();
        let mut end = known;
        while indexed < end {
            let middle = (indexed + end) / 2;
            let (_, number, id) = created.with(|all| all[middle]);
            let found = caller.get(&list(&people::reference(number), "endUserID", false, 1)).await?.expect(200)?;
            if found.ids().contains(&id) {
                indexed = middle + 1;
            } else {
                end = middle;
            }
        }
        let oldest = created.with(|all| all.get(indexed).map(|(at, ..)| at.elapsed()));
        let lag_seconds = oldest.unwrap_or_default().as_secs_f64();
        samples.push(Sample { at_seconds, created: known, indexed, lag_seconds });
        if finished && indexed == known {
            return Ok(samples);
        }
        tokio::time::sleep(if finished { LOOK / 10 } else { LOOK }).await;
    }
}

/// Reads sorted pages until all is created; answers how many, whom they showed, and what was wrong.
async fn check(caller: &Caller, created: &Created, done: &AtomicBool) -> Outcome<(usize, BTreeSet<u32>, Vec<String>)> {
    let (mut pages, mut seen, mut findings) = (0, BTreeSet::new(), Vec::new());
    while !done.load(Ordering::Relaxed) {
        let known = created.len();
        let deep = (known > DEEP).then_some(known / 2 / PAGE + 1);
        for page in [Some(1), deep].into_iter().flatten() {
            let path = format!("/api/EndUsers?sortBy=lastname&pageSize={PAGE}&pageNumber={page}");
            let answer = caller.get(&path).await?.expect(200)?;
            pages += 1;
            findings.extend(disorder(&answer).map(|what| format!("page {page} of {known}: {what}")));
            seen.extend(answer.ids());
        }
        tokio::time::sleep(LOOK).await;
    }
    Ok((pages, seen, findings))
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

/// People whose documents are there, with their records in the stream, and who are not indexed: how
/// long the pump takes for all of them.
pub(crate) async fn backlog(directory: &Path, people: u32, bar: &ProgressBar) -> Outcome<Backlog> {
    super::empty(directory)?;
    super::start(directory, None).await?.stop().await;
    let tenant = super::tenant(people);
    let database = local::open_engine(directory)?;
    for number in 1..=people {
        let records = shared::store::records(&tenant, &people::person(number)?)?;
        load::import(&database, TABLE, records.into_values().map(load::stored).collect::<Outcome<_>>()?, true)?;
        bar.inc(1);
    }
    drop(database);
    let started = Instant::now();
    let local = super::start(directory, None).await?;
    Caller::new(&local, &tenant)?.settle().await?;
    let seconds = started.elapsed().as_secs_f64();
    let last = list(&people::reference(people), "endUserID", false, 1);
    let found = Caller::new(&local, &tenant)?.get(&last).await?.expect(200)?.ids();
    local.stop().await;
    if found == [people] { Ok(Backlog { people, seconds }) } else { Err("the backlog is not indexed".into()) }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::scale::http::Cost;

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
