//! Concurrent writers in one tenant, on a database that cancels a transaction on an item of another one in progress, as
//! DynamoDB does (docs/reliability.md, Faults below).

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use futures::future::{join, join_all};
use serde_json::{Value, json};
use shared::domain::end_user::{EndUserUpsert, PendingEndUser};
use shared::domain::idempotency::IdempotencyKey;
use shared::domain::ids::{EndUserId, Tenant};
use shared::domain::input::Json;
use shared::domain::uid::MatchKey;
use shared::store::{ChangeError, Meter, StoreError, keys};
use tests::proxy::{Fault, Plan};

use crate::support::app::{Caller, Response, built_functions, ids};
use crate::support::functions::{json_of, over_unwatched, over_unwatched_with, until_killed, unwatched};
use crate::support::index;
use crate::support::index::growing_text;
use crate::support::proxied::{FaultyApp, NOTHING, UNKNOWN};

const END_USERS: &str = "/api/EndUsers";
const WRITERS: u64 = 16;

/// A system with transactions of 8 ms that conflict.
async fn contended(seed: u64) -> FaultyApp {
    let faulty = FaultyApp::start(seed).await;
    faulty.proxy.enforce_conflicts(Duration::from_millis(8));
    faulty
}

fn conflicts(faulty: &FaultyApp) -> u64 {
    faulty.proxy.injected().1.get(&Fault::Conflict).copied().unwrap_or_default()
}

/// Creates end users one after another and returns them. Asserts that no create needs many retries.
async fn create(tenant: &Caller<'_>, writer: u64, end_users: u64) -> Vec<Value> {
    let mut created = Vec::new();
    for n in 0..end_users {
        let mut body = json!({
            "firstname": format!("Writer {writer}"), "lastname": format!("Person {}", n % 7),
            "customerRef": format!("{writer}/{n}"), "uids": [{ "uid": format!("w{writer}n{n}@x.be") }],
        });
        if n % 10 == 9 {
            // More words than a search covers.
            body["otherContactDetails"] = growing_text((writer * end_users + n) as u32, 2_000).into();
        }
        let response = tenant.post(END_USERS, body).await;
        let (round_trips, _, _) = response.cost();
        assert!(round_trips <= 10.0, "a create of writer {writer} took {round_trips} round trips");
        created.push(response.expect(201));
    }
    created
}

/// The ids on all pages of a list, ascending. Asserts that every page says `total` rows.
async fn list_all(tenant: &Caller<'_>, order: &str, total: usize) -> Vec<u64> {
    let mut listed = Vec::new();
    for number in 1.. {
        let page = tenant.get(&format!("{END_USERS}?pageSize=33&pageNumber={number}&{order}")).await.expect(200);
        assert_eq!(page["totalCount"], total, "{order}, page {number}");
        let rows = ids(&page["items"]);
        if rows.is_empty() {
            break;
        }
        listed.extend(rows);
    }
    listed.sort_unstable();
    listed
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_creates_are_all_kept_and_counted() {
    let faulty = contended(8).await;
    let tenant = faulty.app.tenant(7);
    let created = join_all((0..WRITERS).map(|writer| create(&tenant, writer, 20))).await;
    // Sixteen processes can each start on a counter shard of their own.
    assert!(conflicts(&faulty) > 0 || built_functions().is_some());

    let mine: Vec<_> = created.iter().map(|end_users| ids(&json!(end_users))).collect();
    assert!(mine.iter().all(|ids| ids.is_sorted()), "{mine:?}");
    let all: BTreeSet<u64> = mine.into_iter().flatten().collect();
    assert_eq!(all.len(), 320);
    for end_user in created.concat() {
        assert_eq!(tenant.read(&end_user["endUserID"]).await, end_user);
    }
    let all: Vec<u64> = all.into_iter().collect();
    assert_eq!(list_all(&tenant, "", 320).await, all);
    // Slow calls, so that those of concurrent indexers overtake each other.
    faulty.proxy.inject(Plan::slow());
    faulty.app.settle().await;
    faulty.proxy.inject(Plan::default());
    let (check, report) = index::command(&faulty.app, false).await;
    assert!(check.is_clean(), "{report}");
    for order in ["sortBy=lastname", "sortBy=customerRef&sortOrder=desc", "search=writer", "search=person&sortBy=name"]
    {
        assert_eq!(list_all(&tenant, order, 320).await, all, "{order}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_instances_move_to_separate_counter_shards() {
    let faulty = contended(11).await;
    let first = unwatched(&faulty.app).await;
    let mut instances = vec![first];
    instances.resize_with(WRITERS as usize, || over_unwatched(&faulty.app));
    let tenant = Tenant::parse("7").unwrap();
    let new = PendingEndUser::read(&Json::parse(br#"{ "firstname": "Jane" }"#).unwrap(), None).unwrap();
    join_all(instances.iter().map(async |instance| {
        for _ in 0..20 {
            let meter = Meter::default();
            let scope = instance.scope(&tenant, &meter, Instant::now() + Duration::from_secs(10));
            scope.create_end_user(&new, None).await.unwrap();
        }
    }))
    .await;
    assert!(conflicts(&faulty) < 20, "{} conflicts in 320 creates", conflicts(&faulty));
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_assigns_keep_every_acknowledged_uid() {
    let faulty = contended(9).await;
    let tenant = faulty.app.tenant(7);
    let id = tenant.create(json!({ "firstname": "Jane" })).await["endUserID"].clone();
    let assign = async |writer| {
        let uid = format!("w{writer}@x.be");
        let link = json!({ "endUserID": id, "uid": uid });
        (uid, tenant.post("/api/EndUserUIDs/assign", link).await)
    };
    let (mut acknowledged, mut possible) = (BTreeSet::new(), BTreeSet::new());
    for (uid, response) in join_all((0..WRITERS).map(assign)).await {
        match response.status {
            201 => drop(acknowledged.insert(uid.clone())),
            503 if response.json()["detail"] == NOTHING => continue,
            503 => assert_eq!(response.json()["detail"], UNKNOWN),
            _ => panic!("{}", response.text()),
        }
        possible.insert(uid);
    }
    assert!(conflicts(&faulty) > 0);

    let end_user = tenant.read(&id).await;
    let uids = end_user["uids"].as_array().unwrap();
    let stored: BTreeSet<String> = uids.iter().map(|uid| uid["uid"].as_str().unwrap().to_owned()).collect();
    assert!(acknowledged.is_subset(&stored) && stored.is_subset(&possible), "{acknowledged:?} and {end_user}");
    let uid_ids: BTreeSet<u64> = uids.iter().map(|uid| uid["endUserUIDID"].as_u64().unwrap()).collect();
    assert_eq!((stored.len(), uid_ids.len()), (uids.len(), uids.len()), "{end_user}");
    for uid in &stored {
        assert_eq!(json!(tenant.by_uid(uid).await), json!([id]), "{uid}");
    }
    assert_eq!(tenant.get(END_USERS).await.expect(200)["items"], json!([end_user]));
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_deletes_and_creates_keep_an_exact_count() {
    let faulty = contended(10).await;
    let tenant = faulty.app.tenant(7);
    let first = join_all((0..WRITERS).map(|writer| create(&tenant, writer, 5))).await;
    let first: Vec<u64> = first.iter().flat_map(|end_users| ids(&json!(end_users))).collect();
    let (gone, kept) = first.split_at(60);
    // Two concurrent deletes of each end user, of which exactly one succeeds.
    let delete = async |id: &u64| {
        let path = format!("{END_USERS}/{id}");
        let (one, other) = join(tenant.delete(&path), tenant.delete(&path)).await;
        let mut statuses = [&one, &other].map(|response: &Response| response.status);
        statuses.sort_unstable();
        assert_eq!(statuses, [204, 404], "{}, {}", one.text(), other.text());
    };
    let deleting = join_all(gone.chunks(10).map(async |ids| {
        for id in ids {
            delete(id).await;
        }
    }));
    let before = conflicts(&faulty);
    let creating = join_all((0..WRITERS).map(|writer| create(&tenant, WRITERS + writer, 5)));
    let (_, second) = join(deleting, creating).await;
    assert!(conflicts(&faulty) > before);

    let mut left = kept.to_vec();
    left.extend(second.iter().flat_map(|end_users| ids(&json!(end_users))));
    left.sort_unstable();
    assert_eq!(list_all(&tenant, "", 100).await, left);
    faulty.app.settle().await;
    assert_eq!(list_all(&tenant, "sortBy=lastname", 100).await, left);
    assert_eq!(list_all(&tenant, "search=person", 100).await, left);
}

/// The number of people that the upserting writers know.
const PEOPLE: u64 = 50;

/// One of the three pairs of a person's three identifiers. Any two pairs have one in common.
fn known_identifiers(person: u64, pair: u64) -> Value {
    let email = json!({ "uid": format!("p{person}@x.be") });
    let phone = json!({ "uidType": "Phone", "uid": format!("+324700000{person:02}") });
    let reference = format!("ERP-{person}");
    match pair {
        0 => json!({ "uids": [email, phone] }),
        1 => json!({ "uids": [phone], "customerRef": reference }),
        _ => json!({ "uids": [email], "customerRef": reference }),
    }
}

/// Upserts every person in a random order. An upsert that is killed or fails is repeated.
async fn upsert_people(functions: &shared::app::App, writer: u64) {
    let tenant = Tenant::parse("7").unwrap();
    let mut rng = fastrand::Rng::with_seed(writer);
    let mut people: Vec<u64> = (0..PEOPLE).collect();
    rng.shuffle(&mut people);
    for person in people {
        let upsert = EndUserUpsert::read(&json_of(known_identifiers(person, rng.u64(..3))), None).unwrap();
        let key = rng.bool().then(|| format!("{writer}/{person}"));
        let key = key.map(|key| IdempotencyKey::parse(&key, "upsert", key.as_bytes()).unwrap());
        let mut tries = 0..40;
        loop {
            assert!(tries.next().is_some(), "writer {writer} did not upsert {person}");
            let meter = Meter::default();
            let scope = functions.scope(&tenant, &meter, Instant::now() + Duration::from_secs(10));
            let killed = (rng.u8(..5) == 0).then(|| rng.u32(1..5));
            let work = scope.upsert_end_user(&upsert, key.as_ref(), |upserted| upserted);
            match until_killed(work, &meter, killed).await {
                Some(Ok(_)) => break,
                None | Some(Err(ChangeError::Store(StoreError::Unavailable { .. }))) => {}
                Some(Err(error)) => panic!("{person}: {error:?}"),
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_upserts_create_one_end_user_each() {
    let faulty = contended(12).await;
    let mut instances = vec![unwatched(&faulty.app).await];
    instances.resize_with(4, || over_unwatched(&faulty.app));
    faulty.proxy.make_indexes_stale(0.5);
    let faults = [Fault::Throttled, Fault::FailedAfter, Fault::HungUpAfter, Fault::HungUpBefore, Fault::SlowResponse];
    faulty.proxy.inject(Plan { faults: faults.map(|fault| (fault, 0.02)).into(), reads: 0.5, only: None });
    join_all((0..WRITERS).map(|writer| upsert_people(&instances[writer as usize % instances.len()], writer))).await;
    assert!(conflicts(&faulty) > 0);

    let tenant = Tenant::parse("7").unwrap();
    let partition = keys::end_users(&tenant);
    let scan = faulty.direct_client().scan().table_name(faulty.app.unwatched_table()).into_paginator().items().send();
    let items = scan.collect::<Result<Vec<_>, _>>().await.unwrap();
    let documents = items.iter().filter(|item| item["pk"].as_s().is_ok_and(|pk| *pk == partition));
    let functions = over_unwatched_with(&faulty.app, faulty.direct_client().clone());
    let meter = Meter::default();
    let scope = functions.scope(&tenant, &meter, Instant::now() + Duration::from_secs(10));
    let mut holders: BTreeMap<MatchKey, Vec<u64>> = BTreeMap::new();
    for document in documents {
        let id = EndUserId::new(document["sk"].as_s().unwrap().parse().unwrap()).unwrap();
        for key in scope.end_user(id).await.unwrap().keys() {
            holders.entry(key).or_default().push(id.get().into());
        }
    }
    let shared: Vec<_> = holders.iter().filter(|(_, holders)| holders.len() > 1).collect();
    assert!(shared.is_empty(), "{shared:?}");
    assert_eq!(holders.len() as u64, 3 * PEOPLE);
    assert_eq!(holders.values().collect::<BTreeSet<_>>().len() as u64, PEOPLE);
}
