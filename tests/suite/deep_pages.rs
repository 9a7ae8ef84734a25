//! Pages beyond the first 1,000 rows: found through a rank index, at a constant cost (ARCHITECTURE.md, Far pages and
//! searches).

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use aws_sdk_dynamodb::types::{PutRequest, WriteRequest};
use futures::StreamExt;
use serde_json::{Value, json};
use shared::domain::end_user::{PendingEndUser, SortField};
use shared::domain::ids::{EndUserId, Tenant};
use shared::domain::input::Json;
use shared::domain::page::Page;
use shared::domain::profile::Field;
use shared::store::keys::{self, BlockSize, FIRST_BLOCK, Key};
use shared::store::{Item, ListOrder, Meter, end_user_items, tenant_items};
use tests::proxy::{Fault, Plan};

use crate::support::app::{App, Caller, Response, ids};
use crate::support::functions::{end_user, unwatched};
use crate::support::index::name_that_starts;

fn tenant() -> Tenant {
    Tenant::parse("7").unwrap()
}

fn new_end_user(body: Value) -> PendingEndUser {
    PendingEndUser::read(&Json::parse(body.to_string().as_bytes()).unwrap(), None).unwrap()
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
    let scan = app.system.client().scan().table_name(table).into_paginator().items().send();
    scan.collect::<Result<Vec<_>, _>>().await.unwrap()
}

/// Writes `count` end users directly into the table with a polled stream. They have one of seven values of
/// `firstname` and a `customerRef` of their own.
async fn load(app: &App, count: u32) {
    let mut items = tenant_items(&tenant(), count, 0);
    for id in 1..=count {
        let body =
            json!({ "firstname": format!("First{}", id % 7), "customerRef": format!("R{}", id * 7919 % 10_007) });
        let end_user = new_end_user(body).save(EndUserId::new(id.into()).unwrap(), 1, []).unwrap();
        items.extend(end_user_items(&tenant(), &end_user).unwrap());
    }
    let writes = items.into_iter().map(|item| {
        let put = PutRequest::builder().set_item(Some(item)).build().unwrap();
        WriteRequest::builder().put_request(put).build()
    });
    let writes: Vec<_> = writes.collect();
    let write = async |chunk: &[WriteRequest]| {
        let call = app.system.client().batch_write_item().request_items(app.system.table(), chunk.to_vec());
        let left = call.send().await.unwrap().unprocessed_items;
        assert!(left.is_none_or(|left| left.is_empty()));
    };
    futures::stream::iter(writes.chunks(25)).for_each_concurrent(8, write).await;
    app.settle().await;
}

/// The number of entries of each block of an order, by block size and start.
type BlockCounts = BTreeMap<(u32, String), u64>;

/// The blocks of one order: those in the table, and those that follow from its entries.
fn blocks(items: &[Item], field: SortField) -> (BlockCounts, BlockCounts) {
    let (mut stored, mut expected) = (BlockCounts::new(), BlockCounts::new());
    for size in [BlockSize::Small, BlockSize::Large] {
        let partition = keys::rank_blocks(&tenant(), field, size);
        for block in items.iter().filter(|item| item["pk"].as_s().unwrap() == &partition) {
            stored.insert((size as u32, key_of(block).sk), number(block, "n"));
        }
        let partition = keys::sort_entries(&tenant(), field);
        let entries = items.iter().map(key_of).filter(|key| key.pk == partition).map(|key| key.sk);
        let mut start = FIRST_BLOCK.to_owned();
        for entry in entries.collect::<BTreeSet<_>>() {
            start = keys::block_start(field, size, &entry).unwrap_or(start);
            *expected.entry((size as u32, start.clone())).or_default() += 1;
        }
    }
    stored.retain(|_, n| *n > 0);
    (stored, expected)
}

/// The responses of an order's pages beyond its first 1,000 rows, with `size` rows a page.
async fn deep_pages(caller: &Caller<'_>, order: &str, size: u64, total: u64) -> Vec<Response> {
    let pages = 1_000 / size + 2..=total.div_ceil(size) + 1;
    let queries = pages.map(|number| format!("/api/EndUsers?pageSize={size}&pageNumber={number}&{order}"));
    let mut responses = Vec::new();
    for query in queries {
        responses.push(caller.get(&query).await);
    }
    responses
}

#[tokio::test(flavor = "multi_thread")]
async fn ranked_pages_equal_scanned_pages_and_cost_less() {
    let app = App::start().await;
    load(&app, 1_500).await;
    let caller = app.tenant(7);
    for order in ["sortBy=firstname", "sortBy=gender", "sortBy=customerRef", "sortBy=endUserID"] {
        for direction in ["asc", "desc"] {
            let order = format!("{order}&sortOrder={direction}");
            // The first far page is found by a scan and starts the build of the rank index.
            let mut scanned = Vec::new();
            for page in 1..=16 {
                scanned.extend(caller.list(&format!("pageSize=100&pageNumber={page}&{order}")).await);
            }
            assert_eq!(BTreeSet::from_iter(&scanned).len(), 1_500, "{order}");
            app.settle().await;
            for size in [7, 100] {
                let mut rows = Vec::new();
                for response in deep_pages(&caller, &order, size, 1_500).await {
                    let (rtt, rru, _) = response.cost();
                    let (trips, reads) = if order.contains("endUserID") {
                        (3.0, 24.0 + size as f64 / 4.0)
                    } else {
                        (4.0, 24.0 + size as f64)
                    };
                    assert!(rtt <= trips && rru <= reads, "{}: rtt={rtt} rru={rru}", response.request);
                    let page = response.expect(200);
                    assert_eq!(page["totalCount"], 1_500);
                    rows.extend(ids(&page["items"]));
                }
                let before = (1_000 / size + 1) * size;
                assert_eq!(rows, scanned[before as usize..], "{order}, {size}");
            }
        }
    }
    let items = items(&app, app.system.table()).await;
    for field in [SortField::EndUserId, SortField::Field(Field::Firstname), SortField::Field(Field::CustomerRef)] {
        let (stored, expected) = blocks(&items, field);
        assert_eq!(stored, expected, "{field:?}");
        assert!(stored.len() > 15, "{stored:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn far_page_resumes_an_abandoned_rank_build() {
    let app = App::start().await;
    load(&app, 1_100).await;
    let caller = app.tenant(7);
    let field = SortField::Field(Field::Firstname);
    let item = crate::support::index::unfinished_count(&tenant(), field, 1);
    app.system.client().put_item().table_name(app.system.table()).set_item(Some(item)).send().await.unwrap();
    let far = async || caller.list("sortBy=firstname&pageNumber=105").await;
    let rows = far().await;
    assert_eq!(rows.len(), 10);
    app.settle().await;
    let (stored, expected) = blocks(&items(&app, app.system.table()).await, field);
    assert_eq!(stored, expected);
    assert!(stored.len() > 10, "{stored:?}");
    assert_eq!(far().await, rows);
}

#[tokio::test(flavor = "multi_thread")]
async fn block_changes_leave_no_page_empty() {
    let faulty = crate::support::proxied::FaultyApp::start(8).await;
    let app = &faulty.app;
    load(app, 1_300).await;
    let caller = app.tenant(7);
    let far = async || caller.list("sortBy=firstname&pageNumber=115").await;
    far().await;
    app.settle().await;
    let id = json!(700);
    let starting = name_that_starts(BlockSize::Large, EndUserId::new(700).unwrap());
    // Puts take up to 100 ms and overtake each other.
    faulty.proxy.inject(Plan { faults: vec![(Fault::Slow, 1.0)], reads: 0.0, only: None });
    let writer = async {
        for round in 0..6 {
            let name = if round % 2 == 0 { starting.as_str() } else { "First3" };
            caller.update(&id, json!({ "firstname": name })).await;
            app.settle().await;
        }
    };
    let mut writer = std::pin::pin!(writer);
    let mut pages = 0;
    loop {
        let page = std::pin::pin!(far());
        match futures::future::select(writer.as_mut(), page).await {
            futures::future::Either::Left(_) => break,
            futures::future::Either::Right((rows, _)) => {
                // The renamed end user can be on another page, or on none while its entries are written.
                assert!(rows.len() >= 9, "{rows:?} on page {pages}");
                pages += 1;
            }
        }
    }
    assert!(pages > 10, "{pages}");
}

#[tokio::test(flavor = "multi_thread")]
async fn rank_blocks_stay_exact_under_writes() {
    let app = App::start().await;
    load(&app, 1_100).await;
    let caller = app.tenant(7);
    for order in ["firstname", "endUserID", "city", "customerRef"] {
        caller.get(&format!("/api/EndUsers?pageNumber=102&pageSize=10&sortBy={order}")).await.expect(200);
    }
    // The first round runs during the build of the rank indexes, the others after it.
    for round in [0, 1, 0] {
        let write = async |i: u32| {
            let id = json!(i * 5 + round + 1);
            match i % 4 {
                0 => drop(caller.create(json!({ "firstname": format!("New{}", i % 3), "city": "Gent" })).await),
                1 => {
                    // Some entries start a block.
                    let size = if i % 8 == 1 { BlockSize::Small } else { BlockSize::Large };
                    let starting = name_that_starts(size, EndUserId::new(id.as_u64().unwrap()).unwrap());
                    let name = if i % 3 == round { "Changed".to_owned() } else { starting };
                    caller.update(&id, json!({ "firstname": name, "city": "Brugge" })).await
                }
                2 => drop(caller.delete(&format!("/api/EndUsers/{id}")).await),
                _ => caller.update(&id, json!({ "customerRef": null })).await,
            }
        };
        futures::stream::iter(0..200).for_each_concurrent(8, write).await;
        app.settle().await;
        let items = items(&app, app.system.table()).await;
        let city = SortField::Field(Field::City);
        for field in
            [SortField::Field(Field::Firstname), SortField::Field(Field::CustomerRef), SortField::EndUserId, city]
        {
            let (stored, expected) = blocks(&items, field);
            assert_eq!(stored, expected, "{field:?}, round {round}");
        }
    }
}

#[tokio::test]
async fn bulk_load_writes_the_same_items_as_requests() {
    let app = App::start().await;
    let functions = unwatched(&app).await;
    let meter = Meter::default();
    let scope = functions.scope(&tenant(), &meter, Instant::now() + Duration::from_secs(10));
    let (mut loaded, mut uids) = (BTreeMap::new(), 0);
    for i in 1..=3 {
        let created = scope.create_end_user(&new_end_user(end_user(i)), None).await.unwrap().value;
        scope.index_end_users([created.id]).await.unwrap();
        uids += created.uids.len() as u32;
        loaded.extend(end_user_items(&tenant(), &created).unwrap().into_iter().map(|item| (key_of(&item), item)));
    }
    loaded.extend(tenant_items(&tenant(), 3, uids).into_iter().map(|item| (key_of(&item), item)));
    // The counter shard is random.
    let count = |items: &mut BTreeMap<Key, Item>| {
        let counts: Vec<_> = items.extract_if(.., |_, item| kind(item) == "Count").map(|(_, item)| item).collect();
        counts.iter().map(|item| number(item, "endUsers")).sum::<u64>()
    };
    let mut left: BTreeMap<_, _> =
        items(&app, &app.unwatched_table()).await.into_iter().map(|item| (key_of(&item), item)).collect();
    assert_eq!((count(&mut left), count(&mut loaded)), (3, 3));
    assert_eq!(left, loaded);
}

#[tokio::test(flavor = "multi_thread")]
async fn far_page_by_id_includes_unindexed_end_users() {
    let app = App::start().await;
    let functions = unwatched(&app).await;
    let meter = Meter::default();
    let scope = || functions.scope(&tenant(), &meter, Instant::now() + Duration::from_secs(60));
    for i in 1..=1_140 {
        let created =
            scope().create_end_user(&new_end_user(json!({ "firstname": format!("{i}") })), None).await.unwrap();
        assert_eq!(created.value.id.get(), i);
    }
    let page = async |number: u32, descending: bool| {
        let order = ListOrder { by: SortField::EndUserId, descending };
        let listed = scope().list_end_users(order, Page { number, size: 50 }).await.unwrap();
        assert_eq!(listed.total, 1_140);
        listed.end_users.iter().map(|end_user| end_user.id.get()).collect::<Vec<_>>()
    };
    // The last end users and some before them are not indexed yet.
    let late = |id: &u32| [1_005, 1_006, 1_049].contains(id) || *id > 1_090;
    let (late, early): (Vec<u32>, Vec<u32>) = (1..=1_140).partition(late);
    let index = async |ids: &[u32]| {
        for ids in ids.chunks(100) {
            scope().index_end_users(ids.iter().filter_map(|id| EndUserId::new((*id).into()))).await.unwrap();
        }
    };
    index(&early).await;
    for is_ranked in [false, true] {
        if is_ranked {
            scope().start_build(SortField::EndUserId).await.unwrap();
            scope().build_next(SortField::EndUserId).await.unwrap();
        }
        // End users that are not indexed shift the start of a page, and are on it.
        let first = page(22, false).await;
        let shift = first[0] - 1_051;
        assert!(shift <= 3, "{first:?}");
        assert_eq!(first, (1_051 + shift..1_101 + shift).collect::<Vec<_>>(), "{is_ranked}");
        assert_eq!(page(23, false).await, (1_101..=1_140).collect::<Vec<_>>(), "{is_ranked}");
        let last = page(22, true).await;
        assert_eq!(last, (1..=last[0]).rev().take(50).collect::<Vec<_>>(), "{is_ranked}");
        assert_eq!(page(23, true).await, (1..=40).rev().collect::<Vec<_>>(), "{is_ranked}");
    }
    index(&late).await;
    assert_eq!(page(22, false).await, (1_051..=1_100).collect::<Vec<_>>());
    assert_eq!(page(22, true).await, (41..=90).rev().collect::<Vec<_>>());
}
