//! An import that creates an end user per row.

use shared::domain::input::ValidationErrors;

use crate::api::Api;
use crate::error::Error;
use crate::outcome::RowOutcome;
use crate::queue::ReadyRow;

/// The most times that a deleted end user is created again, within the 24 hours of an idempotency key.
const MAX_DELETIONS: u32 = 10;

/// Creates the end users of rows, each once within 24 hours: its idempotency key consists of the file's `digest` and the
/// row's number. Returns the outcome of each row; an error is the reason why some have none.
pub(crate) async fn create(
    api: &Api,
    rows: &[ReadyRow],
    digest: &str,
    restarted: bool,
    on_retry: impl Fn(&str),
) -> (Vec<Option<RowOutcome>>, Result<(), Error>) {
    let mut outcomes = Vec::new();
    for ReadyRow { row, body, .. } in rows {
        // Not the line: several rows can have the same line number.
        let key = format!("import-{digest}-{}", row.number);
        let outcome = match body {
            Ok(body) => create_one(api, &key, body, restarted, &on_retry).await,
            Err(errors) => Ok(RowOutcome::Rejected(errors.clone())),
        };
        match outcome {
            Ok(outcome) => outcomes.push(Some(outcome)),
            Err(error) => return (outcomes, Err(error)),
        }
    }
    (outcomes, Ok(()))
}

/// Creates an end user. If the API replays an earlier response and that end user was deleted since, an import that was
/// `restarted` creates a new one.
async fn create_one(
    api: &Api,
    key: &str,
    body: &[u8],
    restarted: bool,
    on_retry: impl Fn(&str),
) -> Result<RowOutcome, Error> {
    let mut current = key.to_owned();
    for _ in 0..MAX_DELETIONS {
        let response = api.create(&current, body, &on_retry).await?;
        match response.status {
            201 if restarted && response.replayed => match response.end_user_id() {
                // The next key is derived from the deleted id, so that a killed import uses the same key again.
                Some(id) if !api.has_end_user(id, &on_retry).await? => current = format!("{key}-{id}"),
                _ => return Ok(RowOutcome::Created { replayed: true }),
            },
            201 => return Ok(RowOutcome::Created { replayed: response.replayed }),
            400 | 413 | 422 => return Ok(RowOutcome::Rejected(response.rejection())),
            _ => return Err(response.unexpected()),
        }
    }
    Ok(RowOutcome::Rejected(ValidationErrors::single(
        "body",
        format!("the end user was created and deleted {MAX_DELETIONS} times within a day"),
    )))
}
