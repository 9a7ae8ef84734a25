//! One call of DynamoDB: its tries, and what is known when they are over.
//!
//! The SDK's own retries are off (`bootstrap::client`): they end after a number of tries whatever
//! time is left, and hide whether a try before the last may have taken effect.

use std::time::{Duration, Instant};

use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};

use super::{Kind, Outcome, Scope, StoreError};

/// The most tries of one call. With the waits between them, at most 4.6 s, that rides out a burst
/// of throttling, and does not hold an instance for the whole of an outage.
const MAX_TRIES: u32 = 10;

/// A call that failed for good.
pub(super) struct Failure<E> {
    /// What the last try came to.
    pub error: SdkError<E>,
    /// Whether some try of a write may have taken effect without an answer.
    pub unanswered: bool,
}

impl Scope<'_> {
    /// Carries out one call within the deadline: sends it again while it fails for a reason that may
    /// pass. Every try is a round trip.
    ///
    /// A write must be one that may be sent again: conditional, idempotent, or under a token.
    pub(super) async fn call<T, E, F>(&self, kind: Kind, send: impl Fn() -> F) -> Result<T, Failure<E>>
    where
        E: ProvideErrorMetadata,
        F: Future<Output = Result<T, SdkError<E>>>,
    {
        let mut unanswered = false;
        let mut tries = 0;
        loop {
            let error = match self.send(send()).await {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            tries += 1;
            let (trouble, _) = classify(&error);
            unanswered |= kind == Kind::Write && trouble == Retry::OutcomeUnknown;
            let again = trouble != Retry::Never && tries < MAX_TRIES;
            if !(again && self.wait(tries).await) {
                return Err(Failure { error, unanswered });
            }
        }
    }

    async fn send<T, E>(&self, send: impl Future<Output = Result<T, SdkError<E>>>) -> Result<T, SdkError<E>> {
        let _call = self.meter.begin();
        // Calls side by side have all begun before the first is sent: one that ends at once, on another
        // thread, is no reason to count them as a sequence.
        tokio::task::yield_now().await;
        match tokio::time::timeout_at(self.deadline.into(), send).await {
            Ok(answer) => answer,
            Err(late) => Err(SdkError::timeout_error(late)),
        }
    }

    /// Waits at random up to 25 ms, after each try up to twice as long, at most 1 s; `false` without
    /// waiting where the deadline would pass.
    async fn wait(&self, tries: u32) -> bool {
        let longest = (25 << (tries.clamp(1, 7) - 1)).min(1_000);
        let wait = Duration::from_millis(1 + super::random_u64() % longest);
        let in_time = Instant::now() + wait < self.deadline;
        if in_time {
            tokio::time::sleep(wait).await;
        }
        in_time
    }

    /// Waits before an act is tried for the `tries`+1st time of which nothing was written; an error
    /// where the deadline would pass.
    pub(super) async fn back_off(&self, tries: u32, reason: &str) -> Result<(), StoreError> {
        if self.wait(tries).await {
            return Ok(());
        }
        Err(StoreError::Unavailable { outcome: Outcome::NothingWritten, reason: reason.to_owned() })
    }
}

/// What a try that failed means for the next.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Retry {
    /// It will fail again.
    Never,
    /// It was turned away, and may be taken later.
    Safe,
    /// Nobody said what became of it.
    OutcomeUnknown,
}

/// What an error means, and in a word for the log why.
fn classify<E: ProvideErrorMetadata>(error: &SdkError<E>) -> (Retry, &str) {
    use Retry::{Never, OutcomeUnknown, Safe};
    match error {
        SdkError::ConstructionFailure(_) => (Never, "a call could not be built"),
        SdkError::TimeoutError(_) => (OutcomeUnknown, "time-out"),
        SdkError::DispatchFailure(_) => (OutcomeUnknown, "no connection"),
        SdkError::ResponseError(_) => (OutcomeUnknown, "broken answer"),
        SdkError::ServiceError(service) => match error.code() {
            Some(
                code @ ("ProvisionedThroughputExceededException"
                | "RequestLimitExceeded"
                | "ThrottlingException"
                | "TransactionConflictException"),
            ) => (Safe, code),
            // The same token is being worked on: an earlier try of ours.
            Some(code @ "TransactionInProgressException") => (OutcomeUnknown, code),
            Some(code) if service.raw().status().is_client_error() => (Never, code),
            Some(code) => (OutcomeUnknown, code),
            // Whatever its status, no answer of DynamoDB, or not a whole one.
            None => (OutcomeUnknown, "broken answer"),
        },
        _ => (OutcomeUnknown, "unknown"),
    }
}

impl<E: ProvideErrorMetadata> Failure<E> {
    /// The error where all that is known is that some try went unanswered.
    pub(super) fn unknown(&self) -> StoreError {
        StoreError::Unavailable { outcome: Outcome::Unknown, reason: classify(&self.error).1.to_owned() }
    }

    /// Whether the engine cancelled the transaction: for a condition, a conflict or throttling.
    pub(super) fn is_cancelled(&self) -> bool {
        self.error.code() == Some("TransactionCanceledException")
    }

    /// Whether the engine said that the item stands otherwise than the condition wants.
    pub(super) fn is_condition_failed(&self) -> bool {
        self.error.code() == Some("ConditionalCheckFailedException")
    }
}

impl<E: ProvideErrorMetadata> From<Failure<E>> for StoreError {
    fn from(failure: Failure<E>) -> Self {
        let outcome = if failure.unanswered { Outcome::Unknown } else { Outcome::NothingWritten };
        match classify(&failure.error) {
            (Retry::Never, reason) => Self::Unexpected(format!("DynamoDB refuses: {reason}")),
            (_, reason) => Self::Unavailable { outcome, reason: reason.to_owned() },
        }
    }
}
