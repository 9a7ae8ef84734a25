//! Requests that are carried out once: what such a request came to is kept for a day, written in the
//! transaction that carries it out.

use std::time::Duration;

use aws_sdk_dynamodb::types::{AttributeValue, Put, TransactWriteItem};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_dynamo::aws_sdk_dynamodb_1::{from_attribute_value, to_item};

use super::{ChangeError, Scope, StoreError, after, keys, text, unreadable};
use crate::domain::once::Once;

/// How long a request's first answer is given again.
const KEPT: Duration = Duration::from_secs(24 * 60 * 60);

/// What a request came to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Answered<T> {
    /// The answer.
    pub answer: T,
    /// Whether it is that of an earlier request with the same key.
    pub replayed: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct OnceItem<'a, T> {
    pk: String,
    sk: String,
    kind: &'static str,
    v: u32,
    fingerprint: String,
    answer: &'a T,
    /// TTL removes it some time after that; until then it counts as gone.
    expires_at: u64,
}

impl Scope<'_> {
    /// What the request came to when it was carried out; `None` where it has no key, or was not in the
    /// last 24 hours.
    pub(super) async fn first_answer<T: DeserializeOwned>(
        &self,
        once: Option<&Once>,
    ) -> Result<Option<T>, ChangeError> {
        let Some(once) = once else { return Ok(None) };
        let Some(mut item) = self.get(keys::once(&self.tenant, &once.key)).await? else { return Ok(None) };
        let expires = item.get("expiresAt").and_then(|at| at.as_n().ok()?.parse::<u64>().ok());
        if expires.is_none_or(|at| at <= after(Duration::ZERO)) {
            return Ok(None);
        }
        // Another endpoint's answer is of another shape: it is read once it is known to be ours.
        if text(&item, "fingerprint")? != once.fingerprint {
            return Err(ChangeError::KeyReused);
        }
        let answer = item.remove("answer").ok_or_else(|| unreadable("a kept answer without an answer"))?;
        Ok(Some(from_attribute_value(answer).map_err(unreadable)?))
    }

    /// The write that keeps `answer`; it fails where another request with the key was carried out.
    pub(super) fn keep_answer<T: Serialize>(&self, once: &Once, answer: &T) -> Result<TransactWriteItem, StoreError> {
        let key = keys::once(&self.tenant, &once.key);
        let item = OnceItem {
            pk: key.pk,
            sk: key.sk,
            kind: "Once",
            v: 1,
            fingerprint: once.fingerprint.clone(),
            answer,
            expires_at: after(KEPT),
        };
        let put = Put::builder()
            .table_name(self.table())
            .set_item(Some(to_item(item).map_err(unreadable)?))
            .condition_expression("attribute_not_exists(pk) OR expiresAt <= :now")
            .expression_attribute_values(":now", AttributeValue::N(after(Duration::ZERO).to_string()))
            .build();
        Ok(TransactWriteItem::builder().put(put.map_err(unreadable)?).build())
    }
}
