//! An export of all end users of a tenant, or of those that a search finds.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use shared::domain::input::Json;
use shared::domain::profile::Field;

use crate::api::{Api, END_USERS};
use crate::display::{ProgressDisplay, print_line};
use crate::error::Error;
use crate::files::with_suffix;
use crate::format::Format;
use crate::paging::{ListCursor, Page, Step};
use crate::spreadsheet;

/// The most reads of the list's end without a new row while the total is higher than the number of rows: the index may
/// be behind.
const MAX_END_READS: u32 = 10;
/// The delay before such a read, and before going back.
const READ_DELAY: Duration = Duration::from_millis(200);

/// Options of an export.
pub(crate) struct Options {
    /// `None` for stdout.
    pub(crate) file: Option<PathBuf>,
    pub(crate) format: Option<Format>,
    pub(crate) search: Option<String>,
    /// Whether CSV begins with a byte order mark, so that Excel reads it as UTF-8.
    pub(crate) bom: bool,
}

/// Exports end users by ascending id.
pub(crate) async fn run(options: &Options, api: &Api) -> Result<(), Error> {
    let format = match &options.file {
        Some(file) => Format::chosen(options.format, file)?,
        None => options.format.unwrap_or(Format::Ndjson),
    };
    if options.bom && format != Format::Csv {
        return Err(Error::Usage("--bom requires the format csv".to_owned()));
    }
    let mut output = ExportFile::open(options.file.as_deref(), format, options.bom)?;
    let display = ProgressDisplay::start(0, 0);
    let written = write_all(options.search.as_deref(), api, &display, &mut output).await;
    let seconds = display.end();
    let end_users = written?;
    output.finish()?;
    print_line(&format!(
        "{end_users} end users in {seconds:.1} s, {:.0}/s",
        end_users as f64 / seconds.max(f64::MIN_POSITIVE)
    ));
    Ok(())
}

/// Writes all pages. Returns the number of end users.
async fn write_all(
    search: Option<&str>,
    api: &Api,
    display: &ProgressDisplay,
    output: &mut ExportFile,
) -> Result<u64, Error> {
    let query = utf8_percent_encode(search.unwrap_or_default(), NON_ALPHANUMERIC);
    let (mut cursor, mut end_users, mut end_reads) = (ListCursor::default(), 0, 0);
    loop {
        let Page { number, size } = cursor.page();
        let path = format!("{END_USERS}?pageNumber={number}&pageSize={size}&search={query}");
        let response = api.get(&path, |text| display.print_line(text)).await?;
        if response.status == 400 {
            let errors: Vec<_> = response.errors().as_map().values().flatten().cloned().collect();
            return Err(Error::Usage(format!("--search {}", errors.join("; "))));
        }
        let Some(ListPage { ids, items, total, pages }) =
            ListPage::read(&response.body).filter(|_| response.status == 200)
        else {
            return Err(response.unexpected());
        };
        display.set_length(total);
        let (new, last) = match cursor.advance(&ids, pages) {
            // End users before this page were deleted; the index may still count them.
            Step::Back => {
                tokio::time::sleep(READ_DELAY).await;
                continue;
            }
            Step::New(new) => (new, false),
            Step::Last(new) => (new, true),
        };
        for item in &items[new..] {
            output.write(item)?;
            end_users += 1;
            display.step();
        }
        if !last {
            continue;
        }
        // The exported end users include those that were deleted since. So if they are fewer than the total, rows are
        // missing. A search is not checked, because its total comes from the index, too.
        if end_users >= total || search.is_some() {
            return Ok(end_users);
        }
        end_reads = if new < items.len() { 0 } else { end_reads + 1 };
        if end_reads == MAX_END_READS {
            return Err(Error::Incomplete { total, listed: end_users });
        }
        tokio::time::sleep(READ_DELAY).await;
    }
}

/// The response of a list request.
struct ListPage {
    ids: Vec<u64>,
    items: Vec<Json>,
    total: u64,
    pages: u64,
}

impl ListPage {
    fn read(body: &[u8]) -> Option<Self> {
        let body = Json::parse(body).ok()?;
        let Json::Array(items) = body.member("items")? else { return None };
        let ids = items.iter().map(|item| item.member("endUserID")?.as_u64()).collect::<Option<_>>()?;
        let number = |name| body.member(name)?.as_u64();
        Some(Self { ids, items: items.clone(), total: number("totalCount")?, pages: number("totalPages")? })
    }
}

/// The file or stdout that is written.
struct ExportFile {
    writer: Writer,
    /// The path of the finished file, and of the unfinished one; `None` for stdout.
    paths: Option<(PathBuf, PathBuf)>,
}

enum Writer {
    Ndjson(BufWriter<Box<dyn Write + Send>>),
    Csv(Box<csv::Writer<Box<dyn Write + Send>>>),
}

impl ExportFile {
    fn open(file: Option<&Path>, format: Format, bom: bool) -> Result<Self, Error> {
        let paths = file.map(|file| (file.to_owned(), with_suffix(file, "part")));
        let mut sink: Box<dyn Write + Send> = match &paths {
            Some((_, part)) => Box::new(File::create(part).map_err(|error| Error::file(part, error))?),
            None => Box::new(io::stdout()),
        };
        if bom {
            let part = paths.as_ref().map_or(Path::new("stdout"), |(_, part)| part);
            sink.write_all("\u{feff}".as_bytes()).map_err(|error| Error::file(part, error))?;
        }
        let writer = match format {
            Format::Ndjson => Writer::Ndjson(BufWriter::new(sink)),
            Format::Csv => {
                let tabs =
                    file.and_then(Path::extension).is_some_and(|extension| extension.eq_ignore_ascii_case("tsv"));
                let delimiter = if tabs { b'\t' } else { b',' };
                Writer::Csv(Box::new(csv::WriterBuilder::new().delimiter(delimiter).from_writer(sink)))
            }
        };
        let mut output = Self { writer, paths };
        if let Writer::Csv(csv) = &mut output.writer {
            csv.write_record(columns()).map_err(|error| output.error(error))?;
        }
        Ok(output)
    }

    fn write(&mut self, end_user: &Json) -> Result<(), Error> {
        let written = match &mut self.writer {
            Writer::Ndjson(lines) => serde_json::to_writer(&mut *lines, end_user)
                .map_err(io::Error::from)
                .and_then(|()| lines.write_all(b"\n")),
            Writer::Csv(csv) => {
                csv.write_record(columns().map(|name| cell(name, end_user.member(name)))).map_err(io::Error::from)
            }
        };
        written.map_err(|error| self.error(error))
    }

    /// Flushes the file and renames it to its final name.
    fn finish(mut self) -> Result<(), Error> {
        let flushed = match &mut self.writer {
            Writer::Ndjson(lines) => lines.flush(),
            Writer::Csv(csv) => csv.flush(),
        };
        let renamed = flushed.and_then(|()| match &self.paths {
            Some((file, part)) => fs::rename(part, file),
            None => Ok(()),
        });
        renamed.map_err(|error| self.error(error))
    }

    fn error(&self, reason: impl ToString) -> Error {
        Error::file(self.paths.as_ref().map_or(Path::new("stdout"), |(_, part)| part), reason)
    }
}

/// The columns of CSV.
fn columns() -> impl Iterator<Item = &'static str> {
    std::iter::once("endUserID").chain(Field::ALL.map(Field::name)).chain(std::iter::once("uids"))
}

/// A CSV cell that no spreadsheet runs as a formula: an escaped text, or JSON.
fn cell(column: &str, value: Option<&Json>) -> String {
    match value {
        None | Some(Json::Null) => String::new(),
        Some(Json::String(text)) => spreadsheet::escape(text, column == Field::CustomerRef.name()).into_owned(),
        Some(value) => serde_json::to_string(value).unwrap_or_default(),
    }
}
