//! The report of an import, and the file of rejected rows, which can be corrected and imported.

use std::fs::{self, File};
use std::io::{self, BufWriter, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use shared::domain::input::ValidationErrors;

use crate::display::{print_line, printable};
use crate::error::Error;
use crate::rows::Row;

/// A text file that is created with its first write.
struct Output {
    path: PathBuf,
    file: Option<BufWriter<File>>,
    bytes: u64,
}

impl Output {
    /// Keeps the first `bytes` of an existing file and appends to them. The rest was written after the last save before
    /// a kill, and its rows are processed again.
    fn open(path: PathBuf, bytes: u64) -> io::Result<Self> {
        let length = fs::metadata(&path).map_or(0, |found| found.len());
        let bytes = bytes.min(length);
        if bytes == 0 {
            if length > 0 {
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

/// Checks that a file has the length that a run left that ended in order. A user who corrected the file must move it
/// first, so that the import does not overwrite it.
pub(crate) fn check_untouched(path: &Path, bytes: u64) -> Result<(), Error> {
    match fs::metadata(path) {
        Ok(found) if found.len() != bytes => {
            Err(Error::file(path, "the file was changed since the last run; move it, because the import appends to it"))
        }
        _ => Ok(()),
    }
}

/// The errors of a row, each as a line of text.
pub(crate) fn lines(row: &Row, errors: &ValidationErrors) -> impl Iterator<Item = String> {
    let all = errors.as_map().iter().flat_map(|(path, messages)| messages.iter().map(move |message| (path, message)));
    all.map(|(path, message)| printable(&format!("line {}: {path}: {message}", row.line)))
}

/// The report and, except in a dry run, the rejected rows.
pub(crate) struct Report {
    report: Output,
    rejected: Option<Output>,
    header: Vec<u8>,
}

impl Report {
    /// Opens both files, each by its path and the bytes to keep. `header` is written before the first rejected row.
    pub(crate) fn open(report: (PathBuf, u64), rejected: Option<(PathBuf, u64)>, header: &[u8]) -> Result<Self, Error> {
        let open = |(path, bytes): (PathBuf, u64)| Output::open(path.clone(), bytes).map_err(|e| Error::file(&path, e));
        Ok(Self { report: open(report)?, rejected: rejected.map(open).transpose()?, header: header.to_vec() })
    }

    /// Adds the errors of a row to the report, and the row to the rejected rows.
    pub(crate) fn add(&mut self, row: &Row, errors: &ValidationErrors) -> Result<(), Error> {
        for line in lines(row, errors) {
            self.report.write(format!("{line}\n").as_bytes())?;
        }
        let Some(rejected) = &mut self.rejected else { return Ok(()) };
        if rejected.bytes == 0 && !self.header.is_empty() {
            rejected.write(&[&self.header, b"\n".as_slice()].concat())?;
        }
        rejected.write(&[&row.raw, b"\n".as_slice()].concat())
    }

    /// Flushes both files. Returns their lengths: the report and the rejected rows.
    pub(crate) fn flush(&mut self) -> Result<(u64, u64), Error> {
        Ok((self.report.flush()?, self.rejected.as_mut().map_or(Ok(0), Output::flush)?))
    }

    /// Prints the paths of both files.
    pub(crate) fn print_paths(&self) {
        let files = std::iter::once(&self.report).chain(&self.rejected);
        files.for_each(|file| print_line(&format!("see {}", file.path.display())));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_after_the_last_save_is_cut_off() {
        let base = std::env::temp_dir().join(format!("transfer-report-{}", std::process::id()));
        let paths = ["report", "rejected"].map(|ending| base.with_extension(ending));
        let row =
            |raw: &str| Row { number: 1, line: 2, raw: raw.into(), members: Ok(Vec::new()), embedded_rows: Vec::new() };
        let errors = ValidationErrors::single("uids[0].uid", "is required");
        let open = |bytes: (u64, u64)| {
            Report::open((paths[0].clone(), bytes.0), Some((paths[1].clone(), bytes.1)), b"a,b").expect("a report")
        };
        let mut report = open((0, 0));
        report.add(&row("1,2"), &errors).expect("written");
        let saved = report.flush().expect("flushed");
        report.add(&row("lost"), &errors).expect("written");
        drop(report);
        let mut report = open(saved);
        report.add(&row("3,4"), &errors).expect("written");
        report.flush().expect("flushed");
        let read = |path| fs::read_to_string(path).expect("a text");
        assert_eq!(read(&paths[0]), "line 2: uids[0].uid: is required\n".repeat(2));
        assert_eq!(read(&paths[1]), "a,b\n1,2\n3,4\n");
        // A removed file starts with its header again. A file without saved bytes is removed.
        fs::remove_file(&paths[1]).expect("removed");
        open((1, saved.1)).add(&row("5,6"), &errors).expect("written");
        assert_eq!(read(&paths[1]), "a,b\n5,6\n");
        drop(open((0, 0)));
        assert!(paths.iter().all(|path| !path.exists()));
    }
}
