//! Pages of a list.

/// A page of a list.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Page {
    /// The page's number, from 1.
    pub number: u32,
    /// The number of rows of a page, 1 to 100.
    pub size: u32,
}

impl Page {
    /// The number of rows before the page.
    pub fn offset(self) -> u64 {
        u64::from(self.number - 1) * u64::from(self.size)
    }

    /// The part of `rows` that is on the page.
    pub fn of<T>(self, rows: impl IntoIterator<Item = T>) -> Vec<T> {
        let offset = usize::try_from(self.offset()).unwrap_or(usize::MAX);
        rows.into_iter().skip(offset).take(self.size as usize).collect()
    }
}
