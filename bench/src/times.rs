//! Percentiles of durations.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Percentiles, in milliseconds.
#[derive(Clone, Copy, Default, PartialEq, Debug, Serialize, Deserialize)]
pub(crate) struct Times {
    pub(crate) count: usize,
    pub(crate) p50: f64,
    pub(crate) p90: f64,
    pub(crate) p99: f64,
    pub(crate) max: f64,
}

impl Times {
    /// The percentiles by nearest rank: each is a measured duration.
    pub(crate) fn of(mut took: Vec<Duration>) -> Self {
        took.sort();
        let at = |percent: usize| {
            let rank = (took.len() * percent).div_ceil(100).max(1);
            took.get(rank - 1).map_or(0.0, |took| took.as_secs_f64() * 1e3)
        };
        Self { count: took.len(), p50: at(50), p90: at(90), p99: at(99), max: at(100) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_measured_durations() {
        let of = |millis: &[u64]| Times::of(millis.iter().copied().map(Duration::from_millis).collect());
        assert_eq!(of(&[3]), Times { count: 1, p50: 3.0, p90: 3.0, p99: 3.0, max: 3.0 });
        let hundred: Vec<u64> = (1..=100).rev().collect();
        assert_eq!(of(&hundred), Times { count: 100, p50: 50.0, p90: 90.0, p99: 99.0, max: 100.0 });
        assert_eq!(of(&[]), Times::default());
    }
}
