//! The first reading of a file, before any of its rows is sent.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use sha2::{Digest, Sha256};

use crate::error::{Error, ReadError};
use crate::format::Reading;
use crate::headers;
use crate::limits::MAX_COLUMNS;
use crate::rows::Rows;

/// The facts about a file that are known before its rows are sent.
pub(crate) struct Scan {
    /// The columns of CSV; the distinct member names of JSON, in order of appearance.
    pub(crate) columns: Vec<String>,
    /// The number of rows.
    pub(crate) rows: u64,
    /// The SHA-256 digest of the file's bytes.
    pub(crate) digest: Sha256,
    /// The first line that is invalid in the file's encoding, with the error message.
    pub(crate) invalid: Option<(u64, String)>,
    /// The first line that cannot be read, with the error message.
    pub(crate) unreadable: Option<(u64, String)>,
}

/// Reads a file from end to end.
pub(crate) fn scan(path: &Path, reading: &Reading) -> Result<Scan, Error> {
    let file_error = |error: ReadError| Error::file(path, error);
    let file = File::open(path).map_err(|error| file_error(error.into()))?;
    let mut rows = Rows::open(Hashing { file, digest: Sha256::new() }, reading).map_err(file_error)?;
    let is_csv = rows.columns().is_some();
    let mut columns = rows.columns().unwrap_or_default().to_vec();
    let (mut invalid, mut unreadable) = (None, None);
    while let Some(row) = rows.next().map_err(file_error)? {
        if invalid.is_none() && std::str::from_utf8(&row.raw).is_err() {
            invalid = Some((row.line, rows.invalid_message().to_owned()));
        }
        if let Err(errors) = &row.members {
            let message = || errors.as_map().values().flatten().next().cloned().unwrap_or_default();
            unreadable.get_or_insert_with(|| (row.line, message()));
        }
        for (name, _) in row.members.into_iter().flatten().filter(|_| !is_csv) {
            if columns.len() < MAX_COLUMNS && !columns.iter().any(|column| headers::same(column, &name)) {
                columns.push(name);
            }
        }
    }
    let count = rows.count();
    Ok(Scan { columns, rows: count, digest: rows.into_source().digest, invalid, unreadable })
}

/// A file that computes the digest of its bytes as they are read.
struct Hashing {
    file: File,
    digest: Sha256,
}

impl Read for Hashing {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read(buffer)?;
        self.digest.update(&buffer[..read]);
        Ok(read)
    }
}
