//! Decoding of a file into UTF-8.

use std::io::{self, BufRead, Read};

use encoding_rs::{Decoder, DecoderResult, Encoding, UTF_8};

/// The bytes per read. The first chunk determines the encoding and the format.
const CHUNK_BYTES: usize = 8 << 10;
/// A byte that never occurs in UTF-8.
const INVALID: u8 = 0xff;
const BOM: &[u8] = b"\xef\xbb\xbf";

/// The error of a file that cannot be decoded.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DecodeError {
    #[error("{0}")]
    Read(#[from] io::Error),
    #[error("the file looks like {0}")]
    Foreign(&'static str),
    #[error("the byte order mark is that of {0}, but --encoding is {1}")]
    Contradiction(&'static str, &'static str),
}

/// A file that is decoded while it is read.
///
/// UTF-8 passes unchanged, including invalid bytes. In any other encoding, an invalid sequence becomes [`INVALID`]. In
/// both cases only the row with the invalid byte is rejected later.
pub(crate) struct Decoded<R> {
    source: R,
    encoding: &'static Encoding,
    /// `None` for UTF-8.
    decoder: Option<Decoder>,
    /// Whether the file begins with a byte order mark.
    has_bom: bool,
    /// The bytes that were read and not yet decoded.
    input: Vec<u8>,
    /// The decoded text, of which `taken` bytes are consumed.
    text: Vec<u8>,
    taken: usize,
    ended: bool,
}

/// The encoding of a label such as `windows-1252` or `latin1` (WHATWG Encoding Standard).
pub(crate) fn read_encoding(label: &str) -> Result<&'static Encoding, String> {
    let encoding = Encoding::for_label_no_replacement(label.as_bytes());
    encoding.ok_or_else(|| "must be the name of an encoding, such as windows-1252, utf-16le or utf-8".to_owned())
}

impl<R: Read> Decoded<R> {
    /// Decodes by the byte order mark, else as `named`, else as UTF-8. Rejects a file that looks like another encoding
    /// or format.
    pub(crate) fn open(mut source: R, named: Option<&'static Encoding>) -> Result<Self, DecodeError> {
        let mut input = Vec::with_capacity(CHUNK_BYTES);
        source.by_ref().take(CHUNK_BYTES as u64).read_to_end(&mut input)?;
        if let Some(format) = foreign_format(&input) {
            return Err(DecodeError::Foreign(format));
        }
        let mark = Encoding::for_bom(&input);
        let encoding = match (mark, named) {
            (Some((marked, _)), Some(named)) if marked != named => {
                return Err(DecodeError::Contradiction(marked.name(), named.name()));
            }
            (Some((marked, length)), _) => {
                input.drain(..length);
                marked
            }
            (None, Some(named)) => named,
            (None, None) => match unmarked_format(&input) {
                Some(format) => return Err(DecodeError::Foreign(format)),
                None => UTF_8,
            },
        };
        let decoder = (encoding != UTF_8).then(|| encoding.new_decoder_without_bom_handling());
        let has_bom = mark.is_some();
        let mut decoded = Self { source, encoding, decoder, has_bom, input, text: Vec::new(), taken: 0, ended: false };
        decoded.fill()?;
        // Programs that add a byte order mark to a file that has one leave two.
        while decoded.text[decoded.taken..].starts_with(BOM) {
            decoded.taken += BOM.len();
        }
        Ok(decoded)
    }

    /// Whether the file begins with a byte order mark.
    pub(crate) fn has_bom(&self) -> bool {
        self.has_bom
    }

    /// The error message of a row that is invalid in the file's encoding.
    pub(crate) fn invalid_message(&self) -> String {
        if self.encoding == UTF_8 {
            "is not UTF-8; use --encoding windows-1252 if the file was saved in that encoding".to_owned()
        } else {
            format!("is not valid {}", self.encoding.name())
        }
    }

    /// The source.
    pub(crate) fn into_source(self) -> R {
        self.source
    }

    /// Replaces the consumed text with the next chunk, or with an empty text at the end of the file.
    fn fill(&mut self) -> io::Result<()> {
        self.text.clear();
        self.taken = 0;
        while self.text.is_empty() && !self.ended {
            if self.input.is_empty() {
                self.input.resize(CHUNK_BYTES, 0);
                let read = self.source.read(&mut self.input)?;
                self.input.truncate(read);
                self.ended = read == 0;
            }
            match &mut self.decoder {
                Some(decoder) => decode(decoder, &self.input, self.ended, &mut self.text),
                None => self.text.extend_from_slice(&self.input),
            }
            self.input.clear();
        }
        Ok(())
    }
}

/// Decodes `input` and appends the result to `text`.
fn decode(decoder: &mut Decoder, mut input: &[u8], last: bool, text: &mut Vec<u8>) {
    loop {
        let start = text.len();
        let room = decoder.max_utf8_buffer_length_without_replacement(input.len()).unwrap_or(4 * CHUNK_BYTES);
        text.resize(start + room, 0);
        let (result, read, written) = decoder.decode_to_utf8_without_replacement(input, &mut text[start..], last);
        text.truncate(start + written);
        input = &input[read..];
        match result {
            DecoderResult::InputEmpty => return,
            DecoderResult::OutputFull => {}
            DecoderResult::Malformed(..) => text.push(INVALID),
        }
    }
}

/// The name of a format that is neither CSV nor JSON, by its first bytes.
fn foreign_format(start: &[u8]) -> Option<&'static str> {
    const FORMATS: [(&[u8], &str); 8] = [
        (b"PK\x03\x04", "an Excel workbook (.xlsx) or another ZIP file; save the sheet as CSV UTF-8"),
        (b"\xd0\xcf\x11\xe0", "an Excel workbook (.xls); save the sheet as CSV UTF-8"),
        (b"\x1f\x8b", "a gzip file; unpack it first"),
        (b"%PDF", "a PDF document"),
        (b"\xff\xfe\0\0", "UTF-32; save it as UTF-8"),
        (b"\0\0\xfe\xff", "UTF-32; save it as UTF-8"),
        (b"BEGIN:VCARD", "vCard; export the contacts as CSV"),
        (b"<", "HTML or XML; export it as CSV or NDJSON"),
    ];
    let text = start.strip_prefix(BOM).unwrap_or(start).trim_ascii_start();
    FORMATS.iter().find(|(magic, _)| start.starts_with(magic) || text.starts_with(magic)).map(|(_, name)| *name)
}

/// The name of a format with zero bytes. In UTF-16, each Latin letter has one: the first or the second byte.
fn unmarked_format(start: &[u8]) -> Option<&'static str> {
    let zeros = |offset| start.iter().skip(offset).step_by(2).filter(|byte| **byte == 0).count();
    let (even, odd) = (zeros(0), zeros(1));
    let is_utf16 = |many: usize, few: usize| many > 4 * few && 20 * many >= start.len();
    match () {
        () if even + odd == 0 => None,
        () if is_utf16(odd, even) => Some("UTF-16 without a byte order mark; use --encoding utf-16le"),
        () if is_utf16(even, odd) => Some("UTF-16 without a byte order mark; use --encoding utf-16be"),
        () => Some("a binary file: it contains zero bytes"),
    }
}

impl<R: Read> BufRead for Decoded<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.taken == self.text.len() {
            self.fill()?;
        }
        Ok(&self.text[self.taken..])
    }

    fn consume(&mut self, read: usize) {
        self.taken += read;
    }
}

impl<R: Read> Read for Decoded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let text = self.fill_buf()?;
        let read = text.len().min(buffer.len());
        buffer[..read].copy_from_slice(&text[..read]);
        self.consume(read);
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use encoding_rs::{UTF_16BE, UTF_16LE, WINDOWS_1252};

    use super::*;

    fn read(bytes: &[u8], named: Option<&'static Encoding>) -> Result<Vec<u8>, String> {
        let mut text = Vec::new();
        let mut decoded = Decoded::open(bytes, named).map_err(|error| error.to_string())?;
        decoded.read_to_end(&mut text).expect("a text");
        Ok(text)
    }

    fn utf16(text: &str, write: fn(u16) -> [u8; 2]) -> Vec<u8> {
        text.encode_utf16().flat_map(write).collect()
    }

    #[test]
    fn byte_order_mark_decides_the_encoding() {
        let text = "naïve 😀 €\r\n".repeat(2_000);
        for bytes in [
            [BOM, text.as_bytes()].concat(),
            [BOM, BOM, text.as_bytes()].concat(),
            utf16(&format!("\u{feff}{text}"), u16::to_le_bytes),
            utf16(&format!("\u{feff}\u{feff}{text}"), u16::to_be_bytes),
        ] {
            assert_eq!(read(&bytes, None).expect("a text"), text.as_bytes());
            let mut decoded = Decoded::open(bytes.as_slice(), None).expect("a text");
            assert!(decoded.has_bom());
            decoded.read_to_end(&mut Vec::new()).expect("a text");
        }
        let error = read(&[BOM, b"a"].concat(), Some(WINDOWS_1252)).expect_err("two encodings");
        assert_eq!(error, "the byte order mark is that of UTF-8, but --encoding is windows-1252");
    }

    #[test]
    fn named_encoding_is_decoded() {
        assert_eq!(read(b"J\xfcrgen \x80", Some(WINDOWS_1252)).expect("a text"), "Jürgen €".as_bytes());
        for (named, write) in [(UTF_16LE, u16::to_le_bytes as fn(u16) -> [u8; 2]), (UTF_16BE, u16::to_be_bytes)] {
            assert_eq!(read(&utf16("a,Zoë", write), Some(named)).expect("a text"), "a,Zoë".as_bytes());
        }
        assert_eq!(read_encoding("latin1"), Ok(WINDOWS_1252));
        assert!(read_encoding("klingon").is_err() && read_encoding("iso-2022-kr").is_err());
    }

    #[test]
    fn invalid_sequence_becomes_an_invalid_byte() {
        let mut bytes = utf16("\u{feff}a", u16::to_le_bytes);
        bytes.extend(0xd800_u16.to_le_bytes());
        bytes.extend(utf16("b", u16::to_le_bytes));
        assert_eq!(read(&bytes, None).expect("a text"), b"a\xffb");
        assert_eq!(Decoded::open(bytes.as_slice(), None).expect("a text").invalid_message(), "is not valid UTF-16LE");
        // Half a character at the end.
        assert_eq!(read(&bytes[..3], None).expect("a text"), b"\xff");
        assert_eq!(read(b"a\xe9b", None).expect("a text"), b"a\xe9b");
        assert!(read(b"", None).expect("a text").is_empty());
    }

    #[test]
    fn foreign_format_is_rejected_by_name() {
        for (bytes, name) in [
            (b"PK\x03\x04...".to_vec(), "Excel workbook (.xlsx)"),
            (b"\xd0\xcf\x11\xe0\xa1".to_vec(), "Excel workbook (.xls)"),
            (b"\x1f\x8b\x08".to_vec(), "gzip"),
            (b"\xff\xfe\0\0a\0\0\0".to_vec(), "UTF-32"),
            ([BOM, b"\n <table>"].concat(), "HTML or XML"),
            (b"BEGIN:VCARD\n".to_vec(), "vCard"),
            (utf16("email,Zoë\r\n", u16::to_le_bytes), "UTF-16 without a byte order mark; use --encoding utf-16le"),
            (utf16("email,Zoë\r\n", u16::to_be_bytes), "UTF-16 without a byte order mark; use --encoding utf-16be"),
            (b"email,name\na@x.be,\0Ann and many more\n".to_vec(), "a binary file: it contains zero bytes"),
        ] {
            let error = read(&bytes, None).expect_err("another format");
            assert!(error.starts_with("the file looks like ") && error.contains(name), "{error}");
        }
    }
}
