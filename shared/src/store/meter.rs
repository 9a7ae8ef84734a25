//! The cost of a request: sequential round trips, capacity units, and time spent on the database.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use aws_sdk_dynamodb::types::ConsumedCapacity;

/// What a request has spent on DynamoDB.
#[derive(Clone, Copy, Default, PartialEq, Debug)]
pub struct Cost {
    /// Sequential round trips: the longest chain of calls of which each began after another ended.
    pub round_trips: u32,
    /// Read units, as DynamoDB reports them.
    pub read_units: f64,
    /// Write units, as DynamoDB reports them.
    pub write_units: f64,
    /// The time during which at least one call was in flight.
    pub busy: Duration,
}

/// Whether a call reads or writes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum CallKind {
    /// GetItem, BatchGetItem, Query.
    Read,
    /// All other calls.
    Write,
}

/// Adds up the [`Cost`] of one request, of which calls may be concurrent.
#[derive(Default)]
pub struct Meter(Mutex<State>);

#[derive(Default)]
struct State {
    cost: Cost,
    in_flight: u32,
    /// When the first of the calls in flight began.
    since: Option<Instant>,
}

/// A call in flight. It ends when it is dropped, so an abandoned call ends too.
pub(super) struct Call<'a> {
    meter: &'a Meter,
    depth: u32,
}

impl Meter {
    /// The cost so far.
    pub fn cost(&self) -> Cost {
        self.with(|state| state.cost)
    }

    fn with<T>(&self, act: impl FnOnce(&mut State) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Begins a call.
    pub(super) fn begin(&self) -> Call<'_> {
        let depth = self.with(|state| {
            state.in_flight += 1;
            state.since.get_or_insert_with(Instant::now);
            state.cost.round_trips + 1
        });
        Call { meter: self, depth }
    }

    /// Adds capacity units.
    pub(super) fn spend<'a>(&self, kind: CallKind, capacities: impl IntoIterator<Item = &'a ConsumedCapacity>) {
        let units: f64 = capacities.into_iter().filter_map(|capacity| capacity.capacity_units).sum();
        self.with(|state| match kind {
            CallKind::Read => state.cost.read_units += units,
            CallKind::Write => state.cost.write_units += units,
        });
    }
}

impl Drop for Call<'_> {
    fn drop(&mut self) {
        self.meter.with(|state| {
            state.cost.round_trips = state.cost.round_trips.max(self.depth);
            state.in_flight -= 1;
            if state.in_flight == 0 {
                state.cost.busy += state.since.take().map_or(Duration::ZERO, |since| since.elapsed());
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn concurrent_calls_count_as_one_round_trip() {
        let meter = Meter::default();
        let (a, b) = (meter.begin(), meter.begin());
        drop(a);
        let after_a = meter.begin();
        drop(b);
        drop(after_a);
        assert_eq!(meter.cost().round_trips, 2);
        drop(meter.begin());
        assert_eq!(meter.cost().round_trips, 3);
    }
}
