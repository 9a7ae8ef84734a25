//! All end users of a tenant, or those whom a search finds, written down as they come.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use shared::domain::input::Json;
use shared::domain::profile::Field;

use crate::api::{Api, END_USERS};
use crate::cells;
use crate::error::Error;
use crate::journal::name_after;
use crate::paging::{Page, Step, Walk};
use crate::progress::{ProgressDisplay, say};
use crate::rows::Format;

/// How often the end of the list is looked at for end users who are counted and were not listed, and how long after the
/// look before: the index may be behind.
const LOOKS: u32 = 10;
const PAUSE: Duration = Duration::from_millis(200);

/// Where end users are written, and who.
pub(crate) struct Options {
    /// stdout where there is none.
    pub(crate) file: Option<PathBuf>,
    pub(crate) format: Option<Format>,
    pub(crate) search: Option<String>,
    /// Whether CSV begins with a byte order mark, by which Excel reads it as UTF-8.
    pub(crate) bom: bool,
}

/// Exports end users by ascending id.
pub(crate) async fn run(options: &Options, api: &Api) -> Result<(), Error> {
    let format = match &options.file {
        Some(file) => Format::chosen(options.format, file)?,
        None => options.format.unwrap_or(Format::Ndjson),
    };
    if options.bom && format != Format::Csv {
        return Err(Error::Usage("--bom is for CSV only".to_owned()));
    }
    let mut output = Output::open(options.file.as_deref(), format, options.bom)?;
    let screen = ProgressDisplay::start(0, 0);
    let written = write_all(options.search.as_deref(), api, &screen, &mut output).await;
    let seconds = screen.end();
    let end_users = written?;
    output.finish()?;
    say(&format!("{end_users} people in {seconds:.1} s, {:.0}/s", end_users as f64 / seconds.max(f64::MIN_POSITIVE)));
    Ok(())
}

/// Writes down page after page; how many end users they were.
async fn write_all(
    search: Option<&str>,
    api: &Api,
    screen: &ProgressDisplay,
    output: &mut Output,
) -> Result<u64, Error> {
    let query = utf8_percent_encode(search.unwrap_or_default(), NON_ALPHANUMERIC);
    let (mut walk, mut end_users, mut looks) = (Walk::default(), 0, 0);
    loop {
        let Page { number, size } = walk.page();
        let path = format!("{END_USERS}?pageNumber={number}&pageSize={size}&search={query}");
        let answer = api.get(&path, |text| screen.say(text)).await?;
        if answer.status == 400 {
            let errors: Vec<_> = answer.errors().as_map().values().flatten().cloned().collect();
            return Err(Error::Usage(format!("--search {}", errors.join("; "))));
        }
        let Some(List { ids, items, total, pages }) = List::read(&answer.body).filter(|_| answer.status == 200) else {
            return Err(answer.unexpected());
        };
        screen.set_length(total);
        let (new, last) = match walk.step(&ids, pages) {
            // End users are gone whom the index still counts, or were deleted just now.
            Step::Back => {
                tokio::time::sleep(PAUSE).await;
                continue;
            }
            Step::New(new) => (new, false),
            Step::Last(new) => (new, true),
        };
        for item in &items[new..] {
            output.write(item)?;
            end_users += 1;
            screen.step();
        }
        if !last {
            continue;
        }
        // All who were there throughout and those gone since are no fewer than are counted; of a search, the
        // index counts.
        if end_users >= total || search.is_some() {
            return Ok(end_users);
        }
        looks = if new < items.len() { 0 } else { looks + 1 };
        if looks == LOOKS {
            return Err(Error::Incomplete { total, listed: end_users });
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// A page of the list as it is answered.
struct List {
    ids: Vec<u64>,
    items: Vec<Json>,
    total: u64,
    pages: u64,
}

impl List {
    fn read(body: &[u8]) -> Option<Self> {
        let body = Json::parse(body).ok()?;
        let Json::Array(items) = body.member("items")? else { return None };
        let ids = items.iter().map(|item| item.member("endUserID")?.as_u64()).collect::<Option<_>>()?;
        let number = |name| body.member(name)?.as_u64();
        Some(Self { ids, items: items.clone(), total: number("totalCount")?, pages: number("totalPages")? })
    }
}

/// Where end users are written.
struct Output {
    writer: Writer,
    /// The file that is there in the end, and the one that is until then.
    paths: Option<(PathBuf, PathBuf)>,
}

enum Writer {
    Ndjson(BufWriter<Box<dyn Write + Send>>),
    Csv(Box<csv::Writer<Box<dyn Write + Send>>>),
}

impl Output {
    fn open(file: Option<&Path>, format: Format, bom: bool) -> Result<Self, Error> {
        let paths = file.map(|file| (file.to_owned(), name_after(file, "part")));
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
                let tabs = file.and_then(Path::extension).is_some_and(|ending| ending.eq_ignore_ascii_case("tsv"));
                let delimiter = if tabs { b'\t' } else { b',' };
                Writer::Csv(Box::new(csv::WriterBuilder::new().delimiter(delimiter).from_writer(sink)))
            }
        };
        let mut output = Self { writer, paths };
        if let Writer::Csv(csv) = &mut output.writer {
            csv.write_record(columns()).map_err(|error| output.stop(error))?;
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
        written.map_err(|error| self.stop(error))
    }

    /// Gives the file its name.
    fn finish(mut self) -> Result<(), Error> {
        let flushed = match &mut self.writer {
            Writer::Ndjson(lines) => lines.flush(),
            Writer::Csv(csv) => csv.flush(),
        };
        let renamed = flushed.and_then(|()| match &self.paths {
            Some((file, part)) => fs::rename(part, file),
            None => Ok(()),
        });
        renamed.map_err(|error| self.stop(error))
    }

    fn stop(&self, reason: impl ToString) -> Error {
        Error::file(self.paths.as_ref().map_or(Path::new("stdout"), |(_, part)| part), reason)
    }
}

/// The columns of CSV.
fn columns() -> impl Iterator<Item = &'static str> {
    std::iter::once("endUserID").chain(Field::ALL.map(Field::name)).chain(std::iter::once("uids"))
}

/// A text that no spreadsheet runs as a formula; all else as JSON, which none does.
fn cell(column: &str, value: Option<&Json>) -> String {
    match value {
        None | Some(Json::Null) => String::new(),
        Some(Json::String(text)) => cells::escape(text, column == Field::CustomerRef.name()).into_owned(),
        Some(value) => serde_json::to_string(value).unwrap_or_default(),
    }
}
