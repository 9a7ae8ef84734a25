//! Random sequences of calls and ticket events.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use super::request::{MatchBy, OnMatch, ProfilePatch};
use super::words::{COMPANY, DETAILS, FIELDS, LOOKUPS, ORDINARY, REFERENCE, TYPES, WIDE};

/// The number of tenants of a sequence.
pub const TENANTS: usize = 2;
/// The number of different idempotency keys of a sequence.
const KEYS: u8 = 3;
/// The numbers of tickets and messages of a sequence; their ids start at 1.
pub const TICKETS: u64 = 3;
pub const MESSAGES: u64 = 4;

/// Concurrent calls, each with the index of its tenant.
pub type Round = Vec<(usize, PlannedCall)>;

/// A call before its end user is known. `target` is an index into the end users that exist by then, or beyond them.
#[derive(Clone, Debug)]
pub enum PlannedCall {
    Create {
        patch: ProfilePatch,
        customer_type: Option<usize>,
        uids: Vec<UidLink>,
        key: Option<u8>,
    },
    Update {
        target: usize,
        patch: ProfilePatch,
        customer_type: Option<usize>,
        uids: Vec<UidChange>,
        tag: TagChoice,
    },
    Delete {
        target: usize,
        tag: TagChoice,
    },
    Assign {
        target: usize,
        link: UidLink,
        key: Option<u8>,
    },
    Read {
        target: usize,
        tag: TagChoice,
    },
    Upsert {
        upsert: PlannedUpsert,
        key: Option<u8>,
    },
    UpsertMany {
        upserts: Vec<PlannedUpsert>,
        key: Option<u8>,
    },
    /// `target` is the index of the survivor, `other` is counted from behind it.
    Merge {
        target: usize,
        other: usize,
        dry_run: bool,
        tag: TagChoice,
        key: Option<u8>,
    },
    /// `target` is an index into the merged end users.
    Unmerge {
        target: usize,
        key: Option<u8>,
    },
    /// A repeat of an earlier request with an idempotency key.
    Repeat(usize),
    /// Ticket events, each with the number of its deliveries.
    Ingest(Vec<(TicketEvent, u8)>),
}

/// The body of an upsert.
#[derive(Clone, Debug)]
pub struct PlannedUpsert {
    pub patch: ProfilePatch,
    pub customer_type: Option<usize>,
    pub uids: Vec<UidLink>,
    pub match_by: MatchBy,
    pub on_match: OnMatch,
}

/// A UID of [`super::words::SPELLINGS`].
#[derive(Clone, Debug)]
pub struct UidLink {
    pub spelling: usize,
    pub primary: Option<bool>,
}

/// One of the `uids` of an update. `record` is an index into the end user's UIDs.
#[derive(Clone, Debug)]
pub enum UidChange {
    Put(UidLink),
    Rewrite { record: usize, spelling: Option<usize>, primary: Option<bool> },
    Remove { record: usize },
    RemoveValue { spelling: usize },
}

/// The entity tag of a request.
#[derive(Clone, Copy, Debug)]
pub enum TagChoice {
    None,
    Any,
    Current,
    Stale,
}

/// An event of a ticket, or of one of its messages. All other members follow from the ids and the time `at`.
#[derive(Clone, Copy, Debug)]
pub struct TicketEvent {
    pub ticket: u64,
    pub message: Option<u64>,
    pub at: u64,
    pub deleted: bool,
}

impl TicketEvent {
    /// The index in [`LOOKUPS`] of the ticket's uid at this time.
    pub fn lookup(&self) -> usize {
        (self.ticket + self.at) as usize % LOOKUPS.len()
    }
}

/// A sequence of at most `longest` rounds, after one that creates end users. Most calls are in the first tenant, so that
/// they meet.
pub fn rounds(longest: usize) -> impl Strategy<Value = Vec<Round>> {
    let tenant = prop_oneof![3 => Just(0), 1 => 1..TENANTS];
    let creates = vec((Just(0), create()), 2..=3);
    (creates, vec(vec((tenant, call()), 1..=3), 1..=longest)).prop_map(|(creates, mut rounds)| {
        rounds.insert(0, creates);
        rounds
    })
}

fn create() -> impl Strategy<Value = PlannedCall> {
    let key = option::weighted(0.3, 0..KEYS);
    (patch(), option::of(0..TYPES.len()), vec(link(), 0..3), key)
        .prop_map(|(patch, customer_type, uids, key)| PlannedCall::Create { patch, customer_type, uids, key })
}

fn call() -> impl Strategy<Value = PlannedCall> {
    prop_oneof![
        39 => ordinary_call(),
        1 => oversized_call(),
    ]
}

/// A create or update with more than 500 words, with more than 16 KiB of them, or with both.
fn oversized_call() -> impl Strategy<Value = PlannedCall> {
    (option::of(target()), patch(), 0..3_u8).prop_map(|(target, mut patch, what)| {
        let is_wide = what != 1;
        patch[COMPANY] = Some(is_wide.then_some(0));
        patch[DETAILS] = Some((what != 0).then_some(0));
        let links = WIDE.filter(|_| is_wide).map(|spelling| UidLink { spelling, primary: None });
        match target {
            None => PlannedCall::Create { patch, customer_type: None, uids: links.collect(), key: None },
            Some(target) => {
                let uids = links.map(UidChange::Put).collect();
                PlannedCall::Update { target, patch, customer_type: None, uids, tag: TagChoice::None }
            }
        }
    })
}

fn target() -> impl Strategy<Value = usize> {
    0usize..6
}

fn ordinary_call() -> impl Strategy<Value = PlannedCall> {
    let tag = || {
        prop_oneof![
            6 => Just(TagChoice::None),
            1 => Just(TagChoice::Any),
            2 => Just(TagChoice::Current),
            1 => Just(TagChoice::Stale),
        ]
    };
    let key = || option::weighted(0.3, 0..KEYS);
    let customer_type = || option::of(0..TYPES.len());
    prop_oneof![
        5 => (upsert(), key()).prop_map(|(upsert, key)| PlannedCall::Upsert { upsert, key }),
        1 => (vec(upsert(), 1..4), key()).prop_map(|(upserts, key)| PlannedCall::UpsertMany { upserts, key }),
        6 => (target(), 0_usize..4, prop::bool::weighted(0.2), tag(), key())
            .prop_map(|(target, other, dry_run, tag, key)| PlannedCall::Merge { target, other, dry_run, tag, key }),
        4 => (target(), key()).prop_map(|(target, key)| PlannedCall::Unmerge { target, key }),
        1 => (0_usize..4).prop_map(PlannedCall::Repeat),
        3 => create(),
        4 => (target(), patch(), customer_type(), vec(change(), 0..4), tag())
            .prop_map(|(target, patch, customer_type, uids, tag)| {
                PlannedCall::Update { target, patch, customer_type, uids, tag }
            }),
        1 => (target(), tag()).prop_map(|(target, tag)| PlannedCall::Delete { target, tag }),
        3 => (target(), link(), key()).prop_map(|(target, link, key)| PlannedCall::Assign { target, link, key }),
        2 => (target(), tag()).prop_map(|(target, tag)| PlannedCall::Read { target, tag }),
        2 => vec((event(), 1u8..3), 1..6).prop_map(PlannedCall::Ingest),
    ]
}

fn upsert() -> impl Strategy<Value = PlannedUpsert> {
    let match_by = prop_oneof![3 => Just(MatchBy::Any), 1 => Just(MatchBy::CustomerRef), 1 => Just(MatchBy::Uids)];
    let on_match = prop_oneof![2 => Just(OnMatch::Update), 1 => Just(OnMatch::Fill), 1 => Just(OnMatch::None)];
    let customer_type = option::of(0..TYPES.len());
    let uids = prop_oneof![1 => vec(link(), 0..1), 7 => vec(link(), 1..4)];
    let reference = option::weighted(0.9, 0..FIELDS[REFERENCE].values.len());
    (patch(), customer_type, uids, match_by, on_match, reference).prop_map(
        |(mut patch, customer_type, uids, match_by, on_match, reference)| {
            if match_by == MatchBy::CustomerRef {
                patch[REFERENCE] = reference.map(Some);
            }
            PlannedUpsert { patch, customer_type, uids, match_by, on_match }
        },
    )
}

fn patch() -> impl Strategy<Value = ProfilePatch> {
    let value = |at: usize| option::weighted(0.4, option::weighted(0.8, 0..FIELDS[at].values.len()));
    let cleared = || option::weighted(0.1, Just(None));
    (value(0), value(1), value(2), value(3), cleared(), cleared()).prop_map(|(a, b, c, d, e, f)| [a, b, c, d, e, f])
}

fn link() -> impl Strategy<Value = UidLink> {
    (0..ORDINARY.len(), option::of(any::<bool>())).prop_map(|(spelling, primary)| UidLink { spelling, primary })
}

fn change() -> impl Strategy<Value = UidChange> {
    let record = || 0usize..4;
    prop_oneof![
        4 => link().prop_map(UidChange::Put),
        3 => (record(), option::of(0..ORDINARY.len()), option::of(any::<bool>()))
            .prop_map(|(record, spelling, primary)| UidChange::Rewrite { record, spelling, primary }),
        1 => record().prop_map(|record| UidChange::Remove { record }),
        1 => (0..ORDINARY.len()).prop_map(|spelling| UidChange::RemoveValue { spelling }),
    ]
}

fn event() -> impl Strategy<Value = TicketEvent> {
    (1..=TICKETS, option::of(1..=MESSAGES), 1u64..6, prop::bool::weighted(0.2)).prop_map(
        |(ticket, message, at, deleted)| {
            // A message never moves to another ticket.
            let ticket = message.map_or(ticket, |message| message % TICKETS + 1);
            TicketEvent { ticket, message, at, deleted }
        },
    )
}
