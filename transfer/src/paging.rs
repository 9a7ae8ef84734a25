//! A cursor over a list that has numbered pages only, while end users are deleted and created.

/// The most rows of a page.
const MAX_SIZE: u64 = 100;

/// A page of the list by id.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Page {
    /// From 1.
    pub(crate) number: u64,
    pub(crate) size: u64,
}

impl Page {
    /// The number of rows up to the page's end.
    fn end(self) -> u64 {
        self.number * self.size
    }

    /// The page that begins at or before the last of `seen` rows and ends farthest after it.
    fn after(seen: u64) -> Self {
        let Some(last) = seen.checked_sub(1) else { return Self { number: 1, size: MAX_SIZE } };
        let pages = (MAX_SIZE / 2 + 1..=MAX_SIZE).map(|size| Self { number: last / size + 1, size });
        pages.max_by_key(|page| page.end()).unwrap_or(Self { number: 1, size: MAX_SIZE })
    }
}

/// A position in the list. Each page begins at or before the last row that was read, so that no row is missed between
/// two pages. If deletions have moved that row to an earlier page, the cursor goes back.
#[derive(Default)]
pub(crate) struct ListCursor {
    /// The number of rows up to the last row that was read, at the time of that read.
    seen: u64,
    /// The id of the last row that was read.
    last: u64,
}

/// The result of reading a page.
#[derive(PartialEq, Eq, Debug)]
pub(crate) enum Step {
    /// The page begins after the last row that was read: rows may be missing. Read an earlier page.
    Back,
    /// The page's rows from this index on are new.
    New(usize),
    /// The same, and it is the last page. Reading again finds end users that were created since.
    Last(usize),
}

impl ListCursor {
    /// The page to read next.
    pub(crate) fn page(&self) -> Page {
        Page::after(self.seen)
    }

    /// Moves the cursor past that page, of which `ids` are the ascending ids and `pages` the `totalPages`.
    pub(crate) fn advance(&mut self, ids: &[u64], pages: u64) -> Step {
        let page = self.page();
        if page.number > 1 && ids.first().is_none_or(|first| *first > self.last) {
            self.seen = self.seen.saturating_sub(MAX_SIZE);
            return Step::Back;
        }
        let new = ids.partition_point(|id| *id <= self.last);
        self.last = ids.last().copied().unwrap_or_default().max(self.last);
        // A full page is not taken as the last: its rows and the number of pages are not read at the same time.
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
    fn page_overlaps_the_last_row_and_has_many_new_rows() {
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

    /// Reads a list that `change` modifies before each page. Returns the ids in the order in which they were read.
    fn read_all(list: &mut BTreeSet<u64>, mut change: impl FnMut(&mut BTreeSet<u64>, u64)) -> Vec<u64> {
        let (mut cursor, mut read) = (ListCursor::default(), Vec::new());
        loop {
            change(list, cursor.last);
            let Page { number, size } = cursor.page();
            let ids: Vec<u64> = list.iter().copied().skip(((number - 1) * size) as usize).take(size as usize).collect();
            match cursor.advance(&ids, (list.len() as u64).div_ceil(size)) {
                Step::Back => {}
                Step::New(new) => read.extend(&ids[new..]),
                Step::Last(new) => {
                    read.extend(&ids[new..]);
                    return read;
                }
            }
        }
    }

    #[test]
    fn every_remaining_id_is_read_once_despite_changes() {
        for seed in 0..300 {
            let mut rng = Rng::with_seed(seed);
            let mut list: BTreeSet<u64> = (1..=rng.u64(0..1_500)).filter(|_| rng.u8(..) < 200).collect();
            let (all, mut deleted, mut next) = (list.clone(), BTreeSet::new(), 10_000);
            let read = read_all(&mut list, |list, last| {
                // Deletes rows that were read, rows around the last one, or any rows.
                let range = [0..=last, last.saturating_sub(3)..=last + 3, 0..=next][rng.usize(..3)].clone();
                let victims: Vec<u64> = list.range(range).copied().filter(|_| rng.u8(..) < 40).collect();
                list.retain(|id| !victims.contains(id));
                deleted.extend(victims);
                for _ in 0..if next < 20_000 { rng.u64(..60) } else { 0 } {
                    next += 1;
                    list.insert(next);
                }
            });
            assert!(read.windows(2).all(|pair| pair[0] < pair[1]), "{seed}: an id was read twice or out of order");
            let read: BTreeSet<u64> = read.into_iter().collect();
            let missed: Vec<_> = all.difference(&deleted).filter(|id| !read.contains(id)).collect();
            assert!(missed.is_empty(), "{seed}: {missed:?}");
        }
    }

    #[test]
    fn list_is_read_to_its_end_if_all_read_rows_are_deleted() {
        let mut list: BTreeSet<u64> = (1..=1_000).collect();
        let read = read_all(&mut list, |list, last| list.retain(|id| last < 500 || *id > last));
        assert_eq!(read, (1..=1_000).collect::<Vec<_>>());
        assert!(read_all(&mut BTreeSet::new(), |_, _| {}).is_empty());
    }
}
