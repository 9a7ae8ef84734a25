//! What the event functions share: their log line, and the responses to a batch.

pub mod queue;
pub mod stream;

use std::time::{Duration, Instant};

use lambda_runtime::Context;

use crate::domain::ids::Tenant;
use crate::http::{self, RESPONSE_MARGIN};
use crate::store::{Cost, Meter, StoreError};

/// The time until which an invocation may work on its batch. It leaves time to report the failed items.
pub(crate) fn deadline(context: &Context) -> Instant {
    const DEFAULT_TIME_LEFT: Duration = Duration::from_secs(10);
    Instant::now() + http::time_left(context).map_or(DEFAULT_TIME_LEFT, |left| left.saturating_sub(RESPONSE_MARGIN))
}

/// An operation of an event function for one tenant. Log lines and metrics have its name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Operation {
    /// Updates the index of end users.
    Index,
    /// Builds one step of a rank index.
    Count,
    /// Erases the stored responses of a deleted end user.
    Erase,
    /// Ingests a ticket event.
    Ingest,
}

impl Operation {
    fn name(self) -> &'static str {
        match self {
            Self::Index => "index",
            Self::Count => "count",
            Self::Erase => "erase",
            Self::Ingest => "ingest",
        }
    }

    fn message(self) -> &'static str {
        match self {
            Self::Index => "index updated",
            Self::Count => "rank index updated",
            Self::Erase => "stored responses erased",
            Self::Ingest => "ticket event ingested",
        }
    }
}

/// Logs the result and the cost of an operation. Returns whether it succeeded.
pub fn log_operation(operation: Operation, tenant: &Tenant, meter: &Meter, error: Option<&StoreError>) -> bool {
    let Cost { round_trips, read_units, write_units, .. } = meter.cost();
    let (operation, message) = (operation.name(), operation.message());
    match error {
        None => {
            tracing::info!(
                operation,
                %tenant,
                roundTrips = round_trips,
                readUnits = read_units,
                writeUnits = write_units,
                "{message}"
            );
        }
        Some(error) => {
            tracing::error!(
                operation,
                %tenant,
                roundTrips = round_trips,
                readUnits = read_units,
                writeUnits = write_units,
                %error,
                "operation failed"
            );
        }
    }
    error.is_none()
}
