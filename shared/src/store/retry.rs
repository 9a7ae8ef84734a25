//! Retries of DynamoDB calls within the deadline of a request.
//!
//! The SDK's own retries are off (`bootstrap::client`). They end after a number of attempts, however much time is left,
//! and they hide whether an attempt before the last one may have been applied.

use std::time::{Duration, Instant};

use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};

use super::error::{Outcome, StoreError};
use super::failure::{Failure, Retry, classify};
use super::meter::CallKind;
use super::table::Table;

/// The most attempts of one call. The waits between them are at most 4.6 s in all: long enough for a burst of
/// throttling, and short enough that an outage does not occupy an instance for its whole duration.
const MAX_TRIES: u32 = 10;

impl<'a> Table<'a> {
    /// Makes one call within the deadline, and retries it while the error may be transient. Every attempt is a round
    /// trip.
    ///
    /// A write must be safe to repeat: conditional, idempotent, or with a client request token.
    pub(super) async fn call<T, E, F>(self, kind: CallKind, send: impl Fn() -> F) -> Result<T, Failure<E>>
    where
        E: ProvideErrorMetadata,
        F: Future<Output = Result<T, SdkError<E>>>,
    {
        let mut unanswered = false;
        let mut tries = 0;
        loop {
            let error = match self.attempt(send()).await {
                Ok(output) => return Ok(output),
                Err(error) => error,
            };
            tries += 1;
            let (retry, _) = classify(&error);
            unanswered |= kind == CallKind::Write && retry == Retry::OutcomeUnknown;
            let is_retried = retry != Retry::Never && tries < MAX_TRIES;
            if !(is_retried && self.wait(tries).await) {
                return Err(Failure { error, unanswered });
            }
        }
    }

    async fn attempt<T, E>(self, send: impl Future<Output = Result<T, SdkError<E>>>) -> Result<T, SdkError<E>> {
        let _call = self.meter.begin();
        // All concurrent calls begin before the first one is sent. Otherwise a call that ends at once on another thread
        // would make the meter count concurrent calls as sequential.
        tokio::task::yield_now().await;
        match tokio::time::timeout_at(self.deadline.into(), send).await {
            Ok(result) => result,
            Err(elapsed) => Err(SdkError::timeout_error(elapsed)),
        }
    }

    /// Waits for a random time: up to 25 ms after the first attempt, twice as long after each further one, at most 1 s.
    /// Returns `false` without waiting if the deadline would pass.
    async fn wait(self, tries: u32) -> bool {
        let longest = (25 << (tries.clamp(1, 7) - 1)).min(1_000);
        let wait = Duration::from_millis(1 + fastrand::u64(..longest));
        let in_time = Instant::now() + wait < self.deadline;
        if in_time {
            tokio::time::sleep(wait).await;
        }
        in_time
    }

    /// The waits between the attempts of an operation that `reason` makes start over. Nothing of an attempt was
    /// written.
    pub(super) fn backoff(self, reason: &str) -> Backoff<'a, '_> {
        Backoff { table: self, reason, tries: 0 }
    }
}

/// The waits between the attempts of one operation.
pub(super) struct Backoff<'a, 'r> {
    table: Table<'a>,
    reason: &'r str,
    tries: u32,
}

impl Backoff<'_, '_> {
    /// Whether an attempt has failed.
    pub(super) fn is_retry(&self) -> bool {
        self.tries > 0
    }

    /// Waits before the next attempt. Returns [`StoreError::Unavailable`] without waiting if the deadline would pass.
    pub(super) async fn wait(&mut self) -> Result<(), StoreError> {
        self.tries += 1;
        if self.table.wait(self.tries).await {
            return Ok(());
        }
        Err(StoreError::Unavailable { outcome: Outcome::NothingWritten, reason: self.reason.to_owned() })
    }
}
