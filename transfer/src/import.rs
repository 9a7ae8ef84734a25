//! An import: batches of upserts, or one create request per row.

use std::fs::{File, TryLockError};
use std::future::pending;
use std::pin::pin;
use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use shared::domain::end_user::MAX_UPSERTS;
use shared::domain::input::ValidationErrors;
use tokio::time::Instant;

use crate::api::Api;
use crate::create::create;
use crate::display::{ProgressDisplay, print_line};
use crate::error::Error;
use crate::journal::{Journal, Start};
use crate::outcome::RowOutcome;
use crate::queue::{Queue, ReadyRow};
use crate::report::{self, Report};
use crate::rows::{Row, Rows};
use crate::source::{ScannedSource, Source};
use crate::upsert::upsert;

/// The journal is saved after this number of finished rows, or this long after the last save.
const SAVE_AFTER: u64 = 200;
const SAVE_INTERVAL: Duration = Duration::from_secs(1);
/// The number of rows of the first batches.
const FIRST_BATCH_ROWS: usize = 4;
/// The intended duration of a batch. An HTTP function has 10 s for the database: of a longer batch, the rest fails.
const BATCH_DURATION: Duration = Duration::from_secs(2);
/// The time limit for requests in flight when an import stops.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(10);
/// The most rows with a conflict that are printed.
const MAX_PRINTED_CONFLICTS: u64 = 10;

/// Options of sending rows.
pub(crate) struct SendOptions {
    /// The most concurrent requests.
    pub(crate) parallel: usize,
    /// The most rows per second.
    pub(crate) rate: Option<u32>,
    /// Ignores the progress of an earlier run.
    pub(crate) restart: bool,
}

/// Imports a file, or the rows that an earlier run did not finish. Returns whether no row was rejected, in this run or
/// the earlier one.
pub(crate) async fn run(source: &Source, options: &SendOptions, api: &Api) -> Result<bool, Error> {
    let lock = File::open(&source.file).map_err(|error| Error::file(&source.file, error))?;
    if let Err(TryLockError::WouldBlock) = lock.try_lock() {
        return Err(Error::file(&source.file, "another process is importing this file"));
    }
    let scanned = ScannedSource::new(source)?;
    let create_only = source.options.matching.is_none();
    let start = match (options.restart, create_only) {
        (true, _) => Start::Over,
        (false, true) => Start::Resume,
        (false, false) => Start::ResumeUnfinished { rows: scanned.rows },
    };
    let mut journal = Journal::open(scanned.beside("progress"), &scanned.digest, api.destination(), start)?;
    let before = journal.progress.done.count();
    if before > 0 && before == scanned.rows {
        print_line(&format!("all {before} rows were already processed; start over with --restart"));
        print_line(&journal.progress.summary(scanned.rows, create_only));
        return Ok(journal.progress.rejected == 0);
    }
    let mut rows = scanned.open()?;
    let extension = scanned.file.extension().and_then(|extension| extension.to_str());
    let extension = extension.unwrap_or(scanned.reading.format.name());
    let (report, rejected) = (scanned.beside("report.txt"), scanned.beside(&format!("rejected.{extension}")));
    if let Some((report_bytes, rejected_bytes)) = journal.left {
        report::check_untouched(&report, report_bytes)?;
        report::check_untouched(&rejected, rejected_bytes)?;
    }
    journal.progress.ended = false;
    let report = Report::open(
        (report, journal.progress.report_bytes),
        Some((rejected, journal.progress.rejected_bytes)),
        rows.preamble(),
    )?;
    if before > 0 {
        print_line(&format!("{before} rows were already processed; start over with --restart"));
    }
    let display = ProgressDisplay::start(before, scanned.rows);
    let mut import =
        Import { create_only, journal, report, display, conflicts: 0, unsaved: 0, saved_at: Instant::now() };
    import.save()?;
    let result = import.send_rows(&scanned, &mut rows, options, api).await;
    import.journal.progress.ended = true;
    let saved = import.save();
    let Import { journal, report, display, .. } = import;
    let (progress, seconds) = (journal.progress, display.end());
    saved?;
    let finished = progress.done.count() - before;
    let rate = finished as f64 / seconds.max(f64::MIN_POSITIVE);
    print_line(&progress.summary(scanned.rows, create_only));
    print_line(&format!("{finished} rows in {seconds:.1} s, {rate:.0}/s"));
    if progress.rejected > 0 {
        report.print_paths();
    }
    if result.is_err() {
        print_line("stopped; run the same command again to resume");
    }
    result.map(|()| progress.rejected == 0)
}

/// The state of a running import.
struct Import {
    /// Whether each row creates an end user.
    create_only: bool,
    journal: Journal,
    report: Report,
    display: ProgressDisplay,
    /// The number of conflicts in this run.
    conflicts: u64,
    /// The number of rows that were finished since the last save.
    unsaved: u64,
    saved_at: Instant,
}

impl Import {
    /// Sends all rows that are not finished. The first [`Error`] stops the import; the results of requests in flight
    /// are still recorded, within [`SHUTDOWN_TIMEOUT`].
    async fn send_rows(
        &mut self,
        scanned: &ScannedSource<'_>,
        rows: &mut Rows<File>,
        options: &SendOptions,
        api: &Api,
    ) -> Result<(), Error> {
        let display = self.display.clone();
        let on_retry = |text: &str| display.print_line(text);
        let mut limiter = RateLimiter::new(options.rate);
        let mut interrupted = pin!(interrupted());
        let mut save_timer = tokio::time::interval(SAVE_INTERVAL);
        let (create_only, restarted) = (self.create_only, self.journal.progress.restarted);
        let max_rows = if create_only { 1 } else { MAX_UPSERTS };
        // With a low rate, batches are small instead of rare.
        let mut size = BatchSize::new(options.rate.map_or(max_rows, |rate| max_rows.min(rate as usize)));
        let mut queue = Queue::default();
        let mut in_flight = FuturesUnordered::new();
        let error = loop {
            while in_flight.len() < options.parallel {
                self.fill(&mut queue, scanned, rows)?;
                let batch = queue.next_batch(size.rows);
                if batch.is_empty() {
                    break;
                }
                let due = limiter.next(Instant::now(), batch.len());
                in_flight.push(async move {
                    tokio::time::sleep_until(due).await;
                    let started = Instant::now();
                    let (outcomes, result) = match create_only {
                        true => create(api, &batch, &scanned.digest[..16], restarted, on_retry).await,
                        false => upsert(api, &batch, on_retry).await,
                    };
                    (batch, outcomes, result, started.elapsed())
                });
            }
            tokio::select! {
                finished = in_flight.next() => match finished {
                    None => return Ok(()),
                    Some((batch, outcomes, result, duration)) => {
                        size.adapt(batch.len(), duration);
                        batch.iter().for_each(|row| queue.finish(row));
                        self.record(batch, outcomes)?;
                        if let Err(error) = result {
                            break error;
                        }
                    }
                },
                _ = save_timer.tick() => self.save_if_due()?,
                () = &mut interrupted => break Error::Interrupted,
            }
        };
        let drain = async {
            while let Some((batch, outcomes, ..)) = in_flight.next().await {
                self.record(batch, outcomes)?;
            }
            Ok(())
        };
        tokio::time::timeout(SHUTDOWN_TIMEOUT, drain).await.unwrap_or(Ok(()))?;
        Err(error)
    }

    /// Reads rows that are not finished into the queue, until it is full or the file ends.
    fn fill(&self, queue: &mut Queue, scanned: &ScannedSource<'_>, rows: &mut Rows<File>) -> Result<(), Error> {
        let prepare = if self.create_only { ReadyRow::unordered } else { ReadyRow::ordered };
        while !queue.is_full()
            && let Some(row) = scanned.next(rows)?
        {
            if !self.journal.progress.done.contains(row.number) {
                let body = scanned.body(&row);
                queue.push(prepare(row, body));
            }
        }
        Ok(())
    }

    /// Records the rows that have an outcome.
    fn record(&mut self, batch: Vec<ReadyRow>, outcomes: Vec<Option<RowOutcome>>) -> Result<(), Error> {
        for (ReadyRow { row, .. }, outcome) in batch.into_iter().zip(outcomes) {
            let Some(outcome) = outcome else { continue };
            let progress = &mut self.journal.progress;
            match &outcome {
                RowOutcome::Created { replayed } => {
                    progress.created += 1;
                    progress.replayed += u64::from(*replayed);
                }
                RowOutcome::Updated => progress.updated += 1,
                RowOutcome::Unchanged => progress.unchanged += 1,
                RowOutcome::Rejected(errors) | RowOutcome::Conflict(errors) => {
                    progress.rejected += 1;
                    self.report.add(&row, errors)?;
                }
            }
            progress.done.insert(row.number);
            if let RowOutcome::Conflict(errors) = &outcome {
                self.print_conflict(&row, errors);
            }
            self.display.step();
            self.unsaved += 1;
        }
        self.save_if_due()
    }

    /// Prints the errors of a row with a conflict; the report has those of all rows.
    fn print_conflict(&mut self, row: &Row, errors: &ValidationErrors) {
        self.conflicts += 1;
        if self.conflicts <= MAX_PRINTED_CONFLICTS {
            report::lines(row, errors).for_each(|line| self.display.print_line(&line));
        } else if self.conflicts == MAX_PRINTED_CONFLICTS + 1 {
            self.display.print_line("further conflicts are only in the report");
        }
    }

    fn save_if_due(&mut self) -> Result<(), Error> {
        let is_due = self.unsaved >= SAVE_AFTER || self.unsaved > 0 && self.saved_at.elapsed() >= SAVE_INTERVAL;
        if is_due { self.save() } else { Ok(()) }
    }

    fn save(&mut self) -> Result<(), Error> {
        let progress = &mut self.journal.progress;
        (progress.report_bytes, progress.rejected_bytes) = self.report.flush()?;
        self.journal.save()?;
        (self.unsaved, self.saved_at) = (0, Instant::now());
        Ok(())
    }
}

/// Completes when the user (Ctrl-C) or the system (SIGTERM) ends the program.
async fn interrupted() {
    #[cfg(unix)]
    let terminated = async {
        use tokio::signal::unix::{SignalKind, signal};
        match signal(SignalKind::terminate()) {
            Ok(mut signal) => drop(signal.recv().await),
            Err(_) => pending().await,
        }
    };
    #[cfg(not(unix))]
    let terminated = pending::<()>();
    tokio::select! {
        Ok(()) = tokio::signal::ctrl_c() => {}
        () = terminated => {}
    }
}

/// The number of rows per batch.
struct BatchSize {
    rows: usize,
    max: usize,
}

impl BatchSize {
    fn new(max: usize) -> Self {
        Self { rows: FIRST_BATCH_ROWS.min(max), max }
    }

    /// Approaches the number of rows that take [`BATCH_DURATION`], after a batch of `rows` rows that took `duration`.
    fn adapt(&mut self, rows: usize, duration: Duration) {
        let batches = BATCH_DURATION.as_secs_f64() / duration.as_secs_f64().max(f64::MIN_POSITIVE);
        let target = (rows as f64 * batches) as usize;
        // A smaller batch does not show that a larger one would take too long, or not.
        if rows >= self.rows || target < self.rows {
            self.rows = target.min(2 * rows).clamp(1, self.max);
        }
    }
}

/// A rate limiter: the times at which requests are due.
struct RateLimiter {
    gap: Duration,
    next: Instant,
}

impl RateLimiter {
    fn new(rate: Option<u32>) -> Self {
        let gap = rate.map_or(Duration::ZERO, |rate| Duration::from_secs(1) / rate);
        Self { gap, next: Instant::now() }
    }

    /// The time at which a request with this number of rows is due.
    fn next(&mut self, now: Instant, rows: usize) -> Instant {
        let due = self.next.max(now);
        self.next = due + self.gap * u32::try_from(rows).unwrap_or(u32::MAX);
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batch_size_approaches_the_intended_duration() {
        let mut size = BatchSize::new(100);
        let mut adapted = |rows, milliseconds| {
            size.adapt(rows, Duration::from_millis(milliseconds));
            size.rows
        };
        let durations = [(4, 10), (8, 10), (4, 10), (16, 4_000), (8, 20_000), (1, 9_000)];
        assert_eq!(durations.map(|(rows, time)| adapted(rows, time)), [8, 16, 16, 8, 1, 1]);
        assert_eq!([(64, 100), (100, 100)].map(|(rows, time)| adapted(rows, time)), [100, 100]);
    }

    #[test]
    fn rate_is_limited_after_a_pause_too() {
        let mut limiter = RateLimiter::new(Some(10));
        let start = Instant::now();
        let mut due = |now| (limiter.next(start + Duration::from_millis(now), 1) - start).as_millis();
        assert_eq!([0, 0, 10].map(&mut due), [0, 100, 200]);
        assert_eq!([5_000, 5_000, 5_010].map(&mut due), [5_000, 5_100, 5_200]);
        assert_eq!([20, 1].map(|rows| (limiter.next(start, rows) - start).as_millis()), [5_300, 7_300]);
    }
}
