//! Merged end users: the redirect from an id to the end user that it became part of.

use std::collections::{BTreeMap, BTreeSet};

use super::error::StoreError;
use super::items::{self, Document};
use super::{Scope, keys};
use crate::domain::ids::EndUserId;

/// End users by the ids they were asked for.
#[derive(Default, Debug)]
pub(super) struct Resolved {
    /// The documents as they are now, by their own id.
    pub documents: BTreeMap<EndUserId, Document>,
    /// The ids that no end user has or became part of.
    pub absent: BTreeSet<EndUserId>,
}

impl Scope<'_> {
    /// Reads end users strongly.
    pub(super) async fn resolve(&self, ids: BTreeSet<EndUserId>) -> Result<Resolved, StoreError> {
        let documents = self.documents(ids.iter().copied()).await?;
        let absent = ids.into_iter().filter(|id| !documents.contains_key(id)).collect();
        Ok(Resolved { documents, absent })
    }

    async fn documents(
        &self,
        ids: impl IntoIterator<Item = EndUserId>,
    ) -> Result<BTreeMap<EndUserId, Document>, StoreError> {
        let keys = ids.into_iter().map(|id| keys::end_user(&self.tenant, id)).collect();
        let documents = self.table.get_all(keys).await?.into_iter().map(items::read_document);
        documents.map(|document| document.map(|document| (document.end_user.id, document))).collect()
    }
}
