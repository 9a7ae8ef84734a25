//! What sequences are made of, and how they are made at random.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use super::words::{COMPANY, DETAILS, FIELDS, LOOKUPS, ORDINARY, TYPES, WIDE};
use super::world::Patch;

/// The tenants of a sequence.
pub const TENANTS: usize = 2;
/// The keys of a sequence's requests.
const KEYS: u8 = 3;
/// The tickets and messages of a sequence, from 1 on.
pub const TICKETS: u64 = 3;
pub const MESSAGES: u64 = 4;

/// Acts of several clients at once, each in a tenant.
pub type Step = Vec<(usize, Act)>;

#[derive(Clone, Debug)]
pub enum Act {
    Create {
        patch: Patch,
        customer_type: Option<usize>,
        uids: Vec<Link>,
        key: Option<u8>,
    },
    Update {
        who: usize,
        patch: Patch,
        customer_type: Option<usize>,
        uids: Vec<Change>,
        tag: Tag,
    },
    Delete {
        who: usize,
        tag: Tag,
    },
    Assign {
        who: usize,
        link: Link,
        key: Option<u8>,
    },
    Read {
        who: usize,
        tag: Tag,
    },
    /// Events, each delivered as often as it says.
    Tell(Vec<(Event, u8)>),
}

/// A UID of [`super::words::SPELLINGS`].
#[derive(Clone, Debug)]
pub struct Link {
    pub spelling: usize,
    pub primary: Option<bool>,
}

/// One of the `uids` of an update; a record is named by its place among the end user's.
#[derive(Clone, Debug)]
pub enum Change {
    Put(Link),
    Rewrite { record: usize, spelling: Option<usize>, primary: Option<bool> },
    Remove { record: usize },
    RemoveValue { spelling: usize },
}

/// Which entity tag a request comes with.
#[derive(Clone, Copy, Debug)]
pub enum Tag {
    None,
    Any,
    Current,
    Stale,
}

/// What is told of a ticket, or of one of its messages; what else there is to say follows from the
/// time, so that the order of delivery is the only question.
#[derive(Clone, Copy, Debug)]
pub struct Event {
    pub ticket: u64,
    pub message: Option<u64>,
    pub at: u64,
    pub deleted: bool,
}

impl Event {
    /// The uid of the ticket as it is told at this time.
    pub fn lookup(&self) -> usize {
        (self.ticket + self.at) as usize % LOOKUPS.len()
    }
}

/// A sequence of up to `longest` steps.
pub fn steps(longest: usize) -> impl Strategy<Value = Vec<Step>> {
    vec(vec((0..TENANTS, act()), 1..=3), 1..=longest)
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        39 => ordinary_act(),
        1 => oversized_act(),
    ]
}

/// An end user with more than 500 words, or more than 16 KiB of them, or both.
fn oversized_act() -> impl Strategy<Value = Act> {
    (option::of(who()), patch(), 0..3_u8).prop_map(|(who, mut patch, what)| {
        let is_wide = what != 1;
        patch[COMPANY] = Some(is_wide.then_some(0));
        patch[DETAILS] = Some((what != 0).then_some(0));
        let links = WIDE.filter(|_| is_wide).map(|spelling| Link { spelling, primary: None });
        match who {
            None => Act::Create { patch, customer_type: None, uids: links.collect(), key: None },
            Some(who) => {
                let uids = links.map(Change::Put).collect();
                Act::Update { who, patch, customer_type: None, uids, tag: Tag::None }
            }
        }
    })
}

fn who() -> impl Strategy<Value = usize> {
    0usize..6
}

fn ordinary_act() -> impl Strategy<Value = Act> {
    let tag = || prop_oneof![6 => Just(Tag::None), 1 => Just(Tag::Any), 2 => Just(Tag::Current), 1 => Just(Tag::Stale)];
    let key = || option::weighted(0.3, 0..KEYS);
    let customer_type = || option::of(0..TYPES.len());
    prop_oneof![
        4 => (patch(), customer_type(), vec(link(), 0..3), key())
            .prop_map(|(patch, customer_type, uids, key)| Act::Create { patch, customer_type, uids, key }),
        4 => (who(), patch(), customer_type(), vec(change(), 0..4), tag())
            .prop_map(|(who, patch, customer_type, uids, tag)| Act::Update { who, patch, customer_type, uids, tag }),
        1 => (who(), tag()).prop_map(|(who, tag)| Act::Delete { who, tag }),
        3 => (who(), link(), key()).prop_map(|(who, link, key)| Act::Assign { who, link, key }),
        2 => (who(), tag()).prop_map(|(who, tag)| Act::Read { who, tag }),
        2 => vec((event(), 1u8..3), 1..6).prop_map(Act::Tell),
    ]
}

fn patch() -> impl Strategy<Value = Patch> {
    let value = |at: usize| option::weighted(0.4, option::weighted(0.8, 0..FIELDS[at].values.len()));
    let cleared = || option::weighted(0.1, Just(None));
    (value(0), value(1), value(2), value(3), cleared(), cleared()).prop_map(|(a, b, c, d, e, f)| [a, b, c, d, e, f])
}

fn link() -> impl Strategy<Value = Link> {
    (0..ORDINARY.len(), option::of(any::<bool>())).prop_map(|(spelling, primary)| Link { spelling, primary })
}

fn change() -> impl Strategy<Value = Change> {
    let record = || 0usize..4;
    prop_oneof![
        4 => link().prop_map(Change::Put),
        3 => (record(), option::of(0..ORDINARY.len()), option::of(any::<bool>()))
            .prop_map(|(record, spelling, primary)| Change::Rewrite { record, spelling, primary }),
        1 => record().prop_map(|record| Change::Remove { record }),
        1 => (0..ORDINARY.len()).prop_map(|spelling| Change::RemoveValue { spelling }),
    ]
}

fn event() -> impl Strategy<Value = Event> {
    (1..=TICKETS, option::of(1..=MESSAGES), 1u64..6, prop::bool::weighted(0.2)).prop_map(
        |(ticket, message, at, deleted)| {
            // A message never changes its ticket.
            let ticket = message.map_or(ticket, |message| message % TICKETS + 1);
            Event { ticket, message, at, deleted }
        },
    )
}
