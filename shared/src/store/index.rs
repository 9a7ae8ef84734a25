//! The index over people: an entry per order and per word, written behind the documents.

use std::collections::BTreeSet;

use aws_sdk_dynamodb::types::{AttributeValue, DeleteRequest, PutRequest, ReturnConsumedCapacity, WriteRequest};
use serde::{Deserialize, Serialize};
use serde_dynamo::aws_sdk_dynamodb_1::{from_item, to_item};

use super::keys::{self, ENTRIES_VERSION, Key};
use super::{Item, Kind, Query, REMEMBERED, Scope, StoreError, after, items, primary, unreadable};
use crate::domain::end_user::{EndUser, SortField};
use crate::domain::ids::EndUserId;
use crate::domain::search::{self, Search, Term};

/// How many found people are rather read and tested than that the rest of a long word is walked.
const FEW: usize = 100;
/// A place of a person in the index. Its text form is what `Indexed` keeps of it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Entry {
    /// Its place in an order.
    Sort(SortField, String),
    /// A word under which it is found.
    Word(Term),
}

impl Entry {
    fn key(&self, scope: &Scope, id: EndUserId) -> Key {
        match self {
            Self::Sort(field, collation) => keys::sort_entry(&scope.tenant, *field, collation, id),
            Self::Word(term) => keys::word_entry(&scope.tenant, term, id),
        }
    }

    fn write(&self) -> String {
        match self {
            Self::Sort(field, collation) => format!("{}#{collation}", field.name()),
            Self::Word(Term::Word(text)) => format!("#{text}"),
            Self::Word(Term::Whole(text)) => format!("@{text}"),
        }
    }

    fn read(text: &str) -> Option<Self> {
        if let Some(text) = text.strip_prefix('#') {
            return Some(Self::Word(Term::Word(text.to_owned())));
        }
        if let Some(text) = text.strip_prefix('@') {
            return Some(Self::Word(Term::Whole(text.to_owned())));
        }
        let (name, collation) = text.split_once('#')?;
        let field = SortField::ALL.into_iter().find(|field| field.name() == name)?;
        Some(Self::Sort(field, collation.to_owned()))
    }
}

/// The entries of a person.
pub fn entries(person: &EndUser) -> BTreeSet<Entry> {
    let orders = SortField::ALL.into_iter().map(|field| Entry::Sort(field, field.key(person)));
    orders.chain(search::person_terms(person).into_iter().map(Entry::Word)).collect()
}

/// What the index holds of a person.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct IndexedItem {
    pk: String,
    sk: String,
    kind: String,
    v: u32,
    /// How often it was written.
    rev: u64,
    /// Whether the index holds exactly `entries`; else at most them.
    #[serde(default)]
    settled: bool,
    entries: Vec<String>,
    entries_version: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<u64>,
}

impl Scope<'_> {
    /// Brings the index in line with the person as it is now: the one act of indexing, repairing
    /// and rebuilding. May be repeated and raced without harm, and may end anywhere.
    ///
    /// `Indexed` is read before the person: who reads the older person also read the older
    /// `Indexed`, and loses. It is written twice: first it claims all entries that may be there until
    /// the end, so that after a run that ended half-way the next one knows what to put right.
    pub async fn index_end_user(&self, id: EndUserId) -> Result<(), StoreError> {
        // What this run put in place, of which a winner of a race may know nothing.
        let mut mine = BTreeSet::new();
        for tries in 1.. {
            let key = keys::indexed(&self.tenant, id);
            let indexed: Option<IndexedItem> = self.get(key).await?.map(from_item).transpose().map_err(unreadable)?;
            let wanted = self.end_user(id).await?.as_ref().map(entries).unwrap_or_default();
            let (rev, settled, held) = match indexed {
                Some(item) if item.entries_version == ENTRIES_VERSION => {
                    (item.rev, item.settled, item.entries.iter().filter_map(|text| Entry::read(text)).collect())
                }
                Some(item) => (item.rev, false, BTreeSet::new()),
                None => (0, false, BTreeSet::new()),
            };
            // Having lost once, this run may have taken away what the winner counts on.
            let exact = settled && tries == 1;
            if exact && held == wanted {
                return Ok(());
            }
            let there: BTreeSet<Entry> = held.union(&mine).cloned().collect();
            let put: Vec<_> = wanted.iter().filter(|entry| !exact || !held.contains(*entry)).cloned().collect();
            let gone: Vec<_> = there.difference(&wanted).cloned().collect();
            let claimed = self.put_indexed(id, &there.union(&wanted).cloned().collect(), rev, false).await?;
            if claimed {
                self.write_entries(id, &put, &gone).await?;
                mine.extend(put);
                if self.put_indexed(id, &wanted, rev + 1, true).await? {
                    return Ok(());
                }
            }
            self.back_off(tries, "index conflict").await?;
        }
        Ok(())
    }

    /// Whether `Indexed` could be put over its version `rev`; over none where that is 0.
    async fn put_indexed(
        &self,
        id: EndUserId,
        entries: &BTreeSet<Entry>,
        rev: u64,
        settled: bool,
    ) -> Result<bool, StoreError> {
        let Key { pk, sk } = keys::indexed(&self.tenant, id);
        let item = IndexedItem {
            pk,
            sk,
            kind: "Indexed".to_owned(),
            v: 1,
            rev: rev + 1,
            settled,
            expires_at: entries.is_empty().then(|| after(REMEMBERED)),
            entries: entries.iter().map(Entry::write).collect(),
            entries_version: ENTRIES_VERSION,
        };
        let condition = if rev == 0 { "attribute_not_exists(pk)" } else { "rev = :rev" };
        let values = (rev > 0).then(|| Item::from([(":rev".to_owned(), AttributeValue::N(rev.to_string()))]));
        let request = self
            .client()
            .put_item()
            .table_name(self.table())
            .set_item(Some(to_item(item).map_err(unreadable)?))
            .condition_expression(condition)
            .set_expression_attribute_values(values)
            .return_consumed_capacity(ReturnConsumedCapacity::Total);
        match self.call(Kind::Write, || request.clone().send()).await {
            Ok(answer) => {
                self.meter.spend(Kind::Write, &answer.consumed_capacity);
                Ok(true)
            }
            Err(failure) if failure.lost() => Ok(false),
            Err(failure) => Err(failure.into()),
        }
    }

    async fn write_entries(&self, id: EndUserId, put: &[Entry], gone: &[Entry]) -> Result<(), StoreError> {
        let puts = put.iter().map(|entry| {
            let mut item = primary(&entry.key(self, id));
            item.insert("kind".to_owned(), AttributeValue::S("Entry".to_owned()));
            item.insert("v".to_owned(), AttributeValue::N("1".to_owned()));
            PutRequest::builder()
                .set_item(Some(item))
                .build()
                .map(|put| WriteRequest::builder().put_request(put).build())
        });
        let deletes = gone.iter().map(|entry| {
            let delete = DeleteRequest::builder().set_key(Some(primary(&entry.key(self, id)))).build();
            delete.map(|delete| WriteRequest::builder().delete_request(delete).build())
        });
        let writes: Vec<_> = puts.chain(deletes).collect::<Result<_, _>>().map_err(unreadable)?;
        // DynamoDB takes 25 writes a call.
        let chunks = writes.chunks(25).map(|chunk| self.write_chunk(chunk.to_vec()));
        futures::future::try_join_all(chunks).await?;
        Ok(())
    }

    async fn write_chunk(&self, mut writes: Vec<WriteRequest>) -> Result<(), StoreError> {
        for tries in 1.. {
            let request = self
                .client()
                .batch_write_item()
                .request_items(self.table(), writes)
                .return_consumed_capacity(ReturnConsumedCapacity::Total);
            let answer = self.call(Kind::Write, || request.clone().send()).await?;
            self.meter.spend(Kind::Write, answer.consumed_capacity());
            writes = answer.unprocessed_items.into_iter().flatten().flat_map(|(_, left)| left).collect();
            if writes.is_empty() {
                break;
            }
            self.back_off(tries, "unprocessed items").await?;
        }
        Ok(())
    }

    /// The people who have all of `terms`, as the index knows them. The terms are looked up side by
    /// side; when one is short and another long, the few are read and tested instead.
    pub(super) async fn find_words(&self, terms: &BTreeSet<Term>) -> Result<BTreeSet<EndUserId>, StoreError> {
        let queries: Vec<_> = terms.iter().map(|term| self.word_query(term)).collect();
        let first = queries.iter().map(|query| self.query_once(query, usize::MAX, None));
        let mut sets = Vec::with_capacity(terms.len());
        let mut unfinished = Vec::new();
        for (query, (items, next)) in queries.iter().zip(futures::future::try_join_all(first).await?) {
            match next {
                None => sets.push(ids(&items)?),
                Some(next) => unfinished.push((query, ids(&items)?, next)),
            }
        }
        sets.sort_by_key(BTreeSet::len);
        if let Some(few) = sets.first().filter(|set| !unfinished.is_empty() && set.len() <= FEW) {
            let people = self.people(few.iter().copied()).await?;
            let asked = Search::all_of(terms);
            return Ok(people
                .into_values()
                .filter(|p| asked.matches(&search::person_terms(p)))
                .map(|p| p.id)
                .collect());
        }
        let rest = unfinished.into_iter().map(|(query, found, next)| self.rest_of_word(query, found, next));
        sets.extend(futures::future::try_join_all(rest).await?);
        sets.sort_by_key(BTreeSet::len);
        let mut sets = sets.into_iter();
        let smallest = sets.next().unwrap_or_default();
        Ok(sets.fold(smallest, |all, set| all.into_iter().filter(|id| set.contains(id)).collect()))
    }

    fn word_query(&self, term: &Term) -> Query<'static> {
        let Key { pk, sk } = keys::word_entries(&self.tenant, term);
        Query { prefix: Some(sk), ..Query::table(pk) }
    }

    async fn rest_of_word(
        &self,
        query: &Query<'_>,
        mut found: BTreeSet<EndUserId>,
        start: Item,
    ) -> Result<BTreeSet<EndUserId>, StoreError> {
        let mut start = Some(start);
        while start.is_some() {
            let (items, next) = self.query_once(query, usize::MAX, start).await?;
            found.append(&mut ids(&items)?);
            start = next;
        }
        Ok(found)
    }
}

fn ids(entries: &[Item]) -> Result<BTreeSet<EndUserId>, StoreError> {
    entries.iter().map(|entry| items::read_id(entry, "sk")).collect()
}
