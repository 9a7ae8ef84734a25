//! The faults of the proxy, and the plan by which it injects them.

use std::fmt;

/// A fault of one database call. With "before" the call never takes effect; with "after" it does, and its response is
/// lost.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Fault {
    /// `ProvisionedThroughputExceededException`; for a transaction, half of the time a cancellation reason instead.
    Throttled,
    /// `ThrottlingException`.
    TooMany,
    /// A transaction is cancelled with the reason `TransactionConflict` at a random action.
    Conflict,
    /// `InternalServerError` (500) before.
    FailedBefore,
    /// `InternalServerError` (500) after.
    FailedAfter,
    /// A 503 in HTML, as of an intermediary; before.
    Unavailable,
    /// The connection is closed before.
    HungUpBefore,
    /// The connection is closed after.
    HungUpAfter,
    /// The response breaks off in the middle; after.
    CutOff,
    /// A response that is not JSON, after.
    Garbled,
    /// No response at all, before.
    SilentBefore,
    /// No response at all, after.
    SilentAfter,
    /// The call takes effect up to 100 ms later, so that calls overtake each other.
    Slow,
    /// The call takes effect at once and its response arrives up to 100 ms later, so that a read is stale.
    SlowResponse,
    /// A part of a batch is returned as unprocessed.
    Unprocessed,
    /// A response of the stream repeats earlier records before its own.
    Repeated,
    /// Records of the stream arrive 50 to 500 ms late.
    Delayed,
}

impl Fault {
    /// All faults.
    pub const ALL: [Self; 17] = [
        Self::Throttled,
        Self::TooMany,
        Self::Conflict,
        Self::FailedBefore,
        Self::FailedAfter,
        Self::Unavailable,
        Self::HungUpBefore,
        Self::HungUpAfter,
        Self::CutOff,
        Self::Garbled,
        Self::SilentBefore,
        Self::SilentAfter,
        Self::Slow,
        Self::SlowResponse,
        Self::Unprocessed,
        Self::Repeated,
        Self::Delayed,
    ];

    /// Whether the fault costs the caller a whole time-out.
    pub fn is_silent(self) -> bool {
        matches!(self, Self::SilentBefore | Self::SilentAfter)
    }

    /// Whether the fault is possible for a call of this operation.
    pub(super) fn applies_to(self, operation: &str) -> bool {
        match self {
            Self::Conflict => operation == "TransactWriteItems",
            Self::Unprocessed => matches!(operation, "BatchGetItem" | "BatchWriteItem"),
            Self::Repeated | Self::Delayed => operation == "GetRecords",
            _ => OPERATIONS.contains(&operation),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// The operations of requests and pollers. Operations that set up a table have no faults.
pub(super) const OPERATIONS: [&str; 9] = [
    "BatchGetItem",
    "BatchWriteItem",
    "GetItem",
    "GetRecords",
    "GetShardIterator",
    "PutItem",
    "Query",
    "TransactWriteItems",
    "UpdateItem",
];

/// The [`OPERATIONS`] with which requests read.
pub(super) const READS: [&str; 3] = ["BatchGetItem", "GetItem", "Query"];

/// The probabilities of random faults.
#[derive(Clone, Default, Debug)]
pub struct Plan {
    /// Each fault with its probability, from 0 to 1, for a call for which it is possible.
    pub faults: Vec<(Fault, f64)>,
    /// A factor of the probabilities for calls that read, because there are many more of them.
    pub reads: f64,
    /// The only operation with faults; `None` means all operations.
    pub only: Option<&'static str>,
}

impl Plan {
    /// Slow calls and late responses, so that other calls take effect between a read and the write that follows it.
    pub fn slow() -> Self {
        Self { faults: vec![(Fault::Slow, 0.02), (Fault::SlowResponse, 0.04)], reads: 1.0, only: None }
    }

    /// One fault, for every call for which it is possible.
    pub fn always(fault: Fault) -> Self {
        Self { faults: vec![(fault, 1.0)], reads: 1.0, only: None }
    }
}
