//! A line reader that can take lines back.

use std::collections::VecDeque;
use std::io::{BufRead, Read};

use crate::error::ReadError;
use crate::limits::MAX_ROW_BYTES;

/// The lines of a text.
pub(crate) struct Lines<R> {
    pub(crate) source: R,
    /// The last byte of a line end.
    end: u8,
    /// Lines that were pushed back, the next one first.
    ahead: VecDeque<Vec<u8>>,
    /// The number of lines that were read and not pushed back.
    pub(crate) number: u64,
}

impl<R: BufRead> Lines<R> {
    /// Lines end with a line feed, or with a carriage return if the first line ends with a lone one.
    pub(crate) fn new(mut source: R) -> Result<Self, ReadError> {
        let start = source.fill_buf()?;
        let first = start.iter().position(|byte| matches!(byte, b'\r' | b'\n'));
        // Some programs end lines with two carriage returns and a line feed.
        let is_lone = |at: usize| start[at..].iter().find(|byte| **byte != b'\r').is_some_and(|next| *next != b'\n');
        let end = if first.is_some_and(is_lone) { b'\r' } else { b'\n' };
        Ok(Self { source, end, ahead: VecDeque::new(), number: 0 })
    }

    /// The next line, with its line end. A line of more than [`MAX_ROW_BYTES`] is an error.
    pub(crate) fn next(&mut self) -> Result<Option<Vec<u8>>, ReadError> {
        let line = match self.ahead.pop_front() {
            Some(line) => line,
            None => {
                let mut line = Vec::new();
                self.source.by_ref().take(MAX_ROW_BYTES as u64 + 1).read_until(self.end, &mut line)?;
                if line.len() > MAX_ROW_BYTES {
                    return Err(ReadError::TooLong(self.number + 1));
                }
                line
            }
        };
        self.number += u64::from(!line.is_empty());
        Ok((!line.is_empty()).then_some(line))
    }

    /// The next line that is not blank, with its line end.
    pub(crate) fn next_text(&mut self) -> Result<Option<Vec<u8>>, ReadError> {
        loop {
            match self.next()? {
                Some(line) if line.trim_ascii().is_empty() => {}
                line => return Ok(line),
            }
        }
    }

    /// Takes back the lines that were read last, in their order, to return them again.
    pub(crate) fn push_back(&mut self, lines: Vec<Vec<u8>>) {
        self.number -= lines.len() as u64;
        lines.into_iter().rev().for_each(|line| self.ahead.push_front(line));
    }
}

/// A line without its line end.
pub(crate) fn without_end(line: &[u8]) -> &[u8] {
    let end = line.iter().rposition(|byte| !matches!(byte, b'\r' | b'\n')).map_or(0, |last| last + 1);
    &line[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_line_determines_the_line_ends() {
        for (text, lines) in [
            ("a\nb\rc\r\nd", vec!["a\n", "b\rc\r\n", "d"]),
            ("a\r\n\r\nb\rc", vec!["a\r\n", "\r\n", "b\rc"]),
            ("a\rb\nc\r", vec!["a\r", "b\nc\r"]),
            ("", vec![]),
        ] {
            let mut read = Lines::new(text.as_bytes()).expect("lines");
            let found: Vec<_> = std::iter::from_fn(|| read.next().expect("a line")).collect();
            assert_eq!(found, lines.iter().map(|line| line.as_bytes()).collect::<Vec<_>>(), "{text:?}");
            assert_eq!(read.number, lines.len() as u64);
            read.push_back(found.clone());
            assert_eq!(read.number, 0);
            assert_eq!(read.next().expect("a line").as_ref(), found.first());
        }
    }
}
