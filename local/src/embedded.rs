//! The embedded DynamoDB engine: its storage and its HTTP server.

use std::net::TcpListener;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{self, JoinHandle};

use dynoxide::Database;
use dynoxide::actions::list_streams::ListStreamsRequest;
use tokio::sync::oneshot;

use crate::{Error, Storage};

/// An engine that serves on a port of this machine.
pub struct Embedded {
    url: String,
    stop: oneshot::Sender<()>,
    thread: JoinHandle<()>,
}

impl Embedded {
    /// The name of the server's thread.
    pub const THREAD: &str = "database";

    /// Serves a database until the value is stopped or dropped. The engine processes one request at a time and blocks
    /// its thread, so it runs in a thread of its own.
    pub fn serve(database: Database) -> Result<Self, Error> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).map_err(Error::engine)?;
        listener.set_nonblocking(true).map_err(Error::engine)?;
        let url = format!("http://{}", listener.local_addr().map_err(Error::engine)?);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Error::engine)?;
        let (stop, stopped) = oneshot::channel::<()>();
        let serve = async move {
            let listener = tokio::net::TcpListener::from_std(listener).map_err(|error| error.to_string())?;
            let stopped = async { drop(stopped.await) };
            dynoxide::server::serve_with_shutdown(listener, database, stopped).await
        };
        let thread = thread::Builder::new().name(Self::THREAD.to_owned()).spawn(move || {
            if let Err(error) = runtime.block_on(serve) {
                tracing::error!(%error, "embedded engine failed");
            }
        });
        Ok(Self { url, stop, thread: thread.map_err(Error::engine)? })
    }

    /// The URL of the server.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Stops the server. The database's files are closed when this returns, because the server's runtime owns all their
    /// handles.
    pub async fn stop(self) {
        let _ = self.stop.send(());
        // An error means that the thread panicked, which the panic hook has printed.
        let _ = tokio::task::spawn_blocking(|| self.thread.join()).await;
    }
}

pub(crate) fn open(storage: &Storage) -> Result<Database, Error> {
    match storage {
        Storage::Memory => open_in_memory(),
        Storage::Directory(directory) => open_engine(directory),
    }
}

/// Returns the ARN of the stream of a table, if the table exists. DescribeTable returns it too, but the embedded engine
/// counts all items for that, which takes minutes for millions of items.
pub(crate) fn existing_stream(database: &Database, table: &str) -> Result<Option<String>, Error> {
    let request = ListStreamsRequest { table_name: Some(table.to_owned()), ..ListStreamsRequest::default() };
    let streams = database.list_streams(request).map_err(Error::engine)?.streams;
    Ok(streams.into_iter().next().map(|stream| stream.stream_arn))
}

/// Creates an engine in memory. Its schema is restored from a file, because the index of [`open_file`] can only be
/// created through a second connection, which a database in memory does not allow.
fn open_in_memory() -> Result<Database, Error> {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let name = format!("end-users-{}-{}.sqlite", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
    let template = std::env::temp_dir().join(name);
    drop(open_file(&template)?);
    let database = Database::memory().map_err(Error::engine)?;
    let restored = database.restore_from(&template.to_string_lossy()).map_err(Error::engine);
    for suffix in ["", "-wal", "-shm"] {
        let _ = std::fs::remove_file(format!("{}{suffix}", template.display()));
    }
    restored.map(|()| database)
}

/// Opens the engine of a data directory that no system uses.
pub fn open_engine(directory: &Path) -> Result<Database, Error> {
    open_file(&directory.join("dynamodb.sqlite"))
}

/// Opens an engine on a file and adds an index to its stream table. Without the index, which dynoxide-rs 3.2.0 does not
/// create, reading the stream takes quadratic time in its length.
fn open_file(path: &Path) -> Result<Database, Error> {
    let database = Database::new(&path.to_string_lossy()).map_err(Error::engine)?;
    let connection = rusqlite::Connection::open(path).map_err(Error::engine)?;
    connection.busy_timeout(std::time::Duration::from_secs(5)).map_err(Error::engine)?;
    let index = "CREATE INDEX IF NOT EXISTS end_users_stream \
                 ON _stream_records(table_name, CAST(sequence_number AS INTEGER))";
    connection.execute_batch(index).map_err(Error::engine)?;
    // This sets `synchronous = NORMAL`: a power cut can lose the last writes, a kill loses none. By default each write
    // waits for the disk, and indexing an end user takes thirty writes.
    database.disable_bulk_loading().map_err(Error::engine)?;
    Ok(database)
}
