//! The only place where a key is built.
//!
//! Every partition key begins with `C#<tenant>#<entity>`; a tenant has no `#` in it and the
//! entity's word is fixed, so no text of a user reaches another tenant's or entity's key space.

use sha2::{Digest, Sha256};

use super::index::Entry;
use crate::domain::end_user::SortField;
use crate::domain::ids::{EndUserId, Tenant, UidId};
use crate::domain::search::Term;
use crate::domain::uid::MatchKey;

/// The version of the index's keys. A change of collation data or of `entries` takes a new one: the
/// entries of two ways to sort or fold never mix. Only this one is read, so sorted lists and searches
/// are whole again when each tenant was repaired; what the old one wrote is left where it is.
pub const ENTRIES_VERSION: u32 = 2;

/// The shards over which the number of a tenant's end users is counted.
pub const COUNT_SHARDS: u32 = 64;

/// The longest match key that stands in a partition key as it is. (A partition key has at most
/// 2,048 bytes; what is longer is replaced by its digest.)
const MAX_PLAIN_KEY: usize = 1_024;

/// Divides a word from the id behind it: control characters are refused at the edge, so it stands
/// in no text, and it sorts before all that does.
const END: char = '\u{1}';

/// The primary key of an item.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Key {
    /// Partition key, at most 2,048 bytes.
    pub pk: String,
    /// Sort key, at most 1,024 bytes.
    pub sk: String,
}

fn key(pk: String, sk: impl ToString) -> Key {
    Key { pk, sk: sk.to_string() }
}

/// The digits of an id in a sort key.
const ID_LENGTH: usize = 10;

/// An id as it stands in sort keys: ten digits, so that text order is number order.
pub fn padded(id: EndUserId) -> String {
    format!("{:0ID_LENGTH$}", id.get())
}

/// The key of no item: no tenant's begins like it.
pub(super) fn nobody() -> Key {
    Key { pk: "-".to_owned(), sk: "-".to_owned() }
}

/// The partition of a tenant's end users, by id.
pub fn end_users(tenant: &Tenant) -> String {
    format!("C#{tenant}#EndUser")
}

/// An end user's document.
pub fn end_user(tenant: &Tenant, id: EndUserId) -> Key {
    key(end_users(tenant), padded(id))
}

/// The tenant and the end user of a document's key; `None` for the key of anything else.
pub fn read_end_user(pk: &str, sk: &str) -> Option<(Tenant, EndUserId)> {
    let tenant = Tenant::parse(pk.strip_prefix("C#")?.strip_suffix("#EndUser")?)?;
    Some((tenant, read_padded(sk)?))
}

fn read_padded(text: &str) -> Option<EndUserId> {
    text.parse().ok().and_then(EndUserId::new)
}

/// The id at the end of a sort key of an index entry or of a pointer.
pub fn id_of(sk: &str) -> Option<EndUserId> {
    read_padded(sk.get(sk.len().checked_sub(ID_LENGTH)?..)?)
}

/// The partition of the pointers of an end user.
pub fn uids(tenant: &Tenant, owner: EndUserId) -> String {
    format!("C#{tenant}#Uid#{owner}")
}

/// The pointer of one UID of an end user.
pub fn uid(tenant: &Tenant, owner: EndUserId, uid: UidId) -> Key {
    key(uids(tenant, owner), uid)
}

/// The partition of index `byUid` that holds the pointers with this key, by end user.
pub fn uid_index(tenant: &Tenant, held: &MatchKey) -> String {
    format!("C#{tenant}#Uid#{}", encode(held))
}

/// The partition of index `byCustomerRef` that holds the end users with this customerRef, by id.
pub fn reference_index(tenant: &Tenant, held: &MatchKey) -> String {
    format!("C#{tenant}#Ref#{}", encode(held))
}

/// The partition of index `byUid` that holds the tickets of this key.
pub fn ticket_index(tenant: &Tenant, held: &MatchKey) -> String {
    format!("C#{tenant}#TicketUid#{}", encode(held))
}

/// A text and a phone number never meet, nor does a digest meet a plain key: the first two
/// characters tell them apart.
fn encode(held: &MatchKey) -> String {
    let (kind, text) = match held {
        MatchKey::Text(text) => ('t', text),
        MatchKey::Phone(text) => ('p', text),
    };
    if text.len() <= MAX_PLAIN_KEY {
        return format!("{kind}={text}");
    }
    let digest: String = Sha256::digest(text.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{kind}~{digest}")
}

/// The partition of the shards of the number of a tenant's end users.
pub fn counts(tenant: &Tenant) -> String {
    format!("C#{tenant}#Count")
}

/// One shard of the number of a tenant's end users.
pub fn count(tenant: &Tenant, shard: u32) -> Key {
    key(counts(tenant), shard)
}

/// The ids that a tenant has given out.
pub fn sequence(tenant: &Tenant) -> Key {
    key(format!("C#{tenant}#Sequence"), "-")
}

/// The partition of all end users of a tenant in one order.
pub fn sort_entries(tenant: &Tenant, field: SortField) -> String {
    format!("C#{tenant}#Sort#{ENTRIES_VERSION}#{}", field.name())
}

/// An end user's place in an order; `collation` is [`SortField::key`].
pub fn sort_entry(tenant: &Tenant, field: SortField, collation: &str, id: EndUserId) -> Key {
    key(sort_entries(tenant, field), format!("{collation}#{}", padded(id)))
}

/// The orders of a tenant that are counted.
pub fn rank_indexes(tenant: &Tenant) -> String {
    format!("C#{tenant}#RankIndex")
}

/// One order that is counted.
pub fn rank_index(tenant: &Tenant, field: SortField) -> Key {
    key(rank_indexes(tenant), field.name())
}

/// The tenant and the order of such a key; `None` for the key of anything else.
pub fn read_rank_index(pk: &str, sk: &str) -> Option<(Tenant, SortField)> {
    let tenant = Tenant::parse(pk.strip_prefix("C#")?.strip_suffix("#RankIndex")?)?;
    Some((tenant, SortField::parse(sk)?))
}

/// How many parts of an order's entries a block holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BlockSize {
    /// About 64 entries.
    Small,
    /// About 4,096 entries, in about 64 small blocks.
    Large,
}

impl BlockSize {
    fn entries(self) -> u32 {
        match self {
            Self::Small => 64,
            Self::Large => 4_096,
        }
    }
}

/// The start of a block that begins where the order does; sorts before all entries.
pub const FIRST_BLOCK: &str = "!";

/// The partition of the blocks of an order.
pub fn rank_blocks(tenant: &Tenant, field: SortField, size: BlockSize) -> String {
    format!("C#{tenant}#RankBlock#{ENTRIES_VERSION}#{}#{}", field.name(), size.entries())
}

/// The block that starts at `start`, the sort key of an entry.
pub fn rank_block(tenant: &Tenant, field: SortField, size: BlockSize, start: &str) -> Key {
    key(rank_blocks(tenant, field, size), start)
}

/// Whether the blocks of an order start at entries, and so come and go with them. The order by id has
/// fixed ranges of ids.
pub fn cut_at_entries(field: SortField) -> bool {
    field != SortField::EndUserId
}

/// The start of the block that an entry is in, where its sort key alone says so.
///
/// One entry in 64 (4,096) starts a block: by a hash of the whole sort key, id included, so that equal
/// values are cut too. All that starts a large block starts a small one.
pub fn block_start(field: SortField, size: BlockSize, sk: &str) -> Option<String> {
    if sk == FIRST_BLOCK {
        return Some(sk.to_owned());
    }
    if !cut_at_entries(field) {
        // The start of a range need not be an id: 0 is none.
        let id: u32 = sk.strip_prefix('#')?.parse().ok()?;
        return Some(format!("#{:0ID_LENGTH$}", id - id % size.entries()));
    }
    let hash = Sha256::digest(sk.as_bytes());
    let hash = u32::from_be_bytes([hash[0], hash[1], hash[2], hash[3]]);
    hash.is_multiple_of(size.entries()).then(|| sk.to_owned())
}

/// Words and whole values are looked up apart.
#[derive(Clone, Copy)]
enum TermKind {
    Words,
    Whole,
}

/// The partitions of each room over which a tenant's words are spread; few enough to walk them all.
const WORD_PARTITIONS: u32 = 128;

fn word_partition(tenant: &Tenant, room: TermKind, partition: u32) -> String {
    let room = match room {
        TermKind::Words => "",
        TermKind::Whole => "@",
    };
    format!("C#{tenant}#Word#{ENTRIES_VERSION}#{room}{partition:02x}")
}

/// The partition of the words that begin like `term`, and the beginning of the sort keys of those
/// that it asks for. It goes by the first character, which is all that a prefix is sure to have.
pub fn word_entries(tenant: &Tenant, term: &Term) -> Key {
    let (room, text) = match term {
        Term::Word(text) => (TermKind::Words, text),
        Term::Whole(text) => (TermKind::Whole, text),
    };
    let first = text.chars().next().map_or(0, u32::from);
    key(word_partition(tenant, room, first % WORD_PARTITIONS), text)
}

/// An end user under a word.
pub fn word_entry(tenant: &Tenant, term: &Term, id: EndUserId) -> Key {
    let Key { pk, sk } = word_entries(tenant, term);
    key(pk, format!("{sk}{END}{}", padded(id)))
}

/// The place of `id` in the index that `entry` is.
pub fn entry(tenant: &Tenant, entry: &Entry, id: EndUserId) -> Key {
    match entry {
        Entry::Sort(field, collation) => sort_entry(tenant, *field, collation, id),
        Entry::Word(term) => word_entry(tenant, term, id),
    }
}

/// Every partition that holds entries of a tenant, and how its sort keys are read.
pub fn entry_partitions(tenant: &Tenant) -> impl Iterator<Item = (String, EntryReader)> {
    let orders = SortField::ALL.map(|field| (sort_entries(tenant, field), EntryReader(Kind::Sort(field))));
    let words = [TermKind::Words, TermKind::Whole].into_iter().flat_map(move |room| {
        let tenant = tenant.clone();
        (0..WORD_PARTITIONS).map(move |n| (word_partition(&tenant, room, n), EntryReader(Kind::Word(room))))
    });
    orders.into_iter().chain(words)
}

/// Reads the sort keys of one partition of entries.
#[derive(Clone, Copy)]
pub struct EntryReader(Kind);

#[derive(Clone, Copy)]
enum Kind {
    Sort(SortField),
    Word(TermKind),
}

impl EntryReader {
    /// The entry and the end user of a sort key.
    pub fn read(self, sk: &str) -> Option<(Entry, EndUserId)> {
        let id = id_of(sk)?;
        let text = &sk[..sk.len() - ID_LENGTH];
        let entry = match self.0 {
            Kind::Sort(field) => Entry::Sort(field, text.strip_suffix('#')?.to_owned()),
            Kind::Word(TermKind::Words) => Entry::Word(Term::Word(text.strip_suffix(END)?.to_owned())),
            Kind::Word(TermKind::Whole) => Entry::Word(Term::Whole(text.strip_suffix(END)?.to_owned())),
        };
        Some((entry, id))
    }
}

/// The partition of what the index says of itself, by end user.
pub fn index_states(tenant: &Tenant) -> String {
    format!("C#{tenant}#IndexState")
}

/// The entries that the index holds of an end user.
pub fn index_state(tenant: &Tenant, id: EndUserId) -> Key {
    key(index_states(tenant), padded(id))
}

/// The digest under which the response to an idempotency key is stored: 128 bits of its SHA-256 in hexadecimal, because
/// a document remembers many of them.
pub fn idempotency_digest(idempotency_key: &str) -> String {
    Sha256::digest(idempotency_key)[..16].iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The stored response to an idempotency key, by its digest.
pub fn idempotency(tenant: &Tenant, digest: &str) -> Key {
    key(format!("C#{tenant}#Idempotency#{digest}"), "-")
}

/// The partition of a ticket and its messages.
pub fn ticket_partition(tenant: &Tenant, ticket: u64) -> String {
    format!("C#{tenant}#Ticket#{ticket}")
}

/// A ticket; its key sorts before those of its messages.
pub fn ticket(tenant: &Tenant, ticket: u64) -> Key {
    key(ticket_partition(tenant, ticket), "-")
}

/// The beginning of the sort keys of messages.
pub const MESSAGE: &str = "M#";

/// A message of a ticket.
pub fn message(tenant: &Tenant, ticket: u64, message: u64) -> Key {
    key(ticket_partition(tenant, ticket), format!("{MESSAGE}{message}"))
}
