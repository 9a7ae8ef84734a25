//! The queue of ticket events, durable: what was taken in survives the process. Beside it the place
//! in the stream up to which the index was brought.

use std::fs::{File, TryLockError};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rusqlite::{Connection, OptionalExtension, params};

use crate::{StartError, Storage};

/// A message that was handed out.
pub(crate) struct Delivery {
    pub(crate) id: i64,
    pub(crate) body: String,
    /// How often it was handed out, this time included.
    pub(crate) receive_count: u64,
}

/// Messages, dead letters and checkpoints, in SQLite.
pub(crate) struct Queue {
    connection: Mutex<Connection>,
    _lock: Option<File>,
}

const SCHEMA: &str = "
    PRAGMA journal_mode = WAL;
    PRAGMA synchronous = FULL;
    CREATE TABLE IF NOT EXISTS messages (id INTEGER PRIMARY KEY AUTOINCREMENT, body TEXT NOT NULL,
        received INTEGER NOT NULL DEFAULT 0, dead INTEGER NOT NULL DEFAULT 0);
    CREATE INDEX IF NOT EXISTS messages_by_state ON messages(dead, id);
    CREATE TABLE IF NOT EXISTS checkpoints (shard TEXT PRIMARY KEY, sequence TEXT NOT NULL);
";

impl Queue {
    /// Opens the queue and keeps other processes out of its directory.
    pub(crate) fn open(storage: &Storage) -> Result<Self, StartError> {
        let failed = |error: rusqlite::Error| StartError::Data(format!("cannot be used: {error}"));
        let (connection, lock) = match storage {
            Storage::Memory => (Connection::open_in_memory().map_err(failed)?, None),
            Storage::Directory(directory) => {
                let lock = lock(directory)?;
                (Connection::open(directory.join("queue.sqlite")).map_err(failed)?, Some(lock))
            }
        };
        connection.execute_batch(SCHEMA).map_err(failed)?;
        Ok(Self { connection: Mutex::new(connection), _lock: lock })
    }

    fn connection(&self) -> MutexGuard<'_, Connection> {
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes in messages, all or none.
    pub(crate) fn send(&self, bodies: &[String]) -> rusqlite::Result<()> {
        let mut connection = self.connection();
        let transaction = connection.transaction()?;
        for body in bodies {
            transaction.execute("INSERT INTO messages (body) VALUES (?1)", params![body])?;
        }
        transaction.commit()
    }

    /// Hands out the oldest messages, at most `limit`.
    pub(crate) fn receive(&self, limit: usize) -> rusqlite::Result<Vec<Delivery>> {
        let connection = self.connection();
        let mut select = connection.prepare_cached(
            "UPDATE messages SET received = received + 1
             WHERE id IN (SELECT id FROM messages WHERE dead = 0 ORDER BY id LIMIT ?1)
             RETURNING id, body, received",
        )?;
        let rows = select.query_map(params![limit as i64], |row| {
            Ok(Delivery { id: row.get(0)?, body: row.get(1)?, receive_count: row.get::<_, i64>(2)?.unsigned_abs() })
        })?;
        rows.collect()
    }

    /// Ends a message: it was dealt with.
    pub(crate) fn acknowledge(&self, id: i64) -> rusqlite::Result<()> {
        self.connection().execute("DELETE FROM messages WHERE id = ?1", params![id]).map(drop)
    }

    /// Makes a message a dead letter.
    pub(crate) fn move_to_dead_letters(&self, id: i64) -> rusqlite::Result<()> {
        self.connection().execute("UPDATE messages SET dead = 1 WHERE id = ?1", params![id]).map(drop)
    }

    /// Whether every message is acknowledged or dead.
    pub(crate) fn is_empty(&self) -> rusqlite::Result<bool> {
        let first = "SELECT 1 FROM messages WHERE dead = 0 LIMIT 1";
        Ok(self.connection().query_row(first, [], |_| Ok(())).optional()?.is_none())
    }

    /// The bodies of the dead letters, oldest first.
    pub(crate) fn dead_letters(&self) -> rusqlite::Result<Vec<String>> {
        let connection = self.connection();
        let mut select = connection.prepare("SELECT body FROM messages WHERE dead = 1 ORDER BY id")?;
        select.query_map([], |row| row.get(0))?.collect()
    }

    /// The last record of a shard of the stream that was dealt with.
    pub(crate) fn checkpoint(&self, shard: &str) -> rusqlite::Result<Option<String>> {
        let select = "SELECT sequence FROM checkpoints WHERE shard = ?1";
        self.connection().query_row(select, params![shard], |row| row.get(0)).optional()
    }

    /// Notes the last record of a shard that was dealt with.
    pub(crate) fn set_checkpoint(&self, shard: &str, sequence: &str) -> rusqlite::Result<()> {
        let upsert = "INSERT INTO checkpoints VALUES (?1, ?2) ON CONFLICT DO UPDATE SET sequence = excluded.sequence";
        self.connection().execute(upsert, params![shard, sequence]).map(drop)
    }
}

fn lock(directory: &std::path::Path) -> Result<File, StartError> {
    let shown = directory.display();
    let failed = |error: std::io::Error| StartError::Data(format!("{shown} cannot be used: {error}"));
    std::fs::create_dir_all(directory).map_err(failed)?;
    let file = File::create(directory.join("lock")).map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => {
            Err(StartError::Data(format!("{shown} is in use by another process; choose another with --data")))
        }
        Err(TryLockError::Error(error)) => Err(failed(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_handed_out_until_it_is_acknowledged_or_buried() {
        let queue = Queue::open(&Storage::Memory).expect("a queue");
        queue.send(&["a".to_owned(), "b".to_owned()]).expect("taken");
        let first = queue.receive(10).expect("messages");
        assert_eq!(first.iter().map(|m| (m.body.as_str(), m.receive_count)).collect::<Vec<_>>(), [("a", 1), ("b", 1)]);
        queue.acknowledge(first[0].id).expect("gone");
        let again = queue.receive(10).expect("messages");
        assert_eq!(again.iter().map(|m| (m.body.as_str(), m.receive_count)).collect::<Vec<_>>(), [("b", 2)]);
        assert!(!queue.is_empty().expect("an answer"));
        queue.move_to_dead_letters(again[0].id).expect("buried");
        assert!(queue.is_empty().expect("an answer"));
        assert_eq!(queue.dead_letters().expect("letters"), ["b"]);
    }
}
