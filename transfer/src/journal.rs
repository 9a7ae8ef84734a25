//! The progress of an import, in a file beside the imported file.
//!
//! Rows that were sent after the last save are sent again. An upsert then finds its end user unchanged; the API
//! recognises a create request by its idempotency key within 24 hours.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::files::with_suffix;
use crate::target::Destination;

/// A set of row numbers: ranges of first and last, ascending, with gaps between them. There are few, because rows are
/// finished nearly in order.
#[derive(Clone, Default, PartialEq, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct RowSet(Vec<(u64, u64)>);

impl RowSet {
    /// Adds a number that is not in the set.
    pub(crate) fn insert(&mut self, number: u64) {
        let at = self.0.partition_point(|(_, last)| *last < number);
        let extends_previous = at > 0 && self.0[at - 1].1 + 1 == number;
        let extends_next = self.0.get(at).is_some_and(|(first, _)| number + 1 == *first);
        match (extends_previous, extends_next) {
            (true, true) => self.0[at - 1].1 = self.0.remove(at).1,
            (true, false) => self.0[at - 1].1 = number,
            (false, true) => self.0[at].0 = number,
            (false, false) => self.0.insert(at, (number, number)),
        }
    }

    pub(crate) fn contains(&self, number: u64) -> bool {
        let at = self.0.partition_point(|(_, last)| *last < number);
        self.0.get(at).is_some_and(|(first, _)| *first <= number)
    }

    pub(crate) fn count(&self) -> u64 {
        self.0.iter().map(|(first, last)| last - first + 1).sum()
    }
}

/// The stored state of an import.
#[derive(Clone, Default, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ImportProgress {
    /// The digest of the file and the mapping, in hexadecimal.
    digest: String,
    #[serde(rename = "whose")]
    destination: Destination,
    /// Whether the import was started with `--restart`: end users that were deleted since are created again.
    #[serde(default)]
    pub(crate) restarted: bool,
    /// Whether the last run ended in order. A killed run leaves `false`.
    pub(crate) ended: bool,
    /// The numbers of the finished rows.
    pub(crate) done: RowSet,
    /// The number of created end users, including `replayed`.
    pub(crate) created: u64,
    /// The number of end users that an earlier run had created.
    pub(crate) replayed: u64,
    /// The number of end users that were updated.
    #[serde(default)]
    pub(crate) updated: u64,
    /// The number of rows whose end user had everything already.
    #[serde(default)]
    pub(crate) unchanged: u64,
    /// The number of rejected rows.
    pub(crate) rejected: u64,
    /// The length of the report's part that belongs to the finished rows, in bytes.
    pub(crate) report_bytes: u64,
    /// The same of the file of rejected rows.
    pub(crate) rejected_bytes: u64,
}

impl ImportProgress {
    /// The result of an import of `rows` rows, in one line.
    pub(crate) fn summary(&self, rows: u64, create_only: bool) -> String {
        let earlier = match self.replayed {
            0 => String::new(),
            replayed => format!(" ({replayed} of them by an earlier run)"),
        };
        let matched = match create_only {
            true => String::new(),
            false => format!("{} updated, {} unchanged, ", self.updated, self.unchanged),
        };
        format!("{} created{earlier}, {matched}{} rejected of {rows} rows", self.created, self.rejected)
    }

    /// The reason why this is the progress of another import.
    fn difference(&self, digest: &str, destination: &Destination) -> Option<String> {
        let stored = &self.destination;
        if stored.url != destination.url {
            return Some(format!("this is the progress of an import into {}", stored.url));
        }
        if stored.tenant != destination.tenant {
            let tenant = destination.tenant.as_deref().unwrap_or("this one");
            return Some(format!(
                "this is the progress of an import for another tenant; import a copy of the file for tenant {tenant}"
            ));
        }
        let reason = "this is the progress of an import of another file or with another mapping";
        (self.digest != digest).then(|| reason.to_owned())
    }
}

/// The effect of the progress of an earlier run on an import.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Start {
    /// Ignores it.
    Over,
    /// Resumes it. It is an error if it belongs to another file, mapping or destination.
    Resume,
    /// Resumes it if it belongs to the same file, mapping and destination, and some of these rows are not finished.
    /// Otherwise starts over.
    ResumeUnfinished { rows: u64 },
}

/// The progress file of an import.
pub(crate) struct Journal {
    path: PathBuf,
    pub(crate) progress: ImportProgress,
    /// The lengths of the report and of the rejected rows after the earlier run, if it ended in order.
    pub(crate) left: Option<(u64, u64)>,
}

impl Journal {
    /// Reads the progress at `path`. Starts a new one if the file does not exist, or as `start` says.
    pub(crate) fn open(path: PathBuf, digest: &str, destination: &Destination, start: Start) -> Result<Self, Error> {
        let new = ImportProgress {
            digest: digest.to_owned(),
            destination: destination.clone(),
            restarted: start == Start::Over,
            ..ImportProgress::default()
        };
        let text = match fs::read(&path) {
            Ok(text) if start != Start::Over => text,
            Ok(_) => return Ok(Self { path, progress: new, left: None }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Ok(Self { path, progress: new, left: None });
            }
            Err(error) => return Err(Error::file(&path, error)),
        };
        let stored: ImportProgress = serde_json::from_slice(&text)
            .map_err(|error| Error::file(&path, format!("the file is damaged ({error}); start over with --restart")))?;
        let left = stored.ended.then_some((stored.report_bytes, stored.rejected_bytes));
        let progress = match (start, stored.difference(digest, destination)) {
            (Start::ResumeUnfinished { rows }, None) if stored.done.count() < rows => stored,
            (Start::ResumeUnfinished { .. }, _) => new,
            (_, None) => stored,
            (_, Some(reason)) => {
                let advice = "--restart sends all rows, also those of end users that exist";
                return Err(Error::file(&path, format!("{reason}; {advice}")));
            }
        };
        Ok(Self { path, progress, left })
    }

    /// Replaces the progress file atomically.
    pub(crate) fn save(&self) -> Result<(), Error> {
        let unfinished = with_suffix(&self.path, "unfinished");
        let write = || {
            let mut file = File::create(&unfinished)?;
            file.write_all(&serde_json::to_vec(&self.progress)?)?;
            file.sync_data()?;
            fs::rename(&unfinished, &self.path)
        };
        write().map_err(|error: io::Error| Error::file(&self.path, error))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn row_set_is_independent_of_insertion_order() {
        let mut rng = fastrand::Rng::with_seed(7);
        for _ in 0..200 {
            let mut all: Vec<u64> = (1..=40).collect();
            rng.shuffle(&mut all);
            all.truncate(rng.usize(0..=40));
            let (mut numbers, expected) = (RowSet::default(), all.iter().copied().collect::<BTreeSet<u64>>());
            all.iter().for_each(|number| numbers.insert(*number));
            assert!((0..=42).all(|number| numbers.contains(number) == expected.contains(&number)), "{numbers:?}");
            assert_eq!(numbers.count(), expected.len() as u64);
            assert!(numbers.0.windows(2).all(|pair| pair[0].1 + 1 < pair[1].0), "{numbers:?}");
        }
    }

    #[test]
    fn progress_is_resumed_by_the_same_import_only() {
        let path = std::env::temp_dir().join(format!("transfer-journal-{}", std::process::id()));
        let open = |digest, (url, tenant): (&str, &str), start| {
            let destination = Destination { url: url.to_owned(), tenant: Some(tenant.to_owned()) };
            Journal::open(path.clone(), digest, &destination, start)
        };
        let mut journal = open("d", ("http://a", "7"), Start::Resume).expect("new progress");
        journal.progress.done.insert(3);
        journal.progress.created = 1;
        journal.save().expect("saved");
        for (start, done) in
            [(Start::Resume, 1), (Start::ResumeUnfinished { rows: 2 }, 1), (Start::ResumeUnfinished { rows: 1 }, 0)]
        {
            let opened = open("d", ("http://a", "7"), start).expect("the same import");
            assert_eq!((opened.progress.done.count(), opened.left), (done, None), "{start:?}");
        }
        for (digest, destination) in [("e", ("http://a", "7")), ("d", ("http://b", "7")), ("d", ("http://a", "8"))] {
            let error = open(digest, destination, Start::Resume).err().expect("another import").to_string();
            assert!(error.contains("--restart sends all rows"), "{error}");
            for start in [Start::Over, Start::ResumeUnfinished { rows: 2 }] {
                assert_eq!(open(digest, destination, start).expect("new progress").progress.done.count(), 0);
            }
        }
        fs::write(&path, "{").expect("written");
        assert!(open("d", ("http://a", "7"), Start::Resume).is_err());
        fs::remove_file(&path).expect("removed");
    }
}
