//! The queue of rows to send, in batches.
//!
//! Batches are in flight concurrently, and a failed one is repeated. So that rows with a common identifier take effect
//! in the order of the file, such rows are never in flight at the same time: the later row waits in the queue.

use std::collections::{HashMap, HashSet, VecDeque};

use shared::domain::end_user::{MAX_UPSERTS, PendingEndUser};
use shared::domain::input::{Json, ValidationErrors};
use shared::domain::phone::{self, Phone};
use shared::domain::uid::{MatchKey, UidType};

use crate::columns::UIDS;
use crate::rows::Row;

/// The most bytes of a request body that the API accepts.
const MAX_BODY_BYTES: usize = 1 << 20;
/// The most rows that wait.
const MAX_WAITING_ROWS: usize = 10 * MAX_UPSERTS;
/// The bytes of bodies from which no further row is added.
const MAX_WAITING_BYTES: usize = 8 * MAX_BODY_BYTES;

/// A row with its request body.
pub(crate) struct ReadyRow {
    pub(crate) row: Row,
    /// The body, or the errors because of which the row is not sent.
    pub(crate) body: Result<Vec<u8>, ValidationErrors>,
    order: OrderKeys,
}

impl ReadyRow {
    /// A row that is sent at any time.
    pub(crate) fn unordered(row: Row, body: Result<Json, ValidationErrors>) -> Self {
        let write =
            |body: Json| serde_json::to_vec(&body).map_err(|error| ValidationErrors::single("body", error.to_string()));
        Self { row, body: body.and_then(write), order: OrderKeys::default() }
    }

    /// A row that is sent after the rows before it with a common identifier.
    pub(crate) fn ordered(row: Row, body: Result<Json, ValidationErrors>) -> Self {
        let order = body.as_ref().map(OrderKeys::of).unwrap_or_default();
        Self { order, ..Self::unordered(row, body) }
    }

    /// The length of the body in bytes.
    fn bytes(&self) -> usize {
        self.body.as_ref().map_or(0, Vec::len)
    }
}

/// A property of a row that decides whether it waits for another row.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
enum OrderKey {
    /// An identifier.
    Match(MatchKey),
    /// The last digits of a phone number that the deployment's default region decides. This number can be any with the
    /// same last digits.
    National(String),
    /// The last digits of another phone number.
    International(String),
}

/// The order keys of a row.
#[derive(Default, PartialEq, Debug)]
struct OrderKeys {
    /// The keys for which later rows wait.
    held: HashSet<OrderKey>,
    /// The keys for which the row waits.
    awaited: HashSet<OrderKey>,
}

impl OrderKeys {
    /// The keys of a body. There are none if the API rejects it.
    fn of(body: &Json) -> Self {
        let (national, body) = split_national_phones(body);
        let mut order = Self::default();
        let Ok(end_user) = PendingEndUser::read(&body, None) else { return order };
        for key in end_user.keys() {
            if let MatchKey::Phone(number) = &key
                && let Some(digits) = phone::last_digits(number)
            {
                order.held.insert(OrderKey::International(digits.clone()));
                order.awaited.insert(OrderKey::National(digits));
            }
            order.held.insert(OrderKey::Match(key.clone()));
            order.awaited.insert(OrderKey::Match(key));
        }
        for digits in national {
            order.held.insert(OrderKey::National(digits.clone()));
            order.awaited.extend([OrderKey::National(digits.clone()), OrderKey::International(digits)]);
        }
        order
    }
}

/// The last digits of the phone numbers that the deployment's default region decides, and the body without them.
fn split_national_phones(body: &Json) -> (Vec<String>, Json) {
    let mut national = Vec::new();
    let mut body = body.clone();
    if body.member("country").is_some() {
        return (national, body);
    }
    let Json::Object(members) = &mut body else { return (national, body) };
    for (_, uids) in members.iter_mut().filter(|(name, _)| name == UIDS) {
        let Json::Array(uids) = uids else { continue };
        uids.retain(|uid| {
            let text = |name| uid.member(name).and_then(Json::as_str);
            let (Some(kind), Some(value)) = (text("uidType"), text("uid")) else { return true };
            let is_phone = UidType::parse(kind.trim()) == UidType::Phone;
            let is_international = value.trim_start().starts_with('+') && Phone::read(value, None).is_ok();
            let digits = phone::last_digits(value).filter(|_| is_phone && !is_international);
            national.extend(digits.clone());
            digits.is_none()
        });
    }
    (national, body)
}

/// The rows that were read and not sent, in the order of the file, and the keys of those in flight.
#[derive(Default)]
pub(crate) struct Queue {
    waiting: VecDeque<ReadyRow>,
    waiting_bytes: usize,
    /// The number of rows in flight that hold a key.
    in_flight: HashMap<OrderKey, usize>,
}

impl Queue {
    pub(crate) fn is_full(&self) -> bool {
        self.waiting.len() >= MAX_WAITING_ROWS || self.waiting_bytes >= MAX_WAITING_BYTES
    }

    /// Adds the next row of the file.
    pub(crate) fn push(&mut self, row: ReadyRow) {
        self.waiting_bytes += row.bytes();
        self.waiting.push_back(row);
    }

    /// The next rows to send: at most `max_rows`, and at most the bytes of a request unless it is a single row. Empty if
    /// all rows have to wait.
    pub(crate) fn next_batch(&mut self, max_rows: usize) -> Vec<ReadyRow> {
        let (mut batch, mut bytes, mut passed) = (Vec::new(), batch_body(&[]).len(), HashSet::new());
        let mut left = VecDeque::new();
        while let Some(row) = self.waiting.pop_front() {
            let more = bytes + row.bytes() + 1;
            if batch.len() == max_rows || !batch.is_empty() && more > MAX_BODY_BYTES {
                left.push_back(row);
                break;
            }
            let waits = |key| passed.contains(key) || self.in_flight.contains_key(key);
            if row.order.awaited.iter().any(waits) {
                passed.extend(row.order.held.iter().cloned());
                left.push_back(row);
                continue;
            }
            for key in &row.order.held {
                *self.in_flight.entry(key.clone()).or_default() += 1;
            }
            (bytes, self.waiting_bytes) = (more, self.waiting_bytes - row.bytes());
            batch.push(row);
        }
        left.append(&mut self.waiting);
        self.waiting = left;
        batch
    }

    /// Lets the rows go that wait for this one.
    pub(crate) fn finish(&mut self, row: &ReadyRow) {
        for key in &row.order.held {
            if let Some(count) = self.in_flight.get_mut(key) {
                *count -= 1;
                if *count == 0 {
                    self.in_flight.remove(key);
                }
            }
        }
    }
}

/// The EndUserUpsertManyDTO of rows.
pub(crate) fn batch_body(bodies: &[&[u8]]) -> Vec<u8> {
    [br#"{"endUsers":["#.as_slice(), &bodies.join(&b','), b"]}"].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(number: u64, body: &str) -> ReadyRow {
        let row = Row { number, line: number, raw: Vec::new(), members: Ok(Vec::new()), embedded_rows: Vec::new() };
        ReadyRow::ordered(row, Json::parse(body.as_bytes()).map_err(|error| ValidationErrors::single("body", error)))
    }

    fn queue(bodies: &[&str]) -> Queue {
        let mut queue = Queue::default();
        (1..).zip(bodies).for_each(|(number, body)| queue.push(row(number, body)));
        queue
    }

    fn numbers(batch: &[ReadyRow]) -> Vec<u64> {
        batch.iter().map(|row| row.row.number).collect()
    }

    /// Whether the second row waits for the first.
    fn waits(first: &str, second: &str) -> bool {
        queue(&[first, second]).next_batch(2).len() == 1
    }

    #[test]
    fn row_waits_for_earlier_rows_with_a_common_identifier() {
        let mut queue = queue(&[
            r#"{"customerRef":"1"}"#,
            r#"{"customerRef":"2"}"#,
            r#"{"customerRef":"1","uids":[{"uid":"a@x.be"}]}"#,
            r#"{"uids":[{"uid":"A@x.be"}]}"#,
            r#"{"customerRef":"3"}"#,
        ]);
        let first = queue.next_batch(2);
        assert_eq!(numbers(&first), [1, 2]);
        // Row 4 has nothing in common with the rows in flight, but with row 3, which waits for row 1.
        assert_eq!(numbers(&queue.next_batch(2)), [5]);
        queue.finish(&first[1]);
        assert!(queue.next_batch(2).is_empty());
        queue.finish(&first[0]);
        let second = queue.next_batch(2);
        assert_eq!(numbers(&second), [3]);
        queue.finish(&second[0]);
        assert_eq!(numbers(&queue.next_batch(2)), [4]);
    }

    #[test]
    fn numbers_of_the_default_region_wait_for_similar_ones() {
        let phone =
            |country: &str, number: &str| format!(r#"{{{country}"uids":[{{"uidType":"Phone","uid":"{number}"}}]}}"#);
        let (national, belgian) = (phone("", "0470 12 34 56"), phone(r#""country":"BE","#, "0470 12 34 56"));
        for other in [&national, &belgian, &phone("", "+32470123456"), &phone("", "470123456 ext 7")] {
            assert!(waits(&national, other) && waits(other, &national), "{other}");
        }
        assert!(waits(&belgian, &phone("", "+32470123456")));
        // A number of a known region waits only for itself.
        assert!(!waits(&belgian, &phone("", "+31612123456")));
        assert!(!waits(&national, &phone("", "0470 12 34 57")));
        let whatsapp = r#"{"uids":[{"uidType":"WhatsApp","uid":"+32470123456"}]}"#;
        assert!(waits(&national, whatsapp) && waits(&belgian, whatsapp));
    }

    #[test]
    fn batch_is_at_most_one_mebibyte() {
        let body = |number| format!(r#"{{"customerRef":"{number}","aiDocumentation":"{}"}}"#, "x".repeat(47_000));
        let bodies: Vec<String> = (0..60).map(body).collect();
        let mut queue = queue(&bodies.iter().map(String::as_str).collect::<Vec<_>>());
        let mut sizes = Vec::new();
        loop {
            let batch = queue.next_batch(100);
            if batch.is_empty() {
                break;
            }
            let bodies: Vec<&[u8]> = batch.iter().filter_map(|row| row.body.as_deref().ok()).collect();
            assert!(batch_body(&bodies).len() <= MAX_BODY_BYTES);
            sizes.push(batch.len());
        }
        assert_eq!(sizes, [22, 22, 16]);
        assert_eq!(queue.waiting_bytes, 0);
        queue.push(row(1, &format!(r#"{{"customerRef":"1","aiDocumentation":"{}"}}"#, "x".repeat(MAX_BODY_BYTES))));
        assert_eq!(queue.next_batch(100).len(), 1);
    }
}
