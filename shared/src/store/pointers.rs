//! Check and repair of the stored look-up keys of an end user: a pointer per UID, and the key of its customerRef.
//!
//! They are written with the document. They differ from what this code builds only after damage, or after an update of
//! Unicode or phone metadata that changes match keys.

use std::collections::BTreeMap;

use aws_sdk_dynamodb::types::AttributeValue;
use futures::TryStreamExt;

use super::Scope;
use super::end_users::RecordChange;
use super::error::StoreError;
use super::index::{CheckOptions, MAX_RECHECKS, Progress};
use super::items::{self, Document, Item};
use super::keys::{self, Key};
use super::query::Query;
use super::table::try_concurrently;
use crate::domain::ids::EndUserId;

impl Scope<'_> {
    /// Returns the end users whose stored look-up keys differ from those of their documents. Reads every document of
    /// the tenant, and the pointers of each end user.
    pub(super) async fn wrong_pointers(
        &self,
        options: CheckOptions,
        on_progress: &(dyn Fn(Progress) + Sync),
    ) -> Result<Vec<EndUserId>, StoreError> {
        let (mut wrong, mut done) = (Vec::new(), 0);
        let mut pages = self.table.pages(Query::table(keys::end_users(&self.tenant)));
        while let Some(page) = pages.try_next().await? {
            done += page.items.len() as u64;
            let checks = page.items.into_iter().map(async |document| {
                let id = items::read_id(&document, "sk")?;
                Ok(self.are_pointers_wrong(id, document, options).await?.then_some(id))
            });
            wrong.extend(try_concurrently(checks).await?.into_iter().flatten());
            on_progress(Progress { stage: "checking look-up keys", done, of: None });
        }
        Ok(wrong)
    }

    /// Whether the look-up keys differ and the document did not change meanwhile: it is read again after the pointers.
    async fn are_pointers_wrong(
        &self,
        id: EndUserId,
        mut document: Item,
        options: CheckOptions,
    ) -> Result<bool, StoreError> {
        for tries in 1..=MAX_RECHECKS {
            // The check of the index reports a document that cannot be read.
            let Ok(read) = items::read_document(document.clone()) else { return Ok(false) };
            let stored = self.stored_records(&read, document.clone()).await?;
            if lookup_keys(&stored) == lookup_keys(&items::records(&self.tenant, &read)?) {
                return Ok(false);
            }
            let Some(current) = self.table.get(keys::end_user(&self.tenant, id)).await? else { return Ok(false) };
            if current == document {
                return Ok(true);
            }
            document = current;
            if tries < MAX_RECHECKS {
                tokio::time::sleep(options.recheck_after).await;
            }
        }
        Ok(false)
    }

    /// Writes the look-up keys of an end user again, with its document, in one transaction.
    pub(super) async fn repair_pointers(&self, id: EndUserId) -> Result<(), StoreError> {
        let key = keys::end_user(&self.tenant, id);
        let mut backoff = self.table.backoff("end user conflict");
        loop {
            let Some(item) = self.table.get(key.clone()).await? else { return Ok(()) };
            let before = items::read_document(item.clone())?;
            let stored = self.stored_records(&before, item).await?;
            let after = Document { version: before.version + 1, ..before.clone() };
            let new = items::records(&self.tenant, &after)?;
            let change = RecordChange { document: key.clone(), version: Some(before.version), old: stored, new };
            if self.write_records(vec![change], Vec::new()).await? {
                return Ok(());
            }
            backoff.wait().await?;
        }
    }

    /// The stored items of an end user: the document, and its pointers, read strongly.
    async fn stored_records(&self, read: &Document, document: Item) -> Result<BTreeMap<Key, Item>, StoreError> {
        let pointers = Query::table(keys::uids(&self.tenant, read.end_user.id)).strong();
        let mut stored = self.table.query(pointers).await?;
        stored.push(document);
        stored.into_iter().map(|item| Ok((items::read_key(&item)?, item))).collect()
    }
}

/// The attributes of each item that are keys of a global secondary index.
fn lookup_keys(records: &BTreeMap<Key, Item>) -> BTreeMap<&Key, [Option<&AttributeValue>; 4]> {
    records.iter().map(|(key, item)| (key, ["uidPk", "uidSk", "refPk", "refSk"].map(|name| item.get(name)))).collect()
}
