//! An import: one create request per row. Each row is created once, also if the command is stopped and run again.

use std::fs::{File, TryLockError};
use std::future::pending;
use std::pin::pin;
use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use shared::domain::input::{Json, ValidationErrors};
use tokio::time::Instant;

use crate::api::{Api, Response};
use crate::display::{ProgressDisplay, print_line};
use crate::error::Error;
use crate::journal::Journal;
use crate::report::{self, Report};
use crate::rows::{Row, Rows};
use crate::source::{ScannedSource, Source};

/// The journal is saved after this number of finished rows, or this long after the last save.
const SAVE_AFTER: u64 = 200;
const SAVE_INTERVAL: Duration = Duration::from_secs(1);
/// The time limit for requests in flight when an import stops.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(10);
/// The most times that a deleted end user is created again, within the 24 hours of an idempotency key.
const MAX_DELETIONS: u32 = 10;

/// Options of sending rows.
pub(crate) struct SendOptions {
    /// The most concurrent requests.
    pub(crate) parallel: usize,
    /// The most rows per second.
    pub(crate) rate: Option<u32>,
    /// Ignores the progress of an earlier run.
    pub(crate) restart: bool,
}

/// Imports a file, or its rows that are not finished. Returns whether no row was rejected, in this run or an earlier
/// one.
pub(crate) async fn run(source: &Source, options: &SendOptions, api: &Api) -> Result<bool, Error> {
    let lock = File::open(&source.file).map_err(|error| Error::file(&source.file, error))?;
    if let Err(TryLockError::WouldBlock) = lock.try_lock() {
        return Err(Error::file(&source.file, "another process is importing this file"));
    }
    let scanned = ScannedSource::new(source)?;
    let mut journal = Journal::open(scanned.beside("progress"), &scanned.digest, api.destination(), options.restart)?;
    let before = journal.progress.done.count();
    if before > 0 && before == scanned.rows {
        print_line(&format!("all {before} rows were already processed; start over with --restart"));
        print_line(&journal.progress.summary(scanned.rows));
        return Ok(journal.progress.rejected == 0);
    }
    let mut rows = scanned.open()?;
    let extension = scanned.file.extension().and_then(|extension| extension.to_str());
    let extension = extension.unwrap_or(scanned.reading.format.name());
    let (report, rejected) = (scanned.beside("report.txt"), scanned.beside(&format!("rejected.{extension}")));
    if journal.progress.ended {
        report::check_untouched(&report, journal.progress.report_bytes)?;
        report::check_untouched(&rejected, journal.progress.rejected_bytes)?;
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
    let mut import = Import { journal, report, display, unsaved: 0, saved_at: Instant::now() };
    let result = import.send_rows(&scanned, &mut rows, options, api).await;
    import.journal.progress.ended = true;
    let saved = import.save();
    let Import { journal, report, display, .. } = import;
    let (progress, seconds) = (journal.progress, display.end());
    saved?;
    let finished = progress.done.count() - before;
    let rate = finished as f64 / seconds.max(f64::MIN_POSITIVE);
    print_line(&progress.summary(scanned.rows));
    print_line(&format!("{finished} rows in {seconds:.1} s, {rate:.0}/s"));
    if progress.rejected > 0 {
        report.print_paths();
    }
    if result.is_err() {
        print_line("stopped; run the same command again to resume");
    }
    result.map(|()| progress.rejected == 0)
}

/// The result of a row.
enum RowOutcome {
    Created { replayed: bool },
    Rejected(ValidationErrors),
}

/// The state of a running import.
struct Import {
    journal: Journal,
    report: Report,
    display: ProgressDisplay,
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
        let restarted = self.journal.progress.restarted;
        let (mut in_flight, mut more) = (FuturesUnordered::new(), true);
        let error = loop {
            while more && in_flight.len() < options.parallel {
                let Some(row) = scanned.next(rows)? else {
                    more = false;
                    break;
                };
                if self.journal.progress.done.contains(row.number) {
                    continue;
                }
                match scanned.body(&row) {
                    Err(errors) => self.record(&row, RowOutcome::Rejected(errors))?,
                    Ok(body) => {
                        // Not the line: several rows can have the same line number.
                        let key = format!("import-{}-{}", &scanned.digest[..16], row.number);
                        let due = limiter.next(Instant::now());
                        in_flight.push(async move { (row, send(api, &key, &body, due, restarted, on_retry).await) });
                    }
                }
            }
            tokio::select! {
                finished = in_flight.next() => match finished {
                    None => return Ok(()),
                    Some((row, Ok(outcome))) => self.record(&row, outcome)?,
                    Some((_, Err(error))) => break error,
                },
                _ = save_timer.tick() => self.save_if_due()?,
                () = &mut interrupted => break Error::Interrupted,
            }
        };
        let drain = async {
            while let Some((row, result)) = in_flight.next().await {
                if let Ok(outcome) = result {
                    self.record(&row, outcome)?;
                }
            }
            Ok(())
        };
        tokio::time::timeout(SHUTDOWN_TIMEOUT, drain).await.unwrap_or(Ok(()))?;
        Err(error)
    }

    fn record(&mut self, row: &Row, outcome: RowOutcome) -> Result<(), Error> {
        let progress = &mut self.journal.progress;
        match outcome {
            RowOutcome::Created { replayed } => {
                progress.created += 1;
                progress.replayed += u64::from(replayed);
            }
            RowOutcome::Rejected(errors) => {
                progress.rejected += 1;
                self.report.add(row, &errors)?;
            }
        }
        progress.done.insert(row.number);
        self.display.step();
        self.unsaved += 1;
        self.save_if_due()
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

/// Creates the end user of a row. If the API replays an earlier response and that end user was deleted since, an import
/// that was `restarted` creates a new one.
async fn send(
    api: &Api,
    key: &str,
    body: &Json,
    due: Instant,
    restarted: bool,
    on_retry: impl Fn(&str),
) -> Result<RowOutcome, Error> {
    tokio::time::sleep_until(due).await;
    let body = serde_json::to_vec(body).map_err(|error| Error::Usage(error.to_string()))?;
    let mut current = key.to_owned();
    for _ in 0..MAX_DELETIONS {
        let response = api.create(&current, &body, &on_retry).await?;
        match response.status {
            201 if restarted && response.replayed => match response.end_user_id() {
                // The next key is derived from the deleted id, so that a killed import uses the same key again.
                Some(id) if !api.has_end_user(id, &on_retry).await? => current = format!("{key}-{id}"),
                _ => return Ok(RowOutcome::Created { replayed: true }),
            },
            201 => return Ok(RowOutcome::Created { replayed: response.replayed }),
            400 | 413 | 422 => return Ok(RowOutcome::Rejected(errors(&response))),
            _ => return Err(response.unexpected()),
        }
    }
    Ok(RowOutcome::Rejected(ValidationErrors::single(
        "body",
        format!("the end user was created and deleted {MAX_DELETIONS} times within a day"),
    )))
}

/// The validation errors of a response, at least one.
fn errors(response: &Response) -> ValidationErrors {
    let mut errors = response.errors();
    if errors.is_empty() {
        errors.add("body", format!("{} ({})", response.detail(), response.status));
    }
    errors
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

    fn next(&mut self, now: Instant) -> Instant {
        let due = self.next.max(now);
        self.next = due + self.gap;
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rate_is_limited_after_a_pause_too() {
        let mut limiter = RateLimiter::new(Some(10));
        let start = Instant::now();
        let mut due = |now| (limiter.next(start + Duration::from_millis(now)) - start).as_millis();
        assert_eq!([0, 0, 10].map(&mut due), [0, 100, 200]);
        assert_eq!([5_000, 5_000, 5_010].map(&mut due), [5_000, 5_100, 5_200]);
    }
}
