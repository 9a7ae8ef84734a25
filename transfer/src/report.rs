//! What is wrong with rows, for end users to read, and the rows themselves, to be mended and imported again.

use std::fs::{self, File};
use std::io::{self, BufWriter, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use shared::domain::input::ValidationErrors;

use crate::error::Error;
use crate::progress::printable;
use crate::rows::Row;

/// A file that is made when the first text comes.
struct Text {
    path: PathBuf,
    file: Option<BufWriter<File>>,
    bytes: u64,
}

impl Text {
    /// Goes on behind the first `bytes` of what is there: what follows them was not noted before a kill, and
    /// comes again.
    fn open(path: PathBuf, bytes: u64) -> io::Result<Self> {
        let there = fs::metadata(&path).map_or(0, |found| found.len());
        let bytes = bytes.min(there);
        if bytes == 0 {
            if there > 0 {
                fs::remove_file(&path)?;
            }
            return Ok(Self { path, file: None, bytes });
        }
        let mut file = File::options().write(true).open(&path)?;
        file.set_len(bytes)?;
        file.seek(SeekFrom::End(0))?;
        Ok(Self { path, file: Some(BufWriter::new(file)), bytes })
    }

    fn write(&mut self, text: &[u8]) -> Result<(), Error> {
        let Self { path, file, bytes } = self;
        let mut write = || {
            let file = match file {
                Some(file) => file,
                None => file.insert(BufWriter::new(File::create(&*path)?)),
            };
            *bytes += text.len() as u64;
            file.write_all(text)
        };
        write().map_err(|error| Error::file(&self.path, error))
    }

    fn flush(&mut self) -> Result<u64, Error> {
        let flushed = self.file.as_mut().map_or(Ok(()), BufWriter::flush);
        flushed.map_err(|error| Error::file(&self.path, error)).map(|()| self.bytes)
    }
}

/// That a file is still as long as an import left it that ended in order: whoever mended it has not moved it
/// away, and it is not to be written over.
pub(crate) fn check_untouched(path: &Path, bytes: u64) -> Result<(), Error> {
    match fs::metadata(path) {
        Ok(found) if found.len() != bytes => {
            Err(Error::file(path, "it was changed since the import ended; move it away, rows go on being noted in it"))
        }
        _ => Ok(()),
    }
}

/// The report, and where they are kept the rejected rows.
pub(crate) struct Report {
    report: Text,
    rejected: Option<Text>,
    header: Vec<u8>,
}

impl Report {
    /// Goes on behind what is noted of both files; `header` stands before rejected rows.
    pub(crate) fn open(report: (PathBuf, u64), rejected: Option<(PathBuf, u64)>, header: &[u8]) -> Result<Self, Error> {
        let open = |(path, bytes): (PathBuf, u64)| Text::open(path.clone(), bytes).map_err(|e| Error::file(&path, e));
        Ok(Self { report: open(report)?, rejected: rejected.map(open).transpose()?, header: header.to_vec() })
    }

    /// Notes what is wrong with a row.
    pub(crate) fn add(&mut self, row: &Row, errors: &ValidationErrors) -> Result<(), Error> {
        for (path, messages) in errors.as_map() {
            for message in messages {
                let line = printable(&format!("line {}: {path}: {message}", row.line));
                self.report.write(format!("{line}\n").as_bytes())?;
            }
        }
        let Some(rejected) = &mut self.rejected else { return Ok(()) };
        if rejected.bytes == 0 && !self.header.is_empty() {
            rejected.write(&[&self.header, b"\n".as_slice()].concat())?;
        }
        rejected.write(&[&row.raw, b"\n".as_slice()].concat())
    }

    /// Hands all to the system; how long the two files are.
    pub(crate) fn flush(&mut self) -> Result<(u64, u64), Error> {
        Ok((self.report.flush()?, self.rejected.as_mut().map_or(Ok(0), Text::flush)?))
    }

    /// The files, for end users to find.
    pub(crate) fn paths(&self) -> Vec<&Path> {
        std::iter::once(&self.report).chain(&self.rejected).map(|text| text.path.as_path()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_after_the_last_note_is_cut_off() {
        let base = std::env::temp_dir().join(format!("transfer-report-{}", std::process::id()));
        let paths = ["report", "rejected"].map(|ending| base.with_extension(ending));
        let row =
            |raw: &str| Row { number: 1, line: 2, raw: raw.into(), members: Ok(Vec::new()), swallowed: Vec::new() };
        let errors = ValidationErrors::single("uids[0].uid", "is required");
        let open = |bytes: (u64, u64)| {
            Report::open((paths[0].clone(), bytes.0), Some((paths[1].clone(), bytes.1)), b"a,b").expect("a report")
        };
        let mut report = open((0, 0));
        report.add(&row("1,2"), &errors).expect("noted");
        let noted = report.flush().expect("flushed");
        report.add(&row("lost"), &errors).expect("noted");
        drop(report);
        let mut report = open(noted);
        report.add(&row("3,4"), &errors).expect("noted");
        report.flush().expect("flushed");
        let read = |path| fs::read_to_string(path).expect("a text");
        assert_eq!(read(&paths[0]), "line 2: uids[0].uid: is required\n".repeat(2));
        assert_eq!(read(&paths[1]), "a,b\n1,2\n3,4\n");
        // What somebody took away begins anew; what belongs to no noted run goes.
        fs::remove_file(&paths[1]).expect("removed");
        open((1, noted.1)).add(&row("5,6"), &errors).expect("noted");
        assert_eq!(read(&paths[1]), "a,b\n5,6\n");
        drop(open((0, 0)));
        assert!(paths.iter().all(|path| !path.exists()));
    }
}
