//! Random sequences of writes and index work: whatever their order, repeats, races and kills, the index ends equal to
//! one that is built from scratch. After damage it does so once an operator has run `index repair`.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use aws_sdk_dynamodb::types::AttributeValue;
use proptest::prelude::*;
use serde_json::json;
use shared::app::App as Functions;
use shared::domain::end_user::{EndUser, EndUserUpdate, PendingEndUser, Precondition, SortField};
use shared::domain::ids::{EndUserId, Tenant};
use shared::domain::profile::Field;
use shared::domain::search::Term;
use shared::store::keys::{self, BlockSize, Key};
use shared::store::{
    ChangeError, Check, CheckOptions, Document, Entry, Item, Meter, Scope, StoreError, entries, records,
};
use tests::proxy::Plan;

use crate::support::app::App;
use crate::support::functions::{json_of, until_killed, unwatched};
use crate::support::index::{growing_text, name_that_starts};
use crate::support::proxied::FaultyApp;
use crate::support::sequences::{hold_all, runtime, sequences};

const END_USERS: usize = 5;

const ORDERS: [SortField; 3] = [SortField::EndUserId, SortField::Field(Field::Firstname), SortField::Name];

/// One step of a sequence. An `Option<u32>` is the number of round trips after which the work is killed.
#[derive(Clone, Debug)]
enum IndexStep {
    /// Creates, updates or deletes an end user; the number selects the change.
    Write(usize, u8),
    /// Delivers a batch of the stream that names these end users.
    Deliver(Vec<usize>, Option<u32>),
    /// Delivers several batches concurrently.
    Race(Vec<IndexStep>),
    /// Starts the rank index of an order, as the first far page does, or continues its build.
    Build(usize, Option<u32>),
    /// Runs `index repair`.
    Repair(Option<u32>),
    /// Deletes an entry or the index state of an end user, or adds an entry; the number selects the damage.
    Damage(usize, u8),
}

fn killed() -> impl Strategy<Value = Option<u32>> {
    proptest::option::weighted(0.5, 0..12_u32)
}

fn deliver(killed: impl Strategy<Value = Option<u32>>) -> impl Strategy<Value = IndexStep> {
    (proptest::collection::vec(0..END_USERS, 1..5), killed)
        .prop_map(|(end_users, killed)| IndexStep::Deliver(end_users, killed))
}

/// Steps after which the index converges without an operator.
fn self_healing_steps() -> impl Strategy<Value = Vec<IndexStep>> {
    let step = prop_oneof![
        6 => (0..END_USERS, 0..8_u8).prop_map(|(end_user, change)| IndexStep::Write(end_user, change)),
        2 => deliver(killed()),
        2 => proptest::collection::vec(deliver(Just(None)), 2..4).prop_map(IndexStep::Race),
        2 => (0..ORDERS.len(), killed()).prop_map(|(order, killed)| IndexStep::Build(order, killed)),
    ];
    proptest::collection::vec(step, 1..25)
}

/// Steps that need `index repair`: damage, and concurrent indexings that are killed.
fn damaging_steps() -> impl Strategy<Value = Vec<IndexStep>> {
    let step = prop_oneof![
        6 => (0..END_USERS, 0..8_u8).prop_map(|(end_user, change)| IndexStep::Write(end_user, change)),
        3 => proptest::collection::vec(deliver(killed()), 1..4).prop_map(IndexStep::Race),
        2 => (0..ORDERS.len(), killed()).prop_map(|(order, killed)| IndexStep::Build(order, killed)),
        1 => killed().prop_map(IndexStep::Repair),
        2 => (0..END_USERS, 0..4_u8).prop_map(|(end_user, what)| IndexStep::Damage(end_user, what)),
    ];
    proptest::collection::vec(step, 1..25)
}

/// One tenant, and the end users that were written so far.
struct IndexedTenant<'a> {
    functions: &'a Functions,
    tenant: Tenant,
    end_users: [Option<EndUserId>; END_USERS],
    /// The ids of all end users that were ever created.
    ids: Vec<EndUserId>,
    /// The orders with a rank index.
    ranked: Vec<SortField>,
    app: &'a App,
}

fn scope<'a>(functions: &'a Functions, tenant: &Tenant, meter: &'a Meter) -> Scope<'a> {
    functions.scope(tenant, meter, Instant::now() + Duration::from_secs(20))
}

/// Options of a check. No write is in progress, so a recheck need not wait.
/// The end user with this id, if it exists.
async fn existing(scope: &Scope<'_>, id: EndUserId) -> Result<Option<EndUser>, StoreError> {
    match scope.end_user(id).await {
        Ok(end_user) => Ok(Some(end_user)),
        Err(ChangeError::NotFound) => Ok(None),
        Err(ChangeError::Store(error)) => Err(error),
        Err(other) => panic!("{other:?}"),
    }
}

fn check_options(repair: bool) -> CheckOptions {
    CheckOptions { repair, recheck_after: Duration::ZERO }
}

impl IndexedTenant<'_> {
    async fn apply(&mut self, step: &IndexStep) -> Result<(), StoreError> {
        match step {
            IndexStep::Write(end_user, change) => self.write(*end_user, *change).await,
            IndexStep::Deliver(..) => self.deliver(step).await,
            IndexStep::Race(batches) => {
                let batches = batches.iter().map(|batch| self.deliver(batch));
                futures::future::join_all(batches).await.into_iter().collect()
            }
            IndexStep::Damage(end_user, what) => self.damage(*end_user, *what).await,
            IndexStep::Build(order, killed) => {
                let field = ORDERS[*order];
                let meter = Meter::default();
                let scope = scope(self.functions, &self.tenant, &meter);
                if !self.ranked.contains(&field) {
                    self.ranked.push(field);
                    scope.start_build(field).await?;
                }
                until_killed(scope.build_next(field), &meter, killed.map(|trips| trips + 1)).await.unwrap_or(Ok(()))
            }
            IndexStep::Repair(killed) => {
                let meter = Meter::default();
                let scope = scope(self.functions, &self.tenant, &meter);
                until_killed(scope.check_index(check_options(true), &|_| {}), &meter, killed.map(|trips| trips * 30))
                    .await;
                Ok(())
            }
        }
    }

    async fn deliver(&self, step: &IndexStep) -> Result<(), StoreError> {
        let IndexStep::Deliver(end_users, killed) = step else { panic!("{step:?} is not a batch") };
        let meter = Meter::default();
        let end_users: Vec<_> = end_users.iter().filter_map(|end_user| self.end_users[*end_user]).collect();
        let scope = scope(self.functions, &self.tenant, &meter);
        until_killed(scope.index_end_users(end_users), &meter, *killed).await.unwrap_or(Ok(()))
    }

    async fn damage(&self, end_user: usize, what: u8) -> Result<(), StoreError> {
        let Some(id) = self.end_users[end_user] else { return Ok(()) };
        let meter = Meter::default();
        let end_user = existing(&scope(self.functions, &self.tenant, &meter), id).await?;
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
        // More words than a search covers; changes 5 and 6 have different ones.
        body["otherContactDetails"] = match change {
            5 | 6 => growing_text(change.into(), 2_000).into(),
            _ => "".into(),
        };
        let now = match self.end_users[end_user] {
            Some(id) => existing(&scope, id).await?,
            None => None,
        };
        match now {
            Some(now) if change == 7 => scope.delete_end_user(now.id, &Precondition::default()).await.unwrap(),
            Some(now) => {
                let update = EndUserUpdate::read(&json_of(body), None).unwrap();
                scope.update_end_user(now.id, &update, &Precondition::default()).await.unwrap();
            }
            None => {
                let new = PendingEndUser::read(&json_of(body), None).unwrap();
                let id = scope.create_end_user(&new, None).await.unwrap().value.id;
                self.end_users[end_user] = Some(id);
                self.ids.push(id);
            }
        }
        Ok(())
    }

    /// The stored documents.
    async fn documents(&self) -> Vec<EndUser> {
        let meter = Meter::default();
        let scope = scope(self.functions, &self.tenant, &meter);
        let mut end_users = Vec::new();
        for id in self.end_users.into_iter().flatten() {
            end_users.extend(existing(&scope, id).await.unwrap());
        }
        end_users
    }

    async fn check(&self, repair: bool) -> Result<Check, StoreError> {
        let meter = Meter::default();
        scope(self.functions, &self.tenant, &meter).check_index(check_options(repair), &|_| {}).await
    }
}

/// Entries and rank blocks by `(pk, sk)`, with the number of entries of a block.
type IndexItems = BTreeMap<(String, String), Option<AttributeValue>>;

/// The entries and non-empty rank blocks of a tenant, without the tenant in their keys and without revisions.
async fn index_items(app: &App, tenant: &Tenant) -> IndexItems {
    let scan = app.system.client().scan().table_name(app.unwatched_table()).filter_expression("begins_with(pk, :pk)");
    let scan = scan.expression_attribute_values(":pk", AttributeValue::S(format!("C#{tenant}#")));
    let items = scan.into_paginator().items().send().collect::<Result<Vec<Item>, _>>().await.unwrap();
    let text = |item: &Item, name: &str| item[name].as_s().unwrap().clone();
    let of_index = |item: &Item| ["Entry", "RankBlock"].contains(&text(item, "kind").as_str());
    let gone = |item: &Item| item.get("n") == Some(&AttributeValue::N("0".to_owned()));
    let key = |item: &Item| (text(item, "pk").replacen(&format!("C#{tenant}#"), "", 1), text(item, "sk"));
    items.iter().filter(|item| of_index(item) && !gone(item)).map(|item| (key(item), item.get("n").cloned())).collect()
}

/// Writes the same end users under another tenant, indexes them and builds the same rank indexes.
async fn from_scratch(app: &App, functions: &Functions, tenant: &Tenant, end_users: &[EndUser], ranked: &[SortField]) {
    for end_user in end_users {
        for (_, item) in records(tenant, &Document::new(end_user.clone())).unwrap() {
            app.system.client().put_item().table_name(app.unwatched_table()).set_item(Some(item)).send().await.unwrap();
        }
    }
    let meter = Meter::default();
    let scope = scope(functions, tenant, &meter);
    scope.index_end_users(end_users.iter().map(|end_user| end_user.id)).await.unwrap();
    for field in ranked {
        scope.start_build(*field).await.unwrap();
        scope.build_next(*field).await.unwrap();
    }
}

/// Applies the steps, delivers the last records of the stream, and with `repair` runs `index repair`. Fails if the
/// index differs from that of the same end users built from scratch, or if `index check` finds an error.
async fn check_sequence(app: &App, functions: &Functions, steps: &[IndexStep], repair: bool) -> Result<(), String> {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let tenant = Tenant::parse(&format!("sequence-{number}")).unwrap();
    let mut indexed =
        IndexedTenant { functions, tenant, end_users: [None; END_USERS], ids: Vec::new(), ranked: Vec::new(), app };
    let failed = |error: StoreError| error.to_string();
    for step in steps {
        indexed.apply(step).await.map_err(failed)?;
    }
    let meter = Meter::default();
    let db = scope(functions, &indexed.tenant, &meter);
    db.index_end_users(indexed.ids.iter().copied()).await.map_err(failed)?;
    for field in &indexed.ranked {
        db.build_next(*field).await.map_err(failed)?;
    }
    if repair {
        indexed.check(true).await.map_err(failed)?;
    }
    let end_users = indexed.documents().await;
    let scratch = Tenant::parse(&format!("scratch-{number}")).unwrap();
    from_scratch(app, functions, &scratch, &end_users, &indexed.ranked).await;
    let (found, expected) = (index_items(app, &indexed.tenant).await, index_items(app, &scratch).await);
    let has_blocks = expected.values().any(Option::is_some);
    assert_eq!(has_blocks, !indexed.ranked.is_empty() && !end_users.is_empty(), "blocks are compared");
    if found != expected {
        let only = |one: &IndexItems, other: &IndexItems| {
            let lines = one.iter().filter(|(key, n)| other.get(key) != Some(n)).map(|line| format!("  {line:?}"));
            lines.collect::<Vec<_>>().join("\n")
        };
        return Err(format!("too many:\n{}\nmissing:\n{}", only(&found, &expected), only(&expected, &found)));
    }
    let check = indexed.check(false).await.map_err(failed)?;
    let clean = check.is_clean() && check.end_users == end_users.len() as u64;
    if clean { Ok(()) } else { Err(format!("not clean: {check:?}")) }
}

fn check_sequences(steps: &impl Strategy<Value = Vec<IndexStep>>, repair: bool) {
    let runtime = runtime();
    let app = runtime.block_on(App::start());
    let functions = runtime.block_on(unwatched(&app));
    // A repair reads all partitions of the index and takes most of the time.
    let count = sequences(if repair { 20 } else { 80 });
    hold_all(count, 9, steps, |steps| runtime.block_on(check_sequence(&app, &functions, &steps, repair)));
}

#[test]
fn slow_calls_leave_the_index_of_the_documents() {
    let runtime = runtime();
    let faulty = runtime.block_on(FaultyApp::start(9));
    let functions = runtime.block_on(unwatched(&faulty.app));
    hold_all(sequences(12), 10, &self_healing_steps(), |steps| {
        faulty.proxy.inject(Plan::slow());
        let result = runtime.block_on(check_sequence(&faulty.app, &functions, &steps, false));
        faulty.proxy.inject(Plan::default());
        result
    });
}

#[test]
fn reordered_repeated_and_killed_indexing_converges() {
    check_sequences(&self_healing_steps(), false);
}

#[test]
fn repair_converges_after_kills_races_and_damage() {
    check_sequences(&damaging_steps(), true);
}
