//! The index is what the documents say: by itself whatever order, repeats, races and ends half-way its work
//! has, and by `index repair` where it was damaged.

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Poll;
use std::time::{Duration, Instant};

use aws_sdk_dynamodb::types::AttributeValue;
use proptest::prelude::*;
use serde_json::json;
use shared::app::App as Functions;
use shared::domain::end_user::{EndUser, EndUserUpdate, PendingEndUser, Precondition, SortField};
use shared::domain::ids::{EndUserId, Tenant, UidId};
use shared::domain::profile::Field;
use shared::domain::search::Term;
use shared::store::keys::{self, BlockSize, Key};
use shared::store::{Check, CheckOptions, Document, Entry, Item, Meter, Scope, StoreError, entries, records};
use tests::proxy::Plan;

use crate::support::app::App;
use crate::support::functions::json_of;
use crate::support::functions::unwatched;
use crate::support::index::{command, growing_text, name_that_starts, unfinished_count};
use crate::support::proxied::Troubled;
use crate::support::sequences::{hold_all, runtime, sequences};

const END_USERS: usize = 5;
const ORDERS: [SortField; 3] = [SortField::EndUserId, SortField::Field(Field::Firstname), SortField::Name];

/// What happens. Work that is killed ends after so many round trips.
#[derive(Clone, Debug)]
enum Step {
    /// An end user is created, changed so, or deleted.
    Write(usize, u8),
    /// A batch of the stream comes: of whom, and when it is killed.
    Deliver(Vec<usize>, Option<u32>),
    /// Batches come at once.
    Race(Vec<Step>),
    /// A far page of an order is asked for, or asked for again and counted on.
    Count(usize, Option<u32>),
    /// An operator repairs, and is killed.
    Repair(Option<u32>),
    /// An entry of an end user gets lost, or one too many turns up, or what the index knows of itself.
    Damage(usize, u8),
}

fn killed() -> impl Strategy<Value = Option<u32>> {
    proptest::option::weighted(0.5, 0..12_u32)
}

fn deliver(killed: impl Strategy<Value = Option<u32>>) -> impl Strategy<Value = Step> {
    (proptest::collection::vec(0..END_USERS, 1..5), killed)
        .prop_map(|(end_users, killed)| Step::Deliver(end_users, killed))
}

/// What the index stands by itself.
fn everyday() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => (0..END_USERS, 0..8_u8).prop_map(|(end_user, change)| Step::Write(end_user, change)),
        2 => deliver(killed()),
        2 => proptest::collection::vec(deliver(Just(None)), 2..4).prop_map(Step::Race),
        2 => (0..ORDERS.len(), killed()).prop_map(|(order, killed)| Step::Count(order, killed)),
    ];
    proptest::collection::vec(step, 1..25)
}

/// What it takes an operator for: indexers that race and are killed, and damage.
fn misfortune() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => (0..END_USERS, 0..8_u8).prop_map(|(end_user, change)| Step::Write(end_user, change)),
        3 => proptest::collection::vec(deliver(killed()), 1..4).prop_map(Step::Race),
        2 => (0..ORDERS.len(), killed()).prop_map(|(order, killed)| Step::Count(order, killed)),
        1 => killed().prop_map(Step::Repair),
        2 => (0..END_USERS, 0..4_u8).prop_map(|(end_user, what)| Step::Damage(end_user, what)),
    ];
    proptest::collection::vec(step, 1..25)
}

/// One tenant, and the end users written so far.
struct World<'a> {
    functions: &'a Functions,
    tenant: Tenant,
    end_users: [Option<EndUserId>; END_USERS],
    /// All who were ever created.
    ids: Vec<EndUserId>,
    counted: Vec<SortField>,
    app: &'a App,
}

fn scope<'a>(functions: &'a Functions, tenant: &Tenant, meter: &'a Meter) -> Scope<'a> {
    functions.scope(tenant, meter, Instant::now() + Duration::from_secs(20))
}

/// Nothing is written while an operator looks, so there is nothing to wait for.
fn how(repair: bool) -> CheckOptions {
    CheckOptions { repair, recheck_after: Duration::ZERO }
}

/// Works until so many round trips are over; what is under way then may take effect or not.
async fn until_killed<T>(work: impl Future<Output = T>, meter: &Meter, killed: Option<u32>) -> Option<T> {
    let mut work = pin!(work);
    std::future::poll_fn(|context| match work.as_mut().poll(context) {
        Poll::Ready(done) => Poll::Ready(Some(done)),
        Poll::Pending if killed.is_some_and(|trips| meter.cost().round_trips >= trips) => Poll::Ready(None),
        Poll::Pending => Poll::Pending,
    })
    .await
}

impl World<'_> {
    async fn act(&mut self, step: &Step) -> Result<(), StoreError> {
        match step {
            Step::Write(end_user, change) => self.write(*end_user, *change).await,
            Step::Deliver(..) => self.deliver(step).await,
            Step::Race(batches) => {
                let batches = batches.iter().map(|batch| self.deliver(batch));
                futures::future::join_all(batches).await.into_iter().collect()
            }
            Step::Damage(end_user, what) => self.damage(*end_user, *what).await,
            Step::Count(order, killed) => {
                let field = ORDERS[*order];
                let meter = Meter::default();
                let scope = scope(self.functions, &self.tenant, &meter);
                if !self.counted.contains(&field) {
                    self.counted.push(field);
                    scope.start_build(field).await?;
                }
                until_killed(scope.build_next(field), &meter, killed.map(|trips| trips + 1)).await.unwrap_or(Ok(()))
            }
            Step::Repair(killed) => {
                let meter = Meter::default();
                let scope = scope(self.functions, &self.tenant, &meter);
                until_killed(scope.check_index(how(true), &|_| {}), &meter, killed.map(|trips| trips * 30)).await;
                Ok(())
            }
        }
    }

    async fn deliver(&self, step: &Step) -> Result<(), StoreError> {
        let Step::Deliver(end_users, killed) = step else { panic!("{step:?} is no batch") };
        let meter = Meter::default();
        let end_users: Vec<_> = end_users.iter().filter_map(|end_user| self.end_users[*end_user]).collect();
        let scope = scope(self.functions, &self.tenant, &meter);
        until_killed(scope.index_end_users(end_users), &meter, *killed).await.unwrap_or(Ok(()))
    }

    async fn damage(&self, end_user: usize, what: u8) -> Result<(), StoreError> {
        let Some(id) = self.end_users[end_user] else { return Ok(()) };
        let meter = Meter::default();
        let end_user = scope(self.functions, &self.tenant, &meter).end_user(id).await?;
        let mut entries = end_user.iter().flat_map(entries);
        let name = entries.find(|entry| matches!(entry, Entry::Sort(field, _) if *field == SortField::Name));
        let key = match what {
            0 => name.map(|entry| keys::entry(&self.tenant, &entry, id)),
            1 => Some(keys::word_entry(&self.tenant, &Term::Word("wrong".to_owned()), id)),
            2 => Some(keys::sort_entry(&self.tenant, SortField::Name, "wrong", id)),
            _ => Some(keys::index_state(&self.tenant, id)),
        };
        let Some(Key { pk, sk }) = key else { return Ok(()) };
        let text = |text: &str| AttributeValue::S(text.to_owned());
        let key = Item::from([("pk".to_owned(), text(&pk)), ("sk".to_owned(), text(&sk))]);
        let (client, table) = (self.app.system.client(), self.app.unwatched_table());
        if matches!(what, 1 | 2) {
            let item = key.into_iter().chain([("kind".to_owned(), text("Entry"))]).collect();
            client.put_item().table_name(table).set_item(Some(item)).send().await.unwrap();
        } else {
            client.delete_item().table_name(table).set_key(Some(key)).send().await.unwrap();
        }
        Ok(())
    }

    async fn write(&mut self, end_user: usize, change: u8) -> Result<(), StoreError> {
        let meter = Meter::default();
        let scope = scope(self.functions, &self.tenant, &meter);
        let name = match (self.end_users[end_user], change % 4) {
            (Some(id), 2) => name_that_starts(BlockSize::Small, id),
            (Some(id), 3) => name_that_starts(BlockSize::Large, id),
            _ => format!("Name{}", change % 3),
        };
        let mut body = json!({ "firstname": name, "city": if change.is_multiple_of(2) { "Gent" } else { "" } });
        // More words than are searched, which another change of the same kind replaces.
        body["otherContactDetails"] = match change {
            5 | 6 => growing_text(change.into(), 2_000).into(),
            _ => "".into(),
        };
        let now = match self.end_users[end_user] {
            Some(id) => scope.end_user(id).await?,
            None => None,
        };
        match now {
            Some(now) if change == 7 => scope.delete_end_user(now.id, &Precondition::default()).await.unwrap(),
            Some(now) => {
                let update = EndUserUpdate::read(&json_of(body), None).unwrap();
                scope.update_end_user(now.id, &update, &Precondition::default()).await.unwrap();
            }
            None => {
                let draft = PendingEndUser::read(&json_of(body), None).unwrap();
                let id = scope.create_end_user(&draft, None).await.unwrap().value.id;
                self.end_users[end_user] = Some(id);
                self.ids.push(id);
            }
        }
        Ok(())
    }

    /// The end users as they are now.
    async fn documents(&self) -> Vec<EndUser> {
        let meter = Meter::default();
        let scope = scope(self.functions, &self.tenant, &meter);
        let mut end_users = Vec::new();
        for id in self.end_users.into_iter().flatten() {
            end_users.extend(scope.end_user(id).await.unwrap());
        }
        end_users
    }

    async fn check(&self, repair: bool) -> Result<Check, StoreError> {
        let meter = Meter::default();
        scope(self.functions, &self.tenant, &meter).check_index(how(repair), &|_| {}).await
    }
}

type Index = BTreeMap<(String, String), Option<AttributeValue>>;

/// Entries and blocks of a tenant, without what tells tenants and versions apart.
async fn index(app: &App, tenant: &Tenant) -> Index {
    let scan = app.system.client().scan().table_name(app.unwatched_table()).filter_expression("begins_with(pk, :pk)");
    let scan = scan.expression_attribute_values(":pk", AttributeValue::S(format!("C#{tenant}#")));
    let items = scan.into_paginator().items().send().collect::<Result<Vec<Item>, _>>().await.unwrap();
    let text = |item: &Item, name: &str| item[name].as_s().unwrap().clone();
    let of_index = |item: &Item| ["Entry", "Block"].contains(&text(item, "kind").as_str());
    let gone = |item: &Item| item.get("n") == Some(&AttributeValue::N("0".to_owned()));
    let key = |item: &Item| (text(item, "pk").replacen(&format!("C#{tenant}#"), "", 1), text(item, "sk"));
    items.iter().filter(|item| of_index(item) && !gone(item)).map(|item| (key(item), item.get("n").cloned())).collect()
}

/// Writes the same end users under another tenant, and indexes and counts them from scratch.
async fn from_scratch(app: &App, functions: &Functions, tenant: &Tenant, end_users: &[EndUser], counted: &[SortField]) {
    for end_user in end_users {
        for (_, item) in records(tenant, &Document::new(end_user.clone())).unwrap() {
            app.system.client().put_item().table_name(app.unwatched_table()).set_item(Some(item)).send().await.unwrap();
        }
    }
    let meter = Meter::default();
    let scope = scope(functions, tenant, &meter);
    scope.index_end_users(end_users.iter().map(|end_user| end_user.id)).await.unwrap();
    for field in counted {
        scope.start_build(*field).await.unwrap();
        scope.build_next(*field).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_is_told_what_is_wrong_with_an_index_and_can_repair_it() {
    let app = App::start().await;
    let caller = app.tenant(7);
    for i in 0..40 {
        caller.create(json!({ "firstname": format!("Jane{i}"), "city": "Gent" })).await;
    }
    app.tenant(8).create(json!({ "firstname": "Jane" })).await;
    let (client, table, tenant) = (app.system.client(), app.system.table(), Tenant::parse("7").unwrap());
    let city = SortField::Field(Field::City);
    let counted = keys::rank_index(&tenant, city);
    let counted = [("pk", counted.pk), ("sk", counted.sk), ("kind", "RankIndex".to_owned())];
    let counted = counted.map(|(name, value)| (name.to_owned(), AttributeValue::S(value)));
    let number = |n: u32| AttributeValue::N(n.to_string());
    let rest = [("v", number(1)), ("rev", number(1)), ("ready", AttributeValue::Bool(false))];
    let counted = Item::from_iter(counted.into_iter().chain(rest.map(|(name, value)| (name.to_owned(), value))));
    client.put_item().table_name(table).set_item(Some(counted)).send().await.unwrap();
    app.settle().await;
    let entries = 40 * (14 + 2);
    let head = format!("40 end users (counter: 40), {entries} index entries, 4 rank blocks");
    let sound = format!("{head}\nnothing is wrong");
    assert_eq!(command(&app, false).await.1, sound);

    let id = |n: u64| EndUserId::new(n).unwrap();
    let word = |word: &str, n| keys::word_entry(&tenant, &Term::Word(word.to_owned()), id(n));
    let item = |key: Key, more: &[(&str, AttributeValue)]| {
        let kind = ("kind", AttributeValue::S("Entry".to_owned()));
        let keys = [("pk", AttributeValue::S(key.pk)), ("sk", AttributeValue::S(key.sk)), kind];
        let all = keys.iter().chain(more).map(|(name, value)| ((*name).to_owned(), value.clone()));
        Item::from_iter(all)
    };
    let mut damage = Vec::new();
    for (word_of, n) in [("wrong", 1), ("wrong", 2), ("wrong", 99)] {
        damage.push(client.put_item().table_name(table).set_item(Some(item(word(word_of, n), &[]))).send());
    }
    futures::future::try_join_all(damage).await.unwrap();
    for key in [word("gent", 3), word("jane2", 3), word("gent", 4)] {
        let mut key = item(key, &[]);
        key.remove("kind");
        client.delete_item().table_name(table).set_key(Some(key)).send().await.unwrap();
    }
    let mut unknown = item(keys::index_state(&tenant, id(5)), &[]);
    unknown.remove("kind");
    client.delete_item().table_name(table).set_key(Some(unknown)).send().await.unwrap();
    let block = keys::rank_block(&tenant, city, BlockSize::Large, keys::FIRST_BLOCK);
    let damaged = item(block, &[("v", number(1)), ("rev", number(1)), ("n", number(41))]);
    client.put_item().table_name(table).set_item(Some(damaged.clone())).send().await.unwrap();

    let found = caller.get("/api/EndUsers?search=gent").await.expect(200);
    assert_eq!(found["totalCount"], 38, "the damage shows");
    let end_users = "end user 1: 0 entries missing, 1 too many
end user 2: 0 entries missing, 1 too many
end user 3: 2 entries missing, 0 too many
end user 4: 1 entry missing, 0 too many
end user 5: 0 entries missing, 0 too many; its IndexState is wrong
end user 99: 0 entries missing, 1 too many";
    let block = "city: a rank block counts 41 entries instead of 40";
    assert_eq!(command(&app, false).await.1, format!("{head}\n{end_users}\n{block}\nwrong: 6 end users, 1 rank block"));
    // With the end users's entries their blocks are counted anew.
    assert_eq!(command(&app, true).await.1, format!("{head}\n{end_users}\nrepaired: 6 end users"));
    assert_eq!(command(&app, false).await.1, sound);
    client.put_item().table_name(table).set_item(Some(damaged)).send().await.unwrap();
    assert_eq!(command(&app, true).await.1, format!("{head}\n{block}\nrepaired: 1 rank block"));
    assert_eq!(command(&app, false).await.1, sound);
    let found = caller.get("/api/EndUsers?search=gent").await.expect(200);
    assert_eq!(found["totalCount"], 40);
    assert_eq!(caller.get("/api/EndUsers?search=wrong").await.expect(200)["totalCount"], 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn repair_finishes_a_count_that_was_given_up() {
    let app = App::start().await;
    let caller = app.tenant(7);
    for i in 0..3 {
        caller.create(json!({ "firstname": format!("Jane{i}") })).await;
    }
    app.settle().await;
    let (client, table, tenant) = (app.system.client(), app.system.table(), Tenant::parse("7").unwrap());
    let put = async |updated_at| {
        let item = unfinished_count(&tenant, SortField::Field(Field::City), updated_at);
        client.put_item().table_name(table).set_item(Some(item)).send().await.unwrap();
    };
    put(crate::support::app::now()).await;
    let (check, report) = command(&app, false).await;
    assert!(check.is_clean() && report.contains("city: its rank index is being built and was not checked"), "{report}");
    put(1).await;
    let (check, report) = command(&app, false).await;
    assert!(
        !check.is_clean()
            && report.ends_with(
                "city: the build of its rank index has stopped; `index repair` completes it\nstopped: 1 rank index build"
            ),
        "{report}"
    );
    let (check, report) = command(&app, true).await;
    assert!(check.is_clean() && check.blocks > 0, "{report}");
    assert!(command(&app, false).await.1.ends_with("nothing is wrong"));
}

#[tokio::test(flavor = "multi_thread")]
async fn repair_names_broken_end_users_and_goes_on() {
    let app = App::start().await;
    let caller = app.tenant(7);
    for i in 1..=4 {
        caller.create(json!({ "firstname": format!("Jane{i}"), "city": "Gent" })).await;
    }
    app.settle().await;
    let (client, table, tenant) = (app.system.client(), app.system.table(), Tenant::parse("7").unwrap());
    let id = |n: u64| EndUserId::new(n).unwrap();
    let text = |text: &str| AttributeValue::S(text.to_owned());
    let key_of = |Key { pk, sk }: Key| Item::from([("pk".to_owned(), text(&pk)), ("sk".to_owned(), text(&sk))]);
    let get = async |key: Key| {
        let get = client.get_item().table_name(table).set_key(Some(key_of(key))).consistent_read(true);
        get.send().await.unwrap().item.unwrap()
    };
    let delete = async |key: Key| {
        client.delete_item().table_name(table).set_key(Some(key_of(key))).send().await.unwrap();
    };
    let put = async |item: Item| {
        client.put_item().table_name(table).set_item(Some(item)).send().await.unwrap();
    };
    // An unreadable document, of a kind that the stream's filter does not pass.
    let mut document = get(keys::end_user(&tenant, id(1))).await;
    delete(keys::end_user(&tenant, id(1))).await;
    app.settle().await;
    document.extend([("kind".to_owned(), text("Broken")), ("profile".to_owned(), text("secret"))]);
    put(document).await;
    // An unreadable index state.
    let mut state = get(keys::index_state(&tenant, id(2))).await;
    state.insert("rev".to_owned(), text("secret"));
    put(state).await;
    // An index state with an entry whose key is longer than DynamoDB takes.
    let mut state = get(keys::index_state(&tenant, id(3))).await;
    let Some(AttributeValue::L(entries)) = state.get_mut("entries") else { panic!("{state:?}") };
    entries.push(text(&format!("#{}", "x".repeat(2_000))));
    put(state).await;
    delete(keys::word_entry(&tenant, &Term::Word("gent".to_owned()), id(4))).await;

    for repaired in ["repaired: 1 end user; ", ""] {
        let (check, report) = command(&app, true).await;
        let named = format!(
            "end user 1: its document cannot be read
end user 2: its index state cannot be read
end user 3: DynamoDB refuses: ValidationException
{repaired}cannot be repaired: 3 end users"
        );
        assert!(!check.is_repaired() && report.ends_with(&named), "{report}");
        assert_eq!(caller.list("search=gent&sortBy=endUserID").await, [2, 3, 4]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn repair_rewrites_wrong_lookup_keys() {
    let app = App::start().await;
    let caller = app.tenant(7);
    for i in 1..=4 {
        let uids =
            json!([{ "uid": format!("jane{i}@x.be") }, { "uidType": "Phone", "uid": format!("+3247000000{i}") }]);
        caller.create(json!({ "customerRef": format!("ref-{i}"), "uids": uids })).await;
    }
    app.settle().await;
    let (client, table, tenant) = (app.system.client(), app.system.table(), Tenant::parse("7").unwrap());
    let id = |n: u64| EndUserId::new(n).unwrap();
    let text = |text: &str| AttributeValue::S(text.to_owned());
    let key_of = |Key { pk, sk }: Key| Item::from([("pk".to_owned(), text(&pk)), ("sk".to_owned(), text(&sk))]);
    let uid = |owner, n| key_of(keys::uid(&tenant, id(owner), UidId::new(n).unwrap()));
    // A pointer with another key, a pointer less, a pointer too many, and a document with another key.
    let mut damage = uid(1, 1);
    damage.extend([("uidPk".into(), text("C#7#Uid#t=other")), ("uidSk".into(), text("0000000001"))]);
    client.put_item().table_name(table).set_item(Some(damage)).send().await.unwrap();
    client.delete_item().table_name(table).set_key(Some(uid(2, 4))).send().await.unwrap();
    let mut damage = uid(3, 99);
    damage.extend([("uidPk".into(), text("C#7#Uid#t=jane3@x.be")), ("uidSk".into(), text("0000000003"))]);
    client.put_item().table_name(table).set_item(Some(damage)).send().await.unwrap();
    let update = client.update_item().table_name(table).set_key(Some(key_of(keys::end_user(&tenant, id(4)))));
    let update = update.update_expression("SET refPk = :ref").expression_attribute_values(":ref", text("C#7#Ref#t=x"));
    update.send().await.unwrap();
    app.settle().await;
    for lost in ["jane1@x.be", "+32470000002", "ref-4"] {
        assert_eq!(caller.by_uid(lost).await, [0; 0], "{lost}");
    }

    let named: Vec<_> = (1..=4).map(|n| format!("end user {n}: its look-up keys are wrong")).collect();
    let named = named.join("\n");
    let (check, report) = command(&app, false).await;
    assert!(!check.is_clean(), "{report}");
    assert!(report.ends_with(&format!("{named}\nwrong: look-up keys of 4 end users")), "{report}");
    let etag = caller.get("/api/EndUsers/1").await.header("etag").map(str::to_owned);
    let (_, report) = command(&app, true).await;
    assert!(report.ends_with(&format!("{named}\nrepaired: look-up keys of 4 end users")), "{report}");
    assert!(command(&app, false).await.1.ends_with("nothing is wrong"));
    for (found, owner) in [("jane1@x.be", 1), ("+32470000002", 2), ("jane3@x.be", 3), ("ref-4", 4)] {
        assert_eq!(caller.by_uid(found).await, [owner], "{found}");
    }
    assert_eq!(caller.get("/api/EndUsers/1").await.header("etag").map(str::to_owned), etag, "nothing visible changed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_of_an_index_that_is_written_to_finds_nothing_wrong() {
    let app = App::start().await;
    let caller = app.tenant(7);
    let id = caller.create(json!({ "firstname": "Jane" })).await["endUserID"].clone();
    let written = async {
        for i in 0..150 {
            caller.update(&id, json!({ "firstname": format!("Jane{i}"), "city": format!("City{}", i % 3) })).await;
            if i % 3 == 0 {
                let new = caller.create(json!({ "firstname": "New" })).await;
                caller.delete(&format!("/api/EndUsers/{}", new["endUserID"])).await.expect(204);
            }
        }
    };
    let checked = async {
        let mut checks = Vec::new();
        for _ in 0..3 {
            checks.push(command(&app, false).await);
        }
        checks
    };
    let ((), checks) = tokio::join!(written, checked);
    for (check, report) in checks {
        assert!(check.is_clean(), "{report}");
    }
}

/// Carries out the steps, then what the stream delivers at last; answers the index, which is to be that of
/// the same end users built from scratch. By `repair`, an operator repairs it before.
async fn live(app: &App, functions: &Functions, steps: &[Step], repair: bool) -> Result<(), String> {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let tenant = Tenant::parse(&format!("lived-{number}")).unwrap();
    let mut world =
        World { functions, tenant, end_users: [None; END_USERS], ids: Vec::new(), counted: Vec::new(), app };
    let failed = |error: StoreError| error.to_string();
    for step in steps {
        world.act(step).await.map_err(failed)?;
    }
    let meter = Meter::default();
    let db = scope(functions, &world.tenant, &meter);
    db.index_end_users(world.ids.iter().copied()).await.map_err(failed)?;
    for field in &world.counted {
        db.build_next(*field).await.map_err(failed)?;
    }
    if repair {
        world.check(true).await.map_err(failed)?;
    }
    let end_users = world.documents().await;
    let scratch = Tenant::parse(&format!("scratch-{number}")).unwrap();
    from_scratch(app, functions, &scratch, &end_users, &world.counted).await;
    let (lived, scratch) = (index(app, &world.tenant).await, index(app, &scratch).await);
    if lived != scratch {
        let only = |one: &Index, other: &Index| {
            let lines = one.iter().filter(|(key, n)| other.get(key) != Some(n)).map(|line| format!("  {line:?}"));
            lines.collect::<Vec<_>>().join("\n")
        };
        return Err(format!("too many:\n{}\nmissing:\n{}", only(&lived, &scratch), only(&scratch, &lived)));
    }
    let check = world.check(false).await.map_err(failed)?;
    let clean = check.is_clean() && check.end_users == end_users.len() as u64;
    if clean { Ok(()) } else { Err(format!("not clean: {check:?}")) }
}

fn always_ends_well(steps: &impl Strategy<Value = Vec<Step>>, repair: bool) {
    let runtime = runtime();
    let app = runtime.block_on(App::start());
    let functions = runtime.block_on(unwatched(&app));
    // A repair walks all partitions of the index, and takes most of the time.
    let count = sequences(if repair { 20 } else { 80 });
    hold_all(count, 9, steps, |steps| runtime.block_on(live(&app, &functions, &steps, repair)));
}

#[test]
fn slow_calls_end_in_the_index_of_the_documents() {
    let runtime = runtime();
    let troubled = runtime.block_on(Troubled::start(9));
    let functions = runtime.block_on(unwatched(&troubled.app));
    hold_all(sequences(12), 10, &everyday(), |steps| {
        troubled.proxy.inject(Plan::slow());
        let lived = runtime.block_on(live(&troubled.app, &functions, &steps, false));
        troubled.proxy.inject(Plan::default());
        lived
    });
}

#[test]
fn any_order_and_repeats_and_ends_half_way_of_its_work_end_in_the_index_built_from_scratch() {
    always_ends_well(&everyday(), false);
}

#[test]
fn after_any_interleaving_of_misfortunes_a_repair_ends_in_the_index_built_from_scratch() {
    always_ends_well(&misfortune(), true);
}
