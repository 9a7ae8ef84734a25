//! Pages far from the start of a list: found by counted blocks, at a flat price.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use aws_sdk_dynamodb::types::{AttributeValue, PutRequest, WriteRequest};
use serde_json::{Value, json};
use shared::domain::end_user::{Draft, EndUser, SortField};
use shared::domain::ids::{EndUserId, Tenant, UidId};
use shared::domain::input::Json;
use shared::store::keys::{self, BlockSize, FIRST_BLOCK, Key};
use shared::store::{Item, Meter, person_items, tenant_items};

use crate::app::{App, Caller, ids};
use crate::budgets::{person, unwatched};

fn tenant() -> Tenant {
    Tenant::parse("7").unwrap()
}

fn draft(body: Value) -> Draft {
    Draft::read(&Json::parse(body.to_string().as_bytes()).unwrap(), None).unwrap()
}

fn key_of(item: &Item) -> Key {
    let text = |name: &str| item[name].as_s().unwrap().clone();
    Key { pk: text("pk"), sk: text("sk") }
}

fn number(item: &Item, name: &str) -> u64 {
    item[name].as_n().unwrap().parse().unwrap()
}

fn kind(item: &Item) -> &str {
    item["kind"].as_s().unwrap()
}

/// All items of a table.
async fn items(app: &App, table: &str) -> Vec<Item> {
    let scan = app.local.client().scan().table_name(table).into_paginator().items().send();
    scan.collect::<Result<Vec<_>, _>>().await.unwrap()
}

/// Writes items past the API.
async fn load(app: &App, items: Vec<Item>) {
    let writes = items.into_iter().map(|item| {
        WriteRequest::builder().put_request(PutRequest::builder().set_item(Some(item)).build().unwrap()).build()
    });
    let writes: Vec<_> = writes.collect();
    let calls = writes.chunks(25).map(|chunk| {
        let call = app.local.client().batch_write_item().request_items(app.local.table(), chunk.to_vec());
        async move { assert!(call.send().await.unwrap().unprocessed_items.is_none_or(|left| left.is_empty())) }
    });
    let calls: Vec<_> = calls.collect();
    for some in futures::stream::StreamExt::collect::<Vec<_>>(futures::stream::StreamExt::chunks(
        futures::stream::iter(calls),
        16,
    ))
    .await
    {
        futures::future::join_all(some).await;
    }
}

#[tokio::test]
async fn what_loading_in_bulk_writes_is_what_creating_and_indexing_leaves() {
    let app = App::start().await;
    let functions = unwatched(&app).await;
    let meter = Meter::default();
    let scope = functions.scope(&tenant(), &meter, Instant::now() + Duration::from_secs(10));
    let (mut loaded, mut uids) = (BTreeMap::new(), 0);
    for i in 1..=3 {
        let created = scope.create_end_user(&draft(person(i)), None).await.unwrap().answer;
        scope.index_end_users([created.id]).await.unwrap();
        uids += created.uids.len() as u32;
        loaded.extend(person_items(&tenant(), &created).unwrap().into_iter().map(|item| (key_of(&item), item)));
    }
    loaded.extend(tenant_items(&tenant(), 3, uids).into_iter().map(|item| (key_of(&item), item)));
    // Which of its shards holds the count is left to chance.
    let count = |items: &mut BTreeMap<Key, Item>| {
        let counts: Vec<_> = items.extract_if(.., |_, item| kind(item) == "Count").map(|(_, item)| item).collect();
        counts.iter().map(|item| number(item, "people")).sum::<u64>()
    };
    let mut left: BTreeMap<_, _> =
        items(&app, &app.unwatched_table()).await.into_iter().map(|item| (key_of(&item), item)).collect();
    assert_eq!((count(&mut left), count(&mut loaded)), (3, 3));
    assert_eq!(left, loaded);
}
