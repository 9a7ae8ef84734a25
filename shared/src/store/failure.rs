//! Failed DynamoDB calls: what an error means for a retry, and what is known about a write.

use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};

use super::error::{Outcome, StoreError};

/// A call that failed after all retries.
pub(super) struct Failure<E> {
    /// The error of the last attempt.
    pub error: SdkError<E>,
    /// Whether an attempt of a write may have been applied although no response arrived.
    pub unanswered: bool,
}

/// What a failed attempt means for the next one.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Retry {
    /// A retry would fail too.
    Never,
    /// The attempt was rejected without effect, and a retry may succeed.
    Safe,
    /// The attempt may have been applied.
    OutcomeUnknown,
}

/// Classifies an error, and returns its reason for the log.
pub(super) fn classify<E: ProvideErrorMetadata>(error: &SdkError<E>) -> (Retry, &str) {
    use Retry::{Never, OutcomeUnknown, Safe};
    match error {
        SdkError::ConstructionFailure(_) => (Never, "a call could not be built"),
        SdkError::TimeoutError(_) => (OutcomeUnknown, "time-out"),
        SdkError::DispatchFailure(_) => (OutcomeUnknown, "no connection"),
        SdkError::ResponseError(_) => (OutcomeUnknown, "malformed response"),
        SdkError::ServiceError(service) => match error.code() {
            Some(
                code @ ("ProvisionedThroughputExceededException"
                | "RequestLimitExceeded"
                | "ThrottlingException"
                | "TransactionConflictException"),
            ) => (Safe, code),
            // DynamoDB still processes an earlier attempt with the same token.
            Some(code @ "TransactionInProgressException") => (OutcomeUnknown, code),
            Some(code) if service.raw().status().is_client_error() => (Never, code),
            Some(code) => (OutcomeUnknown, code),
            // Without a code, the response is not from DynamoDB or is incomplete, whatever its status.
            None => (OutcomeUnknown, "malformed response"),
        },
        _ => (OutcomeUnknown, "unknown"),
    }
}

impl<E: ProvideErrorMetadata> Failure<E> {
    /// The error for a write of which only one fact is known: an attempt got no response.
    pub(super) fn unknown(&self) -> StoreError {
        StoreError::Unavailable { outcome: Outcome::Unknown, reason: classify(&self.error).1.to_owned() }
    }

    /// Whether DynamoDB cancelled the transaction: for a condition, a conflict or throttling.
    pub(super) fn is_cancelled(&self) -> bool {
        self.error.code() == Some("TransactionCanceledException")
    }

    /// Whether the item did not meet the condition of the write.
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
