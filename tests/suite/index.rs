//! The index of sorted lists and searches: kills, races, slow runs and the largest end users leave exactly the entries
//! of the documents.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use aws_lambda_events::dynamodb;
use aws_sdk_dynamodb::types::AttributeValue;
use serde_json::{Value, json};
use shared::app::App as Functions;
use shared::domain::end_user::{EndUser, EndUserReadDto, EndUserUpdate, PendingEndUser, Precondition, SortField};
use shared::domain::ids::{EndUserId, Tenant};
use shared::domain::page::Page;
use shared::domain::search::Search;
use shared::store::keys::{self, Key};
use shared::store::{Entry, ListOrder, Meter, Scope, entries};
use tests::proxy::{Fault, Plan};

use crate::support::app::App;
use crate::support::functions::{json_of, unwatched};
use crate::support::index::growing_text;
use crate::support::proxied::FaultyApp;

fn deadline() -> Instant {
    Instant::now() + Duration::from_secs(10)
}

fn tenant() -> Tenant {
    Tenant::parse("7").unwrap()
}

fn scope<'a>(functions: &'a Functions, meter: &'a Meter) -> Scope<'a> {
    functions.scope(&tenant(), meter, deadline())
}

/// The keys of all entries in the table.
async fn stored_entries(app: &App) -> BTreeSet<Key> {
    let scan = app.system.client().scan().table_name(app.unwatched_table()).into_paginator().items().send();
    let items = scan.collect::<Result<Vec<_>, _>>().await.unwrap();
    let entries = items.iter().filter(|item| item["kind"].as_s().unwrap() == "Entry");
    let text = |item: &shared::store::Item, name: &str| item[name].as_s().unwrap().clone();
    entries.map(|item| Key { pk: text(item, "pk"), sk: text(item, "sk") }).collect()
}

/// The keys of the entries of an end user.
fn expected_entries(end_user: &EndUser) -> BTreeSet<Key> {
    let key = |entry: &Entry| match entry {
        Entry::Sort(field, collation) => keys::sort_entry(&tenant(), *field, collation, end_user.id),
        Entry::Word(term) => keys::word_entry(&tenant(), term, end_user.id),
    };
    entries(end_user).iter().map(key).collect()
}

#[tokio::test]
async fn concurrent_indexing_converges_to_the_last_document() {
    let app = App::start().await;
    let functions = unwatched(&app).await;
    let meter = Meter::default();
    let db = scope(&functions, &meter);
    let new =
        PendingEndUser::read(&json_of(json!({ "firstname": "Name 0", "uids": [{ "uid": "jane@example.com" }] })), None)
            .unwrap();
    let id = db.create_end_user(&new, None).await.unwrap().value.id;
    for round in 1..=5 {
        let writer = async {
            for n in 0..4 {
                let body =
                    json!({ "firstname": format!("Name {round} {n}"), "city": if n % 2 == 0 { "Gent" } else { "" } });
                db.update_end_user(id, &EndUserUpdate::read(&json_of(body), None).unwrap(), &Precondition::default())
                    .await
                    .unwrap();
            }
        };
        let indexers = futures::future::join_all((0..4).map(|_| db.index_end_users([id])));
        let ((), indexed) = futures::future::join(writer, indexers).await;
        indexed.into_iter().for_each(|result| result.unwrap());
        // The stream's last record follows the last write, and can be delivered while an older indexing still runs.
        let deliveries = futures::future::join_all((0..2).map(|_| db.index_end_users([id]))).await;
        deliveries.into_iter().for_each(|result| result.unwrap());
        let end_user = db.end_user(id).await.unwrap();
        assert_eq!(stored_entries(&app).await, expected_entries(&end_user), "after round {round}");
    }
    db.delete_end_user(id, &Precondition::default()).await.unwrap();
    futures::future::join_all((0..4).map(|_| db.index_end_users([id])))
        .await
        .into_iter()
        .for_each(|result| result.unwrap());
    assert_eq!(stored_entries(&app).await, BTreeSet::new(), "a deleted end user has no entries");
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_indexing_leaves_no_wrong_entry() {
    let faulty = FaultyApp::start(5).await;
    let app = &faulty.app;
    let functions = unwatched(app).await;
    let meter = Meter::default();
    let change = async |id: EndUserId, city: Option<&str>| {
        let update = EndUserUpdate::read(&json_of(json!({ "city": city })), None).unwrap();
        scope(&functions, &meter).update_end_user(id, &update, &Precondition::default()).await.unwrap();
    };
    // The indexing is killed before or after it writes the entries.
    for fault in [Fault::SilentBefore, Fault::SilentAfter] {
        let new = PendingEndUser::read(&json_of(json!({ "firstname": "Jane", "city": "Gent" })), None).unwrap();
        let id = scope(&functions, &meter).create_end_user(&new, None).await.unwrap().value.id;
        let index_and_kill = async || {
            faulty.proxy.script("BatchWriteItem", &[fault]);
            let killed = Duration::from_millis(300);
            tokio::time::timeout(killed, scope(&functions, &meter).index_end_users([id])).await.unwrap_err();
        };
        index_and_kill().await;
        change(id, Some("Antwerpen")).await;
        index_and_kill().await;
        // The first change goes back to the state of the last complete indexing.
        for city in [Some("Gent"), None, Some("Antwerpen")] {
            change(id, city).await;
            scope(&functions, &meter).index_end_users([id]).await.unwrap();
            let end_user = scope(&functions, &meter).end_user(id).await.unwrap();
            assert_eq!(stored_entries(app).await, expected_entries(&end_user), "{fault}, {city:?}");
            change(id, Some("Brugge")).await;
            index_and_kill().await;
        }
        scope(&functions, &meter).delete_end_user(id, &Precondition::default()).await.unwrap();
        index_and_kill().await;
        scope(&functions, &meter).index_end_users([id]).await.unwrap();
        assert_eq!(stored_entries(app).await, BTreeSet::new(), "{fault}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_indexing_of_an_older_document_changes_nothing() {
    let faulty = FaultyApp::start(6).await;
    let app = &faulty.app;
    let functions = unwatched(app).await;
    let meter = Meter::default();
    let change = async |id: EndUserId, city: &str| {
        let update = EndUserUpdate::read(&json_of(json!({ "city": city })), None).unwrap();
        scope(&functions, &meter).update_end_user(id, &update, &Precondition::default()).await.unwrap();
    };
    let new = PendingEndUser::read(&json_of(json!({ "firstname": "Jane", "city": "Gent" })), None).unwrap();
    let id = scope(&functions, &meter).create_end_user(&new, None).await.unwrap().value.id;
    scope(&functions, &meter).index_end_users([id]).await.unwrap();
    change(id, "Brugge").await;
    // The slow indexing has read the index state. Its read of the document, with Brugge, is held back.
    let state = faulty.proxy.hold("BatchGetItem");
    let slow_scope = scope(&functions, &meter);
    let slow = slow_scope.index_end_users([id]);
    let fast = async {
        state.reached().await;
        let document = faulty.proxy.hold("BatchGetItem");
        drop(state);
        document.reached().await;
        change(id, "Gent").await;
        // The index has the entries of Gent, so this indexing writes nothing.
        scope(&functions, &meter).index_end_users([id]).await.unwrap();
        drop(document);
    };
    let (slow, ()) = futures::future::join(slow, fast).await;
    slow.unwrap();
    let end_user = scope(&functions, &meter).end_user(id).await.unwrap();
    assert_eq!(stored_entries(app).await, expected_entries(&end_user));
}

/// A body with all texts and 40 UIDs at their greatest length. Bodies with different `number`s have no word in common.
fn largest_values(number: u32, fill: usize) -> Value {
    const TEXTS: [(&str, usize); 9] = [
        ("firstname", 200),
        ("lastname", 200),
        ("company", 200),
        ("street", 200),
        ("city", 200),
        ("customerRef", 254),
        ("houseNumber", 50),
        ("postalCode", 50),
        ("otherContactDetails", 2_000),
    ];
    let number = |n: usize| number * 100 + n as u32;
    let uid = |n: usize| json!({ "uidType": "Crm", "uid": format!("{}@{}", number(n), growing_text(number(n), 290)) });
    let mut values = json!({ "uids": (0..40).map(uid).collect::<Vec<_>>(), "aiDocumentation": "x".repeat(fill) });
    for (n, (field, length)) in TEXTS.into_iter().enumerate() {
        values[field] = growing_text(number(50 + n), length).into();
    }
    values
}

/// The size of an item as DynamoDB counts it, for items of texts, numbers, flags, lists and maps.
fn item_size(item: &shared::store::Item) -> usize {
    fn value_size(value: &AttributeValue) -> usize {
        match value {
            AttributeValue::S(text) => text.len(),
            AttributeValue::N(number) => number.len() / 2 + 2,
            AttributeValue::L(values) => 3 + values.iter().map(|value| value_size(value) + 1).sum::<usize>(),
            AttributeValue::M(members) => 3 + members.len() + item_size(members),
            AttributeValue::Bool(_) | AttributeValue::Null(_) => 1,
            other => panic!("{other:?}"),
        }
    }
    item.iter().map(|(name, value)| name.len() + value_size(value)).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn largest_change_fits_every_item() {
    let faulty = FaultyApp::start(22).await;
    let app = &faulty.app;
    let functions = unwatched(app).await;
    let meter = Meter::default();
    let scope = || functions.scope(&tenant(), &meter, Instant::now() + Duration::from_secs(60));
    let largest_item = async || {
        let scan = app.system.client().scan().table_name(app.unwatched_table()).into_paginator().items().send();
        let items = scan.collect::<Result<Vec<_>, _>>().await.unwrap();
        items.iter().map(item_size).max().unwrap()
    };
    let size = |end_user: &EndUser| {
        let written = serde_json::to_string(&EndUserReadDto::from(end_user)).unwrap();
        written.bytes().map(|byte| if matches!(byte, b'"' | b'\\') { 2 } else { 1 }).sum::<usize>()
    };
    let new = |number, fill| PendingEndUser::read(&json_of(largest_values(number, fill)), None).unwrap();
    let without = scope().create_end_user(&new(1, 1), None).await.unwrap().value;
    // The ids of the second end user and of its UIDs can be a digit longer.
    let fill = 48_000 - size(&without) - 100;
    let end_user = scope().create_end_user(&new(2, fill), None).await.unwrap().value;
    assert!((47_800..=48_000).contains(&size(&end_user)), "{}", size(&end_user));
    scope().index_end_users([without.id, end_user.id]).await.unwrap();

    let mut change = largest_values(3, fill);
    let removals = end_user.uids.iter().map(|uid| json!({ "endUserUIDID": uid.id.get(), "markAsDeleted": true }));
    change["uids"].as_array_mut().unwrap().extend(removals);
    let update = EndUserUpdate::read(&json_of(change), None).unwrap();
    scope().update_end_user(end_user.id, &update, &Precondition::default()).await.unwrap();
    // The indexing is killed after its claim, which has the entries of both documents.
    faulty.proxy.script("BatchWriteItem", &[Fault::SilentBefore; 16]);
    let killed = Duration::from_millis(500);
    tokio::time::timeout(killed, scope().index_end_users([end_user.id])).await.unwrap_err();
    let largest = largest_item().await;
    assert!((60_000..400 * 1024).contains(&largest), "{largest}");
    faulty.proxy.inject(Plan::default());
    scope().index_end_users([end_user.id]).await.unwrap();
    assert!(largest_item().await < 400 * 1024);

    let documents = [end_user.id, without.id].map(async |id| scope().end_user(id).await.unwrap());
    let expected =
        futures::future::join_all(documents).await.iter().flat_map(expected_entries).collect::<BTreeSet<_>>();
    assert_eq!(stored_entries(app).await, expected);
}

fn record(sequence: &str, id: u32) -> Value {
    json!({ "eventID": sequence, "eventName": "MODIFY", "eventSource": "aws:dynamodb", "awsRegion": "x", "dynamodb": {
        "ApproximateCreationDateTime": 1, "SequenceNumber": sequence, "SizeBytes": 1, "OldImage": {}, "NewImage": {},
        "Keys": { "pk": { "S": "C#7#EndUser" }, "sk": { "S": format!("{id:010}") } } } })
}

fn batch(records: &[Value]) -> dynamodb::Event {
    serde_json::from_value(json!({ "Records": records })).unwrap()
}

#[tokio::test]
async fn batch_resumes_from_the_first_failed_record() {
    let app = App::start().await;
    let functions = unwatched(&app).await;
    let whole = index_end_users::handle(&functions, batch(&[record("1", 1), record("2", 2)]), deadline()).await;
    assert!(whole.batch_item_failures.is_empty());
    app.system.client().delete_table().table_name(app.unwatched_table()).send().await.unwrap();
    let failed = index_end_users::handle(&functions, batch(&[record("3", 1), record("4", 2)]), deadline()).await;
    let failed: Vec<_> = failed.batch_item_failures.iter().map(|f| f.item_identifier.clone().unwrap()).collect();
    assert_eq!(failed, ["3"]);
}

fn record_of(tenant: &str, sequence: usize, id: EndUserId) -> Value {
    let mut record = record(&sequence.to_string(), 0);
    let Key { pk, sk } = keys::end_user(&Tenant::parse(tenant).unwrap(), id);
    record["dynamodb"]["Keys"] = json!({ "pk": { "S": pk }, "sk": { "S": sk } });
    record
}

#[tokio::test(flavor = "multi_thread")]
async fn large_tenant_delays_no_other_tenant() {
    let app = App::start().await;
    let functions = unwatched(&app).await;
    let meter = Meter::default();
    let (large, small) = (Tenant::parse("1").unwrap(), Tenant::parse("2").unwrap());
    let words = |n: usize| (0..100).map(|word| format!("w{n}x{word}")).collect::<Vec<_>>().join(" ");
    let create = async |tenant: &Tenant, body: Value| {
        let new = PendingEndUser::read(&json_of(body), None).unwrap();
        functions.scope(tenant, &meter, deadline()).create_end_user(&new, None).await.unwrap().value.id
    };
    let mut records = Vec::new();
    for n in 0..200 {
        let id = create(&large, json!({ "firstname": "Heavy", "otherContactDetails": words(n) })).await;
        records.push(record_of("1", records.len(), id));
    }
    let id = create(&small, json!({ "firstname": "Plain" })).await;
    records.push(record_of("2", records.len(), id));

    let (mut batch_records, mut invocations) = (&records[..], 0);
    while !batch_records.is_empty() {
        // The function starts no group with less than two seconds left.
        let deadline = Instant::now() + Duration::from_millis(3_500);
        let result = index_end_users::handle(&functions, batch(batch_records), deadline).await;
        let failed = result.batch_item_failures.first().and_then(|failure| failure.item_identifier.clone());
        if invocations == 0 {
            let scope = functions.scope(&small, &meter, Instant::now() + Duration::from_secs(10));
            let order = ListOrder { by: SortField::EndUserId, descending: false };
            let search = Search::parse("plain").unwrap();
            let found = scope.search_end_users(&search, order, Page { number: 1, size: 10 }).await.unwrap();
            let found: Vec<_> = found.end_users.iter().map(|end_user| end_user.id).collect();
            assert_eq!(found, [id], "the small tenant is indexed by the first invocation");
        }
        let next = failed.map_or(records.len(), |sequence| sequence.parse().unwrap());
        let before = records.len() - batch_records.len();
        assert!(next > before, "invocation {invocations} made no progress");
        batch_records = &records[next..];
        invocations += 1;
    }
}
