//! The durable queue of ticket events, with its dead letters, and the checkpoints of the stream poller.

use std::fs::{File, TryLockError};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rusqlite::{Connection, OptionalExtension, params};

use crate::{Error, Storage};

/// A received message.
pub(crate) struct QueueMessage {
    pub(crate) id: i64,
    pub(crate) body: String,
    /// The number of times that the message was received, including this one.
    pub(crate) receive_count: u64,
}

/// Messages, dead letters and checkpoints in SQLite.
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
    /// Opens the queue. In a directory it also takes the lock that keeps other processes out.
    pub(crate) fn open(storage: &Storage) -> Result<Self, Error> {
        let failed = |error: rusqlite::Error| Error::Data(format!("cannot be used: {error}"));
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

    /// Appends messages, all or none.
    pub(crate) fn send(&self, bodies: &[String]) -> rusqlite::Result<()> {
        let mut connection = self.connection();
        let transaction = connection.transaction()?;
        for body in bodies {
            transaction.execute("INSERT INTO messages (body) VALUES (?1)", params![body])?;
        }
        transaction.commit()
    }

    /// Receives the oldest messages, at most `limit`. They stay in the queue until they are acknowledged.
    pub(crate) fn receive(&self, limit: usize) -> rusqlite::Result<Vec<QueueMessage>> {
        let connection = self.connection();
        let mut select = connection.prepare_cached(
            "UPDATE messages SET received = received + 1
             WHERE id IN (SELECT id FROM messages WHERE dead = 0 ORDER BY id LIMIT ?1)
             RETURNING id, body, received",
        )?;
        let rows = select.query_map(params![limit as i64], |row| {
            Ok(QueueMessage { id: row.get(0)?, body: row.get(1)?, receive_count: row.get::<_, i64>(2)?.unsigned_abs() })
        })?;
        rows.collect()
    }

    /// Deletes a message that was processed.
    pub(crate) fn acknowledge(&self, id: i64) -> rusqlite::Result<()> {
        self.connection().execute("DELETE FROM messages WHERE id = ?1", params![id]).map(drop)
    }

    /// Moves a message to the dead letters.
    pub(crate) fn move_to_dead_letters(&self, id: i64) -> rusqlite::Result<()> {
        self.connection().execute("UPDATE messages SET dead = 1 WHERE id = ?1", params![id]).map(drop)
    }

    /// Whether every message is acknowledged or a dead letter.
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

    /// The sequence number up to which all records of a shard are processed.
    pub(crate) fn checkpoint(&self, shard: &str) -> rusqlite::Result<Option<String>> {
        let select = "SELECT sequence FROM checkpoints WHERE shard = ?1";
        self.connection().query_row(select, params![shard], |row| row.get(0)).optional()
    }

    /// Stores the sequence number up to which all records of a shard are processed.
    pub(crate) fn set_checkpoint(&self, shard: &str, sequence: &str) -> rusqlite::Result<()> {
        let upsert = "INSERT INTO checkpoints VALUES (?1, ?2) ON CONFLICT DO UPDATE SET sequence = excluded.sequence";
        self.connection().execute(upsert, params![shard, sequence]).map(drop)
    }
}

fn lock(directory: &std::path::Path) -> Result<File, Error> {
    let shown = directory.display();
    let failed = |error: std::io::Error| Error::Data(format!("{shown} cannot be used: {error}"));
    std::fs::create_dir_all(directory).map_err(failed)?;
    let file = File::create(directory.join("lock")).map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => {
            Err(Error::Data(format!("{shown} is in use by another process; choose another with --data")))
        }
        Err(TryLockError::Error(error)) => Err(failed(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn message_is_received_until_acknowledged_or_dead() {
        let queue = Queue::open(&Storage::Memory).expect("a queue");
        queue.send(&["a".to_owned(), "b".to_owned()]).expect("sent");
        let first = queue.receive(10).expect("messages");
        assert_eq!(first.iter().map(|m| (m.body.as_str(), m.receive_count)).collect::<Vec<_>>(), [("a", 1), ("b", 1)]);
        queue.acknowledge(first[0].id).expect("acknowledged");
        let again = queue.receive(10).expect("messages");
        assert_eq!(again.iter().map(|m| (m.body.as_str(), m.receive_count)).collect::<Vec<_>>(), [("b", 2)]);
        assert!(!queue.is_empty().expect("a result"));
        queue.move_to_dead_letters(again[0].id).expect("moved");
        assert!(queue.is_empty().expect("a result"));
        assert_eq!(queue.dead_letters().expect("dead letters"), ["b"]);
    }
}
