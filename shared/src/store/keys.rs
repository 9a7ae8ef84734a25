//! The keys of the table. No other module builds a key.
//!
//! Every partition key begins with `C#<tenant>#<entity>`. A tenant contains no `#`, and the entity is a fixed word. So
//! no text of a user reaches the key space of another tenant or entity.

use sha2::{Digest, Sha256};

use super::entry::Entry;
use crate::domain::end_user::SortField;
use crate::domain::ids::{EndUserId, Tenant, UidId};
use crate::domain::search::Term;
use crate::domain::uid::MatchKey;

/// The version of the index's keys. A change of the collation data or of `entries` needs a higher version, so that
/// entries of two ways to sort or fold never mix. Only entries of this version are read: after a change, a tenant's
/// sorted lists and searches are complete when its index was repaired. Entries of older versions stay in the table.
pub const ENTRIES_VERSION: u32 = 2;

/// The version of the match keys in the keys of claims. A change of the rules for match keys needs a higher version:
/// claims of two versions do not exclude each other, so under the exclusive policy they must be built again.
pub const CLAIMS_VERSION: u32 = 1;

/// The number of counter shards that add up to the number of a tenant's end users.
pub const COUNT_SHARDS: u32 = 64;

/// The longest match key, in bytes, that a partition key contains as plain text. A longer one is replaced by its
/// digest, because a partition key has at most 2,048 bytes.
const MAX_PLAIN_KEY: usize = 1_024;

/// The separator between a word and the id after it. No text contains it, because the API rejects control characters,
/// and it sorts before every character of a text.
const SEPARATOR: char = '\u{1}';

/// The primary key of an item.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Key {
    /// The partition key, at most 2,048 bytes.
    pub pk: String,
    /// The sort key, at most 1,024 bytes.
    pub sk: String,
}

fn key(pk: String, sk: impl ToString) -> Key {
    Key { pk, sk: sk.to_string() }
}

/// The number of digits of an id in a sort key.
const ID_LENGTH: usize = 10;

/// An id in sort keys: ten digits, so that text order is number order.
pub fn padded(id: EndUserId) -> String {
    format!("{:0ID_LENGTH$}", id.get())
}

/// A key that no item has: the keys of all tenants begin differently.
pub(super) fn absent() -> Key {
    Key { pk: "-".to_owned(), sk: "-".to_owned() }
}

/// The partition of a tenant's documents, by end user id.
pub fn end_users(tenant: &Tenant) -> String {
    format!("C#{tenant}#EndUser")
}

/// The key of an end user's document.
pub fn end_user(tenant: &Tenant, id: EndUserId) -> Key {
    key(end_users(tenant), padded(id))
}

/// The tenant and the end user of a document's key; `None` for any other key.
pub fn read_end_user(pk: &str, sk: &str) -> Option<(Tenant, EndUserId)> {
    let tenant = Tenant::parse(pk.strip_prefix("C#")?.strip_suffix("#EndUser")?)?;
    Some((tenant, read_padded(sk)?))
}

fn read_padded(text: &str) -> Option<EndUserId> {
    text.parse().ok().and_then(EndUserId::new)
}

/// The end user id at the end of the sort key of an index entry, a pointer, a document or an undo.
pub fn id_of(sk: &str) -> Option<EndUserId> {
    read_padded(sk.get(sk.len().checked_sub(ID_LENGTH)?..)?)
}

/// The partition of the pointers of an end user.
pub fn uids(tenant: &Tenant, end_user: EndUserId) -> String {
    format!("C#{tenant}#Uid#{end_user}")
}

/// The key of the pointer of one UID.
pub fn uid(tenant: &Tenant, end_user: EndUserId, uid: UidId) -> Key {
    key(uids(tenant, end_user), uid)
}

/// The partition of index `byUid` with the pointers of a match key, by end user id.
pub fn uid_index(tenant: &Tenant, match_key: &MatchKey) -> String {
    format!("C#{tenant}#Uid#{}", encode(match_key))
}

/// The partition of index `byCustomerRef` with the end users of a customerRef's match key, by id.
pub fn reference_index(tenant: &Tenant, match_key: &MatchKey) -> String {
    format!("C#{tenant}#Ref#{}", encode(match_key))
}

/// The key of the claim of a match key.
pub fn claim(tenant: &Tenant, match_key: &MatchKey) -> Key {
    key(format!("C#{tenant}#Claim#{CLAIMS_VERSION}#{}", encode(match_key)), "-")
}

/// The key of the redirect of an end user that was merged into another one.
pub fn redirect(tenant: &Tenant, merged: EndUserId) -> Key {
    key(format!("C#{tenant}#Merged"), padded(merged))
}

/// The partition of what is kept to undo the merges into an end user, in the order of the merges.
pub fn undos(tenant: &Tenant, survivor: EndUserId) -> String {
    format!("C#{tenant}#Undo#{survivor}")
}

/// The key of what is kept to undo the merge with this number into an end user.
pub fn undo(tenant: &Tenant, survivor: EndUserId, merge: u32, merged: EndUserId) -> Key {
    key(undos(tenant, survivor), format!("{merge:0ID_LENGTH$}#{}", padded(merged)))
}

/// The partition of index `byUid` with the tickets of a match key, by ticket id.
pub fn ticket_index(tenant: &Tenant, match_key: &MatchKey) -> String {
    format!("C#{tenant}#TicketUid#{}", encode(match_key))
}

/// The text of a match key in partition keys. Its first character separates texts from phone numbers, and its second
/// one separates plain keys from digests, so that no two match keys collide.
fn encode(match_key: &MatchKey) -> String {
    let (kind, text) = match match_key {
        MatchKey::Text(text) => ('t', text),
        MatchKey::Phone(text) => ('p', text),
    };
    if text.len() <= MAX_PLAIN_KEY {
        return format!("{kind}={text}");
    }
    let digest: String = Sha256::digest(text.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{kind}~{digest}")
}

/// The partition of the shards that count a tenant's end users.
pub fn counts(tenant: &Tenant) -> String {
    format!("C#{tenant}#Count")
}

/// The key of one shard that counts a tenant's end users.
pub fn count(tenant: &Tenant, shard: u32) -> Key {
    key(counts(tenant), shard)
}

/// A random counter shard.
pub(super) fn random_count_shard() -> u32 {
    fastrand::u32(..COUNT_SHARDS)
}

/// The key of a tenant's id sequence.
pub fn sequence(tenant: &Tenant) -> Key {
    key(format!("C#{tenant}#Sequence"), "-")
}

/// The partition of a tenant's entries in one order.
pub fn sort_entries(tenant: &Tenant, field: SortField) -> String {
    format!("C#{tenant}#Sort#{ENTRIES_VERSION}#{}", field.name())
}

/// The key of an end user's entry in an order; `collation` is [`SortField::key`].
pub fn sort_entry(tenant: &Tenant, field: SortField, collation: &str, id: EndUserId) -> Key {
    key(sort_entries(tenant, field), format!("{collation}#{}", padded(id)))
}

/// The partition of a tenant's rank indexes.
pub fn rank_indexes(tenant: &Tenant) -> String {
    format!("C#{tenant}#RankIndex")
}

/// The key of the rank index of one order.
pub fn rank_index(tenant: &Tenant, field: SortField) -> Key {
    key(rank_indexes(tenant), field.name())
}

/// The tenant and the order of a rank index's key; `None` for any other key.
pub fn read_rank_index(pk: &str, sk: &str) -> Option<(Tenant, SortField)> {
    let tenant = Tenant::parse(pk.strip_prefix("C#")?.strip_suffix("#RankIndex")?)?;
    Some((tenant, SortField::parse(sk)?))
}

/// The size of a rank block.
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

/// The start of the first block of an order. It sorts before all entries.
pub const FIRST_BLOCK: &str = "!";

/// The partition of an order's rank blocks of one size.
pub fn rank_blocks(tenant: &Tenant, field: SortField, size: BlockSize) -> String {
    format!("C#{tenant}#RankBlock#{ENTRIES_VERSION}#{}#{}", field.name(), size.entries())
}

/// The key of the rank block that starts at `start`, the sort key of an entry.
pub fn rank_block(tenant: &Tenant, field: SortField, size: BlockSize, start: &str) -> Key {
    key(rank_blocks(tenant, field, size), start)
}

/// Whether the rank blocks of an order start at entries, so that they appear and disappear with entries. The blocks of
/// the order by id are fixed ranges of ids.
pub fn cut_at_entries(field: SortField) -> bool {
    field != SortField::EndUserId
}

/// The start of the rank block that contains an entry, if the entry's sort key alone determines it.
///
/// One entry in 64 starts a small block, and one in 4,096 a large one. A hash of the whole sort key decides, including
/// the id, so that a run of equal values is split too. Every entry that starts a large block also starts a small one.
pub fn block_start(field: SortField, size: BlockSize, sk: &str) -> Option<String> {
    if sk == FIRST_BLOCK {
        return Some(sk.to_owned());
    }
    if !cut_at_entries(field) {
        // The start of a range need not be a valid id: the first range starts at 0.
        let id: u32 = sk.strip_prefix('#')?.parse().ok()?;
        return Some(format!("#{:0ID_LENGTH$}", id - id % size.entries()));
    }
    let hash = Sha256::digest(sk.as_bytes());
    let hash = u32::from_be_bytes([hash[0], hash[1], hash[2], hash[3]]);
    hash.is_multiple_of(size.entries()).then(|| sk.to_owned())
}

/// The two kinds of term, which have separate partitions.
#[derive(Clone, Copy)]
enum TermKind {
    Word,
    Whole,
}

/// The number of partitions of a tenant's terms of each kind; small enough for a check to read all of them.
const WORD_PARTITIONS: u32 = 128;

fn word_partition(tenant: &Tenant, kind: TermKind, partition: u32) -> String {
    let kind = match kind {
        TermKind::Word => "",
        TermKind::Whole => "@",
    };
    format!("C#{tenant}#Word#{ENTRIES_VERSION}#{kind}{partition:02x}")
}

/// The partition of the terms that `term` is a prefix of, and the prefix of their sort keys. The first character
/// determines the partition, because a prefix need not have a second one.
pub fn word_entries(tenant: &Tenant, term: &Term) -> Key {
    let (kind, text) = match term {
        Term::Word(text) => (TermKind::Word, text),
        Term::Whole(text) => (TermKind::Whole, text),
    };
    let first = text.chars().next().map_or(0, u32::from);
    key(word_partition(tenant, kind, first % WORD_PARTITIONS), text)
}

/// The key of an end user's entry for a term.
pub fn word_entry(tenant: &Tenant, term: &Term, id: EndUserId) -> Key {
    let Key { pk, sk } = word_entries(tenant, term);
    key(pk, format!("{sk}{SEPARATOR}{}", padded(id)))
}

/// The key of an entry of end user `id`.
pub fn entry(tenant: &Tenant, entry: &Entry, id: EndUserId) -> Key {
    match entry {
        Entry::Sort(field, collation) => sort_entry(tenant, *field, collation, id),
        Entry::Word(term) => word_entry(tenant, term, id),
    }
}

/// Every partition of a tenant's entries, with the reader of its sort keys.
pub fn entry_partitions(tenant: &Tenant) -> impl Iterator<Item = (String, EntryReader)> {
    let orders = SortField::ALL.map(|field| (sort_entries(tenant, field), EntryReader(EntryKind::Sort(field))));
    let words = [TermKind::Word, TermKind::Whole].into_iter().flat_map(move |kind| {
        let tenant = tenant.clone();
        (0..WORD_PARTITIONS).map(move |n| (word_partition(&tenant, kind, n), EntryReader(EntryKind::Word(kind))))
    });
    orders.into_iter().chain(words)
}

/// A reader of the sort keys of one partition of entries.
#[derive(Clone, Copy)]
pub struct EntryReader(EntryKind);

#[derive(Clone, Copy)]
enum EntryKind {
    Sort(SortField),
    Word(TermKind),
}

impl EntryReader {
    /// Parses a sort key: the entry and its end user.
    pub fn read(self, sk: &str) -> Option<(Entry, EndUserId)> {
        let id = id_of(sk)?;
        let text = &sk[..sk.len() - ID_LENGTH];
        let entry = match self.0 {
            EntryKind::Sort(field) => Entry::Sort(field, text.strip_suffix('#')?.to_owned()),
            EntryKind::Word(TermKind::Word) => Entry::Word(Term::Word(text.strip_suffix(SEPARATOR)?.to_owned())),
            EntryKind::Word(TermKind::Whole) => Entry::Word(Term::Whole(text.strip_suffix(SEPARATOR)?.to_owned())),
        };
        Some((entry, id))
    }
}

/// The partition of a tenant's index states, by end user id.
pub fn index_states(tenant: &Tenant) -> String {
    format!("C#{tenant}#IndexState")
}

/// The key of an end user's index state: the entries that the index has of it.
pub fn index_state(tenant: &Tenant, id: EndUserId) -> Key {
    key(index_states(tenant), padded(id))
}

/// The digest of an idempotency key in the key of its stored response: 128 bits of SHA-256 in hexadecimal, short
/// because a document lists many of them.
pub fn idempotency_digest(idempotency_key: &str) -> String {
    Sha256::digest(idempotency_key)[..16].iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The partition of the stored responses for an idempotency key's digest.
pub fn idempotency_partition(tenant: &Tenant, digest: &str) -> String {
    format!("C#{tenant}#Idempotency#{digest}")
}

/// The key of the stored response for an idempotency key's digest: of the request, or of one `item` of its body.
pub fn idempotency(tenant: &Tenant, digest: &str, item: Option<u32>) -> Key {
    let partition = idempotency_partition(tenant, digest);
    item.map_or_else(|| key(partition.clone(), "-"), |item| key(partition.clone(), item))
}

/// The partition of a ticket and its messages.
pub fn ticket_partition(tenant: &Tenant, ticket: u64) -> String {
    format!("C#{tenant}#Ticket#{ticket}")
}

/// The key of a ticket. It sorts before the keys of the ticket's messages.
pub fn ticket(tenant: &Tenant, ticket: u64) -> Key {
    key(ticket_partition(tenant, ticket), "-")
}

/// The prefix of the sort keys of messages.
pub const MESSAGE: &str = "M#";

/// The key of a message of a ticket.
pub fn message(tenant: &Tenant, ticket: u64, message: u64) -> Key {
    key(ticket_partition(tenant, ticket), format!("{MESSAGE}{message}"))
}
