//! The format of a file, and how its bytes are read.

use std::path::Path;

use clap::ValueEnum;
use encoding_rs::Encoding;

use crate::error::Error;

/// The format of a file.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum Format {
    /// Comma-separated values (RFC 4180) with a header line.
    Csv,
    /// One JSON object per line; also an array of objects, and objects printed over several lines.
    Ndjson,
}

impl Format {
    /// The requested format, or the one of the file's extension.
    pub(crate) fn chosen(requested: Option<Self>, file: &Path) -> Result<Self, Error> {
        let format = requested.or_else(|| Self::of_extension(file));
        format.ok_or_else(|| Error::file(file, "the extension does not determine the format; use --format"))
    }

    fn of_extension(path: &Path) -> Option<Self> {
        match path.extension()?.to_str()?.to_ascii_lowercase().as_str() {
            "csv" | "tsv" | "txt" => Some(Self::Csv),
            "ndjson" | "jsonl" | "json" => Some(Self::Ndjson),
            _ => None,
        }
    }

    /// The name in `--format`.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Csv => "csv",
            Self::Ndjson => "ndjson",
        }
    }
}

/// The options that determine how the bytes of a file are read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reading {
    pub(crate) format: Format,
    /// `None` for the encoding of the byte order mark, or UTF-8 without one.
    pub(crate) encoding: Option<&'static Encoding>,
    /// The delimiter of CSV; `None` for that of the `sep=` line or the header.
    pub(crate) delimiter: Option<u8>,
}
