//! The way through a list that is only to be had by numbered pages, while end users are deleted and created.

/// A page of the list by id.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Page {
    /// From 1.
    pub(crate) number: u64,
    pub(crate) size: u64,
}

/// The most rows of a page.
const SIZE: u64 = 100;

impl Page {
    /// The rows before its end.
    fn end(self) -> u64 {
        self.number * self.size
    }

    /// Of the pages that begin at or before the last of `seen` rows, the one that ends farthest behind it.
    fn after(seen: u64) -> Self {
        let Some(last) = seen.checked_sub(1) else { return Self { number: 1, size: SIZE } };
        let pages = (SIZE / 2 + 1..=SIZE).map(|size| Self { number: last / size + 1, size });
        pages.max_by_key(|page| page.end()).unwrap_or(Self { number: 1, size: SIZE })
    }
}

/// How far a list was read. Each page begins at or before the last end user seen, so that nobody stands between two
/// pages; where deletions have moved it, it is read again from farther back.
#[derive(Default)]
pub(crate) struct Walk {
    /// How many rows stand, or stood, up to the last one seen.
    seen: u64,
    /// The last id seen.
    last: u64,
}

/// What to do with a page.
#[derive(PartialEq, Eq, Debug)]
pub(crate) enum Step {
    /// It begins behind the last end user seen: read another.
    Back,
    /// Its rows from this one on are new.
    New(usize),
    /// They are, and none came behind it; read on for those who have come since.
    Last(usize),
}

impl Walk {
    /// The page to read next.
    pub(crate) fn page(&self) -> Page {
        Page::after(self.seen)
    }

    /// Goes on by what is on that page: the ids, ascending, and the number of pages that the API tells.
    pub(crate) fn step(&mut self, ids: &[u64], pages: u64) -> Step {
        let page = self.page();
        if page.number > 1 && ids.first().is_none_or(|first| *first > self.last) {
            self.seen = self.seen.saturating_sub(SIZE);
            return Step::Back;
        }
        let new = ids.partition_point(|id| *id <= self.last);
        self.last = ids.last().copied().unwrap_or_default().max(self.last);
        // A full page may be the last, but the number of pages may have been told a moment later than its rows.
        if page.number >= pages && (ids.len() as u64) < page.size {
            self.seen = page.end() - page.size + ids.len() as u64;
            return Step::Last(new);
        }
        self.seen = page.end();
        Step::New(new)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use fastrand::Rng;

    use super::*;

    #[test]
    fn a_page_begins_at_or_before_the_last_row_seen_and_brings_many_new_ones() {
        for seen in 1..20_000 {
            let page = Page::after(seen);
            assert!((51..=100).contains(&page.size), "{page:?}");
            assert!((page.number - 1) * page.size < seen && page.end() > seen, "{seen}: {page:?}");
        }
        assert_eq!(Page::after(0), Page { number: 1, size: 100 });
        let (mut seen, mut requests) = (0, 0);
        while seen < 100_000 {
            (seen, requests) = (Page::after(seen).end(), requests + 1);
        }
        assert!(requests < 1_150, "{requests}");
    }

    /// Walks a list to which `change` is done before each page; the ids met, in their order.
    fn walk(list: &mut BTreeSet<u64>, mut change: impl FnMut(&mut BTreeSet<u64>, u64)) -> Vec<u64> {
        let (mut walk, mut met) = (Walk::default(), Vec::new());
        loop {
            change(list, walk.last);
            let Page { number, size } = walk.page();
            let ids: Vec<u64> = list.iter().copied().skip(((number - 1) * size) as usize).take(size as usize).collect();
            match walk.step(&ids, (list.len() as u64).div_ceil(size)) {
                Step::Back => {}
                Step::New(new) => met.extend(&ids[new..]),
                Step::Last(new) => {
                    met.extend(&ids[new..]);
                    return met;
                }
            }
        }
    }

    #[test]
    fn nobody_who_is_there_throughout_is_missed_or_met_twice_whatever_is_deleted_and_created() {
        for seed in 0..300 {
            let mut rng = Rng::with_seed(seed);
            let mut list: BTreeSet<u64> = (1..=rng.u64(0..1_500)).filter(|_| rng.u8(..) < 200).collect();
            let (all, mut deleted, mut next) = (list.clone(), BTreeSet::new(), 10_000);
            let met = walk(&mut list, |list, last| {
                // Those seen, those around the last one, or anybody.
                let range = [0..=last, last.saturating_sub(3)..=last + 3, 0..=next][rng.usize(..3)].clone();
                let victims: Vec<u64> = list.range(range).copied().filter(|_| rng.u8(..) < 40).collect();
                list.retain(|id| !victims.contains(id));
                deleted.extend(victims);
                for _ in 0..if next < 20_000 { rng.u64(..60) } else { 0 } {
                    next += 1;
                    list.insert(next);
                }
            });
            assert!(met.windows(2).all(|pair| pair[0] < pair[1]), "{seed}: twice, or out of order");
            let met: BTreeSet<u64> = met.into_iter().collect();
            let missed: Vec<_> = all.difference(&deleted).filter(|id| !met.contains(id)).collect();
            assert!(missed.is_empty(), "{seed}: {missed:?}");
        }
    }

    #[test]
    fn a_list_of_which_all_that_was_seen_is_deleted_is_read_to_its_end() {
        let mut list: BTreeSet<u64> = (1..=1_000).collect();
        let met = walk(&mut list, |list, last| list.retain(|id| last < 500 || *id > last));
        assert_eq!(met, (1..=1_000).collect::<Vec<_>>());
        assert!(walk(&mut BTreeSet::new(), |_, _| {}).is_empty());
    }
}
