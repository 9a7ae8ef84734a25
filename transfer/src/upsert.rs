//! A request of an import: the upserts of several rows, and the result of each.

use std::collections::BTreeMap;

use serde::Deserialize;
use shared::domain::end_user::UpsertOutcome;
use shared::domain::input::ValidationErrors;

use crate::api::{Api, AttemptError, Response, is_transient};
use crate::error::Error;
use crate::outcome::RowOutcome;
use crate::queue::{ReadyRow, batch_body};

/// EndUserUpsertManyResultDTO.
#[derive(Deserialize)]
struct Results {
    items: Vec<ItemResult>,
}

/// EndUserUpsertItemDTO.
#[derive(Deserialize)]
struct ItemResult {
    status: u16,
    outcome: Option<UpsertOutcome>,
    #[serde(default)]
    detail: String,
    #[serde(default)]
    errors: BTreeMap<String, Vec<String>>,
    #[serde(default)]
    code: String,
    #[serde(default)]
    conflicts: Vec<ConflictingEndUser>,
}

#[derive(Deserialize)]
struct ConflictingEndUser {
    #[serde(rename = "endUserID")]
    id: u64,
    fields: Vec<String>,
}

/// Upserts the end users of rows that have no identifier in common. Failed requests are repeated, and of a response the
/// failed items. Returns the outcome of each row; an error is the reason why some have none.
pub(crate) async fn upsert(
    api: &Api,
    rows: &[ReadyRow],
    on_retry: impl Fn(&str),
) -> (Vec<Option<RowOutcome>>, Result<(), Error>) {
    let unsent = |row: &ReadyRow| row.body.as_ref().err().cloned().map(RowOutcome::Rejected);
    let mut outcomes: Vec<Option<RowOutcome>> = rows.iter().map(unsent).collect();
    // Without an idempotency key: what an attempt without a response has written, the next attempt finds unchanged. A key
    // would cost a write for each row, also if nothing differs.
    let result = api.retry(on_retry, async || {
        let pending: Vec<usize> = (0..rows.len()).filter(|row| outcomes[*row].is_none()).collect();
        let bodies: Vec<&[u8]> = pending.iter().filter_map(|row| rows[*row].body.as_deref().ok()).collect();
        if bodies.is_empty() {
            return Ok(());
        }
        let response = api.upsert_many(&batch_body(&bodies)).await?;
        let mut transient = None;
        for (row, outcome) in pending.iter().zip(read_outcomes(&response, pending.len())?) {
            match outcome {
                Ok(outcome) => outcomes[*row] = Some(outcome),
                Err(reason) => transient = Some(reason),
            }
        }
        transient.map_or(Ok(()), |reason| Err(AttemptError::Transient { reason, retry_after: None }))
    });
    let result = result.await;
    (outcomes, result)
}

/// The outcome of each of `count` items, or the reason why it has to be repeated.
fn read_outcomes(response: &Response, count: usize) -> Result<Vec<Result<RowOutcome, String>>, AttemptError> {
    let unexpected = || AttemptError::Final(response.unexpected());
    if count == 1 && matches!(response.status, 400 | 413) {
        return Ok(vec![Ok(RowOutcome::Rejected(response.rejection()))]);
    }
    let results: Option<Results> = serde_json::from_slice(&response.body).ok().filter(|_| response.status == 200);
    let items = results.map(|results| results.items).filter(|items| items.len() == count).ok_or_else(unexpected)?;
    let outcome = |(index, item): (usize, ItemResult)| match (item.status, item.outcome) {
        (200 | 201, Some(UpsertOutcome::Created)) => Ok(Ok(RowOutcome::Created { replayed: false })),
        (200 | 201, Some(UpsertOutcome::Updated)) => Ok(Ok(RowOutcome::Updated)),
        (200 | 201, Some(UpsertOutcome::Unchanged)) => Ok(Ok(RowOutcome::Unchanged)),
        (409, _) => Ok(Ok(RowOutcome::Conflict(item.rejection(index)))),
        (400, _) => Ok(Ok(RowOutcome::Rejected(item.rejection(index)))),
        (status, _) if is_transient(status) => Ok(Err(format!("{status} ({})", item.detail))),
        _ => Err(unexpected()),
    };
    items.into_iter().enumerate().map(outcome).collect()
}

impl ItemResult {
    /// The errors of the row, at least one, without the item's path in the request.
    fn rejection(self, index: usize) -> ValidationErrors {
        let Self { status, detail, errors: by_path, code, conflicts, .. } = self;
        let item = format!("endUsers[{index}]");
        let in_row = |path: &str| match path.strip_prefix(&item) {
            Some("") => "body".to_owned(),
            Some(inner) => inner.trim_start_matches('.').to_owned(),
            None => path.to_owned(),
        };
        let mut errors = ValidationErrors::default();
        for (path, messages) in by_path {
            messages.into_iter().for_each(|message| errors.add(in_row(&path), message));
        }
        for ConflictingEndUser { id, fields } in conflicts {
            let message = match code.as_str() {
                "ambiguous_match" => format!("belongs to end user {id}; the row's identifiers name several end users"),
                "different_reference" => format!("end user {id}, which the row names, has another customerRef"),
                _ => format!("conflicts with end user {id}: {detail}"),
            };
            fields.iter().for_each(|field| errors.add(in_row(field), &message));
        }
        if errors.is_empty() {
            errors.add("body", format!("{detail} ({status})"));
        }
        errors
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rejection(item: &str) -> BTreeMap<String, Vec<String>> {
        let item: ItemResult = serde_json::from_str(item).expect("an item");
        item.rejection(3).as_map().clone()
    }

    #[test]
    fn rejected_item_has_the_paths_of_its_row() {
        for (item, path, message) in [
            (r#"{"status":400,"errors":{"endUsers[3].uids[0].uid":["is bad"]}}"#, "uids[0].uid", "is bad"),
            (r#"{"status":400,"errors":{"endUsers[3]":["is bad"]}}"#, "body", "is bad"),
            (r#"{"status":400,"detail":"is bad","errors":{}}"#, "body", "is bad (400)"),
            (r#"{"status":409,"code":"ids_exhausted","detail":"no ids"}"#, "body", "no ids (409)"),
            (
                r#"{"status":409,"code":"new","detail":"why","conflicts":[{"endUserID":7,"fields":["endUsers[3].customerRef"]}]}"#,
                "customerRef",
                "conflicts with end user 7: why",
            ),
        ] {
            assert_eq!(rejection(item), BTreeMap::from([(path.to_owned(), vec![message.to_owned()])]), "{item}");
        }
    }

    #[test]
    fn conflict_names_each_end_user_and_field() {
        let item = r#"{"status":409,"code":"ambiguous_match","conflicts":[
            {"endUserID":7,"fields":["endUsers[3].uids[0].uid","endUsers[3].customerRef"]},
            {"endUserID":9,"fields":["endUsers[3].uids[0].uid"]}]}"#;
        let found = rejection(item);
        let start =
            |path: &str| found[path].iter().map(|text| text.split(';').next().unwrap_or("")).collect::<Vec<_>>();
        assert_eq!(start("uids[0].uid"), ["belongs to end user 7", "belongs to end user 9"]);
        assert_eq!(start("customerRef"), ["belongs to end user 7"]);
    }
}
