//! Checks and repairs the keys by which an end user is looked up: its pointers, one per UID, and the key of its
//! customerRef. They are written with the document, and differ from what this code builds only after damage or after an
//! update of Unicode or phone metadata that changes match keys.

use std::collections::BTreeMap;

use aws_sdk_dynamodb::types::AttributeValue;

use super::check::{CheckOptions, MAX_RECHECKS, Progress};
use super::end_users::Commit;
use super::items::{self, Document};
use super::keys::{self, Key};
use super::{Item, Query, Scope, StoreError, text, try_concurrently};
use crate::domain::ids::EndUserId;

impl Scope<'_> {
    /// The end users whose stored look-up keys differ from those that their documents make. Reads every document of the
    /// tenant, and the pointers of each end user.
    pub(super) async fn wrong_pointers(
        &self,
        how: CheckOptions,
        on_progress: &(dyn Fn(Progress) + Sync),
    ) -> Result<Vec<EndUserId>, StoreError> {
        let documents = Query::table(keys::end_users(&self.tenant));
        let (mut wrong, mut start, mut done) = (Vec::new(), None, 0);
        loop {
            let (documents, next) = self.query_once(&documents, usize::MAX, start).await?;
            done += documents.len() as u64;
            let checks = documents.into_iter().map(async |document| {
                let id = items::read_id(&document, "sk")?;
                Ok(self.are_pointers_wrong(id, document, how).await?.then_some(id))
            });
            wrong.extend(try_concurrently(checks).await?.into_iter().flatten());
            on_progress(Progress { stage: "checking look-up keys", done, of: None });
            if next.is_none() {
                return Ok(wrong);
            }
            start = next;
        }
    }

    /// Whether the look-up keys differ while nothing is written: the document is read again behind the pointers.
    async fn are_pointers_wrong(
        &self,
        id: EndUserId,
        mut document: Item,
        how: CheckOptions,
    ) -> Result<bool, StoreError> {
        for tries in 1..=MAX_RECHECKS {
            // A document that cannot be read is reported by the check of the index.
            let Ok(read) = items::read_document(document.clone()) else { return Ok(false) };
            let stored = self.lookup_records(&read, document.clone()).await?;
            if lookup_keys(&stored) == lookup_keys(&items::records(&self.tenant, &read)?) {
                return Ok(false);
            }
            let Some(now) = self.get(keys::end_user(&self.tenant, id)).await? else { return Ok(false) };
            if now == document {
                return Ok(true);
            }
            document = now;
            if tries < MAX_RECHECKS {
                tokio::time::sleep(how.recheck_after).await;
            }
        }
        Ok(false)
    }

    /// Writes the look-up keys of an end user anew, with its document, in one transaction.
    pub(super) async fn repair_pointers(&self, id: EndUserId) -> Result<(), StoreError> {
        for tries in 1.. {
            let Some(item) = self.get(keys::end_user(&self.tenant, id)).await? else { return Ok(()) };
            let before = items::read_document(item.clone())?;
            let stored = self.lookup_records(&before, item).await?;
            let after = Document { version: before.version + 1, ..before.clone() };
            let records = items::records(&self.tenant, &after)?;
            let document = keys::end_user(&self.tenant, id);
            if self.commit_records(document, stored, records, Some(before.version), Vec::new()).await? == Commit::Done {
                return Ok(());
            }
            self.back_off(tries, "end user conflict").await?;
        }
        Ok(())
    }

    /// The items of an end user as they are stored: the document, and its pointers read strongly.
    async fn lookup_records(&self, read: &Document, document: Item) -> Result<BTreeMap<Key, Item>, StoreError> {
        let pointers = Query::table(keys::uids(&self.tenant, read.end_user.id)).strong();
        let (mut stored, _) = self.query(&pointers, usize::MAX, None).await?;
        stored.push(document);
        stored.into_iter().map(|item| Ok((key_of(&item)?, item))).collect()
    }
}

fn key_of(item: &Item) -> Result<Key, StoreError> {
    Ok(Key { pk: text(item, "pk")?.to_owned(), sk: text(item, "sk")?.to_owned() })
}

/// The attributes of each item that place it in an index.
fn lookup_keys(records: &BTreeMap<Key, Item>) -> BTreeMap<&Key, [Option<&AttributeValue>; 4]> {
    records.iter().map(|(key, item)| (key, ["uidPk", "uidSk", "refPk", "refSk"].map(|name| item.get(name)))).collect()
}
