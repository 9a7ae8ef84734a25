//! `index check` and `index repair`: each kind of damage is reported, and repaired where it can be.

use aws_sdk_dynamodb::types::AttributeValue;
use serde_json::json;
use shared::domain::end_user::SortField;
use shared::domain::ids::{EndUserId, Tenant, UidId};
use shared::domain::profile::Field;
use shared::domain::search::Term;
use shared::store::Item;
use shared::store::keys::{self, BlockSize, Key};

use crate::support::app::App;
use crate::support::index::{command, unfinished_count};

#[tokio::test(flavor = "multi_thread")]
async fn check_reports_damage_and_repair_fixes_it() {
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
async fn repair_completes_an_abandoned_rank_build() {
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
async fn repair_reports_unreadable_end_users_and_continues() {
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
    // An unreadable document, of a kind that the stream's filter drops.
    let mut document = get(keys::end_user(&tenant, id(1))).await;
    delete(keys::end_user(&tenant, id(1))).await;
    app.settle().await;
    document.extend([("kind".to_owned(), text("Broken")), ("profile".to_owned(), text("secret"))]);
    put(document).await;
    // An unreadable index state.
    let mut state = get(keys::index_state(&tenant, id(2))).await;
    state.insert("rev".to_owned(), text("secret"));
    put(state).await;
    // An index state with an entry that has a key over DynamoDB's limit.
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
    // A pointer with a wrong key, a missing pointer, a surplus pointer, and a document with a wrong key.
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
    assert_eq!(
        caller.get("/api/EndUsers/1").await.header("etag").map(str::to_owned),
        etag,
        "the revision is unchanged"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn check_during_writes_finds_nothing_wrong() {
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
