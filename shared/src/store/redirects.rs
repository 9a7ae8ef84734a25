//! Merged end users: the redirect from an id to the end user that it became part of.
//!
//! A redirect is written by a merge and removed only when that merge is undone. The end user that it leads to may have
//! become part of another one, so redirects are followed one by one. One whose end was deleted counts as none.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_dynamo::aws_sdk_dynamodb_1::{from_item, to_item};

use super::error::{ChangeError, StoreError, unreadable};
use super::items::{self, Document, Item};
use super::keys::Key;
use super::{Scope, keys};
use crate::domain::end_user::{EndUser, MAX_MERGE_DEPTH};
use crate::domain::ids::EndUserId;
use crate::domain::uid::MatchKey;

/// The stored shape of a redirect.
#[derive(Serialize, Deserialize)]
struct RedirectItem {
    pk: String,
    sk: String,
    kind: String,
    v: u32,
    into: EndUserId,
    merge: u32,
}

/// Where a merged end user went.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Redirect {
    /// The end user that it became part of.
    pub into: EndUserId,
    /// The number of the merge among the merges into that end user.
    pub merge: u32,
}

impl Redirect {
    /// The item that redirects `merged`.
    pub(super) fn item(self, key: Key) -> Result<Item, StoreError> {
        let (Key { pk, sk }, Self { into, merge }) = (key, self);
        to_item(RedirectItem { pk, sk, kind: "Redirect".to_owned(), v: 1, into, merge }).map_err(unreadable)
    }

    fn read(item: Item) -> Result<Self, StoreError> {
        let RedirectItem { into, merge, .. } = from_item(item).map_err(unreadable)?;
        Ok(Self { into, merge })
    }
}

/// End users that were asked for by ids, also by ids of merged ones.
#[derive(Default, Debug)]
pub(super) struct Resolved {
    /// The documents as they are now.
    pub documents: BTreeMap<EndUserId, Document>,
    /// The match keys of each document. A large end user's take long to compute.
    pub held: BTreeMap<EndUserId, BTreeSet<MatchKey>>,
    /// The end user that each id stands for; `None` if there is none.
    pub ends: BTreeMap<EndUserId, Option<EndUserId>>,
    /// Where the redirects lead that were followed.
    pub redirects: BTreeMap<EndUserId, EndUserId>,
}

impl Resolved {
    /// The document that an id stands for.
    pub(super) fn end(&self, id: EndUserId) -> Option<&Document> {
        self.documents.get(&(*self.ends.get(&id)?)?)
    }

    /// Whether the end user that an id stands for holds `key`.
    pub(super) fn holds(&self, id: EndUserId, key: &MatchKey) -> bool {
        let end = self.ends.get(&id).copied().flatten();
        end.and_then(|end| self.held.get(&end)).is_some_and(|held| held.contains(key))
    }

    /// The merged end users on the way from an id to its end.
    pub(super) fn redirected(&self, id: EndUserId) -> impl Iterator<Item = EndUserId> {
        let next = |id: &EndUserId| self.redirects.get(id).copied();
        let chain = std::iter::successors(Some(id), next).take_while(|id| self.redirects.contains_key(id));
        // Redirects that were read at different times may form a circle.
        chain.take(MAX_MERGE_DEPTH as usize)
    }

    /// Adds what is known of other ids.
    pub(super) fn extend(&mut self, other: Self) {
        self.documents.extend(other.documents);
        self.held.extend(other.held);
        self.ends.extend(other.ends);
        self.redirects.extend(other.redirects);
    }
}

impl Scope<'_> {
    /// Returns the end user as it is now, or [`ChangeError::Merged`] or [`ChangeError::NotFound`].
    pub async fn end_user(&self, id: EndUserId) -> Result<EndUser, ChangeError> {
        self.existing_document(id).await.map(|document| document.end_user)
    }

    /// The document of an end user as it is now, or [`ChangeError::Merged`] or [`ChangeError::NotFound`].
    pub(super) async fn existing_document(&self, id: EndUserId) -> Result<Document, ChangeError> {
        let survivor = self.survivor(id).await?.ok_or(ChangeError::NotFound)?;
        if survivor.end_user.id == id { Ok(survivor) } else { Err(ChangeError::Merged(survivor.end_user.id)) }
    }

    /// The document of an end user or, if it was merged, of the one that it is part of now.
    pub(super) async fn survivor(&self, id: EndUserId) -> Result<Option<Document>, StoreError> {
        let mut id = id;
        for _ in 0..=MAX_MERGE_DEPTH {
            if let Some(document) = self.document(id).await? {
                return Ok(Some(document));
            }
            match self.redirect(id).await? {
                Some(redirect) => id = redirect.into,
                // The merge may have been undone between the two reads.
                None => return self.document(id).await,
            }
        }
        Ok(None)
    }

    /// The redirect of a merged end user.
    pub(super) async fn redirect(&self, merged: EndUserId) -> Result<Option<Redirect>, StoreError> {
        self.table.get(keys::redirect(&self.tenant, merged)).await?.map(Redirect::read).transpose()
    }

    /// Does for many ids at once what [`Self::survivor`] does for one.
    pub(super) async fn resolve(&self, ids: BTreeSet<EndUserId>) -> Result<Resolved, StoreError> {
        let mut resolved = Resolved::default();
        // Each id with the end user that it led to so far.
        let mut open: BTreeMap<EndUserId, EndUserId> = ids.into_iter().map(|id| (id, id)).collect();
        for _ in 0..=MAX_MERGE_DEPTH {
            self.read_ends(&mut open, &mut resolved).await?;
            if open.is_empty() {
                return Ok(resolved);
            }
            let redirects = self.redirects(open.values().copied().collect()).await?;
            let (merged, mut gone): (BTreeMap<_, _>, BTreeMap<_, _>) =
                open.into_iter().partition(|(_, led_to)| redirects.contains_key(led_to));
            // The merge may have been undone between the two reads.
            self.read_ends(&mut gone, &mut resolved).await?;
            resolved.ends.extend(gone.into_keys().map(|id| (id, None)));
            open = merged.into_iter().map(|(id, led_to)| (id, redirects[&led_to].into)).collect();
            resolved.redirects.extend(redirects.into_iter().map(|(id, redirect)| (id, redirect.into)));
        }
        resolved.ends.extend(open.into_keys().map(|id| (id, None)));
        Ok(resolved)
    }

    /// Reads the documents that ids led to, and removes those ids from `open`.
    async fn read_ends(
        &self,
        open: &mut BTreeMap<EndUserId, EndUserId>,
        resolved: &mut Resolved,
    ) -> Result<(), StoreError> {
        let unread = open.values().copied().filter(|id| !resolved.documents.contains_key(id));
        let documents = self.documents(unread.collect::<BTreeSet<_>>()).await?;
        resolved.held.extend(documents.iter().map(|(id, document)| (*id, document.end_user.keys())));
        resolved.documents.extend(documents);
        open.retain(|id, led_to| {
            let is_found = resolved.documents.contains_key(led_to);
            if is_found {
                resolved.ends.insert(*id, Some(*led_to));
            }
            !is_found
        });
        Ok(())
    }

    /// The redirects of those of `ids` that were merged.
    async fn redirects(&self, ids: BTreeSet<EndUserId>) -> Result<BTreeMap<EndUserId, Redirect>, StoreError> {
        let keys = ids.into_iter().map(|id| keys::redirect(&self.tenant, id)).collect();
        let redirects = self.table.get_all(keys).await?.into_iter();
        redirects.map(|item| Ok((items::read_id(&item, "sk")?, Redirect::read(item)?))).collect()
    }

    /// The documents of those of `ids` that exist, as they are now.
    pub(super) async fn documents(
        &self,
        ids: impl IntoIterator<Item = EndUserId>,
    ) -> Result<BTreeMap<EndUserId, Document>, StoreError> {
        let keys = ids.into_iter().map(|id| keys::end_user(&self.tenant, id)).collect();
        let documents = self.table.get_all(keys).await?.into_iter().map(items::read_document);
        documents.map(|document| document.map(|document| (document.end_user.id, document))).collect()
    }
}
