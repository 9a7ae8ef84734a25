//! One invocation of a function, and its result.

use std::time::Duration;

use tokio::sync::oneshot;

use crate::events::random_id;

/// The response of a function as JSON text, or the reason why there is none.
pub(crate) type InvocationResult = Result<Vec<u8>, InvocationError>;

/// The reason why an invocation has no response. The function may have written to the database before it failed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum InvocationError {
    /// The function panicked, exited, reported an error, did not start, or returned more than Lambda accepts.
    Crashed,
    /// The function exceeded its time-out.
    TimedOut,
}

/// An event for a process, with the sender of its result.
pub(crate) struct Invocation {
    pub(crate) id: String,
    pub(crate) event: String,
    pub(crate) time_out: Duration,
    pub(crate) result: oneshot::Sender<InvocationResult>,
}

impl Invocation {
    /// Creates an invocation and the receiver of its result.
    pub(crate) fn new(event: String, time_out: Duration) -> (Self, oneshot::Receiver<InvocationResult>) {
        let (result, receiver) = oneshot::channel();
        (Self { id: random_id(), event, time_out, result }, receiver)
    }
}
