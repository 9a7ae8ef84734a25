//! Requests that are carried out once: what such a request came to is kept for a day, written in the
//! transaction that carries it out.

use std::time::Duration;

use aws_sdk_dynamodb::types::{AttributeValue, Delete, Put, ReturnConsumedCapacity, TransactWriteItem};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_dynamo::aws_sdk_dynamodb_1::{from_attribute_value, to_item};

use super::items::{Document, StoredResponse};
use super::keys::Key;
use super::{ChangeError, Kind, Scope, StoreError, expires_at, keys, primary, text, try_concurrently, unreadable};
use crate::domain::idempotency::IdempotencyKey;
use crate::domain::ids::EndUserId;

/// How long a request's first answer is given again.
const RETENTION: Duration = Duration::from_secs(24 * 60 * 60);

/// What a request came to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Idempotent<T> {
    /// The answer.
    pub answer: T,
    /// Whether it is that of an earlier request with the same key.
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
    answer: &'a T,
    /// TTL removes it some time after that; until then it counts as gone.
    expires_at: u64,
}

impl Scope<'_> {
    /// What the request came to when it was carried out; `None` where it has no key, or was not in the
    /// last 24 hours.
    pub(super) async fn stored_response<T: DeserializeOwned>(
        &self,
        idempotency_key: Option<&IdempotencyKey>,
    ) -> Result<Option<T>, ChangeError> {
        let Some(idempotency_key) = idempotency_key else { return Ok(None) };
        let key = keys::idempotency(&self.tenant, &keys::idempotency_digest(&idempotency_key.key));
        let Some(mut item) = self.get(key).await? else { return Ok(None) };
        let expires = item.get("expiresAt").and_then(|at| at.as_n().ok()?.parse::<u64>().ok());
        if expires.is_none_or(|at| at <= expires_at(Duration::ZERO)) {
            return Ok(None);
        }
        // Another endpoint's answer is of another shape: it is read once it is known to be ours.
        if text(&item, "fingerprint")? != idempotency_key.fingerprint {
            return Err(ChangeError::KeyReused);
        }
        let answer = item.remove("answer").ok_or_else(|| unreadable("a kept answer without an answer"))?;
        Ok(Some(from_attribute_value(answer).map_err(unreadable)?))
    }

    /// The writes that store `answer`, which `document` then remembers; they fail if a response to another request with
    /// the key is stored.
    pub(super) fn store_response<T: Serialize>(
        &self,
        idempotency_key: &IdempotencyKey,
        answer: &T,
        document: &mut Document,
    ) -> Result<Vec<TransactWriteItem>, StoreError> {
        let (digest, until) = (keys::idempotency_digest(&idempotency_key.key), expires_at(RETENTION));
        let Key { pk, sk } = keys::idempotency(&self.tenant, &digest);
        let item = IdempotencyItem {
            pk,
            sk,
            kind: "Idempotency",
            v: 1,
            fingerprint: idempotency_key.fingerprint.clone(),
            end_user: document.end_user.id,
            answer,
            expires_at: until,
        };
        let put = Put::builder()
            .table_name(self.table())
            .set_item(Some(to_item(item).map_err(unreadable)?))
            .condition_expression("attribute_not_exists(pk) OR expiresAt <= :now")
            .expression_attribute_values(":now", AttributeValue::N(expires_at(Duration::ZERO).to_string()))
            .build();
        let mut writes = vec![TransactWriteItem::builder().put(put.map_err(unreadable)?).build()];
        if let Some(oldest) = document.remember(StoredResponse { digest, until }) {
            let key = primary(&keys::idempotency(&self.tenant, &oldest.digest));
            let delete = Delete::builder().table_name(self.table()).set_key(Some(key)).build().map_err(unreadable)?;
            writes.push(TransactWriteItem::builder().delete(delete).build());
        }
        Ok(writes)
    }

    /// Deletes the responses that the deleted document of `end_user` remembered. Idempotent. The follower of the table's
    /// stream does it behind each deletion, so that none stays if the deleting request ends early.
    pub async fn erase_responses(&self, end_user: EndUserId, responses: &[StoredResponse]) -> Result<(), StoreError> {
        let deletions = responses.iter().map(async |response| {
            let request = self
                .client()
                .delete_item()
                .table_name(self.table())
                .set_key(Some(primary(&keys::idempotency(&self.tenant, &response.digest))))
                // The key may be in use again, for a new end user.
                .condition_expression("endUserID = :endUserID")
                .expression_attribute_values(":endUserID", AttributeValue::N(end_user.to_string()))
                .return_consumed_capacity(ReturnConsumedCapacity::Total);
            match self.call(Kind::Write, || request.clone().send()).await {
                Ok(answer) => self.meter.spend(Kind::Write, &answer.consumed_capacity),
                Err(failure) if failure.is_condition_failed() => {}
                Err(failure) => return Err(failure.into()),
            }
            Ok(())
        });
        try_concurrently(deletions).await.map(drop)
    }
}
