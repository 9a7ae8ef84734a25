//! Code that the fuzz targets share.
//!
//! Inputs are texts of lines, so that seeds can be written by hand and dictionaries help. Invalid UTF-8 becomes U+FFFD,
//! except where the real input is bytes.

use std::sync::LazyLock;

use aws_lambda_events::apigw::{ApiGatewayV2httpRequest, ApiGatewayV2httpResponse};
use aws_lambda_events::encodings::Body;
use aws_sdk_dynamodb::Client;
use futures::FutureExt;
use lambda_runtime::{Context, LambdaEvent};
use shared::app::{HttpApp, HttpConfig};
use shared::bootstrap;
use shared::domain::end_user::EndUser;
use shared::domain::ids::{EndUserId, Tenant, UidId};
use shared::domain::phone::Region;
use shared::domain::uid::MatchKey;
use shared::http::{Handler, access_by_method};
use shared::store::keys::{self, Key};
use shared::store::{Document, Entry, entries, records};

/// The HS256 secret of the targets.
pub const SECRET: &str = "a secret of the targets, of more than 32 bytes";

/// A tenant of the greatest length, so that no key can be longer than those of the targets.
pub fn tenant() -> Tenant {
    Tenant::parse(&"t".repeat(64)).expect("a tenant")
}

/// The first `N` lines of an input. The last one contains all further lines; missing ones are empty.
pub fn lines<const N: usize>(input: &str) -> [&str; N] {
    let mut lines = input.splitn(N, '\n');
    std::array::from_fn(|_| lines.next().unwrap_or_default())
}

/// The region that a line names; `None` if it names none.
pub fn region(line: &str) -> Option<Region> {
    Region::parse(line)
}

/// The id of every end user of the targets.
pub fn end_user_id() -> EndUserId {
    EndUserId::MAX
}

/// Ids for UIDs, starting at `first`.
pub fn uid_ids(first: u64) -> impl Iterator<Item = UidId> {
    (first..).map_while(UidId::new)
}

/// Asserts DynamoDB's limits on keys: 2,048 bytes of partition key and 1,024 bytes of sort key.
#[track_caller]
pub fn assert_fits(key: &Key) {
    assert!((1..=2_048).contains(&key.pk.len()), "a partition key of {} bytes", key.pk.len());
    assert!((1..=1_024).contains(&key.sk.len()), "a sort key of {} bytes", key.sk.len());
}

/// Asserts the limit of the partition keys by which a match key is looked up.
#[track_caller]
pub fn assert_key_fits(key: &MatchKey) {
    for pk in [keys::uid_index, keys::reference_index, keys::ticket_index].map(|index| index(&tenant(), key)) {
        assert!(pk.len() <= 2_048, "a partition key of {} bytes", pk.len());
    }
}

/// Asserts that DynamoDB accepts every item and index entry of an end user.
pub fn assert_storable(end_user: &EndUser) {
    let tenant = tenant();
    for (key, item) in records(&tenant, &Document::new(end_user.clone())).expect("items") {
        assert_fits(&key);
        for (index_pk, index_sk) in [("uidPk", "uidSk"), ("refPk", "refSk")] {
            let text = |name: &str| item.get(name).map(|value| value.as_s().expect("a text").clone());
            match (text(index_pk), text(index_sk)) {
                (Some(pk), Some(sk)) => assert_fits(&Key { pk, sk }),
                (pk, sk) => assert_eq!(pk, sk, "an index key with only one part"),
            }
        }
        let written = serde_dynamo::from_item::<_, serde_json::Value>(item).expect("JSON").to_string();
        assert!(written.len() < 400_000, "an item of {} bytes", written.len());
    }
    for entry in entries(end_user) {
        assert_fits(&match &entry {
            Entry::Sort(field, collation) => keys::sort_entry(&tenant, *field, collation, end_user.id),
            Entry::Word(term) => keys::word_entry(&tenant, term, end_user.id),
        });
    }
}

/// The response of a function with this handler to an event. The handler must not wait for anything.
pub fn respond(handler: Handler, event: ApiGatewayV2httpRequest) -> ApiGatewayV2httpResponse {
    static APP: LazyLock<HttpApp> = LazyLock::new(|| {
        let variable = |name: &str| match name {
            "TABLE_NAME" => Some("Table".to_owned()),
            "JWT_SECRET" => Some(SECRET.to_owned()),
            "DEFAULT_PHONE_REGION" => Some("BE".to_owned()),
            _ => None,
        };
        let config = HttpConfig::from_lookup(&variable);
        let client = aws_sdk_dynamodb::Config::builder().behavior_version_latest().build();
        HttpApp::new(config.expect("a configuration"), Client::from_conf(client))
    });
    let event = LambdaEvent::new(event, Context::default());
    bootstrap::on_request(&APP, access_by_method, handler, event).now_or_never().expect("a response without waiting")
}

/// Asserts that API Gateway accepts a response and that it is not a server error. Returns its status.
pub fn assert_sound(response: &ApiGatewayV2httpResponse) -> i64 {
    let written = serde_json::to_vec(response).expect("JSON");
    assert!(written.len() < 6_000_000, "a response of {} bytes", written.len());
    assert_eq!(response.headers["cache-control"], "no-store");
    let body = match &response.body {
        Some(Body::Text(text)) => serde_json::from_str(text).expect("a body of JSON"),
        _ => serde_json::Value::Null,
    };
    assert!([200, 400, 401, 403, 413, 415].contains(&response.status_code), "{} {body}", response.status_code);
    if response.status_code != 200 {
        assert_eq!(body["status"], response.status_code);
    }
    assert_eq!(response.status_code == 400, body["errors"].as_object().is_some_and(|errors| !errors.is_empty()));
    response.status_code
}
