//! Stored responses for idempotency keys (docs/api.md, Idempotency). A response is written in the transaction that
//! applies its request.

use std::collections::BTreeMap;
use std::time::Duration;

use aws_sdk_dynamodb::types::TransactWriteItem;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_dynamo::aws_sdk_dynamodb_1::{from_attribute_value, to_item};

use super::Scope;
use super::error::{ChangeError, StoreError, unreadable};
use super::items::{Document, Item, StoredResponse, expires_at, now, text};
use super::keys::{self, Key};
use super::query::Query;
use super::table::{delete_action, number, put_action, try_concurrently};
use crate::domain::idempotency::IdempotencyKey;
use crate::domain::ids::EndUserId;

/// How long a response is stored.
pub(super) const RETENTION: Duration = Duration::from_secs(24 * 60 * 60);

/// The result of a request that may have an idempotency key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Idempotent<T> {
    /// The result.
    pub value: T,
    /// Whether it is the stored result of an earlier request with the same key.
    pub replayed: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct IdempotencyItem<'a, T> {
    pk: String,
    sk: String,
    kind: &'static str,
    v: u32,
    fingerprint: String,
    #[serde(rename = "endUserID")]
    end_user: EndUserId,
    response: &'a T,
    /// DynamoDB's TTL deletes the item some time later. Readers ignore it from this time on.
    expires_at: u64,
}

impl Scope<'_> {
    /// The response that is stored for the key. `None` without a key, or if none was stored in the last 24 hours.
    pub(super) async fn stored_response<T: DeserializeOwned>(
        &self,
        idempotency_key: Option<&IdempotencyKey>,
    ) -> Result<Option<T>, ChangeError> {
        let Some(idempotency_key) = idempotency_key else { return Ok(None) };
        if idempotency_key.item.is_none() {
            return Ok(self.stored_responses(idempotency_key).await?.remove("-"));
        }
        let digest = keys::idempotency_digest(&idempotency_key.key);
        let item = self.table.get(keys::idempotency(&self.tenant, &digest, idempotency_key.item)).await?;
        item.map_or(Ok(None), |item| read_response(item, idempotency_key))
    }

    /// The responses that are stored for the key and the items of its request, by sort key.
    async fn stored_responses<T: DeserializeOwned>(
        &self,
        idempotency_key: &IdempotencyKey,
    ) -> Result<BTreeMap<String, T>, ChangeError> {
        let digest = keys::idempotency_digest(&idempotency_key.key);
        let query = Query::table(keys::idempotency_partition(&self.tenant, &digest)).strong();
        let mut responses = BTreeMap::new();
        for item in self.table.query(query).await? {
            let sort_key = text(&item, "sk")?.to_owned();
            responses.extend(read_response(item, idempotency_key)?.map(|response| (sort_key, response)));
        }
        Ok(responses)
    }

    /// The responses that are stored for items of the key's request, by number. Empty without a key.
    pub async fn stored_item_responses<T: DeserializeOwned>(
        &self,
        idempotency_key: Option<&IdempotencyKey>,
    ) -> Result<BTreeMap<u32, T>, ChangeError> {
        let Some(idempotency_key) = idempotency_key else { return Ok(BTreeMap::new()) };
        let responses = self.stored_responses(idempotency_key).await?.into_iter();
        Ok(responses.filter_map(|(sort_key, response)| Some((sort_key.parse().ok()?, response))).collect())
    }

    /// The stored response instead of an error, if there is one: a concurrent request with the same key may have been
    /// applied after this request looked for its response and before it read the end users.
    pub(super) async fn stored_or<T: DeserializeOwned>(
        &self,
        idempotency_key: Option<&IdempotencyKey>,
        result: Result<Idempotent<T>, ChangeError>,
    ) -> Result<Idempotent<T>, ChangeError> {
        match result {
            Ok(_) | Err(ChangeError::Store(_) | ChangeError::KeyReused) => result,
            Err(_) => match self.stored_response(idempotency_key).await? {
                Some(value) => Ok(Idempotent { value, replayed: true }),
                None => result,
            },
        }
    }

    /// Returns the writes that store `response`, and lists it in `document`; without a key there are none. The writes
    /// fail if a response to another request with the same key is stored.
    pub(super) fn store_response<T: Serialize>(
        &self,
        idempotency_key: Option<&IdempotencyKey>,
        response: &T,
        document: &mut Document,
    ) -> Result<Vec<TransactWriteItem>, StoreError> {
        let Some(idempotency_key) = idempotency_key else { return Ok(Vec::new()) };
        let (digest, until) = (keys::idempotency_digest(&idempotency_key.key), expires_at(RETENTION));
        let Key { pk, sk } = keys::idempotency(&self.tenant, &digest, idempotency_key.item);
        let item = IdempotencyItem {
            pk,
            sk,
            kind: "Idempotency",
            v: 1,
            fingerprint: idempotency_key.fingerprint.clone(),
            end_user: document.end_user.id,
            response,
            expires_at: until,
        };
        let put = self
            .table
            .put(to_item(item).map_err(unreadable)?)
            .condition_expression("attribute_not_exists(pk) OR expiresAt <= :now")
            .expression_attribute_values(":now", number(now()));
        let mut writes = vec![put_action(put)?];
        if let Some(oldest) =
            document.add_response(StoredResponse { digest, item: idempotency_key.item, of: None, until })
        {
            let key = keys::idempotency(&self.tenant, &oldest.digest, oldest.item);
            writes.push(delete_action(self.table.delete(&key))?);
        }
        Ok(writes)
    }

    /// Deletes the responses that the deleted document of `end_user` listed. Idempotent.
    pub(super) async fn erase_responses(
        &self,
        end_user: EndUserId,
        responses: &[StoredResponse],
    ) -> Result<(), StoreError> {
        let deletions = responses.iter().map(async |response| {
            let key = keys::idempotency(&self.tenant, &response.digest, response.item);
            // The key may be in use again, for a new end user.
            self.table
                .delete_if(&key, "endUserID = :endUserID", (":endUserID", number(response.of.unwrap_or(end_user))))
                .await
        });
        try_concurrently(deletions).await.map(drop)
    }
}

/// Reads a stored response; `None` if it has expired. Fails if it is the response to another request.
fn read_response<T: DeserializeOwned>(
    mut item: Item,
    idempotency_key: &IdempotencyKey,
) -> Result<Option<T>, ChangeError> {
    let expires = item.get("expiresAt").and_then(|at| at.as_n().ok()?.parse::<u64>().ok());
    if expires.is_none_or(|at| at <= now()) {
        return Ok(None);
    }
    // The fingerprint is compared first, because a response of another endpoint has another shape.
    if text(&item, "fingerprint")? != idempotency_key.fingerprint {
        return Err(ChangeError::KeyReused);
    }
    let response = item.remove("response").ok_or_else(|| unreadable("an idempotency item without a response"))?;
    Ok(Some(from_attribute_value(response).map_err(unreadable)?))
}
