//! The rows of a file, read one at a time. Memory is that of one row.

use std::io::{self, Read};

use shared::domain::input::{Json, ValidationErrors};

use crate::csv_records::{self, EmbeddedRows, Record};
use crate::decode::Decoded;
use crate::error::ReadError;
use crate::format::{Format, Reading};
use crate::headers;
use crate::json::{self, Values};
use crate::limits::MAX_COLUMNS;
use crate::lines::{Lines, without_end};

const BOM: &[u8] = b"\xef\xbb\xbf";

/// One row of a file.
pub(crate) struct Row {
    /// The row's number, from 1. Blank rows are not counted.
    pub(crate) number: u64,
    /// The line where the row begins, from 1.
    pub(crate) line: u64,
    /// The row's bytes as UTF-8, without the line end.
    pub(crate) raw: Vec<u8>,
    /// The value of each column or member, or the error that makes the row unreadable.
    pub(crate) members: Result<Vec<(String, Json)>, ValidationErrors>,
    /// The cells that may contain other rows.
    pub(crate) embedded_rows: Vec<EmbeddedRows>,
}

/// A reader of rows.
pub(crate) struct Rows<R> {
    lines: Lines<Decoded<R>>,
    layout: Layout,
    number: u64,
    /// The error message of a row that is invalid in the file's encoding.
    invalid: String,
}

enum Layout {
    /// One JSON object per line.
    Ndjson,
    /// JSON values of an array, or over several lines.
    Values(Values),
    Csv(CsvHeader),
}

/// The first lines of a CSV file: `sep=` and the header.
struct CsvHeader {
    delimiter: u8,
    columns: Vec<String>,
    /// The lines before the rows, unchanged.
    preamble: Vec<u8>,
}

impl<R: Read> Rows<R> {
    /// Reads the start of a file. The delimiter of CSV is the one of `reading`, else of the `sep=` line, else of the
    /// header.
    pub(crate) fn open(source: R, reading: &Reading) -> Result<Self, ReadError> {
        let text = Decoded::open(source, reading.encoding)?;
        let (has_bom, invalid) = (text.has_bom(), text.invalid_message());
        let mut lines = Lines::new(text)?;
        let layout = match reading.format {
            Format::Csv => Layout::Csv(CsvHeader::open(&mut lines, reading.delimiter, has_bom, &invalid)?),
            Format::Ndjson => match (first_byte(&mut lines)?, Values::open(&mut lines.source)?) {
                (None, _) => return Err(ReadError::Empty),
                (Some(_), Some(values)) => Layout::Values(values),
                (Some(b'{'), None) => Layout::Ndjson,
                (Some(_), None) => return Err(ReadError::NotJson),
            },
        };
        Ok(Self { lines, layout, number: 0, invalid })
    }

    /// The lines before the rows, unchanged; empty for JSON.
    pub(crate) fn preamble(&self) -> &[u8] {
        match &self.layout {
            Layout::Csv(header) => &header.preamble,
            Layout::Ndjson | Layout::Values(_) => &[],
        }
    }

    /// The columns of CSV; `None` for JSON.
    pub(crate) fn columns(&self) -> Option<&[String]> {
        match &self.layout {
            Layout::Csv(header) => Some(&header.columns),
            Layout::Ndjson | Layout::Values(_) => None,
        }
    }

    /// The error message of a row that is invalid in the file's encoding.
    pub(crate) fn invalid_message(&self) -> &str {
        &self.invalid
    }

    /// The number of rows that were read.
    pub(crate) fn count(&self) -> u64 {
        self.number
    }

    /// The file.
    pub(crate) fn into_source(self) -> R {
        self.lines.source.into_source()
    }

    /// The next row. Blank lines, and CSV rows with only blank cells, are skipped.
    pub(crate) fn next(&mut self) -> Result<Option<Row>, ReadError> {
        let mut embedded_rows = Vec::new();
        let (line, raw, members) = match &mut self.layout {
            Layout::Csv(header) => {
                let Some(record) = next_record(&mut self.lines, header.delimiter)? else { return Ok(None) };
                embedded_rows.extend(record.cells.iter().flat_map(|cells| header.embedded_rows(cells)));
                (record.line, record.raw, header.members(record.cells, &self.invalid))
            }
            Layout::Values(values) => {
                let Some((line, raw)) = values.next(&mut self.lines.source)? else { return Ok(None) };
                let members = object(&raw, &self.invalid);
                (line, raw, members)
            }
            Layout::Ndjson => {
                let Some(raw) = self.lines.next_text()? else { return Ok(None) };
                let raw = without_end(&raw).to_vec();
                let members = object(&raw, &self.invalid);
                (self.lines.number, raw, members)
            }
        };
        self.number += 1;
        Ok(Some(Row { number: self.number, line, raw, members, embedded_rows }))
    }
}

/// The first byte that is not white space, within the first buffer.
fn first_byte<R: Read>(lines: &mut Lines<Decoded<R>>) -> Result<Option<u8>, ReadError> {
    let start = io::BufRead::fill_buf(&mut lines.source)?;
    Ok(start.iter().copied().find(|byte| !byte.is_ascii_whitespace()))
}

/// The next record with a cell that is not blank.
fn next_record<R: Read>(lines: &mut Lines<Decoded<R>>, delimiter: u8) -> Result<Option<Record>, ReadError> {
    loop {
        let record = csv_records::read_record(lines, delimiter)?;
        let is_blank = |cells: &Vec<Vec<u8>>| cells.iter().all(|cell| cell.trim_ascii().is_empty());
        if !record.as_ref().is_some_and(|record| record.cells.as_ref().is_ok_and(is_blank)) {
            return Ok(record);
        }
    }
}

/// The members of a JSON row.
fn object(raw: &[u8], invalid: &str) -> Result<Vec<(String, Json)>, ValidationErrors> {
    if std::str::from_utf8(raw).is_err() {
        return Err(ValidationErrors::single("body", invalid));
    }
    json::read_object(raw)
}

impl CsvHeader {
    fn open<R: Read>(
        lines: &mut Lines<Decoded<R>>,
        delimiter: Option<u8>,
        has_bom: bool,
        invalid: &str,
    ) -> Result<Self, ReadError> {
        let mut preamble = if has_bom { BOM.to_vec() } else { Vec::new() };
        let mut first = lines.next_text()?.ok_or(ReadError::Empty)?;
        let declared = csv_records::declared_delimiter(&first);
        if declared.is_some() {
            preamble.extend_from_slice(&[without_end(&first), b"\n"].concat());
            first = lines.next_text()?.ok_or(ReadError::Empty)?;
        }
        let start = first.trim_ascii_start();
        let is_array = start.strip_prefix(b"[").is_some_and(|rest| matches!(rest.trim_ascii(), [] | [b'{', ..]));
        if start.starts_with(b"{") || is_array {
            return Err(ReadError::NotCsv);
        }
        let delimiter = delimiter.or(declared).unwrap_or_else(|| csv_records::guess_delimiter(&first));
        lines.push_back(vec![first]);
        let record = csv_records::read_record(lines, delimiter)?.ok_or(ReadError::Empty)?;
        let cells = record.cells.map_err(|error| ReadError::Header(format!("has an error: {error}")))?;
        if cells.len() > MAX_COLUMNS {
            return Err(ReadError::Header(format!("has more than {MAX_COLUMNS} columns")));
        }
        let names: Option<Vec<_>> = cells.into_iter().map(|cell| String::from_utf8(cell).ok()).collect();
        let names = names.ok_or_else(|| ReadError::Header(invalid.to_owned()))?;
        let columns = names.iter().zip(1..).map(|(name, number)| match headers::clean(name) {
            name if name.is_empty() => format!("column {number}"),
            name => name.into_owned(),
        });
        preamble.extend_from_slice(&record.raw);
        Ok(Self { delimiter, columns: columns.collect(), preamble })
    }

    /// The members of a row. Missing cells at the end are empty.
    fn members(
        &self,
        cells: Result<Vec<Vec<u8>>, String>,
        invalid: &str,
    ) -> Result<Vec<(String, Json)>, ValidationErrors> {
        let cells = cells.map_err(|error| ValidationErrors::single("body", error))?;
        let (count, width) = (cells.len(), self.columns.len());
        let texts: Result<Vec<_>, _> = cells.into_iter().map(String::from_utf8).collect();
        let texts = texts.map_err(|_| ValidationErrors::single("body", invalid))?;
        if count > MAX_COLUMNS || texts.iter().skip(width).any(|text| !text.trim().is_empty()) {
            return Err(ValidationErrors::single("body", format!("has {count} cells, but the header has {width}")));
        }
        let texts = texts.into_iter().chain(std::iter::repeat(String::new())).map(Json::String);
        Ok(self.columns.iter().cloned().zip(texts).collect())
    }

    /// The cells that may contain other rows.
    fn embedded_rows(&self, cells: &[Vec<u8>]) -> Vec<EmbeddedRows> {
        let columns = self.columns.iter().zip(cells);
        columns.filter_map(|(name, cell)| EmbeddedRows::find(name, cell, self.delimiter, self.columns.len())).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::MAX_ROW_BYTES;

    fn reading(format: Format) -> Reading {
        Reading { format, encoding: None, delimiter: None }
    }

    fn open(text: &[u8], format: Format) -> Result<Rows<&[u8]>, String> {
        Rows::open(text, &reading(format)).map_err(|error| error.to_string())
    }

    /// The line, the raw text, and the cells or error of each row.
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
    fn row_with_missing_cells_is_read_and_with_surplus_rejected() {
        let rows = read(b"a,b\n1\n1,2,3\n1,\xe9\n1,2,\n1,2, ,\n", Format::Csv);
        let [short, long, latin, trailing, blank] = rows.as_slice() else { panic!("{rows:?}") };
        assert_eq!(short.2, r#"{"a":"1","b":""}"#);
        assert_eq!(long.2, r#""{\"body\": [\"has 3 cells, but the header has 2\"]}""#);
        assert!(latin.0 == 4 && latin.2.contains("is not UTF-8; use --encoding windows-1252"), "{latin:?}");
        assert!(trailing.2 == r#"{"a":"1","b":"2"}"# && blank.2 == trailing.2);
    }

    #[test]
    fn preamble_is_kept_and_determines_the_delimiter() {
        let source = "\u{feff}a;\"b;c\"\n1;2\n".as_bytes();
        assert_eq!(open(source, Format::Csv).expect("rows").preamble(), "\u{feff}a;\"b;c\"".as_bytes());
        assert_eq!(read(source, Format::Csv)[0].2, r#"{"a":"1","b;c":"2"}"#);
        let source = b"sep=|\r\na,b|c\r\n1|2\r\n";
        assert_eq!(open(source, Format::Csv).expect("rows").preamble(), b"sep=|\na,b|c");
        assert_eq!(read(source, Format::Csv), [(3, "1|2".to_owned(), r#"{"a,b":"1","c":"2"}"#.to_owned())]);
    }

    #[test]
    fn header_is_cleaned_and_missing_names_are_replaced() {
        let source = "\u{feff}\u{feff}\"e\u{200b}mail\", 'name' ,\n1,2,3\n".as_bytes();
        assert_eq!(read(source, Format::Csv)[0].2, r#"{"email":"1","name":"2","column 3":"3"}"#);
    }

    #[test]
    fn ndjson_line_is_read_as_strictly_as_a_request_body() {
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
    fn array_elements_and_multi_line_objects_are_rows() {
        for text in ["\n[{\"a\":1},\n {\n\"a\":2}]", "\n{\"a\":\n1}\n{\"a\":2}"] {
            let rows = read(text.as_bytes(), Format::Ndjson);
            let found: Vec<_> = rows.iter().map(|(line, _, members)| (*line, members.as_str())).collect();
            let second = if text.starts_with("\n[") { 3 } else { 4 };
            assert_eq!(found, [(2, r#"{"a":1}"#), (second, r#"{"a":2}"#)]);
            assert!(rows.iter().all(|(_, raw, _)| !raw.contains('\n')));
        }
    }

    #[test]
    fn file_of_another_format_is_rejected() {
        let error = |text: &[u8], format| open(text, format).err().unwrap_or_default();
        assert!(error(b"a,\xe9\n", Format::Csv).starts_with("the header is not UTF-8; use --encoding"));
        assert!(error(b"a,\"b\n", Format::Csv).starts_with("the header has an error: a quote opens a cell in line 1"));
        assert_eq!(error(&b",".repeat(MAX_COLUMNS), Format::Csv), "the header has more than 2000 columns");
        for format in [Format::Csv, Format::Ndjson] {
            assert_eq!(error(b"\n\n", format), "the file is empty");
            assert_eq!(error(b"", format), "the file is empty");
        }
        for json in ["{\"a\":1}", "[{\"a\":1}]", "[\n {\"a\":1}]"] {
            assert_eq!(error(json.as_bytes(), Format::Csv), "the file looks like JSON; use --format ndjson");
        }
        assert_eq!(
            error(b"a,b\n1,2", Format::Ndjson),
            "the file does not look like JSON; use --format csv if it is CSV"
        );
        for (format, start) in [(Format::Csv, "a\n\n\""), (Format::Ndjson, "{}\n\n\"")] {
            let endless = [start.as_bytes(), b"x".repeat(MAX_ROW_BYTES + 1).as_slice()].concat();
            let mut rows = open(&endless, format).expect("rows");
            let error = std::iter::from_fn(|| rows.next().transpose()).find_map(Result::err).expect("an error");
            assert_eq!(error.to_string(), "line 3: the row is longer than 4 MiB");
        }
    }
}
