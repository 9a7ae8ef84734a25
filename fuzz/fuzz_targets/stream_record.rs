//! A record of the table's stream, as JSON.
#![no_main]

use aws_lambda_events::dynamodb::EventRecord;
use index_end_users::person;
use libfuzzer_sys::fuzz_target;
use shared::store::keys;

fuzz_target!(|input: &[u8]| {
    let Ok(record) = serde_json::from_slice::<EventRecord>(input) else { return };
    let Some((tenant, id)) = person(&record) else { return };
    let stored: serde_json::Value = serde_dynamo::from_item(record.change.keys).expect("keys");
    let key = keys::end_user(&tenant, id);
    assert_eq!(stored["pk"], key.pk, "the document of another");
    assert_eq!(stored["sk"].as_str().and_then(|sk| sk.parse().ok()), Some(id.get()), "the document of another");
});
