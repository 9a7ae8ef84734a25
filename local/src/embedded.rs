//! The embedded engine: where its data is, and the server through which it is reached.

use std::net::TcpListener;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{self, JoinHandle};

use dynoxide::Database;
use dynoxide::actions::list_streams::ListStreamsRequest;
use tokio::sync::oneshot;

use crate::{StartError, Storage};

/// An engine that answers on a port of this machine.
pub struct Embedded {
    url: String,
    stop: oneshot::Sender<()>,
    thread: JoinHandle<()>,
}

impl Embedded {
    /// The name of its thread.
    pub const THREAD: &str = "database";

    /// Serves a database until it is stopped or dropped. It answers one request at a time and blocks
    /// the thread that serves it, so it has one of its own.
    pub fn serve(database: Database) -> Result<Self, StartError> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).map_err(StartError::engine)?;
        listener.set_nonblocking(true).map_err(StartError::engine)?;
        let url = format!("http://{}", listener.local_addr().map_err(StartError::engine)?);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(StartError::engine)?;
        let (stop, stopped) = oneshot::channel::<()>();
        let serve = async move {
            let listener = tokio::net::TcpListener::from_std(listener).map_err(|error| error.to_string())?;
            let stopped = async { drop(stopped.await) };
            dynoxide::server::serve_with_shutdown(listener, database, stopped).await
        };
        let thread = thread::Builder::new().name(Self::THREAD.to_owned()).spawn(move || {
            if let Err(error) = runtime.block_on(serve) {
                tracing::error!(%error, "the embedded engine failed");
            }
        });
        Ok(Self { url, stop, thread: thread.map_err(StartError::engine)? })
    }

    /// Where it answers.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Ends when the database's files are closed: with the server's runtime went all that held them.
    pub async fn stop(self) {
        let _ = self.stop.send(());
        // A panic of the thread has been reported where it happened.
        let _ = tokio::task::spawn_blocking(|| self.thread.join()).await;
    }
}

pub(crate) fn open(storage: &Storage) -> Result<Database, StartError> {
    match storage {
        Storage::Memory => memory(),
        Storage::Directory(directory) => open_engine(directory),
    }
}

/// The ARN of the stream of a table that is there. DescribeTable says it too, but the embedded engine
/// counts all items for that: minutes where there are millions.
pub(crate) fn known_stream(database: &Database, table: &str) -> Result<Option<String>, StartError> {
    let request = ListStreamsRequest { table_name: Some(table.to_owned()), ..ListStreamsRequest::default() };
    let streams = database.list_streams(request).map_err(StartError::engine)?.streams;
    Ok(streams.into_iter().next().map(|stream| stream.stream_arn))
}

/// An engine in memory. Its tables come from a file that has the index: in memory nobody else can
/// make one.
fn memory() -> Result<Database, StartError> {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let name = format!("end-users-{}-{}.sqlite", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
    let template = std::env::temp_dir().join(name);
    drop(file(&template)?);
    let database = Database::memory().map_err(StartError::engine)?;
    let restored = database.restore_from(&template.to_string_lossy()).map_err(StartError::engine);
    for suffix in ["", "-wal", "-shm"] {
        let _ = std::fs::remove_file(format!("{}{suffix}", template.display()));
    }
    restored.map(|()| database)
}

/// The embedded engine's file in a data directory, for programs that load it while no system runs on it.
pub fn open_engine(directory: &Path) -> Result<Database, StartError> {
    file(&directory.join("dynamodb.sqlite"))
}

/// An engine on a file. Reading its stream takes time in the square of its length without an index
/// of our own, which dynoxide-rs 3.2.0 does not make.
fn file(path: &Path) -> Result<Database, StartError> {
    let database = Database::new(&path.to_string_lossy()).map_err(StartError::engine)?;
    let connection = rusqlite::Connection::open(path).map_err(StartError::engine)?;
    connection.busy_timeout(std::time::Duration::from_secs(5)).map_err(StartError::engine)?;
    let index = "CREATE INDEX IF NOT EXISTS end_users_stream \
                 ON _stream_records(table_name, CAST(sequence_number AS INTEGER))";
    connection.execute_batch(index).map_err(StartError::engine)?;
    // This is also the way to say "synchronous = NORMAL": a power cut may undo the last writes, a kill
    // none. As opened, each write waits for the disk, and an indexed end user is thirty of them.
    database.disable_bulk_loading().map_err(StartError::engine)?;
    Ok(database)
}
