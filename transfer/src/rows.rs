//! Reading a file of people row by row, in the memory of one row.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use clap::ValueEnum;
use csv_core::{ReadRecordResult, Reader, ReaderBuilder};
use sha2::{Digest, Sha256};
use shared::domain::input::{Faults, Fields, Json};

use crate::stop::Stop;

/// More than the API takes of a body (1 MiB), in bytes; a quote that never closes makes one row of a
/// whole file.
const MAX_ROW: usize = 4 << 20;
/// Of how many different members of NDJSON is known that they are there.
const MAX_NAMES: usize = 1_000;
const BOM: &[u8] = b"\xef\xbb\xbf";

/// How people are written in a file.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum Format {
    /// Comma-separated values (RFC 4180) with a header line.
    Csv,
    /// One JSON object per line.
    Ndjson,
}

impl Format {
    /// The one asked for, or what the name of the file says.
    pub(crate) fn chosen(asked: Option<Self>, file: &Path) -> Result<Self, Stop> {
        let format = asked.or_else(|| Self::of(file));
        format.ok_or_else(|| Stop::file(file, "its name does not tell its format; say --format"))
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

/// One row of a file.
pub(crate) struct Row {
    /// From 1; blank rows do not count.
    pub(crate) number: u64,
    /// The line that it begins on, from 1.
    pub(crate) line: u64,
    /// As it is written, without the line's end.
    pub(crate) raw: Vec<u8>,
    /// What it says under which column or member name, or why it cannot be read.
    pub(crate) members: Result<Vec<(String, Json)>, Faults>,
}

/// The rows of a file.
pub(crate) struct Rows<R> {
    source: R,
    shape: Shape,
    number: u64,
    /// Lines that were read.
    lines: u64,
}

enum Shape {
    Ndjson,
    Csv(Box<Table>),
}

/// The state of reading CSV.
struct Table {
    reader: Reader,
    /// The cells of the last record behind each other, and where each ends.
    cells: Vec<u8>,
    ends: Vec<usize>,
    count: usize,
    header: Vec<String>,
    raw_header: Vec<u8>,
}

/// Why a file cannot be read on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RowsError {
    #[error("{0}")]
    Read(#[from] io::Error),
    #[error("it is not UTF-8: save it as UTF-8")]
    Utf16,
    #[error("it is empty")]
    Empty,
    #[error("its header is not UTF-8: save it as UTF-8")]
    Header,
    #[error("it is one JSON array: write one object per line")]
    Array,
    #[error("line {0}: a row of more than {max} MiB; is a quote never closed?", max = MAX_ROW >> 20)]
    TooLong(u64),
}

impl<R: BufRead> Rows<R> {
    /// Begins to read; the delimiter of CSV is that of its first line, unless given.
    pub(crate) fn open(mut source: R, format: Format, delimiter: Option<u8>) -> Result<Self, RowsError> {
        let start = source.fill_buf()?;
        if start.starts_with(b"\xff\xfe") || start.starts_with(b"\xfe\xff") {
            return Err(RowsError::Utf16);
        }
        let bom = start.starts_with(BOM);
        let text = start.strip_prefix(BOM).unwrap_or(start);
        let first = text.iter().find(|byte| !byte.is_ascii_whitespace());
        let delimiter = delimiter.unwrap_or_else(|| sniff(text));
        if format == Format::Ndjson {
            if first == Some(&b'[') {
                return Err(RowsError::Array);
            }
            source.consume(if bom { BOM.len() } else { 0 });
            return Ok(Self { source, shape: Shape::Ndjson, number: 0, lines: 0 });
        }
        let mut table = Table {
            reader: ReaderBuilder::new().delimiter(delimiter).build(),
            cells: vec![0; 4 << 10],
            ends: vec![0; 64],
            count: 0,
            header: Vec::new(),
            raw_header: Vec::new(),
        };
        let mut lines = 0;
        let (_, header) = table.record(&mut source, &mut lines)?.ok_or(RowsError::Empty)?;
        let names = table.texts().ok_or(RowsError::Header)?;
        table.header = names.into_iter().map(|name| name.trim().to_owned()).collect();
        table.raw_header = header;
        Ok(Self { source, shape: Shape::Csv(Box::new(table)), number: 0, lines })
    }

    /// The header as it is written; nothing in NDJSON.
    pub(crate) fn raw_header(&self) -> &[u8] {
        match &self.shape {
            Shape::Csv(table) => &table.raw_header,
            Shape::Ndjson => &[],
        }
    }

    /// The next row; blank lines, and CSV rows of nothing but blank cells, are passed over.
    pub(crate) fn next(&mut self) -> Result<Option<Row>, RowsError> {
        let (line, raw, members) = match &mut self.shape {
            Shape::Csv(table) => {
                let Some((line, raw)) = table.record(&mut self.source, &mut self.lines)? else { return Ok(None) };
                (line, raw, table.members())
            }
            Shape::Ndjson => loop {
                let Some(raw) = json_line(&mut self.source, &mut self.lines)? else { return Ok(None) };
                if !raw.trim_ascii().is_empty() {
                    let members = read_object(&raw);
                    break (self.lines, raw, members);
                }
            },
        };
        self.number += 1;
        Ok(Some(Row { number: self.number, line, raw, members }))
    }
}

impl Table {
    /// Reads one record that is not blank: the line where it begins, and how it is written.
    fn record(&mut self, source: &mut impl BufRead, lines: &mut u64) -> Result<Option<(u64, Vec<u8>)>, RowsError> {
        loop {
            let (mut raw, mut written, mut more) = (Vec::new(), 0, true);
            // The reader takes line ends with the record before or with the one behind them.
            let is_end = |byte: &u8| matches!(byte, b'\r' | b'\n');
            let start = |raw: &[u8]| raw.iter().position(|byte| !is_end(byte)).unwrap_or(raw.len());
            let newlines = |bytes: &[u8]| bytes.iter().filter(|byte| **byte == b'\n').count() as u64;
            self.count = 0;
            while more {
                let input = source.fill_buf()?;
                let (cells, ends) = (&mut self.cells[written..], &mut self.ends[self.count..]);
                let (result, read, wrote, ended) = self.reader.read_record(input, cells, ends);
                raw.extend_from_slice(&input[..read]);
                source.consume(read);
                written += wrote;
                self.count += ended;
                match result {
                    ReadRecordResult::InputEmpty => {}
                    ReadRecordResult::OutputFull => self.cells.resize(2 * self.cells.len(), 0),
                    ReadRecordResult::OutputEndsFull => self.ends.resize(2 * self.ends.len(), 0),
                    ReadRecordResult::Record => more = false,
                    ReadRecordResult::End => return Ok(None),
                }
                if raw.len() > MAX_ROW {
                    return Err(RowsError::TooLong(*lines + newlines(&raw[..start(&raw)]) + 1));
                }
            }
            let start = start(&raw);
            let end = raw.iter().rposition(|byte| !is_end(byte)).map_or(start, |last| last + 1);
            let line = *lines + newlines(&raw[..start]) + 1;
            *lines += newlines(&raw);
            if !self.cells[..written].iter().all(u8::is_ascii_whitespace) {
                return Ok(Some((line, raw[start..end].to_vec())));
            }
        }
    }

    /// The cells of the last record, where they are UTF-8.
    fn texts(&self) -> Option<Vec<&str>> {
        let starts = std::iter::once(&0).chain(&self.ends);
        let cells = starts.zip(&self.ends[..self.count]).map(|(start, end)| &self.cells[*start..*end]);
        cells.map(|cell| std::str::from_utf8(cell).ok()).collect()
    }

    fn members(&self) -> Result<Vec<(String, Json)>, Faults> {
        let texts = self.texts().ok_or_else(|| Faults::one("body", "must be UTF-8"))?;
        if texts.len() != self.header.len() {
            let message = format!("has {} cells, the header has {}", texts.len(), self.header.len());
            return Err(Faults::one("body", message));
        }
        let texts = texts.into_iter().map(|text| Json::String(text.to_owned()));
        Ok(self.header.iter().cloned().zip(texts).collect())
    }
}

/// Of comma, semicolon and tab the one that stands most often outside quotes on the first line that is not empty.
fn sniff(start: &[u8]) -> u8 {
    let mut quoted = false;
    let mut counts = [(b',', 0), (b';', 0), (b'\t', 0)];
    let is_end = |byte: &&u8| matches!(byte, b'\r' | b'\n');
    for byte in start.iter().skip_while(is_end).take_while(|byte| !is_end(byte)) {
        quoted ^= *byte == b'"';
        counts.iter_mut().filter(|(delimiter, _)| !quoted && delimiter == byte).for_each(|(_, count)| *count += 1);
    }
    // The first of equals.
    counts.into_iter().rev().max_by_key(|(_, count)| *count).map_or(b',', |(delimiter, _)| delimiter)
}

/// Reads a line, without its end.
fn json_line(source: &mut impl BufRead, lines: &mut u64) -> Result<Option<Vec<u8>>, RowsError> {
    let mut raw = Vec::new();
    source.take(MAX_ROW as u64 + 1).read_until(b'\n', &mut raw)?;
    if raw.len() > MAX_ROW {
        return Err(RowsError::TooLong(*lines + 1));
    }
    *lines += u64::from(!raw.is_empty());
    let end = raw.iter().rposition(|byte| !matches!(byte, b'\r' | b'\n')).map_or(0, |last| last + 1);
    let read = !raw.is_empty();
    raw.truncate(end);
    Ok(read.then_some(raw))
}

/// The members of an object, read as strictly as the API reads a body.
fn read_object(raw: &[u8]) -> Result<Vec<(String, Json)>, Faults> {
    let json = Json::parse(raw).map_err(|message| Faults::one("body", message))?;
    let mut faults = Faults::default();
    let fields = Fields::of_body(&json, &mut faults).is_some();
    match faults.or(json)? {
        Json::Object(members) if fields => Ok(members),
        _ => Err(Faults::one("body", "must be a JSON object")),
    }
}

/// What there is to know of a file before its rows are sent.
pub(crate) struct Scan {
    /// The column names of CSV; the names of the members of NDJSON, as they first appear.
    pub(crate) columns: Vec<String>,
    pub(crate) rows: u64,
    /// Of the bytes of the file.
    pub(crate) digest: Sha256,
}

/// Reads a file from end to end.
pub(crate) fn scan(path: &Path, format: Format, delimiter: Option<u8>) -> Result<Scan, Stop> {
    let stop = |error: RowsError| Stop::file(path, error);
    let file = File::open(path).map_err(|error| stop(error.into()))?;
    let source = BufReader::new(Hashing { file, digest: Sha256::new() });
    let mut rows = Rows::open(source, format, delimiter).map_err(stop)?;
    let mut columns = match &rows.shape {
        Shape::Csv(table) => table.header.clone(),
        Shape::Ndjson => Vec::new(),
    };
    let known = columns.len();
    while let Some(row) = rows.next().map_err(stop)? {
        for (name, _) in row.members.into_iter().flatten().filter(|_| known == 0) {
            if columns.len() < MAX_NAMES && !columns.iter().any(|column| column.eq_ignore_ascii_case(&name)) {
                columns.push(name);
            }
        }
    }
    Ok(Scan { columns, rows: rows.number, digest: rows.source.into_inner().digest })
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

    /// Line, raw text, and cells or fault of each row; read by tiny buffers, so that every row is read in pieces.
    fn read(text: &[u8], format: Format) -> Vec<(u64, String, String)> {
        let mut rows = Rows::open(BufReader::with_capacity(7, text), format, None).expect("rows");
        std::iter::from_fn(|| rows.next().expect("a row"))
            .map(|row| {
                let members = match &row.members {
                    Ok(members) => Json::Object(members.clone()),
                    Err(faults) => Json::String(format!("{:?}", faults.as_map())),
                };
                let members = serde_json::to_string(&members).expect("JSON");
                (row.line, String::from_utf8_lossy(&row.raw).into_owned(), members)
            })
            .collect()
    }

    #[test]
    fn a_row_has_the_line_where_it_begins_and_stays_as_it_is_written() {
        for end in ["\n", "\r\n"] {
            let lines = ["", "a,b", "1,\"x", "", "\"\"y\"\"\"", "", "2, \"é", " , ", "3,z", ""];
            let rows = read(lines.join(end).as_bytes(), Format::Csv);
            let quoted = format!("1,\"x{end}{end}\"\"y\"\"\"");
            let escaped = end.escape_default();
            let expected = [
                (3, quoted.as_str(), format!(r#"{{"a":"1","b":"x{escaped}{escaped}\"y\""}}"#)),
                (7, "2, \"é", r#"{"a":"2","b":" \"é"}"#.to_owned()),
                (9, "3,z", r#"{"a":"3","b":"z"}"#.to_owned()),
            ];
            let expected = expected.map(|(line, raw, members)| (line, raw.to_owned(), members));
            assert_eq!(rows, expected, "{end:?}");
        }
    }

    #[test]
    fn a_row_without_the_headers_number_of_cells_or_in_another_encoding_is_at_fault() {
        let rows = read(b"a,b\n1\n1,2,3\n1,\xe9\n1,2", Format::Csv);
        let faults: Vec<_> = rows.iter().map(|(line, _, members)| (*line, members.contains("body"))).collect();
        assert_eq!(faults, [(2, true), (3, true), (4, true), (5, false)]);
        assert_eq!(rows[1].2, r#""{\"body\": [\"has 3 cells, the header has 2\"]}""#);
    }

    #[test]
    fn the_delimiter_is_that_of_the_header_outside_quotes() {
        for (header, delimiter) in
            [("a,b;c", b','), ("\"a,b,c\";d;e", b';'), ("a\tb\tc,d", b'\t'), ("a", b','), ("a;b\nc,d,e", b';')]
        {
            assert_eq!(sniff(header.as_bytes()), delimiter, "{header}");
        }
        let source = "\u{feff}a;\"b;c\"\n1;2\n".as_bytes();
        let rows = Rows::open(source, Format::Csv, None).expect("rows");
        assert_eq!(rows.raw_header(), "\u{feff}a;\"b;c\"".as_bytes());
        assert_eq!(read(source, Format::Csv)[0].2, r#"{"a":"1","b;c":"2"}"#);
    }

    #[test]
    fn a_line_of_ndjson_is_read_as_strictly_as_a_body() {
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
    fn what_is_no_file_of_rows_is_refused() {
        let open = |text: &[u8], format| Rows::open(BufReader::new(text), format, None).err().map(|e| e.to_string());
        assert!(open(b"\xff\xfea\0", Format::Csv).is_some_and(|error| error.contains("UTF-8")));
        assert!(open(b"a,\xe9\n", Format::Csv).is_some_and(|error| error.contains("UTF-8")));
        assert_eq!(open(b"\n\n", Format::Csv).as_deref(), Some("it is empty"));
        assert!(open(b" [{}]", Format::Ndjson).is_some_and(|error| error.contains("array")));
        for format in [Format::Csv, Format::Ndjson] {
            let endless = [b"a\n\n\"".as_slice(), &[b'x'; MAX_ROW + 1]].concat();
            let mut rows = Rows::open(BufReader::new(endless.as_slice()), format, None).expect("rows");
            let error = std::iter::from_fn(|| rows.next().transpose()).find_map(Result::err).expect("an error");
            assert!(error.to_string().starts_with("line 3: "), "{error}");
        }
    }
}
