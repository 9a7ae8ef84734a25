//! The file of an import, and how its rows become request bodies.

use std::fs::File;
use std::path::{Path, PathBuf};

use encoding_rs::Encoding;
use sha2::Digest;
use shared::domain::input::{Json, ValidationErrors};

use crate::display::print_line;
use crate::error::Error;
use crate::files::with_suffix;
use crate::format::{Format, Reading};
use crate::headers;
use crate::mapping::{Mapping, MappingOptions};
use crate::rows::{Row, Rows};
use crate::scan::{Scan, scan};

/// The file and the options that say how to read it.
pub(crate) struct Source {
    pub(crate) file: PathBuf,
    pub(crate) format: Option<Format>,
    pub(crate) encoding: Option<&'static Encoding>,
    pub(crate) delimiter: Option<u8>,
    pub(crate) options: MappingOptions,
}

/// A file that was read once from end to end and can be imported.
pub(crate) struct ScannedSource<'a> {
    pub(crate) file: &'a Path,
    pub(crate) reading: Reading,
    mapping: Mapping,
    /// The number of rows.
    pub(crate) rows: u64,
    /// The SHA-256 digest of the file, its [`Reading`] and its [`Mapping`], in hexadecimal.
    pub(crate) digest: String,
}

impl<'a> ScannedSource<'a> {
    /// Scans the file, and prints the number of rows and the mapping. Errors are those of the file as a whole.
    pub(crate) fn new(source: &'a Source) -> Result<Self, Error> {
        let Source { file, format, encoding, delimiter, options } = source;
        let reading = Reading { format: Format::chosen(*format, file)?, encoding: *encoding, delimiter: *delimiter };
        let Scan { columns, rows, digest, invalid, unreadable } = scan(file, &reading)?;
        if columns.is_empty() {
            return Err(Error::file(
                file,
                match unreadable {
                    Some((line, message)) => format!("no row can be read; line {line}: {message}"),
                    None => "the file is empty".to_owned(),
                },
            ));
        }
        if let Some((line, message)) = invalid {
            print_line(&format!("{}: line {line} {message}", file.display()));
        }
        let mapping = Mapping::new(&columns, reading.format, options)?;
        let digest = digest.chain_update(format!("\n{reading:?} {mapping}")).finalize();
        let digest = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        print_line(&format!("{}: {rows} rows; {mapping}", file.display()));
        if !mapping.ignored().is_empty() {
            print_line(&format!("columns that are not imported: {}", headers::list(mapping.ignored())));
        }
        Ok(Self { file, reading, mapping, rows, digest })
    }

    /// Opens the file at its first row.
    pub(crate) fn open(&self) -> Result<Rows<File>, Error> {
        let file = File::open(self.file).map_err(|error| Error::file(self.file, error))?;
        Rows::open(file, &self.reading).map_err(|error| Error::file(self.file, error))
    }

    pub(crate) fn next(&self, rows: &mut Rows<File>) -> Result<Option<Row>, Error> {
        rows.next().map_err(|error| Error::file(self.file, error))
    }

    /// The EndUserUpsertDTO of a row, or its EndUserCreateDTO.
    pub(crate) fn body(&self, row: &Row) -> Result<Json, ValidationErrors> {
        let members = row.members.as_ref().map_err(ValidationErrors::clone)?;
        self.mapping.check_embedded_rows(&row.embedded_rows)?;
        self.mapping.end_user(members)
    }

    /// The path of a file beside the imported one.
    pub(crate) fn beside(&self, suffix: &str) -> PathBuf {
        with_suffix(self.file, suffix)
    }
}
