//! The command for index check and repair, and test data for the index.

use std::collections::{BTreeMap, HashMap};
use std::sync::Mutex;

use aws_sdk_dynamodb::types::AttributeValue;
use shared::domain::end_user::SortField;
use shared::domain::ids::{EndUserId, Tenant};
use shared::domain::profile::Field;
use shared::domain::text;
use shared::store::keys::{self, BlockSize, Key};
use shared::store::{Check, Item};

use super::app::App;

/// Runs `index check` or `index repair` for tenant 7 of a running system; returns the result and the printed report.
pub async fn command(app: &App, repair: bool) -> (Check, String) {
    let variables = HashMap::from([("TABLE_NAME".to_owned(), app.system.table().to_owned())]);
    let location = local::table::TableLocation::Endpoint(app.system.engine_url().to_owned());
    let check = local::index::check(location, &variables, "7", repair).await.unwrap();
    let report = local::index::report(&check, repair);
    (check, report)
}

/// A `RankIndex` item whose build stopped at `updated_at`, in seconds. Its kind does not pass the stream's filter.
pub fn unfinished_count(tenant: &Tenant, field: SortField, updated_at: u64) -> Item {
    let Key { pk, sk } = keys::rank_index(tenant, field);
    let text = |text: &str| AttributeValue::S(text.to_owned());
    let number = |number: u64| AttributeValue::N(number.to_string());
    let members = [
        ("pk", text(&pk)),
        ("sk", text(&sk)),
        ("kind", text("Unfinished")),
        ("v", number(1)),
        ("rev", number(1)),
        ("ready", AttributeValue::Bool(false)),
        ("updatedAt", number(updated_at)),
    ];
    members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// A first name whose sort key starts a rank block of this size. Few names do.
pub fn name_that_starts(size: BlockSize, id: EndUserId) -> String {
    static KNOWN: Mutex<BTreeMap<(u32, EndUserId), String>> = Mutex::new(BTreeMap::new());
    let field = SortField::Field(Field::Firstname);
    let starts = |name: &String| {
        let sk = format!("{}#{}", text::sort_key(name), keys::padded(id));
        keys::block_start(field, size, &sk).is_some()
    };
    let find = || (0..).map(|n| format!("N{n}")).find(starts).unwrap();
    KNOWN.lock().unwrap().entry((size as u32, id)).or_insert_with(find).clone()
}

/// A text of `length` characters whose words grow sixfold under NFKD. Texts of different numbers share no word.
pub fn growing_text(number: u32, length: usize) -> String {
    let words = (0..).map(|n| format!("{number}x{n}{} ", "㌖".repeat(30)));
    let text: String =
        words.take(1 + length / 30).flat_map(|word| word.chars().collect::<Vec<_>>()).take(length).collect();
    text.trim_end().to_owned()
}
