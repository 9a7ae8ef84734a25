//! What a request costs: sequential round trips, capacity units, time spent on the database.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use aws_sdk_dynamodb::types::ConsumedCapacity;

/// What was spent.
#[derive(Clone, Copy, Default, PartialEq, Debug)]
pub struct Cost {
    /// Round trips in sequence: the longest chain of calls of which each began after another ended.
    pub round_trips: u32,
    /// Read units, as the engine reports them.
    pub read_units: f64,
    /// Write units, as the engine reports them.
    pub write_units: f64,
    /// Time with at least one call under way.
    pub busy: Duration,
}

/// Whether a call's units are for reading or for writing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// GetItem, BatchGetItem, Query.
    Read,
    /// All else.
    Write,
}

/// Adds up the [`Cost`] of one request; calls may run side by side.
#[derive(Default)]
pub struct Meter(Mutex<State>);

#[derive(Default)]
struct State {
    cost: Cost,
    under_way: u32,
    since: Option<Instant>,
}

/// A call under way; ends when dropped, so that one that is abandoned ends too.
pub(super) struct Call<'a> {
    meter: &'a Meter,
    depth: u32,
}

impl Meter {
    /// What was spent so far.
    pub fn cost(&self) -> Cost {
        self.with(|state| state.cost)
    }

    fn with<T>(&self, act: impl FnOnce(&mut State) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn begin(&self) -> Call<'_> {
        let depth = self.with(|state| {
            state.under_way += 1;
            state.since.get_or_insert_with(Instant::now);
            state.cost.round_trips + 1
        });
        Call { meter: self, depth }
    }

    pub(super) fn spend<'a>(&self, kind: Kind, capacities: impl IntoIterator<Item = &'a ConsumedCapacity>) {
        let units: f64 = capacities.into_iter().filter_map(|capacity| capacity.capacity_units).sum();
        self.with(|state| match kind {
            Kind::Read => state.cost.read_units += units,
            Kind::Write => state.cost.write_units += units,
        });
    }
}

impl Drop for Call<'_> {
    fn drop(&mut self) {
        self.meter.with(|state| {
            state.cost.round_trips = state.cost.round_trips.max(self.depth);
            state.under_way -= 1;
            if state.under_way == 0 {
                state.cost.busy += state.since.take().map_or(Duration::ZERO, |since| since.elapsed());
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_side_by_side_are_one_round_trip_and_calls_in_a_row_are_several() {
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
