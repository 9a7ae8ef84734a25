//! How far an import is, kept beside its file. Repeats of what it does not tell yet are harmless while the API
//! knows their idempotency keys: for 24 hours.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::error::Error;

/// A set of row numbers: ranges of first and last, ascending, with gaps between. While 16 requests are under
/// way at once, there are at most 17 of them.
#[derive(Clone, Default, PartialEq, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct RowSet(Vec<(u64, u64)>);

impl RowSet {
    /// Adds a number that is not there yet.
    pub(crate) fn insert(&mut self, number: u64) {
        let at = self.0.partition_point(|(_, last)| *last < number);
        let joins_before = at > 0 && self.0[at - 1].1 + 1 == number;
        let joins_behind = self.0.get(at).is_some_and(|(first, _)| number + 1 == *first);
        match (joins_before, joins_behind) {
            (true, true) => self.0[at - 1].1 = self.0.remove(at).1,
            (true, false) => self.0[at - 1].1 = number,
            (false, true) => self.0[at].0 = number,
            (false, false) => self.0.insert(at, (number, number)),
        }
    }

    /// Whether a number is among them.
    pub(crate) fn contains(&self, number: u64) -> bool {
        let at = self.0.partition_point(|(_, last)| *last < number);
        self.0.get(at).is_some_and(|(first, _)| *first <= number)
    }

    /// How many they are.
    pub(crate) fn count(&self) -> u64 {
        self.0.iter().map(|(first, last)| last - first + 1).sum()
    }
}

/// Into what end users are imported.
#[derive(Clone, Default, PartialEq, Debug, Serialize, Deserialize)]
pub(crate) struct Destination {
    /// The deployment.
    pub(crate) url: String,
    /// The tenant, where the token tells.
    pub(crate) customer: Option<String>,
}

/// What became of the rows of an import.
#[derive(Clone, Default, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Progress {
    /// Of the file and the mapping, in hexadecimal.
    digest: String,
    /// The deployment and the tenant.
    whose: Destination,
    /// Whether it was begun with `--restart`: end users that were deleted since are created again.
    #[serde(default)]
    pub(crate) restarted: bool,
    /// Whether the last run ended by itself, and was not killed.
    pub(crate) ended: bool,
    /// The rows that were answered, by their numbers.
    pub(crate) done: RowSet,
    /// End users created, those among them whom the API knew from an earlier run, and rows rejected.
    pub(crate) created: u64,
    pub(crate) replayed: u64,
    pub(crate) rejected: u64,
    /// How much of the report and of the rejected rows belongs to it, in bytes.
    pub(crate) report_bytes: u64,
    pub(crate) rejected_bytes: u64,
}

impl Progress {
    /// What became of so many rows, in a line.
    pub(crate) fn summary(&self, rows: u64) -> String {
        let earlier = match self.replayed {
            0 => String::new(),
            replayed => format!(" ({replayed} of them by an earlier run)"),
        };
        format!("{} created{earlier}, {} rejected of {rows} rows", self.created, self.rejected)
    }
}

/// The progress of an import, on disk.
pub(crate) struct Journal {
    path: PathBuf,
    pub(crate) progress: Progress,
}

impl Journal {
    /// Takes up the progress at `path`, or begins one where there is none or where to `restart`.
    pub(crate) fn open(path: PathBuf, digest: &str, whose: &Destination, restart: bool) -> Result<Self, Error> {
        let fresh =
            Progress { digest: digest.to_owned(), whose: whose.clone(), restarted: restart, ..Progress::default() };
        let text = match fs::read(&path) {
            Ok(text) if !restart => text,
            Ok(_) => return Ok(Self { path, progress: fresh }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self { path, progress: fresh }),
            Err(error) => return Err(Error::file(&path, error)),
        };
        let progress: Progress = serde_json::from_slice(&text)
            .map_err(|error| Error::file(&path, format!("it is damaged ({error}); --restart starts over")))?;
        let other = match () {
            () if progress.whose.url != whose.url => format!("it is of an import into {}", progress.whose.url),
            () if progress.whose.customer != whose.customer => {
                let customer = whose.customer.as_deref().unwrap_or("this one");
                format!("it is of an import for another customer: import a copy of the file for {customer}")
            }
            () if progress.digest != digest => "it is of another file or mapping".to_owned(),
            () => return Ok(Self { path, progress }),
        };
        Err(Error::file(&path, format!("{other}; with --restart all rows are sent, also those whose people are there")))
    }

    /// Writes it down; a kill leaves the one before or this one.
    pub(crate) fn save(&self) -> Result<(), Error> {
        let unfinished = name_after(&self.path, "unfinished");
        let write = || {
            let mut file = File::create(&unfinished)?;
            file.write_all(&serde_json::to_vec(&self.progress)?)?;
            file.sync_data()?;
            fs::rename(&unfinished, &self.path)
        };
        write().map_err(|error: io::Error| Error::file(&self.path, error))
    }
}

/// `path` with another ending behind its own.
pub(crate) fn name_after(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{ending}"));
    name.into()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn numbers_are_a_set_in_whatever_order_they_come() {
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
    fn progress_is_taken_up_by_the_same_import_alone() {
        let path = std::env::temp_dir().join(format!("transfer-journal-{}", std::process::id()));
        let open = |digest, (url, customer): (&str, &str), restart| {
            let whose = Destination { url: url.to_owned(), customer: Some(customer.to_owned()) };
            Journal::open(path.clone(), digest, &whose, restart)
        };
        let mut journal = open("d", ("http://a", "7"), false).expect("a fresh one");
        journal.progress.done.insert(3);
        journal.progress.created = 1;
        journal.save().expect("saved");
        assert_eq!(open("d", ("http://a", "7"), false).expect("the same").progress, journal.progress);
        for (digest, whose) in [("e", ("http://a", "7")), ("d", ("http://b", "7")), ("d", ("http://a", "8"))] {
            let error = open(digest, whose, false).err().expect("another").to_string();
            assert!(error.contains("with --restart all rows are sent"), "{error}");
            assert_eq!(open(digest, whose, true).expect("a fresh one").progress.done.count(), 0);
        }
        fs::write(&path, "{").expect("written");
        assert!(open("d", ("http://a", "7"), false).is_err());
        fs::remove_file(&path).expect("removed");
    }
}
