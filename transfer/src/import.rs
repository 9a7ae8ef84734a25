//! A file of end users, created one by one through the API: each row once, however often the command is ended and
//! run again.

use std::fs::{File, TryLockError};
use std::future::pending;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::time::Duration;

use encoding_rs::Encoding;
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use sha2::Digest;
use shared::domain::end_user::PendingEndUser;
use shared::domain::input::{Json, ValidationErrors};
use shared::domain::phone::{PhoneError, Region};
use tokio::time::Instant;

use crate::api::{Answer, Api};
use crate::error::Error;
use crate::headers;
use crate::journal::{Journal, name_after};
use crate::mapping::{Choices, Mapping};
use crate::progress::{ProgressDisplay, say};
use crate::report::{self, Report};
use crate::rows::{Format, Reading, Row, Rows, Scan, scan};

/// The journal is written after so many answers, or this long after the last time.
const SAVE_AFTER: u64 = 200;
const SAVE_EVERY: Duration = Duration::from_secs(1);
/// How long an import that stops waits for what is under way.
const LAST_ANSWERS: Duration = Duration::from_secs(10);
/// How often an end user is created again after a deletion, within the 24 hours of an idempotency key.
const MAX_DELETIONS: u32 = 10;

/// What is imported, and how it is read.
pub(crate) struct Source {
    pub(crate) file: PathBuf,
    pub(crate) format: Option<Format>,
    pub(crate) encoding: Option<&'static Encoding>,
    pub(crate) delimiter: Option<u8>,
    pub(crate) choices: Choices,
}

/// How rows are sent.
pub(crate) struct Sending {
    pub(crate) parallel: usize,
    /// Rows a second at most.
    pub(crate) rate: Option<u32>,
    /// Forgets what is known of an earlier run.
    pub(crate) restart: bool,
}

/// A source that was read from end to end and can be imported.
struct Opened<'a> {
    file: &'a Path,
    reading: Reading,
    mapping: Mapping,
    rows: u64,
    /// The digest of the file and of how it is read, in hexadecimal.
    digest: String,
}

impl<'a> Opened<'a> {
    /// Finds whatever is wrong with the source as a whole, and says what is going to be imported.
    fn new(source: &'a Source) -> Result<Self, Error> {
        let Source { file, format, encoding, delimiter, choices } = source;
        let reading = Reading { format: Format::chosen(*format, file)?, encoding: *encoding, delimiter: *delimiter };
        let Scan { columns, rows, digest, invalid, unreadable } = scan(file, &reading)?;
        if columns.is_empty() {
            return Err(Error::file(
                file,
                match unreadable {
                    Some((line, message)) => format!("no row can be read; line {line} {message}"),
                    None => "it is empty".to_owned(),
                },
            ));
        }
        if let Some((line, message)) = invalid {
            say(&format!("{}: line {line} {message}", file.display()));
        }
        let mapping = Mapping::new(&columns, reading.format, choices)?;
        let digest = digest.chain_update(format!("\n{reading:?} {mapping}")).finalize();
        let digest = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        say(&format!("{}: {rows} rows; {mapping}", file.display()));
        if !mapping.ignored().is_empty() {
            say(&format!("not imported: {}", headers::list(mapping.ignored())));
        }
        Ok(Self { file, reading, mapping, rows, digest })
    }

    fn read(&self) -> Result<Rows<File>, Error> {
        let file = File::open(self.file).map_err(|error| Error::file(self.file, error))?;
        Rows::open(file, &self.reading).map_err(|error| Error::file(self.file, error))
    }

    fn next(&self, rows: &mut Rows<File>) -> Result<Option<Row>, Error> {
        rows.next().map_err(|error| Error::file(self.file, error))
    }

    /// The body that a row becomes.
    fn body(&self, row: &Row) -> Result<Json, ValidationErrors> {
        let members = row.members.as_ref().map_err(ValidationErrors::clone)?;
        self.mapping.check_swallowed(&row.swallowed)?;
        self.mapping.end_user(members)
    }

    fn beside(&self, ending: &str) -> PathBuf {
        name_after(self.file, ending)
    }
}

/// Checks every row as the API would; sends nothing. Whether none is rejected.
pub(crate) fn check(source: &Source, region: Option<Region>) -> Result<bool, Error> {
    let opened = Opened::new(source)?;
    let mut rows = opened.read()?;
    // Apart from the files of an import that may be half done.
    let mut report = Report::open((opened.beside("dry-run.txt"), 0), None, &[])?;
    let screen = ProgressDisplay::start(0, opened.rows);
    let (mut rejected, mut undecided) = (0, 0);
    while let Some(row) = opened.next(&mut rows)? {
        screen.step();
        let body = opened.body(&row);
        let checked = body.as_ref().map_err(ValidationErrors::clone).and_then(|body| draft(body, region));
        let Err(mut errors) = checked else { continue };
        if region.is_none() && body.is_ok_and(|body| depends_on_region(&body, &errors)) {
            undecided += 1;
            errors.add("body", "is taken where the deployment's DEFAULT_PHONE_REGION has such numbers; see --region");
        } else {
            rejected += 1;
        }
        report.add(&row, &errors)?;
    }
    report.flush()?;
    screen.end();
    let good = opened.rows - rejected - undecided;
    let open = if undecided > 0 { format!(", {undecided} hang on the default region") } else { String::new() };
    say(&format!("nothing is sent: {good} of {} rows are good, {rejected} would be rejected{open}", opened.rows));
    if rejected + undecided > 0 {
        show(&report);
    }
    Ok(rejected == 0)
}

/// What the API finds wrong with a body.
fn draft(body: &Json, region: Option<Region>) -> Result<(), ValidationErrors> {
    PendingEndUser::read(body, region)?.save_with_shortest_ids().map(drop)
}

/// Whether nothing is wrong but numbers that no numbering plan at hand has, of an end user without a country: then
/// the deployment's default decides.
fn depends_on_region(body: &Json, errors: &ValidationErrors) -> bool {
    let impossible = PhoneError::Impossible.to_string();
    body.member("country").is_none() && errors.as_map().values().flatten().all(|message| *message == impossible)
}

/// Imports a file, or what is left of it. Whether no row was rejected, by this run or those before.
pub(crate) async fn run(source: &Source, sending: &Sending, api: &Api) -> Result<bool, Error> {
    let lock = File::open(&source.file).map_err(|error| Error::file(&source.file, error))?;
    if let Err(TryLockError::WouldBlock) = lock.try_lock() {
        return Err(Error::file(&source.file, "another process imports it"));
    }
    let opened = Opened::new(source)?;
    let mut journal = Journal::open(opened.beside("progress"), &opened.digest, api.whose(), sending.restart)?;
    let before = journal.progress.done.count();
    if before > 0 && before == opened.rows {
        say(&format!("all {before} rows were answered before; --restart would start over"));
        say(&journal.progress.summary(opened.rows));
        return Ok(journal.progress.rejected == 0);
    }
    let mut rows = opened.read()?;
    let ending = opened.file.extension().and_then(|ending| ending.to_str()).unwrap_or(opened.reading.format.name());
    let (report, rejected) = (opened.beside("report.txt"), opened.beside(&format!("rejected.{ending}")));
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
        say(&format!("{before} rows were answered before; --restart would start over"));
    }
    let screen = ProgressDisplay::start(before, opened.rows);
    let mut import = Import { journal, report, screen, unsaved: 0, saved_at: Instant::now() };
    let ended = import.send_rows(&opened, &mut rows, sending, api).await;
    import.journal.progress.ended = true;
    let saved = import.save();
    let Import { journal, report, screen, .. } = import;
    let (progress, seconds) = (journal.progress, screen.end());
    saved?;
    let answered = progress.done.count() - before;
    let rate = answered as f64 / seconds.max(f64::MIN_POSITIVE);
    say(&progress.summary(opened.rows));
    say(&format!("{answered} rows in {seconds:.1} s, {rate:.0}/s"));
    if progress.rejected > 0 {
        show(&report);
    }
    if ended.is_err() {
        say("stopped; the same command goes on where this one was");
    }
    ended.map(|()| progress.rejected == 0)
}

fn show(report: &Report) {
    report.paths().iter().for_each(|path| say(&format!("see {}", path.display())));
}

/// What became of a row.
enum Outcome {
    Created { replayed: bool },
    Rejected(ValidationErrors),
}

/// An import under way.
struct Import {
    journal: Journal,
    report: Report,
    screen: ProgressDisplay,
    /// Rows answered since the journal was written.
    unsaved: u64,
    saved_at: Instant,
}

impl Import {
    /// Sends all rows that are not answered yet. The first answer that is a reason to stop ends the sending;
    /// what is under way then is still noted.
    async fn send_rows(
        &mut self,
        opened: &Opened<'_>,
        rows: &mut Rows<File>,
        sending: &Sending,
        api: &Api,
    ) -> Result<(), Error> {
        let screen = self.screen.clone();
        let on_retry = |text: &str| screen.say(text);
        let mut pace = Pace::new(sending.rate);
        let mut ended = pin!(interrupted());
        let mut clock = tokio::time::interval(SAVE_EVERY);
        let restarted = self.journal.progress.restarted;
        let (mut in_flight, mut more) = (FuturesUnordered::new(), true);
        let stop = loop {
            while more && in_flight.len() < sending.parallel {
                let Some(row) = opened.next(rows)? else {
                    more = false;
                    break;
                };
                if self.journal.progress.done.contains(row.number) {
                    continue;
                }
                match opened.body(&row) {
                    Err(errors) => self.note(&row, Outcome::Rejected(errors))?,
                    Ok(body) => {
                        // The number, as rows that a lone carriage return divides stand on one line.
                        let key = format!("import-{}-{}", &opened.digest[..16], row.number);
                        let due = pace.next(Instant::now());
                        in_flight.push(async move { (row, send(api, &key, &body, due, restarted, on_retry).await) });
                    }
                }
            }
            tokio::select! {
                answered = in_flight.next() => match answered {
                    None => return Ok(()),
                    Some((row, Ok(fate))) => self.note(&row, fate)?,
                    Some((_, Err(stop))) => break stop,
                },
                _ = clock.tick() => self.save_if_late()?,
                () = &mut ended => break Error::Interrupted,
            }
        };
        let last_answers = async {
            while let Some((row, fate)) = in_flight.next().await {
                if let Ok(fate) = fate {
                    self.note(&row, fate)?;
                }
            }
            Ok(())
        };
        tokio::time::timeout(LAST_ANSWERS, last_answers).await.unwrap_or(Ok(()))?;
        Err(stop)
    }

    fn note(&mut self, row: &Row, fate: Outcome) -> Result<(), Error> {
        let progress = &mut self.journal.progress;
        match fate {
            Outcome::Created { replayed } => {
                progress.created += 1;
                progress.replayed += u64::from(replayed);
            }
            Outcome::Rejected(errors) => {
                progress.rejected += 1;
                self.report.add(row, &errors)?;
            }
        }
        progress.done.insert(row.number);
        self.screen.step();
        self.unsaved += 1;
        self.save_if_late()
    }

    fn save_if_late(&mut self) -> Result<(), Error> {
        let late = self.unsaved >= SAVE_AFTER || self.unsaved > 0 && self.saved_at.elapsed() >= SAVE_EVERY;
        if late { self.save() } else { Ok(()) }
    }

    fn save(&mut self) -> Result<(), Error> {
        let progress = &mut self.journal.progress;
        (progress.report_bytes, progress.rejected_bytes) = self.report.flush()?;
        self.journal.save()?;
        (self.unsaved, self.saved_at) = (0, Instant::now());
        Ok(())
    }
}

/// Until the user (Ctrl-C) or the system ends the program.
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

/// Creates the end user of a row. Where the API replays an earlier response and its end user was deleted since, an
/// import that was `restarted` creates another one.
async fn send(
    api: &Api,
    key: &str,
    body: &Json,
    due: Instant,
    restarted: bool,
    on_retry: impl Fn(&str),
) -> Result<Outcome, Error> {
    tokio::time::sleep_until(due).await;
    let body = serde_json::to_vec(body).map_err(|error| Error::Usage(error.to_string()))?;
    let mut current = key.to_owned();
    for _ in 0..MAX_DELETIONS {
        let answer = api.create(&current, &body, &on_retry).await?;
        match answer.status {
            201 if restarted && answer.replayed => match answer.end_user_id() {
                // The next key follows from the deleted id, so that it is the same after a kill.
                Some(id) if !api.has_end_user(id, &on_retry).await? => current = format!("{key}-{id}"),
                _ => return Ok(Outcome::Created { replayed: true }),
            },
            201 => return Ok(Outcome::Created { replayed: answer.replayed }),
            400 | 413 | 422 => return Ok(Outcome::Rejected(errors(&answer))),
            _ => return Err(answer.unexpected()),
        }
    }
    Ok(Outcome::Rejected(ValidationErrors::single(
        "body",
        format!("was created and deleted {MAX_DELETIONS} times within a day"),
    )))
}

/// What an answer says is wrong.
fn errors(answer: &Answer) -> ValidationErrors {
    let mut errors = answer.errors();
    if errors.is_empty() {
        errors.add("body", format!("{} ({})", answer.detail(), answer.status));
    }
    errors
}

/// When each request is due: none sooner after another than the rate allows.
struct Pace {
    gap: Duration,
    next: Instant,
}

impl Pace {
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

    fn body(text: &str) -> Json {
        Json::parse(text.as_bytes()).expect("JSON")
    }

    #[test]
    fn only_a_number_without_a_country_hangs_on_the_default_region() {
        for (text, hangs) in [
            (r#"{"uids":[{"uidType":"Phone","uid":"0470000000"}]}"#, true),
            (r#"{"country":"BE","uids":[{"uidType":"Phone","uid":"04700"}]}"#, false),
            (r#"{"uids":[{"uidType":"Phone","uid":"0470l00000"}]}"#, false),
            (r#"{"lang":"x","uids":[{"uidType":"Phone","uid":"0470000000"}]}"#, false),
        ] {
            let errors = draft(&body(text), None).expect_err("faults");
            assert_eq!(depends_on_region(&body(text), &errors), hangs, "{text}: {errors:?}");
        }
        assert_eq!(draft(&body(r#"{"uids":[{"uidType":"Phone","uid":"0470000000"}]}"#), Region::parse("BE")), Ok(()));
    }

    #[test]
    fn an_end_user_who_is_too_large_is_found_without_the_api() {
        let large = format!(r#"{{"aiDocumentation":"{}"}}"#, "x\\n".repeat(16_000));
        let errors = draft(&body(&large), None).expect_err("a fault");
        assert_eq!(errors.as_map().keys().collect::<Vec<_>>(), ["aiDocumentation"]);
    }

    #[test]
    fn a_rate_holds_after_a_pause_too() {
        let mut pace = Pace::new(Some(10));
        let start = Instant::now();
        let mut due = |now| (pace.next(start + Duration::from_millis(now)) - start).as_millis();
        assert_eq!([0, 0, 10].map(&mut due), [0, 100, 200]);
        assert_eq!([5_000, 5_000, 5_010].map(&mut due), [5_000, 5_100, 5_200]);
    }
}
