//! The expected ids of pages, computed from the numbers of end users.

use serde_json::json;
use shared::domain::end_user::SortField;
use shared::domain::profile::Field;

use crate::Result;
use crate::end_users::{self, LAST_NAMES};

/// The ids of a tenant in the orders of the checked pages.
pub(crate) struct Orders {
    by_id: Vec<u32>,
    by_last_name: Vec<u32>,
}

impl Orders {
    pub(crate) fn of(all: u32) -> Result<Self> {
        let mut named = vec![Vec::new(); LAST_NAMES];
        (1..=all).for_each(|number| named[end_users::last_name_rank(number)].push(number));
        let mut names = Vec::with_capacity(LAST_NAMES);
        for (rank, ids) in named.into_iter().enumerate() {
            let end_user = end_users::read(&json!({ "lastname": end_users::last_name(rank) }), 1)?;
            names.push((SortField::Field(Field::Lastname).key(&end_user), ids));
        }
        names.sort();
        let by_last_name = names.into_iter().flat_map(|(_, ids)| ids).collect();
        Ok(Self { by_id: (1..=all).collect(), by_last_name })
    }

    /// The ids in an order. Measured orders other than the last name are the same as the order by id.
    fn by(&self, name: &str) -> &[u32] {
        if name == "lastname" { &self.by_last_name } else { &self.by_id }
    }

    /// The ids on a page of ten, among those that `admitted` accepts.
    pub(crate) fn page(&self, name: &str, descending: bool, page: u32, admitted: fn(u32) -> bool) -> Vec<u32> {
        let ids = self.by(name).iter().copied();
        let skip = 10 * (page as usize - 1);
        if descending {
            ids.rev().filter(|id| admitted(*id)).skip(skip).take(10).collect()
        } else {
            ids.filter(|id| admitted(*id)).skip(skip).take(10).collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descending_is_the_reverse_of_ascending() {
        let orders = Orders::of(1_000).expect("orders");
        for name in ["endUserID", "lastname"] {
            let mut last = orders.page(name, true, 100, |_| true);
            last.reverse();
            assert_eq!(orders.page(name, false, 1, |_| true), last);
        }
        assert_eq!(orders.page("country", false, 1, end_users::is_frequent), [1, 2, 10, 11, 12, 20, 21, 22, 30, 31]);
    }
}
