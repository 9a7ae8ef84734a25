//! A reader of CSV records (RFC 4180).
//!
//! An unclosed quote would make one cell of the rest of the file. Therefore this reader is stricter than common
//! libraries: text after a closing quote and an unclosed quote are errors of the row where the quote opens, and the
//! next lines are read as separate rows. A quote inside an unquoted cell is text.

use std::io::BufRead;

use crate::error::ReadError;
use crate::limits::{MAX_COLUMNS, MAX_ROW_BYTES};
use crate::lines::{Lines, without_end};

/// One CSV record.
pub(crate) struct Record {
    /// The line where the record begins, from 1.
    pub(crate) line: u64,
    /// The bytes of the record's lines, without the last line end.
    pub(crate) raw: Vec<u8>,
    /// The cells, or the error that makes the record unreadable.
    pub(crate) cells: Result<Vec<Vec<u8>>, String>,
}

/// Reads the next record.
pub(crate) fn read_record<R: BufRead>(lines: &mut Lines<R>, delimiter: u8) -> Result<Option<Record>, ReadError> {
    let Some(first) = lines.next()? else { return Ok(None) };
    let line = lines.number;
    let (mut scanner, mut bytes, mut read) = (Scanner::new(delimiter), first.len(), vec![first]);
    let error = loop {
        match scanner.add_line(&read[read.len() - 1], read.len() - 1) {
            LineEnd::Complete => break None,
            LineEnd::Stray => break Some("text follows the closing quote; double every quote inside a quoted cell"),
            LineEnd::Open => {
                // Reads ahead at most MAX_ROW_BYTES.
                let next = if bytes <= MAX_ROW_BYTES { lines.next()? } else { None };
                let Some(next) = next else { break Some("it is never closed") };
                bytes += next.len();
                read.push(next);
            }
        }
    };
    let cells = match error {
        None => Ok(scanner.cells),
        Some(error) => {
            lines.push_back(read.split_off(scanner.opened + 1));
            Err(format!("a quote opens a cell in line {}: {error}", line + scanner.opened as u64))
        }
    };
    Ok(Some(Record { line, raw: without_end(&read.concat()).to_vec(), cells }))
}

/// The state of a record at the end of a line.
enum LineEnd {
    Complete,
    /// The record continues in the next line.
    Open,
    /// Text follows a closing quote.
    Stray,
}

enum State {
    /// Before the first character of a cell, or after spaces.
    Start,
    Unquoted,
    Quoted,
    /// After a quote inside a quoted cell: the first of two, or the closing one.
    Quote,
    /// After the closing quote and a space.
    Closed,
}

/// The state of reading one record.
struct Scanner {
    delimiter: u8,
    state: State,
    cells: Vec<Vec<u8>>,
    cell: Vec<u8>,
    /// The line within the record, from 0, where a quote last opened a cell.
    opened: usize,
}

impl Scanner {
    fn new(delimiter: u8) -> Self {
        Self { delimiter, state: State::Start, cells: Vec::new(), cell: Vec::new(), opened: 0 }
    }

    fn add_line(&mut self, line: &[u8], number: usize) -> LineEnd {
        let text = without_end(line);
        for &byte in text {
            let is_space = matches!(byte, b' ' | b'\t') && byte != self.delimiter;
            self.state = match self.state {
                State::Quoted if byte == b'"' => State::Quote,
                State::Quoted => self.push(byte, State::Quoted),
                State::Quote if byte == b'"' => self.push(byte, State::Quoted),
                _ if byte == self.delimiter => self.end_cell(),
                State::Quote | State::Closed if is_space => State::Closed,
                State::Quote | State::Closed => return LineEnd::Stray,
                State::Start if byte == b'"' => {
                    self.cell.clear();
                    self.opened = number;
                    State::Quoted
                }
                State::Start if is_space => self.push(byte, State::Start),
                State::Start | State::Unquoted => self.push(byte, State::Unquoted),
            };
        }
        if matches!(self.state, State::Quoted) {
            self.cell.extend_from_slice(&line[text.len()..]);
            return LineEnd::Open;
        }
        self.state = self.end_cell();
        LineEnd::Complete
    }

    fn push(&mut self, byte: u8, state: State) -> State {
        self.cell.push(byte);
        state
    }

    /// Keeps at most one cell more than [`MAX_COLUMNS`], so that a row with too many cells is recognised.
    fn end_cell(&mut self) -> State {
        let cell = std::mem::take(&mut self.cell);
        if self.cells.len() <= MAX_COLUMNS {
            self.cells.push(cell);
        }
        State::Start
    }
}

/// The delimiter of Excel's first line, `sep=;`.
pub(crate) fn declared_delimiter(line: &[u8]) -> Option<u8> {
    let text = without_end(line);
    let text = text.strip_prefix(b"\"").and_then(|text| text.strip_suffix(b"\"")).unwrap_or(text);
    match text.split_at_checked(4)? {
        (name, [byte]) if name.eq_ignore_ascii_case(b"sep=") && byte.is_ascii() && *byte != b'"' => Some(*byte),
        _ => None,
    }
}

/// The most frequent of comma, semicolon and tab in a line, outside quotes.
pub(crate) fn guess_delimiter(line: &[u8]) -> u8 {
    let mut quoted = false;
    let mut counts = [(b',', 0), (b';', 0), (b'\t', 0)];
    for byte in line {
        quoted ^= *byte == b'"';
        counts.iter_mut().filter(|(delimiter, _)| !quoted && delimiter == byte).for_each(|(_, count)| *count += 1);
    }
    // Prefers the first of equal counts.
    counts.into_iter().rev().max_by_key(|(_, count)| *count).map_or(b',', |(delimiter, _)| delimiter)
}

/// A cell that may contain rows of the file, because a stray quote of a later row closed its quote.
#[derive(Debug, PartialEq)]
pub(crate) struct EmbeddedRows {
    pub(crate) column: String,
    /// Whether every line after the cell's first line looks like a row. Otherwise at least one does.
    pub(crate) entirely: bool,
}

impl EmbeddedRows {
    /// Checks whether lines after the first one have as many delimiters as a row of `width` columns.
    pub(crate) fn find(column: &str, cell: &[u8], delimiter: u8, width: usize) -> Option<Self> {
        let lines =
            cell.split(|byte| matches!(byte, b'\r' | b'\n')).skip(1).filter(|line| !line.trim_ascii().is_empty());
        let (mut rows, mut all, mut is_prose) = (0, 0, false);
        for line in lines {
            rows += usize::from(line.iter().filter(|byte| **byte == delimiter).count() + 1 == width);
            all += 1;
            is_prose |= line.windows(2).any(|pair| pair == [delimiter, b' ']);
        }
        // A single comma with a space after it is usual in prose.
        let entirely = rows == all && width > 1 && (!is_prose || rows * (width - 1) > 1);
        (rows > 0).then(|| Self { column: column.to_owned(), entirely })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The records of a text: line, raw text, and cells separated by `|`, or the error.
    fn read(text: &str) -> Vec<(u64, String, String)> {
        let mut lines = Lines::new(text.as_bytes()).expect("lines");
        std::iter::from_fn(|| read_record(&mut lines, b',').expect("a record"))
            .map(|Record { line, raw, cells }| {
                let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
                let cells = cells.map(|cells| cells.iter().map(|cell| text(cell)).collect::<Vec<_>>().join("|"));
                (line, text(&raw), cells.unwrap_or_else(|error| format!("! {error}")))
            })
            .collect()
    }

    fn cells(text: &str) -> Vec<String> {
        read(text).into_iter().map(|(.., cells)| cells).collect()
    }

    #[test]
    fn quoted_cells_hold_delimiters_quotes_and_line_ends() {
        assert_eq!(cells("\"a,b\",\"c\"\"d\"\"\",\"\"\r\n"), ["a,b|c\"d\"|"]);
        assert_eq!(cells("\"a\r\n\r\nb\",c\nd"), ["a\r\n\r\nb|c", "d"]);
        assert_eq!(cells("a\"b\",5\" screen,\n"), ["a\"b\"|5\" screen|"]);
        assert_eq!(cells("a, \"b\" ,\t\"c\", d\r\r\n"), ["a|b|c| d"]);
        assert_eq!(cells("\"a\rb\",c\rd,\"e\nf\"\r"), ["a\rb|c", "d|e\nf"]);
        assert_eq!(cells("\"\""), [""]);
    }

    #[test]
    fn unclosed_quote_rejects_its_own_row_only() {
        let never = |line| format!("! a quote opens a cell in line {line}: it is never closed");
        let stray = |line| {
            format!(
                "! a quote opens a cell in line {line}: text follows the closing quote; double every quote inside a \
                 quoted cell"
            )
        };
        assert_eq!(cells("a,b\nc,\"d\ne,f\ng,h\n"), ["a|b".to_owned(), never(2), "e|f".to_owned(), "g|h".to_owned()]);
        let two = cells("c,\"d\ne,f\ng,\"h\ni,j");
        assert_eq!(two, [stray(1), "e|f".to_owned(), never(3), "i|j".to_owned()]);
        assert_eq!(cells("a,\"b\"c\nd,\"e\" f\ng"), [stray(1), stray(2), "g".to_owned()]);
        // The row begins before the line where the quote opens.
        let rows = read("\"a\nb\",\"c\nd\ne");
        assert_eq!(rows[0], (1, "\"a\nb\",\"c".to_owned(), never(2)));
        assert_eq!((rows[1].0, rows[2].0, rows.len()), (3, 4, 3));
    }

    #[test]
    fn unclosed_quotes_are_read_in_linear_time() {
        // Each row opens a quote that is never closed.
        for row in ["x,\"y\n", "x,\"y,\"\"\n", "\"x\",\"\n"] {
            let text = row.repeat(50_000);
            let started = std::time::Instant::now();
            assert!(read(&text).len() >= 25_000);
            assert!(started.elapsed().as_secs() < 20, "{row:?}");
        }
        // Reading ahead is limited to the size of a row.
        let long = format!("a,\"b\n{}", "c,d\n".repeat(MAX_ROW_BYTES / 2));
        let mut lines = Lines::new(long.as_bytes()).expect("lines");
        assert!(read_record(&mut lines, b',').expect("a record").is_some_and(|record| record.cells.is_err()));
        assert_eq!(lines.number, 1);
    }

    #[test]
    fn cells_of_a_row_are_bounded() {
        let text = ",".repeat(MAX_ROW_BYTES - 1);
        let mut lines = Lines::new(text.as_bytes()).expect("lines");
        let record = read_record(&mut lines, b',').expect("a record").expect("a record");
        assert_eq!(record.cells.expect("cells").len(), MAX_COLUMNS + 1);
    }

    #[test]
    fn delimiter_is_declared_or_guessed() {
        for (line, delimiter) in
            [("a,b;c", b','), ("\"a,b,c\";d;e", b';'), ("a\tb\tc,d", b'\t'), ("a", b','), ("a;b\r\n", b';')]
        {
            assert_eq!(guess_delimiter(line.as_bytes()), delimiter, "{line}");
        }
        for (line, delimiter) in [
            ("sep=;\r\n", Some(b';')),
            ("SEP=\t", Some(b'\t')),
            ("\"sep=|\"\n", Some(b'|')),
            ("sep=", None),
            ("sep=;;", None),
            ("sep=é", None),
            ("sepia;b", None),
        ] {
            assert_eq!(declared_delimiter(line.as_bytes()), delimiter, "{line}");
        }
    }

    #[test]
    fn cell_that_contains_rows_is_recognised() {
        let find =
            |cell: &str, width| EmbeddedRows::find("c", cell.as_bytes(), b',', width).map(|found| found.entirely);
        assert_eq!(find("Bob\nc@example.com,Cas\nd@example.com,Dora", 2), Some(true));
        assert_eq!(find("Bob\r\nc@example.com,Cas\r\nshort", 2), Some(false));
        assert_eq!(find("Hello,\nI am fine, thanks", 2), Some(false));
        assert_eq!(find("Hello\nb@example.com,Bob", 2), Some(true));
        assert_eq!(find("Bob\nc,d,e", 3), Some(true));
        for (cell, width) in [("Bob, a, b", 3), ("Main street 1\n2000 Antwerp", 3), ("Fay\n\n", 1)] {
            assert_eq!(find(cell, width), None, "{cell:?}");
        }
        assert_eq!(find("a@x.be\nb@x.be", 1), Some(false));
    }
}
