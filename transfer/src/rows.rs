//! The rows of a file of end users, read one by one in the memory of one row.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use clap::ValueEnum;
use encoding_rs::Encoding;
use sha2::{Digest, Sha256};
use shared::domain::input::{Json, ValidationErrors};

use crate::decode::{DecodeError, Decoded};
use crate::error::Error;
use crate::headers;
use crate::json::{self, Values};
use crate::lines::{Lines, without_end};
use crate::table::{self, Record, Swallowed};

/// The most bytes of a row: more than the API takes of a body (1 MiB).
pub(crate) const MAX_ROW: usize = 4 << 20;
/// The most columns of CSV, and the most names of members that are listed of NDJSON.
pub(crate) const MAX_COLUMNS: usize = 2_000;
const BOM: &[u8] = b"\xef\xbb\xbf";

/// The format of a file.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum Format {
    /// Comma-separated values (RFC 4180) with a header line.
    Csv,
    /// One JSON object per line; also an array of objects, and objects printed over several lines.
    Ndjson,
}

impl Format {
    /// The one asked for, or what the name of the file says.
    pub(crate) fn chosen(asked: Option<Self>, file: &Path) -> Result<Self, Error> {
        let format = asked.or_else(|| Self::of(file));
        format.ok_or_else(|| Error::file(file, "its name does not tell its format; say --format"))
    }

    fn of(path: &Path) -> Option<Self> {
        match path.extension()?.to_str()?.to_ascii_lowercase().as_str() {
            "csv" | "tsv" | "txt" => Some(Self::Csv),
            "ndjson" | "jsonl" | "json" => Some(Self::Ndjson),
            _ => None,
        }
    }

    /// Its name, as `--format` takes it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Csv => "csv",
            Self::Ndjson => "ndjson",
        }
    }
}

/// How the bytes of a file are read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reading {
    pub(crate) format: Format,
    /// `None` for UTF-8, or what the byte order mark says.
    pub(crate) encoding: Option<&'static Encoding>,
    /// The delimiter of CSV; `None` for that of the header.
    pub(crate) delimiter: Option<u8>,
}

/// One row of a file.
pub(crate) struct Row {
    /// From 1; blank rows do not count.
    pub(crate) number: u64,
    /// The line where it begins, from 1.
    pub(crate) line: u64,
    /// Its bytes as UTF-8, without the line's end.
    pub(crate) raw: Vec<u8>,
    /// The value under each column or member name, or why the row cannot be read.
    pub(crate) members: Result<Vec<(String, Json)>, ValidationErrors>,
    /// The cells that may hold other rows.
    pub(crate) swallowed: Vec<Swallowed>,
}

/// The rows of a file.
pub(crate) struct Rows<R> {
    lines: Lines<Decoded<R>>,
    shape: Shape,
    number: u64,
    /// The message for a row that is not valid in the file's encoding.
    invalid: String,
}

enum Shape {
    Ndjson,
    Values(Values),
    Csv(Table),
}

/// What the first lines of CSV say.
struct Table {
    delimiter: u8,
    header: Vec<String>,
    /// The lines before the rows, as they are written.
    preamble: Vec<u8>,
}

/// Why a file cannot be read on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RowsError {
    #[error("{0}")]
    Read(#[from] io::Error),
    #[error("{0}")]
    Decode(#[from] DecodeError),
    #[error("it is empty")]
    Empty,
    #[error("it looks like JSON; use --format ndjson")]
    NotCsv,
    #[error("it does not look like JSON; use --format csv if it is CSV")]
    NotJson,
    #[error("its header {0}")]
    Header(String),
    #[error("line {line}: {reason}")]
    Json { line: u64, reason: &'static str },
    #[error("line {0}: a row of more than {max} MiB", max = MAX_ROW >> 20)]
    TooLong(u64),
}

impl<R: Read> Rows<R> {
    /// Begins to read. The delimiter of CSV is the given one, or that of its `sep=` line, or that of its header.
    pub(crate) fn open(source: R, reading: &Reading) -> Result<Self, RowsError> {
        let text = Decoded::open(source, reading.encoding)?;
        let (has_bom, invalid) = (text.has_bom(), text.invalid_message());
        let mut lines = Lines::new(text)?;
        let shape = match reading.format {
            Format::Csv => Shape::Csv(Table::open(&mut lines, reading.delimiter, has_bom, &invalid)?),
            Format::Ndjson => match (first_byte(&mut lines)?, Values::open(&mut lines.source)?) {
                (None, _) => return Err(RowsError::Empty),
                (Some(_), Some(values)) => Shape::Values(values),
                (Some(b'{'), None) => Shape::Ndjson,
                (Some(_), None) => return Err(RowsError::NotJson),
            },
        };
        Ok(Self { lines, shape, number: 0, invalid })
    }

    /// The lines before the rows as they are written; nothing in JSON.
    pub(crate) fn preamble(&self) -> &[u8] {
        match &self.shape {
            Shape::Csv(table) => &table.preamble,
            Shape::Ndjson | Shape::Values(_) => &[],
        }
    }

    /// The next row. Blank lines, and CSV rows of blank cells only, are skipped.
    pub(crate) fn next(&mut self) -> Result<Option<Row>, RowsError> {
        let mut swallowed = Vec::new();
        let (line, raw, members) = match &mut self.shape {
            Shape::Csv(table) => {
                let Some(record) = next_record(&mut self.lines, table.delimiter)? else { return Ok(None) };
                swallowed.extend(record.cells.iter().flat_map(|cells| table.swallowed(cells)));
                (record.line, record.raw, table.members(record.cells, &self.invalid))
            }
            Shape::Values(values) => {
                let Some((line, raw)) = values.next(&mut self.lines.source)? else { return Ok(None) };
                let members = object(&raw, &self.invalid);
                (line, raw, members)
            }
            Shape::Ndjson => {
                let Some(raw) = self.lines.next_text()? else { return Ok(None) };
                let raw = without_end(&raw).to_vec();
                let members = object(&raw, &self.invalid);
                (self.lines.number, raw, members)
            }
        };
        self.number += 1;
        Ok(Some(Row { number: self.number, line, raw, members, swallowed }))
    }
}

/// The first byte that is no white space, among the first that are read.
fn first_byte<R: Read>(lines: &mut Lines<Decoded<R>>) -> Result<Option<u8>, RowsError> {
    let start = io::BufRead::fill_buf(&mut lines.source)?;
    Ok(start.iter().copied().find(|byte| !byte.is_ascii_whitespace()))
}

/// The next record that is not blank.
fn next_record<R: Read>(lines: &mut Lines<Decoded<R>>, delimiter: u8) -> Result<Option<Record>, RowsError> {
    loop {
        let record = table::read_record(lines, delimiter)?;
        let is_blank = |cells: &Vec<Vec<u8>>| cells.iter().all(|cell| cell.trim_ascii().is_empty());
        if !record.as_ref().is_some_and(|record| record.cells.as_ref().is_ok_and(is_blank)) {
            return Ok(record);
        }
    }
}

/// The members of a row of JSON.
fn object(raw: &[u8], invalid: &str) -> Result<Vec<(String, Json)>, ValidationErrors> {
    if std::str::from_utf8(raw).is_err() {
        return Err(ValidationErrors::single("body", invalid));
    }
    json::read_object(raw)
}

impl Table {
    fn open<R: Read>(
        lines: &mut Lines<Decoded<R>>,
        delimiter: Option<u8>,
        has_bom: bool,
        invalid: &str,
    ) -> Result<Self, RowsError> {
        let mut preamble = if has_bom { BOM.to_vec() } else { Vec::new() };
        let mut first = lines.next_text()?.ok_or(RowsError::Empty)?;
        let named = table::named_delimiter(&first);
        if named.is_some() {
            preamble.extend_from_slice(&[without_end(&first), b"\n"].concat());
            first = lines.next_text()?.ok_or(RowsError::Empty)?;
        }
        let start = first.trim_ascii_start();
        let is_array = start.strip_prefix(b"[").is_some_and(|rest| matches!(rest.trim_ascii(), [] | [b'{', ..]));
        if start.starts_with(b"{") || is_array {
            return Err(RowsError::NotCsv);
        }
        let delimiter = delimiter.or(named).unwrap_or_else(|| table::guess_delimiter(&first));
        lines.give_back(vec![first]);
        let record = table::read_record(lines, delimiter)?.ok_or(RowsError::Empty)?;
        let cells = record.cells.map_err(|error| RowsError::Header(format!("has an error: {error}")))?;
        if cells.len() > MAX_COLUMNS {
            return Err(RowsError::Header(format!("has more than {MAX_COLUMNS} columns")));
        }
        let names: Option<Vec<_>> = cells.into_iter().map(|cell| String::from_utf8(cell).ok()).collect();
        let names = names.ok_or_else(|| RowsError::Header(invalid.to_owned()))?;
        let header = names.iter().zip(1..).map(|(name, number)| match headers::clean(name) {
            name if name.is_empty() => format!("column {number}"),
            name => name.into_owned(),
        });
        preamble.extend_from_slice(&record.raw);
        Ok(Self { delimiter, header: header.collect(), preamble })
    }

    /// The members of a row. Cells that are missing at the end are empty.
    fn members(
        &self,
        cells: Result<Vec<Vec<u8>>, String>,
        invalid: &str,
    ) -> Result<Vec<(String, Json)>, ValidationErrors> {
        let cells = cells.map_err(|error| ValidationErrors::single("body", error))?;
        let (count, width) = (cells.len(), self.header.len());
        let texts: Result<Vec<_>, _> = cells.into_iter().map(String::from_utf8).collect();
        let texts = texts.map_err(|_| ValidationErrors::single("body", invalid))?;
        if count > MAX_COLUMNS || texts.iter().skip(width).any(|text| !text.trim().is_empty()) {
            return Err(ValidationErrors::single("body", format!("has {count} cells, the header has {width}")));
        }
        let texts = texts.into_iter().chain(std::iter::repeat(String::new())).map(Json::String);
        Ok(self.header.iter().cloned().zip(texts).collect())
    }

    /// The cells that may hold other rows.
    fn swallowed(&self, cells: &[Vec<u8>]) -> Vec<Swallowed> {
        let columns = self.header.iter().zip(cells);
        columns.filter_map(|(name, cell)| Swallowed::find(name, cell, self.delimiter, self.header.len())).collect()
    }
}

/// What there is to know of a file before its rows are sent.
pub(crate) struct Scan {
    /// The column names of CSV; the names of the members of JSON, as they first appear.
    pub(crate) columns: Vec<String>,
    pub(crate) rows: u64,
    /// The digest of the file's bytes.
    pub(crate) digest: Sha256,
    /// The first line that is not valid in the file's encoding, and the message for it.
    pub(crate) invalid: Option<(u64, String)>,
    /// The first line that cannot be read, and why.
    pub(crate) unreadable: Option<(u64, String)>,
}

/// Reads a file from end to end.
pub(crate) fn scan(path: &Path, reading: &Reading) -> Result<Scan, Error> {
    let stop = |error: RowsError| Error::file(path, error);
    let file = File::open(path).map_err(|error| stop(error.into()))?;
    let mut rows = Rows::open(Hashing { file, digest: Sha256::new() }, reading).map_err(stop)?;
    let (mut columns, is_csv) = match &rows.shape {
        Shape::Csv(table) => (table.header.clone(), true),
        Shape::Ndjson | Shape::Values(_) => (Vec::new(), false),
    };
    let (mut invalid, mut unreadable) = (None, None);
    while let Some(row) = rows.next().map_err(stop)? {
        if invalid.is_none() && std::str::from_utf8(&row.raw).is_err() {
            invalid = Some((row.line, rows.invalid.clone()));
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
    let digest = rows.lines.source.into_source().digest;
    Ok(Scan { columns, rows: rows.number, digest, invalid, unreadable })
}

/// A file whose bytes are digested as they are read.
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

#[cfg(test)]
mod tests {
    use super::*;

    fn reading(format: Format) -> Reading {
        Reading { format, encoding: None, delimiter: None }
    }

    fn open(text: &[u8], format: Format) -> Result<Rows<&[u8]>, String> {
        Rows::open(text, &reading(format)).map_err(|error| error.to_string())
    }

    /// Line, raw text, and cells or fault of each row.
    fn read(text: &[u8], format: Format) -> Vec<(u64, String, String)> {
        let mut rows = open(text, format).expect("rows");
        std::iter::from_fn(|| rows.next().expect("a row"))
            .map(|row| {
                let members = match &row.members {
                    Ok(members) => Json::Object(members.clone()),
                    Err(errors) => Json::String(format!("{:?}", errors.as_map())),
                };
                let members = serde_json::to_string(&members).expect("JSON");
                (row.line, String::from_utf8_lossy(&row.raw).into_owned(), members)
            })
            .collect()
    }

    #[test]
    fn row_has_the_line_where_it_begins_and_its_raw_text() {
        for end in ["\n", "\r\n"] {
            let lines = ["", "a,b", "1,\"x", "", "\"\"y\"\"\"", "", "2,\" é\"", " , ", "3,z", ""];
            let rows = read(lines.join(end).as_bytes(), Format::Csv);
            let quoted = format!("1,\"x{end}{end}\"\"y\"\"\"");
            let escaped = end.escape_default();
            let expected = [
                (3, quoted.as_str(), format!(r#"{{"a":"1","b":"x{escaped}{escaped}\"y\""}}"#)),
                (7, "2,\" é\"", r#"{"a":"2","b":" é"}"#.to_owned()),
                (9, "3,z", r#"{"a":"3","b":"z"}"#.to_owned()),
            ];
            let expected = expected.map(|(line, raw, members)| (line, raw.to_owned(), members));
            assert_eq!(rows, expected, "{end:?}");
        }
    }

    #[test]
    fn long_file_is_read_in_pieces() {
        let text = (0..5_000).fold("a,b\n".to_owned(), |text, n| format!("{text}\"é{n}\n\",x\n"));
        let rows = read(text.as_bytes(), Format::Csv);
        assert_eq!(rows.len(), 5_000);
        assert!((0..).zip(&rows).all(|(n, row)| row.0 == 2 + 2 * n && row.2 == format!(r#"{{"a":"é{n}\n","b":"x"}}"#)));
    }

    #[test]
    fn missing_cells_are_empty_and_surplus_cells_refuse_a_row() {
        let rows = read(b"a,b\n1\n1,2,3\n1,\xe9\n1,2,\n1,2, ,\n", Format::Csv);
        let [short, long, latin, trailing, blank] = rows.as_slice() else { panic!("{rows:?}") };
        assert_eq!(short.2, r#"{"a":"1","b":""}"#);
        assert_eq!(long.2, r#""{\"body\": [\"has 3 cells, the header has 2\"]}""#);
        assert!(latin.0 == 4 && latin.2.contains("is not UTF-8; use --encoding windows-1252"), "{latin:?}");
        assert!(trailing.2 == r#"{"a":"1","b":"2"}"# && blank.2 == trailing.2);
    }

    #[test]
    fn preamble_is_kept_and_names_the_delimiter() {
        let source = "\u{feff}a;\"b;c\"\n1;2\n".as_bytes();
        assert_eq!(open(source, Format::Csv).expect("rows").preamble(), "\u{feff}a;\"b;c\"".as_bytes());
        assert_eq!(read(source, Format::Csv)[0].2, r#"{"a":"1","b;c":"2"}"#);
        let source = b"sep=|\r\na,b|c\r\n1|2\r\n";
        assert_eq!(open(source, Format::Csv).expect("rows").preamble(), b"sep=|\na,b|c");
        assert_eq!(read(source, Format::Csv), [(3, "1|2".to_owned(), r#"{"a,b":"1","c":"2"}"#.to_owned())]);
    }

    #[test]
    fn header_is_cleaned_and_a_missing_name_replaced() {
        let source = "\u{feff}\u{feff}\"e\u{200b}mail\", 'name' ,\n1,2,3\n".as_bytes();
        assert_eq!(read(source, Format::Csv)[0].2, r#"{"email":"1","name":"2","column 3":"3"}"#);
    }

    #[test]
    fn line_of_ndjson_is_read_as_strictly_as_a_body() {
        let text = "\u{feff}{\"a\":1}\r\n\n {\"a\":{\"b\":1,\"b\":2}}\n{\"a\":1,\"A\":2}\n[1]\n{\"a\"";
        let rows = read(text.as_bytes(), Format::Ndjson);
        let lines: Vec<_> = rows.iter().map(|(line, ..)| *line).collect();
        assert_eq!(lines, [1, 3, 4, 5, 6]);
        assert_eq!((rows[0].1.as_str(), rows[0].2.as_str()), (r#"{"a":1}"#, r#"{"a":1}"#));
        for (row, path) in rows[1..].iter().zip(["a.b", "A", "body", "body"]) {
            assert!(row.2.starts_with(&format!(r#""{{\"{path}\":"#)), "{row:?}");
        }
    }

    #[test]
    fn array_and_printed_objects_are_rows() {
        for text in ["\n[{\"a\":1},\n {\n\"a\":2}]", "\n{\"a\":\n1}\n{\"a\":2}"] {
            let rows = read(text.as_bytes(), Format::Ndjson);
            let found: Vec<_> = rows.iter().map(|(line, _, members)| (*line, members.as_str())).collect();
            let second = if text.starts_with("\n[") { 3 } else { 4 };
            assert_eq!(found, [(2, r#"{"a":1}"#), (second, r#"{"a":2}"#)]);
            assert!(rows.iter().all(|(_, raw, _)| !raw.contains('\n')));
        }
    }

    #[test]
    fn file_of_another_format_is_refused() {
        let error = |text: &[u8], format| open(text, format).err().unwrap_or_default();
        assert!(error(b"a,\xe9\n", Format::Csv).starts_with("its header is not UTF-8; use --encoding"));
        assert!(error(b"a,\"b\n", Format::Csv).starts_with("its header has an error: a quote opens a cell in line 1"));
        assert_eq!(error(&b",".repeat(MAX_COLUMNS), Format::Csv), "its header has more than 2000 columns");
        for format in [Format::Csv, Format::Ndjson] {
            assert_eq!(error(b"\n\n", format), "it is empty");
            assert_eq!(error(b"", format), "it is empty");
        }
        for json in ["{\"a\":1}", "[{\"a\":1}]", "[\n {\"a\":1}]"] {
            assert_eq!(error(json.as_bytes(), Format::Csv), "it looks like JSON; use --format ndjson");
        }
        assert_eq!(error(b"a,b\n1,2", Format::Ndjson), "it does not look like JSON; use --format csv if it is CSV");
        for (format, start) in [(Format::Csv, "a\n\n\""), (Format::Ndjson, "{}\n\n\"")] {
            let endless = [start.as_bytes(), b"x".repeat(MAX_ROW + 1).as_slice()].concat();
            let mut rows = open(&endless, format).expect("rows");
            let error = std::iter::from_fn(|| rows.next().transpose()).find_map(Result::err).expect("an error");
            assert_eq!(error.to_string(), "line 3: a row of more than 4 MiB");
        }
    }
}
